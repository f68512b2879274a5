"""Tables of text cells: CSV or Parquet read whole, with the position of every row; CSV written."""

import codecs
import csv
import io
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from fieldmark.errors import ManifestError

_DELIMITERS = ",\t;|"


@dataclass(frozen=True, slots=True)
class Table:
    """Cells as text, each row with its position in the file.

    Args:
        rows: Position and cells; a row may have more or fewer cells than there are names.
        is_guessed: Whether the text was none of Unicode, and was read as Windows-1252.
    """

    names: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]
    is_guessed: bool = False

    def list_cells(self, names: Iterable[str]) -> list[str]:
        """Return all cells of some columns, of the rows that are long enough."""
        places = [self.names.index(name) for name in names]
        return [row[place] for _, row in self.rows for place in places if place < len(row)]


def read_table(path: Path, *, known: Iterable[str] = (), delimiter: str | None = ",", is_strict: bool = True) -> Table:
    """Read a table with a header, as text; empty rows are left out.

    Args:
        known: Names of columns that are read in any letter case, and come back as spelled here.
        delimiter: Between the cells of a CSV; None takes the comma, tab, semicolon or bar that its header has most of.
        is_strict: Whether text has to be UTF-8. Otherwise it may also be UTF-16, or Windows-1252, as spreadsheets write
            it, with a first line `sep=;`.

    Raises:
        ManifestError: The file is missing, or is neither UTF-8 CSV with a header nor Parquet.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise _no_table(path, reason="there is no such file") from None
    except OSError as error:
        raise _no_table(path, reason=str(error.strerror)) from error
    if content.startswith(b"PAR1"):
        table = _read_parquet(content, path)
    else:
        text, is_guessed = _decode(content, path, is_strict=is_strict)
        table = replace(_read_csv(text, path, delimiter), is_guessed=is_guessed)
    names = tuple(restore_spelling(name, known) for name in table.names)
    check_names(names, path)
    return replace(table, names=names)


def write_csv(file: BinaryIO, *, names: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a header and rows as UTF-8; the file stays open."""
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    writer = csv.writer(text)
    writer.writerow(names)
    writer.writerows(rows)
    text.detach()


def restore_spelling(name: str, known: Iterable[str]) -> str:
    """A column's name without spaces around it; one that is known in any letter case, as it is known."""
    name = name.strip()
    return name.lower() if name.lower() in known else name


def check_names(names: Sequence[str], path: Path) -> None:
    """Check that every column has a name of its own.

    Raises:
        ManifestError: It is not so.
    """
    if not names:
        raise _no_table(path, reason="it has no header")
    if "" in names:
        raise _no_table(path, reason=f"column {names.index('') + 1} has no name")
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise _no_table(path, reason=f"the column '{name}' appears {count} times in the header")


def _decode(content: bytes, path: Path, *, is_strict: bool) -> tuple[str, bool]:
    """Return the text of a file, and whether its encoding is a guess."""
    if not is_strict:
        return decode_text(content)
    try:
        return content.decode("utf-8-sig"), False
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _no_table(path, reason=f"line {line} is not UTF-8") from error


def decode_text(content: bytes) -> tuple[str, bool]:
    """Return the text of a table in whatever encoding, and whether that is a guess: text that is none of Unicode."""
    if content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return content.decode("utf-16", "replace"), False
    if b"\0" in content[:2]:  # UTF-16 without its mark: every other byte of a header is 0
        return content.decode("utf-16-be" if content[0] == 0 else "utf-16-le", "replace"), False
    try:
        return content.decode("utf-8-sig"), False
    except UnicodeDecodeError:
        return content.decode("cp1252", "replace"), True


def _read_csv(text: str, path: Path, delimiter: str | None) -> Table:
    if delimiter is None and (told := re.match(r'"?sep=(.)"?\r?\n', text)):
        delimiter, text = told[1], text[told.end() :]
    if delimiter is not None:
        return _split_csv(text, path, delimiter, is_quoted=True)
    header = re.sub(r'"[^"]*"', "", re.split(r"[\r\n]", text, maxsplit=1)[0])
    delimiter = max(_DELIMITERS, key=header.count)
    is_quoted = not (delimiter == "\t" and "gbifid" in header.lower())  # GBIF writes quotes as they are
    try:
        return _split_csv(text, path, delimiter, is_quoted=is_quoted)
    except ManifestError:
        if delimiter != "\t":
            raise
        return _split_csv(text, path, delimiter, is_quoted=False)  # tabs part cells where quotes do not match


def _split_csv(text: str, path: Path, delimiter: str, *, is_quoted: bool) -> Table:
    # Strict, because otherwise a quote that is never closed swallows all rows after it without a word.
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if is_quoted else csv.QUOTE_NONE
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=delimiter, quoting=quoting)
    rows: list[tuple[str, tuple[str, ...]]] = []
    line = 1
    try:
        names = _trimmed(next(reader, []), width=0)
        line = reader.line_num + 1
        for cells in reader:
            if any(cell.strip() for cell in cells):
                rows.append((f"line {line}", _trimmed(cells, width=len(names))))
            line = reader.line_num + 1
    except csv.Error as error:
        raise _no_table(path, reason=f"from line {line} on it is not CSV: {error}") from error
    return Table(names=names, rows=tuple(rows))


def _read_parquet(content: bytes, path: Path) -> Table:
    try:
        table = pq.ParquetFile(io.BytesIO(content)).read()
        columns = [[_cell(value) for value in column.to_pylist()] for column in table.columns]
    except (pa.ArrowException, OSError) as error:
        raise _no_table(path, reason=f"damaged Parquet: {error}") from error
    rows = zip(*columns, strict=True)
    return Table(
        names=tuple(str(name) for name in table.column_names),
        rows=tuple((f"row {number}", cells) for number, cells in enumerate(rows, start=1)),
    )


def _trimmed(cells: Sequence[str], *, width: int) -> tuple[str, ...]:
    """The cells without the empty ones that spreadsheets leave behind the last column."""
    end = len(cells)
    while end > width and not cells[end - 1].strip():
        end -= 1
    return tuple(cells[:end])


def _cell(value: object) -> str:
    """A Parquet value as CSV would hold it; null and NaN are empty cells."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return value if isinstance(value, str) else str(value)


def _no_table(path: Path, *, reason: str) -> ManifestError:
    return ManifestError(
        f"'{path}' cannot be read as a manifest: {reason}. Give a UTF-8 CSV with a header, or Parquet."
    )
