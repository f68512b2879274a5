"""The contract: a baseline is fitted to features of several media and gives one space for them."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count, islice
from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import normalize

from fieldmark.data.sampler import CrossMediaSampler
from fieldmark.errors import MediumNotSupportedError
from fieldmark.types import Medium, MediumBatch

CLASSES_PER_BATCH = 16
ITEMS_PER_CLASS = 2


@dataclass(frozen=True, slots=True)
class LabeledFeatures:
    """The training rows of one medium, one for each item; labels count from 0 and mean the same in all media."""

    features: Float[Tensor, "row feature"]
    label: Int[Tensor, " row"]


Training = Mapping[Medium, LabeledFeatures]
Way = Callable[[Tensor], Tensor]
"""Of one medium, from features to the common space."""


@final
@dataclass(frozen=True, slots=True)
class CommonSpace:
    """A fitted baseline: the projection of each medium into the common space."""

    ways: Mapping[Medium, Way]

    @torch.no_grad()
    def project(self, features: Float[Tensor, "row feature"], medium: Medium) -> Float[Tensor, "row dim"]:
        """Return embeddings of length 1.

        Raises:
            MediumNotSupportedError: The baseline was not fitted to this medium.
        """
        if medium not in self.ways:
            raise MediumNotSupportedError(medium=medium.value, supported=[each.value for each in self.ways])
        return normalize(self.ways[medium](features), dim=1)


class Baseline(ABC):
    """A method with its settings."""

    @abstractmethod
    def fit(self, training: Training, *, seed: int) -> CommonSpace:
        """Fit the common space; the same seed gives the same space.

        Args:
            training: Features of every medium, standardized; the items of two media are not paired.
        """


def count_classes(training: Training) -> int:
    """Count the classes of all media together."""
    return 1 + max(int(each.label.max()) for each in training.values())


def draw_batches(training: Training, *, steps: int, seed: int) -> Iterator[list[MediumBatch]]:
    """Yield rows of some classes in every medium for each step, as `CrossMediaSampler` plans them."""
    sampler = CrossMediaSampler(
        {medium: each.label.numpy() for medium, each in training.items()},
        classes_per_batch=CLASSES_PER_BATCH,
        items_per_class=ITEMS_PER_CLASS,
        seed=seed,
    )
    plans = (plan for epoch in count() for plan in sampler.plan(epoch))
    for plan in islice(plans, steps):
        yield [
            MediumBatch(medium, training[medium].features[list(rows)], training[medium].label[list(rows)])
            for medium, rows in plan.rows
        ]


def take_steps(network: nn.Module, losses: Iterator[Tensor], *, lr: float) -> None:
    """Train a network, one step per loss, and leave it in evaluation mode.

    Args:
        losses: Each is asked for after the step before, so that it is that of the network as it then is.
    """
    optimizer = torch.optim.AdamW(network.parameters(), lr=lr)
    for loss in losses:
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    network.eval()
