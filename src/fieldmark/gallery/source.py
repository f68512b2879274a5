"""A gallery, or a manifest, as the items that a run learns from."""

import hashlib
import json
from pathlib import Path

from fieldmark.data.manifest import read_manifest
from fieldmark.gallery.address import EngineAccess
from fieldmark.gallery.files import GalleryPlace
from fieldmark.gallery.layout import GalleryLayout
from fieldmark.gallery.opening import open_place, open_store
from fieldmark.gallery.store import iterate_pages
from fieldmark.types import Item

_NO_ACCESS = EngineAccess()


def find_gallery(source: Path, *, access: EngineAccess = _NO_ACCESS) -> GalleryPlace | None:
    """Return the gallery that a path or an address names; None for a manifest.

    Raises:
        GalleryError: The engine that an address names cannot be reached.
    """
    place = open_place(source, access=access)
    return place if not isinstance(place, Path) or GalleryLayout(place).segments.is_dir() else None


def read_source(source: Path, *, access: EngineAccess = _NO_ACCESS) -> tuple[Item, ...]:
    """Return the items of a manifest, or of a gallery with the classes that they have there.

    Raises:
        ManifestError: The manifest cannot be read, and the path is no gallery.
        DamagedGalleryError: The store of the gallery is broken.
    """
    place = find_gallery(source, access=access)
    if place is None:
        return read_manifest(source)
    return tuple(stored.item for page in iterate_pages(open_store(place, is_raw=True)) for stored in page)


def hash_source(source: Path, *, access: EngineAccess = _NO_ACCESS) -> str:
    """Return the SHA-256 of a manifest; of a gallery, that of the content and the class of every item."""
    place = find_gallery(source, access=access)
    if place is None:
        return hashlib.sha256(source.read_bytes()).hexdigest()
    store, digest = open_store(place, is_raw=True), hashlib.sha256()
    for page in iterate_pages(store):
        for stored in page:
            state = [stored.item.item_id, stored.content_hash, stored.item.class_name]
            digest.update(json.dumps(state).encode("utf-8", "surrogatepass") + b"\n")
    return digest.hexdigest()
