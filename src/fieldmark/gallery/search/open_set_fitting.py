"""Fits the curves of the open-set answer: queries ask with their class there, and with all items of it left out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float, Int

from fieldmark.gallery.search.calibration import MIN_QUERIES, Curve, MediumCenter, fit_curve
from fieldmark.gallery.search.open_set import DEPTH, BestItems, compute_elsewhere_score, compute_open_set_score
from fieldmark.types import MEDIA, Item, Medium

LOST_SHARE = 0.05
"""Of the queries whose class is there, so many may be told that it is not."""
SURE_PART = 0.65
"""Likely is only what lies so far on the way from queries whose class is left out to those whose class is there.

Species that were never met lie half the way on average, on validation items; of .55, .65 and .75 this told best."""
_TYPICAL_SHARE = 0.99
"""Of the queries of a medium, so many are like its items."""


def scale_depth(share: float) -> int:
    """Return how many of the best items of a sample stand for the best `DEPTH` of the gallery; at least one.

    The best five of all items lie nearer than the best five of a sample.
    """
    return max(1, round(DEPTH * share))


@dataclass(frozen=True, slots=True)
class OpenSetCases:
    """Open-set scores of queries with their class there, and again with all items of its class left out.

    Args:
        rows: Of the queries.
    """

    rows: list[int] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    is_there: list[bool] = field(default_factory=list)

    def add(self, row: int, score: float | None, *, is_there: bool) -> None:
        """Add one; no case for no score."""
        if score is not None:
            self.rows.append(row)
            self.scores.append(score)
            self.is_there.append(is_there)


def make_cases(
    logits: Float[np.ndarray, "query item"],
    *,
    medium: Medium,
    class_names: Sequence[str | None],
    items: Sequence[Item],
    depth: Mapping[Medium, int],
) -> tuple[OpenSetCases, OpenSetCases]:
    """Return the cases for classes with items in the query's medium, and for classes that only other media hold.

    For the latter all classes are taken to have no item in the query's medium. A query whose class is there counts if
    the other media agree on it; one whose class is left out counts if they agree on any.

    Args:
        logits: Calibrated log-odds; minus infinity for items that are not shown to a query.
        medium: Of the queries.
        class_names: Of the queries.
        depth: Items of each medium that count.
    """
    everywhere, elsewhere = OpenSetCases(), OpenSetCases()
    item_class = np.array([item.class_name or "" for item in items])
    item_medium = np.array([MEDIA.index(item.medium) for item in items])
    media_of = {name: [hit for hit in MEDIA if hit is not medium] for name in np.unique(item_class).tolist()}
    for row, name in enumerate(class_names):
        same = item_class == name
        if not name or not np.isfinite(logits[row, same]).any():
            continue
        for is_there in (True, False):
            shown = logits[row] if is_there else np.where(same, -np.inf, logits[row])
            best = _find_best(shown, item_class=item_class, item_medium=item_medium, depth=depth)
            everywhere.add(row, compute_open_set_score(best, medium=medium), is_there=is_there)
            found = compute_elsewhere_score(best, medium=medium, media_of=media_of)
            if found is not None and (found[1] == name) == is_there:
                elsewhere.add(row, found[0], is_there=is_there)
    return everywhere, elsewhere


def _find_best(
    logit: Float[np.ndarray, " item"],
    *,
    item_class: np.ndarray,
    item_medium: Int[np.ndarray, " item"],
    depth: Mapping[Medium, int],
) -> dict[Medium, BestItems]:
    """Return the best items of each medium among those shown to a query."""
    best = {}
    for code, medium in enumerate(MEDIA):
        shown = np.flatnonzero((item_medium == code) & np.isfinite(logit))
        chosen = shown[np.argsort(-logit[shown], kind="stable")[: depth[medium]]]
        if chosen.size:
            best[medium] = BestItems(logit[chosen], [name or None for name in item_class[chosen].tolist()])
    return best


def fit_open_set_curve(
    cases: OpenSetCases, *, query_item: Int[np.ndarray, " query"], length: Float[np.ndarray, " query"] | None
) -> Curve | None:
    """Fit the curve of cases, and how much doubt it leaves; None where there are too few.

    Args:
        query_item: The item that each query is, or is a part of.
        length: Of each query, as a text; None where they are no texts.
    """
    rows, scores, there = np.array(cases.rows, dtype=int), np.array(cases.scores), np.array(cases.is_there, dtype=bool)
    query_count = len(np.unique(query_item[rows[there]]))
    if query_count < MIN_QUERIES or there.all():
        return None
    case_length = None if length is None else length[rows]
    curve = fit_curve(scores, there, query_count=query_count, length=case_length)
    logit = curve.compute_logit(scores, 0.0 if case_length is None else case_length)
    # A species that was learned and left out lies farther from all others than one that was never met. So the line
    # belongs to the edge of those that are there, and well beyond the middle. Between the two nothing can be told.
    edge = float(np.quantile(logit[there], LOST_SHARE))
    low, high = float(np.median(logit[~there])), float(np.median(logit[there]))
    line = max(0.0, edge, low + SURE_PART * (high - low))
    return replace(curve, offset=curve.offset - line, doubt=line - edge)


def find_center(embedding: Float[np.ndarray, "item dim"], queries: Float[np.ndarray, "query dim"]) -> MediumCenter:
    """Return the middle of a medium's items, and how near to it nearly all queries of the medium lie at most."""
    total = embedding.mean(axis=0)
    direction = total / max(float(np.linalg.norm(total)), 1e-12)
    return MediumCenter(tuple(direction.tolist()), float(np.quantile(queries @ direction, _TYPICAL_SHARE)))
