"""A pretrained encoder of sound in an ONNX file, such as BirdNET 3 or Perch 2, run by ONNX Runtime."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, final

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor
from torch.nn.functional import normalize, pad

from fieldmark.encoders.activation import Activation, activate
from fieldmark.encoders.encoder import FeatureFacts, get_contents, iterate_batches
from fieldmark.encoders.labels import index_names, read_labels
from fieldmark.encoders.onnx_file import find_external_files
from fieldmark.encoders.onnx_graph import HALF, open_session, read_first_line, require_output
from fieldmark.errors import EncoderFilesError
from fieldmark.types import AudioContent, Decoding, Segment

_KEY = "path"
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
        if not path.is_file():
            raise EncoderFilesError(name=str(path), reason="there is no such file", key=_KEY)
        self._session = open_session(path)
        self._outputs = [require_output(path, self._session, name=output, key="output")]
        if labels is not None:
            self._outputs.append(require_output(path, self._session, name=logits, key="logits"))
        self._activation: Activation = activation
        self._window_length = round(sample_rate_hz * window_seconds)
        self._batch_size = self._find_batch_size(path)
        feature_dim, *score_counts = self._try_out(path)
        self._dim = feature_dim + sum(score_counts)
        self._named_scores = (
            index_names(read_labels(labels, count=score_counts[0]), start=feature_dim) if labels else {}
        )
        self.decoding = Decoding(sample_rate_hz=sample_rate_hz, segment_seconds=window_seconds, hop_seconds=hop_seconds)
        outside = {f"the weights in '{file.name}'": file for file in find_external_files(path)}
        self.facts = FeatureFacts.collect(
            {
                "kind": "onnx_audio",
                "output": output,
                "decoding": self.decoding,
                **({"logits": logits, "activation": activation} if labels else {}),
            },
            files={"the graph": path, **outside, **({"the label list": labels} if labels else {})},
            packages=("onnxruntime", "torch"),
        )
        self.fingerprint = self.facts.fingerprint

    @property
    def shape(self) -> tuple[int]:
        """Dimension of the features."""
        return (self._dim,)

    @property
    def named_scores(self) -> Mapping[str, int]:
        """Index of each of the classifier's scores, by the names in `labels`."""
        return self._named_scores

    def encode(self, segments: Sequence[Segment]) -> Float32[Tensor, "segment dim"]:
        """Return the features of some windows of sound.

        Raises:
            MediumMismatchError: A segment holds another medium.
        """
        waveforms = [content.waveform[: self._window_length] for content in get_contents(segments, AudioContent)]
        windows = [pad(waveform, (0, self._window_length - len(waveform))) for waveform in waveforms]
        parts = [self._infer(torch.stack(list(part))) for part in iterate_batches(windows, batch_size=self._batch_size)]
        return torch.cat([torch.empty(0, self._dim), *parts])

    def _infer(self, windows: Float32[Tensor, "batch time"]) -> Float32[Tensor, "batch dim"]:
        features, *logits = self._run(windows)
        scores = [activate(each, self._activation).sqrt() for each in logits]
        return torch.cat([normalize(features, dim=1), *scores], dim=1)

    def _run(self, windows: Float32[Tensor, "batch time"]) -> list[Float32[Tensor, "batch _output"]]:
        taken = self._session.get_inputs()[0]
        values = windows.numpy().astype(np.float16 if taken.type == HALF else np.float32)
        outputs = self._session.run(self._outputs, {taken.name: values})
        return [torch.from_numpy(np.asarray(each, dtype=np.float32)).flatten(1) for each in outputs]

    def _try_out(self, path: Path) -> list[int]:
        """Return the output dimensions, found with silence: a graph need not declare them."""
        try:
            return [each.shape[1] for each in self._run(torch.zeros(1, self._window_length))]
        except Exception as error:  # the runtime's errors have no public class in common
            reason = f"it does not take windows of {self._window_length:,} samples: {read_first_line(error)}"
            raise EncoderFilesError(name=str(path), reason=reason, key=_KEY) from error

    def _find_batch_size(self, path: Path) -> int:
        """Return the batch size: 1 if the graph is fixed to it, `_BATCH_SIZE` if the graph leaves it open."""
        match self._session.get_inputs()[0].shape:
            case [1, _]:
                return 1
            case [str() | None, _]:
                return _BATCH_SIZE
            case shape:
                reason = f"its input has the shape {shape}; allowed is (batch, samples) with any batch or 1"
                raise EncoderFilesError(name=str(path), reason=reason, key=_KEY)
