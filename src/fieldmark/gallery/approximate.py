"""A store too large for memory: LanceDB's IVF_FLAT index, how it is built, measured and searched."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar, final

import numpy as np
import pyarrow as pa
from jaxtyping import Float32, Float64
from lancedb.index import Bitmap, IvfFlat, LabelList
from lancedb.table import LanceTable

from fieldmark.errors import FieldmarkError, OutOfRangeError
from fieldmark.gallery.exact import (
    HIT_COLUMNS,
    REMEMBERED_FILTERS,
    ROWS_AT_ONCE,
    SINGLE_EPSILON,
    collect_moments,
    compute_cosines,
    keep_best_of_each_item,
    list_near_items,
    make_hits,
    measure_lengths,
)
from fieldmark.gallery.facts import FactFilter
from fieldmark.gallery.lance_folder import StoreTable
from fieldmark.gallery.layout import StoreLayout
from fieldmark.gallery.store import (
    FIRST_SEGMENT,
    Approximation,
    Comparison,
    Filter,
    NearItem,
    is_one_of,
    is_selective,
    write_condition,
)
from fieldmark.io import write_text
from fieldmark.recent_answers import RecentAnswers
from fieldmark.segment_table import read_items_from_table, read_matrix
from fieldmark.types import Hit, Medium

Result = TypeVar("Result")

_INDEX_NAME = "vector_idx"
_ROW_ID = "_rowid"

_INDEXED_COLUMNS = {"medium": Bitmap(), "class_name": Bitmap(), "keys": LabelList()}
"""Every search is of one medium, most filters are of classes, and every short text may be the number of a record."""

_SMALLEST_TRAINED = 256
"""Rows below which no index is trained: a scan is as fast."""

_TRAINING_STEPS, _SAMPLE_PER_PART = 20, 64
"""Of the k-means that finds the parts."""

_FEWEST_PROBES = 32
"""Parts always looked at; a store of some thousand rows is searched exactly by them."""

_WANTED_RECALL = 0.99
"""Parts looked at are doubled until the measured recall reaches this, or all are looked at."""

_RECALL_K = 10
_EQUAL_SCORES = 1e-6
_SAMPLED_QUERIES = 128
_ROWS_FIRST_FETCHED, _ROWS_FIRST_FETCHED_OF_FEW = 64, 16
_SHARE_FETCHED = 8
"""A search for more than one in so many of the rows looked at reads all rows: the index would miss some."""
_ROWS_SCORED = 800
"""Rows near to the sum of several queries whose items are scored by each of them: four for each hit of a long page."""
GROWTH = 8
"""By how much more rows are fetched where the first ones do not settle the k best."""

_TRAIN_AGAIN_FACTOR = 2.0
"""An index is trained again when the store has grown so much since; below, new rows join its parts."""
_MEASURE_AGAIN_FACTOR = 1.2


def load_approximation(folder: Path) -> Approximation | None:
    """Return the measured recall of the store's index; None where there is none.

    Raises:
        ValueError: The file is not what was written.
    """
    path = StoreLayout(folder).approximation
    if not path.is_file():
        return None
    try:
        return Approximation(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise ValueError(f"'{path.name}' is not what was written ({error})") from error


def bring_up_to_date(table: LanceTable, folder: Path) -> None:
    """Train, or measure again, the index of a store that has grown; the caller holds the store's lock."""
    row_count = table.count_rows()
    if row_count < _SMALLEST_TRAINED:
        return
    indexed = [index.columns for index in table.list_indices()]
    present = table.schema.names
    for column, config in _INDEXED_COLUMNS.items():
        if [column] not in indexed and column in present:
            table.create_index(column, config=config)
    known = load_approximation(folder)
    if known is None or row_count > _TRAIN_AGAIN_FACTOR * known.trained_count or ["vector"] not in indexed:
        trained_count, partition_count = row_count, round(math.sqrt(row_count))
        train(table, partition_count=partition_count)
    elif row_count > _MEASURE_AGAIN_FACTOR * known.measured_count:
        trained_count, partition_count = known.trained_count, known.partition_count
    else:
        return
    found = measure_approximation(table, trained_count=trained_count, partition_count=partition_count)
    write_text(StoreLayout(folder).approximation, json.dumps(asdict(found)))


def train(table: LanceTable, *, partition_count: int) -> None:
    """Cut the space into partitions, each with the rows nearest to its center."""
    config = IvfFlat(
        distance_type="cosine",
        num_partitions=partition_count,
        max_iterations=_TRAINING_STEPS,
        sample_rate=_SAMPLE_PER_PART,
    )
    table.create_index("vector", config=config, replace=True, name=_INDEX_NAME)


@final
class ApproximateComparison(Comparison):
    """A query among the rows that a store's index finds; each search is one query of LanceDB.

    Args:
        query: Of length 1.
        row_count: Rows of the table.
        known: What the index is known to find; None where there is none, so that every row is looked at.
        matching: Of the version: the number of rows that meet a filter.
    """

    def __init__(
        self,
        store: StoreTable,
        *,
        query: Float64[np.ndarray, " dim"],
        row_count: int,
        known: Approximation | None,
        matching: RecentAnswers[int],
    ) -> None:
        self._store = store
        self._query = query
        self._row_count = row_count
        self._known = known
        self._matching = matching
        self._present = frozenset(store.table.schema.names)
        self._fetched: dict[Filter, tuple[pa.Table, list[float]]] = {}

    def find_nearest(self, *, k: int, where: Filter | None = None, by_segment: bool = False) -> tuple[Hit, ...]:
        """Return the nearest items or segments, as `Comparison.find_nearest` does."""
        where = where or Filter()
        if k < 1:
            largest = self._store.table.count_rows(None if by_segment else FIRST_SEGMENT)
            raise OutOfRangeError(name="k", got=k, smallest=1, largest=largest, kind="cutoff")
        return self._again_if_compacted(lambda: self._find_nearest(k=k, where=where, by_segment=by_segment))

    def score_nearest(self, *, k: int, where: Filter | None = None) -> tuple[NearItem, ...]:
        """Return the nearest items without their facts, as `Comparison.score_nearest` does; no facts are read."""
        where = where or Filter()
        return self._again_if_compacted(lambda: self._score_nearest(k=k, where=where))

    def score_other_class(self, class_name: str, *, where: Filter | None = None) -> NearItem | None:
        """Return the nearest item of another class, often among the rows that were fetched already."""
        where = where or Filter()
        return self._again_if_compacted(lambda: self._score_other_class(class_name, where=where))

    def _find_nearest(self, *, k: int, where: Filter, by_segment: bool) -> tuple[Hit, ...]:
        rows, score = self._fetch(self._write_condition(where), where=where, k=k, by_segment=by_segment)
        self._fetched[where] = rows, score
        return self._make_hits(rows[:k], score[:k])

    def _score_nearest(self, *, k: int, where: Filter) -> tuple[NearItem, ...]:
        rows, score = self._fetch(self._write_condition(where), where=where, k=k, by_segment=False)
        self._fetched[where] = rows, score
        return list_near_items(rows[:k], score[:k])

    def _score_other_class(self, class_name: str, *, where: Filter) -> NearItem | None:
        if where in self._fetched:
            rows, score = self._fetched[where]
            for index, name in enumerate(rows["class_name"].to_pylist()):
                if name not in (None, class_name):
                    return list_near_items(rows[index : index + 1], score[index : index + 1])[0]
        is_other = f"NOT ({is_one_of('class_name', [class_name])})"  # never true of a row without a class
        rows, score = self._fetch(self._write_condition(where, is_other), where=where, k=1, by_segment=False)
        return next(iter(list_near_items(rows[:1], score[:1])), None)

    def _again_if_compacted(self, find: Callable[[], Result]) -> Result:
        """Return what is found, in a newer version where the one at hand was compacted away meanwhile."""
        try:
            return find()
        except FieldmarkError:
            raise
        except Exception:  # noqa: BLE001 - LanceDB's errors have no common class
            self._fetched.clear()
            return self._store.read(find)

    def _write_condition(self, where: Filter, *others: str) -> str | None:
        return write_condition(where, *others, present=self._present)

    def _fetch(self, condition: str | None, *, where: Filter, k: int, by_segment: bool) -> tuple[pa.Table, list[float]]:
        """Return rows, and their scores, best first, at least the k best; each item once unless by segment.

        Rows are fetched until the k best of them are settled, ties included, or no matching row is left. Of each, no
        more is read than that takes: the facts of all of them would cost as much as the search.
        """
        known = choose_probes(self._store.table, where, known=self._known, matching=self._matching)
        is_narrow = is_by_facts(where)
        wanted = max(_ROWS_FIRST_FETCHED_OF_FEW, 2 * k) if is_narrow else max(_ROWS_FIRST_FETCHED, 4 * k)
        dim = len(self._query)
        # What single precision can change in the order of two rows.
        slack = 8 * dim * SINGLE_EPSILON
        while True:
            limit = max(min(wanted, self._row_count), 1)
            rows = _nearest_rows(
                self._store.table, self._query, limit=limit, condition=condition, known=known, is_narrow=is_narrow
            )
            rows = rows.sort_by([("item_id", "ascending"), ("segment", "ascending")])
            found = read_matrix(rows["vector"], dim=dim)
            score = compute_cosines(found, np.arange(len(rows)), length=measure_lengths(found), query=self._query)
            order = np.argsort(-score, kind="stable").tolist()
            if not by_segment:
                order = keep_best_of_each_item(order, item=rows["item_id"].to_pylist())
            if len(rows) < wanted or (len(order) >= k and score[order[k - 1]] > score.min() + slack):
                return rows.drop_columns(["vector"]).take(pa.array(order, pa.int64())), score[order].tolist()
            wanted *= GROWTH

    def _make_hits(self, rows: pa.Table, score: Sequence[float]) -> tuple[Hit, ...]:
        """Return rows as hits, with all of their facts.

        Raises:
            LookupError: The rows are those of another version by now.
        """
        if not len(rows):
            return ()
        columns = [name for name in (*HIT_COLUMNS, "segment") if name in self._present]
        wanted = rows[_ROW_ID].to_pylist()
        whole = self._store.table.take_row_ids(wanted).select(columns).with_row_id().to_arrow()
        index_by_id = {row_id: index for index, row_id in enumerate(whole[_ROW_ID].to_pylist())}
        whole = whole.take(pa.array([index_by_id[row_id] for row_id in wanted], pa.int64()))
        if any(whole[name].to_pylist() != rows[name].to_pylist() for name in ("item_id", "segment")):
            raise LookupError("rows have other ids now")
        whole = self._store.adapt(whole)
        return make_hits(read_items_from_table(whole), collect_moments(whole), score=score)


def is_by_facts(where: Filter) -> bool:
    """Tell whether a filter looks at the facts of records, which mostly let few items pass."""
    return where.facts != FactFilter() or where.licenses is not None


def _nearest_rows(  # noqa: PLR0913 - the parts of one query
    table: LanceTable,
    query: Float64[np.ndarray, " dim"],
    *,
    limit: int,
    condition: str | None,
    known: Approximation | None,
    is_narrow: bool = False,
    columns: Sequence[str] = ("item_id", "class_name", "segment", "vector"),
) -> pa.Table:
    """Return the nearest rows that meet a condition; fewer than `limit` only where fewer do.

    Only the parts that the recall was measured with are looked at, and all where these have too few rows: without a
    bound LanceDB looked at all 500 parts for any more than a hundred rows, in five times the time.

    Args:
        is_narrow: Whether few rows meet the condition: then one query without a bound is faster than one with a bound
            that finds too few, and another.
    """
    search = table.search(query.astype(np.float32), vector_column_name="vector").distance_type("cosine")
    if condition is not None:
        search = search.where(condition, prefilter=True)
    present = table.schema.names
    search = (
        search.limit(limit)
        .select([*(name for name in columns if name in present), "_distance"])
        .with_row_id(with_row_id=True)
    )
    if known is None:
        rows: pa.Table = search.bypass_vector_index().to_arrow()
        return rows
    probe_count = known.partition_count if limit * _SHARE_FETCHED > known.rows_looked_at else known.probe_count
    if is_narrow or probe_count == known.partition_count:
        narrow: pa.Table = search.minimum_nprobes(probe_count).maximum_nprobes(0).to_arrow()  # no bound
        return narrow
    rows = search.minimum_nprobes(probe_count).maximum_nprobes(probe_count).to_arrow()
    if len(rows) < limit:
        rows = search.maximum_nprobes(0).to_arrow()  # no bound
    return rows


def choose_probes(
    table: LanceTable, where: Filter, *, known: Approximation | None, matching: RecentAnswers[int]
) -> Approximation | None:
    """Return how many parts a filtered search looks at; None for a store without an index.

    What matches may lie in parts far from the query. Where no more rows match than a search looks at anyway, all of
    them are compared; where more match, so many more parts are looked at as rows are left out. A look at all parts of
    the index finds what a look at the table finds, in a tenth of the time.
    """
    if known is None or not is_selective(where) or known.probe_count >= known.partition_count:
        return known
    condition = write_condition(where, present=frozenset(table.schema.names))
    row_count = matching.recall(where, lambda: int(table.count_rows(condition)))
    if row_count <= known.rows_looked_at:
        return replace(known, probe_count=known.partition_count)
    probe_count = math.ceil(known.probe_count * known.measured_count / row_count)
    return replace(known, probe_count=min(probe_count, known.partition_count))


def find_near_items(
    table: LanceTable,
    near: Float64[np.ndarray, " dim"],
    *,
    k: int,
    where: Sequence[Filter],
    known: Approximation | None,
    matching: RecentAnswers[int],
) -> set[str]:
    """Return the items nearest to a vector that meet one of some filters: `k` or more, for most `k` the same.

    Where they are all of one class, those of other classes too, so that there is something to bring in.
    """
    found: set[str] = set()
    limit = max(4 * k, _ROWS_SCORED)
    present = frozenset(table.schema.names)
    for each in where:
        probes = choose_probes(table, each, known=known, matching=matching)
        find = partial(_nearest_rows, table, near, limit=limit, known=probes, columns=("item_id", "class_name"))
        rows = find(condition=write_condition(each, present=present))
        names = set(rows["class_name"].to_pylist())
        if len(rows) == limit and len(names) == 1 and None not in names:
            is_other = f"NOT ({is_one_of('class_name', names)})"
            others = find(condition=write_condition(each, is_other, present=present))
            rows = pa.concat_tables([rows, others])
        found.update(rows["item_id"].to_pylist())
    return found


def measure_approximation(table: LanceTable, *, trained_count: int, partition_count: int) -> Approximation:
    """Find the fewest partitions to probe for the wanted recall, and measure the recall that they give.

    The queries are stored segments; where the store holds several media, only rows of the other media count, since
    among these a query finds no rows that lie as near as its own neighbors.
    """
    queries = _sample_queries(table)
    expected = _exact_scores(table, queries)
    row_count, probe_count = table.count_rows(), min(_FEWEST_PROBES, partition_count)
    while True:
        known = Approximation(
            trained_count=trained_count,
            measured_count=row_count,
            partition_count=partition_count,
            probe_count=probe_count,
            recall=1.0,
            query_count=len(queries.vector),
        )
        recall = _recall_of(table, queries, expected=expected, known=known)
        if recall >= _WANTED_RECALL or probe_count >= partition_count:
            return replace(known, recall=recall, filtered_recall=_measure_filtered(table, queries, known=known))
        probe_count = min(2 * probe_count, partition_count)


_FILTERED_QUERIES = 32


def _measure_filtered(table: LanceTable, queries: "Queries", *, known: Approximation) -> float | None:
    """Return the mean recall of searches of one class, another one for each query; None where there are no classes."""
    names = sorted({name for name in queries.class_name if name is not None})
    if len(names) < 2:
        return None
    shares = []
    for number, vector in enumerate(queries.vector[:_FILTERED_QUERIES]):
        others = [name for name in names if name != queries.class_name[number]]
        where = Filter(class_names=frozenset({others[number % len(others)]}))
        find = partial(
            _nearest_rows, table, vector.astype(np.float64), limit=_RECALL_K, condition=write_condition(where)
        )
        expected = read_matrix(find(known=None)["vector"], dim=len(vector)) @ vector
        probes = choose_probes(table, where, known=known, matching=RecentAnswers(REMEMBERED_FILTERS))
        found = read_matrix(find(known=probes)["vector"], dim=len(vector)) @ vector
        shares.append(float((found >= expected.min() - _EQUAL_SCORES).sum()) / len(expected))
    return min(1.0, float(np.mean(shares)))


@dataclass(frozen=True, slots=True)
class Queries:
    """Stored segments that the index is asked for.

    Args:
        where: What each of them may find.
    """

    vector: Float32[np.ndarray, "query dim"]
    medium: tuple[str, ...]
    item_id: tuple[str, ...]
    class_name: tuple[str | None, ...]
    where: tuple[Filter, ...]


def _sample_queries(table: LanceTable) -> Queries:
    """Draw segments evenly from all media, always the same ones of a version."""
    facts = table.search().select(["medium"]).with_row_id(with_row_id=True).to_arrow()
    medium, row_id = np.array(facts["medium"].to_pylist()), facts["_rowid"].to_numpy()
    present, generator = tuple(np.unique(medium)), np.random.default_rng(0)
    chosen: list[int] = []
    for each in present:
        ids = np.sort(row_id[medium == each])
        chosen += generator.choice(ids, min(len(ids), _SAMPLED_QUERIES // len(present)), replace=False).tolist()
    rows = table.take_row_ids(chosen).select(["item_id", "medium", "class_name", "vector"]).to_arrow()
    dim = table.schema.field("vector").type.list_size
    media, item_ids = rows["medium"].to_pylist(), rows["item_id"].to_pylist()
    return Queries(
        vector=read_matrix(rows["vector"], dim=dim),
        medium=tuple(media),
        item_id=tuple(item_ids),
        class_name=tuple(rows["class_name"].to_pylist()),
        where=tuple(
            Filter(media=frozenset(map(Medium, present)) - {Medium(own)})
            if len(present) > 1
            else Filter(exclude_item_ids=frozenset({item_id}))
            for own, item_id in zip(media, item_ids, strict=True)
        ),
    )


def _exact_scores(table: LanceTable, queries: Queries) -> Float32[np.ndarray, "query k"]:
    """Return the `_RECALL_K` best scores of each query among the rows it may find, best last; -1 where fewer are."""
    best = np.full((len(queries.vector), _RECALL_K), -1.0, dtype=np.float32)
    dim = queries.vector.shape[1]
    has_media = queries.where[0].media is not None
    own = np.array(queries.medium if has_media else queries.item_id, dtype=object)
    columns = ["medium" if has_media else "item_id", "vector"]
    for batch in table.search().select(columns).to_batches(ROWS_AT_ONCE):
        score = queries.vector @ read_matrix(pa.chunked_array([batch["vector"]]), dim=dim).T
        score[own[:, None] == np.array(batch[columns[0]].to_pylist(), dtype=object)[None]] = -1.0
        best = np.sort(np.concatenate([best, score], axis=1), axis=1)[:, -_RECALL_K:]
    return best


def _recall_of(
    table: LanceTable, queries: Queries, *, expected: Float32[np.ndarray, "query k"], known: Approximation
) -> float:
    """Return the mean share of the `_RECALL_K` nearest rows that the index finds; rows that score alike count alike."""
    shares = []
    for vector, where, scores in zip(queries.vector, queries.where, expected, strict=True):
        there = int((scores > -1.0).sum())
        if there == 0:
            continue
        rows = _nearest_rows(
            table, vector.astype(np.float64), limit=there, condition=write_condition(where), known=known
        )
        found = read_matrix(rows["vector"], dim=len(vector)) @ vector
        shares.append(min(there, int((found >= scores[-there] - _EQUAL_SCORES).sum())) / there)
    return float(np.mean(shares)) if shares else 1.0
