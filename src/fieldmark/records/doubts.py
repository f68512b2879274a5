"""Facts of records that cannot be, or are likely wrong: listed, never changed."""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from fieldmark.records.columns import get_date_span
from fieldmark.records.coordinates import compute_distance_km, is_on_earth, parse_degrees
from fieldmark.types import Item

_FEWEST_OF_COUNTRY = 4
"""Records of a country from which its place on Earth is known well enough."""
_REGION_KM = 1_000.0
"""Records of which half are no farther than this from their middle are of one region."""
_FAR_KM, _TIMES_NEARER = 2_000.0, 4.0
"""A record so far from the others of its country is taken for swapped where swapping brings it so many times nearer."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """A fact that is kept as given, and not used or to be looked at."""

    item_id: str
    kind: str
    detail: str


def find_doubts(items: Sequence[Item]) -> tuple[Doubt, ...]:
    """Return impossible dates and coordinates, swapped ones, and catalog numbers that two records share."""
    return (*(doubt for item in items for doubt in _find_impossible(item)), *_find_swapped(items), *_find_shared(items))


def _find_impossible(item: Item) -> Iterator[Doubt]:
    if item.event_date is not None and get_date_span(item) is None:
        yield Doubt(
            item.item_id,
            "impossible_date",
            f"The date '{item.event_date}' cannot be; it is kept, not used. Give a date of ISO 8601 that has been.",
        )
    if item.latitude == item.longitude == 0:
        yield Doubt(
            item.item_id,
            "zero_coordinates",
            "Latitude and longitude are both 0, which some programs write where none are known. Look at them.",
        )
    extra = dict(item.extra)
    latitude = extra.get("verbatimLatitude") if item.latitude is None else repr(item.latitude)
    longitude = extra.get("verbatimLongitude") if item.longitude is None else repr(item.longitude)
    if (latitude is None and longitude is None) or is_on_earth(item.latitude, item.longitude):
        return
    degrees = [parse_degrees(text or "") for text in (longitude, latitude)]
    kind, why = "impossible_coordinates", "are no place on Earth"
    if is_on_earth(*degrees):
        kind, why = "swapped_coordinates", "seem to be swapped"
    elif any(text and number is None for text, number in zip((longitude, latitude), degrees, strict=True)):
        why = "are no decimal degrees"
    yield Doubt(
        item.item_id,
        kind,
        f"Latitude '{latitude or ''}' and longitude '{longitude or ''}' {why}; kept, and not used. Correct them.",
    )


def _find_swapped(items: Sequence[Item]) -> Iterator[Doubt]:
    """Yield records far from all others of their country, unless latitude and longitude change places.

    Where a country has too few, or none is told, the others are all records, if these are of one region.
    """
    by_country: defaultdict[str, list[tuple[Item, tuple[float, float]]]] = defaultdict(list)
    for item in items:
        latitude, longitude = item.latitude, item.longitude
        if latitude is not None and longitude is not None and is_on_earth(latitude, longitude):
            by_country[(item.country_code or "").upper()].append((item, (latitude, longitude)))
    everywhere = _find_center({place for placed in by_country.values() for _, place in placed}, reach_km=_REGION_KM)
    for country, placed in by_country.items():
        own = _find_center({place for _, place in placed}, reach_km=math.inf) if country else None
        center, others = (own, f"the other records of {country}") if own else (everywhere, "the other records")
        if center is None:
            continue
        for item, place in placed:
            distance = compute_distance_km(place, center)
            if distance >= _FAR_KM and _is_nearer_swapped(place, center, distance):
                yield Doubt(
                    item.item_id,
                    "swapped_coordinates",
                    f"Latitude {place[0]:g} and longitude {place[1]:g} are {distance:,.0f} km from {others}, and would "
                    "be near them if swapped. Look at them.",
                )


def _find_center(places: set[tuple[float, float]], *, reach_km: float) -> tuple[float, float] | None:
    """Return the middle of places; None for too few, or where most are farther from it than they may be."""
    if len(places) < _FEWEST_OF_COUNTRY:
        return None
    center = median(latitude for latitude, _ in places), median(longitude for _, longitude in places)
    return center if median(compute_distance_km(place, center) for place in places) <= reach_km else None


def _is_nearer_swapped(place: tuple[float, float], center: tuple[float, float], distance: float) -> bool:
    swapped = place[1], place[0]
    return is_on_earth(*swapped) and compute_distance_km(swapped, center) * _TIMES_NEARER < distance


def _find_shared(items: Iterable[Item]) -> Iterator[Doubt]:
    """Yield items whose catalog number stands for several records."""
    by_number: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for item in items:
        if item.catalog_number and item.occurrence_id:
            by_number[item.catalog_number].setdefault(item.occurrence_id, item.item_id)
    for number, item_by_record in by_number.items():
        if len(item_by_record) > 1:
            records = ", ".join(list(item_by_record)[:4])
            for item_id in item_by_record.values():
                detail = (
                    f"The catalog number '{number}' stands for {len(item_by_record)} records: {records}. Look at them."
                )
                yield Doubt(item_id, "repeated_number", detail)
