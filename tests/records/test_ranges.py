"""Species by region and month: what is unlikely, what may be, and what nothing tells of."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldmark.data.ranges import read_ranges
from fieldmark.errors import ManifestError
from fieldmark.records.dates import DateSpan
from fieldmark.records.ranges import Range, Ranges, Sighting
from fieldmark.types import Item, Medium

TABLE = """\
Scientific Name;Common name;Region;west;south;east;north;Months
Catharus fuscescens (Stephens, 1817);Veery;United States;;;;;4-9
Catharus fuscescens;Veery;BR;;;;;Nov-feb, 3
Spinus tristis;American Goldfinch;;-130;25;-60;52;
Numenius tahitiensis;;;170;-25;-140;70;
"""


@pytest.fixture
def ranges(tmp_path):
    (tmp_path / "ranges.csv").write_text(TABLE, encoding="utf-8")
    return read_ranges(tmp_path / "ranges.csv")


def seen(day: str | None = None, **facts) -> Sighting:
    return Sighting(dates=None if day is None else DateSpan(date.fromisoformat(day), date.fromisoformat(day)), **facts)


@pytest.mark.parametrize(
    ("names", "sighting", "doubt"),
    [
        (["Veery"], seen("2001-05-04", country="US"), None),
        (["Veery"], seen("2001-01-04", country="US"), "not there in January"),
        (["catharus fuscescens"], seen("2001-01-04", country="BR"), None),
        (["Catharus fuscescens Cory"], seen("2001-01-04", country="DE"), "not known from DE"),
        (["Veery"], seen(country="DE"), "not known from DE"),
        (["Veery"], seen("2001-10-04"), "not there in October"),
        (["Veery"], seen("2001-01-04", place=(42.0, -76.0)), None),  # no country is known: it may be Brazil
        (["Veery"], seen(), None),
        (["Blue Jay"], seen("2001-01-04", country="DE"), None),
        ([None, "Blue Jay", "Veery"], seen(country="DE"), "not known from DE"),
        (["Spinus tristis"], seen(place=(48.2, 16.4)), "not known from 48.2,16.4"),
        (["American goldfinch"], seen(place=(42.0, -76.0)), None),
        (["Spinus tristis"], seen(place=(52.4, -76.0)), "not known from 52.4,-76"),
        (["Spinus tristis"], seen(place=(52.4, -76.0), uncertainty_meters=60_000.0), None),
        (["Numenius tahitiensis"], seen(place=(20.0, 175.0)), None),
        (["Numenius tahitiensis"], seen(place=(20.0, -150.0)), None),
        (["Numenius tahitiensis"], seen(place=(20.0, 10.0)), "not known from 20,10"),
    ],
)
def test_a_species_is_unlikely_only_where_its_ranges_say_so(ranges, names, sighting, doubt):
    assert ranges.find_doubt(names, sighting) == doubt


@given(st.dates(date(1990, 1, 1), date(2020, 12, 31)), st.integers(0, 500), st.sets(st.integers(1, 12), min_size=1))
def test_a_date_is_doubted_exactly_where_none_of_its_months_is_there(first, days, months):
    span = DateSpan(first, date.fromordinal(first.toordinal() + days))
    every_day = {date.fromordinal(first.toordinal() + n).month for n in range(days + 1)}
    found = Ranges([(["Veery"], Range(months=frozenset(months)))]).find_doubt(["Veery"], Sighting(dates=span))
    assert (found is None) == bool(every_day & months)


def test_a_sighting_leaves_out_what_cannot_be():
    item = Item("a", Medium.TEXT, text="x", event_date="2001-02-30", latitude=95.0, longitude=3.0, country_code="us")
    assert Sighting.of_item(item) == Sighting(country="US")
    assert Sighting.of_item(Item("b", Medium.TEXT, text="x")).to_text() == "no date and no place"


@pytest.mark.parametrize(
    "text",
    [
        "species,color\nVeery,brown\n",
        "species,region\nVeery,Atlantis\n",
        "species,months\nVeery,13\n",
        "species,west,south,east,north\nVeery,1,2,3,\n",
        "species,west,south,east,north\nVeery,1,60,3,50\n",
        "species,region\n,US\n",
        "species,region\nVeery,US,extra\n",
        "region,months\nUS,5\n",
    ],
)
def test_a_table_that_is_none_is_refused_with_what_to_give(tmp_path, text):
    (tmp_path / "ranges.csv").write_text(text, encoding="utf-8")
    with pytest.raises(ManifestError, match=r"ranges\.csv.*Give the columns"):
        read_ranges(tmp_path / "ranges.csv")
