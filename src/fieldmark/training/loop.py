"""The training loop: epochs, validation, selection of the best, and exact resume."""

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, final, runtime_checkable

import torch
from torch import nn

from fieldmark.errors import CheckpointError, RunChangedError, RunExistsError, TooManyFailuresError
from fieldmark.training.checkpoint import (
    Checkpoint,
    Provenance,
    ResumeState,
    best_path,
    last_path,
    load_checkpoint,
    restore_state,
    save_checkpoint,
)
from fieldmark.training.optimizer import OptimizerOptions, Schedule, optimizer_state, restore_optimizer
from fieldmark.training.progress import EpochMetrics, LossParts, Progress, write_metrics
from fieldmark.training.step import Forward, Stepper, WeightedLoss, interrupts_after, seed_step
from fieldmark.types import Batch, Reporter

logger = logging.getLogger(__name__)


@runtime_checkable
class BatchSource(Protocol):
    """Where batches come from."""

    def __len__(self) -> int:
        """Steps of an epoch."""

    def __call__(self, epoch: int, first_step: int) -> Iterable[Batch]:
        """The batches of an epoch from a step on, both counted from 0; the same call gives the same batches."""


@dataclass(frozen=True, slots=True)
class TrainingTask:
    """What is trained, towards what, on what.

    Args:
        network: Whose weights are trained and kept.
        forward: What it makes of a batch's parts: embeddings of length 1 and logits.
        item_count: Items that the batches draw from.
        validate: Gives the validation MAP of the network, which is in evaluation mode; None for no validation.
    """

    network: nn.Module
    forward: Forward
    losses: Mapping[str, WeightedLoss]
    batches: BatchSource
    item_count: int
    validate: Callable[[nn.Module], float] | None = None


@dataclass(frozen=True, slots=True)
class TrainingOptions:
    """How it is trained.

    Args:
        patience_epochs: Training stops after so many epochs without a better validation; None never stops early.
        max_steps: Training stops after so many steps; None runs all epochs.
        checkpoint_seconds: From one checkpoint to the next within an epoch; each epoch ends with one anyway.
        failure_share: Share of the items that may be passed over; one always may.
    """

    epochs: int
    optimizer: OptimizerOptions
    schedule: Schedule
    patience_epochs: int | None = None
    max_steps: int | None = None
    checkpoint_seconds: float = 300.0
    failure_share: float = 0.0


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """What a run came to.

    Args:
        best_path: The checkpoint with the best validation MAP, or the last one without validation.
        best_epoch: Counted from 1.
        best_score: Its validation MAP; None without validation.
    """

    best_path: Path
    best_epoch: int
    best_score: float | None
    epochs: int
    steps: int
    seconds: float


def train(
    task: TrainingTask,
    *,
    options: TrainingOptions,
    provenance: Provenance,
    folder: Path,
    resume: bool,
    reporter: Reporter,
) -> TrainingResult:
    """Trains a network and keeps checkpoints and `metrics.csv` in a run's folder.

    All randomness of a step follows from (seed, epoch, step), so that a run which was killed and resumed ends with the
    same weights, bit for bit on a CPU. The caller's random state is left as it was.

    Args:
        resume: Goes on from the last checkpoint, or begins where there is none yet.

    Raises:
        RunExistsError: The folder holds a run and `resume` is false.
        RunChangedError: The run was started with other data, classes, encoders, seed or configuration.
        CheckpointError: The last checkpoint cannot be read.
        NonFiniteLossError: A loss or the gradient is not a number.
        TooManyFailuresError: More items than allowed could not be used.
        TrainingMemoryError: A step does not fit into memory.
        RunWriteError: A checkpoint cannot be written.
        KeyboardInterrupt: The person stopped it; the last checkpoint holds all steps done.
    """
    has_run = last_path(folder).exists()
    if has_run and not resume:
        raise RunExistsError(path=folder)
    trainer = _Trainer(task, options=options, provenance=provenance, folder=folder, reporter=reporter)
    if has_run:
        trainer.restore()
    return trainer.run()


@final
class _Trainer:
    """One run: what moves the weights, and how far it is."""

    def __init__(
        self,
        task: TrainingTask,
        *,
        options: TrainingOptions,
        provenance: Provenance,
        folder: Path,
        reporter: Reporter,
    ) -> None:
        self._task = task
        self._options = options
        self._provenance = provenance
        self._folder = folder
        self._reporter = reporter
        self._stepper = Stepper(
            task.network,
            forward=task.forward,
            losses=task.losses,
            options=options.optimizer,
            last_good=last_path(folder),
        )
        self._progress = Progress(steps_per_epoch=len(task.batches))
        all_steps = options.epochs * len(task.batches)
        self._step_count = all_steps if options.max_steps is None else min(all_steps, options.max_steps)
        self._saved_at = time.monotonic()

    def restore(self) -> None:
        """Puts everything back to where the last checkpoint was written."""
        path = last_path(self._folder)
        checkpoint = load_checkpoint(path)
        if checkpoint.resume is None:
            raise CheckpointError(path=path, reason="it holds weights only, and no state to go on from")
        progress = Progress.from_json(checkpoint.resume.progress_json, path=path)
        is_as_long = progress.steps_per_epoch == self._progress.steps_per_epoch
        changed = checkpoint.provenance.difference(self._provenance) or (None if is_as_long else "set of items")
        if changed:
            raise RunChangedError(path=self._folder, what=changed)
        restore_state(self._stepper.network, checkpoint.network, path=path)
        restore_state(self._stepper.losses, checkpoint.losses, path=path)
        restore_optimizer(self._stepper.optimizer, checkpoint.resume.optimizer)
        self._progress = progress
        write_metrics(self._folder / "metrics.csv", progress.history)
        begun, now = checkpoint.provenance.code_version, self._provenance.code_version
        versions = "" if begun == now else f" (begun by version {begun} of the code, now {now})"
        self._reporter.say(f"Going on after {progress.epoch} epochs and {progress.step} steps{versions}.")

    def run(self) -> TrainingResult:
        """Runs the epochs that are left."""
        device = self._stepper.device
        try:
            with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
                while self._epoch_steps() > 0 and not self._is_out_of_patience():
                    self._run_epoch()
        except KeyboardInterrupt:
            self._save_last()
            self._reporter.say(f"Stopped; '{last_path(self._folder)}' holds every step done. Go on with --resume.")
            raise
        progress = self._progress
        return TrainingResult(
            best_path=best_path(self._folder),
            best_epoch=progress.best_epoch,
            best_score=progress.best_score,
            epochs=progress.epoch,
            steps=progress.history[-1].step if progress.history else 0,
            seconds=sum(row.seconds for row in progress.history),
        )

    def _epoch_steps(self) -> int:
        """Steps of the running epoch: fewer in one that `max_steps` cuts off, 0 after the last."""
        steps_per_epoch = self._progress.steps_per_epoch
        return max(0, min(steps_per_epoch, self._step_count - self._progress.epoch * steps_per_epoch))

    def _is_out_of_patience(self) -> bool:
        patience, progress = self._options.patience_epochs, self._progress
        return patience is not None and progress.epoch - progress.best_epoch >= patience

    def _run_epoch(self) -> None:
        self._stepper.network.train()
        self._stepper.losses.train()
        batches = iter(self._task.batches(self._progress.epoch, self._progress.step))
        while self._progress.step < self._epoch_steps():
            started = time.monotonic()
            batch = next(batches)
            waiting_seconds = time.monotonic() - started
            with interrupts_after():
                loss = self._take_step(batch)
                self._progress = self._progress.add_step(
                    loss, batch.failures, seconds=time.monotonic() - started, waiting_seconds=waiting_seconds
                )
            self._check_failures(batch)
            note = "no item could be used" if loss is None else str(loss)
            self._reporter.step("train", done=self._progress.total_steps, total=self._step_count, note=note)
            if time.monotonic() - self._saved_at >= self._options.checkpoint_seconds:
                self._save_last()
        self._finish_epoch()

    def _take_step(self, batch: Batch) -> LossParts | None:
        """The losses of one step; None where no item of the batch could be used."""
        progress = self._progress
        for failure in batch.failures:
            if failure.item_id not in progress.failed_item_ids:
                logger.warning("Passed over %s: %s", failure.item_id, failure.message)
        if not batch.parts:
            return None
        seed_step(self._provenance.seed, epoch=progress.epoch, step=progress.step)
        return self._stepper.take(batch, lr=self._lr(progress.total_steps), step=progress.total_steps + 1)

    def _lr(self, step: int) -> float:
        schedule, steps_per_epoch = self._options.schedule, self._progress.steps_per_epoch
        factor = schedule.factor(step, steps_per_epoch=steps_per_epoch, step_count=self._step_count)
        return self._options.optimizer.lr * factor

    def _check_failures(self, batch: Batch) -> None:
        failed = self._progress.failed_item_ids
        if len(failed) > max(1, int(self._options.failure_share * self._task.item_count)):
            raise TooManyFailuresError(
                failed=len(failed),
                total=self._task.item_count,
                allowed_share=self._options.failure_share,
                examples=[f"{each.item_id}: {each.message}" for each in batch.failures],
            )

    def _finish_epoch(self) -> None:
        """Validates and saves: best, last, table. After a crash between any two the later ones are made again."""
        started = time.monotonic()
        score = self._validate()
        progress, sums = self._progress, self._progress.sums
        row = EpochMetrics(
            epoch=progress.epoch + 1,
            step=progress.total_steps,
            lr=self._lr(progress.total_steps - 1),
            loss=sums.mean_loss(),
            validation_map=score,
            seconds=sums.seconds + time.monotonic() - started,
            waiting_share=sums.waiting_seconds / sums.seconds if sums.seconds else 0.0,
            failed=len(progress.failed_item_ids),
        )
        is_best = score is None or progress.best_score is None or score > progress.best_score
        finished = progress.finish_epoch(row, is_best=is_best)
        if is_best:
            save_checkpoint(best_path(self._folder), self._checkpoint(finished))
        self._progress = finished
        self._save_last()
        write_metrics(self._folder / "metrics.csv", finished.history)
        self._reporter.say(row.describe(epochs=self._options.epochs, is_best=is_best))

    def _validate(self) -> float | None:
        if self._task.validate is None:
            return None
        self._stepper.network.eval()
        with torch.no_grad():
            return self._task.validate(self._stepper.network)

    def _checkpoint(self, progress: Progress) -> Checkpoint:
        validated = progress.history[-1] if progress.history and progress.step == 0 else None
        return Checkpoint(
            provenance=self._provenance,
            network=self._stepper.network.state_dict(),
            losses=self._stepper.losses.state_dict(),
            epoch=progress.epoch,
            validation_map=validated.validation_map if validated else None,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )

    def _save_last(self) -> None:
        resume = ResumeState(optimizer_state(self._stepper.optimizer), self._progress.to_json())
        save_checkpoint(last_path(self._folder), replace(self._checkpoint(self._progress), resume=resume))
        self._saved_at = time.monotonic()
