"""A pretrained image encoder in an ONNX file, run by ONNX Runtime."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, final

import torch
from jaxtyping import Float32
from torch import Tensor

from fieldmark.encoders.activation import Activation, activate
from fieldmark.encoders.encoder import Encoder, FeatureFacts
from fieldmark.encoders.labels import index_names, read_labels
from fieldmark.encoders.onnx_file import find_external_files
from fieldmark.encoders.onnx_graph import open_session, read_first_line, require_output
from fieldmark.encoders.preprocessing import PREPROCESSOR_FILE, ImagePreprocessing, encode_pictures, read_preprocessing
from fieldmark.errors import EncoderFilesError
from fieldmark.types import Segment

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

_KEY = "path"
_BATCH_SIZE = 16


@final
class OnnxImageEncoder:
    """One output of an ONNX graph as the features of images, and, averaged over frames, of video segments.

    The graph has one input of shape (batch, 3, height, width), any batch or 1. On a CPU this is about twice as fast as
    eager PyTorch (ResNet-50: 14.1 against 7.7 images per core-second).

    Args:
        path: The file; weights in files beside it are read and fingerprinted too.
        output: Name of the output that is read; axes after the first are flattened.
        labels: A file that names the classes of the graph's own classifier, as `read_labels` reads it; the square roots
            of their probabilities follow the features. None where it has no classifier, or it is not wanted.
        logits: Name of the classifier's output.
        activation: Function that turns that output into probabilities.
        preprocessing: How pictures are prepared; None reads the `preprocessor_config.json` beside the file.
        segment_seconds: Length of a segment of a video; images ignore it.
        frames_per_segment: Frames averaged in each.
        threads: Processor threads; None leaves the choice to the runtime.

    Raises:
        MissingExtraError: ONNX Runtime is not installed.
        EncoderFilesError: The file is missing, is no such graph, or nothing says how pictures are prepared.
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
        preprocessing: ImagePreprocessing | None = None,
        segment_seconds: float,
        frames_per_segment: int,
        threads: int | None = None,
    ) -> None:
        if not path.is_file():
            raise EncoderFilesError(name=str(path), reason="there is no such file", key=_KEY)
        self._session = open_session(path, threads=threads)
        self._outputs = [require_output(path, self._session, name=output, key="output")]
        if labels is not None:
            self._outputs.append(require_output(path, self._session, name=logits, key="logits"))
        self._activation: Activation = activation
        self._batch_size = _find_batch_size(path, self._session)
        self._preprocessing = preprocessing or read_preprocessing(path.with_name(PREPROCESSOR_FILE), key=_KEY)
        feature_dim, *score_counts = self._try_out(path)
        self._dim = feature_dim + sum(score_counts)
        self._named_scores = (
            index_names(read_labels(labels, count=score_counts[0]), start=feature_dim) if labels else {}
        )
        self.decoding = self._preprocessing.decoding(
            segment_seconds=segment_seconds, frames_per_segment=frames_per_segment
        )
        outside = {f"the weights in '{file.name}'": file for file in find_external_files(path)}
        self.facts = FeatureFacts.collect(
            {
                "kind": "onnx_image",
                "output": output,
                "preprocessing": self._preprocessing,
                "decoding": self.decoding,
                **({"logits": logits} if labels else {}),
                **({"activation": activation} if activation != "softmax" else {}),  # galleries hold older fingerprints
            },
            files={"the graph": path, **outside, **({"the label list": labels} if labels else {})},
            packages=("onnxruntime", "torch"),
        )
        self.fingerprint = self.facts.fingerprint
        # Earlier versions hashed the graph alone, also where its weights lie in other files.
        self.earlier_forms: Mapping[str, Encoder] = (
            {self.facts.leave_out(*outside).fingerprint: self} if outside else {}
        )

    @property
    def shape(self) -> tuple[int]:
        """Dimension of the features."""
        return (self._dim,)

    @property
    def named_scores(self) -> Mapping[str, int]:
        """Index of each of the classifier's scores, by the names in `labels`."""
        return self._named_scores

    def encode(self, segments: Sequence[Segment]) -> Float32[Tensor, "segment dim"]:
        """Return the features of some segments.

        Raises:
            MediumMismatchError: A segment holds neither an image nor frames.
        """
        return encode_pictures(
            segments,
            self._infer,
            preprocessing=self._preprocessing,
            dim=self._dim,
            batch_size=self._batch_size,
        )

    def _infer(self, pixels: Float32[Tensor, "batch 3 height width"]) -> Float32[Tensor, "batch dim"]:
        features, *logits = self._run(pixels)
        return torch.cat([features, *(activate(each, self._activation).sqrt() for each in logits)], dim=1)

    def _run(self, pixels: Float32[Tensor, "batch 3 height width"]) -> list[Float32[Tensor, "batch _output"]]:
        name = self._session.get_inputs()[0].name
        outputs = self._session.run(self._outputs, {name: pixels.numpy()})
        return [torch.from_numpy(each).flatten(1).float() for each in outputs]

    def _try_out(self, path: Path) -> list[int]:
        """Return the output dimensions, found with a black image: a graph need not declare them, nor its input size."""
        try:
            return [each.shape[1] for each in self._run(torch.zeros(1, 3, *self._preprocessing.crop_pixels))]
        except Exception as error:
            reason = f"it does not take pictures of {self._preprocessing.crop_pixels} pixels: {read_first_line(error)}"
            raise EncoderFilesError(name=str(path), reason=reason, key=_KEY) from error


def _find_batch_size(path: Path, session: "InferenceSession") -> int:
    """Return the batch size: 1 if the graph is fixed to it, `_BATCH_SIZE` if the graph leaves it open."""
    match session.get_inputs()[0].shape:
        case [1, _, _, _]:
            return 1
        case [str() | None, _, _, _]:
            return _BATCH_SIZE
        case shape:
            reason = f"its input has the shape {shape}; allowed is (batch, 3, height, width) with any batch or 1"
            raise EncoderFilesError(name=str(path), reason=reason, key=_KEY)
