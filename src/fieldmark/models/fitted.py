"""Parts of the default network that are fitted to features at once: standardization, class logits, known names."""

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from fieldmark.names import normalize_name

# ---------------------------------------------------------------- standardization

_POWER_FLOOR = 1e-6
"""Directions with less than this share of the first one's variance are noise, and left out."""


@final
class Standardization(nn.Module):
    """Features minus their mean, along their principal directions, at a mean square of 1.

    A feature that is zero in most rows, such as a rare word, is weighted by its inverse document frequency,
    1 + ln((1 + n) / (1 + rows with it)); a feature that is never zero keeps weight 1. Otherwise features keep their
    standard deviations: equal deviations would inflate rare words and rare species (mean MAP on validation rows .63
    instead of .66; fgbirds, 2026-11-23). With few items, a few hundred directions suffice, and training on thousands of
    features is then several times faster. Until fitted, directions are random.
    """

    mean: Tensor
    directions: Tensor

    def __init__(self, input_dim: int, *, component_count: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(input_dim))
        self.register_buffer("directions", torch.randn(input_dim, component_count) / input_dim**0.5)

    def forward(self, features: Float[Tensor, "batch feature"]) -> Float[Tensor, "batch component"]:
        """Return standardized features."""
        return (features - self.mean) @ self.directions

    @torch.no_grad()
    def fit(self, features: Float[Tensor, "row feature"]) -> None:
        """Fit mean, weights and directions to some features."""
        self.mean.copy_(features.mean(dim=0))
        weight = 1 + torch.log((1 + len(features)) / (1 + (features != 0).sum(dim=0)))
        directions = _principal_directions((features - self.mean) * weight, count=self.directions.shape[1])
        self.directions.zero_()
        self.directions[:, : directions.shape[1]] = weight[:, None] * directions


def _principal_directions(rows: Float[Tensor, "row feature"], *, count: int) -> Float[Tensor, "feature component"]:
    """Return directions of largest variance, fewer with few rows; the rows' components have a mean square of 1."""
    is_wide = len(rows) < rows.shape[1]
    power, vectors = torch.linalg.eigh(rows @ rows.T if is_wide else rows.T @ rows)
    power, vectors = power.flip(0)[:count], vectors.flip(1)[:, :count]
    is_kept = power > _POWER_FLOOR * power[0]
    directions = normalize(rows.T @ vectors, dim=0)[:, is_kept] if is_wide else vectors[:, is_kept]
    components = rows @ directions
    return directions / components.square().mean().sqrt().clamp(min=torch.finfo(rows.dtype).tiny)


# ---------------------------------------------------------------- class logits

PENALTY = 1 / 30
"""Penalty of a linear classifier's squared weights, beside the summed cross-entropy of rows of length about 1."""

_FOLDS, _SHARES = 3, torch.linspace(0, 1, 11)
"""Folds of the cross-validation over training rows, and the shares that are tried."""

_SCORE_FLOOR = 1e-3
"""Scores are clamped to at least this: what an encoder is most certain of must not decide alone."""


@final
class LinearClassifier(nn.Module):
    """Multinomial logistic regression, fitted at once; with few items it is better calibrated than a deep head.

    A convex problem, so the fit depends on the rows alone and on no seed. Until fitted, all classes are equally likely.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, input_dim: int, *, class_count: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(class_count, input_dim))
        self.register_buffer("bias", torch.zeros(class_count))

    def forward(self, rows: Float[Tensor, "batch component"]) -> Float[Tensor, "batch class"]:
        """Return class logits; rows have a mean square of 1."""
        scores: Tensor = rows / rows.shape[1] ** 0.5 @ self.weight.T + self.bias
        return scores

    def fit(self, rows: Float[Tensor, "row component"], label: Int[Tensor, " row"]) -> None:
        """Fit the weights by L-BFGS."""
        rows = rows.double() / rows.shape[1] ** 0.5
        weight = torch.zeros_like(self.weight, dtype=torch.float64, requires_grad=True)
        bias = torch.zeros_like(self.bias, dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.LBFGS([weight, bias], max_iter=200, line_search_fn="strong_wolfe")

        def objective() -> Tensor:
            optimizer.zero_grad()
            loss = cross_entropy(rows @ weight.T + bias, label, reduction="sum")
            total: Tensor = loss + PENALTY * weight.square().sum() / 2
            total.backward()  # type: ignore[no-untyped-call]  # torch declares no types here
            return total.detach()

        optimizer.step(objective)  # type: ignore[no-untyped-call]  # torch declares no types here
        self.weight.copy_(weight.detach())
        self.bias.copy_(bias.detach())


@final
class NamedScores(nn.Module):
    """The scores that an encoder itself gives to classes it knows by name.

    A classifier trained on far more items than a collection has knows most of its species already: on fgbirds' training
    recordings, BirdNET's scores alone name 87 % of the clips right (26 species, 2026-11-25). A class whose name the
    encoder does not know takes the column that separates its training rows best. With many training rows, logits
    learned from them may be better still: `share` is the weight of the named scores in the mixture of both. A class
    without training rows has its named score alone.
    """

    column: Tensor
    share: Tensor
    is_met: Tensor

    def __init__(self, class_count: int) -> None:
        super().__init__()
        self.register_buffer("column", torch.zeros(class_count, dtype=torch.int64))
        self.register_buffer("share", torch.zeros(()))
        self.register_buffer("is_met", torch.ones(class_count, dtype=torch.bool))

    def mix_with(
        self, learned: Float[Tensor, "batch class"], features: Float[Tensor, "batch feature"], *, weight: float
    ) -> Float[Tensor, "batch class"]:
        """Mix learned class logits with the named scores, whose share is `weight * share`."""
        share = weight * self.share
        by_name = self(features)
        mixed = (1 - share) * learned + share * by_name
        # Nothing was learned of a class without training rows: it gets the probability of its named score, and the
        # other classes share the rest. With two classes, the second without rows, and named probabilities 0.8 and 0.2,
        # the result has softmax 0.8 and 0.2, whatever was learned.
        by_name = by_name.log_softmax(dim=1)
        rest = torch.log1p(
            -by_name.exp().masked_fill(self.is_met, 0.0).sum(dim=1, keepdim=True).clamp(max=1 - _SCORE_FLOOR)
        )
        others = mixed.masked_fill(~self.is_met, -torch.inf).logsumexp(dim=1, keepdim=True)
        return torch.where(self.is_met, mixed, others - rest + by_name)

    def forward(self, features: Float[Tensor, "batch feature"]) -> Float[Tensor, "batch class"]:
        """Return the logarithms of the encoder's class probabilities; features hold their square roots."""
        return 2 * features[:, self.column].clamp(min=_SCORE_FLOOR).log()

    def fit(
        self, features: Float[Tensor, "row feature"], label: Int[Tensor, " row"], *, column: Int[Tensor, " class"]
    ) -> None:
        """Take the columns that `match_names` found, and find one for each class without.

        Args:
            column: -1 for a class whose name the encoder does not know.
        """
        known = column[column >= 0]
        self.share.fill_(float(len(known) > 0))
        self.is_met.copy_((torch.bincount(label, minlength=len(column)) > 0) | (column < 0))
        if not len(known):
            return
        log_score = 2 * features.clamp(min=_SCORE_FLOOR).log()
        chosen = column.clone()
        for label_without in torch.nonzero(column < 0).flatten().tolist():
            is_own = label == label_without
            if is_own.any() and not is_own.all():
                lift = log_score[is_own].mean(dim=0) - log_score[~is_own].mean(dim=0)
                lift[known] = -torch.inf
                chosen[label_without] = lift.argmax()
        self.column.copy_(chosen.clamp(min=0))


def fit_named_share(
    features: Float[Tensor, "row feature"],
    rows: Float[Tensor, "row component"],
    label: Int[Tensor, " row"],
    *,
    group: Int[Tensor, " row"],
    column: Int[Tensor, " class"],
    linear_weight: float,
) -> float:
    """Return the share of named scores that classifies held-out groups best, mixed with a linear classifier.

    Both are fitted on all groups outside a fold and scored on the fold by cross-entropy, each group with equal weight.
    Rows whose class no other group has are skipped. Of the shares within one standard error of the best, the largest
    wins, because named scores were learned from other data and generalize. Fewer than two scored groups give 1.

    Args:
        rows: The features, standardized.
        column: As for `NamedScores.fit`.
        linear_weight: Factor on the linear classifier's logits.
    """
    count, fold, losses = len(column), group.remainder(_FOLDS), []
    for each in range(_FOLDS):
        is_own = fold == each
        has_class = torch.bincount(label[~is_own], minlength=count) > 0
        is_scored = is_own & has_class[label]
        if not is_scored.any():
            continue
        linear, named = LinearClassifier(rows.shape[1], class_count=count).to(rows), NamedScores(count).to(rows)
        linear.fit(rows[~is_own], label[~is_own])
        named.fit(features[~is_own], label[~is_own], column=column)
        by_linear, by_name = linear_weight * linear(rows[is_scored]), named(features[is_scored])
        mixed = torch.stack([(1 - share) * by_linear + share * by_name for share in _SHARES], dim=2)
        loss = cross_entropy(mixed, label[is_scored, None].expand(-1, len(_SHARES)), reduction="none")
        own = group[is_scored]
        losses += [loss[own == number].mean(dim=0) for number in set(own.tolist())]
    if len(losses) < 2:
        return 1.0
    loss = torch.stack(losses)
    worse = loss - loss[:, loss.mean(dim=0).argmin(), None]
    is_good = worse.mean(dim=0) <= worse.std(dim=0) / len(losses) ** 0.5
    return float(_SHARES[is_good].max())


# ---------------------------------------------------------------- names that encoders know


@final
class NameEmbedding(nn.Module):
    """Embeds an item by the names that its encoder scores, whether or not training knows them.

    Each name has a fixed direction, the same in every model; a score with two names has the direction between theirs.
    An item's vector is the sum of the directions, weighted by the square roots of the scores. So the dot product of
    two items of different media is about the Bhattacharyya coefficient of their encoders' scores, and a photo and a
    song of the same species match even if no training item was of that species. Products by chance are about
    `dim` ** -0.5.

    Args:
        count: Number of named scores among an encoder's features.
        dim: Of the vector; a multiple of 8, at most 512.
    """

    column: Tensor
    directions: Tensor

    def __init__(self, count: int, *, dim: int) -> None:
        super().__init__()
        self.register_buffer("column", torch.zeros(count, dtype=torch.int64))
        self.register_buffer("directions", torch.zeros(count, dim))

    def forward(self, features: Float[Tensor, "batch feature"]) -> Float[Tensor, "batch name"]:
        """Return vectors of length 1."""
        return normalize(features[:, self.column] @ self.directions, dim=1)

    def fit(self, named_scores: Mapping[str, int]) -> None:
        """Set columns and directions from the columns of an encoder's named scores (`Encoder.named_scores`)."""
        names: defaultdict[int, list[str]] = defaultdict(list)
        for name, column in named_scores.items():
            names[column].append(normalize_name(name))
        for row, (column, own) in enumerate(sorted(names.items())):
            self.column[row] = column
            self.directions[row] = sum(
                compute_name_direction(name, dim=self.directions.shape[1]) for name in sorted(set(own))
            )
        self.directions.copy_(normalize(self.directions, dim=1))


def compute_name_direction(name: str, *, dim: int) -> Float[Tensor, " name"]:
    """Return one of 2 ** dim directions of length 1, by a hash of a normalized name."""
    digest = hashlib.blake2b(name.encode(), digest_size=dim // 8).digest()
    signs = torch.tensor([2.0 * (byte >> bit & 1) - 1 for byte in digest for bit in range(8)])
    direction: Tensor = signs / dim**0.5
    return direction


def match_names(class_names: Sequence[str], named_scores: Mapping[str, int]) -> Int[Tensor, " class"]:
    """Return the column of each class among an encoder's named scores; -1 for a class it does not know.

    Example:
        >>> match_names(["012.Red_winged_Blackbird", "Dodo"], {"Red-winged Blackbird": 7}).tolist()
        [7, -1]
    """
    column_by_name = {normalize_name(name): column for name, column in named_scores.items()}
    return torch.tensor([column_by_name.get(normalize_name(name), -1) for name in class_names], dtype=torch.int64)
