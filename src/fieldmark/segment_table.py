"""Items and embeddings as Arrow tables, and back: the one place that says how a fact of an item is stored."""

import json
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, fields
from enum import StrEnum
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, final, get_args, get_type_hints

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float, Float32, Int

from fieldmark.records.columns import SEARCH_COLUMNS
from fieldmark.types import Embeddings, Item

LENGTH_TOLERANCE = 1e-3
"""The most that the length of a row may differ from 1, as half precision needs; beyond it, it is no embedding."""


@dataclass(frozen=True, slots=True)
class Fact:
    """A field of `Item`, and how it is stored.

    Args:
        name: Of the field.
        kind: Its type, without None.
        column: Of the table; an item's own times are named apart from those of its segments.
        is_required: Every item has it.
        encode: Gives the stored value; never called with None.
        decode: Gives the fact back.
    """

    name: str
    kind: Any
    column: str
    arrow_type: pa.DataType
    is_required: bool
    default: object
    encode: Callable[[Any], object]
    decode: Callable[[Any], object]

    @property
    def field(self) -> pa.Field:
        """The column of a table."""
        return pa.field(self.column, self.arrow_type, nullable=not self.is_required)

    def collect(self, items: tuple[Item, ...]) -> pa.Array:
        """Return the stored values of some items."""
        values = (getattr(item, self.name) for item in items)
        return pa.array([None if each == self.default else self.encode(each) for each in values], self.arrow_type)


def _describe_fact(field: "Field[object]", hint: object) -> Fact:
    [kind] = [each for each in (get_args(hint) if isinstance(hint, UnionType) else (hint,)) if each is not NoneType]
    arrow_type, encode, decode = _storage_of(kind)
    is_required = field.default is MISSING
    return Fact(
        name=field.name,
        kind=kind,
        column=f"item_{field.name}" if field.name in ("start_seconds", "end_seconds") else field.name,
        arrow_type=arrow_type,
        is_required=is_required,
        default=None if is_required else field.default,
        encode=encode,
        decode=decode,
    )


def _storage_of(kind: object) -> tuple[pa.DataType, Callable[[Any], object], Callable[[Any], object]]:
    """The Arrow type of a type of fact, and the functions there and back."""
    if not isinstance(kind, type):  # the unknown columns: pairs of name and value
        return pa.string(), json.dumps, lambda text: tuple(map(tuple, json.loads(text)))
    if issubclass(kind, (StrEnum, Path)):
        return pa.string(), str, kind
    plain = {str: pa.string(), float: pa.float64(), int: pa.int64(), bool: pa.bool_()}
    return plain[kind], kind, kind


_HINTS = get_type_hints(Item)

FACTS = tuple(_describe_fact(field, _HINTS[field.name]) for field in fields(Item))
"""The facts of an item, in the order of its fields: tables, manifests, hits and exports derive from them."""

FACT_COLUMNS = tuple(fact.column for fact in FACTS)


def build_segment_schema(*, dim: int) -> pa.Schema:
    """Return the columns of a gallery's segments: index in the item, times, facts of the item, and vector."""
    return pa.schema(
        [
            pa.field("item_id", pa.string(), nullable=False),
            pa.field("segment", pa.int32(), nullable=False),
            pa.field("start_seconds", pa.float64()),
            pa.field("end_seconds", pa.float64()),
            *(fact.field for fact in FACTS if fact.name != "item_id"),
            *(column.field for column in SEARCH_COLUMNS),
            pa.field("set_name", pa.string()),
            pa.field("content_hash", pa.string(), nullable=False),
            pa.field("vector", pa.list_(pa.float32(), dim), nullable=False),
        ]
    )


def convert_to_table(
    embeddings: Embeddings, *, content_hash_by_item_id: Mapping[str, str], set_name: str | None = None
) -> pa.Table:
    """Return one row for each segment, as a gallery stores it."""
    dim = embeddings.embedding.shape[1]
    columns = {
        **collect_columns(embeddings, content_hash_by_item_id=content_hash_by_item_id),
        **{column.name: column.collect(embeddings.items) for column in SEARCH_COLUMNS},
        "segment": _number_segments(embeddings.items),
        "set_name": pa.array([set_name] * len(embeddings.items), pa.string()),
        "vector": build_vector_column(embeddings.embedding),
    }
    return pa.table(columns, schema=build_segment_schema(dim=dim))


def convert_facts_to_table(items: tuple[Item, ...], *, content_hash_by_item_id: Mapping[str, str]) -> pa.Table:
    """Return one row for each item, with its facts and what is derived from them, but no segments."""
    columns = {fact.column: fact.collect(items) for fact in FACTS}
    columns |= {column.name: column.collect(items) for column in SEARCH_COLUMNS}
    hashes = [content_hash_by_item_id[item.item_id] for item in items]
    return pa.table({**columns, "content_hash": pa.array(hashes, pa.string())})


def collect_columns(embeddings: Embeddings, *, content_hash_by_item_id: Mapping[str, str]) -> dict[str, pa.Array]:
    """Return the facts, the content hash and the times of each row: what every table of segments has."""
    items, seconds = embeddings.items, pa.float64()
    return {
        **{fact.column: fact.collect(items) for fact in FACTS},
        "content_hash": pa.array([content_hash_by_item_id[item.item_id] for item in items], pa.string()),
        "start_seconds": pa.array(embeddings.start_seconds, seconds, from_pandas=True),
        "end_seconds": pa.array(embeddings.end_seconds, seconds, from_pandas=True),
    }


def read_embeddings_from_table(rows: pa.Table, *, dim: int) -> Embeddings:
    """Return the embeddings of the rows of a gallery, ordered by item id and by segment."""
    facts = rows.drop_columns(["vector"])
    order = pc.sort_indices(facts, sort_keys=[("item_id", "ascending"), ("segment", "ascending")])
    facts = facts.take(order)
    return Embeddings(
        items=tuple(read_items_from_table(facts)),
        start_seconds=facts["start_seconds"].to_numpy(),
        end_seconds=facts["end_seconds"].to_numpy(),
        embedding=read_ordered_matrix(rows["vector"], order=order.to_numpy().astype(np.int64), dim=dim),
    )


def read_items_from_table(rows: pa.Table) -> list[Item]:
    """Return the item of each row; rows of one item share the object, equal values of a fact share theirs.

    A table written before a fact was known lacks its column; the fact then has its default.
    """
    if len(rows) == 0:
        return []
    codes = rows["item_id"].combine_chunks().dictionary_encode().indices.to_numpy()
    _, first_rows = np.unique(codes, return_index=True)
    first = rows.take(first_rows)
    items = list(map(Item, *(_read_column(first, fact, decode=fact.decode) for fact in FACTS)))
    return [items[code] for code in codes.tolist()]


@final
class LazyItems:
    """The items of a table with one row for each, made when they are first asked for.

    Making all at once takes most of the time in which a gallery is loaded, and searches find few of them.
    """

    def __init__(self, rows: pa.Table) -> None:
        self._columns = [_read_column(rows, fact, decode=None) for fact in FACTS]
        self._made: dict[int, Item] = {}

    def __getitem__(self, index: int) -> Item:
        """Return one item, the same object each time."""
        item = self._made.get(index)
        if item is None:
            stored = [column[index] for column in self._columns]
            values: tuple[Any, ...] = tuple(
                fact.default if value is None else fact.decode(value) for fact, value in zip(FACTS, stored, strict=True)
            )
            item = self._made[index] = Item(*values)
        return item


def _read_column(rows: pa.Table, fact: Fact, *, decode: Callable[[Any], object] | None) -> list[Any]:
    """Return a fact of all rows, None where it is missing unless decoded: a table may be older than the fact."""
    default = None if decode is None else fact.default
    if fact.column not in rows.schema.names:
        return [default] * len(rows)
    return convert_to_python(rows[fact.column], decode=decode, default=default)


_SHORT_COLUMN = 8
"""A column of so few values is converted sooner one by one."""


def convert_to_python(
    column: pa.ChunkedArray, *, decode: Callable[[Any], object] | None = None, default: object = None
) -> list[Any]:
    """Return the values of a column; nulls are the default, and equal values of a long column are one object."""
    if len(column) <= _SHORT_COLUMN:
        return [default if value is None else decode(value) if decode else value for value in column.to_pylist()]
    coded = column.combine_chunks().dictionary_encode()
    values = coded.dictionary.to_pylist()
    values = [*(values if decode is None else map(decode, values)), default]
    return [values[code] for code in coded.indices.fill_null(-1).to_pylist()]


def build_vector_column(matrix: Float32[np.ndarray, "row dim"]) -> pa.Array:
    """Return the rows of a matrix as a column of vectors."""
    values = np.ascontiguousarray(matrix, dtype=np.float32)
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])


def read_matrix(vectors: pa.ChunkedArray, *, dim: int) -> Float32[np.ndarray, "row dim"]:
    """Return a column of vectors as one matrix."""
    return read_ordered_matrix(vectors, order=np.arange(len(vectors)), dim=dim)


def read_ordered_matrix(
    vectors: pa.ChunkedArray, *, order: Int[np.ndarray, " row"], dim: int
) -> Float32[np.ndarray, "row dim"]:
    """Return a column of vectors as one matrix whose row i is vector `order[i]`; only the matrix is allocated."""
    row_of_vector = np.empty_like(order)
    row_of_vector[order] = np.arange(len(order))
    matrix = np.empty((len(order), dim), dtype=np.float32)
    start = 0
    for chunk in vectors.chunks:
        stop = start + len(chunk)
        matrix[row_of_vector[start:stop]] = chunk.flatten().to_numpy().reshape(-1, dim)
        start = stop
    return matrix


def measure_length_errors(embedding: Float[np.ndarray, "row dim"]) -> Float[np.ndarray, " row"]:
    """Return how far the length of each row is from 1; infinite for a row that is not finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        error: Float[np.ndarray, " row"] = np.abs(np.sqrt(np.einsum("rd,rd->r", embedding, embedding)) - 1)
    return np.where(np.isnan(error), np.inf, error)


def _number_segments(items: tuple[Item, ...]) -> list[int]:
    """The index of each row in its item, from 0."""
    next_index: dict[str, int] = {}
    found = []
    for item in items:
        index = next_index.get(item.item_id, 0)
        next_index[item.item_id] = index + 1
        found.append(index)
    return found
