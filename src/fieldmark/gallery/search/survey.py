"""The subject of a gallery, the names of its items, and further names and words by which it can be asked."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from fieldmark.data.taxonomy import Taxonomy, read_taxonomy
from fieldmark.data.world_list import find_listed_names
from fieldmark.errors import MediaError
from fieldmark.gallery.files import GalleryPlace, open_files
from fieldmark.gallery.layout import GalleryFile
from fieldmark.gallery.naming.gallery_names import GalleryNames, write_gallery_names
from fieldmark.gallery.naming.name_index import ClassMeanings, NameIndex
from fieldmark.gallery.naming.name_reader import decide_for_classes
from fieldmark.gallery.naming.stored_names import read_species
from fieldmark.gallery.search.query import QueryEncoder, find_rows, read_words
from fieldmark.gallery.store import Filter, SegmentIndex, iterate_pages
from fieldmark.names import split_name
from fieldmark.subject import Subject, decide_subject
from fieldmark.types import Item, Medium

_SURE = 0.5
"""Probability from which on an item is called a species."""
_CALLED_SHARE = 0.1
"""Of the items that encoders might name; where they name fewer, the collection is of something else."""
_MOST_ITEMS = 20_000
"""Of a medium, spread over the gallery, that are looked at."""
_MOST_TEXTS = 4_000
_MOST_WORDS = 40_000
_BLOCK_ITEMS = 2_000


def survey_names(folder: GalleryPlace, *, index: SegmentIndex, encoder: QueryEncoder) -> GalleryNames:
    """Find out what a gallery is of and by what names and words it can be asked, and write this into its folder.

    Raises:
        DamagedGalleryError: The list of species cannot be read.
        ManifestError: The taxonomy is broken.
        OSError: The file cannot be written.
    """
    path = open_files(folder).find(GalleryFile.TAXONOMY)
    taxonomy = Taxonomy(()) if path is None else read_taxonomy(path)
    meanings = ClassMeanings(read_species(folder), taxonomy, resolutions=encoder.resolutions)
    items = [each.item for page in iterate_pages(index) for each in page]
    called, share = _count_called(items, index=index, encoder=encoder, called=meanings.called)
    classes = NameIndex(held={item.class_name for item in items if item.class_name}, trained=(), meanings=meanings)
    by_encoders = [meanings.known.find_all_names([name]) for name in called if share >= _CALLED_SHARE]
    subject = decide_for_classes(classes) if classes.held else decide_subject(by_encoders)
    named = [meanings.list_names(each) for each in sorted(classes.held)]
    listed = find_listed_names([*named, *by_encoders]) if subject is Subject.BIRDS else []
    found = GalleryNames(subject, called, tuple(listed), _collect_words(items, encoder=encoder))
    write_gallery_names(found, folder)
    return found


def _count_called(
    items: Sequence[Item], *, index: SegmentIndex, encoder: QueryEncoder, called: Mapping[Medium, Sequence[str]]
) -> tuple[dict[str, int], float]:
    """Return the number of items that are surely called each species, the commonest first, and their share."""
    counts: Counter[str] = Counter()
    looked_at = 0
    for medium, species in called.items():
        ids = [item.item_id for item in items if item.medium is medium] if encoder.name_weight is not None else []
        ids = ids[:: 1 + len(ids) // _MOST_ITEMS]
        looked_at += len(ids)
        for start in range(0, len(ids), _BLOCK_ITEMS):
            stored = index.embeddings(Filter(item_ids=frozenset(ids[start : start + _BLOCK_ITEMS])))
            score = encoder.score_species(stored.embedding, medium=medium)
            if score is None or score.shape[1] != len(species):
                continue
            for rows in find_rows(stored).values():
                best = score[rows].max(axis=0)
                at = int(np.argmax(best))
                counts[species[at]] += int(best[at] >= _SURE)
    kept = {name: count for name, count in counts.most_common() if count}
    return kept, sum(kept.values()) / max(looked_at, 1)


def _collect_words(items: Iterable[Item], *, encoder: QueryEncoder) -> frozenset[str]:
    """Return words of the texts, the commonest where there are too many."""
    texts = [item for item in items if item.medium is Medium.TEXT]
    counts: Counter[str] = Counter()
    for item in texts[:: 1 + len(texts) // _MOST_TEXTS]:
        try:
            words = read_words(item, limits=encoder.limits)
        except MediaError:
            continue
        counts.update(part for word in words for part in split_name(word))
    return frozenset(word for word, _ in counts.most_common(_MOST_WORDS))
