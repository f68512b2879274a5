"""Darwin Core Archives: a zip or a folder with tables, as its `meta.xml` says; every archive is untrusted."""

import codecs
import csv
import io
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
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
_META_BYTES = 2**20
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
            ManifestError: It is missing, too large or damaged.
        """
        if name not in self.names:
            raise self.refuse(f"it has no file '{name}', but {list_first(self.names) or 'none at all'}")
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
        """Return the description of a table; what it leaves out has the standard's defaults."""
        get = element.attrib.get
        names = [(each.text or "").strip() for each in element.iter() if _get_name(each) == "location"]
        if not names or any(is_outside_root(name) for name in names):
            raise self.refuse(f"its meta.xml names the file '{', '.join(names)}', which is none of its own")
        ids = _list_children(element, id_name)
        if not ids:
            raise self.refuse(f"its meta.xml gives '{names[0]}' no <{id_name}>")
        encoding = get("encoding") or "UTF-8"
        try:
            codecs.lookup(encoding)
            fields = tuple(
                (
                    int(each.attrib["index"]) if "index" in each.attrib else None,
                    each.attrib["term"],
                    each.attrib.get("default", ""),
                )
                for each in _list_children(element, "field")
            )
            return TableDescription(
                row_type=get("rowType", ""),
                locations=tuple(folder + name for name in names),
                encoding=encoding,
                delimiter=_unescape(get("fieldsTerminatedBy", ",")),
                line_end=_unescape(get("linesTerminatedBy", "\n")),
                quote=_unescape(get("fieldsEnclosedBy", '"')),
                header_lines=int(get("ignoreHeaderLines") or 0),
                id_index=int(ids[0].attrib["index"]),
                fields=fields,
            )
        except (LookupError, ValueError) as error:
            raise self.refuse(f"its meta.xml describes '{names[0]}' wrongly ({error})") from error

    def read_rows(self, table: TableDescription) -> Iterator[Row | BadRow]:
        """Yield the rows of a table, and those that do not fit it.

        Raises:
            ManifestError: A file is missing, or is not in its encoding.
        """
        last = max((index for index, _, _ in table.fields if index is not None), default=0)
        names = _name_terms(table)
        for location in table.locations:
            content = self.read(location, largest=_LARGEST_TABLE_BYTES)
            try:
                text = content.decode("utf-8-sig" if codecs.lookup(table.encoding).name == "utf-8" else table.encoding)
            except (UnicodeDecodeError, UnicodeError) as error:
                raise self.refuse(f"'{location}' is not {table.encoding} ({error})") from error
            for number, cells in enumerate(_split_rows(text, table), start=1):
                if number <= table.header_lines or not any(cell.strip() for cell in cells):
                    continue
                place = f"{location} row {number}"
                if len(cells) <= max(last, table.id_index):
                    yield BadRow(place, f"{len(cells)} cells, where meta.xml names {max(last, table.id_index) + 1}")
                    continue
                values = {
                    name: (cells[index] if index is not None else "").strip() or default
                    for name, (index, _, default) in zip(names, table.fields, strict=True)
                }
                yield Row(place, cells[table.id_index].strip(), values)


def _name_terms(table: TableDescription) -> list[str]:
    """Return the name of each column; of two terms that share one, the second has its vocabulary before it."""
    names: list[str] = []
    for _, term, _ in table.fields:
        vocabulary, _, name = term.rstrip("/").replace("#", "/").rpartition("/")
        name = name or term
        names.append(f"{vocabulary.rpartition('/')[2] or 'other'}_{name}" if name in names else name)
    return names


def _split_rows(text: str, table: TableDescription) -> Iterator[list[str]]:
    if table.line_end.strip("\r\n"):
        text = text.replace(table.line_end, "\n")
    if table.quote and len(table.delimiter) == 1:
        with suppress(csv.Error):
            csv.field_size_limit(2**24)
        yield from csv.reader(io.StringIO(text, newline=""), delimiter=table.delimiter, quotechar=table.quote[0])
        return
    for line in text.split("\n"):
        yield line.removesuffix("\r").split(table.delimiter)


def _unescape(text: str) -> str:
    return _ESCAPES.get(text, text)


def _get_name(element: Any) -> str:  # noqa: ANN401 - XML of any library
    return str(element.tag).rpartition("}")[2]


def _list_children(element: Any, name: str) -> list[Any]:  # noqa: ANN401
    return [each for each in element if _get_name(each) == name]
