"""One training step: a batch to outputs, losses, gradient and moved weights; done as a whole or not at all."""

import math
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
import torch
from torch import nn

from fieldmark.errors import NonFiniteLossError, TrainingError
from fieldmark.training.accumulation import GradientAccumulation
from fieldmark.training.group import Group
from fieldmark.training.optimizer import OptimizerOptions, build_optimizer, set_lr
from fieldmark.training.progress import LossParts
from fieldmark.types import Batch


@dataclass(frozen=True, slots=True)
class WeightedLoss:
    """A loss with its weight in the total.

    Args:
        module: From `Outputs` to a scalar; it may have parameters and buffers of its own, such as centers.
        lr_scale: Learning rate of its parameters, relative to that of the network.
    """

    module: nn.Module
    weight: float = 1.0
    lr_scale: float = 1.0


@final
class Stepper:
    """A network, its losses and its optimizer.

    Args:
        network: Its weights are updated.
        accumulation: Takes a batch through it, whole or in parts.
        last_good: Path of the last checkpoint, once there is one, for messages.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        accumulation: GradientAccumulation,
        losses: Mapping[str, WeightedLoss],
        options: OptimizerOptions,
        group: Group,
        last_good: Path,
    ) -> None:
        self.network = network
        self._accumulation = accumulation
        self._group = group
        self.losses = nn.ModuleDict({name: each.module for name, each in losses.items()})
        self.optimizer = build_optimizer(
            network, losses=[(each.module, each.lr_scale) for each in losses.values()], options=options
        )
        self.device = next(network.parameters()).device
        self._weighted = losses
        self._clip_norm = math.inf if options.clip_norm is None else options.clip_norm
        self._last_good = last_good

    def take(self, batch: Batch, *, lr: float, step: int) -> LossParts | None:
        """Update the weights with one batch, and return its losses; None if no process has rows.

        Args:
            step: Counted from 1, for messages.

        Raises:
            NonFiniteLossError: A loss or the gradient is not a number; the weights were not updated.
            TrainingError: The step does not fit into memory.
        """
        try:
            return self._descend(batch, lr=lr, step=step)
        except (MemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
            lines = str(error).splitlines() or ["no reason given"]
            raise TrainingError(
                f"Memory ran out at step {step}, with {len(batch.item_ids)} rows in the batch ({lines[0]}). "
                "Split the batch with 'train.accumulation', "
                "lower 'data.classes_per_batch', 'data.items_per_class' or a size of the model "
                "('model.crop_pixels', 'model.depth'), or run on the CPU with FIELDMARK_DEVICE=cpu.",
                kind="out_of_memory",
            ) from error

    def _descend(self, batch: Batch, *, lr: float, step: int) -> LossParts | None:
        set_lr(self.optimizer, lr)
        self.optimizer.zero_grad()
        computed = self._accumulation.compute(batch) if batch.parts else None
        outputs = self._group.join(computed.outputs if computed else None, device=self.device)
        if outputs is None:
            return None
        losses = [each.module(outputs) for each in self._weighted.values()]
        weights = [each.weight for each in self._weighted.values()]
        total = torch.stack([weight * loss for weight, loss in zip(weights, losses, strict=True)]).sum()
        if total.requires_grad:  # not so in a process without rows
            torch.autograd.backward(total)
        if computed:
            computed.backpropagate()
        self._group.sum_gradients(self.network)
        self._group.average_buffers(self.network)
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self._clip_norm)
        # One transfer from the device brings everything that is checked.
        *parts, total_value, norm_value = torch.stack([*losses, total, norm]).tolist()
        loss = LossParts(dict(zip(self._weighted, parts, strict=True)), total_value)
        if not math.isfinite(total_value + norm_value):
            raise NonFiniteLossError(
                step=step,
                parts=f"{loss}, gradient norm {norm_value:.4g}",
                item_ids=self._group.share_texts(batch.item_ids, device=self.device),
                checkpoint=self._last_good if self._last_good.exists() else None,
            )
        self.optimizer.step()
        return loss


def seed_step(seed: int, *, epoch: int, step: int, process_index: int = 0) -> None:
    """Set torch's random state from the seed, the epoch and the step.

    Args:
        process_index: Of this process among those that train together, from 0.
    """
    entropy = [seed, epoch, step, *([process_index] if process_index else [])]
    torch.manual_seed(int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0]))


@contextmanager
def defer_interrupts() -> Iterator[None]:
    """Defer a Ctrl-C to the end of the block, so that no step is left half done."""
    if threading.current_thread() is not threading.main_thread():
        yield  # Python interrupts the main thread only.
        return
    interrupts: list[int] = []
    previous = signal.signal(signal.SIGINT, lambda number, _: interrupts.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL if previous is None else previous)
    if interrupts:
        signal.raise_signal(signal.SIGINT)


def _is_out_of_memory(error: Exception) -> bool:
    """Return whether memory ran out; CPU allocators and CUDA libraries say so by a plain RuntimeError."""
    signs = ("DefaultCPUAllocator", "bad_alloc", "ALLOC_FAILED", "out of memory")
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(sign in str(error) for sign in signs)
