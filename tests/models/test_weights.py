"""Files of weights: every form of torch.save that torch reads, and hostile or broken ones end in an error."""

import io
import os
import pickle
import tarfile
import zipfile
from collections import OrderedDict
from contextlib import suppress

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fieldmark.errors import WeightsFileError
from fieldmark.models import weights
from fieldmark.models.weights import read_weights

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
