"""The likeliest classes of a query, and queries that contradict each other."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldmark.gallery.search.likeliest import contradict, rank_classes
from fieldmark.gallery.search.result import LikelyClass, OpenSetAnswer
from fieldmark.types import Hit, Item, Medium


def make_hits(*found):
    return [
        Hit(rank, 0.5, Item(f"{rank}", medium, class_name=name), probability=chance)
        for rank, (medium, name, chance) in enumerate(found, start=1)
    ]


def test_two_media_decide_together():
    hits = make_hits(
        (Medium.IMAGE, "Jay", 0.9), (Medium.IMAGE, "Crow", 0.5), (Medium.AUDIO, "Crow", 0.6), (Medium.AUDIO, "Jay", 0.6)
    )
    first, second = rank_classes(hits, collection=None)
    assert (first.name, second.name) == ("Jay", "Crow")
    # log-odds (ln 9 + ln 1.5) / sqrt 2 and (0 + ln 1.5) / sqrt 2
    assert first.probability / second.probability == pytest.approx(9 ** (1 / 2**0.5))


def test_a_class_that_is_missing_among_the_nearest_has_the_least_of_them():
    hits = make_hits((Medium.IMAGE, "Jay", 0.9), (Medium.IMAGE, "Crow", 0.5), (Medium.AUDIO, "Jay", 0.2))
    jay, crow = rank_classes(hits, collection=None)
    assert jay.probability / crow.probability == pytest.approx(9 ** (1 / 2**0.5))


def test_probabilities_add_up_to_that_of_the_collection():
    hits = make_hits((Medium.IMAGE, "Jay", 0.9), (Medium.IMAGE, "Crow", 0.5))
    found = rank_classes(hits, collection=OpenSetAnswer(0.2, 0.5))
    assert sum(each.probability for each in found) == pytest.approx(0.2)


def test_hits_without_probabilities_rank_nothing():
    assert rank_classes(make_hits((Medium.IMAGE, "Jay", None)), collection=None) == ()
    assert rank_classes([], collection=None) == ()


chances = st.floats(0, 1)


@given(st.lists(st.tuples(st.sampled_from(list(Medium)), st.sampled_from("abcdefgh"), chances), max_size=40))
def test_classes_are_few_and_ordered_whatever_the_hits(found):
    ranked = rank_classes(make_hits(*found), collection=None)
    values = [each.probability for each in ranked]
    assert len(values) <= 5
    assert values == sorted(values, reverse=True)
    assert np.isfinite(values).all()
    assert sum(values) <= 1 + 1e-9
    assert bool(ranked) == bool(found)


def make_list(**probability):
    return [LikelyClass(name, value) for name, value in probability.items()]


def test_only_sure_and_different_lists_contradict():
    waxwing, wren = make_list(Waxwing=0.98, Wren=0.01), make_list(Wren=0.9, Waxwing=0.02)
    unsure = make_list(Wren=0.3, Crow=0.2)
    assert contradict([waxwing, wren])
    assert contradict([waxwing, unsure, wren])
    assert not contradict([waxwing, waxwing])
    assert not contradict([waxwing, unsure])
    assert not contradict([waxwing, make_list(Wren=0.6, Waxwing=0.3)])
    assert not contradict([waxwing, []])
