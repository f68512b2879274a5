"""Fitting of the default network at scale: time, memory, and the accuracy of every class, by the rows that are chosen.

    python benchmarks/fitting.py --out docs/results/fitting.md

Synthetic features: every class has a center in each medium, every group of rows (a recording) an offset of its own, and
every row noise. Rows stand in round-robin order of the classes, as an importer may list them; one class of the uneven
set has as many rows as half of all. Test rows are of groups that no training row has.

Every choice of rows runs in a process of its own, so that its peak of memory is its own. The choices: `every n-th`, as
up to version 0.1 (one row in n of more than 4,096); `fair`, the product's (`choose_rows`); and `all`.
"""

import argparse
import resource
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import torch
from rounds import write_lines
from torch import Tensor

from fieldmark.config import SharedSpaceConfig
from fieldmark.models.fitted import LinearClassifier, Standardization
from fieldmark.models.row_choice import choose_rows
from fieldmark.models.shared_space import LEAST_CLASS_ROWS, MOST_FITTED_ROWS

GROUP_ROWS = 20
TEST_ROWS = 20
CHOICES = ("every n-th", "fair", "all")


@dataclass(frozen=True, slots=True)
class Setting:
    """Sizes of a synthetic set."""

    name: str
    class_count: int
    media_count: int
    class_rows: int
    dim: int
    is_uneven: bool = False


@dataclass(frozen=True, slots=True)
class Fitted:
    """Result of fitting all media by one choice of rows.

    Args:
        accuracy: Of each class on test rows, mean over the media.
    """

    row_count: int
    seconds: float
    memory_bytes: int
    accuracy: tuple[float, ...]


def main() -> None:
    """Fit by every choice, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, default=200)
    parser.add_argument("--media", type=int, default=4)
    parser.add_argument("--rows", type=int, default=500, help="of each class in each medium")
    parser.add_argument("--dim", type=int, default=512, help="features of a row")
    parser.add_argument("--choices", nargs="+", default=CHOICES, choices=CHOICES)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    sizes = (arguments.classes, arguments.media, arguments.rows, arguments.dim)
    lines = ["# Fitting at scale", "", "Measured with `python benchmarks/fitting.py`, one core.", ""]
    for setting in (Setting("even", *sizes), Setting("one class has half of the rows", *sizes, is_uneven=True)):
        lines += [
            f"## {setting.class_count} classes, {setting.media_count} media, {setting.class_rows} rows: {setting.name}",
            "",
            "| rows | fitted, of each medium | seconds | peak memory, GB | worst class | mean | never recognized |",
            "|---|---|---|---|---|---|---|",
        ]
        for choice in arguments.choices:
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                found = pool.submit(measure, setting, choice).result()
            accuracy = torch.tensor(found.accuracy)
            lines.append(
                f"| {choice} | {found.row_count:,} | {found.seconds:.0f} | {found.memory_bytes / 1e9:.1f} | "
                f"{accuracy.min():.2f} | {accuracy.mean():.3f} | {int((accuracy == 0).sum())} |"
            )
            print(lines[-1], flush=True)
        lines.append("")
    write_lines(lines, arguments.out)


def measure(setting: Setting, choice: str) -> Fitted:
    """Fit every medium of a set on the rows of one choice."""
    torch.set_num_threads(1)
    seconds, row_count = 0.0, 0
    accuracy = torch.zeros(setting.class_count)
    for medium in range(setting.media_count):
        (rows, label, group), (asked, asked_label) = make_rows(setting, seed=medium)
        started = time.perf_counter()
        chosen = choose(label, group=group, choice=choice)
        standardization, linear = fit(rows[chosen], label[chosen], class_count=setting.class_count)
        seconds += time.perf_counter() - started
        row_count = len(chosen)
        is_right = (linear(standardization(asked)).argmax(dim=1) == asked_label).float()
        accuracy += is_right.view(TEST_ROWS, setting.class_count).mean(dim=0) / setting.media_count
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return Fitted(row_count, seconds, peak, tuple(accuracy.tolist()))


def choose(label: Tensor, *, group: Tensor, choice: str) -> Tensor:
    """Return the rows that a choice takes."""
    if choice == "fair":
        return choose_rows(label, group=group, most=MOST_FITTED_ROWS, class_minimum=LEAST_CLASS_ROWS)
    step = -(-len(label) // MOST_FITTED_ROWS) if choice == "every n-th" else 1
    return torch.arange(0, len(label), step)


def fit(rows: Tensor, label: Tensor, *, class_count: int) -> tuple[Standardization, LinearClassifier]:
    """Fit what a head fits to its rows, but for named scores."""
    component_count = min(rows.shape[1], SharedSpaceConfig(kind="shared_space").component_count)
    standardization = Standardization(rows.shape[1], component_count=component_count)
    standardization.fit(rows)
    linear = LinearClassifier(component_count, class_count=class_count)
    linear.fit(standardization(rows), label)
    return standardization, linear


def make_rows(setting: Setting, *, seed: int) -> tuple[tuple[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Return training rows with label and group, and test rows with their label."""
    generator = torch.Generator().manual_seed(seed)
    center = torch.randn(setting.class_count, setting.dim, generator=generator)
    label = torch.arange(setting.class_count).repeat(setting.class_rows)
    if setting.is_uneven:
        label = torch.cat([label[: len(label) // 2], torch.zeros(len(label) // 2, dtype=torch.int64)])
    number = torch.arange(len(label)) // (setting.class_count * GROUP_ROWS)  # of a group within its class
    group = number * setting.class_count + label
    offset = torch.randn(int(group.max()) + 1, setting.dim, generator=generator)
    noise = torch.randn(len(label), setting.dim, generator=generator)
    rows = center[label] + 1.5 * offset[group] + 2.0 * noise
    asked_label = torch.arange(setting.class_count).repeat(TEST_ROWS)
    noise = 1.5 * torch.randn(len(asked_label), setting.dim, generator=generator)
    noise += 2.0 * torch.randn(len(asked_label), setting.dim, generator=generator)
    return (rows, label, group), (center[asked_label] + noise, asked_label)


if __name__ == "__main__":
    main()
