"""The one place where the address of a gallery becomes its files and its store."""

from pathlib import Path
from typing import TYPE_CHECKING

from fieldmark.errors import DamagedGalleryError, MissingGalleryError
from fieldmark.gallery.address import EngineAccess, parse_address
from fieldmark.gallery.files import GalleryFiles, GalleryPlace, name_place, open_files
from fieldmark.gallery.lance import EXACT_ROWS, LanceIndex
from fieldmark.gallery.layout import GalleryFile, GalleryLayout
from fieldmark.gallery.sources import MovedFiles
from fieldmark.gallery.store import SegmentIndex

if TYPE_CHECKING:
    from fieldmark.gallery.milvus.files import MilvusFiles
    from fieldmark.gallery.milvus.index import MilvusIndex


def open_place(gallery: Path | str, *, access: EngineAccess) -> GalleryPlace:
    """Return where a gallery is: its folder, or its files in the engine that its address names.

    Raises:
        ConfigError: The address is none.
        MissingExtraError: The client of the engine is not installed.
        GalleryError: The engine cannot be reached, or refuses the token.
    """
    address = parse_address(gallery)
    if isinstance(address, Path):
        return address
    from fieldmark.gallery.milvus.files import MilvusFiles

    return MilvusFiles(address, access=access)


def open_store(
    place: GalleryPlace, *, fingerprint: str | None = None, exact_rows: int = EXACT_ROWS, is_raw: bool = False
) -> SegmentIndex:
    """Open the store of a gallery.

    Args:
        fingerprint: Of the encoder that the caller uses; None takes the store whatever it was made with.
        exact_rows: Segments up to which a search of a store in a folder is exact.
        is_raw: Whether paths are given as they were stored, not where files are now that moved with the gallery.

    Raises:
        MissingGalleryError: There is no gallery.
        DamagedGalleryError: There is a checkpoint and no store, or the store cannot be read.
        GalleryError: The store was made with another fingerprint, or by another version of fieldmark.
    """
    store = find_store(place, fingerprint=fingerprint, exact_rows=exact_rows, is_raw=is_raw)
    if store is not None:
        return store
    if open_files(place).find(GalleryFile.CHECKPOINT) is None:
        raise MissingGalleryError(path=name_place(place))
    held = f"'{GalleryLayout(place).segments.name}' holds" if isinstance(place, Path) else "the engine holds"
    raise DamagedGalleryError(path=name_place(place), reason=f"{held} no store")


def find_store(
    place: GalleryPlace, *, fingerprint: str | None = None, exact_rows: int = EXACT_ROWS, is_raw: bool = False
) -> SegmentIndex | None:
    """Open the store of a gallery as `open_store` does; None where there is none, or one that was only begun."""
    try:
        if not isinstance(place, Path):
            return _milvus().open(_take_milvus(place), fingerprint=fingerprint)
        segments = GalleryLayout(place).segments
        if is_raw:
            return LanceIndex.open(segments, fingerprint=fingerprint, exact_rows=exact_rows)
        adapt = MovedFiles(place).adapt
        return LanceIndex.open(segments, fingerprint=fingerprint, exact_rows=exact_rows, adapt=adapt)
    except MissingGalleryError:
        return None


def create_store(place: GalleryPlace, *, fingerprint: str, dim: int) -> SegmentIndex:
    """Create the empty store of a gallery.

    Raises:
        GalleryError: There is one already, or it cannot be written.
    """
    if isinstance(place, Path):
        return LanceIndex.create(GalleryLayout(place).segments, fingerprint=fingerprint, dim=dim)
    return _milvus().create(_take_milvus(place), fingerprint=fingerprint, dim=dim)


def _milvus() -> "type[MilvusIndex]":
    from fieldmark.gallery.milvus.index import MilvusIndex

    return MilvusIndex


def _take_milvus(files: GalleryFiles) -> "MilvusFiles":
    from fieldmark.gallery.milvus.files import MilvusFiles

    assert isinstance(files, MilvusFiles)  # noqa: S101 - the only files that are no folder
    return files


def measure_bytes(place: GalleryPlace) -> int | None:
    """Return the bytes of all files of a gallery's folder; None where an engine keeps them.

    One that another process deletes meanwhile counts as none.
    """
    if not isinstance(place, Path):
        return None
    total = 0
    for path in place.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except OSError:
            continue
    return total
