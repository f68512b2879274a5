"""Import any table by mapping its columns, such as exports of iNaturalist, xeno-canto or Macaulay."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from os.path import normpath
from pathlib import Path, PurePath

from fieldmark.data.manifest import COLUMNS, derive_item_id, parse_row
from fieldmark.data.table import Table, read_table
from fieldmark.datasets.importers.dwca import drop_written, make_exact, split_media, unpack_properties
from fieldmark.datasets.importers.folders import MEDIUM_WORDS, SPLIT_WORDS, FolderListing, is_outside_root
from fieldmark.datasets.importers.record import (
    MediaReference,
    Record,
    find_day_order,
    import_records,
    number_ids,
    settle_facts,
)
from fieldmark.datasets.importers.result import ImportResult, note_encoding, write_result
from fieldmark.datasets.importers.taxonomies import load_taxonomy
from fieldmark.errors import ManifestError, MediaError, list_first, suggest_nearest
from fieldmark.media.loaders import detect_medium
from fieldmark.media.video import WILDCARD
from fieldmark.names import name_key
from fieldmark.records.terms import recognize_columns
from fieldmark.types import Failure

_FIELD = re.compile(r"\{([^{}]+)\}")
_WEB = re.compile(r"https?://", re.IGNORECASE)
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_SETTLED = frozenset(
    (
        *("event_date", "latitude", "longitude", "coordinate_uncertainty_meters", "country_code", "basis_of_record"),
        *("scientific_name", "authorship", "taxon_rank"),
    )
)
"""Columns of a manifest that tables of others have too, in spellings of their own."""


def import_table(  # noqa: PLR0913 - each option is one that the CLI offers
    source: Path,
    *,
    out: Path,
    columns: Mapping[str, str] | None = None,
    values: Mapping[str, str] | None = None,
    media: Path | None = None,
    taxonomy: Path | str | None = None,
    merges_names: bool = False,
) -> ImportResult:
    """Write a manifest of a CSV (comma, semicolon or tab; UTF-8, UTF-16 or Windows-1252) or Parquet file.

    Columns named in the terms of Darwin Core, or as the exports of portals name them, are recognized in any letter case
    where nothing is mapped to what they stand for. A row with several media is several items, and a file of several
    rows is an item of each.

    Args:
        columns: By manifest column, the column of the table to read: its name, or a text with several names in braces,
            such as `{genus} {species}` or `photos/{id}.jpg`. A path may end in `.*` to find the file whatever its
            suffix. Columns named as in a manifest need no mapping; all others are kept unchanged.
        values: By manifest column, the value of rows whose cell is missing or empty.
        media: The folder that paths are relative to; None takes the folder of the table.
        taxonomy: A CSV of classes; synonyms are replaced by the name of the class. None keeps all names.
        merges_names: Whether names that differ only in spelling, author or rank become one class.

    Raises:
        ManifestError: The file is not a table, a mapping names a missing column, or the taxonomy is not valid.
    """
    known = load_taxonomy(taxonomy)
    table = read_table(source, known=COLUMNS, delimiter=None, is_strict=False)
    own = {name: name for name in COLUMNS if name in table.names and name not in _SETTLED}
    mapping = _checked({**own, **(columns or {})}, table)
    _check_targets(values or {})
    found = _recognize(mapping, table, given=columns or {})
    if not {"path", "text"} & {*mapping, *(values or {})} and _name_media(found):
        rows = _TableRows(table, mapping=mapping, found=found, values=values or {})
        return import_records(
            rows.make_records(),
            folder=media or source.parent,
            left=rows.left,
            notes=note_encoding(is_guessed=table.is_guessed) + _note_origins(mapping, found),
            taxonomy=known,
            merges_names=merges_names,
            out=out,
        )
    facts = {name: columns for name, columns in found.items() if name not in (*mapping, "path", "address", "medium")}
    is_day_first = _find_order(table, mapping, facts)
    files = FolderListing((media or source.parent).absolute())
    left: list[Failure] = []
    items = []
    location_by_item_id: dict[str, str] = {}
    for location, row in table.rows:
        if len(row) != len(table.names):
            left.append(Failure(location, "bad_row", f"{len(row)} cells under {len(table.names)} columns"))
            continue
        given = dict(zip(table.names, row, strict=True))
        cells = _settle_cells(given, mapping, values or {}, facts=facts, is_day_first=is_day_first)
        faults = list(_settle_path(cells, files))
        item_id = _choose_id(cells, location_by_item_id)
        if item_id in location_by_item_id:
            faults.append(("repeated_id", f"the item_id '{item_id}' is already used in {location_by_item_id[item_id]}"))
        problems = [message for _, message in faults]
        item = parse_row(cells, item_id, files.root, problems) if not faults else None
        if item is None:
            kind = faults[0][0] if faults else "bad_row"
            left.append(Failure(location, kind, "; ".join(problems)))
            continue
        location_by_item_id[item_id] = location
        items.append(item if item.path is None else replace(item, path=Path(normpath(item.path))))
    notes = note_encoding(is_guessed=table.is_guessed) + _note_origins(mapping, facts)
    if not {"path", "text"} & {*mapping, *(values or {})}:
        notes.append("No column gives the paths of the items; map one, as in --column path='photos/{id}.*'.")
    nameless = sum(item.class_name is None for item in items)
    if nameless:
        notes.append(f"{nameless:,} of {len(items):,} items have no class.")
    return write_result(items, left, notes, taxonomy=known, merges_names=merges_names, out=out)


def _choose_id(cells: Mapping[str, str], taken: Mapping[str, str]) -> str:
    """Return the id of a row; several rows of one file are items of their own."""
    if cells.get("item_id"):
        return cells["item_id"]
    item_id = derive_item_id(cells, taken)
    return next(free for free in number_ids(item_id) if free not in taken)


def _recognize(mapping: dict[str, str], table: Table, *, given: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Return the columns that stand for facts; a column of paths that holds addresses of the web is one of addresses.

    Such a column is taken out of the mapping, unless it was given by the user.
    """
    origin = "" if "path" in given else mapping.get("path", "")
    index = table.names.index(origin) if origin in table.names else None
    if index is None or not any(len(row) > index and _WEB.match(row[index].strip()) for _, row in table.rows):
        return recognize_columns(name for name in table.names if name not in mapping.values())
    del mapping["path"]
    found = recognize_columns(name for name in table.names if name not in (*mapping.values(), origin))
    return {**found, "address": (origin, *found.get("address", ()))}


def _name_media(found: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Return the columns that name media: paths first, then addresses."""
    return (*found.get("path", ()), *found.get("address", ()))


def _note_origins(mapping: Mapping[str, str], found: Mapping[str, Sequence[str]]) -> list[str]:
    notes = [f"{name} is read from '{origin}'." for name, origin in mapping.items() if name != origin]
    return notes + [f"{name} is read from '{columns[0]}'." for name, columns in found.items() if name in COLUMNS]


def _settle_cells(
    given: Mapping[str, str],
    mapping: Mapping[str, str],
    values: Mapping[str, str],
    *,
    facts: Mapping[str, Sequence[str]],
    is_day_first: bool | None,
) -> dict[str, str]:
    """Return a row by manifest columns: what is mapped, and the facts of the columns that are recognized.

    Facts that tables of others spell in their own ways are settled whether the user maps them or not.
    """
    mapped = _mapped(given, mapping, values)
    chosen = {name: mapped.pop(name) for name in list(mapped) if name in _SETTLED}
    is_filled = {name: any(given[own].strip() for own in facts.get(name, ())) for name in chosen}
    chosen = {name: value for name, value in chosen.items() if not is_filled[name]}  # by a column that is recognized
    others = {name: given[name] for name in _list_others(given, mapping)} | chosen
    known = {**facts, **{name: (name,) for name in chosen}}
    settled = settle_facts(others, known, is_day_first=is_day_first)
    return {**mapped, **{name: value for name, value in settled.items() if not mapped.get(name)}}


def _find_order(table: Table, mapping: Mapping[str, str], facts: Mapping[str, Sequence[str]]) -> bool | None:
    """Tell whether the day comes first in the dates of a table, as `find_day_order` does."""
    origins = facts.get("event_date") or [mapping["event_date"]] if "event_date" in {**facts, **mapping} else []
    return find_day_order(table.list_cells(name for name in origins if name in table.names))


def _list_others(names: Iterable[str], mapping: Mapping[str, str]) -> list[str]:
    """Return the columns that are read as they stand under no other name."""
    used = {origin for origin in mapping.values() if not _FIELD.search(origin)}
    return [name for name in names if name not in used]


class _TableRows:
    """The rows of a table whose columns are recognized, as records."""

    def __init__(
        self, table: Table, *, mapping: Mapping[str, str], found: Mapping[str, Sequence[str]], values: Mapping[str, str]
    ) -> None:
        self.left: list[Failure] = []
        self._table = table
        self._mapping = mapping
        self._found = found
        self._values = values

    def make_records(self) -> Iterator[Record]:
        """Yield a record for each row; rows that do not fit the header are listed."""
        names, media_columns = self._table.names, _name_media(self._found)
        facts = {name: own for name, own in self._found.items() if name not in ("path", "address", "medium")}
        whole = [
            (place, dict(zip(names, row, strict=True))) for place, row in self._table.rows if len(row) == len(names)
        ]
        is_day_first = _find_order(self._table, self._mapping, facts)
        for location, row in self._table.rows:
            if len(row) != len(names):
                self.left.append(Failure(location, "bad_row", f"{len(row)} cells under {len(names)} columns"))
        for location, given in whole:
            told = tuple(given[name] for name in self._found.get("medium", ()) if given[name].strip())
            references = dict.fromkeys(each for name in media_columns for each in split_media(given[name]))
            own = {name: value for name, value in given.items() if name not in media_columns}
            properties, written = unpack_properties(own)
            settled = _settle_cells(given, self._mapping, self._values, facts=facts, is_day_first=is_day_first)
            hidden = set(given) - set(own)  # media, and what an export of ours wrote
            cells = {name: value for name, value in settled.items() if value and name not in hidden}
            cells = drop_written({**cells, **properties}) if written else {**cells, **properties}
            told = (cells.pop("medium", ""), *told)
            item_id = cells.pop("item_id", None)
            record_id = cells.get("occurrence_id") or cells.get("catalog_number") or given.get("id") or location
            media = [MediaReference(each, told, {}, item_id if len(references) == 1 else None) for each in references]
            if written:
                media = [make_exact(each.pop("reference", ""), (each.get("medium", ""),), {}, each) for each in written]
            yield Record(location, record_id, cells, media)


def _checked(columns: Mapping[str, str], table: Table) -> dict[str, str]:
    """Return the mapping after checking that every name in it is that of a column."""
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
        f"The mapping '{target}={origin}' names no column of the table, which has {list_first(allowed, limit=30)}."
        f"{suggest_nearest(met, allowed)} Give COLUMN=NAME, or COLUMN='{{NAME}} {{OTHER}}' to join several.",
        kind="column_mapping",
    )


def _mapped(cells: Mapping[str, str], mapping: Mapping[str, str], values: Mapping[str, str]) -> dict[str, str]:
    """Return the mapped cells of a row by manifest column, with media and splits in our words."""
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
    return ours


def _settle_path(cells: dict[str, str], files: FolderListing) -> Iterator[tuple[str, str]]:
    """Resolve the path to an existing file and fill in its medium; yield the kind and message of each fault."""
    path = cells.get("path", "").strip()
    if not path:
        if not cells["medium"] and cells.get("text"):
            cells["medium"] = "text"
        return
    if _ADDRESS.match(path):
        yield "web_address", f"'{path}' is a web address; download the file and map 'path' to its name"
        return
    root = f"{files.root.as_posix()}/"
    path = PurePath(path).as_posix().removeprefix(root)
    path = _turn_slashes(path, files)
    if is_outside_root(path):
        yield (
            "outside_root",
            f"'{path}' is outside the folder '{files.root}'; give a path inside it, or another --media",
        )
        return
    found = _found(path, files)
    if len(found) != 1:
        met = f"{len(found)} files" if found else "no file"
        yield "missing_file", f"there is {met} '{path}' under '{files.root}'"
        return
    cells["path"] = found[0]
    if not cells["medium"].strip():
        try:
            cells["medium"] = detect_medium(files.root / found[0])
        except MediaError as error:
            yield error.kind, str(error)


def _turn_slashes(path: str, files: FolderListing) -> str:
    """Return a path as Windows writes it with slashes, unless there is a file of that very name."""
    slashed = path.replace("\\", "/")
    return path if is_outside_root(slashed) or files.has(path) else slashed


def _found(path: str, files: FolderListing) -> Sequence[str]:
    """Return the existing files that a path stands for."""
    if not path.endswith(f".{WILDCARD}"):
        return [path] if files.has(path) else []
    pure = PurePath(path)
    names = sorted(name for name in files.list_names((files.root / path).parent) if PurePath(name).stem == pure.stem)
    return [pure.with_name(name).as_posix() for name in names]
