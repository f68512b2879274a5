"""Classes that people give to items of a gallery: saved, listed, undone, and kept through a later `index`."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from filelock import FileLock

from fieldmark.errors import DamagedGalleryError, RequestError, UnknownItemError, list_first
from fieldmark.gallery.layout import GalleryLayout
from fieldmark.gallery.store import Filter, SegmentIndex
from fieldmark.io import write_text


@dataclass(frozen=True, slots=True)
class SavedClass:
    """A class that some items were given.

    Args:
        number: Counted from 1, in the order of saving.
        former_names: The class that each item had before, by item id; None for none.
        is_undone: Whether the items have their former classes again.
    """

    number: int
    class_name: str
    former_names: Mapping[str, str | None]
    is_undone: bool = False

    def to_text(self) -> str:
        """Return one line: number, class, how many items, and a word where it was undone."""
        undone = ", undone" if self.is_undone else ""
        return f"{self.number}  {self.class_name}  {len(self.former_names):,} items{undone}"


def save_class(folder: Path, index: SegmentIndex, *, class_name: str, item_ids: Collection[str]) -> SavedClass:
    """Give items of a gallery a class; both the label and the note of it outlive the process.

    The note comes first, so that after a crash between the two the next `index` gives the label.

    Raises:
        RequestError: No item, or no name, is given.
        UnknownItemError: The gallery has no such item; nothing is saved.
        DamagedGalleryError: The file of saved classes cannot be read.
    """
    name = class_name.strip()
    if not name or not item_ids:
        raise RequestError(
            f"The class '{class_name}' was given to {len(item_ids)} items; it needs a name and one item or more. "
            "Give the ids of marked items and the name of their class.",
            kind="no_marks",
        )
    with _locked(folder):
        there = index.items(where=Filter(item_ids=frozenset(item_ids)), limit=len(item_ids))
        former = {stored.item.item_id: stored.item.class_name for stored in there}
        for item_id in item_ids:
            if item_id not in former:
                raise UnknownItemError(item_id=item_id, gallery=folder)
        saved = list_classes(folder)
        made = SavedClass(len(saved) + 1, name, former)
        _write(folder, [*saved, made])
        _relabel(index, dict.fromkeys(former, name))
    return made


def list_classes(folder: Path) -> tuple[SavedClass, ...]:
    """Return all classes that were saved in a gallery, those undone too.

    Raises:
        DamagedGalleryError: The file of saved classes cannot be read.
    """
    path = GalleryLayout(folder).labels
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return tuple(
            SavedClass(int(v["number"]), str(v["class_name"]), dict(v["former_names"]), bool(v["is_undone"]))
            for v in values
        )
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedGalleryError(path=path, reason=f"it contains no list of labels ({error!r})") from error


def undo_class(folder: Path, index: SegmentIndex, *, number: int) -> SavedClass:
    """Give the items of a saved class their former classes, unless they were given another one since.

    Raises:
        RequestError: There is no such saved class, or it is undone already.
        DamagedGalleryError: The file of saved classes cannot be read.
    """
    with _locked(folder):
        saved = list_classes(folder)
        chosen = next((each for each in saved if each.number == number and not each.is_undone), None)
        if chosen is None:
            known = [each.number for each in saved if not each.is_undone]
            listed = f"those that can be undone are {list_first(known)}" if known else "none can be undone"
            raise RequestError(
                f"There is no label {number} to undo; {listed}. Give a number that `fieldmark marks list` shows.",
                kind="unknown_saved_class",
            )
        undone = replace(chosen, is_undone=True)
        _write(folder, [undone if each is chosen else each for each in saved])
        later = _labels([each for each in saved if each.number > number])
        _relabel(index, {item_id: name for item_id, name in chosen.former_names.items() if item_id not in later})
    return undone


def restore_classes(folder: Path, index: SegmentIndex) -> int:
    """Label items that were indexed again with their saved classes; return the number of items."""
    with _locked(folder):
        return _relabel(index, _labels(list_classes(folder)))


def _labels(saved: Sequence[SavedClass]) -> dict[str, str | None]:
    """Return the class of each item by the saved classes in force; the last saved wins."""
    return {item_id: each.class_name for each in saved if not each.is_undone for item_id in each.former_names}


def _relabel(index: SegmentIndex, name_by_item_id: Mapping[str, str | None]) -> int:
    """Change labels and nothing else: an unchanged file is still unchanged to the next `index`."""
    if not name_by_item_id:
        return 0
    there = index.items(where=Filter(item_ids=frozenset(name_by_item_id)), limit=len(name_by_item_id))
    changed = [each for each in there if each.item.class_name != name_by_item_id[each.item.item_id]]
    index.update_facts(
        [replace(each.item, class_name=name_by_item_id[each.item.item_id]) for each in changed],
        content_hash_by_item_id={each.item.item_id: each.content_hash for each in changed},
    )
    return len(changed)


def _write(folder: Path, saved: Sequence[SavedClass]) -> None:
    write_text(GalleryLayout(folder).labels, json.dumps([asdict(each) for each in saved], ensure_ascii=False, indent=1))


def _locked(folder: Path) -> FileLock:
    return FileLock(GalleryLayout(folder).labels_lock)
