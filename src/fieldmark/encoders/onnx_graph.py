"""The inputs and outputs of an ONNX graph, found by running it once."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Shaped

from fieldmark.errors import EncoderFilesError, MissingExtraError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

_KEY = "path"


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


def read_input_shape(path: Path) -> tuple[int | None, ...]:
    """Return the shape of a graph's first input; None for an axis of any length.

    Raises:
        As `describe_graph`.
    """
    return tuple(each if isinstance(each, int) else None for each in _open(path).get_inputs()[0].shape)


def describe_graph(path: Path, *, shape: Sequence[int]) -> tuple[GraphOutput, ...]:
    """Return the outputs of a graph with one input, run on noise of some shape.

    Raises:
        EncoderFilesError: The file is no graph that takes such an input.
        MissingExtraError: ONNX Runtime is not installed.
    """
    session = _open(path)
    noise = np.random.default_rng(0).standard_normal(tuple(shape)).astype(np.float32)
    names = [output.name for output in session.get_outputs()]
    try:
        values = session.run(names, {session.get_inputs()[0].name: noise})
    except Exception as error:  # the runtime's errors have no public class in common
        reason = f"it does not take an input of the shape {tuple(shape)}: {str(error).partition(chr(10))[0]}"
        raise EncoderFilesError(name=str(path), reason=reason, key=_KEY) from error
    return tuple(_describe(name, np.asarray(value)) for name, value in zip(names, values, strict=True))


def _describe(name: str, value: Shaped[np.ndarray, "..."]) -> GraphOutput:
    is_bounded = bool(value.size and value.min() >= 0 and value.max() <= 1)
    return GraphOutput(name, value.size // len(value) if value.ndim else 1, value.ndim == 2, is_bounded)


def _open(path: Path) -> "InferenceSession":
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError(package="onnxruntime", extra="encoders", need=f"The encoder '{path}'") from error
    try:
        return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:
        reason = f"ONNX Runtime refuses it: {str(error).partition(chr(10))[0]}"
        raise EncoderFilesError(name=str(path), reason=reason, key=_KEY) from error
