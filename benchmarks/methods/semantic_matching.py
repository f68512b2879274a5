"""Semantic matching: a classifier for each medium, items compared by their class probabilities."""

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from fieldmark.models.fitted import LinearClassifier
from methods.baseline import Baseline, CommonSpace, Training, count_classes


@final
@dataclass(frozen=True, slots=True)
class SemanticMatching(Baseline):
    """The classes' probabilities by logistic regression as the embedding (Rasiwasia et al., ACM MM 2010).

    Nothing is learned across media, so what another method finds beyond it comes from its common space.

    Args:
        temperature: That logits are divided by; 1 in the paper.
    """

    temperature: float = 1.0

    def fit(self, training: Training, *, seed: int) -> CommonSpace:  # noqa: ARG002 - nothing is drawn
        """Return the space with one axis for each class."""
        ways = {}
        for medium, rows in training.items():
            classifier = LinearClassifier(rows.features.shape[1], class_count=count_classes(training))
            classifier.fit(rows.features, rows.label)
            ways[medium] = _Way(classifier, self.temperature)
        return CommonSpace(ways)


@final
@dataclass(frozen=True, slots=True)
class _Way:
    classifier: LinearClassifier
    temperature: float

    def __call__(self, features: Float[Tensor, "row feature"]) -> Float[Tensor, "row class"]:
        likely: Tensor = torch.softmax(self.classifier(features) / self.temperature, dim=1)
        return likely
