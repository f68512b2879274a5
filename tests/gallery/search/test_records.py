"""Records among hits: looked up, sorted, gathered; and conditions as people write them."""

from datetime import date
from pathlib import Path

import pytest

from fieldmark.errors import RequestError
from fieldmark.gallery.fact_query import FactQuery
from fieldmark.gallery.search.records import HitOrder, gather_records, look_up, sort_hits
from fieldmark.gallery.store import Filter
from fieldmark.records.dates import parse_months
from fieldmark.types import Hit, Item, Medium


def make_hits(*items):
    return tuple(Hit(rank, 0.5, item) for rank, item in enumerate(items, start=1))


def test_a_number_a_file_name_and_a_place_look_up_their_records(index, unit_rows, embeddings_of):
    items = (
        Item("a", Medium.IMAGE, catalog_number="EX-1", occurrence_id="o:1", place="São Paulo"),
        Item("b", Medium.AUDIO, path=Path("/x/XC7.ogg"), catalog_number="EX-1", occurrence_id="o:1"),
        Item("c", Medium.AUDIO, place="ex-1"),
    )
    index.add(
        embeddings_of(*((item, unit_rows(1)) for item in items)), content_hash_by_item_id=dict.fromkeys("abc", "0")
    )

    def find(text, where=None):
        match = look_up(index, text, where=where or Filter(), limit=9)
        return match and [(hit.item_id, hit.matched) for hit in match.hits]

    assert find(" ex-1 ") == [("a", "catalog_number"), ("b", "catalog_number"), ("c", "place")]
    assert find("xc7.OGG") == [("b", "path")]
    assert find("sao paulo") == [("a", "place")]
    assert find("EX-1", Filter(media=frozenset({Medium.AUDIO}))) == [("b", "catalog_number"), ("c", "place")]
    assert find("a gull over the water") is None


def test_hits_are_sorted_by_date_and_place_and_unknown_ones_are_last():
    hits = make_hits(
        Item("late", Medium.IMAGE, event_date="2002", country_code="US", place="b"),
        Item("none", Medium.IMAGE, event_date="2001-02-30"),
        Item("early", Medium.IMAGE, event_date="2001-05", country_code="DE", place="c"),
        Item("same", Medium.IMAGE, event_date="2001-05-01", country_code="DE", place="A"),
    )
    assert [hit.item_id for hit in sort_hits(hits, HitOrder.DATE)] == ["early", "same", "late", "none"]
    assert [hit.item_id for hit in sort_hits(hits, HitOrder.PLACE)] == ["same", "early", "late", "none"]


def test_media_of_one_record_stand_together_and_k_counts_records():
    hits = make_hits(
        Item("a", Medium.IMAGE, occurrence_id="1"),
        Item("b", Medium.IMAGE),
        Item("c", Medium.AUDIO, occurrence_id="1"),
        Item("d", Medium.AUDIO, occurrence_id="2"),
    )
    assert [hit.item_id for hit in gather_records(hits, k=2)] == ["a", "c", "b"]


def test_conditions_are_read_as_people_write_them():
    facts = FactQuery(date_from="2001", date_to="2002-02", months=("may", "11-2"), countries=("Austria",)).make_filter()
    assert facts.dates is not None
    assert (facts.dates.first, facts.dates.last) == (date(2001, 1, 1), date(2002, 2, 28))
    assert facts.months == {5, 11, 12, 1, 2}
    assert facts.countries == {"AT"}
    assert FactQuery().make_filter() == Filter().facts
    assert parse_months("12") == {12}


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (FactQuery(date_from="2001-02-30"), "such as 2001-05-04"),
        (FactQuery(months=("14",)), "numbers from 1 to 12"),
        (FactQuery(countries=("Mars",)), "two letters"),
        (FactQuery(near=(1.0, 2.0)), "latitude,longitude,kilometers"),
        (FactQuery(near=(1.0, 2.0, 3.0), box=(1.0, 2.0, 3.0, 4.0)), "Give one of them"),
    ],
)
def test_conditions_that_cannot_be_read_say_what_to_give(query, message):
    with pytest.raises(RequestError, match=message):
        query.make_filter()
