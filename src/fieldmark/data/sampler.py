"""Plans of an epoch: in each batch some classes in every medium they have, or each medium in its list's order."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Protocol, final, runtime_checkable

import numpy as np
from jaxtyping import Int

from fieldmark.types import MEDIA, Medium


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """The rows of one training step, medium by medium in the order of `MEDIA`.

    Args:
        seed: For whatever is drawn while the batch is read.
    """

    rows: tuple[tuple[Medium, tuple[int, ...]], ...]
    seed: int

    def share(self, place: int, *, of: int) -> "BatchPlan":
        """Return the share of one of several processes: every n-th row of each medium; some media may be empty."""
        if of == 1:
            return self
        own = tuple((medium, rows[place::of]) for medium, rows in self.rows if rows[place::of])
        seed = int(np.random.SeedSequence([self.seed, place]).generate_state(1, np.uint64)[0] >> np.uint64(1))
        return replace(self, rows=own, seed=seed)


@runtime_checkable
class Sampler(Protocol):
    """Plans the batches of an epoch."""

    def __len__(self) -> int:
        """Steps of an epoch, the same in all."""
        ...

    def plan(self, epoch: int) -> tuple[BatchPlan, ...]:
        """Return the batches of an epoch, counted from 0; they depend on the seed and the epoch alone."""
        ...


@final
class CrossMediaSampler:
    """Batches of P distinct classes x K items x every medium that the class has; an epoch covers every item.

    A row whose class has another medium therefore always meets a positive of that medium in its batch. A class visited
    more often than its items of a medium last goes through them again, in a new order; only a class with fewer than K
    items of a medium repeats one within a batch.

    A class whose largest medium holds n items needs v = ceil(n / K) visits, and no batch visits it twice. So an epoch
    has `max(largest v, ceil(sum of v / P))` steps, the fewest that cover everything; the visits left over go to the
    classes visited least.

    Args:
        labels_by_medium: The label of each row of each medium; plans name rows by their place in these arrays.
        classes_per_batch: P; where there are fewer classes, all of them.
        items_per_class: K, in each medium.
    """

    def __init__(
        self,
        labels_by_medium: Mapping[Medium, Int[np.ndarray, " _"]],
        *,
        classes_per_batch: int,
        items_per_class: int,
        seed: int,
    ) -> None:
        rows_by_medium = {medium: _rows_by_label(labels_by_medium.get(medium)) for medium in MEDIA}
        labels = sorted(set().union(*rows_by_medium.values()))
        largest = [max(len(rows.get(label, ())) for rows in rows_by_medium.values()) for label in labels]
        self._rows_by_medium = {
            medium: {place: rows[label] for place, label in enumerate(labels) if label in rows}
            for medium, rows in rows_by_medium.items()
        }
        self._needed_visits: Int[np.ndarray, " class"] = -(-np.array(largest, dtype=np.int64) // items_per_class)
        self._classes_per_batch = min(classes_per_batch, len(labels))
        self._items_per_class = items_per_class
        self._seed = seed

    def __len__(self) -> int:
        """Steps of an epoch, the same in all."""
        if not len(self._needed_visits):
            return 0
        return max(int(self._needed_visits.max()), -(-int(self._needed_visits.sum()) // self._classes_per_batch))

    def plan(self, epoch: int) -> tuple[BatchPlan, ...]:
        """Return the batches of an epoch, counted from 0; they depend on the seed and the epoch alone."""
        generator = np.random.default_rng([self._seed, epoch])
        visits = self._spread_visits(generator)
        queues = {
            medium: {
                place: _cycle(rows, visits=int(visits[place]), items=self._items_per_class, generator=generator)
                for place, rows in rows_by_place.items()
            }
            for medium, rows_by_place in self._rows_by_medium.items()
        }
        plans = []
        for places in self._schedule(visits, generator):
            rows = {
                medium: tuple(
                    row for place in places if place in queue for row in islice(queue[place], self._items_per_class)
                )
                for medium, queue in queues.items()
            }
            present = tuple((medium, wanted) for medium, wanted in rows.items() if wanted)
            plans.append(BatchPlan(rows=present, seed=int(generator.integers(2**63))))
        return tuple(plans)

    def _spread_visits(self, generator: np.random.Generator) -> Int[np.ndarray, " class"]:
        """Visits of each class: as needed, then from the least visited up, until every batch is full."""
        visits = self._needed_visits.copy()
        spare = len(self) * self._classes_per_batch - int(visits.sum())
        while spare:
            raised = generator.permutation(np.flatnonzero(visits == visits.min()))[:spare]
            visits[raised] += 1
            spare -= len(raised)
        return visits

    def _schedule(self, visits: Int[np.ndarray, " class"], generator: np.random.Generator) -> Iterator[list[int]]:
        """Draw the classes of each batch without replacement; a class is likelier the more visits it has left.

        A class with as many visits left as there are batches must be in all of them. Taking those first keeps the rest
        feasible to the end, since the visits left always fill the batches left.
        """
        left = visits.copy()
        for steps_left in range(len(self), 0, -1):
            # The smallest of exponential draws of rates w is draw i with probability w_i / sum of w.
            draws = np.full(len(left), np.inf)
            np.divide(generator.exponential(size=len(left)), left, out=draws, where=left > 0)
            draws[left == steps_left] = -1.0
            places = np.argpartition(draws, self._classes_per_batch - 1)[: self._classes_per_batch]
            left[places] -= 1
            yield places.tolist()


@final
class ListSampler:
    """Batches of some rows of each medium in their own order, never shuffled, up to the end of the shortest medium.

    What the released code of He et al., ACM MM 2019, does by zipping four loaders. Kept for comparison: rows beyond the
    shortest medium's length are never seen, and where the lists are ordered by class in different ways, a batch holds
    no cross-media positive.

    Args:
        row_counts: Of each medium.
        items_per_medium: In a batch.
    """

    def __init__(self, row_counts: Mapping[Medium, int], *, items_per_medium: int, seed: int) -> None:
        self._media = tuple(medium for medium in MEDIA if row_counts.get(medium))
        self._row_counts = row_counts
        self._items_per_medium = items_per_medium
        self._seed = seed

    def __len__(self) -> int:
        """Steps of an epoch, the same in all."""
        return min((-(-self._row_counts[medium] // self._items_per_medium) for medium in self._media), default=0)

    def plan(self, epoch: int) -> tuple[BatchPlan, ...]:
        """Return the batches of an epoch: the same rows each time; random crops and the like differ."""
        seeds = np.random.default_rng([self._seed, epoch]).integers(2**63, size=len(self))
        return tuple(
            BatchPlan(rows=tuple((medium, self._rows(medium, step)) for medium in self._media), seed=int(seed))
            for step, seed in enumerate(seeds)
        )

    def _rows(self, medium: Medium, step: int) -> tuple[int, ...]:
        start = step * self._items_per_medium
        return tuple(range(start, min(start + self._items_per_medium, self._row_counts[medium])))


def _rows_by_label(labels: Int[np.ndarray, " row"] | None) -> dict[int, Int[np.ndarray, " _"]]:
    if labels is None or not len(labels):
        return {}
    order = np.argsort(labels, kind="stable")
    values, starts = np.unique(labels[order], return_index=True)
    return dict(zip(values.tolist(), np.split(order, starts[1:]), strict=True))


def _cycle(rows: Int[np.ndarray, " row"], *, visits: int, items: int, generator: np.random.Generator) -> Iterator[int]:
    """Rows for some visits: cycle after cycle in a fresh order, those already in the visit that it completes last."""
    order: list[int] = []
    while len(order) < visits * items:
        fresh: list[int] = generator.permutation(rows).tolist()
        begun = len(order) % items
        if begun:
            fresh.sort(key=Counter(order[-begun:]).__getitem__)
        order += fresh
    return iter(order)
