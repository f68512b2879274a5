"""Comparison of two measurements on the same items: differences in MAP, and a test against chance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Float64, Int

from fieldmark.errors import list_first
from fieldmark.evaluation.evaluated_items import EvaluatedItems
from fieldmark.evaluation.measurement import Measurement
from fieldmark.evaluation.metrics import bootstrap_means, correct_by_holm, estimate_p_values
from fieldmark.evaluation.result import RESAMPLE_COUNT
from fieldmark.evaluation.task import Task
from fieldmark.types import Item, Medium

FLIP_COUNT = 10_000
"""Resamples of the randomization test; the smallest p-value is about one in as many."""

LEVEL = 0.05
"""Adjusted p-values below this count as a difference."""


@dataclass(frozen=True, slots=True)
class TaskComparison:
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

    json_keys: ClassVar = (
        "first",
        "second",
        "difference",
        "interval_95",
        "p_value",
        "p_value_adjusted",
        "query_count",
    )

    @property
    def is_average(self) -> bool:
        """True for an average of several directions."""
        return not self.query_count

    @property
    def is_found(self) -> bool:
        """True if the difference is more than chance."""
        return self.p_value_adjusted < LEVEL


def list_item_differences(one: EvaluatedItems, other: EvaluatedItems) -> tuple[str, ...]:
    """Return the reasons why two tables do not hold the same items; empty where they do."""
    items = [{item.item_id: item for item in table.items} for table in (one, other)]
    missing = [sorted(mine.keys() - yours.keys()) for mine, yours in (items, reversed(items))]
    changed = [
        name for name, item in items[1].items() if name in items[0] and _identify(item) != _identify(items[0][name])
    ]
    found = (
        ("only in the first", missing[0]),
        ("only in the second", missing[1]),
        ("of another class or group", changed),
    )
    return tuple(f"{len(names):,} of their items are {where} ({list_first(names)})" for where, names in found if names)


def compare_measurements(one: Measurement, other: Measurement, *, seed: int) -> tuple[TaskComparison, ...]:
    """Compare two measurements of the same items, query by query: each direction, then the averages over them."""
    row_by_id = {item.item_id: row for row, item in enumerate(one.evaluated.items)}
    row = np.array([row_by_id[item.item_id] for item in other.evaluated.items])
    pairs = [
        (mine, yours)
        for mine in one.tasks
        for yours in other.tasks
        if mine.name == yours.name and mine.average is not None
    ]
    total, count = _sum_groups(pairs, row, evaluated=one.evaluated)
    return tuple(_compare(pairs, total, count, measured=(one, other), seed=seed))


def _identify(item: Item) -> tuple[Medium, str | None, str | None]:
    """Return the facts of an item that have to be the same in both."""
    return item.medium, item.class_name, item.group


def _sum_groups(
    pairs: Sequence[tuple[Task, Task]], row: Int[np.ndarray, " row"], *, evaluated: EvaluatedItems
) -> tuple[Float64[np.ndarray, "group task"], Float64[np.ndarray, "group task"]]:
    """Return the sum of differences in average precision, and the number of queries, by group and direction."""
    group = evaluated.group
    shape = (evaluated.group_count, len(pairs))
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
) -> list[TaskComparison]:
    """Return the comparison of each direction, then of the averages over them."""
    names = [mine.name for mine, _ in pairs]
    averages = ("bi_modality", "multi_modality")
    columns = {name: np.array([mine.average == name for mine, _ in pairs]) for name in averages}
    columns = {name: chosen for name, chosen in columns.items() if chosen.any()}
    share = total / count.sum(axis=0)  # of each group in the mean difference
    shares = np.concatenate([share, *(share[:, chosen].mean(axis=1, keepdims=True) for chosen in columns.values())], 1)
    generators = np.random.default_rng(seed).spawn(2)
    p_values = estimate_p_values(shares, resample_count=FLIP_COUNT, generator=generators[0])
    means = bootstrap_means(total, count, resample_count=RESAMPLE_COUNT, generator=generators[1])
    means = np.concatenate([means, *(means[:, chosen].mean(axis=1, keepdims=True) for chosen in columns.values())], 1)
    intervals = np.nanpercentile(means, [2.5, 97.5], axis=0).T
    values = [_read_maps(each, names, columns) for each in measured]
    adjusted = (*correct_by_holm(p_values[: len(names)].tolist()), *p_values[len(names) :].tolist())
    return [
        TaskComparison(
            name=name,
            first=values[0][name],
            second=values[1][name],
            difference=float(shares[:, column].sum()),
            interval_95=(float(intervals[column, 0]), float(intervals[column, 1])),
            p_value=float(p_values[column]),
            p_value_adjusted=adjusted[column],
            query_count=int(count[:, column].sum()) if column < len(names) else 0,
        )
        for column, name in enumerate([*names, *columns])
    ]


def _read_maps(
    measurement: Measurement, names: Sequence[str], columns: Mapping[str, Bool[np.ndarray, " task"]]
) -> dict[str, float]:
    """Return the MAP of each direction, and of each average, by name."""
    maps = {direction.name: direction.mean_average_precision for direction in measurement.evaluation.directions}
    own = np.array([maps[name] for name in names])
    return maps | {name: float(own[chosen].mean()) for name, chosen in columns.items()}
