"""The LanceDB store: opening, damage, several processes, sudden death, disk."""

import itertools
import logging
import multiprocessing
import resource
import shutil
import threading
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path

import filelock
import lancedb
import numpy as np
import pytest

from fieldmark.errors import DamagedGalleryError, GalleryError, MissingGalleryError, UnknownItemError
from fieldmark.gallery.lance import VERSION_LIMIT, LanceIndex
from fieldmark.types import Embeddings, Item, Medium

QUERY = np.array([1.0, 0.0])
SLOTS, ITEMS_PER_SLOT = 5, 3


def batch_of(turn: int) -> Embeddings:
    """Items whose class, number of segments and vector all tell the turn that wrote them."""
    rows = np.tile(np.array([[np.cos(turn), np.sin(turn)]], dtype=np.float32), (1 + turn % 4, 1))
    items = [Item(f"{turn % SLOTS}-{place}", Medium.AUDIO, class_name=str(turn)) for place in range(ITEMS_PER_SLOT)]
    row_count = len(rows) * len(items)
    return Embeddings(
        items=tuple(item for item in items for _ in rows),
        start_seconds=np.zeros(row_count),
        end_seconds=np.ones(row_count),
        embedding=np.tile(rows, (len(items), 1)),
    )


def write(index: LanceIndex, turn: int) -> None:
    batch = batch_of(turn)
    index.add(batch, content_hash_by_item_id={item.item_id: str(turn) for item in batch.items})


def turn_by_slot(index: LanceIndex) -> dict[int, int]:
    """The turn that last wrote each slot, after a look that every item and every batch is whole."""
    turns, counts = defaultdict(set), defaultdict(int)
    for hit in index.search(QUERY, k=10_000, by_segment=True):
        turn = int(hit.class_name)
        turns[int(hit.item_id.split("-")[0])].add(turn)
        counts[hit.item_id, turn] += 1
        assert hit.score == pytest.approx(np.cos(turn), abs=1e-6)
    assert all(count == 1 + turn % 4 for (_, turn), count in counts.items())
    assert all(len(found) == 1 for found in turns.values())
    assert len(counts) == ITEMS_PER_SLOT * len(turns)
    return {slot: found.pop() for slot, found in turns.items()}


def write_without_end(folder: Path, acknowledge: Connection, first_turn: int, step: int) -> None:
    """What a child process does until it is killed."""
    index = LanceIndex.open(folder)
    for turn in itertools.count(first_turn, step):
        write(index, turn)
        acknowledge.send(turn)
        if turn % 10 == 0:
            index.optimize()


def start_writer(folder: Path, *, first_turn: int = 0, step: int = 1):
    """A child process that writes, and where it tells what it has written."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=write_without_end, args=(folder, sender, first_turn, step), daemon=True)
    process.start()
    sender.close()
    return process, receiver


def last_acknowledged(receiver: Connection, turn: int = -1) -> int:
    """The last turn that a killed child told of."""
    try:
        while True:
            turn = receiver.recv()
    except (EOFError, OSError):
        return turn


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a store may be made; its parent is missing as well."""
    return tmp_path / "birds.gallery" / "index"


@pytest.fixture
def index(folder: Path) -> LanceIndex:
    return LanceIndex.create(folder, fingerprint="sparrow", dim=2)


def test_open_gives_what_create_made(index, folder):
    write(index, 3)
    opened = LanceIndex.open(folder, fingerprint="sparrow")
    assert (opened.fingerprint, opened.dim, opened.item_count()) == ("sparrow", 2, ITEMS_PER_SLOT)


def test_open_finds_a_store_that_was_moved(index, folder, tmp_path):
    write(index, 3)
    shutil.move(folder, tmp_path / "elsewhere")
    moved = LanceIndex.open(tmp_path / "elsewhere")
    write(moved, 4)
    assert turn_by_slot(moved) == {3: 3, 4: 4}


def test_open_refuses_another_fingerprint(index, folder):
    with pytest.raises(GalleryError, match=r"finch.*built with sparrow"):
        LanceIndex.open(folder, fingerprint="finch")


def test_open_of_nothing_is_a_missing_gallery_and_makes_nothing(folder):
    with pytest.raises(MissingGalleryError, match="fieldmark index"):
        LanceIndex.open(folder)
    assert not folder.parent.exists()


def test_create_takes_a_store_that_was_not_made_to_the_end(folder):
    (folder / "segments.lance" / "_versions").mkdir(parents=True)
    with pytest.raises(MissingGalleryError):
        LanceIndex.open(folder)
    assert LanceIndex.create(folder, fingerprint="sparrow", dim=2).item_count() == 0


def test_create_refuses_to_overwrite(index, folder):
    write(index, 0)
    with pytest.raises(GalleryError, match="choose another path"):
        LanceIndex.create(folder, fingerprint="sparrow", dim=2)
    assert index.item_count() == ITEMS_PER_SLOT


def test_create_below_a_file_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(GalleryError, match="cannot be written"):
        LanceIndex.create(tmp_path / "file" / "index", fingerprint="sparrow", dim=2)


def test_open_refuses_a_format_it_does_not_know(index, folder):
    connection = lancedb.connect(folder)
    schema = connection.open_table("segments").schema
    connection.drop_table("segments")
    connection.create_table("segments", schema=schema.with_metadata(schema.metadata | {b"fieldmark.format": b"99"}))
    with pytest.raises(GalleryError, match=r"format 99.*build it again"):
        LanceIndex.open(folder)


def files_of(folder: Path, part: str) -> list[Path]:
    return sorted((folder / "segments.lance" / part).glob("*"))


def lose_data(folder: Path) -> None:
    files_of(folder, "data")[0].unlink()


def cut_data(folder: Path) -> None:
    file = files_of(folder, "data")[0]
    file.write_bytes(file.read_bytes()[:-100])


def overwrite_vectors(folder: Path) -> None:
    vector = batch_of(1).embedding[0].tobytes()
    for file in files_of(folder, "data"):
        file.write_bytes(file.read_bytes().replace(vector, np.full(2, np.nan, dtype=np.float32).tobytes()))


def cut_versions(folder: Path) -> None:
    for file in files_of(folder, "_versions"):
        file.write_bytes(file.read_bytes()[:20])


def empty_versions(folder: Path) -> None:
    for file in files_of(folder, "_versions"):
        file.write_bytes(b"")


def lose_versions(folder: Path) -> None:
    shutil.rmtree(folder / "segments.lance" / "_versions")


@pytest.mark.parametrize(
    "damage", [lose_data, cut_data, overwrite_vectors, cut_versions, empty_versions, lose_versions]
)
def test_damage_is_told_with_the_folder_and_what_to_do(index, folder, damage):
    write(index, 1)
    write(index, 2)
    damage(folder)
    with pytest.raises(DamagedGalleryError, match=r"index' is damaged: .*Build it again") as caught:
        LanceIndex.open(folder).search(QUERY, k=1)
    assert ".rs:" not in str(caught.value)


def test_reader_sees_each_write_of_another_handle_at_once(index, folder):
    reader = LanceIndex.open(folder)
    for turn in range(2 * SLOTS):
        write(index, turn)
        assert turn_by_slot(reader)[turn % SLOTS] == turn
        assert reader.content_hashes()[f"{turn % SLOTS}-0"] == str(turn)
    index.remove([f"0-{place}" for place in range(ITEMS_PER_SLOT)])
    assert 0 not in turn_by_slot(reader)
    with pytest.raises(UnknownItemError):
        reader.get("0-0")


def test_reader_goes_on_when_its_version_is_compacted_away(index, folder):
    write(index, 0)
    reader = LanceIndex.open(folder)
    for turn in range(SLOTS):
        write(index, turn)
    index.optimize()
    assert reader.get("0-0").items[0].class_name == "0"
    assert turn_by_slot(reader) == {slot: slot for slot in range(SLOTS)}


def test_search_and_add_from_many_threads_see_whole_batches(index):
    write(index, 0)
    with ThreadPoolExecutor(4) as pool:
        writers = [pool.submit(write, index, turn) for turn in range(1, 30)]
        readers = [pool.submit(turn_by_slot, index) for _ in range(60)]
        for task in (*writers, *readers):
            task.result()
    assert turn_by_slot(index).keys() == set(range(SLOTS))


def test_write_gives_up_on_a_lock_that_is_held_and_says_so(index, folder):
    hasty = LanceIndex.open(folder, wait_seconds=0.1)
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with filelock.FileLock(folder / "write.lock"):
            held.set()
            done.wait()

    with ThreadPoolExecutor(1) as pool:
        holder = pool.submit(hold)
        held.wait()
        try:
            with pytest.raises(GalleryError, match=r"0\.1 seconds.*run the same command again"):
                write(hasty, 1)
            assert hasty.search(QUERY, k=1) == ()
        finally:
            done.set()
        holder.result()
    write(hasty, 1)
    assert turn_by_slot(index) == {1: 1}


def test_add_to_a_full_disk_leaves_all_as_it_was(index):
    write(index, 1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    large = Embeddings(
        items=(Item("large", Medium.AUDIO),) * 20_000,
        start_seconds=np.arange(20_000.0),
        end_seconds=np.arange(20_000.0),
        embedding=batch_of(1).embedding[np.zeros(20_000, dtype=int)],
    )
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, hard))
    try:
        with pytest.raises(GalleryError, match="free disk space"):
            index.add(large, content_hash_by_item_id={"large": "l"})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert turn_by_slot(index) == {1: 1}
    index.add(large, content_hash_by_item_id={"large": "l"})
    assert index.segment_count() == 20_000 + len(batch_of(1).items)


@pytest.mark.slow
@pytest.mark.parametrize("is_new", [True, False])
def test_writes_compact_by_themselves(index, folder, is_new):
    """Whether they bring new items or replace old ones."""
    for number in range(VERSION_LIMIT + 10):
        item = Item(str(number if is_new else 0), Medium.AUDIO)
        index.add(
            Embeddings((item,), np.zeros(1), np.ones(1), batch_of(number).embedding[:1]),
            content_hash_by_item_id={item.item_id: str(number)},
        )
    assert len(files_of(folder, "_versions")) < VERSION_LIMIT
    assert len(files_of(folder, "data")) < VERSION_LIMIT
    assert index.item_count() == (VERSION_LIMIT + 10 if is_new else 1)


@pytest.mark.slow
def test_many_small_writes_keep_the_disk_bounded(tmp_path):
    """Writes that replace the same items: the disk stays below three times what counts, 8 MiB, and one write."""
    dim, rows_per_item = 512, 60
    index = LanceIndex.create(tmp_path, fingerprint="sparrow", dim=dim)
    rows = np.random.default_rng(0).normal(size=(rows_per_item, dim)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    largest = 0
    for number in range(120):
        item = Item(str(number % 3), Medium.AUDIO)
        index.add(
            Embeddings((item,) * rows_per_item, np.arange(60.0), np.arange(60.0), rows),
            content_hash_by_item_id={item.item_id: str(number)},
        )
        largest = max(largest, sum(file.stat().st_size for file in tmp_path.rglob("*") if file.is_file()))
    live_bytes = 3 * rows_per_item * (4 * dim + 256)
    written_bytes = 120 * rows_per_item * 4 * dim
    assert written_bytes > 3 * live_bytes + 2**23 + 3 * 2**20
    assert largest < 3 * live_bytes + 2**23 + 2**20


def test_optimize_gives_back_the_disk(index, folder):
    for turn in range(40):
        write(index, turn)
    before = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    index.optimize()
    after = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    assert after < before / 4
    assert turn_by_slot(index) == {slot: 35 + slot for slot in range(SLOTS)}


def test_store_is_silent(index, folder, capfd, caplog):
    with caplog.at_level(logging.INFO):
        for turn in range(8):
            write(index, turn)
        index.optimize()
        index.remove(["0-0"])
        LanceIndex.open(folder).search(QUERY, k=5)
    assert (capfd.readouterr(), caplog.text) == (("", ""), "")


@pytest.mark.slow
def test_kill_at_any_moment_loses_nothing_acknowledged_and_halves_nothing(tmp_path):
    moments = (0.0, 0.13, 0.61)
    folders = [tmp_path / str(number) for number in range(len(moments))]
    for folder in folders:
        LanceIndex.create(folder, fingerprint="sparrow", dim=2)
    children = [start_writer(folder) for folder in folders]
    for folder, (process, receiver), seconds in zip(folders, children, moments, strict=True):
        assert receiver.recv() == 0
        reader, until = LanceIndex.open(folder), time.monotonic() + seconds
        while time.monotonic() < until:
            turn_by_slot(reader)
        process.kill()
        process.join()
        last = last_acknowledged(receiver, turn=0)

        survivor = LanceIndex.open(folder, wait_seconds=5.0)
        turns = turn_by_slot(survivor)
        for slot in range(min(SLOTS, last + 1)):
            assert turns[slot] in {last + 1, last - (last - slot) % SLOTS}
        write(survivor, last + 2)
        survivor.optimize()
        assert turn_by_slot(survivor)[(last + 2) % SLOTS] == last + 2


@pytest.mark.slow
def test_two_processes_that_write_the_same_items_keep_them_whole(index, folder):
    process, receiver = start_writer(folder, first_turn=0, step=2)
    receiver.recv()
    for turn in range(1, 41, 2):
        write(index, turn)
        turn_by_slot(index)
    process.kill()
    process.join()
    assert last_acknowledged(receiver) > 2
    assert turn_by_slot(index).keys() == set(range(SLOTS))
    assert index.item_count() == SLOTS * ITEMS_PER_SLOT
