"""Embeddings as the rows of a table, and back."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Float

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
            pa.field("content_hash", text, nullable=False),
            pa.field("vector", pa.list_(pa.float32(), dim), nullable=False),
        ]
    )


def rows_from_embeddings(embeddings: Embeddings, *, content_hash_by_item_id: Mapping[str, str]) -> pa.Table:
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
        "content_hash": [content_hash_by_item_id[item.item_id] for item in items],
        "vector": pa.FixedSizeListArray.from_arrays(pa.array(embeddings.embedding.ravel()), dim),
    }
    return pa.table(columns, schema=segment_schema(dim=dim))


def embeddings_from_rows(rows: pa.Table, *, dim: int) -> Embeddings:
    """The embeddings of one item from all its rows."""
    rows = rows.sort_by("segment")
    fact = rows.drop_columns(["vector"]).slice(0, 1).to_pylist()[0]
    item = Item(
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
    return Embeddings(
        items=(item,) * len(rows),
        start_seconds=rows["start_seconds"].to_numpy(),
        end_seconds=rows["end_seconds"].to_numpy(),
        embedding=rows["vector"].combine_chunks().flatten().to_numpy().reshape(-1, dim),
    )


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
