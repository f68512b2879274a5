"""The influence of each item of the gallery on each mean average precision: what the gallery's draw is worth."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int
from torch import Tensor

from fieldmark.evaluation.evaluated_items import EvaluatedItems
from fieldmark.evaluation.ranking import SCORE_STEP, Compute, normalize_rows
from fieldmark.evaluation.sorted_keys import count_equal, last_key, sort_rows
from fieldmark.evaluation.task import Task
from fieldmark.types import MEDIA

_CELL_BYTES = 96
"""Bytes held for each pair of a query and a gallery item."""


def measure_gallery_influences(
    evaluated: EvaluatedItems, tasks: Sequence[Task], *, exclude_self: bool, compute: Compute
) -> Float64[np.ndarray, "row task"]:
    """Return the derivative of each task's MAP by the weight of each item in the gallery.

    With weights w, the average precision of a query is the mean over its relevant items r, weighted by w_r, of the
    weight of relevant items up to r over that of all items up to r. At weights of 1 its derivative by w_g is

        (1/R) ( [g relevant] (N_g + k_g / p_g - AP) - D_g ),  N_g = sum 1 / p_r,  D_g = sum k_r / p_r^2,

    the sums over the relevant items r from g on, with rank p_r and k_r relevant items up to r. Of tied items, half
    come first. Items outside the gallery have 0.
    """
    influences = np.zeros((len(evaluated.items), len(tasks)))
    units = torch.from_numpy(normalize_rows(evaluated.rows.embedding.astype(np.float64))).to(compute.device)
    for column, task in enumerate(tasks):
        gallery = np.arange(len(evaluated.items))
        if task.gallery_medium is not None:
            gallery = np.flatnonzero(evaluated.medium == MEDIA.index(task.gallery_medium))
        gallery_units = units[torch.from_numpy(gallery)].T / -SCORE_STEP
        label = evaluated.rows.label
        total = np.zeros(len(gallery))
        for chunk in _divide(task.row[task.is_counted], label, len(gallery), compute.chunk_bytes):
            keys = (units[torch.from_numpy(chunk)] @ gallery_units).round_().to(torch.int32)
            is_own = torch.from_numpy(gallery[None] == chunk[:, None]).to(keys.device)
            is_out = is_own if exclude_self else torch.zeros_like(is_own)
            is_relevant = torch.from_numpy(label[gallery] == label[chunk[0]]).to(keys.device)
            total += _sum_influences(keys, is_relevant=is_relevant, is_out=is_out).cpu().numpy()
        influences[gallery, column] = total / task.is_counted.sum()
    return influences


def _divide(
    row: Int[np.ndarray, " query"], label: Int[np.ndarray, " row"], gallery_count: int, chunk_bytes: int
) -> list[Int[np.ndarray, " chunk"]]:
    """Return the queries in chunks, each of one class."""
    size = max(1, chunk_bytes // (_CELL_BYTES * gallery_count))
    ordered = row[np.argsort(label[row], kind="stable")]
    same = np.split(ordered, np.flatnonzero(np.diff(label[ordered])) + 1)
    return [each[start : start + size] for each in same for start in range(0, len(each), size)]


def _sum_influences(
    keys: Int[Tensor, "query row"], *, is_relevant: Bool[Tensor, " row"], is_out: Bool[Tensor, "query row"]
) -> Float64[Tensor, " row"]:
    """Return the derivatives by each gallery item, summed over queries of one class; the lowest key ranks first."""
    if not is_relevant.any():
        return torch.zeros(keys.shape[1], dtype=torch.float64, device=keys.device)
    keys = keys.masked_fill(is_out, last_key(keys))
    needles = sort_rows(keys[:, is_relevant].contiguous())
    is_there = needles < last_key(keys)
    rank = _find_middle(sort_rows(keys.clone()), needles)
    found = _find_middle(needles, needles)
    precision = torch.where(is_there, found / rank, 0.0)
    count = is_there.sum(dim=1, keepdim=True).clamp_min(1)
    mean_precision = precision.sum(dim=1, keepdim=True) / count
    fall, rise = torch.where(is_there, precision / rank, 0.0), torch.where(is_there, 1 / rank, 0.0)
    first = torch.searchsorted(needles, keys)
    end = first + count_equal(needles, keys, first)
    influence = -(_sum_from(fall, first) + _sum_from(fall, end)) / 2
    own_first, own_end = first[:, is_relevant], end[:, is_relevant]
    own = own_first.clamp_max(needles.shape[1] - 1)
    gain = (_sum_from(rise, own_first) + _sum_from(rise, own_end)) / 2
    gain += (rise - fall).gather(1, own) / 2 + precision.gather(1, own) - mean_precision
    influence[:, is_relevant] += gain
    total: Float64[Tensor, " row"] = (influence / count).masked_fill(is_out, 0.0).sum(dim=0)
    return total


def _find_middle(
    ordered: Int[Tensor, "query row"], keys: Int[Tensor, "query needle"]
) -> Float64[Tensor, "query needle"]:
    """Return the rank of each key among others that hold it, from 1; of tied ones, that in their middle."""
    first = torch.searchsorted(ordered, keys)
    return first + (count_equal(ordered, keys, first) + 1).double() / 2


def _sum_from(values: Float64[Tensor, "query needle"], start: Int[Tensor, "query row"]) -> Float64[Tensor, "query row"]:
    """Return the sum of each row's values from a position on."""
    sums = values.flip(1).cumsum(dim=1).flip(1)
    return torch.nn.functional.pad(sums, (0, 1)).gather(1, start)
