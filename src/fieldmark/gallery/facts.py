"""Conditions on the facts of records: as SQL for a store, and on columns in memory; the same answer from both."""

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Float

from fieldmark.errors import RequestError, suggest_nearest
from fieldmark.records.columns import SEARCH_COLUMNS, fold_text
from fieldmark.records.coordinates import EARTH_RADIUS_KM, Box, Circle
from fieldmark.records.dates import DateSpan, list_month_ranges
from fieldmark.segment_table import FACTS

_COLUMN_BY_FACT = {
    **{fact.name: fact.column for fact in FACTS if not fact.is_required and fact.name != "extra"},
    "event_date": "first_day",
    "latitude": "degrees_north",
    "longitude": "degrees_east",
    "recorded_by": "observers",
    "country_code": "country",
}
FACT_CONDITION_COLUMNS = frozenset(_COLUMN_BY_FACT.values())
"""The columns that tell whether an item lacks a fact."""

_SHORT_NAMES = {"date": "event_date", "coordinates": "latitude", "country": "country_code", "observer": "recorded_by"}

LACKABLE_FACTS = (*sorted(_COLUMN_BY_FACT), *_SHORT_NAMES)
"""The facts of which an item may have none; a date or coordinates that cannot be count as none."""


@dataclass(frozen=True, slots=True)
class FactFilter:
    """The conditions on the record of an item, all of those given; an item whose fact is unknown never meets one.

    Args:
        dates: All days of the item's date are among these, so that what is only known to be of 2001 is not of May 2001.
        months: All its days are in these months, of any year.
        area: Its coordinates are in there, whatever their uncertainty.
        countries: Country codes, in any letter case.
        observers: One of them recorded it; case and accents make no difference.
        lacks: It has none of these facts, of `LACKABLE_FACTS`.
        keys: It can be looked up by one of these; see `list_keys`.
    """

    dates: DateSpan | None = None
    months: frozenset[int] | None = None
    area: Box | Circle | None = None
    countries: frozenset[str] | None = None
    observers: frozenset[str] | None = None
    lacks: frozenset[str] = frozenset()
    keys: frozenset[str] | None = None

    def check(self) -> None:
        """Check that the conditions can be met.

        Raises:
            RequestError: One cannot.
        """
        for name in sorted(self.lacks - set(LACKABLE_FACTS)):
            raise RequestError(
                f"'{name}' is no fact of an item.{suggest_nearest(name, LACKABLE_FACTS)} "
                f"Give one of {', '.join(LACKABLE_FACTS)}.",
                kind="unknown_fact",
            )
        for month in sorted((self.months or frozenset()) - set(range(1, 13))):
            raise RequestError(f"There is no month {month}. Give months from 1 to 12.", kind="bad_month")
        if self.dates is not None and self.dates.first > self.dates.last:
            raise RequestError(
                f"The dates end on {self.dates.last} and begin on {self.dates.first}. Give the first day first.",
                kind="bad_dates",
            )
        if self.area is not None:
            self.area.check()


Columns = Callable[[str], Any]
"""Returns a column of the items of a snapshot, by its name; all null where the gallery is older than the column."""


@runtime_checkable
class Condition(Protocol):
    """One condition on a column."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads."""
        ...

    def write_sql(self) -> str:
        """Return it as an SQL expression; no value is ever read as SQL."""
        ...

    def match(self, columns: Columns) -> Bool[np.ndarray, " gallery"]:
        """Tell which items meet it."""
        ...


def list_conditions(facts: FactFilter) -> tuple[Condition, ...]:
    """Return the conditions of a filter, the quickest to test first."""
    found: list[Condition] = []
    if facts.months is not None:
        found.append(IsOneOf("months", list_month_ranges(facts.months)))
    if facts.countries is not None:
        found.append(IsOneOf("country", frozenset(each.strip().upper() for each in facts.countries)))
    if facts.dates is not None:
        found += [IsDay("first_day", ">=", facts.dates.first), IsDay("last_day", "<=", facts.dates.last)]
    if isinstance(facts.area, Box):
        found.append(IsInBox(facts.area))
    elif facts.area is not None:
        found.append(IsInCircle(facts.area))
    if facts.observers is not None:
        found.append(HasOneOf("observers", frozenset(map(fold_text, facts.observers))))
    if facts.keys is not None:
        found.append(HasOneOf("keys", frozenset(map(fold_text, facts.keys))))
    names = sorted({_SHORT_NAMES.get(name, name) for name in facts.lacks})
    return (*found, *(IsNull(_COLUMN_BY_FACT[name]) for name in names))


def quote(values: Iterable[str]) -> str:
    """Return values as SQL literals; a value is never read as SQL."""
    return ", ".join("'" + value.replace("'", "''") + "'" for value in dict.fromkeys(values))


@dataclass(frozen=True, slots=True)
class IsOneOf:
    """A condition on a column: its value is among some."""

    column: str
    values: frozenset[str]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads."""
        return (self.column,)

    def write_sql(self) -> str:
        """Return it as an SQL expression."""
        return f"`{self.column}` IN ({quote(sorted(self.values))})" if self.values else "false"

    def match(self, columns: Columns) -> Bool[np.ndarray, " gallery"]:
        """Tell which items meet it."""
        return _to_mask(pc.is_in(columns(self.column), value_set=pa.array(sorted(self.values), pa.string())))


@dataclass(frozen=True, slots=True)
class IsNull:
    """A condition on a column: it has no value."""

    column: str

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads."""
        return (self.column,)

    def write_sql(self) -> str:
        """Return it as an SQL expression."""
        return f"`{self.column}` IS NULL"

    def match(self, columns: Columns) -> Bool[np.ndarray, " gallery"]:
        """Tell which items meet it."""
        return _to_mask(pc.is_null(columns(self.column)))


@dataclass(frozen=True, slots=True)
class IsDay:
    """A condition on a day, by `>=` or `<=`."""

    column: str
    sign: str
    day: date

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads."""
        return (self.column,)

    def write_sql(self) -> str:
        """Return it as an SQL expression."""
        return f"`{self.column}` {self.sign} date '{self.day.isoformat()}'"

    def match(self, columns: Columns) -> Bool[np.ndarray, " gallery"]:
        """Tell which items meet it."""
        compare = pc.greater_equal if self.sign == ">=" else pc.less_equal
        return _to_mask(compare(columns(self.column), pa.scalar(self.day, pa.date32())))


@dataclass(frozen=True, slots=True)
class HasOneOf:
    """A condition on a column of lists: some element is among the values."""

    column: str
    values: frozenset[str]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads."""
        return (self.column,)

    def write_sql(self) -> str:
        """Return it as an SQL expression."""
        return f"array_has_any(`{self.column}`, [{quote(sorted(self.values))}])" if self.values else "false"

    def match(self, columns: Columns) -> Bool[np.ndarray, " gallery"]:
        """Tell which items meet it."""
        lists = columns(self.column)
        mask = np.zeros(len(lists), dtype=bool)
        hits = _to_mask(pc.is_in(pc.list_flatten(lists), value_set=pa.array(sorted(self.values), pa.string())))
        mask[pc.list_parent_indices(lists).to_numpy(zero_copy_only=False)[hits]] = True
        return mask


_NORTH, _EAST = "degrees_north", "degrees_east"


@dataclass(frozen=True, slots=True)
class IsInBox:
    """A condition on coordinates: they lie in a box, edges included."""

    box: Box

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads."""
        return (_NORTH, _EAST)

    def write_sql(self) -> str:
        """Return it as an SQL expression."""
        return _write_bounds(self.box)

    def match(self, columns: Columns) -> Bool[np.ndarray, " gallery"]:
        """Tell which items meet it."""
        north, east = _read_degrees(columns)
        return _is_in_box(self.box, north, east)


@dataclass(frozen=True, slots=True)
class IsInCircle:
    """The haversine formula, looked at only in the box around the circle."""

    circle: Circle

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads."""
        return (_NORTH, _EAST)

    @property
    def box(self) -> Box | None:
        """The box around the circle; None where that is no narrower than a hemisphere."""
        latitude, reach = self.circle.latitude, math.degrees(self.circle.radius_km / EARTH_RADIUS_KM)
        if abs(latitude) + reach >= 89:
            return None
        width = math.degrees(math.asin(math.sin(math.radians(reach)) / math.cos(math.radians(latitude))))
        west, east = (self.circle.longitude + side * width for side in (-1.001, 1.001))
        return Box(_wrap(west), latitude - 1.001 * reach, _wrap(east), latitude + 1.001 * reach)

    @property
    def bound(self) -> float:
        """The largest haversine within the circle; 1 is the other side of the Earth."""
        return math.sin(min(self.circle.radius_km / EARTH_RADIUS_KM, math.pi) / 2) ** 2

    def write_sql(self) -> str:
        """Return it as an SQL expression."""
        latitude, longitude = self.circle.latitude, self.circle.longitude
        haversine = (
            f"power(sin(radians(`{_NORTH}` - ({latitude!r})) / 2), 2) + "
            f"{math.cos(math.radians(latitude))!r} * cos(radians(`{_NORTH}`)) * "
            f"power(sin(radians(`{_EAST}` - ({longitude!r})) / 2), 2) <= {self.bound!r}"
        )
        return f"({haversine})" if self.box is None else f"({_write_bounds(self.box)} AND {haversine})"

    def match(self, columns: Columns) -> Bool[np.ndarray, " gallery"]:
        """Tell which items meet it."""
        north, east = _read_degrees(columns)
        mask = np.isfinite(north) if self.box is None else _is_in_box(self.box, north, east)
        first, second = math.radians(self.circle.latitude), np.radians(north[mask])
        half = np.sin((second - first) / 2) ** 2
        half += math.cos(first) * np.cos(second) * np.sin(np.radians(east[mask] - self.circle.longitude) / 2) ** 2
        mask[mask] = half <= self.bound
        return mask


def _wrap(degrees: float) -> float:
    return (degrees + 180) % 360 - 180


def _write_bounds(box: Box) -> str:
    sides = f"`{_EAST}` >= {box.west!r}", f"`{_EAST}` <= {box.east!r}"
    across = f" {'AND' if box.west <= box.east else 'OR'} ".join(sides)
    return f"(`{_NORTH}` >= {box.south!r} AND `{_NORTH}` <= {box.north!r} AND ({across}))"


def _is_in_box(
    box: Box, north: Float[np.ndarray, " gallery"], east: Float[np.ndarray, " gallery"]
) -> Bool[np.ndarray, " gallery"]:
    is_west, is_east = east >= box.west, east <= box.east
    across = is_west & is_east if box.west <= box.east else is_west | is_east
    inside: Bool[np.ndarray, " gallery"] = (north >= box.south) & (north <= box.north) & across
    return inside


def _read_degrees(columns: Columns) -> tuple[Float[np.ndarray, " gallery"], Float[np.ndarray, " gallery"]]:
    north, east = (columns(name).to_numpy(zero_copy_only=False).astype(np.float64) for name in (_NORTH, _EAST))
    return north, east


def _to_mask(found: pa.Array) -> Bool[np.ndarray, " gallery"]:
    """Return booleans as a mask; null meets no condition."""
    mask: Bool[np.ndarray, " gallery"] = found.fill_null(False).to_numpy(zero_copy_only=False)  # noqa: FBT003
    return mask


_TYPES: Mapping[str, pa.DataType] = {column.name: column.arrow_type for column in SEARCH_COLUMNS}


def read_column(rows: pa.Table, name: str) -> Any:  # noqa: ANN401 - an array of PyArrow, which has no types
    """Return a column of a table as one array, all null where the table is older than the column."""
    if name not in rows.schema.names:
        fact_types = {fact.column: fact.arrow_type for fact in FACTS}
        return pa.nulls(len(rows), _TYPES.get(name) or fact_types[name])
    column = rows[name].combine_chunks()
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def write_facts_sql(facts: FactFilter, *, present: Collection[str] | None) -> list[str]:
    """Return the conditions of a filter as SQL.

    Args:
        present: The columns of the store; a condition on another one is met only where it asks for none. None for all.
    """
    written = []
    for condition in list_conditions(facts):
        if present is None or set(condition.columns) <= set(present):
            written.append(condition.write_sql())
        elif not isinstance(condition, IsNull):
            written.append("false")
    return written
