"""The processes that train one network together: rows are joined, gradients summed, and the first one writes."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import final

import torch
import torch.distributed as dist
from jaxtyping import Shaped
from torch import Tensor, nn

from fieldmark.types import Outputs

_TIMEOUT = timedelta(hours=2)
"""Time that one process waits for another: as long as the first may take to validate."""


@final
class Group:
    """The processes that train together, each with its share of every batch; a single process works as without a group.

    Every process computes the losses over the rows of all, and each of these carries its label and medium, so the
    order of the processes does not matter. Gradients reach the network through a process's own rows only; their sum
    over the processes is the gradient of the joint batch. So the number of processes changes the speed of a step and
    not its result, except for batch norm, whose statistics are those of each process's rows.

    Args:
        index: Of this process, from 0.
        size: Number of the processes.
    """

    def __init__(self, *, index: int = 0, size: int = 1) -> None:
        self.index = index
        self.size = size

    @property
    def is_first(self) -> bool:
        """True for the process that writes files and reports progress."""
        return self.index == 0

    def join(self, outputs: Outputs | None, *, device: torch.device) -> Outputs | None:
        """Return the rows of all processes, those of this one with their gradient; None if there are none at all.

        Args:
            outputs: Rows of this process; None where it has none.
        """
        if self.size == 1:
            return outputs
        own = (
            [0, 0, 0] if outputs is None else [len(outputs.label), outputs.embedding.shape[1], outputs.logits.shape[1]]
        )
        shapes = self._gather_equal(torch.tensor(own, device=device))
        counts = [int(shape[0]) for shape in shapes]
        _, dim, class_count = torch.stack(shapes).amax(dim=0).tolist()
        if not any(counts):
            return None
        if outputs is None:
            empty = torch.zeros(0, dtype=torch.int64, device=device)
            rows = torch.zeros(0, dim, device=device), torch.zeros(0, class_count, device=device)
            outputs = Outputs(embedding=rows[0], logits=rows[1], label=empty, medium=empty)
        return Outputs(
            embedding=self._gather(outputs.embedding, counts),
            logits=self._gather(outputs.logits, counts),
            label=self._gather(outputs.label, counts),
            medium=self._gather(outputs.medium, counts),
        )

    def sum_gradients(self, network: nn.Module) -> None:
        """Sum the gradient of every weight over the processes; a gradient that none of them has stays None."""
        if self.size == 1:
            return
        trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
        is_given = torch.stack([torch.tensor(float(each.grad is not None)) for each in trained])
        gradients = [torch.zeros_like(each) if each.grad is None else each.grad for each in trained]
        flat = torch.cat([is_given.to(gradients[0].device), *(each.flatten() for each in gradients)])
        dist.all_reduce(flat)
        start = len(trained)
        for parameter, gradient, count in zip(trained, gradients, flat[:start].tolist(), strict=True):
            end = start + gradient.numel()
            gradient.copy_(flat[start:end].view_as(gradient))
            parameter.grad = gradient if count else None
            start = end

    def average_buffers(self, network: nn.Module) -> None:
        """Average every buffer (running statistics) over the processes."""
        buffers = [buffer for buffer in network.buffers() if buffer.is_floating_point()]
        if self.size == 1 or not buffers:
            return
        flat = torch.cat([buffer.flatten() for buffer in buffers]) / self.size
        dist.all_reduce(flat)
        start = 0
        for buffer in buffers:
            buffer.copy_(flat[start : start + buffer.numel()].view_as(buffer))
            start += buffer.numel()

    def copy_from_first(self, module: nn.Module) -> None:
        """Copy the weights and buffers of the first process to all others."""
        if self.size > 1:
            for tensor in module.state_dict().values():
                dist.broadcast(tensor, src=0)

    def share_texts(self, texts: Sequence[str], *, device: torch.device) -> tuple[str, ...]:
        """Return the texts of all processes, one process after the other."""
        if self.size == 1:
            return tuple(texts)
        own = torch.tensor(list(json.dumps(list(texts)).encode()), dtype=torch.uint8, device=device)
        counts = [int(count) for count in self._gather_equal(torch.tensor([len(own)], device=device))]
        joined = bytes(self._gather(own, counts).tolist())
        found: list[str] = []
        for count in counts:
            found += json.loads(joined[:count])
            joined = joined[count:]
        return tuple(found)

    def share_number(self, number: float | None, *, device: torch.device) -> float | None:
        """Return the number of the first process, in all of them."""
        if self.size == 1:
            return number
        sent = torch.tensor([0.0, 0.0] if number is None else [1.0, number], dtype=torch.float64, device=device)
        dist.broadcast(sent, src=0)
        return float(sent[1]) if sent[0] else None

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.size > 1:
            dist.barrier()

    def _gather(self, rows: Shaped[Tensor, "own ..."], counts: Sequence[int]) -> Shaped[Tensor, "batch ..."]:
        """Return the rows of all processes, which may differ in number; those of this one are not copied."""
        padded = rows.detach().new_zeros(max(counts), *rows.shape[1:])
        padded[: len(rows)] = rows.detach()
        gathered = [each[:count] for each, count in zip(self._gather_equal(padded), counts, strict=True)]
        gathered[self.index] = rows
        return torch.cat(gathered)

    def _gather_equal(self, tensor: Tensor) -> list[Tensor]:
        found = [torch.empty_like(tensor) for _ in range(self.size)]
        dist.all_gather(found, tensor)
        return found


@contextmanager
def open_group(device: torch.device) -> Iterator[Group]:
    """Open the group of processes that `torchrun` started; without it, a group of this process alone."""
    if not (dist.is_available() and dist.is_torchelastic_launched()):
        yield Group()
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=_TIMEOUT)
    group = Group(index=dist.get_rank(), size=dist.get_world_size())
    try:
        yield group
        group.wait()  # so that none hangs up while another still listens
    finally:
        dist.destroy_process_group()


def choose_device(device: torch.device, group: Group) -> torch.device:
    """Return the device of this process: several processes on a machine with GPUs get one GPU each."""
    is_shared = group.size > 1 and device.type == "cuda" and device.index is None
    return torch.device("cuda", dist.get_node_local_rank()) if is_shared else device
