"""Checkpoints: weights, configuration and class names in one safetensors file, written whole or not at all."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from fieldmark.errors import CheckpointError, TrainingError, list_first
from fieldmark.io import open_replacement
from fieldmark.names import Resolution
from fieldmark.training.layout import find_checkpoint
from fieldmark.types import Medium

FORMAT_VERSION = 1
_HEADER_KEY = "fieldmark"
_PICKLE_STARTS = (b"PK\x03\x04", b"\x80")  # torch.save writes a zip; before torch 1.6 a bare pickle.


@dataclass(frozen=True, slots=True)
class Provenance:
    """Origin of trained weights; the same in every checkpoint of a run.

    Args:
        config_json: The whole effective configuration.
        class_names: Name i belongs to label i.
        encoder_fingerprints: Of the encoder of each medium that the network was trained on.
        resolutions: The species that each class stands for; empty in checkpoints of earlier versions.
    """

    config_json: str
    class_names: tuple[str, ...]
    seed: int
    code_version: str
    encoder_fingerprints: Mapping[Medium, str]
    resolutions: tuple[Resolution, ...] = ()

    def find_difference(self, other: "Provenance") -> str | None:
        """Return the first fact that keeps a run of `other` from resuming; None if it can. Code versions may differ."""
        same_by_name = {
            "seed": self.seed == other.seed,
            "set of classes": self.class_names == other.class_names,
            "set of names that the classes stand for": self.resolutions == other.resolutions or not other.resolutions,
            "set of encoders": self.encoder_fingerprints == other.encoder_fingerprints,
            "configuration": self.config_json == other.config_json,
        }
        return next((name for name, is_same in same_by_name.items() if not is_same), None)


@dataclass(frozen=True, slots=True)
class ResumeState:
    """State that a run needs, beside the weights, for an exact resume.

    Args:
        optimizer: State tensors of the optimizer by parameter and name.
        progress_json: Progress of the run, as the loop writes it.
    """

    optimizer: Mapping[str, Tensor]
    progress_json: str


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state of a run at one moment.

    Args:
        network: The network's state dict.
        losses: State of the losses (centers), each under the loss's name and a dot.
        epoch: Epochs finished.
        validation_map: Of these weights; None where they were not validated.
        created: Time of writing, ISO 8601.
        resume: None in a checkpoint that is only to be used.
    """

    provenance: Provenance
    network: Mapping[str, Tensor]
    losses: Mapping[str, Tensor]
    epoch: int
    validation_map: float | None
    created: str
    resume: ResumeState | None = None


@dataclass(frozen=True, slots=True)
class _Header:
    """Header of a checkpoint file."""

    format_version: int
    provenance: Provenance
    epoch: int
    validation_map: float | None
    created: str
    progress_json: str | None


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint atomically: `path` always holds the old one or the new one, never a part.

    Raises:
        TrainingError: The disk is full, or the folder may not be written.
    """
    resume = checkpoint.resume
    header = _Header(
        format_version=FORMAT_VERSION,
        provenance=checkpoint.provenance,
        epoch=checkpoint.epoch,
        validation_map=checkpoint.validation_map,
        created=checkpoint.created,
        progress_json=resume.progress_json if resume else None,
    )
    parts = {
        "network": checkpoint.network,
        "losses": checkpoint.losses,
        "optimizer": resume.optimizer if resume else {},
    }
    # Copied, since safetensors refuses tensors that share memory.
    tensors = {
        f"{part}.{name}": tensor.detach().to("cpu", copy=True).contiguous()
        for part, state in parts.items()
        for name, tensor in state.items()
    }
    write_durably(path, save(tensors, metadata={_HEADER_KEY: TypeAdapter(_Header).dump_json(header).decode()}))


def load_checkpoint(path: Path | str) -> Checkpoint:
    """Read a checkpoint, its tensors on the CPU; nothing is unpickled.

    Args:
        path: A checkpoint, a run's folder for its best one, or a folder made to hand on.

    Raises:
        CheckpointError: The file is missing, damaged, foreign, a pickle, or of a newer version.
    """
    file = find_checkpoint(Path(path))
    try:
        with file.open("rb") as opened:
            start = opened.read(9)
        # A safetensors file begins with any eight bytes (a length) and then a brace.
        if start.startswith(_PICKLE_STARTS) and not start.endswith(b"{"):
            raise CheckpointError(path=file, reason="it is a pickle, which may run code when read, so it was not read")
        with safe_open(file, framework="pt") as opened:
            header = _parse_header((opened.metadata() or {}).get(_HEADER_KEY), path=file)
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - it is no dict
    except FileNotFoundError as error:
        raise CheckpointError(path=file, reason="there is no such file") from error
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            path=file, reason=f"it is cut off, damaged or not a safetensors file ({error})"
        ) from error
    progress_json = header.progress_json
    return Checkpoint(
        provenance=header.provenance,
        network=_select(tensors, "network"),
        losses=_select(tensors, "losses"),
        epoch=header.epoch,
        validation_map=header.validation_map,
        created=header.created,
        resume=None if progress_json is None else ResumeState(_select(tensors, "optimizer"), progress_json),
    )


def restore_state(module: nn.Module, state: Mapping[str, Tensor], *, path: Path | str) -> None:
    """Load tensors of a checkpoint into a module; all of them or none.

    Args:
        path: The checkpoint's, for the message.

    Raises:
        CheckpointError: Names or shapes are not those of the module.
    """
    own = module.state_dict()
    reshaped = [
        f"{name} ({list(state[name].shape)}, expected {list(own[name].shape)})"
        for name in own.keys() & state.keys()
        if state[name].shape != own[name].shape
    ]
    found = {
        "missing": own.keys() - state.keys(),
        "unexpected": state.keys() - own.keys(),
        "of another shape": reshaped,
    }
    problems = [
        f"{list_first(sorted(names))} {'is' if len(names) == 1 else 'are'} {kind}"
        for kind, names in found.items()
        if names
    ]
    if problems:
        raise CheckpointError(path=path, reason=f"it belongs to another network: {'; '.join(problems)}")
    module.load_state_dict(state)


def hash_model(checkpoint: Checkpoint, *, model_json: str) -> str:
    """Return the SHA-256 of all that shapes an embedding: weights, encoders, and the model's configuration.

    It stays the same when a checkpoint is saved again or the run is moved or resumed.

    Args:
        model_json: The part of the configuration that shapes embeddings, in a stable form.
    """
    digest = hashlib.sha256()
    encoders = {medium.value: text for medium, text in checkpoint.provenance.encoder_fingerprints.items()}
    digest.update(json.dumps([model_json, encoders], sort_keys=True).encode())
    for name, tensor in sorted(checkpoint.network.items()):
        digest.update(f"\n{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def write_durably(path: Path, payload: bytes) -> None:
    """Write bytes to a file atomically and flush them to disk; on failure `path` stays as it was.

    Raises:
        TrainingError: The disk is full, or the folder may not be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open_replacement(path) as file:
            file.write(payload)
    except OSError as error:
        raise TrainingError(
            f"'{path}' cannot be written: {error.strerror or error}. Everything saved before is intact. "
            "Check the free disk space and the permissions of the folder, and continue with --resume.",
            kind="run_write",
        ) from error


def _parse_header(text: str | None, *, path: Path) -> _Header:
    if text is None:
        raise CheckpointError(path=path, reason="it is a safetensors file of another program")
    try:
        values: dict[str, Any] = json.loads(text)
        version = values.get("format_version")
        if isinstance(version, int) and version > FORMAT_VERSION:
            raise CheckpointError(
                path=path,
                reason=f"it has format {version}, this installation reads up to {FORMAT_VERSION}; upgrade fieldmark",
            )
        return TypeAdapter(_Header).validate_python(values)
    except (json.JSONDecodeError, AttributeError, ValidationError) as error:
        raise CheckpointError(path=path, reason=f"its header is damaged ({error})") from error


def _select(tensors: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    """Return the tensors of one part, without the part's prefix."""
    return {name.removeprefix(f"{part}."): each for name, each in tensors.items() if name.startswith(f"{part}.")}
