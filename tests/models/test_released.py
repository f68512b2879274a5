"""The sizes of released state dicts, and messages about names that do not fit."""

from pathlib import Path

import pytest
import torch

from fieldmark.errors import WeightsFileError
from fieldmark.models.released import complete_counters, read_released_size
from fieldmark.models.resnet import TrunkSize
from product_parts import fgcrossnet, text_stem, trunk_of_depth

FILE = Path("model.pkl")


def state_of(depth, *, width=4, text_width=32, class_count=5):
    with torch.device("meta"):
        network = fgcrossnet(
            class_count=class_count,
            trunk=trunk_of_depth(depth, base_width=width),
            text=text_stem(conv_width=text_width),
            statistics_per_medium=False,
        )
    return dict(network.state_dict())


@pytest.mark.parametrize("depth", sorted(TrunkSize.STAGE_BLOCKS))
def test_released_size_is_told_by_the_shapes(depth):
    size = read_released_size(state_of(depth, width=6, text_width=20, class_count=7), path=FILE)
    assert (size.depth, size.base_width, size.text_width, size.class_count) == (depth, 6, 20, 7)


def test_released_size_without_counters():
    """Torch before 0.4.1 did not count the batches of a norm."""
    whole = state_of(50)
    state = {name: tensor for name, tensor in whole.items() if not name.endswith("num_batches_tracked")}
    assert read_released_size(state, path=FILE).depth == 50
    assert list(complete_counters(state, list(whole))) == list(whole)


def test_released_size_of_a_state_with_other_names():
    state = state_of(50)
    state["fc.wieght"] = state.pop("fc.weight")
    del state["conv01.bias"]
    with pytest.raises(WeightsFileError) as caught:
        read_released_size(state, path=FILE)
    message = str(caught.value)
    assert "released FGCrossNet with ResNet-50" in message
    assert "2 names are missing (conv01.bias, fc.weight)" in message
    assert "1 are unexpected (fc.wieght nearest: 'fc.weight')" in message


@pytest.mark.parametrize("depth", [18, 50])
def test_released_size_of_a_plain_resnet_names_the_text_stem(depth):
    stem = ("embed", "conv01", "conv02", "conv0.")
    state = {name: tensor for name, tensor in state_of(depth).items() if not name.startswith(stem)}
    with pytest.raises(WeightsFileError, match=rf"ResNet-{depth}: 7 names are missing \(conv0\.bias, conv0\.weight"):
        read_released_size(state, path=FILE)


def test_released_size_of_no_network():
    with pytest.raises(WeightsFileError, match=r"1 are unexpected \(weight"):
        read_released_size({"weight": torch.zeros(3)}, path=FILE)


@pytest.mark.parametrize(
    ("name", "shape"), [("layer2.0.conv2.weight", (9, 8, 3, 3)), ("embed.weight", (60, 16)), ("fc.weight", ())]
)
def test_released_size_of_a_state_with_another_shape(name, shape):
    state = state_of(50) | {name: torch.zeros(shape)}
    with pytest.raises(WeightsFileError, match=name.replace(".", r"\.") + r".* where .* is expected"):
        read_released_size(state, path=FILE)
