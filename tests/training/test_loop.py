import csv
import logging
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import toy_run
from toy_run import OPTIONS, PROVENANCE, Lines, ToyBatches, ToyTask, make_task, run, stage_of

from fieldmark.errors import CheckpointError, NonFiniteLossError, TooManyFailuresError, TrainingError
from fieldmark.training.checkpoint import load_checkpoint, save_checkpoint
from fieldmark.training.layout import RunLayout
from fieldmark.training.optimizer import OptimizerKind, OptimizerOptions
from fieldmark.training.progress import Progress
from fieldmark.training.task import TrainingResult, TrainingStage

TIMES = ("seconds", "waiting_share")


class Crash(Exception):  # noqa: N818 - it stands for a death, not for an error
    """The run dies here."""


def read_metrics(folder: Path) -> list[dict[str, str]]:
    """The rows of a run without the columns that measure time."""
    with (folder / "metrics.csv").open(encoding="utf-8", newline="") as file:
        return [{name: value for name, value in row.items() if name not in TIMES} for row in csv.DictReader(file)]


def assert_same_run(first: Path, second: Path) -> None:
    """Both runs ended with the same bits."""
    assert read_metrics(first) == read_metrics(second)
    layouts = RunLayout(first), RunLayout(second)
    for paths in zip(*([layout.best, layout.last] for layout in layouts), strict=True):
        mine, theirs = (load_checkpoint(path) for path in paths)
        assert (mine.epoch, mine.validation_map) == (theirs.epoch, theirs.validation_map)
        states = [(mine.network, theirs.network), (mine.losses, theirs.losses)]
        if mine.resume and theirs.resume:
            states.append((mine.resume.optimizer, theirs.resume.optimizer))
        for one, other in states:
            assert one.keys() == other.keys()
            assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def dying_at(place: tuple[int, int], how: Callable[[], None]) -> ToyBatches:
    """Batches that call `how` at an (epoch, step)."""
    return ToyBatches(before=lambda epoch, step: how() if (epoch, step) == place else None)


def crash() -> None:
    raise Crash


def test_train_gives_the_best_and_the_way_there(tmp_path: Path) -> None:
    reporter = Lines()
    result = run(tmp_path, reporter=reporter)
    rows = read_metrics(tmp_path)
    scores = [float(row["validation_map"]) for row in rows]
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert [row["step"] for row in rows] == ["4", "8", "12"]
    assert float(rows[-1]["total"]) < float(rows[0]["total"])
    assert (result.epochs, result.steps, result.best_path) == (3, 12, RunLayout(tmp_path).best)
    assert result.best_score == max(scores)
    assert scores[result.best_epoch - 1] == max(scores)
    assert result.seconds > 0
    assert [step[:3] for step in reporter.steps] == [("train", done, 12) for done in range(1, 13)]
    assert "classification " in reporter.steps[0][3]
    assert reporter.said[0].startswith("Epoch 1 of 3: classification ")
    assert len(reporter.said) == 3


def test_train_keeps_the_weights_of_the_best_epoch(tmp_path: Path) -> None:
    scores = iter([0.2, 0.5, 0.5])
    seen = []

    def validate(network: torch.nn.Module) -> float:
        assert not network.training
        assert not torch.is_grad_enabled()
        seen.append({name: tensor.clone() for name, tensor in network.state_dict().items()})
        return next(scores)

    result = run(tmp_path, make_task(validate=validate))
    best = load_checkpoint(tmp_path)
    assert (result.best_epoch, result.best_score) == (2, 0.5)
    assert (best.epoch, best.validation_map, best.resume) == (2, 0.5, None)
    assert best.provenance == PROVENANCE
    assert all(torch.equal(tensor, seen[1][name]) for name, tensor in best.network.items())
    assert best.losses.keys() == {"center.centers", "center.calls"}


def test_train_without_validation_takes_the_last_as_best(tmp_path: Path) -> None:
    result = run(tmp_path, make_task(validate=None), options=replace(OPTIONS, patience_epochs=1))
    assert (result.epochs, result.best_epoch, result.best_score) == (3, 3, None)
    assert load_checkpoint(tmp_path).epoch == 3
    assert read_metrics(tmp_path)[0]["validation_map"] == ""


def test_train_is_the_same_twice_and_leaves_the_random_state(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 2)):
        task = make_task()
        torch.manual_seed(seed)
        before = torch.random.get_rng_state()
        run(tmp_path / name, task)
        assert torch.equal(torch.random.get_rng_state(), before)
    assert_same_run(tmp_path / "a", tmp_path / "b")


def test_train_differs_by_seed(tmp_path: Path) -> None:
    run(tmp_path / "a")
    run(tmp_path / "b", provenance=replace(PROVENANCE, seed=8))
    assert read_metrics(tmp_path / "a") != read_metrics(tmp_path / "b")


@pytest.mark.parametrize(
    ("optimizer", "epochs", "part_count"),
    [
        (OPTIONS.optimizer, (0, 1, 2), 1),
        (replace(OPTIONS.optimizer, kind=OptimizerKind.SGD, lr=0.05, weight_decay=0.0, clip_norm=None), (1,), 1),
        (OPTIONS.optimizer, (1,), 3),
    ],
)
def test_train_resumes_exactly_from_every_step(
    optimizer: OptimizerOptions, epochs: tuple[int, ...], part_count: int, tmp_path: Path
) -> None:
    options = replace(OPTIONS, optimizer=optimizer, execution=replace(OPTIONS.execution, part_count=part_count))
    run(tmp_path / "straight", options=options)
    for place in [(epoch, step) for epoch in epochs for step in range(4)]:
        folder = tmp_path / f"broken-{place}"
        with pytest.raises(Crash):
            run(folder, make_task(batches=dying_at(place, crash)), options=options)
        run(folder, options=options, resume=True)
        assert_same_run(folder, tmp_path / "straight")


def test_train_resumes_exactly_from_the_last_epoch_where_steps_are_not_saved(tmp_path: Path) -> None:
    options = replace(OPTIONS, checkpoint_seconds=3600.0)
    run(tmp_path / "straight", options=options)
    for place in [(0, 2), (1, 3)]:
        folder = tmp_path / f"broken-{place}"
        with pytest.raises(Crash):
            run(folder, make_task(batches=dying_at(place, crash)), options=options)
        assert RunLayout(folder).last.exists() == (place[0] > 0)
        run(folder, options=options, resume=True)
        assert_same_run(folder, tmp_path / "straight")


def test_train_resumes_exactly_from_validation(tmp_path: Path) -> None:
    run(tmp_path / "straight")
    with pytest.raises(Crash):
        run(tmp_path / "broken", make_task(validate=lambda _: crash()))
    run(tmp_path / "broken", resume=True)
    assert_same_run(tmp_path / "broken", tmp_path / "straight")


def test_train_resumes_exactly_between_the_writing_of_best_last_and_table(tmp_path: Path) -> None:
    run(tmp_path / "straight")
    with pytest.raises(Crash):
        run(tmp_path / "broken", make_task(batches=dying_at((2, 0), crash)))
    last = RunLayout(tmp_path / "broken").last.read_bytes()
    run(tmp_path / "broken", resume=True)
    RunLayout(tmp_path / "broken").last.write_bytes(last)  # best and table are now ahead of it by an epoch
    with pytest.raises(Crash):
        run(tmp_path / "broken", make_task(batches=dying_at((2, 1), crash)), resume=True)
    assert [row["epoch"] for row in read_metrics(tmp_path / "broken")] == ["1", "2"]
    run(tmp_path / "broken", resume=True)
    assert_same_run(tmp_path / "broken", tmp_path / "straight")


@pytest.mark.slow
def test_train_killed_at_random_moments_ends_with_the_same_bits(tmp_path: Path) -> None:
    """The moments are drawn anew each time; a failure shows them."""
    source = str(Path(sys.modules["fieldmark"].__path__[0]).parent)
    command = [sys.executable, toy_run.__file__, str(tmp_path / "killed")]
    delays = [random.uniform(0.0, 0.3) for _ in range(2)]  # noqa: S311 - no secret
    for delay in delays:
        with subprocess.Popen(  # noqa: S603 - our own script
            command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": source}
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline()
            time.sleep(delay)
            process.kill()
        assert process.returncode == -signal.SIGKILL
    run(tmp_path / "killed", make_task(batches=toy_run.SLOW_BATCHES), resume=True)
    run(tmp_path / "straight", make_task(batches=ToyBatches(steps=toy_run.SLOW_BATCHES.steps)))
    assert_same_run(tmp_path / "killed", tmp_path / "straight")


@pytest.mark.parametrize("place", [(0, 0), (0, 2), (2, 1)])
def test_train_interrupted_saves_every_step_done(place: tuple[int, int], tmp_path: Path) -> None:
    options = replace(OPTIONS, checkpoint_seconds=3600.0)
    run(tmp_path / "straight", options=options)
    reporter = Lines()
    batches = dying_at(place, lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "broken", make_task(batches=batches), options=options, reporter=reporter)
    assert "Continue with --resume" in reporter.said[-1]
    resume = load_checkpoint(RunLayout(tmp_path / "broken").last).resume
    assert resume is not None
    progress = Progress.from_json(resume.progress_json, path=tmp_path)
    assert (progress.epoch, progress.step) == place
    run(tmp_path / "broken", options=options, resume=True)
    assert_same_run(tmp_path / "broken", tmp_path / "straight")


def test_train_interrupted_in_a_step_ends_the_step_first(tmp_path: Path) -> None:
    options = replace(OPTIONS, checkpoint_seconds=3600.0)
    run(tmp_path / "straight", options=options)
    task = make_task()
    handle = task.network.classifier.register_forward_hook(lambda *_: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "broken", task, options=options)
    handle.remove()
    run(tmp_path / "broken", options=options, resume=True)
    assert_same_run(tmp_path / "broken", tmp_path / "straight")


def test_train_resumed_after_its_end_does_nothing_more(tmp_path: Path) -> None:
    first = run(tmp_path)
    reporter = Lines()
    assert run(tmp_path, resume=True, reporter=reporter) == first
    assert reporter.steps == []


def test_train_resumed_without_a_run_begins_one(tmp_path: Path) -> None:
    assert run(tmp_path, resume=True).epochs == 3


def test_train_refuses_a_folder_that_holds_a_run(tmp_path: Path) -> None:
    run(tmp_path)
    with pytest.raises(TrainingError, match="--resume"):
        run(tmp_path)


def test_train_refuses_to_resume_another_run(tmp_path: Path) -> None:
    run(tmp_path)
    with pytest.raises(TrainingError, match="another seed"):
        run(tmp_path, provenance=replace(PROVENANCE, seed=9), resume=True)
    with pytest.raises(TrainingError, match="another set of items"):
        run(tmp_path, make_task(batches=ToyBatches(steps=5)), resume=True)


def test_train_tells_of_another_code_version(tmp_path: Path) -> None:
    run(tmp_path)
    reporter = Lines()
    run(tmp_path, provenance=replace(PROVENANCE, code_version="0.2.0"), resume=True, reporter=reporter)
    assert "started by version 0.1.0 of the code, now 0.2.0" in reporter.said[0]


def test_train_refuses_to_resume_from_what_is_no_state(tmp_path: Path) -> None:
    run(tmp_path)
    best = load_checkpoint(tmp_path)
    save_checkpoint(RunLayout(tmp_path).last, best)
    with pytest.raises(CheckpointError, match="no state to continue from"):
        run(tmp_path, resume=True)
    save_checkpoint(RunLayout(tmp_path).last, replace(load_checkpoint(tmp_path), resume=None))
    RunLayout(tmp_path).last.write_bytes(b"half")
    with pytest.raises(CheckpointError, match="cut off"):
        run(tmp_path, resume=True)


def test_train_stops_early_after_the_patience(tmp_path: Path) -> None:
    scores = [0.1, 0.4, 0.3, 0.2, 0.9]
    options = replace(OPTIONS, epochs=5, patience_epochs=2)
    left = iter(scores)
    result = run(tmp_path, make_task(validate=lambda _: next(left)), options=options)
    assert (result.epochs, result.best_epoch, result.best_score) == (4, 2, 0.4)
    assert run(tmp_path, make_task(validate=lambda _: next(left)), options=options, resume=True) == result


@pytest.mark.parametrize(("max_steps", "epochs"), [(3, 1), (4, 1), (6, 2), (100, 3)])
def test_train_stops_after_max_steps(max_steps: int, epochs: int, tmp_path: Path) -> None:
    reporter = Lines()
    result = run(tmp_path, options=replace(OPTIONS, max_steps=max_steps), reporter=reporter)
    steps = min(max_steps, 12)
    assert (result.steps, result.epochs) == (steps, epochs)
    assert reporter.steps[-1][1:3] == (steps, steps)
    assert read_metrics(tmp_path)[-1]["step"] == str(steps)


def test_train_stops_at_a_loss_that_is_no_number(tmp_path: Path) -> None:
    def poison() -> None:
        with torch.no_grad():
            task.network.classifier.weight.fill_(torch.nan)

    task = make_task()
    task = replace(task, batches=dying_at((1, 2), poison))
    with pytest.raises(NonFiniteLossError, match=r"step 7 .*image-102-0.*last\.safetensors"):
        run(tmp_path, task)
    saved = load_checkpoint(RunLayout(tmp_path).last)
    assert all(bool(tensor.isfinite().all()) for tensor in saved.network.values())
    run(tmp_path, resume=True)


def test_train_passes_over_a_bad_file_however_often_it_comes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    failures = {(epoch, step): ("broken",) for epoch in range(3) for step in range(4)}
    reporter = Lines()
    with caplog.at_level(logging.WARNING):
        run(tmp_path, make_task(batches=ToyBatches(failures=failures)), reporter=reporter)
    assert [row["failed"] for row in read_metrics(tmp_path)] == ["1", "1", "1"]
    assert [record.getMessage() for record in caplog.records] == ["Skipped broken: it is cut off"]
    assert "skipped items: 1" in reporter.said[0]


def test_train_stops_above_the_share_of_failures(tmp_path: Path) -> None:
    failures = {(0, 1): ("a", "b"), (1, 1): ("c", "d"), (1, 2): ("e",)}
    options = replace(OPTIONS, failure_share=0.1)  # of 48 items: 4
    with pytest.raises(TooManyFailuresError, match=r"5 of 48 items.*at most 10%.*e: it is cut off"):
        run(tmp_path, make_task(batches=ToyBatches(failures=failures)), options=options)
    assert load_checkpoint(RunLayout(tmp_path).last).epoch == 1


def test_train_goes_on_over_a_batch_without_rows(tmp_path: Path) -> None:
    empty = tuple((1, step) for step in range(4))
    reporter = Lines()
    result = run(tmp_path, make_task(batches=ToyBatches(empty=((0, 1), *empty))), reporter=reporter)
    assert result.steps == 12
    assert reporter.steps[1][3] == "no item could be used"
    assert [row["total"] == "0.0" for row in read_metrics(tmp_path)] == [False, True, False]


def two_stages(task: ToyTask, *, first: dict[str, object] | None = None, **second: object) -> tuple[TrainingStage, ...]:
    """Classification alone, then both losses at another rate."""
    start = stage_of(task, OPTIONS, name="c", loss_names=("classification",), epochs=2, **(first or {}))
    following = {"batches": replace(task.batches, steps=3), "optimizer": replace(OPTIONS.optimizer, lr=0.02), **second}
    return start, stage_of(task, OPTIONS, name="r", **following)


def run_stages(folder: Path, task: ToyTask | None = None, **changes: object) -> TrainingResult:
    """Trains in two stages."""
    task = task or make_task()
    resume = changes.pop("resume", False)
    options = changes.pop("options", OPTIONS)
    return run(folder, task, stages=two_stages(task, **changes), options=options, resume=resume)


def test_train_goes_through_stages(tmp_path: Path) -> None:
    result = run_stages(tmp_path)
    rows = read_metrics(tmp_path)
    assert [(row["stage"], row["epoch"], row["step"]) for row in rows] == [
        ("c", "1", "4"),
        ("c", "2", "8"),
        ("r", "3", "11"),
        ("r", "4", "14"),
        ("r", "5", "17"),
    ]
    assert [row["center"] == "" for row in rows] == [True, True, False, False, False]
    assert (result.epochs, result.steps, result.best_epoch >= 3) == (5, 17, True)
    assert float(rows[1]["lr"]) < 0.01 < float(rows[2]["lr"])  # each stage has a schedule of its own


def test_a_stage_starts_from_the_best_of_the_one_before(tmp_path: Path) -> None:
    scores = iter([0.9, 0.1, 0.2, 0.3, 0.4])
    seen: list[dict[str, torch.Tensor]] = []

    def validate(network: torch.nn.Module) -> float:
        seen.append({name: tensor.clone() for name, tensor in network.state_dict().items()})
        return next(scores)

    started: list[dict[str, torch.Tensor]] = []
    task = make_task(validate=validate)

    def watch(epoch: int, step: int) -> None:
        if (epoch, step) == (2, 0):
            started.append({name: tensor.clone() for name, tensor in task.network.state_dict().items()})

    result = run_stages(tmp_path, replace(task, batches=ToyBatches(before=watch)))
    assert all(torch.equal(tensor, seen[0][name]) for name, tensor in started[0].items())
    kept = load_checkpoint(RunLayout(tmp_path).stage("c"))
    assert (kept.epoch, kept.validation_map) == (1, 0.9)
    assert (result.best_epoch, result.best_score) == (5, 0.4)  # a stage looks for a best of its own


def test_a_stage_keeps_the_centers_or_starts_them_anew(tmp_path: Path) -> None:
    met: dict[str, torch.Tensor] = {}
    for name, renewed in (("kept", ()), ("renewed", ("center",))):
        task = make_task()
        center = task.losses["center"].module

        def watch(epoch: int, step: int, *, name: str = name, center: torch.nn.Module = center) -> None:
            if (epoch, step) == (2, 0):
                met[name] = center.centers.detach().clone()

        first = {"loss_names": ("classification", "center")}
        task = replace(task, batches=ToyBatches(before=watch))
        start, following = two_stages(task, renewed=renewed)
        run(tmp_path / name, task, stages=(replace(start, **first), following))
    assert met["kept"].abs().sum() > 0
    assert met["renewed"].eq(0).all()


@pytest.mark.parametrize("place", [(0, 1), (1, 3), (2, 0), (2, 1), (4, 2)])
def test_train_resumes_exactly_across_stages(place: tuple[int, int], tmp_path: Path) -> None:
    run_stages(tmp_path / "straight", renewed=("center",))
    with pytest.raises(Crash):
        run_stages(tmp_path / "broken", make_task(batches=dying_at(place, crash)), renewed=("center",))
    run_stages(tmp_path / "broken", renewed=("center",), resume=True)
    assert_same_run(tmp_path / "broken", tmp_path / "straight")


def test_train_resumes_exactly_between_two_stages(tmp_path: Path) -> None:
    run_stages(tmp_path / "straight")
    # A run of the first stage alone ends where a run of both is before the second begins.
    alone = make_task()
    run(tmp_path / "broken", alone, stages=(two_stages(alone)[0],))
    run_stages(tmp_path / "broken", resume=True)
    assert_same_run(tmp_path / "broken", tmp_path / "straight")


def test_a_stage_that_ends_early_leads_to_the_next(tmp_path: Path) -> None:
    scores = iter([0.5, 0.4, 0.1, 0.2, 0.3])
    task = make_task(validate=lambda _: next(scores))
    result = run_stages(tmp_path, task, first={"patience_epochs": 1})
    assert (result.epochs, result.best_epoch) == (5, 5)


def test_the_patience_of_a_stage_counts_from_its_own_start(tmp_path: Path) -> None:
    scores = iter([0.5, 0.4, 0.3, 0.2, 0.1])
    result = run_stages(tmp_path, make_task(validate=lambda _: next(scores)), patience_epochs=2)
    assert (result.epochs, result.best_epoch) == (5, 3)  # two epochs of the first stage do not use it up


@pytest.mark.parametrize(("max_steps", "steps", "last"), [(5, 5, "c"), (8, 8, "c"), (10, 10, "r"), (99, 17, "r")])
def test_max_steps_counts_over_stages(max_steps: int, steps: int, last: str, tmp_path: Path) -> None:
    result = run_stages(tmp_path, options=replace(OPTIONS, max_steps=max_steps))
    assert result.steps == steps
    assert read_metrics(tmp_path)[-1]["stage"] == last


def test_train_leaves_the_run_whole_when_the_disk_is_full(tmp_path: Path) -> None:
    run(tmp_path / "straight")
    whole = RunLayout(tmp_path / "straight").last.stat().st_size
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    fill = dying_at((1, 2), lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (whole // 2, limits[1])))
    try:
        with pytest.raises(TrainingError, match=r"last\.safetensors' cannot be written.*--resume"):
            run(tmp_path / "full", make_task(batches=fill))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    resume = load_checkpoint(RunLayout(tmp_path / "full").last).resume
    assert Progress.from_json(resume.progress_json, path=tmp_path).total_steps == 6
    run(tmp_path / "full", resume=True)
    assert_same_run(tmp_path / "full", tmp_path / "straight")
