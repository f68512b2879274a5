"""The contract: the small files of a gallery, which all its processes share; and those of a folder."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, final, runtime_checkable

import filelock

from fieldmark.errors import MissingGalleryError
from fieldmark.gallery.layout import GalleryFile, GalleryLayout
from fieldmark.io import read_stamp, write_shared_bytes


@runtime_checkable
class GalleryFiles(Protocol):
    """The files of `GalleryFile`: read and written whole, and seen by every process that uses the gallery."""

    @property
    def name(self) -> str:
        """The last part of the gallery's address."""
        ...

    @property
    def local_folder(self) -> Path:
        """A folder on this machine for what belongs to it alone; it need not exist."""
        ...

    def find(self, name: GalleryFile) -> Path | None:
        """Return where the newest content of a file can be read; None where there is none."""
        ...

    def write(self, name: GalleryFile, content: bytes) -> None:
        """Write a file, whole or not at all.

        Raises:
            OSError: The disk is full, or the folder may not be written.
            GalleryError: The engine cannot be written.
        """
        ...

    def read_stamp(self, name: GalleryFile) -> object:
        """Return what changes with a file; None where there is none."""
        ...

    def lock(self, name: GalleryFile) -> AbstractContextManager[None]:
        """Hold a file against other writers, of this process and of all others, until the block ends.

        Raises:
            MissingGalleryError: The gallery is gone.
            GalleryError: Another process has been writing for too long.
        """
        ...


@final
@dataclass(frozen=True, slots=True)
class FolderFiles(GalleryFiles):
    """The files of a gallery that is a folder."""

    folder: Path

    @property
    def name(self) -> str:
        """The name of the folder."""
        return self.folder.resolve().name

    @property
    def local_folder(self) -> Path:
        """The folder itself."""
        return self.folder

    def find(self, name: GalleryFile) -> Path | None:
        """Return the path of a file that is there."""
        path = self.folder / name
        return path if path.exists() else None

    def write(self, name: GalleryFile, content: bytes) -> None:
        """Write a file, as `GalleryFiles.write` does."""
        write_shared_bytes(self.folder / name, content)

    def read_stamp(self, name: GalleryFile) -> object:
        """Return what changes with a file."""
        return read_stamp(self.folder / name)

    @contextmanager
    def lock(self, name: GalleryFile) -> Iterator[None]:
        """Hold a lock file that the system frees when its holder dies."""
        if not self.folder.is_dir():  # the lock would make it
            raise MissingGalleryError(path=self.folder)
        layout = GalleryLayout(self.folder)
        with filelock.FileLock(layout.labels_lock if name is GalleryFile.LABELS else layout.sets_lock):
            yield


GalleryPlace = Path | GalleryFiles
"""The place of a gallery: its folder, or its files where an engine holds it."""


def name_place(place: GalleryPlace) -> Path | str:
    """Return how a person names a gallery: its folder, or its address."""
    return place if isinstance(place, Path) else str(place)


def open_files(place: GalleryPlace) -> GalleryFiles:
    """Return the files of a gallery."""
    return FolderFiles(place) if isinstance(place, Path) else place
