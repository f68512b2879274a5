"""Facts of records that are likely wrong."""

import pytest

from fieldmark.records.doubts import find_doubts
from fieldmark.types import Item, Medium


def make_items(places, country):
    return [
        Item(str(n), Medium.IMAGE, latitude=place[0], longitude=place[1], country_code=country)
        for n, place in enumerate(places)
    ]


NEAR = [(42.4, -76.5), (42.6, -76.1), (43.0, -77.0), (41.9, -75.8)]
FAR = [(42.4, -76.5), (-33.9, 18.4), (59.9, 10.7), (-23.5, -46.6), (1.3, 103.8)]


@pytest.mark.parametrize("country", ["US", None])
def test_coordinates_that_would_be_near_the_others_if_swapped_are_told(country):
    doubts = find_doubts(make_items([*NEAR, (-76.4, 42.5)], country))
    assert [(doubt.item_id, doubt.kind) for doubt in doubts] == [("4", "swapped_coordinates")]


def test_records_from_all_over_the_world_or_too_few_are_not_compared():
    assert not find_doubts(make_items([*FAR, (-76.4, 42.5)], None))
    assert not find_doubts(make_items([NEAR[0], (-76.4, 42.5)], "US"))


def test_a_country_with_few_records_is_compared_with_the_others_of_its_region():
    doubts = find_doubts([*make_items(NEAR, "US"), Item("x", Medium.IMAGE, latitude=-76.4, longitude=42.5)])
    assert [(doubt.item_id, doubt.kind) for doubt in doubts] == [("x", "swapped_coordinates")]


def test_coordinates_of_zero_are_told():
    assert [doubt.kind for doubt in find_doubts(make_items([(0.0, 0.0), (0.0, 9.0)], "GH"))] == ["zero_coordinates"]
