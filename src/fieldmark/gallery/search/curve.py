"""Curves from a score to log-odds, and how they are fitted.

A curve is a logistic regression of one variable (Platt, 1999):

    logit P(same class | score) = slope * score + offset,  slope > 0

It rises strictly with the score, so the order of hits stays. A few words say less than a whole description, yet their
scores are as high; so for a text both slope and offset depend on its length, the logarithm of its word count.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

_RIDGE = 1e-3
_STEPS = 100
_SMALLEST_SLOPE = 1e-3
USUAL_WORDS = 20
"""A text of this many words has length 0, and so has a query of another medium."""


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

    def fix_length(self, length: float) -> "Curve":
        """Return the curve for queries of one length; it no longer depends on length."""
        if not self.slope_by_length and not self.offset_by_length:
            return self
        slope, offset = self.slope + self.slope_by_length * length, self.offset + self.offset_by_length * length
        return replace(self, slope=slope, offset=offset, slope_by_length=0.0, offset_by_length=0.0)

    def compute_logit(
        self, score: Float[np.ndarray, "*hit"], length: Float[np.ndarray, "..."] | float = 0.0
    ) -> Float[np.ndarray, "*hit"]:
        """Return the log-odds that query and hit are of one class.

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


def compute_text_length(word_count: int) -> float:
    """Return the length of a text as curves take it: the logarithm of its word count, 0 for `USUAL_WORDS`."""
    return float(np.log(max(word_count, 1) / USUAL_WORDS))


def fit_curve(
    score: Float[np.ndarray, " case"],
    relevant: Bool[np.ndarray, " case"],
    *,
    query_count: int,
    length: Float[np.ndarray, " case"] | None = None,
) -> Curve:
    """Fit the curve of largest likelihood; where it would fall with the score, return one that is all but flat.

    Args:
        length: Of the query of each case; None where all are alike. Where the curve would fall at some length, all
            lengths share one.
    """
    share = float((relevant.sum() + 0.5) / (relevant.size + 1))
    curve = Curve(0.0, 0.0, share, relevant_count=int(relevant.sum()), query_count=query_count)
    if length is not None and length.min() < length.max():
        columns = np.column_stack([score, length, score * length])
        slope, offset_by_length, slope_by_length, offset = fit_logistic(columns, relevant).tolist()
        if min(slope + slope_by_length * end for end in (length.min(), length.max())) >= _SMALLEST_SLOPE:
            by_length = {"slope_by_length": slope_by_length, "offset_by_length": offset_by_length}
            return replace(curve, slope=slope, offset=offset, **by_length)
    slope, offset = fit_logistic(score[:, None], relevant).tolist()
    if slope < _SMALLEST_SLOPE:
        slope, offset = _SMALLEST_SLOPE, float(np.log(share / (1 - share)) - _SMALLEST_SLOPE * score.mean())
    return replace(curve, slope=slope, offset=offset)


def fit_logistic(
    columns: Float[np.ndarray, "case column"], target: Bool[np.ndarray, " case"], *, ridge: float = _RIDGE
) -> Float[np.ndarray, " weight"]:
    """Fit the weights of columns and, last, the offset: logistic regression with a small ridge, by Newton's method."""
    design = np.column_stack([columns, np.ones(len(columns))])
    weights = np.zeros(design.shape[1])
    penalty = np.full(design.shape[1], ridge)
    loss = _logistic_loss(design, target, weights, penalty)
    for _ in range(_STEPS):
        probability = compute_sigmoid(design @ weights)
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


def compute_sigmoid(logit: Float[np.ndarray, "*hit"]) -> Float[np.ndarray, "*hit"]:
    """Return the probability that log-odds stand for."""
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
