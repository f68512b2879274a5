"""Gradient accumulation: a batch through the network, whole or in parts, in the precision that suits the device."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor, nn

from fieldmark.types import MEDIA, Batch, MediumBatch, Outputs

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
class _StepOutputs:
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

    def compute(self, batch: Batch) -> _StepOutputs:
        """Return the outputs of all rows of a batch, each with its label and medium."""
        parts = _split(batch.parts, self._execution.part_count)
        if len(parts) == 1:
            return _StepOutputs(
                self._outputs(batch.parts), lambda: None
            )  # the losses' own backward reaches the weights
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
        return _StepOutputs(outputs, lambda: self._backpropagate(parts, states, outputs))

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
        with torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=self._execution.bf16):
            embedding, logits = self._forward(parts)
        if self._execution.bf16:
            embedding, logits = embedding.float(), logits.float()
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
