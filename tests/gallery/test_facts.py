"""Items found by the facts of their records: the same from every store; facts corrected; galleries from before."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from fieldmark.errors import RequestError, UnknownItemError
from fieldmark.gallery.facts import FactFilter
from fieldmark.gallery.lance import LanceIndex
from fieldmark.gallery.store import Filter
from fieldmark.records.columns import SEARCH_COLUMNS
from fieldmark.records.coordinates import Box, Circle, compute_distance_km
from fieldmark.records.dates import DateSpan
from fieldmark.segment_table import FACTS
from fieldmark.types import Item, Medium

HASHES = "0"
RECORDS = {
    "may": {"event_date": "2001-05-04T06:30", "latitude": 42.44, "longitude": -76.5, "country_code": "us"},
    "interval": {"event_date": "2001-04-28/2001-05-03", "latitude": 42.9, "longitude": -76.5, "country_code": "US"},
    "year": {"event_date": "2001", "place": "São Paulo", "country_code": "BR"},
    "winter": {"event_date": "2002-12-30/2003-01-02", "latitude": -17.0, "longitude": 179.9, "country_code": "FJ"},
    "impossible": {"event_date": "2001-02-30", "latitude": 142.0, "longitude": -76.0},
    "numbered": {
        "catalog_number": "EX-AV-00017",
        "occurrence_id": "urn:catalog:EX:AV:00017",
        "path": Path("/a/XC7.ogg"),
    },
    "seen": {"recorded_by": "Observer 1 | Zoë Ångström", "license": "https://creativecommons.org/licenses/by/4.0/"},
    "other": {"recorded_by": "observer 10", "license": "CC_BY_NC_4_0"},
    "free": {"license": "my own terms", "class_name": "Veery"},
}
HAS_NO = {"may", "interval", "winter", "impossible"}


def make_items():
    return tuple(Item(name, Medium.AUDIO, **facts) for name, facts in RECORDS.items())


def fill(index, items, unit_rows, embeddings_of):
    rows = unit_rows(2 * len(items))
    parts = [(item, rows[2 * number : 2 * number + 2]) for number, item in enumerate(items)]
    index.add(embeddings_of(*parts), content_hash_by_item_id=dict.fromkeys((item.item_id for item in items), HASHES))
    return index


def find(index, where):
    """The ids that meet a filter, by every way in which a store is asked."""
    found = {hit.item_id for hit in index.search(np.ones(8), k=99, where=where)}
    assert set(index.content_hashes(where)) == found
    assert {stored.item.item_id for stored in index.items(where=where, limit=99)} == found
    return found


MAY_2001 = DateSpan(date(2001, 5, 1), date(2001, 5, 31))
CASES = [
    (FactFilter(dates=MAY_2001), {"may"}),
    (FactFilter(dates=DateSpan(date(2001, 1, 1), date(2001, 12, 31))), {"may", "interval", "year"}),
    (FactFilter(months=frozenset({5})), {"may"}),
    (FactFilter(months=frozenset({4, 5})), {"may", "interval"}),
    (FactFilter(months=frozenset({12, 1})), {"winter"}),
    (FactFilter(months=frozenset()), set()),
    (FactFilter(area=Box(-77.0, 42.0, -76.0, 42.5)), {"may"}),
    (FactFilter(area=Box(179.0, -20.0, -179.0, 0.0)), {"winter"}),
    (FactFilter(area=Circle(42.44, -76.5, 50.0)), {"may"}),
    (FactFilter(area=Circle(42.44, -76.5, 52.0)), {"may", "interval"}),
    (FactFilter(area=Circle(-17.0, -179.9, 30.0)), {"winter"}),
    (FactFilter(area=Circle(80.0, 0.0, 20000.0)), {"may", "interval", "winter"}),
    (FactFilter(countries=frozenset({"us"})), {"may", "interval"}),
    (FactFilter(observers=frozenset({"ZOE angstrom"})), {"seen"}),
    (FactFilter(observers=frozenset({"observer 1"})), {"seen"}),
    (FactFilter(observers=frozenset()), set()),
    (FactFilter(lacks=frozenset({"license"})), set(RECORDS) - {"seen", "other", "free"}),
    (
        FactFilter(lacks=frozenset({"date", "coordinates", "country"})),
        {"impossible", "numbered", "seen", "other", "free"},
    ),
    (FactFilter(lacks=frozenset({"class_name"}), observers=frozenset({"observer 10"})), {"other"}),
    (FactFilter(keys=frozenset({"ex-av-00017"})), {"numbered"}),
    (FactFilter(keys=frozenset({"xc7.OGG", "sao  paulo"})), {"numbered", "year"}),
    (FactFilter(keys=frozenset({"x') OR true --"})), set()),
]


def test_items_are_found_by_the_facts_of_their_records(index, unit_rows, embeddings_of):
    fill(index, make_items(), unit_rows, embeddings_of)
    for facts, expected in CASES:
        facts.check()
        assert find(index, Filter(facts=facts)) == expected, facts


def test_items_are_found_by_license_in_any_spelling(index, unit_rows, embeddings_of):
    fill(index, make_items(), unit_rows, embeddings_of)
    for wanted, expected in [
        ({"cc by 4.0"}, {"seen"}),
        ({"CC-BY"}, {"seen"}),
        ({"cc by 3.0"}, set()),
        ({"CC BY-NC 4.0", "My own  terms"}, {"other", "free"}),
    ]:
        assert find(index, Filter(licenses=frozenset(wanted))) == expected


def test_circle_holds_exactly_what_is_near_enough(tmp_path, unit_rows, embeddings_of):
    where = np.random.default_rng(1).uniform((-90, -180), (90, 180), (150, 2)).tolist()
    items = tuple(
        Item(str(number), Medium.IMAGE, latitude=latitude, longitude=longitude)
        for number, (latitude, longitude) in enumerate(where)
    )
    folder = tmp_path / "index"
    fill(LanceIndex.create(folder, fingerprint="f", dim=8), items, unit_rows, embeddings_of)
    indices = [LanceIndex.open(folder), LanceIndex.open(folder, exact_rows=0)]
    centers = [*map(tuple, where[:6]), (89.9, 5.0), (0.0, 180.0)]
    for center, radius_km in zip(centers, [100, 1500, 9000, 4000, 12000, 20100, 800, 3000], strict=True):
        near = {str(n) for n, each in enumerate(where) if compute_distance_km(tuple(each), center) <= radius_km}
        facts = FactFilter(area=Circle(*center, float(radius_km)))
        for each in indices:
            assert {hit.item_id for hit in each.search(np.ones(8), k=200, where=Filter(facts=facts))} == near


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        (FactFilter(lacks=frozenset({"licence"})), "Did you mean 'license'"),
        (FactFilter(months=frozenset({13})), "from 1 to 12"),
        (FactFilter(dates=DateSpan(date(2002, 1, 1), date(2001, 1, 1))), "Give the first day first"),
        (FactFilter(area=Box(10.0, 60.0, 20.0, 50.0)), "Give west,south,east,north"),
        (FactFilter(area=Box(10.0, 50.0, 200.0, 60.0)), "Give west,south,east,north"),
        (FactFilter(area=Circle(95.0, 10.0, 5.0)), "Give latitude,longitude,kilometers"),
        (FactFilter(area=Circle(50.0, 10.0, 0.0)), "a distance above 0"),
    ],
)
def test_conditions_that_cannot_be_are_refused(facts, message):
    with pytest.raises(RequestError, match=message):
        facts.check()


def test_facts_are_replaced_and_segments_stay(index, unit_rows, embeddings_of):
    items = make_items()
    fill(index, items, unit_rows, embeddings_of)
    before = index.embeddings()
    index.update_facts(
        [replace(items[0], event_date="1999-07", extra=(("color", "red"),)), replace(items[1], country_code=None)],
        content_hash_by_item_id={"may": "1", "interval": "2"},
    )
    after = index.embeddings()
    assert np.array_equal(before.embedding, after.embedding)
    assert [item.item_id for item in before.items] == [item.item_id for item in after.items]
    assert dict(index.get("may").items[1].extra) == {"color": "red"}
    assert {name: index.content_hashes()[name] for name in ("may", "interval", "year")} == {
        "may": "1",
        "interval": "2",
        "year": HASHES,
    }
    assert find(index, Filter(facts=FactFilter(months=frozenset({7})))) == {"may"}
    assert find(index, Filter(facts=FactFilter(countries=frozenset({"US"})))) == {"may"}
    with pytest.raises(UnknownItemError, match="'nobody'"):
        index.update_facts([Item("nobody", Medium.AUDIO)], content_hash_by_item_id={"nobody": "1"})


@pytest.mark.parametrize("exact_rows", [0, 1000])
def test_a_gallery_from_before_facts_were_known_opens_is_searched_and_written(
    exact_rows, tmp_path, unit_rows, embeddings_of
):
    fill(LanceIndex.create(tmp_path / "index", fingerprint="f", dim=8), make_items(), unit_rows, embeddings_of)
    new = FACTS[[fact.name for fact in FACTS].index("event_date") : -1]
    index = LanceIndex.open(tmp_path / "index", exact_rows=exact_rows)
    index._store.table.drop_columns([*(fact.column for fact in new), *(column.name for column in SEARCH_COLUMNS)])
    index = LanceIndex.open(tmp_path / "index", exact_rows=exact_rows)
    assert len(index.search(np.ones(8), k=99)) == len(RECORDS)
    assert index.get("may").items[0].event_date is None
    assert find(index, Filter(facts=FactFilter(countries=frozenset({"US"})))) == set()
    assert find(index, Filter(facts=FactFilter(lacks=frozenset({"country"})))) == set(RECORDS)
    assert find(index, Filter(licenses=frozenset({"CC_BY_NC_4_0"}))) == {"other"}
    reader = LanceIndex.open(tmp_path / "index", exact_rows=exact_rows)
    index.update_facts(make_items()[:2], content_hash_by_item_id=dict.fromkeys(["may", "interval"], HASHES))
    fill(index, (Item("new", Medium.IMAGE, country_code="US"),), unit_rows, embeddings_of)
    for each in (index, reader):
        assert find(each, Filter(facts=FactFilter(countries=frozenset({"US"})))) == {"may", "interval", "new"}
        assert each.get("may").items[0] == make_items()[0]
