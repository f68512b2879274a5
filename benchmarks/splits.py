"""Splits that stay: items that change their split as rows come and go, over several seeds.

python benchmarks/splits.py --out docs/results/splits.md
"""

import argparse
import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from rounds import write_lines

from fieldmark import Item, Medium, Split
from fieldmark.data.split import split_items

SHARES = {Split.TRAIN: 0.6, Split.VALIDATION: 0.1, Split.TEST: 0.3}
SEED_COUNT = 20


def make_items(number: range) -> list[Item]:
    """Return ten items of each of 20 classes in each medium for numbers 0 to 799."""
    return [
        Item(f"{n:04d}", list(Medium)[n % 4], text=f"{n}", class_name=f"species {n // 4 % 20}", group=f"group {n:04d}")
        for n in number
    ]


def append(items: Sequence[Item], _generator: np.random.Generator, *, count: int) -> list[Item]:
    """Append so many rows."""
    return [*items, *make_items(range(800, 800 + count))]


def reverse(items: Sequence[Item], _generator: np.random.Generator) -> list[Item]:
    """Reverse the rows."""
    return [*items][::-1]


def change(items: Sequence[Item], generator: np.random.Generator) -> list[Item]:
    """Append 40 rows, take 40 away, and give 20 another class."""
    order = generator.permutation(len(items)).tolist()
    gone, renamed = set(order[:40]), set(order[40:60])
    kept = [
        replace(item, class_name="species 7") if number in renamed else item
        for number, item in enumerate(items)
        if number not in gone
    ]
    return append(kept, generator, count=40)


CHANGES: dict[str, Callable[[Sequence[Item], np.random.Generator], list[Item]]] = {
    "one row appended": lambda items, generator: append(items, generator, count=1),
    "100 rows appended": lambda items, generator: append(items, generator, count=100),
    "rows reversed": reverse,
    "100 changes: 40 rows appended, 40 gone, 20 of another class": change,
}


def count_moved(apply: Callable[[Sequence[Item], np.random.Generator], list[Item]], *, seed: int) -> int:
    """Return how many items have another split after a change."""
    items = make_items(range(800))
    before = {item.item_id: item.split for item in split_items(items, shares=SHARES, seed=seed)}
    changed = apply(items, np.random.default_rng(seed))
    after = {item.item_id: item.split for item in split_items(changed, shares=SHARES, seed=seed)}
    return sum(after[name] is not split for name, split in before.items() if name in after)


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, default=None)
    asked = parser.parse_args()
    lines = ["| change of 800 items | items that change their split: mean | most |", "|---|---|---|"]
    for name, apply in CHANGES.items():
        moved = [count_moved(apply, seed=seed) for seed in range(SEED_COUNT)]
        lines.append(f"| {name} | {statistics.mean(moved):.2f} | {max(moved)} |")
    write_lines([*lines, "", f"Seeds 0 to {SEED_COUNT - 1}."], asked.out)


if __name__ == "__main__":
    main()
