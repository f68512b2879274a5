"""The check finds planted faults, in one process and in several; cleaning drops or moves items and leaves no errors."""

import shutil
from dataclasses import replace

import pytest

from fieldmark import Medium, Split, check, write_manifest
from fieldmark.datasets.check import Action, clean_items
from fieldmark.datasets.checks.inspection import Inspection
from fieldmark.datasets.checks.problems import Problem, ProblemKind, Severity, find_problems
from fieldmark.errors import ManifestError
from fieldmark.io import encode_report
from fieldmark.types import Failure


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


# ---------------------------------------------------------------- cleaning


def seen(items, **hashes) -> list[Inspection]:
    return [Inspection(item.item_id, content_hash=hashes.get(item.item_id, item.item_id)) for item in items]


def cleaned(items, inspections):
    return clean_items(items, find_problems(items, inspections))


def test_cleaning_drops_what_cannot_be_used_and_silence(make_item):
    items = [make_item(item_id=name) for name in ("good", "broken", "silent", "short")]
    inspections = [
        Inspection("good", "1"),
        Inspection("broken", failure=Failure("broken", "unreadable", "damaged")),
        Inspection("silent", "2", duration_seconds=2.0, peak=0.0),
        Inspection("short", "3", duration_seconds=0.1, peak=0.5),
    ]
    result = cleaned(items, inspections)
    assert [item.item_id for item in result.items] == ["good", "short"]
    assert [(each.item_id, each.kind) for each in result.changes] == [
        ("broken", ProblemKind.UNREADABLE),
        ("silent", ProblemKind.SILENT),
    ]


def test_cleaning_keeps_one_of_equal_items_and_none_under_two_classes(make_item):
    items = [make_item(item_id=name, split=Split.TEST if name == "b" else Split.TRAIN) for name in "abcd"]
    items += [make_item(item_id="e", class_name="Wren"), make_item(item_id="f", class_name="Veery")]
    result = cleaned(items, seen(items, b="a", c="a", f="e"))
    assert [item.item_id for item in result.items] == ["b", "d"]
    assert {each.item_id for each in result.changes} == {"a", "c", "e", "f"}


def test_cleaning_moves_a_leaking_group_and_loses_nothing(make_item):
    items = [
        make_item(item_id="1", group="g", split=Split.TEST),
        make_item(item_id="2", group="g"),
        make_item(item_id="3", group="h", split=Split.TEST),
        make_item(item_id="4", group="h", split=Split.VALIDATION),
        make_item(item_id="5", split=Split.TEST),
    ]
    result = cleaned(items, [])
    assert [item.split for item in result.items] == [
        Split.TRAIN,
        Split.TRAIN,
        Split.VALIDATION,
        Split.VALIDATION,
        Split.TEST,
    ]
    assert [(each.item_id, each.action) for each in result.changes] == [("1", Action.MOVED), ("3", Action.MOVED)]


@pytest.mark.parametrize(
    ("kind", "splits", "left"),
    [
        (ProblemKind.NEAR_DUPLICATE_ACROSS_SPLITS, (Split.TRAIN, Split.TEST, Split.TEST), ["b", "c"]),
        (ProblemKind.NEAR_DUPLICATE, (Split.TRAIN, Split.TRAIN, Split.TRAIN), ["a", "b", "c"]),
    ],
)
def test_cleaning_takes_nearly_equal_items_out_of_train_only(make_item, kind, splits, left):
    items = [make_item(item_id=name, split=split) for name, split in zip("abc", splits, strict=True)]
    result = clean_items(items, [Problem(kind, ("a", "b", "c"), "alike")])
    assert [item.item_id for item in result.items] == left


def test_cleaning_lists_rows_that_could_not_be_read(make_item):
    result = clean_items([make_item()], [Problem(ProblemKind.BAD_ROW, (), "line 7: no medium")])
    assert [(each.item_id, each.detail) for each in result.changes] == [("", "line 7: no medium")]


def test_cleaning_leaves_no_errors(make_item):
    items = [
        make_item(item_id=name, split=Split.TEST if place % 2 else Split.TRAIN) for place, name in enumerate("abcdef")
    ]
    items = [replace(item, group="g" if item.item_id in "ab" else None) for item in items]
    inspections = seen(items, d="c", f="a")
    result = cleaned(items, inspections)
    left = find_problems(result.items, inspections)
    assert not [problem for problem in left if problem.severity is Severity.ERROR]
    assert clean_items(result.items, left).changes == ()


def test_cleaning_tells_once_of_an_item_that_is_moved_and_then_dropped(make_item):
    items = [make_item(item_id="a", group="g"), make_item(item_id="b", group="g", split=Split.TEST)]
    result = cleaned(items, seen(items, b="a"))
    assert [item.item_id for item in result.items] == ["a"]
    assert [(each.item_id, each.action) for each in result.changes] == [("b", Action.DROPPED)]


def test_cleaning_keeps_nearly_equal_items_without_a_split(make_item):
    items = [
        make_item(item_id=name, split=split) for name, split in zip("abc", (Split.TRAIN, Split.TEST, None), strict=True)
    ]
    problem = Problem(ProblemKind.NEAR_DUPLICATE_ACROSS_SPLITS, ("a", "b", "c"), "alike")
    assert [item.item_id for item in clean_items(items, [problem]).items] == ["b", "c"]
