"""What an importer brings back: the items it took, what it left and why, and what the user should know."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from fieldmark.data.taxonomy import Taxonomy
from fieldmark.types import MEDIA, Failure, Item, Medium, Split


@dataclass(frozen=True, slots=True)
class Harvest:
    """The result of an import.

    Args:
        left: What was not taken: a file, a line or a whole list, as the item id of each says, with its reason.
        notes: What was decided on the way, and what could not be looked at.
    """

    items: tuple[Item, ...]
    left: tuple[Failure, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SharedGroups:
    """How many test items of a medium have a group that stands in train as well."""

    medium: Medium
    sharing: int
    total: int


def count_shared_groups(items: Sequence[Item]) -> tuple[SharedGroups, ...]:
    """The media with test items, in order, and how many of those share their group with a training item."""
    trained = {(item.medium, item.group) for item in items if item.split is Split.TRAIN and item.group}
    tested = [item for item in items if item.split is Split.TEST]
    total = Counter(item.medium for item in tested)
    sharing = Counter(item.medium for item in tested if (item.medium, item.group) in trained)
    return tuple(SharedGroups(medium, sharing[medium], total[medium]) for medium in MEDIA if total[medium])


def leaves_root(path: str) -> bool:
    """Whether a path written by others leads out of the folder it should be in; links within are the user's own."""
    parts = PurePosixPath(path).parts
    return "\0" in path or path.startswith(("/", "\\")) or ".." in parts or "\\" in path or path[1:2] == ":"


def settle_classes(items: Iterable[Item], taxonomy: Taxonomy | None, notes: list[str]) -> tuple[Item, ...]:
    """The items under the class names of a taxonomy, where there is one; names it does not know stay, and are noted."""
    items = tuple(items)
    if taxonomy is None:
        return items
    names = sorted({item.class_name for item in items if item.class_name is not None})
    settled = {name: taxonomy.class_named(name) for name in names}
    unknown = [name for name, known in settled.items() if known is None]
    renamed = [f"{name} -> {known}" for name, known in settled.items() if known not in (None, name)]
    if renamed:
        notes.append(f"{len(renamed)} names are other names of classes of the taxonomy: {', '.join(renamed)}.")
    if unknown:
        notes.append(f"{len(unknown)} classes are not in the taxonomy and keep their names: {', '.join(unknown)}.")
    return tuple(
        replace(item, class_name=settled[item.class_name] or item.class_name) if item.class_name else item
        for item in items
    )


class FolderView:
    """Which files there are, each folder being read once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._names: dict[Path, frozenset[str]] = {}

    def holds(self, path: str) -> bool:
        """Whether there is something at a path under the root."""
        file = self.root / path
        return file.name in self.names(file.parent)

    def names(self, folder: Path) -> frozenset[str]:
        """What lies in a folder; nothing where there is none, or where it may not be read."""
        if folder not in self._names:
            try:
                self._names[folder] = frozenset(each.name for each in folder.iterdir())
            except OSError:
                self._names[folder] = frozenset()
        return self._names[folder]
