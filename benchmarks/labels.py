"""Labels given to some items of a gallery: what each medium finds before and after training on them.

    python benchmarks/labels.py ../shared/data/fgbirds/manifest.csv --config configs/fgbirds.toml --species 24

Some files of the test split are copied to neutral names and indexed by encoders alone. Then some items get a class,
the gallery is trained, and the files are indexed again with that model, without any label. In each gallery every second
item asks, and each class by its name. The figure is that of `benchmarks/ready.py`: the share of right hits among the
findable first five. Classes with and without labels are shown apart.
"""

import argparse
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from ready import DEPTH, copy_to_neutral_names, score

import fieldmark
from fieldmark import Medium, Runtime, Split
from fieldmark.gallery.labels import save_class
from fieldmark.gallery.lance import LanceIndex
from fieldmark.gallery.search.query import ItemId
from fieldmark.workflows.search import Gallery

DIRECTIONS = (
    (Medium.IMAGE, Medium.IMAGE),
    (Medium.IMAGE, Medium.AUDIO),
    (Medium.AUDIO, Medium.IMAGE),
    (Medium.VIDEO, Medium.IMAGE),
    (Medium.TEXT, Medium.TEXT),
)
NAMED = (Medium.IMAGE, Medium.AUDIO)
MOST_ITEMS = {Medium.IMAGE: 14, Medium.TEXT: 8, Medium.AUDIO: 6, Medium.VIDEO: 4}
"""Of each species."""
Truth = Mapping[str, fieldmark.Item]


def main() -> None:
    """Index, label, train, index again, and print a table for each choice of labels."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--config", required=True)
    parser.add_argument("--species", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    generator = np.random.default_rng(arguments.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        items = choose_items(arguments.manifest, count=arguments.species, generator=generator)
        truth = copy_to_neutral_names(items, folder / "files", generator=generator)
        runtime = Runtime(cache=folder / "cache")
        config = fieldmark.load_config(arguments.config)
        fieldmark.index(folder / "files", gallery=folder / "before", config=config, runtime=runtime)
        classes = sorted({item.class_name or "" for item in truth.values()})
        half = set(generator.permutation(classes)[: len(classes) // 2].tolist())
        for title, (labelled, covered) in choose_labels(truth, half=half).items():
            before = measure(Gallery.open(folder / "before", runtime=runtime), truth, covered=covered)
            train_again(folder, truth, labelled=labelled, runtime=runtime)
            after = measure(Gallery.open(folder / "after", runtime=runtime), truth, covered=covered)
            print_table(title, before, after)


def choose_items(manifest: Path, *, count: int, generator: np.random.Generator) -> list[fieldmark.Item]:
    """Return some test items of some species that have all four media."""
    by_species: dict[str, dict[Medium, list[fieldmark.Item]]] = defaultdict(lambda: defaultdict(list))
    for item in fieldmark.read_manifest(manifest):
        if item.split is Split.TEST and item.class_name:
            by_species[item.class_name][item.medium].append(item)
    whole = [name for name in sorted(by_species) if len(by_species[name]) == len(Medium)]
    chosen: list[fieldmark.Item] = []
    for name in sorted(generator.permutation(whole)[:count].tolist()):
        for medium, own in by_species[name].items():
            chosen += [own[index] for index in generator.permutation(len(own))[: MOST_ITEMS[medium]].tolist()]
    return chosen


def choose_labels(truth: Truth, *, half: set[str]) -> dict[str, tuple[list[str], set[str]]]:
    """Return, by a title, the items that get a class, and the classes that have labels then."""
    first = sorted(half)[:2]
    four = [
        item_id
        for name in first
        for item_id in [i for i in sorted(truth) if truth[i].class_name == name and truth[i].medium is Medium.IMAGE][:2]
    ]

    def where(condition: Callable[[fieldmark.Item], bool]) -> list[str]:
        return [item_id for item_id in sorted(truth) if condition(truth[item_id])]

    everything = {item.class_name or "" for item in truth.values()}
    return {
        "four photos": (four, set(first)),
        "all items of half of the species": (where(lambda item: item.class_name in half), half),
        "all but sounds": (where(lambda item: item.medium is not Medium.AUDIO), everything),
    }


def train_again(folder: Path, truth: Truth, *, labelled: Sequence[str], runtime: Runtime) -> None:
    """Label items in a copy of the gallery, train on it, and index the files with what was trained."""
    for name in ("labelled", "run", "after"):
        shutil.rmtree(folder / name, ignore_errors=True)
    shutil.copytree(folder / "before", folder / "labelled")
    store, by_class = LanceIndex.open(folder / "labelled" / "segments"), defaultdict(list)
    for item_id in labelled:
        by_class[truth[item_id].class_name or ""].append(item_id)
    for name, item_ids in by_class.items():
        save_class(folder / "labelled", store, class_name=name, item_ids=item_ids)
    fieldmark.train(folder / "labelled", out=folder / "run", runtime=runtime)
    fieldmark.index(folder / "files", gallery=folder / "after", checkpoint=folder / "run", runtime=runtime)


def measure(gallery: Gallery, truth: Truth, *, covered: set[str]) -> dict[str, list[tuple[float, bool]]]:
    """Return for each direction the figure of each query, and whether its class has labels."""
    found: dict[str, list[tuple[float, bool]]] = defaultdict(list)
    for query, hit in DIRECTIONS:
        for item_id in sorted(truth)[::2]:
            if truth[item_id].medium is query:
                result = gallery.search(ItemId(item_id), k=8 * DEPTH, media=(hit,))
                found[f"{query} to {hit}"] += score(result, truth, asked=truth[item_id], hit=hit, resolved=covered)
    for name in sorted({item.class_name or "" for item in truth.values()}):
        asked = fieldmark.Item(item_id="", medium=Medium.TEXT, class_name=name)
        for hit in NAMED:
            result = gallery.search(name.replace("_", " "), k=8 * DEPTH, media=(hit,))
            found[f"name to {hit}"] += score(result, truth, asked=asked, hit=hit, resolved=covered)
    return found


def print_table(
    title: str, before: Mapping[str, list[tuple[float, bool]]], after: Mapping[str, list[tuple[float, bool]]]
) -> None:
    """Print each direction before and after training: all queries, of labelled classes, of others."""
    print(f"\n{title}: before, after\n\n| direction | all | classes with labels | classes without |\n|---|---|---|---|")
    for name in before:
        cells = []
        for condition in (None, True, False):
            pair = [
                [share for share, is_covered in values[name] if condition is None or bool(is_covered) is condition]
                for values in (before, after)
            ]
            cells.append(", ".join(f"{np.mean(own):.3f}" for own in pair) if all(pair) else "")
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
