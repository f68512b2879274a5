"""Pretrained encoders of sound of the `transformers` library: classifiers such as AST, and CLAP."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, final

import torch
from jaxtyping import Float
from torch import Tensor

from fieldmark.encoders.encoder import get_contents, iterate_batches
from fieldmark.encoders.transformer_files import (
    KEY,
    collect_facts,
    describe_joint,
    load_feature_extractor,
    locate_weights,
)
from fieldmark.encoders.transformer_model import FeatureModel
from fieldmark.errors import EncoderFilesError
from fieldmark.types import AudioContent, Decoding, Segment

if TYPE_CHECKING:
    from transformers import SequenceFeatureExtractor

_BATCH_SIZE = 8
_USUAL_SECONDS = 5.0
"""Length of a window for a model that takes sounds of any length."""


@final
class TransformersAudioEncoder:
    """The features of a model of sound for windows, prepared by the model's own feature extractor.

    As `FeatureModel` gives them: behind the features stand the scores of a classifier, or, for a model with two towers
    (CLAP), those of a list of names.

    Args:
        name: A folder in the layout of `transformers`, `package:NAME/FOLDER`, or a name on the model hub.
        allow_download: Whether a hub name that is not in the local cache may be downloaded.
        has_named_scores: Whether a classifier's scores follow the features.
        names: A list of names for a model with two towers to score; None for none.
        prompt: The text that a name is put in, with `{}` for the name.
        window_seconds: Length of a window; None for the model's own, or 5 seconds where it takes any.
        hop_seconds: From the start of one window to the next; None for half of a window.

    Raises:
        MissingExtraError: The library is not installed.
        EncoderFilesError: The files are missing, or are no model of sound with safetensors weights.
    """

    is_costly: ClassVar[bool] = True

    def __init__(  # noqa: PLR0913 - a model, the names that it scores, and its windows
        self,
        name: str,
        *,
        allow_download: bool,
        has_named_scores: bool,
        names: Path | None,
        prompt: str,
        window_seconds: float | None,
        hop_seconds: float | None,
    ) -> None:
        folder = locate_weights(name, allow_download=allow_download)
        self._extractor = load_feature_extractor(name, folder)
        self._rate_hz = int(self._extractor.sampling_rate)
        seconds = window_seconds or _find_window_seconds(self._extractor)
        self.decoding = Decoding(
            sample_rate_hz=self._rate_hz, segment_seconds=seconds, hop_seconds=hop_seconds or seconds / 2
        )
        self._model = FeatureModel(
            name, folder, tower="audio", has_named_scores=has_named_scores, names=names, prompt=prompt
        )
        self._window_length = round(seconds * self._rate_hz)
        self._dim = self._model.try_out(self._prepare([torch.zeros(self._window_length)], name=name), name=name)
        self.facts = collect_facts(
            {"kind": "transformers_audio", "decoding": self.decoding, **self._model.named_facts}, folder
        )
        self.fingerprint = self.facts.fingerprint
        self.joint = describe_joint(folder, dim=self._model.feature_dim) if self._model.is_joint else None

    @property
    def shape(self) -> tuple[int]:
        """Dimension of the features."""
        return (self._dim,)

    @property
    def named_scores(self) -> Mapping[str, int]:
        """Index of the score of each class that the model names."""
        return self._model.named_scores

    def encode(self, segments: Sequence[Segment]) -> Float[Tensor, "segment dim"]:
        """Return the features of some windows of sound.

        Raises:
            MediumMismatchError: A segment holds another medium.
        """
        waveforms = [content.waveform[: self._window_length] for content in get_contents(segments, AudioContent)]
        parts = [self._model.infer(self._prepare(part)) for part in iterate_batches(waveforms, batch_size=_BATCH_SIZE)]
        return torch.cat([torch.empty(0, self._dim), *parts])

    def _prepare(self, waveforms: Sequence[Float[Tensor, " time"]], *, name: str = "") -> dict[str, Tensor]:
        """Return the model's input for some windows; shorter ones are padded with silence."""
        rows = [torch.nn.functional.pad(each, (0, self._window_length - len(each))).numpy() for each in waveforms]
        try:
            return dict(self._extractor(rows, sampling_rate=self._rate_hz, return_tensors="pt"))
        except (TypeError, ValueError, LookupError, RuntimeError, AttributeError) as error:
            reason = f"its feature extractor does not take a window of {self._window_length:,} samples: {error}"
            raise EncoderFilesError(name=name, reason=reason, key=KEY) from error


def _find_window_seconds(extractor: "SequenceFeatureExtractor") -> float:
    """Return the length of sound that an extractor cuts or pads to; `_USUAL_SECONDS` where it takes any."""
    for key in ("max_length_s", "chunk_length", "chunk_length_s"):  # CLAP, Whisper, EnCodec
        if isinstance(seconds := getattr(extractor, key, None), int | float):
            return float(seconds)
    frames = getattr(extractor, "max_length", None)  # AST, which has a frame every 10 milliseconds
    return frames / 100 if isinstance(frames, int) else _USUAL_SECONDS
