"""The classes that a query most likely shows, from the hits that are nearest to it in each medium."""

from collections.abc import Mapping, Sequence

import numpy as np

from fieldmark.gallery.search.open_set import LIMIT, BestItems
from fieldmark.gallery.search.result import LIKELY, LikelyClass, OpenSetAnswer
from fieldmark.types import Medium

LIKELIEST_DEPTH = 30
"""Items of each medium that are looked at."""
_ITEMS = 3
"""Best items of a class in a medium that count."""
_LISTED = 5
_LEAST = 0.005
"""Probability below which a class is not listed, but for the first."""
_AGREED = 0.3
"""Overlap of what two queries show, below which they show different classes."""


def rank_classes(nearest: Mapping[Medium, BestItems], *, collection: OpenSetAnswer | None) -> tuple[LikelyClass, ...]:
    """Return the classes that a query most likely shows, or what encoders call them, the likeliest first.

    Each class has the mean log-odds of its best items in each medium. These add up, but as media repeat each other in
    part, n of them count as the root of n; a class that is not among the nearest of a medium has the least log-odds
    there. The probabilities are their softmax, times that the collection holds the class at all.

    Args:
        nearest: The nearest items of each medium, best first, at most `LIKELIEST_DEPTH`.
    """
    logits = {medium: best.logit.clip(-LIMIT, LIMIT).tolist() for medium, best in nearest.items()}
    means_by_medium = {}
    for medium, best in nearest.items():
        own: dict[str, list[float]] = {}
        for name, logit in zip(best.class_names, logits[medium], strict=True):
            if name is not None:
                own.setdefault(name, []).append(logit)
        if own:
            means_by_medium[medium] = {name: _average(each[:_ITEMS]) for name, each in own.items()}
    names = sorted(set().union(*means_by_medium.values()))
    if not names:
        return ()
    means = []
    for medium, mean_by_name in means_by_medium.items():
        least = min(logits[medium])
        means.append([mean_by_name.get(name, least) for name in names])
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


def _average(values: Sequence[float]) -> float:
    return sum(values) / len(values)
