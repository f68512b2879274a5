"""What an item's features tell by themselves, beside the head that is trained by steps: its class, and its names."""

import hashlib
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

PENALTY = 1 / 30
"""Of a linear classifier's squared weights, beside the summed cross-entropy of rows of length about 1."""

FOLDS, SHARES = 3, torch.linspace(0, 1, 11)
"""Parts of the training rows that are judged by a fit on the others, and the shares that are tried on them."""

SCORE_FLOOR = 1e-3
"""Below it a score counts as this much: what an encoder is surest of must not decide by itself."""


@final
class LinearClassifier(nn.Module):
    """Multinomial logistic regression, fitted at once: where items are few it is better calibrated than a deep head.

    A convex problem, so the fit depends on the rows alone and on no seed. Until fitted, all classes are equally likely.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, input_dim: int, *, class_count: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(class_count, input_dim))
        self.register_buffer("bias", torch.zeros(class_count))

    def forward(self, rows: Float[Tensor, "batch component"]) -> Float[Tensor, "batch class"]:
        """Class scores before softmax; rows have a mean square of 1."""
        scores: Tensor = rows / rows.shape[1] ** 0.5 @ self.weight.T + self.bias
        return scores

    def fit(self, rows: Float[Tensor, "row component"], label: Int[Tensor, " row"]) -> None:
        """Finds the weights by L-BFGS."""
        rows = rows.double() / rows.shape[1] ** 0.5
        weight = torch.zeros_like(self.weight, dtype=torch.float64, requires_grad=True)
        bias = torch.zeros_like(self.bias, dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.LBFGS([weight, bias], max_iter=200, line_search_fn="strong_wolfe")

        def objective() -> Tensor:
            optimizer.zero_grad()
            misfit = cross_entropy(rows @ weight.T + bias, label, reduction="sum")
            total: Tensor = misfit + PENALTY * weight.square().sum() / 2
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
    encoder does not know takes the column that sets its training rows apart best. What else is learned from the
    training rows may judge better still, where they are many: `share` tells how far these scores are to be trusted
    beside it. A class without training rows is known by its name alone.
    """

    column: Tensor
    share: Tensor
    is_met: Tensor

    def __init__(self, class_count: int) -> None:
        super().__init__()
        self.register_buffer("column", torch.zeros(class_count, dtype=torch.int64))
        self.register_buffer("share", torch.zeros(()))
        self.register_buffer("is_met", torch.ones(class_count, dtype=torch.bool))

    def beside(
        self, learned: Float[Tensor, "batch class"], features: Float[Tensor, "batch feature"], *, weight: float
    ) -> Float[Tensor, "batch class"]:
        """Class scores by what was learned from training rows and by these scores, whose share is times a weight."""
        share = weight * self.share
        by_name = self(features)
        mixed = (1 - share) * learned + share * by_name
        # Of a class without rows nothing was learned: it is as likely as its name says, and the others share the rest.
        by_name = by_name.log_softmax(dim=1)
        rest = torch.log1p(
            -by_name.exp().masked_fill(self.is_met, 0.0).sum(dim=1, keepdim=True).clamp(max=1 - SCORE_FLOOR)
        )
        others = mixed.masked_fill(~self.is_met, -torch.inf).logsumexp(dim=1, keepdim=True)
        return torch.where(self.is_met, mixed, others - rest + by_name)

    def forward(self, features: Float[Tensor, "batch feature"]) -> Float[Tensor, "batch class"]:
        """Logarithms of the classes' probabilities by the encoder; features hold their square roots."""
        return 2 * features[:, self.column].clamp(min=SCORE_FLOOR).log()

    def fit(
        self, features: Float[Tensor, "row feature"], label: Int[Tensor, " row"], *, column: Int[Tensor, " class"]
    ) -> None:
        """Takes over the columns that `match_names` found, and finds one for each class without.

        Args:
            column: -1 for a class whose name the encoder does not know.
        """
        known = column[column >= 0]
        self.share.fill_(float(len(known) > 0))
        self.is_met.copy_((torch.bincount(label, minlength=len(column)) > 0) | (column < 0))
        if not len(known):
            return
        log_score = 2 * features.clamp(min=SCORE_FLOOR).log()
        chosen = column.clone()
        for label_without in torch.nonzero(column < 0).flatten().tolist():
            is_own = label == label_without
            if is_own.any() and not is_own.all():
                lift = log_score[is_own].mean(dim=0) - log_score[~is_own].mean(dim=0)
                lift[known] = -torch.inf
                chosen[label_without] = lift.argmax()
        self.column.copy_(chosen.clamp(min=0))


def find_share(
    features: Float[Tensor, "row feature"],
    rows: Float[Tensor, "row component"],
    label: Int[Tensor, " row"],
    *,
    group: Int[Tensor, " row"],
    column: Int[Tensor, " class"],
    linear_weight: float,
) -> float:
    """The share of named scores, beside a linear classifier, by which classes of unmet groups are told best.

    Both are fitted on all groups but some, and judged on these by their cross-entropy, every group alike; rows whose
    class no other group has are left out. Of the shares within one standard error of the best the largest, for named
    scores were learned elsewhere and hold elsewhere; 1 where no two groups are left to judge by.

    Args:
        rows: The features, standardized.
        column: As for `NamedScores.fit`.
        linear_weight: Of the linear classifier's scores where it judges alone.
    """
    count, fold, misfits = len(column), group.remainder(FOLDS), []
    for each in range(FOLDS):
        is_own = fold == each
        has_class = torch.bincount(label[~is_own], minlength=count) > 0
        is_judged = is_own & has_class[label]
        if not is_judged.any():
            continue
        linear, named = LinearClassifier(rows.shape[1], class_count=count).to(rows), NamedScores(count).to(rows)
        linear.fit(rows[~is_own], label[~is_own])
        named.fit(features[~is_own], label[~is_own], column=column)
        by_linear, by_name = linear_weight * linear(rows[is_judged]), named(features[is_judged])
        mixed = torch.stack([(1 - share) * by_linear + share * by_name for share in SHARES], dim=2)
        misfit = cross_entropy(mixed, label[is_judged, None].expand(-1, len(SHARES)), reduction="none")
        own = group[is_judged]
        misfits += [misfit[own == number].mean(dim=0) for number in set(own.tolist())]
    if len(misfits) < 2:
        return 1.0
    misfit = torch.stack(misfits)
    worse = misfit - misfit[:, misfit.mean(dim=0).argmin(), None]
    is_good = worse.mean(dim=0) <= worse.std(dim=0) / len(misfits) ** 0.5
    return float(SHARES[is_good].max())


@final
class NamedPlace(nn.Module):
    """Where an item lies by all the names that its encoder may give it, whether training knows them or not.

    A name has a direction of its own, the same in every model, and a score with two names the one between theirs; an
    item lies where the square roots of its scores draw it. So the product of two items of different media is about
    their Bhattacharyya coefficient, how far their encoders would call them the same, and a photo and a song of a
    species meet that no training item was of. Chance products are about `dim` ** -0.5.

    Args:
        count: Named scores among an encoder's features.
        dim: Of the place; a multiple of 8, at most 512.
    """

    column: Tensor
    directions: Tensor

    def __init__(self, count: int, *, dim: int) -> None:
        super().__init__()
        self.register_buffer("column", torch.zeros(count, dtype=torch.int64))
        self.register_buffer("directions", torch.zeros(count, dim))

    def forward(self, features: Float[Tensor, "batch feature"]) -> Float[Tensor, "batch place"]:
        """Places of length 1."""
        return normalize(features[:, self.column] @ self.directions, dim=1)

    def fit(self, named_scores: Mapping[str, int]) -> None:
        """Takes over where an encoder's features hold the scores of which names, as `Encoder.named_scores` tells."""
        names: defaultdict[int, list[str]] = defaultdict(list)
        for name, column in named_scores.items():
            names[column].append(plain_name(name))
        for place, (column, own) in enumerate(sorted(names.items())):
            self.column[place] = column
            self.directions[place] = sum(
                name_direction(name, dim=self.directions.shape[1]) for name in sorted(set(own))
            )
        self.directions.copy_(normalize(self.directions, dim=1))


def name_direction(name: str, *, dim: int) -> Float[Tensor, " place"]:
    """One of 2 ** dim directions of length 1, by a hash of a plain name."""
    digest = hashlib.blake2b(name.encode(), digest_size=dim // 8).digest()
    signs = torch.tensor([2.0 * (byte >> bit & 1) - 1 for byte in digest for bit in range(8)])
    direction: Tensor = signs / dim**0.5
    return direction


def match_names(class_names: Sequence[str], named_scores: Mapping[str, int]) -> Int[Tensor, " class"]:
    """The column of each class among the scores that an encoder names; -1 for a class it does not know.

    Example:
        >>> match_names(["012.Red_winged_Blackbird", "Dodo"], {"Red-winged Blackbird": 7}).tolist()
        [7, -1]
    """
    column_by_name = {plain_name(name): column for name, column in named_scores.items()}
    return torch.tensor([column_by_name.get(plain_name(name), -1) for name in class_names], dtype=torch.int64)


def plain_name(name: str) -> str:
    """A species' name without what spellings differ in: case, hyphens, numbers, the possessive, "grey" for "gray".

    Example:
        >>> plain_name("Swainson's_Warbler"), plain_name("045.Grey-crowned_Rosy_Finch")
        ('swainson warbler', 'gray crowned rosy finch')
    """
    words = re.findall(r"[^\W\d_]+", re.sub(r"['\u2019](s\b)?", "", name.casefold().replace("_", " ")))
    return " ".join("gray" if word == "grey" else word for word in words)
