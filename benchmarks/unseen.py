"""Species that training never saw: retrieval among them beside retrieval among as many species that it saw.

    python benchmarks/unseen.py ../shared/data/fgbirds/manifest.csv --config configs/fgbirds.toml

In each round some classes are drawn that have photos, texts and recordings in both splits, all their training items are
left out, and a model is trained on the rest. Queries are test items, galleries all test items of the medium, of seen
and unseen classes alike (strict protocol); the name of each class asks too. "Among themselves" has galleries of the
unseen classes alone, and for the seen of equally many classes drawn from them. Intervals are over classes, as queries
and in the gallery, and over rounds.
"""

import argparse
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from rounds import REAL_MEDIA, estimate_rounds, show_value

import fieldmark
from fieldmark import Medium, Split
from fieldmark.build import load_model
from fieldmark.data.shards import read_embeddings
from fieldmark.evaluation.evaluated_items import EvaluatedItems
from fieldmark.evaluation.inference import CLASSES, influence_items, sum_by_unit
from fieldmark.evaluation.measurement import Measurement
from fieldmark.evaluation.protocol import STRICT, Settings
from fieldmark.evaluation.ranking import Compute, LabeledRows, Ranking
from fieldmark.evaluation.result import SEEN, UNSEEN
from fieldmark.evaluation.sorted_keys import Relevance
from fieldmark.evaluation.task import Task
from fieldmark.types import MEDIA
from fieldmark.workflows.evaluate import measure_folder

DIRECTIONS = ("image_to_image", "audio_to_audio", "text_to_image")
BY_NAME = ("image_to_audio", "audio_to_image", "name_to_image", "name_to_audio")
"""By what encoders name: shown beside the others, and left out of their mean."""


@dataclass(frozen=True, slots=True)
class Mean:
    """A MAP of one round.

    Args:
        added: What each class adds to it, as queries and in the gallery.
        asked: The classes of the queries.
    """

    value: float
    added: Mapping[str, float]
    asked: frozenset[str]


Found = Mapping[tuple[str, str], Sequence[Mean]]
"""By direction, and by kind of query and gallery, the mean of each round."""


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
    found: dict[tuple[str, str], list[Mean]] = defaultdict(list)
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
) -> Iterator[tuple[tuple[str, str], Mean]]:
    """Measure a model that never saw some classes: MAP by direction and by kind of query and gallery."""
    kept = [item for item in items if item.class_name not in unseen or item.split is Split.TEST]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fieldmark.write_manifest(kept, folder / "manifest.csv")
        fieldmark.train(folder / "manifest.csv", out=folder / "run", config=config)
        for gallery, classes in (("all", None), (UNSEEN, unseen), (SEEN, others)):
            chosen = [item for item in kept if classes is None or item.class_name in classes]
            fieldmark.write_manifest(chosen, folder / f"{gallery}.csv")
            fieldmark.embed(folder / f"{gallery}.csv", checkpoint=folder / "run", out=folder / gallery)
            measurement = measure_folder(folder / gallery, settings=Settings()).measurement
            for direction, queries, mean in divide_queries(measurement):
                yield (direction, f"{queries} in {gallery}"), mean
            for medium in (Medium.IMAGE, Medium.AUDIO):
                precision = ask_with_names(folder / gallery, run=folder / "run", medium=medium)
                for queries, names in ((UNSEEN, unseen), (SEEN, precision.keys() - unseen)):
                    if own := {name: precision[name] for name in names & precision.keys()}:
                        yield (f"name_to_{medium}", f"{queries} in {gallery}"), average_names(own)


def divide_queries(measurement: Measurement) -> Iterator[tuple[str, str, Mean]]:
    """Measure each direction for queries of unseen and of seen classes."""
    evaluated, unseen = measurement.evaluated, measurement.evaluation.unseen_classes
    class_name = np.array(evaluated.class_names)[evaluated.rows.label]
    for task in measurement.tasks:
        if task.name in DIRECTIONS + BY_NAME:
            is_unseen = np.isin(class_name[task.row], sorted(unseen))
            for queries, is_own in ((UNSEEN, is_unseen), (SEEN, ~is_unseen)):
                part = replace(task, is_counted=task.is_counted & is_own)
                if part.is_counted.any():
                    asked = frozenset(class_name[part.row[part.is_counted]].tolist())
                    yield task.name, queries, average_queries(measurement, part, asked=asked)


def average_queries(measurement: Measurement, part: Task, *, asked: frozenset[str]) -> Mean:
    """Average a task over those of its queries that count, with what each class adds."""
    evaluated = measurement.evaluated
    part = replace(part, gallery_influence=measure_influence(evaluated, part))
    added = sum_by_unit(evaluated, [part], influence_items(evaluated, [part]), design=CLASSES)
    shares = dict(zip(added.unit, added.values[part.name].tolist(), strict=True))
    return Mean(float(part.average_precision[part.is_counted].mean()), shares, asked)


def measure_influence(evaluated: EvaluatedItems, part: Task) -> np.ndarray:
    """Return what each item of the gallery is worth in the mean over the queries that count."""
    rows, row = evaluated.rows, part.row[part.is_counted]
    queries = LabeledRows(rows.embedding[row], rows.label[row], rows.item_code[row])
    ranking = Ranking(rows, part=evaluated.medium, part_count=len(MEDIA), ties=STRICT.ties, compute=Compute())
    chunks = ranking.rank(
        queries,
        relevance=[Relevance(queries.label, rows.label)],
        exclude_self=STRICT.exclude_self,
        influence_group=np.zeros(len(row), dtype=np.int64),
    )
    influence = np.sum([chunk.influence for chunk in chunks], axis=0)[0, int(part.gallery_medium is None)] / len(row)
    if part.gallery_medium is None:
        return influence
    return np.where(evaluated.medium == MEDIA.index(part.gallery_medium), influence, 0.0)


def average_names(precision: Mapping[str, float]) -> Mean:
    """Average over names as queries, each of which counts once."""
    mean = statistics.mean(precision.values())
    added = {name: (value - mean) / len(precision) for name, value in precision.items()}
    return Mean(mean, added, frozenset(precision))


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


def print_table(found: Found) -> None:
    """Print the means over the rounds with their intervals, and their share of those of seen classes."""
    for title, unseen, seen in (
        ("All classes in the gallery", f"{UNSEEN} in all", f"{SEEN} in all"),
        ("Only the unseen classes in the gallery, or as many seen ones", f"{UNSEEN} in {UNSEEN}", f"{SEEN} in {SEEN}"),
    ):
        print(f"\n## {title}\n")
        print("| direction | unseen | 95 % interval | seen | 95 % interval | share |\n|---|---|---|---|---|---|")
        for direction in DIRECTIONS + BY_NAME:
            print(format_row(direction, found[direction, unseen], found[direction, seen]))
        ours, theirs = (average_directions([found[name, kind] for name in DIRECTIONS]) for kind in (unseen, seen))
        print(format_row("mean of the first three", ours, theirs))


def average_directions(directions: Sequence[Sequence[Mean]]) -> list[Mean]:
    """Average several directions round by round."""
    return [
        Mean(
            statistics.mean(each.value for each in of_round),
            {name: statistics.mean(each.added.get(name, 0.0) for each in of_round) for name in of_round[0].added},
            of_round[0].asked,
        )
        for of_round in zip(*directions, strict=True)
    ]


def format_row(name: str, unseen: Sequence[Mean], seen: Sequence[Mean]) -> str:
    """Format a row of the table."""
    share = statistics.mean(each.value for each in unseen) / statistics.mean(each.value for each in seen)
    return f"| {name} | {_show(unseen)} | {_show(seen)} | {share:.2f} |"


def _show(means: Sequence[Mean]) -> str:
    added = [np.array(list(each.added.values())) for each in means]
    drawn = [{"units": [*each.added], "strata": [int(name in each.asked) for name in each.added]} for each in means]
    return show_value([each.value for each in means], estimate_rounds(added, drawn))


if __name__ == "__main__":
    main()
