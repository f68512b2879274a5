"""The contract: a network maps encoder outputs of all media to embeddings and class logits."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fieldmark.errors import MediumNotSupportedError
from fieldmark.types import Medium, MediumBatch

_Part = TypeVar("_Part", bound=nn.Module)


class Network(nn.Module, ABC):
    """The trained part: encoder outputs of all media to embeddings in one space, and class logits."""

    @property
    @abstractmethod
    def dim(self) -> int:
        """Dimension of the embedding."""

    @property
    def training_dim(self) -> int:
        """Dimension of the embedding in training, which the losses see."""
        return self.dim

    @property
    @abstractmethod
    def class_count(self) -> int:
        """Number of classes the logits score."""

    @abstractmethod
    def forward(
        self, inputs: Tensor, medium: Medium
    ) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, "batch class"]]:
        """Return embeddings of length 1 and logits of the rows of one medium."""

    @abstractmethod
    def forward_together(
        self, parts: Sequence[MediumBatch]
    ) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, "batch class"]]:
        """Return the same for all rows of a training step, part after part; the parts may share batch statistics."""


def get_part(parts: nn.ModuleDict, medium: Medium, kind: type[_Part]) -> _Part:
    """Return a medium's part of a network; a `ModuleDict` forgets of which class its modules are.

    Raises:
        MediumNotSupportedError: There is none for this medium.
    """
    if medium not in parts:
        raise MediumNotSupportedError(medium=medium, supported=list(parts))
    part = parts[medium]
    assert isinstance(part, kind)  # noqa: S101 - each dict has one class of modules
    return part


def forward_each(
    network: Network, parts: Sequence[MediumBatch]
) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, "batch class"]]:
    """Return embeddings and logits of all rows, part after part; each part is computed by itself."""
    results = [network(part.inputs, part.medium) for part in parts]
    return torch.cat([embedding for embedding, _ in results]), torch.cat([logits for _, logits in results])


def read_lengths(state: Mapping[str, Tensor], key: str) -> dict[Medium, int]:
    """Return the length of a tensor of each medium in a state dict; media without it are missing.

    Args:
        key: With {} in place of the medium.
    """
    names = {medium: key.format(medium.value) for medium in Medium}
    return {medium: len(state[name]) for medium, name in names.items() if name in state}
