"""One training step: a batch, whole or in parts, to outputs, losses, gradient and moved weights; all or nothing."""

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

from fieldmark.errors import NonFiniteLossError, TrainingError
from fieldmark.training.group import Group
from fieldmark.training.optimizer import OptimizerOptions, build_optimizer, set_lr
from fieldmark.training.progress import LossParts
from fieldmark.types import MEDIA, Batch, MediumBatch, Outputs

# ---------------------------------------------------------------- gradient accumulation

Forward = Callable[[Sequence[MediumBatch]], tuple[Tensor, Tensor]]
"""Embeddings of length 1 and logits of the rows of a step, part after part (`Network.forward_together`)."""


@dataclass(frozen=True, slots=True)
class Execution:
    """Options of speed and memory of a step; its result stays the same up to rounding.

    Args:
        bf16: Matrix products of the network are computed in bfloat16; weights, losses and optimizer stay in float32.
        channels_last: Memory format of images, which is faster for convolutions on many devices.
        is_compiled: The network is compiled by `torch.compile`, which needs a compiler and takes a minute at first.
        part_count: Parts in which the rows go through the network, one after another. The losses still see the rows
            of all parts at once; only batch norm sees one part at a time.
    """

    bf16: bool
    channels_last: bool
    is_compiled: bool
    part_count: int


@dataclass(frozen=True, slots=True)
class StepOutputs:
    """The network's outputs for a batch.

    Args:
        outputs: Rows on which the losses leave their gradient.
        backpropagate: Brings that gradient to the weights; to be called once, after the backward pass of the losses.
    """

    outputs: Outputs
    backpropagate: Callable[[], None]


@final
class GradientAccumulation:
    """Computes the outputs of a batch in one or several parts, and accumulates the gradient of the parts.

    With several parts, every part goes through the network twice, as in Gao et al., 2021 (GradCache): first without a
    gradient, so that the losses have all rows, and again to bring the gradient of its rows to the weights. Memory is
    that of one part, time about a third more, and a ranking or center loss is that of the whole batch. Plain
    accumulation of the gradients of small batches differs: there no loss sees two rows of different parts.
    """

    def __init__(self, network: nn.Module, *, forward: Forward, execution: Execution, device: torch.device) -> None:
        if execution.channels_last:
            for parameter in network.parameters():
                if parameter.ndim == 4:
                    parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        self._network = network
        self._forward: Forward = torch.compile(forward) if execution.is_compiled else forward
        self._execution = execution
        self._device = device

    def compute(self, batch: Batch) -> StepOutputs:
        """Return the outputs of all rows of a batch, each with its label and medium."""
        parts = _split(batch.parts, self._execution.part_count)
        if len(parts) == 1:
            return StepOutputs(self._outputs(batch.parts), lambda: None)  # the losses' own backward reaches the weights
        buffers = [(buffer, buffer.clone()) for buffer in self._network.buffers()]
        states: list[tuple[Tensor, ...]] = []
        rows: list[Outputs] = []
        with torch.no_grad():
            for part in parts:
                states.append(self._random_state())
                rows.append(self._outputs(part))
        for buffer, before in buffers:  # the second forward pass updates them
            buffer.copy_(before)
        outputs = Outputs(
            embedding=torch.cat([each.embedding for each in rows]).requires_grad_(),
            logits=torch.cat([each.logits for each in rows]).requires_grad_(),
            label=torch.cat([each.label for each in rows]),
            medium=torch.cat([each.medium for each in rows]),
        )
        return StepOutputs(outputs, lambda: self._backpropagate(parts, states, outputs))

    def _backpropagate(
        self, parts: Sequence[Sequence[MediumBatch]], states: Sequence[tuple[Tensor, ...]], outputs: Outputs
    ) -> None:
        """Repeat the forward pass of each part, with the same random state, and backpropagate its rows' gradient."""
        start = 0
        for part, state in zip(parts, states, strict=True):
            self._restore_random_state(state)
            rows = self._outputs(part)
            end = start + len(rows.label)
            with_gradient = [
                (tensor, whole.grad[start:end])
                for tensor, whole in ((rows.embedding, outputs.embedding), (rows.logits, outputs.logits))
                if whole.grad is not None
            ]
            torch.autograd.backward(
                [tensor for tensor, _ in with_gradient], [gradient for _, gradient in with_gradient]
            )
            start = end

    def _outputs(self, parts: Sequence[MediumBatch]) -> Outputs:
        parts = [replace(part, inputs=self._move(part.inputs)) for part in parts]
        codes = [torch.full_like(part.label, MEDIA.index(part.medium)) for part in parts]
        if self._execution.bf16:
            with torch.autocast(self._device.type, dtype=torch.bfloat16):
                embedding, logits = self._forward(parts)
            embedding, logits = embedding.float(), logits.float()
        else:  # not every device that computes has an autocast, even one that is off
            embedding, logits = self._forward(parts)
        return Outputs(
            embedding=embedding,
            logits=logits,
            label=torch.cat([part.label for part in parts]).to(self._device),
            medium=torch.cat(codes).to(self._device),
        )

    def _move(self, inputs: Tensor) -> Tensor:
        inputs = inputs.to(self._device, non_blocking=True)
        is_picture = self._execution.channels_last and inputs.ndim == 4
        return inputs.contiguous(memory_format=torch.channels_last) if is_picture else inputs

    def _random_state(self) -> tuple[Tensor, ...]:
        states = [torch.random.get_rng_state()]
        if self._device.type == "cuda":
            states.append(torch.cuda.get_rng_state(self._device))
        return tuple(states)

    def _restore_random_state(self, states: tuple[Tensor, ...]) -> None:
        torch.random.set_rng_state(states[0])
        if self._device.type == "cuda":
            torch.cuda.set_rng_state(states[1], self._device)


def can_use_bf16(device: torch.device) -> bool:
    """Return whether the device multiplies in bfloat16 natively; where it emulates that, float32 is faster."""
    match device.type:
        case "cuda":
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
        case "cpu":
            checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # no public name up to torch 2.13
            return any(bool(getattr(torch.cpu, name, bool)()) for name in checks)
        case _:
            return False


def _split(parts: Sequence[MediumBatch], part_count: int) -> list[list[MediumBatch]]:
    """Split the rows of each medium into so many parts of about equal size; few rows give fewer parts."""
    split: list[list[MediumBatch]] = [[] for _ in range(part_count)]
    for part in parts:
        pieces = zip(part.inputs.tensor_split(part_count), part.label.tensor_split(part_count), strict=True)
        for own, (inputs, label) in zip(split, pieces, strict=True):
            if len(label):
                own.append(replace(part, inputs=inputs, label=label))
    return [own for own in split if own]


# ---------------------------------------------------------------- the step


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
