"""Distillation across media: rows of the weak media learn which classes the strong medium takes for each other."""

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fieldmark.types import MEDIA, Medium, Outputs


@final
class DistillationLoss(nn.Module):
    """Distance of a row's class probabilities from those of the teacher's rows of its class, at a temperature.

        sum over media of mean over rows i of  T^2 KL( q_{y_i} || softmax(logits_i / T) )
        q_c = mean over the teacher's rows of class c of softmax(logits / T), without gradient

    Hinton et al., NIPS 2014 workshop; from one medium to others as Gupta et al., CVPR 2016, but with the class in place
    of the pair, since items of different media are no pairs here. Rows whose class the teacher has no row of in the
    batch are left out; every medium counts the same.

    Args:
        teacher: The medium whose rows teach; it learns nothing by this.
        temperature: T; the larger, the more the unlikely classes tell.
    """

    def __init__(self, *, teacher: Medium = Medium.IMAGE, temperature: float = 2.0) -> None:
        super().__init__()
        self._teacher = MEDIA.index(teacher)
        self._temperature = temperature

    def forward(self, outputs: Outputs) -> Float[Tensor, ""]:
        """The loss of a batch; 0 where the teacher has no row of any other row's class."""
        log_likely = (outputs.logits / self._temperature).log_softmax(dim=1)
        is_teacher = outputs.medium == self._teacher
        is_taught_by = (outputs.label.unsqueeze(1) == outputs.label) & is_teacher
        is_taught = is_taught_by.any(dim=1) & ~is_teacher
        share = is_taught_by[is_taught].to(log_likely.dtype)
        target = (share / share.sum(dim=1, keepdim=True)) @ log_likely.detach().exp()
        gap = torch.special.xlogy(target, target) - target * log_likely[is_taught]
        row_loss = self._temperature**2 * gap.sum(dim=1)
        medium = outputs.medium[is_taught]
        total = row_loss.new_zeros(len(MEDIA)).index_add(0, medium, row_loss)
        count = medium.bincount(minlength=len(MEDIA)).clamp(min=1)
        return torch.sum(total / count)
