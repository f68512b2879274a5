"""One SQLite file that saves work: shared by processes, safe against a crash, begun anew where it is damaged."""

import logging
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import TypeVar, final

from fieldmark.errors import EmbeddingsError

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
