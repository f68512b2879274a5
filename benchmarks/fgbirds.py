"""The whole pipeline on real birds with several seeds: train, embed, evaluate, and print the README's table.

    python benchmarks/fgbirds.py ../shared/data/fgbirds/manifest_core.csv --config configs/fgbirds.toml --out runs/birds

Figures are those of the strict protocol on the test split. The six directions between image, text and audio are
averaged separately: most clips of this set are pans over photos, and say little about video.
"""

import argparse
import time
from pathlib import Path

import rounds
from rounds import REAL_MEDIA

import fieldmark
from fieldmark.evaluation.protocol import Settings
from fieldmark.workflows.evaluate import measure_folder


def main() -> None:
    """Run all seeds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--config", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    found = []
    for seed in range(arguments.seeds):
        started = time.monotonic()
        run = arguments.out / f"seed-{seed}"
        config = fieldmark.load_config(arguments.config, overrides=[*arguments.overrides, f"seed={seed}"])
        trained = fieldmark.train(arguments.manifest, out=run, config=config)
        fieldmark.embed(arguments.manifest, checkpoint=run, out=run / "test")
        measurement = measure_folder(run / "test", settings=Settings()).measurement
        evaluation = measurement.evaluation
        found.append(rounds.summarize(measurement, steps=trained.result.steps, seconds=trained.result.seconds))
        print(
            f"seed {seed}: six directions {found[-1].mean(REAL_MEDIA):.3f}, "
            f"12 directions {evaluation.bi_modality:.3f}, to all {evaluation.multi_modality:.3f}, "
            f"{time.monotonic() - started:.0f} s, of which training {trained.result.seconds:.0f} s",
            flush=True,
        )
    print(f"\n{rounds.show_counts(found[0])}; {len(evaluation.leaks)} left out that leak from train\n")
    print("| direction | MAP | 95 % interval over items and seeds | smallest to largest | chance |")
    print("|---|---|---|---|---|")
    for direction in evaluation.directions:
        values = [each.average_precision[direction.name] for each in found]
        print(
            f"| {direction.name} | {rounds.show_mean_of_items(found, [direction.name])} "
            f"| {min(values):.3f} to {max(values):.3f} | {direction.chance:.3f} |"
        )
    means = [each.mean(REAL_MEDIA) for each in found]
    shown = rounds.show_mean_of_items(found, rounds.directions(REAL_MEDIA))
    print(f"| **mean of image, text, audio** | {shown} | {min(means):.3f} to {max(means):.3f} | |")


if __name__ == "__main__":
    main()
