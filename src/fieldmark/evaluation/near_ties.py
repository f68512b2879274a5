"""The order of items whose scores are nearer to each other than a matrix product can tell."""

from collections.abc import Sequence
from enum import StrEnum
from typing import assert_never, final

import numpy as np
from jaxtyping import Bool, Float64, Int
from numpy.typing import NDArray

_UNIT = 2.0**-52
_CERTAIN_COSINE = 2.0**-56
"""Below it, a distance of 1 - cosine is the double 1 itself, however the cosine was summed."""

EXCLUDED = np.inf
"""The key of an item that is not ranked."""


class Ties(StrEnum):
    """The order of items of equal score: the mean over all their orders, or the order of the gallery."""

    EXPECTED = "expected"
    GALLERY_ORDER = "gallery_order"


# A query of class a meets five items; the product knows their cosines to 1e-14 of themselves:
#
#   cosine   0.9   1e-20   3e-20   1e-20 (1 + 1e-16)   1e-20
#   class     b      b       a             a              b
#
# The last digits of a sum depend on its order, so the second, fourth and fifth item are one group. It holds both
# classes, so it is decided: with expected ties by what exact arithmetic would say (the fourth is before the others,
# or all three tie if the difference is rounding), in gallery order by the distances 1 - cosine in double precision,
# which are all 1, and so by position. Groups of relevant items only, or of none, need no decision.


@final
class NearTies:
    """The rule by which items of nearly equal score are ranked.

    A key is a negative cosine from a product in float64: good to `(dim + 8) * 2^-52`, of itself if no entry is
    negative. Items whose keys lie nearer form a group. With `Ties.EXPECTED` a group is ranked as exact arithmetic
    would, to 2^-52 of what tells its members apart: for a coordinate t, the cosine of u and v is a constant times
    (1 + S) / sqrt(1 + Q), where S and Q sum u_j v_j / (u_t v_t) and (v_j / v_t)^2 over the other coordinates. The
    logarithm of this has small terms only, where the cosine itself is 1 minus something that float64 cannot hold. With
    `Ties.GALLERY_ORDER` it is ranked by the doubles of `scipy.spatial.distance.cdist(..., "cosine")`, bit by bit, and
    by the order of the gallery where these are equal. Neither depends on how the product was summed.

    Args:
        vectors: Of the gallery, as given.
        units: The vectors at length 1.
    """

    def __init__(
        self,
        vectors: Float64[np.ndarray, "row dim"],
        *,
        units: Float64[np.ndarray, "row dim"],
        gallery_row: Int[np.ndarray, " row"],
        ties: Ties,
    ) -> None:
        self._vectors = vectors
        self._units = units
        self._gallery_row = gallery_row
        self._ties = ties
        self._is_positive = bool((vectors >= 0).all())
        self._share = (vectors.shape[1] + 8) * _UNIT

    def tolerances(self, *, is_positive: bool) -> tuple[float, float]:
        """Return the factor and the offset of the tolerance: keys nearer than factor * |key| + offset are one group.

        Args:
            is_positive: Whether no entry of any query is negative.
        """
        step = 0.0 if self._ties is Ties.EXPECTED else _UNIT  # a distance rounds the cosine to a multiple of 2^-53
        return (self._share, step) if is_positive and self._is_positive else (0.0, self._share + step)

    def rank(
        self,
        keys: Float64[np.ndarray, " row"],
        vector: Float64[np.ndarray, " dim"],
        *,
        relevance: Sequence[Bool[np.ndarray, " row"]],
    ) -> Float64[np.ndarray, " row"]:
        """Return new keys for one query, equal only for items that tie or need no order.

        Args:
            vector: The query, as given.
            relevance: For each definition, the relevant items.
        """
        order = np.argsort(keys)  # within a group the order does not matter
        count = int(np.searchsorted(keys[order], EXCLUDED))
        order = order[:count]
        ranked = keys[order]
        factor, offset = self.tolerances(is_positive=bool((vector >= 0).all()))
        is_apart = np.diff(ranked) > factor * np.abs(ranked[:-1]) + offset
        start = np.concatenate([[0], np.flatnonzero(is_apart) + 1]) if count else np.zeros(0, dtype=np.int64)
        size = np.diff(start, append=count)
        position = np.repeat(start, size)
        is_mixed = np.zeros(len(start), dtype=bool)
        for relevant in relevance:
            found = np.add.reduceat(relevant[order], start, dtype=np.int64) if count else size
            is_mixed |= (found > 0) & (found < size)
        for first, length in zip(start[is_mixed].tolist(), size[is_mixed].tolist(), strict=True):
            group = slice(first, first + length)
            position[group] = first + self._decide(order[group], vector, cosine=-ranked[group])
        new: Float64[np.ndarray, " row"] = np.full(len(keys), EXCLUDED)
        new[order] = position
        return new

    # From here on shapes are not annotated: these are called for each group of each query, and tests check annotations.

    def _decide(
        self,
        members: NDArray[np.int64],
        vector: NDArray[np.float64],
        *,
        cosine: NDArray[np.float64],
    ) -> NDArray[np.int64]:
        """Return the position of each member in the group, equal for those that tie."""
        match self._ties:
            case Ties.EXPECTED:
                return _rank_exactly(self._units[members], vector, share=self._share)
            case Ties.GALLERY_ORDER:
                distance = np.ones(len(members))
                is_open = cosine >= _CERTAIN_COSINE if self._is_positive and (vector >= 0).all() else distance > 0
                distance[is_open] = compute_distances(vector, self._vectors[members[is_open]])
                position: NDArray[np.int64] = np.empty(len(members), dtype=np.int64)
                position[np.lexsort((self._gallery_row[members], distance))] = np.arange(len(members))
                return position
            case _:
                assert_never(self._ties)


def compute_distances(vector: NDArray[np.float64], gallery: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the cosine distances with the operations of SciPy's `cdist`, in its order: the same doubles."""
    length = np.sqrt(_sum_in_lanes(vector[None] * vector)) * np.sqrt(_sum_in_lanes(gallery * gallery))
    cosine = _sum_in_lanes(gallery * vector) / length
    distance: NDArray[np.float64] = 1.0 - np.clip(cosine, -1.0, 1.0)
    return distance


def _sum_in_lanes(terms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Add even and odd columns apart, each from the first to the last, as SciPy's builds do (1.17, 2026-11-29)."""
    even = terms.shape[1] // 2 * 2
    total: NDArray[np.float64] = np.zeros(len(terms))
    for lane in (0, 1) if even else ():
        total += np.add.accumulate(terms[:, lane:even:2], axis=1)[:, -1]
    return total if even == terms.shape[1] else total + terms[:, -1]


def _rank_exactly(units: NDArray[np.float64], vector: NDArray[np.float64], *, share: float) -> NDArray[np.int64]:
    """Return positions by the logarithm of the cosine, equal where rounding could have made the difference.

    All members tie where the logarithm does not exist: the coordinate is 0 or of another sign, or the cosine is not
    positive.
    """
    tied: NDArray[np.int64] = np.zeros(len(units), dtype=np.int64)
    top = int(np.argmax(np.abs(units.sum(axis=0))))
    base = units[:, top] * vector[top]
    if (base <= 0).any():
        return tied
    others = np.delete(vector, top)
    rest = np.delete(units, top, axis=1)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        linear, magnitude = (rest @ others) / base, (np.abs(rest) @ np.abs(others)) / base
        square = np.square(rest / units[:, top, None]).sum(axis=1)
        score = np.log1p(linear) - 0.5 * np.log1p(square)
        doubt = share * (magnitude / (1 + linear) + square / (1 + square))
    if not np.isfinite(score).all() or not np.isfinite(doubt).all():
        return tied
    order = np.argsort(-score, kind="stable")
    best_first, doubt = score[order], doubt[order]
    is_apart = best_first[:-1] - best_first[1:] > np.maximum(doubt[:-1], doubt[1:])
    start = np.concatenate([[0], np.flatnonzero(is_apart) + 1])
    tied[order] = np.repeat(start, np.diff(start, append=len(order)))
    return tied
