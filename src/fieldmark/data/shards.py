"""Embeddings on disk: Parquet shards, each written whole or not at all, and one file that tells what they are."""

import json
import platform
import re
import secrets
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, BinaryIO, final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float32
from pydantic import JsonValue, TypeAdapter, ValidationError

from fieldmark.errors import EmbeddingsError
from fieldmark.io import replacing
from fieldmark.types import MEDIA, Embeddings, Failure, Item, Medium, Split

FORMAT_VERSION = 1
"""Of the folder's layout; another one is refused."""

INFO_NAME = "embeddings.json"
"""Written last: a folder without it is not complete."""

NO_SPLIT = "none"
"""Under which the counts list items without a split."""

ROWS_PER_SHARD = 1024
"""Rows gathered before they are written; what a crash may cost."""

_SHARD_NAME = re.compile(r"shard-(\d{6})-[\w-]+\.parquet")


@dataclass(frozen=True, slots=True)
class EmbeddingsInfo:
    """What `embeddings.json` tells about a folder.

    Args:
        fingerprint: Of the model that made the embeddings.
        class_names: What the logits score, in their order; empty where there are none.
        counts: Items by medium and split.
        row_counts: Rows of each shard, by file name; only these shards belong to the folder.
        failures: Items that could not be embedded.
        straddling_groups: Groups of the embedded items that also stand in train.
        versions: Of Python and the libraries.
        facts: What the caller adds: the checkpoint, the manifest, anything a receipt wants.
    """

    format_version: int
    fingerprint: str
    dim: int
    class_names: tuple[str, ...]
    counts: Mapping[str, Mapping[str, int]]
    row_counts: Mapping[str, int]
    failures: tuple[Failure, ...] = ()
    straddling_groups: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, JsonValue] = field(default_factory=dict)

    @property
    def item_count(self) -> int:
        """Number of items, over all media and splits."""
        return sum(sum(by_split.values()) for by_split in self.counts.values())


_INFO = TypeAdapter(EmbeddingsInfo)


@final
class EmbeddingsWriter:
    """Adds embeddings to a folder, shard by shard; a folder begun before is gone on with.

    What was flushed stays, whatever happens to the process. An item added again replaces what was there of it.
    Several writers may fill one folder, each under its own name; `finish` then comes after all have flushed.

    Args:
        fingerprint: Of the model that makes the embeddings.
        name: Of this writer, in letters, digits and `-`.

    Raises:
        EmbeddingsError: The folder cannot be made, or holds embeddings of another model or a damaged shard.

    Example:
        >>> writer = EmbeddingsWriter(folder, fingerprint=fingerprint)  # doctest: +SKIP
        >>> writer.add(embeddings, content_hash_by_item_id=hashes)  # doctest: +SKIP
        >>> info = writer.finish(class_names=class_names)  # doctest: +SKIP
    """

    def __init__(
        self, folder: Path, *, fingerprint: str, name: str = "0", rows_per_shard: int = ROWS_PER_SHARD
    ) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = f"the folder cannot be made ({error.strerror}); choose another --out"
            raise EmbeddingsError(path=folder, reason=reason) from error
        for partial in folder.glob(f".shard-*-{name}-*.partial"):
            partial.unlink(missing_ok=True)
        self._folder = folder
        self._fingerprint = fingerprint
        self._name = name
        self._rows_per_shard = rows_per_shard
        self._waiting: list[pa.Table] = []
        self._waiting_ids: set[str] = set()
        self._waiting_row_count = 0
        self._done: dict[str, tuple[Item, str]] = {}
        for path in _shards_in(folder):
            facts = _read_shard(path, fingerprint=fingerprint, columns=_FACT_COLUMNS)
            self._done.update({item.item_id: (item, content_hash) for item, content_hash in _items(facts)})

    @property
    def done_count(self) -> int:
        """Items on disk or waiting to be flushed."""
        return len(self._done)

    def is_done(self, item: Item, *, content_hash: str) -> bool:
        """Whether the item, with the same facts and the same content, needs no embedding any more."""
        return self._done.get(item.item_id) == (item, content_hash)

    def add(self, embeddings: Embeddings, *, content_hash_by_item_id: Mapping[str, str]) -> None:
        """Takes in whole items, and writes a shard when enough rows have gathered.

        Args:
            content_hash_by_item_id: What tells an item's content from a changed one; every item has one.

        Raises:
            EmbeddingsError: The shard could not be written.
        """
        if not embeddings.items:
            return
        if not self._waiting_ids.isdisjoint(item.item_id for item in embeddings.items):
            self.flush()
        self._waiting.append(_table(embeddings, content_hash_by_item_id, fingerprint=self._fingerprint))
        for item in embeddings.items:
            self._done[item.item_id] = (item, content_hash_by_item_id[item.item_id])
            self._waiting_ids.add(item.item_id)
        self._waiting_row_count += len(embeddings.items)
        if self._waiting_row_count >= self._rows_per_shard:
            self.flush()

    def flush(self) -> None:
        """Writes what is waiting; once this returns, it outlives the process.

        Raises:
            EmbeddingsError: The shard could not be written, or the rows differ in dimension.
        """
        if not self._waiting:
            return
        numbers = [int(path.name.split("-")[1]) for path in _shards_in(self._folder)]
        # The token keeps a second process that was given the same name from writing over this one's shards.
        name = f"shard-{max(numbers, default=-1) + 1:06d}-{self._name}-{secrets.token_hex(3)}.parquet"
        _write_shard(self._folder / name, _concatenate(self._waiting, folder=self._folder).combine_chunks())
        self._waiting.clear()
        self._waiting_ids.clear()
        self._waiting_row_count = 0

    def finish(
        self,
        *,
        item_ids: Collection[str] | None = None,
        class_names: Sequence[str] = (),
        failures: Iterable[Failure] = (),
        straddling_groups: Iterable[str] = (),
        facts: Mapping[str, JsonValue] | None = None,
    ) -> EmbeddingsInfo:
        """Flushes, drops what was replaced, and writes `embeddings.json`, from which on the folder is complete.

        Args:
            item_ids: The items that stay, so that one dropped from the manifest goes; None keeps all.
            class_names: What the logits score, in their order.
            failures: Items that could not be embedded.
            straddling_groups: Groups of the embedded items that also stand in train.
            facts: Plain values to keep beside: the checkpoint, the manifest, what a receipt wants.

        Raises:
            EmbeddingsError: There is no embedding at all, the class names do not fit the logits, or the disk fails.
        """
        self.flush()
        shards = _drop_replaced(self._folder, fingerprint=self._fingerprint, item_ids=item_ids)
        if not shards:
            raise EmbeddingsError(path=self._folder, reason="not one item was embedded; look at the failures")
        facts_only = _concatenate(list(shards.values()), folder=self._folder)
        dim, class_count = _widths(pq.read_schema(self._folder / next(iter(shards))))
        if class_count != len(class_names):
            raise EmbeddingsError(
                path=self._folder,
                reason=f"there are {class_count} logits for {len(class_names)} class names; give one name for each",
            )
        info = EmbeddingsInfo(
            format_version=FORMAT_VERSION,
            fingerprint=self._fingerprint,
            dim=dim,
            class_names=tuple(class_names),
            counts=_counts(item for item, _ in _items(facts_only)),
            row_counts={name: len(table) for name, table in shards.items()},
            failures=tuple(failures),
            straddling_groups=tuple(sorted(straddling_groups)),
            versions=_versions(),
            facts=facts or {},
        )
        content = _INFO.dump_json(info, indent=2) + b"\n"
        _write(self._folder / INFO_NAME, lambda file: file.write(content))
        return info


def read_info(folder: Path) -> EmbeddingsInfo:
    """What a complete folder tells of itself.

    Raises:
        EmbeddingsError: The folder is not there, not complete, damaged, or of another version.
    """
    path = folder / INFO_NAME
    if not path.is_file():
        met = f"it holds no '{INFO_NAME}', so it was not finished" if folder.is_dir() else "there is no such folder"
        raise EmbeddingsError(path=folder, reason=f"{met}; run `fieldmark embed` with --out '{folder}'")
    try:
        content = json.loads(path.read_bytes())
        found = content.get("format_version") if isinstance(content, dict) else None
        if isinstance(found, int) and found != FORMAT_VERSION:
            raise EmbeddingsError(
                path=folder,
                reason=f"it has format version {found}, and this fieldmark reads version {FORMAT_VERSION}; "
                "embed again into a new folder, or use the fieldmark that wrote it",
            )
        return _INFO.validate_python(content)
    except (json.JSONDecodeError, UnicodeDecodeError, ValidationError) as error:
        summary = str(error).splitlines()[0]
        raise EmbeddingsError(
            path=folder,
            reason=f"'{INFO_NAME}' is damaged ({summary}); delete that file and run `fieldmark embed` again",
        ) from error


def read_embeddings(folder: Path) -> tuple[Embeddings, EmbeddingsInfo]:
    """All embeddings of a complete folder, in the order of its shards, and what the folder tells of them.

    Raises:
        EmbeddingsError: The folder is not complete, a shard is missing or damaged, or a shard is of another model.
    """
    info = read_info(folder)
    tables = [_read_listed(folder / name, info, columns=None) for name in info.row_counts]
    table = _concatenate(tables, folder=folder)
    if _widths(table.schema) != (info.dim, len(info.class_names)):
        raise EmbeddingsError(path=folder, reason=f"its shards and '{INFO_NAME}' differ; {_AGAIN}")
    items: list[Item] = []
    for (item, _), row_count in zip(_items(table), np.diff(_first_rows(table), append=len(table)), strict=True):
        items.extend([item] * int(row_count))
    embeddings = Embeddings(
        items=tuple(items),
        start_seconds=table["start_seconds"].to_numpy(),
        end_seconds=table["end_seconds"].to_numpy(),
        embedding=_matrix(table, "embedding"),
        logits=_matrix(table, "logits") if info.class_names else None,
    )
    return embeddings, info


def read_content_hashes(folder: Path) -> dict[str, str]:
    """The content hash of each item of a complete folder, by item id.

    Raises:
        EmbeddingsError: The folder is not complete, a shard is missing or damaged, or a shard is of another model.
    """
    info = read_info(folder)
    hashes: dict[str, str] = {}
    for name in info.row_counts:
        table = _read_listed(folder / name, info, columns=["item_id", "content_hash"])
        hashes.update(zip(table["item_id"].to_pylist(), table["content_hash"].to_pylist(), strict=True))
    return hashes


# ---------------------------------------------------------------- shards as files

_AGAIN = "run `fieldmark embed` again"


def _shards_in(folder: Path) -> list[Path]:
    """Complete shards, oldest first."""
    return sorted(path for path in folder.glob("shard-*.parquet") if _SHARD_NAME.fullmatch(path.name))


def _read_shard(path: Path, *, fingerprint: str, columns: Sequence[str] | None) -> pa.Table:
    """Some columns of a shard, checked page by page; None for all."""
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            found = json.loads((file.schema_arrow.metadata or {}).get(_METADATA_KEY, b"{}"))
            table = file.read(columns=columns)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise EmbeddingsError(
            path=path.parent, reason=f"the shard '{path.name}' is damaged ({error}); delete that file and {_AGAIN}"
        ) from error
    if found != _metadata(fingerprint):
        raise EmbeddingsError(
            path=path.parent,
            reason=f"the shard '{path.name}' was written as {found}, not as {_metadata(fingerprint)}: "
            "by another model or version; choose another --out, or delete the folder",
        )
    return table


def _read_listed(path: Path, info: EmbeddingsInfo, *, columns: Sequence[str] | None) -> pa.Table:
    """Some columns of a shard that `embeddings.json` lists."""
    if not path.is_file():
        raise EmbeddingsError(path=path.parent, reason=f"the shard '{path.name}' is missing; {_AGAIN}")
    table = _read_shard(path, fingerprint=info.fingerprint, columns=columns)
    if len(table) != info.row_counts[path.name]:
        raise EmbeddingsError(
            path=path.parent,
            reason=f"the shard '{path.name}' has {len(table)} rows, not {info.row_counts[path.name]}; {_AGAIN}",
        )
    return table


def _drop_replaced(folder: Path, *, fingerprint: str, item_ids: Collection[str] | None) -> dict[str, pa.Table]:
    """Takes items out of all shards but the last they stand in, and those not wanted out of all.

    Gives the columns of facts that remain, by shard.
    """
    wanted = None if item_ids is None else set(item_ids)
    shards = {path: _read_shard(path, fingerprint=fingerprint, columns=_FACT_COLUMNS) for path in _shards_in(folder)}
    home = {
        item_id: path
        for path, table in shards.items()
        for item_id in table["item_id"].to_pylist()
        if wanted is None or item_id in wanted
    }
    remaining: dict[str, pa.Table] = {}
    for path, table in shards.items():
        is_home = pa.array([home.get(item_id) == path for item_id in table["item_id"].to_pylist()], pa.bool_())
        kept = table.filter(is_home)
        if len(kept) == 0:
            path.unlink()
            continue
        if len(kept) < len(table):
            _write_shard(path, _read_shard(path, fingerprint=fingerprint, columns=None).filter(is_home))
        remaining[path.name] = kept
    return remaining


def _write_shard(path: Path, table: pa.Table) -> None:
    # Unit vectors do not compress; the facts, repeated from row to row, do.
    _write(path, lambda file: pq.write_table(table, file, compression="zstd", write_page_checksum=True))


def _write(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Writes a file that is on disk, whole, or not there at all."""
    try:
        with replacing(path) as file:
            write(file)
    except OSError as error:
        raise EmbeddingsError(
            path=path.parent, reason=f"'{path.name}' could not be written ({error}); make room or mend the rights"
        ) from error


# ---------------------------------------------------------------- shards as tables

_METADATA_KEY = b"fieldmark"

_FACT_COLUMNS = [
    "item_id",
    "medium",
    "class_name",
    "split",
    "group",
    "path",
    "text",
    "item_start_seconds",
    "item_end_seconds",
    "source",
    "license",
    "caption_of",
    "extra",
    "content_hash",
]


def _metadata(fingerprint: str) -> dict[str, JsonValue]:
    return {"format_version": FORMAT_VERSION, "fingerprint": fingerprint}


def _table(embeddings: Embeddings, content_hash_by_item_id: Mapping[str, str], *, fingerprint: str) -> pa.Table:
    """One row for each segment: the facts of its item, its times, its vectors."""
    items, text, seconds = embeddings.items, pa.string(), pa.float64()
    columns = {
        "item_id": pa.array([item.item_id for item in items], text),
        "medium": pa.array([item.medium.value for item in items], text),
        "class_name": pa.array([item.class_name for item in items], text),
        "split": pa.array([None if item.split is None else item.split.value for item in items], text),
        "group": pa.array([item.group for item in items], text),
        "path": pa.array([None if item.path is None else str(item.path) for item in items], text),
        "text": pa.array([item.text for item in items], text),
        "item_start_seconds": pa.array([item.start_seconds for item in items], seconds),
        "item_end_seconds": pa.array([item.end_seconds for item in items], seconds),
        "source": pa.array([item.source for item in items], text),
        "license": pa.array([item.license for item in items], text),
        "caption_of": pa.array([item.caption_of for item in items], text),
        "extra": pa.array([json.dumps(item.extra) if item.extra else None for item in items], text),
        "content_hash": pa.array([content_hash_by_item_id[item.item_id] for item in items], text),
        "start_seconds": pa.array(embeddings.start_seconds, seconds, from_pandas=True),
        "end_seconds": pa.array(embeddings.end_seconds, seconds, from_pandas=True),
        "embedding": _list_column(embeddings.embedding),
    }
    if embeddings.logits is not None:
        columns["logits"] = _list_column(embeddings.logits)
    table = pa.table(columns)
    return table.replace_schema_metadata({_METADATA_KEY: json.dumps(_metadata(fingerprint))})


def _list_column(matrix: Float32[np.ndarray, "row dim"]) -> pa.Array:
    values = np.ascontiguousarray(matrix, dtype=np.float32)
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])


def _matrix(table: pa.Table, column: str) -> Float32[np.ndarray, "row dim"]:
    width = table.schema.field(column).type.list_size
    chunks = [chunk.flatten().to_numpy(zero_copy_only=False).reshape(-1, width) for chunk in table[column].chunks]
    matrix: Float32[np.ndarray, "row dim"] = np.concatenate(chunks)
    return matrix


def _concatenate(tables: Sequence[pa.Table], *, folder: Path) -> pa.Table:
    try:
        return pa.concat_tables(tables)
    except pa.ArrowInvalid as error:
        raise EmbeddingsError(
            path=folder, reason="its rows differ in dimension or in classes; embed with one model into a new folder"
        ) from error


def _widths(schema: pa.Schema) -> tuple[int, int]:
    """The dimension of the embedding, and the number of logits."""
    has_logits = "logits" in schema.names
    return schema.field("embedding").type.list_size, schema.field("logits").type.list_size if has_logits else 0


def _first_rows(table: pa.Table) -> np.ndarray:
    """The first row of each item."""
    item_id = table["item_id"].to_numpy()
    return np.flatnonzero(np.concatenate([[True], item_id[1:] != item_id[:-1]]))


def _items(table: pa.Table) -> list[tuple[Item, str]]:
    """The items of a table in their order, each with the hash of its content."""
    facts = table.select(_FACT_COLUMNS).take(_first_rows(table)).to_pylist()
    return [(_item(fact), fact["content_hash"]) for fact in facts]


def _item(fact: Mapping[str, Any]) -> Item:
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


def _counts(items: Iterable[Item]) -> dict[str, dict[str, int]]:
    """Items by medium and split; every medium is named."""
    counts: dict[str, dict[str, int]] = {medium.value: {} for medium in MEDIA}
    for item in items:
        split = item.split.value if item.split else NO_SPLIT
        counts[item.medium][split] = counts[item.medium].get(split, 0) + 1
    return counts


def _versions() -> dict[str, str]:
    """What the numbers may depend on."""
    versions = {"python": platform.python_version()}
    for package in ("fieldmark", "torch", "numpy", "pyarrow"):
        with suppress(PackageNotFoundError):
            versions[package] = version(package)
    return versions
