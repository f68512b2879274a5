"""Work saved on disk by the content it was computed from: one SQLite file, and the features of encoders in it."""

import json
import logging
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TypeVar, final

import numpy as np
from jaxtyping import Float, Float32

from fieldmark.errors import EmbeddingsError

# ---------------------------------------------------------------- the file

_LOGGER = logging.getLogger(__name__)
_Result = TypeVar("_Result")
_BUSY_SECONDS = 60.0
_VALUES_PER_QUERY = 500  # SQLite before 3.32 takes at most 999 values in one statement.


@final
class CacheFile:
    """A file on a local disk, shared by any number of processes.

    A committed transaction stays, whatever happens to the process. A damaged file is set aside with a warning, and a
    new one is begun.

    Args:
        path: Its folder is made if it is not there.
        schema: The statement that makes its table where there is none.
    """

    def __init__(self, path: Path, *, schema: str) -> None:
        self._path = path
        self._schema = schema

    def run(self, work: Callable[[sqlite3.Connection], _Result]) -> _Result:
        """Return the result of `work` on the file, or on a new one where the file turns out to be damaged.

        Raises:
            EmbeddingsError: The file cannot be opened, read or written.
        """
        try:
            try:
                with closing(self._open()) as connection:
                    return work(connection)
            except sqlite3.DatabaseError as error:
                if not _tells_damage(error):
                    raise
                self._set_aside(reason=str(error))
            with closing(self._open()) as connection:
                return work(connection)
        except (sqlite3.Error, OSError) as error:
            raise EmbeddingsError(
                path=self._path,
                reason=f"{error}. Give a writable folder on a local disk with free space, "
                "or wait for the other run to finish",
                subject="The store",
            ) from error

    def select(
        self, statement: str, *, version: str, hashes: Sequence[str], decode: Callable[..., _Result]
    ) -> dict[str, _Result]:
        """Return the decoded rows of some content hashes, by hash; those not found are missing.

        Args:
            statement: Selects the content hash first, and ends with a condition on the version and `IN ({marks})`.
            version: Rows of another are not found.
            decode: Takes the columns of a row.

        Raises:
            EmbeddingsError: The file cannot be opened or read.
        """

        def read(connection: sqlite3.Connection) -> dict[str, _Result]:
            found: dict[str, _Result] = {}
            for start in range(0, len(hashes), _VALUES_PER_QUERY):
                wanted = hashes[start : start + _VALUES_PER_QUERY]
                rows = connection.execute(statement.format(marks=", ".join("?" * len(wanted))), (version, *wanted))
                found.update((row[0], decode(*row)) for row in rows)
            return found

        return self.run(read)

    def insert(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        """Insert rows, all of them or none.

        Raises:
            EmbeddingsError: The file cannot be opened or written.
        """

        def write(connection: sqlite3.Connection) -> None:
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.executemany(statement, rows)

        self.run(write)

    def _open(self) -> sqlite3.Connection:
        # Opened for each call: a connection survives neither a fork nor the damage it met.
        self._path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self._path, timeout=_BUSY_SECONDS, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            # In WAL mode this is safe against a killed process; a power cut may cost the last writes, no more.
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute(self._schema)
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def parts(self) -> list[Path]:
        """Return the file and its write-ahead log, as far as they exist; a log must never outlive its file's name."""
        parts = [self._path.with_name(self._path.name + suffix) for suffix in ("-wal", "-shm", "")]
        return [part for part in parts if part.exists()]

    def _set_aside(self, *, reason: str) -> None:
        number = next(number for number in count(1) if not self._aside(self._path, number).exists())
        for part in self.parts():
            part.rename(self._aside(part, number))
        _LOGGER.warning(
            "The store '%s' is damaged (%s); it is kept as '%s' and its content is computed again.",
            self._path,
            reason,
            self._aside(self._path, number).name,
        )

    @staticmethod
    def _aside(part: Path, number: int) -> Path:
        return part.with_name(f"damaged-{number}-{part.name}")


def _tells_damage(error: sqlite3.DatabaseError) -> bool:
    """Return whether the file itself is broken, rather than locked, full or out of reach."""
    # The low byte is the kind of error; the rest details it.
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


# ---------------------------------------------------------------- features

# The number is that of the layout: another layout is another file, and an old one is never misread.
_FILE_NAME = "features-1.sqlite"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS features (
    fingerprint TEXT NOT NULL,
    content_hash TEXT NOT NULL,
    shape TEXT NOT NULL,
    feature_bytes BLOB NOT NULL,
    seconds_bytes BLOB NOT NULL,
    PRIMARY KEY (fingerprint, content_hash)
)
"""


_KEYS_SCHEMA = "CREATE TABLE IF NOT EXISTS keys (key TEXT PRIMARY KEY, facts TEXT NOT NULL)"


@dataclass(frozen=True, slots=True)
class StoredFeatures:
    """The features that an encoder made of one item, a row for each segment.

    Args:
        start_seconds: NaN where the medium has no time.
    """

    values: Float32[np.ndarray, "segment ..."]
    start_seconds: Float[np.ndarray, " segment"]
    end_seconds: Float[np.ndarray, " segment"]


@dataclass(frozen=True, slots=True)
class FeatureStoreSize:
    """The number of items with features, over all encoders, and their size on disk."""

    item_count: int
    size_bytes: int


@final
class FeatureStore:
    """Features on disk under the key of their encoder and the hash of the content they were computed from.

    One SQLite file on a local disk, shared by any number of processes. What `put_many` has taken in stays, whatever
    happens to the process. The store only saves work: a damaged file is set aside with a warning, and a new one is
    started.

    Args:
        folder: Made if it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self._file = CacheFile(folder / _FILE_NAME, schema=_SCHEMA)
        self._keys = CacheFile(folder / _FILE_NAME, schema=_KEYS_SCHEMA)

    def list_keys(self) -> dict[str, dict[str, str]]:
        """Return the facts that each known key stands for; keys of earlier versions are missing.

        Raises:
            EmbeddingsError: The file cannot be opened or read.
        """
        rows = self._keys.run(lambda connection: connection.execute("SELECT key, facts FROM keys").fetchall())
        return {key: json.loads(facts) for key, facts in rows}

    def add_key(self, key: str, facts: Mapping[str, str]) -> None:
        """Write down what a key stands for.

        Raises:
            EmbeddingsError: The file cannot be opened or written.
        """
        self._keys.insert("INSERT OR IGNORE INTO keys VALUES (?, ?)", [(key, json.dumps(facts))])

    def get_many(self, key: str, hashes: Sequence[str]) -> dict[str, StoredFeatures]:
        """Return the stored features by content hash; hashes that are not found are missing.

        Raises:
            EmbeddingsError: The file cannot be opened or read.
        """
        return self._file.select(
            "SELECT content_hash, shape, feature_bytes, seconds_bytes FROM features "
            "WHERE fingerprint = ? AND content_hash IN ({marks})",
            version=key,
            hashes=hashes,
            decode=lambda _, *columns: _decode(*columns),
        )

    def put_many(self, key: str, entries: Mapping[str, StoredFeatures]) -> None:
        """Store features by content hash, all of them or none; earlier ones are replaced.

        Raises:
            EmbeddingsError: The file cannot be opened or written.
        """
        rows = [(key, content_hash, *_encode(features)) for content_hash, features in entries.items()]
        self._file.insert("INSERT OR REPLACE INTO features VALUES (?, ?, ?, ?, ?)", rows)

    def size(self) -> FeatureStoreSize:
        """Return how much the store holds.

        Raises:
            EmbeddingsError: The file cannot be opened or read.
        """
        item_count = self._file.run(
            lambda connection: connection.execute("SELECT COUNT(*) FROM features").fetchone()[0]
        )
        return FeatureStoreSize(
            item_count=item_count, size_bytes=sum(part.stat().st_size for part in self._file.parts())
        )


def _encode(features: StoredFeatures) -> tuple[str, bytes, bytes]:
    values = np.ascontiguousarray(features.values, dtype="<f4")
    seconds = np.stack([features.start_seconds, features.end_seconds]).astype("<f8")
    return ",".join(map(str, values.shape)), values.tobytes(), seconds.tobytes()


def _decode(shape: str, feature_bytes: bytes, seconds_bytes: bytes) -> StoredFeatures:
    # Copies, because arrays over bytes cannot be written to, and tensors made of those warn.
    values = np.frombuffer(feature_bytes, dtype="<f4").astype(np.float32).reshape([int(n) for n in shape.split(",")])
    start, end = np.frombuffer(seconds_bytes, dtype="<f8").astype(np.float64).reshape(2, -1)
    return StoredFeatures(values=values, start_seconds=start, end_seconds=end)
