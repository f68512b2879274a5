"""A folder of embeddings: Parquet files named by their content, and, written last, `embeddings.json` about them."""

import hashlib
import io
import json
import platform
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import final

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import JsonValue, TypeAdapter, ValidationError

from fieldmark.errors import EmbeddingsError, list_first
from fieldmark.io import write_shared_bytes
from fieldmark.leakage import Leak
from fieldmark.segment_table import (
    FACT_COLUMNS,
    build_vector_column,
    collect_columns,
    read_items_from_table,
    read_matrix,
)
from fieldmark.types import MEDIA, Embeddings, Failure, Item

# ---------------------------------------------------------------- one shard

_FORMAT_VERSION = 1
"""Of the folder's layout; another one is refused."""

_ITEM_COLUMNS = (*FACT_COLUMNS, "content_hash")
"""The columns that tell of the items, without times and vectors."""

_SHARD_NAME = re.compile(r"shard-(\d{6})-([\w-]+)-[0-9a-f]+\.parquet")
_METADATA_KEY = b"fieldmark"
_DIGEST_LENGTH = 16
"""Hex digits of the SHA-256 of a file's bytes in its name."""


def _list_shards(folder: Path) -> list[Path]:
    """Return the complete shards of a folder, oldest first."""
    return sorted(path for path in folder.glob("shard-*.parquet") if _SHARD_NAME.fullmatch(path.name))


def _make_shard(embeddings: Embeddings, *, content_hash_by_item_id: Mapping[str, str], fingerprint: str) -> pa.Table:
    """Return one row for each segment: the facts of its item, its times, its vectors."""
    columns = collect_columns(embeddings, content_hash_by_item_id=content_hash_by_item_id)
    columns["embedding"] = build_vector_column(embeddings.embedding)
    if embeddings.logits is not None and embeddings.logits.shape[1]:
        columns["logits"] = build_vector_column(embeddings.logits)
    return pa.table(columns).replace_schema_metadata({_METADATA_KEY: json.dumps(_metadata(fingerprint))})


def _read_shard(path: Path, *, fingerprint: str, columns: Sequence[str] | None = None) -> pa.Table:
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


def _write_shard(folder: Path, table: pa.Table, *, number: int, writer: str) -> Path:
    """Write a shard under a name made of its content, whole or not at all: the same rows give the same file.

    Raises:
        EmbeddingsError: The disk is full, or the folder may not be written.
    """
    content = io.BytesIO()
    # Unit vectors do not compress; the facts, repeated from row to row, do.
    pq.write_table(table, content, compression="zstd", write_page_checksum=True)
    digest = hashlib.sha256(content.getbuffer()).hexdigest()[:_DIGEST_LENGTH]
    path = folder / f"shard-{number:06d}-{writer}-{digest}.parquet"
    _write_whole(path, content.getvalue())
    return path


def _write_whole(path: Path, content: bytes) -> None:
    """Write a file of the folder, whole or not at all; the error is that of `_write_shard`."""
    try:
        write_shared_bytes(path, content)
    except OSError as error:
        raise EmbeddingsError(
            path=path.parent,
            reason=f"'{path.name}' could not be written ({error}); free disk space or correct the permissions",
        ) from error


def _concatenate_shards(tables: Sequence[pa.Table], *, folder: Path) -> pa.Table:
    """Return the rows of several shards; a fact that an older shard lacks is null in its rows.

    Raises:
        EmbeddingsError: The rows differ in dimension or in classes.
    """
    if not tables:
        raise EmbeddingsError(path=folder, reason="it holds no item; see its failures, and run `fieldmark embed` again")
    if len({_measure_widths(table.schema) for table in tables}) > 1:
        raise EmbeddingsError(
            path=folder, reason="its rows differ in dimension or in classes; embed with one model into a new folder"
        )
    return pa.concat_tables(tables, promote_options="default")


def _measure_widths(schema: pa.Schema) -> tuple[int, int]:
    """Return the dimension of the embedding and the number of logits; 0 for a column that is not there."""
    dim, class_count = (
        schema.field(name).type.list_size if name in schema.names else 0 for name in ("embedding", "logits")
    )
    return dim, class_count


def _map_items(table: pa.Table) -> dict[str, tuple[Item, str]]:
    """Return the items of a shard in their order, each with the hash of its content, by id."""
    rows = zip(read_items_from_table(table), table["content_hash"].to_pylist(), strict=True)
    return {item.item_id: (item, content_hash) for item, content_hash in rows}


def _metadata(fingerprint: str) -> dict[str, JsonValue]:
    return {"format_version": _FORMAT_VERSION, "fingerprint": fingerprint}


# ---------------------------------------------------------------- the folder

INFO_NAME = "embeddings.json"
"""Written last: a folder without it is not complete."""

_NO_SPLIT = "none"
"""Under which the counts list items without a split."""

_ROWS_PER_SHARD = 1024
"""Rows gathered before they are written; what a crash may cost."""


@dataclass(frozen=True, slots=True)
class EmbeddingsInfo:
    """The content of `embeddings.json`, which describes a folder.

    Args:
        fingerprint: Of the model that made the embeddings.
        class_names: Of the logits, in their order; empty where there are none.
        counts: Items by medium and split.
        row_counts: Rows of each shard, by file name; only these shards belong to the folder.
        failures: Items that could not be embedded.
        straddling_groups: Groups of the embedded items that also stand in train.
        leaking_ids: Items that leak from train; those of `straddling_groups` are among them.
        leaks: The same with the reasons; folders of earlier versions have none.
        versions: Of Python and the libraries.
        facts: Plain values that the caller adds: the checkpoint, the manifest, anything a receipt needs.
    """

    format_version: int
    fingerprint: str
    dim: int
    class_names: tuple[str, ...]
    counts: Mapping[str, Mapping[str, int]]
    row_counts: Mapping[str, int]
    failures: tuple[Failure, ...] = ()
    straddling_groups: tuple[str, ...] = ()
    leaking_ids: tuple[str, ...] = ()
    leaks: tuple[Leak, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, JsonValue] = field(default_factory=dict)

    @property
    def item_count(self) -> int:
        """Number of items, over all media and splits."""
        return sum(sum(by_split.values()) for by_split in self.counts.values())


_INFO = TypeAdapter(EmbeddingsInfo)


@final
class EmbeddingsWriter:
    """Adds embeddings to a folder, shard by shard, and continues a folder that was begun before.

    Flushed shards outlive the process. An item that is added again replaces its former rows.
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
        self, folder: Path, *, fingerprint: str, name: str = "0", rows_per_shard: int = _ROWS_PER_SHARD
    ) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EmbeddingsError(
                path=folder, reason=f"the folder cannot be made ({error.strerror}); choose another --out"
            ) from error
        for partial in folder.glob(f".shard-*-{name}-*.partial"):  # of this writer, before it was killed
            partial.unlink(missing_ok=True)
        self._folder = folder
        self._fingerprint = fingerprint
        self._name = name
        self._rows_per_shard = rows_per_shard
        self._waiting: list[pa.Table] = []
        self._waiting_ids: set[str] = set()
        self._waiting_row_count = 0
        self._done: dict[str, tuple[Item, str]] = {}
        for path in _list_shards(folder):
            facts = _read_shard(path, fingerprint=fingerprint, columns=_ITEM_COLUMNS)
            self._done.update(_map_items(facts))

    @property
    def done_count(self) -> int:
        """Items on disk or waiting to be flushed."""
        return len(self._done)

    def is_done(self, item: Item, *, content_hash: str) -> bool:
        """Return whether the item, with the same facts and content, is embedded already."""
        return self._done.get(item.item_id) == (item, content_hash)

    def add(self, embeddings: Embeddings, *, content_hash_by_item_id: Mapping[str, str]) -> None:
        """Add whole items, and write a shard when enough rows have gathered.

        Args:
            content_hash_by_item_id: Of every item; it changes when the content does.

        Raises:
            EmbeddingsError: The shard could not be written.
        """
        if not embeddings.items:
            return
        if not self._waiting_ids.isdisjoint(item.item_id for item in embeddings.items):
            self.flush()
        hashes = content_hash_by_item_id
        self._waiting.append(_make_shard(embeddings, content_hash_by_item_id=hashes, fingerprint=self._fingerprint))
        for item in embeddings.items:
            self._done[item.item_id] = (item, content_hash_by_item_id[item.item_id])
            self._waiting_ids.add(item.item_id)
        self._waiting_row_count += len(embeddings.items)
        if self._waiting_row_count >= self._rows_per_shard:
            self.flush()

    def flush(self) -> None:
        """Write the rows that are waiting; once this returns, they outlive the process.

        Raises:
            EmbeddingsError: The shard could not be written, or the rows differ in dimension.
        """
        if not self._waiting:
            return
        number = 1 + max((int(path.name.split("-")[1]) for path in _list_shards(self._folder)), default=-1)
        rows = _concatenate_shards(self._waiting, folder=self._folder).combine_chunks()
        _write_shard(self._folder, rows, number=number, writer=self._name)
        self._waiting.clear()
        self._waiting_ids.clear()
        self._waiting_row_count = 0

    def finish(  # noqa: PLR0913 - all that `embeddings.json` tells
        self,
        *,
        item_ids: Collection[str] | None = None,
        class_names: Sequence[str] = (),
        failures: Iterable[Failure] = (),
        straddling_groups: Iterable[str] = (),
        leaks: Iterable[Leak] = (),
        facts: Mapping[str, JsonValue] | None = None,
        empty_dim: int | None = None,
    ) -> EmbeddingsInfo:
        """Flush, drop replaced rows, and write `embeddings.json`, which makes the folder complete.

        A file that a reader may have open is never changed: rows that stay go to new files, and files that are no
        longer listed are removed after `embeddings.json` is there.

        Args:
            item_ids: The items to keep, so that one dropped from the manifest goes; None keeps all.
            class_names: Of the logits, in their order.
            failures: Items that could not be embedded.
            straddling_groups: Groups of the embedded items that also stand in train.
            leaks: Items to be tested that belong together with items of train.
            facts: Plain values to keep beside.
            empty_dim: The dimension to tell of a folder without any embedding; None refuses such a folder.

        Raises:
            EmbeddingsError: There is no embedding at all, the class names do not fit the logits, or the disk fails.
            EmbeddingsError: Another process writes other items into the folder.
        """
        self.flush()
        leaks = tuple(leaks)
        shards, obsolete = _drop_replaced(self._folder, fingerprint=self._fingerprint, item_ids=item_ids)
        items = {item_id: found for table in shards.values() for item_id, found in _map_items(table).items()}
        lost = [] if item_ids is None else [each for each in item_ids if each in self._done and each not in items]
        if lost:
            raise EmbeddingsError(
                path=self._folder,
                reason=f"another process removes what this one writes: {list_first(lost)}; "
                "let one process finish, and run `fieldmark embed` again",
            )
        dim, class_count = empty_dim or 0, len(class_names)
        if shards:
            dim, class_count = _measure_widths(pq.read_schema(self._folder / next(iter(shards))))
        elif empty_dim is None:
            raise EmbeddingsError(path=self._folder, reason="no item was embedded; see the failures")
        if class_count != len(class_names):
            raise EmbeddingsError(
                path=self._folder,
                reason=f"there are {class_count} logits for {len(class_names)} class names; give one name for each",
            )
        info = EmbeddingsInfo(
            format_version=_FORMAT_VERSION,
            fingerprint=self._fingerprint,
            dim=dim,
            class_names=tuple(class_names),
            counts=_counts(item for item, _ in items.values()),
            row_counts={name: len(table) for name, table in shards.items()},
            failures=tuple(failures),
            straddling_groups=tuple(sorted(straddling_groups)),
            leaking_ids=tuple(sorted(leak.item_id for leak in leaks)),
            leaks=leaks,
            versions=_versions(),
            facts=facts or {},
        )
        _write_whole(self._folder / INFO_NAME, encode_info(info))
        for path in obsolete:
            path.unlink(missing_ok=True)
        return info


def encode_info(info: EmbeddingsInfo) -> bytes:
    """Return the content of `embeddings.json`."""
    return _INFO.dump_json(info, indent=2) + b"\n"


def read_info(folder: Path) -> EmbeddingsInfo:
    """Read the description of a complete folder.

    Raises:
        EmbeddingsError: The folder is not there, not complete, damaged, or of another version.
    """
    path = folder / INFO_NAME
    if not path.is_file():
        met = f"it holds no '{INFO_NAME}', so it was not finished" if folder.is_dir() else "there is no such folder"
        raise EmbeddingsError(path=folder, reason=f"{met}; run `fieldmark embed` with --out '{folder}'")
    return decode_info(path.read_bytes(), folder=folder)


def decode_info(encoded: bytes, *, folder: Path | str) -> EmbeddingsInfo:
    """Return the description of a folder from the content of its `embeddings.json`.

    Args:
        folder: For messages.

    Raises:
        EmbeddingsError: It is damaged, or of another version.
    """
    try:
        content = json.loads(encoded)
        found = content.get("format_version") if isinstance(content, dict) else None
        if isinstance(found, int) and found != _FORMAT_VERSION:
            raise EmbeddingsError(
                path=folder,
                reason=f"it has format version {found}, and this fieldmark reads version {_FORMAT_VERSION}; "
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
    """Return all embeddings of a complete folder, in the order of its shards, and its description.

    Raises:
        EmbeddingsError: The folder is not complete, a shard is missing or damaged, or a shard is of another model.
    """
    info = read_info(folder)
    tables = [_read_listed(folder, name, info) for name in info.row_counts]
    table = _concatenate_shards(tables, folder=folder)
    if _measure_widths(table.schema) != (info.dim, len(info.class_names)):
        raise EmbeddingsError(path=folder, reason=f"its shards and '{INFO_NAME}' differ; {_AGAIN}")
    embeddings = Embeddings(
        items=tuple(read_items_from_table(table)),
        start_seconds=table["start_seconds"].to_numpy(),
        end_seconds=table["end_seconds"].to_numpy(),
        embedding=read_matrix(table["embedding"], dim=info.dim),
        logits=read_matrix(table["logits"], dim=len(info.class_names)) if info.class_names else None,
    )
    return embeddings, info


def read_content_hashes(folder: Path) -> dict[str, str]:
    """Return the content hash of each item of a complete folder, by item id.

    Raises:
        EmbeddingsError: The folder is not complete, a shard is missing or damaged, or a shard is of another model.
    """
    info = read_info(folder)
    hashes: dict[str, str] = {}
    for name in info.row_counts:
        table = _read_listed(folder, name, info, columns=["item_id", "content_hash"])
        hashes.update(zip(table["item_id"].to_pylist(), table["content_hash"].to_pylist(), strict=True))
    return hashes


_AGAIN = "run `fieldmark embed` again"


def _read_listed(folder: Path, name: str, info: EmbeddingsInfo, *, columns: Sequence[str] | None = None) -> pa.Table:
    """Some columns of a shard that `embeddings.json` lists; None for all."""
    path = folder / name
    if not path.is_file():
        raise EmbeddingsError(path=path.parent, reason=f"the shard '{path.name}' is missing; {_AGAIN}")
    table = _read_shard(path, fingerprint=info.fingerprint, columns=columns)
    if len(table) != info.row_counts[name]:
        raise EmbeddingsError(
            path=path.parent,
            reason=f"the shard '{path.name}' has {len(table)} rows, not {info.row_counts[name]}; {_AGAIN}",
        )
    return table


def _drop_replaced(
    folder: Path, *, fingerprint: str, item_ids: Collection[str] | None
) -> tuple[dict[str, pa.Table], list[Path]]:
    """Leave every item in the last shard that holds it, and unwanted items in none.

    Returns:
        The columns of facts that remain, by shard, and the files that are no longer needed.
    """
    wanted = None if item_ids is None else set(item_ids)
    shards = {path: _read_shard(path, fingerprint=fingerprint, columns=_ITEM_COLUMNS) for path in _list_shards(folder)}
    home = {
        item_id: path
        for path, table in shards.items()
        for item_id in table["item_id"].to_pylist()
        if wanted is None or item_id in wanted
    }
    remaining: dict[str, pa.Table] = {}
    obsolete: list[Path] = []
    for path, table in shards.items():
        is_home = pa.array([home.get(item_id) == path for item_id in table["item_id"].to_pylist()], pa.bool_())
        kept, stays = table.filter(is_home), path
        if len(kept) < len(table):
            obsolete.append(path)
        if len(kept) == 0:
            continue
        if len(kept) < len(table):
            rows = _read_shard(path, fingerprint=fingerprint, columns=None).filter(is_home)
            _, number, writer = path.stem.rpartition("-")[0].split("-", 2)
            stays = _write_shard(folder, rows, number=int(number), writer=writer)
        remaining[stays.name] = kept
    return remaining, obsolete


def _counts(items: Iterable[Item]) -> dict[str, dict[str, int]]:
    """Items by medium and split; every medium is named."""
    counts: dict[str, dict[str, int]] = {medium.value: {} for medium in MEDIA}
    for item in items:
        split = item.split.value if item.split else _NO_SPLIT
        counts[item.medium][split] = counts[item.medium].get(split, 0) + 1
    return counts


def _versions() -> dict[str, str]:
    """Return the versions of the software that the numbers may depend on."""
    versions = {"python": platform.python_version()}
    for package in ("fieldmark", "torch", "numpy", "pyarrow"):
        with suppress(PackageNotFoundError):
            versions[package] = version(package)
    return versions
