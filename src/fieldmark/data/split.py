"""A validation split taken from the training items, never through a group."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fieldmark.types import Item, Medium, Split


def origin_of(item: Item) -> str:
    """What the item must not be parted from: its group; without one its file; without a file itself."""
    if item.group is not None:
        return f"group '{item.group}'"
    return f"file '{item.path}'" if item.path is not None else f"text '{item.item_id}'"


def split_validation(items: Sequence[Item], *, share: float, generator: np.random.Generator) -> tuple[Item, ...]:
    """The items, some training items turned into validation items: about `share` of each class in each medium.

    Items of one origin (`origin_of`) go together, and only where that brings the shares nearer to `share`. A class
    with a single origin in some medium keeps it for training. Items without a class, and origins that stand in another
    split already, stay as they are.

    Args:
        share: 0 to 1. Where it is a fraction of an item, chance decides, so that small classes count on average.
    """
    strata = _training_strata(items)
    wanted = _wanted_counts(strata, share, generator)
    origin_count = Counter(stratum for counts in strata.values() for stratum in counts)
    taken: set[str] = set()
    origins = list(strata)
    for place in generator.permutation(len(origins)):
        counts = strata[origins[place]]
        gain = sum(abs(wanted[stratum]) - abs(wanted[stratum] - count) for stratum, count in counts.items())
        if gain > 0 and all(origin_count[stratum] > 1 for stratum in counts):
            taken.add(origins[place])
            wanted.subtract(counts)
            origin_count.subtract(counts.keys())
    return tuple(replace(item, split=Split.VALIDATION) if origin_of(item) in taken else item for item in items)


def _training_strata(items: Sequence[Item]) -> dict[str, Counter[tuple[str, Medium]]]:
    """How many items of each class and medium stand in each origin that lies in the training split whole."""
    elsewhere = {origin_of(item) for item in items if item.split is not Split.TRAIN}
    strata: defaultdict[str, Counter[tuple[str, Medium]]] = defaultdict(Counter)
    for item in items:
        if item.class_name is not None and origin_of(item) not in elsewhere:
            strata[origin_of(item)][item.class_name, item.medium] += 1
    return dict(strata)


def _wanted_counts(
    strata: dict[str, Counter[tuple[str, Medium]]], share: float, generator: np.random.Generator
) -> Counter[tuple[str, Medium]]:
    total: Counter[tuple[str, Medium]] = Counter()
    for counts in strata.values():
        total.update(counts)
    return Counter({stratum: int(share * count + generator.random()) for stratum, count in total.items()})
