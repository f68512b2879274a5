"""Records among hits: looked up by number, file or place, sorted by date or place, and gathered."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol, runtime_checkable

from fieldmark.gallery.store import Filter, StoredItem
from fieldmark.records.columns import fold_text, get_date_span, list_keys
from fieldmark.types import MEDIA, Hit, Item

_LONGEST_KEY = 300
PLACE = "place"
"""The fact that many records share; all others stand for one."""

_SCORE = 1.0
"""Of a hit that was looked up: it is the record itself. It is not shown, since nothing was compared."""


@runtime_checkable
class ItemReader(Protocol):
    """The part of a store that a look-up needs; a check of its class reads no property of the store."""

    def items(self, *, where: Filter | None = None, limit: int) -> tuple[StoredItem, ...]:
        """Return items that meet a filter."""
        ...


class HitOrder(StrEnum):
    """The facts by which hits can be sorted."""

    DATE = "date"
    PLACE = "place"


@dataclass(frozen=True, slots=True)
class RecordMatch:
    """The items that a text looks up.

    Args:
        is_one: True for a number, id or file name, which stand for one record; False for a place.
    """

    hits: tuple[Hit, ...]
    is_one: bool


def look_up(index: ItemReader, text: str, *, where: Filter, limit: int) -> RecordMatch | None:
    """Return the items whose id, catalog or occurrence number, file name or place is a text; None for no such item.

    Case, accents and spaces make no difference.
    """
    key = fold_text(text)
    if not key or len(text) > _LONGEST_KEY:
        return None
    narrowed = replace(where, facts=replace(where.facts, keys=frozenset({key})))
    found = [(stored, list_keys(stored.item)[key]) for stored in index.items(where=narrowed, limit=limit)]
    if not found:
        return None
    found.sort(key=lambda each: each[1] == PLACE)
    hits = tuple(
        Hit(rank, _SCORE, stored.item, stored.set_name, matched=fact, is_compared=False)
        for rank, (stored, fact) in enumerate(found, 1)
    )
    return RecordMatch(hits, is_one=hits[0].matched != PLACE)


def list_items(index: ItemReader, *, where: Filter, k: int, per_medium: bool) -> tuple[Hit, ...]:
    """Return the first `k` items that meet a filter, by their ids; of each medium if so told."""
    filters = [where]
    if per_medium:
        filters = [
            replace(where, media=frozenset({each})) for each in MEDIA if where.media is None or each in where.media
        ]
    stored = [each for own in filters for each in index.items(where=own, limit=k)]
    return tuple(Hit(rank, _SCORE, each.item, each.set_name, is_compared=False) for rank, each in enumerate(stored, 1))


def get_record_id(item: Item) -> str | None:
    """Return what tells the record of an item from others; None for an item without a record."""
    return item.occurrence_id or item.catalog_number or item.group


def sort_hits(hits: Iterable[Hit], order: HitOrder) -> tuple[Hit, ...]:
    """Return hits by date or place; those without one come last, each in its rank."""
    return tuple(sorted(hits, key=_sort_by_date if order is HitOrder.DATE else _sort_by_place))


def _sort_by_date(hit: Hit) -> tuple[bool, int, int]:
    span = get_date_span(hit.item)
    return span is None, 0 if span is None else span.first.toordinal(), hit.rank


def _sort_by_place(hit: Hit) -> tuple[bool, str, str, int]:
    place, country = fold_text(hit.item.place or ""), (hit.item.country_code or "").upper()
    return not (place or country), country, place, hit.rank


def gather_records(hits: Sequence[Hit], *, k: int) -> tuple[Hit, ...]:
    """Return the hits of the first `k` records; those of one record stand together, where its first hit stood."""
    by_record: dict[tuple[bool, str], list[Hit]] = {}
    for hit in hits:
        record_id = get_record_id(hit.item)
        by_record.setdefault((record_id is None, record_id or hit.item_id), []).append(hit)
    return tuple(hit for own in list(by_record.values())[:k] for hit in own)
