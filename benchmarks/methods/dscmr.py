"""DSCMR: one label space, one shared last layer, and likelihoods of being of one class, within and across media."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations, combinations_with_replacement
from typing import final

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import normalize, one_hot, softplus

from fieldmark.types import Medium, MediumBatch
from methods.baseline import Baseline, CommonSpace, Training, count_classes, draw_batches, take_steps


@final
@dataclass(frozen=True, slots=True)
class DSCMR(Baseline):
    """Deep supervised cross-modal retrieval (Zhen et al., CVPR 2019).

        label term      mean ||P u - y||                          y one-hot, P linear, over the rows of all media
        likelihood term mean [log(1 + exp(g)) - s g]              g = cosine / 2, s = 1 for one class, over all pairs
                                                                  of rows within a medium and across two
        invariance term mean ||u - v||                            over rows of one class in two media
        loss            label + likelihood_weight * likelihood + invariance_weight * invariance

    Each medium has a layer of its own, and all share the last one. The paper's invariance term stands on pairs of one
    document; here items are not paired, and all pairs of a class are taken.
    """

    dim: int = 256
    hidden_dim: int = 512
    likelihood_weight: float = 1.0
    invariance_weight: float = 0.1
    dropout: float = 0.3
    steps: int = 800
    lr: float = 1e-3

    def fit(self, training: Training, *, seed: int) -> CommonSpace:
        """Return the space after all steps."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = _Network(self, training)
            batches = draw_batches(training, steps=self.steps, seed=seed)
            take_steps(network, (self._loss(network, batch) for batch in batches), lr=self.lr)
        return CommonSpace({medium: _Way(network, medium) for medium in training})

    def _loss(self, network: "_Network", batch: Sequence[MediumBatch]) -> Float[Tensor, ""]:
        placed = [(network(part.inputs, part.medium), part.label) for part in batch]
        class_count = network.classifier.out_features
        label_term = _sum(
            (network.classifier(rows) - one_hot(label, class_count)).norm(dim=1).mean() for rows, label in placed
        )
        likelihood = _sum(
            _likelihood(rows, others, label[:, None] == other_label)
            for (rows, label), (others, other_label) in combinations_with_replacement(placed, 2)
        )
        invariance = _sum(
            _mean_distance(rows, others, label[:, None] == other_label)
            for (rows, label), (others, other_label) in combinations(placed, 2)
        )
        return label_term + self.likelihood_weight * likelihood + self.invariance_weight * invariance


@final
class _Network(nn.Module):
    def __init__(self, settings: DSCMR, training: Training) -> None:
        super().__init__()
        self.own = nn.ModuleDict(
            {
                medium: nn.Sequential(
                    nn.Dropout(settings.dropout),
                    nn.Linear(rows.features.shape[1], settings.hidden_dim),
                    nn.ReLU(),
                    nn.Dropout(settings.dropout),
                )
                for medium, rows in training.items()
            }
        )
        self.shared = nn.Linear(settings.hidden_dim, settings.dim)
        self.classifier = nn.Linear(settings.dim, count_classes(training), bias=False)

    def forward(self, features: Float[Tensor, "row feature"], medium: Medium) -> Float[Tensor, "row dim"]:
        place: Tensor = self.shared(self.own[medium](features))
        return place


@final
@dataclass(frozen=True, slots=True)
class _Way:
    network: _Network
    medium: Medium

    def __call__(self, features: Float[Tensor, "row feature"]) -> Float[Tensor, "row dim"]:
        place: Tensor = self.network(features, self.medium)
        return place


def _sum(terms: Iterable[Float[Tensor, ""]]) -> Float[Tensor, ""]:
    """Return the sum; 0 of no terms, as in a batch of one medium."""
    return sum(terms, start=torch.zeros(()))


def _likelihood(
    rows: Float[Tensor, "row dim"], others: Float[Tensor, "other dim"], is_same: Bool[Tensor, "row other"]
) -> Float[Tensor, ""]:
    """Return the mean negative log likelihood of the pairs."""
    half_cosine = normalize(rows, dim=1) @ normalize(others, dim=1).T / 2
    return (softplus(half_cosine) - is_same * half_cosine).mean()


def _mean_distance(
    rows: Float[Tensor, "row dim"], others: Float[Tensor, "other dim"], is_same: Bool[Tensor, "row other"]
) -> Float[Tensor, ""]:
    """Return the mean distance between rows of one class; 0 if no class is in both."""
    return (torch.cdist(rows, others) * is_same).sum() / is_same.sum().clamp(min=1)
