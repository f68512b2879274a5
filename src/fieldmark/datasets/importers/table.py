"""Any table to items: columns are mapped by name, so that exports of iNaturalist, xeno-canto or Macaulay load."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from os.path import normpath
from pathlib import Path, PurePath

from fieldmark.data.manifest import COLUMNS, parse_row, stable_item_id
from fieldmark.data.table import Table, read_table
from fieldmark.data.taxonomy import Taxonomy, name_key
from fieldmark.datasets.importers.folders import MEDIUM_WORDS, SPLIT_WORDS
from fieldmark.datasets.importers.harvest import FolderView, Harvest, leaves_root, settle_classes
from fieldmark.errors import ManifestError, MediaError, first, nearest
from fieldmark.media.frames import MARK
from fieldmark.media.loaders import detect_medium
from fieldmark.types import Failure

_FIELD = re.compile(r"\{([^{}]+)\}")
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)


def import_table(
    source: Path,
    *,
    columns: Mapping[str, str] | None = None,
    values: Mapping[str, str] | None = None,
    media: Path | None = None,
    taxonomy: Taxonomy | None = None,
) -> Harvest:
    """The items of a CSV (comma, semicolon or tab) or Parquet file.

    Args:
        columns: Which column each of ours is read from: its name, or a text with several names in braces, such as
            `{genus} {species}` or `photos/{id}.jpg`. A path may end in `.*`: the file of that name, whatever its
            suffix. Columns that bear our names already need no mapping; all others are kept as they are.
        values: What each row has under one of our columns where the table has no such column, or an empty cell.
        media: What paths are relative to; None takes the folder of the table.

    Raises:
        ManifestError: The file is no table.
        ManifestError: A mapping names a column that we or the table do not have.
    """
    table = read_table(source, known=COLUMNS, delimiter=None)
    mapping = _checked({**{name: name for name in COLUMNS if name in table.names}, **(columns or {})}, table)
    _check_targets(values or {})
    view = FolderView((media or source.parent).absolute())
    left: list[Failure] = []
    items = []
    place_by_item_id: dict[str, str] = {}
    for place, row in table.rows:
        if len(row) != len(table.names):
            left.append(Failure(place, "bad_row", f"{len(row)} cells under {len(table.names)} columns"))
            continue
        cells = _mapped(dict(zip(table.names, row, strict=True)), mapping, values or {})
        faults = list(_settle_path(cells, view))
        item_id = cells.get("item_id") or stable_item_id(cells, place_by_item_id)
        if item_id in place_by_item_id:
            faults.append(("repeated_id", f"the item_id '{item_id}' stands already in {place_by_item_id[item_id]}"))
        problems = [message for _, message in faults]
        item = parse_row(cells, item_id, view.root, problems) if not faults else None
        if item is None:
            kind = faults[0][0] if faults else "bad_row"
            left.append(Failure(place, kind, "; ".join(problems)))
            continue
        place_by_item_id[item_id] = place
        items.append(item if item.path is None else replace(item, path=Path(normpath(item.path))))
    notes = [f"{name} is read from '{origin}'." for name, origin in mapping.items() if name != origin]
    if not {"path", "text"} & {*mapping, *(values or {})}:
        notes.append("No column says where the items are; give one, as in --column path='photos/{id}.*'.")
    nameless = sum(item.class_name is None for item in items)
    if nameless:
        notes.append(f"{nameless:,} of {len(items):,} items have no class.")
    return Harvest(settle_classes(items, taxonomy, notes), tuple(left), tuple(notes))


def _checked(columns: Mapping[str, str], table: Table) -> dict[str, str]:
    """The mapping, every name of it being that of a column."""
    _check_targets(columns)
    for target, origin in columns.items():
        for name in _FIELD.findall(origin) or [origin]:
            if name not in table.names:
                raise _bad_mapping(target, origin, met=name, allowed=table.names)
    return dict(columns)


def _check_targets(columns: Mapping[str, str]) -> None:
    for target, origin in columns.items():
        if target not in COLUMNS:
            raise _bad_mapping(target, origin, met=target, allowed=COLUMNS)


def _bad_mapping(target: str, origin: str, *, met: str, allowed: Sequence[str]) -> ManifestError:
    return ManifestError(
        f"The mapping '{target}={origin}' names no column there is; there are {first(allowed, limit=30)}."
        f"{nearest(met, allowed)} Give COLUMN=NAME, or COLUMN='{{NAME}} {{OTHER}}' to join several.",
        kind="column_mapping",
    )


def _mapped(cells: Mapping[str, str], mapping: Mapping[str, str], values: Mapping[str, str]) -> dict[str, str]:
    """A row under our columns, and under its own those that no mapping uses up; media and splits in our words."""
    ours = {"medium": ""}
    for target, origin in mapping.items():
        is_pattern = _FIELD.search(origin) is not None
        joined = _FIELD.sub(lambda field: cells[field[1]].strip(), origin) if is_pattern else cells[origin]
        ours[target] = joined if not is_pattern or any(cells[name].strip() for name in _FIELD.findall(origin)) else ""
    ours.update({name: value for name, value in values.items() if not ours.get(name, "").strip()})
    medium, split = name_key(ours["medium"]), name_key(ours.get("split", ""))
    ours["medium"] = MEDIUM_WORDS.get(medium, ours["medium"])
    if split:
        ours["split"] = SPLIT_WORDS.get(split, ours["split"])
    used = {origin for origin in mapping.values() if not _FIELD.search(origin)}
    return {**{name: value for name, value in cells.items() if name not in used and name not in COLUMNS}, **ours}


def _settle_path(cells: dict[str, str], view: FolderView) -> Iterator[tuple[str, str]]:
    """Makes the path that of a file that is there, and fills in the medium that it holds; yields what hinders it."""
    path = cells.get("path", "").strip()
    if not path:
        if not cells["medium"] and cells.get("text"):
            cells["medium"] = "text"
        return
    if _ADDRESS.match(path):
        yield "web_address", f"'{path}' is an address on the web; download the file, and map 'path' to its name"
        return
    root = f"{view.root.as_posix()}/"
    path = PurePath(path).as_posix().removeprefix(root)
    if leaves_root(path):
        yield "outside_root", f"'{path}' leaves the folder '{view.root}'; give a path within, or another --media"
        return
    found = _found(path, view)
    if len(found) != 1:
        met = f"{len(found)} files" if found else "no file"
        yield "missing_file", f"there is {met} '{path}' under '{view.root}'"
        return
    cells["path"] = found[0]
    if not cells["medium"].strip():
        try:
            cells["medium"] = detect_medium(view.root / found[0])
        except MediaError as error:
            yield error.kind, str(error)


def _found(path: str, view: FolderView) -> Sequence[str]:
    """The path itself, or all that it stands for, as far as they are there."""
    if not path.endswith(f".{MARK}"):
        return [path] if view.holds(path) else []
    pure = PurePath(path)
    names = sorted(name for name in view.names((view.root / path).parent) if PurePath(name).stem == pure.stem)
    return [pure.with_name(name).as_posix() for name in names]
