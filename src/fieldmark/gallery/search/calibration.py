"""From a score to the probability that query and hit are of one class, for each pair of media.

Scores of two media mean different things: a photo is nearer to most photos than to the song of its own species. So each
pair (medium of the query, medium of the hit) has its own curve (Platt, 1999):

    logit P(same class | score) = slope * score + offset,  slope > 0

It rises strictly with the score, so the order within a pair of media stays. Where too few labels are known, a score is
only compared with the scores that are usual for its pair.

Three words tell less than a whole description, and their scores are as high. So where a text asks, slope and offset
follow its length, the logarithm of its words.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from fieldmark.types import MEDIA, Medium

MIN_RELEVANT = 30
"""Fewest pairs of one class from which a curve is fitted; it has two parameters."""
MIN_QUERIES = 10
"""Fewest queries with such a pair; pairs of one query are much alike."""
SMALLEST_DEVIATION = 1e-6
RIDGE = 1e-3
STEPS = 100
SMALLEST_SLOPE = 1e-3
USUAL_WORDS = 20
"""A text of so many words has length 0, and so has a query of another medium."""


@dataclass(frozen=True, slots=True)
class Curve:
    """The fitted curve of a pair of media.

    Args:
        prior: Share of pairs of one class among all that were fitted.
        relevant_count: Those pairs.
        query_count: Queries among them.
        slope_by_length: What a text's length adds to the slope, for each unit of it.
        offset_by_length: What it adds to the offset.
    """

    slope: float
    offset: float
    prior: float
    relevant_count: int
    query_count: int
    slope_by_length: float = 0.0
    offset_by_length: float = 0.0

    def at(self, length: float) -> "Curve":
        """The curve of queries of one length, which no length changes any more."""
        if not self.slope_by_length and not self.offset_by_length:
            return self
        slope, offset = self.slope + self.slope_by_length * length, self.offset + self.offset_by_length * length
        return replace(self, slope=slope, offset=offset, slope_by_length=0.0, offset_by_length=0.0)

    def logit(
        self, score: Float[np.ndarray, "*hit"], length: Float[np.ndarray, "..."] | float = 0.0
    ) -> Float[np.ndarray, "*hit"]:
        """Log-odds that query and hit are of one class.

        Args:
            length: Of the query of each hit, or of all.
        """
        slope = self.slope + self.slope_by_length * length
        logit: Float[np.ndarray, "*hit"] = slope * score + self.offset + self.offset_by_length * length
        return logit

    @property
    def prior_logit(self) -> float:
        """Log-odds before a score is known."""
        return float(np.log(self.prior / (1 - self.prior)))


@dataclass(frozen=True, slots=True)
class PairScale:
    """What is known of the scores of one pair of media.

    Args:
        mean: Of the scores of all pairs of items.
        deviation: Their standard deviation.
        curve: None where too few labels are known.
    """

    mean: float
    deviation: float
    curve: Curve | None

    def standard(self, score: Float[np.ndarray, " hit"]) -> Float[np.ndarray, " hit"]:
        """How many deviations above the usual the scores are."""
        standard: Float[np.ndarray, " hit"] = (score - self.mean) / self.deviation
        return standard


@dataclass(frozen=True, slots=True)
class Calibration:
    """What is known of the scores of every pair of media; pairs that no item shows are not there.

    Args:
        lengths: Of the shortest and the longest text that asked; what is beyond them is taken to be as long as these.
    """

    scales: Mapping[tuple[Medium, Medium], PairScale]
    lengths: tuple[float, float] = (0.0, 0.0)

    def scale(self, query: Medium, hit: Medium) -> PairScale | None:
        """Of one pair of media; None where it is not known."""
        return self.scales.get((query, hit))

    def curve(self, query: Medium, hit: Medium, *, word_count: int | None = None) -> Curve | None:
        """Of one pair of media; None where there are too few labels.

        Args:
            word_count: Of a query that is a text; None where it is not known.
        """
        scale = self.scale(query, hit)
        return None if scale is None or scale.curve is None else scale.curve.at(self.length(word_count))

    def length(self, word_count: int | None) -> float:
        """Of a text, within those that asked; 0, as near as these come to it, where the words are not known."""
        return float(np.clip(0.0 if word_count is None else text_length(word_count), *self.lengths))

    def is_fitted(self, query: Medium, hits: tuple[Medium, ...] = MEDIA) -> bool:
        """Whether all known pairs of a query's medium with these media have a curve, so that their hits compare."""
        known = [scale for hit in hits if (scale := self.scale(query, hit)) is not None]
        return bool(known) and all(scale.curve is not None for scale in known)


def text_length(word_count: int) -> float:
    """The length of a text in its curves: the logarithm of its words, 0 for usual ones."""
    return float(np.log(max(word_count, 1) / USUAL_WORDS))


def fit_scale(
    score: Float[np.ndarray, "query gallery"],
    *,
    counts: Bool[np.ndarray, "query gallery"],
    labels: tuple[np.ndarray, np.ndarray],
    asking: Int[np.ndarray, " query"] | None = None,
    length: Float[np.ndarray, " query"] | None = None,
) -> PairScale | None:
    """The scale of one pair of media; None where fewer than two scores count.

    Args:
        score: Of each query with each item of the gallery.
        counts: Which of them say something; not those of an item with itself or with its own group.
        labels: The labels of queries and of the gallery, below zero where unknown.
        asking: Which item a query is, or is a part of; None where each is another.
        length: Of each query, as a text; None where they are no texts.
    """
    chosen = score[counts]
    if chosen.size < 2:
        return None
    known = counts & (labels[0][:, None] >= 0) & (labels[1][None, :] >= 0)
    relevant = known & (labels[0][:, None] == labels[1][None, :])
    deviation = max(float(chosen.std()), SMALLEST_DEVIATION)
    curve = None
    asking = np.arange(len(score)) if asking is None else asking
    query_count = len(np.unique(asking[relevant.any(axis=1)]))
    if relevant.sum() >= MIN_RELEVANT and query_count >= MIN_QUERIES and (known & ~relevant).any():
        lengths = None if length is None else np.broadcast_to(length[:, None], score.shape)[known]
        curve = fit_curve(score[known], relevant[known], query_count=query_count, length=lengths)
    return PairScale(mean=float(chosen.mean()), deviation=deviation, curve=curve)


def fit_curve(
    score: Float[np.ndarray, " case"],
    relevant: Bool[np.ndarray, " case"],
    *,
    query_count: int,
    length: Float[np.ndarray, " case"] | None = None,
) -> Curve:
    """The curve of largest likelihood; where it would fall with the score, one that is all but flat.

    Args:
        length: Of the query of each case; None where all are alike. Where the curve would fall at some length, all
            lengths share one.
    """
    share = float((relevant.sum() + 0.5) / (relevant.size + 1))
    curve = Curve(0.0, 0.0, share, relevant_count=int(relevant.sum()), query_count=query_count)
    if length is not None and length.min() < length.max():
        columns = np.column_stack([score, length, score * length])
        slope, offset_by_length, slope_by_length, offset = fit_logistic(columns, relevant).tolist()
        if min(slope + slope_by_length * end for end in (length.min(), length.max())) >= SMALLEST_SLOPE:
            by_length = {"slope_by_length": slope_by_length, "offset_by_length": offset_by_length}
            return replace(curve, slope=slope, offset=offset, **by_length)
    slope, offset = fit_logistic(score[:, None], relevant).tolist()
    if slope < SMALLEST_SLOPE:
        slope, offset = SMALLEST_SLOPE, float(np.log(share / (1 - share)) - SMALLEST_SLOPE * score.mean())
    return replace(curve, slope=slope, offset=offset)


def fit_logistic(
    columns: Float[np.ndarray, "case column"], target: Bool[np.ndarray, " case"], *, ridge: float = RIDGE
) -> Float[np.ndarray, " weight"]:
    """Weights of the columns and, last, the offset: logistic regression with a small ridge, by Newton's method."""
    design = np.column_stack([columns, np.ones(len(columns))])
    weights = np.zeros(design.shape[1])
    penalty = np.full(design.shape[1], ridge)
    loss = _logistic_loss(design, target, weights, penalty)
    for _ in range(STEPS):
        probability = sigmoid(design @ weights)
        gradient = design.T @ (probability - target) + penalty * weights
        curvature = (design * (probability * (1 - probability))[:, None]).T @ design + np.diag(penalty)
        step = np.linalg.solve(curvature, gradient)
        size = 1.0
        while size > 1e-6:
            tried = weights - size * step
            new_loss = _logistic_loss(design, target, tried, penalty)
            if new_loss <= loss:
                break
            size /= 2
        else:
            break
        gain, weights, loss = loss - new_loss, tried, new_loss
        if gain < 1e-9 * max(loss, 1.0):
            break
    return weights


def sigmoid(logit: Float[np.ndarray, "*hit"]) -> Float[np.ndarray, "*hit"]:
    """The probability that log-odds stand for."""
    probability: Float[np.ndarray, "*hit"] = 0.5 * (1 + np.tanh(0.5 * np.asarray(logit)))
    return probability


def _logistic_loss(
    design: Float[np.ndarray, "case weight"],
    target: Bool[np.ndarray, " case"],
    weights: Float[np.ndarray, " weight"],
    penalty: Float[np.ndarray, " weight"],
) -> float:
    logit = design @ weights
    return float(np.logaddexp(0, logit).sum() - logit[target].sum() + 0.5 * (penalty * weights**2).sum())
