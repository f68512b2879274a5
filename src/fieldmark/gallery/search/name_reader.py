"""The names of a gallery, read once for each state of its files and classes."""

import threading
from collections.abc import Sequence
from typing import final

from fieldmark.data.taxonomy import Taxonomy, read_taxonomy
from fieldmark.gallery.files import GalleryPlace, open_files
from fieldmark.gallery.layout import GalleryFile
from fieldmark.gallery.names import read_species
from fieldmark.gallery.search.name_index import ClassMeanings, NameIndex
from fieldmark.names import Resolution

_Stamp = tuple[object, object]


@final
class NameReader:
    """Reads the names by which texts find classes and species.

    To go through the names of thousands of species takes about a second, so it is done again only where a file has
    changed. Safe to use from several threads.

    Args:
        folder: Of the gallery.
        resolutions: The species of its model's classes, as training found them.
    """

    def __init__(self, folder: GalleryPlace, *, resolutions: Sequence[Resolution]) -> None:
        self._resolutions = tuple(resolutions)
        self._files = open_files(folder)
        self._guard = threading.Lock()
        self._meanings: tuple[_Stamp, ClassMeanings] | None = None
        self._index: tuple[ClassMeanings, frozenset[str], frozenset[str], NameIndex] | None = None

    def read(self, *, held: frozenset[str], trained: frozenset[str]) -> NameIndex:
        """Return the names of the gallery as it is now.

        Args:
            held: The classes of its items.
            trained: The classes that its model was trained on.

        Raises:
            DamagedGalleryError: The list of species cannot be read.
            ManifestError: The taxonomy is broken.
        """
        with self._guard:
            meanings = self._read_meanings()
            if self._index is None or self._index[:3] != (meanings, held, trained):
                index = NameIndex(held=held, trained=trained, meanings=meanings)
                self._index = (meanings, held, trained, index)
            return self._index[3]

    def _read_meanings(self) -> ClassMeanings:
        stamp = (self._files.read_stamp(GalleryFile.SPECIES), self._files.read_stamp(GalleryFile.TAXONOMY))
        if self._meanings is None or self._meanings[0] != stamp:
            path = self._files.find(GalleryFile.TAXONOMY)
            taxonomy = Taxonomy(()) if path is None else read_taxonomy(path)
            self._meanings = stamp, ClassMeanings(read_species(self._files), taxonomy, resolutions=self._resolutions)
        return self._meanings[1]
