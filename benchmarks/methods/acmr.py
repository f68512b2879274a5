"""ACMR: an adversary tries to tell the media apart in the common space, and the projections learn to fool it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from fieldmark.types import MEDIA, MediumBatch
from methods.baseline import Baseline, CommonSpace, Training, count_classes, draw_batches, take_steps


@final
@dataclass(frozen=True, slots=True)
class ACMR(Baseline):
    """Adversarial cross-modal retrieval (Wang et al., ACM MM 2017).

        embedding loss = label_weight * cross-entropy of the classes
                         + pair_weight * (mean d(positive) + negative_weight * mean [margin - d(negative)]_+)
        adversary loss = cross-entropy of the media, its gradient reversed on the way into the projections

    d is the Euclidean distance between items of two media, embeddings of length 1. Each medium goes through two layers
    with tanh, the adversary has three layers. The weight of the reversed gradient grows from 0 to `adversary_weight`
    by 2 / (1 + exp(-10 p)) - 1 over the share p of the steps (Ganin and Lempitsky, ICML 2015).

    Departs from the paper in that all pairs of a batch are summed and none is sampled, pairs are formed by class, and
    the adversary tells any number of media apart instead of two.
    """

    dim: int = 200
    hidden_dim: int = 512
    label_weight: float = 1.0
    pair_weight: float = 1.0
    negative_weight: float = 1.0
    margin: float = 1.0
    adversary_weight: float = 0.1
    dropout: float = 0.3
    steps: int = 800
    lr: float = 1e-3

    def fit(self, training: Training, *, seed: int) -> CommonSpace:
        """Return the space after all steps."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = _Network(self, training)
            batches = enumerate(draw_batches(training, steps=self.steps, seed=seed))
            losses = (self._loss(network, batch, reversal=self._reversal(step)) for step, batch in batches)
            take_steps(network, losses, lr=self.lr)
        return CommonSpace({medium: network.projections[medium] for medium in training})

    def _reversal(self, step: int) -> float:
        return self.adversary_weight * (2 / (1 + math.exp(-10 * step / self.steps)) - 1)

    def _loss(self, network: "_Network", batch: Sequence[MediumBatch], *, reversal: float) -> Float[Tensor, ""]:
        placed = [network.projections[part.medium](part.inputs) for part in batch]
        label = torch.cat([part.label for part in batch])
        medium = torch.cat([torch.full_like(part.label, MEDIA.index(part.medium)) for part in batch])
        rows = torch.cat(placed)
        return (
            self.label_weight * cross_entropy(network.classifier(rows), label)
            + self.pair_weight * self._triplet_loss(placed, batch)
            + cross_entropy(network.adversary(reverse_gradient(rows, weight=reversal)), medium)
        )

    def _triplet_loss(self, placed: Sequence[Tensor], batch: Sequence[MediumBatch]) -> Float[Tensor, ""]:
        unit = [normalize(each, dim=1) for each in placed]
        total = unit[0].new_zeros(())
        for one, other in permutations(range(len(batch)), 2):
            distance = torch.cdist(unit[one], unit[other])
            is_same = batch[one].label[:, None] == batch[other].label
            violation = (self.margin - distance).clamp(min=0)
            total = total + _mean_where(distance, is_same) + self.negative_weight * _mean_where(violation, ~is_same)
        return total / max(1, len(batch) * (len(batch) - 1))


@final
class _Network(nn.Module):
    def __init__(self, settings: ACMR, training: Training) -> None:
        super().__init__()
        hidden, dim = settings.hidden_dim, settings.dim
        self.projections = nn.ModuleDict(
            {
                medium: nn.Sequential(
                    nn.Dropout(settings.dropout),
                    nn.Linear(rows.features.shape[1], hidden),
                    nn.Tanh(),
                    nn.Dropout(settings.dropout),
                    nn.Linear(hidden, dim),
                    nn.Tanh(),
                )
                for medium, rows in training.items()
            }
        )
        self.classifier = nn.Linear(dim, count_classes(training))
        self.adversary = nn.Sequential(
            nn.Linear(dim, dim // 2),
            nn.ReLU(),
            nn.Linear(dim // 2, dim // 4),
            nn.ReLU(),
            nn.Linear(dim // 4, len(MEDIA)),
        )


def reverse_gradient(rows: Float[Tensor, "row dim"], *, weight: float) -> Float[Tensor, "row dim"]:
    """Return the rows; in the backward pass their gradient is reversed and weighted."""
    return (1 + weight) * rows.detach() - weight * rows


def _mean_where(values: Float[Tensor, "row column"], chosen: Tensor) -> Float[Tensor, ""]:
    """Return the mean of the chosen values; 0 if there is none."""
    return (values * chosen).sum() / chosen.sum().clamp(min=1)
