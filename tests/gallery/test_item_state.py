"""States of items: which files are unchanged as long as they look the same."""

import os
from dataclasses import replace

import pytest

from fieldmark.gallery.item_state import FileStamps, hash_states
from fieldmark.types import Item, Medium


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "notes"
    folder.mkdir()
    for name in ("a.txt", "b.txt"):
        (folder / name).write_text(name)
        os.utime(folder / name, (0, 0))
    return folder


def test_plain_files_are_those_that_a_folder_knows_by_name_alone(folder, tmp_path):
    plain = Item("a.txt", Medium.TEXT, path=folder / "a.txt")
    other_id = Item("set/b.txt", Medium.TEXT, path=folder / "b.txt")
    labelled = replace(other_id, item_id="b.txt", class_name="Gull")
    items = (plain, other_id, labelled)
    contents = {item.item_id: f"content of {item.item_id}" for item in items}
    states = hash_states(items, contents, root=folder)
    noted = FileStamps(tmp_path, states, root=folder, is_trusted=True)
    noted.note(items, contents)
    noted.write()
    again = FileStamps(tmp_path, states, root=folder, is_trusted=True)
    assert again.list_plain(media=(Medium.TEXT,)) == {"a.txt": "5.0"}
    assert {item.item_id: again.recall_content(item) for item in items} == contents
    assert again.list_plain(media=(Medium.AUDIO,)) == {}
    assert FileStamps(tmp_path, states, root=folder, is_trusted=False).list_plain(media=(Medium.TEXT,)) == {}


@pytest.mark.parametrize("changed", [{"content": "another"}, {"license": "CC0"}])
def test_a_file_that_the_store_holds_otherwise_is_not_plain(folder, tmp_path, changed):
    item = Item("a.txt", Medium.TEXT, path=folder / "a.txt")
    noted = FileStamps(tmp_path, {}, root=folder, is_trusted=True)
    noted.note([item], {"a.txt": "content"})
    noted.write()
    held = replace(item, license=changed.get("license"))
    states = hash_states([held], {"a.txt": changed.get("content", "content")}, root=folder)
    assert FileStamps(tmp_path, states, root=folder, is_trusted=True).list_plain(media=(Medium.TEXT,)) == {}
