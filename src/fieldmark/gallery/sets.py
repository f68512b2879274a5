"""The sets of a gallery: the ids of their items, what is new or changed in their source, and what is gone from it."""

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fieldmark.errors import GalleryError, TakenItemIdError, list_first
from fieldmark.gallery.item_state import FileStamps, hash_state, hash_states, read_content_hash
from fieldmark.gallery.store import Filter, SegmentIndex, iterate_pages
from fieldmark.types import Embeddings, Failure, Item

HashMany = Callable[[Sequence[Item]], Mapping[str, str]]

_LARGEST_DROP = 0.5
"""Share of a set that may be gone before its source is taken to be wrong, such as a disk that is not mounted."""


def assign_ids(
    item_ids: Iterable[str], *, set_name: str, own: Collection[str], others: Collection[str]
) -> dict[str, str]:
    """Return the id that each item of a source is stored under: its own, or SET/ID where another set holds that.

    An id once stored as SET/ID stays, even after the other set dropped its own. Two items never share an id.

    Args:
        own: Ids that the set holds.
        others: Ids that other sets hold.
    """
    listed = tuple(item_ids)
    found = dict(zip(listed, listed, strict=True))
    used: set[str] = set()
    settled = set(found).intersection(own).difference(others)
    for item_id in sorted(found.keys() - settled):  # so that the order of the source does not matter
        stored, prefixed = item_id, f"{set_name}/{item_id}"
        if prefixed in own and item_id not in own and prefixed not in found:
            stored = prefixed
        while stored in others or stored in used or (stored != item_id and stored in found):
            stored = f"{set_name}/{stored}"
        used.add(stored)
        found[item_id] = stored
    return found


def rename_items(items: Sequence[Item], stored_id: Mapping[str, str]) -> tuple[Item, ...]:
    """Return items under the ids that they are stored by; rows of one item go on sharing the object."""
    made: dict[str, Item] = {}
    for item in items:
        if item.item_id not in made:
            caption_of = None if item.caption_of is None else stored_id.get(item.caption_of, item.caption_of)
            own = stored_id[item.item_id]
            is_same = own == item.item_id and caption_of == item.caption_of
            made[item.item_id] = item if is_same else replace(item, item_id=own, caption_of=caption_of)
    return tuple(made[item.item_id] for item in items)


def find_gone_ids(
    own: Collection[str], *, listed: Collection[str], failures: Sequence[Failure], set_name: str, allow_drop: bool
) -> tuple[str, ...]:
    """Return the items of a set that its source no longer lists.

    What could not be read is not gone: neither a file, nor the content of a folder that could not be opened.

    Args:
        own: Ids that the set holds, of the part of it that the source should list.
        listed: Ids, as they are stored, of all that the source lists, usable or not.
        failures: What the source holds beside its items.

    Raises:
        GalleryError: More of the set is gone than is likely, and `allow_drop` is not set.
    """
    unread = {failure.item_id for failure in failures}
    unread |= {f"{set_name}/{item_id}" for item_id in unread}
    folders = tuple(f"{item_id}/" for item_id in unread)
    gone = tuple(
        item_id
        for item_id in sorted(set(own) - set(listed) - unread)
        if not item_id.startswith(folders) and os.curdir not in unread
    )
    if gone and len(gone) > _LARGEST_DROP * len(own) and not allow_drop:
        raise GalleryError(
            f"{len(gone)} of the {len(own)} items of the set '{set_name}' are gone from its source: "
            f"{list_first(gone)}; allowed is a share of {_LARGEST_DROP:g}. Nothing was changed. "
            "Check that the source is complete. To delete these items, add --allow-drop.",
            kind="too_many_dropped",
        )
    return gone


@dataclass(frozen=True, slots=True)
class ItemChanges:
    """The items of a source against those that a gallery holds.

    Args:
        fresh: New items, and those with other content: they are embedded.
        corrected: Items whose facts alone have changed, with their content hashes by id: they keep their embeddings.
        unchanged: All others.
    """

    fresh: tuple[Item, ...]
    corrected: tuple[Item, ...]
    content_hashes: Mapping[str, str]
    unchanged: tuple[Item, ...]

    def separate_reformed(self, store: SegmentIndex) -> "ItemChanges":
        """Return the changes, with the same bytes decoded in another way, such as frames for a film, as new content."""
        if not self.corrected:
            return self
        ids = frozenset(item.item_id for item in self.corrected)
        pages = iterate_pages(store, where=Filter(item_ids=ids))
        form_by_id = {each.item.item_id: each.item.form for page in pages for each in page}
        reformed = tuple(item for item in self.corrected if item.form != form_by_id.get(item.item_id, item.form))
        kept = tuple(item for item in self.corrected if item not in reformed)
        hashes = {item.item_id: self.content_hashes[item.item_id] for item in kept}
        return ItemChanges((*self.fresh, *reformed), kept, hashes, self.unchanged)


@dataclass(frozen=True, slots=True)
class SetContent:
    """The items that a gallery held, of a set and of all others, when a run began.

    Args:
        own: The state of each item of the set, by id; see `hash_states`.
        others: The ids that other sets hold.
        root: The folder that the files of the source lie below.
    """

    set_name: str
    own: Mapping[str, str]
    others: frozenset[str]
    root: Path

    @classmethod
    def from_store(cls, store: SegmentIndex, set_name: str, *, root: Path) -> "SetContent":
        """Read what a store holds."""
        own = store.content_hashes(Filter(set_names=frozenset({set_name})))
        others = store.content_hashes().keys() - own.keys() if store.item_count() > len(own) else ()
        return cls(set_name, own, frozenset(others), root)

    def assign_ids(self, item_ids: Iterable[str]) -> dict[str, str]:
        """Return the id that each item of the source is stored under."""
        return assign_ids(item_ids, set_name=self.set_name, own=self.own, others=self.others)

    def list_ids(self, item_id: str) -> tuple[str, str]:
        """Return the ids that an item of the source may be stored under."""
        return f"{self.set_name}/{item_id}", item_id

    def compare(self, items: Sequence[Item], *, stamps: FileStamps, hash_many: HashMany) -> ItemChanges:
        """Compare the items of the source with those of the set; only files that look changed are read.

        Args:
            hash_many: Reads the files of some items, and gives their content hashes by id; those that cannot be read
                are missing, and are met again, and counted, when they are encoded.
        """
        present = [item for item in items if item.item_id in self.own]
        stamps.look_at(items)
        recalled = {item.item_id: stamps.recall_content(item) for item in present}
        unsure = [item for item in present if recalled[item.item_id] is None]
        read = hash_many(unsure) if unsure else {}
        stamps.note((item for item in unsure if item.item_id in read), read)
        hashes = {**recalled, **read}
        fresh, corrected, unchanged = list[Item](), list[Item](), list[Item]()
        for item in items:
            state, content_hash = self.own.get(item.item_id), hashes.get(item.item_id)
            if state is None or content_hash is None or read_content_hash(state) != content_hash:
                fresh.append(item)
            elif state != hash_state(item, content_hash, root=self.root):
                corrected.append(item)
            else:
                unchanged.append(item)
        known = {item.item_id: read_content_hash(self.own[item.item_id]) for item in corrected}
        return ItemChanges(tuple(fresh), tuple(corrected), known, tuple(unchanged))

    def add(self, store: SegmentIndex, embeddings: Embeddings, states: Mapping[str, str]) -> None:
        """Add items to the set; where another run has meanwhile stored an id for another set, the item gets a new id.

        Args:
            states: Of each item, by id.
        """
        while True:
            try:
                store.add(embeddings, content_hash_by_item_id=states, set_name=self.set_name)
            except TakenItemIdError as error:
                taken = self.own.keys() - states.keys() | set(error.item_ids)
                stored_id = assign_ids(states, set_name=self.set_name, own=(), others=taken)
                content = {stored_id[item_id]: read_content_hash(state) for item_id, state in states.items()}
                embeddings = replace(embeddings, items=rename_items(embeddings.items, stored_id))
                states = hash_states(embeddings.items, content, root=self.root)
            else:
                return


def list_set(store: SegmentIndex, set_name: str, *, split: str | None) -> tuple[str, ...]:
    """Return the ids of a set's items, or of those of one split."""
    where = Filter(set_names=frozenset({set_name}))
    if split is None:
        return tuple(store.content_hashes(where))
    pages = iterate_pages(store, where=where)
    return tuple(stored.item.item_id for page in pages for stored in page if stored.item.split == split)
