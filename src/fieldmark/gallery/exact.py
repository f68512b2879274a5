"""One version of a gallery in memory, searched exactly."""

import threading
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar, final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Float32, Float64, Int, Int32

from fieldmark.gallery.filter import allowed_by_column
from fieldmark.gallery.store import Filter
from fieldmark.segment_table import FACT_COLUMNS, LENGTH_TOLERANCE, items_from_table, ordered_matrix, python_values
from fieldmark.types import Hit

HIT_COLUMNS = (*FACT_COLUMNS, "set_name", "start_seconds", "end_seconds")
"""The columns that a hit is made of."""

COLUMNS = (*HIT_COLUMNS, "segment", "vector")
"""The columns of a store that a snapshot reads."""

ROWS_OF_HIT, GROWTH = 2, 4
"""Best rows looked at first for each hit that is wanted; and so many times as many where they are of too few items."""

SHARES = 8
"""Rows that stand for one in the first look for the best, spread over the gallery: neighbors are often alike."""

PRODUCTS_KEPT, MASKS_KEPT = 8, 16
SINGLE_EPSILON = float(np.finfo(np.float32).eps)
NO_COSINE = -2.0
"""Below every score, above that of a row that a filter leaves out."""

Key = TypeVar("Key", bound=Hashable)
Made = TypeVar("Made")
Values = TypeVar("Values", bound=npt.NDArray[np.generic])
ObjectArray = npt.NDArray[np.object_]

ROWS_AT_ONCE = 8192
"""Bounds the memory of a search in which very many rows score alike."""


@final
class Recent(Generic[Key, Made]):
    """What was made for the keys last asked for: one search asks for the same several times.

    Safe to use from several threads.

    Args:
        kept: Things that stay.
    """

    def __init__(self, *, kept: int) -> None:
        self._kept_count = kept
        self._guard = threading.Lock()
        self._kept: dict[Key, Made] = {}

    def get(self, key: Key, make: Callable[[], Made]) -> Made:
        """What was made for a key; not to be written to."""
        kept = self._kept.get(key)
        if kept is not None:
            return kept
        made = make()
        with self._guard:
            self._kept[key] = made
            if len(self._kept) > self._kept_count:
                self._kept.pop(next(iter(self._kept)))
        return made


@final
@dataclass(frozen=True, slots=True)
class Snapshot:
    """The segments of one version, ordered by item id and then by place in the item.

    A product with a matrix in memory took 2 ms where LanceDB's own exact search took 17 to 40 (100,000 x 256, two
    cores, LanceDB 0.40), and ties can be broken exactly, which no scan of a store promises.

    Args:
        embedding: Rows of length 1, up to `length_error`.
        products: Of `embedding` with the vectors last asked for.
        masks: Which rows meet the filters last asked for, but for items that are excluded by id.
        hit_values: Of each row, by `collect_hit_values`.
        items: The same of each item's first segment, as the store has them: what a filter looks at.
        item_of_row: The place in `items` of each row's item.
    """

    embedding: Float32[np.ndarray, "row dim"]
    products: Recent[bytes, Float32[np.ndarray, " row"]]
    masks: Recent[Filter, Bool[np.ndarray, " row"]]
    length: Float64[np.ndarray, " row"]
    length_error: float
    hit_values: ObjectArray
    items: pa.Table
    item_of_row: Int32[np.ndarray, " row"]

    @classmethod
    def from_rows(cls, rows: pa.Table, *, dim: int) -> "Snapshot":
        """Puts the rows of a store in order; `rows` has `COLUMNS`.

        Raises:
            ValueError: The vectors are not what was once stored.
        """
        facts = rows.drop_columns(["vector"])
        order = pc.sort_indices(facts, sort_keys=[("item_id", "ascending"), ("segment", "ascending")])
        facts = facts.take(order).combine_chunks()
        embedding = ordered_matrix(rows["vector"], order=order.to_numpy().astype(np.int64), dim=dim)
        length = lengths(embedding)
        length_error = float(np.abs(length - 1).max(initial=0.0))
        if not length_error <= LENGTH_TOLERANCE:
            raise ValueError("it holds vectors that are not of length 1")
        is_first = facts["segment"].to_numpy() == 0
        return cls(
            embedding=embedding,
            products=Recent(kept=PRODUCTS_KEPT),
            masks=Recent(kept=MASKS_KEPT),
            length=length,
            length_error=length_error,
            hit_values=collect_hit_values(facts),
            items=facts.filter(pa.array(is_first)),
            item_of_row=np.cumsum(is_first, dtype=np.int32) - np.int32(1),
        )

    def search(
        self, query: Float64[np.ndarray, " dim"], *, k: int, where: Filter | None, by_segment: bool
    ) -> tuple[Hit, ...]:
        """The hits as `SegmentIndex.search` defines them; `query` is of length 1."""
        if len(self.item_of_row) == 0:
            return ()
        single = query.astype(np.float32)
        near = self.products.get(single.tobytes(), lambda: frozen(self.embedding @ single))
        if where is not None:
            near = np.where(self._matching(where), near, np.float32(-np.inf))
        # Bounds what single precision and lengths near 1 change in a score.
        error = len(query) * SINGLE_EPSILON + self.length_error
        wanted = ROWS_OF_HIT * k
        while True:
            is_all = wanted >= len(near)
            least = NO_COSINE if is_all else max(reached_by(near, wanted), NO_COSINE)
            row = (near >= least - 2 * error).nonzero()[0]
            score = cosines(self.embedding, row, length=self.length, query=query).tolist()
            # Plain lists: of so few rows, a call of numpy costs more than the work.
            order = sorted(range(len(score)), key=score.__getitem__, reverse=True)
            if not by_segment:
                order = best_places(order, item=self.item_of_row[row].tolist())
            if is_all or least == NO_COSINE or (len(order) >= k and score[order[k - 1]] >= least - error):
                return make_hits(self.hit_values[row[order[:k]]], score=[score[place] for place in order[:k]])
            wanted *= GROWTH

    def _matching(self, where: Filter) -> Bool[np.ndarray, " row"]:
        """Which rows are of items that meet the filter."""
        lasting = replace(where, exclude_item_ids=None)
        matching = self.masks.get(lasting, lambda: frozen(self._meeting(lasting)[self.item_of_row]))
        if where.exclude_item_ids:
            matching = matching & ~is_among(self.items["item_id"], where.exclude_item_ids)[self.item_of_row]
        return matching

    def _meeting(self, where: Filter) -> Bool[np.ndarray, " gallery"]:
        """Which items meet the filter, those that it excludes by id among them."""
        meeting = np.ones(len(self.items), dtype=bool)
        for column, allowed in allowed_by_column(where).items():
            if allowed is not None:
                meeting &= is_among(self.items[column], allowed)
        return meeting


def frozen(values: Values) -> Values:
    """The array itself, which nobody writes to from here on."""
    values.flags.writeable = False
    return values


def collect_hit_values(rows: pa.Table) -> ObjectArray:
    """Return the item, set name, start and end of each row as Python values, ready to become hits.

    Ten rows of such an array are taken in a fortieth of the time that PyArrow needs.
    """
    moments = (python_values(rows[name]) for name in ("set_name", "start_seconds", "end_seconds"))
    columns = [items_from_table(rows), *moments]
    values = np.empty((len(rows), len(columns)), dtype=object)
    for position, column in enumerate(columns):
        values[:, position] = column
    return values


def make_hits(values: ObjectArray, *, score: Sequence[float]) -> tuple[Hit, ...]:
    """Return the hits of some rows of `collect_hit_values`, best first."""
    bounded = [min(max(each, -1.0), 1.0) for each in score]
    return tuple(map(Hit, range(1, len(bounded) + 1), bounded, *values.T.tolist()))


def reached_by(values: Float32[np.ndarray, " row"], count: int) -> float:
    """A value that at least so many of all reach, at most the largest such; in half the time of `np.partition`."""
    width = len(values) // SHARES
    if width < count:
        return float(np.partition(values, -count)[-count])
    largest = np.maximum.reduce(values[: SHARES * width].reshape(SHARES, width))
    largest.partition(-count)
    return float(largest[-count])


def best_places(order: Iterable[int], *, item: Sequence[int]) -> list[int]:
    """Of places in order, the first of each item."""
    found: dict[int, int] = {}
    for place in order:
        found.setdefault(item[place], place)
    return list(found.values())


def lengths(embedding: Float32[np.ndarray, "row dim"]) -> Float64[np.ndarray, " row"]:
    """The length of each row, in double precision."""
    found = np.empty(len(embedding))
    for start in range(0, len(embedding), ROWS_AT_ONCE):
        rows = embedding[start : start + ROWS_AT_ONCE].astype(np.float64)
        found[start : start + ROWS_AT_ONCE] = np.sqrt((rows * rows).sum(axis=1))
    return found


def cosines(
    embedding: Float32[np.ndarray, "row dim"],
    row: Int[np.ndarray, " gallery"],
    *,
    length: Float64[np.ndarray, " row"],
    query: Float64[np.ndarray, " dim"],
) -> Float64[np.ndarray, " gallery"]:
    """The cosine of some rows with a query of length 1, in double precision.

    Row by row: a matrix product rounds equal rows differently by where they stand, and ties would break at random.

    Args:
        length: Of all rows, by `lengths`.
    """
    if len(row) > ROWS_AT_ONCE:
        parts = np.split(row, range(ROWS_AT_ONCE, len(row), ROWS_AT_ONCE))
        return np.concatenate([cosines(embedding, part, length=length, query=query) for part in parts])
    score: Float64[np.ndarray, " gallery"] = np.vecdot(embedding[row].astype(np.float64), query) / length[row]
    return score


def is_among(column: pa.ChunkedArray, values: frozenset[str]) -> Bool[np.ndarray, " gallery"]:
    """Which entries of a column of strings are one of some values; a missing entry never is."""
    among: Bool[np.ndarray, " gallery"] = pc.is_in(column, value_set=pa.array(list(values), pa.string())).to_numpy()
    return among
