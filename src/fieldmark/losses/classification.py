"""The classification constraint: cross-entropy, summed over the media."""

from typing import final

import torch.nn.functional as F  # noqa: N812 - the name torch itself uses
from jaxtyping import Float
from torch import Tensor, nn

from fieldmark.types import MEDIA, Outputs


@final
class ClassificationLoss(nn.Module):
    """The sum over the media present of the mean cross-entropy of their rows (He et al., ACM MM 2019).

    Every medium counts the same, however many rows it has in the batch.

    Args:
        label_smoothing: Share of the target spread over all classes, from 0 to 1.
    """

    def __init__(self, *, label_smoothing: float) -> None:
        super().__init__()
        self._label_smoothing = label_smoothing

    def forward(self, outputs: Outputs) -> Float[Tensor, ""]:
        """Return the loss of a batch."""
        row_loss = F.cross_entropy(
            outputs.logits, outputs.label, reduction="none", label_smoothing=self._label_smoothing
        )
        total = row_loss.new_zeros(len(MEDIA)).index_add(0, outputs.medium, row_loss)
        count = outputs.medium.bincount(minlength=len(MEDIA)).clamp(min=1)
        return (total / count).sum()
