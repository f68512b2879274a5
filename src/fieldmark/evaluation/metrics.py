"""Exact rank metrics, their chance level, and the resampling of their means."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float64, Int

from fieldmark.errors import OutOfRangeError
from fieldmark.evaluation.near_ties import Ties
from fieldmark.evaluation.ranking import Compute, LabeledRows, count_relevant, rank_relevant
from fieldmark.evaluation.sorted_keys import RelevantBlocks

RECALL_LEVELS = tuple(step / 20 for step in range(21))
"""Recall levels of precision-recall curves."""

Interval = tuple[float, float] | None
"""The ends of an interval; None where nothing tells how far a value may be off."""

_RESAMPLES_AT_ONCE = 50
"""Resamples in one matrix product: one by one they take ten times as long."""


def measure_average_precision(
    query: LabeledRows, gallery: LabeledRows, *, ties: Ties, exclude_self: bool, compute: Compute | None = None
) -> Float64[np.ndarray, " query"]:
    """Return the average precision of each query over its full ranking, divided by R, its relevant items.

    With expected ties it is the mean over all orders of the tied items. A block of n tied items, r of them
    relevant, behind N0 items with R0 relevant ones, adds (1 / R) times

        sum_{p=1..n} (r / n) (R0 + 1 + (p - 1)(r - 1) / (n - 1)) / (N0 + p).

    A query without relevant items gets 0.

    Raises:
        NonFiniteEmbeddingError: A row has no direction.
    """
    total: Float64[np.ndarray, " query"] = np.zeros(len(query.label))
    for blocks in rank_relevant(query, gallery, ties=ties, exclude_self=exclude_self, compute=compute):
        total += sum_precisions(blocks, start=0, query_count=len(total), gallery_count=len(gallery.label))
    total /= np.maximum(count_relevant(query, gallery, exclude_self=exclude_self), 1)
    return total


def measure_hit_rate_at_k(
    query: LabeledRows,
    gallery: LabeledRows,
    *,
    k: int,
    ties: Ties,
    exclude_self: bool,
    compute: Compute | None = None,
) -> float:
    """Return the share of queries with a relevant item among the first k; papers print it as Recall@k.

    With expected ties, a block that the cut-off divides counts with the share of its orders that place
    a relevant item before the cut-off. A query without relevant items counts as 0.

    Args:
        k: Cut-off, 1 to the gallery's size.

    Raises:
        OutOfRangeError: k lies outside the ranking.
        NonFiniteEmbeddingError: A row has no direction.
    """
    if not 1 <= k <= len(gallery.label):
        raise OutOfRangeError(name="k", got=k, smallest=1, largest=len(gallery.label), kind="cutoff")
    total = 0.0
    for blocks in rank_relevant(query, gallery, ties=ties, exclude_self=exclude_self, compute=compute):
        total += float(estimate_hits_at_k(blocks, k=k, start=0, query_count=len(query.label)).sum())
    return total / max(len(query.label), 1)


def sum_precisions(
    blocks: RelevantBlocks, *, start: int, query_count: int, gallery_count: int
) -> Float64[np.ndarray, " query"]:
    """Return the sum of precisions at the relevant items of each query, from row `start` on."""
    weights = _precision_sum(blocks, _harmonic_numbers(gallery_count))
    return _sum_by_query(blocks.query - start, weights, query_count=query_count)


def estimate_hits_at_k(
    blocks: RelevantBlocks, *, k: int, start: int, query_count: int
) -> Float64[np.ndarray, " query"]:
    """Return the probability of a relevant item among the first k of each query, from row `start` on.

    It is 0 or 1 without ties.
    """
    is_best = (blocks.better_relevant_count == 0) & (blocks.better_count < k)
    before, size = blocks.better_count[is_best], blocks.item_count[is_best]
    other = size - blocks.relevant_count[is_best]
    # All k - N0 ranks go to other items: the product of (other - i) / (size - i).
    missed = np.ones(len(before))
    for step in range(int(np.clip(k - before, 0, other + 1).max(initial=0))):
        is_open = (before + step < k) & (step < size)
        missed[is_open] *= (np.maximum(other - step, 0) / np.maximum(size - step, 1))[is_open]
    return _sum_by_query(blocks.query[is_best] - start, 1.0 - missed, query_count=query_count)


def interpolate_precision(
    blocks: RelevantBlocks, *, start: int, query_count: int
) -> Float64[np.ndarray, "query level"]:
    """Return the highest precision at each of `RECALL_LEVELS` or beyond it, for each query from row `start` on.

    The i-th of r relevant items in a block of n tied ones counts at its expected rank, i (n + 1) / (r + 1). A query
    without relevant items gets 0.
    """
    found = np.bincount(blocks.query - start, weights=blocks.relevant_count, minlength=query_count).astype(np.int64)
    block = np.repeat(np.arange(len(blocks.query)), blocks.relevant_count)
    first = np.cumsum(blocks.relevant_count) - blocks.relevant_count
    within = np.arange(len(block)) - first[block] + 1
    rank = blocks.better_count[block] + within * ((blocks.item_count + 1) / (blocks.relevant_count + 1))[block]
    found_count = blocks.better_relevant_count[block] + within
    precision = np.zeros((query_count, int(found.max(initial=0)) + 1))
    precision[blocks.query[block] - start, found_count - 1] = found_count / rank
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    # Recall level l is first reached by relevant item ceil(l R); 1e-9 keeps 0.15 * 20 at 3.
    wanted = np.ceil(np.outer(found, RECALL_LEVELS) - 1e-9).astype(np.int64)
    curves: Float64[np.ndarray, "query level"] = np.take_along_axis(best, np.maximum(wanted - 1, 0), axis=1)
    return curves


def compute_chance(
    relevant: Int[np.ndarray, " query"], *, gallery_count: Int[np.ndarray, " query"]
) -> Float64[np.ndarray, " query"]:
    """Return the expected average precision of a random ranking of N items, R of them relevant; 0 if R is 0.

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
    """Bootstrap means of some metrics: as many groups as there are, drawn with replacement.

    The same draw serves every metric. A resample that draws nothing a metric counts gives NaN.

    Args:
        total: Sum of the metric over the queries of each group.
        count: Number of queries in that sum.
    """
    group_count, metric_count = total.shape
    sums = np.concatenate([total, count], axis=1)
    means: Float64[np.ndarray, "resample metric"] = np.empty((resample_count, metric_count))
    for start in range(0, resample_count, _RESAMPLES_AT_ONCE):
        block = min(_RESAMPLES_AT_ONCE, resample_count - start)
        drawn = np.stack(
            [
                np.bincount(generator.integers(group_count, size=group_count), minlength=group_count)
                for _ in range(block)
            ]
        )
        drawn_sums = drawn.astype(np.float64) @ sums
        with np.errstate(invalid="ignore"):
            means[start : start + block] = drawn_sums[:, :metric_count] / drawn_sums[:, metric_count:]
    return means


def correct_by_holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Adjust the p-values of several questions by Holm: below 0.05, the chance of any false finding is below it too."""
    order = np.argsort(p_values, kind="stable")
    factors = len(p_values) - np.arange(len(p_values))
    adjusted = np.minimum(np.maximum.accumulate(np.asarray(p_values)[order] * factors), 1.0)
    result = np.empty(len(p_values))
    result[order] = adjusted
    return tuple(result.tolist())


def _sum_by_query(
    query: Int[np.ndarray, " block"], value: Float[np.ndarray, " block"], *, query_count: int
) -> Float64[np.ndarray, " query"]:
    # Where there is nothing to sum, NumPy counts in whole numbers.
    total: Float64[np.ndarray, " query"] = np.bincount(query, weights=value, minlength=query_count).astype(np.float64)
    return total


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
