"""The training step of FGCrossNet (ResNet-50, 448 pixels, 4 items of each medium): ours against a plain one.

    python benchmarks/training_step.py --repeats 5

Both read the same files (drawn by this script) and take the same number of rows. Plain is what the released code does
(`plain_step.py`); ours is the step of `fieldmark train`, at several settings. The ways take turns, so that a busy
machine is busy for all of them; given are medians, and the median of the ratios of the same turn.
"""

import argparse
import json
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from plain_step import PlainStep
from torch.utils.flop_counter import FlopCounterMode

from fieldmark import Item, Medium, load_config
from fieldmark.build import build_execution, build_losses, build_optimizer_options, create_model
from fieldmark.config import Config
from fieldmark.data.dataset import BatchStream, CrossMediaDataset, MediaReader, MediumRows
from fieldmark.data.sampler import CrossMediaSampler
from fieldmark.embedding import encode_item
from fieldmark.training.group import Group
from fieldmark.training.step import GradientAccumulation, Stepper
from fieldmark.types import Batch

CLASS_COUNT, PER_CLASS = 200, 4
PRESENT = 4
"""Classes of which there are files: those of one batch."""
SETTINGS = {
    "ours, float32": ["train.bf16=off", "train.channels_last=false"],
    "ours, float32, channels last": ["train.bf16=off", "train.channels_last=true"],
    "ours": ["train.bf16=auto", "train.channels_last=true"],
    "ours, compiled": ["train.bf16=auto", "train.channels_last=true", "train.compile=true"],
}
SIZES = {Medium.IMAGE: (500, 375), Medium.VIDEO: (640, 360), Medium.AUDIO: (700, 700)}


def write_files(folder: Path) -> list[Item]:
    """Write photos of the size of CUB's, frames, spectrograms and texts of some classes."""
    generator = np.random.default_rng(0)
    items = []
    for number in range(PRESENT * PER_CLASS):
        for medium in Medium:
            path = folder / f"{medium}-{number:02d}{'.txt' if medium is Medium.TEXT else '-1.jpg'}"
            if medium is Medium.TEXT:
                words = generator.choice(["crown", "wing", "bar", "black", "tail", "song", "white"], size=90)
                path.write_text(" ".join(words.tolist()))
            else:
                coarse = generator.integers(0, 256, (24, 24, 3), dtype=np.uint8)
                Image.fromarray(coarse).resize(SIZES[medium], Image.Resampling.BICUBIC).save(path, quality=90)
            form = {Medium.VIDEO: "frames", Medium.AUDIO: "spectrogram"}.get(medium)
            shown = folder / path.name.replace("-1.jpg", "-*.jpg") if medium is Medium.VIDEO else path
            extra = (("form", form),) if form else ()
            items.append(Item(f"{medium}/{number}", medium, path=shown, class_name=f"{number % PRESENT}", extra=extra))
    return items


def run_our_steps(items: list[Item], config: Config, device: torch.device) -> Iterator[float]:
    """Take one step at a time; yield the seconds spent waiting for its batch."""
    class_names = tuple(f"{number}" for number in range(CLASS_COUNT))
    model = create_model(config, class_names=class_names, media=list(Medium), device=device)
    model.network.train()
    rows = {}
    for medium in Medium:
        own = [item for item in items if item.medium is medium]
        label = np.array([int(item.class_name or 0) for item in own])
        reader = MediaReader(own, partial(encode_item, model=model), memory_bytes=0)
        rows[medium] = MediumRows(own, label, reader, origin=np.arange(len(own)))
    sampler = CrossMediaSampler(
        {medium: each.label for medium, each in rows.items()}, classes_per_batch=PRESENT, items_per_class=1, seed=0
    )
    batches = BatchStream(CrossMediaDataset(rows), sampler, workers=config.data.workers, prefetch=config.data.prefetch)
    execution = build_execution(config.train, device=device)
    stepper = Stepper(
        model.network,
        accumulation=GradientAccumulation(
            model.network, forward=model.network.forward_together, execution=execution, device=device
        ),
        losses=build_losses(config.losses, network=model.network),
        options=build_optimizer_options(config.train),
        group=Group(),
        last_good=Path("none"),
    )

    def repeat_batches() -> Iterator[Batch]:
        epoch = 0
        while True:
            yield from batches(epoch, 0)
            epoch += 1

    stream = repeat_batches()
    while True:
        started = time.perf_counter()
        batch = next(stream)
        waited = time.perf_counter() - started
        stepper.take(batch, lr=1e-3, step=1)
        yield waited


def run_plain_steps(items: list[Item], device: torch.device) -> Iterator[float]:
    """Take one step at a time; yield the seconds spent reading files."""
    plain = PlainStep(CLASS_COUNT, device)
    turn = 0
    while True:
        first = turn % PER_CLASS * PRESENT
        paths = {
            medium.value: [Path(str(item.path).replace("*", "1")) for item in items if item.medium is medium][
                first : first + PRESENT
            ]
            for medium in Medium
        }
        started = time.perf_counter()
        rows = plain.read(paths)
        waited = time.perf_counter() - started
        plain.take(rows, torch.arange(PRESENT))
        turn += 1
        yield waited


def measure_peak(device: torch.device, dtype: torch.dtype) -> float:
    """Measure the operations per second of a large matrix product, as the peak of the device."""
    matrix = torch.randn(3072, 3072, device=device, dtype=dtype)
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        float((matrix @ matrix)[0, 0])
        seconds.append(time.perf_counter() - started)
    return 2 * 3072**3 / min(seconds)


def count_operations(step: Callable[[], object]) -> int:
    """Count the operations of convolutions and matrix products in a step."""
    with FlopCounterMode(display=False) as counter:
        step()
    return int(counter.get_total_flops())


def main() -> None:
    """Measure and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--ways", default="ours, float32;ours, float32, channels last;ours", help="separated by ;")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    with tempfile.TemporaryDirectory() as folder:
        items = write_files(Path(folder))
        ways = {"plain": run_plain_steps(items, device)}
        for name, overrides in SETTINGS.items():
            if name in arguments.ways.split(";"):
                settings = [*overrides, f"data.workers={arguments.workers}"]
                ways[name] = run_our_steps(items, load_config("fgcrossnet", overrides=settings), device)
        operations = count_operations(lambda: next(ways["plain"]))
        for name, way in ways.items():
            if name != "plain":
                next(way)  # the first step is slower, and plain has taken it
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        waited: dict[str, list[float]] = {name: [] for name in ways}
        for turn in range(arguments.repeats):
            for name, way in ways.items():
                started = time.perf_counter()
                waited[name].append(next(way))
                seconds[name].append(time.perf_counter() - started)
            print(json.dumps({"turn": turn, **{name: round(own[-1], 2) for name, own in seconds.items()}}), flush=True)
    report(seconds, waited, operations=operations, device=device)


def report(
    seconds: dict[str, list[float]], waited: dict[str, list[float]], *, operations: int, device: torch.device
) -> None:
    """Print a table of the variants."""
    peak = {dtype: measure_peak(device, dtype) for dtype in (torch.float32, torch.bfloat16)}
    rows = PRESENT * len(Medium)
    print(
        f"{torch.get_num_threads()} threads, {device}, torch {torch.__version__}; {operations / 1e12:.2f} TFLOP a step"
    )
    print(f"peak of matrix products: {peak[torch.float32] / 1e12:.2f} TFLOP/s float32, "
          f"{peak[torch.bfloat16] / 1e12:.2f} TFLOP/s bfloat16")  # fmt: skip
    print("| way | s a step | rows a second | waiting | ratio to plain | share of float32 peak |")
    print("|---|---|---|---|---|---|")
    for name, own in seconds.items():
        median = statistics.median(own)
        ratio = statistics.median(plain / each for plain, each in zip(seconds["plain"], own, strict=True))
        share = operations / median / peak[torch.float32]
        wait = sum(waited[name]) / sum(own)
        print(f"| {name} | {median:.2f} | {rows / median:.2f} | {wait:.1%} | {ratio:.2f} | {share:.0%} |")
    print(f"peak memory of all ways together {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.1f} GB")


if __name__ == "__main__":
    main()
