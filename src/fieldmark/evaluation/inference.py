"""Intervals and tests of means over queries that share their gallery, both drawn anew with their classes kept."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int, Real
from scipy.special import stdtr, stdtrit

from fieldmark.evaluation.evaluated_items import EvaluatedItems
from fieldmark.evaluation.metrics import Interval
from fieldmark.evaluation.task import Task
from fieldmark.types import MEDIA, Medium


@dataclass(frozen=True, slots=True)
class Uncertainty:
    """The standard error of a mean, and the degrees of freedom that it was estimated with; 0 where it cannot be."""

    standard_error: float
    freedom: float

    def compute_interval(self, value: float, *, lowest: float, highest: float) -> Interval:
        """Return the 95 % interval around a value by Student's t, within the range that it may have."""
        if not self.freedom:
            return None
        half = float(stdtrit(self.freedom, 0.975)) * self.standard_error
        return max(lowest, value - half), min(highest, value + half)

    def compute_p_value(self, value: float) -> float | None:
        """Return the two-sided probability of a value as far from 0 by chance."""
        if not self.freedom:
            return None
        if self.standard_error == 0:
            return 1.0 if value == 0 else 0.0
        return float(2 * stdtr(self.freedom, -abs(value) / self.standard_error))


def estimate_uncertainty(
    evaluated: EvaluatedItems,
    tasks: Sequence[Task],
    influences: Float64[np.ndarray, "row task design"],
    averages: Mapping[str, Sequence[int]],
) -> tuple[tuple[Uncertainty, ...], dict[str, Uncertainty]]:
    """Return the uncertainty of each task's value, and of averages over some of them.

    The items are a sample of all that could have been drawn: groups are drawn, within their class and medium, and each
    serves as query and as part of the gallery. The variance of a MAP is, to first order, that of a sum over groups of
    their influences as both (Hoeffding's projection of a two-way sample), estimated within the strata. Where most
    classes are of one group, nothing tells how another group of theirs would fare; there whole classes are drawn, which
    overstates the variance.

    Args:
        influences: The values that each item adds: see `influence_items`.
        averages: By name, the numbers of the tasks that they are over.
    """
    samples = _list_samples(evaluated)
    lone = count_lone_classes(evaluated)
    designs = [choose_design(task, lone) for task in tasks]
    single = tuple(
        _estimate(influences[:, number, design], samples[design]) if _is_estimable(evaluated, task) else _NOTHING
        for number, (task, design) in enumerate(zip(tasks, designs, strict=True))
    )
    means = {}
    for name, numbers in averages.items():
        is_estimable = all(single[number].freedom for number in numbers)
        design = max(designs[number] for number in numbers)
        mean = influences[:, list(numbers), design].mean(axis=1)
        means[name] = _estimate(mean, samples[design]) if is_estimable else _NOTHING
    return single, means


_NOTHING = Uncertainty(0.0, 0.0)


GROUPS, CLASSES = 0, 1
"""The designs of a sample: groups are drawn within their class and medium, or classes as a whole."""


def influence_items(evaluated: EvaluatedItems, tasks: Sequence[Task]) -> Float64[np.ndarray, "row task design"]:
    """Return what each item adds to each task's MAP, as a query and in the gallery, beside the mean of its stratum.

    The strata are those of each design.

    Args:
        tasks: With influences of the gallery.
    """
    added = np.zeros((len(evaluated.items), len(tasks), 2))
    for design, sample in enumerate(_list_samples(evaluated)):
        strata = sample.stratum
        size = int(strata.max()) + 1
        for column, task in enumerate(tasks):
            row = task.row[task.is_counted]
            value = task.average_precision[task.is_counted]
            mean = np.bincount(strata[row], value, size) / np.maximum(np.bincount(strata[row], minlength=size), 1)
            added[row, column, design] += (value - mean[strata[row]]) / len(row)
            part = np.flatnonzero(_is_in_gallery(evaluated, task))
            own = task.gallery_influence[part]
            mean = np.bincount(strata[part], own, size) / np.maximum(np.bincount(strata[part], minlength=size), 1)
            added[part, column, design] += own - mean[strata[part]]
    return added


def count_lone_classes(evaluated: EvaluatedItems) -> dict[Medium, int]:
    """Return the number of classes with one group, by medium, where they are more than a tenth of the medium's classes.

    Nothing tells how another group of such a class would fare. Intervals by groups cover .95 with a tenth of such
    classes and .85 with a quarter (docs/results/inference.md).
    """
    counts = {}
    for code, medium in enumerate(MEDIA):
        is_own = evaluated.medium == code
        pairs = np.unique(np.stack([evaluated.rows.label[is_own], evaluated.group[is_own]]), axis=1)
        _, group_count = np.unique(pairs[0], return_counts=True)
        lone_count = int((group_count == 1).sum())
        if lone_count > _MAX_LONE_SHARE * len(group_count):
            counts[medium] = lone_count
    return counts


_MAX_LONE_SHARE = 0.1


def choose_design(task: Task, lone: Mapping[Medium, int]) -> int:
    """Return the design of a task: classes where one of its media has many of one group."""
    gallery = MEDIA if task.gallery_medium is None else (task.gallery_medium,)
    return GROUPS if lone.keys().isdisjoint((task.query_medium, *gallery)) else CLASSES


def _is_in_gallery(evaluated: EvaluatedItems, task: Task) -> Bool[np.ndarray, " row"]:
    if task.gallery_medium is None:
        return np.ones(len(evaluated.items), dtype=bool)
    is_in: Bool[np.ndarray, " row"] = evaluated.medium == MEDIA.index(task.gallery_medium)
    return is_in


@dataclass(frozen=True, slots=True)
class _Sample:
    """The units that are drawn as a whole and the strata that they are drawn within, for each item."""

    unit: Int[np.ndarray, " row"]
    stratum: Int[np.ndarray, " row"]


def _list_samples(evaluated: EvaluatedItems) -> tuple[_Sample, _Sample]:
    """Return the sample of each design."""
    return _sample_groups(evaluated), _sample_classes(evaluated)


def _sample_classes(evaluated: EvaluatedItems) -> _Sample:
    """Return classes as units of one stratum."""
    label = evaluated.rows.label.astype(np.int64)
    return _Sample(label, np.zeros_like(label))


def _sample_groups(evaluated: EvaluatedItems) -> _Sample:
    """Return groups as units, within strata of class and medium as the group first has them.

    Strata of one group, within which nothing varies, are one stratum for each medium; if it is one group even so, it
    joins another stratum of the medium.
    """
    first = np.full(evaluated.group_count, -1)
    first[evaluated.group[::-1]] = np.arange(len(evaluated.group))[::-1]
    own = [(int(evaluated.medium[row]), int(evaluated.rows.label[row])) for row in first.tolist()]
    counts = Counter(own)
    merged = [stratum if counts[stratum] > 1 else (stratum[0], -1) for stratum in own]
    again = Counter(merged)
    largest = {medium: stratum for stratum, _ in reversed(again.most_common()) for medium in stratum[:1]}
    merged = [stratum if again[stratum] > 1 else largest[stratum[0]] for stratum in merged]
    code = {stratum: number for number, stratum in enumerate(sorted(set(merged)))}
    by_group = np.array([code[stratum] for stratum in merged])
    return _Sample(evaluated.group, by_group[evaluated.group])


def _is_estimable(evaluated: EvaluatedItems, task: Task) -> bool:
    """Return whether both queries and gallery are of several groups."""
    queries = np.unique(evaluated.group[task.row[task.is_counted]])
    return min(len(queries), len(np.unique(evaluated.group[_is_in_gallery(evaluated, task)]))) > 1


def _estimate(values: Float64[np.ndarray, " row"], sample: _Sample) -> Uncertainty:
    """Return the uncertainty of a sum over items that are drawn unit by unit."""
    units, unit = np.unique(sample.unit, return_inverse=True)
    stratum = np.zeros(len(units), dtype=np.int64)
    stratum[unit] = sample.stratum
    return estimate_sum(np.bincount(unit, values), stratum)


def estimate_sum(values: Float64[np.ndarray, " unit"], stratum: Int[np.ndarray, " unit"]) -> Uncertainty:
    """Return the standard error of a sum over units, with the degrees of freedom after Satterthwaite (1946)."""
    count = np.bincount(stratum)
    mean = np.bincount(stratum, values) / np.maximum(count, 1)
    squares = np.bincount(stratum, (values - mean[stratum]) ** 2)
    is_several = count > 1
    variance = squares[is_several] * count[is_several] / (count[is_several] - 1)
    if not is_several.any():
        return _NOTHING
    if not variance.any():
        return Uncertainty(0.0, float((count[is_several] - 1).sum()))
    return _add_variances(variance, count[is_several] - 1)


def add_uncertainties(parts: Sequence[Uncertainty]) -> Uncertainty:
    """Return the uncertainty of a sum of independent parts; nothing is known if it is not known of each."""
    if not all(part.freedom for part in parts):
        return _NOTHING
    variance = np.array([part.standard_error**2 for part in parts])
    freedom = np.array([part.freedom for part in parts])
    return _add_variances(variance, freedom) if variance.any() else Uncertainty(0.0, float(freedom.sum()))


def _add_variances(variance: Float64[np.ndarray, " part"], freedom: Real[np.ndarray, " part"]) -> Uncertainty:
    total = float(variance.sum())
    return Uncertainty(total**0.5, total**2 / float((variance**2 / freedom).sum()))


@dataclass(frozen=True, slots=True)
class UnitInfluences:
    """The shares of units, drawn as a whole, in each task: enough for the uncertainty of any mean of tasks.

    Args:
        unit: Names of groups or of classes.
        stratum: Of each unit.
        values: Of each unit, by the name of the task.
    """

    unit: tuple[str, ...]
    stratum: Int[np.ndarray, " unit"]
    values: Mapping[str, Float64[np.ndarray, " unit"]]


def sum_by_unit(
    evaluated: EvaluatedItems,
    tasks: Sequence[Task],
    influences: Float64[np.ndarray, "row task design"],
    *,
    design: int,
) -> UnitInfluences:
    """Add up what the items of each unit of a design add to each task."""
    sample = _list_samples(evaluated)[design]
    units, first, unit = np.unique(sample.unit, return_index=True, return_inverse=True)
    items = [evaluated.items[row] for row in first.tolist()]
    names = [item.class_name if design == CLASSES else item.group or item.item_id for item in items]
    return UnitInfluences(
        unit=tuple(name or "" for name in names),
        stratum=sample.stratum[first],
        values={task.name: np.bincount(unit, influences[:, n, design], len(units)) for n, task in enumerate(tasks)},
    )
