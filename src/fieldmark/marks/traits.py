"""Tables of traits: CUB-200-2011's attributes of classes, or a CSV file of species and marks."""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from fieldmark.errors import ConfigError, list_first, write_count
from fieldmark.marks.reader import read_marks
from fieldmark.marks.vocabulary import COLUMN, MARKS, Mark

NAME_COLUMNS = ("name", "class_name", "species", "scientific_name", "common_name", "english_name")
LARGEST_TABLE_BYTES = 64 * 1024**2
_YES = {"yes": 1.0, "true": 1.0, "x": 1.0, "no": 0.0, "false": 0.0}
_CUB_VALUES, _CUB_ATTRIBUTES, _CUB_CLASSES = "class_attribute_labels_continuous.txt", "attributes.txt", "classes.txt"
_DROPPED = re.compile(r"\([^)]*\)|^has\b|\b(?:color|colour|pattern|shape|length|primary)\b")


@dataclass(frozen=True, slots=True)
class TraitsTable:
    """The share of each species of a table that has each mark.

    Args:
        path: The file or folder that it was read from.
        names: All names of each species.
        share: Of the birds of a species that have a mark, 0 to 1; NaN where the table says nothing.
        unknown_columns: Columns that name no mark that is known here.
    """

    path: Path
    names: tuple[tuple[str, ...], ...]
    share: Float[np.ndarray, "species mark"]
    unknown_columns: tuple[str, ...]


def read_traits(path: Path) -> TraitsTable:
    """Read a table of traits.

    A folder, or its `class_attribute_labels_continuous.txt`, is read in the layout of CUB-200-2011: `attributes.txt`
    and `classes.txt` stand beside it or above it, and values are percentages. A CSV file has one species a row: a
    column of names (`name`, `class_name`, `scientific_name`, `common_name`), and columns that name a mark ("red crown",
    with yes, no, or a share) or a part ("crown", with traits: "red; black").

    Raises:
        ConfigError: It cannot be read, or has no names or no mark that is known.
    """
    try:
        values = path / _CUB_VALUES if path.is_dir() else path
        if values.stat().st_size > LARGEST_TABLE_BYTES:
            raise _refuse(path, f"it is larger than {LARGEST_TABLE_BYTES // 1024**2} MiB")
        table = _read_cub(values) if values.suffix == ".txt" else _read_csv(values)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _refuse(path, f"it cannot be read: {error}") from error
    if not np.isfinite(table.share).any():
        unknown = list_first(table.unknown_columns) or "none"
        raise _refuse(path, f"none of its columns names a mark that is known here; they are {unknown}")
    return table


def _refuse(path: Path, reason: str) -> ConfigError:
    return ConfigError(
        f"'{path}' is no table of traits: {reason}. Give the folder of CUB's attributes, or a CSV file with a column "
        "'name' and columns of marks, such as 'red crown'.",
        kind="traits",
    )


def _read_cub(path: Path) -> TraitsTable:
    attributes = [line.partition(" ")[2].strip() for line in _find_beside(path, _CUB_ATTRIBUTES)]
    classes = [re.sub(r"^\d+\.", "", line.partition(" ")[2].strip()) for line in _find_beside(path, _CUB_CLASSES)]
    try:
        rows = [
            [float(value) for value in line.split()] for line in path.read_text(encoding="utf-8").splitlines() if line
        ]
    except ValueError as error:
        raise _refuse(path, f"it has a value that is no number: {error}") from error
    widths = {len(row) for row in rows}
    if len(rows) != len(classes) or widths != {len(attributes)}:
        sizes = f"{write_count(len(classes), 'class', 'classes')} and {write_count(len(attributes), 'attribute')}"
        reason = f"{sizes}, but {write_count(len(rows), 'row')} of {sorted(widths)} values"
        raise _refuse(path, reason)
    mark_by_column = [_read_header(name.replace("::", " ")) for name in attributes]
    share = np.full((len(rows), len(MARKS)), np.nan)
    for column, mark in enumerate(mark_by_column):
        if mark is not None:
            own = np.array([row[column] for row in rows]) / 100
            share[:, COLUMN[mark]] = np.fmax(share[:, COLUMN[mark]], own)
    unknown = tuple(name for name, mark in zip(attributes, mark_by_column, strict=True) if mark is None)
    return TraitsTable(path, tuple((name,) for name in classes), share, unknown)


def _find_beside(path: Path, name: str) -> list[str]:
    for folder in (path.parent, path.parent.parent, path.parent.parent.parent):
        if (folder / name).is_file():
            return [line for line in (folder / name).read_text(encoding="utf-8").splitlines() if line.strip()]
    raise _refuse(path, f"there is no '{name}' beside it or above it")


def _read_csv(path: Path) -> TraitsTable:
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = [row for row in csv.reader(file) if any(cell.strip() for cell in row)]
    header = [cell.strip() for cell in rows[0]] if rows else []
    name_columns = [at for at, cell in enumerate(header) if cell.lower().replace(" ", "_") in NAME_COLUMNS]
    if not name_columns:
        raise _refuse(path, f"it has no column of names, but {list_first(header) or 'none'}")
    names: list[tuple[str, ...]] = []
    share = np.full((len(rows) - 1, len(MARKS)), np.nan)
    known: set[int] = set(name_columns)
    for number, row in enumerate(rows[1:]):
        cells = [*(cell.strip() for cell in row), *[""] * (len(header) - len(row))]
        names.append(tuple(dict.fromkeys(cells[at] for at in name_columns if cells[at])))
        for at, title in enumerate(header):
            if at not in name_columns and _read_cell(title, cells[at], share[number]):
                known.add(at)
    unknown = tuple(title for at, title in enumerate(header) if at not in known)
    kept = [number for number, own in enumerate(names) if own]
    return TraitsTable(path, tuple(names[number] for number in kept), share[kept], unknown)


def _read_cell(title: str, cell: str, share: Float[np.ndarray, " mark"]) -> bool:
    """Note what a cell tells in a row of shares; tell whether its column is known."""
    mark = _read_header(title)
    if mark is not None:
        value = _read_share(cell)
        if value is not None:
            share[COLUMN[mark]] = np.fmax(share[COLUMN[mark]], value)
        return True
    told = False
    for part in re.split(r"[;|]", cell):
        for each in read_marks(f"{_plain(title)} {_plain(part)}").marks if part.strip() else ():
            told = True
            for own in each.marks:
                share[COLUMN[own]] = 0.0 if each.is_denied else 1.0
    return told


def _read_share(cell: str) -> float | None:
    if cell.lower() in _YES:
        return _YES[cell.lower()]
    try:
        value = float(cell.removesuffix("%"))
    except ValueError:
        return None
    value = value / 100 if value > 1 or cell.endswith("%") else value
    return value if 0 <= value <= 1 else None


def _plain(text: str) -> str:
    return " ".join(_DROPPED.sub(" ", text.casefold().replace("_", " ").replace("-", " ")).split())


def _read_header(title: str) -> Mark | None:
    """Return the one mark that the title of a column names; None where it names none, or several."""
    marks: Sequence[Mark] = [
        mark for each in read_marks(_plain(title)).marks if not each.is_denied for mark in each.marks
    ]
    return marks[0] if len(set(marks)) == 1 else None
