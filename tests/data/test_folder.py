"""Folders: what of them is an item, what is passed over, and how names are spelled."""

import os
import unicodedata
from pathlib import Path

import pytest
from PIL import Image

from fieldmark.data.folder import FolderChoice, FolderContent, find_spelling, list_folder, write_stamp
from fieldmark.data.manifest import read_manifest, write_manifest
from fieldmark.datasets.importers.folders import import_folders
from fieldmark.errors import ConfigError, MissingFileError
from fieldmark.types import Item, Medium


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "birds"
    (folder / "b" / "deep").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(folder / "b" / "deep" / "GULL.PNG")
    (folder / "a.txt").write_text("A grey gull on the shore.")
    return folder


def test_list_folder_finds_files_of_any_depth_and_letter_case(folder):
    content = list_folder(folder)
    items, failures = content.items, content.failures
    assert items == (
        Item(item_id="a.txt", medium=Medium.TEXT, path=folder / "a.txt"),
        Item(item_id="b/deep/GULL.PNG", medium=Medium.IMAGE, path=folder / "b/deep/GULL.PNG"),
    )
    assert failures == ()


def test_list_folder_tells_the_medium_by_content(folder):
    Image.new("RGB", (8, 8)).save(folder / "no_suffix", format="PNG")
    items = list_folder(folder).items
    assert {item.item_id: item.medium for item in items}["no_suffix"] is Medium.IMAGE


def test_list_folder_passes_over_hidden_files(folder):
    (folder / ".git").mkdir()
    (folder / ".git" / "description.txt").write_text("hidden")
    (folder / ".a.txt.partial").write_text("hidden")
    content = list_folder(folder)
    items, failures = content.items, content.failures
    assert len(items) == 2
    assert failures == ()
    [hidden] = content.passed_over
    assert (hidden.reason, hidden.file_count, hidden.examples) == ("hidden", 2, (".git", ".a.txt.partial"))


def test_list_folder_ends_in_a_loop_of_links(folder, tmp_path):
    (folder / "b" / "up").symlink_to(folder)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "c.txt").write_text("A tern.")
    (folder / "linked").symlink_to(tmp_path / "outside")
    content = list_folder(folder)
    items, failures = content.items, content.failures
    assert [item.item_id for item in items] == ["a.txt", "b/deep/GULL.PNG"]
    assert [(each.item_id, each.kind) for each in failures] == [("b/up", "repeated_folder"), ("linked", "link_outside")]
    followed = list_folder(folder, choice=FolderChoice(follows_links=True))
    assert [item.item_id for item in followed.items] == ["a.txt", "b/deep/GULL.PNG", "linked/c.txt"]
    assert [each.item_id for each in followed.failures] == ["b/up"]


def test_list_folder_names_folders_without_a_file(folder):
    (folder / "b" / "photo.jpg").mkdir()
    content = list_folder(folder)
    items, [failure] = content.items, content.failures
    assert len(items) == 2
    assert (failure.item_id, failure.kind) == ("b/photo.jpg", "empty")
    assert "contains no files" in failure.message


def test_list_folder_tells_which_files_cannot_be_used(folder):
    (folder / "empty.jpg").touch()
    (folder / "program.bin").write_bytes(bytes(range(256)) * 20)
    (folder / "broken_link.jpg").symlink_to(folder / "nowhere.jpg")
    os.mkfifo(folder / "pipe")
    (folder / os.fsdecode(b"m\xf6we.txt")).write_text("a gull")
    content = list_folder(folder)
    items, failures = content.items, content.failures
    assert len(items) == 2
    assert {failure.item_id: failure.kind for failure in failures} == {
        "broken_link.jpg": "missing_file",
        "empty.jpg": "empty",
        "m\ufffdwe.txt": "unreadable",
        "pipe": "missing_file",
        "program.bin": "unreadable",
    }
    assert [failure.item_id for failure in failures] == sorted(failure.item_id for failure in failures)
    for failure in failures:
        failure.message.encode()


def test_list_folder_can_be_written_as_a_manifest(folder):
    items = list_folder(folder).items
    write_manifest(items, folder / "m.csv")
    assert read_manifest(folder / "m.csv") == items


def test_list_folder_of_an_empty_folder_is_empty(tmp_path):
    assert list_folder(tmp_path) == FolderContent(())


def test_list_folder_of_no_folder_is_an_error(tmp_path):
    with pytest.raises(MissingFileError, match="nowhere"):
        list_folder(tmp_path / "nowhere")


MACHINE_FOLDERS = [
    "@eaDir", "#recycle", "#snapshot", "@Recycle", "$RECYCLE.BIN", "RECYCLER", "System Volume Information", "FOUND.000",
    "lost+found", "LOST.DIR", "__MACOSX", "Thumbnails", "THMBNL", "Temporary Items", "Catalog Previews.lrdata",
]  # fmt: skip


@pytest.mark.parametrize("name", MACHINE_FOLDERS)
def test_list_folder_passes_over_what_machines_make(name, folder):
    (folder / "b" / name / "deep").mkdir(parents=True)
    for file in ("x.txt", "deep/y.txt"):
        (folder / "b" / name / file).write_text("not of the collection")
    content = list_folder(folder)
    assert [item.item_id for item in content.items] == ["a.txt", "b/deep/GULL.PNG"]
    assert content.failures == ()
    [passed] = content.passed_over
    assert (passed.reason, passed.file_count, passed.examples) == ("machine", 2, (f"b/{name}",))
    assert f"2 files of machines, in bins or among thumbnails: b/{name}" in passed.to_text()


def test_list_folder_passes_over_thumbnail_files(folder):
    for name in ("Thumbs.db", "ehthumbs.db", "GOPR0001.THM"):
        (folder / name).write_bytes(b"\xff\xd8\xff small copy")
    content = list_folder(folder)
    assert len(content.items) == 2
    assert [(each.reason, each.file_count) for each in content.passed_over] == [("machine", 3)]


def test_list_folder_leaves_out_what_patterns_exclude(folder):
    for name in ("b/raw/1.txt", "b/2.tmp", "c/2.tmp", "c/keep.tmp"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("A tern.")
    (folder / ".fieldmarkignore").write_text("# of the project\n*.tmp\n!keep.tmp\n")
    content = list_folder(folder, choice=FolderChoice(exclude=("raw/", "GULL*")))
    assert [item.item_id for item in content.items] == ["a.txt", "c/keep.tmp"]
    [passed] = content.passed_over
    assert (passed.reason, passed.file_count) == ("excluded", 4)
    assert "--exclude or .fieldmarkignore" in passed.to_text()


def test_list_folder_refuses_a_pattern_that_is_none(folder):
    with pytest.raises(ConfigError, match=r"'!' is no pattern of files.*such as"):
        list_folder(folder, choice=FolderChoice(exclude=("!",)))


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_list_folder_composes_names(form, folder):
    written = unicodedata.normalize(form, "Mésange/hälsa.txt")
    (folder / written).parent.mkdir()
    (folder / written).write_text("A tit.")
    found = list_folder(folder, choice=FolderChoice(exclude=("b",))).items
    assert [item.item_id for item in found] == [unicodedata.normalize("NFC", "Mésange/hälsa.txt"), "a.txt"]
    assert all(item.path.is_file() for item in found)
    excluded = list_folder(folder, choice=FolderChoice(exclude=("b", unicodedata.normalize("NFC", "Mésange/"))))
    assert [item.item_id for item in excluded.items] == ["a.txt"]


def test_names_that_differ_in_composition_alone_are_two_files_of_one_class(tmp_path):
    for form in ("NFC", "NFD"):
        path = tmp_path / "d" / unicodedata.normalize(form, "Mésange") / "1.txt"
        path.parent.mkdir(parents=True)
        path.write_text(f"A tit, {form}.")
    content = list_folder(tmp_path / "d")
    assert len({item.item_id for item in content.items}) == 2
    assert {item.path.read_text() for item in content.items} == {"A tit, NFC.", "A tit, NFD."}
    result = import_folders(tmp_path / "d", out=tmp_path / "m.csv", classes_from_folders=True)
    assert {item.class_name for item in result.items} == {unicodedata.normalize("NFC", "Mésange")}


@pytest.mark.parametrize(("written", "stored"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_a_manifest_finds_a_file_whatever_its_composition(written, stored, tmp_path):
    path = tmp_path / unicodedata.normalize(stored, "Mésange à tête") / "é.txt"
    path.parent.mkdir()
    path.write_text("A tit.")
    row = unicodedata.normalize(written, "Mésange à tête/") + "é.txt"
    (tmp_path / "m.csv").write_text(f"path,medium\n{row},text\n", encoding="utf-8")
    [item] = read_manifest(tmp_path / "m.csv")
    assert item.path == path
    assert find_spelling(tmp_path / "nowhere" / "é.txt") == tmp_path / "nowhere" / "é.txt"


def test_a_link_to_a_file_outside_is_listed_and_not_read(folder, tmp_path):
    (tmp_path / "secret.txt").write_text("A secret.")
    (folder / "linked.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "inside.txt").symlink_to(folder / "a.txt")
    content = list_folder(folder)
    assert [item.item_id for item in content.items] == ["a.txt", "b/deep/GULL.PNG", "inside.txt"]
    [failure] = content.failures
    assert (failure.item_id, failure.kind) == ("linked.txt", "link_outside")
    assert "--follow-links" in failure.message


def test_files_that_look_as_they_did_are_listed_by_their_ids_alone(folder):
    stamps = {name: write_stamp((folder / name).stat()) for name in ("a.txt", "b/deep/GULL.PNG")}
    found = list_folder(folder, stamps=stamps)
    assert (found.items, found.unchanged) == ((), frozenset(stamps))
    (folder / "a.txt").write_text("A gray gull on the shore, and a tern.")
    (folder / "c.txt").write_text("A new one.")
    found = list_folder(folder, stamps=stamps)
    assert ([item.item_id for item in found.items], found.unchanged) == (["a.txt", "c.txt"], {"b/deep/GULL.PNG"})
    found = list_folder(folder, stamps=stamps, choice=FolderChoice(exclude=("b",)))
    assert found.unchanged == frozenset()


def test_a_file_beside_one_that_is_unchanged_keeps_its_spelling(folder):
    composed, other = (unicodedata.normalize(form, "Mésange.txt") for form in ("NFC", "NFD"))
    (folder / composed).write_text("A tit.")
    stamps = {composed: write_stamp((folder / composed).stat())}
    (folder / other).write_text("Another tit.")
    found = list_folder(folder, stamps=stamps, choice=FolderChoice(exclude=("b", "a.txt")))
    assert ([item.item_id for item in found.items], found.unchanged) == ([other], {composed})
