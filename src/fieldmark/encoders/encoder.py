"""The contract: an encoder takes decoded segments of one medium to what a network reads."""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor

from fieldmark.types import Decoding, Segment


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

    @property
    def named_scores(self) -> Mapping[str, int]:
        """Index in the tensor of the square root of a class's probability, by the class's name.

        An index may have several names, as a common and a scientific one. Empty for an encoder that names no classes.
        """
        ...

    def encode(self, segments: Sequence[Segment]) -> Tensor:
        """Return the tensors of some segments, stacked on axis 0, on the CPU.

        Raises:
            MediumMismatchError: A segment holds another medium than the encoder takes.
        """
        ...
