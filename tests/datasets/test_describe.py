"""What a data set holds, as numbers and as a datasheet."""

import pytest

from fieldmark import Medium, Split, write_manifest
from fieldmark.datasets.describe import describe, write_datasheet
from fieldmark.io import encode_report
from fieldmark.types import Item


@pytest.fixture
def manifest(tmp_path):
    items = [
        Item("1", Medium.TEXT, text="one two three", class_name="Gull", split=Split.TRAIN, group="page"),
        Item("2", Medium.TEXT, text="four five", class_name="Gull", split=Split.TRAIN, group="page", license="CC0"),
        Item("3", Medium.TEXT, text="six|seven", class_name="Tern", split=Split.TEST, source="https://a.org/x/y.txt"),
        Item("4", Medium.IMAGE, path=tmp_path / "nowhere.jpg", class_name="Tern", split=Split.TEST),
    ]
    write_manifest(items, tmp_path / "m.csv")
    return tmp_path / "m.csv"


def test_describe_counts_and_measures(manifest):
    found = encode_report(describe(manifest))
    assert (found["item_count"], found["class_count"], found["failure_count"]) == (4, 2, 1)
    assert found["counts"] == {"image": {"test": 1}, "text": {"train": 2, "test": 1}}
    assert found["class_counts"]["Tern"] == {"image": {"test": 1}, "text": {"test": 1}}
    assert found["group_counts"]["text"] == 2
    assert found["lengths"] == {
        "text": {"count": 3, "total": 7, "min": 2, "quartile_1": 2, "median": 2, "quartile_3": 2.5, "max": 3}
    }
    assert found["licenses"] == {"not stated": 3, "CC0": 1}
    assert found["sources"] == {"not stated": 3, "a.org/x/y.txt": 1}


def test_describe_measures_sound_and_video(toy_manifest):
    lengths = encode_report(describe(toy_manifest))["lengths"]
    assert lengths.keys() == {"text", "video", "audio"}
    assert 2.0 <= lengths["audio"]["median"] <= 3.0
    assert 1.0 <= lengths["video"]["median"] <= 2.1


def test_datasheet_has_every_count(manifest, tmp_path):
    found = describe(manifest)
    write_datasheet(found, tmp_path / "sheet.md")
    sheet = (tmp_path / "sheet.md").read_text(encoding="utf-8")
    assert "| text | 2 | 1 | 2 | 2 | 2 | 3 | 7 |" in sheet
    assert "| class (train / test) | image | text |" in sheet
    assert "| Gull | - | 2 / 0 |" in sheet
    assert "1 item cannot be decoded" in sheet
    assert "| CC0 | 1 |" in sheet
    assert "4 items of 2 classes" in found.to_text()
