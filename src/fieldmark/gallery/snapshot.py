"""One version of a gallery in memory, searched exactly."""

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Float, Float32, Float64, Int

from fieldmark.gallery.conditions import allowed_by_column
from fieldmark.gallery.interface import Filter
from fieldmark.gallery.rows import LENGTH_TOLERANCE, length_errors, ordered_matrix
from fieldmark.types import Hit, Medium

HIT_COLUMNS = (
    "item_id",
    "medium",
    "class_name",
    "path",
    "start_seconds",
    "end_seconds",
    "text",
    "source",
    "license",
    "set_name",
    "group",
)
COLUMNS = (*HIT_COLUMNS, "segment", "vector")
"""What a snapshot needs of a store's rows."""

ROWS_AT_ONCE = 8192
"""Bounds the memory of a search in which very many rows score alike."""


@final
@dataclass(frozen=True, slots=True)
class Snapshot:
    """The segments of one version, ordered by item id and then by place in the item.

    A product with a matrix in memory took 2 ms where LanceDB's own exact search took 17 to 40 (100,000 x 256, two
    cores, LanceDB 0.40), and ties can be broken exactly, which no scan of a store promises.

    Args:
        embedding: Rows of length 1, up to `length_error`.
        products: Of `embedding` with the vectors last asked for.
        rows: All `COLUMNS` but the vectors, row by row.
        items: The same of each item's first segment: what a filter looks at.
        first_row: Where each item's segments begin.
    """

    embedding: Float32[np.ndarray, "row dim"]
    products: "RecentProducts"
    length_error: float
    rows: pa.Table
    items: pa.Table
    first_row: Int[np.ndarray, " gallery"]

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
        length_error = float(length_errors(embedding).max(initial=0.0))
        if length_error > LENGTH_TOLERANCE:
            raise ValueError("it holds vectors that are not of length 1")
        first_row = np.flatnonzero(facts["segment"].to_numpy() == 0)
        return cls(
            embedding=embedding,
            products=RecentProducts(embedding),
            length_error=length_error,
            rows=facts,
            items=facts.take(pa.array(first_row)),
            first_row=first_row,
        )

    def search(
        self, query: Float[np.ndarray, " dim"], *, k: int, where: Filter | None, by_segment: bool
    ) -> tuple[Hit, ...]:
        """The hits as `SegmentIndex.search` defines them; `query` has been checked."""
        unit = query.astype(np.float64) / np.linalg.norm(query.astype(np.float64))
        row = self._candidates(unit, k=k, where=where, by_segment=by_segment)
        score = cosines(self.embedding, row, query=unit)
        order = np.lexsort((row, -score))
        if not by_segment:
            item = np.searchsorted(self.first_row, row[order], side="right")
            order = order[np.sort(np.unique(item, return_index=True)[1])]
        order = order[:k]
        return self._hits(row[order], score=score[order])

    def _candidates(
        self, query: Float64[np.ndarray, " dim"], *, k: int, where: Filter | None, by_segment: bool
    ) -> Int[np.ndarray, " row"]:
        """All rows that may be among the k best, in order, and few others."""
        if len(self.first_row) == 0:
            return self.first_row
        score = self.products.with_vector(query.astype(np.float32))
        if where is not None:
            segment_counts = np.diff(self.first_row, append=len(score))
            score = np.where(np.repeat(self._matching(where), segment_counts), score, np.float32(-np.inf))
        best = score if by_segment else np.maximum.reduceat(score, self.first_row)
        # Bounds what single precision and lengths near 1 can change in the order of two rows.
        slack = 2 * (len(query) * np.finfo(np.float32).eps + self.length_error)
        floor = np.partition(best, -k)[-k] - slack if k < len(best) else -2.0
        return np.flatnonzero(score >= max(floor, -2.0))

    def _matching(self, where: Filter) -> Bool[np.ndarray, " gallery"]:
        """Which items meet the filter."""
        matching = np.ones(len(self.first_row), dtype=bool)
        for column, allowed in allowed_by_column(where).items():
            if allowed is not None:
                matching &= is_among(self.items[column], allowed)
        if where.exclude_item_ids:
            matching &= ~is_among(self.items["item_id"], where.exclude_item_ids)
        return matching

    def _hits(self, row: Int[np.ndarray, " row"], *, score: Float64[np.ndarray, " row"]) -> tuple[Hit, ...]:
        facts = self.rows.select(HIT_COLUMNS).take(pa.array(row))
        return hits_from_facts(facts, score=score)


@final
class RecentProducts:
    """The products of a matrix with the vectors last asked for: one search asks for the same several times.

    Safe to use from several threads.
    """

    KEPT: ClassVar[int] = 8

    def __init__(self, matrix: Float32[np.ndarray, "row dim"]) -> None:
        self._matrix = matrix
        self._guard = threading.Lock()
        self._kept: OrderedDict[bytes, Float32[np.ndarray, " row"]] = OrderedDict()

    def with_vector(self, vector: Float32[np.ndarray, " dim"]) -> Float32[np.ndarray, " row"]:
        """The product, not to be written to."""
        key = vector.tobytes()
        with self._guard:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        product: Float32[np.ndarray, " row"] = self._matrix @ vector
        product.flags.writeable = False
        with self._guard:
            self._kept[key] = product
            if len(self._kept) > self.KEPT:
                self._kept.popitem(last=False)
        return product


def hits_from_facts(facts: pa.Table, *, score: Float64[np.ndarray, " row"]) -> tuple[Hit, ...]:
    """The hits whose `HIT_COLUMNS` these are, best first."""
    return tuple(
        Hit(rank=rank, score=min(1.0, max(-1.0, float(value))), **fact | {"medium": Medium(fact["medium"])})
        for rank, (fact, value) in enumerate(zip(facts.to_pylist(), score, strict=True), start=1)
    )


def cosines(
    embedding: Float32[np.ndarray, "row dim"], row: Int[np.ndarray, " gallery"], *, query: Float64[np.ndarray, " dim"]
) -> Float64[np.ndarray, " gallery"]:
    """The cosine of some rows with a query of length 1, in double precision.

    No matrix product: that rounds equal rows differently by where they stand, and ties would break at random.
    """
    score = np.empty(len(row))
    for start in range(0, len(row), ROWS_AT_ONCE):
        near = embedding[row[start : start + ROWS_AT_ONCE]].astype(np.float64)
        length = np.sqrt((near * near).sum(axis=1))
        score[start : start + ROWS_AT_ONCE] = (near * query).sum(axis=1) / length
    return score


def is_among(column: pa.ChunkedArray, values: frozenset[str]) -> Bool[np.ndarray, " gallery"]:
    """Which entries of a column of strings are one of some values; a missing entry never is."""
    among: Bool[np.ndarray, " gallery"] = pc.is_in(column, value_set=pa.array(list(values), pa.string())).to_numpy()
    return among
