import os
import pickle
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from toy_run import PROVENANCE

from fieldmark.errors import CheckpointError, TrainingError
from fieldmark.training.checkpoint import (
    Checkpoint,
    ResumeState,
    hash_model,
    load_checkpoint,
    restore_state,
    save_checkpoint,
)
from fieldmark.training.layout import RunLayout
from fieldmark.types import Medium


@pytest.fixture
def checkpoint() -> Checkpoint:
    weight = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    return Checkpoint(
        provenance=PROVENANCE,
        network={
            "weight": weight,
            "tied": weight,
            "turned": weight.T,
            "half": weight.to(torch.bfloat16),
            "count": torch.tensor(3),
            "none": torch.zeros(0, 2),
        },
        losses={"center.centers": torch.ones(3, 2), "center.is_started": torch.tensor([True, False, True])},
        epoch=2,
        validation_map=0.1 + 0.2,
        created="2024-05-01T12:00:00+00:00",
        resume=ResumeState(
            optimizer={"0.exp_avg": weight / 3, "0.step": torch.tensor(5.0)}, progress_json='{"epoch": 2}'
        ),
    )


def assert_same(got: Checkpoint, expected: Checkpoint) -> None:
    parts = [(got.network, expected.network), (got.losses, expected.losses)]
    if got.resume and expected.resume:
        parts.append((got.resume.optimizer, expected.resume.optimizer))
    for mine, theirs in parts:
        assert mine.keys() == theirs.keys()
        for name, tensor in theirs.items():
            assert mine[name].dtype == tensor.dtype
            assert torch.equal(mine[name], tensor)


def test_load_checkpoint_gives_what_was_saved(checkpoint: Checkpoint, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "deep" / "a.safetensors", checkpoint)
    loaded = load_checkpoint(tmp_path / "deep" / "a.safetensors")
    assert_same(loaded, checkpoint)
    assert loaded.provenance == PROVENANCE
    assert (loaded.epoch, loaded.validation_map, loaded.created) == (2, 0.1 + 0.2, checkpoint.created)
    assert loaded.resume is not None
    assert loaded.resume.progress_json == '{"epoch": 2}'
    assert os.listdir(tmp_path / "deep") == ["a.safetensors"]  # noqa: PTH208


def test_load_checkpoint_of_a_run_gives_its_best(checkpoint: Checkpoint, tmp_path: Path) -> None:
    save_checkpoint(RunLayout(tmp_path).best, replace(checkpoint, resume=None, validation_map=None))
    loaded = load_checkpoint(tmp_path)
    assert loaded.resume is None
    assert loaded.validation_map is None
    assert loaded.network.keys() == checkpoint.network.keys()


def test_load_checkpoint_names_a_missing_file(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.safetensors"):
        with pytest.raises(CheckpointError, match=r"no such file.*Give a run or checkpoint"):
            load_checkpoint(path)


def test_load_checkpoint_refuses_every_cut(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_checkpoint(path, checkpoint)
    whole = path.read_bytes()
    for length in {*range(0, len(whole), 97), 3, 8, 9, len(whole) - 1}:
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match="cut off, damaged or not a safetensors file"):
            load_checkpoint(path)


def test_load_checkpoint_refuses_text(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a checkpoint at all, but a line of text")
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        (None, "of another program"),
        ({"format": "pt"}, "of another program"),
        ({"fieldmark": "{"}, "header is damaged"),
        ({"fieldmark": "[]"}, "header is damaged"),
        ({"fieldmark": "{}"}, "header is damaged"),
        ({"fieldmark": '{"format_version": 2}'}, "has format 2.*upgrade fieldmark"),
    ],
)
def test_load_checkpoint_refuses_foreign_and_newer(
    metadata: dict[str, str] | None, reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.safetensors"
    save_file({"weight": torch.ones(2)}, path, metadata=metadata)
    with pytest.raises(CheckpointError, match=reason):
        load_checkpoint(path)


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_load_checkpoint_refuses_pickles_unread(tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    torch.save({"weight": Trap(sprung)}, tmp_path / "zip.pt")
    (tmp_path / "bare.pkl").write_bytes(pickle.dumps(Trap(sprung)))
    for name in ("zip.pt", "bare.pkl"):
        with pytest.raises(CheckpointError, match="it is a pickle"):
            load_checkpoint(tmp_path / name)
    assert not sprung.exists()


def test_load_checkpoint_takes_no_length_for_a_pickle(checkpoint: Checkpoint, tmp_path: Path) -> None:
    starts = set()
    for extra in range(0, 256, 8):
        path = tmp_path / f"{extra}.safetensors"
        save_checkpoint(path, replace(checkpoint, created="x" * extra))
        starts.add(path.read_bytes()[0])
        assert load_checkpoint(path).created == "x" * extra
    assert 0x80 in starts  # the first byte of most pickles


@contextmanager
def largest_file(size_bytes: int) -> Iterator[None]:
    """Lets no file grow beyond a size, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_save_checkpoint_keeps_the_old_one_when_the_disk_is_full(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "last.safetensors"
    save_checkpoint(path, checkpoint)
    bigger = replace(checkpoint, network={"weight": torch.zeros(100_000)})
    with largest_file(50_000), pytest.raises(TrainingError, match=r"cannot be written.*free disk space.*--resume"):
        save_checkpoint(path, bigger)
    assert_same(load_checkpoint(path), checkpoint)
    assert [each.name for each in tmp_path.iterdir()] == ["last.safetensors"]
    save_checkpoint(path, bigger)
    assert load_checkpoint(path).network.keys() == {"weight"}


def test_save_checkpoint_names_a_folder_that_is_none(checkpoint: Checkpoint, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match="cannot be written"):
        save_checkpoint(tmp_path / "file" / "a.safetensors", checkpoint)


def test_restore_state_puts_the_tensors_in() -> None:
    source, target = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
    source(torch.randn(4, 3))
    restore_state(target, source.state_dict(), path="a")
    assert all(torch.equal(tensor, source.state_dict()[name]) for name, tensor in target.state_dict().items())


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ({"weight": torch.ones(2, 3)}, "bias is missing"),
        ({"weight": torch.ones(2, 3), "bias": torch.ones(2), "scale": torch.ones(1)}, "scale is unexpected"),
        ({"weight": torch.ones(2, 4), "bias": torch.ones(2)}, r"weight \(\[2, 4\], expected \[2, 3\]\) is of another"),
        ({}, "bias, weight are missing"),
    ],
)
def test_restore_state_names_what_does_not_fit(state: dict[str, torch.Tensor], reason: str) -> None:
    module = nn.Linear(3, 2)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    with pytest.raises(CheckpointError, match=reason):
        restore_state(module, state, path="a.safetensors")
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())


def test_fingerprint_stays_when_saved_again(checkpoint: Checkpoint, tmp_path: Path) -> None:
    before = hash_model(checkpoint, model_json="{}")
    for name in ("a", "b"):
        save_checkpoint(tmp_path / name, checkpoint)
        checkpoint = load_checkpoint(tmp_path / name)
    provenance = replace(
        PROVENANCE,
        config_json="{}",
        seed=8,
        code_version="2.0",
        encoder_fingerprints=dict(reversed(PROVENANCE.encoder_fingerprints.items())),
    )
    network = dict(reversed(checkpoint.network.items()))
    other_run = replace(checkpoint, provenance=provenance, network=network, losses={}, epoch=9, resume=None, created="")
    assert hash_model(other_run, model_json="{}") == before
    assert len(before) == 64


def test_fingerprint_changes_with_all_that_shapes_an_embedding(checkpoint: Checkpoint) -> None:
    nudged = checkpoint.network["weight"].clone()
    nudged[0, 0] = torch.nextafter(nudged[0, 0], torch.tensor(torch.inf))
    other_encoder = replace(PROVENANCE, encoder_fingerprints={Medium.IMAGE: "a1", Medium.TEXT: "b3"})
    renamed = {("heavy" if name == "weight" else name): tensor for name, tensor in checkpoint.network.items()}
    prints = {
        hash_model(checkpoint, model_json="{}"),
        hash_model(checkpoint, model_json="{ }"),
        hash_model(replace(checkpoint, provenance=other_encoder), model_json="{}"),
        hash_model(replace(checkpoint, network={**checkpoint.network, "weight": nudged}), model_json="{}"),
        hash_model(
            replace(checkpoint, network={**checkpoint.network, "weight": nudged.reshape(4, 3)}), model_json="{}"
        ),
        hash_model(replace(checkpoint, network=renamed), model_json="{}"),
    }
    assert len(prints) == 6


def test_provenance_difference_names_what_changed() -> None:
    assert PROVENANCE.find_difference(replace(PROVENANCE, code_version="9")) is None
    assert PROVENANCE.find_difference(replace(PROVENANCE, seed=1)) == "seed"
    assert PROVENANCE.find_difference(replace(PROVENANCE, class_names=("gull",))) == "set of classes"
    assert PROVENANCE.find_difference(replace(PROVENANCE, encoder_fingerprints={})) == "set of encoders"
    assert PROVENANCE.find_difference(replace(PROVENANCE, config_json="{}")) == "configuration"
