"""The uniform network beside separate pretrained encoders on the synthetic aviary, trained for equally long.

    python benchmarks/aviary.py --config configs/fgbirds.toml --out aviary50

Makes invented species, trains a config with pretrained encoders from an empty cache, and then `tiny` (FGCrossNet, one
path for all media, trained from nothing) for as many steps as fit into the same time. Prints the MAP of each medium
alone and of all pairs on the test split (strict protocol). No encoder has seen an invented bird before.
"""

import argparse
import time
from itertools import product
from pathlib import Path

import fieldmark
from fieldmark.evaluation.result import Evaluation
from fieldmark.io import encode_report

MEDIA = tuple(fieldmark.Medium)
PROBE_STEPS = 200
TOLERANCE = 0.15
"""Largest difference between the two times."""


def main() -> None:
    """Make the set, train both, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True, help="the one with pretrained encoders")
    parser.add_argument("--uniform", default="tiny", help="the one of the uniform network")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--classes", type=int, default=50)
    parser.add_argument("--items-per-medium", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    manifest = fieldmark.synthesize(
        arguments.out / "media",
        class_count=arguments.classes,
        items_per_medium=arguments.items_per_medium,
        seed=arguments.seed,
    )
    seed = f"seed={arguments.seed}"
    seconds = train(manifest, arguments.out / "pretrained", config=arguments.config, overrides=[seed])
    steps, same = PROBE_STEPS, 0.0
    while not 1 - TOLERANCE <= same / seconds <= 1 + TOLERANCE:  # what starting costs is known only once it was paid
        steps = round(steps * seconds / same) if same else steps
        overrides = [seed, f"train.max_steps={steps}", "train.epochs=100000", "data.validation_share=0.0"]
        run = arguments.out / f"uniform-{steps}"
        same = train(manifest, run, config=arguments.uniform, overrides=overrides)
        print(f"{steps:,} steps of {arguments.uniform} take {same:.0f} s", flush=True)
    print(f"{arguments.config}: {seconds:.0f} s, features from raw files included")
    print_table(measure(manifest, arguments.out / "pretrained"), measure(manifest, run))


def train(manifest: Path, run: Path, *, config: str, overrides: list[str]) -> float:
    """Train with a cache of its own and return the seconds."""
    runtime = fieldmark.Runtime(cache=run.with_name(f"{run.name}.cache"))
    started = time.monotonic()
    fieldmark.train(manifest, out=run, config=fieldmark.load_config(config, overrides=overrides), runtime=runtime)
    return time.monotonic() - started


def measure(manifest: Path, run: Path) -> Evaluation:
    """Evaluate the run on the test split."""
    runtime = fieldmark.Runtime(cache=run.with_name(f"{run.name}.cache"))
    fieldmark.embed(manifest, checkpoint=run, out=run / "test", runtime=runtime)
    return fieldmark.evaluate(run / "test")


def print_table(pretrained: Evaluation, uniform: Evaluation) -> None:
    """Print the MAP of every pair of media, each cell `pretrained / uniform`, and the means."""
    found = [{each.name: each for each in (*run.directions, *run.same_medium)} for run in (pretrained, uniform)]
    print(f"\n{encode_report(pretrained)['counts']}, {pretrained.class_count} classes; pretrained / uniform / chance\n")
    print(f"| query | {' | '.join(MEDIA)} |\n|---|{'---|' * len(MEDIA)}")
    for query in MEDIA:
        cells = []
        for gallery in MEDIA:
            both = [each[f"{query}_to_{gallery}"] for each in found]
            values = " / ".join(f"{each.mean_average_precision:.3f}" for each in both)
            cells.append(f"{values} / {both[0].chance:.3f}")
        print(f"| {query} | {' | '.join(cells)} |")
    pairs = [f"{query}_to_{gallery}" for query, gallery in product(MEDIA, MEDIA) if query is not gallery]
    means = [sum(each[name].mean_average_precision for name in pairs) / len(pairs) for each in found]
    print(f"\nmean of the pairs of two media: {means[0]:.3f} / {means[1]:.3f}")


if __name__ == "__main__":
    main()
