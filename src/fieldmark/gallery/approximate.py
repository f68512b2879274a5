"""A store too large for memory: LanceDB's IVF_FLAT index, how it is built, measured and searched."""

import json
import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Float32, Float64
from lancedb.index import IvfFlat
from lancedb.table import LanceTable

from fieldmark.gallery.exact import (
    HIT_COLUMNS,
    ROWS_AT_ONCE,
    SINGLE_EPSILON,
    best_places,
    collect_hit_values,
    cosines,
    lengths,
    make_hits,
)
from fieldmark.gallery.filter import condition_of
from fieldmark.gallery.store import Approximation, Filter
from fieldmark.io import write_text
from fieldmark.segment_table import matrix_from_column
from fieldmark.types import Hit, Medium

FACTS_NAME = "approximation.json"
INDEX_NAME = "vector_idx"

SMALLEST_TRAINED = 256
"""Rows below which no index is trained: a scan is as fast."""

TRAINING_STEPS, SAMPLE_PER_PART = 20, 64
"""Of the k-means that finds the parts."""

FEWEST_PROBES = 32
"""Parts always looked at; a store of some thousand rows is searched exactly by them."""

WANTED_RECALL = 0.99
"""Parts looked at are doubled until the measured recall reaches this, or all are looked at."""

RECALL_K = 10
EQUAL_SCORES = 1e-6
SAMPLED_QUERIES = 128
ROWS_FIRST_FETCHED = 64
SHARE_FETCHED = 8
"""A search for more than one in so many of the rows looked at reads all rows: the index would miss some."""
GROWTH = 8
"""By how much more rows are fetched where the first ones do not settle the k best."""

TRAIN_AGAIN_FACTOR = 2.0
"""An index is trained again when the store has grown so much since; below, new rows join its parts."""
MEASURE_AGAIN_FACTOR = 1.2


def load_approximation(folder: Path) -> Approximation | None:
    """What is known of the store's index; None where there is none.

    Raises:
        ValueError: The file is not what was written.
    """
    path = folder / FACTS_NAME
    if not path.is_file():
        return None
    try:
        return Approximation(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise ValueError(f"'{FACTS_NAME}' is not what was written ({error})") from error


def bring_up_to_date(table: LanceTable, folder: Path) -> None:
    """Trains, or measures again, the index of a store that has grown; the caller holds the store's lock."""
    row_count = table.count_rows()
    if row_count < SMALLEST_TRAINED:
        return
    known = load_approximation(folder)
    if known is None or row_count > TRAIN_AGAIN_FACTOR * known.trained_count or not table.list_indices():
        trained_count, partition_count = row_count, round(math.sqrt(row_count))
        train(table, partition_count=partition_count)
    elif row_count > MEASURE_AGAIN_FACTOR * known.measured_count:
        trained_count, partition_count = known.trained_count, known.partition_count
    else:
        return
    found = measured(table, trained_count=trained_count, partition_count=partition_count)
    write_text(folder / FACTS_NAME, json.dumps(asdict(found)))


def train(table: LanceTable, *, partition_count: int) -> None:
    """Cuts the space into parts, each with the rows nearest to its center."""
    config = IvfFlat(
        distance_type="cosine",
        num_partitions=partition_count,
        max_iterations=TRAINING_STEPS,
        sample_rate=SAMPLE_PER_PART,
    )
    table.create_index("vector", config=config, replace=True, name=INDEX_NAME)


def search_approximately(
    table: LanceTable,
    query: Float64[np.ndarray, " dim"],
    *,
    k: int,
    where: Filter | None,
    by_segment: bool,
    known: Approximation | None,
) -> tuple[Hit, ...]:
    """The hits as `SegmentIndex.search` defines them, among the rows that the index finds; `query` is of length 1.

    Rows are fetched until the k best of them are settled, ties included, or no matching row is left.
    """
    row_count, wanted = table.count_rows(), max(ROWS_FIRST_FETCHED, 4 * k)
    if row_count == 0:
        return ()
    # What single precision can change in the order of two rows.
    slack = 8 * len(query) * SINGLE_EPSILON
    while True:
        rows = nearest_rows(table, query, limit=min(wanted, row_count), condition=condition_of(where), known=known)
        rows = rows.sort_by([("item_id", "ascending"), ("segment", "ascending")])
        found = matrix_from_column(rows["vector"], dim=len(query))
        score = cosines(found, np.arange(len(rows)), length=lengths(found), query=query)
        order = np.argsort(-score, kind="stable").tolist()
        if not by_segment:
            order = best_places(order, item=rows["item_id"].combine_chunks().dictionary_encode().indices.to_pylist())
        if len(rows) < wanted or (len(order) >= k and score[order[k - 1]] > score.min() + slack):
            order = order[:k]
            best = collect_hit_values(rows.take(pa.array(order, pa.int64())))
            return make_hits(best, score=score[order].tolist())
        wanted *= GROWTH


def nearest_rows(
    table: LanceTable,
    query: Float64[np.ndarray, " dim"],
    *,
    limit: int,
    condition: str | None,
    known: Approximation | None,
) -> pa.Table:
    """The nearest rows that meet a condition, as many as asked for where so many do; with their vectors."""
    search = table.search(query.astype(np.float32), vector_column_name="vector").distance_type("cosine")
    if condition is not None:
        search = search.where(condition, prefilter=True)
    if known is None or limit * SHARE_FETCHED > known.rows_looked_at:
        search = search.bypass_vector_index()
    else:
        # More parts are looked at where those leave fewer rows than are asked for.
        search = search.minimum_nprobes(known.probe_count).maximum_nprobes(0)
    rows: pa.Table = search.limit(limit).select([*HIT_COLUMNS, "segment", "vector", "_distance"]).to_arrow()
    return rows


def measured(table: LanceTable, *, trained_count: int, partition_count: int) -> Approximation:
    """The fewest parts to look at for the wanted recall, and the recall they give.

    The queries are stored segments; where the store holds several media, only rows of the other media count, since
    among these a query finds no rows that lie as near as its own neighbors.
    """
    queries = sample_queries(table)
    expected = exact_scores(table, queries)
    row_count, probe_count = table.count_rows(), min(FEWEST_PROBES, partition_count)
    while True:
        known = Approximation(
            trained_count=trained_count,
            measured_count=row_count,
            partition_count=partition_count,
            probe_count=probe_count,
            recall=1.0,
            query_count=len(queries.vector),
        )
        recall = recall_of(table, queries, expected=expected, known=known)
        if recall >= WANTED_RECALL or probe_count >= partition_count:
            return replace(known, recall=recall)
        probe_count = min(2 * probe_count, partition_count)


@dataclass(frozen=True, slots=True)
class Queries:
    """Stored segments that the index is asked for.

    Args:
        where: What each of them may find.
    """

    vector: Float32[np.ndarray, "query dim"]
    medium: tuple[str, ...]
    item_id: tuple[str, ...]
    where: tuple[Filter, ...]


def sample_queries(table: LanceTable) -> Queries:
    """Segments drawn evenly from all media, always the same ones of a version."""
    facts = table.search().select(["medium"]).with_row_id(with_row_id=True).to_arrow()
    medium, row_id = np.array(facts["medium"].to_pylist()), facts["_rowid"].to_numpy()
    present, generator = tuple(np.unique(medium)), np.random.default_rng(0)
    chosen: list[int] = []
    for each in present:
        ids = np.sort(row_id[medium == each])
        chosen += generator.choice(ids, min(len(ids), SAMPLED_QUERIES // len(present)), replace=False).tolist()
    rows = table.take_row_ids(chosen).select(["item_id", "medium", "vector"]).to_arrow()
    dim = table.schema.field("vector").type.list_size
    media, item_ids = rows["medium"].to_pylist(), rows["item_id"].to_pylist()
    return Queries(
        vector=matrix_from_column(rows["vector"], dim=dim),
        medium=tuple(media),
        item_id=tuple(item_ids),
        where=tuple(
            Filter(media=frozenset(map(Medium, present)) - {Medium(own)})
            if len(present) > 1
            else Filter(exclude_item_ids=frozenset({item_id}))
            for own, item_id in zip(media, item_ids, strict=True)
        ),
    )


def exact_scores(table: LanceTable, queries: Queries) -> Float32[np.ndarray, "query k"]:
    """The `RECALL_K` best scores of each query among the rows it may find, best last; -1 where there are fewer."""
    best = np.full((len(queries.vector), RECALL_K), -1.0, dtype=np.float32)
    dim = queries.vector.shape[1]
    has_media = queries.where[0].media is not None
    own = np.array(queries.medium if has_media else queries.item_id, dtype=object)
    columns = ["medium" if has_media else "item_id", "vector"]
    for batch in table.search().select(columns).to_batches(ROWS_AT_ONCE):
        score = queries.vector @ matrix_from_column(pa.chunked_array([batch["vector"]]), dim=dim).T
        score[own[:, None] == np.array(batch[columns[0]].to_pylist(), dtype=object)[None]] = -1.0
        best = np.sort(np.concatenate([best, score], axis=1), axis=1)[:, -RECALL_K:]
    return best


def recall_of(
    table: LanceTable, queries: Queries, *, expected: Float32[np.ndarray, "query k"], known: Approximation
) -> float:
    """The mean share of the `RECALL_K` nearest rows that the index finds; rows that score alike count alike."""
    shares = []
    for vector, where, scores in zip(queries.vector, queries.where, expected, strict=True):
        there = int((scores > -1.0).sum())
        if there == 0:
            continue
        rows = nearest_rows(table, vector.astype(np.float64), limit=there, condition=condition_of(where), known=known)
        found = matrix_from_column(rows["vector"], dim=len(vector)) @ vector
        shares.append(min(there, int((found >= scores[-there] - EQUAL_SCORES).sum())) / there)
    return float(np.mean(shares)) if shares else 1.0
