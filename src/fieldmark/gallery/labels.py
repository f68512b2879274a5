"""Classes that people give to items of a gallery: saved, listed, undone, and kept with the content of the items."""

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, astuple, dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any, ClassVar, final

from fieldmark.errors import DamagedGalleryError, RequestError, UnknownItemError, list_first, write_count
from fieldmark.gallery.files import GalleryPlace, open_files
from fieldmark.gallery.item_state import read_content_hash
from fieldmark.gallery.layout import GalleryFile
from fieldmark.gallery.store import Filter, SegmentIndex
from fieldmark.types import Embeddings, Item, Medium

_Key = tuple[str, str | None]
"""An item by its id and the hash of its content: another photo under the same name is another item."""


@dataclass(frozen=True, slots=True)
class SavedItem:
    """An item that was given a class.

    Args:
        content_hash: The class belongs to this content, whatever its file is called; None where an earlier fieldmark
            saved the class, until the item is next met.
        former_name: The class that it had before; None for none.
    """

    item_id: str
    content_hash: str | None
    former_name: str | None

    @property
    def key(self) -> _Key:
        """The item by id and content."""
        return self.item_id, self.content_hash


@dataclass(frozen=True, slots=True)
class Provenance:
    """Who gave a class, when and from what; None for what was not noted.

    Args:
        saved_at: Day and time of ISO 8601, in UTC.
        saved_by: A person, in their own words.
        basis: What the class was told from, such as the search in which the items were marked.
    """

    saved_at: str | None = None
    saved_by: str | None = None
    basis: str | None = None


@dataclass(frozen=True, slots=True)
class SavedClass:
    """A class that some items were given.

    Args:
        number: Counted from 1, in the order of saving.
        is_undone: Whether the items have their former classes again.
        lost_item_ids: Items whose content the gallery no longer holds; empty where nobody has looked.
        provenance: Who gave it, when and from what.
    """

    number: int
    class_name: str
    items: tuple[SavedItem, ...]
    is_undone: bool = False
    lost_item_ids: tuple[str, ...] = ()
    provenance: Provenance = Provenance()

    json_keys: ClassVar = (
        *("number", "class_name", "former_names", "is_undone", "lost_item_ids"),
        *("saved_at", "saved_by", "basis"),
    )

    @property
    def former_names(self) -> dict[str, str | None]:
        """The class that each item had before, by item id; None for none."""
        return {item.item_id: item.former_name for item in self.items}

    @property
    def saved_at(self) -> str | None:
        """Day and time of saving."""
        return self.provenance.saved_at

    @property
    def saved_by(self) -> str | None:
        """The person who gave the class, in their own words."""
        return self.provenance.saved_by

    @property
    def basis(self) -> str | None:
        """The search or source from which the class was told."""
        return self.provenance.basis

    def to_text(self) -> str:
        """Return one line: number, class, how many items, and a word where it was undone or where items are lost."""
        undone = ", undone" if self.is_undone else ""
        lost = f"; no longer in the gallery: {list_first(self.lost_item_ids)}" if self.lost_item_ids else ""
        told = [self.saved_at, self.saved_by and f"by {self.saved_by}", self.basis and f"from {self.basis}"]
        provenance = f"; {', '.join(filter(None, told))}" if any(told) else ""
        return f"{self.number}  {self.class_name}  {write_count(len(self.items), 'item')}{undone}{provenance}{lost}"

    def replace_item(self, item: SavedItem) -> "SavedClass":
        """Return the same with another former class of an item, or with one item more."""
        others = tuple(each for each in self.items if each.key != item.key)
        return replace(self, items=(*others, item))


# ---------------------------------------------------------------- what a person does


def save_class(
    folder: GalleryPlace,
    index: SegmentIndex,
    *,
    class_name: str,
    item_ids: Collection[str],
    saved_by: str | None = None,
    basis: str | None = None,
) -> SavedClass:
    """Give items of a gallery a class; both the label and the note of it outlive the process.

    The note comes first, so that after a crash between the two the next `index` gives the label.

    Args:
        saved_by: Who gives it, in their own words; None leaves that open.
        basis: What it was told from; None leaves that open.

    Raises:
        RequestError: No item, or no name, is given.
        UnknownItemError: The gallery has no such item; nothing is saved.
        DamagedGalleryError: The file of saved classes cannot be read.
    """
    name = class_name.strip()
    if not name or not item_ids:
        raise RequestError(
            f"The class '{class_name}' was given to {write_count(len(item_ids), 'item')}; it needs a name and one item "
            "or more. Give the ids of marked items and the name of their class.",
            kind="no_marks",
        )
    with _locked(folder):
        there = index.items(where=Filter(item_ids=frozenset(item_ids)), limit=len(item_ids))
        items = {
            stored.item.item_id: SavedItem(
                stored.item.item_id, read_content_hash(stored.content_hash), stored.item.class_name
            )
            for stored in there
        }
        for item_id in item_ids:
            if item_id not in items:
                raise UnknownItemError(item_id=item_id, gallery=str(folder))
        saved = _complete(_read(folder), index)
        provenance = Provenance(datetime.now(UTC).isoformat(timespec="seconds"), saved_by or None, basis or None)
        made = SavedClass(len(saved) + 1, name, tuple(items.values()), provenance=provenance)
        _write(folder, [*saved, made])
        _relabel(index, {item.key: name for item in made.items})
    return made


def list_classes(folder: GalleryPlace, *, index: SegmentIndex | None = None) -> tuple[SavedClass, ...]:
    """Return all classes that were saved in a gallery, those undone too.

    Args:
        index: The gallery's store, to name the items that it no longer holds; None leaves that open.

    Raises:
        DamagedGalleryError: The file of saved classes cannot be read.
    """
    saved = _read(folder)
    return saved if index is None else tuple(_find_lost(saved, index))


def undo_class(folder: GalleryPlace, index: SegmentIndex, *, number: int) -> SavedClass:
    """Give the items of a saved class the class that they would have without it.

    That is the last other saved class in force, or else the class of their source: classes may be undone in any order.

    Raises:
        RequestError: There is no such saved class, or it is undone already.
        DamagedGalleryError: The file of saved classes cannot be read.
    """
    with _locked(folder):
        saved = _complete(_read(folder), index)
        chosen = next((each for each in saved if each.number == number and not each.is_undone), None)
        if chosen is None:
            known = [each.number for each in saved if not each.is_undone]
            listed = f"those that can be undone are {list_first(known)}" if known else "none can be undone"
            raise RequestError(
                f"There is no label {number} to undo; {listed}. Give a number that `fieldmark marks list` shows.",
                kind="unknown_saved_class",
            )
        undone = replace(chosen, is_undone=True)
        now = [undone if each is chosen else each for each in saved]
        _write(folder, now)
        labels = _find_labels(now)
        _relabel(index, {item.key: labels[item.key] for item in undone.items})
    return undone


# ---------------------------------------------------------------- what an index keeps


def restore_classes(folder: GalleryPlace, index: SegmentIndex) -> int:
    """Give items the labels that a crash left them without, and forget ids that their content no longer has.

    Returns:
        The number of items that were labelled.
    """
    with _locked(folder):
        saved = _complete(_read(folder), index)
        if not saved:
            return 0
        there = _find_there(saved, index)
        kept = [_drop_moved(each, there) for each in saved]
        if kept != list(saved):
            _write(folder, kept)
        return _relabel(index, _find_labels(kept))


@final
class LabelKeeper:
    """Labels items on their way into a gallery by the saved classes of their content.

    Args:
        is_there: Tells whether an item, by id and content hash, stays in the gallery. Texts are often equal without
            being the same, so a text takes over the class only of one that is gone.
    """

    def __init__(self, folder: GalleryPlace, index: SegmentIndex, *, is_there: Callable[[str, str], bool]) -> None:
        self._folder = folder
        self._is_there = is_there
        with _locked(folder):
            saved = _read(folder)
            completed = _complete(saved, index)
            if completed != saved:  # before the items that it names are replaced
                _write(folder, completed)

    @contextmanager
    def label(self, items: Collection[Item], content_hashes: Mapping[str, str]) -> Iterator[dict[str, str | None]]:
        """Give the classes of items by id; those that no saved class is about are missing. Store them in the block.

        Args:
            items: With the classes that their source gives them.
        """
        with _locked(self._folder):
            saved = list(_read(self._folder))
            before = list(saved)
            for item in items if saved else ():
                self._note(item, content_hashes[item.item_id], saved)
            if saved != before:
                _write(self._folder, saved)
            labels = _find_labels(saved)
            keys = [(item.item_id, content_hashes[item.item_id]) for item in items]
            yield {key[0]: labels[key] for key in keys if key in labels}

    def _note(self, item: Item, content_hash: str, saved: list[SavedClass]) -> None:
        """Write down the class that a source gives, and that an item has the content of another one."""
        met = SavedItem(item.item_id, content_hash, item.class_name)
        is_first = True
        for position, each in enumerate(saved):
            if any(noted.key == met.key for noted in each.items):
                if is_first:
                    saved[position] = each.replace_item(met)
            elif not each.is_undone and self._takes_over(item, content_hash, each):
                saved[position] = each.replace_item(met)
                met = replace(met, former_name=each.class_name)
            else:
                continue
            is_first = False

    def _takes_over(self, item: Item, content_hash: str, saved: SavedClass) -> bool:
        noted = [each.item_id for each in saved.items if each.content_hash == content_hash]
        if item.medium is not Medium.TEXT:
            return bool(noted)
        return bool(noted) and not any(self._is_there(item_id, content_hash) for item_id in noted)


# ---------------------------------------------------------------- the file


def _read(folder: GalleryPlace) -> tuple[SavedClass, ...]:
    path = open_files(folder).find(GalleryFile.LABELS)
    if path is None:
        return ()
    try:
        return tuple(_parse(each) for each in json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedGalleryError(path=path, reason=f"it contains no list of labels ({error!r})") from error


def _parse(value: Mapping[str, Any]) -> SavedClass:
    if "former_names" in value:  # written before classes belonged to contents
        items = tuple(SavedItem(item_id, None, name) for item_id, name in value["former_names"].items())
    else:
        items = tuple(SavedItem(*each) for each in value["items"])
    return SavedClass(
        int(value["number"]),
        str(value["class_name"]),
        items,
        is_undone=bool(value["is_undone"]),
        provenance=Provenance(*(value.get(each.name) and str(value[each.name]) for each in fields(Provenance))),
    )


def _write(folder: GalleryPlace, saved: Sequence[SavedClass]) -> None:
    values = [
        {
            "number": each.number,
            "class_name": each.class_name,
            "items": [astuple(item) for item in each.items],
            **asdict(each.provenance),
            "is_undone": each.is_undone,
        }
        for each in saved
    ]
    open_files(folder).write(GalleryFile.LABELS, json.dumps(values, ensure_ascii=False, indent=1).encode())


def _locked(folder: GalleryPlace) -> AbstractContextManager[None]:
    return open_files(folder).lock(GalleryFile.LABELS)


# ---------------------------------------------------------------- classes and the store


def _complete(saved: tuple[SavedClass, ...], index: SegmentIndex) -> tuple[SavedClass, ...]:
    """Return saved classes of an earlier fieldmark with the content that their items have now."""
    wanted = frozenset(item.item_id for each in saved for item in each.items if item.content_hash is None)
    if not wanted:
        return saved
    states = index.content_hashes(Filter(item_ids=wanted))
    hashes = {item_id: read_content_hash(state) for item_id, state in states.items()}

    def complete(item: SavedItem) -> SavedItem:
        return item if item.content_hash else replace(item, content_hash=hashes.get(item.item_id))

    return tuple(replace(each, items=tuple(map(complete, each.items))) for each in saved)


def _find_labels(saved: Sequence[SavedClass]) -> dict[_Key, str | None]:
    """Return the class of each item: that of the last saved in force, else that of its source."""
    labels: dict[_Key, str | None] = {}
    for each in saved:
        for item in each.items:
            labels.setdefault(item.key, item.former_name)
    for each in saved:
        if not each.is_undone:
            labels.update(dict.fromkeys((item.key for item in each.items), each.class_name))
    return labels


def _find_there(saved: Sequence[SavedClass], index: SegmentIndex) -> set[_Key]:
    item_ids = frozenset(item.item_id for each in saved for item in each.items)
    states = index.content_hashes(Filter(item_ids=item_ids)) if item_ids else {}
    return {(item_id, read_content_hash(state)) for item_id, state in states.items()}


def _find_lost(saved: Sequence[SavedClass], index: SegmentIndex) -> Iterator[SavedClass]:
    there = _find_there(saved, index)
    for each in saved:
        held = {item.content_hash for item in each.items if item.key in there}
        lost = dict.fromkeys(item.item_id for item in each.items if item.content_hash not in held)
        yield replace(each, lost_item_ids=tuple(lost))


def _drop_moved(saved: SavedClass, there: Collection[_Key]) -> SavedClass:
    """Return a saved class without the former ids of items that were renamed."""
    held = {item.content_hash for item in saved.items if item.key in there}
    kept = tuple(item for item in saved.items if item.key in there or item.content_hash not in held)
    return replace(saved, items=kept)


def _relabel(index: SegmentIndex, name_by_key: Mapping[_Key, str | None]) -> int:
    """Change labels and nothing else, in one write: an unchanged file is unchanged to the next `index`."""
    item_ids = frozenset(item_id for item_id, _ in name_by_key)
    changed: dict[Item, str] = {}
    for stored in index.items(where=Filter(item_ids=item_ids), limit=len(item_ids)) if item_ids else ():
        key = (stored.item.item_id, read_content_hash(stored.content_hash))
        if key in name_by_key and stored.item.class_name != name_by_key[key]:
            changed[replace(stored.item, class_name=name_by_key[key])] = stored.content_hash
    states = {item.item_id: state for item, state in changed.items()}
    index.update_facts(tuple(changed), content_hash_by_item_id=states)
    return len(changed)


def relabel_items(items: Sequence[Item], class_by_id: Mapping[str, str | None]) -> tuple[Item, ...]:
    """Return items with the given classes; those without one are left as they are."""
    return tuple(
        replace(item, class_name=class_by_id[item.item_id]) if item.item_id in class_by_id else item for item in items
    )


def relabel(embeddings: Embeddings, class_by_id: Mapping[str, str | None]) -> Embeddings:
    """Return embeddings whose items have the given classes; items without one are left as they are."""
    own = tuple(dict.fromkeys(embeddings.items))
    made = dict(zip(own, relabel_items(own, class_by_id), strict=True))
    return replace(embeddings, items=tuple(made[item] for item in embeddings.items)) if class_by_id else embeddings
