"""Columns by which a store finds items: derived from their facts, in a form that can be compared."""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa

from fieldmark.records.coordinates import is_on_earth
from fieldmark.records.dates import DateSpan, parse_event_date, write_month_range
from fieldmark.records.licenses import write_license_form
from fieldmark.types import Item


@dataclass(frozen=True, slots=True)
class SearchColumn:
    """A column that a store keeps beside the facts, to find items by them.

    Args:
        derive: Gives the value of an item; None where its facts leave it open, or cannot be used.
    """

    name: str
    arrow_type: pa.DataType
    derive: Callable[[Item], object]

    @property
    def field(self) -> pa.Field:
        """The column of a table."""
        return pa.field(self.name, self.arrow_type)

    def collect(self, items: tuple[Item, ...]) -> pa.Array:
        """Return the values of some items; rows of one item follow each other, and are derived once."""
        values: list[object] = []
        last: Item | None = None
        for item in items:
            values.append(values[-1] if item is last else self.derive(item))
            last = item
        return pa.array(values, self.arrow_type)


def fold_text(text: str) -> str:
    """Return a text without differences of case, accents and spaces.

    Example:
        >>> fold_text(" S\u00e3o  Paulo"), fold_text("EX-AV-00017")
        ('sao paulo', 'ex-av-00017')
    """
    plain = unicodedata.normalize("NFKD", text.casefold())
    return " ".join(re.sub(r"[\u0300-\u036f]", "", plain).split())


def split_people(text: str) -> tuple[str, ...]:
    """Return the people whom one cell names; commas stand within names.

    Example:
        >>> split_people("observer 1 | Observer 3")
        ('observer 1', 'Observer 3')
    """
    return tuple(name.strip() for name in re.split(r"\s*[|;\n]\s*|\s+(?:&|and)\s+", text) if name.strip())


def list_keys(item: Item) -> dict[str, str]:
    """Return what an item's record can be looked up by, folded, and the fact that each is.

    The id, catalog and occurrence numbers and the name of the file come first, so that a place that is spelled like one
    of them does not hide it.
    """
    told = {
        "item_id": item.item_id,
        "catalog_number": item.catalog_number,
        "occurrence_id": item.occurrence_id,
        "path": None if item.path is None else item.path.name,
        "place": item.place,
    }
    keys: dict[str, str] = {}
    for fact, value in told.items():
        if value and (key := fold_text(value)):
            keys.setdefault(key, fact)
    return keys


def get_date_span(item: Item) -> DateSpan | None:
    """Return the days of an item's record; None where they are not known."""
    return None if item.event_date is None else parse_event_date(item.event_date)


def _derive_day(item: Item, end: str) -> object:
    span = get_date_span(item)
    return None if span is None else getattr(span, end)


def _derive_months(item: Item) -> object:
    span = get_date_span(item)
    return None if span is None else write_month_range(span)


def _derive_degrees(item: Item, name: str) -> object:
    return getattr(item, name) if is_on_earth(item.latitude, item.longitude) else None


def _fold_all(names: tuple[str, ...]) -> object:
    return [fold_text(name) for name in names] or None


SEARCH_COLUMNS = (
    SearchColumn("first_day", pa.date32(), lambda item: _derive_day(item, "first")),
    SearchColumn("last_day", pa.date32(), lambda item: _derive_day(item, "last")),
    SearchColumn("months", pa.string(), _derive_months),
    SearchColumn("degrees_north", pa.float64(), lambda item: _derive_degrees(item, "latitude")),
    SearchColumn("degrees_east", pa.float64(), lambda item: _derive_degrees(item, "longitude")),
    SearchColumn("country", pa.string(), lambda item: (item.country_code or "").strip().upper() or None),
    SearchColumn("license_form", pa.string(), lambda item: write_license_form(item.license) if item.license else None),
    SearchColumn("observers", pa.list_(pa.string()), lambda item: _fold_all(split_people(item.recorded_by or ""))),
    SearchColumn("keys", pa.list_(pa.string()), lambda item: list(list_keys(item)) or None),
)
"""All of them; galleries made before a column was known lack it, until their sources are indexed again."""
