"""State dicts of the released network: which sizes they have, and what in them is missing or unknown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from fieldmark.errors import WeightsFileError, list_first, suggest_nearest
from fieldmark.models.fgcrossnet import EmbeddingSource, FGCrossNet, TextStem
from fieldmark.models.resnet import TrunkSize

COUNTER = "num_batches_tracked"
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


def read_released_size(state: Mapping[str, Tensor], *, path: Path) -> ReleasedSize:
    """Read the sizes of the network that a state dict was taken from.

    Raises:
        WeightsFileError: Names are missing or unknown.
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
    check_names(state, expected, path=path, network=f"a released FGCrossNet with ResNet-{depth}")
    reshaped = [
        f"{name} {list(state[name].shape)} where {list(shape)} is expected"
        for name, shape in expected.items()
        if name in state and tuple(state[name].shape) != shape
    ]
    if reshaped:
        reason = f"{len(reshaped)} of its tensors have another shape than the released network's: {reshaped[0]}"
        raise WeightsFileError(path=path, reason=reason)
    return size


def complete_counters(state: Mapping[str, Tensor], names: Sequence[str]) -> dict[str, Tensor]:
    """Return the tensors of the given names, and zero for the batch-norm counters that older files lack."""
    return {name: state[name] if name in state else torch.zeros((), dtype=torch.int64) for name in names}


def check_names(state: Mapping[str, Tensor], expected: Mapping[str, object], *, path: Path, network: str) -> None:
    """Check that a state dict has exactly the names of a network; batch-norm counters may be missing.

    Args:
        network: What the names are expected of, for the message.

    Raises:
        WeightsFileError: Names are missing or unknown.
    """
    missing = sorted(name for name in expected.keys() - state.keys() if not name.endswith(COUNTER))
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
    """Return the first side of a tensor; the default if it is missing or a scalar, which `check_names` reports."""
    tensor = state.get(name)
    return tensor.shape[0] if tensor is not None and tensor.ndim else default
