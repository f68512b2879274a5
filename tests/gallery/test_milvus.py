"""What a store in Milvus does beyond the contract: shared files, several processes, an engine that fails."""

import os
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from fieldmark.errors import ConfigError, DamagedGalleryError, GalleryError, MissingGalleryError
from fieldmark.gallery.address import EngineAccess, MilvusAddress, parse_address
from fieldmark.gallery.files import FolderFiles
from fieldmark.gallery.lance import LanceIndex
from fieldmark.gallery.layout import GalleryFile
from fieldmark.gallery.recall import ExactNeighbors, Queries
from fieldmark.gallery.store import Filter
from fieldmark.types import Item, Medium

pytest.importorskip("pymilvus")

from pymilvus import MilvusException

from fieldmark.gallery.milvus.connection import FLAT, Connection
from fieldmark.gallery.milvus.files import MilvusFiles
from fieldmark.gallery.milvus.index import MilvusIndex
from fieldmark.gallery.milvus.rows import read_key, write_key
from milvus_engine import find_free_port, open_files, start_milvus_lite


@pytest.fixture(scope="module")
def shared_files(milvus_server):
    return open_files(milvus_server, f"files_{uuid.uuid4().hex[:8]}")


@pytest.fixture(scope="module")
def store(shared_files):
    return MilvusIndex.create(shared_files, fingerprint="sparrow", dim=8, vectors=FLAT)


@pytest.fixture(params=["folder", "milvus"])
def files(request, tmp_path):
    return FolderFiles(tmp_path) if request.param == "folder" else request.getfixturevalue("shared_files")


def add(store, embeddings_of, unit_rows, *names, seed=0, rows=1, **facts):
    embeddings = embeddings_of(
        *((Item(name, Medium.AUDIO, **facts), unit_rows(rows, seed=seed + at)) for at, name in enumerate(names))
    )
    store.add(embeddings, content_hash_by_item_id=dict.fromkeys(names, "h"))
    return embeddings


def wait_for(fact):
    """Wait for what another process wrote, for the 5 seconds by which Milvus may lag."""
    deadline = time.monotonic() + 5.0
    while not (is_so := fact()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return is_so


def test_copies_that_several_processes_make_at_once_are_whole(milvus_server, shared_files):
    """They share the cache of their machine; each finds the file, and none meets the half of another's."""
    content = np.random.default_rng(0).bytes(200_000)
    shared_files.write(GalleryFile.CALIBRATION, content)
    several = [open_files(milvus_server, shared_files.name) for _ in range(6)]
    with ThreadPoolExecutor(len(several)) as pool:
        for _ in range(10):
            found = list(pool.map(lambda files: files.find(GalleryFile.CALIBRATION), several))
            assert {path.read_bytes() for path in found} == {content}
            found[0].unlink()


# ---------------------------------------------------------------- addresses and keys


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("milvus://db.example/birds", MilvusAddress("db.example", 19530, "birds")),
        ("milvus:/db.example:1/birds", MilvusAddress("db.example", 1, "birds")),  # as a path keeps it
        ("milvus+tls://10.0.0.1:443/museum/birds", MilvusAddress("10.0.0.1", 443, "birds", "museum", True)),
        ("milvus://[::1]:5/b", MilvusAddress("[::1]", 5, "b")),
        ("birds.gallery", Path("birds.gallery")),
    ],
)
def test_an_address_is_a_folder_or_a_collection(text, expected):
    assert parse_address(text) == expected
    assert parse_address(Path(text)) == expected
    assert parse_address(str(expected)) == expected


@pytest.mark.parametrize(
    "text", ["milvus://host", "milvus://host:99999/b", "milvus://host/a b", "milvus://h/a/b/c", "milvus://root:pw@h/b"]
)
def test_an_address_that_is_none_is_refused_without_its_password(text):
    with pytest.raises(ConfigError, match=r"Give milvus://HOST:PORT/NAME") as caught:
        parse_address(text)
    assert "pw" not in str(caught.value)
    assert ("FIELDMARK_MILVUS_TOKEN" in str(caught.value)) == ("@" in text)


def test_a_token_is_in_no_text_about_the_access():
    assert "secret" not in repr(EngineAccess(token="root:secret"))


def test_keys_keep_the_order_of_ids_and_hold_nothing_that_an_expression_could_read():
    generator = np.random.default_rng(0)
    letters = [*"aAzZ09 !\"#%&'()[\\]^~{}.,/-_\n\t\0", "é", "鳥", "𝄞", "\ud800"]
    ids = ["", *{"".join(generator.choice(letters, size=size)) for size in (1, 1, 2, 3, 5) for _ in range(200)}]
    in_order = sorted(ids, key=lambda each: each.encode("utf-8", "surrogatepass"))
    assert sorted(ids, key=lambda each: f"{write_key(each)} 00000000") == in_order
    assert [read_key(f"{write_key(each)} 0000000a") for each in ids] == ids
    assert not set("\"\\' ") & set("".join(map(write_key, ids)))
    with pytest.raises(GalleryError, match="shorter id"):
        write_key("x" * 70_000)


# ---------------------------------------------------------------- files


def test_files_are_read_as_they_were_last_written(files):
    large, larger = np.random.default_rng(0).bytes(200_000), np.random.default_rng(1).bytes(300_000)
    assert files.find(GalleryFile.SPECIES) is None
    assert files.read_stamp(GalleryFile.SPECIES) is None
    for content in (b"", b"small", large, larger, b"{}"):
        before = files.read_stamp(GalleryFile.SPECIES)
        files.write(GalleryFile.SPECIES, content)
        assert files.find(GalleryFile.SPECIES).read_bytes() == content
        assert files.read_stamp(GalleryFile.SPECIES) not in (before, None)
    assert files.find(GalleryFile.TAXONOMY) is None


def test_writers_at_once_leave_the_file_of_one_of_them(files, tmp_path):
    rest = tmp_path / f".{GalleryFile.NAMES}.0a1b2c3d.partial"
    rest.write_bytes(b"of a process that was killed")
    os.utime(rest, (0, 0))
    contents = [bytes([number]) * 50_000 for number in range(6)]
    with ThreadPoolExecutor(len(contents)) as pool:
        for _ in range(5):
            list(pool.map(lambda content: files.write(GalleryFile.NAMES, content), contents))
            assert files.find(GalleryFile.NAMES).read_bytes() in contents
    if isinstance(files, FolderFiles):
        assert not list(tmp_path.glob(".*.partial"))


def test_files_are_held_by_one_writer_at_a_time(files, milvus_server):
    other = files if isinstance(files, FolderFiles) else open_files(milvus_server, files.name)
    order = []

    def write(own, name):
        with own.lock(GalleryFile.LABELS):
            order.append(f"{name} begins")
            time.sleep(0.1)
            order.append(f"{name} ends")

    threads = [threading.Thread(target=write, args=each) for each in ((files, "a"), (other, "b"), (files, "c"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [each.split()[0] for each in order[::2]] == [each.split()[0] for each in order[1::2]]
    assert len(order) == 6


def test_a_lock_that_is_held_for_too_long_is_told_and_one_whose_holder_died_is_taken(
    shared_files, milvus_server, monkeypatch
):
    other = open_files(milvus_server, shared_files.name)
    with (
        shared_files.lock("test"),
        pytest.raises(GalleryError, match=r"Another process is writing .* waited 0.2 seconds"),
        other.lock("test", wait_seconds=0.2),
    ):
        raise AssertionError
    monkeypatch.setattr("fieldmark.gallery.milvus.files._DEAD_SECONDS", 0.3)
    row = {"pk": "lock/test/dead", "kind": "lock", "value": "0", "vector": [1.0, 0.0]}
    shared_files.connection.write(f"{shared_files.name}__files", [row])
    with other.lock("test", wait_seconds=20.0):
        pass


# ---------------------------------------------------------------- several processes


def test_a_process_sees_what_another_one_writes(store, milvus_server, unit_rows, embeddings_of):
    reader = MilvusIndex.open(open_files(milvus_server, store._files.name), fingerprint="sparrow")
    before = reader.version
    added = add(store, embeddings_of, unit_rows, "seen", seed=40, rows=3)
    assert reader.search(added.embedding[1], k=1)[0].item_id == "seen"
    assert reader.version != before
    assert (reader.item_count(), reader.segment_count()) == (store.item_count(), store.segment_count())
    reader.remove(["seen"])
    assert "seen" not in store.content_hashes()


def test_a_writer_that_died_leaves_whole_items_and_the_next_one_corrects_the_counts(
    store, unit_rows, embeddings_of, monkeypatch
):
    add(store, embeddings_of, unit_rows, "long", seed=50, rows=5)
    items, segments = store.item_count(), store.segment_count()

    def die(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("fieldmark.gallery.milvus.files._DEAD_SECONDS", 0.3)  # its lock is left too
    with monkeypatch.context() as patch:  # the rows are written; those of the longer item before are not deleted yet
        patch.setattr(Connection, "delete", die)
        with pytest.raises(KeyboardInterrupt):
            add(store, embeddings_of, unit_rows, "long", "new", seed=60, rows=2)
    assert len(store.get("long").items) == 2
    hits = store.search(unit_rows(1, seed=50)[0], k=99, by_segment=True, where=Filter(item_ids=frozenset({"long"})))
    assert len(hits) == 2
    add(store, embeddings_of, unit_rows, "other", seed=70)
    assert (store.item_count(), store.segment_count()) == (items + 2, segments - 3 + 2 + 1)
    assert not store.find_unsound_items()
    store.remove(["long", "new", "other"])
    assert store.item_count() == items - 1


def test_a_load_tells_others_while_it_goes_on_and_one_that_died_is_counted_by_the_next_writer(
    milvus_server, unit_rows, embeddings_of, monkeypatch
):
    name = f"load_{uuid.uuid4().hex[:8]}"
    store = MilvusIndex.create(open_files(milvus_server, name), fingerprint="sparrow", dim=8, vectors=FLAT)
    other = MilvusIndex.open(open_files(milvus_server, name))
    monkeypatch.setattr("fieldmark.gallery.milvus.state_keeper._PUBLISH_SECONDS", 1_000.0)
    with store.loading():
        add(store, embeddings_of, unit_rows, "first", rows=3)
        with monkeypatch.context() as patch:
            patch.setattr("fieldmark.gallery.milvus.state_keeper._PUBLISH_SECONDS", 0.0)
            add(store, embeddings_of, unit_rows, "second", seed=5)
        assert wait_for(lambda: (other.item_count(), other.segment_count()) == (2, 4))
        add(store, embeddings_of, unit_rows, "third", seed=6)
        assert other.item_count() == 2
    assert wait_for(lambda: other.item_count() == 3)

    def fail(*arguments, **options):
        raise KeyboardInterrupt

    def die_within_a_load():
        with store.loading():
            add(store, embeddings_of, unit_rows, "fourth", seed=7)
            monkeypatch.setattr(Connection, "write", fail)
            add(store, embeddings_of, unit_rows, "fifth", seed=8)

    with pytest.raises(KeyboardInterrupt):
        die_within_a_load()
    monkeypatch.undo()
    add(other, embeddings_of, unit_rows, "sixth", seed=9)
    assert other.content_hashes().keys() == {"first", "second", "third", "fourth", "sixth"}
    assert (other.item_count(), other.segment_count()) == (5, 7)


def test_the_recall_of_a_large_store_is_measured_and_more_candidates_are_kept_only_where_they_help(
    milvus_server, unit_rows, embeddings_of, monkeypatch
):
    files = open_files(milvus_server, f"recall_{uuid.uuid4().hex[:8]}")
    store = MilvusIndex.create(files, fingerprint="sparrow", dim=8)
    assert store.approximation() is None
    add(store, embeddings_of, unit_rows, *(f"{at:03d}" for at in range(60)), rows=20)
    store.optimize()
    found = store.approximation()
    assert (found.kind, found.measured_count, found.probe_count) == ("hnsw", 1200, 64)
    assert found.recall >= 0.99
    asked = []

    def measure(self, find):
        asked.append(1)
        return (0.5, 0.9, 0.9)[len(asked) - 1]

    monkeypatch.setattr("fieldmark.gallery.recall.ExactNeighbors.measure", measure)
    store.record_recall(ExactNeighbors(Queries.from_items(store.get("000"), media=[Medium.AUDIO])))
    assert (store.approximation().recall, store.approximation().probe_count, len(asked)) == (0.9, 128, 3)


def test_a_filter_that_leaves_few_rows_is_answered_by_a_look_at_each_and_by_the_facts_of_the_best_alone(
    milvus_server, tmp_path, unit_rows, embeddings_of, monkeypatch
):
    """An engine that is still indexing finds few of these, so the index is not asked."""
    files = open_files(milvus_server, f"few_{uuid.uuid4().hex[:8]}")
    store = MilvusIndex.create(files, fingerprint="sparrow", dim=8)
    exact = LanceIndex.create(tmp_path / "exact", fingerprint="sparrow", dim=8)
    rows = [unit_rows(30 if at == 5 else 3, seed=at % 40) for at in range(60)]  # one is long, and some are alike
    items = [Item(f"{at:02d}", Medium.AUDIO, class_name="sparrow" if at % 4 else "wren") for at in range(60)]
    for each in (store, exact):
        hashes = {item.item_id: "h" for item in items}
        each.add(embeddings_of(*zip(items, rows, strict=True)), content_hash_by_item_id=hashes)
    read = []

    def refuse(*arguments, **options):
        raise AssertionError("the index was asked")

    def note(self, name, condition, columns, **options):
        found = plain(self, name, condition, columns, **options)
        read.extend(found if "facts" in columns else ())
        return found

    plain = Connection.read
    monkeypatch.setattr(Connection, "search", refuse)
    monkeypatch.setattr(Connection, "read", note)
    monkeypatch.setattr("fieldmark.gallery.milvus.search._FIRST_FETCHED", 4)
    where = Filter(class_names=frozenset({"sparrow"}))
    for query in unit_rows(6, seed=5):
        for k, by_segment in ((1, False), (1, True), (7, False), (7, True), (44, False), (500, True)):
            read.clear()
            found = store.search(query, k=k, where=where, by_segment=by_segment)
            wanted = exact.search(query, k=k, where=where, by_segment=by_segment)
            assert [(hit.item.item_id, hit.start_seconds) for hit in found] == [
                (hit.item.item_id, hit.start_seconds) for hit in wanted
            ]
            np.testing.assert_allclose([hit.score for hit in found], [hit.score for hit in wanted], atol=1e-12)
            assert k > 1 or len(read) <= 36  # of 162 that match: 4, and where that did not settle it, 32 more
    both = Filter(class_names=frozenset({"sparrow", "wren"}))
    other, wanted_other = (
        each.compare(unit_rows(1, seed=1)[0]).score_other_class("wren", where=both) for each in (store, exact)
    )
    assert other.item_id == wanted_other.item_id


def test_rows_whose_acknowledgement_was_lost_are_there_once(milvus_server, unit_rows, embeddings_of, monkeypatch):
    """New rows are inserted, which an engine does not check: the try after a lost answer replaces them."""
    files = open_files(milvus_server, f"lost_{uuid.uuid4().hex[:8]}")
    store = MilvusIndex.create(files, fingerprint="sparrow", dim=8, vectors=FLAT)
    lost = []
    handler = type(files.connection._client._get_connection())
    insert = handler.batch_insert

    def insert_and_lose(self, *arguments, **options):
        insert(self, *arguments, **options)
        lost.append(1)
        raise MilvusException(message="server unavailable: the connection broke")

    monkeypatch.setattr(handler, "batch_insert", insert_and_lose)
    add(store, embeddings_of, unit_rows, "once", rows=3)
    assert lost
    assert files.connection.count(files.name, "segment >= 0") == 3
    assert len(store.search(unit_rows(1)[0], k=9, by_segment=True)) == 3


def test_facts_longer_than_a_text_of_milvus_are_kept(store, unit_rows, embeddings_of):
    note = "A long note. 鳥 " * 20_000
    added = add(store, embeddings_of, unit_rows, "note", seed=80, text=note, place="x" * 70_000)
    assert store.get("note").items == added.items
    store.remove(["note"])


# ---------------------------------------------------------------- what goes wrong


def test_an_engine_that_does_not_answer_is_told():
    address = parse_address(f"milvus://127.0.0.1:{find_free_port()}/birds")
    with pytest.raises(GalleryError, match=r"does not answer.*Check the address") as caught:
        MilvusFiles(address, access=EngineAccess())
    assert caught.value.kind == "engine_unreachable"


def test_another_model_and_other_collections_are_refused(store, shared_files, milvus_server):
    with pytest.raises(GalleryError, match="built with sparrow"):
        MilvusIndex.open(shared_files, fingerprint="wren")
    with pytest.raises(GalleryError, match="already"):
        MilvusIndex.create(shared_files, fingerprint="sparrow", dim=8)
    files = open_files(milvus_server, f"strange_{uuid.uuid4().hex[:8]}")
    with pytest.raises(MissingGalleryError, match="milvus://"):
        MilvusIndex.open(files)
    files.connection.create_collection(files.name, {"pk": "text", "vector": 4})
    with pytest.raises(GalleryError, match="no gallery of fieldmark"):
        MilvusIndex.create(files, fingerprint="sparrow", dim=8)
    state = shared_files.read_content("store.json")
    files.write_content("store.json", state)
    with pytest.raises(DamagedGalleryError, match="other columns, or vectors of 4 instead of 8"):
        MilvusIndex.open(files)
    files.write_content("store.json", b"{}")
    with pytest.raises(DamagedGalleryError, match="not what was written"):
        MilvusIndex.open(files)
    files.connection.drop_collection(files.name)
    files.write_content("store.json", state)
    with pytest.raises(DamagedGalleryError, match="collection of segments is missing"):
        MilvusIndex.open(files)


@pytest.mark.slow
def test_an_engine_that_is_started_again_loses_nothing_and_a_search_waits_for_it(tmp_path, unit_rows, embeddings_of):
    port = find_free_port()
    with start_milvus_lite(tmp_path, port=port) as server:
        files = open_files(server, "birds", call_seconds=300.0)
        store = MilvusIndex.create(files, fingerprint="sparrow", dim=8, vectors=FLAT)
        added = add(store, embeddings_of, unit_rows, "kept", rows=3)
    found = []
    asking = threading.Thread(target=lambda: found.append(store.search(added.embedding[0], k=1)))
    asking.start()
    with start_milvus_lite(tmp_path, port=port):
        asking.join(timeout=300)
        assert [hit.item_id for hits in found for hit in hits] == ["kept"]
        np.testing.assert_array_equal(store.get("kept").embedding, added.embedding)
        add(store, embeddings_of, unit_rows, "more", seed=9)
        assert store.item_count() == 2
