"""A gallery, or a manifest, as the items that a run learns from."""

import hashlib
import json
from pathlib import Path

from fieldmark.data.manifest import read_manifest
from fieldmark.gallery.lance import LanceIndex
from fieldmark.gallery.layout import GalleryLayout
from fieldmark.gallery.store import iterate_pages
from fieldmark.types import Item


def is_gallery(source: Path) -> bool:
    """Tell whether a path is the folder of a gallery."""
    return GalleryLayout(source).segments.is_dir()


def read_source(source: Path) -> tuple[Item, ...]:
    """Return the items of a manifest, or of a gallery with the classes that they have there.

    Raises:
        ManifestError: The manifest cannot be read, and the path is no gallery.
        DamagedGalleryError: The store of the gallery is broken.
    """
    if not is_gallery(source):
        return read_manifest(source)
    store = LanceIndex.open(GalleryLayout(source).segments)
    return tuple(stored.item for page in iterate_pages(store) for stored in page)


def hash_source(source: Path) -> str:
    """Return the SHA-256 of a manifest; of a gallery, that of the content and the class of every item."""
    if not is_gallery(source):
        return hashlib.sha256(source.read_bytes()).hexdigest()
    store, digest = LanceIndex.open(GalleryLayout(source).segments), hashlib.sha256()
    for page in iterate_pages(store):
        for stored in page:
            state = [stored.item.item_id, stored.content_hash, stored.item.class_name]
            digest.update(json.dumps(state).encode("utf-8", "surrogatepass") + b"\n")
    return digest.hexdigest()
