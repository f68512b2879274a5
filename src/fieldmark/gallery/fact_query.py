"""Conditions on facts as people write them: dates, months, areas, countries -> a filter."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from fieldmark.errors import RequestError
from fieldmark.gallery.facts import FactFilter
from fieldmark.records.coordinates import Box, Circle, is_on_earth, parse_degrees
from fieldmark.records.countries import find_country_code
from fieldmark.records.dates import DateSpan, parse_event_date, parse_months
from fieldmark.records.ranges import Sighting


@dataclass(frozen=True, slots=True)
class FactQuery:
    """The conditions of a search on facts, as they were written; empty ones set none.

    Args:
        date_from: A day, month or year, the first of whose days counts.
        date_to: The same, with its last day.
        months: Numbers, English names, or ranges of them, such as `11-2`.
        box: West, south, east and north, in degrees.
        near: Latitude and longitude in degrees, and kilometers.
        countries: Codes, or English names.
        has_no: Facts that the item lacks, of `LACKABLE_FACTS`.
    """

    date_from: str | None = None
    date_to: str | None = None
    months: Sequence[str] = ()
    box: Sequence[float] = ()
    near: Sequence[float] = ()
    countries: Sequence[str] = ()
    observers: Sequence[str] = ()
    has_no: Sequence[str] = ()

    def make_filter(self) -> FactFilter:
        """Return the conditions.

        Raises:
            RequestError: One of them cannot be read, or cannot be met.
        """
        found = FactFilter(
            dates=self._make_dates(),
            months=frozenset(month for text in self.months for month in parse_months(text)) if self.months else None,
            area=self._make_area(),
            countries=frozenset(map(parse_country, self.countries)) or None,
            observers=frozenset(self.observers) or None,
            lacks=frozenset(self.has_no),
        )
        found.check()
        return found

    def _make_dates(self) -> DateSpan | None:
        if self.date_from is None and self.date_to is None:
            return None
        first = date.min if self.date_from is None else parse_dates(self.date_from).first
        last = date.max if self.date_to is None else parse_dates(self.date_to).last
        return DateSpan(first, last)

    def _make_area(self) -> Box | Circle | None:
        if self.box and self.near:
            raise RequestError(
                f"Both a box {list(self.box)} and a circle {list(self.near)} are given. Give one of them.",
                kind="bad_area",
            )
        if self.box:
            return Box(*_check_count(self.box, 4, "west,south,east,north"))
        return Circle(*_check_count(self.near, 3, "latitude,longitude,kilometers")) if self.near else None


@dataclass(frozen=True, slots=True)
class SightingQuery:
    """When and where a query was made, as a person writes it.

    Args:
        place: Latitude and longitude in degrees.
        country: A code, or an English name.
        date: A day, month or year.
    """

    place: Sequence[float] = ()
    country: str | None = None
    date: str | None = None

    @property
    def is_given(self) -> bool:
        """True where anything was written."""
        return bool(self.place or self.country or self.date)

    def make_sighting(self) -> Sighting:
        """Return it.

        Raises:
            RequestError: A part of it cannot be read.
        """
        place = None
        if self.place:
            latitude, longitude = _check_count(self.place, 2, "latitude,longitude")
            if not is_on_earth(latitude, longitude):
                raise RequestError(
                    f"{latitude:g},{longitude:g} is no place. Give a latitude from -90 to 90 and a longitude from -180 "
                    "to 180.",
                    kind="bad_area",
                )
            place = latitude, longitude
        return Sighting(
            dates=parse_dates(self.date) if self.date else None,
            place=place,
            country=parse_country(self.country) if self.country else None,
        )


def _check_count(numbers: Sequence[float], count: int, names: str) -> list[float]:
    if len(numbers) != count:
        raise RequestError(
            f"{names} are {count} numbers, and {len(numbers)} are given: {', '.join(map(str, numbers))}. Give {names}.",
            kind="bad_area",
        )
    return [float(number) for number in numbers]


def parse_dates(text: str) -> DateSpan:
    """Return the days that a text names.

    Raises:
        RequestError: It names none.
    """
    span = parse_event_date(text)
    if span is None:
        raise RequestError(
            f"'{text}' is no date that has been. Give a day, month or year, such as 2001-05-04, 2001-05 or 2001.",
            kind="bad_dates",
        )
    return span


def parse_country(text: str) -> str:
    """Return the code of a country.

    Raises:
        RequestError: There is no such country.
    """
    code = find_country_code(text)
    if code is None:
        raise RequestError(
            f"'{text}' is no country. Give the two letters of ISO 3166-1, such as US, or an English name.",
            kind="unknown_country",
        )
    return code


def parse_numbers(text: str) -> list[float]:
    """Return numbers that commas separate.

    Raises:
        RequestError: One of them is none.
    """
    numbers = [parse_degrees(part) for part in text.split(",")]
    if None in numbers:
        raise RequestError(
            f"'{text}' is no list of numbers. Give numbers with commas between them, such as 42.44,-76.5,50.",
            kind="bad_area",
        )
    return [number for number in numbers if number is not None]
