"""The classes that a query most likely shows, from the hits that are nearest to it in each medium."""

import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from fieldmark.gallery.search.open_set import LIMIT
from fieldmark.gallery.search.result import LIKELY, LikelyClass, OpenSetAnswer
from fieldmark.types import Hit, Medium

LIKELIEST_DEPTH = 30
"""Hits of each medium that are looked at."""
_ITEMS = 3
"""Best hits of a class in a medium that count."""
_LISTED = 5
_LEAST = 0.005
"""Probability below which a class is not listed, but for the first."""
_AGREED = 0.3
"""Overlap of what two queries show, below which they show different classes."""


def rank_classes(hits: Sequence[Hit], *, collection: OpenSetAnswer | None) -> tuple[LikelyClass, ...]:
    """Return the classes that a query most likely shows, or what encoders call them, the likeliest first.

    Each class has the mean log-odds of its best hits in each medium. These add up, but as media repeat each other in
    part, n of them count as the root of n; a class that is not among the nearest of a medium has the least log-odds
    there. The probabilities are their softmax, times that the
    collection holds the class at all. Hits without probabilities rank nothing.

    Args:
        hits: The nearest of each medium, at most `LIKELIEST_DEPTH`.
    """
    by_medium: defaultdict[Medium, defaultdict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    lowest: dict[Medium, float] = {}
    for hit in hits:
        if hit.probability is None:
            return ()
        logit = _compute_logit(hit.probability)
        lowest[hit.medium] = min(lowest.get(hit.medium, LIMIT), logit)
        name = hit.class_name or hit.called
        if name is not None:
            by_medium[hit.medium][name].append(logit)
    names = sorted({name for own in by_medium.values() for name in own})
    if not names:
        return ()
    means = [
        [_average_best(own[name]) if name in own else lowest[medium] for name in names]
        for medium, own in by_medium.items()
    ]
    evidence = np.sum(means, axis=0) / len(means) ** 0.5
    share = np.exp(evidence - evidence.max())
    share *= (1.0 if collection is None else collection.probability) / share.sum()
    order = np.argsort(-share, kind="stable")[:_LISTED]
    listed = [LikelyClass(names[index], float(share[index])) for index in order]
    return tuple(each for rank, each in enumerate(listed) if rank == 0 or each.probability >= _LEAST)


def contradict(lists: Sequence[Sequence[LikelyClass]]) -> bool:
    """Tell whether two of some queries surely show different classes.

    It must be likelier than not that both show what their lists begin with, and the lists must hardly overlap, by the
    Bhattacharyya coefficient of their probabilities.
    """
    shown = [{each.name: each.probability for each in own} for own in lists if own]
    return any(
        max(one.values()) * max(other.values()) >= LIKELY
        and sum((one[name] * other[name]) ** 0.5 for name in one.keys() & other.keys()) < _AGREED
        for index, one in enumerate(shown)
        for other in shown[:index]
    )


def _average_best(logits: Sequence[float]) -> float:
    best = sorted(logits, reverse=True)[:_ITEMS]
    return sum(best) / len(best)


def _compute_logit(probability: float) -> float:
    """Return log-odds within `LIMIT`."""
    inside = min(max(probability, 1e-9), 1 - 1e-9)
    return max(-LIMIT, min(LIMIT, math.log(inside / (1 - inside))))
