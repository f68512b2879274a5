"""A query compared with the rows that Milvus finds; they are scored again here, in double precision."""

import math
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import final

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float64

from fieldmark.errors import OutOfRangeError
from fieldmark.gallery.exact import (
    SINGLE_EPSILON,
    collect_moments,
    compute_cosines,
    keep_best_of_each_item,
    list_near_items,
    make_hits,
    measure_lengths,
)
from fieldmark.gallery.facts import list_conditions, read_column
from fieldmark.gallery.milvus.connection import MOST_ROWS, Connection, Row, split
from fieldmark.gallery.milvus.filters import ANY, FIRST, is_other_class, is_row, is_whole, write_expression
from fieldmark.gallery.milvus.rows import FACT_COLUMNS, decode_rows, find_missing_columns
from fieldmark.gallery.store import Comparison, Filter, NearItem, is_selective
from fieldmark.segment_table import read_items_from_table, read_matrix
from fieldmark.types import Hit

_FIRST_FETCHED = 64
_GROWTH = 8
"""By how much more rows are fetched where the first ones do not settle the k best."""
_SCANNED = 4_000
"""Rows read at once where all that match are looked at."""
_FEW, _FEW_NUMBERS = 2**13, 2**22
"""Up to so many rows that match a narrow filter are all looked at, or as many as have so many numbers (16 MiB).

While Milvus 2.3.5 was indexing 1,000,000 segments, it found .24 to .50 of the ten nearest of 2,000 to 8,000 that match.
To look at all took two to three times as long as a search of the index (2026-11-30, docs/results/milvus.md).
"""
_KEYS_AT_ONCE = 4_000


class NearestRows(ABC):
    """Rows that meet a condition, by how near they are to a query.

    Args:
        most: No more rows are asked for.
    """

    most: int

    @abstractmethod
    def read(self, limit: int, columns: Sequence[str]) -> list[Row]:
        """Return the nearest rows, in no order."""

    @abstractmethod
    def is_all(self, count: int, *, limit: int) -> bool:
        """Tell whether a number of rows, read with a limit, are all that meet the condition."""


@dataclass(frozen=True, slots=True)
class Reader:
    """The rows of one collection as they are read now.

    Args:
        level: See `Connection.read`.
        ef: Candidates that a search of the index keeps; 0 for an index that has none.
        row_count: Of the collection.
    """

    connection: Connection
    collection: str
    level: str | int
    ef: int
    row_count: int

    def rank(self, query: Float64[np.ndarray, " dim"], where: Filter, condition: str) -> NearestRows:
        """Return the rows that meet a condition, by the index; where a narrow filter leaves few, by a look at each.

        What matches may lie far from the query, beyond the candidates that a search keeps: it keeps so many more as
        rows are left out. With 2 of 100 rows matching, 64 candidates gave half of the ten nearest (Milvus 2.3.5).
        """
        if not is_selective(where):
            return IndexedRows(self, query, condition)
        matching = self.count(condition)
        if matching <= min(_FEW, _FEW_NUMBERS // len(query)):
            return FewRows(self, query, condition, count=matching)
        ef = math.ceil(self.ef * max(1.0, self.row_count / matching))
        return IndexedRows(replace(self, ef=ef), query, condition)

    def count(self, condition: str) -> int:
        """Return the number of rows that meet a condition."""
        return self.connection.count(self.collection, condition, level=self.level)

    def read_few(self, condition: str, columns: Sequence[str]) -> list[Row]:
        """Return all rows that meet a condition which few meet."""
        return self.connection.read(self.collection, f"{ANY} and {condition}", columns, level=self.level)

    def read_all(self, condition: str, columns: Sequence[str]) -> Iterator[list[Row]]:
        """Yield all rows that meet a condition, in the order of their keys."""
        return self.connection.read_pages(self.collection, f"{ANY} and {condition}", columns, limit=_SCANNED)


@final
class IndexedRows(NearestRows):
    """Rows as the engine's index finds them."""

    most = MOST_ROWS

    def __init__(self, reader: Reader, query: Float64[np.ndarray, " dim"], condition: str) -> None:
        self._reader = reader
        self._query = query.astype(np.float32).tolist()
        self._condition = condition

    def read(self, limit: int, columns: Sequence[str]) -> list[Row]:
        """Return the nearest rows, as `NearestRows.read` does."""
        reader = self._reader
        return reader.connection.search(
            reader.collection,
            self._query,
            condition=self._condition,
            columns=columns,
            limit=limit,
            options={"ef": min(max(reader.ef, limit), 2 * MOST_ROWS)} if reader.ef else {},
            level=reader.level,
        )

    def is_all(self, count: int, *, limit: int) -> bool:
        """Tell whether rows are all, by counting; of a row that is gone, nobody has to know."""
        return count < limit and self._reader.count(self._condition) <= count


@final
class FewRows(NearestRows):
    """Rows by a look at the vectors of all; facts are read of those alone that are asked for.

    Args:
        count: Of the rows that meet the condition.
    """

    most = sys.maxsize

    def __init__(self, reader: Reader, query: Float64[np.ndarray, " dim"], condition: str, *, count: int) -> None:
        self._reader = reader
        self._query = query
        self._condition = condition
        self._count = count
        self._keys: list[str] | None = None

    def read(self, limit: int, columns: Sequence[str]) -> list[Row]:
        """Return the nearest rows, as `NearestRows.read` does."""
        if limit >= self._count:
            return self._reader.read_few(self._condition, columns)
        self._keys = self._keys or self._rank_keys()
        rows: list[Row] = []
        for some in split(self._keys[:limit], _KEYS_AT_ONCE):
            rows += self._reader.read_few(is_row(some), columns)
        return rows

    def is_all(self, count: int, *, limit: int) -> bool:  # noqa: ARG002 - as the contract has it
        """Tell whether rows are all: they were counted."""
        return limit >= self._count

    def _rank_keys(self) -> list[str]:
        rows = sorted(self._reader.read_few(self._condition, ["pk", "vector"]), key=lambda row: row["pk"])
        matrix = np.array([row["vector"] for row in rows], dtype=np.float32).reshape(-1, len(self._query))
        score = compute_cosines(matrix, np.arange(len(rows)), length=measure_lengths(matrix), query=self._query)
        return [rows[at]["pk"] for at in np.argsort(-score, kind="stable")]


@final
class MilvusComparison(Comparison):
    """A query among the rows of a collection; each search is one of the engine, mostly.

    Args:
        query: Of length 1.
    """

    def __init__(self, reader: Reader, *, query: Float64[np.ndarray, " dim"]) -> None:
        self._reader = reader
        self._query = query
        self._fetched: dict[Filter, tuple[pa.Table, list[float]]] = {}

    def find_nearest(self, *, k: int, where: Filter | None = None, by_segment: bool = False) -> tuple[Hit, ...]:
        """Return the nearest items or segments, as `Comparison.find_nearest` does."""
        where = where or Filter()
        if k < 1:
            largest = self._reader.count(ANY if by_segment else FIRST)
            raise OutOfRangeError(name="k", got=k, smallest=1, largest=largest, kind="cutoff")
        rows, score = self._fetch(write_expression(where), where=where, k=k, by_segment=by_segment)
        self._fetched[where] = rows, score
        return _make_hits(rows[:k], score[:k])

    def score_other_class(self, class_name: str, *, where: Filter | None = None) -> NearItem | None:
        """Return the nearest item of another class, often among the rows that were fetched already."""
        where = where or Filter()
        if where in self._fetched:
            rows, score = self._fetched[where]
            for index, name in enumerate(rows["class_name"].to_pylist()):
                if name not in (None, class_name):
                    return list_near_items(rows[index : index + 1], score[index : index + 1])[0]
        condition = write_expression(where, is_other_class(class_name))
        rows, score = self._fetch(condition, where=where, k=1, by_segment=False)
        return next(iter(list_near_items(rows[:1], score[:1])), None)

    def _fetch(self, condition: str, *, where: Filter, k: int, by_segment: bool) -> tuple[pa.Table, list[float]]:
        """Return rows, and their scores, best first, at least the k best; each item once unless by segment.

        Rows are fetched until the k best of them are settled, ties included, or no matching row is left. More rows than
        Milvus gives at once are not fetched: then all that match are looked at here.
        """
        wanted, dim = max(_FIRST_FETCHED, 4 * k), len(self._query)
        slack = 8 * dim * SINGLE_EPSILON  # what single precision can change in the order of two rows
        columns = [*FACT_COLUMNS, "vector"]
        nearest = self._reader.rank(self._query, where, condition)
        while wanted <= nearest.most:
            found = nearest.read(wanted, columns)
            rows, score, least = self._rank(found, where, by_segment=by_segment)
            is_settled = len(score) >= k and score[k - 1] > least + slack
            if is_settled or nearest.is_all(len(found), limit=wanted):
                return rows, score
            if len(found) < wanted:  # the index missed some
                break
            wanted *= _GROWTH
        return self._scan(condition, where=where, k=k, by_segment=by_segment)

    def _rank(self, found: Sequence[Row], where: Filter, *, by_segment: bool) -> tuple[pa.Table, list[float], float]:
        """Return rows without their vectors, best first, their scores, and the least score of any row found."""
        rows, score = self._score(found, where)
        if not len(rows):
            return rows, [], -1.0
        order = np.argsort(-score, kind="stable").tolist()
        if not by_segment:
            order = keep_best_of_each_item(order, item=rows["item_id"].to_pylist())
        least = float(score.min())
        return rows.drop_columns(["vector"]).take(pa.array(order, pa.int64())), score[order].tolist(), least

    def _score(self, found: Sequence[Row], where: Filter) -> tuple[pa.Table, Float64[np.ndarray, " row"]]:
        """Return rows ordered by item and segment, with their scores; without those that only the expression let in."""
        rows = decode_rows(found)
        if not is_whole(where):
            rows = rows.filter(pa.array(match_facts(rows, where)))
        rows = rows.sort_by([("item_id", "ascending"), ("segment", "ascending")])
        if not len(rows):
            return rows, np.zeros(0)
        matrix = read_matrix(rows["vector"], dim=len(self._query))
        score = compute_cosines(matrix, np.arange(len(rows)), length=measure_lengths(matrix), query=self._query)
        return rows, score

    def _scan(self, condition: str, *, where: Filter, k: int, by_segment: bool) -> tuple[pa.Table, list[float]]:
        """Return the k best of all rows that match, by a look at each.

        Pages come in the order of items and segments, so that a stable sort keeps equal scores in that order.
        """
        best, scores = decode_rows([]), np.zeros(0)
        for page in self._reader.read_all(condition, [*FACT_COLUMNS, "vector"]):
            rows, found = self._score(page, where)
            if len(rows):
                best, scores = pa.concat_tables([best, rows.drop_columns(["vector"])]), np.append(scores, found)
                order = np.argsort(-scores, kind="stable").tolist()
                if not by_segment:
                    order = keep_best_of_each_item(order, item=best["item_id"].to_pylist())
                best, scores = best.take(pa.array(order[:k], pa.int64())), scores[order[:k]]
        return best, scores.tolist()


def match_facts(rows: pa.Table, where: Filter) -> Bool[np.ndarray, " row"]:
    """Tell which decoded rows meet the conditions of a filter on records."""
    table = find_missing_columns(rows)
    mask = np.ones(len(table), dtype=bool)
    for condition in list_conditions(where.facts):
        mask &= condition.match(lambda name: read_column(table, name))
    return mask


def _make_hits(rows: pa.Table, score: Sequence[float]) -> tuple[Hit, ...]:
    return make_hits(read_items_from_table(rows), collect_moments(rows), score=score)
