"""The contract of a language model that reads texts in windows."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Windows:
    """Texts cut into as many tokens as a model reads at once.

    Args:
        inputs: By the names that the model has for them; the mask of tokens that count is `attention_mask`.
        owner: The position of each window's text.
    """

    inputs: Mapping[str, Tensor]
    owner: Int[Tensor, " window"]


class TextModel(ABC):
    """A language model and its tokens."""

    @property
    @abstractmethod
    def unknown_id(self) -> int | None:
        """The token of what has none of its own; None where there is nothing of the kind."""

    @property
    @abstractmethod
    def longest_tokens(self) -> int:
        """The most tokens that are read at once."""

    @abstractmethod
    def split(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of each text, without those that stand for no part of it."""

    @abstractmethod
    def cut(self, texts: Sequence[str], *, window_tokens: int) -> Windows:
        """Return texts in windows; an empty text has one too."""

    @abstractmethod
    def read(self, inputs: Mapping[str, Tensor]) -> Float[Tensor, "window token dim"]:
        """Return the last hidden state of each token."""
