"""A pretrained encoder of sound in an ONNX file, such as BirdNET 3 or Perch 2, run by ONNX Runtime."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, final

import torch
from jaxtyping import Float32
from torch import Tensor
from torch.nn.functional import normalize, pad

from fieldmark.encoders.activation import Activation
from fieldmark.encoders.encoder import FeatureFacts, get_contents, iterate_batches
from fieldmark.encoders.onnx_graph import FeatureGraph
from fieldmark.types import AudioContent, Decoding, Segment

_BATCH_SIZE = 8


@final
class OnnxAudioEncoder:
    """One output of an ONNX graph as the features of a window of sound, of length 1, and its scores of species.

    The graph has one input of shape (batch, samples), any batch or 1: a waveform from -1 to 1. A shorter sound is
    padded with silence.

    Args:
        path: The file; weights in files beside it are read and fingerprinted too.
        output: Name of the output that is read; axes after the first are flattened.
        labels: A file that names the classes of the graph's own classifier, as `read_labels` reads it; the square roots
            of their probabilities follow the features. None where it has no classifier, or it is not wanted.
        logits: Name of the classifier's output.
        activation: Function that turns that output into probabilities.
        sample_rate_hz: Of the sounds that the graph was trained on.
        window_seconds: Length of a window.
        hop_seconds: From the start of one window to the next.

    Raises:
        MissingExtraError: ONNX Runtime is not installed.
        EncoderFilesError: The file is missing, or is no such graph.
    """

    is_costly: ClassVar[bool] = True

    def __init__(  # noqa: PLR0913 - what one file needs to be read
        self,
        path: Path,
        *,
        output: str,
        labels: Path | None,
        logits: str,
        activation: Activation,
        sample_rate_hz: int,
        window_seconds: float,
        hop_seconds: float,
    ) -> None:
        self._graph = FeatureGraph(path, output=output, labels=labels, logits=logits, activation=activation)
        self._batch_size = self._graph.find_batch_size(_BATCH_SIZE, axes="(batch, samples)")
        self._window_length = round(sample_rate_hz * window_seconds)
        self._graph.try_out(torch.zeros(1, self._window_length), named=f"windows of {self._window_length:,} samples")
        self.decoding = Decoding(sample_rate_hz=sample_rate_hz, segment_seconds=window_seconds, hop_seconds=hop_seconds)
        self.facts = FeatureFacts.collect(
            {
                "kind": "onnx_audio",
                "output": output,
                "decoding": self.decoding,
                **({"logits": logits, "activation": activation} if labels else {}),
            },
            files=self._graph.files,
            packages=("onnxruntime", "torch"),
        )
        self.fingerprint = self.facts.fingerprint

    @property
    def shape(self) -> tuple[int]:
        """Dimension of the features."""
        return (self._graph.dim,)

    @property
    def named_scores(self) -> Mapping[str, int]:
        """Index of each of the classifier's scores, by the names in `labels`."""
        return self._graph.named_scores

    def encode(self, segments: Sequence[Segment]) -> Float32[Tensor, "segment dim"]:
        """Return the features of some windows of sound.

        Raises:
            MediumMismatchError: A segment holds another medium.
        """
        waveforms = [content.waveform[: self._window_length] for content in get_contents(segments, AudioContent)]
        windows = [pad(waveform, (0, self._window_length - len(waveform))) for waveform in waveforms]
        parts = [self._infer(torch.stack(list(part))) for part in iterate_batches(windows, batch_size=self._batch_size)]
        return torch.cat([torch.empty(0, self._graph.dim), *parts])

    def _infer(self, windows: Float32[Tensor, "batch time"]) -> Float32[Tensor, "batch dim"]:
        features, scores = self._graph.infer(windows)
        return torch.cat([normalize(features, dim=1), scores], dim=1)
