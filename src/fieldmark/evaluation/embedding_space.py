"""Figures of the embedding space beside its rankings: calibration, the gap between media, hubs, confusions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Float64, Int

from fieldmark.evaluation.evaluated_items import EvaluatedItems
from fieldmark.evaluation.ranking import Neighbors
from fieldmark.types import MEDIA, Medium

NEIGHBOR_COUNT = 10
"""Number of first items of a ranking in which hubs and confusions are counted."""

_BIN_COUNT = 10


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Cases of about the same predicted probability, and the share of them that came true."""

    stated: float
    true_share: float
    count: int


@dataclass(frozen=True, slots=True)
class Reliability:
    """Predicted probabilities beside outcomes; the error is the mean absolute gap over bins, weighted by size."""

    error: float
    bins: tuple[ReliabilityBin, ...]


@dataclass(frozen=True, slots=True)
class MediaGap:
    """The distance between two media.

    Args:
        centroid_distance: Between the means of the media's unit vectors; 0 if the media mix, at most 2.
        same_class: Mean cosine of pairs of one class, one item of each medium.
        other_class: Mean cosine of all other pairs.
    """

    centroid_distance: float
    same_class: float
    other_class: float

    json_keys: ClassVar = (
        "centroid_distance",
        "score_same_class=same_class",
        "score_other_class=other_class",
    )


@dataclass(frozen=True, slots=True)
class Hubness:
    """The evenness with which a gallery's items appear among the first `NEIGHBOR_COUNT` of the queries.

    Args:
        skewness: Of the number of appearances (Radovanović et al., JMLR 2010); 0 is even, above 2 there are hubs.
        never_share: Share of gallery items that no query finds.
        top_share: Share of all appearances that the 1 % most frequent items take.
    """

    skewness: float
    never_share: float
    top_share: float


@dataclass(frozen=True, slots=True)
class Confusion:
    """Two classes that are confused.

    Args:
        share: Mean, over both classes' queries, of the share of the first neighbors that are of the other class.
    """

    first: str
    second: str
    share: float


@dataclass(frozen=True, slots=True)
class EmbeddingSpace:
    """Figures of the embedding space beside its rankings.

    Args:
        calibration: Of the best hit's score, cut to 0 to 1, as the probability that the hit is relevant; by direction.
        media_gap: By the names of two media.
        hubness: By direction.
        confusions: The classes most often confused, most often first.
    """

    calibration: Mapping[str, Reliability]
    media_gap: Mapping[tuple[Medium, Medium], MediaGap]
    hubness: Mapping[str, Hubness]
    confusions: tuple[Confusion, ...]

    def json_values(self) -> dict[str, object]:
        """Return the values of the JSON object, by key."""
        return {
            "calibration": {
                name: {"error": c.error, "bins": [(b.stated, b.true_share, b.count) for b in c.bins]}
                for name, c in self.calibration.items()
            },
            "media_gap": {f"{one}_{other}": gap for (one, other), gap in self.media_gap.items()},
            "hubness": self.hubness,
            "confusions": [{"classes": (c.first, c.second), "share": c.share} for c in self.confusions],
        }


def measure_reliability(
    stated: Float[np.ndarray, " case"], true_share: Float[np.ndarray, " case"], *, bin_count: int = _BIN_COUNT
) -> Reliability:
    """Compare predicted probabilities with outcomes, in bins of equal size.

    Args:
        true_share: 1 or 0; between them for ties.
    """
    order = np.argsort(stated, kind="stable")
    parts = [part for part in np.array_split(order, bin_count) if len(part)]
    bins = tuple(
        ReliabilityBin(float(stated[part].mean()), float(true_share[part].mean()), len(part)) for part in parts
    )
    case_count = max(len(stated), 1)
    return Reliability(sum(b.count * abs(b.stated - b.true_share) for b in bins) / case_count, bins)


def measure_media_gap(evaluated: EvaluatedItems) -> dict[tuple[Medium, Medium], MediaGap]:
    """Measure the gap between every two media that are present; pair means follow from the sum vector of each class."""
    units, class_count = evaluated.units, len(evaluated.class_names)
    sums: dict[Medium, Float64[np.ndarray, "class dim"]] = {}
    sizes: dict[Medium, Int[np.ndarray, " class"]] = {}
    for code, medium in enumerate(MEDIA):
        rows = evaluated.medium == code
        if rows.any():
            sizes[medium] = np.bincount(evaluated.rows.label[rows], minlength=class_count)
            sums[medium] = np.zeros((class_count, units.shape[1]))
            np.add.at(sums[medium], evaluated.rows.label[rows], units[rows])
    gaps = {}
    for number, one in enumerate(sums):
        for other in list(sums)[number + 1 :]:
            totals = sums[one].sum(axis=0), sums[other].sum(axis=0)
            counts = int(sizes[one].sum()), int(sizes[other].sum())
            same, same_count = float((sums[one] * sums[other]).sum()), int(sizes[one] @ sizes[other])
            every, every_count = float(totals[0] @ totals[1]), counts[0] * counts[1]
            gaps[one, other] = MediaGap(
                centroid_distance=float(np.linalg.norm(totals[0] / counts[0] - totals[1] / counts[1])),
                same_class=same / max(same_count, 1),
                other_class=(every - same) / max(every_count - same_count, 1),
            )
    return gaps


def measure_hubness(neighbors: Neighbors, *, gallery: Int[np.ndarray, " row"]) -> Hubness:
    """Measure how evenly the gallery's rows appear among the neighbors."""
    appearances = np.bincount(neighbors.gallery, weights=neighbors.share, minlength=int(gallery.max()) + 1)[gallery]
    spread = float(appearances.std())
    skewness = float(((appearances - appearances.mean()) ** 3).mean()) / spread**3 if spread > 1e-12 else 0.0
    most = np.sort(appearances)[::-1][: max(1, len(gallery) // 100)]
    return Hubness(
        skewness=skewness,
        never_share=float((appearances == 0).mean()),
        top_share=float(most.sum() / max(appearances.sum(), 1e-12)),
    )


def find_confusions(
    evaluated: EvaluatedItems, neighbors: Sequence[Neighbors], *, limit: int = 20
) -> tuple[Confusion, ...]:
    """Return the pairs of classes most often confused among the first neighbors of another medium."""
    class_count, label = len(evaluated.class_names), evaluated.rows.label
    wrong = np.zeros((class_count, class_count))
    every = np.zeros(class_count)
    for each in neighbors:
        is_across = evaluated.medium[each.query] != evaluated.medium[each.gallery]
        query, gallery, share = each.query[is_across], each.gallery[is_across], each.share[is_across]
        np.add.at(wrong, (label[query], label[gallery]), share)
        np.add.at(every, label[query], share)
    rates = wrong / np.maximum(every, 1e-12)[:, None]
    mutual = np.triu((rates + rates.T) / 2, k=1)
    pairs = np.argsort(-mutual, axis=None, kind="stable")[:limit]
    found = [(int(pair) // class_count, int(pair) % class_count) for pair in pairs]
    names = evaluated.class_names
    return tuple(Confusion(names[a], names[b], float(mutual[a, b])) for a, b in found if mutual[a, b] > 0)
