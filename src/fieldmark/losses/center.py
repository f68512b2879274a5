"""The center constraint: rows are drawn to the center of their class, which all media share."""

from typing import Literal, final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from fieldmark.types import Outputs


@final
class CenterLoss(nn.Module):
    """The mean squared distance of rows to the center of their class: (1/B) sum_i ||z_i - c_{y_i}||^2.

    The form is that of the released code of He et al., ACM MM 2019 (no factor 1/2). The centers differ: instead of
    parameters with a scaled gradient, they are buffers that follow the rows by the rule of Wen et al., ECCV 2016,
    eq. 4. After each training step the center of class c moves by rate * sum_{y_i = c} (z_i - c) / (1 + count_c), so
    neither the loss's weight nor the optimizer affects it. Checkpoints hold the centers. The center of a class starts
    at the mean of its rows: those given to `start_at`, or the first in a training step.

    Args:
        dim: Of the centers: that of the embedding, or the number of classes for "logits".
        rate: Share of the way to its rows that a center moves in one step; their alpha.
        space: Vectors that distances are computed on; "logits" is the released choice.
    """

    centers: Float[Tensor, "class dim"]
    is_started: Tensor

    def __init__(self, *, class_count: int, dim: int, rate: float, space: Literal["embedding", "logits"]) -> None:
        super().__init__()
        self.register_buffer("centers", torch.zeros(class_count, dim))
        self.register_buffer("is_started", torch.zeros(class_count, dtype=torch.bool))
        self._rate = rate
        self._space = space

    @torch.no_grad()
    def start_at(self, vectors: Float[Tensor, "batch dim"], label: Int[Tensor, " batch"]) -> None:
        """Set the center of each class among the rows to the mean of its rows.

        Args:
            vectors: Embeddings or logits, as `space` says.
        """
        total, count = self._sum_by_class(vectors, label)
        present = count > 0
        self.centers.copy_(torch.where(present, total / count.clamp(min=1), self.centers))
        self.is_started.logical_or_(present.squeeze(1))

    def forward(self, outputs: Outputs) -> Float[Tensor, ""]:
        """Return the loss of a batch; in training, the centers then move toward its rows."""
        vectors = outputs.embedding if self._space == "embedding" else outputs.logits
        if self.training:
            self._start_missing(vectors.detach(), outputs.label)
        loss = (vectors - self.centers[outputs.label]).square().sum(dim=1).mean()
        if self.training:
            self._follow(vectors.detach(), outputs.label)
        return loss

    def _start_missing(self, vectors: Float[Tensor, "batch dim"], label: Int[Tensor, " batch"]) -> None:
        is_new = ~self.is_started[label]
        self.start_at(vectors[is_new], label[is_new])

    @torch.no_grad()
    def _follow(self, vectors: Float[Tensor, "batch dim"], label: Int[Tensor, " batch"]) -> None:
        total, count = self._sum_by_class(vectors, label)
        self.centers += self._rate * (total - count * self.centers) / (1 + count)

    def _sum_by_class(
        self, vectors: Float[Tensor, "batch dim"], label: Int[Tensor, " batch"]
    ) -> tuple[Float[Tensor, "class dim"], Float[Tensor, "class 1"]]:
        vectors = vectors.to(self.centers.dtype)
        total = torch.zeros_like(self.centers).index_add_(0, label, vectors)
        count = label.bincount(minlength=len(self.centers)).to(self.centers.dtype)
        return total, count.unsqueeze(1)


@final
class ReleasedCenterLoss(nn.Module):
    """The same distance with centers that are parameters: random at first, moved by the optimizer.

    The form of the released code of He et al., ACM MM 2019. There the centers' gradient is scaled by 1000; here that is
    a factor on their rate (`WeightedLoss.lr_scale`), which for SGD is the same. Whether they are carried from one stage
    to the next, a stage says. Kept for comparison: at its rate, half of the random start is left after 50 epochs.
    """

    def __init__(
        self,
        *,
        class_count: int,
        dim: int,
        generator: torch.Generator,
        space: Literal["embedding", "logits"],
    ) -> None:
        super().__init__()
        self.centers = nn.Parameter(torch.randn(class_count, dim, generator=generator))
        self._space = space

    def forward(self, outputs: Outputs) -> Float[Tensor, ""]:
        """Return the loss of a batch."""
        vectors = outputs.embedding if self._space == "embedding" else outputs.logits
        distance: Tensor = (vectors - self.centers[outputs.label]).square().sum(dim=1)
        return distance.mean()
