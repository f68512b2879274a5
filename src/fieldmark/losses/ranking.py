"""The ranking constraint: an item is nearer to its own class than to others; exact sums over all quadruplets."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from fieldmark.types import Outputs

_CHUNK_TERMS = 1 << 21
"""Thresholds compared at once: bounds the memory of the released form's count."""

_Pairwise = Float[Tensor, "batch batch"]


@final
class RankingLoss(nn.Module):
    """Two hinges on distances of embeddings: the quadruplet loss of Chen et al., CVPR 2017, with its plain distances.

        mean+ over (i, j, k)    of [d_ij - d_ik + margin]_+
      + mean+ over (i, j, k, l) of [d_ij - d_kl + second_margin]_+

    i, j have one label (i != j), k another, l a third; mean+ divides by the number of terms above zero, so that
    solved terms do not dilute the rest. d is the Euclidean distance between embeddings, from 0 to 2. A positive may be
    of any medium; with `cross_media` only of another one than its anchor.

    Departs from He et al., ACM MM 2019, whose released single hinge (`ReleasedRankingLoss`) lets an easy term cancel
    a violated one.

    All terms are counted exactly, by sorting, in O(n^2 log n) time and O(n^2) memory for n rows.
    """

    def __init__(self, *, margin: float, second_margin: float, cross_media: bool) -> None:
        super().__init__()
        self._margin = margin
        self._second_margin = second_margin
        self._cross_media = cross_media

    def forward(self, outputs: Outputs) -> Float[Tensor, ""]:
        """Return the loss of a batch; 0 if it has no such rows."""
        distance = measure_distances(outputs.embedding)
        is_positive = find_positives(outputs, cross_media=self._cross_media)
        first = _count_triplets(distance.detach(), outputs.label, is_positive, margin=self._margin)
        second = _count_pairs_of_pairs(distance.detach(), outputs.label, is_positive, margin=self._second_margin)
        return first.mean(distance, margin=self._margin) + second.mean(distance, margin=self._second_margin)


@final
class ReleasedRankingLoss(nn.Module):
    """One hinge on distances of raw logits, as the released code of He et al., ACM MM 2019 has it.

        mean+ over (i, j, k, l) of [(d_ij - d_ik + margin) + (d_ij - d_kl + second_margin)]_+

    Rows and mean+ as in `RankingLoss`. All terms are counted exactly, by sorting, in O(m n^2 log n) time for n rows of
    classes of at most m rows, and O(n^2) memory: the released code takes O(n^4) of both.
    """

    def __init__(self, *, margin: float, second_margin: float) -> None:
        super().__init__()
        self._margin = margin + second_margin

    def forward(self, outputs: Outputs) -> Float[Tensor, ""]:
        """Return the loss of a batch; 0 if it has no such rows."""
        distance = measure_distances(outputs.logits)
        is_positive = find_positives(outputs)
        terms = _count_quadruplets(distance.detach(), outputs.label, is_positive, margin=self._margin)
        return terms.mean(distance, margin=self._margin)


@dataclass(frozen=True, slots=True)
class _Terms:
    """The terms of a hinge that are above zero: their number, and how often each distance stands in them.

    A hinge is linear in the distances while the terms above zero stay the same. So its sum, and through autograd its
    gradient, is the weighted sum of distances plus margin times count, and no term is ever kept.

    Args:
        weight: Positive where a distance is to shrink.
    """

    weight: Int[Tensor, "batch batch"]
    count: Int[Tensor, ""]

    def mean(self, distance: _Pairwise, *, margin: float) -> Float[Tensor, ""]:
        """Return the mean of the terms above zero; 0 if there is none."""
        share = self.weight.double() / self.count.clamp(min=1)
        total = (share * distance).sum() + margin * (self.count > 0).double()  # in double: large parts cancel out
        return total.to(distance.dtype)


def measure_distances(vectors: Float[Tensor, "batch dim"]) -> _Pairwise:
    """Return Euclidean distances in float32 or better; between equal rows they and their gradient are exactly 0."""
    vectors = vectors.to(torch.promote_types(vectors.dtype, torch.float32))
    return torch.cdist(vectors, vectors, compute_mode="donot_use_mm_for_euclid_dist")


def find_positives(outputs: Outputs, *, cross_media: bool = False) -> Bool[Tensor, "batch batch"]:
    """Return the pairs of rows of one class, with `cross_media` only those of two media."""
    is_positive = outputs.label.unsqueeze(1) == outputs.label
    if cross_media:
        return is_positive & (outputs.medium.unsqueeze(1) != outputs.medium)
    return is_positive.fill_diagonal_(fill_value=False)


def _count_triplets(
    distance: _Pairwise, label: Int[Tensor, " batch"], is_positive: Bool[Tensor, "batch batch"], *, margin: float
) -> _Terms:
    """Count terms d_ij - d_ik + margin above zero: for each i, the d_ik are sorted and each d_ij + margin looked up."""
    # Points 0.0, 0.3, 0.5 and 1.2 on a line, rows 0 and 1 of one class, rows 2 and 3 of two others, margin 0.4.
    #   i = 0, j = 1: threshold 0.3 + 0.4 = 0.7; of d_02 = 0.5 and d_03 = 1.2 one is below:  term 0.7 - 0.5 = 0.2
    #   i = 1, j = 0: threshold 0.7; of d_12 = 0.2 and d_13 = 0.9 one is below:              term 0.7 - 0.2 = 0.5
    # So weight[0, 1] = weight[1, 0] = 1, weight[0, 2] = weight[1, 2] = -1, count = 2, and the mean is 0.35:
    # (0.3 + 0.3 - 0.5 - 0.2) / 2 + 0.4. No term is ever listed: two sorted rows and four look-ups give the counts.
    weight = torch.zeros_like(distance, dtype=torch.int64)
    count = weight.new_zeros(())
    for inside, outside in _split_by_class(label):
        threshold = _mask_non_positives(distance[inside][:, inside] + margin, is_positive[inside][:, inside])
        negative, order = distance[inside][:, outside].sort(dim=1)
        smaller, larger = _count_crossings(negative, threshold)
        weight[inside.unsqueeze(1), inside] += smaller
        weight[inside.unsqueeze(1), outside[order]] -= larger
        count += smaller.sum()
    return _Terms(weight, count)


def _count_pairs_of_pairs(
    distance: _Pairwise, label: Int[Tensor, " batch"], is_positive: Bool[Tensor, "batch batch"], *, margin: float
) -> _Terms:
    """Count terms d_ij - d_kl + margin above zero: all d_kl are sorted once, and each d_ij + margin looked up.

    That counts k or l of the class of i and j too; class by class, these are counted again and taken off.
    """
    row, column = (label.unsqueeze(1) != label).nonzero(as_tuple=True)
    negative, order = distance[row, column].sort()
    smaller, larger = _count_crossings(negative.unsqueeze(0), (distance[is_positive] + margin).unsqueeze(0))
    weight = torch.zeros_like(distance, dtype=torch.int64)
    weight[is_positive] = smaller[0]
    weight[row[order], column[order]] = -larger[0]
    for inside, outside in _split_by_class(label):
        threshold = _mask_non_positives(distance[inside][:, inside] + margin, is_positive[inside][:, inside])
        touching, order = distance[inside][:, outside].flatten().sort()
        smaller, larger = _count_crossings(touching.unsqueeze(0), threshold.view(1, -1))
        excess = torch.empty_like(larger[0]).scatter_(0, order, larger[0]).view(len(inside), len(outside))
        weight[inside.unsqueeze(1), inside] -= 2 * smaller.view_as(threshold)
        weight[inside.unsqueeze(1), outside] += excess
        weight[outside.unsqueeze(1), inside] += excess.T
    return _Terms(weight, weight[is_positive].sum())


def _count_quadruplets(
    distance: _Pairwise, label: Int[Tensor, " batch"], is_positive: Bool[Tensor, "batch batch"], *, margin: float
) -> _Terms:
    """Count terms 2 d_ij - d_ik - d_kl + margin above zero: for each k, the d_kl are sorted, 2 d_ij - d_ik looked up.

    That counts l of the class of i and j too; class by class, these are counted again and taken off.
    """
    is_same = label.unsqueeze(1) == label
    ordered, order = distance.masked_fill(is_same, torch.inf).sort(dim=1)
    weight = torch.zeros_like(distance, dtype=torch.int64)
    ends = weight.new_zeros(len(label), len(label) + 1)
    count = weight.new_zeros(())
    for inside, outside in _split_by_class(label):
        positive = _mask_non_positives(2 * distance[inside][:, inside] + margin, is_positive[inside][:, inside])
        step = max(1, _CHUNK_TERMS // positive.numel())
        for start in range(0, len(outside), step):
            chosen = outside[start : start + step]
            to_inside = distance[chosen][:, inside]
            threshold = (positive - to_inside.unsqueeze(2)).flatten(1)
            smaller = torch.searchsorted(ordered[chosen], threshold)
            _add_ends(ends, chosen, smaller)
            touching, order_inside = to_inside.sort(dim=1)
            excess, larger = _count_crossings(touching, threshold)
            smaller = (smaller - excess).view(len(chosen), len(inside), len(inside))
            weight[inside.unsqueeze(1), inside] += 2 * smaller.sum(dim=0)
            weight[inside.unsqueeze(1), chosen] -= smaller.sum(dim=2).T
            weight[chosen.unsqueeze(1), inside[order_inside]] += larger
            count += smaller.sum()
    weight.scatter_add_(1, order, -_suffix_sums(ends))
    return _Terms(weight, count)


def _split_by_class(
    label: Int[Tensor, " batch"],
) -> Iterator[tuple[Int[Tensor, " inside"], Int[Tensor, " outside"]]]:
    """Yield the rows of each class that has a pair, and the rows of all other classes."""
    for own in (label.bincount() > 1).nonzero().flatten():
        is_inside: Bool[Tensor, " batch"] = label == own
        yield is_inside.nonzero().flatten(), (~is_inside).nonzero().flatten()


def _mask_non_positives(
    threshold: Float[Tensor, "inside inside"], is_positive: Bool[Tensor, "inside inside"]
) -> Float[Tensor, "inside inside"]:
    """Set the threshold of two rows that are no positives to -inf, so that no distance is below it."""
    return threshold.masked_fill(~is_positive, -torch.inf)


def _count_crossings(
    ordered: Float[Tensor, "rows values"], threshold: Float[Tensor, "rows thresholds"]
) -> tuple[Int[Tensor, "rows thresholds"], Int[Tensor, "rows values"]]:
    """Count, row by row, the values below each threshold and the thresholds above each value.

    Args:
        ordered: Ascending along a row.
    """
    smaller = torch.searchsorted(ordered, threshold.contiguous())
    ends = smaller.new_zeros(len(ordered), ordered.shape[1] + 1)
    _add_ends(ends, torch.arange(len(ordered), device=ordered.device), smaller)
    return smaller, _suffix_sums(ends)


def _add_ends(
    ends: Int[Tensor, "batch values"], chosen: Int[Tensor, " rows"], smaller: Int[Tensor, "rows thresholds"]
) -> None:
    """Count, in the chosen rows, the thresholds that have so many values below them."""
    width = ends.shape[1]
    position = (smaller + width * torch.arange(len(chosen), device=ends.device).unsqueeze(1)).flatten()
    ends[chosen] += position.bincount(minlength=width * len(chosen)).view(-1, width)


def _suffix_sums(ends: Int[Tensor, "rows _ends"]) -> Int[Tensor, "rows _values"]:
    """Count the thresholds above each value, from the counts of `_add_ends`."""
    return ends.flip(1).cumsum(1).flip(1)[:, 1:]
