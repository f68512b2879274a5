"""Several queries, several media and marks -> one measure for each item of a medium -> one ranked list."""

import heapq
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from fieldmark.gallery.search.calibration import CERTAIN, ScoreCalibration, compute_sigmoid
from fieldmark.gallery.search.query import QueryEmbedding
from fieldmark.gallery.store import ScoredItems
from fieldmark.types import MEDIA, Hit, Medium

# ---------------------------------------------------------------- fusion of queries


@dataclass(frozen=True, slots=True)
class Measures:
    """The answers of several queries about items of one medium, as one number for each, in several ways.

    Args:
        score: Mean score of the positive queries.
        logit: Log-odds that an item is of the wanted class; None where that is not known.
        standard: How far its score lies above the usual; None where that is not known.
        plain: The same from the scores as they are; None where one of the two is known.
    """

    score: Float[np.ndarray, " hit"]
    logit: Float[np.ndarray, " hit"] | None
    standard: Float[np.ndarray, " hit"] | None
    plain: Float[np.ndarray, " hit"] | None

    def choose(self, *, is_standard: bool) -> Float[np.ndarray, " hit"]:
        """Return the measure to order by: log-odds, else standard scores, else plain ones.

        Args:
            is_standard: Whether to pass over the log-odds.
        """
        return next(
            each for each in ((None if is_standard else self.logit), self.standard, self.plain) if each is not None
        )


def combine_scores(
    score: Float[np.ndarray, "query hit"],
    *,
    queries: Sequence[QueryEmbedding],
    medium: Medium,
    calibration: ScoreCalibration,
) -> Measures:
    """Return what several queries and negative examples tell of items of one medium."""
    is_positive = [not query.is_negative for query in queries]
    logit = combine_logits(score, queries=queries, medium=medium, calibration=calibration)
    standard = combine_standard_scores(score, queries=queries, medium=medium, calibration=calibration)
    plain = None
    if logit is None and standard is None:
        plain = _weigh(score, queries, between=lambda query, example: float(query.embedding @ example.embedding))
    return Measures(score[is_positive].mean(axis=0), logit, standard, plain)


def combine_logits(
    score: Float[np.ndarray, "query hit"],
    *,
    queries: Sequence[QueryEmbedding],
    medium: Medium,
    calibration: ScoreCalibration,
) -> Float[np.ndarray, " hit"] | None:
    """Return the log-odds that hits of one medium are of the wanted class; None where a pair of media has no curve.

    One query has its curve. Each of n positive queries adds what it changes of the prior, divided by the root of n,
    since they repeat each other in part. A negative example adds ln(1 - p), with p the probability that the hit is of
    its class.
    """
    curves = [
        calibration.get_curve(query.medium, medium, word_count=query.word_count, is_name=query.is_name)
        if query.is_calibrated
        else None
        for query in queries
    ]
    total = np.zeros(score.shape[1])
    priors, positive_count = [], sum(not query.is_negative for query in queries)
    for row, query, curve in zip(score, queries, curves, strict=True):
        if curve is None:
            return None
        logit = curve.compute_logit(row)
        if query.is_negative:
            total -= np.logaddexp(0, logit)
        else:
            priors.append(curve.prior_logit)
            total += (logit - curve.prior_logit) / np.sqrt(positive_count)
    combined: Float[np.ndarray, " hit"] = total + np.mean(priors)
    return combined


def combine_standard_scores(
    score: Float[np.ndarray, "query hit"],
    *,
    queries: Sequence[QueryEmbedding],
    medium: Medium,
    calibration: ScoreCalibration,
) -> Float[np.ndarray, " hit"] | None:
    """Return how far above the usual hits of one medium are; None where a pair of media is not known."""
    standard = []
    for row, query in zip(score, queries, strict=True):
        scale = calibration.get_scale(query.medium, medium) if query.is_calibrated else None
        if scale is None:
            return None
        standard.append(scale.standardize(row))

    def between(query: QueryEmbedding, example: QueryEmbedding) -> float:
        scale = calibration.get_scale(query.medium, example.medium)
        score = np.array([query.embedding @ example.embedding])
        return 0.0 if scale is None else float(scale.standardize(score)[0])

    return _weigh(np.array(standard), queries, between=between)


def _weigh(
    score: Float[np.ndarray, "query hit"],
    queries: Sequence[QueryEmbedding],
    *,
    between: Callable[[QueryEmbedding, QueryEmbedding], float],
) -> Float[np.ndarray, " hit"]:
    """Return the mean score by the positive queries, less what negative examples take away.

    Each query and each mark has one vote: of n positive queries, a negative example takes away one n-th of its part. It
    is near to the queries, or it would not have been found. By that score, `between`, it is known how near items of its
    class lie: an item as near to it loses as much, one a third as near or less loses nothing. So what is a little like
    both keeps its place.
    """
    positive = [query for query in queries if not query.is_negative]
    total = np.zeros(score.shape[1])
    for row, query in zip(score, queries, strict=True):
        if query.is_negative:
            usual = max(float(np.mean([between(each, query) for each in positive])), 0.0)
            total -= np.maximum(1.5 * row - 0.5 * usual, 0.0)
        else:
            total += row
    mean: Float[np.ndarray, " hit"] = total / len(positive)
    return mean


def find_near_vector(
    queries: Sequence[QueryEmbedding], *, medium: Medium, calibration: ScoreCalibration
) -> Float[np.ndarray, " dim"]:
    """Return the vector whose nearest segments of one medium are those that the positive queries rank first.

    Log-odds and standard scores are linear in the scores, so the order of segments is that of one sum of the queries.
    """
    positive = [query for query in queries if not query.is_negative]
    curves = [
        calibration.get_curve(query.medium, medium, word_count=query.word_count, is_name=query.is_name)
        if query.is_calibrated
        else None
        for query in positive
    ]
    scales = [calibration.get_scale(query.medium, medium) if query.is_calibrated else None for query in positive]
    weights = [1.0] * len(positive)
    if all(curves):
        weights = [curve.slope for curve in curves if curve is not None]
    elif all(scales):
        weights = [1 / scale.deviation for scale in scales if scale is not None]
    total: Float[np.ndarray, " dim"] = np.array(weights) @ np.stack([query.embedding for query in positive])
    return total


# ---------------------------------------------------------------- one list of all media


@dataclass(frozen=True, slots=True)
class Candidates:
    """Items of one medium that may become hits.

    Args:
        verdict: Where a label or a mark tells of an item whether it is of the wanted class: 1 or -1; 0 elsewhere.
        best_by_class: The best score of each class, of hits or not; at least of the nearest and its nearest rival.
        make_hits: Gives the items of some indices as hits.
    """

    medium: Medium
    measures: Measures
    verdict: Int[np.ndarray, " hit"]
    best_by_class: Mapping[str, float]
    make_hits: Callable[[Int[np.ndarray, " hit"]], Sequence[Hit]]


def list_hits(hits: Sequence[Hit]) -> ScoredItems:
    """Return the hits of a single query as scored items."""
    names = list(dict.fromkeys(hit.class_name for hit in hits if hit.class_name is not None))
    code: dict[str | None, int] = {None: -1, **{name: index for index, name in enumerate(names)}}
    return ScoredItems(
        np.array([[hit.score for hit in hits]]),
        class_names=names,
        class_code=np.array([code[hit.class_name] for hit in hits], dtype=np.int64),
        find=lambda item_ids: np.array([hit.item_id in item_ids for hit in hits], dtype=bool),
        make_hits=lambda index, _: tuple(hits[each] for each in index.tolist()),
    )


def find_best_by_class(
    class_names: Sequence[str], class_code: Int[np.ndarray, " gallery"], *, score: Float[np.ndarray, " gallery"]
) -> dict[str, float]:
    """Return the best score of each class that is there.

    Args:
        class_code: The index of each item's class; -1 for none.
    """
    best = np.full(len(class_names) + 1, -np.inf)
    np.maximum.at(best, class_code, score)
    return {name: value for name, value in zip(class_names, best.tolist(), strict=False) if value > -np.inf}


def compute_class_margins(
    class_names: Sequence[str | None], best_by_class: Mapping[str, float]
) -> list[tuple[float, str] | None]:
    """Return, for each class, how much nearer it is than the nearest other class of its medium, and that class."""
    nearest = heapq.nlargest(2, best_by_class, key=best_by_class.__getitem__)
    margins: list[tuple[float, str] | None] = []
    for name in class_names:
        other = next((other for other in nearest if other != name), None)
        if name is None or other is None:
            margins.append(None)
        else:
            margins.append((best_by_class[name] - best_by_class[other], other))
    return margins


@dataclass(frozen=True, slots=True)
class _Entry:
    """A hit and its place among those of all media; less comes first."""

    hit: Hit
    place: tuple[int, float, int, int]


def rank_candidates(candidates: Sequence[Candidates], *, k: int, per_medium: bool) -> tuple[Hit, ...]:
    """Return the first `k` of all candidates, or of each medium, ordered as by `order_candidates`."""
    return keep_first(order_candidates(candidates, k=k), k=k, per_medium=per_medium)


def order_candidates(candidates: Sequence[Candidates], *, k: int) -> list[Hit]:
    """Return the first `k` candidates of each medium in one order, without ranks.

    All media are ordered by log-odds, else by standard score; where some have neither, they take turns, and so do hits
    that are certain. An item known to be right comes first, one known to be wrong comes last. No place depends on the
    items behind it.
    """
    present = [each for each in candidates if len(each.verdict)]
    has_logit = all(each.measures.logit is not None for each in present)
    has_standard = all(each.measures.standard is not None for each in present)
    entries: list[_Entry] = []
    for each in present:
        value = each.measures.choose(is_standard=has_standard and not has_logit)
        entries += _make_entries(each, value, k=k, is_comparable=has_logit or has_standard, has_logit=has_logit)
    entries.sort(key=lambda entry: entry.place)
    return [entry.hit for entry in entries]


def keep_first(ordered: Sequence[Hit], *, k: int, per_medium: bool) -> tuple[Hit, ...]:
    """Return the first `k` of some ordered hits, or of each medium, with their ranks among these."""
    seen: Counter[Medium | None] = Counter()
    kept: list[Hit] = []
    for hit in ordered:
        counted = hit.medium if per_medium else None
        seen[counted] += 1
        if seen[counted] <= k:
            kept.append(hit._replace(rank=len(kept) + 1))
    return tuple(kept)


def _make_entries(
    candidates: Candidates, value: Float[np.ndarray, " hit"], *, k: int, is_comparable: bool, has_logit: bool
) -> list[_Entry]:
    """Return the first `k` hits of one medium.

    Args:
        value: Orders those of one verdict.
        is_comparable: Whether it also orders them among those of other media.
    """
    order = np.lexsort((-value, -candidates.verdict))[:k]
    measures, hits = candidates.measures, candidates.make_hits(order)
    likely = [None] * len(order) if measures.logit is None else compute_sigmoid(measures.logit[order]).tolist()
    margins = compute_class_margins([hit.class_name for hit in hits], candidates.best_by_class)
    columns = (hits, measures.score[order].tolist(), value[order].tolist(), candidates.verdict[order].tolist())
    entries = []
    for turn, (hit, score, by, verdict, chance, margin) in enumerate(zip(*columns, likely, margins, strict=True)):
        probability = max(float(verdict), 0.0) if verdict else chance
        is_certain = verdict > 0 or (verdict == 0 and has_logit and probability >= CERTAIN)
        tier = 0 if is_certain else 1 if verdict == 0 else 2
        difference, look_alike = margin or (None, None)
        ranked = hit._replace(score=score, probability=probability, margin=difference, look_alike=look_alike)
        place = (tier, -by if is_comparable and not is_certain else 0.0, turn, MEDIA.index(candidates.medium))
        entries.append(_Entry(ranked, place))
    return entries
