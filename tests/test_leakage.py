"""Texts and files of the same content, and the leaks that come of them."""

from dataclasses import replace

import pytest

from fieldmark.leakage import find_leaks, fold_text, link_contents, link_texts
from fieldmark.origin import Link, LinkKind
from fieldmark.types import Item, Medium, Split


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("A Gull.", "a  gull"),
        ("海鷗在飛。", "海鷗 在飛"),
        ("Чайка, над морем!", "чайка над морем"),
        ("पक्षी गाता है", "पक्षी  गाता है।"),
        ("Straße", "STRASSE"),
        ("ﬁnch", "Finch"),
        ("the house-sparrow", "The house sparrow"),
        ("🐦 🐦", "🐦🐦"),
        ("word " * 30_000, "Word, " * 30_000),
    ],
)
def test_texts_equal_but_for_case_spaces_and_punctuation_fold_to_one(one, other):
    assert fold_text(one) == fold_text(other) != ""


@pytest.mark.parametrize(("one", "other"), [("a gull", "a gulf"), ("कि", "की"), ("🐦", "🐧"), ("7 eggs", "8 eggs")])
def test_texts_that_differ_fold_to_two(one, other):
    assert fold_text(one) != fold_text(other)


def test_links_of_files_need_equal_bytes(make_item, tmp_path):
    for name, content in (("a", b"12345"), ("b", b"12345"), ("c", b"54321"), ("d", b"123456")):
        (tmp_path / name).write_bytes(content)
    items = [make_item(item_id=name, group=name) for name in "abcd"] + [make_item(item_id="missing")]
    links = link_contents(items)
    shared = [link.shared for link in links if link.item_id in "ab"]
    one, other = shared
    assert one == other
    assert {link.item_id for link in links} == {"a", "b"}


def test_grouped_parts_of_a_file_are_linked_where_they_overlap(make_item, tmp_path):
    (tmp_path / "a.wav").write_bytes(b"sound")
    spans = [(0.0, 2.0), (1.5, 3.0), (3.0, 4.0), (3.5, None), (9.0, 9.5)]
    items = [
        make_item(Medium.AUDIO, item_id=f"{n}", group=f"{n}", path=tmp_path / "a.wav", start_seconds=s, end_seconds=e)
        for n, (s, e) in enumerate(spans)
    ]
    shared = {link.item_id: link.shared for link in link_contents(items)}
    assert shared["0"] == shared["1"] != shared["2"] == shared["3"] == shared["4"]
    assert {link.kind for link in link_contents(items)} == {LinkKind.SAME_CONTENT}


def test_parts_of_copies_are_linked_if_one_has_no_group(make_item, tmp_path):
    for name in ("a.wav", "b.wav"):
        (tmp_path / name).write_bytes(b"sound")
    first = make_item(Medium.AUDIO, item_id="1", path=tmp_path / "a.wav", end_seconds=1.0, group="g")
    second = replace(first, item_id="2", path=tmp_path / "b.wav", start_seconds=1.0, end_seconds=2.0, group=None)
    one, other = link_contents([first, second])
    assert one.shared == other.shared
    one, other = link_contents([first, replace(second, group="h")])
    assert one.shared != other.shared


def test_leaks_of_test_come_from_train_and_validation_and_those_of_validation_from_train():
    splits = {
        "train": Split.TRAIN,
        "validation": Split.VALIDATION,
        "test": Split.TEST,
        "free": None,
        "alone": Split.TEST,
    }
    links = list(link_texts((name, "A gull.") for name in splits if name != "alone"))
    assert [leak.item_id for leak in find_leaks(splits, links)] == ["validation", "test"]
    del splits["train"]
    assert [(leak.item_id, leak.learned_id) for leak in find_leaks(splits, links)] == [("test", "validation")]


def test_the_nearest_and_first_reason_is_named():
    splits = {"a": Split.TRAIN, "b": Split.TEST, "c": Split.TEST}
    links = [
        Link("a", LinkKind.SAME_TEXT, ("text", "1")),
        Link("b", LinkKind.SAME_TEXT, ("text", "1")),
        Link("a", LinkKind.GROUP, ("group", "1")),
        Link("b", LinkKind.GROUP, ("group", "1")),
        Link("c", LinkKind.CAPTION, ("item", "b")),
    ]
    found = {leak.item_id: (leak.kind, leak.learned_id) for leak in find_leaks(splits, links)}
    assert found == {"b": (LinkKind.GROUP, "a"), "c": (LinkKind.CAPTION, "a")}


def test_unreadable_and_missing_items_are_linked_with_nothing(make_item, tmp_path):
    (tmp_path / "empty").touch()
    (tmp_path / "bad").write_bytes("чайка".encode("koi8-r"))
    items = [make_item(Medium.TEXT, item_id=name) for name in ("empty", "bad", "missing")]
    items += [Item("without", Medium.TEXT, text="   ")]
    assert link_contents(items) == ()
