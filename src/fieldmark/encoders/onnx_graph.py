"""An ONNX graph: its inputs and outputs, found by running it once, and its features and scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, final

import numpy as np
import torch
from jaxtyping import Float32, Shaped
from torch import Tensor

from fieldmark.encoders.activation import Activation, activate
from fieldmark.encoders.labels import index_names, read_labels
from fieldmark.encoders.onnx_file import find_external_files
from fieldmark.errors import EncoderFilesError, MissingExtraError, read_first_line, suggest_nearest

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

_KEY = "path"
REAL, HALF = "tensor(float)", "tensor(float16)"
"""The runtime's names of real numbers of 32 and 16 bits."""


@dataclass(frozen=True, slots=True)
class GraphOutput:
    """One output of a graph.

    Args:
        size: Numbers for each input.
        is_vector: Whether they lie on one axis.
        holds_probabilities: Whether they lay between 0 and 1 for noise.
    """

    name: str
    size: int
    is_vector: bool
    holds_probabilities: bool


@dataclass(frozen=True, slots=True)
class GraphInput:
    """The first input of a graph.

    Args:
        shape: None for an axis of any length.
        is_real: Whether it takes real numbers, as pictures and sounds are; token ids are whole ones.
    """

    shape: tuple[int | None, ...]
    is_real: bool


def read_input(path: Path) -> GraphInput:
    """Return the first input of a graph.

    Raises:
        As `describe_graph`.
    """
    taken = open_session(path).get_inputs()[0]
    shape = tuple(each if isinstance(each, int) else None for each in taken.shape)
    return GraphInput(shape, taken.type in (REAL, HALF))


def describe_graph(path: Path, *, shape: Sequence[int]) -> tuple[GraphOutput, ...]:
    """Return the outputs of a graph with one input, run on noise of some shape.

    Raises:
        EncoderFilesError: The file is no graph that takes such an input.
        MissingExtraError: ONNX Runtime is not installed.
    """
    session = open_session(path)
    is_half = session.get_inputs()[0].type == HALF
    noise = np.random.default_rng(0).standard_normal(tuple(shape)).astype(np.float16 if is_half else np.float32)
    names = [output.name for output in session.get_outputs()]
    try:
        values = session.run(names, {session.get_inputs()[0].name: noise})
    except Exception as error:  # the runtime's errors have no public class in common
        reason = f"it does not take an input of the shape {tuple(shape)}: {read_first_line(error)}"
        raise EncoderFilesError(name=str(path), reason=reason, key=_KEY) from error
    return tuple(_describe(name, np.asarray(value)) for name, value in zip(names, values, strict=True))


def _describe(name: str, value: Shaped[np.ndarray, "..."]) -> GraphOutput:
    is_bounded = bool(value.size and value.min() >= 0 and value.max() <= 1)
    return GraphOutput(name, value.size // len(value) if value.ndim else 1, value.ndim == 2, is_bounded)


@final
class FeatureGraph:
    """A graph of one input: one output is read as features, and with labels another as the scores of its classes.

    Args:
        path: The file; weights in files beside it belong to it.
        output: Name of the output with the features; axes after the first are flattened.
        labels: A file that names the classes of the graph's own classifier, as `read_labels` reads it; None for none.
        logits: Name of the classifier's output.
        activation: Function that turns that output into probabilities.
        threads: Processor threads; None leaves the choice to the runtime.

    Raises:
        MissingExtraError: ONNX Runtime is not installed.
        EncoderFilesError: The file is missing, or has no such outputs.
    """

    def __init__(
        self,
        path: Path,
        *,
        output: str,
        labels: Path | None,
        logits: str,
        activation: Activation,
        threads: int | None = None,
    ) -> None:
        if not path.is_file():
            raise EncoderFilesError(name=str(path), reason="there is no such file", key=_KEY)
        self._path = path
        self._labels = labels
        self._session = open_session(path, threads=threads)
        self._outputs = [_require_output(path, self._session, name=output, key="output")]
        if labels is not None:
            self._outputs.append(_require_output(path, self._session, name=logits, key="logits"))
        self._activation: Activation = activation
        self.dim = 0
        """Of features and scores together, once the graph was tried out."""
        self.named_scores: Mapping[str, int] = {}
        self.outside_files = {f"the weights in '{file.name}'": file for file in find_external_files(path)}

    @property
    def files(self) -> dict[str, Path]:
        """The files that the features depend on, by what each is."""
        own = {"the graph": self._path, **self.outside_files}
        return own if self._labels is None else {**own, "the label list": self._labels}

    def find_batch_size(self, most: int, *, axes: str) -> int:
        """Return the batch size: 1 if the graph is fixed to it, `most` if the graph leaves it open.

        Args:
            axes: Of the input that is wanted, such as "(batch, samples)".

        Raises:
            EncoderFilesError: The graph has another input.
        """
        shape = self._session.get_inputs()[0].shape
        if len(shape) == len(axes.split(",")) and (shape[0] == 1 or not isinstance(shape[0], int)):
            return 1 if shape[0] == 1 else most
        reason = f"its input has the shape {shape}; allowed is {axes} with any batch or 1"
        raise EncoderFilesError(name=str(self._path), reason=reason, key=_KEY)

    def try_out(self, values: Float32[Tensor, "1 ..."], *, named: str) -> None:
        """Find the dimension of the output and the index of each score: a graph need not declare them.

        Args:
            named: The input, in words for a message.

        Raises:
            EncoderFilesError: The graph does not take this input, or the labels are of another number.
        """
        try:
            feature_dim, *score_counts = (each.shape[1] for each in self._run(values))
        except Exception as error:  # the runtime's errors have no public class in common
            reason = f"it does not take {named}: {read_first_line(error)}"
            raise EncoderFilesError(name=str(self._path), reason=reason, key=_KEY) from error
        self.dim = feature_dim + sum(score_counts)
        if self._labels is not None:
            self.named_scores = index_names(read_labels(self._labels, count=score_counts[0]), start=feature_dim)

    def infer(
        self, values: Float32[Tensor, "batch ..."]
    ) -> tuple[Float32[Tensor, "batch feature"], Float32[Tensor, "batch class"]]:
        """Return the features, and the square roots of the probabilities of classes, of which there may be none."""
        features, *logits = self._run(values)
        scores = [activate(each, self._activation).sqrt() for each in logits]
        return features, torch.cat([features.new_empty(len(features), 0), *scores], dim=1)

    def _run(self, values: Float32[Tensor, "batch ..."]) -> list[Float32[Tensor, "batch _output"]]:
        taken = self._session.get_inputs()[0]
        fed = values.numpy().astype(np.float16 if taken.type == HALF else np.float32, copy=False)
        outputs = self._session.run(self._outputs, {taken.name: fed})
        return [torch.from_numpy(np.asarray(each, dtype=np.float32)).flatten(1) for each in outputs]


def open_session(path: Path, *, threads: int | None = None) -> "InferenceSession":
    """Return a graph that is ready to run on the processor.

    Args:
        threads: Processor threads; None leaves the choice to the runtime.

    Raises:
        EncoderFilesError: The file is no graph that the runtime can run.
        MissingExtraError: ONNX Runtime is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError(package="onnxruntime", extra="encoders", need=f"The encoder '{path}'") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's errors have no public class in common
        reason = f"ONNX Runtime refuses it: {read_first_line(error)}"
        raise EncoderFilesError(name=str(path), reason=reason, key=_KEY) from error


def _require_output(path: Path, session: "InferenceSession", *, name: str, key: str) -> str:
    """Return the name of an output that a graph has.

    Args:
        key: Config key that holds the name, for the message.

    Raises:
        EncoderFilesError: It has no output of this name.
    """
    outputs = [output.name for output in session.get_outputs()]
    if name not in outputs:
        reason = f"it has no output '{name}', only {', '.join(outputs)}.{suggest_nearest(name, outputs)}".rstrip(".")
        raise EncoderFilesError(name=str(path), reason=reason, key=key)
    return name
