"""The verb `checkpoint export --onnx`: the network of each medium to an ONNX file, checked against the network."""

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from fieldmark._version import __version__
from fieldmark.build import Model, load_model
from fieldmark.errors import ConfigError, MissingExtraError, TrainingError
from fieldmark.io import encode_report
from fieldmark.models.completed_space import CompletedSpace
from fieldmark.models.network import Network
from fieldmark.models.ready import ReadySpace
from fieldmark.models.shared_space import SharedSpace
from fieldmark.reports.model_card import make_portable_config
from fieldmark.training.checkpoint import write_durably
from fieldmark.types import Medium

if TYPE_CHECKING:
    from onnx import ModelProto

_INPUT_NAME = "inputs"
_OUTPUT_NAMES = ("embedding", "logits")
_DESCRIPTION_NAME = "export.json"
TOLERANCE = 1e-4
"""Largest difference between ONNX Runtime and torch, embeddings of length 1, logits as a share of the largest."""
_TRIED_ROWS = 3


@dataclass(frozen=True, slots=True)
class OnnxFile:
    """The network of one medium as a file.

    Args:
        shape: Of one segment's input, without the batch.
        largest_difference: Between its embeddings and logits and those of torch, on random inputs.
    """

    medium: Medium
    path: Path
    dtype: str
    shape: tuple[int, ...]
    largest_difference: float

    json_keys: ClassVar = (
        "file=path.name",
        "dtype",
        "shape",
        "largest_difference",
    )


@dataclass(frozen=True, slots=True)
class OnnxReport:
    """The files that were exported."""

    folder: Path
    files: tuple[OnnxFile, ...]

    def json_values(self) -> dict[str, object]:
        """Return the values of the JSON object, by key."""
        return {"folder": self.folder, "files": {file.medium: file for file in self.files}}

    def to_text(self) -> str:
        """Return a line for each file."""
        lines = [
            f"{file.path}: {file.dtype} {list(file.shape)}, differs from torch by at most {file.largest_difference:.1e}"
            for file in self.files
        ]
        return "\n".join([*lines, f"{self.folder / _DESCRIPTION_NAME} describes its inputs and outputs"])


def export_onnx(checkpoint: Path | str, *, folder: Path | str) -> OnnxReport:
    """Write the network of each medium as `MEDIUM.onnx`, for any number of rows, and check it against torch.

    The input of a network is the output of its encoder: pixels or symbols for FGCrossNet, features for the shared
    space.
    `export.json` describes inputs, outputs and classes.

    Raises:
        CheckpointError: There is no usable checkpoint.
        ConfigError: The model has a space without training, which is not written as ONNX.
        MissingExtraError: The packages that write and run ONNX are not installed.
        TrainingError: A file does not give what the network gives.
    """
    model, folder = load_model(checkpoint, device=torch.device("cpu")), Path(folder)
    if isinstance(model.network, ReadySpace | CompletedSpace):
        raise ConfigError(
            f"The checkpoint '{checkpoint}' has a space without training, of what its encoders say, which is not "
            "written as ONNX. Train with labels for every item, or use --pretrained, which writes any model."
        )
    files = tuple(_export_medium(model, medium, folder=folder) for medium in model.media)
    report = OnnxReport(folder, files)
    description = {
        **encode_report(report),
        "folder": ".",
        "fieldmark": __version__,
        "fingerprint": model.fingerprint,
        "input": _INPUT_NAME,
        "outputs": list(_OUTPUT_NAMES),
        "dim": model.network.dim,
        "class_names": list(model.class_names),
        "config": make_portable_config(model),
    }
    write_durably(folder / _DESCRIPTION_NAME, json.dumps(description, indent=2, ensure_ascii=False).encode() + b"\n")
    return report


@final
class _OneMedium(nn.Module):
    """A network for rows of one medium, which is not an input of the graph."""

    def __init__(self, network: Network, medium: Medium) -> None:
        super().__init__()
        self._network = network
        self._medium = medium

    def forward(self, inputs: Tensor) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, "batch class"]]:
        """Return embeddings and logits."""
        result: tuple[Tensor, Tensor] = self._network(inputs, self._medium)
        return result


def _export_medium(model: Model, medium: Medium, *, folder: Path) -> OnnxFile:
    network = _OneMedium(model.network, medium).eval()
    tried = _random_inputs(model, medium)
    payload = _to_onnx(network, tried).SerializeToString()
    difference = _compare(network, payload, tried)
    if not difference <= TOLERANCE:
        raise TrainingError(
            f"The exported network for {medium.value} differs from the original by {difference:.3g}; allowed is "
            f"{TOLERANCE:.3g}. Nothing was written for it. Install other versions of onnxscript and onnxruntime."
        )
    path = folder / f"{medium.value}.onnx"
    write_durably(path, payload)
    return OnnxFile(medium, path, str(tried.dtype).removeprefix("torch."), tuple(tried.shape[1:]), difference)


def _random_inputs(model: Model, medium: Medium) -> Tensor:
    """Return rows of the type and size that the network reads."""
    generator = torch.Generator().manual_seed(0)
    if isinstance(model.network, SharedSpace):
        return torch.randn(_TRIED_ROWS, model.network.input_dims[medium], generator=generator)
    values = 64 if medium is Medium.TEXT else 256
    shape = (_TRIED_ROWS, *model.encoder(medium).shape)
    return torch.randint(values, shape, generator=generator, dtype=torch.uint8)


def _to_onnx(network: nn.Module, inputs: Tensor) -> "ModelProto":
    try:
        import onnxscript  # noqa: F401 - torch asks for it late, and in words of its own
    except ImportError as error:
        raise MissingExtraError(package="onnxscript", extra="export", need="The export to ONNX") from error
    with _suppress_remarks():
        program = torch.onnx.export(
            network,
            (inputs,),
            input_names=[_INPUT_NAME],
            dynamic_shapes={"inputs": {0: torch.export.Dim("batch")}},
            dynamo=True,
            verbose=False,
        )
    assert program is not None  # noqa: S101 - it is None only where a file was asked for
    graph = program.model.graph
    for value in (value for node in graph for value in node.outputs):
        if value.name in _OUTPUT_NAMES:  # a table look-up is named "embedding" too
            value.name = f"inner_{value.name}"
    for output, name in zip(graph.outputs, _OUTPUT_NAMES, strict=True):
        output.name = name
    return program.model_proto


@contextmanager
def _suppress_remarks() -> Iterator[None]:
    """Suppress remarks of the exporter on its own parts."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _compare(network: nn.Module, payload: bytes, inputs: Tensor) -> float:
    """Return the largest difference between ONNX Runtime and torch, also for other numbers of rows than exported."""
    try:
        from onnxruntime import InferenceSession
    except ImportError as error:
        raise MissingExtraError(package="onnxruntime", extra="export", need="The check of an export") from error
    session = InferenceSession(payload, providers=["CPUExecutionProvider"])
    difference = 0.0
    for rows in (inputs, inputs[:1], torch.cat([inputs, inputs])):
        with torch.inference_mode():
            expected = [output.numpy() for output in network(rows)]
        for ours, theirs in zip(expected, session.run(list(_OUTPUT_NAMES), {_INPUT_NAME: rows.numpy()}), strict=True):
            scale = max(1.0, float(np.abs(ours).max()))
            difference = max(difference, float(np.abs(ours - theirs).max()) / scale)
    return difference
