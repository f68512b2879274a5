r"""The whole paper at its own size on invented birds: the time and memory of each step, from a stated part of it.

    python benchmarks/full_scale.py --work runs/full_scale --out docs/results/full_scale.md

The manifest has the items of PKU FG-XMedia: 200 classes, 28,660 training and 21,478 test items. Only a part of the
files is drawn (`--classes`, `--items`), and the rows go through these files in turn; so reading, sampling and training
meet the full lists. Steps that would take hours run on a part, and their time is scaled by what it grows with.
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
PIXELS = 64


@dataclass(frozen=True, slots=True)
class Step:
    """What one step took.

    Args:
        part: What was run.
        seconds: Of processor time of one thread.
        factor: What the full size takes, of the part.
        peak_gigabytes: Of the process so far.
    """

    name: str
    part: str
    seconds: float
    factor: float
    peak_gigabytes: float


def main() -> None:
    """Run each step and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for files; what is in it is deleted")
    parser.add_argument("--classes", type=int, default=10, help="species that are drawn")
    parser.add_argument("--items", type=int, default=6, help="items of each in each medium")
    parser.add_argument("--steps", type=int, default=20, help="of training")
    parser.add_argument("--evaluated-share", type=float, default=0.1, help="of the test items, of each medium")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    steps = list(run_steps(arguments))
    rounds.write_lines(format_page(steps, arguments), arguments.out)


def run_steps(arguments: argparse.Namespace) -> Iterator[Step]:
    """Yield each step when it is done."""
    shutil.rmtree(arguments.work, ignore_errors=True)
    total = sum(sum(counts.values()) for counts in COUNTS.values())

    def finish(name: str, part: str, started: float, factor: float) -> Step:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
        step = Step(name, part, time.process_time() - started, factor, peak)
        print(step, flush=True)
        return step

    start = time.process_time()
    drawn = fieldmark.synthesize(
        arguments.work / "part", class_count=arguments.classes, items_per_medium=arguments.items, seed=0
    )
    part = read_manifest(drawn)
    yield finish("synthesize", f"{len(part):,} of {total:,} items", start, total / len(part))

    start = time.process_time()
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
    start = time.process_time()
    first = config.model_copy(update={"train": config.train.model_copy(update={"max_steps": 1})})
    fieldmark.train(manifest, out=arguments.work / "started", config=first)
    started = time.process_time() - start
    yield finish("begin training, and one step", f"all {sum(COUNTS[Split.TRAIN].values()):,} training rows", start, 1.0)

    start = time.process_time() + started
    fieldmark.train(manifest, out=arguments.work / "run", config=config)
    factor = EPOCHS * STEPS_OF_EPOCH / (arguments.steps - 1)
    yield finish("train, ResNet-50, 16 rows a step", f"{arguments.steps - 1} of {EPOCHS * 1000:,} steps", start, factor)

    few = arguments.work / "few.csv"
    tested = [item for item in part if item.split is Split.TEST]
    write_manifest(tested, few)
    start = time.process_time()
    fieldmark.embed(few, checkpoint=arguments.work / "run", out=arguments.work / "test")
    wanted = sum(COUNTS[Split.TEST].values())
    yield finish("embed", f"{len(tested):,} of {wanted:,} test items", start, wanted / len(tested))

    evaluation.COUNTS = {m: round(n * arguments.evaluated_share) for m, n in COUNTS[Split.TEST].items()}
    embeddings = evaluation.make_embeddings(dim=CLASS_COUNT, class_count=CLASS_COUNT, seed=0)
    for name, protocol in PROTOCOLS.items():
        start = time.process_time()
        measure(embeddings, protocol=protocol, context=EvaluationContext())
        yield finish(
            f"16 tasks with intervals, {name}",
            f"{len(embeddings.items):,} of {wanted:,} items, in pairs",
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
    yield f"--items {arguments.items} --steps {arguments.steps} --evaluated-share"
    yield f"{arguments.evaluated_share:g}`, seed 0, preset `fgcrossnet` at"
    yield f"{PIXELS} pixels, one thread of a busy machine, in seconds of processor time. The manifest has all"
    yield "50,138 rows of"
    yield "200 classes; the rows share the files that were drawn. A whole run takes the time of its part times"
    yield "the factor."
    yield "It is an estimate where the factor is not 1."
    yield ""
    yield "| step | run here | seconds | factor | whole, hours | peak memory so far, GB |"
    yield "|---|---|---|---|---|---|"
    for step in steps:
        hours = step.seconds * step.factor / 3600
        cells = (step.name, step.part, f"{step.seconds:.1f}", f"{step.factor:,.0f}", f"{hours:.2f}")
        yield f"| {' | '.join(cells)} | {step.peak_gigabytes:.2f} |"


if __name__ == "__main__":
    main()
