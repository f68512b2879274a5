"""The connection to Milvus: the only module that knows its client; how failures are told and when they are retried."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar, final

import numpy as np

from fieldmark.errors import ConfigError, GalleryError, MissingExtraError, read_first_line
from fieldmark.gallery.address import EngineAccess, MilvusAddress
from fieldmark.gallery.milvus.failures import is_lost, is_recovering, is_unloaded, list_causes, translate

Result = TypeVar("Result")
Value = TypeVar("Value")
Row = dict[str, Any]
"""One row as the client takes and gives it."""

STRONG, BOUNDED = "Strong", "Bounded"

MOST_ROWS = 16_384
"""Most rows that Milvus gives at once."""

_CONNECT_SECONDS = 10.0
CALL_SECONDS = 20.0
"""Seconds after which one try of a call is given up, and for which a call is tried again on a connection that broke."""
_RECOVERY_SECONDS = 60.0
"""Seconds for which a call waits for an engine that has started again and is still loading the collection."""
_RETRY_SECONDS = 0.25
_INDEX_SECONDS, _INDEX_LOOK_SECONDS = 1_200.0, 1.0
"""Without any change for so long, the index is no longer waited for: it goes on by itself.

A part may hold 512 MiB (500,000 rows of 256 dimensions), which are seven minutes of a core for Milvus 2.3.5, in which
nothing that it tells of changes; on a busy machine one of 24,600 rows took seven.
"""
_UNINDEXED, _UNINDEXED_SHARE = 1_024, 0.05
"""So many rows, and this share of all, need no index: smaller parts never get one."""


@dataclass(frozen=True, slots=True)
class VectorIndex:
    """The index of a collection's vectors: Milvus's own name of it, and what it is built with."""

    kind: str
    options: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class IndexProgress:
    """Rows that an index holds, those that wait for it, and all that the engine has in its own files.

    A row of parts that were merged waits for the new index, and is in the former one: so it is counted twice.
    """

    indexed: int
    waiting: int
    total: int


FLAT = VectorIndex("FLAT", {})
HNSW = VectorIndex("HNSW", {"M": 16, "efConstruction": 200})


@final
class Connection:
    """The client of one database; safe to use from several threads.

    A call on a connection that broke is tried again until `call_seconds` are over, and one that meets an engine which
    is still loading until `recovery_seconds` are; every write is such that doing it twice does no more than once.

    Raises:
        MissingExtraError: The client is not installed.
        ConfigError: The file of trusted certificates is missing.
        GalleryError: The engine cannot be reached, refuses the token, or has no such database.
    """

    def __init__(
        self,
        address: MilvusAddress,
        *,
        access: EngineAccess,
        call_seconds: float = CALL_SECONDS,
        recovery_seconds: float = _RECOVERY_SECONDS,
    ) -> None:
        try:
            import grpc
            import pymilvus
        except ImportError as error:
            raise MissingExtraError(package="pymilvus", extra="milvus", need=f"The gallery '{address}'") from error
        logging.getLogger("pymilvus").setLevel(logging.CRITICAL)  # it logs each error that it raises, with a traceback
        self.address = address
        self._call_seconds = call_seconds
        self._recovery_seconds = recovery_seconds
        self._failures = (pymilvus.MilvusException, grpc.RpcError, grpc.FutureTimeoutError)
        self._answered: Any = grpc.Call
        self._has_token = bool(access.token)
        self._types = pymilvus.DataType
        self._guard = threading.Lock()
        self._described: dict[str, Row] = {}
        options: dict[str, Any] = {"secure": True} if address.is_encrypted else {}
        # gRPC servers end connections that ask every ten seconds whether they live, as the client's default is.
        options["grpc_options"] = {"grpc.keepalive_time_ms": 300_000, "grpc.keepalive_permit_without_calls": False}
        if access.authority is not None:
            if not access.authority.is_file():
                raise ConfigError(
                    f"FIELDMARK_MILVUS_CA names '{access.authority}', and there is no such file. Give the PEM file "
                    "with the certificates that the connection is to trust, or leave it out for those of the system."
                )
            options["ca_pem_path"] = options["server_pem_path"] = str(access.authority)
        scheme = "https" if address.is_encrypted else "http"
        self._client = self._run(
            lambda: pymilvus.MilvusClient(
                uri=f"{scheme}://{address.host}:{address.port}",
                token=access.token or "",
                db_name=address.database,
                timeout=_CONNECT_SECONDS,
                dedicated=True,
                **options,
            )
        )
        if address.database:
            self._check_database()

    def close(self) -> None:
        """End the connection."""
        with suppress(*self._failures):
            self._client.close()

    def _check_database(self) -> None:
        """Ask for something of the database: to connect, and to look for a collection, tells of no missing one."""
        try:
            self._run(lambda: self._client.list_collections(timeout=self._call_seconds))
        except GalleryError as error:
            if error.kind != "engine_access":  # who may not list collections may use them
                raise

    # ------------------------------------------------------------ collections

    def has_collection(self, name: str) -> bool:
        """Tell whether there is a collection."""
        return bool(self._run(lambda: self._client.has_collection(name, timeout=self._call_seconds)))

    def list_columns(self, name: str) -> dict[str, int | None]:
        """Return the columns of a collection, with the dimension of each that holds vectors."""
        self._described.pop(name, None)
        return {each["name"]: _read_dim(each["params"]) for each in self._describe(name)["fields"]}

    def _describe(self, name: str) -> Row:
        if name not in self._described:
            found = self._run(lambda: self._client.describe_collection(name, timeout=self._call_seconds), name)
            self._described[name] = dict(found)
        return self._described[name]

    def create_collection(self, name: str, columns: Mapping[str, str | int], *, index: VectorIndex = FLAT) -> None:
        """Create a collection in one part, so that one request of a write is seen at once, and load it.

        Args:
            columns: The first is the key. `text`, `texts`, `int`, `float`, or the dimension of a vector.
        """
        schema = self._client.create_schema(auto_id=False, enable_dynamic_field=False)
        for column, kind in columns.items():
            schema.add_field(column, is_primary=not schema.fields, **self._describe_column(kind))
        wanted = self._client.prepare_index_params()
        [vector] = [column for column, kind in columns.items() if isinstance(kind, int)]
        wanted.add_index(vector, index_type=index.kind, metric_type="COSINE", params=dict(index.options))
        self._run(
            lambda: self._client.create_collection(
                name, schema=schema, index_params=wanted, num_shards=1, consistency_level=STRONG
            )
        )

    def drop_collection(self, name: str) -> None:
        """Delete a collection with all its rows; one that is not there is skipped."""
        self._described.pop(name, None)
        self._run(lambda: self._client.drop_collection(name, timeout=self._call_seconds))

    def flush(self, name: str) -> None:
        """Let the engine put what was written into its own files, where it is indexed."""
        self._run(lambda: self._client.flush(name, timeout=600), name)

    def wait_for_index(self, name: str, column: str) -> None:
        """Wait while the engine indexes what it put into its own files, as long as it gets on with it.

        It says that it has finished as soon as nothing is at work, though parts wait to be merged first (Milvus 2.3.5):
        so the rows are looked at. Those of merged parts wait again, and are searched by their former indexes meanwhile.
        """
        known, since = IndexProgress(0, 0, 0), time.monotonic()
        while True:
            progress = self.read_index_progress(name, column)
            if known != (known := progress):
                since = time.monotonic()
            enough = max(_UNINDEXED, _UNINDEXED_SHARE * progress.total)
            if progress.total - progress.indexed <= enough or time.monotonic() - since > _INDEX_SECONDS:
                return
            time.sleep(_INDEX_LOOK_SECONDS)

    def read_index_progress(self, name: str, column: str) -> IndexProgress:
        """Return how far the engine has indexed a column."""
        found = self._run(lambda: self._client.describe_index(name, column, timeout=self._call_seconds), name) or {}
        keys = ("indexed_rows", "pending_index_rows", "total_rows")
        return IndexProgress(*(int(found.get(key) or 0) for key in keys))

    # ------------------------------------------------------------ rows

    def write(self, name: str, rows: Sequence[Row], *, is_new: bool = False) -> None:
        """Write rows in one request; a row whose key is there is replaced.

        Args:
            is_new: Whether no row has one of these keys, so that the engine need not look for them.
        """
        client = self._client._get_connection()
        context = self._client._generate_call_context()
        fields = self._describe(name)["fields"]
        # By columns: the client needs twice the time for the same rows one by one (pymilvus 3.0.2).
        columns = [
            {"name": field["name"], "type": field["type"], "values": [_plain(row[field["name"]]) for row in rows]}
            for field in fields
        ]
        tries = iter([client.batch_insert] if is_new else ())

        def write() -> None:
            # What a broken connection has written is replaced by the next try.
            call = next(tries, client.upsert)
            call(name, columns, timeout=3 * self._call_seconds, context=context, schema={"fields": fields})

        self._run(write, name)

    def delete(self, name: str, keys: Sequence[str]) -> None:
        """Delete rows by their keys, in one request."""
        if keys:
            listed = ", ".join(f'"{key}"' for key in keys)
            self._run(lambda: self._client.delete(name, filter=f"pk in [{listed}]", timeout=self._call_seconds), name)

    def read(self, name: str, condition: str, columns: Sequence[str], *, level: str | int = STRONG) -> list[Row]:
        """Return the rows that meet a condition, of which there are at most `MOST_ROWS`, in no order.

        Vectors are rows of one matrix, as in `read_pages`.

        Args:
            level: `STRONG` sees all that was written before; `BOUNDED` all but the last seconds; a number what was
                written up to that time of the engine.
        """

        def read() -> list[Row]:
            found = self._client.query(
                name,
                filter=condition,
                output_fields=list(columns),
                timeout=self._call_seconds,
                **_describe_level(level),
            )
            return _list_rows(found)

        return self._run(read, name)

    def read_pages(
        self, name: str, condition: str, columns: Sequence[str], *, limit: int, after: str = ""
    ) -> Iterator[list[Row]]:
        """Yield the rows that meet a condition in the order of their keys, `limit` at a time, and all that are written.

        Args:
            after: The key before the first; "" for none.
        """
        while True:
            page = self._read_page(name, f'pk > "{after}" and ({condition})', columns, limit=min(limit, MOST_ROWS))
            if page:
                yield page
            if len(page) < min(limit, MOST_ROWS):
                return
            after = page[-1]["pk"]

    def _read_page(self, name: str, condition: str, columns: Sequence[str], *, limit: int) -> list[Row]:
        def read() -> list[Row]:
            found = self._client.query(
                name,
                filter=condition,
                output_fields=list(columns),
                limit=limit,
                iterator="True",  # in the order of the keys, and as strong as the collection's own level
                timeout=3 * self._call_seconds,
            )
            return _list_rows(found)

        return self._run(read, name)

    def count(self, name: str, condition: str, *, level: str | int = STRONG) -> int:
        """Return the number of rows that meet a condition."""
        [found] = self.read(name, condition, ["count(*)"], level=level)
        return int(found["count(*)"])

    def search(  # noqa: PLR0913 - the parts of one search
        self,
        name: str,
        vector: Sequence[float],
        *,
        condition: str,
        columns: Sequence[str],
        limit: int,
        options: Mapping[str, int],
        level: str | int = STRONG,
    ) -> list[Row]:
        """Return the rows whose vectors are nearest to one, nearest first.

        Args:
            options: Of the index, for a search.
        """

        def search() -> list[Row]:
            [found] = self._client.search(
                name,
                data=[list(vector)],
                anns_field="vector",
                filter=condition,
                limit=limit,
                output_fields=list(columns),
                search_params={"metric_type": "COSINE", "params": dict(options)},
                timeout=self._call_seconds,
                **_describe_level(level),
            )
            return [dict(hit["entity"]) for hit in found]

        return self._run(search, name)

    def get_written_time(self, name: str) -> int:
        """Return the engine's time of the last write of this process; 0 where there is none, or the engine has none."""
        from pymilvus.client.ts_utils import get_collection_ts

        handler = self._client._get_connection()
        return int(get_collection_ts(name, handler.server_address, self._client._config.db_name) or 0)

    # ------------------------------------------------------------ failures

    def _run(self, call: Callable[[], Result], name: str | None = None) -> Result:
        """Return the result of a call; try again where the connection broke, or the engine has just started."""
        begun = time.monotonic()
        while True:
            try:
                return call()
            except self._failures as error:
                passed = time.monotonic() - begun
                is_awaited = (passed < self._call_seconds and is_lost(error)) or (
                    passed < self._recovery_seconds and is_recovering(error)
                )
                if name is None or not is_awaited:
                    told = self._read_answer(error)
                    raise translate(error, told=told, address=self.address, has_token=self._has_token) from error
                if is_unloaded(error):
                    with suppress(*self._failures):
                        self._client.load_collection(name, timeout=self._call_seconds)
                time.sleep(_RETRY_SECONDS)

    def _read_answer(self, error: Exception) -> str:
        """Return what the engine said: the client tells of some answers only that it cannot connect."""
        for each in list_causes(error):
            if isinstance(each, self._answered):
                return str(each.details())[:300]
        return read_first_line(error)[:300]

    def _describe_column(self, kind: str | int) -> dict[str, Any]:
        if isinstance(kind, int):
            return {"datatype": self._types.FLOAT_VECTOR, "dim": kind}
        text = {"max_length": LONGEST_TEXT}
        return {
            "text": {"datatype": self._types.VARCHAR, **text},
            "texts": {
                "datatype": self._types.ARRAY,
                "element_type": self._types.VARCHAR,
                "max_capacity": MOST_TEXTS,
                **text,
            },
            "int": {"datatype": self._types.INT64},
            "float": {"datatype": self._types.DOUBLE},
        }[kind]


def split(values: Iterable[Value], size: int) -> Iterator[list[Value]]:
    """Yield values in lists of a size; the last may be shorter."""
    rest = iter(values)
    while part := list(islice(rest, size)):
        yield part


LONGEST_TEXT, MOST_TEXTS = 65_535, 4_096
"""Bytes of a text, and texts in a column of several, that Milvus takes."""


def _list_rows(found: Any) -> list[Row]:  # noqa: ANN401 - the client's own list, which has no type
    """Return the rows that a query found, their vectors as rows of one matrix.

    The client would make a list of numbers of each vector, which takes some 55 µs; all at once take less than one for
    each (pymilvus 3.0.2, 256 dimensions).
    """
    columns = found._lazy_field_data
    found._lazy_field_data = [column for column in columns if not column.vectors.dim]
    rows = list(found)
    for column in columns:
        if column.vectors.dim:
            matrix = np.array(column.vectors.float_vector.data, dtype=np.float32).reshape(-1, column.vectors.dim)
            for row, vector in zip(rows, matrix, strict=True):
                row[column.field_name] = vector
    return rows


def _plain(value: object) -> object:
    """Return a vector as a list, which the client takes faster; anything else as it is."""
    return value.tolist() if isinstance(value, np.ndarray) else value


def _read_dim(params: Mapping[str, object]) -> int | None:
    dim = params.get("dim")
    return int(dim) if isinstance(dim, (int, str)) else None


def _describe_level(level: str | int) -> dict[str, object]:
    if isinstance(level, str):
        return {"consistency_level": level}
    return {"consistency_level": "Customized", "guarantee_timestamp": max(level, 1)}
