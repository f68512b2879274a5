"""The open-set score, and its curve for each query medium: is the query's class in the gallery?

The open-set score is the mean calibrated log-odds of the query's best items in each medium. A query whose class is
there finds several items of it in more than one medium; one whose class is missing finds items that are near for many
reasons, and rarely in all media at once. A species that the model never learned is found by its own medium alone: a
photo of it by photos. So the query's own medium has a share of its own, and the other media share the rest.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from fieldmark.gallery.search.curve import Curve, compute_sigmoid
from fieldmark.gallery.search.result import CollectionAnswer
from fieldmark.types import Medium

DEPTH = 5
"""Items of each medium that count. Of 1, 3 and 5, 5 told best, on validation items."""
_OWN_SHARE: Mapping[Medium, float] = {Medium.IMAGE: 0.75, Medium.TEXT: 0.0, Medium.VIDEO: 0.75, Medium.AUDIO: 0.75}
"""Of the query's own medium in the score: chosen on validation items, of species the model knew and did not."""
LIMIT = 8.0
"""Log-odds beyond this say no more: one perfect match is not to outweigh the other media."""
THRESHOLD = 0.5


def compute_open_set_score(logits: Mapping[Medium, Float[np.ndarray, " _hit"]], *, medium: Medium) -> float | None:
    """Return the open-set score of a query from the log-odds of items in each medium; None where there is no item.

    Args:
        medium: Of the query.
    """
    best = {hit: np.clip(np.sort(logit)[-DEPTH:], -LIMIT, LIMIT).mean() for hit, logit in logits.items() if logit.size}
    own, others = best.pop(medium, None), list(best.values())
    if own is None:
        return float(np.mean(others)) if others else None
    if not others:
        return float(own)
    return float(_OWN_SHARE[medium] * own + (1 - _OWN_SHARE[medium]) * np.mean(others))


def answer_open_set(found: Sequence[tuple[float, Curve]]) -> CollectionAnswer | None:
    """Return the answer for queries of one class, from the open-set score and curve of each; None for no query.

    Queries of one class repeat each other in part, so n of them count as the root of n.
    """
    if not found:
        return None
    logits = np.array([curve.compute_logit(np.array([value]))[0] for value, curve in found])
    total = logits.sum(keepdims=True) / np.sqrt(len(found))
    return CollectionAnswer(float(compute_sigmoid(total)[0]), THRESHOLD)
