"""Place and date of a query as evidence: read from where it comes, said of hits and names, and never guessed."""

from datetime import date

import pytest
from PIL import Image

from fieldmark.errors import RequestError
from fieldmark.gallery.fact_query import SightingQuery
from fieldmark.gallery.search.evidence import add_evidence, find_sighting
from fieldmark.gallery.search.query import ItemId
from fieldmark.gallery.search.result import SearchResult
from fieldmark.gallery.store import StoredItem
from fieldmark.records.dates import DateSpan
from fieldmark.records.ranges import Range, Ranges, Sighting
from fieldmark.types import Hit, Item, Medium

RANGES = Ranges(
    [(["Veery", "Catharus fuscescens"], Range("US", months=frozenset({5, 6}))), (["Blue Jay"], Range("US"))]
)


class OneItem:
    """A store with one item, from Austria in winter."""

    item = Item("stored", Medium.TEXT, text="x", event_date="2001-01-04", country_code="AT")

    def items(self, *, where=None, limit):
        return (StoredItem(self.item, None, "0", 1),) if where.item_ids == {"stored"} else ()


@pytest.fixture
def photo(tmp_path):
    """A photo whose EXIF says 4 January 2001, at 42 N, 76 W."""
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9003] = "2001:01:04 06:30:00"
    gps = exif.get_ifd(0x8825)
    gps[1], gps[2], gps[3], gps[4] = "N", (42.0, 0.0, 0.0), "W", (76.0, 0.0, 0.0)
    Image.new("RGB", (16, 16)).save(tmp_path / "photo.jpg", exif=exif)
    return tmp_path / "photo.jpg"


def hit(rank: int, **facts) -> Hit:
    called = facts.pop("called", None)
    return Hit(rank, 0.5, Item(f"h{rank}", Medium.TEXT, text="x", **facts), called=called)


def test_a_sighting_comes_from_the_person_then_from_record_or_file(photo):
    january = DateSpan(date(2001, 1, 4), date(2001, 1, 4))
    assert find_sighting([ItemId("stored")], OneItem()) == Sighting(january, country="AT")
    assert find_sighting(["a song at dawn"], OneItem()) == Sighting()
    from_file = find_sighting(["a song", photo], OneItem())
    assert (from_file.dates, from_file.place) == (january, (42.0, -76.0))
    given = SightingQuery(country="united states", date="2001-05").make_sighting()
    found = find_sighting([photo], OneItem(), given=given)
    assert (found.country, found.place, found.dates.first.month) == ("US", None, 5)


def test_hits_and_names_say_why_they_are_unlikely_and_keep_their_order(photo):
    hits = (
        hit(1, class_name="Veery"),
        hit(2, class_name="Blue Jay"),
        hit(3, called="Veery"),
        hit(4, class_name="bird 7", scientific_name="Catharus fuscescens (Stephens, 1817)"),
        hit(5),
    )
    result = SearchResult((Medium.IMAGE,), hits, class_name="Veery")
    given = SightingQuery(country="US")
    found = add_evidence(result, [photo], index=OneItem(), ranges=RANGES, given=given)
    why = "not there in January"
    assert [each.unlikely for each in found.hits] == [why, None, why, why, None]
    assert [each.item_id for each in found.hits] == [each.item_id for each in hits]
    assert (found.unlikely, found.seen.country) == (why, "US")
    text = found.to_text()
    assert "3 of 5 hits are of species that are unlikely there and then: US in January" in text
    assert text.count(f"UNLIKELY: {why}") == 3
    assert found.json_values()["hits"][0]["unlikely"] == why


def test_nothing_is_said_without_ranges_or_without_a_sighting():
    result = SearchResult((Medium.TEXT,), (hit(1, class_name="Veery"),))
    assert add_evidence(result, ["x"], index=OneItem(), ranges=None, given=SightingQuery()) is result
    unknown = add_evidence(result, ["x"], index=OneItem(), ranges=RANGES, given=SightingQuery())
    assert unknown.hits[0].unlikely is None
    assert "neither place nor date" in unknown.to_text()
    with pytest.raises(RequestError, match="Give a table"):
        add_evidence(result, ["x"], index=OneItem(), ranges=None, given=SightingQuery(date="2001"))


@pytest.mark.parametrize(
    "given", [{"place": [95.0, 3.0]}, {"place": [1.0]}, {"country": "Atlantis"}, {"date": "2001-02-30"}]
)
def test_what_cannot_be_is_refused(given):
    with pytest.raises(RequestError, match="Give"):
        SightingQuery(**given).make_sighting()
