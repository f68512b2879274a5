"""Find the problems of a data set: unusable files, duplicates, and leakage between splits."""

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, TypeVar

from fieldmark.datasets.checks.inspection import Inspection
from fieldmark.datasets.checks.similarity import SimilarPair, find_similar
from fieldmark.errors import list_first
from fieldmark.media.signatures import FORMATS
from fieldmark.origin import Link, LinkKind, group_linked, name_origins
from fieldmark.records.doubts import find_doubts
from fieldmark.types import MEDIA, Item, Medium, Split

_Value = TypeVar("_Value")

_SILENT_PEAK = 1e-3  # -60 dB of full scale; a sound with a lower peak is silent
_SHORTEST_SECONDS = 0.5  # shorter sounds and videos are too short


class ProblemKind(StrEnum):
    """The kinds of problem, in the order in which they are reported."""

    BAD_ROW = "bad_row"
    MISSING_FILE = "missing_file"
    UNREADABLE = "unreadable"
    EMPTY = "empty"
    NOT_PROSE = "not_prose"
    MEDIUM_MISMATCH = "medium_mismatch"
    TOO_LONG = "too_long"
    GROUP_STRADDLES_SPLITS = "group_straddles_splits"
    DUPLICATE_ACROSS_SPLITS = "duplicate_across_splits"
    NEAR_DUPLICATE_ACROSS_SPLITS = "near_duplicate_across_splits"
    DUPLICATE = "duplicate"
    NEAR_DUPLICATE = "near_duplicate"
    DAMAGED = "damaged"
    JOINED = "joined"
    OPPOSITE_CHANNELS = "opposite_channels"
    SILENT_CHANNEL = "silent_channel"
    ZEROS = "zeros"
    ODD_SCALE = "odd_scale"
    DC_OFFSET = "dc_offset"
    ULTRASOUND = "ultrasound"
    SILENT = "silent"
    ENCODING = "encoding"
    TOO_SHORT = "too_short"
    IMPOSSIBLE_DATE = "impossible_date"
    IMPOSSIBLE_COORDINATES = "impossible_coordinates"
    SWAPPED_COORDINATES = "swapped_coordinates"
    ZERO_COORDINATES = "zero_coordinates"
    REPEATED_NUMBER = "repeated_number"
    CLASS_WITHOUT_MEDIUM = "class_without_medium"


class Severity(StrEnum):
    """An error makes items unusable or results wrong; a warning needs a look; a note is for information."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


SEVERITIES: Mapping[ProblemKind, Severity] = {
    ProblemKind.BAD_ROW: Severity.ERROR,
    ProblemKind.MISSING_FILE: Severity.ERROR,
    ProblemKind.UNREADABLE: Severity.ERROR,
    ProblemKind.EMPTY: Severity.ERROR,
    ProblemKind.NOT_PROSE: Severity.ERROR,
    ProblemKind.MEDIUM_MISMATCH: Severity.ERROR,
    ProblemKind.TOO_LONG: Severity.ERROR,
    ProblemKind.GROUP_STRADDLES_SPLITS: Severity.ERROR,
    ProblemKind.DUPLICATE_ACROSS_SPLITS: Severity.ERROR,
    ProblemKind.NEAR_DUPLICATE_ACROSS_SPLITS: Severity.ERROR,
    ProblemKind.DUPLICATE: Severity.WARNING,
    ProblemKind.NEAR_DUPLICATE: Severity.WARNING,
    ProblemKind.DAMAGED: Severity.WARNING,
    ProblemKind.JOINED: Severity.WARNING,
    ProblemKind.OPPOSITE_CHANNELS: Severity.WARNING,
    ProblemKind.SILENT_CHANNEL: Severity.WARNING,
    ProblemKind.ZEROS: Severity.WARNING,
    ProblemKind.ODD_SCALE: Severity.WARNING,
    ProblemKind.DC_OFFSET: Severity.WARNING,
    ProblemKind.ULTRASOUND: Severity.NOTE,
    ProblemKind.SILENT: Severity.WARNING,
    ProblemKind.ENCODING: Severity.WARNING,
    ProblemKind.TOO_SHORT: Severity.WARNING,
    ProblemKind.IMPOSSIBLE_DATE: Severity.WARNING,
    ProblemKind.IMPOSSIBLE_COORDINATES: Severity.WARNING,
    ProblemKind.SWAPPED_COORDINATES: Severity.WARNING,
    ProblemKind.ZERO_COORDINATES: Severity.WARNING,
    ProblemKind.REPEATED_NUMBER: Severity.WARNING,
    ProblemKind.CLASS_WITHOUT_MEDIUM: Severity.NOTE,
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem and the items that have it.

    Args:
        is_harmless: The items can be used as they are, so an error counts as a warning.
        splits: Of the items, where the problem is that they belong together.
    """

    kind: ProblemKind
    item_ids: tuple[str, ...]
    detail: str
    is_harmless: bool = False
    splits: tuple[Split | None, ...] = ()

    json_keys: ClassVar = (
        "kind",
        "severity",
        "item_ids",
        "splits",
        "detail",
    )

    @property
    def severity(self) -> Severity:
        """The severity of the kind, except that a harmless error is a warning."""
        severity = SEVERITIES[self.kind]
        return Severity.WARNING if self.is_harmless and severity is Severity.ERROR else severity


def find_problems(
    items: Sequence[Item], inspections: Iterable[Inspection], *, links: Sequence[Link] = ()
) -> tuple[Problem, ...]:
    """Find all problems, sorted by kind and then in manifest order.

    Args:
        inspections: Of all, some or none of the items; problems that need no decoding are found in any case.
        links: Of `link_contents`, so that what leaks by its content is a problem whatever its times and its wording.
    """
    inspection_by_item_id = {inspection.item_id: inspection for inspection in inspections}
    problems = [
        *(problem for item in items for problem in _find_own_problems(inspection_by_item_id.get(item.item_id))),
        *_find_misnamed_files(items, inspection_by_item_id),
        *_find_leaking_origins(items, links),
        *_find_duplicates(items, inspection_by_item_id),
        *_find_near_duplicates(items, inspection_by_item_id, links),
        *(Problem(ProblemKind(doubt.kind), (doubt.item_id,), doubt.detail) for doubt in find_doubts(items)),
        *_find_incomplete_classes(items),
    ]
    kinds = list(ProblemKind)
    return tuple(sorted(problems, key=lambda problem: kinds.index(problem.kind)))


def _find_own_problems(inspection: Inspection | None) -> list[Problem]:
    """Find what is wrong with one item by itself."""
    if inspection is None:
        return []
    item_ids = (inspection.item_id,)
    if inspection.failure is not None:
        return [Problem(ProblemKind(inspection.failure.kind), item_ids, inspection.failure.message)]
    problems = [Problem(ProblemKind(each.kind), item_ids, each.message) for each in inspection.warnings]
    if inspection.peak is not None and inspection.peak < _SILENT_PEAK:
        detail = f"The peak amplitude is {inspection.peak:.2g} of full scale; below {_SILENT_PEAK:g} is silence."
        problems.append(Problem(ProblemKind.SILENT, item_ids, detail))
    if inspection.duration_seconds is not None and inspection.duration_seconds < _SHORTEST_SECONDS:
        detail = f"It lasts {inspection.duration_seconds:.3g} seconds; give at least {_SHORTEST_SECONDS:g}."
        problems.append(Problem(ProblemKind.TOO_SHORT, item_ids, detail))
    return problems


def _find_misnamed_files(items: Iterable[Item], inspections: Mapping[str, Inspection]) -> list[Problem]:
    """Find readable files whose suffix stands for another format than they hold."""
    problems = []
    for item in items:
        inspection = inspections.get(item.item_id)
        if inspection is None or inspection.format_name is None or item.path is None:
            continue
        suffix = item.path.suffix.lower()
        own = [suffix for each in FORMATS if each.name == inspection.format_name for suffix in each.extensions]
        others = [each.name for each in FORMATS if suffix in each.extensions]
        if others and suffix not in own:
            detail = (
                f"'{item.path}' has a suffix of {others[0]} but holds {inspection.format_name}. "
                f"It is read by its content; change the suffix to {own[0]}."
            )
            problems.append(Problem(ProblemKind.MEDIUM_MISMATCH, (item.item_id,), detail, is_harmless=True))
    return problems


def _find_leaking_origins(items: Sequence[Item], links: Iterable[Link]) -> list[Problem]:
    """Find origins in several splits; parts of copies of one file have one origin."""
    by_id = {item.item_id: item for item in items}
    content = _gathered(
        (link.shared, link) for link in links if link.kind is LinkKind.SAME_CONTENT and link.item_id in by_id
    )
    # Equal parts are duplicates, which are dropped and not moved.
    parts = [link for _, same in content if len({_part(by_id[link.item_id]) for link in same}) > 1 for link in same]
    return [
        _relate(
            ProblemKind.GROUP_STRADDLES_SPLITS,
            members,
            f"The {origin} occurs in {_splits_text(members)}. Move all of it into one split.",
        )
        for origin, members in _gathered(zip(name_origins(items, parts), items, strict=True))
        if len(_splits(members)) > 1
    ]


def _find_duplicates(items: Iterable[Item], inspections: Mapping[str, Inspection]) -> list[Problem]:
    """Find items with the same hash, which differs between parts of one file and between a video's sound and frames."""
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
        labels = f", under different classes ({list_first(names)})" if len(names) > 1 else ""
        if len(_splits(members)) > 1:
            kind, remedy = ProblemKind.DUPLICATE_ACROSS_SPLITS, "Keep them in one split."
        else:
            kind, remedy = ProblemKind.DUPLICATE, "Drop all but one."
        detail = f"{len(members)} items have the same content{labels}, in {_splits_text(members)}. {remedy}"
        problems.append(_relate(kind, members, detail))
    return problems


def _find_near_duplicates(
    items: Sequence[Item], inspections: Mapping[str, Inspection], links: Iterable[Link]
) -> list[Problem]:
    """Find sets of similar items of several origins; items linked by similarity form one set."""
    found = [inspections.get(item.item_id) for item in items]
    origins = name_origins(items)
    fingerprints = [each.fingerprint if each else None for each in found]
    similar = find_similar(fingerprints, [item.class_name for item in items], origins)
    evidence: dict[tuple[int, int], str] = {}
    for pair in (*similar, *_pair_equal_texts(items, links)):
        one, other = found[pair.first], found[pair.second]
        is_exact = one is not None and other is not None and one.content_hash == other.content_hash
        if not is_exact and origins[pair.first] != origins[pair.second]:
            evidence[pair.first, pair.second] = pair.evidence
    problems = []
    for indices in _linked_sets(evidence):
        members = [items[index] for index in indices]
        is_across = len(_splits(members)) > 1
        kind = ProblemKind.NEAR_DUPLICATE_ACROSS_SPLITS if is_across else ProblemKind.NEAR_DUPLICATE
        remedy = "Keep them in one split." if is_across else "Look at them and keep one."
        why = next(reason for (index, _), reason in evidence.items() if index in indices)
        detail = f"{len(members)} items are nearly the same, in {_splits_text(members)}: {why}. {remedy}"
        problems.append(_relate(kind, members, detail))
    return problems


def _pair_equal_texts(items: Sequence[Item], links: Iterable[Link]) -> Iterator[SimilarPair]:
    """Yield each text with the first of those equal to it but for case, spaces and punctuation."""
    index = {item.item_id: number for number, item in enumerate(items)}
    first: dict[tuple[str, str], int] = {}
    for link in links:
        if link.kind is LinkKind.SAME_TEXT and link.item_id in index:
            own = index[link.item_id]
            known = first.setdefault(link.shared, own)
            if known != own:
                yield SimilarPair(known, own, "they differ in letter case, spaces and punctuation only")


def _linked_sets(pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Return the sets of indices that the pairs link, each in order."""
    roots = group_linked(pairs)
    gathered: defaultdict[int, list[int]] = defaultdict(list)
    for index in sorted(roots):
        gathered[roots[index]].append(index)
    return list(gathered.values())


def _find_incomplete_classes(items: Iterable[Item]) -> list[Problem]:
    media_by_class: defaultdict[str, set[Medium]] = defaultdict(set)
    for item in items:
        if item.class_name is not None:
            media_by_class[item.class_name].add(item.medium)
    present = set().union(*media_by_class.values())
    return [
        Problem(
            ProblemKind.CLASS_WITHOUT_MEDIUM,
            (),
            f"The class '{class_name}' has no {' and no '.join(m for m in MEDIA if m in present - media)}.",
        )
        for class_name, media in sorted(media_by_class.items())
        if present - media
    ]


def _gathered(keyed: Iterable[tuple[Hashable, _Value]]) -> Iterable[tuple[Hashable, list[_Value]]]:
    gathered: defaultdict[Hashable, list[_Value]] = defaultdict(list)
    for key, item in keyed:
        gathered[key].append(item)
    return gathered.items()


def _splits(items: Iterable[Item]) -> list[Split]:
    present = {item.split for item in items}
    return [split for split in Split if split in present]


def _splits_text(items: Sequence[Item]) -> str:
    counts = Counter(item.split for item in items)
    return ", ".join(f"{split or 'no split'} ({counts[split]})" for split in (*Split, None) if counts[split])


def _relate(kind: ProblemKind, members: Sequence[Item], detail: str) -> Problem:
    """Return the problem that some items belong together."""
    return Problem(kind, _item_ids(members), detail, splits=tuple(item.split for item in members))


def _part(item: Item) -> tuple[Medium, float | None, float | None]:
    """Return the part of its file that an item is."""
    return item.medium, item.start_seconds, item.end_seconds


def _item_ids(items: Iterable[Item]) -> tuple[str, ...]:
    return tuple(item.item_id for item in items)
