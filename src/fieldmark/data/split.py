"""Items to splits, stratified by class and medium, never through a group; and items counted by medium and split."""

from collections import Counter, defaultdict
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from fieldmark.errors import NoItemsError, OutOfRangeError
from fieldmark.types import MEDIA, Item, Medium, Split

_Stratum = tuple[str | None, Medium]
_Name = TypeVar("_Name", bound=Hashable)


def group_of(item: Item) -> str:
    """The unit of a split that holds the item: its group, without one its file, without a file itself."""
    if item.group is not None:
        return f"group '{item.group}'"
    return f"file '{item.path}'" if item.path is not None else f"text '{item.item_id}'"


def group_linked(pairs: Iterable[tuple[_Name, _Name]]) -> dict[_Name, _Name]:
    """For each name in some pairs one that stands for all that it is linked to, directly or through others."""
    parent: dict[_Name, _Name] = {}

    def find(name: _Name) -> _Name:
        while parent.setdefault(name, name) != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for one, two in pairs:
        parent[find(two)] = find(one)
    return {name: find(name) for name in list(parent)}


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


def split_validation(items: Sequence[Item], *, share: float, generator: np.random.Generator) -> tuple[Item, ...]:
    """The items, some training items turned into validation items: about `share` of each class in each medium.

    Items of one group (`group_of`) go together, and only where that brings the shares nearer to `share`. A class
    with a single group in some medium keeps it for training. Items without a class, and groups that stand in another
    split already, stay as they are.

    Args:
        share: 0 to 1. Where it is a fraction of an item, chance decides, so that small classes count on average.
    """
    strata = _training_strata(items)
    wanted = _wanted_counts(strata, share, generator)
    group_count = Counter(stratum for counts in strata.values() for stratum in counts)
    taken: set[str] = set()
    groups = list(strata)
    for place in generator.permutation(len(groups)):
        counts = strata[groups[place]]
        gain = sum(abs(wanted[stratum]) - abs(wanted[stratum] - count) for stratum, count in counts.items())
        if gain > 0 and all(group_count[stratum] > 1 for stratum in counts):
            taken.add(groups[place])
            wanted.subtract(counts)
            group_count.subtract(counts.keys())
    return tuple(replace(item, split=Split.VALIDATION) if group_of(item) in taken else item for item in items)


def _training_strata(items: Sequence[Item]) -> dict[str, Counter[tuple[str, Medium]]]:
    """Items of each class and medium in each group that lies in the training split whole."""
    elsewhere = {group_of(item) for item in items if item.split is not Split.TRAIN}
    strata: defaultdict[str, Counter[tuple[str, Medium]]] = defaultdict(Counter)
    for item in items:
        if item.class_name is not None and group_of(item) not in elsewhere:
            strata[group_of(item)][item.class_name, item.medium] += 1
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

    Items of one group (`group_of`) go together, and so do a text and the item it is the caption of.

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
    roots = _roots(items)
    strata: defaultdict[str, Counter[_Stratum]] = defaultdict(Counter)
    for item, root in zip(items, roots, strict=True):
        strata[root][item.class_name, item.medium] += 1
    chosen = {root: Split.TEST for root, counts in strata.items() if any(name in unseen for name, _ in counts)}
    chosen |= _spread({root: counts for root, counts in strata.items() if root not in chosen}, shares, generator)
    return tuple(replace(item, split=chosen[root]) for item, root in zip(items, roots, strict=True))


def _roots(items: Sequence[Item]) -> list[str]:
    """For each item the name of all that it must not be parted from."""
    group_by_item_id = {item.item_id: group_of(item) for item in items}
    roots = group_linked(
        (group_by_item_id[item.caption_of], group_of(item))
        for item in items
        if item.caption_of is not None and item.caption_of in group_by_item_id
    )
    return [roots.get(group_of(item), group_of(item)) for item in items]


def _spread(
    strata: Mapping[str, Counter[_Stratum]], shares: Mapping[Split, float], generator: np.random.Generator
) -> dict[str, Split]:
    """A split for each group, the large ones first, each where it brings the counts nearest to what is wanted."""
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
