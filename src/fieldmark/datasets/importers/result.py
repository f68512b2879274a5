"""The result of an import: the items taken, what was left out and why, and notes for the user."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fieldmark.data.embedded_facts import SAID_BY, complete_items
from fieldmark.data.manifest import write_manifest
from fieldmark.data.split import count_items, format_counts
from fieldmark.data.taxonomy import Taxonomy
from fieldmark.errors import write_count
from fieldmark.leakage import find_leaks_of_items
from fieldmark.names import group_names
from fieldmark.records.doubts import Doubt, find_doubts
from fieldmark.scientific_name import parse_scientific_name
from fieldmark.types import MEDIA, Failure, Item, Split

_SHOWN_EXAMPLES = 6


@dataclass(frozen=True, slots=True)
class ImportResult:
    """The items of an import, as written to its manifest.

    Args:
        left: Files, lines and lists that were left out, each with its location as the item id, and the reason.
        notes: Decisions made during the import, and what could not be checked.
        doubts: Facts of records that are kept as given, but cannot be or are likely wrong.
    """

    manifest: Path
    items: tuple[Item, ...]
    left: tuple[Failure, ...]
    notes: tuple[str, ...]
    doubts: tuple[Doubt, ...] = ()

    @property
    def took_nothing(self) -> bool:
        """True where no item was taken; then no manifest was written."""
        return not self.items

    def json_values(self) -> dict[str, object]:
        """Return the values of the JSON object, by key."""
        return {
            "manifest": self.manifest,
            "item_count": len(self.items),
            "class_count": self._class_count(),
            "counts": count_items(self.items),
            "left": [{"place": each.item_id, "kind": each.kind, "detail": each.message} for each in self.left],
            "left_counts": Counter(each.kind for each in self.left),
            "notes": self.notes,
            "doubts": self.doubts,
            "doubt_counts": Counter(each.kind for each in self.doubts),
            "sharing_group_with_train": {medium: leaking for medium, (leaking, _) in self._count_leaks().items()},
        }

    def to_text(self) -> str:
        """Return the counts, what was left out with a few examples of each kind, the notes, and leakage."""
        if self.took_nothing:
            lines = [f"nothing was taken, and '{self.manifest}' was not written"]
        else:
            classes = write_count(self._class_count(), "class", "classes")
            lines = [f"{write_count(len(self.items), 'item')} of {classes} in {self.manifest}"]
        lines += format_counts(count_items(self.items))
        lines += _list_kinds("left out", [(each.kind, f"{each.item_id}: {each.message}") for each in self.left])
        lines += _list_kinds("kept as given", [(each.kind, f"{each.item_id}: {each.detail}") for each in self.doubts])
        lines += [f"note: {note}" for note in self.notes]
        lines += [
            f"warning: {leaking:,} of the {total:,} test items of {medium} share their origin with a training item."
            for medium, (leaking, total) in self._count_leaks().items()
            if leaking
        ]
        return "\n".join(lines)

    def _class_count(self) -> int:
        return len({item.class_name for item in self.items if item.class_name is not None})

    def _count_leaks(self) -> dict[str, tuple[int, int]]:
        """Count the test items of each medium: those that share their origin with a training item, and all."""
        tested = [item for item in self.items if item.split is Split.TEST]
        total = Counter(item.medium for item in tested)
        leaking_ids = {leak.item_id for leak in find_leaks_of_items(self.items)}
        leaking = Counter(item.medium for item in tested if item.item_id in leaking_ids)
        return {medium.value: (leaking[medium], total[medium]) for medium in MEDIA if total[medium]}


def _list_kinds(title: str, told: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Yield the number of each kind and its first examples."""
    for kind, count in Counter(kind for kind, _ in told).items():
        yield f"{title}: {kind}, {count:,}"
        yield from [f"  {line}" for own, line in told if own == kind][:_SHOWN_EXAMPLES]
        if count > _SHOWN_EXAMPLES:
            yield f"  and {count - _SHOWN_EXAMPLES:,} more; --json lists all"


def note_encoding(*, is_guessed: bool) -> list[str]:
    """Return a note where the text of a table is a guess."""
    if not is_guessed:
        return []
    return ["The file is not UTF-8 and was read as Windows-1252. Look at the names with accents."]


def write_result(
    items: Iterable[Item],
    left: Sequence[Failure],
    notes: Sequence[str],
    *,
    taxonomy: Taxonomy | None,
    merges_names: bool,
    out: Path,
) -> ImportResult:
    """Write the manifest of an import and return its result.

    The manifest is not written where there are no items.

    Args:
        taxonomy: Its class names replace the synonyms that it knows; other names stay and are noted. None keeps all.
        merges_names: Whether names that differ only in spelling, author or rank become one; they are noted anyway.
    """
    items, notes = tuple(items), list(notes)
    if taxonomy is not None:
        items = _apply_taxonomy(items, taxonomy, notes)
    items = _merge_names(items, notes, merges_names=merges_names)
    if items:
        items = complete_items(items)
        filled = sum(any(name == SAID_BY for name, _ in item.extra) for item in items)
        notes += [f"{filled:,} items have a date or place from inside their files."] if filled else []
        write_manifest(items, out)
    return ImportResult(out, items, tuple(left), tuple(notes), find_doubts(items))


def _merge_names(items: tuple[Item, ...], notes: list[str], *, merges_names: bool) -> tuple[Item, ...]:
    """Note the names that differ only in spelling, author or rank, and give their items the shortest if told so."""
    groups = group_names(item.class_name for item in items if item.class_name is not None)
    alike = [group for group in groups if len(group) > 1]
    if not alike:
        return items
    listed = "; ".join(" = ".join(group) for group in alike)
    count = sum(map(len, alike))
    if not merges_names:
        notes.append(
            f"{count} classes are {len(alike)} by their names without authors, ranks and spelling: {listed}. They stay "
            "apart; --merge-names makes them one."
        )
        return items
    notes.append(f"{count} classes became {len(alike)}: {listed}.")
    chosen = {name: group[0] for group in alike for name in group}
    return tuple(replace(item, class_name=chosen.get(item.class_name or "", item.class_name)) for item in items)


def _apply_taxonomy(items: tuple[Item, ...], taxonomy: Taxonomy, notes: list[str]) -> tuple[Item, ...]:
    names = sorted({item.class_name for item in items if item.class_name is not None})
    settled = {name: _find_class(name, taxonomy) for name in names}
    unknown = [name for name, known in settled.items() if known is None]
    renamed = [f"{name} -> {known}" for name, known in settled.items() if known not in (None, name)]
    if renamed:
        notes.append(f"{len(renamed)} class names are synonyms in the taxonomy: {', '.join(renamed)}.")
    if unknown:
        notes.append(f"{len(unknown)} classes are not in the taxonomy and keep their names: {', '.join(unknown)}.")
    return tuple(
        replace(item, class_name=settled[item.class_name] or item.class_name) if item.class_name else item
        for item in items
    )


def _find_class(name: str, taxonomy: Taxonomy) -> str | None:
    """Return the class of a name in a taxonomy, whatever author and rank it has; None for none."""
    parsed = parse_scientific_name(name)
    known = taxonomy.class_named(name)
    return taxonomy.class_named(parsed.species) if known is None and parsed is not None else known
