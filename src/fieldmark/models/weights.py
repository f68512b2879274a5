"""Named tensors of a file of weights: safetensors, or what `torch.save` wrote."""

import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from fieldmark.errors import WeightsFileError, list_first

MAX_BYTES = 4 * 1024**3
"""Of one file; ResNet-152 with the state of its optimizer has 0.7 GiB."""
_NESTED_KEYS = ("state_dict", "model", "net", "network")
"""Under which training scripts keep the weights, beside an epoch and an optimizer."""
_PARALLEL_PREFIX = "module."
"""The prefix that `DataParallel` puts before every name."""


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a file by name, without the prefix of `DataParallel`; no code in the file is run.

    Raises:
        WeightsFileError: The file is missing, damaged, too large, or holds something else than named tensors.
    """
    try:
        size = path.stat().st_size
    except OSError as error:
        reason = "there is no such file" if isinstance(error, FileNotFoundError) else error.strerror or str(error)
        raise WeightsFileError(path=path, reason=reason) from error
    if size > MAX_BYTES:
        raise WeightsFileError(path=path, reason=f"it has {size:,} bytes, and at most {MAX_BYTES:,} are read")
    state = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path, size=size)
    if state and all(name.startswith(_PARALLEL_PREFIX) for name in state):
        return {name.removeprefix(_PARALLEL_PREFIX): tensor for name, tensor in state.items()}
    return state


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise WeightsFileError(
            path=path, reason=f"it is cut off, damaged or not a safetensors file ({error})"
        ) from error


def _read_torch(path: Path, *, size: int) -> dict[str, Tensor]:
    """Read the state dict of plain tensors with `torch.load(weights_only=True)`.

    torch states no list of what it raises at damaged files: `AssertionError`, `AttributeError` and `KeyError` are
    among them, so the block holds the call and nothing else.
    """
    try:
        values = _load(path, size=size)
    except Exception as error:
        raise WeightsFileError(path=path, reason=_reason(error)) from error
    return _choose(values, path=path, size=size)


def _load(path: Path, *, size: int) -> object:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > size:  # torch.save packs nothing
            raise ValueError(f"it has {size:,} bytes and would unpack to {unpacked:,}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # at pickles of another protocol; what cannot be read raises
        values: object = torch.load(path, map_location="cpu", weights_only=True)
    return values


def _choose(values: object, *, path: Path, size: int) -> dict[str, Tensor]:
    """Return the state dict itself, or the one among a training script's values."""
    if not isinstance(values, Mapping):
        raise WeightsFileError(path=path, reason=f"it holds no dictionary, but {type(values).__name__}")
    for candidate in (values, *(values[key] for key in _NESTED_KEYS if key in values)):
        if (
            isinstance(candidate, Mapping)
            and candidate
            and all(isinstance(each, Tensor) for each in candidate.values())
        ):
            unusable = [name for name, each in candidate.items() if not _is_plain(name, each, size=size)]
            if unusable:
                reason = f"{list_first(unusable)}: not plain tensors, or larger than the file"
                raise WeightsFileError(path=path, reason=reason)
            return dict(candidate)
    held = list_first(sorted(map(str, values))) or "nothing"
    raise WeightsFileError(path=path, reason=f"it contains no state dict; it holds {held}")


def _is_plain(name: object, tensor: Tensor, *, size: int) -> bool:
    """Return whether this is a name and a dense tensor; strides of 0 can make a few bytes look like gigabytes."""
    is_dense = tensor.layout == torch.strided and tensor.device.type == "cpu" and not tensor.is_quantized
    return isinstance(name, str) and is_dense and tensor.numel() * tensor.itemsize <= size


def _reason(error: Exception) -> str:
    """Return one line; not torch's own if that advises to read the file without restrictions."""
    text = str(error)
    if asked := re.search(r"GLOBAL (\S+)", text):
        return f"it asks for '{asked[1]}', which is not part of a state dict; it was not executed"
    if "legacy .tar" in text:
        return "it is a tar archive of PyTorch before 0.1.10, which is not read"
    if "weights_only" in text:
        return "its pickle is damaged, or contains more than names and tensors; it was not executed"
    return text.strip().partition("\n")[0].rstrip(".") or type(error).__name__
