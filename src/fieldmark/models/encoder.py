"""The contracts: an encoder takes decoded segments to what a network reads, a network takes that to embeddings."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor, nn

from fieldmark.types import Decoding, Medium, MediumBatch, Segment


@runtime_checkable
class Encoder(Protocol):
    """One medium's way into the network: segments in, one tensor for each out; nothing in it is trained.

    The same segment gives the same tensor whatever else is in the call, up to float rounding.
    """

    @property
    def fingerprint(self) -> str:
        """Changes whenever the tensors may change: weights, preprocessing, sizes."""
        ...

    @property
    def decoding(self) -> Decoding:
        """How the medium is to be decoded and cut before it comes here."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor of one segment."""
        ...

    @property
    def is_costly(self) -> bool:
        """Whether the tensors are worth keeping on disk: true of pretrained encoders."""
        ...

    def encode(self, segments: Sequence[Segment]) -> Tensor:
        """The tensors of some segments, stacked on axis 0, on the CPU.

        Raises:
            MediumMismatchError: A segment holds another medium than the encoder takes.
        """
        ...


class Network(nn.Module, ABC):
    """The trained part: what the encoders of all media give, to one shared space."""

    @property
    @abstractmethod
    def dim(self) -> int:
        """Dimension of the embedding."""

    @property
    @abstractmethod
    def class_count(self) -> int:
        """Number of classes the logits score."""

    @abstractmethod
    def forward(
        self, inputs: Tensor, medium: Medium
    ) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, "batch class"]]:
        """Embeddings of length 1 and logits of the rows of one medium."""

    @abstractmethod
    def forward_together(
        self, parts: Sequence[MediumBatch]
    ) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, "batch class"]]:
        """The same for the rows of a training step, part after part; a network may let them share statistics."""
