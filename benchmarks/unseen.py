"""Species that training never saw: retrieval among them beside retrieval among as many species that it saw.

    python benchmarks/unseen.py ../shared/data/fgbirds/manifest.csv --config configs/fgbirds.toml

In each round some classes are drawn that have photos, texts and recordings in both splits, all their training items are
left out, and a model is trained on the rest. Queries are test items, galleries all test items of the medium, of seen
and unseen classes alike (strict protocol); the name of each class asks too. "Among themselves" has galleries of the
unseen classes alone, and for the seen of equally many classes drawn from them.
"""

import argparse
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

import fieldmark
from fieldmark import Medium, Split
from fieldmark.build import load_model
from fieldmark.data.shards import read_embeddings
from fieldmark.evaluation.result import SEEN, UNSEEN, Slice

REAL_MEDIA = (Medium.IMAGE, Medium.TEXT, Medium.AUDIO)
DIRECTIONS = ("image_to_image", "audio_to_audio", "text_to_image")
BY_NAME = ("image_to_audio", "audio_to_image", "name_to_image", "name_to_audio")
"""By what encoders name: shown beside the others, and left out of their mean."""


def main() -> None:
    """Runs all rounds and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--config", required=True)
    parser.add_argument("--unseen", type=int, default=14, help="classes to hold out in each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    items = fieldmark.read_manifest(arguments.manifest)
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for seed in range(arguments.rounds):
        drawn = np.random.default_rng(seed).permutation(sorted(complete_classes(items))).tolist()
        unseen, others = set(drawn[: arguments.unseen]), set(drawn[arguments.unseen : 2 * arguments.unseen])
        config = fieldmark.load_config(arguments.config, overrides=[*arguments.overrides, f"seed={seed}"])
        for name, value in measure(items, unseen=unseen, others=others, config=config):
            found[name].append(value)
        print(f"round {seed}: {', '.join(sorted(unseen))}", flush=True)
    print_table(found)


def complete_classes(items: Iterable[fieldmark.Item]) -> set[str]:
    """Classes with photos, texts and recordings in both splits."""
    places = defaultdict(set)
    for item in items:
        places[item.class_name].add((item.medium, item.split))
    wanted = {(medium, split) for medium in REAL_MEDIA for split in (Split.TRAIN, Split.TEST)}
    return {name for name, have in places.items() if name is not None and wanted <= have}


def measure(
    items: Sequence[fieldmark.Item], *, unseen: set[str], others: set[str], config: fieldmark.Config
) -> Iterator[tuple[tuple[str, str], float]]:
    """MAP by direction and by kind of query and gallery, of a model that never saw some classes."""
    kept = [item for item in items if item.class_name not in unseen or item.split is Split.TEST]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fieldmark.write_manifest(kept, folder / "manifest.csv")
        fieldmark.train(folder / "manifest.csv", out=folder / "run", config=config)
        for gallery, classes in (("all", None), (UNSEEN, unseen), (SEEN, others)):
            chosen = [item for item in kept if classes is None or item.class_name in classes]
            fieldmark.write_manifest(chosen, folder / f"{gallery}.csv")
            fieldmark.embed(folder / f"{gallery}.csv", checkpoint=folder / "run", out=folder / gallery)
            evaluation = fieldmark.evaluate(folder / gallery)
            for direction in (*evaluation.directions, *evaluation.same_medium):
                if direction.name in DIRECTIONS + BY_NAME:
                    for queries, mean in direction.by_slice[Slice.TRAINING].items():
                        yield (direction.name, f"{queries} in {gallery}"), mean.mean_average_precision
            for medium in (Medium.IMAGE, Medium.AUDIO):
                precision = ask_with_names(folder / gallery, run=folder / "run", medium=medium)
                for queries, names in ((UNSEEN, unseen), (SEEN, precision.keys() - unseen)):
                    if own := [precision[name] for name in names & precision.keys()]:
                        yield (f"name_to_{medium}", f"{queries} in {gallery}"), statistics.mean(own)


def ask_with_names(embedded: Path, *, run: Path, medium: Medium) -> dict[str, float]:
    """Average precision of the name of each class, among the items of a medium."""
    model = load_model(run, device=torch.device("cpu"))
    embeddings, _ = read_embeddings(embedded)
    rows_of = defaultdict(list)
    for row, item in enumerate(embeddings.items):
        if item.medium is medium:
            rows_of[item].append(row)
    class_name = np.array([item.class_name for item in rows_of])
    mean = np.stack([embeddings.embedding[rows].mean(axis=0) for rows in rows_of.values()])
    mean /= np.linalg.norm(mean, axis=1, keepdims=True)
    found = {}
    for name in sorted(set(class_name)):
        label = model.class_names.index(name) if name in model.class_names else None
        place = model.network.embed_name(name, label=label)
        is_own = class_name[np.argsort(-mean @ place.numpy(), kind="stable")] == name
        found[name] = float(np.mean(np.cumsum(is_own)[is_own] / (np.flatnonzero(is_own) + 1)))
    return found


def print_table(found: Mapping[tuple[str, str], Sequence[float]]) -> None:
    """Means over the rounds with the smallest and the largest, and their share of the seen."""
    for title, unseen, seen in (
        ("All classes in the gallery", f"{UNSEEN} in all", f"{SEEN} in all"),
        ("Only the unseen classes in the gallery, or as many seen ones", f"{UNSEEN} in {UNSEEN}", f"{SEEN} in {SEEN}"),
    ):
        print(f"\n{title}\n\n| direction | unseen | seen | share |\n|---|---|---|---|")
        for direction in DIRECTIONS + BY_NAME:
            ours, theirs = found[direction, unseen], found[direction, seen]
            share = statistics.mean(ours) / statistics.mean(theirs)
            print(f"| {direction} | {_spread(ours)} | {_spread(theirs)} | {share:.2f} |")
        means = [statistics.mean(statistics.mean(found[name, kind]) for name in DIRECTIONS) for kind in (unseen, seen)]
        cells = (f"**{value:.3f}**" for value in means)
        print(f"| **mean of the first three** | {' | '.join(cells)} | **{means[0] / means[1]:.2f}** |")


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"


if __name__ == "__main__":
    main()
