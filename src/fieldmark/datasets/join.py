"""`fieldmark data join`: several manifests as one, of chosen classes and no more items of each than wanted."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fieldmark.data.manifest import read_manifest, write_manifest
from fieldmark.data.split import count_items, format_counts
from fieldmark.data.table import read_table
from fieldmark.errors import ManifestError, NoItemsError, list_first
from fieldmark.gallery.search.records import get_record_id
from fieldmark.names import name_key
from fieldmark.types import MEDIA, Item

_CLASS_COLUMN = "class_name"


@dataclass(frozen=True, slots=True)
class JoinReport:
    """The result of a join.

    Args:
        left_out: Items of other classes, and those beyond the wanted number.
        absent: Classes that were wanted and have no item.
        incomplete: By medium, the classes that have items of others only.
    """

    manifest: Path
    item_count: int
    class_count: int
    counts: Mapping[str, Mapping[str, int]]
    left_out: int
    absent: tuple[str, ...]
    incomplete: Mapping[str, tuple[str, ...]]

    def to_text(self) -> str:
        """Return the counts, and what is missing."""
        lines = [f"{self.item_count:,} items of {self.class_count:,} classes in {self.manifest}"]
        lines += format_counts(self.counts)
        lines += [f"{self.left_out:,} items are left out"] if self.left_out else []
        lines += [f"classes without items: {list_first(self.absent, limit=12)}"] if self.absent else []
        lines += [f"classes without {medium}: {list_first(names)}" for medium, names in self.incomplete.items()]
        return "\n".join(lines)


def join_manifests(
    manifests: Sequence[Path], *, out: Path, classes: Path | None = None, most: int | None = None, seed: int = 0
) -> JoinReport:
    """Write one manifest of the items of several.

    Args:
        classes: A table whose column `class_name` lists the classes to take, in any spelling; None takes all items.
        most: Items of one class and medium; they are drawn record by record, so that as many records as possible are
            there. None takes all.
        seed: Of that draw; a record's place in it follows from the seed and its id alone.

    Raises:
        ManifestError: A manifest or the table of classes is not valid.
        NoItemsError: No item is of the wanted classes.
    """
    items = _unite([(path, read_manifest(path)) for path in manifests])
    wanted = None if classes is None else _read_classes(classes)
    of_classes = items
    if wanted is not None:
        named = [(item, wanted.get(name_key(item.class_name or ""))) for item in items]
        of_classes = [replace(item, class_name=name) for item, name in named if name is not None]
    chosen = of_classes if most is None else _draw(of_classes, most=most, seed=seed)
    if not chosen:
        present = list_first(sorted({item.class_name or "(none)" for item in items})) or "nothing"
        raise NoItemsError(path=manifests[0], wanted="items of the wanted classes", present=present)
    write_manifest(chosen, out)
    present_by_medium = {
        medium: {item.class_name for item in chosen if item.medium is medium and item.class_name} for medium in MEDIA
    }
    names = set().union(*present_by_medium.values())
    return JoinReport(
        manifest=out,
        item_count=len(chosen),
        class_count=len(names),
        counts=count_items(chosen),
        left_out=len(items) - len(chosen),
        absent=tuple(sorted(set((wanted or {}).values()) - names)),
        incomplete={
            medium.value: tuple(sorted(names - present))
            for medium, present in present_by_medium.items()
            if names - present
        },
    )


def _unite(given: Sequence[tuple[Path, Sequence[Item]]]) -> list[Item]:
    """Return all items; the names of the manifests tell apart ids and groups that several of them use."""
    id_count = Counter(item.item_id for _, items in given for item in items)
    group_count = Counter(group for _, items in given for group in {item.group for item in items if item.group})
    united = []
    for number, (path, items) in enumerate(given):
        own = f"{path.stem}-{number}" if sum(other.stem == path.stem for other, _ in given) > 1 else path.stem
        ids = {item.item_id: f"{own}/{item.item_id}" for item in items if id_count[item.item_id] > 1}
        united += [
            replace(
                item,
                item_id=ids.get(item.item_id, item.item_id),
                group=f"{own}/{item.group}" if item.group and group_count[item.group] > 1 else item.group,
                caption_of=ids.get(item.caption_of or "", item.caption_of),
            )
            for item in items
        ]
    return united


def _read_classes(path: Path) -> dict[str, str]:
    """Return the wanted classes, by what their spellings share.

    Raises:
        ManifestError: It is no table with a column of classes.
    """
    table = read_table(path, delimiter=None, is_strict=False)
    if _CLASS_COLUMN not in table.names:
        raise ManifestError(
            f"'{path}' has the columns {list_first(table.names, limit=12)}, no classes. Add '{_CLASS_COLUMN}'.",
            kind="classes",
        )
    index = table.names.index(_CLASS_COLUMN)
    names = [cells[index].strip() for _, cells in table.rows if len(cells) > index and cells[index].strip()]
    return {name_key(name): name for name in names}


def _draw(items: Iterable[Item], *, most: int, seed: int) -> list[Item]:
    """Return at most so many items of each class and medium: first one of each record, then a second, and so on."""
    items = list(items)
    by_stratum: defaultdict[tuple[object, object], list[tuple[int, str, int]]] = defaultdict(list)
    seen: Counter[tuple[object, object, str]] = Counter()
    for index, item in enumerate(items):
        record = get_record_id(item) or item.item_id
        turn = seen[item.class_name, item.medium, record]
        seen[item.class_name, item.medium, record] += 1
        place = hashlib.sha256(f"{seed}\n{record}".encode("utf-8", "surrogatepass")).hexdigest()
        by_stratum[item.class_name, item.medium].append((turn, place, index))
    kept = {index for own in by_stratum.values() for _, _, index in sorted(own)[:most]}
    return [item for index, item in enumerate(items) if index in kept]
