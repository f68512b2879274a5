"""Whether a collection holds the query's class: the evidence, and its curve for each medium of the query.

Evidence stands on the mean calibrated log-odds of the query's best items in each medium. A query whose class is there
finds several items of it in more than one medium; one whose class is not there finds items that are near for many
reasons, and rarely in all media at once. A species that the model never learned is found by its own kind alone: a photo
of it by photos. So the query's own medium has a share of its own, and the other media share the rest.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from fieldmark.gallery.search.calibration import Curve, sigmoid
from fieldmark.gallery.search.result import CollectionAnswer
from fieldmark.types import Medium

DEPTH = 5
"""Items of each medium that count. Of 1, 3 and 5, 5 told best, on validation items."""
OWN_SHARE: Mapping[Medium, float] = {Medium.IMAGE: 0.75, Medium.TEXT: 0.0, Medium.VIDEO: 0.75, Medium.AUDIO: 0.75}
"""Of the query's own medium in the evidence: chosen on validation items, of species the model knew and did not."""
LIMIT = 8.0
"""Log-odds beyond this say no more: one perfect match is not to outweigh the other media."""
THRESHOLD = 0.5


def evidence(logits: Mapping[Medium, Float[np.ndarray, " _hit"]], *, medium: Medium) -> float | None:
    """Evidence of one query, from the log-odds of items in each medium; None where no medium has an item.

    Args:
        medium: Of the query.
    """
    best = {hit: np.clip(np.sort(logit)[-DEPTH:], -LIMIT, LIMIT).mean() for hit, logit in logits.items() if logit.size}
    own, others = best.pop(medium, None), list(best.values())
    if own is None:
        return float(np.mean(others)) if others else None
    if not others:
        return float(own)
    return float(OWN_SHARE[medium] * own + (1 - OWN_SHARE[medium]) * np.mean(others))


def answer(found: Sequence[tuple[float, Curve]]) -> CollectionAnswer | None:
    """The answer to queries of one class, from the evidence of each; None for no query.

    Queries of one class repeat each other in part, so n of them count as the root of n.
    """
    if not found:
        return None
    logits = np.array([curve.logit(np.array([value]))[0] for value, curve in found])
    total = logits.sum(keepdims=True) / np.sqrt(len(found))
    return CollectionAnswer(float(sigmoid(total)[0]), THRESHOLD)
