"""Place and date of a query as evidence: hits and names that cannot be there then are said to be unlikely."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from fieldmark.errors import MediaError, RequestError
from fieldmark.gallery.fact_query import SightingQuery
from fieldmark.gallery.search.query import ItemId, Query
from fieldmark.gallery.search.records import ItemReader
from fieldmark.gallery.search.result import SearchResult
from fieldmark.gallery.store import Filter
from fieldmark.media.loaders import detect_medium
from fieldmark.media.metadata import read_embedded_facts
from fieldmark.records.ranges import Ranges, Sighting
from fieldmark.types import Hit, Item, MediaLimits, Medium


def find_sighting(queries: Sequence[Query], index: ItemReader, *, given: Sighting | None = None) -> Sighting:
    """Return when and where the queries were made: what a person gave, then what their records or files say.

    The first query that tells a fact counts.

    Args:
        given: Its known parts hide what queries say of the same.
    """
    found = given or Sighting()
    for query in queries:
        own = _read(query, index)
        is_placed = found.place is not None or found.country is not None
        found = Sighting(
            found.dates or own.dates,
            found.place if is_placed else own.place,
            found.uncertainty_meters if is_placed else own.uncertainty_meters,
            found.country if is_placed else own.country,
        )
    return found


def _read(query: Query, index: ItemReader) -> Sighting:
    match query:
        case ItemId():
            stored = index.items(where=Filter(item_ids=frozenset({query.item_id})), limit=1)
            return Sighting.of_item(stored[0].item) if stored else Sighting()
        case Item():
            return Sighting.of_item(query)
        case _:
            return _read_file(Path(query))


def _read_file(path: Path) -> Sighting:
    """Return what a file says of itself; nothing for a text that names no file."""
    try:
        medium = detect_medium(path) if path.is_file() else Medium.TEXT
    except (MediaError, OSError, ValueError):
        return Sighting()
    if medium is Medium.TEXT:
        return Sighting()
    facts = read_embedded_facts(path, medium=medium, limits=MediaLimits())
    return Sighting.of_item(
        Item(
            "query",
            medium,
            path=path,
            event_date=facts.event_date,
            latitude=facts.latitude,
            longitude=facts.longitude,
            coordinate_uncertainty_meters=facts.coordinate_uncertainty_meters,
        )
    )


def add_evidence(
    result: SearchResult,
    queries: Sequence[Query],
    *,
    index: ItemReader,
    ranges: Ranges | None,
    given: SightingQuery,
) -> SearchResult:
    """Return a result with what ranges say of it; as it is where there are none.

    Raises:
        RequestError: What was given cannot be read, or there are no ranges to judge it by.
    """
    if ranges is None:
        if given.is_given:
            raise RequestError(
                f"There are no ranges to judge '{given.date or given.country or given.place}' by. Give a table with "
                "--ranges, or leave place and date of the query out.",
                kind="no_ranges",
            )
        return result
    return judge_result(result, ranges=ranges, seen=find_sighting(queries, index, given=given.make_sighting()))


def judge_result(result: SearchResult, *, ranges: Ranges, seen: Sighting) -> SearchResult:
    """Return a result whose hits and named species say why they are unlikely there and then; no order changes."""

    def judge(hit: Hit) -> Hit:
        names = (hit.class_name, hit.item.scientific_name) if hit.class_name is not None else (hit.called,)
        return hit._replace(unlikely=ranges.find_doubt(names, seen))

    return replace(
        result,
        hits=tuple(map(judge, result.hits)),
        seen=seen,
        unlikely=ranges.find_doubt((result.species_name, result.class_name), seen),
    )
