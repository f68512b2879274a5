"""The supervised contrastive constraint: among all rows of a batch, those of its own class are nearest to a row."""

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fieldmark.losses.ranking import find_positives
from fieldmark.types import Outputs


@final
class SupervisedContrastiveLoss(nn.Module):
    """Cross-entropy of each row's cosines to all other rows against its positives (Khosla et al., NeurIPS 2020, L_out).

        mean over i of  -mean over positives j of  log( exp(z_i . z_j / t) / sum over k != i of exp(z_i . z_k / t) )

    z are the embeddings at length 1, of all media together. A row without a positive is left out. With `cross_media`
    both positives and the rows they are told from are of other media than row i, as in the contrast of pairs.

    Args:
        temperature: t; the smaller, the more the nearest rows decide.
    """

    def __init__(self, *, temperature: float = 0.1, cross_media: bool = False) -> None:
        super().__init__()
        self._temperature = temperature
        self._cross_media = cross_media

    def forward(self, outputs: Outputs) -> Float[Tensor, ""]:
        """The loss of a batch; 0 where no row has a positive."""
        vectors = nn.functional.normalize(outputs.embedding, dim=1)
        cosine = vectors @ vectors.T / self._temperature
        is_positive = find_positives(outputs, cross_media=self._cross_media)
        is_left_out = torch.eye(len(cosine), dtype=torch.bool, device=cosine.device)
        if self._cross_media:
            is_left_out = outputs.medium.unsqueeze(1) == outputs.medium
        # The least number and not -inf: a row with nothing to be told from would have no gradient but nan.
        cosine = cosine.masked_fill(is_left_out, torch.finfo(cosine.dtype).min)
        log_share = cosine.log_softmax(dim=1).masked_fill(~is_positive, 0.0)
        count = is_positive.sum(dim=1)
        has_positive = count > 0
        row_loss = -log_share.sum(dim=1)[has_positive] / count[has_positive]
        return row_loss.sum() / has_positive.sum().clamp(min=1)
