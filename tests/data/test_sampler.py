"""The sampler's promises, over random and over hard label tables."""

import time
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldmark.data.sampler import BatchPlan, CrossMediaSampler, ListSampler
from fieldmark.types import MEDIA, Medium

labels_by_medium = st.dictionaries(
    st.sampled_from(MEDIA),
    st.lists(st.integers(0, 8), max_size=40).map(lambda labels: np.array(labels, dtype=np.int64)),
)
sizes = st.integers(1, 5)


def labels_of(plan: BatchPlan, tables: dict[Medium, np.ndarray]) -> dict[Medium, list[int]]:
    return {medium: tables[medium][list(rows)].tolist() for medium, rows in plan.rows}


def media_by_label(tables: dict[Medium, np.ndarray]) -> dict[int, set[Medium]]:
    return {
        label: {medium for medium, labels in tables.items() if label in labels}
        for label in {int(label) for labels in tables.values() for label in labels}
    }


@given(labels_by_medium, sizes, sizes, st.integers(0, 3))
def test_sampler_covers_every_item_in_every_epoch(tables, classes, items, epoch):
    sampler = CrossMediaSampler(tables, classes_per_batch=classes, items_per_class=items, seed=1)
    seen = {medium: set() for medium in tables}
    for plan in sampler.plan(epoch):
        for medium, rows in plan.rows:
            seen[medium].update(rows)
    assert seen == {medium: set(range(len(labels))) for medium, labels in tables.items()}


@given(labels_by_medium, sizes, sizes)
def test_sampler_puts_all_media_of_a_class_into_its_batch(tables, classes, items):
    sampler = CrossMediaSampler(tables, classes_per_batch=classes, items_per_class=items, seed=1)
    expected_media = media_by_label(tables)
    for plan in sampler.plan(0):
        met = labels_of(plan, tables)
        for labels in met.values():
            for label in labels:
                assert {medium for medium in met if label in met[medium]} == expected_media[label]


@given(labels_by_medium, sizes, sizes)
def test_sampler_gives_distinct_classes_and_equal_counts(tables, classes, items):
    sampler = CrossMediaSampler(tables, classes_per_batch=classes, items_per_class=items, seed=1)
    class_count = len(media_by_label(tables))
    for plan in sampler.plan(0):
        met = labels_of(plan, tables)
        assert len(set().union(*met.values())) == min(classes, class_count)
        for labels in met.values():
            assert set(Counter(labels).values()) == {items}


@given(labels_by_medium, sizes, sizes)
def test_sampler_repeats_no_item_in_a_batch_unless_its_class_has_too_few(tables, classes, items):
    sampler = CrossMediaSampler(tables, classes_per_batch=classes, items_per_class=items, seed=1)
    for plan in sampler.plan(0):
        for medium, rows in plan.rows:
            for row, count in Counter(rows).items():
                available = int((tables[medium] == tables[medium][row]).sum())
                assert count <= max(1, -(-items // available))


@given(labels_by_medium, sizes, sizes)
def test_sampler_takes_the_fewest_steps(tables, classes, items):
    sampler = CrossMediaSampler(tables, classes_per_batch=classes, items_per_class=items, seed=1)
    needed = [
        max(-(-int((labels == label).sum()) // items) for labels in tables.values()) for label in media_by_label(tables)
    ]
    fewest = max(*needed, -(-sum(needed) // min(classes, len(needed)))) if needed else 0
    assert len(sampler) == fewest
    assert [len(sampler.plan(epoch)) for epoch in range(3)] == [fewest] * 3


@given(labels_by_medium, sizes, sizes, st.integers(0, 2**32), st.integers(0, 50))
def test_sampler_depends_on_seed_and_epoch_alone(tables, classes, items, seed, epoch):
    first, second = (
        CrossMediaSampler(tables, classes_per_batch=classes, items_per_class=items, seed=seed) for _ in range(2)
    )
    second.plan(epoch + 1)
    assert first.plan(epoch) == second.plan(epoch)


def test_sampler_changes_from_epoch_to_epoch_and_seed_to_seed():
    tables = {medium: np.repeat(np.arange(6), 5) for medium in MEDIA}
    sampler = CrossMediaSampler(tables, classes_per_batch=3, items_per_class=2, seed=1)
    other = CrossMediaSampler(tables, classes_per_batch=3, items_per_class=2, seed=2)
    assert len({sampler.plan(0), sampler.plan(1), other.plan(0)}) == 3
    assert len({plan.seed for plan in sampler.plan(0)}) == len(sampler)


def test_sampler_cycles_a_short_medium_in_a_fresh_order():
    tables = {Medium.IMAGE: np.zeros(60, dtype=int), Medium.AUDIO: np.zeros(6, dtype=int)}
    sampler = CrossMediaSampler(tables, classes_per_batch=1, items_per_class=3, seed=1)
    rows = [row for plan in sampler.plan(0) for row in dict(plan.rows)[Medium.AUDIO]]
    cycles = [tuple(rows[start : start + 6]) for start in range(0, len(rows), 6)]
    assert all(sorted(cycle) == list(range(6)) for cycle in cycles)
    assert len(set(cycles)) > 1


def test_sampler_fills_batches_beside_one_dominant_class():
    labels = np.concatenate([np.zeros(400, dtype=int), np.repeat(np.arange(1, 9), 4)])
    sampler = CrossMediaSampler({Medium.IMAGE: labels}, classes_per_batch=4, items_per_class=4, seed=1)
    plans = sampler.plan(0)
    assert len(plans) == 100
    assert all(len(set(labels[list(dict(plan.rows)[Medium.IMAGE])])) == 4 for plan in plans)
    visits = Counter(int(label) for plan in plans for label in labels[list(dict(plan.rows)[Medium.IMAGE])][::4])
    others = [visits[label] for label in range(1, 9)]
    assert max(others) - min(others) <= 1


def test_sampler_mixes_the_company_of_a_class():
    labels = np.repeat(np.arange(20), 40)
    sampler = CrossMediaSampler({Medium.IMAGE: labels}, classes_per_batch=5, items_per_class=4, seed=1)
    met = set()
    for plan in sampler.plan(0):
        present = set(labels[list(dict(plan.rows)[Medium.IMAGE])].tolist())
        if 0 in present:
            met |= present
    assert len(met) > 10


@pytest.mark.parametrize("tables", [{}, {Medium.TEXT: np.array([], dtype=np.int64)}])
def test_sampler_of_nothing_plans_nothing(tables):
    sampler = CrossMediaSampler(tables, classes_per_batch=4, items_per_class=4, seed=1)
    assert len(sampler) == 0
    assert sampler.plan(0) == ()


@settings(max_examples=5)
@given(st.permutations(range(30)))
def test_sampler_reads_labels_in_any_order(order):
    labels = np.array([label % 5 * 1000 for label in order])
    sampler = CrossMediaSampler({Medium.VIDEO: labels}, classes_per_batch=2, items_per_class=2, seed=1)
    for plan in sampler.plan(0):
        rows = dict(plan.rows)[Medium.VIDEO]
        assert sorted(Counter(labels[list(rows)].tolist()).values()) == [2, 2]


def test_sampler_is_fast_at_twenty_thousand_items():
    generator = np.random.default_rng(0)
    tables = {medium: generator.integers(0, 1000, 5000) for medium in MEDIA}
    sampler = CrossMediaSampler(tables, classes_per_batch=16, items_per_class=2, seed=1)
    start = time.process_time()  # not that of a clock, which other work on the machine makes longer
    sampler.plan(0)
    assert time.process_time() - start < 3.0  # 40 ms on one core in November 2026; the bound leaves room


@given(st.dictionaries(st.sampled_from(MEDIA), st.integers(0, 40)), st.integers(1, 6))
def test_list_sampler_zips_lists_to_the_shortest(counts, items):
    sampler = ListSampler(counts, items_per_medium=items, seed=1)
    present = {medium: count for medium, count in counts.items() if count}
    steps = min((-(-count // items) for count in present.values()), default=0)
    plans = sampler.plan(0)
    assert len(sampler) == len(plans) == steps
    for medium, count in present.items():
        rows = [row for plan in plans for row in dict(plan.rows)[medium]]
        assert rows == list(range(min(count, steps * items)))
    assert [plan.rows for plan in sampler.plan(7)] == [plan.rows for plan in plans]


def test_list_sampler_meets_no_cross_media_positive_where_lists_are_ordered_in_two_ways():
    labels = {Medium.IMAGE: np.repeat(np.arange(10), 4), Medium.AUDIO: np.repeat(np.arange(10)[::-1], 4)}
    sampler = ListSampler({medium: len(own) for medium, own in labels.items()}, items_per_medium=4, seed=1)
    for plan in sampler.plan(0):
        image, audio = (labels_of(plan, labels)[medium] for medium in (Medium.IMAGE, Medium.AUDIO))
        assert not set(image) & set(audio)


@given(labels_by_medium, sizes, sizes, st.integers(1, 4))
def test_shares_of_a_plan_are_the_plan(tables, classes, items, of):
    sampler = CrossMediaSampler(tables, classes_per_batch=classes, items_per_class=items, seed=1)
    for plan in sampler.plan(0):
        shares = [plan.share(place, of=of) for place in range(of)]
        for medium, rows in plan.rows:
            met = [row for share in shares for row in dict(share.rows).get(medium, ())]
            assert sorted(met) == sorted(rows)
        sizes_met = [sum(len(rows) for _, rows in share.rows) for share in shares]
        assert max(sizes_met) - min(sizes_met) <= len(plan.rows)
        assert len({share.seed for share in shares}) == of
