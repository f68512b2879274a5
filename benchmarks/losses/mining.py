"""The ranking constraint on mined quadruplets: for each positive pair, the one negative that tells most."""

from enum import StrEnum
from typing import assert_never, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from fieldmark.losses.ranking import find_positives, measure_distances
from fieldmark.types import Outputs

CHUNK_DISTANCES = 1 << 22
"""Distances looked at at once: bounds the memory that mining takes."""


class Mining(StrEnum):
    """The choice of a negative for a positive pair (i, j), by the distances of the rows it may be chosen from.

    HARD is the nearest. SEMI_HARD is the nearest of those that are further off than j is from i (Schroff et al., CVPR
    2015), and where there are none, the furthest of all: a pair whose every negative is nearer is not given up.
    """

    HARD = "hard"
    SEMI_HARD = "semi_hard"


@final
class MinedRankingLoss(nn.Module):
    """The two hinges of `RankingLoss` on one quadruplet for each positive pair (i, j).

        mean+ over (i, j) of [d_ij - d_ik + margin]_+  +  mean+ over (i, j) of [d_ij - d_kl + second_margin]_+

    k is chosen by `mining` from the rows of other classes than i's, by their distance to i; l from the rows of a third
    class, by their distance to k. Among equal distances the first row is taken. A pair without a third class in the
    batch has the first hinge alone.

    Args:
        cross_media: Whether i and j must be of two media.
    """

    def __init__(
        self,
        *,
        mining: Mining = Mining.HARD,
        margin: float = 0.4,
        second_margin: float = 0.2,
        cross_media: bool = False,
    ) -> None:
        super().__init__()
        self._mining = mining
        self._margin = margin
        self._second_margin = second_margin
        self._cross_media = cross_media

    def forward(self, outputs: Outputs) -> Float[Tensor, ""]:
        """The loss of a batch; 0 where it has no such rows."""
        distance = measure_distances(outputs.embedding)
        anchor, positive = find_positives(outputs, cross_media=self._cross_media).nonzero(as_tuple=True)
        step = max(1, CHUNK_DISTANCES // max(1, len(distance)))
        triplets, quadruplets = [distance.new_zeros(0)], [distance.new_zeros(0)]
        for i, j in zip(torch.split(anchor, step), torch.split(positive, step), strict=True):
            near = distance[i, j]
            k, has_k = self._mine(distance.detach(), i, near, is_allowed=_other_class(outputs.label, i))
            is_third = _other_class(outputs.label, i) & _other_class(outputs.label, k)
            l, has_l = self._mine(distance.detach(), k, near, is_allowed=is_third)  # noqa: E741 - as in the formula
            triplets.append((near - distance[i, k] + self._margin)[has_k])
            quadruplets.append((near - distance[k, l] + self._second_margin)[has_k & has_l])
        return _mean_above_zero(torch.cat(triplets)) + _mean_above_zero(torch.cat(quadruplets))

    def _mine(
        self,
        distance: Float[Tensor, "batch batch"],
        start: Int[Tensor, " pair"],
        near: Float[Tensor, " pair"],
        *,
        is_allowed: Bool[Tensor, "pair batch"],
    ) -> tuple[Int[Tensor, " pair"], Bool[Tensor, " pair"]]:
        """For each pair the row chosen by its distance from `start`, and whether there is one to choose from."""
        rows = distance[start]
        match self._mining:
            case Mining.HARD:
                chosen = rows.masked_fill(~is_allowed, torch.inf).argmin(dim=1)
            case Mining.SEMI_HARD:
                is_further = is_allowed & (rows > near.detach().unsqueeze(1))
                nearest = rows.masked_fill(~is_further, torch.inf).argmin(dim=1)
                furthest = rows.masked_fill(~is_allowed, -torch.inf).argmax(dim=1)
                chosen = torch.where(is_further.any(dim=1), nearest, furthest)
            case _:
                assert_never(self._mining)
        return chosen, is_allowed.any(dim=1)


def _other_class(label: Int[Tensor, " batch"], rows: Int[Tensor, " pair"]) -> Bool[Tensor, "pair batch"]:
    is_other: Bool[Tensor, "pair batch"] = label[rows].unsqueeze(1) != label
    return is_other


def _mean_above_zero(terms: Float[Tensor, " pair"]) -> Float[Tensor, ""]:
    above = terms.clamp(min=0)
    return above.sum() / (terms > 0).sum().clamp(min=1)
