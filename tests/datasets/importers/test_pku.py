"""Lists of PKU FG-XMedia as they are found: what is taken, what is left, and that nothing is guessed."""

from collections import Counter
from pathlib import Path

import pytest

from fieldmark.data.manifest import read_manifest
from fieldmark.data.taxonomy import Taxon, Taxonomy, write_taxonomy
from fieldmark.datasets.importers.pku import import_pku
from fieldmark.errors import ManifestError
from fieldmark.io import encode_report
from fieldmark.media.video import list_frame_files
from fieldmark.types import Form, Medium, Split


@pytest.fixture
def lists(put, tmp_path) -> Path:
    """Two classes: one spelled otherwise under audio, and with a recording in both splits; videos as frames."""
    put("list/image/train.txt", "image/001.Gray_Gull/a.jpg 0\nimage/002.Tern/b.jpg 1\n")
    put("list/image/test.txt", "image/001.Gray_Gull/c.jpg 0\n")
    put("list/image/testlabel.txt", "0\n")
    put("list/audio/train.txt", "audio/audioimg/Grey_Gull/22_23.png 0\naudio/audioimg/Tern/7.png 1\n")
    put("list/audio/test.txt", "audio/audioimg/Grey_Gull/22_24_51.png 0\naudio/audioimg/Tern/9_1.png 1\n")
    put("list/text/train.txt", "text/Gray_Gull/Gray_Gull_1.txt 0\n")
    put("list/text/test.txt", "text/Tern/Tern_1.txt 1\n")
    put("list/video/train.txt", "".join(f"video/Tern/x-_y_{number:05d}.jpg 1\n" for number in (0, 12, 24)))
    put("list/video/test.txt", "video/Gray_Gull/z_00001.jpg 0\n")
    return tmp_path


def test_pku_takes_an_item_of_each_line_and_one_of_the_frames_of_a_video(lists):
    result = import_pku(lists, out=lists / "m.csv")
    assert Counter((item.medium, item.split) for item in result.items) == {
        (Medium.IMAGE, Split.TRAIN): 2,
        (Medium.IMAGE, Split.TEST): 1,
        (Medium.TEXT, Split.TRAIN): 1,
        (Medium.TEXT, Split.TEST): 1,
        (Medium.VIDEO, Split.TRAIN): 1,
        (Medium.VIDEO, Split.TEST): 1,
        (Medium.AUDIO, Split.TRAIN): 2,
        (Medium.AUDIO, Split.TEST): 2,
    }
    assert result.left == ()
    video = next(item for item in result.items if item.medium is Medium.VIDEO)
    assert (video.item_id, video.path.name, video.form) == ("video/Tern/x-_y", "x-_y_*.jpg", Form.FRAMES)
    assert dict(video.extra)["frame_count"] == "3"
    sound = next(item for item in result.items if item.medium is Medium.AUDIO)
    assert (sound.class_name, sound.form) == ("Gray_Gull", Form.SPECTROGRAM)
    assert any("'Gray_Gull'; audio has it as 'Grey_Gull'" in note for note in result.notes)


def test_pku_clips_of_one_recording_share_a_group(lists):
    result = import_pku(lists, out=lists / "m.csv")
    groups = [item.group for item in result.items if item.medium is Medium.AUDIO]
    assert groups[0] == groups[2] != groups[1]
    shared = encode_report(result)["sharing_group_with_train"]
    assert (shared["audio"], shared["image"]) == (1, 0)
    assert "warning: 1 of the 2 test items of audio share their origin" in result.to_text()


def test_pku_names_a_class_after_a_numbered_folder_even_if_others_are_more_frequent(lists, put):
    put("list/audio/test.txt", "".join(f"audio/audioimg/Grey_Gull/{number}.png 0\n" for number in range(9)))
    names = {item.class_name for item in import_pku(lists, out=lists / "m.csv").items}
    assert names == {"Gray_Gull", "Tern"}


def test_pku_names_come_from_labels_and_a_taxonomy(lists):
    write_taxonomy(Taxonomy((Taxon("Larus_canus", synonyms=("Gray Gull",)),)), lists / "taxonomy.csv")
    result = import_pku(lists, out=lists / "m.csv", taxonomy=lists / "taxonomy.csv")
    assert {item.class_name for item in result.items} == {"Larus_canus", "Tern"}
    assert any("Gray_Gull -> Larus_canus" in note for note in result.notes)
    assert any("not in the taxonomy and keep their names: Tern" in note for note in result.notes)


def test_pku_reports_missing_lists_and_takes_nothing_of_them(lists, put):
    (lists / "list/video/test.txt").unlink()
    put("list/video/testlabel.txt", "38\n38\n")
    (lists / "list/text/train.txt").unlink()
    result = import_pku(lists, out=lists / "m.csv")
    missing = {each.item_id: each.message for each in result.left if each.kind == "missing_list"}
    assert missing.keys() == {"video/test.txt", "text/train.txt"}
    assert "testlabel.txt has 2 labels, but no paths" in missing["video/test.txt"]


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("image/001.Gray_Gull/d.jpg", "bad_line"),
        ("image/001.Gray_Gull/d.jpg one", "bad_line"),
        ("image/001.Gray_Gull/d.jpg -1", "label_outside"),
        ("x" * 5_000 + " 1", "bad_line"),
        ("image/201.Gray_Gull/d.jpg 200", "label_outside"),
        ("image/001.Gray_Gull/d.jpg 7", "label_mismatch"),
        ("image/Tern/d.jpg 0", "label_mismatch"),
        ("image/002.Tern/b.jpg 1", "listed_twice"),
        ("../../etc/passwd 0", "outside_root"),
        ("/etc/passwd 0", "outside_root"),
        ("image/../../x.jpg 0", "outside_root"),
        ("audio/audioimg/Tern/8.png 1", "medium_mismatch"),
    ],
)
def test_pku_leaves_a_bad_line_with_its_reason(lists, line, kind):
    before = import_pku(lists, out=lists / "m.csv")
    with (lists / "list/image/train.txt").open("a") as file:
        file.write(f"\n{line}\n")
    result = import_pku(lists, out=lists / "m.csv")
    [left] = result.left
    assert (left.kind, left.item_id) == (kind, "image/train.txt line 4")
    assert result.items == before.items


def test_pku_leaves_a_video_with_several_labels_or_in_both_lists(lists, put):
    put("list/video/test.txt", "video/m_00001.jpg 0\nvideo/m_00002.jpg 1\nvideo/Tern/x-_y_00099.jpg 1\n")
    result = import_pku(lists, out=lists / "m.csv")
    assert Counter(each.kind for each in result.left) == {"label_mismatch": 2, "listed_twice": 1}


def test_pku_with_the_media_at_hand_leaves_what_is_not_there(lists, put):
    put("image/001.Gray_Gull/a.jpg")
    result = import_pku(lists, out=lists / "m.csv")
    assert [each.kind for each in result.left] == ["missing_file", "missing_file"]
    assert [item.path.name for item in result.items if item.medium is Medium.IMAGE] == ["a.jpg"]
    assert sum("were not checked" in note for note in result.notes) == 3


def test_pku_notes_labels_that_disagree(lists, put):
    put("list/image/testlabel.txt", "1\n")
    assert any(
        "image/testlabel.txt has 1 labels" in note and "1 differ" in note
        for note in import_pku(lists, out=lists / "m.csv").notes
    )


def test_pku_of_a_folder_without_lists(tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(ManifestError, match="Give the folder that contains"):
            import_pku(folder, out=tmp_path / "m.csv")


@pytest.mark.shared
@pytest.mark.slow
@pytest.mark.parametrize(
    ("variant", "images", "train", "left"),
    [
        ("fgcrossnet", 5_794, 0, {"missing_list": 5}),
        ("dbfcnet", 5_792, 15_994, {"medium_mismatch": 11_788}),
        ("safgcmhn", 5_792, 15_994, {"missing_list": 2}),
    ],
)
def test_pku_counts_of_the_lists_in_the_wild(shared_folder, tmp_path, variant, images, train, left):
    result = import_pku(shared_folder / "data/fgxmedia_lists" / variant, out=tmp_path / "m.csv")
    counts = Counter((item.medium, item.split) for item in result.items)
    assert counts[Medium.IMAGE, Split.TEST] == images
    assert counts[Medium.TEXT, Split.TEST] == 4_000
    assert counts[Medium.AUDIO, Split.TEST] == 6_000
    assert sum(count for (_, split), count in counts.items() if split is Split.TRAIN) == train
    assert Counter(each.kind for each in result.left) == left
    assert len({item.class_name for item in result.items}) == 200
    assert encode_report(result)["sharing_group_with_train"]["audio"] == (1_957 if train else 0)


def test_pku_finds_the_media_in_dataset_beside_the_lists(lists, put):
    put("dataset/image/001.Gray_Gull/a.jpg", "x")
    result = import_pku(lists, out=lists / "m.csv")
    [image] = [item for item in result.items if item.medium is Medium.IMAGE]
    assert image.path == lists / "dataset/image/001.Gray_Gull/a.jpg"
    assert any("None of the 2 files of text" in note and "--media" in note for note in result.notes)


def test_pku_says_at_once_that_no_media_are_there(lists):
    result = import_pku(lists, out=lists / "m.csv")
    assert "None of the 13 files that the lists name" in result.notes[0]
    assert "--media" in result.notes[0]
    assert sum("None of the" in note for note in result.notes) == 1


def test_pku_compares_the_labels_of_videos_with_the_first_line_of_each(lists, put):
    frames = "".join(f"video/Tern/{name}_{number:05d}.jpg 1\n" for name in ("b", "a") for number in range(25))
    put("list/video/test.txt", frames + "video/Gray_Gull/z_00001.jpg 0\n")
    put("list/video/testlabel.txt", "1\n1\n0\n")
    assert not any("testlabel" in note for note in import_pku(lists, out=lists / "m.csv").notes)
    put("list/video/testlabel.txt", "1\n0\n")
    [note] = [note for note in import_pku(lists, out=lists / "m.csv").notes if "testlabel" in note]
    assert "video/testlabel.txt has 2 labels, video/test.txt 3 videos, and 1 differ" in note


def test_pku_takes_the_frames_that_the_list_names(lists, put):
    for number in (0, 6, 12, 18, 24):
        put(f"dataset/video/Tern/x-_y_{number:05d}.jpg", "x")
    result = import_pku(lists, out=lists / "m.csv")
    video = next(item for item in result.items if item.item_id == "video/Tern/x-_y")
    assert dict(video.extra)["frame_numbers"] == "0 12 24"
    assert [each.name[-6:-4] for each in list_frame_files(video.path, numbers=video.frame_numbers)] == [
        "00",
        "12",
        "24",
    ]
    again = next(item for item in read_manifest(lists / "m.csv") if item.item_id == "video/Tern/x-_y")
    assert again.frame_numbers == (range(1), range(12, 13), range(24, 25))
