"""From a score to the probability that query and hit are of one class, for each pair of media.

Scores of two media mean different things: a photo is nearer to most photos than to the song of its own species. So each
pair (medium of the query, medium of the hit) has its own curve (Platt, 1999):

    logit P(same class | score) = slope * score + offset,  slope > 0

It rises strictly with the score, so the order within a pair of media stays. Where too few labels are known, a score is
only compared with the scores that are usual for its pair.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from fieldmark.types import MEDIA, Medium

MIN_RELEVANT = 30
"""Fewest pairs of one class from which a curve is fitted; it has two parameters."""
MIN_QUERIES = 10
"""Fewest queries with such a pair; pairs of one query are much alike."""
SMALLEST_DEVIATION = 1e-6
RIDGE = 1e-3
STEPS = 100
SMALLEST_SLOPE = 1e-3


@dataclass(frozen=True, slots=True)
class Curve:
    """The fitted curve of a pair of media.

    Args:
        prior: Share of pairs of one class among all that were fitted.
        relevant_count: Those pairs.
        query_count: Queries among them.
    """

    slope: float
    offset: float
    prior: float
    relevant_count: int
    query_count: int

    def logit(self, score: Float[np.ndarray, "*hit"]) -> Float[np.ndarray, "*hit"]:
        """Log-odds that query and hit are of one class."""
        logit: Float[np.ndarray, "*hit"] = self.slope * score + self.offset
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
    """What is known of the scores of every pair of media; pairs that no item shows are not there."""

    scales: Mapping[tuple[Medium, Medium], PairScale]

    def scale(self, query: Medium, hit: Medium) -> PairScale | None:
        """Of one pair of media; None where it is not known."""
        return self.scales.get((query, hit))

    def curve(self, query: Medium, hit: Medium) -> Curve | None:
        """Of one pair of media; None where there are too few labels."""
        scale = self.scale(query, hit)
        return None if scale is None else scale.curve

    def is_fitted(self, query: Medium, hits: tuple[Medium, ...] = MEDIA) -> bool:
        """Whether all known pairs of a query's medium with these media have a curve, so that their hits compare."""
        known = [scale for hit in hits if (scale := self.scale(query, hit)) is not None]
        return bool(known) and all(scale.curve is not None for scale in known)


def fit_scale(
    score: Float[np.ndarray, "query gallery"],
    *,
    counts: Bool[np.ndarray, "query gallery"],
    labels: tuple[np.ndarray, np.ndarray],
) -> PairScale | None:
    """The scale of one pair of media; None where fewer than two scores count.

    Args:
        score: Of each query with each item of the gallery.
        counts: Which of them say something; not those of an item with itself or with its own group.
        labels: The labels of queries and of the gallery, below zero where unknown.
    """
    chosen = score[counts]
    if chosen.size < 2:
        return None
    known = counts & (labels[0][:, None] >= 0) & (labels[1][None, :] >= 0)
    relevant = known & (labels[0][:, None] == labels[1][None, :])
    deviation = max(float(chosen.std()), SMALLEST_DEVIATION)
    curve = None
    if relevant.sum() >= MIN_RELEVANT and relevant.any(axis=1).sum() >= MIN_QUERIES and (known & ~relevant).any():
        queries = int(relevant.any(axis=1).sum())
        curve = fit_curve(score[known], relevant[known], query_count=queries)
    return PairScale(mean=float(chosen.mean()), deviation=deviation, curve=curve)


def fit_curve(score: Float[np.ndarray, " case"], relevant: Bool[np.ndarray, " case"], *, query_count: int) -> Curve:
    """The curve of largest likelihood; where it would fall with the score, one that is all but flat."""
    share = float((relevant.sum() + 0.5) / (relevant.size + 1))
    slope, offset = fit_logistic(score[:, None], relevant)
    if slope < SMALLEST_SLOPE:
        slope, offset = SMALLEST_SLOPE, np.log(share / (1 - share)) - SMALLEST_SLOPE * score.mean()
    return Curve(float(slope), float(offset), share, relevant_count=int(relevant.sum()), query_count=query_count)


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
