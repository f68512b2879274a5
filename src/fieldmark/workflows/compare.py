"""The verb `compare`: two runs measured on the same items, and whether their difference is more than chance."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float64, Int

from fieldmark.errors import CannotCompareError, first
from fieldmark.evaluation.metrics import bootstrap_means, holm_adjusted, sign_flip_p_values
from fieldmark.evaluation.protocol import Measurement, Task
from fieldmark.evaluation.result import RESAMPLE_COUNT, SYMBOLS, symbol
from fieldmark.runtime import Runtime
from fieldmark.types import Item, Medium
from fieldmark.workflows.evaluate import MeasuredFolder, ProtocolName, Settings, measure_folder

FLIP_COUNT = 10_000
"""Resamples of the randomization test; the smallest p-value is one in as many."""

LEVEL = 0.05
"""Below this adjusted p-value a difference counts as found."""

AVERAGES = {"bi_modality": "Avg bi", "multi_modality": "Avg all"}
"""The averages, as the table names them."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One direction, or an average of several, in both runs.

    Args:
        difference: The second MAP less the first.
        interval_95: Of the difference, by bootstrap over groups.
        p_value: Of the paired randomization test over groups.
        p_value_adjusted: By Holm over the directions; that of an average is not adjusted.
        query_count: 0 for an average.
    """

    name: str
    first: float
    second: float
    difference: float
    interval_95: tuple[float, float]
    p_value: float
    p_value_adjusted: float
    query_count: int

    @property
    def is_found(self) -> bool:
        """Whether the difference is more than chance."""
        return self.p_value_adjusted < LEVEL


@dataclass(frozen=True, slots=True)
class CompareReport:
    """Two runs side by side, direction by direction.

    Args:
        group_count: What was drawn and exchanged as a whole: groups, and items without one.
    """

    first_folder: Path
    second_folder: Path
    protocol: str
    directions: tuple[Comparison, ...]
    averages: tuple[Comparison, ...]
    group_count: int
    seed: int
    cautions: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        """The plain values that `--json` prints."""
        return {
            "first": str(self.first_folder),
            "second": str(self.second_folder),
            "protocol": self.protocol,
            "cautions": list(self.cautions),
            "directions": {each.name: _values(each) for each in self.directions},
            "averages": {each.name: _values(each) for each in self.averages},
            "test": {
                "kind": "paired randomization over groups, two-sided",
                "resample_count": FLIP_COUNT,
                "bootstrap_resample_count": RESAMPLE_COUNT,
                "adjustment": "Holm",
                "group_count": self.group_count,
                "seed": self.seed,
            },
        }

    def to_text(self) -> str:
        """The table, and what its last columns mean."""
        lines = [
            f"A: {self.first_folder}",
            f"B: {self.second_folder}",
            f"Protocol {self.protocol}, {self.group_count:,} groups",
            "",
            f"{'task':<7} {'A':>6} {'B':>6} {'B - A':>7} {'95 % interval':>17} {'p':>7} {'p Holm':>7} {'queries':>8}",
        ]
        for each in (*self.directions, *self.averages):
            low, high = each.interval_95
            name = AVERAGES.get(each.name) or symbol(each.name)
            verdict = f" {'B' if each.difference > 0 else 'A'} better" if each.is_found else ""
            is_average = not each.query_count
            count, adjusted = ("", "") if is_average else (f"{each.query_count:,}", f"{each.p_value_adjusted:.4f}")
            lines.append(
                f"{name:<7} {each.first:6.3f} {each.second:6.3f} {each.difference:+7.3f} "
                f"{f'{low:+.3f} to {high:+.3f}':>17} {each.p_value:7.4f} {adjusted:>7} "
                f"{count:>8}{verdict}"
            )
        lines += [
            "",
            *textwrap.wrap(
                f"A, B: MAP. Interval of the difference: bootstrap, {RESAMPLE_COUNT:,} resamples of whole groups. p: "
                f"paired randomization test over groups, {FLIP_COUNT:,} resamples. p Holm: adjusted for "
                f"{len(self.directions)} tasks asked at once; the averages ask one question each and are not adjusted. "
                f"Below {LEVEL} the better run is named. {SYMBOLS}",
                90,
            ),
            "The test tells these two trained models apart. Whether one recipe is better than another,",
            "runs of several seeds tell.",
        ]
        for caution in self.cautions:
            lines += textwrap.wrap(caution, 90)
        return "\n".join(lines)


def compare(
    first_run: Path | str,
    second_run: Path | str,
    *,
    protocol: ProtocolName = "strict",
    seed: int = 0,
    runtime: Runtime | None = None,
) -> CompareReport:
    """Compares two embeddings folders, or runs that hold one, query by query.

    Raises:
        CannotCompareError: They do not hold the same items.
        EmbeddingsError: A folder is not complete or damaged.
        CannotEvaluateError: Nothing in one of them can be measured.
        NonFiniteEmbeddingError: Items without a usable vector.
    """
    settings = Settings(protocol=protocol, seed=seed)
    one, other = (measure_folder(run, settings=settings, runtime=runtime) for run in (first_run, second_run))
    row = _match_rows(one, other)
    pairs = [
        (mine, yours)
        for mine in one.measurement.tasks
        for yours in other.measurement.tasks
        if mine.name == yours.name and mine.query_medium is not mine.gallery_medium
    ]
    total, count = _group_sums(pairs, row, group=one.measurement.table.group)
    directions, averages = _compare(pairs, total, count, measured=(one.measurement, other.measurement), seed=seed)
    return CompareReport(
        first_folder=one.folder,
        second_folder=other.folder,
        protocol=protocol,
        directions=tuple(directions),
        averages=tuple(averages),
        group_count=len(total),
        seed=seed,
        cautions=one.evaluation.cautions,
    )


def _match_rows(one: MeasuredFolder, other: MeasuredFolder) -> Int[np.ndarray, " row"]:
    """The row in the first table of each row of the second."""
    rows = [
        {item.item_id: (row, item) for row, item in enumerate(measured.measurement.table.items)}
        for measured in (one, other)
    ]
    lonely = [sorted(mine.keys() - yours.keys()) for mine, yours in (rows, reversed(rows))]
    changed = [
        name
        for name, (_, item) in rows[1].items()
        if name in rows[0] and _what_counts(item) != _what_counts(rows[0][name][1])
    ]
    met = (("only in the first", lonely[0]), ("only in the second", lonely[1]), ("of another class or group", changed))
    reasons = [f"{len(names):,} of their items are {where} ({first(names)})" for where, names in met if names]
    if reasons:
        raise CannotCompareError(first_path=one.folder, second_path=other.folder, reason=", ".join(reasons))
    return np.array([rows[0][name][0] for name in rows[1]])


def _what_counts(item: Item) -> tuple[Medium, str | None, str | None]:
    """What has to be the same of an item in both runs."""
    return item.medium, item.class_name, item.group


def _group_sums(
    pairs: Sequence[tuple[Task, Task]], row: Int[np.ndarray, " row"], *, group: Int[np.ndarray, " row"]
) -> tuple[Float64[np.ndarray, "group task"], Float64[np.ndarray, "group task"]]:
    """The sum of the differences in average precision, and the number of queries, of each group and direction."""
    shape = (int(group.max()) + 1, len(pairs))
    total, count = np.zeros(shape), np.zeros(shape)
    for column, (mine, yours) in enumerate(pairs):
        value = np.zeros(len(group))
        value[row[yours.row]] += yours.average_precision * yours.is_counted
        value[mine.row] -= mine.average_precision * mine.is_counted
        counted = group[mine.row[mine.is_counted]]
        total[:, column] = np.bincount(group, weights=value, minlength=shape[0])
        count[:, column] = np.bincount(counted, minlength=shape[0])
    return total, count


def _compare(
    pairs: Sequence[tuple[Task, Task]],
    total: Float64[np.ndarray, "group task"],
    count: Float64[np.ndarray, "group task"],
    *,
    measured: tuple[Measurement, Measurement],
    seed: int,
) -> tuple[list[Comparison], list[Comparison]]:
    """The directions, and the averages over them."""
    names = [mine.name for mine, _ in pairs]
    to_all = np.array([mine.gallery_medium is None for mine, _ in pairs])
    columns = {name: chosen for name, chosen in (("bi_modality", ~to_all), ("multi_modality", to_all)) if chosen.any()}
    share = total / count.sum(axis=0)  # of each group in the mean difference
    shares = np.concatenate([share, *(share[:, chosen].mean(axis=1, keepdims=True) for chosen in columns.values())], 1)
    generators = np.random.default_rng(seed).spawn(2)
    p_values = sign_flip_p_values(shares, resample_count=FLIP_COUNT, generator=generators[0])
    means = bootstrap_means(total, count, resample_count=RESAMPLE_COUNT, generator=generators[1])
    means = np.concatenate([means, *(means[:, chosen].mean(axis=1, keepdims=True) for chosen in columns.values())], 1)
    intervals = np.nanpercentile(means, [2.5, 97.5], axis=0).T
    values = [_maps(each, names, columns) for each in measured]
    adjusted = (*holm_adjusted(p_values[: len(names)].tolist()), *p_values[len(names) :].tolist())
    every = [
        Comparison(
            name=name,
            first=values[0][name],
            second=values[1][name],
            difference=float(shares[:, place].sum()),
            interval_95=(float(intervals[place, 0]), float(intervals[place, 1])),
            p_value=float(p_values[place]),
            p_value_adjusted=adjusted[place],
            query_count=int(count[:, place].sum()) if place < len(names) else 0,
        )
        for place, name in enumerate([*names, *columns])
    ]
    return every[: len(names)], every[len(names) :]


def _maps(
    measurement: Measurement, names: Sequence[str], columns: Mapping[str, Bool[np.ndarray, " task"]]
) -> dict[str, float]:
    """The MAP of each direction, and of each average, by name."""
    maps = {direction.name: direction.mean_average_precision for direction in measurement.evaluation.directions}
    own = np.array([maps[name] for name in names])
    return maps | {name: float(own[chosen].mean()) for name, chosen in columns.items()}


def _values(each: Comparison) -> dict[str, object]:
    return {
        "first": each.first,
        "second": each.second,
        "difference": each.difference,
        "interval_95": list(each.interval_95),
        "p_value": each.p_value,
        "p_value_adjusted": each.p_value_adjusted,
        "query_count": each.query_count,
    }
