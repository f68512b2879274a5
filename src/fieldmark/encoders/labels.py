"""Lists of a classifier's classes: the names of each class, in the order of its scores."""

import csv
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from fieldmark.errors import EncoderFilesError
from fieldmark.names import is_species_name

_KEY = "labels"
_SCIENTIFIC = ("scientific_name", "sci_name", "scientific", "binomial", "latin_name", "species")
_COMMON = ("common_name", "com_name", "common", "vernacular_name", "english_name")
_PLAIN = ("name", "label", "class_name", "class", "title")
_NUMBER = ("id", "idx", "index", "class_id", "label_id", "number")
_HEADER_NAMES = frozenset((*_SCIENTIFIC, *_COMMON, *_PLAIN, *_NUMBER))
_NUMBERED_LINE = re.compile(r"\s*(\d+)\s*[,;\t]\s*(.*)")
_TWO_NAMES = re.compile(r"(.*?)(?:\s*\((.*)\))?\s*")
_BIRDNET_LINE = re.compile(r"([A-Z][a-z]+ [a-z-]+(?: [a-z-]+)?)_(.+)")

ClassNames = tuple[tuple[str, ...], ...]
"""The names of each class, in the order of the classifier's scores; none for a class that is listed without one."""


def read_labels(path: Path, *, count: int | None = None) -> ClassNames:
    """Read the names of a classifier's classes, in the order of its scores.

    Read are text files with a class on each line (a name, `Scientific name (Common name)`, `Scientific name_Common
    name` or `number,name`), tables with a header (`scientific_name`, `common_name`, `name` and the like, separated by
    commas, semicolons or tabs), and JSON (a list, or `id2label` as configurations of `transformers` have it).

    Args:
        count: Number of the classifier's scores; None where it is not known.

    Raises:
        EncoderFilesError: The file cannot be read, or names another number of classes.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise EncoderFilesError(name=str(path), reason=f"it cannot be read: {error}", key=_KEY) from error
    names = _read_json(path, text) if path.suffix == ".json" else _read_lines(text, count=count)
    if not names or (count is not None and len(names) != count):
        wanted = "names of classes are needed" if count is None else f"the classifier has {count:,}"
        reason = f"it names {len(names):,} classes, but {wanted}"
        raise EncoderFilesError(name=str(path), reason=reason, key=_KEY)
    return names


def index_names(names: Iterable[Sequence[str]], *, start: int) -> dict[str, int]:
    """Return the index of each class's score by each of its names; labels that are no species are left out.

    Args:
        start: Index of the first class; a name that several classes have is the first one's.
    """
    indices: dict[str, int] = {}
    for index, own in enumerate(names, start=start):
        for name in own:
            if is_species_name(name):
                indices.setdefault(name, index)
    return indices


def split_label(label: str) -> tuple[str, ...]:
    """Return the names in one label.

    Example:
        >>> split_label("Cyanocitta cristata (Blue Jay)"), split_label("Cyanocitta cristata_Blue Jay")
        (('Cyanocitta cristata', 'Blue Jay'), ('Cyanocitta cristata', 'Blue Jay'))
    """
    match = _BIRDNET_LINE.fullmatch(label.strip()) or _TWO_NAMES.fullmatch(label.strip())
    names = match.groups() if match is not None else (label,)
    return tuple(dict.fromkeys(name.strip() for name in names if name and name.strip()))


def order_labels(id2label: Mapping[str, object]) -> ClassNames:
    """Return the names of classes that are numbered from 0.

    Raises:
        ValueError: A number is missing, or a label is no text.
    """
    labels = {int(number): label for number, label in id2label.items()}
    if sorted(labels) != list(range(len(labels))):
        raise ValueError("its classes are not numbered from 0 without a gap")
    ordered = [labels[number] for number in range(len(labels))]
    if not all(isinstance(label, str) for label in ordered):
        raise ValueError("its labels are no texts")
    return tuple(split_label(str(label)) for label in ordered)


def find_name_columns(header: Sequence[str]) -> list[int]:
    """Return the columns of a table that hold names, by its header in lower case, scientific ones first."""
    columns = [header.index(name) for group in (_SCIENTIFIC, _COMMON) for name in group if name in header]
    return columns or [header.index(name) for name in _PLAIN if name in header][:1]


def _read_json(path: Path, text: str) -> ClassNames:
    try:
        values = json.loads(text)
        if isinstance(values, list) and all(isinstance(label, str) for label in values):
            return tuple(map(split_label, values))
        if isinstance(values, dict):
            if "label2id" in values and "id2label" not in values:
                return order_labels({str(number): label for label, number in values["label2id"].items()})
            return order_labels(values.get("id2label", values))
    except (ValueError, TypeError, AttributeError) as error:
        raise EncoderFilesError(name=str(path), reason=f"it is no list of labels: {error}", key=_KEY) from error
    reason = 'it is no list of labels; give ["a", "b"] or {"id2label": {"0": "a", "1": "b"}}'
    raise EncoderFilesError(name=str(path), reason=reason, key=_KEY)


def _read_lines(text: str, *, count: int | None) -> ClassNames:
    lines = text.rstrip().splitlines()
    if not lines:
        return ()
    if (delimiter := _find_header(lines[0])) is not None:
        return _read_table(lines, delimiter=delimiter)
    if len(lines) - 1 == count:  # a header that names its only column by something else, as Perch 2 has it
        lines = lines[1:]
    numbered = [_NUMBERED_LINE.fullmatch(line) for line in lines]
    if all(numbered):
        lines = [match[2] for match in numbered if match is not None]
    return tuple(map(split_label, lines))


def _find_header(line: str) -> str | None:
    """Return what separates the columns of a header line; None if the line is no header."""
    for delimiter in ",;\t":
        cells = [cell.strip().strip('"').lower().replace(" ", "_") for cell in line.split(delimiter)]
        if _HEADER_NAMES.issuperset(cells[:1]) or (len(cells) > 1 and not _HEADER_NAMES.isdisjoint(cells)):
            return delimiter
    return None


def _read_table(lines: Sequence[str], *, delimiter: str) -> ClassNames:
    rows = csv.reader(lines, delimiter=delimiter)
    header = [cell.strip().lower().replace(" ", "_") for cell in next(rows)]
    columns = find_name_columns(header)
    names = []
    for row in rows:
        cells = [row[column].strip() for column in columns if column < len(row)]
        own = cells if len(columns) > 1 else [name for cell in cells for name in split_label(cell)]
        names.append(tuple(dict.fromkeys(name for name in own if name)))
    return tuple(names)
