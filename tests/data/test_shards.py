"""Embeddings folders: round trips, resuming, replacing, damage."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fieldmark.data.shards import (
    INFO_NAME,
    EmbeddingsWriter,
    read_content_hashes,
    read_embeddings,
    read_info,
)
from fieldmark.errors import EmbeddingsError
from fieldmark.types import Embeddings, Failure, Item, Medium, Split

FULL = Item(
    "audio/gull 1",
    Medium.AUDIO,
    path=Path("/birds/gull 1.ogg"),
    class_name="gull, herring",
    split=Split.TEST,
    group="tape 7",
    start_seconds=1.5,
    end_seconds=61.25,
    source="a field station",
    license="CC0",
    caption_of="image/1",
    extra=(("note", "ünïcode → text"), ("elevation", "12")),
)
BARE = Item("bare", Medium.IMAGE)
TEXT = Item("text", Medium.TEXT, text="a grey\nbird", class_name="", split=Split.TRAIN)


def embeddings_of(*items: Item, rows_each: int = 2, dim: int = 3, class_count: int = 2, seed: int = 0) -> Embeddings:
    generator = np.random.default_rng(seed)
    rows = tuple(item for item in items for _ in range(rows_each))
    start = np.array(
        [4.0 * (row % rows_each) if item.medium is Medium.AUDIO else np.nan for row, item in enumerate(rows)]
    )
    return Embeddings(
        items=rows,
        start_seconds=start,
        end_seconds=start + 4.0,
        embedding=generator.normal(size=(len(rows), dim)).astype(np.float32),
        logits=generator.normal(size=(len(rows), class_count)).astype(np.float32) if class_count else None,
    )


def hashes_of(embeddings: Embeddings) -> dict[str, str]:
    return {item.item_id: f"hash of {item.item_id}" for item in embeddings.items}


def write(folder: Path, *parts: Embeddings, class_names=("a", "b"), **named):
    writer = EmbeddingsWriter(folder, fingerprint="model 1", rows_per_shard=4)
    for part in parts:
        writer.add(part, content_hash_by_item_id=hashes_of(part))
    return writer.finish(class_names=class_names, **named)


def shards_of(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.parquet"))


def assert_same(got: Embeddings, expected: Embeddings) -> None:
    assert got.items == expected.items
    np.testing.assert_array_equal(got.start_seconds, expected.start_seconds)
    np.testing.assert_array_equal(got.end_seconds, expected.end_seconds)
    np.testing.assert_array_equal(got.embedding, expected.embedding)
    assert got.embedding.dtype == np.float32
    if expected.logits is None:
        assert got.logits is None
    else:
        np.testing.assert_array_equal(got.logits, expected.logits)


@pytest.mark.parametrize("class_count", [0, 2])
def test_embeddings_come_back_as_they_were_written(tmp_path, class_count):
    embeddings = embeddings_of(FULL, BARE, TEXT, class_count=class_count)
    write(tmp_path, embeddings, class_names=("a", "b")[:class_count])
    got, info = read_embeddings(tmp_path)
    assert_same(got, embeddings)
    assert (info.fingerprint, info.dim, info.item_count) == ("model 1", 3, 3)


def test_rows_of_an_item_share_the_object(tmp_path):
    write(tmp_path, embeddings_of(FULL, BARE))
    items = read_embeddings(tmp_path)[0].items
    assert items[0] is items[1]
    assert items[1] is not items[2]


def test_non_finite_embeddings_come_back_too(tmp_path):
    embeddings = embeddings_of(FULL)
    embeddings.embedding[0, 0], embeddings.embedding[1, 1] = np.nan, np.inf
    write(tmp_path, embeddings)
    assert_same(read_embeddings(tmp_path)[0], embeddings)


def test_many_shards_keep_their_order(tmp_path):
    parts = [embeddings_of(replace(BARE, item_id=f"item {number}"), seed=number) for number in range(25)]
    info = write(tmp_path, *parts)
    assert len(info.row_counts) == len(shards_of(tmp_path)) == 13
    got = read_embeddings(tmp_path)[0]
    assert [item.item_id for item in got.items[::2]] == [f"item {number}" for number in range(25)]
    np.testing.assert_array_equal(got.embedding, np.concatenate([part.embedding for part in parts]))


def test_info_tells_counts_failures_groups_and_facts(tmp_path):
    failures = (Failure("broken", "unreadable", "'x' cannot be decoded"),)
    facts = {"checkpoint": "run/best.safetensors", "seed": 3, "data": {"hash": "abc"}}
    written = write(
        tmp_path,
        embeddings_of(FULL, BARE, TEXT),
        failures=failures,
        straddling_groups={"tape 9", "tape 7"},
        facts=facts,
    )
    info = read_info(tmp_path)
    assert info == written
    assert info.counts == {"image": {"none": 1}, "text": {"train": 1}, "video": {}, "audio": {"test": 1}}
    assert info.failures == failures
    assert info.straddling_groups == ("tape 7", "tape 9")
    assert info.facts == facts
    assert {"python", "numpy", "pyarrow"} <= set(info.versions)


def test_content_hashes_come_back(tmp_path):
    embeddings = embeddings_of(FULL, BARE, TEXT)
    write(tmp_path, embeddings)
    assert read_content_hashes(tmp_path) == hashes_of(embeddings)


def test_writer_takes_up_what_was_flushed_and_drops_what_a_killed_one_left(tmp_path):
    first = EmbeddingsWriter(tmp_path, fingerprint="model 1", rows_per_shard=4)
    part = embeddings_of(FULL, BARE)
    first.add(part, content_hash_by_item_id=hashes_of(part))
    lost = embeddings_of(TEXT)
    first.add(lost, content_hash_by_item_id=hashes_of(lost))  # waits, and is lost with the process
    (shard,) = shards_of(tmp_path)
    partial = tmp_path / f".{shard.name.replace('000000', '000001')}.partial"
    partial.write_bytes(shard.read_bytes()[:100])
    with pytest.raises(EmbeddingsError, match=f"no '{INFO_NAME}'.*fieldmark embed"):
        read_embeddings(tmp_path)

    second = EmbeddingsWriter(tmp_path, fingerprint="model 1")
    assert not partial.exists()
    assert second.done_count == 2
    assert second.is_done(FULL, content_hash=f"hash of {FULL.item_id}")
    assert not second.is_done(TEXT, content_hash="hash of text")
    second.add(lost, content_hash_by_item_id=hashes_of(lost))
    second.finish(class_names=("a", "b"))
    assert [item.item_id for item in read_embeddings(tmp_path)[0].items[::2]] == ["audio/gull 1", "bare", "text"]


def test_writer_leaves_the_partial_file_of_another_writer(tmp_path):
    other = tmp_path / ".shard-000000-east-abc123.parquet.partial"
    other.write_bytes(b"half")
    EmbeddingsWriter(tmp_path, fingerprint="model 1", name="west")
    assert other.exists()


def test_writers_with_names_of_their_own_fill_one_folder(tmp_path):
    east = EmbeddingsWriter(tmp_path, fingerprint="model 1", name="east")
    west = EmbeddingsWriter(tmp_path, fingerprint="model 1", name="west")
    for writer, item in ((east, FULL), (west, BARE)):
        part = embeddings_of(item)
        writer.add(part, content_hash_by_item_id=hashes_of(part))
        writer.flush()
    assert west.finish(class_names=("a", "b")).item_count == 2
    assert {item.item_id for item in read_embeddings(tmp_path)[0].items} == {FULL.item_id, "bare"}


@pytest.mark.parametrize("rows_per_shard", [1, 100])
def test_an_item_added_again_replaces_the_first(tmp_path, rows_per_shard):
    writer = EmbeddingsWriter(tmp_path, fingerprint="model 1", rows_per_shard=rows_per_shard)
    mended = replace(BARE, class_name="gull")
    before, after = embeddings_of(BARE, FULL), embeddings_of(mended, rows_each=3, seed=1)
    for part in (before, after):
        writer.add(part, content_hash_by_item_id=hashes_of(part))
    assert writer.is_done(mended, content_hash="hash of bare")
    assert not writer.is_done(BARE, content_hash="hash of bare")
    assert not writer.is_done(mended, content_hash="another hash")
    info = writer.finish(class_names=("a", "b"))
    got = read_embeddings(tmp_path)[0]
    assert got.items == (FULL, FULL, mended, mended, mended)
    np.testing.assert_array_equal(got.embedding, np.concatenate([before.embedding[2:], after.embedding]))
    assert info.counts["image"] == {"none": 1}
    assert EmbeddingsWriter(tmp_path, fingerprint="model 1").is_done(mended, content_hash="hash of bare")


def test_an_item_that_is_no_longer_wanted_goes(tmp_path):
    write(tmp_path, embeddings_of(FULL, BARE, TEXT))
    info = write(tmp_path, item_ids=["bare"])
    got, _ = read_embeddings(tmp_path)
    assert {item.item_id for item in got.items} == {"bare"}
    assert info.item_count == 1


def test_a_shard_of_which_all_is_replaced_goes_away(tmp_path):
    write(tmp_path, embeddings_of(BARE))
    (old,) = shards_of(tmp_path)
    write(tmp_path, embeddings_of(BARE, seed=1))
    assert not old.exists()
    np.testing.assert_array_equal(read_embeddings(tmp_path)[0].embedding, embeddings_of(BARE, seed=1).embedding)


def test_a_finished_folder_reads_as_before_until_it_is_finished_again(tmp_path):
    write(tmp_path, embeddings_of(FULL))
    writer = EmbeddingsWriter(tmp_path, fingerprint="model 1")
    more = embeddings_of(BARE)
    writer.add(more, content_hash_by_item_id=hashes_of(more))
    writer.flush()
    assert len(read_embeddings(tmp_path)[0].items) == 2
    writer.finish(class_names=("a", "b"))
    assert len(read_embeddings(tmp_path)[0].items) == 4


def test_writer_refuses_the_folder_of_another_model(tmp_path):
    write(tmp_path, embeddings_of(FULL))
    with pytest.raises(EmbeddingsError, match=r"model 1.*not as.*model 2.*another --out"):
        EmbeddingsWriter(tmp_path, fingerprint="model 2")


def test_reader_refuses_a_shard_of_another_model(tmp_path):
    write(tmp_path / "one", embeddings_of(FULL))
    other = EmbeddingsWriter(tmp_path / "two", fingerprint="model 2")
    other.add(embeddings_of(FULL), content_hash_by_item_id=hashes_of(embeddings_of(FULL)))
    other.flush()
    (shard,), (foreign,) = shards_of(tmp_path / "one"), shards_of(tmp_path / "two")
    foreign.replace(shard)
    with pytest.raises(EmbeddingsError, match="another model"):
        read_embeddings(tmp_path / "one")


def test_writer_refuses_rows_of_another_dimension(tmp_path):
    writer = EmbeddingsWriter(tmp_path, fingerprint="model 1")
    for part in (embeddings_of(FULL, dim=3), embeddings_of(BARE, dim=4)):
        writer.add(part, content_hash_by_item_id=hashes_of(part))
    with pytest.raises(EmbeddingsError, match=r"differ in dimension.*new folder"):
        writer.finish(class_names=("a", "b"))


def test_writer_refuses_class_names_that_do_not_fit_the_logits(tmp_path):
    with pytest.raises(EmbeddingsError, match="2 logits for 3 class names"):
        write(tmp_path, embeddings_of(FULL), class_names=("a", "b", "c"))
    assert not (tmp_path / INFO_NAME).exists()


def test_writer_refuses_to_finish_with_nothing(tmp_path):
    with pytest.raises(EmbeddingsError, match="no item was embedded"):
        write(tmp_path)


def test_writer_says_when_the_folder_cannot_be_written(tmp_path):
    writer = EmbeddingsWriter(tmp_path / "out", fingerprint="model 1")
    (tmp_path / "out").rmdir()
    part = embeddings_of(FULL)
    writer.add(part, content_hash_by_item_id=hashes_of(part))
    with pytest.raises(EmbeddingsError, match=r"could not be written.*free disk space"):
        writer.flush()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def turn_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 0xFF
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [cut, empty, turn_a_byte])
def test_a_damaged_shard_is_named_with_its_remedy(tmp_path, damage: Callable[[Path], None]):
    write(tmp_path, embeddings_of(FULL, *(replace(BARE, item_id=f"item {number}") for number in range(50)), dim=64))
    (shard,) = shards_of(tmp_path)
    damage(shard)
    with pytest.raises(EmbeddingsError, match=rf"'{shard.name}' is damaged .*delete that file"):
        read_embeddings(tmp_path)


def test_writer_names_a_damaged_shard(tmp_path):
    write(tmp_path, embeddings_of(FULL))
    (shard,) = shards_of(tmp_path)
    cut(shard)
    with pytest.raises(EmbeddingsError, match=rf"'{shard.name}' is damaged .*delete that file"):
        EmbeddingsWriter(tmp_path, fingerprint="model 1")
    shard.unlink()
    assert EmbeddingsWriter(tmp_path, fingerprint="model 1").done_count == 0


def test_a_missing_shard_is_named(tmp_path):
    write(tmp_path, embeddings_of(FULL))
    (shard,) = shards_of(tmp_path)
    shard.unlink()
    with pytest.raises(EmbeddingsError, match=rf"'{shard.name}' is missing; run `fieldmark embed`"):
        read_embeddings(tmp_path)


def test_a_shard_with_other_rows_than_listed_is_named(tmp_path):
    info = write(tmp_path, embeddings_of(FULL))
    content = json.loads((tmp_path / INFO_NAME).read_text())
    for listed in (5, 1):
        content["row_counts"] = dict.fromkeys(info.row_counts, listed)
        (tmp_path / INFO_NAME).write_text(json.dumps(content))
        with pytest.raises(EmbeddingsError, match=f"has 2 rows, not {listed}"):
            read_embeddings(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"{}", b'{"format_version": 1, "dim": "three"}', b"\xff\xfe\x00"]
)
def test_a_damaged_info_is_named_with_its_remedy(tmp_path, content):
    write(tmp_path, embeddings_of(FULL))
    (tmp_path / INFO_NAME).write_bytes(content)
    with pytest.raises(EmbeddingsError, match=f"'{INFO_NAME}' is damaged .*delete that file"):
        read_embeddings(tmp_path)


def test_another_format_version_is_refused(tmp_path):
    write(tmp_path, embeddings_of(FULL))
    path = tmp_path / INFO_NAME
    path.write_text(path.read_text().replace('"format_version": 1', '"format_version": 99'))
    with pytest.raises(EmbeddingsError, match=r"format version 99.*embed again into a new folder"):
        read_embeddings(tmp_path)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(EmbeddingsError, match="no such folder; run `fieldmark embed`"):
        read_embeddings(tmp_path / "nowhere")


def test_an_item_that_was_flushed_before_waits_with_the_others(tmp_path):
    writer = EmbeddingsWriter(tmp_path, fingerprint="finch")
    first, second = (embeddings_of(item) for item in (FULL, replace(FULL, item_id="another")))
    writer.add(first, content_hash_by_item_id=hashes_of(first))
    writer.flush()
    for part in (second, first):
        writer.add(part, content_hash_by_item_id=hashes_of(part))
    writer.flush()
    assert len(shards_of(tmp_path)) == 2
