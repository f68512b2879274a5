"""Training steps of the `fgcrossnet` preset (ResNet-50, 448 pixels) on real media: seconds a step and peak memory.

    python benchmarks/fgcrossnet_step.py ../shared/data/fgbirds/manifest_core.csv --steps 3

Runs the preset as `fieldmark train` does, with validation left out, in a folder that it deletes.
"""

import argparse
import resource
import tempfile
from pathlib import Path

import torch

import fieldmark


class StepReporter:
    """Prints each step as it ends."""

    def step(self, task: str, *, done: int, total: int, note: str = "") -> None:
        """Prints the losses."""
        print(f"{task} {done}/{total} {note}", flush=True)

    def say(self, message: str) -> None:
        """Prints the line."""
        print(message, flush=True)


def main() -> None:
    """Runs the steps and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--config", default="fgcrossnet")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    settings = [
        f"train.max_steps={arguments.steps}",
        "data.workers=0",
        "data.validation_share=0.0",
        *arguments.overrides,
    ]
    config = fieldmark.load_config(arguments.config, overrides=settings)
    with tempfile.TemporaryDirectory() as folder:
        report = fieldmark.train(
            arguments.manifest, out=Path(folder) / "run", config=config, host=fieldmark.Host(reporter=StepReporter())
        )
    rows = config.data.classes_per_batch * config.data.items_per_class * 4
    peak_gigabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(
        f"{report.result.seconds / arguments.steps:.1f} s a step of at most {rows} rows, decoding included; "
        f"peak memory {peak_gigabytes:.1f} GB; {torch.get_num_threads()} threads"
    )


if __name__ == "__main__":
    main()
