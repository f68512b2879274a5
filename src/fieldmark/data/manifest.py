"""The manifest, a table that lists items: read and checked row by row, written whole, or made from a folder."""

import hashlib
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from itertools import chain, count
from pathlib import Path, PurePath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fieldmark.data.table import Table, check_names, read_table, restore_spelling, write_csv
from fieldmark.errors import (
    ManifestError,
    MediaError,
    MissingFileError,
    UnreadableMediaError,
    list_faults,
    list_first,
    suggest_nearest,
)
from fieldmark.io import open_replacement
from fieldmark.media.loaders import detect_medium
from fieldmark.segment_table import FACTS, Fact
from fieldmark.types import Failure, Item, Medium

_FACT_BY_COLUMN = {fact.name: fact for fact in FACTS if fact.name != "extra"}

COLUMNS = tuple(dict.fromkeys(["item_id", "path", "text", *_FACT_BY_COLUMN]))
"""The columns that fieldmark knows, in the order in which they are written; any other is kept in `Item.extra`."""

_TIMED = (Medium.VIDEO, Medium.AUDIO)
_STRIPPED = ("class_name", "group")
"""Columns of names, read without the spaces around them."""

_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclass(frozen=True, slots=True)
class ManifestRows:
    """The items of the valid rows of a manifest, and one line for every fault of the others."""

    items: tuple[Item, ...]
    problems: tuple[str, ...]


# ---------------------------------------------------------------- reading


def read_manifest(path: Path | str) -> tuple[Item, ...]:
    r"""Read the items of a CSV or Parquet manifest, in file order; the error names every invalid row.

    Only `medium` and either `path` or `text` are required. Paths are relative to the manifest and come back ready to
    open; since a manifest is its user's own file, absolute paths and `..` are allowed. Medium and split are read in any
    letter case, names of classes and groups without surrounding spaces. A row without `item_id` gets a stable one: its
    path as written (with `#t=start,end` where it is cut from a file), or a hash of its text.

    Raises:
        ManifestError: The file is missing, or is neither UTF-8 CSV with a header nor Parquet.
        ManifestError: `medium` is missing, or both `path` and `text` are.
        ManifestError: Rows are not valid.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     manifest = Path(folder) / "birds.csv"
        ...     _ = manifest.write_text("path,medium,class_name\nsongs/7.ogg,audio,Veery\n")
        ...     [item] = read_manifest(manifest)
        >>> item.item_id, item.class_name
        ('songs/7.ogg', 'Veery')
    """
    path = Path(path)
    rows = read_rows(path)
    if rows.problems:
        problems = list_faults(rows.problems)
        raise ManifestError(f"'{path}' has {len(rows.problems)} bad rows. Correct them:\n{problems}", kind="bad_row")
    return rows.items


def read_rows(path: Path) -> ManifestRows:
    """Read the items of the valid rows of a manifest, and the faults of the others; `read_manifest` is strict.

    Raises:
        ManifestError: The file is missing, or is neither UTF-8 CSV with a header nor Parquet.
        ManifestError: `medium` is missing, or both `path` and `text` are.
    """
    table = _read_manifest_table(path)
    folder = path.parent.resolve()
    items: list[Item] = []
    problems: list[str] = []
    row_by_item_id: dict[str, str] = {}
    for row, values in table.rows:
        if len(values) != len(table.names):
            problems.append(f"{row}: {len(values)} cells under {len(table.names)} columns; quote cells with commas")
            continue
        cells = dict(zip(table.names, values, strict=True))
        item_id = cells.get("item_id") or derive_item_id(cells, row_by_item_id)
        faults = _repeats(item_id, row_by_item_id)
        row_by_item_id.setdefault(item_id, row)
        item = parse_row(cells, item_id, folder, faults)
        if item is not None:
            items.append(item)
        problems += [f"{row}: {fault}" for fault in faults]
    return ManifestRows(items=tuple(items), problems=tuple(problems))


def _read_manifest_table(path: Path) -> Table:
    table = read_table(path, known=COLUMNS)
    missing = [] if "medium" in table.names else ["medium"]
    if "path" not in table.names and "text" not in table.names:
        missing.append("path (or text)")
    if missing:
        raise ManifestError(
            f"'{path}' has the columns {list_first(table.names, limit=12)}; missing: {', '.join(missing)}. "
            "A manifest needs 'medium', and 'path' or 'text'. Add the columns to the header."
        )
    return table


# ---------------------------------------------------------------- one row


def parse_row(cells: Mapping[str, str], item_id: str, folder: Path, faults: list[str]) -> Item | None:
    """Return the item of one row; None, with the faults added to `faults`, if the row is not valid.

    Args:
        cells: By column; the one of `medium` must be there.
        folder: The folder that paths are relative to.
    """
    path, text = cells.get("path", ""), cells.get("text", "")
    values: dict[str, Any] = {
        column: _parse_cell(cells.get(column, ""), fact, faults)
        for column, fact in _FACT_BY_COLUMN.items()
        if column not in ("item_id", "path", "text")
    }
    medium, start, end = values["medium"], values["start_seconds"], values["end_seconds"]
    faults += _contradictions(medium, path=path, text=text, start=start, end=end)
    if medium is None or faults:
        return None
    return Item(
        item_id=item_id,
        path=folder / path if path else None,
        text=text or None,
        extra=tuple((name, value) for name, value in cells.items() if name not in COLUMNS),
        **values,
    )


def _parse_cell(cell: str, fact: Fact, faults: list[str]) -> object:
    """The fact that a cell states; its default, and a line added to `faults`, where the cell is not valid."""
    if fact.kind is str:
        return (cell.strip() if fact.name in _STRIPPED else cell) or fact.default
    if not cell.strip() and not fact.is_required:
        return fact.default
    if issubclass(fact.kind, StrEnum):
        return _choice(cell, fact.kind, faults)
    if fact.name.endswith("_seconds"):
        return _seconds(cell, fact.name, faults)
    try:
        return _BOOLEANS[cell.strip().lower()] if fact.kind is bool else fact.decode(cell)
    except (KeyError, ValueError):
        faults.append(f"{fact.name} is '{cell}'; give {'true or false' if fact.kind is bool else 'a number'}")
    return fact.default


def _contradictions(
    medium: Medium | None, *, path: str, text: str, start: float | None, end: float | None
) -> Iterator[str]:
    """Contradictions between cells that are valid each; a medium of None is an unknown one."""
    if path and text:
        yield "both path and text; give one"
    elif not path and not text:
        yield "neither path nor text; give one"
    elif text and medium not in (Medium.TEXT, None):
        yield f"a text is given, but the medium is {medium}; give a path, or the medium text"
    if "\0" in path:
        yield "the path contains a NUL character, which no file name can have"
    if medium not in (*_TIMED, None) and (start is not None or end is not None):
        yield f"start_seconds or end_seconds for {medium}, which has no time; leave them empty"
    elif end is not None and end <= (start or 0.0):
        yield f"end_seconds is {end:g} and start_seconds {start or 0.0:g}; the end must come later"


def _choice(cell: str, kind: type[StrEnum], faults: list[str]) -> StrEnum | None:
    allowed: tuple[StrEnum, ...] = tuple(kind)
    name = cell.strip().lower()
    if name in allowed:
        return kind(name)
    met = f"unknown {kind.__name__.lower()} '{cell}'" if name else f"no {kind.__name__.lower()}"
    hint = suggest_nearest(name, allowed)
    faults.append(f"{met}; allowed: {', '.join(allowed)}" + (f".{hint}" if hint else ""))
    return None


def _seconds(cell: str, column: str, faults: list[str]) -> float | None:
    try:
        seconds = float(cell)
    except ValueError:
        seconds = math.nan
    if math.isfinite(seconds) and seconds >= 0:
        return seconds
    faults.append(f"{column} is '{cell}'; give seconds as a number of 0 or more, such as 2.5")
    return None


def derive_item_id(cells: Mapping[str, str], taken: Mapping[str, str]) -> str:
    """Return an id that depends on the row alone; repeats of one text are numbered in their order."""
    path, text = cells.get("path", ""), cells.get("text", "")
    if path:
        start, end = cells.get("start_seconds", "").strip(), cells.get("end_seconds", "").strip()
        return PurePath(path).as_posix() + (f"#t={start},{end}" if start or end else "")
    item_id = f"text-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    numbered = (f"{item_id}-{number}" for number in count(2))
    return next(free for free in chain([item_id], numbered) if free not in taken)


def _repeats(item_id: str, row_by_item_id: Mapping[str, str]) -> list[str]:
    first = row_by_item_id.get(item_id)
    return [] if first is None else [f"the item_id '{item_id}' is already used in {first}"]


# ---------------------------------------------------------------- writing


def write_manifest(items: Iterable[Item], path: Path | str) -> None:
    """Write a manifest, CSV or (by the suffix `.parquet`) Parquet; the file appears whole or not at all.

    Paths are written relative to the manifest. `read_manifest` gives the same items back.

    Raises:
        ManifestError: A column of `Item.extra` bears the name of one of `COLUMNS`.
    """
    items, path = tuple(items), Path(path)
    extras = tuple(dict.fromkeys(name for item in items for name, _ in item.extra))
    known = [name for name in COLUMNS if name != "text" or any(item.text for item in items)]
    check_names([*known, *(restore_spelling(name, COLUMNS) for name in extras)], path)
    folder = path.parent.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    locate = partial(_locate, folder=folder, location_by_parent={})
    rows = [[*(_written(item, name, locate) for name in known), *_extra_cells(item, extras)] for item in items]
    with open_replacement(path) as file:
        if path.suffix.lower() == ".parquet":
            fields = [(name, _FACT_BY_COLUMN[name].arrow_type) for name in known]
            fields += [(name, pa.string()) for name in extras]
            columns = list(zip(*rows, strict=True)) or [()] * len(fields)
            arrays = [pa.array(column, type=kind) for column, (_, kind) in zip(columns, fields, strict=True)]
            pq.write_table(pa.Table.from_arrays(arrays, schema=pa.schema(fields)), file)
        else:
            write_csv(file, names=[*known, *extras], rows=rows)


def _written(item: Item, column: str, locate: Callable[[Path], str]) -> object:
    """Return the cell of an item under a known column; None where the item has nothing to say."""
    if column == "path":
        return None if item.path is None else locate(item.path)
    value, fact = getattr(item, column), _FACT_BY_COLUMN[column]
    return None if value is None else fact.encode(value)


def _extra_cells(item: Item, extras: Sequence[str]) -> list[str]:
    values = dict(item.extra)
    return [values.get(name, "") for name in extras]


def _locate(path: Path, *, folder: Path, location_by_parent: dict[Path, PurePath]) -> str:
    """Return a path as seen from a folder without links.

    Args:
        location_by_parent: Where the folders of earlier paths are; the file system is asked once for each.
    """
    path = path.absolute()
    if path.parent not in location_by_parent:
        if path.parent.is_relative_to(folder):
            location = path.parent.relative_to(folder)
        else:  # Links are followed first: `..` from a linked folder leads to its target's parent.
            location = Path(os.path.relpath(path.parent.resolve(), folder))
        location_by_parent[path.parent] = location
    return (location_by_parent[path.parent] / path.name).as_posix()


# ---------------------------------------------------------------- a bare folder


def list_folder(
    folder: Path, *, recall_medium: Callable[[str, Path], Medium | None] | None = None
) -> tuple[tuple[Item, ...], tuple[Failure, ...]]:
    """List every file under a folder as an item without a label, sorted by id, and the files that are of no medium.

    The id is the path within the folder; the medium is detected from the content. Hidden files and folders are
    skipped; each folder is entered once, whatever links lead to it.

    Args:
        recall_medium: Gives the medium of a file, by id and path, that need not be opened; None for one that must be.

    Raises:
        MissingFileError: There is no such folder.
    """
    if not folder.is_dir():
        raise MissingFileError(path=folder)
    folder = folder.resolve()
    items: list[Item] = []
    failures: list[Failure] = []
    for path in _visible_files(folder, failures):
        item_id = _item_id(path, folder)
        try:
            medium = (recall_medium and recall_medium(item_id, path)) or _medium_of(path)
            items.append(Item(item_id=item_id, medium=medium, path=path))
        except MediaError as error:
            failures.append(Failure(item_id, error.kind, str(error)))
    return tuple(sorted(items, key=lambda item: item.item_id)), tuple(sorted(failures, key=lambda item: item.item_id))


def _visible_files(folder: Path, failures: list[Failure]) -> Iterator[Path]:
    def pass_over(error: OSError) -> None:
        unreadable = UnreadableMediaError(path=error.filename, reason=str(error.strerror))
        failures.append(Failure(_item_id(Path(error.filename), folder), unreadable.kind, str(unreadable)))

    entered: set[tuple[int, int]] = set()
    for entered_folder, folder_names, file_names in os.walk(folder, onerror=pass_over, followlinks=True):
        identity = (Path(entered_folder).stat().st_dev, Path(entered_folder).stat().st_ino)
        if identity in entered:
            message = f"'{entered_folder}' is a link to a folder that was already read; its files are listed only once."
            failures.append(Failure(_item_id(Path(entered_folder), folder), "repeated_folder", message))
            folder_names.clear()
            continue
        entered.add(identity)
        folder_names[:] = sorted(name for name in folder_names if not name.startswith("."))
        if not folder_names and not file_names and Path(entered_folder) != folder:
            failures.append(
                Failure(
                    _item_id(Path(entered_folder), folder), "empty", f"The folder '{entered_folder}' contains no files."
                )
            )
        at = Path(entered_folder)
        yield from (at / name for name in file_names if not name.startswith("."))


def _medium_of(path: Path) -> Medium:
    if path.as_posix() != _printable(path):
        raise UnreadableMediaError(path=_printable(path), reason="its name is not UTF-8")
    return detect_medium(path)


def _item_id(path: Path, folder: Path) -> str:
    name, above = str(path), str(folder)
    if os.sep == "/" and name.startswith(above + "/") and name.isascii():  # a fifth of the time, for most files
        return name[len(above) + 1 :]
    return _printable(path.relative_to(folder))


def _printable(path: Path) -> str:
    return os.fsencode(path.as_posix()).decode("utf-8", errors="replace")
