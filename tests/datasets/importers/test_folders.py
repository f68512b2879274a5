"""Folders in any nesting and letter case."""

import pytest

from fieldmark.data.folder import FolderChoice
from fieldmark.datasets.importers.folders import import_folders
from fieldmark.errors import ManifestError
from fieldmark.types import Medium, Split


def found(result) -> dict[str, tuple[str, str | None]]:
    return {item.item_id: (item.medium.value, item.class_name) for item in result.items}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["Images/Veery/a.jpg", "AUDIO/Veery/b.ogg", "text/Wren/c.txt"], ["Veery", "Veery", "Wren"]),
        (["Veery/a.jpg", "Veery/b.ogg", "Wren/c.txt"], ["Veery", "Veery", "Wren"]),
        (["Veery/Photos/a.jpg", "Wren/sounds/b.ogg"], ["Veery", "Wren"]),
        (["birds/Veery/a.jpg", "birds/Wren/2021/b.jpg", "README.txt"], ["Veery", "Wren", None]),
        (["blue_jay/a.jpg", "Blue Jay/b.jpg", "Wren/c.jpg"], ["Blue Jay", "Blue Jay", "Wren"]),
        (["a.jpg", "b.ogg", "c.txt"], [None, None, None]),
        (["Veery/a.jpg"], ["Veery"]),
    ],
)
def test_folders_names_classes_in_any_layout(files, expected, put, tmp_path):
    for file in files:
        put(f"data/{file}")
    classes = found(import_folders(tmp_path / "data", out=tmp_path / "m.csv", classes_from_folders=True))
    assert {file: classes[file][1] for file in files} == dict(zip(files, expected, strict=True))


def test_folders_read_splits_and_media_by_content(put, tmp_path):
    put("d/Train/Veery/a.jpg")
    put("d/TEST/Veery/a.ogg")
    result = import_folders(tmp_path / "d", out=tmp_path / "m.csv", classes_from_folders=True)
    assert {item.medium: item.split for item in result.items} == {
        Medium.IMAGE: Split.TRAIN,
        Medium.AUDIO: Split.TEST,
    }


def test_folders_leaves_with_a_reason_what_is_no_item(put, tmp_path):
    put("d/Veery/table.csv", "a,b\n1,2\n")
    put("d/Veery/damaged.jpg").write_bytes(b"\x00\x01nothing known\xff" * 9)
    put("d/Veery/empty.jpg").write_bytes(b"")
    put("d/Veery/good.jpg")
    (tmp_path / "d/Veery/loop").symlink_to(tmp_path / "d")
    (tmp_path / "d/Veery/self").symlink_to("self")
    result = import_folders(tmp_path / "d", out=tmp_path / "m.csv", classes_from_folders=True)
    assert list(found(result)) == ["Veery/good.jpg"]
    assert {each.item_id: each.kind for each in result.left} == {
        "Veery/damaged.jpg": "unreadable",
        "Veery/empty.jpg": "empty",
        "Veery/loop": "repeated_folder",
        "Veery/self": "missing_file",
        "Veery/table.csv": "not_prose",
    }


def test_folders_takes_a_file_by_its_content_whatever_the_folder_says(put, tmp_path):
    put("d/audio/Veery/a.jpg")
    result = import_folders(tmp_path / "d", out=tmp_path / "m.csv")
    assert [(item.item_id, item.medium) for item in result.items] == [("audio/Veery/a.jpg", Medium.IMAGE)]
    assert "1 files in folders of audio hold image" in " ".join(result.notes)


def test_folders_notes_what_is_passed_over(put, tmp_path):
    for name in ("d/Veery/a.jpg", "d/Veery/@eaDir/a.jpg", "d/raw/b.jpg"):
        put(name)
    result = import_folders(tmp_path / "d", out=tmp_path / "m.csv", choice=FolderChoice(exclude=("raw/",)))
    assert [item.item_id for item in result.items] == ["Veery/a.jpg"]
    notes = " ".join(result.notes)
    assert "1 files of machines" in notes
    assert "1 files by --exclude" in notes


def test_folders_says_what_it_decided(put, tmp_path):
    for file in ("d/birds/Veery/1/a.jpg", "d/birds/Wren/b.jpg", "d/birds/wren/c.jpg", "d/notes.txt"):
        put(file)
    notes = " ".join(import_folders(tmp_path / "d", out=tmp_path / "m.csv", classes_from_folders=True).notes)
    assert "'birds' contains all others" in notes
    assert "1 of 4 files are in no class folder" in notes
    assert "1 files are in subfolders of their class folder" in notes
    assert "'wren' are read as the class 'Wren'" in notes


def test_folders_spells_a_class_as_most_of_its_folders_do(put, tmp_path):
    for file in ("image/wren/a.jpg", "audio/wren/b.ogg", "text/Wren/c.txt", "text/Veery/d.txt"):
        put(f"d/{file}")
    classes = found(import_folders(tmp_path / "d", out=tmp_path / "m.csv", classes_from_folders=True))
    assert {name for _, name in classes.values()} == {"wren", "Veery"}


def test_folders_takes_the_innermost_medium_and_split(put, tmp_path):
    put("d/sounds/train/Veery/test/spectrograms/photos/a.jpg")
    put("d/train/Wren/b.jpg")
    result = import_folders(tmp_path / "d", out=tmp_path / "m.csv", classes_from_folders=True)
    assert {item.class_name: item.split for item in result.items} == {"Veery": Split.TEST, "Wren": Split.TRAIN}
    assert result.left == ()


def test_folders_of_nothing(tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(ManifestError, match="Give a folder"):
            import_folders(folder, out=tmp_path / "m.csv", classes_from_folders=True)


@pytest.mark.parametrize("merges", [False, True])
def test_folders_that_differ_only_by_author_or_rank_are_merged_if_told_so(merges, put, tmp_path):
    names = ["Cyanocitta cristata", "Cyanocitta cristata (Linnaeus, 1758)", "Cyanocitta_cristata_bromia", "Veery"]
    for name in names:
        put(f"d/{name}/a.jpg")
    result = import_folders(tmp_path / "d", out=tmp_path / "m.csv", classes_from_folders=True, merges_names=merges)
    classes = {item.class_name for item in result.items}
    assert classes == ({"Cyanocitta cristata", "Veery"} if merges else set(names))
    told = "3 classes became 1" if merges else "3 classes are 1 by their names"
    assert told in " ".join(result.notes)


def test_folders_keep_classes_apart_whose_names_are_hardly_letters(put, tmp_path):
    for name in ("C++", "C#", "movies"):
        put(f"d/{name}/a.jpg")
    classes = found(import_folders(tmp_path / "d", out=tmp_path / "m.csv", classes_from_folders=True))
    assert {name for _, name in classes.values()} >= {"C++", "C#"}


def test_folders_make_no_classes_unless_the_user_says_so(put, tmp_path):
    for file in ("2019/a.jpg", "2019/b.ogg", "old/phone/c.txt", "trailcam/d.jpg", "e.jpg", "test/2019/f.jpg"):
        put(f"d/{file}")
    result = import_folders(tmp_path / "d", out=tmp_path / "m.csv")
    assert {item.class_name for item in result.items} == {None}
    assert {item.split for item in result.items} == {None, Split.TEST}  # splits are taken as before
    [note] = result.notes
    assert "would make 3 (with their files): '2019' (3), 'old' (1), 'trailcam' (1)" in note
    assert "--classes-from-folders" in note
    assert note in result.to_text()


def test_without_folders_there_is_nothing_to_list(put, tmp_path):
    put("d/a.jpg")
    assert import_folders(tmp_path / "d", out=tmp_path / "m.csv").notes == ()
