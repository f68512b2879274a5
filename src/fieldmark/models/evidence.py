"""How likely each class is by an item's features themselves: beside the head that is trained by steps."""

import re
from collections.abc import Mapping, Sequence
from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

PENALTY = 1 / 30
"""Of a linear classifier's squared weights, beside the summed cross-entropy of rows of length about 1."""

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
    encoder does not know takes the column that sets its training rows apart best; `share` tells how many need none.
    """

    column: Tensor
    share: Tensor

    def __init__(self, class_count: int) -> None:
        super().__init__()
        self.register_buffer("column", torch.zeros(class_count, dtype=torch.int64))
        self.register_buffer("share", torch.zeros(()))

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
        self.share.fill_(len(known) / len(column))
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
