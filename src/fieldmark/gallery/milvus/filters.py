"""A filter as an expression of Milvus; what its language cannot say is left to a look at the rows that it finds."""

from collections.abc import Iterable

from fieldmark.gallery.facts import (
    Condition,
    HasOneOf,
    IsDay,
    IsInBox,
    IsInCircle,
    IsNull,
    IsOneOf,
    list_conditions,
)
from fieldmark.gallery.milvus.rows import UNKNOWN_DAY, write_day, write_key, write_value
from fieldmark.gallery.store import Filter, list_allowed_values
from fieldmark.records.coordinates import Box

ANY = "segment >= 0"
FIRST = "segment == 0"
"""Each item has one such row; no segment that is gone has one."""
NONE = 'pk == ""'

_COLUMN = {"group": "item_group"}


def write_expression(where: Filter | None, *others: str) -> str:
    """Return the expression that a row meets a filter and some others.

    Of a circle it says the box around it; see `is_whole`.
    """
    where, parts = where or Filter(), list(others)
    for name, allowed in list_allowed_values(where).items():
        if allowed is not None:
            parts.append(is_item(allowed) if name == "item_id" else _is_among(_COLUMN.get(name, name), allowed))
    if where.license_forms is not None:
        parts.append(_is_among("license_form", where.license_forms))
    if where.exclude_item_ids:
        parts.append(f"not ({is_item(where.exclude_item_ids)})")
    parts += [_write_condition(each) for each in list_conditions(where.facts)]
    return " and ".join(parts) or ANY


def is_whole(where: Filter | None) -> bool:
    """Tell whether the expression of a filter says all of it."""
    return where is None or not any(isinstance(each, IsInCircle) for each in list_conditions(where.facts))


def is_item(item_ids: Iterable[str]) -> str:
    """Return the expression that a row is of one of some items."""
    return _is_in("item", map(write_key, item_ids))


def is_row(keys: Iterable[str]) -> str:
    """Return the expression that a row has one of some keys."""
    return _is_in("pk", keys)


def is_other_class(class_name: str) -> str:
    """Return the expression that a row has a class, and another one than this."""
    return f'class_name not in ["", "{write_value(class_name)}"]'


def _is_among(column: str, values: Iterable[str]) -> str:
    return _is_in(column, map(write_value, values))


def _is_in(column: str, written: Iterable[str]) -> str:
    listed = ", ".join(f'"{each}"' for each in sorted(written))
    return f"{column} in [{listed}]" if listed else NONE


def _write_condition(condition: Condition) -> str:
    match condition:
        case IsOneOf(column=column, values=values):
            return _is_among(column, values)
        case IsNull(column=column):
            return f'not array_contains(known, "{column}")'
        case IsDay(column=column, sign=sign, day=day):
            return f"({column} {sign} {write_day(day)} and {column} > {UNKNOWN_DAY})"
        case HasOneOf(column=column, values=values):
            listed = ", ".join(f'"{write_value(each)}"' for each in sorted(values))
            return f"array_contains_any({column}, [{listed}])" if listed else NONE
        case IsInBox(box=box):
            return _write_box(box)
        case IsInCircle(box=around):
            return _write_box(around) if around is not None else "degrees_north <= 90.0"
        case _:
            raise AssertionError(condition)


def _write_box(box: Box) -> str:
    west, east = f"degrees_east >= {float(box.west)!r}", f"degrees_east <= {float(box.east)!r}"
    across = f"{west} {'and' if box.west <= box.east else 'or'} {east}"
    return f"(degrees_north >= {float(box.south)!r} and degrees_north <= {float(box.north)!r} and ({across}))"
