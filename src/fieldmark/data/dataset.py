"""Plans of the sampler to batches: rows are read, one segment each, and bad files are skipped."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, final, runtime_checkable

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from fieldmark.data.sampler import BatchPlan, Sampler
from fieldmark.errors import MediaError
from fieldmark.types import Batch, Failure, Item, Medium, MediumBatch


@runtime_checkable
class Reader(Protocol):
    """The source of a row's tensors: features computed before, or files decoded now."""

    def read(self, row: int) -> Tensor:
        """Return the network's inputs of all segments of a row, stacked on axis 0.

        Raises:
            MediaError: The row's file cannot be used.
        """
        ...


@runtime_checkable
class SegmentSource(Protocol):
    """Turns one item into what a network reads of its segments."""

    def __call__(self, item: Item) -> Tensor:
        """All segments of the item, stacked on axis 0."""
        ...


@final
class FeatureReader:
    """Rows whose tensors lie in memory already."""

    def __init__(self, features: Sequence[Tensor]) -> None:
        self._features = features

    def read(self, row: int) -> Tensor:
        """All segments of a row."""
        return self._features[row]


@final
class MediaReader:
    """Rows decoded when they are asked for; the first ones asked for stay in memory up to a limit.

    Args:
        memory_bytes: The most that the kept tensors may take; 0 decodes every time.
    """

    def __init__(self, items: Sequence[Item], source: SegmentSource, *, memory_bytes: int) -> None:
        self._items = items
        self._source = source
        self._free_bytes = memory_bytes
        self._kept: dict[int, Tensor] = {}

    def read(self, row: int) -> Tensor:
        """All segments of a row, from memory or from the file."""
        if row in self._kept:
            return self._kept[row]
        tensor = self._source(self._items[row])
        if tensor.nbytes <= self._free_bytes:
            self._free_bytes -= tensor.nbytes
            self._kept[row] = tensor
        return tensor


@dataclass(frozen=True, slots=True)
class MediumRows:
    """The training rows of one medium, in the order of its labels.

    Args:
        origin: Number of each item's origin among the items of all media.
    """

    items: Sequence[Item]
    label: Int[np.ndarray, " row"]
    reader: Reader
    origin: Int[np.ndarray, " row"]


@final
class CrossMediaDataset(Dataset[Batch]):
    """A batch for each plan: of every row one segment, drawn by the plan's seed.

    A row that cannot be read is replaced by the next readable row of its class and medium, and named in the batch's
    failures; where its class has no other, the row is left out.
    """

    def __init__(self, rows: Mapping[Medium, MediumRows]) -> None:
        self._rows = rows

    def __getitem__(self, plan: BatchPlan) -> Batch:
        """Read one batch."""
        generator = np.random.default_rng(plan.seed)
        parts: list[MediumBatch] = []
        item_ids: list[str] = []
        failures: list[Failure] = []
        for medium, wanted in plan.rows:
            rows = self._rows[medium]
            inputs, used = [], []
            for row in wanted:
                found = self._read(rows, row, failures)
                if found is not None:
                    segments, read_row = found
                    inputs.append(segments[int(generator.integers(len(segments)))])
                    used.append(read_row)
            if used:
                label = torch.as_tensor(rows.label[used], dtype=torch.int64)
                parts.append(MediumBatch(medium=medium, inputs=torch.stack(inputs), label=label))
                item_ids += [rows.items[row].item_id for row in used]
        return Batch(parts=tuple(parts), item_ids=tuple(item_ids), failures=tuple(failures))

    def _read(self, rows: MediumRows, row: int, failures: list[Failure]) -> tuple[Tensor, int] | None:
        """Return the segments of a row, or of the next row of its class that can be read."""
        same_class = np.flatnonzero(rows.label == rows.label[row])
        start = int(np.searchsorted(same_class, row))
        for candidate in np.roll(same_class, -start).tolist():
            try:
                return rows.reader.read(candidate), candidate
            except MediaError as error:
                failures.append(Failure(rows.items[candidate].item_id, error.kind, str(error)))
        return None


@final
class BatchStream:
    """The batches of an epoch, from any step on, decoded by worker processes where asked.

    Args:
        prefetch: Batches that each of the workers decodes ahead.
        share: Place and number of the processes that train together, of which each reads its share of every batch.
        on_failure: Told of each item that could not be used.
    """

    def __init__(
        self,
        dataset: CrossMediaDataset,
        sampler: Sampler,
        *,
        workers: int,
        prefetch: int,
        share: tuple[int, int] = (0, 1),
        on_failure: Callable[[Failure], None] | None = None,
    ) -> None:
        self._dataset = dataset
        self._sampler = sampler
        self._workers = workers
        self._prefetch = prefetch
        self._share = share
        self._on_failure = on_failure

    def __len__(self) -> int:
        return len(self._sampler)

    def __call__(self, epoch: int, first_step: int) -> Iterator[Batch]:
        """Return the same batches for the same epoch and step, always."""
        place, of = self._share
        plans = [plan.share(place, of=of) for plan in self._sampler.plan(epoch)[first_step:]]
        # With batch_size None the loader hands each plan to the dataset as it is.
        loader: DataLoader[Batch] = DataLoader(
            self._dataset,
            batch_size=None,
            sampler=plans,
            num_workers=self._workers,
            prefetch_factor=self._prefetch if self._workers else None,
        )
        for batch in loader:
            if self._on_failure is not None:
                for failure in batch.failures:
                    self._on_failure(failure)
            yield batch
