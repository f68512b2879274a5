"""Whether a collection holds the query's class: the evidence, and its curve for each medium of the query.

Evidence is the mean, over the media of the collection, of the mean calibrated log-odds of the query's best items in
that medium. A query whose class is there finds several items of it in more than one medium; one whose class is not
there finds items that are near for many reasons, and rarely in all media at once.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from fieldmark.relevance.calibration import Curve, sigmoid
from fieldmark.relevance.result import CollectionAnswer

DEPTH = 5
"""Items of each medium that count. Of 1, 5 and three other summaries of a query, 5 told best, on validation items."""
LIMIT = 8.0
"""Log-odds beyond this say no more: one perfect match is not to outweigh the other media."""
THRESHOLD = 0.5


def evidence(logits: Sequence[Float[np.ndarray, " _hit"]]) -> float | None:
    """Evidence of one query, from the log-odds of items in each medium; None where no medium has an item."""
    best = [np.clip(np.sort(logit)[-DEPTH:], -LIMIT, LIMIT).mean() for logit in logits if logit.size]
    return float(np.mean(best)) if best else None


def answer(found: Sequence[tuple[float, Curve]]) -> CollectionAnswer | None:
    """The answer to queries of one class, from the evidence of each; None for no query.

    Queries of one class repeat each other in part, so n of them count as the root of n.
    """
    if not found:
        return None
    logits = np.array([curve.logit(np.array([value]))[0] for value, curve in found])
    total = logits.sum(keepdims=True) / np.sqrt(len(found))
    return CollectionAnswer(float(sigmoid(total)[0]), THRESHOLD)
