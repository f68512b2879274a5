"""Comparison of two measurements on the same items: differences in MAP, and a test against chance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Float64, Int

from fieldmark.errors import list_first
from fieldmark.evaluation.evaluated_items import EvaluatedItems
from fieldmark.evaluation.inference import estimate_uncertainty
from fieldmark.evaluation.measurement import Measurement
from fieldmark.evaluation.metrics import Interval, correct_by_holm
from fieldmark.evaluation.result import AVERAGES
from fieldmark.evaluation.task import Task
from fieldmark.types import Item, Medium

LEVEL = 0.05
"""Adjusted p-values below this count as a difference."""


@dataclass(frozen=True, slots=True)
class TaskComparison:
    """One direction, or an average of several, in both runs.

    Args:
        difference: The second MAP less the first.
        interval_95: Of the difference, were other items of these classes drawn, as queries and for the gallery; None
            where queries or gallery are of one group.
        p_value: Of no difference, by the same standard error; None likewise.
        p_value_adjusted: By Holm over the directions; that of an average is not adjusted.
        query_count: 0 for an average.
    """

    name: str
    first: float
    second: float
    difference: float
    interval_95: Interval
    p_value: float | None
    p_value_adjusted: float | None
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
        return self.p_value_adjusted is not None and self.p_value_adjusted < LEVEL


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


def compare_measurements(one: Measurement, other: Measurement) -> tuple[TaskComparison, ...]:
    """Compare two measurements of the same items, query by query: each direction, then the averages over them."""
    row_by_id = {item.item_id: row for row, item in enumerate(one.evaluated.items)}
    row = np.array([row_by_id[item.item_id] for item in other.evaluated.items])
    pairs = [
        (mine, yours)
        for mine in one.tasks
        for yours in other.tasks
        if mine.name == yours.name and mine.average is not None
    ]
    differences = _subtract(pairs, row, measured=(one, other))
    return tuple(_compare(pairs, differences, measured=(one, other)))


def _identify(item: Item) -> tuple[Medium, str | None, str | None]:
    """Return the facts of an item that have to be the same in both."""
    return item.medium, item.class_name, item.group


def _subtract(
    pairs: Sequence[tuple[Task, Task]], row: Int[np.ndarray, " row"], *, measured: tuple[Measurement, Measurement]
) -> Float64[np.ndarray, "row task design"]:
    """Return by how much each item adds more to each MAP of the second measurement, in the order of the first."""
    one, other = measured
    differences = np.zeros((len(row), len(pairs), 2))
    for column, (mine, yours) in enumerate(pairs):
        differences[row, column] = other.influences[:, other.tasks.index(yours)]
        differences[:, column] -= one.influences[:, one.tasks.index(mine)]
    return differences


def _compare(
    pairs: Sequence[tuple[Task, Task]],
    influences: Float64[np.ndarray, "row task design"],
    *,
    measured: tuple[Measurement, Measurement],
) -> list[TaskComparison]:
    """Return the comparison of each direction, then of the averages over them."""
    names = [mine.name for mine, _ in pairs]
    columns = {name: np.array([mine.average == name for mine, _ in pairs]) for name in AVERAGES}
    columns = {name: chosen for name, chosen in columns.items() if chosen.any()}
    numbers = {name: np.flatnonzero(chosen).tolist() for name, chosen in columns.items()}
    single, means = estimate_uncertainty(measured[0].evaluated, [mine for mine, _ in pairs], influences, numbers)
    values = [_read_maps(each, names, columns) for each in measured]
    uncertainties = dict(zip(names, single, strict=True)) | means
    difference = {name: values[1][name] - values[0][name] for name in uncertainties}
    p_values = {name: each.compute_p_value(difference[name]) for name, each in uncertainties.items()}
    tested = [name for name in names if p_values[name] is not None]
    adjusted = dict(zip(tested, correct_by_holm([p_values[name] or 0.0 for name in tested]), strict=True))
    query_count = {mine.name: int(mine.is_counted.sum()) for mine, _ in pairs}
    return [
        TaskComparison(
            name=name,
            first=values[0][name],
            second=values[1][name],
            difference=difference[name],
            interval_95=each.compute_interval(difference[name], lowest=-1.0, highest=1.0),
            p_value=p_values[name],
            p_value_adjusted=adjusted.get(name, p_values[name]),
            query_count=query_count.get(name, 0),
        )
        for name, each in uncertainties.items()
    ]


def _read_maps(
    measurement: Measurement, names: Sequence[str], columns: Mapping[str, Bool[np.ndarray, " task"]]
) -> dict[str, float]:
    """Return the MAP of each direction, and of each average, by name."""
    maps = {direction.name: direction.mean_average_precision for direction in measurement.evaluation.directions}
    own = np.array([maps[name] for name in names])
    return maps | {name: float(own[chosen].mean()) for name, chosen in columns.items()}
