"""Splits: by group, stratified, and nothing else touched."""

from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldmark.data.split import split_items, split_validation
from fieldmark.errors import OutOfRangeError
from fieldmark.origin import Link, LinkKind, name_origins
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


def splits_of(items) -> list[set[Split | None]]:
    """The splits of each origin."""
    found: defaultdict[str, set[Split | None]] = defaultdict(set)
    for item, origin in zip(items, name_origins(items), strict=True):
        found[origin].add(item.split)
    return list(found.values())


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
    splits = splits_of(result)
    assert not [each for each in splits if Split.VALIDATION in each and len(each) > 1]


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


@given(st.integers(0, 9))
def test_split_validation_keeps_captions_with_their_photo_and_the_clips_of_a_file_together(seed):
    photos = [Item(f"photo {n}", Medium.IMAGE, path=Path(f"{n}.jpg"), class_name="Gull") for n in range(20)]
    captions = [
        Item(f"text {n}", Medium.TEXT, text="a gull", class_name="Gull", caption_of=f"photo {n}") for n in range(20)
    ]
    clips = [
        Item(f"clip {n}", Medium.AUDIO, path=Path(f"{n % 5}.ogg"), class_name="Gull", start_seconds=float(n))
        for n in range(20)
    ]
    items = [replace(item, split=Split.TRAIN) for item in (*photos, *captions, *clips)]
    result = split_validation(items, share=0.4, generator=np.random.default_rng(seed))
    assert {Split.TRAIN, Split.VALIDATION} == {item.split for item in result}
    assert all(len(each) == 1 for each in splits_of(result))


# ---------------------------------------------------------------- all splits anew

SHARES = {Split.TRAIN: 0.6, Split.VALIDATION: 0.1, Split.TEST: 0.3}


@given(tables, st.integers(0, 9), st.integers(0, 1))
def test_split_items_gives_each_item_a_split_and_never_parts_a_group(table, seed, unseen):
    items = items_of(table)
    class_count = len({item.class_name for item in items} - {None})
    unseen = min(unseen, max(0, class_count - 1))
    result = split_items(items, shares=SHARES, unseen_class_count=unseen, seed=seed)
    assert [replace(item, split=None) for item in result] == [replace(item, split=None) for item in items]
    assert all(len(each) == 1 for each in splits_of(result))
    assert None not in {item.split for item in result}


def make_strata(per_stratum: int, *, class_names=("Gull", "Tern", "Wren")) -> list[Item]:
    return [
        Item(f"{medium}{name}{n}", medium, text=f"{medium}{name}{n}", class_name=name)
        for medium in MEDIA
        for name in class_names
        for n in range(per_stratum)
    ]


@pytest.mark.parametrize("per_stratum", [3, 10, 37])
def test_split_items_has_the_shares_on_average_and_no_stratum_without_train_and_test(per_stratum):
    items = make_strata(per_stratum)
    counts = np.zeros(3)
    for seed in range(30):
        result = split_items(items, shares=SHARES, seed=seed)
        by_stratum = Counter((item.medium, item.class_name, item.split) for item in result)
        for medium in MEDIA:
            for name in ("Gull", "Tern", "Wren"):
                assert by_stratum[medium, name, Split.TRAIN] >= 1
                assert by_stratum[medium, name, Split.TEST] >= (0.3 * per_stratum >= 1)
        counts += [sum(item.split is split for item in result) for split in SHARES]
    assert counts / counts.sum() == pytest.approx(list(SHARES.values()), abs=0.06 if per_stratum == 3 else 0.03)


@given(st.integers(0, 99), st.randoms(use_true_random=False))
def test_split_items_does_not_depend_on_the_order(seed, random):
    items = make_strata(6)
    split = {item.item_id: item.split for item in split_items(items, shares=SHARES, seed=seed)}
    shuffled = random.sample(items, len(items))
    assert {item.item_id: item.split for item in split_items(shuffled, shares=SHARES, seed=seed)} == split


def test_split_items_stays_when_rows_are_added_and_taken_away():
    items = make_strata(50)
    before = {item.item_id: item.split for item in split_items(items, shares=SHARES, seed=3)}
    more = [*items[100:], *(replace(item, item_id=f"new {item.item_id}", text="new") for item in items[:100])]
    after = {item.item_id: item.split for item in split_items(more, shares=SHARES, seed=3)}
    assert sum(after[name] is not split for name, split in before.items() if name in after) == 0
    assert {after[name] for name in after.keys() - before.keys()} == set(Split)


def test_split_items_does_not_depend_on_where_the_manifest_lies():
    items = [Item(f"{n}", Medium.IMAGE, path=Path(f"/here/birds/gull/{n}.jpg"), class_name="Gull") for n in range(60)]
    moved = [replace(item, path=Path("/there/../elsewhere/gull", item.path.name)) for item in items]
    one, other = (split_items(some, shares=SHARES, seed=0) for some in (items, moved))
    assert [item.split for item in one] == [item.split for item in other]


@given(st.integers(0, 999), st.integers(1, 3))
def test_no_class_is_in_validation_alone(seed, count):
    items = [Item(f"{n} {k}", Medium.TEXT, text="x", class_name=f"{n}") for n in range(20) for k in range(count)]
    result = split_items(items, shares={**SHARES, Split.VALIDATION: 0.4, Split.TEST: 0.0}, seed=seed)
    splits = defaultdict(set)
    for item in result:
        splits[item.class_name].add(item.split)
    assert {Split.VALIDATION} not in splits.values()


@pytest.mark.parametrize("kept", [(Split.TEST,), (Split.TRAIN, Split.TEST), tuple(Split)])
def test_split_items_keeps_what_it_is_told_to_keep(kept):
    items = [replace(item, split=[*Split, None][n % 4], group=f"g{n // 2}") for n, item in enumerate(make_strata(12))]
    result = split_items(items, shares=SHARES, seed=1, kept=kept)
    changed = [(old, new) for old, new in zip(items, result, strict=True) if old.split is not new.split]
    assert not [old for old, _ in changed if old.split in kept]
    assert all(new.split is not None for new in result)
    by_group = defaultdict(set)
    for old in items:
        by_group[old.group].add(old.split)
    for old, new in changed:
        there = by_group[old.group] & set(kept)
        assert not there or new.split in there


def test_split_items_keeps_linked_items_together():
    items = make_strata(20)
    links = [Link(item.item_id, LinkKind.SAME_CONTENT, ("same", str(n % 30))) for n, item in enumerate(items)]
    by_link = defaultdict(set)
    for n, item in enumerate(split_items(items, shares=SHARES, seed=0, links=links)):
        by_link[n % 30].add(item.split)
    assert {len(splits) for splits in by_link.values()} == {1}


def test_split_items_is_the_same_for_a_seed():
    items = [Item(str(n), Medium.TEXT, text="x", class_name="Gull") for n in range(40)]
    splits = [[item.split for item in split_items(items, shares=SHARES, seed=seed)] for seed in (1, 1, 2)]
    assert splits[0] == splits[1] != splits[2]


def test_split_items_keeps_a_caption_with_its_photo():
    photos = [Item(f"p{n}", Medium.IMAGE, path=None, text=None, class_name="Gull", group=f"g{n}") for n in range(30)]
    captions = [Item(f"c{n}", Medium.TEXT, text="x", class_name="Gull", caption_of=f"p{n}") for n in range(30)]
    result = split_items([*photos, *captions], shares=SHARES, seed=0)
    assert [item.split for item in result[:30]] == [item.split for item in result[30:]]
    assert len({item.split for item in result}) == 3


def test_split_items_puts_unseen_classes_into_the_test_split_whole():
    items = [Item(f"{n}", Medium.TEXT, text="x", class_name=f"class {n % 10}") for n in range(200)]
    result = split_items(items, shares=SHARES, unseen_class_count=3, seed=0)
    splits = {}
    for item in result:
        splits.setdefault(item.class_name, set()).add(item.split)
    assert sorted(map(len, splits.values())) == [1] * 3 + [3] * 7


@pytest.mark.parametrize(
    ("shares", "unseen"), [({**SHARES, Split.TEST: 0.5}, 0), ({Split.TRAIN: 1.2, Split.TEST: -0.2}, 0), (SHARES, 1)]
)
def test_split_items_refuses_what_does_not_add_up(shares, unseen):
    items = [Item("1", Medium.TEXT, text="x", class_name="Gull")]
    with pytest.raises(OutOfRangeError):
        split_items(items, shares=shares, unseen_class_count=unseen, seed=0)


def test_split_validation_takes_no_group_that_overshoots_as_much_as_it_brings(make_item):
    items = [make_item(group=f"recording {place // 2}") for place in range(8)]
    # One item of eight is wanted, and every group has two: to take one is as far off as to take none.
    assert split_validation(items, share=0.125, generator=np.random.default_rng(1)) == tuple(items)
