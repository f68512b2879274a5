"""The inputs and outputs of an ONNX graph, found by running it once."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Shaped

from fieldmark.errors import EncoderFilesError, MissingExtraError, suggest_nearest

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


def require_output(path: Path, session: "InferenceSession", *, name: str, key: str) -> str:
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


def read_first_line(error: Exception) -> str:
    """Return the first line of a message; the runtime's others tell of its own code."""
    return str(error).partition("\n")[0]
