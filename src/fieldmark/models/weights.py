"""Named tensors of a file of weights: safetensors, or what `torch.save` wrote."""

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from fieldmark.errors import WeightsFileError, first
from fieldmark.models.torch_file import read_torch_file

NESTED_KEYS = ("state_dict", "model", "net", "network")
"""Under which training scripts keep the weights, beside an epoch and an optimizer."""
PARALLEL_PREFIX = "module."
"""What `DataParallel` puts before every name."""


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by their names, without the prefix of `DataParallel`; nothing is unpickled.

    Raises:
        WeightsFileError: The file is missing, damaged, or holds something else than named tensors.
    """
    state = _read_safetensors(path) if path.suffix == ".safetensors" else _choose(read_torch_file(path), path=path)
    if state and all(name.startswith(PARALLEL_PREFIX) for name in state):
        return {name.removeprefix(PARALLEL_PREFIX): tensor for name, tensor in state.items()}
    return state


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except FileNotFoundError as error:
        raise WeightsFileError(path=path, reason="there is no such file") from error
    except (SafetensorError, OSError) as error:
        raise WeightsFileError(path=path, reason=f"it is cut off, damaged or no safetensors file ({error})") from error


def _choose(values: Mapping[str, object], *, path: Path) -> dict[str, Tensor]:
    """The state dict itself, or the one among a training script's values."""
    for candidate in (values, *(values[key] for key in NESTED_KEYS if key in values)):
        if isinstance(candidate, Mapping):
            state = {name: tensor for name, tensor in candidate.items() if isinstance(tensor, Tensor)}
            if state and len(state) == len(candidate):
                return state
    raise WeightsFileError(
        path=path, reason=f"no state dict stands in it; it holds {first(sorted(values)) or 'nothing'}"
    )
