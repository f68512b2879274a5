"""One Parquet shard of embeddings: written whole or not at all, and checked when it is read."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import JsonValue

from fieldmark.errors import EmbeddingsError
from fieldmark.io import open_replacement
from fieldmark.segment_table import FACT_COLUMNS, build_vector_column, collect_columns, read_items_from_table
from fieldmark.types import Embeddings, Item

FORMAT_VERSION = 1
"""Of the folder's layout; another one is refused."""

ITEM_COLUMNS = (*FACT_COLUMNS, "content_hash")
"""The columns that tell of the items, without times and vectors."""

_SHARD_NAME = re.compile(r"shard-(\d{6})-[\w-]+\.parquet")
_METADATA_KEY = b"fieldmark"


def list_shards(folder: Path) -> list[Path]:
    """Return the complete shards of a folder, oldest first."""
    return sorted(path for path in folder.glob("shard-*.parquet") if _SHARD_NAME.fullmatch(path.name))


def make_shard(embeddings: Embeddings, *, content_hash_by_item_id: Mapping[str, str], fingerprint: str) -> pa.Table:
    """Return one row for each segment: the facts of its item, its times, its vectors."""
    columns = collect_columns(embeddings, content_hash_by_item_id=content_hash_by_item_id)
    columns["embedding"] = build_vector_column(embeddings.embedding)
    if embeddings.logits is not None:
        columns["logits"] = build_vector_column(embeddings.logits)
    return pa.table(columns).replace_schema_metadata({_METADATA_KEY: json.dumps(_metadata(fingerprint))})


def read_shard(path: Path, *, fingerprint: str, columns: Sequence[str] | None = None) -> pa.Table:
    """Read some columns of a shard, those of them that it has, checked page by page; None for all.

    Raises:
        EmbeddingsError: The shard is damaged, or of another model or version.
    """
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            schema = file.schema_arrow
            found = json.loads((schema.metadata or {}).get(_METADATA_KEY, b"{}"))
            table = file.read(columns=None if columns is None else [name for name in columns if name in schema.names])
    except (pa.ArrowException, OSError, ValueError) as error:
        raise EmbeddingsError(
            path=path.parent,
            reason=f"the shard '{path.name}' is damaged ({error}); delete that file and run `fieldmark embed` again",
        ) from error
    if found != _metadata(fingerprint):
        raise EmbeddingsError(
            path=path.parent,
            reason=f"the shard '{path.name}' was written as {found}, not as {_metadata(fingerprint)}: "
            "by another model or version; choose another --out, or delete the folder",
        )
    return table


def write_shard(path: Path, table: pa.Table) -> None:
    """Write a shard, whole or not at all.

    Raises:
        EmbeddingsError: The disk is full, or the folder may not be written.
    """
    # Unit vectors do not compress; the facts, repeated from row to row, do.
    write_whole(path, lambda file: pq.write_table(table, file, compression="zstd", write_page_checksum=True))


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file of the folder, whole or not at all.

    Raises:
        EmbeddingsError: The disk is full, or the folder may not be written.
    """
    try:
        with open_replacement(path) as file:
            write(file)
    except OSError as error:
        raise EmbeddingsError(
            path=path.parent,
            reason=f"'{path.name}' could not be written ({error}); free disk space or correct the permissions",
        ) from error


def concatenate_shards(tables: Sequence[pa.Table], *, folder: Path) -> pa.Table:
    """Return the rows of several shards; a fact that an older shard lacks is null in its rows.

    Raises:
        EmbeddingsError: The rows differ in dimension or in classes.
    """
    if len({measure_widths(table.schema) for table in tables}) > 1:
        raise EmbeddingsError(
            path=folder, reason="its rows differ in dimension or in classes; embed with one model into a new folder"
        )
    return pa.concat_tables(tables, promote_options="default")


def measure_widths(schema: pa.Schema) -> tuple[int, int]:
    """Return the dimension of the embedding and the number of logits; 0 for a column that is not there."""
    dim, class_count = (
        schema.field(name).type.list_size if name in schema.names else 0 for name in ("embedding", "logits")
    )
    return dim, class_count


def map_items(table: pa.Table) -> dict[str, tuple[Item, str]]:
    """Return the items of a shard in their order, each with the hash of its content, by id."""
    rows = zip(read_items_from_table(table), table["content_hash"].to_pylist(), strict=True)
    return {item.item_id: (item, content_hash) for item, content_hash in rows}


def _metadata(fingerprint: str) -> dict[str, JsonValue]:
    return {"format_version": FORMAT_VERSION, "fingerprint": fingerprint}
