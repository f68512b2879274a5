"""Several encoders of one medium, joined along their features."""

from collections.abc import Mapping, Sequence
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from fieldmark.encoders.encoder import Encoder, hash_parameters
from fieldmark.errors import ConfigError
from fieldmark.types import Decoding, Segment


@final
class ConcatenatedEncoder:
    """Concatenates the features of several encoders.

    Args:
        encoders: One or more, of one medium; each gives vectors and asks for the same decoding.

    Raises:
        ConfigError: There is none, their decodings differ, or one gives other than vectors.
    """

    def __init__(self, encoders: Sequence[Encoder]) -> None:
        self._encoders = tuple(encoders)
        self._check()

    @property
    def fingerprint(self) -> str:
        """Changes with each encoder and their order."""
        parts = tuple(encoder.fingerprint for encoder in self._encoders)
        # Earlier versions had a scale for each encoder, always 1; galleries hold fingerprints with it.
        return hash_parameters({"kind": "concatenated", "parts": parts, "scales": (1.0,) * len(parts)})

    @property
    def decoding(self) -> Decoding:
        """That of every encoder."""
        return self._encoders[0].decoding

    @property
    def shape(self) -> tuple[int]:
        """Sum of the dimensions."""
        return (sum(encoder.shape[0] for encoder in self._encoders),)

    @property
    def is_costly(self) -> bool:
        """True if any of the encoders is costly."""
        return any(encoder.is_costly for encoder in self._encoders)

    @property
    def named_scores(self) -> Mapping[str, int]:
        """Named scores of every encoder, by index in the joined features; the first encoder has a shared name."""
        start, indices = 0, dict[str, int]()
        for encoder in self._encoders:
            indices = {name: start + index for name, index in encoder.named_scores.items()} | indices
            start += encoder.shape[0]
        return indices

    def encode(self, segments: Sequence[Segment]) -> Float[Tensor, "segment dim"]:
        """Return the features of some segments.

        Raises:
            MediumMismatchError: A segment holds another medium than an encoder takes.
        """
        return torch.cat([encoder.encode(segments) for encoder in self._encoders], dim=1)

    def _check(self) -> None:
        if not self._encoders:
            raise _not_joinable("no encoder", allowed="one or more")
        decodings = {encoder.decoding for encoder in self._encoders}
        if len(decodings) > 1:
            got = "; ".join(sorted(map(repr, decodings)))
            raise _not_joinable(got, allowed="one way of decoding for all")
        shapes = [encoder.shape for encoder in self._encoders]
        if any(len(shape) != 1 for shape in shapes):
            raise _not_joinable(f"tensors of the shapes {shapes}", allowed="vectors")


def _not_joinable(got: str, *, allowed: str) -> ConfigError:
    return ConfigError(
        f"The encoders cannot be joined: got {got}, but need {allowed}. "
        "Give encoders of one medium with the same sizes, sample rates and segments."
    )
