"""What is wrong with a data set: files that cannot be used, items that repeat, groups that stand in two splits."""

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from fieldmark.data.split import group_of, linked
from fieldmark.datasets.checks.inspection import SUFFIXES, Inspection
from fieldmark.datasets.checks.similarity import find_similar
from fieldmark.errors import first
from fieldmark.types import MEDIA, Item, Medium, Split

SILENT_PEAK = 1e-3
"""A sound whose largest amplitude lies below this (-60 dB of full scale) counts as silent."""

SHORTEST_SECONDS = 0.5
"""A sound or a video below this length counts as too short."""


UNSPLIT = "none"
"""Where items without a split are counted."""


class ProblemKind(StrEnum):
    """What can be wrong, in the order in which it is reported."""

    BAD_ROW = "bad_row"
    MISSING_FILE = "missing_file"
    UNREADABLE = "unreadable"
    EMPTY = "empty"
    MEDIUM_MISMATCH = "medium_mismatch"
    TOO_LONG = "too_long"
    GROUP_STRADDLES_SPLITS = "group_straddles_splits"
    DUPLICATE_ACROSS_SPLITS = "duplicate_across_splits"
    NEAR_DUPLICATE_ACROSS_SPLITS = "near_duplicate_across_splits"
    DUPLICATE = "duplicate"
    NEAR_DUPLICATE = "near_duplicate"
    SILENT = "silent"
    TOO_SHORT = "too_short"
    CLASS_WITHOUT_MEDIUM = "class_without_medium"


class Severity(StrEnum):
    """An error makes an item unusable or a result untrue; a warning is to be looked at; a note is to be known."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


SEVERITIES: Mapping[ProblemKind, Severity] = {
    ProblemKind.BAD_ROW: Severity.ERROR,
    ProblemKind.MISSING_FILE: Severity.ERROR,
    ProblemKind.UNREADABLE: Severity.ERROR,
    ProblemKind.EMPTY: Severity.ERROR,
    ProblemKind.MEDIUM_MISMATCH: Severity.ERROR,
    ProblemKind.TOO_LONG: Severity.ERROR,
    ProblemKind.GROUP_STRADDLES_SPLITS: Severity.ERROR,
    ProblemKind.DUPLICATE_ACROSS_SPLITS: Severity.ERROR,
    ProblemKind.NEAR_DUPLICATE_ACROSS_SPLITS: Severity.ERROR,
    ProblemKind.DUPLICATE: Severity.WARNING,
    ProblemKind.NEAR_DUPLICATE: Severity.WARNING,
    ProblemKind.SILENT: Severity.WARNING,
    ProblemKind.TOO_SHORT: Severity.WARNING,
    ProblemKind.CLASS_WITHOUT_MEDIUM: Severity.NOTE,
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding: what it is, whom it concerns, and what was met.

    Args:
        is_harmless: The items can be used as they are: what would be an error is a warning.
    """

    kind: ProblemKind
    item_ids: tuple[str, ...]
    detail: str
    is_harmless: bool = False

    @property
    def severity(self) -> Severity:
        """How much it matters; the kind decides, but for a harmless case."""
        severity = SEVERITIES[self.kind]
        return Severity.WARNING if self.is_harmless and severity is Severity.ERROR else severity


def find_problems(items: Sequence[Item], inspections: Iterable[Inspection]) -> tuple[Problem, ...]:
    """All findings on some items, sorted by kind, then in manifest order.

    Args:
        inspections: Of all items, of some, or of none: what needs no decoding is found in any case.
    """
    inspection_by_item_id = {inspection.item_id: inspection for inspection in inspections}
    problems = [
        *(problem for item in items for problem in _own_problems(inspection_by_item_id.get(item.item_id))),
        *_misnamed_files(items, inspection_by_item_id),
        *_straddling_groups(items),
        *_duplicates(items, inspection_by_item_id),
        *_near_duplicates(items, inspection_by_item_id),
        *_incomplete_classes(items),
    ]
    kinds = list(ProblemKind)
    return tuple(sorted(problems, key=lambda problem: kinds.index(problem.kind)))


def count_items(items: Iterable[Item]) -> dict[str, dict[str, int]]:
    """How many items of each medium stand in each split, or under `UNSPLIT`."""
    counts = Counter((item.medium, item.split) for item in items)
    table: dict[str, dict[str, int]] = {}
    for medium in MEDIA:
        by_split = {
            split.value if split else UNSPLIT: counts[medium, split]
            for split in (*Split, None)
            if counts[medium, split]
        }
        if by_split:
            table[medium.value] = by_split
    return table


def counted_splits(counts: Mapping[str, Mapping[str, int]]) -> list[str]:
    """The splits that stand in what `count_items` counted, in order."""
    present = {split for splits in counts.values() for split in splits}
    return [split for split in (*Split, UNSPLIT) if split in present]


def count_lines(counts: Mapping[str, Mapping[str, int]]) -> list[str]:
    """What `count_items` counted, a line for each medium."""
    return [
        f"  {medium:<6} " + ", ".join(f"{split} {count:,}" for split, count in splits.items())
        for medium, splits in counts.items()
    ]


def _own_problems(inspection: Inspection | None) -> list[Problem]:
    """What is wrong with one item by itself."""
    if inspection is None:
        return []
    item_ids = (inspection.item_id,)
    if inspection.failure is not None:
        return [Problem(ProblemKind(inspection.failure.kind), item_ids, inspection.failure.message)]
    problems = []
    if inspection.peak is not None and inspection.peak < SILENT_PEAK:
        detail = (
            f"The largest amplitude is {inspection.peak:.2g} of full scale; below {SILENT_PEAK:g} it counts as silent."
        )
        problems.append(Problem(ProblemKind.SILENT, item_ids, detail))
    if inspection.duration_seconds is not None and inspection.duration_seconds < SHORTEST_SECONDS:
        detail = f"It lasts {inspection.duration_seconds:.3g} seconds; give at least {SHORTEST_SECONDS:g}."
        problems.append(Problem(ProblemKind.TOO_SHORT, item_ids, detail))
    return problems


def _misnamed_files(items: Iterable[Item], inspections: Mapping[str, Inspection]) -> list[Problem]:
    """Files that can be read, but whose suffix promises another format than they hold."""
    problems = []
    for item in items:
        inspection = inspections.get(item.item_id)
        if inspection is None or inspection.format_name is None or item.path is None:
            continue
        suffix, own = item.path.suffix.lower(), SUFFIXES[inspection.format_name][1]
        others = [name for name, (_, suffixes) in SUFFIXES.items() if suffix in suffixes]
        if others and suffix not in own:
            detail = (
                f"'{item.path}' is named as {others[0]} and holds {inspection.format_name}. "
                f"It is read by its content; rename it to end in {min(own, key=len)}."
            )
            problems.append(Problem(ProblemKind.MEDIUM_MISMATCH, (item.item_id,), detail, is_harmless=True))
    return problems


def _straddling_groups(items: Iterable[Item]) -> list[Problem]:
    return [
        Problem(
            ProblemKind.GROUP_STRADDLES_SPLITS,
            _item_ids(members),
            f"The {group} stands in {_splits_text(members)}. Put all of it into one split.",
        )
        for group, members in _gathered((group_of(item), item) for item in items)
        if len(_splits(members)) > 1
    ]


def _duplicates(items: Iterable[Item], inspections: Mapping[str, Inspection]) -> list[Problem]:
    """Items of one hash; the hash tells parts of one file apart, and the sound of a video from its pictures."""
    keyed = (
        (inspections[item.item_id].content_hash, item)
        for item in items
        if item.item_id in inspections and inspections[item.item_id].content_hash is not None
    )
    problems = []
    for _, members in _gathered(keyed):
        if len(members) == 1:
            continue
        names = sorted({item.class_name for item in members if item.class_name is not None})
        labels = f", under different classes ({first(names)})" if len(names) > 1 else ""
        if len(_splits(members)) > 1:
            kind, remedy = ProblemKind.DUPLICATE_ACROSS_SPLITS, "Keep it in one split."
        else:
            kind, remedy = ProblemKind.DUPLICATE, "Drop all but one."
        detail = f"{len(members)} items have the same content{labels}, in {_splits_text(members)}. {remedy}"
        problems.append(Problem(kind, _item_ids(members), detail))
    return problems


def _near_duplicates(items: Sequence[Item], inspections: Mapping[str, Inspection]) -> list[Problem]:
    """Items that are nearly the same and say nowhere that they belong together, gathered where one links others."""
    found = [inspections.get(item.item_id) for item in items]
    similar = find_similar([each.fingerprint if each else None for each in found], [item.class_name for item in items])
    evidence: dict[tuple[int, int], str] = {}
    for pair in similar:
        one, other = found[pair.first], found[pair.second]
        is_exact = one is not None and other is not None and one.content_hash == other.content_hash
        if not is_exact and group_of(items[pair.first]) != group_of(items[pair.second]):
            evidence[pair.first, pair.second] = pair.evidence
    problems = []
    for places in _linked(evidence):
        members = [items[place] for place in places]
        is_across = len(_splits(members)) > 1
        kind = ProblemKind.NEAR_DUPLICATE_ACROSS_SPLITS if is_across else ProblemKind.NEAR_DUPLICATE
        remedy = "Keep them in one split." if is_across else "Look at them, and keep one."
        why = next(reason for (place, _), reason in evidence.items() if place in places)
        detail = f"{len(members)} items are nearly the same, in {_splits_text(members)}: {why}. {remedy}"
        problems.append(Problem(kind, _item_ids(members), detail))
    return problems


def _linked(pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """The places that pairs link, each set in order."""
    roots = linked(pairs)
    gathered: defaultdict[int, list[int]] = defaultdict(list)
    for place in sorted(roots):
        gathered[roots[place]].append(place)
    return list(gathered.values())


def _incomplete_classes(items: Iterable[Item]) -> list[Problem]:
    media_by_class: defaultdict[str, set[Medium]] = defaultdict(set)
    for item in items:
        if item.class_name is not None:
            media_by_class[item.class_name].add(item.medium)
    present = set().union(*media_by_class.values())
    return [
        Problem(
            ProblemKind.CLASS_WITHOUT_MEDIUM,
            (),
            f"The class '{class_name}' has no {', no '.join(m for m in MEDIA if m in present - media)}.",
        )
        for class_name, media in sorted(media_by_class.items())
        if present - media
    ]


def _gathered(keyed: Iterable[tuple[Hashable, Item]]) -> Iterable[tuple[Hashable, list[Item]]]:
    gathered: defaultdict[Hashable, list[Item]] = defaultdict(list)
    for key, item in keyed:
        gathered[key].append(item)
    return gathered.items()


def _splits(items: Iterable[Item]) -> list[Split]:
    present = {item.split for item in items}
    return [split for split in Split if split in present]


def _splits_text(items: Sequence[Item]) -> str:
    counts = Counter(item.split for item in items)
    return ", ".join(f"{split or 'no split'} ({counts[split]})" for split in (*Split, None) if counts[split])


def _item_ids(items: Iterable[Item]) -> tuple[str, ...]:
    return tuple(item.item_id for item in items)
