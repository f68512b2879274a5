"""Tables of species by region and month, as a user gives them."""

import re
from collections.abc import Mapping
from pathlib import Path

from fieldmark.data.table import read_table
from fieldmark.errors import FieldmarkError, ManifestError
from fieldmark.records.coordinates import Box, parse_degrees
from fieldmark.records.countries import find_country_code
from fieldmark.records.dates import parse_months
from fieldmark.records.ranges import Range, Ranges
from fieldmark.records.terms import fold_header

_NAMES = ("species", "classname", "scientificname", "vernacularname", "commonname", "englishname", "name")
_REGIONS = ("region", "country", "countrycode")
_SIDES = ("west", "south", "east", "north")


def read_ranges(path: Path) -> Ranges:
    """Read a table with a row for each species and region that it is in.

    Columns, in any letter case: `species` (or `class_name`, `scientific_name`, `common_name`; several are names of the
    same), `region` (or `country`: a code or an English name), `west`, `south`, `east`, `north` in degrees, and
    `months`, such as `4-9` or `11-2, 5`. An empty cell sets no bound: a row without months is for the whole year.

    Raises:
        ManifestError: It is no such table.
    """
    table = read_table(path, delimiter=None, is_strict=False)
    columns = {fold_header(name): index for index, name in enumerate(table.names)}
    names = [columns[name] for name in _NAMES if name in columns]
    if not names or not {*_REGIONS, *_SIDES, "months"} & set(columns):
        raise _refuse(path, "header", f"its columns are {', '.join(table.names[:12])}")
    rows = []
    for place, cells in table.rows:
        if len(cells) != len(table.names):
            raise _refuse(path, place, f"it has {len(cells)} cells under {len(table.names)} columns")
        told = [cells[index].strip() for index in names if cells[index].strip()]
        if not told:
            raise _refuse(path, place, "it names no species")
        by_name = {name: cells[index].strip() for name, index in columns.items()}
        rows.append((told, _read_range(path, place, by_name)))
    return Ranges(rows)


def _read_range(path: Path, place: str, cells: Mapping[str, str]) -> Range:
    region = next((cells[name] for name in _REGIONS if cells.get(name)), "")
    country = find_country_code(region) if region else None
    if region and country is None:
        raise _refuse(path, place, f"'{region}' is no country")
    sides = [cells.get(name, "") for name in _SIDES]
    try:
        box = _read_box(sides)
        parts = [part for part in re.split(r"[,;|\s]+(?!-)", re.sub(r"\s*-\s*", "-", cells.get("months", ""))) if part]
        months = frozenset(month for part in parts for month in parse_months(part)) if parts else None
    except (FieldmarkError, ValueError) as error:
        raise _refuse(path, place, str(error).partition(". ")[0]) from error
    return Range(country, box, months)


def _read_box(sides: list[str]) -> Box | None:
    """Return the area of a row; None for none.

    Raises:
        ValueError: The four sides are none.
        RequestError: They are no area.
    """
    if not any(sides):
        return None
    degrees = [number for side in sides if (number := parse_degrees(side)) is not None]
    if len(degrees) != 4:
        raise ValueError(f"'{', '.join(sides)}' are no four sides of an area")
    box = Box(*degrees)
    box.check()
    return box


def _refuse(path: Path, place: str, reason: str) -> ManifestError:
    return ManifestError(
        f"'{path}' is no table of ranges: {place}: {reason}. Give the columns species, region (a country) or "
        "west, south, east and north, and months such as 4-9.",
        kind="ranges",
    )
