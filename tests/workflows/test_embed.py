"""Embedding: a folder that can be completed, and what is passed over."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from fieldmark import Item, Medium, Split, embed, evaluate, train, write_manifest
from fieldmark.data.shards import read_embeddings, read_info
from fieldmark.errors import CheckpointError, EmbeddingsError, NoItemsError, TooManyFailuresError
from fieldmark.io import encode_report


def test_embed_gives_every_segment_of_the_split(toy_embeddings, toy_items):
    embeddings, info = read_embeddings(toy_embeddings)
    assert {item.item_id for item in embeddings.items} == {i.item_id for i in toy_items if i.split is Split.TEST}
    assert np.linalg.norm(embeddings.embedding, axis=1) == pytest.approx(1, abs=1e-5)
    assert embeddings.logits.shape == (len(embeddings.items), len(info.class_names))
    assert info.straddling_groups == ()


def test_embed_again_computes_nothing(toy_embeddings, toy_manifest, toy_run, toy_runtime, make_reporter, tmp_path):
    folder = tmp_path / "embeddings"
    shutil.copytree(toy_embeddings, folder)
    reporter = make_reporter()
    report = embed(toy_manifest, checkpoint=toy_run, out=folder, runtime=replace(toy_runtime, reporter=reporter))
    assert report.kept_count == report.info.item_count
    assert reporter.done == {}
    assert f"{report.kept_count:,} of them were there already" in report.to_text()


def test_embed_does_not_depend_on_what_else_is_embedded(toy_embeddings, toy_items, toy_run, toy_runtime, tmp_path):
    chosen = [item for item in toy_items if item.split is Split.TEST][::-3]
    write_manifest(chosen, tmp_path / "few.csv")
    embed(tmp_path / "few.csv", checkpoint=toy_run, out=tmp_path / "few", runtime=toy_runtime)
    few, _ = read_embeddings(tmp_path / "few")
    every, _ = read_embeddings(toy_embeddings)
    row_of = {}
    for row, item in enumerate(every.items):
        row_of.setdefault(item.item_id, row)
    for row, item in enumerate(few.items):
        if row == 0 or few.items[row - 1] is not item:
            assert few.embedding[row] == pytest.approx(every.embedding[row_of[item.item_id]], abs=1e-5)


def test_embed_names_groups_that_stand_in_train_or_validation_too(toy_items, toy_run, toy_runtime, tmp_path):
    shared = next(item.group for item in toy_items if item.split is Split.TRAIN)
    first, second, *_ = [number for number, item in enumerate(toy_items) if item.split is Split.TEST]
    last = max(number for number, item in enumerate(toy_items) if item.split is Split.TRAIN)
    items = [*toy_items]
    items[first] = replace(items[first], group=shared)
    items[second] = replace(items[second], group="validated")
    items[last] = replace(items[last], group="validated", split=Split.VALIDATION)
    write_manifest(items, tmp_path / "leaking.csv")
    report = embed(tmp_path / "leaking.csv", checkpoint=toy_run, out=tmp_path / "embeddings", runtime=toy_runtime)
    assert set(report.info.straddling_groups) == {shared, "validated"}


def test_embed_again_embeds_anew_what_has_changed_under_its_id(toy_items, toy_run, toy_runtime, tmp_path):
    tested = [item for item in toy_items if item.split is Split.TEST]
    write_manifest(tested, tmp_path / "m.csv")
    first = embed(tmp_path / "m.csv", checkpoint=toy_run, out=tmp_path / "out", runtime=toy_runtime)
    texts = [item for item in tested if item.medium is Medium.TEXT]
    changed = [replace(item, path=None, text=f"A text about number {n}.") for n, item in enumerate(texts)]
    write_manifest([*(item for item in tested if item not in texts), *changed], tmp_path / "m.csv")
    again = embed(tmp_path / "m.csv", checkpoint=toy_run, out=tmp_path / "out", runtime=toy_runtime)
    assert (first.kept_count, again.kept_count) == (0, len(tested) - len(texts))
    found, _ = read_embeddings(tmp_path / "out")
    assert {item.text for item in found.items if item.medium is Medium.TEXT} == {item.text for item in changed}


def test_embed_names_test_items_of_a_file_that_is_trained_on_too(toy_items, toy_run, toy_runtime, tmp_path):
    tested = next(item for item in toy_items if item.split is Split.TEST and item.medium is Medium.AUDIO)
    trained = replace(tested, item_id="trained part", group=None, split=Split.TRAIN, start_seconds=0.0)
    items = [*(replace(item, group=None) for item in toy_items), trained]
    write_manifest(items, tmp_path / "leaking.csv")
    report = embed(tmp_path / "leaking.csv", checkpoint=toy_run, out=tmp_path / "embeddings", runtime=toy_runtime)
    parts = [item for item in toy_items if item.path == tested.path and item.split is Split.TEST]
    assert set(report.info.leaking_ids) == {item.item_id for item in parts}
    assert report.info.straddling_groups == ()
    assert evaluate(tmp_path / "embeddings", runtime=toy_runtime).leaking_count == len(parts)


def test_embed_lists_files_that_cannot_be_used(toy_items, toy_run, toy_runtime, broken, tmp_path):
    good = [replace(item, split=Split.TEST) for item in [*toy_items, *toy_items]]
    good = [replace(item, item_id=f"{number}") for number, item in enumerate(good)]
    bad = broken.make(Split.TEST)
    write_manifest([*bad, *good], tmp_path / "broken.csv")
    report = embed(tmp_path / "broken.csv", checkpoint=toy_run, out=tmp_path / "embeddings", runtime=toy_runtime)
    assert report.info.item_count == len(good)
    assert {failure.item_id.split("/")[1]: failure.kind for failure in report.info.failures} == broken.kinds
    assert json.loads(json.dumps(encode_report(report)))["failures"][0]["message"]


def test_embed_stores_what_can_be_embedded_and_tells_the_share(toy_items, toy_run, toy_runtime, broken, tmp_path):
    bad = broken.make(Split.TEST)
    good = [item for item in toy_items if item.split is Split.TEST]
    write_manifest([*bad, *toy_items], tmp_path / "broken.csv")
    report = embed(tmp_path / "broken.csv", checkpoint=toy_run, out=tmp_path / "embeddings", runtime=toy_runtime)
    assert report.info.item_count == len(good)
    assert len(report.info.failures) == len(bad)
    assert read_info(tmp_path / "embeddings") == report.info
    report.check_failures(allowed_share=None)
    report.check_failures(allowed_share=0.9)
    with pytest.raises(TooManyFailuresError, match=r"unreadable-photo.*--failure-share"):
        report.check_failures(allowed_share=0.01)


def test_embed_of_nothing_that_can_be_used_is_an_error(toy_run, toy_runtime, broken, tmp_path):
    write_manifest(broken.make(Split.TEST), tmp_path / "broken.csv")
    with pytest.raises(TooManyFailuresError, match=r"unreadable-photo"):
        embed(tmp_path / "broken.csv", checkpoint=toy_run, out=tmp_path / "embeddings", runtime=toy_runtime)
    with pytest.raises(EmbeddingsError, match="not finished"):
        read_info(tmp_path / "embeddings")


def test_embed_needs_items_of_the_split(toy_items, toy_run, toy_runtime, tmp_path):
    write_manifest([item for item in toy_items if item.split is Split.TRAIN], tmp_path / "train.csv")
    with pytest.raises(NoItemsError, match=r"items of the split 'test'; it holds \d+ train"):
        embed(tmp_path / "train.csv", checkpoint=toy_run, out=tmp_path / "embeddings", runtime=toy_runtime)


def test_embed_needs_items_that_the_model_takes(toy_items, toy_manifest, shared_space_config, toy_runtime, tmp_path):
    train(toy_manifest, out=tmp_path / "run", config=shared_space_config, runtime=toy_runtime)
    write_manifest([item for item in toy_items if item.medium is Medium.AUDIO], tmp_path / "songs.csv")
    with pytest.raises(NoItemsError, match="image, text, video"):
        embed(tmp_path / "songs.csv", checkpoint=tmp_path / "run", out=tmp_path / "embeddings", runtime=toy_runtime)


def test_embed_without_a_checkpoint(toy_manifest, toy_runtime, tmp_path):
    with pytest.raises(CheckpointError, match="fieldmark train"):
        embed(toy_manifest, checkpoint=tmp_path / "nowhere", out=tmp_path / "embeddings", runtime=toy_runtime)
    assert not (tmp_path / "embeddings").exists()


def test_embed_refuses_a_folder_of_another_model(
    toy_embeddings, toy_manifest, toy_config, toy_runtime, tmp_path
):  # fmt: skip
    folder = tmp_path / "embeddings"
    shutil.copytree(toy_embeddings, folder)
    train(toy_manifest, out=tmp_path / "run", config=toy_config.model_copy(update={"seed": 9}), runtime=toy_runtime)
    with pytest.raises(EmbeddingsError, match="another model"):
        embed(toy_manifest, checkpoint=tmp_path / "run", out=folder, runtime=toy_runtime)


def test_embed_out_that_is_a_file(toy_manifest, toy_run, toy_runtime, tmp_path):
    (tmp_path / "taken").touch()
    with pytest.raises(EmbeddingsError, match="choose another --out"):
        embed(toy_manifest, checkpoint=toy_run, out=tmp_path / "taken", runtime=toy_runtime)


@pytest.mark.slow
def test_embed_killed_is_completed_by_the_same_command(toy_run, toy_runtime, run_killed, tmp_path):
    count = 1_100
    items = [Item(f"{n:04d}", Medium.TEXT, text=f"Bird {n} has a red cap", split=Split.TEST) for n in range(count)]
    write_manifest(items, tmp_path / "texts.csv")
    arguments = (str(tmp_path / "texts.csv"), str(toy_run), str(tmp_path / "embeddings"))
    run_killed("embed", *arguments, at=("embed", 1_090))
    report = embed(
        tmp_path / "texts.csv", checkpoint=toy_run, out=tmp_path / "embeddings", split="all", runtime=toy_runtime
    )
    assert report.kept_count == 1_024
    embeddings, _ = read_embeddings(tmp_path / "embeddings")
    assert sorted(item.item_id for item in embeddings.items) == [item.item_id for item in items]
