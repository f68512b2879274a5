"""Several queries, several media and marks -> one measure for each item of a medium -> one ranked list."""

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

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
    logit = combine_logits(score, queries=queries, medium=medium, calibration=calibration)
    standard = combine_standard_scores(score, queries=queries, medium=medium, calibration=calibration)
    plain = None
    if logit is None and standard is None:
        plain = _weigh(score, queries, between=lambda query, example: float(query.embedding @ example.embedding))
    return Measures(average_positive(score, queries), logit, standard, plain)


def average_positive(
    score: Float[np.ndarray, "query hit"], queries: Sequence[QueryEmbedding]
) -> Float[np.ndarray, " hit"]:
    """Return the mean score of hits over the positive queries."""
    weight = np.array([0.0 if query.is_negative else 1.0 for query in queries])
    mean: Float[np.ndarray, " hit"] = weight @ score / weight.sum()
    return mean


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
            total += (logit - curve.prior_logit) / positive_count**0.5
    combined: Float[np.ndarray, " hit"] = total + sum(priors) / positive_count
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
        class_names: Of the items, each once.
        class_code: The index in `class_names` of each item; -1 for none.
        best_by_class: The best score of each class, of hits or not; at least of the nearest and its nearest rival.
        make_hits: Gives the items of some indices as hits.
    """

    medium: Medium
    measures: Measures
    verdict: Int[np.ndarray, " hit"]
    class_names: Sequence[str]
    class_code: Int[np.ndarray, " hit"]
    best_by_class: Mapping[str, float]
    make_hits: Callable[[Int[np.ndarray, " hit"]], Sequence[Hit]]

    def find_first(self, k: int, *, by: Float[np.ndarray, " hit"]) -> Int[np.ndarray, " first"]:
        """Return the indices of the first `k`: known to be right, unknown, known to be wrong, each by a measure."""
        first: Int[np.ndarray, " first"] = np.lexsort((-by, -self.verdict))[:k]
        return first

    def list_class_names(self, index: Int[np.ndarray, " some"]) -> list[str | None]:
        """Return the classes of the items of some indices; None for those without one."""
        return [self.class_names[code] if code >= 0 else None for code in self.class_code[index].tolist()]


def list_hits(hits: Sequence[Hit]) -> ScoredItems:
    """Return the hits of a single query as scored items."""
    classes = [hit.class_name for hit in hits]
    names = [name for name in dict.fromkeys(classes) if name is not None]
    code: dict[str | None, int] = {None: -1, **{name: index for index, name in enumerate(names)}}
    return ScoredItems(
        np.array([[hit.score for hit in hits]]),
        class_names=names,
        class_code=np.array([code[name] for name in classes], dtype=np.int64),
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


class _Place(NamedTuple):
    """The place of a candidate among those of all media; less comes first.

    Args:
        tier: 0 for those that are certain or known to be right, 2 for those known to be wrong, 1 for all others.
        by: What orders those of a tier: less is better; the same where they take turns.
        turn: Its place among those of its medium.
        medium: The index of its candidates.
        position: Its index among these.
    """

    tier: int
    by: float
    turn: int
    medium: int
    position: int


def rank_candidates(candidates: Sequence[Candidates], *, k: int, per_medium: bool) -> tuple[Hit, ...]:
    """Return the first `k` of all candidates, or of each medium, in one order.

    All media are ordered by log-odds, else by standard score; where some have neither, they take turns, and so do hits
    that are certain. An item known to be right comes first, one known to be wrong comes last. No place depends on the
    items behind it.
    """
    present = sorted((each for each in candidates if len(each.verdict)), key=lambda each: MEDIA.index(each.medium))
    has_logit = all(each.measures.logit is not None for each in present)
    has_standard = all(each.measures.standard is not None for each in present)
    places: list[_Place] = []
    for medium, each in enumerate(present):
        value = each.measures.choose(is_standard=has_standard and not has_logit)
        places += _list_places(
            each, value, k=k, medium=medium, is_comparable=has_logit or has_standard, has_logit=has_logit
        )
    places.sort()
    kept = places if per_medium else places[:k]
    hits: dict[_Place, Hit] = {}
    for medium, each in enumerate(present):
        own = [(place, rank) for rank, place in enumerate(kept, start=1) if place.medium == medium]
        if own:
            chosen, ranks = zip(*own, strict=True)
            hits |= zip(chosen, _rank_hits(each, np.array([place.position for place in chosen]), ranks), strict=True)
    return tuple(hits[place] for place in kept)


def _list_places(
    candidates: Candidates,
    value: Float[np.ndarray, " hit"],
    *,
    k: int,
    medium: int,
    is_comparable: bool,
    has_logit: bool,
) -> list[_Place]:
    """Return the places of the first `k` candidates of one medium.

    Args:
        value: Orders those of one verdict.
        medium: The index of the candidates.
        is_comparable: Whether it also orders them among those of other media.
    """
    order = candidates.find_first(k, by=value)
    chances = _compute_chances(candidates, order) if has_logit else [None] * len(order)
    columns = (order.tolist(), value[order].tolist(), candidates.verdict[order].tolist(), chances)
    places = []
    for turn, (index, by, verdict, chance) in enumerate(zip(*columns, strict=True)):
        is_certain = verdict > 0 or (verdict == 0 and chance is not None and chance >= CERTAIN)
        tier = 0 if is_certain else 1 if verdict == 0 else 2
        places.append(_Place(tier, -by if is_comparable and not is_certain else 0.0, turn, medium, index))
    return places


def _compute_chances(candidates: Candidates, index: Int[np.ndarray, " some"]) -> list[float] | list[None]:
    """Return the probabilities of some candidates of one medium, without what is known of them."""
    logit = candidates.measures.logit
    return [None] * len(index) if logit is None else compute_sigmoid(logit[index]).tolist()


def _rank_hits(candidates: Candidates, index: Int[np.ndarray, " some"], ranks: Sequence[int]) -> list[Hit]:
    """Return candidates of one medium as hits."""
    hits = candidates.make_hits(index)
    margins = compute_class_margins([hit.class_name for hit in hits], candidates.best_by_class)
    score, verdicts = candidates.measures.score[index].tolist(), candidates.verdict[index].tolist()
    columns = (hits, ranks, score, verdicts, _compute_chances(candidates, index), margins)
    ranked = []
    for hit, rank, cosine, verdict, chance, margin in zip(*columns, strict=True):
        probability = max(float(verdict), 0.0) if verdict else chance
        difference, look_alike = margin or (None, None)
        ranked.append(
            hit._replace(rank=rank, score=cosine, probability=probability, margin=difference, look_alike=look_alike)
        )
    return ranked
