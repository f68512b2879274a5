"""The start of FGCrossNet from weights trained elsewhere, such as ImageNet's, in the layouts they come in."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from fieldmark.errors import WeightsFileError
from fieldmark.models.fgcrossnet import FGCrossNet
from fieldmark.models.released import COUNTER, check_names
from fieldmark.models.weights import read_weights

_CLASSIFIER_PREFIXES = ("fc.", "classifier.")
"""Left out: its classes are others."""
_STEM_PREFIXES = ("embed.", "conv01.", "conv02.", "conv0.")
"""Of the text's way in, which only weights of an FGCrossNet have."""
_TRANSFORMERS_NAMES = (
    (re.compile(r"(?:resnet\.)?embedder\.embedder\.convolution\.(\w+)"), "conv1.{0}"),
    (re.compile(r"(?:resnet\.)?embedder\.embedder\.normalization\.(\w+)"), "bn1.{0}"),
    (re.compile(r"(?:resnet\.)?encoder\.stages\.(\d+)\.layers\.(\d+)\.layer\.(\d+)\.convolution\.(\w+)"), "conv"),
    (re.compile(r"(?:resnet\.)?encoder\.stages\.(\d+)\.layers\.(\d+)\.layer\.(\d+)\.normalization\.(\w+)"), "bn"),
    (re.compile(r"(?:resnet\.)?encoder\.stages\.(\d+)\.layers\.(\d+)\.shortcut\.convolution\.(\w+)"), "downsample.0"),
    (re.compile(r"(?:resnet\.)?encoder\.stages\.(\d+)\.layers\.(\d+)\.shortcut\.normalization\.(\w+)"), "downsample.1"),
)
"""Names of the `transformers` library; the released names are those of torchvision, and need no change."""


def start_network(network: FGCrossNet, path: Path) -> None:
    """Load the trunk of trained weights into a network, and the text stem if the weights have one; all or nothing.

    Statistics of one kind become those of every medium, where the network keeps them apart.

    Args:
        path: A file of torch or safetensors with names of torchvision, of the released code or of `transformers`, or
            a folder in the layout of `transformers`.

    Raises:
        WeightsFileError: The weights are of another trunk.
        WeightsFileError: The file is missing or damaged, or its shapes are of another trunk.
    """
    given = {
        _our_name(name): tensor for name, tensor in _read(path).items() if not name.startswith(_CLASSIFIER_PREFIXES)
    }
    own = network.state_dict()
    has_stem = any(name.startswith(_STEM_PREFIXES) for name in given)
    expected = {
        name: tensor
        for name, tensor in own.items()
        if not name.startswith(_CLASSIFIER_PREFIXES) and (has_stem or not name.startswith(_STEM_PREFIXES))
    }
    check_names(given, expected, path=path, network="the trunk that 'model.depth' asks for")
    taken = {
        name: _fit(given[name], tensor, name=name, path=path) for name, tensor in expected.items() if name in given
    }
    network.load_state_dict(own | taken)


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_dir():
        return read_weights(path)
    _check_variant(path / "config.json")
    files = sorted(path.glob("*.safetensors")) or sorted(path.glob("pytorch_model*.bin"))
    if not files:
        raise WeightsFileError(path=path, reason="the folder holds neither *.safetensors nor pytorch_model.bin")
    return {name: tensor for file in files for name, tensor in read_weights(file).items()}


def _check_variant(path: Path) -> None:
    """Refuse trunks of the same shapes that compute something else."""
    try:
        values = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except (OSError, ValueError) as error:
        raise WeightsFileError(path=path, reason=f"it is not JSON in UTF-8 ({error})") from error
    for key in ("downsample_in_bottleneck", "downsample_in_first_stage"):
        if isinstance(values, Mapping) and values.get(key):
            raise WeightsFileError(path=path, reason=f"it sets '{key}', and the trunk here has its strides elsewhere")


def _our_name(name: str) -> str:
    for pattern, ours in _TRANSFORMERS_NAMES:
        match = pattern.fullmatch(name)
        if match is None:
            continue
        *indices, last = match.groups()
        if not indices:
            return ours.format(last)
        number = str(int(indices[2]) + 1) if len(indices) == 3 else ""
        return f"layer{int(indices[0]) + 1}.{indices[1]}.{ours}{number}.{last}"
    return name


def _fit(given: Tensor, own: Tensor, *, name: str, path: Path) -> Tensor:
    if name.endswith(COUNTER):
        return torch.zeros_like(own)  # steps of this network, of which there were none
    shape = own.shape[-given.ndim :] if name.endswith((".running_mean", ".running_var")) else own.shape
    if given.shape != shape:
        reason = f"{name} is {list(given.shape)}, and the trunk that is asked for has {list(shape)}"
        raise WeightsFileError(path=path, reason=reason)
    if not given.isfinite().all():
        raise WeightsFileError(path=path, reason=f"{name} has numbers that are not finite")
    return given.to(own).expand_as(own)
