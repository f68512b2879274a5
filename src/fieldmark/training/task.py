"""Description of a run: stages with batches, losses and a schedule; options; result."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from torch import nn

from fieldmark.training.group import Group
from fieldmark.training.optimizer import OptimizerOptions, Schedule
from fieldmark.training.step import Execution, Forward, WeightedLoss
from fieldmark.types import Batch, Reporter


@runtime_checkable
class BatchSource(Protocol):
    """Source of batches."""

    def __len__(self) -> int:
        """Return the steps of an epoch."""

    def __call__(self, epoch: int, first_step: int) -> Iterable[Batch]:
        """Yield the batches of an epoch from a step on, both counted from 0; the same call gives the same batches."""


@dataclass(frozen=True, slots=True)
class TrainingStage:
    """A part of a run with its own batches, losses and schedule; its optimizer starts from scratch.

    It starts from the best checkpoint of the stage before, the state of the losses (centers) included.

    Args:
        name: Part of the name of its best checkpoint, once the next stage begins.
        loss_names: Those of the task's losses that count.
        renewed: Names of losses that are reset at the start of this stage.
        patience_epochs: The stage ends after so many epochs without a better validation; None never ends early.
        validate: Returns the validation MAP of the network, which is in evaluation mode, or None where it cannot be
            measured; None for no validation.
    """

    name: str
    batches: BatchSource
    loss_names: tuple[str, ...]
    epochs: int
    optimizer: OptimizerOptions
    schedule: Schedule
    patience_epochs: int | None
    renewed: tuple[str, ...] = ()
    validate: Callable[[nn.Module], float | None] | None = None

    @property
    def step_count(self) -> int:
        """Steps of all its epochs."""
        return self.epochs * len(self.batches)


@dataclass(frozen=True, slots=True)
class TrainingTask:
    """Network, losses and stages of a run.

    Args:
        network: Its weights are trained and saved.
        forward: From a batch's parts to embeddings of length 1 and logits.
        stages: In their order, at least one.
        item_count: Items that the batches draw from.
    """

    network: nn.Module
    forward: Forward
    losses: Mapping[str, WeightedLoss]
    stages: tuple[TrainingStage, ...]
    item_count: int


@dataclass(frozen=True, slots=True)
class TrainingOptions:
    """Options of a run.

    Args:
        max_steps: Training stops after so many steps, in whatever stage; None runs all epochs.
        execution: How a step is computed.
        checkpoint_seconds: From one checkpoint to the next within an epoch; each epoch ends with one anyway.
        failure_share: Share of the items that may be skipped; one always may.
    """

    max_steps: int | None
    execution: Execution
    checkpoint_seconds: float
    writes_tensorboard: bool
    failure_share: float


@dataclass(frozen=True, slots=True)
class TrainingRuntime:
    """Reporter and processes of a run."""

    reporter: Reporter
    group: Group = field(default_factory=Group)


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """Result of a run.

    Args:
        best_path: The last stage's checkpoint with the best validation MAP, or the last one without validation.
        best_epoch: Counted from 1 over all stages.
        best_score: Its validation MAP; None without validation.
    """

    best_path: Path
    best_epoch: int
    best_score: float | None
    epochs: int
    steps: int
    seconds: float
