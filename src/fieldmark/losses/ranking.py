"""The ranking constraint: an item is nearer to its own class than to others; exact sums over all quadruplets."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from fieldmark.types import Outputs

CHUNK_TERMS = 1 << 21
"""Thresholds compared at once: bounds the memory of the released form's count."""

Pairwise = Float[Tensor, "batch batch"]


@final
class RankingLoss(nn.Module):
    """Two hinges on distances of embeddings: the quadruplet loss of Chen et al., CVPR 2017, with its plain distances.

        mean+ over (i, j, k)    of [d_ij - d_ik + margin]_+
      + mean+ over (i, j, k, l) of [d_ij - d_kl + second_margin]_+

    i, j have one label (i != j), k another, l a third; mean+ divides by the number of terms above zero, so that
    solved terms do not dilute the rest. d is the Euclidean distance between embeddings, from 0 to 2. Media play no
    part: a positive may be of any medium.

    Departs from He et al., ACM MM 2019, whose released single hinge (`ReleasedRankingLoss`) lets an easy term cancel
    a violated one.

    All terms are counted exactly, by sorting, in O(n^2 log n) time and O(n^2) memory for n rows.
    """

    def __init__(self, *, margin: float = 0.4, second_margin: float = 0.2) -> None:
        super().__init__()
        self._margin = margin
        self._second_margin = second_margin

    def forward(self, outputs: Outputs) -> Float[Tensor, ""]:
        """The loss of a batch; 0 where it has no such rows."""
        distance = _measure(outputs.embedding)
        first = _count_triplets(distance.detach(), outputs.label, margin=self._margin)
        second = _count_pairs_of_pairs(distance.detach(), outputs.label, margin=self._second_margin)
        return first.mean(distance, margin=self._margin) + second.mean(distance, margin=self._second_margin)


@final
class ReleasedRankingLoss(nn.Module):
    """One hinge on distances of raw logits, as the released code of He et al., ACM MM 2019 has it.

        mean+ over (i, j, k, l) of [(d_ij - d_ik + margin) + (d_ij - d_kl + second_margin)]_+

    Rows and mean+ as in `RankingLoss`. All terms are counted exactly, by sorting, in O((m + c) n^2 log n) time for n
    rows of c classes with at most m rows each, and O(n^2) memory: the released code takes O(n^4) of both.
    """

    def __init__(self, *, margin: float = 1.0, second_margin: float = 0.5) -> None:
        super().__init__()
        self._margin = margin + second_margin

    def forward(self, outputs: Outputs) -> Float[Tensor, ""]:
        """The loss of a batch; 0 where it has no such rows."""
        distance = _measure(outputs.logits)
        terms = _count_quadruplets(distance.detach(), outputs.label, margin=self._margin)
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

    def mean(self, distance: Pairwise, *, margin: float) -> Float[Tensor, ""]:
        """The mean of the terms above zero; 0 where there is none."""
        share = self.weight.to(distance.dtype) / self.count.clamp(min=1)
        return (share * distance).sum() + margin * (self.count > 0)


def _measure(vectors: Float[Tensor, "batch dim"]) -> Pairwise:
    """Euclidean distances in float32 or better; between equal rows they and their gradient are exactly 0."""
    vectors = vectors.to(torch.promote_types(vectors.dtype, torch.float32))
    return torch.cdist(vectors, vectors, compute_mode="donot_use_mm_for_euclid_dist")


def _count_triplets(distance: Pairwise, label: Int[Tensor, " batch"], *, margin: float) -> _Terms:
    """Terms d_ij - d_ik + margin above zero: for each i, the d_ik are sorted and each d_ij + margin looked up."""
    weight = torch.zeros_like(distance, dtype=torch.int64)
    count = weight.new_zeros(())
    for inside, outside in _split_by_class(label):
        threshold = _without_self(distance[inside][:, inside] + margin)
        negative, order = distance[inside][:, outside].sort(dim=1)
        smaller, larger = _count_crossings(negative, threshold)
        weight[inside.unsqueeze(1), inside] += smaller
        weight[inside.unsqueeze(1), outside[order]] -= larger
        count += smaller.sum()
    return _Terms(weight, count)


def _count_pairs_of_pairs(distance: Pairwise, label: Int[Tensor, " batch"], *, margin: float) -> _Terms:
    """Terms d_ij - d_kl + margin above zero: all d_kl are sorted once, and each d_ij + margin looked up.

    That counts k or l of the class of i and j too; class by class, these are counted again and taken off.
    """
    is_same = label.unsqueeze(1) == label
    is_positive = is_same & ~torch.eye(len(label), dtype=torch.bool, device=label.device)
    row, column = (~is_same).nonzero(as_tuple=True)
    negative, order = distance[row, column].sort()
    smaller, larger = _count_crossings(negative.unsqueeze(0), (distance[is_positive] + margin).unsqueeze(0))
    weight = torch.zeros_like(distance, dtype=torch.int64)
    weight[is_positive] = smaller[0]
    weight[row[order], column[order]] = -larger[0]
    for inside, outside in _split_by_class(label):
        threshold = _without_self(distance[inside][:, inside] + margin)
        touching, order = distance[inside][:, outside].flatten().sort()
        smaller, larger = _count_crossings(touching.unsqueeze(0), threshold.view(1, -1))
        excess = torch.empty_like(larger[0]).scatter_(0, order, larger[0]).view(len(inside), len(outside))
        weight[inside.unsqueeze(1), inside] -= 2 * smaller.view_as(threshold)
        weight[inside.unsqueeze(1), outside] += excess
        weight[outside.unsqueeze(1), inside] += excess.T
    return _Terms(weight, weight[is_positive].sum())


def _count_quadruplets(distance: Pairwise, label: Int[Tensor, " batch"], *, margin: float) -> _Terms:
    """Terms 2 d_ij - d_ik - d_kl + margin above zero: for each k, the d_kl are sorted and 2 d_ij - d_ik looked up."""
    weight = torch.zeros_like(distance, dtype=torch.int64)
    count = weight.new_zeros(())
    for inside, outside in _split_by_class(label):
        positive = _without_self(2 * distance[inside][:, inside] + margin)
        step = max(1, CHUNK_TERMS // positive.numel())
        for start in range(0, len(outside), step):
            chosen = outside[start : start + step]
            is_third = label[chosen].unsqueeze(1) != label[outside]
            negative = distance[chosen][:, outside].masked_fill(~is_third, torch.inf)
            negative, order = negative.sort(dim=1)
            threshold = positive - distance[chosen][:, inside].unsqueeze(2)
            smaller, larger = _count_crossings(negative, threshold.flatten(1))
            smaller = smaller.view_as(threshold)
            weight[inside.unsqueeze(1), inside] += 2 * smaller.sum(dim=0)
            weight[inside.unsqueeze(1), chosen] -= smaller.sum(dim=2).T
            weight[chosen.unsqueeze(1), outside[order]] -= larger
            count += smaller.sum()
    return _Terms(weight, count)


def _split_by_class(
    label: Int[Tensor, " batch"],
) -> Iterator[tuple[Int[Tensor, " inside"], Int[Tensor, " outside"]]]:
    """The rows of each class that has a pair, and the rows of all others."""
    for own in (label.bincount() > 1).nonzero().flatten():
        is_inside: Bool[Tensor, " batch"] = label == own
        yield is_inside.nonzero().flatten(), (~is_inside).nonzero().flatten()


def _without_self(threshold: Float[Tensor, "inside inside"]) -> Float[Tensor, "inside inside"]:
    """No distance is below the threshold of a row with itself."""
    return threshold.fill_diagonal_(-torch.inf)


def _count_crossings(
    ordered: Float[Tensor, "rows values"], threshold: Float[Tensor, "rows thresholds"]
) -> tuple[Int[Tensor, "rows thresholds"], Int[Tensor, "rows values"]]:
    """Row by row: how many values are below each threshold, and how many thresholds are above each value.

    Args:
        ordered: Ascending along a row.
    """
    smaller = torch.searchsorted(ordered, threshold.contiguous())
    ends = torch.zeros(len(ordered), ordered.shape[1] + 1, dtype=torch.int64, device=ordered.device)
    ends.scatter_add_(1, smaller, torch.ones_like(smaller))
    larger = ends.flip(1).cumsum(1).flip(1)[:, 1:]
    return smaller, larger
