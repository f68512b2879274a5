"""Several encoders of one medium, joined along their features."""

from collections.abc import Mapping, Sequence
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from fieldmark.encoders.encoder import Encoder
from fieldmark.encoders.reading import hash_parameters
from fieldmark.errors import ConfigError
from fieldmark.types import Decoding, Segment


@final
class ConcatenatedEncoder:
    """The features of several encoders side by side, each times a scale.

    Args:
        encoders: One or more, of one medium; each gives vectors and asks for the same decoding.
        scales: One for each encoder; None for 1 throughout.

    Raises:
        ConfigError: Their decodings differ, one gives other than vectors, or scales are missing.
    """

    def __init__(self, encoders: Sequence[Encoder], *, scales: Sequence[float] | None = None) -> None:
        self._encoders = tuple(encoders)
        self._scales = (1.0,) * len(encoders) if scales is None else tuple(scales)
        self._check()

    @property
    def fingerprint(self) -> str:
        """Changes with each encoder, their order, and the scales."""
        parts = tuple(encoder.fingerprint for encoder in self._encoders)
        return hash_parameters({"kind": "concatenated", "parts": parts, "scales": self._scales})

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
        """Whether any of the encoders is."""
        return any(encoder.is_costly for encoder in self._encoders)

    @property
    def named_scores(self) -> Mapping[str, int]:
        """Named scores of every encoder, by index in the joined features; a shared name belongs to the first encoder.

        An encoder that is scaled has none: what it holds are no square roots of probabilities any more.
        """
        start, indices = 0, dict[str, int]()
        for encoder, scale in zip(self._encoders, self._scales, strict=True):
            if scale == 1:
                indices = {name: start + index for name, index in encoder.named_scores.items()} | indices
            start += encoder.shape[0]
        return indices

    def encode(self, segments: Sequence[Segment]) -> Float[Tensor, "segment dim"]:
        """Return the features of some segments.

        Raises:
            MediumMismatchError: A segment holds another medium than an encoder takes.
        """
        parts = zip(self._encoders, self._scales, strict=True)
        return torch.cat([scale * encoder.encode(segments) for encoder, scale in parts], dim=1)

    def _check(self) -> None:
        if not self._encoders or len(self._scales) != len(self._encoders):
            got, allowed = (
                f"{len(self._scales)} scales for {len(self._encoders)} encoders",
                "one for each, at least one",
            )
            raise _not_joinable(got, allowed=allowed)
        decodings = {encoder.decoding for encoder in self._encoders}
        if len(decodings) > 1:
            got = "; ".join(sorted(map(repr, decodings)))
            raise _not_joinable(got, allowed="one way of decoding for all")
        shapes = [encoder.shape for encoder in self._encoders]
        if any(len(shape) != 1 for shape in shapes):
            raise _not_joinable(f"tensors of the shapes {shapes}", allowed="vectors")


def _not_joinable(got: str, *, allowed: str) -> ConfigError:
    return ConfigError(
        f"The encoders cannot be joined: met {got}; allowed is {allowed}. "
        "Give encoders of one medium that ask for the same sizes, rates and segments."
    )
