"""Intervals and tests of means over queries that share their gallery, both drawn anew with their classes kept."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int
from scipy.special import stdtr, stdtrit

from fieldmark.evaluation.evaluated_items import EvaluatedItems
from fieldmark.evaluation.metrics import Interval
from fieldmark.evaluation.task import Task
from fieldmark.types import MEDIA


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
    influences: Float64[np.ndarray, "row task"],
    averages: Mapping[str, Sequence[int]],
) -> tuple[tuple[Uncertainty, ...], dict[str, Uncertainty]]:
    """Return the uncertainty of each task's value, and of averages over some of them.

    The items are a sample of all that could have been drawn: groups are drawn, within their class and medium, and each
    serves as query and as part of the gallery. The variance of a MAP is, to first order, that of a sum over groups of
    their influences as both (Hoeffding's projection of a two-way sample), estimated within the strata.

    Args:
        influences: The values that each item adds: see `influence_items`.
        averages: By name, the numbers of the tasks that they are over.
    """
    strata = _stratify(evaluated)
    single = tuple(
        _estimate(influences[:, number], evaluated, strata) if _is_estimable(evaluated, task) else _NOTHING
        for number, task in enumerate(tasks)
    )
    means = {}
    for name, numbers in averages.items():
        is_estimable = all(single[number].freedom for number in numbers)
        mean = influences[:, list(numbers)].mean(axis=1)
        means[name] = _estimate(mean, evaluated, strata) if is_estimable else _NOTHING
    return single, means


_NOTHING = Uncertainty(0.0, 0.0)


def influence_items(
    evaluated: EvaluatedItems, tasks: Sequence[Task], gallery: Float64[np.ndarray, "row task"]
) -> Float64[np.ndarray, "row task"]:
    """Return what each item adds to each task's MAP, as a query and in the gallery, beside the mean of its stratum.

    Args:
        gallery: The influences as part of the gallery; see `measure_gallery_influences`.
    """
    strata = _stratify(evaluated)
    size = int(strata.max()) + 1
    added = np.zeros_like(gallery)
    for column, task in enumerate(tasks):
        row = task.row[task.is_counted]
        value = task.average_precision[task.is_counted]
        mean = np.bincount(strata[row], value, size) / np.maximum(np.bincount(strata[row], minlength=size), 1)
        added[row, column] += (value - mean[strata[row]]) / len(row)
        part = np.arange(len(strata))
        if task.gallery_medium is not None:
            part = np.flatnonzero(evaluated.medium == MEDIA.index(task.gallery_medium))
        own = gallery[part, column]
        mean = np.bincount(strata[part], own, size) / np.maximum(np.bincount(strata[part], minlength=size), 1)
        added[part, column] += own - mean[strata[part]]
    return added


def _stratify(evaluated: EvaluatedItems) -> Int[np.ndarray, " row"]:
    """Return the stratum of each item, its class and medium as its group first has them.

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
    strata: Int[np.ndarray, " row"] = by_group[evaluated.group]
    return strata


def _is_estimable(evaluated: EvaluatedItems, task: Task) -> bool:
    """Return whether both queries and gallery are of several groups."""
    queries = np.unique(evaluated.group[task.row[task.is_counted]])
    is_in = np.ones(len(evaluated.items), dtype=bool)
    if task.gallery_medium is not None:
        is_in = evaluated.medium == MEDIA.index(task.gallery_medium)
    return min(len(queries), len(np.unique(evaluated.group[is_in]))) > 1


def _estimate(
    values: Float64[np.ndarray, " row"], evaluated: EvaluatedItems, strata: Int[np.ndarray, " row"]
) -> Uncertainty:
    """Return the standard error of a sum over groups, with the degrees of freedom after Satterthwaite (1946)."""
    sums = np.bincount(evaluated.group, values, evaluated.group_count)
    stratum = np.zeros(evaluated.group_count, dtype=np.int64)
    stratum[evaluated.group] = strata
    count = np.bincount(stratum)
    mean = np.bincount(stratum, sums) / np.maximum(count, 1)
    squares = np.bincount(stratum, (sums - mean[stratum]) ** 2)
    is_several = count > 1
    variance = squares[is_several] * count[is_several] / (count[is_several] - 1)
    total = float(variance.sum())
    if not is_several.any():
        return _NOTHING
    if total == 0:
        return Uncertainty(0.0, float((count[is_several] - 1).sum()))
    freedom = total**2 / float((variance**2 / (count[is_several] - 1)).sum())
    return Uncertainty(total**0.5, freedom)
