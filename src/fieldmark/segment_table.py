"""Embeddings as the rows of a table, and back."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float, Float32, Int

from fieldmark.types import Embeddings, Item, Medium, Split

LENGTH_TOLERANCE = 1e-3
"""How far the length of a row may be from 1, as half precision needs; beyond it, the row is no embedding."""


def segment_schema(*, dim: int) -> pa.Schema:
    """The columns of a segment: its place in its item, the facts of the item, its times and its vector."""
    text, seconds = pa.string(), pa.float64()
    return pa.schema(
        [
            pa.field("item_id", text, nullable=False),
            pa.field("segment", pa.int32(), nullable=False),
            pa.field("start_seconds", seconds),
            pa.field("end_seconds", seconds),
            pa.field("medium", text, nullable=False),
            pa.field("class_name", text),
            pa.field("path", text),
            pa.field("text", text),
            pa.field("split", text),
            pa.field("group", text),
            pa.field("item_start_seconds", seconds),
            pa.field("item_end_seconds", seconds),
            pa.field("source", text),
            pa.field("license", text),
            pa.field("caption_of", text),
            pa.field("extra", text),
            pa.field("set_name", text),
            pa.field("content_hash", text, nullable=False),
            pa.field("vector", pa.list_(pa.float32(), dim), nullable=False),
        ]
    )


def rows_from_embeddings(
    embeddings: Embeddings, *, content_hash_by_item_id: Mapping[str, str], set_name: str | None = None
) -> pa.Table:
    """One row for each segment."""
    items = embeddings.items
    dim = embeddings.embedding.shape[1]
    columns = {
        "item_id": [item.item_id for item in items],
        "segment": places(items),
        "start_seconds": pa.array(embeddings.start_seconds, from_pandas=True),
        "end_seconds": pa.array(embeddings.end_seconds, from_pandas=True),
        "medium": [item.medium.value for item in items],
        "class_name": [item.class_name for item in items],
        "path": [None if item.path is None else str(item.path) for item in items],
        "text": [item.text for item in items],
        "split": [None if item.split is None else item.split.value for item in items],
        "group": [item.group for item in items],
        "item_start_seconds": [item.start_seconds for item in items],
        "item_end_seconds": [item.end_seconds for item in items],
        "source": [item.source for item in items],
        "license": [item.license for item in items],
        "caption_of": [item.caption_of for item in items],
        "extra": [json.dumps(item.extra) if item.extra else None for item in items],
        "set_name": pa.array([set_name] * len(items), pa.string()),
        "content_hash": [content_hash_by_item_id[item.item_id] for item in items],
        "vector": pa.FixedSizeListArray.from_arrays(pa.array(embeddings.embedding.ravel()), dim),
    }
    return pa.table(columns, schema=segment_schema(dim=dim))


def embeddings_from_rows(rows: pa.Table, *, dim: int) -> Embeddings:
    """The embeddings of the items whose rows these are, ordered by item id and by place in the item."""
    facts = rows.drop_columns(["vector"])
    order = pc.sort_indices(facts, sort_keys=[("item_id", "ascending"), ("segment", "ascending")])
    facts = facts.take(order)
    item_of_row: list[Item] = []
    for fact in facts.to_pylist():
        is_next = not item_of_row or item_of_row[-1].item_id != fact["item_id"]
        item_of_row.append(item_from_fact(fact) if is_next else item_of_row[-1])
    return Embeddings(
        items=tuple(item_of_row),
        start_seconds=facts["start_seconds"].to_numpy(),
        end_seconds=facts["end_seconds"].to_numpy(),
        embedding=ordered_matrix(rows["vector"], order=order.to_numpy().astype(np.int64), dim=dim),
    )


def item_from_fact(fact: Mapping[str, Any]) -> Item:
    """The item that a row tells of."""
    return Item(
        item_id=fact["item_id"],
        medium=Medium(fact["medium"]),
        path=None if fact["path"] is None else Path(fact["path"]),
        text=fact["text"],
        class_name=fact["class_name"],
        split=None if fact["split"] is None else Split(fact["split"]),
        group=fact["group"],
        start_seconds=fact["item_start_seconds"],
        end_seconds=fact["item_end_seconds"],
        source=fact["source"],
        license=fact["license"],
        caption_of=fact["caption_of"],
        extra=tuple((column, value) for column, value in json.loads(fact["extra"] or "[]")),
    )


def matrix_of(vectors: pa.ChunkedArray, *, dim: int) -> Float32[np.ndarray, "row dim"]:
    """A column of vectors as one matrix."""
    return ordered_matrix(vectors, order=np.arange(len(vectors)), dim=dim)


def ordered_matrix(
    vectors: pa.ChunkedArray, *, order: Int[np.ndarray, " row"], dim: int
) -> Float32[np.ndarray, "row dim"]:
    """A column of vectors as one matrix whose row i is vector `order[i]`; only the matrix itself is allocated."""
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    matrix = np.empty((len(order), dim), dtype=np.float32)
    start = 0
    for chunk in vectors.chunks:
        stop = start + len(chunk)
        matrix[place[start:stop]] = chunk.flatten().to_numpy().reshape(-1, dim)
        start = stop
    return matrix


def length_errors(embedding: Float[np.ndarray, "row dim"]) -> Float[np.ndarray, " row"]:
    """How far the length of each row is from 1; infinite for a row that is not finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        error: Float[np.ndarray, " row"] = np.abs(np.sqrt(np.einsum("rd,rd->r", embedding, embedding)) - 1)
    return np.where(np.isnan(error), np.inf, error)


def places(items: tuple[Item, ...]) -> list[int]:
    """Each row's place in its item, counted from 0."""
    next_place: dict[str, int] = {}
    found = []
    for item in items:
        place = next_place.get(item.item_id, 0)
        next_place[item.item_id] = place + 1
        found.append(place)
    return found
