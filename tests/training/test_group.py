import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import group_member
import pytest
import torch
from group_member import joint_run
from toy_run import ToyNetwork

from fieldmark.training.checkpoint import load_checkpoint
from fieldmark.training.group import Group, choose_device, open_group
from fieldmark.training.layout import RunLayout

SIZE = 2


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes did that trained together."""
    folder = tmp_path_factory.mktemp("group")
    command = [sys.executable, group_member.__file__]
    members = [
        subprocess.Popen(  # noqa: S603 - our own script
            [*command, str(place), str(SIZE), str(folder)],
            env={**os.environ, "PYTHONFAULTHANDLER": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for place in range(SIZE)
    ]
    outputs = [member.communicate(timeout=120)[0] for member in members]
    assert [member.returncode for member in members] == [0] * SIZE, "\n".join(outputs)
    return folder


def told(folder: Path, name: str) -> list[str]:
    return [json.loads((folder / f"told-{place}.json").read_text())[name] for place in range(SIZE)]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["joint", "parts"])
def test_two_processes_give_what_one_gives_with_the_joint_batch(name: str, together: Path, tmp_path: Path) -> None:
    joint_run(tmp_path, Group())
    runs = RunLayout(together / name), RunLayout(tmp_path)
    for path, own in zip(*([run.best, run.last, run.stage("c")] for run in runs), strict=True):
        mine, theirs = load_checkpoint(path), load_checkpoint(own)
        assert mine.epoch == theirs.epoch
        for one, other in ((mine.network, theirs.network), (mine.losses, theirs.losses)):
            assert one.keys() == other.keys()
            for key, tensor in one.items():
                torch.testing.assert_close(tensor, other[key], rtol=1e-4, atol=1e-5)
    tables = [csv.DictReader((run / "metrics.csv").read_text().splitlines()) for run in (together / name, tmp_path)]
    for mine, theirs in zip(*tables, strict=True):
        for column in ("classification", "center", "ranking", "total", "validation_map"):
            assert float(mine[column]) == pytest.approx(float(theirs[column]), rel=1e-4)


def test_the_joint_run_moves_the_weights(tmp_path: Path) -> None:
    joint_run(tmp_path, Group())
    trained = load_checkpoint(RunLayout(tmp_path).last).network["classifier.weight"]
    assert (trained - group_member.network_without_norm().classifier.weight).abs().max() > 0.01


@pytest.mark.slow
def test_only_the_first_process_writes_and_all_know_the_loss(together: Path) -> None:
    assert told(together, "writes") == [True, False]
    first, second = told(together, "total")
    assert first == second
    assert "total " in first


@pytest.mark.slow
def test_all_processes_stop_at_a_loss_that_is_no_number_and_name_the_items_of_all(together: Path) -> None:
    for message in told(together, "nan"):
        assert "step 3 " in message
        assert all(f"image-2-{row}" in message for row in (0, 2, 4))


@pytest.mark.slow
def test_all_processes_stop_at_too_many_failures_of_one(together: Path) -> None:
    assert all("3 of 48 items" in message for message in told(together, "failures"))


def test_a_group_of_one_does_nothing() -> None:
    group, cpu = Group(), torch.device("cpu")
    network = ToyNetwork()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    group.sum_gradients(network)
    group.average_buffers(network)
    group.copy_from_first(network)
    group.wait()
    assert group.join(None, device=cpu) is None
    assert group.share_texts(["a"], device=cpu) == ("a",)
    assert [group.share_number(number, device=cpu) for number in (None, 0.1)] == [None, 0.1]
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert choose_device(cpu, group) == cpu


def test_open_group_without_torchrun_is_this_process_alone() -> None:
    with open_group(torch.device("cpu")) as group:
        assert (group.index, group.size, group.is_first) == (0, 1, True)
