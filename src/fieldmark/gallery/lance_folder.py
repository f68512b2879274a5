"""The table of a store in its folder: its versions, whether it is still the same, who writes, how failures are told."""

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar, final

import filelock
import lancedb
import pyarrow as pa
from lancedb.table import LanceTable

from fieldmark.errors import DamagedGalleryError, FieldmarkError, GalleryError, MissingGalleryError
from fieldmark.gallery.layout import StoreLayout
from fieldmark.io import write_text

Result = TypeVar("Result")

TABLE = StoreLayout.table_name
FORMAT = "2"
FORMAT_KEY, FINGERPRINT_KEY = b"fieldmark.format", b"fieldmark.fingerprint"
_SETTLED_NANOSECONDS = 100_000_000

Stamp = tuple[int, ...]
"""The marks that tell a file or folder from another one that takes its place, whatever its times were set to."""


# ---------------------------------------------------------------- an open table


@final
class StoreTable:
    """The table of a store, as it is in its folder now.

    A folder that is replaced under the handle, by another store or by an older state of this one, is opened anew where
    it was made with the same model.

    Args:
        adapt: Applied to all rows that are read.

    Raises:
        DamagedGalleryError: The table cannot be read.
        GalleryError: It was made by another version of fieldmark.
    """

    def __init__(self, folder: Path, *, wait_seconds: float, adapt: Callable[[pa.Table], pa.Table]) -> None:
        self.folder = folder
        self.adapt = adapt
        self._wait_seconds = wait_seconds
        self._guard = threading.Lock()
        self._opened = 0
        self._identity: Stamp | None = read_identity(folder)
        self._seen: tuple[int, Stamp | None] = (0, None)
        self.table = self._open()
        schema = self.table.schema
        with report_as_damaged(folder):
            found_format = schema.metadata[FORMAT_KEY].decode()
            self.fingerprint: str = schema.metadata[FINGERPRINT_KEY].decode()
            self.dim: int = schema.field("vector").type.list_size
            self.columns = [name for name in schema.names if name != "vector"]
        if found_format != FORMAT:
            raise GalleryError(
                f"The gallery '{folder}' has a store of format {found_format}; this fieldmark reads format {FORMAT}. "
                "Give another folder to `fieldmark index` to build it again, or install the fieldmark that made it.",
                kind="gallery_format",
            )

    @property
    def version(self) -> tuple[int, int]:
        """The number of the version that is read, and how often the folder was replaced before."""
        return int(self.table.version), self._opened

    def refresh(self) -> tuple[int, int]:
        """Turn to the newest version and return it; see `version`.

        Raises:
            MissingGalleryError: The folder is gone.
            DamagedGalleryError: The table cannot be read.
            GalleryError: Another store took its place, made with another model.
        """
        identity = read_identity(self.folder)
        if identity is None:
            raise MissingGalleryError(path=self.folder)
        with self._guard, report_as_damaged(self.folder):
            if identity == self._identity:
                self.table.checkout_latest()
            version = int(self.table.version)
            stamp = read_version_stamp(self.folder, version)
            known_version, known_stamp = self._seen
            is_older = version < known_version or (version == known_version and stamp != known_stamp)
            if identity != self._identity or (is_older and known_stamp is not None):
                self._take_over(self._open())
                self._identity = identity
                version = int(self.table.version)
                stamp = read_version_stamp(self.folder, version)
            if (version, stamp) != (known_version, known_stamp):  # another process may have added columns
                self.note_columns()
            self._seen = version, stamp
            return version, self._opened

    def read(self, read: Callable[[], Result]) -> Result:
        """Return the result of a read of the newest version; read again where another process compacted it away."""
        while True:
            version = self.refresh()
            try:
                return read()
            except FieldmarkError:
                raise
            except Exception as error:
                if self.refresh() == version:
                    raise DamagedGalleryError(path=self.folder, reason=find_reason(error)) from error

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the store for one write of the newest version."""
        self.refresh()  # of a folder that is gone, none is made
        with hold_write_lock(self.folder, wait_seconds=self._wait_seconds):
            self.refresh()
            yield
            record_newest(self.folder, int(self.table.version))

    def list_rows(self, columns: list[str] | None, condition: str | None) -> pa.Table:
        """Return some columns, or all, of the rows that meet a condition, in no order."""
        query = self.table.search()
        if condition is not None:
            query = query.where(condition)
        if columns is not None:
            query = query.select([name for name in columns if name in self.columns or name == "vector"])
        return self.adapt(query.to_arrow())

    def note_columns(self) -> None:
        """Note the columns that the table has now."""
        self.columns = [name for name in self.table.schema.names if name != "vector"]

    def _open(self) -> LanceTable:
        with report_as_damaged(self.folder):
            table: LanceTable = lancedb.connect(self.folder).open_table(TABLE)
            return table

    def _take_over(self, table: LanceTable) -> None:
        schema = table.schema
        found = schema.metadata[FINGERPRINT_KEY].decode()
        if (found, schema.field("vector").type.list_size) != (self.fingerprint, self.dim):
            raise GalleryError(
                f"The gallery '{self.folder}' was replaced by one made with another model, {found[:12]}; this process "
                f"has loaded {self.fingerprint[:12]}. Start the server again, or open the gallery again.",
                kind="gallery_replaced",
            )
        self.table, self.columns = table, [name for name in schema.names if name != "vector"]
        self._opened += 1


def read_identity(folder: Path) -> Stamp | None:
    """Return what stays while the folder of the versions is the same one; None where it is gone."""
    try:
        found = StoreLayout(folder).versions.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def read_version_stamp(folder: Path, version: int) -> Stamp | None:
    """Return what stays while the manifest of a version is the same file; None where it is gone."""
    try:
        found = (StoreLayout(folder).versions / _name_manifest(version)).stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _name_manifest(version: int) -> str:
    return f"{2**64 - 1 - version:020d}.manifest"


# ---------------------------------------------------------------- versions


def list_versions(folder: Path) -> tuple[Path, ...]:
    """Return the manifest of each version, damaged or not; a store that was not created to the end has none."""
    return tuple(StoreLayout(folder).versions.glob("*.manifest"))


def read_versions_stamp(versions: Path) -> Stamp | None:
    """Return a stamp that stays while no version comes or goes; None where one may just have come, or none can be seen.

    A look at the folder takes microseconds, where LanceDB takes a third of a millisecond to tell its newest version.

    Args:
        versions: `StoreLayout.versions`.
    """
    try:
        found = versions.stat()
    except OSError:
        return None
    # Two changes within a tick of the file system's clock leave one stamp. Times of modification are set by whoever
    # copies a folder; times of change are not.
    newest = max(found.st_mtime_ns, found.st_ctime_ns)
    if time.time_ns() - newest <= _SETTLED_NANOSECONDS:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns


def measure_data_bytes(folder: Path) -> int:
    """Return the bytes of the rows of all versions."""
    return sum(path.stat().st_size for path in StoreLayout(folder).data.glob("*"))


def record_newest(folder: Path, version: int) -> None:
    """Write down the number of a version that was written to the end."""
    write_text(StoreLayout(folder).newest_version, str(version))


def find_lost_version(folder: Path, *, newest: int) -> str | None:
    """Return the manifest of a version that was written to the end and is now missing; None where there is none.

    Args:
        newest: The newest version that can be read.
    """
    path = StoreLayout(folder).newest_version
    text = path.read_text(encoding="ascii", errors="replace") if path.is_file() else ""
    if not text.isdecimal() or int(text) <= newest:
        return None
    return f"_versions/{_name_manifest(int(text))}"


def find_reason(error: Exception) -> str:
    """Return the first line of a message of LanceDB, without positions in its source."""
    lines = str(error).splitlines() or [type(error).__name__]
    return re.sub(r",? */\S+\.rs:\d+:\d+", "", lines[0])


@contextmanager
def report_as_damaged(folder: Path) -> Iterator[None]:
    """Report any failure to read as a damaged gallery."""
    try:
        yield
    except FieldmarkError:
        raise
    except Exception as error:
        raise DamagedGalleryError(path=folder, reason=find_reason(error)) from error


@contextmanager
def hold_write_lock(folder: Path, *, wait_seconds: float) -> Iterator[None]:
    """Hold the folder's lock; report any failure within as a failure to write."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(StoreLayout(folder).write_lock, timeout=wait_seconds, poll_interval=0.005):
            yield
    except filelock.Timeout as error:
        raise GalleryError(
            f"Another process is writing the gallery '{folder}'; this one waited {wait_seconds:g} seconds. "
            "Wait until the other one ends, and run the same command again.",
            kind="gallery_busy",
        ) from error
    except FieldmarkError:
        raise
    except Exception as error:
        raise GalleryError(
            f"The gallery '{folder}' cannot be written: {find_reason(error)}. Nothing was changed. "
            "Check the free disk space and the permissions of the folder, and run the same command again.",
            kind="gallery_write",
        ) from error
