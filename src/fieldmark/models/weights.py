"""Weights trained elsewhere: files of named tensors, the released network's state, and networks that start there."""

import json
import re
import warnings
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from fieldmark.errors import WeightsFileError, list_first, suggest_nearest
from fieldmark.models.fgcrossnet import EmbeddingSource, FGCrossNet, TextStem, TrunkSize

# ---------------------------------------------------------------- files of weights

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
    if not size:
        raise WeightsFileError(path=path, reason="it is empty: 0 bytes")
    state = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path, size=size)
    return _strip_prefix(state)


def _strip_prefix(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors without the prefix of `DataParallel`, where all names have it."""
    if all(name.startswith(_PARALLEL_PREFIX) for name in state):
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
    if not values or any(key in values and values[key] == {} for key in _NESTED_KEYS):
        raise WeightsFileError(path=path, reason="it holds nothing: it is an empty state dict")
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


# ---------------------------------------------------------------- the released network

_COUNTER = "num_batches_tracked"
"""Of batch norms; torch before 0.4.1 did not keep it, and nothing that is computed depends on it."""


@dataclass(frozen=True, slots=True)
class ReleasedSize:
    """The sizes of a released network, as the shapes of its tensors tell them.

    Args:
        depth: Layers of the trunk.
        base_width: Channels of the trunk's first stage.
        text_width: Height of the picture made of a text.
    """

    depth: int
    base_width: int
    text_width: int
    class_count: int

    def names_and_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return every name in the state of such a network, with its shape."""
        block, stage_blocks = TrunkSize.STAGE_BLOCKS[self.depth]
        with torch.device("meta"):
            network = FGCrossNet(
                class_count=self.class_count,
                trunk=TrunkSize(block=block, stage_blocks=stage_blocks, base_width=self.base_width, stem_stride=2),
                text=TextStem(conv_width=self.text_width),
                embedding=EmbeddingSource.LOGITS,
                statistics_per_medium=False,
            )
        return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def drop_ignored(state: Mapping[str, Tensor], ignored: Iterable[str], *, path: Path) -> dict[str, Tensor]:
    """Return the tensors without those that are known not to be the network's.

    Args:
        ignored: Names, or what stands before a dot in names: "fc2" is "fc2.weight" and "fc2.bias".

    Raises:
        WeightsFileError: No tensor has such a name.
    """
    kept = dict(state)
    for name in ignored:
        found = [each for each in state if each == name or each.startswith(f"{name}.")]
        if not found:
            reason = f"it has no tensor '{name}' to ignore{suggest_nearest(name, list(state))}"
            raise WeightsFileError(path=path, reason=reason, remedy="Give the name of one that it has, or no --ignore.")
        for each in found:
            kept.pop(each, None)
    return _strip_prefix(kept) if len(kept) < len(state) else kept


def read_released_size(state: Mapping[str, Tensor], *, path: Path) -> ReleasedSize:
    """Read the sizes of the network that a state dict was taken from.

    Raises:
        WeightsFileError: Names are missing or unknown; prefixes, a second head and centers are named as such.
        WeightsFileError: The shapes are those of no such network.
    """
    depth = _nearest_depth(state)
    size = ReleasedSize(
        depth=depth,
        base_width=_side(state, "conv1.weight", default=64),
        text_width=_side(state, "conv02.weight", default=448),
        class_count=_side(state, "fc.weight", default=1),
    )
    expected = size.names_and_shapes()
    _check_prefixes(state, path=path)
    _check_extras(state, expected, path=path)
    _check_names(state, expected, path=path, network=f"a released FGCrossNet with ResNet-{depth}")
    reshaped = [
        f"{name} {list(state[name].shape)} where {list(shape)} is expected"
        for name, shape in expected.items()
        if name in state and tuple(state[name].shape) != shape
    ]
    if reshaped:
        reason = f"{len(reshaped)} of its tensors have another shape than the released network's: {reshaped[0]}"
        raise WeightsFileError(path=path, reason=reason)
    return size


def _check_prefixes(state: Mapping[str, Tensor], *, path: Path) -> None:
    """Refuse names that `DataParallel` has prefixed twice, or only some of; `read_weights` takes one prefix off all."""
    prefixed = sum(name.startswith(_PARALLEL_PREFIX) for name in state)
    if not prefixed:
        return
    prefix = _PARALLEL_PREFIX
    if prefixed == len(state):
        reason = f"its names begin with '{prefix}{prefix}': DataParallel was put around the network twice"
        raise WeightsFileError(path=path, reason=reason, remedy=f"Give it with '{prefix}' taken off each name once.")
    others = list_first([name for name in state if not name.startswith(prefix)])
    raise WeightsFileError(
        path=path,
        reason=f"{prefixed} of its {len(state)} names begin with '{prefix}' and the others do not ({others})",
        remedy="Give the state dict of one network, and --ignore for what is not the network's.",
    )


def _check_extras(state: Mapping[str, Tensor], expected: Mapping[str, object], *, path: Path) -> None:
    """Name a second head or saved centers, which training scripts keep with a network that is complete without them."""
    extra = sorted(state.keys() - expected.keys())
    missing = [name for name in expected.keys() - state.keys() if not name.endswith(_COUNTER)]
    head = state.get("fc.weight")
    if not extra or missing or head is None or head.ndim != 2:
        return
    class_count, dim = head.shape
    kinds = {name: _name_extra(name, state[name], class_count=class_count, dim=dim) for name in extra}
    if not all(kinds.values()):
        return
    found = "; ".join(
        f"{kind} ({list_first([n for n in extra if kinds[n] == kind])})" for kind in dict.fromkeys(kinds.values())
    )
    stems = dict.fromkeys(name.removesuffix(".weight").removesuffix(".bias") for name in extra)
    raise WeightsFileError(
        path=path,
        reason=f"beside a released FGCrossNet it holds {found}",
        remedy=f"Give it without, or {' '.join(f'--ignore {stem}' for stem in stems)}.",
    )


def _name_extra(name: str, tensor: Tensor, *, class_count: int, dim: int) -> str | None:
    """Return the kind of tensor that is not the network's own; None if it cannot be told."""
    if "center" in name.lower() and tensor.ndim == 2 and tensor.shape[0] == class_count:
        return "centers of the classes"
    if name.endswith((".weight", ".bias")) and tensor.shape[1:] in {(dim,), (class_count,), ()} and tensor.ndim:
        return "a second head"
    return None


def complete_counters(state: Mapping[str, Tensor], names: Sequence[str]) -> dict[str, Tensor]:
    """Return the tensors of the given names, and zero for the batch-norm counters that older files lack."""
    return {name: state[name] if name in state else torch.zeros((), dtype=torch.int64) for name in names}


def _check_names(state: Mapping[str, Tensor], expected: Mapping[str, object], *, path: Path, network: str) -> None:
    """Check that a state dict has exactly the names of a network; batch-norm counters may be missing.

    Args:
        network: What the names are expected of, for the message.

    Raises:
        WeightsFileError: Names are missing or unknown.
    """
    missing = sorted(name for name in expected.keys() - state.keys() if not name.endswith(_COUNTER))
    unexpected = sorted(state.keys() - expected.keys())
    if missing or unexpected:
        hints = [suggest_nearest(name, missing).rstrip("?").replace("Did you mean", "nearest:") for name in unexpected]
        unmatched = [f"{name}{hint}" for name, hint in zip(unexpected, hints, strict=True)]
        raise WeightsFileError(
            path=path,
            reason=f"its names are not those of {network}: "
            f"{len(missing)} names are missing ({list_first(missing) or 'none'}), "
            f"{len(unexpected)} are unexpected ({list_first(unmatched) or 'none'})",
            remedy="Give the state dict of such a network, or rename its tensors.",
        )


def _nearest_depth(state: Mapping[str, Tensor]) -> int:
    """Return the depth whose block names differ least from the state's."""

    def difference(depth: int) -> int:
        block, counts = TrunkSize.STAGE_BLOCKS[depth]
        last = 3 if block == "bottleneck" else 2
        wanted = {f"layer{stage}.{index}.conv{last}" for stage, count in enumerate(counts, 1) for index in range(count)}
        return len(wanted ^ met[last])

    deepest = {name.rpartition(".")[0] for name in state if name.startswith("layer") and ".conv" in name}
    has_third = {name.rpartition(".conv")[0] for name in deepest if name.endswith("conv3")}
    met = {
        3: {f"{index}.conv3" for index in has_third},
        2: {name for name in deepest if name.endswith("conv2") and name.rpartition(".conv")[0] not in has_third},
    }
    return min(TrunkSize.STAGE_BLOCKS, key=lambda depth: (difference(depth), depth != 50))


def _side(state: Mapping[str, Tensor], name: str, *, default: int) -> int:
    """Return the first side of a tensor; the default if it is missing or a scalar, which `_check_names` reports."""
    tensor = state.get(name)
    return tensor.shape[0] if tensor is not None and tensor.ndim else default


# ---------------------------------------------------------------- the start of a network

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
    _check_names(given, expected, path=path, network="the trunk that 'model.depth' asks for")
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
    if name.endswith(_COUNTER):
        return torch.zeros_like(own)  # steps of this network, of which there were none
    shape = own.shape[-given.ndim :] if name.endswith((".running_mean", ".running_var")) else own.shape
    if given.shape != shape:
        reason = f"{name} is {list(given.shape)}, and the trunk that is asked for has {list(shape)}"
        raise WeightsFileError(path=path, reason=reason)
    if not given.isfinite().all():
        raise WeightsFileError(path=path, reason=f"{name} has numbers that are not finite")
    return given.to(own).expand_as(own)
