"""Names of sets, ids that never collide, and what counts as gone."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldmark.errors import DamagedGalleryError, GalleryError
from fieldmark.gallery.sets import assign_ids, find_gone_ids, rename_items
from fieldmark.gallery.sources import SetSource, name_from_origin, read_sets, record_set
from fieldmark.types import Failure, Item, Medium

NAMES = st.sampled_from(["a", "b", "s/a", "s/s/a", "s/b", "t/a", "s"])


@given(listed=st.lists(NAMES, unique=True), own=st.frozensets(NAMES), others=st.frozensets(NAMES))
def test_stored_ids_never_collide(listed, own, others):
    found = assign_ids(listed, set_name="s", own=own - others, others=others)
    assert list(found) == listed
    assert len(set(found.values())) == len(listed)
    assert not set(found.values()) & others


@given(listed=st.lists(NAMES, unique=True), others=st.frozensets(NAMES))
def test_stored_ids_stay_when_the_same_source_comes_again(listed, others):
    first = assign_ids(listed, set_name="s", own=(), others=others)
    assert assign_ids(listed, set_name="s", own=set(first.values()), others=others) == first


def test_renamed_rows_share_their_item_and_captions_follow():
    photo, text = Item("a", Medium.IMAGE), Item("t", Medium.TEXT, text="x", caption_of="a")
    found = rename_items([photo, photo, text], {"a": "s/a", "t": "t"})
    assert [item.item_id for item in found] == ["s/a", "s/a", "t"]
    assert found[0] is found[1]
    assert found[2].caption_of == "s/a"


def gone(own, listed, *failed, allow_drop=False):
    failures = [Failure(item_id, "unreadable", "") for item_id in failed]
    return find_gone_ids(own, listed=listed, failures=failures, set_name="s", allow_drop=allow_drop)


def test_gone_is_what_is_neither_listed_nor_unread():
    assert gone(["a", "b", "c"], ["a", "c", "d"]) == ("b",)
    assert gone(["a", "b", "s/c"], ["a"], "b", "c") == ()
    assert gone(["a", "trip/b", "trip/c", "trips"], ["a"], "trip") == ("trips",)
    assert gone(["a", "b"], [], ".") == ()
    assert gone([], ["a"]) == ()


def test_gone_of_most_is_refused_unless_allowed():
    assert gone(["a", "b"], ["a"]) == ("b",)
    with pytest.raises(GalleryError, match="2 of the 3 items"):
        gone(["a", "b", "c"], ["a"])
    assert gone(["a", "b", "c"], ["a"], allow_drop=True) == ("b", "c")


@pytest.mark.parametrize(
    ("origin", "name"),
    [("birds/manifest.csv", "birds"), ("birds/gulls.parquet", "gulls"), ("my photos", "my photos")],
)
def test_plain_name_is_that_of_the_data_set(tmp_path, origin, name):
    assert name_from_origin(tmp_path / origin) == name


def test_plain_name_of_a_folder_with_a_dot(tmp_path):
    (tmp_path / "trip 2019.05").mkdir()
    assert name_from_origin(tmp_path / "trip 2019.05") == "trip 2019.05"


def test_sets_are_kept_and_damage_is_told(tmp_path):
    record_set(tmp_path, "one", source=SetSource.from_path(tmp_path / "x", gallery=tmp_path))
    record_set(tmp_path, "two", source=SetSource.from_path(tmp_path / "y", gallery=tmp_path))
    assert read_sets(tmp_path) == {"one": str(tmp_path / "x"), "two": str(tmp_path / "y")}
    for content in ("[]", "{", "3"):
        Path(tmp_path / "sets.json").write_text(content)
        with pytest.raises(DamagedGalleryError, match=r"'sets.json' is not what was written"):
            read_sets(tmp_path)
