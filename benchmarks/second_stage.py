"""Gain of a second search stage: query expansion and smoothing of the gallery, on validation items.

    python benchmarks/second_stage.py ../shared/data/fgbirds/manifest_core.csv --config configs/fgbirds.toml --out OUT

The train split alone, a quarter held out by group, another in each round, as in `space.py`. Query expansion adds the
mean of the first hits to the query and asks again; smoothing moves an item of the gallery to the mean of itself and its
nearest neighbors of its own medium. Mean MAP of the six directions between image, text and audio.
"""

import argparse
import statistics
from collections import defaultdict
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path

import numpy as np
from open_set import Table, average_precision, embedded, load
from rounds import REAL_MEDIA, show_mean
from space import hold_out

import fieldmark
from fieldmark.types import MEDIA, Medium

DEPTHS = (3, 5, 10)
PLAIN = "one product"


def main() -> None:
    """Train once per round and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--config", required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    items = fieldmark.read_manifest(arguments.manifest)
    found: dict[str, list[float]] = defaultdict(list)
    for seed in range(arguments.rounds):
        held = hold_out(items, seed=seed)
        table = load(embedded(held, left_out=set(), out=arguments.out / str(seed), config=arguments.config))
        means: dict[str, list[float]] = defaultdict(list)
        for query, hit in permutations(REAL_MEDIA, 2):
            for name, value in measure(table, query, hit):
                means[name].append(value)
        for name, values in means.items():
            found[name].append(statistics.mean(values))
    print("\n| | MAP | 95 % interval | difference | 95 % interval |\n|---|---|---|---|---|")
    for name, values in found.items():
        gaps = [value - plain for value, plain in zip(values, found[PLAIN], strict=True)]
        print(f"| {name} | {show_mean(values)} | {' | ' if name == PLAIN else show_mean(gaps, signed=True)} |")


def measure(table: Table, query: Medium, hit: Medium) -> Iterator[tuple[str, float]]:
    """Measure the MAP of one direction between the held-out items, for each method."""
    rows, label = select_held_out(table, query)
    gallery, gallery_label = select_held_out(table, hit)
    relevant = label[:, None] == gallery_label[None]
    yield PLAIN, compute_mean_average_precision(rows @ gallery.T, relevant)
    first, neighbors = rank_gallery(rows, gallery), rank_gallery(gallery, gallery)
    for depth in DEPTHS:
        expanded = normalize_rows(rows + gallery[first[:, :depth]].mean(axis=1))
        yield f"query expansion by {depth} hits", compute_mean_average_precision(expanded @ gallery.T, relevant)
        smooth = normalize_rows(gallery[neighbors[:, :depth]].mean(axis=1))
        yield f"gallery smoothed over {depth}", compute_mean_average_precision(rows @ smooth.T, relevant)


def select_held_out(table: Table, medium: Medium) -> tuple[np.ndarray, np.ndarray]:
    """Return embeddings and classes of the held-out items of a medium."""
    chosen = table.is_test & (table.medium == MEDIA.index(medium))
    return table.mean[chosen], table.class_name[chosen]


def rank_gallery(rows: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    """Rank the gallery by similarity to each row, as indices."""
    return np.argsort(-(rows @ gallery.T), axis=1, kind="stable")


def normalize_rows(rows: np.ndarray) -> np.ndarray:
    """Normalize rows to length 1."""
    scaled: np.ndarray = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return scaled


def compute_mean_average_precision(score: np.ndarray, relevant: np.ndarray) -> float:
    """Compute the MAP over the queries that have a relevant item."""
    pairs = zip(score, relevant, strict=True)
    return statistics.mean(average_precision(each, right) for each, right in pairs if right.any())


if __name__ == "__main__":
    main()
