"""A pretrained image encoder in an ONNX file, run by ONNX Runtime."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, final

import torch
from jaxtyping import Float32
from torch import Tensor

from fieldmark.encoders.activation import Activation
from fieldmark.encoders.encoder import Encoder, FeatureFacts
from fieldmark.encoders.onnx_graph import FeatureGraph
from fieldmark.encoders.preprocessing import PREPROCESSOR_FILE, ImagePreprocessing, encode_pictures, read_preprocessing
from fieldmark.types import Segment

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
        self._graph = FeatureGraph(
            path, output=output, labels=labels, logits=logits, activation=activation, threads=threads
        )
        self._batch_size = self._graph.find_batch_size(_BATCH_SIZE, axes="(batch, 3, height, width)")
        self._preprocessing = preprocessing or read_preprocessing(path.with_name(PREPROCESSOR_FILE), key=_KEY)
        crop = self._preprocessing.crop_pixels
        self._graph.try_out(torch.zeros(1, 3, *crop), named=f"pictures of {crop} pixels")
        self.decoding = self._preprocessing.decoding(
            segment_seconds=segment_seconds, frames_per_segment=frames_per_segment
        )
        self.facts = FeatureFacts.collect(
            {
                "kind": "onnx_image",
                "output": output,
                "preprocessing": self._preprocessing,
                "decoding": self.decoding,
                **({"logits": logits} if labels else {}),
                **({"activation": activation} if activation != "softmax" else {}),  # galleries hold older fingerprints
            },
            files=self._graph.files,
            packages=("onnxruntime", "torch"),
        )
        self.fingerprint = self.facts.fingerprint
        # Earlier versions hashed the graph alone, also where its weights lie in other files.
        outside = self._graph.outside_files
        self.earlier_forms: Mapping[str, Encoder] = (
            {self.facts.leave_out(*outside).fingerprint: self} if outside else {}
        )

    @property
    def shape(self) -> tuple[int]:
        """Dimension of the features."""
        return (self._graph.dim,)

    @property
    def named_scores(self) -> Mapping[str, int]:
        """Index of each of the classifier's scores, by the names in `labels`."""
        return self._graph.named_scores

    def encode(self, segments: Sequence[Segment]) -> Float32[Tensor, "segment dim"]:
        """Return the features of some segments.

        Raises:
            MediumMismatchError: A segment holds neither an image nor frames.
        """
        return encode_pictures(
            segments,
            self._infer,
            preprocessing=self._preprocessing,
            dim=self._graph.dim,
            batch_size=self._batch_size,
        )

    def _infer(self, pixels: Float32[Tensor, "batch 3 height width"]) -> Float32[Tensor, "batch dim"]:
        return torch.cat(self._graph.infer(pixels), dim=1)
