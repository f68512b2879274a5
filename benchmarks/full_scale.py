r"""The whole paper at its own size on invented birds: the time and memory of each step, from a stated part of it.

    python benchmarks/full_scale.py --work runs/full_scale --out docs/results/full_scale.md

The manifest has the items of PKU FG-XMedia: 200 classes, 28,660 training and 21,478 test items. Only a part of the
files is drawn (`--classes`, `--items`), and the rows go through these files in turn; so reading, sampling and training
meet the full lists. Steps that would take hours run on a part, and their time is scaled by what it grows with. The 16
tasks are measured on vectors of all test items, noisy copies of class centers as in `evaluation.py`.
"""

import argparse
import itertools
import resource
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import rounds
import torch

import evaluation
import fieldmark
from fieldmark.data.manifest import read_manifest, write_manifest
from fieldmark.evaluation.measurement import EvaluationContext, measure
from fieldmark.evaluation.protocol import PROTOCOLS
from fieldmark.types import Item, Medium, Split

CLASS_COUNT = 200
COUNTS = {
    Split.TRAIN: {Medium.IMAGE: 5_994, Medium.TEXT: 4_000, Medium.VIDEO: 12_666, Medium.AUDIO: 6_000},
    Split.TEST: evaluation.COUNTS,
}
EPOCHS = 150
"""Of the paper's three stages together."""
STEPS_OF_EPOCH = 1_000
ROWS_OF_STEP = 16
PIXELS, PAPER_PIXELS = 64, 448
FRAMES = 25
"""Of a video, all of which are embedded; a training step sees one of them."""
RATES = (100, 300, 1_000)
"""Pictures a second of a GPU, for which the page tells how long a whole run would take."""


@dataclass(frozen=True, slots=True)
class Step:
    """What one step took.

    Args:
        part: What was run.
        seconds: Of processor time of one thread.
        wall_seconds: By the clock, on a machine that did other work too.
        factor: What the full size takes, of the part.
        peak_gigabytes: Of the process so far.
    """

    name: str
    part: str
    seconds: float
    wall_seconds: float
    factor: float
    peak_gigabytes: float


def main() -> None:
    """Run each step and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for files; what is in it is deleted")
    parser.add_argument("--classes", type=int, default=10, help="species that are drawn")
    parser.add_argument("--items", type=int, default=6, help="items of each in each medium")
    parser.add_argument("--steps", type=int, default=20, help="of training")
    parser.add_argument("--evaluated-share", type=float, default=1.0, help="of the test items, of each medium")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    steps = list(run_steps(arguments))
    rounds.write_lines(format_page(steps, arguments), arguments.out)


def run_steps(arguments: argparse.Namespace) -> Iterator[Step]:
    """Yield each step when it is done."""
    shutil.rmtree(arguments.work, ignore_errors=True)
    total = sum(sum(counts.values()) for counts in COUNTS.values())

    def begin() -> tuple[float, float]:
        return time.process_time(), time.monotonic()

    def finish(name: str, part: str, started: tuple[float, float], factor: float) -> Step:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
        seconds, wall = (now - then for now, then in zip(begin(), started, strict=True))
        step = Step(name, part, seconds, wall, factor, peak)
        print(step, flush=True)
        return step

    start = begin()
    drawn = fieldmark.synthesize(
        arguments.work / "part", class_count=arguments.classes, items_per_medium=arguments.items, seed=0
    )
    part = read_manifest(drawn)
    yield finish("synthesize", f"{len(part):,} of {total:,} items", start, total / len(part))

    start = begin()
    manifest = write_full_manifest(part, arguments.work / "full.csv")
    items = read_manifest(manifest)
    yield finish("write and read the manifest", f"all {len(items):,} rows", start, 1.0)

    config = fieldmark.load_config(
        "fgcrossnet",
        overrides=[
            *(f"model.{key}={PIXELS}" for key in ("resize_pixels", "crop_pixels", "text_width")),
            "data.workers=0",
            "data.validation_share=0",
            "train.bf16='off'",
            "stages=[]",
            f"train.max_steps={arguments.steps}",
        ],
    )
    start = begin()
    first = config.model_copy(update={"train": config.train.model_copy(update={"max_steps": 1})})
    fieldmark.train(manifest, out=arguments.work / "started", config=first)
    one = [now - then for now, then in zip(begin(), start, strict=True)]
    yield finish("begin training, and one step", f"all {sum(COUNTS[Split.TRAIN].values()):,} training rows", start, 1.0)

    processor, clock = begin()
    fieldmark.train(manifest, out=arguments.work / "run", config=config)
    all_steps = EPOCHS * STEPS_OF_EPOCH
    yield finish(
        f"train, ResNet-50, {ROWS_OF_STEP} rows a step",
        f"{arguments.steps - 1} of {all_steps:,} steps",
        (processor + one[0], clock + one[1]),  # without the beginning and its step
        all_steps / (arguments.steps - 1),
    )

    few = arguments.work / "few.csv"
    tested = [item for item in part if item.split is Split.TEST]
    write_manifest(tested, few)
    start = begin()
    fieldmark.embed(few, checkpoint=arguments.work / "run", out=arguments.work / "test")
    wanted = sum(COUNTS[Split.TEST].values())
    yield finish("embed", f"{len(tested):,} of {wanted:,} test items", start, wanted / len(tested))

    evaluation.COUNTS = {m: round(n * arguments.evaluated_share) for m, n in COUNTS[Split.TEST].items()}
    embeddings = evaluation.make_embeddings(dim=CLASS_COUNT, class_count=CLASS_COUNT, seed=0)
    for name, protocol in PROTOCOLS.items():
        start = begin()
        measure(embeddings, protocol=protocol, context=EvaluationContext())
        yield finish(
            f"16 tasks with intervals, {name}",
            f"{len(embeddings.items):,} of {wanted:,} items",
            start,
            (wanted / len(embeddings.items)) ** 2,
        )


def write_full_manifest(part: tuple[Item, ...], path: Path) -> Path:
    """Write the rows of the whole set, each with an id of its own and one of the files that were drawn."""
    rows = []
    for split, counts in COUNTS.items():
        for medium, count in counts.items():
            files = itertools.cycle([item for item in part if item.medium is medium])
            for number, item in zip(range(count), files, strict=False):
                name = f"class {number * CLASS_COUNT // count:03d}"
                item_id = f"{split}/{medium}/{number:05d}"
                rows.append(replace(item, item_id=item_id, split=split, class_name=name, group=item_id))
    write_manifest(rows, path)
    return path


def format_page(steps: list[Step], arguments: argparse.Namespace) -> Iterator[str]:
    """Format the page as Markdown."""
    yield "# The paper at its own size, on invented birds"
    yield ""
    yield f"Made by `python benchmarks/full_scale.py --work FOLDER --classes {arguments.classes}"
    yield f"--items {arguments.items} --steps {arguments.steps} --evaluated-share {arguments.evaluated_share:g}`,"
    yield f"seed 0, preset `fgcrossnet` at {PIXELS} pixels, one thread of a machine that did other work too. The"
    yield "manifest has all 50,138 rows of 200 classes; the rows share the files that were drawn. Seconds are of"
    yield "processor"
    yield "time, and by the clock in the column after. A whole step takes the processor time of its part times the"
    yield "factor: an estimate where the factor is not 1. The 16 tasks have intervals; their vectors are noisy copies"
    yield "of"
    yield "class centers."
    yield ""
    yield "| step | run here | seconds | by the clock | factor | whole, hours | peak memory so far, GB |"
    yield "|---|---|---|---|---|---|---|"
    for step in steps:
        hours = step.seconds * step.factor / 3600
        cells = (step.name, step.part, f"{step.seconds:.1f}", f"{step.wall_seconds:.1f}", f"{step.factor:,.0f}")
        yield f"| {' | '.join(cells)} | {hours:.2f} | {step.peak_gigabytes:.2f} |"
    yield ""
    yield from format_gpu(steps)


def format_gpu(steps: list[Step]) -> Iterator[str]:
    """Format what the pictures of a whole run would take at some rates."""
    trained = EPOCHS * STEPS_OF_EPOCH * ROWS_OF_STEP
    embedded = sum(count * (FRAMES if medium is Medium.VIDEO else 1) for medium, count in COUNTS[Split.TEST].items())
    training = next(step for step in steps if step.name.startswith("train"))
    here = trained / training.factor / training.seconds
    yield "## On one GPU"
    yield ""
    yield "No GPU could be had, so this is arithmetic and not a measurement. Training takes"
    yield f"{EPOCHS} epochs of {STEPS_OF_EPOCH:,} steps of {ROWS_OF_STEP} rows, one picture each: {trained:,} pictures"
    yield f"forward and backward. Embedding the test items takes {embedded:,} forward alone, with {FRAMES} frames of"
    yield f"each video. Here one thread trained on {here:.1f} pictures of {PIXELS} pixels a second; a picture of"
    yield f"{PAPER_PIXELS} pixels is {(PAPER_PIXELS / PIXELS) ** 2:.0f} times as large. The table takes a forward"
    yield "pass for a third of the work of both."
    yield ""
    yield f"| pictures of {PAPER_PIXELS} pixels a second, forward and backward | train, hours | embed test, hours |"
    yield "|---|---|---|"
    for rate in RATES:
        yield f"| {rate:,} | {trained / rate / 3600:.1f} | {embedded / (3 * rate) / 3600:.2f} |"
    yield ""
    yield "The rates are examples: take that of the GPU at hand. Decoding has to keep up with them, and the other steps"
    yield "of the table above stay on the processor."


if __name__ == "__main__":
    main()
