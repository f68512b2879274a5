"""Species by region and month, and when and where something was seen: what cannot have been it, by these."""

import calendar
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import final

from fieldmark.names import name_key
from fieldmark.records.columns import get_date_span
from fieldmark.records.coordinates import Box, is_on_earth
from fieldmark.records.dates import DateSpan
from fieldmark.scientific_name import parse_scientific_name
from fieldmark.types import Item

_DEGREES_PER_METER = 1 / 111_000


@dataclass(frozen=True, slots=True)
class Sighting:
    """When and where something was seen, as far as that is known.

    Args:
        place: Latitude and longitude in degrees.
        uncertainty_meters: Of the place.
        country: The two letters of ISO 3166-1.
    """

    dates: DateSpan | None = None
    place: tuple[float, float] | None = None
    uncertainty_meters: float = 0.0
    country: str | None = None

    @classmethod
    def of_item(cls, item: Item) -> "Sighting":
        """Return when and where the record of an item says that it was seen; what cannot be is left out."""
        latitude, longitude = item.latitude, item.longitude
        is_placed = latitude is not None and longitude is not None and is_on_earth(latitude, longitude)
        return cls(
            get_date_span(item),
            (latitude, longitude) if is_placed and latitude is not None and longitude is not None else None,
            item.coordinate_uncertainty_meters or 0.0,
            (item.country_code or "").strip().upper() or None,
        )

    @property
    def is_known(self) -> bool:
        """True where there is anything to judge by."""
        return not (self.dates is None and self.place is None and self.country is None)

    def to_text(self) -> str:
        """Return it in words, such as `US in May`."""
        spot = None if self.place is None else f"{self.place[0]:g},{self.place[1]:g}"
        where = self.country if spot is None else f"{spot} ({self.country})" if self.country else spot
        months = () if self.dates is None else sorted(self.dates.months)
        when = None if not months or len(months) == 12 else "/".join(calendar.month_name[month] for month in months)
        return " in ".join(filter(None, (where, when))) or "no date and no place"


@dataclass(frozen=True, slots=True)
class Range:
    """A region in which a species is, and the months in which it is there.

    Args:
        country: Two letters; None for any.
        box: None for anywhere.
        months: From 1 to 12; None for all.
    """

    country: str | None = None
    box: Box | None = None
    months: frozenset[int] | None = None

    def has_place(self, seen: Sighting) -> bool:
        """Tell whether a sighting may be from the region; what it does not tell counts for it."""
        if self.country is not None and seen.country is not None and self.country != seen.country:
            return False
        return self.box is None or seen.place is None or _is_near(self.box, seen.place, seen.uncertainty_meters)

    def has_date(self, seen: Sighting) -> bool:
        """Tell whether a sighting may be of the months."""
        return self.months is None or seen.dates is None or not self.months.isdisjoint(seen.dates.months)


def _is_near(box: Box, place: tuple[float, float], uncertainty_meters: float) -> bool:
    slack = uncertainty_meters * _DEGREES_PER_METER
    latitude, longitude = place
    if not box.south - slack <= latitude <= box.north + slack:
        return False
    is_west, is_east = longitude >= box.west - slack, longitude <= box.east + slack
    return (is_west and is_east) if box.west <= box.east else (is_west or is_east)


@final
class Ranges:
    """The regions and months of species; a species without any is not judged.

    Example:
        >>> from datetime import date
        >>> ranges = Ranges([(("Catharus fuscescens", "Veery"), Range("US", months=frozenset({5, 6})))])
        >>> winter = Sighting(country="US", dates=DateSpan(date(2001, 1, 4), date(2001, 1, 4)))
        >>> ranges.find_doubt(["Veery"], winter), ranges.find_doubt(["Blue Jay"], winter)
        ('not there in January', None)
    """

    def __init__(self, rows: Iterable[tuple[Sequence[str], Range]]) -> None:
        found: dict[str, list[Range]] = {}
        for names, each in rows:
            for key in dict.fromkeys(map(_make_key, names)):
                found.setdefault(key, []).append(each)
        self._by_key: Mapping[str, list[Range]] = found

    def __len__(self) -> int:
        """Return the number of names."""
        return len(self._by_key)

    def find_doubt(self, names: Iterable[str | None], seen: Sighting) -> str | None:
        """Return why a species is unlikely to have been seen then and there; None where it may, or nothing tells.

        Args:
            names: Of the species; the first that is known counts.
        """
        known = next((found for name in names if name and (found := self._by_key.get(_make_key(name)))), None)
        if known is None or not seen.is_known:
            return None
        there = [each for each in known if each.has_place(seen)]
        if not there:
            return f"not known from {Sighting(place=seen.place, country=seen.country).to_text()}"
        if not any(each.has_date(seen) for each in there):
            return f"not there in {Sighting(seen.dates).to_text()}"
        return None


def _make_key(name: str) -> str:
    """Return what the spellings of a name share; the name of a species has neither author nor rank."""
    parsed = parse_scientific_name(name)
    return name_key(parsed.species if parsed is not None and parsed.is_species else name)
