"""The small files of a gallery in Milvus, in a collection beside its segments; and the locks of their writers.

A file is one row that names its content by its hash; a content that is too long for that row stands in parts of its
own, which are written first, so that a reader finds the old content or the new one.
"""

import base64
import hashlib
import json
import tempfile
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from random import SystemRandom
from typing import final

from fieldmark.errors import DamagedGalleryError, FieldmarkError, GalleryError
from fieldmark.gallery.address import EngineAccess, MilvusAddress
from fieldmark.gallery.files import GalleryFiles
from fieldmark.gallery.layout import GalleryFile
from fieldmark.gallery.milvus.connection import BOUNDED, CALL_SECONDS, STRONG, Connection, Row
from fieldmark.io import write_shared_bytes

FRESH_SECONDS = 1.0
"""For so long a process takes what it knows of the files, and of the state of the store, to be the newest."""

_COLUMNS: Mapping[str, str | int] = {"pk": "text", "kind": "text", "value": "text", "vector": 2}
_VECTOR = [1.0, 0.0]
"""Milvus asks for a vector in every collection."""

_PART_BYTES = 36_000
"""Of a content: as base64 they leave room in a text of 65,535 bytes."""
_PARTS_AT_ONCE = 200
_OWN_SECONDS = 10.0
"""After a write of its own, a process asks for so long for all that it wrote; later the engine's bound covers it."""

_WAIT_SECONDS = 60.0
_BEAT_SECONDS = 5.0
_DEAD_SECONDS = 30.0
"""A holder of a lock whose beat has not changed for so long, by the clock of the one who waits, has died."""
_RETRY_SECONDS = 0.05, 0.3


@dataclass(frozen=True, slots=True)
class _Pointer:
    digest: str
    part_count: int
    inline: str


@final
class MilvusFiles(GalleryFiles):
    """The files of a gallery in Milvus.

    Args:
        fresh_seconds: For so long the names and hashes of the files are not read again.
        call_seconds: As for `Connection`.

    Raises:
        MissingExtraError: The client is not installed.
        GalleryError: The engine cannot be reached, or refuses the token.
    """

    def __init__(
        self,
        address: MilvusAddress,
        *,
        access: EngineAccess,
        fresh_seconds: float = FRESH_SECONDS,
        call_seconds: float = CALL_SECONDS,
    ) -> None:
        self.address = address
        self.connection = Connection(address, access=access, call_seconds=call_seconds)
        self.fresh_seconds = fresh_seconds
        self._collection = f"{address.name}__files"
        digest = hashlib.sha256(str(address).encode()).hexdigest()[:16]
        self._local_folder = (access.cache or Path(tempfile.gettempdir()) / "fieldmark") / "galleries" / digest
        self._guard = threading.Lock()
        self._pointers: dict[str, _Pointer] = {}
        self._read_at = self._written_at = -float("inf")
        self._held_count = 0

    def __str__(self) -> str:
        """Return the address of the gallery."""
        return str(self.address)

    @property
    def name(self) -> str:
        """The name of the collection."""
        return self.address.name

    @property
    def local_folder(self) -> Path:
        """The folder of this gallery in the cache of this machine."""
        self._local_folder.mkdir(parents=True, exist_ok=True)
        return self._local_folder

    def find(self, name: GalleryFile) -> Path | None:
        """Return a copy of a file on this machine, made where there is none of its newest content."""
        while (pointer := self._find_pointer(name)) is not None:
            path = self.local_folder / f"{pointer.digest[:32]}-{name}"
            if path.is_file():
                return path
            content = self.read_content(name)
            if content is not None and hashlib.sha256(content).hexdigest() == pointer.digest:
                write_shared_bytes(path, content)
                return path
        return None

    def write(self, name: GalleryFile, content: bytes) -> None:
        """Write a file, as `GalleryFiles.write` does."""
        self.write_content(name, content)

    def read_stamp(self, name: GalleryFile) -> object:
        """Return the hash of a file; None where there is none."""
        return self.read_content_stamp(name)

    @contextmanager
    def lock(self, name: str, *, wait_seconds: float = _WAIT_SECONDS) -> Iterator[None]:
        """Hold a name against all other processes, whatever their clocks say.

        Whoever wants it writes a row, and holds it where it then sees no other row: of two who do so at once, one at
        least sees the other, since Milvus reads all that was acknowledged before. A holder that has died is found by
        its beat, which does not change any more.

        Raises:
            GalleryError: Another process has held it for too long.
        """
        self._create()
        own, deadline = f"lock/{name}/{uuid.uuid4().hex}", time.monotonic() + wait_seconds
        seen: dict[str, tuple[str, float]] = {}
        while not self._try_lock(own, seen):
            if time.monotonic() > deadline:
                raise GalleryError(
                    f"Another process is writing the gallery '{self}'; this one waited {wait_seconds:g} seconds. "
                    "Wait until the other one ends, and run the same command again.",
                    kind="gallery_busy",
                )
            time.sleep(SystemRandom().uniform(*_RETRY_SECONDS))
        ended = threading.Event()
        beating = threading.Thread(target=self._beat, args=(own, ended), daemon=True)
        beating.start()
        self._count_held(1)
        try:
            yield
        finally:
            self._count_held(-1)
            ended.set()
            beating.join()
            with suppress(FieldmarkError):  # found dead by its beat
                self.connection.delete(self._collection, [own])

    # ------------------------------------------------------------ contents, of these files and of the store's own

    def read_content(self, name: str, *, is_strong: bool = False, is_held: bool = False) -> bytes | None:
        """Return the content of a file; None where there is none.

        Args:
            is_strong: Whether what another process has just written is wanted.
            is_held: Whether the caller holds the lock of the file, so that nobody has written it since.

        Raises:
            DamagedGalleryError: A part of it is missing.
        """
        for _ in range(3):  # the parts go where another content takes the place of this one
            pointer = self._find_pointer(name, is_strong=is_strong, is_held=is_held)
            if pointer is None:
                return None
            content = base64.b64decode(pointer.inline or "".join(self._read_parts(pointer)))
            if hashlib.sha256(content).hexdigest() == pointer.digest:
                return content
            is_strong = True
        raise DamagedGalleryError(path=str(self), reason=f"'{name}' is not what was written")

    def read_content_stamp(self, name: str, *, is_strong: bool = False, is_held: bool = False) -> str | None:
        """Return the hash of a file, as `read_content` finds it; None where there is none."""
        pointer = self._find_pointer(name, is_strong=is_strong, is_held=is_held)
        return None if pointer is None else pointer.digest

    def write_content(self, name: str, content: bytes, *, is_held: bool = False) -> None:
        """Write a file whole, or not at all.

        Args:
            is_held: As for `read_content`.
        """
        self._create()
        digest = hashlib.sha256(content).hexdigest()
        earlier = self._find_pointer(name, is_strong=True, is_held=is_held)
        if earlier is not None and earlier.digest == digest:
            return
        parts = [
            base64.b64encode(content[at : at + _PART_BYTES]).decode() for at in range(0, len(content), _PART_BYTES)
        ]
        pointer = _Pointer(digest, len(parts), "") if len(parts) > 1 else _Pointer(digest, 0, "".join(parts))
        rows = [_make_row(_name_part(digest, at), "part", text) for at, text in enumerate(parts)]
        for start in range(0, len(rows) if pointer.part_count else 0, _PARTS_AT_ONCE):
            self.connection.write(self._collection, rows[start : start + _PARTS_AT_ONCE])
        value = json.dumps([digest, pointer.part_count, pointer.inline])
        self.connection.write(self._collection, [_make_row(f"file/{name}", "file", value)])
        self._note(name, pointer)
        if earlier is not None:
            self._delete_parts(earlier)

    def remove_content(self, name: str) -> None:
        """Delete a file whose lock the caller holds; one that is not there is skipped."""
        pointer = self._find_pointer(name, is_held=True)
        if pointer is not None:
            self.connection.delete(self._collection, [f"file/{name}"])
            self._note(name, None)
            self._delete_parts(pointer)

    def remove_all(self) -> None:
        """Delete all files of the gallery."""
        self.connection.drop_collection(self._collection)
        self._pointers = {}

    # ------------------------------------------------------------ rows

    def _create(self) -> None:
        if self._read_at < 0 and not self.connection.has_collection(self._collection):
            self.connection.create_collection(self._collection, _COLUMNS)
        self._read_at = max(self._read_at, 0.0)

    def _find_pointer(self, name: str, *, is_strong: bool = False, is_held: bool = False) -> _Pointer | None:
        with self._guard:
            if is_held:
                pass
            elif is_strong or time.monotonic() - self._read_at >= self.fresh_seconds:
                self._refresh(is_strong=is_strong)
            return self._pointers.get(name)

    def _refresh(self, *, is_strong: bool) -> None:
        if self._read_at < 0:
            if not self.connection.has_collection(self._collection):
                return
            is_strong = True
        is_strong = is_strong or self._held_count > 0  # what is read under a lock is written back
        level: str | int = STRONG if is_strong else BOUNDED
        if not is_strong and time.monotonic() - self._written_at < _OWN_SECONDS:
            level = self.connection.get_written_time(self._collection) or BOUNDED
        self._take_pointers(self.connection.read(self._collection, 'kind == "file"', ["pk", "value"], level=level))

    def _take_pointers(self, rows: Iterable[Row]) -> None:
        self._pointers = {row["pk"].removeprefix("file/"): _Pointer(*json.loads(row["value"])) for row in rows}
        self._read_at = time.monotonic()

    def _note(self, name: str, pointer: _Pointer | None) -> None:
        with self._guard:
            self._written_at = time.monotonic()
            if pointer is None:
                self._pointers.pop(name, None)
            else:
                self._pointers[name] = pointer

    def _read_parts(self, pointer: _Pointer) -> Iterator[str]:
        for start in range(0, pointer.part_count, _PARTS_AT_ONCE):
            stop = min(start + _PARTS_AT_ONCE, pointer.part_count)
            names = [_name_part(pointer.digest, number) for number in range(start, stop)]
            listed = ", ".join(f'"{name}"' for name in names)
            found = self.connection.read(self._collection, f"pk in [{listed}]", ["pk", "value"])
            by_name = {row["pk"]: row["value"] for row in found}
            yield from (by_name.get(name, "") for name in names)

    def _delete_parts(self, pointer: _Pointer) -> None:
        names = [_name_part(pointer.digest, number) for number in range(pointer.part_count)]
        if not any(each.digest == pointer.digest for each in self._pointers.values()):
            self.connection.delete(self._collection, names)

    # ------------------------------------------------------------ locks

    def _try_lock(self, own: str, seen: dict[str, tuple[str, float]]) -> bool:
        """Tell whether a lock is held now; drops the rows of holders that have died."""
        if seen and self._list_others(own, seen):  # who was met before is waited for without a row of one's own
            return False
        self.connection.write(self._collection, [_make_row(own, "lock", "0")])
        if not self._list_others(own, seen):
            return True
        self.connection.delete(self._collection, [own])
        return False

    def _list_others(self, own: str, seen: dict[str, tuple[str, float]]) -> dict[str, str]:
        """Return the rows of others who hold a lock or want it; whoever holds it then knows the newest files."""
        rows = self.connection.read(self._collection, 'kind in ["file", "lock"]', ["pk", "kind", "value"])
        prefix = own.rpartition("/")[0] + "/"
        others = {row["pk"]: row["value"] for row in rows if row["pk"].startswith(prefix) and row["pk"] != own}
        with self._guard:
            self._take_pointers(row for row in rows if row["kind"] == "file")
        self._drop_dead(others, seen)
        return others

    def _drop_dead(self, others: Mapping[str, str], seen: dict[str, tuple[str, float]]) -> None:
        now = time.monotonic()
        for key, beat in others.items():
            known, since = seen.get(key, ("", now))
            if known != beat:
                seen[key] = beat, now
            elif now - since > _DEAD_SECONDS:
                self.connection.delete(self._collection, [key])

    def _count_held(self, change: int) -> None:
        with self._guard:
            self._held_count += change

    def _beat(self, own: str, ended: threading.Event) -> None:
        number = 0
        while not ended.wait(_BEAT_SECONDS):
            number += 1
            with suppress(FieldmarkError):
                self.connection.write(self._collection, [_make_row(own, "lock", str(number))])


def _make_row(key: str, kind: str, value: str) -> Row:
    return {"pk": key, "kind": kind, "value": value, "vector": _VECTOR}


def _name_part(digest: str, number: int) -> str:
    return f"part/{digest}/{number:05}"
