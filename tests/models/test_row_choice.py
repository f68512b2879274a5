"""The choice of rows to fit on: fair to classes and groups, and nothing left to chance."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from fieldmark.models.row_choice import choose_rows


def count_chosen(sizes, *, most, class_minimum=0):
    label = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    chosen = choose_rows(label, group=torch.arange(len(label)), most=most, class_minimum=class_minimum)
    return torch.bincount(label[chosen], minlength=len(sizes)).tolist()


def test_classes_have_equal_parts_of_what_is_wanted():
    assert count_chosen([1, 2, 20], most=6) == [1, 2, 3]
    assert count_chosen([100, 100, 4], most=54) == [25, 25, 4]
    assert count_chosen([10, 2, 2, 10], most=15) == [5, 2, 2, 6]


def test_every_class_keeps_its_minimum_however_many_there_are():
    assert count_chosen([30] * 50 + [2], most=20, class_minimum=4) == [4] * 50 + [2]


def test_a_class_is_spread_over_its_groups():
    group = torch.tensor([0] * 18 + [1] + [2])
    chosen = choose_rows(torch.zeros(20, dtype=torch.int64), group=group, most=3, class_minimum=0)
    assert group[chosen].tolist() == [0, 1, 2]


def test_rows_of_a_group_are_taken_at_equal_steps():
    label = torch.zeros(12, dtype=torch.int64)
    assert choose_rows(label, group=label, most=4, class_minimum=0).tolist() == [0, 3, 6, 9]


@given(
    rows=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 7)), min_size=1, max_size=80),
    most=st.integers(1, 90),
    class_minimum=st.integers(0, 6),
)
def test_a_choice_is_sorted_fair_and_as_large_as_wanted(rows, most, class_minimum):
    label, group = torch.tensor(rows).T
    chosen = choose_rows(label, group=group, most=most, class_minimum=class_minimum)
    assert chosen.tolist() == sorted(set(chosen.tolist()))
    have = torch.bincount(label, minlength=6)
    kept = torch.bincount(label[chosen], minlength=6)
    assert (kept >= have.clamp(max=class_minimum)).all()
    if class_minimum == 0:
        assert len(chosen) == min(most, len(rows))
    # A class that lost rows has, up to rounding, no fewer than any other.
    for each in ((kept < have) & (have > 0)).nonzero().flatten().tolist():
        assert kept[each] >= kept.max() - 1


def test_all_rows_are_taken_where_they_are_few():
    label = torch.arange(10) % 3
    assert choose_rows(label, group=label, most=10, class_minimum=0).tolist() == list(range(10))
