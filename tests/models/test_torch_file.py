"""Files of torch.save, read as data: the same tensors as torch reads, and nothing of a hostile file is run."""

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
from fieldmark.models.torch_file import DTYPES, read_torch_file
from fieldmark.models.weights import read_weights

BOTH_FORMATS = pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "legacy"])


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
    tensors = {str(dtype): (100 * torch.randn(3, 2, generator=generator)).to(dtype) for dtype in DTYPES.values()}
    views = {"turned": base.T, "part": base[1:4, 1], "scalar": torch.tensor(3), "empty": torch.zeros(0, 5)}
    return OrderedDict(tensors | views | {"parameter": torch.nn.Parameter(base[0])})


@BOTH_FORMATS
@pytest.mark.parametrize("protocol", [2, 4])
def test_torch_file_holds_what_was_saved(save, is_zip, protocol):
    saved = some_state()
    read = read_torch_file(save(saved, is_zip=is_zip, pickle_protocol=protocol))
    assert list(read) == list(saved)
    for name, tensor in read.items():
        assert torch.equal(tensor, saved[name]), name
        assert tensor.dtype == saved[name].dtype


@BOTH_FORMATS
def test_torch_file_holds_what_torch_reads(save, is_zip):
    path = save(some_state(), is_zip=is_zip)
    ours, theirs = read_torch_file(path), torch.load(path, weights_only=True)
    assert list(ours) == list(theirs)
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())


@BOTH_FORMATS
def test_torch_file_of_a_module(save, is_zip):
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    ours = read_weights(save(module.state_dict(), is_zip=is_zip))
    torch.testing.assert_close(ours, dict(module.state_dict()), rtol=0, atol=0)


def test_torch_file_of_python_2(tmp_path, save):
    """Names as bytes, and a dictionary made from a list of pairs, as Python 2 wrote them."""
    path = save({"a": torch.arange(3.0)}, is_zip=False)
    data = path.read_bytes()
    name = data.index(b"X\x01\x00\x00\x00a")
    data = data[:name] + b"U\x01a" + data[name + 6 :]
    (tmp_path / "old.pkl").write_bytes(data)
    assert read_torch_file(tmp_path / "old.pkl")["a"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("key", ["state_dict", "model", "net"])
def test_weights_beside_an_epoch_and_an_optimizer(save, key):
    state = OrderedDict({"module.fc.weight": torch.ones(2, 2), "module.fc.bias": torch.zeros(2)})
    path = save({"epoch": 3, "best": 0.5, key: state, "optimizer": {"lr": 1e-3, "steps": [1, 2]}})
    assert list(read_weights(path)) == ["fc.weight", "fc.bias"]


def test_weights_with_a_prefix_that_not_all_have_are_as_they_are(save):
    path = save({"module.a": torch.ones(1), "b": torch.ones(1)})
    assert list(read_weights(path)) == ["module.a", "b"]


# ---------------------------------------------------------------- hostile and broken files


class Runs:
    """Runs a command when it is unpickled by a reader that runs what a pickle asks for."""

    def __init__(self, function, *arguments):
        self._call = (function, arguments)

    def __reduce__(self):
        return self._call


@BOTH_FORMATS
@pytest.mark.parametrize(
    ("function", "argument", "named"),
    [
        (os.system, "touch {file}", "system"),
        (os.mkdir, "{file}", "mkdir"),
        (eval, "open('{file}', 'w')", "eval"),
        (io.open, "{file}", "open"),
    ],
    ids=["shell", "mkdir", "eval", "open"],
)
def test_torch_file_runs_nothing(tmp_path, save, is_zip, function, argument, named):
    trap = tmp_path / "trap"
    path = save({"a": torch.ones(1), "b": Runs(function, argument.format(file=trap))}, is_zip=is_zip)
    with pytest.raises(WeightsFileError, match=rf"calls '.*{named}', which is no part .* nothing was run"):
        read_torch_file(path)
    assert not trap.exists()


def test_torch_file_runs_nothing_when_a_state_is_set(tmp_path, save):
    path = save({"a": Runs(np.random.RandomState, 3)})
    with pytest.raises(WeightsFileError, match="nothing was run"):
        read_torch_file(path)


def test_torch_file_of_a_whole_module(save):
    with pytest.raises(WeightsFileError, match=r"Give a state dict saved by torch\.save"):
        read_torch_file(save(torch.nn.Linear(2, 2)))


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
            archive.writestr("archive/data/0", data)
        return path

    return write


def test_torch_file_written_by_hand(write_zip):
    assert read_torch_file(write_zip(pickled_tensor()))["a"].tolist() == [0, 0]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"size": (3,)}, "beyond its 2 numbers"),
        ({"offset": 1}, "beyond its 2 numbers"),
        ({"offset": -1}, "no number from 0"),
        ({"stride": (-1,)}, "no number from 0"),
        ({"size": (1 << 30,), "stride": (0,)}, "beyond its 2 numbers"),
        ({"size": (2, 1)}, "2 sizes and 1 strides"),
        ({"size": (1,) * 9, "stride": (1,) * 9}, "9 sizes"),
        ({"count": 1 << 30}, "8 bytes, its tensors say otherwise"),
        ({"count": -1}, "something else than a storage"),
        ({"kind": b"QInt8Storage"}, "type 'torch QInt8Storage'"),
    ],
)
def test_torch_file_whose_tensors_lie(write_zip, changes, reason):
    with pytest.raises(WeightsFileError, match=reason):
        read_torch_file(write_zip(pickled_tensor(**changes)))


def test_torch_file_that_is_packed(write_zip):
    path = write_zip(pickled_tensor(), data=b"\x00" * 10_000_000, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(WeightsFileError, match=r"packed, which torch\.save never does"):
        read_torch_file(path)


def test_torch_file_with_a_huge_description(write_zip):
    with pytest.raises(WeightsFileError, match="its description has"):
        read_torch_file(write_zip(b"\x80\x02" + b"N0" * 3_000_000))


@pytest.mark.parametrize(
    "pickled",
    [
        b"",
        b"\x80\x02}",
        b"\x80\x02N.",
        b"\x80\x02t.",
        b"\x80\x02K\x01K\x02s.",
        b"\x80\x02}(K\x01u.",
        b"\x80\x02}]K\x01s.",
        b"\x80\x02h\x05.",
        b"\x80\x02ccollections\nOrderedDict\n(K\x01tR.",
        b"\x80\x02(cos\nsystem\nX\x01\x00\x00\x00xo.",
        b"\x80\x02\x8c\x02os\x8c\x06system\x93.",
        b"\x80\x02]\x94h\x00a.",
        pickle.dumps({"a": 1}, protocol=0),
        pickle.dumps({"a": {1, 2}}, protocol=4),
    ],
)
def test_torch_file_with_a_pickle_of_something_else(write_zip, pickled):
    with pytest.raises(WeightsFileError):
        read_torch_file(write_zip(pickled))


def test_torch_file_that_holds_itself(write_zip):
    path = write_zip(b"\x80\x02}q\x00X\x01\x00\x00\x00ah\x00s.")
    assert "a" in read_torch_file(path)
    with pytest.raises(WeightsFileError, match="no state dict stands in it; it holds a"):
        read_weights(path)


@pytest.mark.parametrize("content", [b"", b"\x00" * 600, b"not a model", pickle.dumps([1, 2])])
def test_torch_file_that_is_none(tmp_path, content):
    (tmp_path / "model.pkl").write_bytes(content)
    with pytest.raises(WeightsFileError, match=r"model\.pkl"):
        read_torch_file(tmp_path / "model.pkl")
    with pytest.raises(WeightsFileError, match="no such file"):
        read_torch_file(tmp_path / "nowhere.pkl")


def test_torch_file_that_is_a_tar(tmp_path):
    with tarfile.open(tmp_path / "model.pkl", "w") as archive:
        archive.addfile(tarfile.TarInfo("storages"), io.BytesIO())
    with pytest.raises(WeightsFileError, match="tar archive of PyTorch before"):
        read_torch_file(tmp_path / "model.pkl")


def test_zip_that_is_no_torch_file(tmp_path):
    with zipfile.ZipFile(tmp_path / "model.pkl", "w") as archive:
        archive.writestr("a.txt", "text")
    with pytest.raises(WeightsFileError, match=r"not of torch\.save"):
        read_torch_file(tmp_path / "model.pkl")


def test_safetensors_that_are_damaged(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00{")
    with pytest.raises(WeightsFileError, match="no safetensors file"):
        read_weights(tmp_path / "model.safetensors")
    with pytest.raises(WeightsFileError, match="no such file"):
        read_weights(tmp_path / "nowhere.safetensors")


@BOTH_FORMATS
def test_torch_file_that_is_cut_off(tmp_path, save, is_zip):
    content = save(some_state(), is_zip=is_zip).read_bytes()
    for length in range(0, len(content) - 1, len(content) // 40):
        (tmp_path / "cut.pkl").write_bytes(content[:length])
        with pytest.raises(WeightsFileError):
            read_torch_file(tmp_path / "cut.pkl")


@BOTH_FORMATS
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(st.tuples(st.integers(0, 1_200), st.integers(0, 255)), min_size=1, max_size=6))
@example(changes=[(0, 0)])
def test_torch_file_with_changed_bytes_is_read_or_refused(tmp_path, save, is_zip, changes):
    content = bytearray(save({"a": torch.arange(6.0), "b": torch.zeros(2, 2)}, is_zip=is_zip).read_bytes())
    for place, value in changes:
        content[place % len(content)] = value
    (tmp_path / "changed.pkl").write_bytes(content)
    with suppress(WeightsFileError):
        assert all(isinstance(name, str) for name in read_torch_file(tmp_path / "changed.pkl"))
