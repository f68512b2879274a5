"""What a gallery in memory remembers between the parts of one search."""

import numpy as np

from fieldmark import Item, Medium
from fieldmark.gallery.exact import MASKS_KEPT, Recent
from fieldmark.gallery.store import Filter


def test_recent_makes_once_what_is_asked_for_again_and_forgets_the_oldest():
    made: list[str] = []

    def make(key: str) -> str:
        made.append(key)
        return key.upper()

    recent = Recent[str, str](kept=2)
    for key in ("a", "b", "a", "b", "c", "b", "a"):
        assert recent.get(key, lambda key=key: make(key)) == key.upper()
    assert made == ["a", "b", "c", "a"]


def test_masks_are_those_of_the_filter_however_many_were_asked_for(index, unit_rows, embeddings_of):
    media = [Medium.IMAGE, Medium.AUDIO, Medium.VIDEO]
    items = [Item(f"{place:02}", media[place % 3], class_name=f"class {place % 7}") for place in range(42)]
    embeddings = embeddings_of(*((item, unit_rows(1 + place % 3, seed=place)) for place, item in enumerate(items)))
    index.add(embeddings, content_hash_by_item_id={item.item_id: "h" for item in items})
    query = np.ones(index.dim)
    for turn in range(3 * MASKS_KEPT):
        where = Filter(
            media=frozenset({media[turn % 3]}),
            class_names=frozenset({f"class {turn % 7}", "class 0"}),
            exclude_item_ids=frozenset({f"{turn:02}"}),
        )
        wanted = {
            item.item_id
            for item in items
            if item.medium in where.media and item.class_name in where.class_names and item.item_id != f"{turn:02}"
        }
        assert {hit.item_id for hit in index.search(query, k=42, where=where)} == wanted
    index.remove(["00"])
    assert "00" not in {hit.item_id for hit in index.search(query, k=42, where=Filter(media=frozenset({media[0]})))}
