"""The table that lists items: read and checked row by row, written atomically; or made from a bare folder of files."""

import hashlib
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path, PurePath
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from fieldmark.data.table import Table, check_names, read_table, spelled, write_csv
from fieldmark.errors import (
    ManifestError,
    MediaError,
    MissingFileError,
    UnreadableMediaError,
    first,
    list_faults,
    nearest,
)
from fieldmark.io import replacing
from fieldmark.media.loaders import detect_medium
from fieldmark.types import Failure, Item, Medium, Split

COLUMNS = (
    "item_id",
    "path",
    "text",
    "medium",
    "class_name",
    "split",
    "group",
    "start_seconds",
    "end_seconds",
    "source",
    "license",
    "caption_of",
)
"""The columns that fieldmark knows, in the order in which they are written; any other is kept in `Item.extra`."""

_TIMED = (Medium.VIDEO, Medium.AUDIO)
_Choice = TypeVar("_Choice", Medium, Split)


@dataclass(frozen=True, slots=True)
class ManifestRows:
    """What a manifest holds: the items of its good rows, and one line for every fault of the others."""

    items: tuple[Item, ...]
    problems: tuple[str, ...]


# ---------------------------------------------------------------- reading


def read_manifest(path: Path | str) -> tuple[Item, ...]:
    r"""The items of a CSV or Parquet manifest, in file order; one bad row refuses the file, and all are named.

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
        raise ManifestError(f"'{path}' has {len(rows.problems)} bad rows. Mend them:\n{problems}", kind="bad_row")
    return rows.items


def read_rows(path: Path) -> ManifestRows:
    """The items of the good rows of a manifest, and what is wrong with the others; `read_manifest` is the strict face.

    Raises:
        ManifestError: The file is missing, or is neither UTF-8 CSV with a header nor Parquet.
        ManifestError: `medium` is missing, or both `path` and `text` are.
    """
    table = _read_manifest_table(path)
    folder = path.parent.resolve()
    items: list[Item] = []
    problems: list[str] = []
    place_by_item_id: dict[str, str] = {}
    for place, values in table.rows:
        if len(values) != len(table.names):
            problems.append(f"{place}: {len(values)} cells under {len(table.names)} columns; quote cells with commas")
            continue
        cells = dict(zip(table.names, values, strict=True))
        item_id = cells.get("item_id") or stable_item_id(cells, place_by_item_id)
        faults = _repeats(item_id, place_by_item_id)
        place_by_item_id.setdefault(item_id, place)
        item = parse_row(cells, item_id, folder, faults)
        if item is not None:
            items.append(item)
        problems += [f"{place}: {fault}" for fault in faults]
    return ManifestRows(items=tuple(items), problems=tuple(problems))


def _read_manifest_table(path: Path) -> Table:
    table = read_table(path, known=COLUMNS)
    missing = [] if "medium" in table.names else ["medium"]
    if "path" not in table.names and "text" not in table.names:
        missing.append("path (or text)")
    if missing:
        raise ManifestError(
            f"'{path}' has the columns {first(table.names, limit=12)}; missing: {', '.join(missing)}. "
            "A manifest needs 'medium', and 'path' or 'text'. Add the columns to the header."
        )
    return table


# ---------------------------------------------------------------- one row


def parse_row(cells: Mapping[str, str], item_id: str, folder: Path, faults: list[str]) -> Item | None:
    """The item of one row; None, and what is wrong added to `faults`, where there is anything wrong.

    Args:
        cells: By column; the one of `medium` must be there.
        folder: What paths are relative to.
    """
    path, text = cells.get("path", ""), cells.get("text", "")
    medium = _choice(cells["medium"], Medium, faults)
    split = _choice(cells.get("split", ""), Split, faults) if cells.get("split", "").strip() else None
    start = _seconds(cells.get("start_seconds", ""), "start_seconds", faults)
    end = _seconds(cells.get("end_seconds", ""), "end_seconds", faults)
    faults += _contradictions(medium, path=path, text=text, start=start, end=end)
    if medium is None or faults:
        return None
    return Item(
        item_id=item_id,
        medium=medium,
        path=folder / path if path else None,
        text=text or None,
        class_name=cells.get("class_name", "").strip() or None,
        split=split,
        group=cells.get("group", "").strip() or None,
        start_seconds=start,
        end_seconds=end,
        source=cells.get("source") or None,
        license=cells.get("license") or None,
        caption_of=cells.get("caption_of") or None,
        extra=tuple((name, value) for name, value in cells.items() if name not in COLUMNS),
    )


def _contradictions(
    medium: Medium | None, *, path: str, text: str, start: float | None, end: float | None
) -> Iterator[str]:
    """What cells that may each be valid say against one another; a medium of None is one that is not known."""
    if path and text:
        yield "both path and text; give one"
    elif not path and not text:
        yield "neither path nor text; give one"
    elif text and medium not in (Medium.TEXT, None):
        yield f"a text stands where the medium is {medium}; give a path, or the medium text"
    if "\0" in path:
        yield "the path holds a NUL character, which no file's name can"
    if medium not in (*_TIMED, None) and (start is not None or end is not None):
        yield f"start_seconds or end_seconds for {medium}, which has no time; leave them empty"
    elif end is not None and end <= (start or 0.0):
        yield f"end_seconds is {end:g} and start_seconds {start or 0.0:g}; the end must come later"


def _choice(cell: str, kind: type[_Choice], faults: list[str]) -> _Choice | None:
    allowed = tuple(kind)
    name = cell.strip().lower()
    if name in allowed:
        return kind(name)
    met = f"unknown {kind.__name__.lower()} '{cell}'" if name else f"no {kind.__name__.lower()}"
    hint = nearest(name, allowed)
    faults.append(f"{met}; allowed: {', '.join(allowed)}" + (f".{hint}" if hint else ""))
    return None


def _seconds(cell: str, column: str, faults: list[str]) -> float | None:
    if not cell.strip():
        return None
    try:
        seconds = float(cell)
    except ValueError:
        seconds = math.nan
    if math.isfinite(seconds) and seconds >= 0:
        return seconds
    faults.append(f"{column} is '{cell}'; give seconds as a number of 0 or more, such as 2.5")
    return None


def stable_item_id(cells: Mapping[str, str], taken: Mapping[str, str]) -> str:
    """An id that depends on the row alone; only the repeats of one text are told apart by their order."""
    path, text = cells.get("path", ""), cells.get("text", "")
    if path:
        start, end = cells.get("start_seconds", "").strip(), cells.get("end_seconds", "").strip()
        return PurePath(path).as_posix() + (f"#t={start},{end}" if start or end else "")
    item_id = f"text-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    numbered = (f"{item_id}-{number}" for number in count(2))
    return next(free for free in chain([item_id], numbered) if free not in taken)


def _repeats(item_id: str, place_by_item_id: Mapping[str, str]) -> list[str]:
    first = place_by_item_id.get(item_id)
    return [] if first is None else [f"the item_id '{item_id}' stands already in {first}"]


# ---------------------------------------------------------------- writing


def write_manifest(items: Iterable[Item], path: Path | str) -> None:
    """Writes a manifest, CSV or (by the suffix `.parquet`) Parquet; the file appears whole or not at all.

    Paths are written relative to the manifest. `read_manifest` gives the same items back.

    Raises:
        ManifestError: A column of `Item.extra` bears the name of one of `COLUMNS`.
    """
    items, path = tuple(items), Path(path)
    extras = tuple(dict.fromkeys(name for item in items for name, _ in item.extra))
    known = [name for name in COLUMNS if name != "text" or any(item.text for item in items)]
    check_names([*known, *(spelled(name, COLUMNS) for name in extras)], path)
    folder = path.parent.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    rows = [[*(_written(item, name, folder) for name in known), *_extra_cells(item, extras)] for item in items]
    with replacing(path) as file:
        if path.suffix.lower() == ".parquet":
            kinds = [pa.float64() if name.endswith("_seconds") and name in known else pa.string() for name in known]
            fields = [*zip(known, kinds, strict=True), *((name, pa.string()) for name in extras)]
            columns = list(zip(*rows, strict=True)) or [()] * len(fields)
            arrays = [pa.array(column, type=kind) for column, (_, kind) in zip(columns, fields, strict=True)]
            pq.write_table(pa.Table.from_arrays(arrays, schema=pa.schema(fields)), file)
        else:
            write_csv(file, names=[*known, *extras], rows=rows)


def _written(item: Item, column: str, folder: Path) -> str | float | None:
    """The cell of an item under a known column; empty where the item has nothing to say."""
    if column == "path":
        return None if item.path is None else _relative(item.path, folder)
    value: str | float | None = getattr(item, column)
    return float(value) if isinstance(value, int) else value


def _extra_cells(item: Item, extras: Sequence[str]) -> list[str]:
    values = dict(item.extra)
    return [values.get(name, "") for name in extras]


def _relative(path: Path, folder: Path) -> str:
    path = path.absolute()
    if path.is_relative_to(folder):
        return path.relative_to(folder).as_posix()
    # Links are followed first: `..` from a linked folder leads to its target's parent.
    return PurePath(os.path.relpath(path.parent.resolve() / path.name, folder.resolve())).as_posix()


# ---------------------------------------------------------------- a bare folder


def list_folder(folder: Path) -> tuple[tuple[Item, ...], tuple[Failure, ...]]:
    """Every file under a folder as an item without a label, sorted by id, and the files that are of no medium.

    The id is the path within the folder, the medium what the content says. Hidden files and folders are passed over;
    each folder is entered once, whatever links lead to it.

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
            items.append(Item(item_id=item_id, medium=_medium_of(path), path=path))
        except MediaError as error:
            failures.append(Failure(item_id, error.kind, str(error)))
    return tuple(sorted(items, key=lambda item: item.item_id)), tuple(sorted(failures, key=lambda item: item.item_id))


def _visible_files(folder: Path, failures: list[Failure]) -> Iterator[Path]:
    def pass_over(error: OSError) -> None:
        unreadable = UnreadableMediaError(path=error.filename, reason=str(error.strerror))
        failures.append(Failure(_item_id(Path(error.filename), folder), unreadable.kind, str(unreadable)))

    entered: set[tuple[int, int]] = set()
    for place, folder_names, file_names in os.walk(folder, onerror=pass_over, followlinks=True):
        identity = (Path(place).stat().st_dev, Path(place).stat().st_ino)
        if identity in entered:
            message = f"'{place}' is a link to a folder that was entered already; its files are listed once, there."
            failures.append(Failure(_item_id(Path(place), folder), "repeated_folder", message))
            folder_names.clear()
            continue
        entered.add(identity)
        folder_names[:] = sorted(name for name in folder_names if not name.startswith("."))
        if not folder_names and not file_names and Path(place) != folder:
            failures.append(Failure(_item_id(Path(place), folder), "empty", f"The folder '{place}' holds no file."))
        yield from (Path(place, name) for name in file_names if not name.startswith("."))


def _medium_of(path: Path) -> Medium:
    if path.as_posix() != _printable(path):
        raise UnreadableMediaError(path=_printable(path), reason="its name is not UTF-8")
    return detect_medium(path)


def _item_id(path: Path, folder: Path) -> str:
    return _printable(path.relative_to(folder))


def _printable(path: Path) -> str:
    return os.fsencode(path.as_posix()).decode("utf-8", errors="replace")
