"""The likeliest classes of a query, and queries that contradict each other."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldmark.gallery.search.likeliest import contradict, rank_classes
from fieldmark.gallery.search.open_set import BestItems
from fieldmark.gallery.search.result import LikelyClass, OpenSetAnswer
from fieldmark.types import Medium


def list_nearest(*found):
    """The items of each medium, best first; each is given by its medium, class and probability."""
    nearest = {}
    for medium in dict.fromkeys(medium for medium, *_ in found):
        own = sorted((each for each in found if each[0] is medium), key=lambda each: -each[2])
        chance = np.array([each[2] for each in own])
        with np.errstate(divide="ignore"):
            nearest[medium] = BestItems(np.log(chance) - np.log1p(-chance), [name for _, name, _ in own])
    return nearest


def test_two_media_decide_together():
    nearest = list_nearest(
        (Medium.IMAGE, "Jay", 0.9), (Medium.IMAGE, "Crow", 0.5), (Medium.AUDIO, "Crow", 0.6), (Medium.AUDIO, "Jay", 0.6)
    )
    first, second = rank_classes(nearest, collection=None)
    assert (first.name, second.name) == ("Jay", "Crow")
    # log-odds (ln 9 + ln 1.5) / sqrt 2 and (0 + ln 1.5) / sqrt 2
    assert first.probability / second.probability == pytest.approx(9 ** (1 / 2**0.5))


def test_a_class_that_is_missing_among_the_nearest_has_the_least_of_them():
    nearest = list_nearest((Medium.IMAGE, "Jay", 0.9), (Medium.IMAGE, "Crow", 0.5), (Medium.AUDIO, "Jay", 0.2))
    jay, crow = rank_classes(nearest, collection=None)
    assert jay.probability / crow.probability == pytest.approx(9 ** (1 / 2**0.5))


def test_probabilities_add_up_to_that_of_the_collection():
    nearest = list_nearest((Medium.IMAGE, "Jay", 0.9), (Medium.IMAGE, "Crow", 0.5))
    found = rank_classes(nearest, collection=OpenSetAnswer(0.2, 0.5))
    assert sum(each.probability for each in found) == pytest.approx(0.2)


def test_items_without_a_name_rank_nothing_and_count_as_the_least_of_their_medium():
    assert rank_classes(list_nearest((Medium.IMAGE, None, 0.9)), collection=None) == ()
    assert rank_classes({}, collection=None) == ()
    nearest = list_nearest((Medium.IMAGE, "Jay", 0.9), (Medium.AUDIO, "Crow", 0.9), (Medium.AUDIO, None, 0.5))
    crow, jay = rank_classes(nearest, collection=None)
    # log-odds (ln 9 + ln 9) / sqrt 2, as no photo is less like a crow than ln 9, and (ln 9 + 0) / sqrt 2
    assert (crow.name, jay.name) == ("Crow", "Jay")
    assert crow.probability / jay.probability == pytest.approx(9 ** (1 / 2**0.5))


chances = st.floats(0, 1)


@given(st.lists(st.tuples(st.sampled_from(list(Medium)), st.sampled_from("abcdefgh"), chances), max_size=40))
def test_classes_are_few_and_ordered_whatever_is_near(found):
    ranked = rank_classes(list_nearest(*found), collection=None)
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
