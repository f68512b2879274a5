"""The whole pipeline on real birds with several seeds: train, embed, evaluate, and print the README's table.

    python benchmarks/fgbirds.py ../shared/data/fgbirds/manifest_core.csv --config configs/fgbirds.toml --out runs/birds

Figures are those of the strict protocol on the test split. The six directions between image, text and audio are
averaged separately: most clips of this set are pans over photos, and say little about video.
"""

import argparse
import statistics
import time
from itertools import permutations
from pathlib import Path

import fieldmark
from fieldmark.io import encode_report

REAL_MEDIA = (fieldmark.Medium.IMAGE, fieldmark.Medium.TEXT, fieldmark.Medium.AUDIO)
SIX = tuple(f"{query}_to_{gallery}" for query, gallery in permutations(REAL_MEDIA, 2))


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
        evaluation = fieldmark.evaluate(run / "test")
        found.append({each.name: each.mean_average_precision for each in evaluation.directions})
        seconds = time.monotonic() - started
        print(
            f"seed {seed}: six directions {statistics.mean(found[-1][name] for name in SIX):.3f}, "
            f"12 directions {evaluation.bi_modality:.3f}, to all {evaluation.multi_modality:.3f}, "
            f"{seconds:.0f} s, of which training {trained.result.seconds:.0f} s",
            flush=True,
        )
    print(f"\ncounts: {encode_report(evaluation)['counts']}, {evaluation.class_count} classes\n")
    print("| direction | MAP, mean | smallest | largest | chance |\n|---|---|---|---|---|")
    for direction in evaluation.directions:
        values = [each[direction.name] for each in found]
        print(
            f"| {direction.name} | {statistics.mean(values):.3f} | {min(values):.3f} | {max(values):.3f} "
            f"| {direction.chance:.3f} |"
        )
    means = [statistics.mean(each[name] for name in SIX) for each in found]
    print(
        f"| **mean of image, text, audio** | **{statistics.mean(means):.3f}** | {min(means):.3f} | {max(means):.3f} | |"
    )


if __name__ == "__main__":
    main()
