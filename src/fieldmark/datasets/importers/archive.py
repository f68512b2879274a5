"""Darwin Core Archives: a zip or a folder with tables, as its `meta.xml` says; every archive is untrusted."""

import csv
import io
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final
from xml.etree.ElementTree import ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from fieldmark.datasets.importers.folders import is_outside_root
from fieldmark.errors import ManifestError, list_first

_LARGEST_BYTES = 8 * 1024**3
"""Of all files of an archive, unpacked."""
_LARGEST_TABLE_BYTES = 4 * 1024**3
_LARGEST_RATIO, _RATIO_FROM_BYTES = 200, 100 * 1024**2
"""Tables of text shrink to a tenth or a twentieth; what shrinks much more is made to fill a disk."""
_LARGEST_CELL_CHARACTERS = 2**24
_META_BYTES = 2**20
_ONE_CHARACTER = "\ue000"
"""Stands for a delimiter of several characters while rows are split; for private use, so no table has it."""
_ESCAPES = {"\\t": "\t", "\\n": "\n", "\\r": "\r", "\\r\\n": "\r\n", "\\\\": "\\"}


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table.

    Args:
        core_id: The id of the core row that it is, or belongs to.
        cells: By term, without the address of its vocabulary; terms of one name in two vocabularies are apart.
    """

    location: str
    core_id: str
    cells: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that does not fit its table."""

    location: str
    reason: str


@dataclass(frozen=True, slots=True)
class TableDescription:
    """One table as `meta.xml` describes it.

    Args:
        row_type: Its address.
        fields: Index, term and default of each column; no index where the default is all there is.
    """

    row_type: str
    locations: tuple[str, ...]
    encoding: str
    delimiter: str
    line_end: str
    quote: str
    header_lines: int
    id_index: int
    fields: tuple[tuple[int | None, str, str], ...]


@final
class Archive:
    """The files of an archive, zipped or not; nothing is unpacked to the disk.

    Raises:
        ManifestError: It is no archive, or one that is not safe to read.
    """

    def __init__(self, source: Path) -> None:
        self.source = source
        self._zip: zipfile.ZipFile | None = None
        if source.is_dir():
            self.names = [path.relative_to(source).as_posix() for path in sorted(source.rglob("*")) if path.is_file()]
            return
        try:
            self._zip = zipfile.ZipFile(source)
        except FileNotFoundError:
            raise self.refuse("there is no such file") from None
        except (zipfile.BadZipFile, OSError) as error:
            raise self.refuse(f"it is neither a folder nor a zip ({error})") from error
        entries = [entry for entry in self._zip.infolist() if not entry.is_dir()]
        self.names = [entry.filename for entry in entries]
        self._check_entries(entries)

    def _check_entries(self, entries: list[zipfile.ZipInfo]) -> None:
        if outside := [name for name in self.names if is_outside_root(name)]:
            raise self.refuse(f"'{outside[0]}' leads out of it")
        if len(set(self.names)) < len(self.names):
            raise self.refuse(f"it holds '{Counter(self.names).most_common(1)[0][0]}' more than once")
        if any(entry.flag_bits & 1 for entry in entries):
            raise self.refuse("it is encrypted")
        total, packed = sum(entry.file_size for entry in entries), sum(entry.compress_size for entry in entries)
        is_bomb = total > _RATIO_FROM_BYTES and total > _LARGEST_RATIO * max(packed, 1)
        if total > _LARGEST_BYTES or is_bomb:
            raise self.refuse(f"it would unpack to {total / 1e9:,.1f} GB from {packed / 1e6:,.1f} MB")

    def refuse(self, reason: str) -> ManifestError:
        """Return the error for an archive that cannot be read."""
        return ManifestError(
            f"'{self.source}' cannot be imported: {reason}. Give a Darwin Core Archive: a zip or folder with meta.xml "
            "and the tables that it names.",
            kind="import_source",
        )

    def read(self, name: str, *, largest: int) -> bytes:
        """Return the content of a file.

        Raises:
            ManifestError: It is missing, too large, damaged, or a link to a file elsewhere.
        """
        if name not in self.names:
            raise self.refuse(f"it has no file '{name}', but {list_first(self.names) or 'none at all'}")
        if self._zip is None and not (self.source / name).resolve().is_relative_to(self.source.resolve()):
            raise self.refuse(f"'{name}' is a link that leads out of it")
        try:
            with self._zip.open(name) if self._zip else (self.source / name).open("rb") as file:
                content = file.read(largest + 1)
        except (zipfile.BadZipFile, OSError, NotImplementedError, EOFError, ValueError) as error:
            raise self.refuse(f"'{name}' is damaged ({error})") from error
        except Exception as error:
            if type(error).__module__ == "zlib":
                raise self.refuse(f"'{name}' is damaged ({error})") from error
            raise
        if len(content) > largest:
            raise self.refuse(f"'{name}' has more than {largest:,} bytes")
        return content

    def describe(self) -> tuple[TableDescription, tuple[TableDescription, ...]]:
        """Return the core and the extensions, as `meta.xml` describes them.

        Raises:
            ManifestError: It is missing, or describes no archive.
        """
        folder = next((name.removesuffix("meta.xml") for name in self.names if name.count("/") <= 1 and
                       name.rpartition("/")[2] == "meta.xml"), None)  # fmt: skip
        if folder is None:
            raise self.refuse("it has no meta.xml")
        try:
            root = fromstring(self.read(f"{folder}meta.xml", largest=_META_BYTES), forbid_dtd=True)
        except DefusedXmlException as error:
            raise self.refuse(f"its meta.xml declares entities or a document type ({error})") from error
        except (ParseError, ValueError, LookupError) as error:
            raise self.refuse(f"its meta.xml is no XML ({error})") from error
        cores = _list_children(root, "core")
        if _get_name(root) != "archive" or len(cores) != 1:
            raise self.refuse(f"its meta.xml names {len(cores)} core tables, and an archive has one")
        extensions = tuple(self._describe(each, "coreid", folder) for each in _list_children(root, "extension"))
        return self._describe(cores[0], "id", folder), extensions

    def _describe(self, element: Any, id_name: str, folder: str) -> TableDescription:  # noqa: ANN401 - XML
        """Return the description of a table."""
        names = [(each.text or "").strip() for each in element.iter() if _get_name(each) == "location"]
        if not names or any(is_outside_root(name) for name in names):
            raise self.refuse(f"its meta.xml names the file '{', '.join(names)}', which is none of its own")
        ids = _list_children(element, id_name)
        if not ids:
            raise self.refuse(f"its meta.xml gives '{names[0]}' no <{id_name}>")
        try:
            return _read_description(element, ids[0], tuple(folder + name for name in names))
        except (LookupError, ValueError) as error:
            raise self.refuse(f"its meta.xml describes '{names[0]}' wrongly ({error})") from error

    def read_rows(self, table: TableDescription) -> Iterator[Row | BadRow]:
        """Yield the rows of a table, and those that do not fit it.

        Raises:
            ManifestError: A file is missing, or is not in its encoding.
        """
        needed = max(table.id_index, *(index for index, _, _ in table.fields if index is not None), 0) + 1
        names = _name_terms(table)
        for location in table.locations:
            rows = _list_rows(self._read_text(location, table), table)
            width = max(needed, _find_width(rows, table.header_lines))
            for number, cells in enumerate(rows, start=1):
                place = f"{location} row {number}"
                if isinstance(cells, str):
                    yield BadRow(place, cells)
                    continue
                if number <= table.header_lines or not any(cell.strip() for cell in cells):
                    continue
                if len(cells) < needed:
                    yield BadRow(place, f"{len(cells)} cells, where meta.xml names {needed}")
                    continue
                if any(cell.strip() for cell in cells[width:]):
                    yield BadRow(place, f"{len(cells)} cells, where the table has {width} columns")
                    continue
                values = {
                    name: (cells[index] if index is not None else "").strip() or default
                    for name, (index, _, default) in zip(names, table.fields, strict=True)
                }
                yield Row(place, cells[table.id_index].strip(), values)

    def _read_text(self, location: str, table: TableDescription) -> str:
        """Return the text of a table.

        Raises:
            ManifestError: The file is missing, or is not in its encoding.
        """
        content = self.read(location, largest=_LARGEST_TABLE_BYTES)
        try:
            return content.decode(table.encoding).removeprefix("\ufeff")
        except UnicodeError as error:
            raise self.refuse(f"'{location}' is not {table.encoding} ({error})") from error


def _read_description(element: Any, own_id: Any, locations: tuple[str, ...]) -> TableDescription:  # noqa: ANN401 - XML
    """Return the description of a table; what it leaves out has the standard's defaults.

    Raises:
        LookupError: A term or an index is missing, or the encoding is not known.
        ValueError: An index or the delimiter is none.
    """
    get = element.attrib.get
    encoding, delimiter = get("encoding") or "UTF-8", _unescape(get("fieldsTerminatedBy", ","))
    "x".encode(encoding)  # refuses what is no encoding of text, too
    fields = tuple(
        (
            int(each.attrib["index"]) if "index" in each.attrib else None,
            each.attrib["term"],
            each.attrib.get("default", ""),
        )
        for each in _list_children(element, "field")
    )
    id_index = int(own_id.attrib["index"])
    if min(id_index, *(index for index, _, _ in fields if index is not None), 0) < 0:
        raise ValueError("an index is below 0")
    if not delimiter:
        raise ValueError("fieldsTerminatedBy is empty")
    return TableDescription(
        row_type=get("rowType", ""),
        locations=locations,
        encoding=encoding,
        delimiter=delimiter,
        line_end=_unescape(get("linesTerminatedBy", "\n")),
        quote=_unescape(get("fieldsEnclosedBy", '"')),
        header_lines=int(get("ignoreHeaderLines") or 0),
        id_index=id_index,
        fields=fields,
    )


def _find_width(rows: list[list[str] | str], header_lines: int) -> int:
    """Return the number of cells of a table's header; without one, that of most rows."""
    whole = [cells for cells in rows if not isinstance(cells, str)]
    if header_lines:
        return len(whole[header_lines - 1]) if len(whole) >= header_lines else 0
    return Counter(map(len, whole)).most_common(1)[0][0] if whole else 0


def _name_terms(table: TableDescription) -> list[str]:
    """Return the name of each column; of two terms that share one, the second has its vocabulary before it."""
    names: list[str] = []
    for _, term, _ in table.fields:
        vocabulary, _, name = term.rstrip("/").replace("#", "/").rpartition("/")
        name = name or term
        names.append(f"{vocabulary.rpartition('/')[2] or 'other'}_{name}" if name in names else name)
    return names


def _list_rows(text: str, table: TableDescription) -> list[list[str] | str]:
    """Return the cells of each row, or what is wrong with its quotes."""
    usual = csv.field_size_limit(_LARGEST_CELL_CHARACTERS)  # of the whole process
    try:
        return list(_split_rows(text, table))
    finally:
        csv.field_size_limit(usual)


def _split_rows(text: str, table: TableDescription) -> Iterator[list[str] | str]:
    text, delimiter = _unify_line_ends(text, table.line_end), table.delimiter
    if not table.quote:
        yield from (line.removesuffix("\r").split(delimiter) for line in text.split("\n"))
        return
    if len(delimiter) > 1:
        text, delimiter = text.replace(delimiter, _ONE_CHARACTER), _ONE_CHARACTER
    # Strict, because otherwise a quote that is never closed swallows all rows after it without a word.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, quotechar=table.quote[0], strict=True)
    while True:
        first = reader.line_num + 1
        try:
            yield next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield f"the quotes of lines {first} to {max(first, reader.line_num)} do not match ({error})"


def _unify_line_ends(text: str, line_end: str) -> str:
    """Return a text whose rows end with a line feed, whatever `meta.xml` says: old spreadsheets write a return."""
    if line_end.strip("\r\n"):
        return text.replace(line_end, "\n")
    return text if "\n" in text else text.replace("\r", "\n")


def _unescape(text: str) -> str:
    return _ESCAPES.get(text, text)


def _get_name(element: Any) -> str:  # noqa: ANN401 - XML of any library
    return str(element.tag).rpartition("}")[2]


def _list_children(element: Any, name: str) -> list[Any]:  # noqa: ANN401
    return [each for each in element if _get_name(each) == name]
