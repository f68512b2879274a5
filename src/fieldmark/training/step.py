"""One training step: a batch to outputs, losses, gradient and moved weights; done as a whole or not at all."""

import math
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

import numpy as np
import torch
from torch import Tensor, nn

from fieldmark.errors import NonFiniteLossError, TrainingMemoryError
from fieldmark.training.optimizer import OptimizerOptions, build_optimizer, set_lr
from fieldmark.training.progress import LossParts
from fieldmark.types import MEDIA, Batch, MediumBatch, Outputs

Forward = Callable[[Sequence[MediumBatch]], tuple[Tensor, Tensor]]
"""Embeddings of length 1 and logits of the rows of a step, part after part (`Network.forward_together`)."""


@dataclass(frozen=True, slots=True)
class WeightedLoss:
    """A loss and its part in the whole.

    Args:
        module: Takes `Outputs`, gives a scalar; it may have parameters and buffers of its own, as centers are.
        lr_scale: Learning rate of its parameters over that of the network.
    """

    module: nn.Module
    weight: float = 1.0
    lr_scale: float = 1.0


@final
class Stepper:
    """A network, its losses and its optimizer.

    Args:
        network: Whose weights are moved.
        forward: What it makes of a batch.
        last_good: Where the last checkpoint lies once there is one, for messages.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        forward: Forward,
        losses: Mapping[str, WeightedLoss],
        options: OptimizerOptions,
        last_good: Path,
    ) -> None:
        self.network = network
        self._forward = forward
        self.losses = nn.ModuleDict({name: each.module for name, each in losses.items()})
        self.optimizer = build_optimizer(
            network, losses=[(each.module, each.lr_scale) for each in losses.values()], options=options
        )
        self.device = next(network.parameters()).device
        self._weighted = losses
        self._clip_norm = math.inf if options.clip_norm is None else options.clip_norm
        self._last_good = last_good

    def take(self, batch: Batch, *, lr: float, step: int) -> LossParts:
        """Moves the weights by one batch.

        Args:
            step: Counted from 1, for messages.

        Raises:
            NonFiniteLossError: A loss or the gradient is not a number; the weights were not moved.
            TrainingMemoryError: The step does not fit into memory.
        """
        try:
            return self._descend(batch, lr=lr, step=step)
        except (MemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
            lines = str(error).splitlines() or ["no reason given"]
            raise TrainingMemoryError(step=step, row_count=len(batch.item_ids), reason=lines[0]) from error

    def _descend(self, batch: Batch, *, lr: float, step: int) -> LossParts:
        set_lr(self.optimizer, lr)
        self.optimizer.zero_grad()
        outputs = forward_batch(self._forward, batch, device=self.device)
        losses = [each.module(outputs) for each in self._weighted.values()]
        weights = [each.weight for each in self._weighted.values()]
        total = torch.stack([weight * loss for weight, loss in zip(weights, losses, strict=True)]).sum()
        torch.autograd.backward(total)
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self._clip_norm)
        # All that is looked at comes from the device in one transfer.
        *parts, total_value, norm_value = torch.stack([*losses, total, norm]).tolist()
        loss = LossParts(dict(zip(self._weighted, parts, strict=True)), total_value)
        if not math.isfinite(total_value + norm_value):
            raise NonFiniteLossError(
                step=step,
                parts=f"{loss}, gradient norm {norm_value:.4g}",
                item_ids=batch.item_ids,
                checkpoint=self._last_good if self._last_good.exists() else None,
            )
        self.optimizer.step()
        return loss


def forward_batch(forward: Forward, batch: Batch, *, device: torch.device) -> Outputs:
    """What the network makes of all rows of a batch, each with its label and medium."""
    parts = [replace(part, inputs=part.inputs.to(device, non_blocking=True)) for part in batch.parts]
    codes = [torch.full_like(part.label, MEDIA.index(part.medium)) for part in batch.parts]
    embedding, logits = forward(parts)
    return Outputs(
        embedding=embedding,
        logits=logits,
        label=torch.cat([part.label for part in batch.parts]).to(device),
        medium=torch.cat(codes).to(device),
    )


def seed_step(seed: int, *, epoch: int, step: int) -> None:
    """Puts torch's random state where this step of this run always finds it."""
    torch.manual_seed(int(np.random.SeedSequence([seed, epoch, step]).generate_state(1, np.uint64)[0]))


@contextmanager
def interrupts_after() -> Iterator[None]:
    """Puts a Ctrl-C off to the end of the block, so that no step is left half done."""
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
    """Whether memory ran out; the CPU's allocator says so by a plain RuntimeError."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)
