"""The names of a gallery, read once for each state of its files and classes."""

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import final

from fieldmark.data.taxonomy import Taxonomy, read_taxonomy
from fieldmark.gallery.files import GalleryPlace, open_files
from fieldmark.gallery.layout import GalleryFile
from fieldmark.gallery.naming.gallery_names import GalleryNames, read_gallery_names
from fieldmark.gallery.naming.name_index import ClassMeanings, NameIndex
from fieldmark.gallery.naming.name_offers import HeldName, NameOffers
from fieldmark.gallery.naming.stored_names import read_species
from fieldmark.gallery.naming.typed_names import TypedNames
from fieldmark.names import Resolution, name_key
from fieldmark.subject import Subject, decide_by_names, decide_subject

_Stamp = tuple[object, ...]


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
        self._place = open_files(folder)
        self._guard = threading.Lock()
        self._files: tuple[_Stamp, ClassMeanings, GalleryNames] | None = None
        self._known: tuple[object, Mapping[str, int], frozenset[str], TypedNames] | None = None

    def read(self, *, held: Mapping[str, int], trained: frozenset[str]) -> TypedNames:
        """Return the names of the gallery as it is now.

        Args:
            held: The number of items of each of its classes.
            trained: The classes that its model was trained on.

        Raises:
            DamagedGalleryError: The list of species cannot be read.
            ManifestError: The taxonomy is broken.
        """
        with self._guard:
            _, meanings, names = files = self._read_files()
            if self._known is None or self._known[:3] != (files, held, trained):
                index = NameIndex(held=held, trained=trained, meanings=meanings)
                offered = _list_offered(index, held=held, called=names.called)
                subject = names.subject or decide_for_classes(index)
                typed = TypedNames(index, NameOffers(offered), subject=subject, words=names.words)
                self._known = (files, held, trained, typed)
            return self._known[3]

    def _read_files(self) -> tuple[_Stamp, ClassMeanings, GalleryNames]:
        place = self._place
        stamp = tuple(map(place.read_stamp, (GalleryFile.SPECIES, GalleryFile.TAXONOMY, GalleryFile.NAMES)))
        if self._files is None or self._files[0] != stamp:
            path = place.find(GalleryFile.TAXONOMY)
            taxonomy = Taxonomy(()) if path is None else read_taxonomy(path)
            names, species = read_gallery_names(place), read_species(place)
            meanings = ClassMeanings(species, taxonomy, resolutions=self._resolutions, listed=names.species)
            self._files = (stamp, meanings, names)
        return self._files


def decide_for_classes(index: NameIndex) -> Subject:
    """Decide what a gallery is of by its classes, where its items were not asked."""
    taxa = [index.meanings.taxonomy.find(each) for each in sorted(index.held)]
    names = [index.meanings.list_names(each) for each in sorted(index.held)]
    orders = [taxon.order for taxon in taxa if taxon is not None and taxon.order]
    by_species = decide_subject([own for own in names if len(own) > 1], orders=orders, class_count=len(names))
    return by_species if by_species is not Subject.THINGS else decide_by_names(index.held, is_ranked=False)


def _list_offered(index: NameIndex, *, held: Mapping[str, int], called: Mapping[str, int]) -> list[HeldName]:
    """Return the classes that are held, and the species that items are called, where these are not of such a class."""
    offered = [HeldName(each, index.meanings.list_names(each), count) for each, count in held.items()]
    taken = {name_key(name) for each in offered for name in each.names}
    for name, count in Counter(called).most_common():
        names = index.meanings.known.find_all_names([name])
        taxon = next(filter(None, map(index.meanings.taxonomy.find, names)), None)
        names = (*names, *(() if taxon is None else (taxon.class_name, *taxon.other_names)))
        if taken.isdisjoint(map(name_key, names)):
            offered.append(HeldName(name, names, count))
    return offered
