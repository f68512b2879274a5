"""Weights trained elsewhere: every form of torch.save, hostile or broken files, wrong networks, a network's start."""

import io
import json
import os
import pickle
import tarfile
import zipfile
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name torch itself uses
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from fieldmark.errors import WeightsFileError
from fieldmark.models import weights
from fieldmark.models.fgcrossnet import TrunkSize
from fieldmark.models.weights import complete_counters, read_released_size, read_weights, start_network
from fieldmark.types import MEDIA, Medium
from product_parts import fgcrossnet, text_stem, trunk_of_depth

# ---------------------------------------------------------------- files

BOTH_FORMATS = pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "legacy"])
DTYPES = (
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool),
)


@pytest.fixture
def save(tmp_path):
    def save_value(value, *, is_zip=True, **options):
        path = tmp_path / "model.pkl"
        torch.save(value, path, _use_new_zipfile_serialization=is_zip, **options)
        return path

    return save_value


def some_state():
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(6, 4, generator=generator)
    tensors = {str(dtype): (100 * torch.randn(3, 2, generator=generator)).to(dtype) for dtype in DTYPES}
    views = {"turned": base.T, "part": base[1:4, 1], "scalar": torch.tensor(3), "empty": torch.zeros(0, 5)}
    return OrderedDict(tensors | views | {"parameter": torch.nn.Parameter(base[0])})


@BOTH_FORMATS
@pytest.mark.parametrize("protocol", [2, 3])
def test_weights_are_what_was_saved(save, is_zip, protocol):
    saved = some_state()
    read = read_weights(save(saved, is_zip=is_zip, pickle_protocol=protocol))
    assert list(read) == list(saved)
    for name, tensor in read.items():
        assert torch.equal(tensor, saved[name]), name
        assert tensor.dtype == saved[name].dtype


@BOTH_FORMATS
def test_weights_of_a_module(save, is_zip):
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    ours = read_weights(save(module.state_dict(), is_zip=is_zip))
    torch.testing.assert_close(ours, dict(module.state_dict()), rtol=0, atol=0)


def test_weights_of_python_2(tmp_path, save):
    """Names as bytes, as Python 2 wrote them."""
    data = save({"a": torch.arange(3.0)}, is_zip=False).read_bytes()
    name = data.index(b"X\x01\x00\x00\x00a")
    (tmp_path / "old.pkl").write_bytes(data[:name] + b"U\x01a" + data[name + 6 :])
    assert read_weights(tmp_path / "old.pkl")["a"].tolist() == [0, 1, 2]


@BOTH_FORMATS
@pytest.mark.parametrize("key", ["state_dict", "model", "net"])
def test_weights_beside_an_epoch_and_an_optimizer(save, is_zip, key):
    state = OrderedDict({"module.fc.weight": torch.ones(2, 2), "module.fc.bias": torch.zeros(2)})
    path = save({"epoch": 3, "best": 0.5, key: state, "optimizer": {"lr": 1e-3, "steps": [1, 2]}}, is_zip=is_zip)
    assert list(read_weights(path)) == ["fc.weight", "fc.bias"]


def test_weights_with_a_prefix_that_not_all_have_are_as_they_are(save):
    path = save({"module.a": torch.ones(1), "b": torch.ones(1)})
    assert list(read_weights(path)) == ["module.a", "b"]


# ---------------------------------------------------------------- hostile files


class Runs:
    """Runs a command when it is unpickled by a reader that runs what a pickle asks for."""

    def __init__(self, function, *arguments):
        self._call = (function, arguments)

    def __reduce__(self):
        return self._call


HOSTILE = pytest.mark.parametrize(
    ("function", "argument"),
    [(os.system, "touch {file}"), (os.mkdir, "{file}"), (eval, "__import__('os').mkdir('{file}')")],
    ids=["shell", "mkdir", "eval"],
)


@BOTH_FORMATS
@HOSTILE
def test_weights_run_nothing(tmp_path, save, is_zip, function, argument):
    trap = tmp_path / "trap"
    path = save({"a": torch.ones(1), "b": Runs(function, argument.format(file=trap))}, is_zip=is_zip)
    with pytest.raises(WeightsFileError, match=rf"asks for '.*{function.__name__}', .* was not executed") as raised:
        read_weights(path)
    assert not trap.exists()
    assert "\n" not in str(raised.value)
    torch.load(path, weights_only=False)  # the trap works: a reader without restrictions falls into it
    assert trap.exists()


@pytest.mark.parametrize(
    "pickled",
    [
        b"cos\nsystem\n(X%ctouch TRAPtR.",
        b"(X%ctouch TRAPios\nsystem\n.",
        b"(cos\nsystem\nX%ctouch TRAPo.",
        b"\x8c\x02os\x8c\x06system\x93X%ctouch TRAP\x85R.",
        b"}X\x01\x00\x00\x00acos\nsystem\n(X%ctouch TRAPtRs.",
        b"ccollections\nOrderedDict\n)R}X\x01\x00\x00\x00acos\nsystem\n(X%ctouch TRAPtRsb.",
    ],
    ids=["reduce", "inst", "obj", "stack_global", "in_dict", "build"],
)
def test_weights_run_no_instruction(tmp_path, write_zip, pickled):
    trap = tmp_path / "trap"
    command = f"touch {trap}".encode()
    program = pickled.replace(b"%ctouch TRAP", len(command).to_bytes(4, "little") + command)
    (tmp_path / "bare.pkl").write_bytes(b"\x80\x02" + program)
    for path in (write_zip(b"\x80\x02" + program), tmp_path / "bare.pkl"):
        with pytest.raises(WeightsFileError):
            read_weights(path)
    assert not trap.exists()
    with suppress(Exception):
        pickle.loads(b"\x80\x02" + program)  # noqa: S301 - the trap works
    assert trap.exists()


def test_weights_run_nothing_when_a_state_is_set(save):
    with pytest.raises(WeightsFileError, match="was not executed"):
        read_weights(save({"a": Runs(np.random.RandomState, 3)}))


def test_weights_of_a_whole_module(save):
    with pytest.raises(WeightsFileError, match=r"asks for '.*Linear'.* Give a state dict saved by torch\.save"):
        read_weights(save(torch.nn.Linear(2, 2)))


# ---------------------------------------------------------------- broken files, and those of something else


def pickled_tensor(*, offset=0, size=(2,), stride=(1,), count=2, kind=b"FloatStorage"):
    """The description of one tensor, with numbers as given, in the form torch.save gives it."""

    def numbers(values):
        return b"(" + b"".join(b"J" + int(value).to_bytes(4, "little", signed=True) for value in values) + b"t"

    storage = b"(X\x07\x00\x00\x00storagectorch\n" + kind + b"\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu"
    storage += b"J" + count.to_bytes(4, "little", signed=True) + b"tQ"
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"J" + offset.to_bytes(4, "little", signed=True)
    return b"\x80\x02}X\x01\x00\x00\x00a" + tensor + numbers(size) + numbers(stride) + b"\x89}tRs."


@pytest.fixture
def write_zip(tmp_path):
    def write(pickled, *, data=b"\x00" * 8, compression=zipfile.ZIP_STORED):
        path = tmp_path / "model.pkl"
        with zipfile.ZipFile(path, "w", compression) as archive:
            archive.writestr("archive/data.pkl", pickled)
            archive.writestr("archive/version", "3\n")
            archive.writestr("archive/data/0", data)
        return path

    return write


def test_weights_written_by_hand(write_zip):
    assert read_weights(write_zip(pickled_tensor()))["a"].tolist() == [0, 0]


@pytest.mark.parametrize(
    "changes",
    [
        {"size": (3,)},
        {"offset": 1},
        {"offset": -1},
        {"stride": (-1,)},
        {"size": (1 << 30,), "stride": (0,)},
        {"size": (2, 1)},
        {"count": 1 << 30},
        {"count": -1},
        {"kind": b"QInt8Storage"},
    ],
)
def test_weights_whose_sizes_lie(write_zip, changes):
    with pytest.raises(WeightsFileError):
        read_weights(write_zip(pickled_tensor(**changes)))


def test_weights_whose_storage_lies_in_the_legacy_form(tmp_path, save):
    content = save({"a": torch.arange(6.0)}, is_zip=False).read_bytes()
    count = content.index(b"cpu") + 5  # behind a memo
    assert content[count : count + 2] == b"K\x06"
    for lie in (b"K\x07", b"J\xff\xff\xff\x7f", b"\x8a\x08" + (1 << 60).to_bytes(8, "little")):
        (tmp_path / "lie.pkl").write_bytes(content[:count] + lie + content[count + 2 :])
        with pytest.raises(WeightsFileError):
            read_weights(tmp_path / "lie.pkl")


def test_weights_that_are_packed(write_zip):
    path = write_zip(pickled_tensor(), data=b"\x00" * 10_000_000, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(WeightsFileError, match=r"would unpack to 10,000,"):
        read_weights(path)


@pytest.mark.parametrize("name", ["model.pkl", "model.safetensors"])
def test_weights_above_the_limit_are_not_opened(tmp_path, monkeypatch, name):
    monkeypatch.setattr(weights, "MAX_BYTES", 9)
    (tmp_path / name).write_bytes(b"\x00" * 10)
    with pytest.raises(WeightsFileError, match="it has 10 bytes, and at most 9 are read"):
        read_weights(tmp_path / name)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ([torch.ones(1)], "it holds no dictionary, but list"),
        (torch.ones(1), "it holds no dictionary, but Tensor"),
        (None, "it holds no dictionary, but NoneType"),
        ({}, "it holds nothing"),
        ({"a": 1, 2: torch.ones(1)}, "it holds 2, a"),
        ({"state_dict": {"deeper": {"a": torch.ones(1)}}}, "it holds state_dict"),
        ({"a": torch.eye(2).to_sparse()}, "a: not plain tensors"),
        ({"a": torch.ones(2, device="meta")}, "a: not plain tensors"),
        ({1: torch.ones(2)}, "1: not plain tensors"),
    ],
    ids=["list", "tensor", "none", "empty", "values", "deep", "sparse", "meta", "number"],
)
def test_weights_that_are_no_state_dict(save, value, reason):
    with pytest.raises(WeightsFileError, match=reason):
        read_weights(save(value))


@pytest.mark.parametrize(
    "pickled",
    [
        b"",
        b"\x80\x02}",
        b"\x80\x02t.",
        b"\x80\x02K\x01K\x02s.",
        b"\x80\x02}(K\x01u.",
        b"\x80\x02h\x05.",
        b"\x80\x02ccollections\nOrderedDict\n(K\x01tR.",
        b"\x80\x02}q\x00X\x01\x00\x00\x00ah\x00s.",
        pickle.dumps({"a": 1}, protocol=0),
        pickle.dumps({"a": {1, 2}}, protocol=4),
    ],
)
def test_weights_with_a_pickle_of_something_else(write_zip, pickled):
    with pytest.raises(WeightsFileError):
        read_weights(write_zip(pickled))


@pytest.mark.parametrize("content", [b"", b"\x00" * 600, b"not a model", pickle.dumps([1, 2])])
def test_weights_that_are_none(tmp_path, content):
    (tmp_path / "model.pkl").write_bytes(content)
    with pytest.raises(WeightsFileError, match=r"model\.pkl") as raised:
        read_weights(tmp_path / "model.pkl")
    assert "`weights_only`" not in str(raised.value)  # torch advises to switch it off


@pytest.mark.parametrize("suffix", [".pkl", ".safetensors"])
def test_weights_that_are_no_file(tmp_path, suffix):
    with pytest.raises(WeightsFileError, match="no such file"):
        read_weights(tmp_path / f"nowhere{suffix}")
    folder = tmp_path / f"folder{suffix}"
    folder.mkdir()
    with pytest.raises(WeightsFileError, match="folder"):
        read_weights(folder)


def test_weights_in_a_tar(tmp_path):
    with tarfile.open(tmp_path / "model.pkl", "w") as archive:
        archive.addfile(tarfile.TarInfo("storages"), io.BytesIO())
    with pytest.raises(WeightsFileError, match="tar archive of PyTorch before"):
        read_weights(tmp_path / "model.pkl")


def test_zip_that_holds_no_weights(tmp_path):
    with zipfile.ZipFile(tmp_path / "model.pkl", "w") as archive:
        archive.writestr("a.txt", "text")
    with pytest.raises(WeightsFileError, match=r"a\.txt"):
        read_weights(tmp_path / "model.pkl")


def test_safetensors_that_are_damaged(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00{")
    with pytest.raises(WeightsFileError, match="not a safetensors file"):
        read_weights(tmp_path / "model.safetensors")


@BOTH_FORMATS
def test_weights_that_is_cut_off(tmp_path, save, is_zip):
    content = save(some_state(), is_zip=is_zip).read_bytes()
    for length in range(0, len(content) - 1, len(content) // 40):
        (tmp_path / "cut.pkl").write_bytes(content[:length])
        with pytest.raises(WeightsFileError):
            read_weights(tmp_path / "cut.pkl")


@BOTH_FORMATS
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(st.tuples(st.integers(0, 1_200), st.integers(0, 255)), min_size=1, max_size=6))
@example(changes=[(0, 0)])
def test_weights_with_changed_bytes_is_read_or_refused(tmp_path, save, is_zip, changes):
    content = bytearray(save({"a": torch.arange(6.0), "b": torch.zeros(2, 2)}, is_zip=is_zip).read_bytes())
    for place, value in changes:
        content[place % len(content)] = value
    (tmp_path / "changed.pkl").write_bytes(content)
    with suppress(WeightsFileError):
        read = read_weights(tmp_path / "changed.pkl")
        assert all(isinstance(name, str) and isinstance(each, torch.Tensor) for name, each in read.items())


# ---------------------------------------------------------------- the released network

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


# ---------------------------------------------------------------- the start of a network

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
