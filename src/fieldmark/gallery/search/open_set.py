"""The open-set answer: whether the gallery holds the query's class at all.

The open-set score is the mean calibrated log-odds of the query's best items in each medium, with a curve for each query
medium. A query whose class is there finds several items of it in more than one medium; one whose class is missing finds
items that are near for many reasons, and rarely in all media at once. A species that the model never learned is found
by its own medium alone: a photo of it by photos. So the query's own medium has a share of its own, and the other media
share the rest.

The own medium can speak against a class only where it could have shown it. Where the best items of the other media
agree on a class that has no item in the query's medium, those media alone have a score and a curve too; the surer of
the two counts.

"Cannot tell" is said instead of "not there" where the score lies among those of queries whose class is there, where
some hit is nearly certain, and where the query is unlike all that the curves were fitted on.
"""

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from fieldmark.gallery.search.calibration import CERTAIN, ScoreCalibration, compute_sigmoid
from fieldmark.gallery.search.query import QueryEmbedding
from fieldmark.gallery.search.result import OpenSetAnswer
from fieldmark.types import Medium

DEPTH = 5
"""Items of each medium that count. Of 1, 3 and 5, 5 told best, on validation items."""
_OWN_SHARE: Mapping[Medium, float] = {Medium.IMAGE: 0.75, Medium.TEXT: 0.0, Medium.VIDEO: 0.75, Medium.AUDIO: 0.75}
"""Of the query's own medium in the score: chosen on validation items, of species the model knew and did not."""
LIMIT = 8.0
"""Log-odds beyond this say no more: one perfect match is not to outweigh the other media."""
THRESHOLD = 0.5
_CERTAIN_LOGIT = math.log(CERTAIN / (1 - CERTAIN))


@dataclass(frozen=True, slots=True)
class BestItems:
    """The best items of one medium, at most `DEPTH`.

    Args:
        logit: Calibrated log-odds that an item is of the query's class.
        class_names: Of the same items.
    """

    logit: Float[np.ndarray, " item"]
    class_names: Sequence[str | None]


@dataclass(frozen=True, slots=True)
class OpenSetEvidence:
    """The evidence of one query that the gallery holds its class.

    Args:
        logit: Log-odds that it does.
        upper: The highest that they may be; only below zero do they say that the class is missing.
    """

    logit: float
    upper: float


def compute_open_set_score(best: Mapping[Medium, BestItems], *, medium: Medium) -> float | None:
    """Return the open-set score of a query from its best items in each medium; None where there is no item.

    Args:
        medium: Of the query.
    """
    means: dict[Medium, float] = {}
    for hit, each in best.items():
        if each.logit.size:
            bounded = [min(max(logit, -LIMIT), LIMIT) for logit in each.logit.tolist()]
            means[hit] = sum(bounded) / len(bounded)
    own, others = means.pop(medium, None), list(means.values())
    if not others:
        return own
    mean = sum(others) / len(others)
    return mean if own is None else _OWN_SHARE[medium] * own + (1 - _OWN_SHARE[medium]) * mean


def compute_elsewhere_score(
    best: Mapping[Medium, BestItems], *, medium: Medium, media_of: Mapping[str, Collection[Medium]]
) -> tuple[float, str] | None:
    """Return the score of a class that only other media hold, and the class; None where they agree on no such class.

    They agree on a class that is named by most of the best items of those of them that hold it; of two, on the one that
    is named more often. Their mean is the score.

    Args:
        medium: Of the query.
        media_of: The media in which the gallery holds items of a class.
    """
    votes = Counter(name for hit, each in best.items() if hit is not medium for name in each.class_names if name)
    for name, count in votes.most_common():
        media = media_of.get(name, ())
        holding = {hit: best[hit] for hit in media if hit is not medium and hit in best}
        if 2 * count > sum(len(each.class_names) for each in holding.values()):
            score = compute_open_set_score(holding, medium=medium)
            if score is not None:
                return None if medium in media else (score, name)
    return None


def weigh_evidence(
    best: Mapping[Medium, BestItems],
    *,
    query: QueryEmbedding,
    calibration: ScoreCalibration,
    media_of: Mapping[str, Collection[Medium]],
) -> OpenSetEvidence | None:
    """Return what a query's best items say of its class; None where there are no items, or no curve.

    Args:
        media_of: The media in which the gallery holds items of a class.
    """
    elsewhere = compute_elsewhere_score(best, medium=query.medium, media_of=media_of)
    scores = {False: compute_open_set_score(best, medium=query.medium), True: elsewhere and elsewhere[0]}
    logits, uppers = [], []
    for is_elsewhere, score in scores.items():
        curve = calibration.get_open_set_curve(query.medium, word_count=query.word_count, is_elsewhere=is_elsewhere)
        if score is not None and curve is not None:
            logits.append(float(curve.compute_logit(np.array([score]))[0]))
            uppers.append(logits[-1] + curve.doubt)
    if not logits:
        return None
    center = calibration.centers.get(query.medium)
    is_unlike = center is not None and center.is_unlike_items(query.embedding)
    is_certain = any((each.logit >= _CERTAIN_LOGIT).any() for each in best.values())
    return OpenSetEvidence(max(logits), np.inf if is_unlike or is_certain else max(uppers))


def answer_open_set(found: Sequence[OpenSetEvidence], *, has_certain_hit: bool = False) -> OpenSetAnswer | None:
    """Return the answer for queries of one class, from the evidence of each; None for no query.

    Queries of one class repeat each other in part, so n of them count as the root of n.

    Args:
        has_certain_hit: Whether some hit of the search is nearly certain, so that the class cannot be called missing.
    """
    if not found:
        return None
    logit = sum(each.logit for each in found) / len(found) ** 0.5
    is_open = has_certain_hit or sum(each.upper for each in found) >= 0
    answer = OpenSetAnswer(float(compute_sigmoid(np.array([logit]))[0]), THRESHOLD)
    return answer if answer.is_likely else replace(answer, can_tell=not is_open)
