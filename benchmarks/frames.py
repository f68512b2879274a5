"""Real files beside a gallery: photos, clips and sounds as people take them, none of them in the gallery.

    fieldmark index ../shared/data/fgbirds/manifest_core.csv --gallery GALLERY --checkpoint RUN
    python benchmarks/frames.py GALLERY ../shared/data/frames/manifest.csv

Every photo, clip and recording of the manifest asks. For species that the gallery holds: the precision of the first ten
photos and of the first ten recordings, and what is said of the collection. For the others: what is said of it.
Intervals of 95 % are from resampled groups.
"""

import argparse
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import fieldmark
from fieldmark import Gallery, Medium
from fieldmark.gallery.search.result import SearchResult
from fieldmark.origin import number_origins

K = 10
RESAMPLES = 2000
ASKED = (Medium.IMAGE, Medium.VIDEO, Medium.AUDIO)
ANSWERS = ("likely", "not here", "cannot tell")


@dataclass(frozen=True, slots=True)
class Asked:
    """The outcome of one query.

    Args:
        precision: Of the first ten photos and recordings; None for a species that the gallery lacks.
    """

    item: fieldmark.Item
    precision: dict[Medium, float] | None
    answer: str


def main() -> None:
    """Asks with every file and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gallery", type=Path)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--origin", help="only items with this value in the column `origin`, such as video")
    arguments = parser.parse_args()
    items = [item for item in fieldmark.read_manifest(arguments.manifest) if item.medium in ASKED]
    if arguments.origin is not None:
        items = [item for item in items if item.origin == arguments.origin]
    gallery = Gallery.open(arguments.gallery)
    held = {count.class_name for count in gallery.index.counts()}
    asked = [ask(gallery, item, is_held=item.class_name in held) for item in items]
    for medium in ASKED:
        for is_held in (True, False):
            own = [each for each in asked if each.item.medium is medium and (each.precision is not None) == is_held]
            if own:
                print_row(own, title=f"{medium}, {'held' if is_held else 'not held'}")


def ask(gallery: Gallery, item: fieldmark.Item, *, is_held: bool) -> Asked:
    """Search with one file."""
    result = gallery.search(item.path, k=K, per_medium=True, media=(Medium.IMAGE, Medium.AUDIO))
    precision = None
    if is_held:
        precision = {
            medium: sum(hit.class_name == item.class_name for hit in result.hits if hit.medium is medium) / K
            for medium in (Medium.IMAGE, Medium.AUDIO)
        }
    return Asked(item, precision, answer_of(result))


def answer_of(result: SearchResult) -> str:
    """What is said of the collection."""
    if result.collection is None or not getattr(result.collection, "can_tell", True):
        return "cannot tell"
    return "likely" if result.collection.is_likely else "not here"


def print_row(asked: Sequence[Asked], *, title: str) -> None:
    """Prints the means over some queries with their intervals."""
    parts = [f"{title}: {len(asked)} queries"]
    for medium in (Medium.IMAGE, Medium.AUDIO):
        values = [each.precision[medium] for each in asked if each.precision is not None]
        if values:
            parts.append(f"precision among {medium} {interval(values, asked)}")
    for answer in ANSWERS:
        values = [float(each.answer == answer) for each in asked]
        parts.append(f"{answer} {int(sum(values))} ({interval(values, asked)})")
    print("; ".join(parts), flush=True)


def interval(values: Sequence[float], asked: Sequence[Asked]) -> str:
    """The mean of a value over queries, with its interval."""
    by_group: defaultdict[int, list[float]] = defaultdict(list)
    for value, origin in zip(values, number_origins([each.item for each in asked]).tolist(), strict=True):
        by_group[origin].append(value)
    groups, generator = list(by_group.values()), np.random.default_rng(0)
    means = []
    for _ in range(RESAMPLES):
        drawn = generator.integers(len(groups), size=len(groups))
        means.append(np.mean([value for index in drawn for value in groups[index]]))
    low, high = np.quantile(means, [0.025, 0.975])
    return f"{np.mean(values):.3f} ({low:.3f} to {high:.3f})"


if __name__ == "__main__":
    main()
