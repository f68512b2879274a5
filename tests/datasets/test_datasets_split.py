"""`data split`: the report on the splits."""

import pytest

from fieldmark import Medium, Split, read_manifest, write_manifest
from fieldmark.datasets.split import split_manifest
from fieldmark.errors import OutOfRangeError
from fieldmark.types import Item


def test_split_names_the_classes_that_cannot_be_tested_in_a_medium(tmp_path):
    items = [
        Item(f"{name}{n}", Medium.TEXT, text=f"{name} {n}", class_name=name)
        for name in ("Gull", "Tern")
        for n in range(20)
    ]
    song = tmp_path / "one.wav"
    parts = [
        Item(f"song{n}", Medium.AUDIO, path=song, class_name="Gull", start_seconds=float(n), end_seconds=n + 1.0)
        for n in range(9)
    ]
    write_manifest([*items, *parts], tmp_path / "m.csv")
    report = split_manifest(tmp_path / "m.csv", out=tmp_path / "out.csv", test=0.2, seed=1)
    assert report.untested == {"audio": ("Gull",)}
    assert "classes without audio in test, for too few groups: Gull" in report.to_text()
    assert {item.split for item in read_manifest(tmp_path / "out.csv") if item.medium is Medium.AUDIO} == {Split.TRAIN}


def test_split_names_the_unseen_classes(toy_manifest, tmp_path):
    report = split_manifest(toy_manifest, out=tmp_path / "out.csv", unseen_classes=2)
    classes = {item.class_name for item in read_manifest(tmp_path / "out.csv") if item.split is not Split.TEST}
    assert len(report.unseen) == 2
    assert not classes & set(report.unseen)


def test_split_refuses_shares_that_leave_less_than_nothing_to_train(toy_manifest, tmp_path):
    with pytest.raises(OutOfRangeError, match=r"'validation \+ test' is 1\.3; the allowed range is 0 to 1"):
        split_manifest(toy_manifest, out=tmp_path / "out.csv", validation=0.5, test=0.8)
    assert not (tmp_path / "out.csv").exists()


def test_split_without_training_items_leaves_no_class_unseen_that_is_in_validation(tmp_path):
    items = [Item(f"{n}", Medium.TEXT, text=f"bird {n}", class_name="Gull") for n in range(8)]
    write_manifest(items, tmp_path / "m.csv")
    report = split_manifest(tmp_path / "m.csv", out=tmp_path / "out.csv", validation=0.5, test=0.5)
    assert report.counts == {"text": {"validation": 4, "test": 4}}
    assert report.unseen == ()
