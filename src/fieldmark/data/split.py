"""Items to splits, stratified by class and medium, never through an origin; and items counted by medium and split."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from fieldmark.errors import NoItemsError, OutOfRangeError
from fieldmark.origin import name_origins
from fieldmark.types import MEDIA, Item, Medium, Split

_Stratum = tuple[str | None, Medium]


def select_training_items(
    items: Sequence[Item],
    *,
    media: Collection[Medium],
    validation_share: float,
    generator: np.random.Generator,
    manifest: Path,
) -> tuple[Item, ...]:
    """Return the labeled items of train and validation, of all media.

    Items without a split count as train. Where the manifest names no validation items, some are taken from train, as
    `split_validation` does.

    Args:
        media: Of the items that can be trained on.
        manifest: Where the items are from, for the message.

    Raises:
        NoItemsError: Fewer than two classes can be trained on.
    """
    usable = tuple(
        replace(item, split=item.split or Split.TRAIN)
        for item in items
        if item.class_name is not None and item.split is not Split.TEST
    )
    to_train = [item for item in usable if item.split is Split.TRAIN and item.medium in media]
    if len({item.class_name for item in to_train}) < 2:
        present = f"{len(items):,} items, {len(to_train):,} of them labelled, of these media and in the train split"
        wanted = f"training items of two classes or more ({', '.join(media)})"
        raise NoItemsError(path=manifest, wanted=wanted, present=present)
    if any(item.split is Split.VALIDATION for item in usable):
        return usable
    return split_validation(usable, share=validation_share, generator=generator)


MOST_UNLABELLED = 2_000
"""Of a medium, items without labels that training looks at."""


def select_unlabelled_items(
    items: Sequence[Item], *, media: Collection[Medium], generator: np.random.Generator
) -> tuple[Item, ...]:
    """Return items without labels, outside the test split; of each medium at most `MOST_UNLABELLED`, drawn by chance.

    Args:
        media: Of the labelled items; others have nothing that labels could leave out.
    """
    chosen: list[Item] = []
    for medium in MEDIA:
        own = [i for i in items if i.medium is medium and i.class_name is None and i.split is not Split.TEST]
        if medium in media:
            chosen += [own[at] for at in sorted(generator.permutation(len(own))[:MOST_UNLABELLED].tolist())]
    return tuple(chosen)


def split_validation(items: Sequence[Item], *, share: float, generator: np.random.Generator) -> tuple[Item, ...]:
    """The items, some training items turned into validation items: about `share` of each class in each medium.

    Items of one origin (`name_origins`) go together, and only where that brings the shares nearer to `share`. A class
    with a single origin in some medium keeps it for training. Items without a class, and origins that stand in another
    split already, stay as they are.

    Args:
        share: 0 to 1. Where it is a fraction of an item, chance decides, so that small classes count on average.
    """
    origins = name_origins(items)
    strata = _training_strata(items, origins)
    wanted = _wanted_counts(strata, share, generator)
    origin_count = Counter(stratum for counts in strata.values() for stratum in counts)
    taken: set[str] = set()
    names = list(strata)
    for place in generator.permutation(len(names)):
        counts = strata[names[place]]
        gain = sum(abs(wanted[stratum]) - abs(wanted[stratum] - count) for stratum, count in counts.items())
        if gain > 0 and all(origin_count[stratum] > 1 for stratum in counts):
            taken.add(names[place])
            wanted.subtract(counts)
            origin_count.subtract(counts.keys())
    return tuple(
        replace(item, split=Split.VALIDATION) if origin in taken else item
        for item, origin in zip(items, origins, strict=True)
    )


def _training_strata(items: Sequence[Item], origins: Sequence[str]) -> dict[str, Counter[tuple[str, Medium]]]:
    """Items of each class and medium in each origin that lies in the training split whole."""
    elsewhere = {origin for item, origin in zip(items, origins, strict=True) if item.split is not Split.TRAIN}
    strata: defaultdict[str, Counter[tuple[str, Medium]]] = defaultdict(Counter)
    for item, origin in zip(items, origins, strict=True):
        if item.class_name is not None and origin not in elsewhere:
            strata[origin][item.class_name, item.medium] += 1
    return dict(strata)


def _wanted_counts(
    strata: dict[str, Counter[tuple[str, Medium]]], share: float, generator: np.random.Generator
) -> Counter[tuple[str, Medium]]:
    total: Counter[tuple[str, Medium]] = Counter()
    for counts in strata.values():
        total.update(counts)
    return Counter({stratum: int(share * count + generator.random()) for stratum, count in total.items()})


# ---------------------------------------------------------------- all splits anew


def split_items(
    items: Sequence[Item],
    *,
    shares: Mapping[Split, float],
    unseen_class_count: int = 0,
    generator: np.random.Generator,
) -> tuple[Item, ...]:
    """The items, each in a split: about its share of every class in every medium; splits they had are forgotten.

    Items of one origin (`name_origins`) go together.

    Args:
        shares: Of each split, 0 to 1, together 1. Where a share is a fraction of an item, chance decides.
        unseen_class_count: Classes, drawn by chance, of which all items go to the test split.

    Raises:
        OutOfRangeError: The shares do not add up to 1, or there are no more classes than are to be unseen.
    """
    total = sum(shares.values())
    if min(shares.values()) < 0 or abs(total - 1) > 1e-6:
        raise OutOfRangeError(name="sum of shares", got=total, smallest=1, largest=1)
    class_names = sorted({item.class_name for item in items if item.class_name is not None})
    if not 0 <= unseen_class_count <= max(0, len(class_names) - 1):
        raise OutOfRangeError(
            name="unseen_class_count", got=unseen_class_count, smallest=0, largest=max(0, len(class_names) - 1)
        )
    unseen = {class_names[place] for place in generator.permutation(len(class_names))[:unseen_class_count]}
    roots = name_origins(items)
    strata: defaultdict[str, Counter[_Stratum]] = defaultdict(Counter)
    for item, root in zip(items, roots, strict=True):
        strata[root][item.class_name, item.medium] += 1
    chosen = {root: Split.TEST for root, counts in strata.items() if any(name in unseen for name, _ in counts)}
    chosen |= _spread({root: counts for root, counts in strata.items() if root not in chosen}, shares, generator)
    return tuple(replace(item, split=chosen[root]) for item, root in zip(items, roots, strict=True))


def _spread(
    strata: Mapping[str, Counter[_Stratum]], shares: Mapping[Split, float], generator: np.random.Generator
) -> dict[str, Split]:
    """A split for each origin, the large ones first, each where it brings the counts nearest to what is wanted."""
    total: Counter[_Stratum] = Counter()
    for counts in strata.values():
        total.update(counts)
    splits = list(shares)
    missing = {split: Counter[_Stratum]() for split in splits}
    for stratum, count in total.items():
        # Rounded at one random offset, so that the parts add up and are right on average.
        edges = np.floor(np.cumsum([shares[split] * count for split in splits]) + generator.random()).astype(int)
        for split, wanted in zip(splits, np.diff(edges, prepend=0).tolist(), strict=True):
            missing[split][stratum] = wanted
    names = list(strata)
    order = sorted(generator.permutation(len(names)).tolist(), key=lambda place: -strata[names[place]].total())
    chosen: dict[str, Split] = {}
    for place in order:
        counts = strata[names[place]]
        gains = [
            (
                sum(abs(missing[split][s]) - abs(missing[split][s] - count) for s, count in counts.items()),
                sum(missing[split][s] for s in counts),
            )
            for split in splits
        ]
        split = splits[max(range(len(splits)), key=gains.__getitem__)]
        missing[split].subtract(counts)
        chosen[names[place]] = split
    return chosen


# ---------------------------------------------------------------- counts

_UNSPLIT = "none"


def count_items(items: Iterable[Item]) -> dict[str, dict[str, int]]:
    """Count the items of each medium in each split; items without a split count under "none"."""
    counts = Counter((item.medium, item.split) for item in items)
    table: dict[str, dict[str, int]] = {}
    for medium in MEDIA:
        by_split = {
            split.value if split else _UNSPLIT: counts[medium, split]
            for split in (*Split, None)
            if counts[medium, split]
        }
        if by_split:
            table[medium.value] = by_split
    return table


def list_splits(counts: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Return the splits that occur in the counts of `count_items`, in order."""
    present = {split for splits in counts.values() for split in splits}
    return [split for split in (*Split, _UNSPLIT) if split in present]


def format_counts(counts: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Format the counts of `count_items`, one line per medium."""
    return [
        f"  {medium:<6} " + ", ".join(f"{split} {count:,}" for split, count in splits.items())
        for medium, splits in counts.items()
    ]
