"""Canonical correlation analysis of any number of media whose items are paired by their class."""

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from methods.baseline import Baseline, CommonSpace, LabeledFeatures, Training, count_classes


@final
@dataclass(frozen=True, slots=True)
class CCA(Baseline):
    """Directions of each medium along which the media correlate most (Hotelling, Biometrika 1936).

    For more than two media: the sum of their correlations with a common variate is largest, Kettenring's MAXVAR
    (Biometrika 1971), as the generalized eigenvectors of all covariances over those within a medium,

        [C_ij] v = value * diag(C_ii + r_i I) v        r_i = ridge * trace(C_ii) / dimension

    Items are not paired, so every item of a class is paired with every item of that class in another medium, as in
    cluster CCA (Rasiwasia et al., AISTATS 2014), each class counting the same: C_ij is the covariance of the class
    means, and C_ii that of the items. Where each class has one item of each medium, this is plain CCA.

    Args:
        dim: Of the space; C_ij has no more than one direction less than there are classes.
        ridge: Regularization, as a share of the mean variance of a medium.
    """

    dim: int = 25
    ridge: float = 0.1

    def fit(self, training: Training, *, seed: int) -> CommonSpace:  # noqa: ARG002 - nothing is drawn
        """Return the space of the first directions."""
        sets = {medium: _describe(each, class_count=count_classes(training)) for medium, each in training.items()}
        factors = {medium: self._factor(each.within) for medium, each in sets.items()}
        whitened = [
            torch.linalg.solve_triangular(factors[medium], each.class_means.T, upper=False).T / each.class_count**0.5
            for medium, each in sets.items()
        ]
        joined = torch.cat(whitened, dim=1)
        correlation = joined.T @ joined
        start = 0
        for each in whitened:
            part = slice(start, start + each.shape[1])
            correlation[part, part] = torch.eye(each.shape[1], dtype=correlation.dtype)
            start = part.stop
        vectors = torch.linalg.eigh(correlation).eigenvectors.flip(1)[:, : self.dim]
        blocks = vectors.split([each.shape[1] for each in whitened])
        directions = {
            medium: torch.linalg.solve_triangular(factors[medium].T, block, upper=True)
            for medium, block in zip(sets, blocks, strict=True)
        }
        return CommonSpace({medium: _Way(sets[medium].mean, directions[medium]) for medium in sets})

    def _factor(self, within: Float[Tensor, "feature feature"]) -> Float[Tensor, "feature feature"]:
        """Return the Cholesky factor of the regularized covariance."""
        ridge = self.ridge * within.diagonal().mean()
        factor: Tensor = torch.linalg.cholesky(within + ridge * torch.eye(len(within), dtype=within.dtype))
        return factor


@final
@dataclass(frozen=True, slots=True)
class _Moments:
    """Mean and covariance of one medium when a class is drawn first, then one of its items.

    Args:
        class_means: Less the mean; zero where the medium has no item of the class.
        class_count: Classes of which there is an item.
    """

    mean: Float[Tensor, " feature"]
    class_means: Float[Tensor, "class feature"]
    class_count: int
    within: Float[Tensor, "feature feature"]


def _describe(rows: LabeledFeatures, *, class_count: int) -> _Moments:
    count = rows.label.bincount(minlength=class_count).double()
    is_there = count > 0
    present = int(is_there.sum())
    weight = 1 / (present * count[rows.label])
    mean = weight @ rows.features.double()
    centered = rows.features.double() - mean
    total = torch.zeros(class_count, centered.shape[1], dtype=torch.float64).index_add_(0, rows.label, centered)
    class_means = total / count.clamp(min=1)[:, None]
    return _Moments(mean, class_means, present, (centered * weight[:, None]).T @ centered)


@final
@dataclass(frozen=True, slots=True)
class _Way:
    mean: Float[Tensor, " feature"]
    directions: Float[Tensor, "feature dim"]

    def __call__(self, features: Float[Tensor, "row feature"]) -> Float[Tensor, "row dim"]:
        return (features.double() - self.mean) @ self.directions
