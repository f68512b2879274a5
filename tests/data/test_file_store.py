"""Files in folders and object stores: whole or not at all, one winner, items whose files lie in a store."""

import errno
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fieldmark import Item, Medium
from fieldmark.data.file_store import FileStore, is_address, open_locally, place_item, restore_address, stamp_file
from fieldmark.errors import EmbeddingsError, MissingFileError, UnreadableMediaError


@pytest.fixture
def place(object_store):
    """A place of its own in each object store."""
    return f"{object_store}/{uuid.uuid4()}"


def test_a_folder_gives_what_was_written(tmp_path):
    check_store(tmp_path / "place")


def test_an_object_store_gives_what_was_written(place):
    check_store(place)


def check_store(address):
    store = FileStore(address)
    assert store.read("a/b.json") is None
    assert store.list("a") == ()
    store.write("a/b.json", b"first")
    store.write("a/b.json", b"second")
    store.write("a/c.json", b"")
    assert (store.read("a/b.json"), store.read("a/c.json")) == (b"second", b"")
    assert store.list("a") == ("b.json", "c.json")
    store.delete("a/b.json")
    store.delete("a/b.json")
    assert FileStore(str(address)).list("a") == ("c.json",)


def test_of_several_writers_that_create_a_file_in_a_folder_one_wins(tmp_path):
    check_creation(tmp_path / "place")
    assert FileStore(tmp_path / "place").list(".") == ("plan",)


def test_of_several_writers_that_create_an_object_one_wins(place):
    check_creation(place)


def check_creation(address):
    store = FileStore(address)
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda number: store.create("plan", b"%d" % number), range(16)))
    assert len(found) == 1
    assert store.read("plan") in found


def test_a_place_that_cannot_be_written_is_told_with_a_remedy(tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(EmbeddingsError, match=r"could not be written.*free space.*same command again"):
        FileStore(tmp_path / "taken").write("a", b"")


def test_a_full_disk_leaves_what_was_there(tmp_path, monkeypatch):
    store = FileStore(tmp_path)
    store.write("a", b"before")

    def fail(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(EmbeddingsError, match="No space left on device"):
        store.write("a", b"after")
    monkeypatch.undo()
    assert store.read("a") == b"before"
    assert store.list(".") == ("a",)


def test_an_address_without_a_driver_is_refused():
    with pytest.raises(EmbeddingsError, match="install the driver"):
        FileStore("nowhere-at-all://bucket/birds")


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("s3://bucket/a", True),
        ("gs://b", True),
        ("/data/a", False),
        ("a/b", False),
        ("C:/birds", False),
        ("s3:", False),
    ],
)
def test_addresses_are_told_from_paths(place, expected):
    assert is_address(place) is expected
    assert is_address(Path(place)) is expected
    assert restore_address(Path(place)) == place


def test_an_item_of_a_store_is_opened_as_a_copy(place, tmp_path):
    root = place
    FileStore(root).write("songs/7.txt", b"a song")
    read = Item("7", Medium.TEXT, path=tmp_path / "songs" / "7.txt")
    item = place_item(read, read_in=tmp_path, address=root)
    assert restore_address(item.path) == f"{root}/songs/7.txt"
    with open_locally(item) as local:
        assert (local.item_id, local.path.name, local.path.read_bytes()) == ("7", "7.txt", b"a song")
    assert not local.path.exists()
    before = stamp_file(item)
    FileStore(root).write("songs/7.txt", b"another song")
    assert stamp_file(item) != before
    missing = place_item(Item("8", Medium.TEXT, path=tmp_path / "8.txt"), read_in=tmp_path, address=root)
    assert stamp_file(missing) == "missing"
    with pytest.raises(MissingFileError, match=r"8\.txt"), open_locally(missing):
        pass


def test_numbered_pictures_in_a_store_are_refused():
    item = Item("v", Medium.VIDEO, path=Path("memory://clips/*.png"), extra=(("form", "frames"),))
    with pytest.raises(UnreadableMediaError, match="file system"), open_locally(item):
        pass


def test_an_item_on_this_machine_is_opened_as_it_is(tmp_path):
    item = Item("1", Medium.TEXT, path=tmp_path / "1.txt")
    with open_locally(item) as local:
        assert local is item
    assert stamp_file(item) == "missing"
    item.path.write_text("a")
    first = stamp_file(item)
    item.path.write_text("ab")
    assert stamp_file(item) != first
