"""The parts of the residual trunk: sizes, norm, stages."""

import pytest
import torch
from torch import nn

from fieldmark.models.resnet import MediumNorm, TrunkSize, TrunkStage, initialize_convolutions
from fieldmark.types import MEDIA, Medium
from product_parts import trunk_of_depth


@pytest.mark.parametrize(
    ("depth", "layers", "dim"),
    [(10, 10, 512), (18, 18, 512), (34, 34, 512), (50, 50, 2048), (101, 101, 2048), (152, 152, 2048)],
)
def test_trunk_size_has_the_layers_of_its_name(depth, layers, dim):
    size = trunk_of_depth(depth)
    in_block = 3 if size.block == "bottleneck" else 2
    assert 2 + in_block * sum(size.stage_blocks) == layers  # the first convolution and the classifier
    assert size.dim == dim


def test_trunk_size_follows_its_base_width():
    assert trunk_of_depth(10, base_width=16).stage_channels == (16, 32, 64, 128)
    assert trunk_of_depth(50, base_width=16).stage_channels == (64, 128, 256, 512)


def test_medium_norm_with_common_statistics_is_batch_norm():
    ours, reference = MediumNorm(5), nn.BatchNorm2d(5)
    assert {name: value.shape for name, value in ours.state_dict().items()} == {
        name: value.shape for name, value in reference.state_dict().items()
    }
    generator = torch.Generator().manual_seed(0)
    for medium in (Medium.IMAGE, Medium.TEXT, Medium.AUDIO):
        planes = torch.randn(3, 5, 4, 6, generator=generator) + 2
        torch.testing.assert_close(ours(planes, medium), reference(planes))
    torch.testing.assert_close(ours.state_dict(), reference.state_dict(), check_dtype=True)
    planes = torch.randn(3, 5, 4, 6, generator=generator)
    torch.testing.assert_close(ours.eval()(planes, Medium.VIDEO), reference.eval()(planes))


def test_medium_norm_keeps_the_statistics_of_media_apart():
    norm = MediumNorm(2, per_medium=True)
    alone = {medium: nn.BatchNorm2d(2) for medium in MEDIA}
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        for place, medium in enumerate(MEDIA):
            planes = torch.randn(4, 2, 3, 3, generator=generator) * (place + 1) + place
            norm(planes, medium)
            alone[medium](planes)
    norm.eval()
    planes = torch.randn(4, 2, 3, 3, generator=generator)
    for medium in MEDIA:
        torch.testing.assert_close(norm(planes, medium), alone[medium].eval()(planes))


def test_medium_norm_names_its_state_alike_in_both_forms():
    assert MediumNorm(2).state_dict().keys() == MediumNorm(2, per_medium=True).state_dict().keys()


@pytest.mark.parametrize("block", ["basic", "bottleneck"])
@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_stage_gives_the_channels_and_size_of_its_place(block, place):
    size = TrunkSize(block=block, stage_blocks=(2, 1, 2, 1), base_width=4, stem_stride=2)
    stage = TrunkStage(size, index=place, per_medium=False)
    channels = 4 if place == 0 else size.stage_channels[place - 1]
    planes = stage(torch.randn(2, channels, 8, 12), Medium.IMAGE)
    side = 1 if place == 0 else 2
    assert planes.shape == (2, size.stage_channels[place], 8 // side, 12 // side)
    assert len(stage) == size.stage_blocks[place]


def test_initialize_convolutions_draws_by_fan_out():
    convolution = nn.Conv2d(64, 128, 3)
    torch.manual_seed(0)
    initialize_convolutions(nn.Sequential(convolution))
    assert convolution.weight.std().item() == pytest.approx((2 / (128 * 9)) ** 0.5, rel=0.02)
