"""The check finds planted faults, in one process and in several."""

import shutil
from dataclasses import replace

import pytest

from fieldmark import Medium, Split, check, write_manifest
from fieldmark.errors import ManifestError
from fieldmark.io import encode_report


@pytest.fixture
def planted(toy_items, broken, tmp_path):
    """A manifest with every fault that the check knows of but length and silence."""
    train = next(i for i in toy_items if i.medium is Medium.IMAGE and i.split is Split.TRAIN)
    test = next(i for i in toy_items if i.medium is Medium.IMAGE and i.split is Split.TEST)
    shutil.copy(train.path, tmp_path / "copy.png")
    leak = replace(train, item_id="leak", path=tmp_path / "copy.png", group=None, split=Split.TEST)
    straddling = replace(test, item_id="straddling", split=Split.TRAIN)
    lonely = replace(test, item_id="lonely", class_name="Lonely")
    items = [*toy_items, leak, straddling, lonely, *broken.make(Split.TRAIN)]
    write_manifest(items, tmp_path / "planted.csv")
    with (tmp_path / "planted.csv").open("a") as file:
        file.write("no,such,columns\n")
    return tmp_path / "planted.csv"


@pytest.mark.parametrize("workers", [1, 2])
def test_check_finds_planted_faults(workers, planted, make_reporter):
    reporter = make_reporter()
    report = check(planted, workers=workers, reporter=reporter)
    kinds = {problem.kind.value for problem in report.problems}
    assert kinds == {
        "bad_row",
        "missing_file",
        "unreadable",
        "empty",
        "medium_mismatch",
        "group_straddles_splits",
        "duplicate_across_splits",
        "class_without_medium",
    }
    assert report.has_errors
    assert report.item_count == reporter.done["check"] == 72 + 3 + 5
    by_id = {item_id: problem.kind.value for problem in report.problems for item_id in problem.item_ids}
    assert by_id["train/empty-clip"] == "empty"
    assert by_id["train/missing-song"] == "missing_file"
    text = report.to_text()
    assert "error: unreadable, 2" in text
    assert text.splitlines()[-1].endswith("notes")


def test_check_of_a_sound_set_has_no_errors(toy_manifest):
    report = check(str(toy_manifest))
    assert not report.has_errors
    assert encode_report(report)["counts"]["image"].keys() == {"train", "test"}
    assert encode_report(report)["item_count"] == 72


def test_check_of_what_is_no_manifest(tmp_path):
    with pytest.raises(ManifestError):
        check(tmp_path / "nowhere.csv")
