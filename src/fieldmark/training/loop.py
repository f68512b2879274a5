"""The training loop: stages, epochs, validation, selection of the best, and exact resume."""

import copy
import logging
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import final

import torch
from torch import nn

from fieldmark.errors import CheckpointError, TooManyFailuresError, TrainingError
from fieldmark.training.checkpoint import (
    Checkpoint,
    Provenance,
    ResumeState,
    load_checkpoint,
    restore_state,
    save_checkpoint,
    write_durably,
)
from fieldmark.training.layout import RunLayout
from fieldmark.training.optimizer import read_optimizer_state, restore_optimizer
from fieldmark.training.progress import (
    EpochMetrics,
    LossParts,
    Progress,
    check_tensorboard,
    write_metrics,
    write_tensorboard,
)
from fieldmark.training.step import GradientAccumulation, Stepper, defer_interrupts, seed_step
from fieldmark.training.task import TrainingOptions, TrainingResult, TrainingRuntime, TrainingStage, TrainingTask
from fieldmark.types import Batch, Failure

logger = logging.getLogger(__name__)


def find_run(folder: Path, *, resume: bool) -> bool:
    """Tell whether a folder holds a run to continue.

    Raises:
        TrainingError: It holds a run and `resume` is false.
    """
    has_run = RunLayout(folder).last.is_file()
    if has_run and not resume:
        raise TrainingError(
            f"'{folder}' already holds a run. Continue it with --resume, or choose another --out.", kind="run_exists"
        )
    return has_run


def train(
    task: TrainingTask,
    *,
    options: TrainingOptions,
    provenance: Provenance,
    folder: Path,
    resume: bool,
    runtime: TrainingRuntime,
) -> TrainingResult:
    """Train a network and keep checkpoints and `metrics.csv` in a run's folder.

    In a group of processes each holds the same weights and takes its share of every batch; the first one writes.

    All randomness of a step follows from (seed, epoch, step), so that a run which was killed and resumed ends with the
    same weights, bit for bit on a CPU. The caller's random state is left as it was.

    Args:
        resume: Whether to continue from the last checkpoint; without one, training begins.

    Raises:
        TrainingError: The folder holds a run and `resume` is false.
        TrainingError: The run was started with other data, classes, encoders, seed or configuration.
        CheckpointError: The last checkpoint cannot be read.
        MissingExtraError: TensorBoard was asked for and is not installed.
        NonFiniteLossError: A loss or the gradient is not a number.
        TooManyFailuresError: More items than allowed could not be used.
        TrainingError: A step does not fit into memory.
        TrainingError: A checkpoint cannot be written.
        KeyboardInterrupt: The person stopped it; the last checkpoint holds all steps done.
    """
    has_run = find_run(folder, resume=resume)
    if options.writes_tensorboard:
        check_tensorboard()
    trainer = _Trainer(task, options=options, provenance=provenance, folder=folder, runtime=runtime)
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
        runtime: TrainingRuntime,
    ) -> None:
        self._task = task
        self._options = options
        self._provenance = provenance
        self._layout = RunLayout(folder)
        self._reporter = runtime.reporter
        self._group = runtime.group
        self._device = next(task.network.parameters()).device
        self._losses = nn.ModuleDict({name: each.module for name, each in task.losses.items()})
        self._fresh_losses = {name: copy.deepcopy(each.module.state_dict()) for name, each in task.losses.items()}
        self._progress = Progress(steps_per_epoch=len(task.stages[0].batches))
        self._accumulation = GradientAccumulation(
            task.network, forward=task.forward, execution=options.execution, device=self._device
        )
        self._stepper = self._make_stepper()
        self._saved_at = time.monotonic()

    @property
    def _stage(self) -> TrainingStage:
        return self._task.stages[self._progress.stage]

    def _make_stepper(self) -> Stepper:
        stage = self._stage
        return Stepper(
            self._task.network,
            accumulation=self._accumulation,
            losses={name: self._task.losses[name] for name in stage.loss_names},
            options=stage.optimizer,
            group=self._group,
            last_good=self._layout.last,
        )

    def restore(self) -> None:
        """Restore the state of the last checkpoint."""
        path = self._layout.last
        checkpoint = load_checkpoint(path)
        if checkpoint.resume is None:
            raise CheckpointError(path=path, reason="it has weights only, and no state to continue from")
        progress = Progress.from_json(checkpoint.resume.progress_json, path=path)
        lengths = [len(stage.batches) for stage in self._task.stages]
        is_as_long = lengths[progress.stage : progress.stage + 1] == [progress.steps_per_epoch]
        changed = checkpoint.provenance.find_difference(self._provenance) or (None if is_as_long else "set of items")
        if changed:
            raise TrainingError(
                f"The run in '{self._layout.folder}' was started with another {changed}. "
                "Resume with the original one, or start a new run with another --out.",
                kind="run_changed",
            )
        self._progress = progress
        self._stepper = self._make_stepper()
        restore_state(self._task.network, checkpoint.network, path=path)
        restore_state(self._losses, checkpoint.losses, path=path)
        restore_optimizer(self._stepper.optimizer, checkpoint.resume.optimizer)
        self._write_tables()
        begun, now = checkpoint.provenance.code_version, self._provenance.code_version
        versions = "" if begun == now else f" (started by version {begun} of the code, now {now})"
        self._reporter.say(f"Continuing after {progress.epoch} epochs and {progress.step} steps{versions}.")

    def run(self) -> TrainingResult:
        """Run the remaining stages and epochs."""
        self._group.copy_from_first(self._task.network)
        try:
            with torch.random.fork_rng(devices=[self._device] if self._device.type == "cuda" else []):
                self._run_stage()
                while self._has_next_stage():
                    self._begin_stage()
                    self._run_stage()
        except KeyboardInterrupt:
            self._save_last()
            self._reporter.say(f"Stopped; '{self._layout.last}' has every completed step. Continue with --resume.")
            raise
        progress = self._progress
        return TrainingResult(
            best_path=self._layout.best,
            best_epoch=progress.best_epoch,
            best_score=progress.best_score,
            epochs=progress.epoch,
            steps=progress.history[-1].step if progress.history else 0,
            seconds=sum(row.seconds for row in progress.history),
        )

    def _run_stage(self) -> None:
        while self._epoch_steps() > 0 and not self._is_out_of_patience():
            self._run_epoch()

    def _has_next_stage(self) -> bool:
        max_steps = self._options.max_steps
        is_cut_off = max_steps is not None and self._progress.total_steps >= max_steps
        return self._progress.stage + 1 < len(self._task.stages) and not is_cut_off

    def _begin_stage(self) -> None:
        """Go from the end of a stage to the start of the next; after a crash in between, everything is done again."""
        kept = self._layout.stage(self._stage.name)
        if self._group.is_first:
            write_durably(kept, self._layout.best.read_bytes())
        self._group.wait()
        best = load_checkpoint(kept)
        restore_state(self._task.network, best.network, path=kept)
        restore_state(self._losses, best.losses, path=kept)
        following = self._task.stages[self._progress.stage + 1]
        for name in following.renewed:
            self._losses[name].load_state_dict(self._fresh_losses[name])
        self._progress = self._progress.begin_stage(steps_per_epoch=len(following.batches))
        self._stepper = self._make_stepper()
        self._save_last()

    @property
    def _stage_step_count(self) -> int:
        """Steps of the running stage."""
        max_steps, all_steps = self._options.max_steps, self._stage.step_count
        return all_steps if max_steps is None else max(0, min(all_steps, max_steps - self._progress.steps_before))

    @property
    def _step_count(self) -> int:
        """Steps of the whole run; a stage that ends early makes it fewer."""
        following = self._task.stages[self._progress.stage + 1 :]
        left = self._stage.step_count + sum(stage.step_count for stage in following)
        all_steps, max_steps = self._progress.steps_before + left, self._options.max_steps
        return all_steps if max_steps is None else min(all_steps, max_steps)

    def _epoch_steps(self) -> int:
        """Return the steps of the running epoch: fewer if `max_steps` cuts it off, 0 after the stage's last epoch."""
        progress = self._progress
        done = (progress.epoch - progress.epochs_before) * progress.steps_per_epoch
        return max(0, min(progress.steps_per_epoch, self._stage_step_count - done))

    def _is_out_of_patience(self) -> bool:
        patience, progress = self._stage.patience_epochs, self._progress
        return patience is not None and progress.epoch - max(progress.best_epoch, progress.epochs_before) >= patience

    def _run_epoch(self) -> None:
        self._task.network.train()
        self._losses.train()
        batches = iter(self._stage.batches(self._progress.epoch, self._progress.step))
        while self._progress.step < self._epoch_steps():
            started = time.monotonic()
            batch = self._share_failures(next(batches))
            waiting_seconds = time.monotonic() - started
            with defer_interrupts():
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
        """Return the losses of one step; None if no item of the batch could be used."""
        progress = self._progress
        for failure in batch.failures:
            if failure.item_id not in progress.failed_item_ids:
                logger.warning("Skipped %s: %s", failure.item_id, failure.message)
        seed_step(self._provenance.seed, epoch=progress.epoch, step=progress.step, process_index=self._group.index)
        return self._stepper.take(batch, lr=self._lr(progress.stage_steps), step=progress.total_steps + 1)

    def _share_failures(self, batch: Batch) -> Batch:
        """Return the batch with the failures of all processes, so that they agree when there are too many."""
        if self._group.size == 1:
            return batch
        own = [text for each in batch.failures for text in (each.item_id, each.kind, each.message)]
        texts = self._group.share_texts(own, device=self._device)
        return replace(batch, failures=tuple(Failure(*texts[i : i + 3]) for i in range(0, len(texts), 3)))

    def _lr(self, step: int) -> float:
        """Return the rate at a step of the running stage, counted from 0."""
        stage, steps_per_epoch = self._stage, self._progress.steps_per_epoch
        factor = stage.schedule.compute_factor(step, steps_per_epoch=steps_per_epoch, step_count=self._stage_step_count)
        return stage.optimizer.lr * factor

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
        """Validate and save: best, last, table. After a crash between any two, the later ones are written again."""
        started = time.monotonic()
        score = self._group.share_number(self._validate() if self._group.is_first else None, device=self._device)
        progress, sums = self._progress, self._progress.sums
        row = EpochMetrics(
            stage=self._stage.name,
            epoch=progress.epoch + 1,
            step=progress.total_steps,
            lr=self._lr(progress.stage_steps - 1),
            loss=sums.compute_mean_loss(),
            validation_map=score,
            seconds=sums.seconds + time.monotonic() - started,
            waiting_share=sums.waiting_seconds / sums.seconds if sums.seconds else 0.0,
            failed=len(progress.failed_item_ids),
        )
        is_first = progress.epoch == progress.epochs_before
        if is_first and score is None and self._stage.validate is not None:
            self._reporter.say("too few validation files can be read to measure anything; the last epoch is kept")
        is_best = progress.best_score is None or (score is not None and score > progress.best_score)
        finished = progress.finish_epoch(row, is_best=is_best)
        if is_best and self._group.is_first:
            save_checkpoint(self._layout.best, self._checkpoint(finished))
        self._progress = finished
        self._save_last()
        self._write_tables()
        self._reporter.say(
            row.describe(epochs=self._stage.epochs, epochs_before=progress.epochs_before, is_best=is_best)
        )

    def _validate(self) -> float | None:
        if self._stage.validate is None:
            return None
        self._task.network.eval()
        with torch.no_grad():
            return self._stage.validate(self._task.network)

    def _checkpoint(self, progress: Progress) -> Checkpoint:
        validated = progress.history[-1] if progress.history and progress.step == 0 else None
        return Checkpoint(
            provenance=self._provenance,
            network=self._task.network.state_dict(),
            losses=self._losses.state_dict(),
            epoch=progress.epoch,
            validation_map=validated.validation_map if validated else None,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )

    def _write_tables(self) -> None:
        if self._group.is_first:
            write_metrics(self._layout.metrics, self._progress.history)
            if self._options.writes_tensorboard:
                write_tensorboard(self._layout.tensorboard, self._progress.history)

    def _save_last(self) -> None:
        if not self._group.is_first:
            return
        resume = ResumeState(read_optimizer_state(self._stepper.optimizer), self._progress.to_json())
        save_checkpoint(self._layout.last, replace(self._checkpoint(self._progress), resume=resume))
        self._saved_at = time.monotonic()
