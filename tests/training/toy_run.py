"""A run so small that a training takes milliseconds; as a script it trains until it ends or is killed."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from fieldmark.build import build_execution
from fieldmark.config import TrainConfig
from fieldmark.training.checkpoint import Provenance
from fieldmark.training.group import Group
from fieldmark.training.loop import train
from fieldmark.training.optimizer import OptimizerKind, OptimizerOptions, Schedule, ScheduleKind
from fieldmark.training.step import Execution, GradientAccumulation, WeightedLoss
from fieldmark.training.task import TrainingOptions, TrainingResult, TrainingRuntime, TrainingStage, TrainingTask
from fieldmark.types import Batch, Failure, Medium, MediumBatch, Outputs

CLASS_COUNT, DIM = 3, 8
WIDTHS = {Medium.IMAGE: 6, Medium.TEXT: 5}
PROVENANCE = Provenance(
    config_json='{"seed": 7}',
    class_names=("gull", "tern", "skua"),
    seed=7,
    code_version="0.1.0",
    encoder_fingerprints={Medium.IMAGE: "a1", Medium.TEXT: "b2"},
)


PLAIN_EXECUTION = build_execution(TrainConfig(), device=torch.device("cpu"))
"""Steps as the configuration has them by default."""


@dataclass(frozen=True)
class ToyOptions:
    """The options of a run of one stage."""

    epochs: int
    optimizer: OptimizerOptions
    schedule: Schedule
    patience_epochs: int | None = None
    max_steps: int | None = None
    checkpoint_seconds: float = 300.0
    failure_share: float = 0.0
    writes_tensorboard: bool = False
    execution: Execution = PLAIN_EXECUTION


@dataclass(frozen=True)
class ToyTask:
    """The task of a run of one stage."""

    network: nn.Module
    losses: Mapping[str, WeightedLoss]
    batches: "ToyBatches"
    validate: Callable[[nn.Module], float] | None


OPTIONS = ToyOptions(
    epochs=3,
    optimizer=OptimizerOptions(kind=OptimizerKind.ADAMW, lr=0.01, momentum=0.9, weight_decay=0.01, clip_norm=1.0),
    schedule=Schedule(kind=ScheduleKind.COSINE, warmup_epochs=0.5, step_epochs=3, step_factor=0.5, is_early=False),
    checkpoint_seconds=0.0,
)


class ToyNetwork(nn.Module):
    """A line for each medium; batch norm and dropout, so that buffers and randomness matter."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.lines = nn.ModuleDict({medium.value: nn.Linear(width, DIM) for medium, width in WIDTHS.items()})
        self.norm = nn.BatchNorm1d(DIM)
        self.dropout = nn.Dropout(0.3)
        self.classifier = nn.Linear(DIM, CLASS_COUNT)

    def forward(self, inputs: Tensor, medium: Medium) -> tuple[Tensor, Tensor]:
        features = self.dropout(self.norm(self.lines[medium.value](inputs)))
        return F.normalize(features, dim=1), self.classifier(features)

    def forward_together(self, parts: Sequence[MediumBatch]) -> tuple[Tensor, Tensor]:
        results = [self(part.inputs, part.medium) for part in parts]
        return torch.cat([embedding for embedding, _ in results]), torch.cat([logits for _, logits in results])


class LogitsLoss(nn.Module):
    """Cross-entropy."""

    def forward(self, outputs: Outputs) -> Tensor:
        return F.cross_entropy(outputs.logits, outputs.label)


class PullLoss(nn.Module):
    """Centers as parameters, and a buffer that every call changes."""

    def __init__(self) -> None:
        super().__init__()
        self.centers = nn.Parameter(torch.zeros(CLASS_COUNT, DIM))
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, outputs: Outputs) -> Tensor:
        self.calls += 1
        return (outputs.embedding - self.centers[outputs.label]).square().sum(dim=1).mean()


@dataclass(frozen=True)
class ToyBatches:
    """Batches that follow from epoch and step alone.

    Args:
        before: Called with epoch and step before a batch is given out.
        failures: Of the batch of an (epoch, step).
        empty: The (epoch, step) whose batch has no rows.
    """

    steps: int = 4
    before: Callable[[int, int], None] = lambda epoch, step: None
    failures: Mapping[tuple[int, int], tuple[str, ...]] = ()
    empty: tuple[tuple[int, int], ...] = ()

    def __len__(self) -> int:
        return self.steps

    def __call__(self, epoch: int, first_step: int) -> Iterator[Batch]:
        for step in range(first_step, self.steps):
            self.before(epoch, step)
            failed = dict(self.failures).get((epoch, step), ())
            failures = tuple(Failure(item_id, "unreadable", "it is cut off") for item_id in failed)
            batch = make_batch(seed=100 * epoch + step)
            if (epoch, step) in self.empty:
                batch = Batch(parts=(), item_ids=())
            yield replace(batch, failures=failures)


def make_batch(*, seed: int) -> Batch:
    """Two rows of every class in both media; the class shows in the inputs."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.arange(CLASS_COUNT).repeat(2)
    parts = []
    for medium, width in WIDTHS.items():
        noise = torch.randn(len(label), width, generator=generator)
        parts.append(MediumBatch(medium=medium, inputs=noise + 2 * F.one_hot(label, width), label=label))
    return Batch(
        parts=tuple(parts), item_ids=tuple(f"{part.medium}-{seed}-{row}" for part in parts for row in range(len(label)))
    )


def score(network: nn.Module) -> float:
    """A stand-in for validation MAP that changes with every weight."""
    with torch.no_grad():
        outputs = [network(part.inputs, part.medium)[1] for part in make_batch(seed=10_000).parts]
    label = torch.arange(CLASS_COUNT).repeat(2)
    return float(torch.stack([F.cross_entropy(logits, label) for logits in outputs]).mean().neg().exp())


class Lines:
    """A reporter that keeps what it is told."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, int, int, str]] = []
        self.said: list[str] = []

    def step(self, task: str, *, done: int, total: int, note: str = "") -> None:
        self.steps.append((task, done, total, note))

    def say(self, message: str) -> None:
        self.said.append(message)


def accumulation_of(network: nn.Module, **execution: object) -> GradientAccumulation:
    """The way of a batch through a network on the CPU."""
    own = replace(PLAIN_EXECUTION, **execution)
    return GradientAccumulation(network, forward=network.forward_together, execution=own, device=torch.device("cpu"))


def make_task(**changes: object) -> ToyTask:
    """The toy task; `changes` replace its fields."""
    losses = {
        "classification": WeightedLoss(LogitsLoss()),
        "center": WeightedLoss(PullLoss(), weight=0.1, lr_scale=5.0),
    }
    network = changes.pop("network", None) or ToyNetwork()
    return replace(ToyTask(network, losses, batches=ToyBatches(), validate=score), **changes)


def stage_of(task: ToyTask, options: ToyOptions, **changes: object) -> TrainingStage:
    """The stage of a run of one; `changes` replace its fields."""
    stage = TrainingStage(
        name="",
        batches=task.batches,
        loss_names=tuple(task.losses),
        epochs=options.epochs,
        optimizer=options.optimizer,
        schedule=options.schedule,
        patience_epochs=options.patience_epochs,
        validate=task.validate,
    )
    return replace(stage, **changes)


def run(
    folder: Path,
    task: ToyTask | None = None,
    *,
    options: ToyOptions = OPTIONS,
    stages: tuple[TrainingStage, ...] = (),
    provenance: Provenance = PROVENANCE,
    resume: bool = False,
    reporter: Lines | None = None,
    group: Group | None = None,
) -> TrainingResult:
    """Trains the toy task, in one stage or in those given."""
    task = task or make_task()
    return train(
        TrainingTask(
            network=task.network,
            forward=task.network.forward_together,
            losses=task.losses,
            stages=stages or (stage_of(task, options),),
            item_count=48,
        ),
        options=TrainingOptions(
            max_steps=options.max_steps,
            checkpoint_seconds=options.checkpoint_seconds,
            failure_share=options.failure_share,
            execution=options.execution,
            writes_tensorboard=options.writes_tensorboard,
        ),
        provenance=provenance,
        folder=folder,
        resume=resume,
        runtime=TrainingRuntime(reporter or Lines(), group or Group()),
    )


def _tell_and_wait(epoch: int, step: int) -> None:
    print(epoch, step, flush=True)  # noqa: T201 - tells the parent that training has begun
    time.sleep(0.02)


SLOW_BATCHES = ToyBatches(steps=12, before=_tell_and_wait)

if __name__ == "__main__":
    torch.set_num_threads(1)
    run(Path(sys.argv[1]), make_task(batches=SLOW_BATCHES), resume=True)
