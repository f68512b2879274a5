"""Names of sets, ids that never collide, and what counts as gone."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldmark.errors import DamagedGalleryError, GalleryError
from fieldmark.gallery.item_state import FileStamps, hash_states
from fieldmark.gallery.sets import SetContent, assign_ids, find_gone_ids, rename_items
from fieldmark.gallery.sources import SetSource, name_from_origin, read_sets, record_set
from fieldmark.media.loaders import hash_content
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


def test_items_are_sorted_by_what_has_changed(index, unit_rows, embeddings_of, tmp_path):
    (tmp_path / "a.png").write_bytes(b"content")
    names = ("same", "corrected", "form", "content")
    items = {name: Item(name, Medium.AUDIO, path=tmp_path / "a.png", license="CC0") for name in names}
    hashes = {name: hash_content(item) for name, item in items.items()}
    states = hash_states(tuple(items.values()), {**hashes, "content": "0"}, root=tmp_path)
    index.add(
        embeddings_of(*((item, unit_rows(1)) for item in items.values())),
        content_hash_by_item_id=states,
        set_name="set",
    )
    items["corrected"] = replace(items["corrected"], place="Ithaca")
    items["form"] = replace(items["form"], extra=(("form", "spectrogram"),))
    items["new"] = replace(items["same"], item_id="new")
    known = SetContent.from_store(index, "set", root=tmp_path)
    stamps = FileStamps(tmp_path, known.own, is_trusted=False)
    found = known.compare(
        tuple(items.values()),
        stamps=stamps,
        hash_many=lambda some: {item.item_id: hash_content(item) for item in some},
    )
    changes = found.separate_reformed(index)
    assert {item.item_id for item in changes.fresh} == {"form", "content", "new"}
    assert changes.corrected == (items["corrected"],)
    assert changes.content_hashes == {"corrected": hashes["corrected"]}
    assert changes.unchanged == (items["same"],)
