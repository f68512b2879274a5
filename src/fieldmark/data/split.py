"""Items to splits, stratified by class and medium, never through an origin; and items counted by medium and split."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from fieldmark.errors import NoItemsError, OutOfRangeError
from fieldmark.origin import Link, name_origins
from fieldmark.types import MEDIA, Item, Medium, Split

_Stratum = tuple[str, Medium | None]
"""A class in one medium; None for all media."""


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

_LEAST_IN = (Split.TRAIN, Split.TEST)
"""Splits without which a class of a medium is of no use, so that it has one origin in each if it has enough."""


def split_items(
    items: Sequence[Item],
    *,
    shares: Mapping[Split, float],
    seed: int,
    unseen_class_count: int = 0,
    kept: Collection[Split] = (),
    links: Sequence[Link] = (),
) -> tuple[Item, ...]:
    """The items, each in a split: about its share of every class in every medium.

    Items of one origin (`name_origins`) go together. The split of an origin follows from a hash of the seed and its
    name, so that the items before and after it, and their order, change nothing. There are three exceptions: a class of
    a medium that had nothing in train or in test, although its share comes to an origin, gets the one whose hash is
    nearest; a class of a medium is never in validation alone; and what is unseen or kept stays so.

    Args:
        shares: Of each split, 0 to 1, together 1.
        unseen_class_count: Classes, drawn by their hash, of which all items go to the test split.
        kept: Splits whose present items stay, with all items of their origins; other splits are forgotten.
        links: Further reasons for items to go together.

    Raises:
        OutOfRangeError: The shares do not add up to 1, or there are no more classes than are to be unseen.
    """
    total = sum(shares.values())
    if min(shares.values()) < 0 or abs(total - 1) > 1e-6:
        raise OutOfRangeError(name="sum of shares", got=total, smallest=1, largest=1)
    class_names = {item.class_name for item in items if item.class_name is not None}
    if not 0 <= unseen_class_count <= max(0, len(class_names) - 1):
        raise OutOfRangeError(
            name="unseen_class_count", got=unseen_class_count, smallest=0, largest=max(0, len(class_names) - 1)
        )
    unseen = set(sorted(class_names, key=lambda name: _draw(seed, "class", name))[:unseen_class_count])
    origins = name_origins(items, links)
    fixed = _fix(items, origins, unseen=unseen, kept=kept)
    draws = _draw_origins(items, origins, seed=seed)
    chosen = {origin: fixed.get(origin) or _pick(draw, shares) for origin, draw in draws.items()}
    free = {origin: draw for origin, draw in draws.items() if origin not in fixed}
    _fill_strata(chosen, free, _list_strata(items, origins), shares)
    return tuple(
        item if item.split in kept and item.class_name not in unseen else replace(item, split=chosen[origin])
        for item, origin in zip(items, origins, strict=True)
    )


def _fix(
    items: Sequence[Item], origins: Sequence[str], *, unseen: Collection[str | None], kept: Collection[Split]
) -> dict[str, Split]:
    """Return the splits of the origins that are not drawn: those of unseen classes, and those that stay."""
    fixed: dict[str, Split] = {}
    order = list(Split)
    for item, origin in zip(items, origins, strict=True):
        if item.split is not None and item.split in kept:
            fixed[origin] = min((fixed.get(origin, item.split), item.split), key=order.index)
    return fixed | {
        origin: Split.TEST for item, origin in zip(items, origins, strict=True) if item.class_name in unseen
    }


def _draw_origins(items: Sequence[Item], origins: Sequence[str], *, seed: int) -> dict[str, float]:
    """Return a number from 0 to 1 for each origin, by a name that does not change when its manifest moves."""
    names: dict[str, tuple[int, str]] = {}
    for item, origin in zip(items, origins, strict=True):
        own = (0, item.group) if item.group else (2, item.item_id)
        if not item.group and item.path is not None:
            own = (1, "/".join(item.path.parts[-2:]))
        names[origin] = min(names.get(origin, own), own)
    return {origin: _draw(seed, str(kind), name) for origin, (kind, name) in names.items()}


def _draw(seed: int, *names: str) -> float:
    digest = hashlib.sha256("\n".join([str(seed), *names]).encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _pick(draw: float, shares: Mapping[Split, float]) -> Split:
    """Return the split in whose part of the line from 0 to 1 the number falls."""
    used = [split for split, share in shares.items() if share > 0]
    edge = 0.0
    for split in used:
        edge += shares[split]
        if draw < edge:
            return split
    return used[-1]


def _list_strata(items: Sequence[Item], origins: Sequence[str]) -> dict[_Stratum, list[str]]:
    """Return the origins of each class in each medium, and of each class in all; those without a class are of none."""
    strata: defaultdict[_Stratum, set[str]] = defaultdict(set)
    for item, origin in zip(items, origins, strict=True):
        if item.class_name is not None:
            strata[item.class_name, item.medium].add(origin)
            strata[item.class_name, None].add(origin)
    return {stratum: sorted(strata[stratum]) for stratum in sorted(strata, key=lambda each: (each[0], str(each[1])))}


def _fill_strata(
    chosen: dict[str, Split],
    free: Mapping[str, float],
    strata: Mapping[_Stratum, Sequence[str]],
    shares: Mapping[Split, float],
) -> None:
    """Move origins, as few as possible, so that no stratum lacks a split that it is large enough for."""
    for members in strata.values():
        for split in _LEAST_IN:
            counts = Counter(chosen[origin] for origin in members)
            share = shares.get(split, 0.0)
            is_stranded = split is Split.TRAIN and share > 0 and set(counts) == {Split.VALIDATION}
            wanted = is_stranded or share * len(members) >= 1
            movable = [o for o in members if o in free and (counts[chosen[o]] > 1 or chosen[o] is Split.VALIDATION)]
            if wanted and not counts[split] and movable:
                # Train has the lowest numbers, test the highest.
                choose = min if split is Split.TRAIN else max
                chosen[choose(movable, key=free.__getitem__)] = split


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
