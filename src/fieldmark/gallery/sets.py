"""The sets of a gallery: their names, where each came from, what they hold, and what is gone from them."""

import hashlib
import json
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import filelock

from fieldmark.data.shards import INFO_NAME, read_info
from fieldmark.errors import DamagedGalleryError, GalleryError, MediaError, TakenItemIdError, list_first
from fieldmark.gallery.layout import GalleryLayout
from fieldmark.gallery.store import Filter, SegmentIndex, iterate_pages
from fieldmark.io import write_text
from fieldmark.media.loaders import hash_content
from fieldmark.types import Embeddings, Failure, Item

_LARGEST_DROP = 0.5
"""Share of a set that may be gone before its source is taken to be wrong, such as a disk that is not mounted."""

_PLAIN_STEMS = frozenset({"manifest", "items", "metadata", "data", "index"})
"""File names that say nothing of a data set; the folder's name does."""


def read_sets(gallery: Path) -> dict[str, str]:
    """Return the source of each set, by name.

    Raises:
        DamagedGalleryError: The file is not what was written.
    """
    path = GalleryLayout(gallery).sets
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {str(name): str(source) for name, source in content.items()}
    except (ValueError, AttributeError) as error:
        reason = f"'{path.name}' is not what was written"
        raise DamagedGalleryError(path=gallery, reason=reason) from error


def choose_set(gallery: Path, *, source: Path, chosen: str | None) -> str:
    """Return the name of the set that a source is.

    Args:
        chosen: The name the user gave, also for a source that has moved; None for one made from that of the source.

    Raises:
        GalleryError: A set of that name came from another source.
        GalleryError: The name is empty.
    """
    origin, known = str(_find_origin(source)), read_sets(gallery)
    if chosen is None:
        earlier = next((name for name, path in known.items() if path == origin), None)
        name = earlier or name_from_origin(Path(origin))
        if known.get(name, origin) != origin:
            raise GalleryError(
                f"The set '{name}' of the gallery '{gallery}' came from '{known[name]}', not from '{origin}'. "
                f"Give this source its own set with --set NAME or, if that source was moved, use --set '{name}'.",
                kind="set_source",
            )
    else:
        name = chosen.strip()
    if not name:
        raise GalleryError(
            f"The set of '{source}' has the name '{chosen or ''}'; allowed is any text. Give one with --set.",
            kind="set_name",
        )
    return name


def record_set(gallery: Path, name: str, *, source: Path) -> None:
    """Write down where a set came from."""
    with filelock.FileLock(GalleryLayout(gallery).sets_lock):
        content = {**read_sets(gallery), name: str(_find_origin(source))}
        if content != read_sets(gallery):
            write_text(GalleryLayout(gallery).sets, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def _find_origin(source: Path) -> Path:
    """Return what identifies a set: the manifest or folder; of an embeddings folder, the manifest it was made from."""
    if (source / INFO_NAME).is_file():
        manifest = read_info(source).facts.get("manifest")
        if isinstance(manifest, str) and Path(manifest).is_file():
            return Path(manifest).resolve()
    return source.resolve()


def name_from_origin(origin: Path) -> str:
    """Return the name of a data set, from that of its manifest or folder."""
    if origin.suffix and not origin.is_dir():
        return origin.parent.name if origin.stem.lower() in _PLAIN_STEMS else origin.stem
    return origin.name


def assign_ids(
    item_ids: Iterable[str], *, set_name: str, own: Collection[str], others: Collection[str]
) -> dict[str, str]:
    """Return the id that each item of a source is stored under: its own, or SET/ID where another set holds that.

    An id once stored as SET/ID stays, even after the other set dropped its own. Two items never share an id.

    Args:
        own: Ids that the set holds.
        others: Ids that other sets hold.
    """
    listed = dict.fromkeys(item_ids)
    found = dict.fromkeys(listed, "")
    used: set[str] = set()
    for item_id in sorted(listed):  # so that the order of the source does not matter
        stored, prefixed = item_id, f"{set_name}/{item_id}"
        if prefixed in own and item_id not in own and prefixed not in listed:
            stored = prefixed
        while stored in others or stored in used or (stored != item_id and stored in listed):
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
            made[item.item_id] = replace(item, item_id=stored_id[item.item_id], caption_of=caption_of)
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
class SetChanges:
    """The items of a source, by what has changed since it was indexed.

    Args:
        fresh: Items that are new or have another content.
        corrected: Items with other facts, each with its new state.
    """

    fresh: tuple[Item, ...]
    corrected: tuple[tuple[Item, str], ...]
    unchanged_count: int


@dataclass(frozen=True, slots=True)
class SetContent:
    """The items that a gallery held, of a set and of all others, when a run began.

    Args:
        own: The state of each item of the set, by id; see `hash_states`.
        others: The ids that other sets hold.
    """

    set_name: str
    own: Mapping[str, str]
    others: frozenset[str]

    @classmethod
    def from_store(cls, store: SegmentIndex, set_name: str) -> "SetContent":
        """Read what a store holds."""
        own = store.content_hashes(Filter(set_names=frozenset({set_name})))
        return cls(set_name, own, frozenset(store.content_hashes().keys() - own.keys()))

    def assign_ids(self, item_ids: Iterable[str]) -> dict[str, str]:
        """Return the id that each item of the source is stored under."""
        return assign_ids(item_ids, set_name=self.set_name, own=self.own, others=self.others)

    def find_changes(self, items: Iterable[Item], store: SegmentIndex) -> "SetChanges":
        """Sort items by what has changed since the set was indexed: nothing, their facts alone, or their content."""
        fresh: list[Item] = []
        corrected: dict[str, tuple[Item, str]] = {}
        unchanged_count = 0
        for item in items:
            state = self._find_state(item)
            if state is None:
                fresh.append(item)
            elif state == self.own[item.item_id]:
                unchanged_count += 1
            else:
                corrected[item.item_id] = item, state
        for page in iterate_pages(store, where=Filter(item_ids=frozenset(corrected))) if corrected else ():
            for stored in page:
                item, _ = corrected[stored.item.item_id]
                if item.form != stored.item.form:  # the same bytes, decoded in another way
                    fresh.append(item)
                    del corrected[item.item_id]
        return SetChanges(tuple(fresh), tuple(corrected.values()), unchanged_count)

    def _find_state(self, item: Item) -> str | None:
        """Return the state of an item; None where the set does not hold its content."""
        if item.item_id not in self.own:
            return None
        try:
            content = hash_content(item)
        except MediaError:
            return None  # met again, and counted, when it is encoded
        return _hash_state(item, content) if content == read_content_hash(self.own[item.item_id]) else None

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
                states = hash_states(embeddings.items, content)
            else:
                return


def list_set(store: SegmentIndex, set_name: str, *, split: str | None) -> tuple[str, ...]:
    """Return the ids of a set's items, or of those of one split."""
    where = Filter(set_names=frozenset({set_name}))
    if split is None:
        return tuple(store.content_hashes(where))
    pages = iterate_pages(store, where=where)
    return tuple(stored.item.item_id for page in pages for stored in page if stored.item.split == split)


def hash_states(items: Sequence[Item], content_hashes: Mapping[str, str]) -> dict[str, str]:
    """Return the state of each item by id: it changes with the content and with any fact, such as a label.

    Args:
        items: Each item once, or as often as it has segments.
    """
    by_id = {item.item_id: item for item in items}
    return {item_id: _hash_state(item, content_hashes[item_id]) for item_id, item in by_id.items()}


def read_content_hash(state: str) -> str:
    """Return the hash of an item's content alone, from its state."""
    return state.partition("-")[0]


def _hash_state(item: Item, content_hash: str) -> str:
    facts = hashlib.sha256(json.dumps(asdict(item), default=str).encode()).hexdigest()
    return f"{content_hash}-{facts[:16]}"
