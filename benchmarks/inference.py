"""Coverage of intervals and false alarms of comparisons, by simulation: both models are the same by construction.

    python benchmarks/inference.py --runs 400 --out docs/results/inference.md

Classes are points; an item is its class's point and noise of its own, half of it shared by its group; a model sees an
item through noise of its own. The items are drawn anew in every run, the classes stay. The true MAP is the mean over
all runs of both models.
"""

import argparse
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rounds import write_lines

from fieldmark import Item, Medium
from fieldmark.evaluation.evaluated_items import EvaluatedItems, select_items
from fieldmark.evaluation.inference import Uncertainty, estimate_uncertainty, influence_items
from fieldmark.evaluation.metrics import bootstrap_means
from fieldmark.evaluation.protocol import STRICT
from fieldmark.evaluation.ranking import Compute, Ranking
from fieldmark.evaluation.result import RESAMPLE_COUNT
from fieldmark.evaluation.task import Task, measure_tasks
from fieldmark.types import MEDIA, Embeddings

DIM = 12
FLIP_COUNT = 500
NAMES = ("image_to_text", "text_to_image")


@dataclass(frozen=True, slots=True)
class Case:
    """One shape of a data set.

    Args:
        texts: Of each class, in groups of `group_size`.
        lone_share: Of the classes, which have one group of texts alone.
        spread: Of the items around their class, where the classes are 1 apart in each dimension.
    """

    name: str
    classes: int
    photos: int
    texts: int
    group_size: int = 1
    lone_share: float = 0.0
    spread: float = 1.6


CASES = (
    Case("20 classes, 30 photos, 5 texts", 20, 30, 5),
    Case("20 classes, 30 photos, 30 texts", 20, 30, 30),
    Case("20 classes, 30 photos, 6 texts in pages of 3", 20, 30, 6, group_size=3),
    Case("20 classes, 30 photos, 2 texts", 20, 30, 2),
    Case("20 classes, 30 photos, 1 text", 20, 30, 1),
    Case("5 classes, 8 photos, 4 texts", 5, 8, 4),
    Case("5 classes, 40 photos, 40 texts", 5, 40, 40),
    Case("100 classes, 10 photos, 10 texts", 100, 10, 10),
    Case("20 classes, 30 photos, 4 texts or, for a tenth, 1", 20, 30, 4, lone_share=0.1),
    Case("20 classes, 30 photos, 4 texts or, for a quarter, 1", 20, 30, 4, lone_share=0.25),
    Case("20 classes, 30 photos, 4 texts or, for three quarters, 1", 20, 30, 4, lone_share=0.75),
)


def draw_items(case: Case) -> tuple[list[Item], list[int]]:
    """Return the items of a case, always the same, and their classes."""
    items, labels = [], []
    for label in range(case.classes):
        texts = 1 if label < case.lone_share * case.classes else case.texts
        for medium, count, size in ((Medium.IMAGE, case.photos, 1), (Medium.TEXT, texts, case.group_size)):
            for n in range(count):
                name = f"{medium} {label} {n}"
                items.append(
                    Item(name, medium, text=name, class_name=f"{label:03d}", group=f"{medium} {label} {n // size}")
                )
                labels.append(label)
    return items, labels


@dataclass(frozen=True, slots=True)
class Drawn:
    """A model on items that were drawn: its two directions, and what each item adds to them."""

    evaluated: EvaluatedItems
    tasks: tuple[Task, ...]
    influences: np.ndarray

    @property
    def maps(self) -> list[float]:
        """The MAP of both directions, then their average."""
        values = [float(task.average_precision[task.is_counted].mean()) for task in self.tasks]
        return [*values, statistics.mean(values)]


def draw_models(
    case: Case, items: Sequence[Item], labels: Sequence[int], centers: np.ndarray, generator: np.random.Generator
) -> list[Drawn]:
    """Draw the items and measure both models on them, with the parts that `measure` is made of."""
    groups = {group: generator.normal(size=DIM) for group in dict.fromkeys(item.group for item in items)}
    shared = np.stack([groups[item.group] for item in items])
    latent = centers[list(labels)] + case.spread * math.sqrt(0.5) * (shared + generator.normal(size=shared.shape))
    drawn = []
    for _ in range(2):
        seen = (latent + 0.7 * case.spread * generator.normal(size=latent.shape)).astype(np.float32)
        no_time = np.full(len(items), np.nan)
        embeddings = Embeddings(tuple(items), no_time, no_time, seen)
        evaluated = select_items(embeddings, vector=STRICT.vector, split=None, leaking_ids=frozenset())
        ranking = Ranking(
            evaluated.rows, part=evaluated.medium, part_count=len(MEDIA), ties=STRICT.ties, compute=Compute()
        )
        measured, _ = measure_tasks(evaluated, ranking, protocol=STRICT, ranks={}, with_influences=True)
        tasks = [task for task in measured if task.name in NAMES]
        drawn.append(Drawn(evaluated, tuple(tasks), influence_items(evaluated, tasks)))
    return drawn


def estimate(drawn: Drawn, influences: np.ndarray) -> list[Uncertainty]:
    """Return the uncertainty of both directions, then of their average."""
    single, means = estimate_uncertainty(drawn.evaluated, drawn.tasks, influences, {"mean": (0, 1)})
    return [*single, means["mean"]]


def resample(drawn: Drawn, generator: np.random.Generator) -> list[tuple[float, float]]:
    """Return the intervals by bootstrap over groups of queries alone, for this gallery only."""
    evaluated = drawn.evaluated
    total = np.stack(
        [np.bincount(evaluated.group[t.row], t.average_precision, evaluated.group_count) for t in drawn.tasks], 1
    )
    count = np.stack([np.bincount(evaluated.group[t.row], minlength=evaluated.group_count) for t in drawn.tasks], 1)
    means = bootstrap_means(total, count.astype(float), resample_count=RESAMPLE_COUNT, generator=generator)
    means = np.concatenate([means, means.mean(axis=1, keepdims=True)], axis=1)
    return [(float(low), float(high)) for low, high in np.percentile(means, [2.5, 97.5], axis=0).T]


def flip_groups(one: Drawn, other: Drawn, number: int, generator: np.random.Generator) -> float:
    """Return the p-value of the paired randomization test over groups of queries, as fieldmark had it before."""
    tasks = [each.tasks[number] for each in (one, other)]
    difference = tasks[1].average_precision - tasks[0].average_precision
    sums = np.bincount(one.evaluated.group[tasks[0].row], difference)
    signs = generator.integers(2, size=(FLIP_COUNT, len(sums))) * 2.0 - 1.0
    return float((1 + (np.abs(signs @ sums) >= abs(sums.sum())).sum()) / (1 + FLIP_COUNT))


@dataclass(frozen=True, slots=True)
class Run:
    """One drawing: MAPs of both models, intervals of the first, p-values of their difference."""

    maps: tuple[list[float], list[float]]
    intervals: list[tuple[float, float] | None]
    own_intervals: list[tuple[float, float]]
    p_values: list[float | None]
    old_p_values: list[float]


def run_once(draw: Callable[[], list[Drawn]], generator: np.random.Generator) -> Run:
    """Draw once and measure."""
    one, other = draw()
    differences = [after - before for before, after in zip(one.maps, other.maps, strict=True)]
    return Run(
        maps=(one.maps, other.maps),
        intervals=[
            each.compute_interval(value, lowest=0.0, highest=1.0)
            for each, value in zip(estimate(one, one.influences), one.maps, strict=True)
        ],
        own_intervals=resample(one, generator),
        p_values=[
            each.compute_p_value(value)
            for each, value in zip(estimate(one, other.influences - one.influences), differences, strict=True)
        ],
        old_p_values=[flip_groups(one, other, number, generator) for number in (0, 1)],
    )


def simulate(case: Case, *, runs: int, seed: int) -> Iterator[str]:
    """Yield a row of the table for each direction and their average."""
    generator = np.random.default_rng(seed)
    centers = generator.normal(size=(case.classes, DIM))
    items, labels = draw_items(case)
    found = [run_once(lambda: draw_models(case, items, labels, centers, generator), generator) for _ in range(runs)]
    for number, name in enumerate((*NAMES, "average of both")):
        truth = statistics.mean(maps[number] for run in found for maps in run.maps)
        known = [run.intervals[number] for run in found if run.intervals[number] is not None]
        own = [run.own_intervals[number] for run in found]
        cells = [
            f"{truth:.3f}",
            show_share([low <= truth <= high for low, high in known]),
            f"{statistics.median(high - low for low, high in known):.3f}" if known else "-",
            show_share([low <= truth <= high for low, high in own]),
            f"{statistics.median(high - low for low, high in own):.3f}",
            show_share([p < 0.05 for run in found if (p := run.p_values[number]) is not None]),
            show_share([run.old_p_values[number] < 0.05 for run in found]) if number < len(NAMES) else "",
        ]
        yield f"| {case.name} | {name} | " + " | ".join(cells) + " |"


def show_share(claims: Sequence[bool]) -> str:
    """Format the share of claims that hold."""
    return f"{statistics.mean(claims):.3f}" if claims else "-"


def main() -> None:
    """Simulate every case and write the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", type=int, default=None)
    parser.add_argument("--out", type=Path, default=None)
    asked = parser.parse_args()
    started = time.monotonic()
    chosen = CASES if asked.case is None else CASES[asked.case : asked.case + 1]
    lines = [
        "| data set | MAP of | true | covers | width | this gallery: covers | width | p < .05 | flips: p < .05 |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for case in chosen:
        lines += simulate(case, runs=asked.runs, seed=asked.seed + CASES.index(case))
    lines += ["", f"{asked.runs} runs of each, seed {asked.seed}, {time.monotonic() - started:.0f} s."]
    write_lines(lines, asked.out)


if __name__ == "__main__":
    main()
