"""The folder of a store: its versions, who writes in it, and how its failures are told."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from fieldmark.errors import DamagedGalleryError, FieldmarkError, GalleryError
from fieldmark.gallery.layout import StoreLayout
from fieldmark.io import write_text

TABLE = StoreLayout.table_name
_SETTLED_NANOSECONDS = 100_000_000


def list_versions(folder: Path) -> tuple[Path, ...]:
    """Return the manifest of each version, damaged or not; a store that was not created to the end has none."""
    return tuple(StoreLayout(folder).versions.glob("*.manifest"))


def read_versions_stamp(folder: Path) -> int | None:
    """Return a stamp that stays while no version comes or goes; None where one may just have come, or none can be seen.

    A look at the folder takes microseconds, where LanceDB takes a third of a millisecond to tell its newest version.
    """
    try:
        stamp = StoreLayout(folder).versions.stat().st_mtime_ns
    except OSError:
        return None
    # Two changes within a tick of the file system's clock leave one stamp.
    return stamp if time.time_ns() - stamp > _SETTLED_NANOSECONDS else None


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
    return f"_versions/{2**64 - 1 - int(text):020d}.manifest"


def find_reason(error: Exception) -> str:
    """Return the first line of a message of LanceDB, without positions in its source."""
    lines = str(error).splitlines() or [type(error).__name__]
    return re.sub(r",? */\S+\.rs:\d+:\d+", "", lines[0])


@contextmanager
def report_as_damaged(folder: Path) -> Iterator[None]:
    """Report any failure to read as a damaged gallery."""
    try:
        yield
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
