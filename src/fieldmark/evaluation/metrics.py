"""Rankings -> numbers: exact rank metrics that never hold the whole score matrix."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

import numpy as np
from jaxtyping import Bool, Float, Float64, Int

from fieldmark.errors import CutoffError, NonFiniteEmbeddingError

ENTRY_STEP = 2.0**-26
"""Grid of the entries of unit vectors: products are multiples of 2^-52; float64 holds their sums below 2 exactly."""

SCORE_STEP = 2.0**-30
"""Grid of the scores: two scores that round to the same multiple are tied."""

CHUNK_BYTES = 64 * 1024**2

# A score takes 32 bits of a key: steps of -2^30 to 2^30, and LAST behind them all.
_FIRST, _LAST, _KEYS_PER_POSITION = -(2**31), 2**31 - 1, 2**32

# Bytes held for each gallery row, and besides for each relevant row, of one query; measured with NumPy 2.3.
_ROW_BYTES, _RELEVANT_BYTES = 20, 140


class Ties(StrEnum):
    """How items of equal score are ordered: by the mean over all their orders, or as they stand in the gallery."""

    EXPECTED = "expected"
    GALLERY_ORDER = "gallery_order"


@dataclass(frozen=True, slots=True)
class LabeledRows:
    """Vectors to rank, one row for each item.

    Args:
        embedding: Of any length but zero; directions are compared.
        item_code: Who the row is: a query leaves itself out of a gallery by it. No two rows share one.
    """

    embedding: Float[np.ndarray, "row dim"]
    label: Int[np.ndarray, " row"]
    item_code: Int[np.ndarray, " row"]


@dataclass(frozen=True, slots=True)
class RelevantBlocks:
    """Where relevant items stand in the rankings of some queries: one entry for each block of tied items with any.

    Args:
        query: Row of the query; entries of a query stand together, best block first.
        better_count: Items ranked before the block.
        item_count: Items in the block; 1 where nothing is tied.
        better_relevant_count: Relevant items ranked before the block.
        relevant_count: Relevant items in the block.
    """

    query: Int[np.ndarray, " block"]
    better_count: Int[np.ndarray, " block"]
    item_count: Int[np.ndarray, " block"]
    better_relevant_count: Int[np.ndarray, " block"]
    relevant_count: Int[np.ndarray, " block"]


def find_degenerate(embedding: Float[np.ndarray, "row dim"]) -> Bool[np.ndarray, " row"]:
    """Which rows have no direction: with NaN or infinity, or with all entries below 1e-6."""
    is_usable = np.isfinite(embedding).all(axis=1) & (np.abs(embedding).max(axis=1, initial=0.0) >= 1e-6)
    is_degenerate: Bool[np.ndarray, " row"] = ~is_usable
    return is_degenerate


def relevant_count(query: LabeledRows, gallery: LabeledRows, *, exclude_self: bool) -> Int[np.ndarray, " query"]:
    """Number of relevant gallery items of each query.

    Args:
        exclude_self: Whether a query that stands in the gallery itself is left out there.
    """
    label = np.sort(gallery.label)
    count: Int[np.ndarray, " query"] = np.searchsorted(label, query.label, side="right")
    count -= np.searchsorted(label, query.label, side="left")
    if exclude_self:
        count -= _own_row(query, gallery) >= 0
    return count


def rank_relevant(
    query: LabeledRows, gallery: LabeledRows, *, ties: Ties, exclude_self: bool, chunk_bytes: int = CHUNK_BYTES
) -> Iterator[RelevantBlocks]:
    """Ranks the gallery for every query by cosine and gives, chunk after chunk, where the relevant items stand.

    Entries of the unit vectors are rounded to `ENTRY_STEP`, which makes each score a sum without any rounding:
    it does not depend on the order of summation, so neither on the chunk size, the threads nor the BLAS.
    Scores are then rounded to `SCORE_STEP`; what falls on one multiple is tied.

    Args:
        exclude_self: Whether a query that stands in the gallery itself is left out there.
        chunk_bytes: Memory for the rankings held at once, beside one float64 copy of the gallery;
            one query is the least.

    Raises:
        NonFiniteEmbeddingError: A row has no direction.
    """
    gallery_units = _grid_units(gallery.embedding)
    own_row = _own_row(query, gallery) if exclude_self else np.full(len(query.label), -1)
    most_relevant = int(relevant_count(query, gallery, exclude_self=False).max(initial=0))
    query_bytes = max(1, _ROW_BYTES * len(gallery.label) + _RELEVANT_BYTES * most_relevant)
    position_count = _position_count(ties, gallery_count=len(gallery.label))
    chunk = max(1, min(chunk_bytes // query_bytes, (2**63 - 1) // (_KEYS_PER_POSITION * position_count)))
    for start in range(0, len(query.label), chunk):
        rows = slice(start, start + chunk)
        steps = _negated_steps(_grid_units(query.embedding[rows]), gallery_units)
        is_relevant = query.label[rows, None] == gallery.label
        own = np.flatnonzero(own_row[rows] >= 0)
        steps[own, own_row[rows][own]] = _LAST
        is_relevant[own, own_row[rows][own]] = False
        yield _blocks(steps, is_relevant, position_count=position_count, first_query=start)
        del steps, is_relevant  # not to be held beside the next chunk's


def average_precision(
    query: LabeledRows, gallery: LabeledRows, *, ties: Ties, exclude_self: bool, chunk_bytes: int = CHUNK_BYTES
) -> Float64[np.ndarray, " query"]:
    """Average precision of each query over its full ranking, divided by R, all its relevant items of the gallery.

    With expected ties it is the mean over all orders of the tied items. A block of n tied items, r of them
    relevant, behind N0 items with R0 relevant ones, adds (1 / R) times

        sum_{p=1..n} (r / n) (R0 + 1 + (p - 1)(r - 1) / (n - 1)) / (N0 + p).

    A query without relevant items gets 0.

    Raises:
        NonFiniteEmbeddingError: A row has no direction.
    """
    total: Float64[np.ndarray, " query"] = np.zeros(len(query.label))
    harmonic = _harmonic_numbers(len(gallery.label))
    for blocks in rank_relevant(query, gallery, ties=ties, exclude_self=exclude_self, chunk_bytes=chunk_bytes):
        if len(blocks.query):
            first, last = int(blocks.query[0]), int(blocks.query[-1])
            total[first : last + 1] = np.bincount(blocks.query - first, weights=_precision_sum(blocks, harmonic))
    total /= np.maximum(relevant_count(query, gallery, exclude_self=exclude_self), 1)
    return total


def hit_rate_at_k(
    query: LabeledRows, gallery: LabeledRows, *, k: int, ties: Ties, exclude_self: bool, chunk_bytes: int = CHUNK_BYTES
) -> float:
    """Share of queries with a relevant item among the first k; papers print it as Recall@k.

    With expected ties, a block that the cut-off divides counts with the share of its orders that bring
    a relevant item before the cut. A query without relevant items counts as 0.

    Args:
        k: Cut-off, 1 to the gallery's size.

    Raises:
        CutoffError: k lies outside the ranking.
        NonFiniteEmbeddingError: A row has no direction.
    """
    if not 1 <= k <= len(gallery.label):
        raise CutoffError(got=k, largest=len(gallery.label))
    total = 0.0
    for blocks in rank_relevant(query, gallery, ties=ties, exclude_self=exclude_self, chunk_bytes=chunk_bytes):
        is_best = blocks.better_relevant_count == 0
        before, size = blocks.better_count[is_best], blocks.item_count[is_best]
        other = size - blocks.relevant_count[is_best]
        # All k - N0 places go to other items: the product of (other - i) / (size - i).
        missed = np.ones(len(before))
        for place in range(int(np.clip(k - before, 0, other + 1).max(initial=0))):
            is_open = (before + place < k) & (place < size)
            missed[is_open] *= (np.maximum(other - place, 0) / np.maximum(size - place, 1))[is_open]
        total += float((1.0 - missed).sum())
    return total / max(len(query.label), 1)


def chance_average_precision(
    relevant: Int[np.ndarray, " query"], *, gallery_count: Int[np.ndarray, " query"]
) -> Float64[np.ndarray, " query"]:
    """Expected average precision of a random ranking of N items, R of them relevant; 0 without relevant items.

    It is that of one block in which everything is tied, (1/N) ((R - 1)/(N - 1) (N - H_N) + H_N),
    with the harmonic number H_N.
    """
    nothing = np.zeros_like(relevant)
    block = RelevantBlocks(np.arange(len(relevant)), nothing, gallery_count, nothing, relevant)
    total = _precision_sum(block, _harmonic_numbers(int(gallery_count.max(initial=1))))
    chance: Float64[np.ndarray, " query"] = np.where(relevant > 0, total / np.maximum(relevant, 1), 0.0)
    return chance


def bootstrap_means(
    total: Float[np.ndarray, "group metric"],
    count: Float[np.ndarray, "group metric"],
    *,
    resample_count: int,
    generator: np.random.Generator,
) -> Float64[np.ndarray, "resample metric"]:
    """Means of some metrics when groups are drawn anew, as many as there are, with replacement.

    The same draw serves every metric. A resample that draws nothing a metric counts gives NaN.

    Args:
        total: Sum of the metric over the queries of each group.
        count: Number of queries in that sum.
    """
    group_count, metric_count = total.shape
    sums = np.concatenate([total, count], axis=1)
    means: Float64[np.ndarray, "resample metric"] = np.empty((resample_count, metric_count))
    for resample in range(resample_count):
        drawn = generator.integers(group_count, size=group_count)
        drawn_sums = np.bincount(drawn, minlength=group_count) @ sums
        with np.errstate(invalid="ignore"):
            means[resample] = drawn_sums[:metric_count] / drawn_sums[metric_count:]
    return means


def _grid_units(embedding: Float[np.ndarray, "row dim"]) -> Float64[np.ndarray, "row dim"]:
    """Rows of length 1, each entry a multiple of `ENTRY_STEP`."""
    bad = np.flatnonzero(find_degenerate(embedding))
    if len(bad):
        raise NonFiniteEmbeddingError(item_ids=[f"row {row}" for row in bad])
    units: Float64[np.ndarray, "row dim"] = embedding.astype(np.float64, order="C")
    units /= np.sqrt(np.square(units).sum(axis=1, keepdims=True)) * ENTRY_STEP
    np.rint(units, out=units)
    units *= ENTRY_STEP
    return units


def _own_row(query: LabeledRows, gallery: LabeledRows) -> Int[np.ndarray, " query"]:
    """The gallery row that is the query itself; -1 where it is not there."""
    order = np.argsort(gallery.item_code)
    place = np.searchsorted(gallery.item_code, query.item_code, side="left", sorter=order)
    is_there = np.searchsorted(gallery.item_code, query.item_code, side="right", sorter=order) > place
    own: Int[np.ndarray, " query"] = np.full(len(query.item_code), -1)
    own[is_there] = order[place[is_there]]
    return own


def _position_count(ties: Ties, *, gallery_count: int) -> int:
    """Keys between one score and the next: one, or one for each place in the gallery."""
    match ties:
        case Ties.EXPECTED:
            return 1
        case Ties.GALLERY_ORDER:
            return max(1, gallery_count)
        case _:
            assert_never(ties)


def _negated_steps(
    query_units: Float64[np.ndarray, "query dim"], gallery_units: Float64[np.ndarray, "gallery dim"]
) -> Int[np.ndarray, "query gallery"]:
    """Scores as whole multiples of `SCORE_STEP`, negated so that the best is the smallest."""
    scores = (query_units * (-1.0 / SCORE_STEP)) @ gallery_units.T
    np.rint(scores, out=scores)
    steps: Int[np.ndarray, "query gallery"] = scores.astype(np.int64)
    return steps


def _blocks(
    steps: Int[np.ndarray, "query gallery"],
    is_relevant: Bool[np.ndarray, "query gallery"],
    *,
    position_count: int,
    first_query: int,
) -> RelevantBlocks:
    """The blocks of one chunk of rankings; overwrites `steps`.

    Query row, score and, for ties by gallery order, the place in the gallery are put into one integer:
    sorting then needs no second array, and one binary search finds every block in the chunk.
    """
    query_count, gallery_count = steps.shape
    keys = steps
    keys -= _FIRST
    if position_count > 1:
        keys *= position_count
        keys += np.arange(gallery_count)
    keys_per_query = _KEYS_PER_POSITION * position_count
    keys += np.arange(query_count)[:, None] * keys_per_query
    relevant_keys = keys[is_relevant]
    relevant_keys.sort()
    keys.sort(axis=1)

    is_first = np.diff(relevant_keys, prepend=-1) != 0
    first = np.flatnonzero(is_first)
    block_key = relevant_keys[first]
    query = block_key // keys_per_query
    start = np.searchsorted(keys.ravel(), block_key, side="left")
    end = np.searchsorted(keys.ravel(), block_key, side="right")
    relevant_before_query = np.concatenate([[0], np.cumsum(is_relevant.sum(axis=1))])
    return RelevantBlocks(
        query=query + first_query,
        better_count=start - query * gallery_count,
        item_count=end - start,
        better_relevant_count=first - relevant_before_query[query],
        relevant_count=np.diff(first, append=len(relevant_keys)),
    )


def _harmonic_numbers(largest: int) -> Float64[np.ndarray, " number"]:
    """H_0 to H_largest, the sums of 1 + 1/2 + ... + 1/i."""
    numbers: Float64[np.ndarray, " number"] = np.concatenate([[0.0], np.cumsum(1.0 / np.arange(1, largest + 1))])
    return numbers


def _precision_sum(blocks: RelevantBlocks, harmonic: Float64[np.ndarray, " number"]) -> Float64[np.ndarray, " block"]:
    """Expected sum of the precisions at the relevant items of each block; the formula of `average_precision`."""
    before, size, relevant = blocks.better_count, np.maximum(blocks.item_count, 1), blocks.relevant_count
    first_found = blocks.better_relevant_count + 1.0
    slope = (relevant - 1) / np.maximum(size - 1, 1)
    tied = (
        relevant
        / size
        * ((first_found - slope * (before + 1)) * (harmonic[before + size] - harmonic[before]) + slope * size)
    )
    # A block of one item needs no difference of harmonic numbers, and is exact without it.
    total: Float64[np.ndarray, " block"] = np.where(size == 1, first_found / (before + 1), tied)
    return total
