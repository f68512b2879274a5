"""Embedding by shards: the same embeddings as in one go, nothing twice, nothing missing, whatever happens."""

import json
import os
import shutil
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from fieldmark import Item, Medium, Split, embed, evaluate, read_manifest, write_manifest
from fieldmark.data.file_store import FileStore
from fieldmark.data.shards import INFO_NAME, EmbeddingsWriter, read_embeddings, read_info
from fieldmark.errors import ConfigError, EmbeddingsError, ManifestError
from fieldmark.ray_cluster import RayOptions


def read_rows(folder):
    """Embeddings by item and place; an error if any stands twice."""
    found, _ = read_embeddings(folder)
    rows = {}
    for row, item in enumerate(found.items):
        key = item, float(np.nan_to_num(found.start_seconds[row], nan=-1.0))
        assert key not in rows
        rows[key] = found.embedding[row]
    return rows


def assert_same(folder, other):
    got, expected = read_rows(folder), read_rows(other)
    assert got.keys() == expected.keys()
    for key, embedding in got.items():
        assert embedding == pytest.approx(expected[key], abs=1e-5)


def list_files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.parquet")}


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """A manifest of 60 texts."""
    items = [Item(f"{n:02d}", Medium.TEXT, text=f"Bird {n} has a red cap", split=Split.TEST) for n in range(60)]
    path = tmp_path_factory.mktemp("texts") / "texts.csv"
    write_manifest(items, path)
    return path


@pytest.fixture(scope="module")
def whole(texts, toy_run, toy_runtime):
    """The embeddings of the texts in one go."""
    return embed(texts, checkpoint=toy_run, out=texts.parent / "whole", runtime=toy_runtime).folder


def test_shards_of_all_media_are_what_one_go_gives(toy_manifest, toy_embeddings, toy_run, toy_runtime, tmp_path):
    reports = [
        embed(toy_manifest, checkpoint=toy_run, out=tmp_path / "out", shard=f"{n}/3", runtime=toy_runtime)
        for n in (2, 3, 1)
    ]
    assert [report.missing_shards for report in reports] == [("1/3", "3/3"), ("1/3",), ()]
    assert "1 shards are missing: 1/3. The same command without --shard" in reports[1].to_text()
    assert_same(tmp_path / "out", toy_embeddings)
    ours, theirs = read_info(tmp_path / "out"), read_info(toy_embeddings)
    assert {name: dict(sorted(each.items())) for name, each in ours.counts.items()} == theirs.counts
    assert (ours.leaks, ours.straddling_groups, ours.class_names) == (
        theirs.leaks,
        theirs.straddling_groups,
        theirs.class_names,
    )
    assert evaluate(tmp_path / "out", runtime=toy_runtime).bi_modality == pytest.approx(
        evaluate(toy_embeddings, runtime=toy_runtime).bi_modality
    )


def test_a_shard_that_is_done_is_not_done_again(texts, toy_run, toy_runtime, make_reporter, tmp_path):
    out = tmp_path / "out"
    for _ in range(2):
        reporter = make_reporter()
        runtime = replace(toy_runtime, reporter=reporter)
        report = embed(texts, checkpoint=toy_run, out=out, shard="1/2", runtime=runtime)
    assert report.kept_count == report.info.item_count > 0
    assert reporter.done == {}
    before = list_files(out)
    report = embed(texts, checkpoint=toy_run, out=out, runtime=toy_runtime)
    assert report.kept_count == sum(read_info(out / "shards" / "00001-of-00002").row_counts.values())
    assert list_files(out).items() >= before.items()


def test_the_plain_command_completes_what_is_missing(texts, whole, toy_run, toy_runtime, tmp_path):
    embed(texts, checkpoint=toy_run, out=tmp_path / "out", shard="2/4", runtime=toy_runtime)
    report = embed(texts, checkpoint=toy_run, out=tmp_path / "out", runtime=toy_runtime)
    assert (report.info.item_count, report.missing_shards, report.shard) == (60, (), None)
    assert_same(tmp_path / "out", whole)


def test_two_writers_on_each_shard_leave_each_item_once(texts, whole, toy_run, toy_runtime, tmp_path):
    def work(number):
        return embed(texts, checkpoint=toy_run, out=tmp_path / "out", shard=f"{number}/2", runtime=toy_runtime)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, (1, 2, 2, 1)))
    embed(texts, checkpoint=toy_run, out=tmp_path / "out", runtime=toy_runtime)
    assert_same(tmp_path / "out", whole)
    assert len(list_files(tmp_path / "out")) == 2


def test_a_shard_half_written_is_completed(texts, whole, toy_run, toy_runtime, tmp_path):
    embed(texts, checkpoint=toy_run, out=tmp_path / "out", shard="1/2", runtime=toy_runtime)
    [shard] = (tmp_path / "out" / "shards").glob("*")
    [file] = shard.glob("*.parquet")
    (shard / INFO_NAME).unlink()  # as if the process had ended before its last step
    (shard / f".{file.name}.partial").write_bytes(file.read_bytes()[:99])
    before = list_files(tmp_path / "out")
    report = embed(texts, checkpoint=toy_run, out=tmp_path / "out", shard="1/2", runtime=toy_runtime)
    assert report.kept_count == report.info.item_count
    assert list_files(tmp_path / "out") == before
    file.write_bytes(file.read_bytes()[:99])
    (shard / INFO_NAME).unlink()
    with pytest.raises(EmbeddingsError, match=rf"'{file.name}' is damaged.*delete that file"):
        embed(texts, checkpoint=toy_run, out=tmp_path / "out", runtime=toy_runtime)
    file.unlink()
    embed(texts, checkpoint=toy_run, out=tmp_path / "out", runtime=toy_runtime)
    assert_same(tmp_path / "out", whole)


def test_clocks_apart_change_nothing(toy_manifest, toy_embeddings, toy_run, toy_runtime, tmp_path):
    embed(toy_manifest, checkpoint=toy_run, out=tmp_path / "out", shard="2/2", runtime=toy_runtime)
    for number, path in enumerate(sorted((tmp_path / "out").rglob("*"))):
        os.utime(path, (number * 1e9, number * 1e9))  # from 1970 to the next century
    embed(toy_manifest, checkpoint=toy_run, out=tmp_path / "out", runtime=toy_runtime)
    assert_same(tmp_path / "out", toy_embeddings)


def test_a_changed_row_and_a_changed_file_are_embedded_anew(texts, toy_run, toy_runtime, tmp_path):
    (tmp_path / "note.txt").write_text("A gull with a black head")
    note = Item("note", Medium.TEXT, path=tmp_path / "note.txt", split=Split.TEST)
    items = [*read_manifest(texts), note]
    write_manifest(items, tmp_path / "m.csv")
    embed(tmp_path / "m.csv", checkpoint=toy_run, out=tmp_path / "out", shard_count=8, runtime=toy_runtime)
    before = read_rows(tmp_path / "out")
    note.path.write_text("A small brown owl in a barn")
    items[0] = replace(items[0], text="A duck")
    write_manifest(items[:-2] + items[-1:], tmp_path / "m.csv")
    report = embed(tmp_path / "m.csv", checkpoint=toy_run, out=tmp_path / "out", runtime=toy_runtime)
    after = read_rows(tmp_path / "out")
    assert report.kept_count == 58
    assert len(before.keys() - after.keys()) == 2  # the changed row as it was, and the one that was dropped
    assert not np.allclose(before[note, -1.0], after[note, -1.0])


def test_shards_of_another_manifest_are_missing_not_mixed(texts, toy_run, toy_runtime, tmp_path):
    embed(texts, checkpoint=toy_run, out=tmp_path / "out", shard="1/2", runtime=toy_runtime)
    few = [replace(item, text=f"{item.text}!") for item in read_manifest(texts)]
    write_manifest(few, tmp_path / "m.csv")
    report = embed(tmp_path / "m.csv", checkpoint=toy_run, out=tmp_path / "out", shard="2/2", runtime=toy_runtime)
    assert report.missing_shards == ("1/2",)
    assert not (tmp_path / "out" / INFO_NAME).exists()


def test_failures_of_all_shards_are_one_list(toy_items, toy_run, toy_runtime, broken, tmp_path):
    bad = broken.make(Split.TEST)
    good = [item for item in toy_items if item.split is Split.TEST and item.medium is Medium.TEXT]
    write_manifest([*bad, *good], tmp_path / "m.csv")
    for n in (1, 2, 3):
        report = embed(
            tmp_path / "m.csv", checkpoint=toy_run, out=tmp_path / "out", shard=f"{n}/3", runtime=toy_runtime
        )
    assert {failure.item_id for failure in report.info.failures} == {item.item_id for item in bad}
    assert report.info.item_count == len(good)


def test_more_shards_than_items_are_complete_too(toy_run, toy_runtime, tmp_path):
    items = [Item(f"{n}", Medium.TEXT, text=f"bird {n}", split=Split.TEST) for n in range(3)]
    write_manifest(items, tmp_path / "m.csv")
    report = embed(tmp_path / "m.csv", checkpoint=toy_run, out=tmp_path / "out", shard_count=9, runtime=toy_runtime)
    assert report.info.item_count == 3
    assert len(read_rows(tmp_path / "out")) == 3


def test_another_number_of_shards_is_refused(texts, whole, toy_run, toy_runtime, tmp_path):
    embed(texts, checkpoint=toy_run, out=tmp_path / "out", shard="1/2", runtime=toy_runtime)
    with pytest.raises(EmbeddingsError, match=r"cut into 2 shards, not 3"):
        embed(texts, checkpoint=toy_run, out=tmp_path / "out", shard="1/3", runtime=toy_runtime)
    with pytest.raises(EmbeddingsError, match=r"without shards; give another --out"):
        embed(texts, checkpoint=toy_run, out=whole, shard="1/2", runtime=toy_runtime)
    for named in ({"shard_count": 4}, {"cluster": RayOptions("auto")}):
        with pytest.raises(ConfigError, match="Give one of them"):
            embed(texts, checkpoint=toy_run, out=tmp_path / "out", shard="1/2", runtime=toy_runtime, **named)


def test_a_writer_whose_rows_another_one_removes_says_so(tmp_path, toy_embeddings):
    embeddings, _ = read_embeddings(toy_embeddings)
    hashes = {item.item_id: item.item_id for item in embeddings.items}
    one, two = (EmbeddingsWriter(tmp_path, fingerprint="model") for _ in range(2))
    one.add(embeddings, content_hash_by_item_id=hashes)
    one.flush()
    classes = [f"{n}" for n in range(embeddings.logits.shape[1])]
    first = embeddings.items[0].item_id
    two.finish(item_ids=[first], class_names=classes)
    with pytest.raises(EmbeddingsError, match="another process removes what this one writes"):
        one.finish(item_ids=list(hashes), class_names=classes)


# ---------------------------------------------------------------- an object store


def test_a_manifest_and_shards_in_an_object_store(  # noqa: PLR0917 - what it puts there, and where
    toy_manifest, toy_items, toy_embeddings, toy_run, toy_runtime, object_store, tmp_path
):
    root = f"{object_store}/{uuid.uuid4()}"
    store = FileStore(root)
    tested = [item for item in toy_items if item.split is Split.TEST]
    for item in tested:
        if item.path is not None:
            store.write(f"media/{item.path.relative_to(toy_manifest.parent)}", item.path.read_bytes())
    there = [
        item
        if item.path is None
        else replace(item, path=tmp_path / "media" / item.path.relative_to(toy_manifest.parent))
        for item in tested
    ]
    write_manifest(there, tmp_path / "m.csv")
    store.write("m.csv", (tmp_path / "m.csv").read_bytes())
    for n in (1, 2):
        report = embed(f"{root}/m.csv", checkpoint=toy_run, out=f"{root}/out", shard=f"{n}/2", runtime=toy_runtime)
    assert (report.info.item_count, report.info.failures) == (len(tested), ())
    again = embed(f"{root}/m.csv", checkpoint=toy_run, out=f"{root}/out", runtime=toy_runtime)
    assert again.kept_count == len(tested)
    copy = tmp_path / "copy"
    for name in ("embeddings.json", *report.info.row_counts):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes(store.read(f"out/{name}"))
    expected = {(item.item_id, start): row for (item, start), row in read_rows(toy_embeddings).items()}
    got = {(item.item_id, start): row for (item, start), row in read_rows(copy).items()}
    assert got.keys() == expected.keys()
    for key, row in got.items():
        assert row == pytest.approx(expected[key], abs=1e-5)
    assert json.loads((copy / INFO_NAME).read_bytes())["facts"]["manifest"] == f"{root}/m.csv"


def test_a_store_without_the_manifest_is_told(toy_run, toy_runtime):
    with pytest.raises(ManifestError, match=r"no manifest at 'memory://nowhere/m\.csv'"):
        embed("memory://nowhere/m.csv", checkpoint=toy_run, out="memory://nowhere/out", runtime=toy_runtime)


def test_a_folder_of_shards_can_be_moved(texts, whole, toy_run, toy_runtime, tmp_path):
    embed(texts, checkpoint=toy_run, out=tmp_path / "out", shard_count=2, runtime=toy_runtime)
    shutil.move(tmp_path / "out", tmp_path / "moved")
    assert_same(tmp_path / "moved", whole)
