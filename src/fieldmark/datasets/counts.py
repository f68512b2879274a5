"""Count the items of a data set by medium and split."""

from collections import Counter
from collections.abc import Iterable, Mapping

from fieldmark.types import MEDIA, Item, Split

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
