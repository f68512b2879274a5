"""Segments as rows of Milvus, and back: the columns that filters look at, and all facts of an item as one JSON text."""

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from datetime import date

import numpy as np
import pyarrow as pa
from jaxtyping import Float32

from fieldmark.errors import GalleryError
from fieldmark.gallery.facts import FACT_CONDITION_COLUMNS
from fieldmark.gallery.milvus.connection import MOST_TEXTS, Row
from fieldmark.records.columns import SEARCH_COLUMNS
from fieldmark.segment_table import build_segment_schema, build_vector_column, read_items_from_table, read_matrix

_PLAIN = frozenset(range(0x20, 0x7F)) - frozenset(b" !\"&'[\\~")
"""Bytes that stand for themselves in a key; see `write_key`."""
_LONGEST_KEY = 60_000
_LONGEST_VALUE = 2_000
_PIECE = 60_000
"""Characters of each piece of an item's facts."""

UNKNOWN_DAY, UNKNOWN_DEGREES = 0, 999.0
"""For what an item lacks: no condition is ever met by them."""

TOMBSTONE = -1
"""The number of a segment that an item has no more: it comes with the write that replaces the item, and goes then."""

FACT_COLUMNS = ("pk", "segment", "segment_count", "facts")
"""The columns that items are read from."""

_SEARCH_NAMES = tuple(column.name for column in SEARCH_COLUMNS)
_STORED = pa.schema(
    field for field in build_segment_schema(dim=1) if field.name != "vector" and field.name not in _SEARCH_NAMES
)


def describe_columns(*, dim: int) -> dict[str, str | int]:
    """Return the columns of a collection of segments; the first is the key."""
    return {
        "pk": "text",
        "item": "text",
        "segment": "int",
        "segment_count": "int",
        "content_hash": "text",
        **dict.fromkeys(("medium", "class_name", "set_name", "item_group", "license_form"), "text"),
        **dict.fromkeys(("country", "months"), "text"),
        **dict.fromkeys(("first_day", "last_day"), "int"),
        **dict.fromkeys(("degrees_north", "degrees_east"), "float"),
        **dict.fromkeys(("observers", "keys", "known", "facts"), "texts"),
        "vector": dim,
    }


# ---------------------------------------------------------------- texts


def write_key(item_id: str) -> str:
    """Return an item id in letters that no expression can take for anything else, in the same order as ids.

    A byte that does not stand for itself is written as two digits behind a letter that sorts as the byte does: `!` up
    to the quotation mark, `&` for itself and the apostrophe, `[` for itself and the backslash, `~` for all above.

    Raises:
        GalleryError: The id is too long.

    Example:
        >>> write_key("it's"), write_key("\u00e9")
        ('it&27s', '~c3~a9')
    """
    written = []
    for byte in item_id.encode("utf-8", "surrogatepass"):
        if byte in _PLAIN:
            written.append(chr(byte))
        else:
            escape = "!" if byte <= 0x22 else "&" if byte <= 0x27 else "[" if byte <= 0x5C else "~"
            written.append(f"{escape}{byte:02x}")
    key = "".join(written)
    if len(key) > _LONGEST_KEY:
        raise GalleryError(
            f"The id '{item_id[:60]}...' has {len(key):,} bytes as Milvus stores it; allowed are {_LONGEST_KEY:,}. "
            "Give the item a shorter id.",
            kind="item_id_length",
        )
    return key


def read_key(key: str) -> str:
    """Return the item id of a key, or of a row's key."""
    letters = key.partition(" ")[0].encode()
    plain = re.sub(rb"[!&\[~]([0-9a-f]{2})", lambda found: bytes([int(found[1], 16)]), letters)
    return plain.decode("utf-8", "surrogatepass")


def write_value(value: str | None) -> str:
    """Return a value of a column that is only compared for equality; "" for none, the hash of a very long one."""
    if value is None:
        return ""
    if len(value) > _LONGEST_VALUE:
        return f"#{hashlib.sha256(value.encode('utf-8', 'surrogatepass')).hexdigest()}"
    return f"={write_key(value)}"


def write_segment_key(key: str, segment: int) -> str:
    """Return the key of a row: the space sorts before every letter of a key, so that segments follow their item."""
    return f"{key} {segment:08x}"


def write_day(day: date) -> int:
    """Return a day as a number from 1."""
    return day.toordinal()


# ---------------------------------------------------------------- to rows


def encode_rows(table: pa.Table, *, vectors: Float32[np.ndarray, "row dim"] | None = None) -> list[Row]:
    """Return the rows of a table of whole items, as `convert_to_table` makes it.

    Args:
        vectors: Of each row; None for those of the table.

    Raises:
        GalleryError: An item has more facts than a row may hold.
    """
    if vectors is None:
        vectors = read_matrix(table["vector"], dim=table.schema.field("vector").type.list_size)
    counts: dict[str, int] = {}
    item_ids = table["item_id"].to_pylist()
    for item_id in item_ids:
        counts[item_id] = counts.get(item_id, 0) + 1
    facts = table.select(_STORED.names).to_pylist()
    derived = _derive(table)
    return [
        _encode_row(stored, found, segment_count=counts[item_id], vector=vector)
        for item_id, stored, found, vector in zip(item_ids, facts, derived, vectors, strict=True)
    ]


def _derive(table: pa.Table) -> list[Row]:
    """Return what filters look at of each row; made anew where the table is older than a column."""
    missing = [column for column in SEARCH_COLUMNS if column.name not in table.schema.names]
    if missing:
        items = tuple(read_items_from_table(table))
        for column in missing:
            table = table.append_column(column.field, column.collect(items))
    names = sorted({*_SEARCH_NAMES, *(FACT_CONDITION_COLUMNS & set(table.schema.names)), "group", "class_name"})
    return list(table.select(names).to_pylist())


def _encode_row(facts: Row, derived: Row, *, segment_count: int, vector: Float32[np.ndarray, " dim"]) -> Row:
    key = write_key(facts["item_id"])
    text = json.dumps({name: value for name, value in facts.items() if value is not None}, separators=(",", ":"))
    pieces = [text[start : start + _PIECE] for start in range(0, len(text), _PIECE)]
    if len(pieces) > MOST_TEXTS:
        raise GalleryError(
            f"The facts of the item '{facts['item_id'][:200]}' take {len(text):,} bytes; allowed are "
            f"{_PIECE * MOST_TEXTS:,}. Cut its text.",
            kind="facts_length",
        )
    first, last = derived["first_day"], derived["last_day"]
    north, east = derived["degrees_north"], derived["degrees_east"]
    return {
        "pk": write_segment_key(key, facts["segment"]),
        "item": key,
        "segment": facts["segment"],
        "segment_count": segment_count,
        "content_hash": facts["content_hash"],
        "medium": write_value(facts["medium"]),
        "class_name": write_value(facts["class_name"]),
        "set_name": write_value(facts["set_name"]),
        "item_group": write_value(facts["group"]),
        "license_form": write_value(derived["license_form"]),
        "country": write_value(derived["country"]),
        "months": write_value(derived["months"]),
        "first_day": UNKNOWN_DAY if first is None else write_day(first),
        "last_day": UNKNOWN_DAY if last is None else write_day(last),
        "degrees_north": UNKNOWN_DEGREES if north is None else north,
        "degrees_east": UNKNOWN_DEGREES if east is None else east,
        "observers": _write_values(derived["observers"]),
        "keys": _write_values(derived["keys"]),
        "known": [name for name in sorted(FACT_CONDITION_COLUMNS) if derived.get(name) is not None],
        "facts": pieces,
        "vector": vector,
    }


def _write_values(values: Sequence[str] | None) -> list[str]:
    return [write_value(value) for value in (values or ())[:MOST_TEXTS]]


def make_tombstone(row: Row, *, segment: int) -> Row:
    """Return the row that takes the place of a segment that a replaced item has no more.

    Args:
        row: Another row of the item.
    """
    return {**row, "pk": write_segment_key(row["item"], segment), "segment": TOMBSTONE, "facts": ["{}"]}


def measure_bytes(row: Row) -> int:
    """Return about how many bytes a row takes in a request."""
    texts = sum(len(value) for value in row.values() if isinstance(value, str))
    return texts + sum(map(len, (*row["facts"], *row["keys"], *row["observers"]))) + 4 * len(row["vector"]) + 400


# ---------------------------------------------------------------- from rows


def decode_rows(rows: Iterable[Row]) -> pa.Table:
    """Return rows as the table that other stores give: facts, times, set and content hash; and vectors where read."""
    kept = [row for row in rows if row["segment"] != TOMBSTONE]
    found = [json.loads("".join(row["facts"])) for row in kept]
    table = pa.Table.from_pylist(found, schema=_STORED)
    if kept and "vector" in kept[0]:
        matrix = np.array([row["vector"] for row in kept], dtype=np.float32)
        table = table.append_column("vector", build_vector_column(matrix))
    return table


def find_missing_columns(table: pa.Table) -> pa.Table:
    """Return a table of decoded rows with the columns that conditions on records look at."""
    items = tuple(read_items_from_table(table))
    for column in SEARCH_COLUMNS:
        table = table.append_column(column.field, column.collect(items))
    return table
