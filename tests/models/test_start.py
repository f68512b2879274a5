"""The start from trained weights: trunks against the ones of transformers, and weights of another network refused."""

import json

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name torch itself uses
from safetensors.torch import save_file

from fieldmark.errors import WeightsFileError
from fieldmark.models.start import start_network
from fieldmark.types import MEDIA, Medium
from product_parts import fgcrossnet, text_stem, trunk_of_depth

WIDTH = 8


def make_network(depth=18, *, per_medium=True, seed=0, class_count=3):
    torch.manual_seed(seed)
    return fgcrossnet(
        class_count=class_count,
        trunk=trunk_of_depth(depth, base_width=WIDTH),
        text=text_stem(conv_width=32),
        statistics_per_medium=per_medium,
    )


def randomize(module):
    """Statistics and scales that are not those of a fresh norm."""
    generator = torch.Generator().manual_seed(5)
    for name, tensor in module.state_dict().items():
        if name.endswith(("running_mean", "running_var", "normalization.weight", "normalization.bias")):
            tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
    return module.eval()


def reference(depth):
    """The ResNet of transformers, of random weights."""
    transformers = pytest.importorskip("transformers")
    size = trunk_of_depth(depth, base_width=WIDTH)
    config = transformers.ResNetConfig(
        embedding_size=WIDTH,
        hidden_sizes=list(size.stage_channels),
        depths=list(size.stage_blocks),
        layer_type=size.block,
        num_labels=7,
    )
    torch.manual_seed(depth)
    return randomize(transformers.ResNetForImageClassification(config))


def standardized(pixels):
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return (pixels / 255 - mean.view(3, 1, 1)) / std.view(3, 1, 1)


@pytest.mark.parametrize("depth", [18, 34, 50, 101, 152])
def test_trunk_is_that_of_transformers(tmp_path, depth):
    theirs = reference(depth)
    theirs.save_pretrained(tmp_path)
    network = make_network(depth).eval()
    start_network(network, tmp_path)
    pixels = torch.randint(256, (2, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = theirs.resnet(standardized(pixels)).pooler_output.flatten(1)
        for medium in (Medium.IMAGE, Medium.VIDEO, Medium.AUDIO):
            torch.testing.assert_close(network(pixels, medium)[0], F.normalize(expected), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_start_from_a_file_takes_the_trunk_alone(tmp_path, suffix):
    """A file with the names of torchvision: another classifier, and nothing for texts."""
    source = make_network(per_medium=False, seed=1, class_count=9).state_dict()
    state = {
        name: tensor for name, tensor in source.items() if not name.startswith(("embed", "conv01", "conv02", "conv0."))
    }
    file = tmp_path / f"resnet18.{suffix}"
    save_file(state, file) if suffix == "safetensors" else torch.save(state, file)
    network = make_network()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    start_network(network, file)
    after = network.state_dict()
    assert torch.equal(after["layer4.1.conv2.weight"], state["layer4.1.conv2.weight"])
    assert all(torch.equal(row, state["bn1.running_var"]) for row in after["bn1.running_var"])
    assert len(after["bn1.running_var"]) == len(MEDIA)
    for name in ("fc.weight", "embed.weight", "conv02.bias"):
        assert torch.equal(after[name], before[name])


def test_start_from_a_released_network_takes_the_text_stem_too(tmp_path):
    source = make_network(per_medium=False, seed=1, class_count=9).state_dict()
    torch.save({f"module.{name}": tensor for name, tensor in source.items()}, tmp_path / "model.pkl")
    network = make_network(per_medium=False)
    start_network(network, tmp_path / "model.pkl")
    assert torch.equal(network.state_dict()["conv02.weight"], source["conv02.weight"])


def test_start_from_statistics_per_medium_keeps_them(tmp_path):
    source = make_network(seed=1)
    source.state_dict()["bn1.running_mean"].copy_(torch.randn(len(MEDIA), WIDTH))
    save_file(source.state_dict(), tmp_path / "model.safetensors")
    network = make_network()
    start_network(network, tmp_path / "model.safetensors")
    assert torch.equal(network.state_dict()["bn1.running_mean"], source.state_dict()["bn1.running_mean"])


def test_start_from_a_trunk_of_another_depth(tmp_path):
    save_file(make_network(34).state_dict(), tmp_path / "model.safetensors")
    network = make_network(18)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(
        WeightsFileError, match=r"'model\.depth' asks for: 0 names are missing .* unexpected \(layer1\.2"
    ):
        start_network(network, tmp_path / "model.safetensors")
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_start_from_a_trunk_of_another_width(tmp_path):
    torch.manual_seed(0)
    other = fgcrossnet(class_count=3, trunk=trunk_of_depth(18, base_width=4), text=text_stem(conv_width=32))
    save_file(other.state_dict(), tmp_path / "model.safetensors")
    with pytest.raises(WeightsFileError, match=r"conv1\.weight is \[4, 3, 7, 7\], .* has \[8, 3, 7, 7\]"):
        start_network(make_network(18), tmp_path / "model.safetensors")


def test_start_from_numbers_that_are_not_finite(tmp_path):
    source = make_network(seed=1)
    source.state_dict()["layer1.0.bn1.weight"][0] = torch.nan
    save_file(source.state_dict(), tmp_path / "model.safetensors")
    with pytest.raises(WeightsFileError, match=r"layer1\.0\.bn1\.weight .* not finite"):
        start_network(make_network(), tmp_path / "model.safetensors")


@pytest.mark.parametrize("key", ["downsample_in_bottleneck", "downsample_in_first_stage"])
def test_start_from_a_trunk_with_its_strides_elsewhere(tmp_path, key):
    reference(18).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {key: True}))
    with pytest.raises(WeightsFileError, match=key):
        start_network(make_network(18), tmp_path)


def test_start_from_a_folder_without_weights(tmp_path):
    with pytest.raises(WeightsFileError, match=r"neither \*\.safetensors nor"):
        start_network(make_network(), tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(WeightsFileError, match="not JSON"):
        start_network(make_network(), tmp_path)
