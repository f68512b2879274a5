import csv
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_run import OPTIONS, ToyBatches, make_task, run

from fieldmark.errors import CheckpointError, MissingExtraError
from fieldmark.training.progress import EpochMetrics, LossParts, Progress, check_tensorboard, write_metrics
from fieldmark.types import Failure

ROW = EpochMetrics(
    stage="",
    epoch=1,
    step=4,
    lr=0.1,
    loss=LossParts({"classification": 1.25, "center": 0.5}, 1.3),
    validation_map=0.25,
    seconds=1.23456,
    waiting_share=0.123456,
    failed=2,
)
FAILURE = Failure("item", "unreadable", "cut off")
FINITE = st.floats(allow_nan=False, allow_infinity=False)


@given(values=st.lists(FINITE, min_size=1, max_size=4), seconds=FINITE, score=st.none() | FINITE)
def test_progress_survives_json_exactly(values: list[float], seconds: float, score: float | None) -> None:
    loss = LossParts({f"part{place}": value for place, value in enumerate(values)}, sum(values))
    progress = Progress(steps_per_epoch=4).add_step(loss, [FAILURE], seconds=seconds, waiting_seconds=0.1)
    progress = replace(progress, history=(replace(ROW, validation_map=score),), best_epoch=1, best_score=score)
    assert Progress.from_json(progress.to_json(), path=Path("a")) == progress


@pytest.mark.parametrize("text", ["{", "[]", '{"steps_per_epoch": "many"}', '{"epoch": 1}'])
def test_progress_refuses_damaged_json(text: str) -> None:
    with pytest.raises(CheckpointError, match=r"'a' cannot be used: its progress is damaged"):
        Progress.from_json(text, path=Path("a"))


def test_progress_add_step_counts_an_item_that_fails_again_once() -> None:
    progress = Progress(steps_per_epoch=4)
    for _ in range(3):
        progress = progress.add_step(None, [FAILURE, FAILURE], seconds=2.0, waiting_seconds=0.5)
    assert progress.failed_item_ids == ("item",)
    assert (progress.step, progress.total_steps, progress.sums.loss_steps) == (3, 3, 0)
    assert (progress.sums.seconds, progress.sums.waiting_seconds) == (6.0, 1.5)


def test_progress_means_leave_out_steps_without_rows() -> None:
    progress = Progress(steps_per_epoch=4)
    for loss in (LossParts({"a": 1.0}, 2.0), None, LossParts({"a": 2.0}, 4.0)):
        progress = progress.add_step(loss, [], seconds=1.0, waiting_seconds=0.0)
    assert progress.sums.compute_mean_loss() == LossParts({"a": 1.5}, 3.0)


def test_progress_finish_epoch_begins_anew() -> None:
    progress = Progress(steps_per_epoch=4).add_step(None, [FAILURE], seconds=1.0, waiting_seconds=0.0)
    best = progress.finish_epoch(ROW, is_best=True)
    worse = best.finish_epoch(replace(ROW, epoch=2, validation_map=0.1), is_best=False)
    assert (worse.epoch, worse.step, worse.sums.seconds, worse.total_steps) == (2, 0, 0.0, 8)
    assert (worse.best_epoch, worse.best_score, len(worse.history)) == (1, 0.25, 2)
    assert worse.failed_item_ids == ("item",)


def test_write_metrics_writes_a_row_for_each_epoch(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    write_metrics(path, [ROW, replace(ROW, epoch=2, validation_map=None)])
    with path.open(encoding="utf-8", newline="") as file:
        first, second = csv.DictReader(file)
    assert first == {
        "stage": "",
        "epoch": "1",
        "step": "4",
        "lr": "0.1",
        "classification": "1.25",
        "center": "0.5",
        "total": "1.3",
        "validation_map": "0.25",
        "seconds": "1.235",
        "waiting_share": "0.1235",
        "failed": "2",
    }
    assert (second["epoch"], second["validation_map"]) == ("2", "")


def test_write_metrics_drops_rows_that_are_not_given(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    write_metrics(path, [ROW, replace(ROW, epoch=2)])
    write_metrics(path, [])
    assert path.read_text() == "stage,epoch,step,lr,total,validation_map,seconds,waiting_share,failed\n"


def test_epoch_metrics_describe_themselves_to_a_person() -> None:
    line = ROW.describe(epochs=30, is_best=True)
    assert line == (
        "Epoch 1 of 30: classification 1.25, center 0.5, total 1.3; validation MAP 0.250 (best); "
        "1.2 s, 12% waiting for data; skipped items: 2"
    )


def curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Read every curve as TensorBoard does."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(folder))
    events.Reload()
    return {tag: [(each.step, each.value) for each in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


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
