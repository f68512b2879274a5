import sys
from dataclasses import replace
from pathlib import Path

import pytest
from toy_run import OPTIONS, ToyBatches, make_task, run

from fieldmark.errors import MissingExtraError
from fieldmark.training.board import check_tensorboard


def curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Every curve of a board, as TensorBoard reads it."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    board = accumulator.EventAccumulator(str(folder))
    board.Reload()
    return {tag: [(each.step, each.value) for each in board.Scalars(tag)] for tag in board.Tags()["scalars"]}


def test_train_writes_its_metrics_for_tensorboard_and_a_resumed_run_none_twice(tmp_path: Path) -> None:
    options = replace(OPTIONS, writes_tensorboard=True)

    def crash(epoch: int, step: int) -> None:
        if (epoch, step) == (2, 1):
            raise KeyError

    with pytest.raises(KeyError):
        run(tmp_path, make_task(batches=ToyBatches(before=crash)), options=options)
    run(tmp_path, options=options, resume=True)
    found = curves(tmp_path / "tensorboard")
    names = {"loss/classification", "loss/center", "loss/total", "validation/MAP", "lr"}
    assert names | {"time/seconds", "time/waiting_share", "items/failed"} == set(found)
    assert all([step for step, _ in curve] == [4, 8, 12] for curve in found.values())
    rows = (tmp_path / "metrics.csv").read_text().splitlines()
    place = rows[0].split(",").index("total")
    for row, (_, value) in zip(rows[1:], found["loss/total"], strict=True):
        assert value == pytest.approx(float(row.split(",")[place]), rel=1e-5)


def test_train_says_at_its_start_that_tensorboard_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingExtraError, match=r"'train.tensorboard' needs .*fieldmark\[tensorboard\]"):
        run(tmp_path, options=replace(OPTIONS, writes_tensorboard=True))
    assert not tmp_path.joinpath("metrics.csv").exists()
    monkeypatch.undo()
    check_tensorboard()
