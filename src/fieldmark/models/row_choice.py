"""The choice of rows to fit on, where there are too many: fair to every class, and in it to every group."""

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor


def choose_rows(
    label: Int[Tensor, " row"], *, group: Int[Tensor, " row"], most: int, class_minimum: int
) -> Int[Tensor, " chosen"]:
    """Return indices of rows in ascending order: about `most` of them, on the CPU; the choice follows no chance.

    Every class keeps all of its rows up to a number that is the same for all classes, and within a class every group
    does. In a group, rows are taken at equal steps. With 6 rows wanted of classes of 1, 2 and 20 rows, 1, 2 and 3 are
    taken; if the 20 rows are those of recordings of 18, 1 and 1 rows, one row of each recording.

    Args:
        group: What rows share their origin with.
        class_minimum: Rows that a class keeps, if it has them, even if more than `most` rows are then chosen.
    """
    labels, groups = label.numpy(force=True), group.numpy(force=True)
    if len(labels) <= most:
        return torch.arange(len(labels))
    by_class = _split(labels)
    quota = _share_fairly([len(rows) for rows in by_class], most)
    chosen = []
    for rows, count in zip(by_class, quota, strict=True):
        by_group = _split(groups[rows])
        own = _share_fairly([len(each) for each in by_group], max(count, min(class_minimum, len(rows))))
        chosen += [rows[each[_spread(len(each), wanted)]] for each, wanted in zip(by_group, own, strict=True)]
    return torch.from_numpy(np.sort(np.concatenate(chosen)))


def _split(numbers: Int[np.ndarray, " row"]) -> list[Int[np.ndarray, " own"]]:
    """Return the rows of each number, in the order of the numbers."""
    order = np.argsort(numbers, kind="stable")
    _, first = np.unique(numbers[order], return_index=True)
    return np.split(order, first[1:])


def _share_fairly(sizes: list[int], total: int) -> list[int]:
    """Divide a total among sets of some sizes: equal parts, but none above its size, as long as the total lasts."""
    parts = [0] * len(sizes)
    left = min(total, sum(sizes))
    for done, index in enumerate(sorted(range(len(sizes)), key=sizes.__getitem__)):
        parts[index] = min(sizes[index], left // (len(sizes) - done))
        left -= parts[index]
    return parts


def _spread(count: int, wanted: int) -> Int[np.ndarray, " wanted"]:
    """Return so many of the first `count` integers, at equal steps."""
    return np.arange(wanted, dtype=np.int64) * count // max(1, wanted)
