"""Import Darwin Core Archives and downloads of GBIF: occurrences with the media that they name."""

import csv
import io
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from fieldmark.data.table import decode_text
from fieldmark.datasets.importers.archive import Archive, BadRow, Row, TableDescription
from fieldmark.datasets.importers.record import (
    MediaReference,
    Record,
    find_day_order,
    import_records,
    settle_facts,
    tell_medium,
)
from fieldmark.datasets.importers.result import ImportResult, note_encoding
from fieldmark.datasets.importers.taxonomies import load_taxonomy
from fieldmark.datasets.importers.vernacular import VernacularName, collect_names
from fieldmark.errors import list_first
from fieldmark.records.darwin_core import MEDIA_KEY, OWN_KEY, PROPERTIES
from fieldmark.records.terms import recognize_columns
from fieldmark.types import Failure

OCCURRENCE_TYPE = "Occurrence"
_MEDIA_TYPES = ("Multimedia", "Image")
"""Simple Multimedia of GBIF and Audiovisual Core share the first name; the second is GBIF's older Simple Images."""

_NAMES_TYPE = "VernacularName"
_REFERENCE_TERMS = ("accessURI", "identifier")
_MEDIUM_TERMS = ("format", "type", "subtype", "subtypeLiteral")
_MEDIA_FACTS = {
    "license": ("license", "UsageTerms", "WebStatement", "rights", "licenseLogoURL"),
    "rights_holder": ("rightsHolder", "Owner"),
}
_LIST_BREAK = re.compile(r"\s*[|\n]\s*|\s*[;,]\s*(?=[\"']?https?://)|(?<=[\w\"'/])\s+(?=[\"']?https?://)|;\s+")
_PATH_BREAK = re.compile(r"\s*[|\n;]\s*")
_LARGEST_SIMPLE_BYTES = 2**32


def import_dwca(
    source: Path,
    *,
    out: Path,
    media: Path | None = None,
    taxonomy: Path | str | None = None,
    merges_names: bool = False,
) -> ImportResult:
    """Write a manifest of the media of an archive's occurrences.

    Media come from the extensions Simple Multimedia and Audiovisual Core, and from `associatedMedia`. The class of an
    item is the species of its accepted name, without author and rank.

    Args:
        source: A zip or a folder with a `meta.xml`; or a simple download of GBIF, a zip with one table.
        media: The folder of the files that addresses stand for, found by their names; None takes that of the archive.
        taxonomy: A CSV of classes, or a name of `load_taxonomy`; synonyms are replaced by the name of the class.
        merges_names: Whether names that differ only in spelling, author or rank become one class.

    Raises:
        ManifestError: It is no such archive, or one that is not safe to read; nothing is written.
    """
    known = load_taxonomy(taxonomy)
    archive = Archive(source)
    left: list[Failure] = []
    notes: list[str] = []
    records = list(_read_archive(archive, left, notes))
    folder = media or (source if source.is_dir() else source.parent)
    return import_records(
        records, folder=folder, left=left, notes=notes, taxonomy=known, merges_names=merges_names, out=out
    )


def _read_archive(archive: Archive, left: list[Failure], notes: list[str]) -> Iterator[Record]:
    tables = [name for name in archive.names if name.lower().endswith((".csv", ".txt", ".tsv"))]
    if len(archive.names) == 1 and tables:
        rows = _read_simple(archive, tables[0], left, notes)
        yield from _make_records(rows, {}, {}, left)
        return
    core, extensions = archive.describe()
    kind = core.row_type.rstrip("/").rpartition("/")[2]
    if kind != OCCURRENCE_TYPE:
        raise archive.refuse(f"its core table is of '{core.row_type}', and only occurrences have media of species")
    media: defaultdict[str, list[Row]] = defaultdict(list)
    names: defaultdict[str, list[Row]] = defaultdict(list)
    for table in extensions:
        extension = table.row_type.rstrip("/").rpartition("/")[2]
        if extension != _NAMES_TYPE and extension not in _MEDIA_TYPES:
            reason = "its rows are neither media nor names of species"
            notes.append(f"The table '{list_first(table.locations)}' is not read: {reason}.")
            continue
        for row in _keep_whole(archive, table, left):
            (names if extension == _NAMES_TYPE else media)[row.core_id].append(row)
    yield from _make_records(list(_keep_whole(archive, core, left)), media, names, left)


def _read_simple(archive: Archive, name: str, left: list[Failure], notes: list[str]) -> list[Row]:
    """Return the rows of a simple download: one table, tab-separated, with a header of terms."""
    text, is_guessed = decode_text(archive.read(name, largest=_LARGEST_SIMPLE_BYTES))
    notes += note_encoding(is_guessed=is_guessed)
    header = text.partition("\n")[0]
    delimiter = "\t" if "\t" in header else ","
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=delimiter,
        quoting=csv.QUOTE_NONE if delimiter == "\t" else csv.QUOTE_MINIMAL,
    )
    names = next(reader, [])
    if "gbifID" not in names and "occurrenceID" not in names:
        raise archive.refuse(f"it has no meta.xml, and '{name}' has neither a column gbifID nor occurrenceID")
    rows = []
    for number, cells in enumerate(reader, start=2):
        if len(cells) != len(names):
            left.append(Failure(f"{name} row {number}", "bad_row", f"{len(cells)} cells under {len(names)} columns"))
            continue
        values = dict(zip(names, cells, strict=True))
        if record_id := values.get("gbifID", "").strip() or values.get("occurrenceID", "").strip():
            rows.append(Row(f"{name} row {number}", record_id, values))
        else:
            left.append(Failure(f"{name} row {number}", "no_id", "The row has no id of a record."))
    return rows


def _keep_whole(archive: Archive, table: TableDescription, left: list[Failure]) -> Iterator[Row]:
    for row in archive.read_rows(table):
        if isinstance(row, BadRow):
            left.append(Failure(row.location, "bad_row", row.reason))
        elif not row.core_id:
            left.append(Failure(row.location, "no_id", "The row has no id of a record."))
        else:
            yield row


def _make_records(
    rows: Sequence[Row],
    media: Mapping[str, Sequence[Row]],
    names: Mapping[str, Sequence[Row]],
    left: list[Failure],
) -> Iterator[Record]:
    """Yield the records of the core with their media and names; media of no record are listed."""
    known = recognize_columns(rows[0].cells) if rows else {}
    known = {fact: names for fact, names in known.items() if fact not in ("path", "address", "medium", "item_id")}
    is_day_first = find_day_order(row.cells.get(name, "") for row in rows for name in known.get("event_date", ()))
    seen: dict[str, str] = {}
    for row in rows:
        if row.core_id in seen:
            left.append(
                Failure(row.location, "repeated_id", f"The id '{row.core_id}' is that of {seen[row.core_id]} already.")
            )
            continue
        seen[row.core_id] = row.location
        own, lists = dict(row.cells), row.cells.get("associatedMedia", "")
        properties, _ = unpack_properties(own)
        own_media = media.get(row.core_id, ())
        references = [_make_reference(each) for each in own_media]
        told = {each.reference for each in references}
        if lists and not own_media:
            own.pop("associatedMedia")
        references += [each for each in map(MediaReference, split_media(lists)) if each.reference not in told]
        cells = {**settle_facts(own, known, is_day_first=is_day_first), **properties}
        record_id = row.cells.get("occurrenceID", "").strip() or row.core_id
        cells.setdefault("occurrence_id", record_id)
        if properties:
            cells = drop_written(cells)
        yield Record(row.location, row.core_id, cells, references, _list_names(row, names.get(row.core_id, ())))
    for core_id, orphans in media.items():
        if core_id not in seen:
            left += [
                Failure(each.location, "orphan", f"No record has the id '{core_id}' of this row.") for each in orphans
            ]


def _list_names(core: Row, own: Sequence[Row]) -> tuple[VernacularName, ...]:
    """Return the names of a record's species: those of its extension, preferred ones first, and that of its row."""
    told = sorted(own, key=lambda row: row.cells.get("isPreferredName", "").strip().lower() not in ("true", "1", "yes"))
    rows = [row.cells for row in told] + [core.cells]
    return collect_names((cells.get("language", ""), cells.get("vernacularName", "")) for cells in rows)


def drop_written(cells: dict[str, str]) -> dict[str, str]:
    """Return cells without those that our export only wrote since its terms ask for them."""
    return {name: value for name, value in cells.items() if value and name not in ("rightsHolder", "license")}


def _make_reference(row: Row) -> MediaReference:
    """Return the medium of a row of an extension; what belongs to it alone keeps its name."""
    cells, used = dict(row.cells), set()
    reference = ""
    for term in _REFERENCE_TERMS:
        if not reference and cells.get(term, "").strip():
            reference = cells[term].strip()
            used.add(term)
    exact, _ = unpack_properties(cells)
    facts: dict[str, str] = {}
    for fact, terms in _MEDIA_FACTS.items():
        for term in [each for each in terms if cells.get(each, "").strip()][:1]:
            facts[fact] = cells[term].strip()
            used.add(term)
    kept = {name: value for name, value in cells.items() if name not in used and value}
    told = tuple(cells[term] for term in _MEDIUM_TERMS if cells.get(term))
    if exact:  # what only repeats the item's own facts
        kept = {name: value for name, value in kept.items() if name not in ("type", "description")}
    return make_exact(reference, told, {**kept, **facts}, exact)


def split_media(text: str) -> list[str]:
    """Return the addresses or paths of a list in one cell; a semicolon may be a part of an address.

    Example:
        >>> split_media("a.jpg;b.jpg"), split_media("https://example.org/a;b, https://example.org/c; d.jpg")
        (['a.jpg', 'b.jpg'], ['https://example.org/a;b', 'https://example.org/c', 'd.jpg'])
        >>> split_media("a.jpg, b.jpg"), split_media("gull, in flight.jpg")
        (['a.jpg', 'b.jpg'], ['gull, in flight.jpg'])
    """
    pattern = _LIST_BREAK if "://" in text else _PATH_BREAK
    parts = [part.strip().strip("\"'") for part in pattern.split(text)]
    by_comma = [name.strip() for part in parts for name in part.split(",")]
    if "://" not in text and all(tell_medium((), name=name) for name in by_comma if name):
        parts = by_comma
    return [part for part in parts if part]


def unpack_properties(cells: dict[str, str]) -> tuple[dict[str, str], list[dict[str, str]]]:
    """Take what fieldmark wrote into `dynamicProperties` out of the cells: that of the row, and that of its media."""
    try:
        values = json.loads(cells.get(PROPERTIES) or "null")
    except ValueError:
        return {}, []
    if not isinstance(values, dict) or not isinstance(values.get(OWN_KEY), dict):
        return {}, []
    del cells[PROPERTIES]
    media = values.get(MEDIA_KEY)
    listed = media if isinstance(media, list) else []
    own, *others = (
        {str(key): str(value) for key, value in each.items()}
        for each in (values[OWN_KEY], *listed)
        if isinstance(each, dict)
    )
    return own, others


def make_exact(reference: str, told: tuple[str, ...], cells: dict[str, str], exact: dict[str, str]) -> MediaReference:
    """Return a medium with what an export of ours says of it."""
    names = (exact.pop("file_name"),) if exact.get("file_name") else ()
    return MediaReference(reference, told, cells, local_names=names, exact=exact)
