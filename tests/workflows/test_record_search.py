"""Records in a gallery: found by their number, their facts and their file, and shown with all that is known of them."""

from dataclasses import replace

import pytest

from fieldmark import Gallery, Medium, index, write_manifest
from fieldmark.gallery.fact_query import FactQuery
from fieldmark.gallery.store import Filter
from fieldmark.io import encode_report


@pytest.fixture(scope="module")
def records(toy_items, toy_run, toy_runtime, tmp_path_factory):
    """Eight photos and songs as records: two media to each, observed in May or July, in two places."""
    folder = tmp_path_factory.mktemp("records")
    media = [item for item in toy_items if item.medium in (Medium.IMAGE, Medium.AUDIO)]
    chosen = [*[i for i in media if i.medium is Medium.IMAGE][:4], *[i for i in media if i.medium is Medium.AUDIO][:4]]
    items = [
        replace(
            item,
            catalog_number=f"EX-AV-0000{number % 4}",
            occurrence_id=f"urn:catalog:EX:AV:0000{number % 4}",
            event_date="2021-05-04" if number % 2 else "2021-07-01",
            latitude=48.25 if number % 4 < 2 else -33.9,
            longitude=16.5 if number % 4 < 2 else 18.4,
            country_code="AT" if number % 4 < 2 else "ZA",
            recorded_by="A. Recorder",
            license="https://creativecommons.org/licenses/by/4.0/",
        )
        for number, item in enumerate(chosen)
    ]
    write_manifest(items, folder / "records.csv")
    index(folder / "records.csv", checkpoint=toy_run, gallery=folder / "gallery", runtime=toy_runtime)
    return Gallery.open(folder / "gallery", runtime=toy_runtime)


@pytest.mark.parametrize("text", ["EX-AV-00002", "ex-av-00002", "urn:catalog:EX:AV:00002"])
def test_a_number_is_answered_with_its_record_first(records, text):
    result = records.search(text, k=6)
    assert {hit.item.catalog_number for hit in result.hits[:2]} == {"EX-AV-00002"}
    assert encode_report(result)["hits"][0]["catalog_number"] == "EX-AV-00002"


def test_a_file_name_is_answered_with_the_file_first(records):
    path = next(iter(records.index.items(limit=1))).item.path
    assert records.search(path.name, k=3).hits[0].item.path == path


def test_songs_recorded_in_may_near_a_place_are_a_filter(records):
    facts = FactQuery(months=("5",), near=(48.2, 16.4, 50.0)).make_filter()
    hits = records.search("a bird", k=9, media=[Medium.AUDIO], where=Filter(facts=facts)).hits
    assert [hit.item.catalog_number for hit in hits] == ["EX-AV-00001"]


def test_a_license_is_found_in_any_spelling(records):
    assert len(records.search("a bird", k=9, where=Filter(licenses=frozenset({"cc by 4.0"}))).hits) == 8
    assert not records.search("a bird", k=9, where=Filter(licenses=frozenset({"CC0"}))).hits


def test_media_of_one_record_are_one_hit_where_asked(records):
    hits = records.search("a bird", k=9, by_record=True).hits
    assert len({hit.item.occurrence_id for hit in hits}) == 4
