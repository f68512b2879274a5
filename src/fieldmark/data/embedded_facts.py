"""Date and place of items, filled from inside their files where their rows leave them open."""

from collections.abc import Iterable
from dataclasses import replace

from fieldmark.data.file_store import open_locally
from fieldmark.errors import MediaError
from fieldmark.media.metadata import read_embedded_facts
from fieldmark.types import Item, MediaLimits, Medium, Reporter

SAID_BY = "facts_from_file"
"""The named fact of an item that says which of its facts come from inside the file, and from what."""

_WITHHELD = {
    "geoprivacy": ("obscured", "private"),
    "taxongeoprivacy": ("obscured", "private"),
    "coordinatesobscured": ("true", "1", "yes"),
}
"""Columns that say that a place is kept secret: then a file does not tell it either."""


def complete_items(items: Iterable[Item], *, reporter: Reporter | None = None) -> tuple[Item, ...]:
    """Return items with the date and the place that their files state, where their rows have none.

    Each item that was filled says so, by its fact `facts_from_file`.
    """
    given = tuple(items)
    found = tuple(map(_complete, given))
    count = sum(one is not other for one, other in zip(given, found, strict=True))
    if count and reporter is not None:
        reporter.say(f"{count:,} items have a date or place from inside their files")
    return found


def _complete(item: Item) -> Item:
    is_placed = item.latitude is not None or item.longitude is not None or _is_withheld(item)
    is_file = item.path is not None and item.form is None and item.medium is not Medium.TEXT
    if not is_file or item.path is None or (is_placed and item.event_date is not None):
        return item
    try:
        with open_locally(item) as local:
            facts = read_embedded_facts(local.path or item.path, medium=item.medium, limits=MediaLimits())
    except MediaError:
        return item  # met again, and counted, when it is encoded
    told = {name: source for name, source in facts.source_by_fact if _is_open(item, name, is_placed=is_placed)}
    if not told:
        return item
    said = "; ".join(f"{name} from {source}" for name, source in told.items())
    extra = (*((name, value) for name, value in item.extra if name != SAID_BY), (SAID_BY, said))
    return replace(item, **{name: getattr(facts, name) for name in told}, extra=extra)


def _is_open(item: Item, name: str, *, is_placed: bool) -> bool:
    return item.event_date is None if name == "event_date" else not is_placed and getattr(item, name) is None


def _is_withheld(item: Item) -> bool:
    """Tell whether the place of an item's record is kept secret."""
    cells = {name.replace("_", "").lower(): value.strip().lower() for name, value in item.extra}
    return bool(cells.get("informationwithheld")) or any(cells.get(name) in words for name, words in _WITHHELD.items())
