"""Search without training and without labels: every test file of a labeled set, copied to a name that says nothing.

    python benchmarks/ready.py ../shared/data/fgbirds/manifest.csv --config configs/fgbirds.toml

The files of the test split are indexed as one folder, by the encoders of the configuration alone. Each item then asks
for each medium, and each class asks by its name. The figure is the share of right hits among the first five, or among
as many as there are to find, where these are fewer. An item's own group never counts. Classes whose name an encoder
knows, spelled in its way, are also shown apart. Clips are pans over photos where the manifest says so.
"""

import argparse
import json
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

import fieldmark
from fieldmark import Medium, Split
from fieldmark.build import load_known_names
from fieldmark.encoder_choice.choice import EncoderChoice
from fieldmark.gallery.search.query import ItemId
from fieldmark.gallery.search.result import SearchResult
from fieldmark.gallery.store import Filter
from fieldmark.names import KnownNames
from fieldmark.workflows.search import Gallery

DEPTH = 5
DIRECTIONS = (
    (Medium.IMAGE, Medium.IMAGE),
    (Medium.IMAGE, Medium.AUDIO),
    (Medium.AUDIO, Medium.IMAGE),
    (Medium.AUDIO, Medium.AUDIO),
    (Medium.VIDEO, Medium.IMAGE),
    (Medium.VIDEO, Medium.AUDIO),
)
NAMED_MEDIA = (Medium.IMAGE, Medium.AUDIO, Medium.VIDEO)


def main() -> None:
    """Index the files, ask all questions and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--config", required=True)
    parser.add_argument("--descriptions", type=Path, help="species book; texts then ask for photos")
    parser.add_argument("--split", type=Split, default=Split.TEST)
    parser.add_argument("--absent", type=int, default=60, help="names of species that are not there")
    parser.add_argument("--left-out", type=int, default=22, help="classes whose photos ask a folder without them")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    items = [item for item in fieldmark.read_manifest(arguments.manifest) if item.split is arguments.split]
    config = fieldmark.load_config(arguments.config)
    known = load_known_names(config.model, media=set(NAMED_MEDIA))
    generator = np.random.default_rng(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        truth = copy_to_neutral_names(items, Path(folder) / "files", generator=generator)
        choice = EncoderChoice(descriptions=arguments.descriptions)
        fieldmark.index(Path(folder) / "files", gallery=Path(folder) / "gallery", config=config, encoders=choice)
        gallery = Gallery.open(Path(folder) / "gallery")
        resolved = {name for name in {item.class_name or "" for item in items} if known.resolve(name).is_resolved}
        print_directions(gallery, truth, resolved=resolved)
        print_texts(gallery, truth)
        print_names(gallery, known=known, resolved=resolved, count=arguments.absent, generator=generator)
        left_out = set(generator.permutation(sorted(resolved))[: arguments.left_out].tolist())
        print_left_out(gallery, truth, left_out=left_out)


def copy_to_neutral_names(
    items: Sequence[fieldmark.Item], folder: Path, *, generator: np.random.Generator
) -> dict[str, fieldmark.Item]:
    """Copy the files of items into nested folders under names that tell nothing, and return the item of each id."""
    truth = {}
    for number, index in enumerate(generator.permutation(len(items)).tolist()):
        item = items[index]
        place = folder / f"{number % 7}" / f"{number % 3}"
        place.mkdir(parents=True, exist_ok=True)
        path = place / f"{number:06}{item.path.suffix if item.path else '.txt'}"
        if item.path is None:
            path.write_text(item.text or "", encoding="utf-8")
        else:
            shutil.copy(item.path, path)
        truth[str(path.relative_to(folder))] = item
    return truth


def print_directions(gallery: Gallery, truth: Mapping[str, fieldmark.Item], *, resolved: set[str]) -> None:
    """Print how much each medium finds of each other one, and by name."""
    held = [each.item.item_id for each in gallery.index.items(where=Filter(), limit=len(truth))]
    found: dict[str, list[tuple[float, bool]]] = defaultdict(list)
    for query, hit in DIRECTIONS:
        for item_id in held:
            if truth[item_id].medium is query:
                result = gallery.search(ItemId(item_id), k=8 * DEPTH, media=(hit,))
                found[f"{query} to {hit}"] += score(result, truth, asked=truth[item_id], hit=hit, resolved=resolved)
    for name in sorted({item.class_name or "" for item in truth.values()}):
        for hit in NAMED_MEDIA:
            asked = fieldmark.Item(item_id="", medium=Medium.TEXT, class_name=name)
            result = gallery.search(name.replace("_", " "), k=DEPTH, media=(hit,))
            found[f"name to {hit}"] += score(result, truth, asked=asked, hit=hit, resolved=resolved)
    print("| direction | right of the findable first five | queries | with a name that encoders know | queries |")
    print("|---|---|---|---|---|")
    for name, values in found.items():
        share, is_resolved = np.array(values).T
        own = share[is_resolved > 0]
        print(f"| {name} | {share.mean():.3f} | {len(share)} | {own.mean():.3f} | {len(own)} |")


def print_texts(gallery: Gallery, truth: Mapping[str, fieldmark.Item]) -> None:
    """Print how many photos texts find, human captions apart; a text that nothing compares with photos finds none."""
    found: dict[str, list[float]] = defaultdict(list)
    for item_id, item in truth.items():
        if item.medium is Medium.TEXT:
            result = gallery.search(ItemId(item_id), k=DEPTH, media=(Medium.IMAGE,))
            shares = [each for each, _ in score(result, truth, asked=item, hit=Medium.IMAGE, resolved=set())]
            found["all texts"] += shares
            if dict(item.extra).get("origin") == "human_caption":
                found["human captions"] += shares
    for name, values in found.items():
        print(f"{name} to photos: {np.mean(values):.3f} of the findable first five, {len(values)} queries")


def score(
    result: SearchResult,
    truth: Mapping[str, fieldmark.Item],
    *,
    asked: fieldmark.Item,
    hit: Medium,
    resolved: set[str],
) -> Iterator[tuple[float, bool]]:
    """Yield the share of right hits among the first, and whether its name is known; nothing if none is there."""

    def counts(item: fieldmark.Item) -> bool:
        return item.group is None or item.group != asked.group

    there = [
        item
        for item in truth.values()
        if item.medium is hit and item.class_name == asked.class_name and counts(item) and item is not asked
    ]
    if there:
        depth = min(DEPTH, len(there))
        hits = [item for each in result.hits if counts(item := truth[each.item_id])][:DEPTH]
        yield sum(item.class_name == asked.class_name for item in hits) / depth, asked.class_name in resolved


def print_names(
    gallery: Gallery,
    *,
    known: KnownNames,
    resolved: set[str],
    count: int,
    generator: np.random.Generator,
) -> None:
    """Print how many names are called missing: of species that are not there, and of those that are."""
    there = {name: known.resolve(name).names for name in resolved}
    taken = {each for names in there.values() for each in names}
    others = sorted({known.choose_name(names[0]) or "" for names in known.list_all()} - taken - {""})
    absent = generator.permutation(others)[:count].tolist()
    refused = {name: is_refused(gallery, name) for name in absent}
    print(f"\nnames that are not there: {sum(refused.values())} of {len(refused)} answered as not there")
    print("  found all the same:", ", ".join(name for name, is_so in refused.items() if not is_so))
    present = {name: is_refused(gallery, name.replace("_", " ")) for name in sorted(resolved)}
    print(f"names that are there: {sum(present.values())} of {len(present)} refused")
    print("  refused:", ", ".join(name for name, is_so in present.items() if is_so))


def is_refused(gallery: Gallery, name: str) -> bool:
    """Tell whether the gallery says that nothing in it has a name."""
    answer = gallery.search(name, k=1).collection
    return answer is not None and not answer.is_likely


def print_left_out(gallery: Gallery, truth: Mapping[str, fieldmark.Item], *, left_out: set[str]) -> None:
    """Print the answers to photos of classes that are hidden, and to as many of those that are not."""
    asked = [item_id for item_id, item in truth.items() if item.medium is Medium.IMAGE]
    gone = frozenset(item_id for item_id, item in truth.items() if item.class_name in left_out)
    for title, ids in (
        ("left out", [each for each in asked if each in gone]),
        ("there", [each for each in asked if each not in gone]),
    ):
        answers = []
        for item_id in ids:
            where = Filter(exclude_item_ids=gone - {item_id} | {item_id})
            answers.append(gallery.search(ItemId(item_id), k=1, where=where).collection)
        known = [each for each in answers if each is not None]
        likely, no = (
            np.mean([each.is_likely for each in known]),
            np.mean([each.can_tell and not each.is_likely for each in known]),
        )
        told = f"likely {likely:.3f}, not here {no:.3f}, cannot tell {1 - likely - no:.3f}"
        print(f"photos of species {title}: {len(known)}, {told}")
        chances = np.sort([each.probability for each in known])
        print(
            "  share refused by threshold:",
            json.dumps({t: round(float(np.mean(chances < t)), 3) for t in (0.1, 0.3, 0.5, 0.7, 0.9)}),
        )


if __name__ == "__main__":
    main()
