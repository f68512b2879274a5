"""A class that goes by another name, found by what the encoders call its items."""

import threading
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import final

import numpy as np
from jaxtyping import Float32

from fieldmark.gallery.naming.name_index import NamedSpecies, NameIndex
from fieldmark.gallery.search.query import QueryEncoder
from fieldmark.gallery.store import Comparison, Filter, SegmentIndex, StoredItem
from fieldmark.names import name_key

_NEAREST = 10
"""Labeled items of each medium whose classes are looked at."""
_FIRST = 3
"""Of them, most of the first must be of one class; otherwise the collection has hardly an item of the species."""
_SAMPLE_ITEMS = 20
"""Items of a class that are asked for their species, of as many origins as there are."""
_READ_ITEMS = 500
"""Items of a class among which these are chosen."""
_FEWEST_ITEMS = 3
"""A class of fewer items is not judged by them."""
_SHARE = 2 / 3
"""Of its items that must be nearest to the named species, among all species that encoders know."""


@dataclass(frozen=True, slots=True)
class _SpeciesTable:
    """An embedding of each species, by one of its names that the model was not trained on.

    Args:
        names: All names of each row's species.
    """

    names: tuple[tuple[str, ...], ...]
    embedding: Float32[np.ndarray, "species dim"]


@final
class NameAgreement:
    """Finds the class of a species among classes whose names do not tell their species.

    A search for "Blue Jay" in a collection that calls it "Blauhäher" takes this class for the Blue Jay if most of its
    items lie nearer to the name Blue Jay than to that of any other species, and if this is true of no other class.
    Safe to use from several threads.
    """

    def __init__(self, index: SegmentIndex, *, encoder: QueryEncoder) -> None:
        self._index = index
        self._encoder = encoder
        self._guard = threading.Lock()
        self._table: tuple[object, _SpeciesTable] | None = None

    def settle(self, named: NamedSpecies, *, names: NameIndex, comparison: Comparison) -> NamedSpecies:
        """Return a named species with its class, if that is found; else as it is.

        Args:
            comparison: Of the species' embedding with the gallery.
        """
        classes = _find_near_classes(names.list_open_classes(named), names=names, comparison=comparison)
        if not classes or not named.names:
            return named
        table = self._read_table(names)
        agreed = [each for each in classes if self._agrees(each, named, names=names, table=table)]
        return replace(named, class_name=agreed[0], is_agreed=True) if len(agreed) == 1 else named

    def _agrees(self, class_name: str, named: NamedSpecies, *, names: NameIndex, table: _SpeciesTable) -> bool:
        """Tell whether most items of a class are nearest to a species, in the media whose encoders name species."""
        if not names.meanings.known.is_compatible(class_name, named.names[0]):
            return False  # a Horned Puffin may look like an Atlantic one and is another
        where = Filter(class_names=frozenset({class_name}), media=names.meanings.named_media)
        items = _spread(self._index.items(where=where, limit=_READ_ITEMS), count=_SAMPLE_ITEMS)
        if len(items) < _FEWEST_ITEMS or not len(table.names):
            return False
        stored = self._index.embeddings(Filter(item_ids=frozenset(each.item.item_id for each in items)))
        row_of = {each.item.item_id: row for row, each in enumerate(items)}
        mean = np.zeros((len(items), stored.embedding.shape[1]), dtype=np.float32)
        np.add.at(mean, [row_of[item.item_id] for item in stored.items], stored.embedding)
        nearest = [table.names[row] for row in np.argmax(mean @ table.embedding.T, axis=1)]
        keys = set(map(name_key, named.names))
        return sum(not keys.isdisjoint(map(name_key, each)) for each in nearest) >= _SHARE * len(items)

    def _read_table(self, names: NameIndex) -> _SpeciesTable:
        """Return the embedding of each species, made once for a list of species."""
        with self._guard:
            if self._table is None or self._table[0] is not names.meanings:
                self._table = names.meanings, self._make_table(names)
            return self._table[1]

    def _make_table(self, names: NameIndex) -> _SpeciesTable:
        kept: list[tuple[str, ...]] = []
        rows = []
        for species in names.meanings.species:
            name = _choose_name(species, names)
            row = None if name is None else self._encoder.embed_class_name(name)
            if row is not None:
                kept.append(species)
                rows.append(row)
        return _SpeciesTable(tuple(kept), np.array(rows, dtype=np.float32))


def _spread(items: Sequence[StoredItem], *, count: int) -> list[StoredItem]:
    """Return some items, one of each origin in turn: twenty clips of one recording are one voice."""
    met: Counter[str] = Counter()
    turn: list[int] = []
    for each in items:
        origin = each.item.group or each.item.item_id
        turn.append(met[origin])
        met[origin] += 1
    order = sorted(range(len(items)), key=turn.__getitem__)
    return [items[index] for index in order[:count]]


def _find_near_classes(possible: Collection[str], *, names: NameIndex, comparison: Comparison) -> list[str]:
    """Return the classes, of those possible, near a species, if most of the nearest items are of one of them."""
    found: set[str] = set()
    is_near = False
    for medium in sorted(names.meanings.named_media) if possible else ():
        where = Filter(media=frozenset({medium}), class_names=names.held)
        near = [str(each.class_name) for each in comparison.score_nearest(k=_NEAREST, where=where)]
        is_near = is_near or any(near[:_FIRST].count(each) * 2 > _FIRST for each in possible)
        found.update(near)
    return sorted(found.intersection(possible)) if is_near else []


def _choose_name(species: Sequence[str], names: NameIndex) -> str | None:
    """Return a name of a species under which the model was not trained, which would bring what training adds."""
    return next((name for name in species if not names.is_trained(name)), None)
