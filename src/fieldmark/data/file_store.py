"""Files on a file system or in an object store, named by an address; and items whose files lie in such a store."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any, TypeVar, final

from fieldmark.errors import EmbeddingsError, MissingFileError, UnreadableMediaError, read_first_line
from fieldmark.io import write_new_bytes, write_shared_bytes
from fieldmark.types import Form, Item

_Result = TypeVar("_Result")
_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+):/(?:/)?(?=[^/])")
"""An object store's address. As a path it has one slash only, since a path joins slashes."""


def is_address(place: Path | str) -> bool:
    """Tell whether a place is in an object store: `s3://bucket/birds`, or that as a path.

    Example:
        >>> is_address("s3://bucket/birds"), is_address(Path("s3://bucket/birds")), is_address("birds/s3")
        (True, True, False)
    """
    return _ADDRESS.match(str(place)) is not None


def restore_address(place: Path | str) -> str:
    """Return an address with both of its slashes; any other place as it is.

    Example:
        >>> restore_address(Path("s3://bucket/birds"))
        's3://bucket/birds'
    """
    return _ADDRESS.sub(r"\1://", str(place), count=1)


@final
class FileStore:
    """A folder of files that are written whole or not at all.

    On a file system a file is written beside its place, synchronized and renamed. An object store shows an object once
    all of it has arrived. No lock is held and no clock is read, so neither a network file system without locks nor
    machines with other times can break what is written.

    Args:
        address: A folder, or an address that fsspec knows (`s3://`, `gs://`, `memory://`), whose driver is installed.

    Raises:
        EmbeddingsError: There is no driver for the address.
    """

    def __init__(self, address: Path | str) -> None:
        self.address = restore_address(address)
        self.local = None if is_address(address) else Path(address)
        self._root = ""
        self._driver: Any = None  # of fsspec, which has no types
        if self.local is None:
            self._driver, self._root = _open_remote(self.address)

    def read(self, name: str) -> bytes | None:
        """Return the content of a file; None where there is none.

        Raises:
            EmbeddingsError: It cannot be read.
        """
        return self._try(lambda: self._read(name), doing=f"'{name}' could not be read")

    def write(self, name: str, content: bytes) -> None:
        """Write a file, which takes the place of an earlier one.

        Raises:
            EmbeddingsError: The disk or the store is full, or may not be written.
        """
        self._try(lambda: self._write(name, content), doing=f"'{name}' could not be written")

    def create(self, name: str, content: bytes) -> bytes:
        """Write a file unless it is there, and return the content that stands: of several writers, one wins.

        Raises:
            EmbeddingsError: The disk or the store is full, or may not be written.
        """
        return self._try(lambda: self._create(name, content), doing=f"'{name}' could not be written")

    def list(self, folder: str) -> tuple[str, ...]:
        """Return the names of the files of a folder, in order; none where there is no folder.

        Raises:
            EmbeddingsError: It cannot be listed.
        """
        return self._try(lambda: self._list(folder), doing=f"'{folder}' could not be listed")

    def delete(self, name: str) -> None:
        """Delete a file, if it is there.

        Raises:
            EmbeddingsError: It may not be deleted.
        """
        self._try(lambda: self._delete(name), doing=f"'{name}' could not be deleted")

    def _read(self, name: str) -> bytes | None:
        try:
            if self.local is not None:
                return (self.local / name).read_bytes()
            return bytes(self._driver.cat_file(f"{self._root}/{name}"))
        except FileNotFoundError:
            return None

    def _write(self, name: str, content: bytes) -> None:
        if self.local is not None:
            (self.local / name).parent.mkdir(parents=True, exist_ok=True)
            write_shared_bytes(self.local / name, content)
        else:
            self._driver.pipe_file(f"{self._root}/{name}", content)

    def _create(self, name: str, content: bytes) -> bytes:
        try:
            if self.local is not None:
                (self.local / name).parent.mkdir(parents=True, exist_ok=True)
                write_new_bytes(self.local / name, content)
            else:
                self._driver.pipe_file(f"{self._root}/{name}", content, mode="create")
        except FileExistsError:
            pass
        return self._read(name) or b""

    def _list(self, folder: str) -> tuple[str, ...]:
        try:
            if self.local is not None:
                return tuple(sorted(path.name for path in (self.local / folder).iterdir() if path.is_file()))
            self._driver.invalidate_cache(f"{self._root}/{folder}")
            found = self._driver.ls(f"{self._root}/{folder}", detail=False)
        except FileNotFoundError:
            return ()
        return tuple(sorted(str(each).rsplit("/", 1)[-1] for each in found))

    def _delete(self, name: str) -> None:
        if self.local is not None:
            (self.local / name).unlink(missing_ok=True)
        elif self._driver.exists(f"{self._root}/{name}"):
            self._driver.rm_file(f"{self._root}/{name}")

    def _try(self, work: Callable[[], _Result], *, doing: str) -> _Result:
        try:
            return work()
        except Exception as error:  # drivers of object stores raise errors of their own, of many classes
            if self.local is not None and not isinstance(error, OSError):
                raise
            raise EmbeddingsError(
                path=self.address,
                reason=f"{doing} ({read_first_line(error)}); free space, or correct permissions or credentials, "
                "and run the same command again",
            ) from error


def _open_remote(address: str) -> tuple[Any, str]:
    import fsspec

    try:
        driver, root = fsspec.core.url_to_fs(address)
    except (ImportError, ValueError) as error:
        raise EmbeddingsError(
            path=address, reason=f"{read_first_line(error)}; install the driver of this address, or give a folder"
        ) from error
    return driver, str(root).rstrip("/")


# ---------------------------------------------------------------- items in a store


def place_item(item: Item, *, read_in: Path, address: str) -> Item:
    """Return an item of a manifest that was copied from a store, with the path that its file has there.

    Args:
        read_in: The folder where the copy of the manifest was read.
        address: Of the folder that holds the manifest in the store.
    """
    if item.path is None or is_address(item.path):
        return item
    below = PurePosixPath(item.path.relative_to(read_in).as_posix()) if item.path.is_relative_to(read_in) else item.path
    return replace(item, path=Path(f"{address}/{below}"))


@contextmanager
def open_locally(item: Item) -> Iterator[Item]:
    """Give the item with a path that a loader can open; a file of an object store is copied for as long.

    Raises:
        MissingFileError: There is no such file in the store.
        UnreadableMediaError: It cannot be copied.
    """
    if item.path is None or not is_address(item.path):
        yield item
        return
    address = restore_address(item.path)
    if item.form is Form.FRAMES:
        raise UnreadableMediaError(path=address, reason="a video as numbered pictures must lie on a file system")
    with TemporaryDirectory(prefix="fieldmark-") as folder:
        copy = Path(folder) / item.path.name
        try:
            driver, path = _open_remote(address)
            driver.get_file(path, str(copy))
        except FileNotFoundError as error:
            raise MissingFileError(path=address) from error
        except Exception as error:
            raise UnreadableMediaError(path=address, reason=read_first_line(error)) from error
        yield replace(item, path=copy)


def stamp_file(item: Item) -> str:
    """Return what changes when the file of an item is replaced, without reading it: its size and its time.

    Times are compared with nothing but themselves, so clocks of machines may differ.
    """
    if item.path is None:
        return "text"
    try:
        if is_address(item.path):
            driver, path = _open_remote(restore_address(item.path))
            return str(driver.ukey(path))
        found = item.path.stat()
    except Exception:  # noqa: BLE001 - of any driver; a file that cannot be seen is met again when it is read
        return "missing"
    return f"{found.st_size} {found.st_mtime_ns}"
