"""The items of a class that are asked for its species."""

from pathlib import Path

from fieldmark.gallery.search.agreement import _spread
from fieldmark.gallery.store import StoredItem
from fieldmark.types import Item, Medium


def stored(item_id, group):
    item = Item(item_id=item_id, path=Path(f"{item_id}.wav"), medium=Medium.AUDIO, class_name="Blauhäher", group=group)
    return StoredItem(item=item, set_name=None, content_hash=item_id, segment_count=1)


def test_each_origin_is_asked_before_any_is_asked_twice():
    items = [stored(f"long {n:02}", "one recording") for n in range(30)]
    items += [stored(f"short {n}", f"recording {n}") for n in range(4)] + [stored("alone", None)]
    chosen = [each.item.item_id for each in _spread(items, count=7)]
    assert chosen == ["long 00", "short 0", "short 1", "short 2", "short 3", "alone", "long 01"]


def test_all_items_are_asked_where_there_are_few():
    items = [stored(f"{n}", "one recording") for n in range(5)]
    assert _spread(items, count=20) == items
