"""Names of species that encoders know: matched to class names, and embedded so that media meet in them."""

import hashlib
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import normalize


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


def normalize_name(name: str) -> str:
    """Return a species' name without the usual differences: case, hyphens, numbers, possessives, "grey" for "gray".

    Example:
        >>> normalize_name("Swainson's_Warbler"), normalize_name("045.Grey-crowned_Rosy_Finch")
        ('swainson warbler', 'gray crowned rosy finch')
    """
    words = re.findall(r"[^\W\d_]+", re.sub(r"['\u2019](s\b)?", "", name.casefold().replace("_", " ")))
    return " ".join("gray" if word == "grey" else word for word in words)
