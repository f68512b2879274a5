"""A batch through the network, whole or in parts, in a precision and an order of memory that suit the chip."""

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
    """How a step is computed; what it computes stays the same up to rounding.

    Args:
        bf16: Products of the network are taken in bfloat16; weights, losses and the optimizer stay in float32.
        channels_last: The channels of a point of a picture lie side by side in memory, as fast convolutions want them.
        is_compiled: The network goes through `torch.compile`, which needs a compiler and takes a minute at first.
        part_count: Parts in which the rows go through the network, one after another. The losses see the rows of all
            parts at once, as they are between batches of that size; only batch norm sees a part at a time.
    """

    bf16: bool = False
    channels_last: bool = False
    is_compiled: bool = False
    part_count: int = 1


@dataclass(frozen=True, slots=True)
class Traced:
    """What the network made of a batch.

    Args:
        outputs: Rows that gather a gradient.
        send_back: Brings the gradient that the rows have gathered on to the weights; to be called once, after it.
    """

    outputs: Outputs
    send_back: Callable[[], None]


@final
class Passes:
    """Takes batches through a network.

    In parts, every part goes through twice, as in Gao et al., 2021 (GradCache): once without a gradient, so that the
    losses have all rows, and once more to bring their gradient to the weights. So the memory is that of one part, the
    time about a third more, and a ranking or center loss is that of the whole batch. That is not so where the gradients
    of small batches are summed up: such losses would never see two rows of different parts.
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

    def run(self, batch: Batch) -> Traced:
        """What the network makes of all rows of a batch, each with its label and medium."""
        parts = _split(batch.parts, self._execution.part_count)
        if len(parts) == 1:
            return Traced(self._outputs(batch.parts), _do_nothing)
        buffers = [(buffer, buffer.clone()) for buffer in self._network.buffers()]
        states: list[tuple[Tensor, ...]] = []
        rows: list[Outputs] = []
        with torch.no_grad():
            for part in parts:
                states.append(self._random_state())
                rows.append(self._outputs(part))
        for buffer, before in buffers:  # the second time counts
            buffer.copy_(before)
        outputs = Outputs(
            embedding=torch.cat([each.embedding for each in rows]).requires_grad_(),
            logits=torch.cat([each.logits for each in rows]).requires_grad_(),
            label=torch.cat([each.label for each in rows]),
            medium=torch.cat([each.medium for each in rows]),
        )
        return Traced(outputs, lambda: self._again(parts, states, outputs))

    def _again(
        self, parts: Sequence[Sequence[MediumBatch]], states: Sequence[tuple[Tensor, ...]], outputs: Outputs
    ) -> None:
        """Takes each part through once more, as the first time, and its rows' gradient back to the weights."""
        start = 0
        for part, state in zip(parts, states, strict=True):
            self._restore_random_state(state)
            rows = self._outputs(part)
            end = start + len(rows.label)
            traced = [
                (tensor, whole.grad[start:end])
                for tensor, whole in ((rows.embedding, outputs.embedding), (rows.logits, outputs.logits))
                if whole.grad is not None
            ]
            torch.autograd.backward([tensor for tensor, _ in traced], [gradient for _, gradient in traced])
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


def supports_bf16(device: torch.device) -> bool:
    """Whether the chip itself multiplies in bfloat16; where it only imitates that, float32 is faster."""
    match device.type:
        case "cuda":
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
        case "cpu":
            checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # no public name up to torch 2.13
            return any(bool(getattr(torch.cpu, name, bool)()) for name in checks)
        case _:
            return False


def _split(parts: Sequence[MediumBatch], part_count: int) -> list[list[MediumBatch]]:
    """The rows of each medium in so many parts of about one size; of few rows, in fewer parts."""
    split: list[list[MediumBatch]] = [[] for _ in range(part_count)]
    for part in parts:
        pieces = zip(part.inputs.tensor_split(part_count), part.label.tensor_split(part_count), strict=True)
        for own, (inputs, label) in zip(split, pieces, strict=True):
            if len(label):
                own.append(replace(part, inputs=inputs, label=label))
    return [own for own in split if own]


def _do_nothing() -> None:
    """The gradient of a batch that went through whole is at the weights already."""
