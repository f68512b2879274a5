"""Progress of a run: sums of the running epoch, a row for each finished one, and `metrics.csv`."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from pydantic import TypeAdapter

from fieldmark.errors import CheckpointError, MissingExtraError
from fieldmark.training.checkpoint import write_durably
from fieldmark.types import Failure


@dataclass(frozen=True, slots=True)
class LossParts:
    """The losses of a step, or their means over an epoch.

    Args:
        parts: Each loss by its name, before its weight.
        total: The weighted sum.
    """

    parts: Mapping[str, float] = field(default_factory=dict)
    total: float = 0.0

    def __str__(self) -> str:
        return ", ".join(f"{name} {value:.4g}" for name, value in {**self.parts, "total": self.total}.items())


@dataclass(frozen=True, slots=True)
class EpochSums:
    """Sums over the steps of an epoch.

    Args:
        loss_steps: Steps that had rows.
        waiting_seconds: The part of `seconds` spent waiting for batches.
    """

    loss: LossParts = LossParts()
    loss_steps: int = 0
    seconds: float = 0.0
    waiting_seconds: float = 0.0

    def add_time(self, seconds: float, *, waiting_seconds: float) -> "EpochSums":
        """Return the sums with the time of one more step."""
        return replace(self, seconds=self.seconds + seconds, waiting_seconds=self.waiting_seconds + waiting_seconds)

    def add_loss(self, loss: LossParts) -> "EpochSums":
        """Return the sums with the losses of one more step."""
        parts = {name: self.loss.parts.get(name, 0.0) + value for name, value in loss.parts.items()}
        return replace(self, loss=LossParts(parts, self.loss.total + loss.total), loss_steps=self.loss_steps + 1)

    def compute_mean_loss(self) -> LossParts:
        """Return the mean over the steps that had rows."""
        steps = max(1, self.loss_steps)
        parts = {name: value / steps for name, value in self.loss.parts.items()}
        return LossParts(parts, self.loss.total / steps)


@dataclass(frozen=True, slots=True)
class EpochMetrics:
    """One finished epoch: a row of `metrics.csv`.

    Args:
        stage: Its name; "" where a run has one.
        epoch: Counted from 1 over all stages.
        step: Steps since the start of the run.
        lr: Of the epoch's last step.
        loss: Means over the steps.
        seconds: Training and validation.
        waiting_share: Share of the training time spent waiting for batches.
        failed: Items that could not be used, since the start of the run.
    """

    stage: str
    epoch: int
    step: int
    lr: float
    loss: LossParts
    validation_map: float | None
    seconds: float
    waiting_share: float
    failed: int

    def describe(self, *, epochs: int, epochs_before: int = 0, is_best: bool) -> str:
        """Return the epoch as one line of text.

        Args:
            epochs: Of its stage.
            epochs_before: Of the stages before.
        """
        epoch = f"poch {self.epoch - epochs_before} of {epochs}"
        facts = [f"{f'Stage {self.stage}, e' if self.stage else 'E'}{epoch}: {self.loss}"]
        if self.validation_map is not None:
            facts.append(f"validation MAP {self.validation_map:.3f}{' (best)' if is_best else ''}")
        facts.append(f"{self.seconds:.1f} s, {self.waiting_share:.0%} waiting for data")
        if self.failed:
            facts.append(f"skipped items: {self.failed}")
        return "; ".join(facts)


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of a run; with weights and optimizer, all that an exact resume needs.

    Args:
        steps_per_epoch: Of the running stage.
        stage: Index of the running stage.
        epochs_before: Epochs of the stages before.
        steps_before: Steps of the stages before.
        epoch: Epochs finished, in all stages.
        step: Steps done of the running epoch.
        history: The finished epochs.
        best_epoch: The epoch of the running stage's best checkpoint; 0 before there is one.
        best_score: Its validation MAP; None without validation.
    """

    steps_per_epoch: int
    stage: int = 0
    epochs_before: int = 0
    steps_before: int = 0
    epoch: int = 0
    step: int = 0
    sums: EpochSums = EpochSums()
    history: tuple[EpochMetrics, ...] = ()
    failed_item_ids: tuple[str, ...] = ()
    best_epoch: int = 0
    best_score: float | None = None

    @property
    def total_steps(self) -> int:
        """Steps done since the start of the run."""
        return self.steps_before + (self.epoch - self.epochs_before) * self.steps_per_epoch + self.step

    @property
    def stage_steps(self) -> int:
        """Steps done since the start of the stage."""
        return self.total_steps - self.steps_before

    def add_step(
        self, loss: LossParts | None, failures: Iterable[Failure], *, seconds: float, waiting_seconds: float
    ) -> "Progress":
        """Return the progress after one more step.

        Args:
            loss: None where the step had no rows.
        """
        failed = dict.fromkeys((*self.failed_item_ids, *(failure.item_id for failure in failures)))
        sums = self.sums.add_time(seconds, waiting_seconds=waiting_seconds)
        return replace(
            self,
            step=self.step + 1,
            sums=sums if loss is None else sums.add_loss(loss),
            failed_item_ids=tuple(failed),
        )

    def finish_epoch(self, row: EpochMetrics, *, is_best: bool) -> "Progress":
        """Return the progress at the start of the next epoch."""
        return replace(
            self,
            epoch=row.epoch,
            step=0,
            sums=EpochSums(),
            history=(*self.history, row),
            best_epoch=row.epoch if is_best else self.best_epoch,
            best_score=row.validation_map if is_best else self.best_score,
        )

    def begin_stage(self, *, steps_per_epoch: int) -> "Progress":
        """Return the progress at the start of the next stage, which selects a best checkpoint of its own."""
        return replace(
            self,
            steps_per_epoch=steps_per_epoch,
            stage=self.stage + 1,
            epochs_before=self.epoch,
            steps_before=self.total_steps,
            best_epoch=0,
            best_score=None,
        )

    def to_json(self) -> str:
        """Return JSON that keeps every float exactly."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str, *, path: Path) -> "Progress":
        """Read what `to_json` wrote.

        Args:
            path: The checkpoint's, for the message.

        Raises:
            CheckpointError: The text is something else.
        """
        try:
            return TypeAdapter(Progress).validate_python(json.loads(text))
        except ValueError as error:
            raise CheckpointError(path=path, reason=f"its progress is damaged ({error})") from error


def write_metrics(path: Path, rows: Sequence[EpochMetrics]) -> None:
    """Write the whole table again, so that it never holds an epoch that is not in the checkpoint.

    Raises:
        TrainingError: The disk is full, or the folder may not be written.
    """
    names = list(dict.fromkeys(name for row in rows for name in row.loss.parts))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    rest = ["total", "validation_map", "seconds", "waiting_share", "failed"]
    writer.writerow(["stage", "epoch", "step", "lr", *names, *rest])
    for row in rows:
        losses = [*(row.loss.parts.get(name) for name in names), row.loss.total]
        times = [round(row.seconds, 3), round(row.waiting_share, 4)]
        writer.writerow([row.stage, row.epoch, row.step, row.lr, *losses, row.validation_map, *times, row.failed])
    write_durably(path, text.getvalue().encode())


def check_tensorboard() -> None:
    """Check at the start of a run that TensorBoard is installed.

    Raises:
        MissingExtraError: TensorBoard is not installed.
    """
    try:
        import torch.utils.tensorboard  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(package="tensorboard", extra="tensorboard", need="'train.tensorboard'") from error


def write_tensorboard(folder: Path, rows: Sequence[EpochMetrics]) -> None:
    """Write all epochs again, in one file, so that the curves never hold an epoch that is not in the checkpoint.

    Args:
        folder: Holds nothing but these events.
    """
    from torch.utils.tensorboard import SummaryWriter

    for old in folder.glob("events.out.tfevents.*"):
        old.unlink()
    with SummaryWriter(str(folder)) as writer:
        for row in rows:
            for name, value in _curves(row).items():
                writer.add_scalar(name, value, row.step)


def _curves(row: EpochMetrics) -> dict[str, float]:
    losses = {f"loss/{name}": value for name, value in {**row.loss.parts, "total": row.loss.total}.items()}
    score = {} if row.validation_map is None else {"validation/MAP": row.validation_map}
    times = {"time/seconds": row.seconds, "time/waiting_share": row.waiting_share}
    return {**losses, **score, "lr": row.lr, **times, "items/failed": float(row.failed)}
