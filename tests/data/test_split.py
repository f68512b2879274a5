"""The validation split: by origin, stratified, and nothing else touched."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldmark.data.split import origin_of, split_validation
from fieldmark.types import MEDIA, Item, Medium, Split

rows = st.tuples(
    st.sampled_from(MEDIA),
    st.sampled_from([None, "Gull", "Tern"]),
    st.sampled_from([None, "a", "b", "c", "d", "e"]),
    st.sampled_from([None, Split.TRAIN, Split.TRAIN, Split.TRAIN, Split.TEST]),
)
tables = st.lists(rows, max_size=60)
shares = st.floats(0, 1)


def items_of(table: list[tuple[Medium, str | None, str | None, Split | None]]) -> list[Item]:
    return [
        Item(item_id=str(place), medium=medium, text="x", class_name=class_name, group=group, split=split)
        for place, (medium, class_name, group, split) in enumerate(table)
    ]


@given(tables, shares, st.integers(0, 9))
def test_split_validation_changes_only_the_split_of_training_items(table, share, seed):
    items = items_of(table)
    result = split_validation(items, share=share, generator=np.random.default_rng(seed))
    for before, after in zip(items, result, strict=True):
        assert after == before or (before.split is Split.TRAIN and after == replace(before, split=Split.VALIDATION))


@given(tables, shares, st.integers(0, 9))
def test_split_validation_never_cuts_through_a_group(table, share, seed):
    items = items_of(table)
    result = split_validation(items, share=share, generator=np.random.default_rng(seed))
    moved = {origin_of(item) for item in result if item.split is Split.VALIDATION}
    stayed = {origin_of(item) for item in result if item.split is not Split.VALIDATION}
    assert not moved & stayed


@given(tables, shares, st.integers(0, 9))
def test_split_validation_leaves_every_class_and_medium_in_training(table, share, seed):
    items = items_of(table)
    result = split_validation(items, share=share, generator=np.random.default_rng(seed))
    before, after = (
        {(item.class_name, item.medium) for item in some if item.split is Split.TRAIN and item.class_name}
        for some in (items, result)
    )
    assert before == after


@given(tables, shares, st.integers(0, 9))
def test_split_validation_is_decided_by_the_generator(table, share, seed):
    items = items_of(table)
    first, second = (split_validation(items, share=share, generator=np.random.default_rng(seed)) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("group_size", [1, 2])
def test_split_validation_takes_the_share_of_each_class_and_medium(make_item, group_size):
    items = [
        make_item(medium, class_name, group=f"{class_name} {medium} {place // group_size}")
        for class_name in ("Gull", "Tern", "Wren")
        for medium in MEDIA
        for place in range(40)
    ]
    result = split_validation(items, share=0.2, generator=np.random.default_rng(1))
    counts = Counter((item.class_name, item.medium) for item in result if item.split is Split.VALIDATION)
    assert set(counts.values()) == {8}
    assert len(counts) == 12


def test_split_validation_takes_small_classes_on_average(make_item):
    items = [make_item(class_name=f"class {place % 200}") for place in range(600)]
    result = split_validation(items, share=0.1, generator=np.random.default_rng(1))
    assert 40 <= sum(item.split is Split.VALIDATION for item in result) <= 80


def test_split_validation_takes_no_group_that_overshoots_more_than_it_brings(make_item):
    items = [make_item(group=f"recording {place // 10}") for place in range(20)]
    assert split_validation(items, share=0.1, generator=np.random.default_rng(1)) == tuple(items)


def test_split_validation_keeps_a_single_group_in_training(make_item):
    items = [make_item(Medium.AUDIO, group="the only recording") for _ in range(10)]
    assert split_validation(items, share=0.9, generator=np.random.default_rng(1)) == tuple(items)


def test_split_validation_keeps_a_group_that_stands_in_test_where_it_is(make_item):
    straddling = [make_item(group="both"), make_item(group="both", split=Split.TEST)]
    items = [*straddling, *(make_item() for _ in range(10))]
    result = split_validation(items, share=0.9, generator=np.random.default_rng(1))
    assert result[:2] == tuple(straddling)
    assert any(item.split is Split.VALIDATION for item in result)


def test_split_validation_keeps_clips_of_one_file_together(make_item, tmp_path):
    items = [
        make_item(
            Medium.AUDIO,
            path=tmp_path / f"{place // 4}.wav",
            start_seconds=float(place % 4),
            end_seconds=place % 4 + 1.0,
        )
        for place in range(40)
    ]
    result = split_validation(items, share=0.3, generator=np.random.default_rng(1))
    splits_by_path = {item.path: {other.split for other in result if other.path == item.path} for item in result}
    assert all(len(splits) == 1 for splits in splits_by_path.values())
    assert sum(item.split is Split.VALIDATION for item in result) == 12


def test_split_validation_with_share_zero_takes_nothing(make_item):
    items = [make_item() for _ in range(30)]
    assert split_validation(items, share=0.0, generator=np.random.default_rng(1)) == tuple(items)


def test_origin_of_tells_groups_files_and_texts_apart(make_item, tmp_path):
    grouped = make_item(group="x")
    filed = make_item(path=tmp_path / "x")
    written = Item(item_id="x", medium=Medium.TEXT, text="a bird")
    assert len({origin_of(grouped), origin_of(filed), origin_of(written)}) == 3
