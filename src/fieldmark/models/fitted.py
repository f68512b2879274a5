"""Parts of the default network that are fitted to features at once: standardization, class logits, known names."""

import hashlib
import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from fieldmark.names import name_key, normalize_name

_LOGGER = logging.getLogger(__name__)

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

_FOLDS, _SHARES = 3, tuple(step / 10 for step in range(11))
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
        """Fit the weights by L-BFGS; of a class without rows nothing is learned, and no other class feels it."""
        rows = rows.double() / rows.shape[1] ** 0.5
        is_met = torch.bincount(label, minlength=len(self.weight)) > 0
        met, label = is_met.nonzero().flatten(), is_met.cumsum(dim=0)[label] - 1
        weight = torch.zeros(len(met), rows.shape[1], dtype=torch.float64, device=rows.device, requires_grad=True)
        bias = torch.zeros(len(met), dtype=torch.float64, device=rows.device, requires_grad=True)
        optimizer = torch.optim.LBFGS([weight, bias], max_iter=200, line_search_fn="strong_wolfe")

        def objective() -> Tensor:
            optimizer.zero_grad()
            loss = cross_entropy(rows @ weight.T + bias, label, reduction="sum")
            total: Tensor = loss + PENALTY * weight.square().sum() / 2
            total.backward()  # type: ignore[no-untyped-call]  # torch declares no types here
            return total.detach()

        optimizer.step(objective)  # type: ignore[no-untyped-call]  # torch declares no types here
        self.weight[met] = weight.detach().to(self.weight)
        self.bias[met] = bias.detach().to(self.bias)


MOST_SPECIES = 8
"""Most scores of an encoder that one class sums: the species that its taxonomy has made of one."""

_UNNAMED = tuple(float(-step) for step in range(9))
"""Values that are tried: added to the logarithm of a learned probability, they stand for a missing named score."""


@final
class NamedScores(nn.Module):
    """The scores that an encoder itself gives to classes it knows by name, and what stands for them elsewhere.

    A classifier trained on far more items than a collection has knows most of its species already: on fgbirds' training
    recordings, BirdNET's scores alone name 87 % of the clips right (26 species, 2026-11-25). With many training rows,
    logits learned from them may be better still: `share` is the weight of the named scores in the mixture of both.

    The unknown is no evidence:

    - A class that the encoder does not know has its learned probability in place of a named score, times a factor that
      is fitted (`unnamed`). So its logit does not depend on the names of other classes, nor theirs on its own.
    - A class without training rows has its named score alone, against those of the other named classes; all of them
      together have the part that is theirs by their number.
    - A class with neither keeps the share that it had before anything was seen, and the others divide the rest.

    Attributes:
        column: The columns of the features whose scores each class sums; -1 in unused places.
        share: Of the named scores; 0 where no class is known.
        unnamed: What is added to the logarithm of a learned probability that stands for a named score.
        is_met: Whether training has rows of a class.
    """

    column: Tensor
    share: Tensor
    unnamed: Tensor
    is_met: Tensor

    def __init__(self, class_count: int) -> None:
        super().__init__()
        self.register_buffer("column", torch.full((class_count, MOST_SPECIES), -1, dtype=torch.int64))
        self.register_buffer("share", torch.zeros(()))
        self.register_buffer("unnamed", torch.zeros(()))
        self.register_buffer("is_met", torch.ones(class_count, dtype=torch.bool))

    def forward(self, features: Float[Tensor, "batch feature"]) -> Float[Tensor, "batch class"]:
        """Return the logarithms of the encoder's class probabilities; features hold their square roots.

        Classes that the encoder does not know have the smallest value.
        """
        score = features[:, self.column.clamp(min=0)].square() * (self.column >= 0)
        return score.sum(dim=2).clamp(min=_SCORE_FLOOR**2).log()

    def mix_with(
        self, learned: Float[Tensor, "batch class"], features: Float[Tensor, "batch feature"], *, weight: float
    ) -> Float[Tensor, "batch class"]:
        """Mix learned class logits with the named scores, whose share is `weight * share`.

        With two classes, the second without rows, and named probabilities 0.8 and 0.2, the result has softmax 0.8 and
        0.2, whatever was learned. With three, the third without rows and without a name, it has .53, .13 and .33. If
        the first has rows and no name, the second a name and no rows, they have 0.5 and 0.5: nothing compares them.
        """
        by_name = self(features)
        mixed = self._mix(learned, by_name, share=weight * self.share)
        is_named = (self.column >= 0).any(dim=1)
        is_known = self.is_met | is_named
        # A class without rows gets the probability of its named score, among the classes that have one. Those without
        # a name are as likely as the others before anything is seen.
        by_name = by_name.masked_fill(~is_named, -torch.inf).log_softmax(dim=1)
        by_name = by_name + (is_named.sum() / is_known.sum()).to(by_name).log()
        is_by_name = is_named & ~self.is_met
        told = by_name.exp().masked_fill(~is_by_name, 0.0).sum(dim=1, keepdim=True).clamp(max=1 - _SCORE_FLOOR)
        met = mixed.masked_fill(~self.is_met, -torch.inf).logsumexp(dim=1, keepdim=True)
        known = torch.where(is_by_name, met - torch.log1p(-told) + by_name, mixed)
        # A class of which nothing is known is as likely as the others in their mean.
        mean = known.masked_fill(~is_known, -torch.inf).logsumexp(dim=1, keepdim=True) - is_known.sum().to(known).log()
        return torch.where(is_known, known, mean)

    def fit(
        self,
        label: Int[Tensor, " row"],
        *,
        column: Int[Tensor, "class species"],
        unnamed: float = 0.0,
    ) -> None:
        """Take the columns that `match_names` found, and note the classes with rows."""
        self.column.copy_(column)
        self.share.fill_(float((column >= 0).any()))
        self.unnamed.fill_(unnamed)
        self.is_met.copy_(torch.bincount(label, minlength=len(column)) > 0)

    def _mix(
        self, learned: Float[Tensor, "batch class"], by_name: Float[Tensor, "batch class"], *, share: Tensor | float
    ) -> Float[Tensor, "batch class"]:
        total = learned.masked_fill(~self.is_met, -torch.inf).logsumexp(dim=1, keepdim=True)
        is_named = (self.column >= 0).any(dim=1)
        return (1 - share) * learned + share * torch.where(is_named, by_name, learned - total + self.unnamed)


@dataclass(frozen=True, slots=True)
class NamedWeights:
    """The two numbers that `fit_named_weights` fits, of `NamedScores`.

    Args:
        is_measured: Whether they were measured on held-out groups, and are not the guess of `guess_share`.
    """

    share: float
    unnamed: float
    is_measured: bool


def fit_named_weights(
    features: Float[Tensor, "row feature"],
    rows: Float[Tensor, "row component"],
    label: Int[Tensor, " row"],
    *,
    group: Int[Tensor, " row"],
    column: Int[Tensor, "class species"],
    linear_weight: float,
) -> NamedWeights:
    """Return the weights of named scores that classify held-out groups best, mixed with a linear classifier.

    Both are fitted on all groups outside a fold and scored on the fold by cross-entropy, each group with equal weight.
    Rows whose class no other group has are skipped. Of the shares within one standard error of the best, the largest
    wins, because named scores were learned from other data and generalize. With fewer than two scored groups, the share
    is that of `guess_share`. `unnamed` is best for classes whose names are taken from them, each in turn.

    Args:
        rows: The features, standardized.
        column: As for `NamedScores.fit`.
        linear_weight: Factor on the linear classifier's logits.
    """
    is_named = (column >= 0).any(dim=1)
    held_out: list[_HeldOut] = []
    fold = group.remainder(_FOLDS)
    for each in range(_FOLDS):
        is_own = fold == each
        has_class = torch.bincount(label[~is_own], minlength=len(column)) > 0
        is_scored = is_own & has_class[label]
        if not is_scored.any():
            continue
        linear, named = LinearClassifier(rows.shape[1], class_count=len(column)).to(rows), NamedScores(len(column))
        linear.fit(rows[~is_own], label[~is_own])
        named.to(rows.device).fit(label[~is_own], column=column)
        learned, by_name = linear_weight * linear(rows[is_scored]), named(features[is_scored])
        learned = learned.masked_fill(~has_class, -torch.inf).log_softmax(dim=1)
        held_out.append(_HeldOut(learned, by_name, label[is_scored], group[is_scored]))
    if sum(len(set(part.group.tolist())) for part in held_out) < 2:
        return NamedWeights(guess_share(features, label, column=column), unnamed=0.0, is_measured=False)
    unnamed = [_fit_unnamed(held_out, share=share, is_named=is_named) for share in _SHARES]
    loss = torch.stack(
        [
            torch.cat([part.measure_loss(share, unnamed=value, is_named=is_named) for part in held_out])
            for share, value in zip(_SHARES, unnamed, strict=True)
        ],
        dim=1,
    )
    worse = loss - loss[:, loss.mean(dim=0).argmin(), None]
    is_good = worse.mean(dim=0) <= worse.std(dim=0) / len(loss) ** 0.5
    best = max(index for index, good in enumerate(is_good.tolist()) if good)
    return NamedWeights(_SHARES[best], unnamed[best], is_measured=True)


@dataclass(frozen=True, slots=True)
class _HeldOut:
    """The rows of a fold: what a classifier of the other folds and the encoder's names say of them.

    Args:
        learned: Logarithms of probabilities; minus infinity for a class that the other folds lack.
    """

    learned: Float[Tensor, "row class"]
    by_name: Float[Tensor, "row class"]
    label: Int[Tensor, " row"]
    group: Int[Tensor, " row"]

    def measure_loss(
        self, share: float, *, unnamed: float, is_named: Bool[Tensor, " class"]
    ) -> Float[Tensor, " group"]:
        """Return the cross-entropy of each group."""
        loss = cross_entropy(self._mix(share, unnamed=unnamed, is_named=is_named), self.label, reduction="none")
        return torch.stack([loss[self.group == number].mean() for number in sorted(set(self.group.tolist()))])

    def measure_hidden(self, share: float, *, unnamed: float, is_named: Bool[Tensor, " class"]) -> float:
        """Return the cross-entropy, summed over groups, with the name of each named class hidden in turn."""
        mixed = self._mix(share, unnamed=unnamed, is_named=is_named)
        told = mixed.logsumexp(dim=1, keepdim=True)
        own = mixed.gather(1, self.label[:, None])
        hidden = (is_named & self.learned.isfinite().any(dim=0)).nonzero().flatten()
        # The probability of the others, and beside it that of the hidden class without a name.
        rest = told + torch.log1p(-(mixed[:, hidden] - told).exp().clamp(max=1 - 1e-6))
        tried = self.learned[:, hidden] + share * unnamed
        loss = torch.logaddexp(rest, tried) - torch.where(self.label[:, None] == hidden, tried, own)
        count = torch.bincount(self.group)[self.group]
        return float((loss / count[:, None]).sum())

    def _mix(self, share: float, *, unnamed: float, is_named: Bool[Tensor, " class"]) -> Float[Tensor, "row class"]:
        is_met = self.learned.isfinite()
        learned = self.learned.masked_fill(~is_met, 0.0)
        mixed = (1 - share) * learned + share * torch.where(is_named, self.by_name, learned + unnamed)
        return mixed.masked_fill(~is_met, -torch.inf)


def guess_share(
    features: Float[Tensor, "row feature"], label: Int[Tensor, " row"], *, column: Int[Tensor, "class species"]
) -> float:
    """Return a share of named scores where no held-out group can tell what the learned classifier is worth.

    The named scores were not learned from these rows, so the rows can tell how often they are right. The share is that
    part of the rows of named classes, every class with equal weight, as far as it exceeds chance, times the part of the
    classes that are named: scores of few classes say little about the others.

    With one group of each of the 26 species of fgbirds for training (mean of three draws, 2026-11-29), photos of other
    groups are named right .95 of the time by the learned classifier alone, .98 with the whole share, .99 with this
    one; sounds .55, .84 and .83. With names of half of the species, .95, .96 and .96, and .55, .58 and .58.
    """
    is_named = (column >= 0).any(dim=1)
    named = is_named.nonzero().flatten()
    is_own = is_named[label]
    if len(named) < 2 or not is_own.any():
        return 0.0  # the score of one class compares it with no other
    scores = NamedScores(len(column)).to(features.device)
    scores.fit(label, column=column)
    is_right = named[scores(features[is_own])[:, named].argmax(dim=1)] == label[is_own]
    count = torch.bincount(label[is_own], minlength=len(column))
    right = torch.bincount(label[is_own], weights=is_right.double(), minlength=len(column))
    accuracy = float((right[count > 0] / count[count > 0]).mean())
    above_chance = max(0.0, (accuracy * len(named) - 1) / (len(named) - 1))
    return above_chance * len(named) / len(column)


def _fit_unnamed(held_out: Sequence[_HeldOut], *, share: float, is_named: Bool[Tensor, " class"]) -> float:
    """Return the value for classes without a name that loses least when each named class is without one in turn."""
    losses = [
        sum(part.measure_hidden(share, unnamed=unnamed, is_named=is_named) for part in held_out) for unnamed in _UNNAMED
    ]
    return _UNNAMED[losses.index(min(losses))]


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

    def embed_columns(self, column: Int[Tensor, " species"]) -> Float[Tensor, " name"]:
        """Return the direction of a class that sums some columns of the features; -1 stands for none."""
        is_own = torch.isin(self.column, column[column >= 0].to(self.column))
        return normalize(self.directions[is_own].sum(dim=0), dim=0)

    def fit(self, named_scores: Mapping[str, int]) -> None:
        """Set columns and directions from the columns of an encoder's named scores (`Encoder.named_scores`)."""
        names: defaultdict[int, list[str]] = defaultdict(list)
        for name, column in named_scores.items():
            names[column].append(name)
        for row, (column, own) in enumerate(sorted(names.items())):
            self.column[row] = column
            self.directions[row] = compute_species_direction(own, dim=self.directions.shape[1])


def compute_species_direction(names: Iterable[str], *, dim: int) -> Float[Tensor, " name"]:
    """Return the direction, of length 1, between those of all names of a species; the order of the names has no effect.

    Args:
        names: One or more, in any spelling.
    """
    own = sorted(set(map(normalize_name, names)))
    return normalize(torch.stack([_compute_name_direction(name, dim=dim) for name in own]).sum(dim=0), dim=0)


def _compute_name_direction(name: str, *, dim: int) -> Float[Tensor, " name"]:
    """Return one of 2 ** dim directions of length 1, by a hash of a normalized name."""
    digest = hashlib.blake2b(name.encode(), digest_size=dim // 8).digest()
    bits = np.unpackbits(np.frombuffer(digest, dtype=np.uint8), bitorder="little")
    direction: Tensor = (2 * torch.from_numpy(bits).float() - 1) / dim**0.5
    return direction


def match_names(names: Sequence[Sequence[str]], named_scores: Mapping[str, int]) -> Int[Tensor, "class species"]:
    """Return the columns of each class among an encoder's named scores, and -1 in unused places.

    Args:
        names: All names of the species that each class stands for; a class of no known species has none.

    Example:
        >>> match_names([["Red-winged Blackbird"], []], {"Red-winged Blackbird": 7})[:, :2].tolist()
        [[7, -1], [-1, -1]]
    """
    columns_by_key: defaultdict[str, list[int]] = defaultdict(list)
    for name, index in named_scores.items():
        columns_by_key[name_key(name)].append(index)
    column = torch.full((len(names), MOST_SPECIES), -1, dtype=torch.int64)
    for label, own in enumerate(names):
        found = dict.fromkeys(index for name in own for index in columns_by_key.get(name_key(name), ()))
        chosen = list(found)[:MOST_SPECIES]
        if len(found) > MOST_SPECIES:
            _LOGGER.warning(
                "The class of %s stands for %d species of an encoder; the scores of the first %d are summed. "
                "Divide it into smaller classes.",
                own[0],
                len(found),
                MOST_SPECIES,
            )
        column[label, : len(chosen)] = torch.tensor(chosen, dtype=torch.int64)
    return column
