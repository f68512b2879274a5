"""What is wrong with a data set: files that cannot be used, items that repeat, origins that stand in two splits."""

import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from fieldmark.data.split import origin_of
from fieldmark.errors import MediaError, first
from fieldmark.media.loaders import hash_content, load_segments
from fieldmark.types import MEDIA, AudioContent, Decoding, Failure, Item, MediaLimits, Medium, Split

SILENT_PEAK = 1e-3
"""A sound whose largest amplitude lies below this (-60 dB of full scale) counts as silent."""

SHORTEST_SECONDS = 0.5
"""A sound or a video below this length counts as too short."""

# Cut, so that an hour of sound needs no hour of memory; finely, since up to a quarter of a segment of sound is left out
# at the end.
_DECODING = Decoding(segment_seconds=1.0)


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
    DUPLICATE = "duplicate"
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
    ProblemKind.DUPLICATE: Severity.WARNING,
    ProblemKind.SILENT: Severity.WARNING,
    ProblemKind.TOO_SHORT: Severity.WARNING,
    ProblemKind.CLASS_WITHOUT_MEDIUM: Severity.NOTE,
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding: what it is, whom it concerns, and what was met."""

    kind: ProblemKind
    item_ids: tuple[str, ...]
    detail: str

    @property
    def severity(self) -> Severity:
        """How much it matters; the kind decides."""
        return SEVERITIES[self.kind]


@dataclass(frozen=True, slots=True)
class Inspection:
    """What decoding one item showed.

    Args:
        content_hash: None where the item cannot be read at all.
        duration_seconds: To a quarter of a second; None where the medium has no time, or the item cannot be used.
        peak: The largest amplitude of a sound, 0 to 1; None for the other media.
        failure: Why the item cannot be used; None where it can.
    """

    item_id: str
    content_hash: str | None = None
    duration_seconds: float | None = None
    peak: float | None = None
    failure: Failure | None = None


def inspect_item(item: Item, *, limits: MediaLimits) -> Inspection:
    """Decodes an item from beginning to end and tells what was found; never raises for what a file holds."""
    content_hash = None
    start, end, peak = math.inf, -math.inf, None
    try:
        content_hash = hash_content(item)
        for segment in load_segments(item, decoding=_DECODING, limits=limits):
            if segment.start_seconds is not None and segment.end_seconds is not None:
                start, end = min(start, segment.start_seconds), max(end, segment.end_seconds)
            if isinstance(segment.content, AudioContent) and segment.content.waveform.numel():
                peak = max(peak or 0.0, float(segment.content.waveform.abs().max()))
    except MediaError as error:
        failure = Failure(item_id=item.item_id, kind=error.kind, message=str(error))
        return Inspection(item_id=item.item_id, content_hash=content_hash, failure=failure)
    duration = end - start if end >= start else None
    return Inspection(item_id=item.item_id, content_hash=content_hash, duration_seconds=duration, peak=peak)


def find_problems(items: Sequence[Item], inspections: Iterable[Inspection]) -> tuple[Problem, ...]:
    """All findings on some items, sorted by kind, then in manifest order.

    Args:
        inspections: Of all items, of some, or of none: what needs no decoding is found in any case.
    """
    inspection_by_item_id = {inspection.item_id: inspection for inspection in inspections}
    problems = [
        *(problem for inspection in inspection_by_item_id.values() for problem in _own_problems(inspection)),
        *_straddling_origins(items),
        *_duplicates(items, inspection_by_item_id),
        *_incomplete_classes(items),
    ]
    kinds = list(ProblemKind)
    return tuple(sorted(problems, key=lambda problem: kinds.index(problem.kind)))


def count_items(items: Iterable[Item]) -> dict[str, dict[str, int]]:
    """How many items of each medium stand in each split; those without a split are counted under `none`."""
    counts = Counter((item.medium, item.split) for item in items)
    table: dict[str, dict[str, int]] = {}
    for medium in MEDIA:
        by_split = {
            split.value if split else "none": counts[medium, split] for split in (*Split, None) if counts[medium, split]
        }
        if by_split:
            table[medium.value] = by_split
    return table


def _own_problems(inspection: Inspection) -> list[Problem]:
    """What is wrong with one item by itself."""
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


def _straddling_origins(items: Iterable[Item]) -> list[Problem]:
    return [
        Problem(
            ProblemKind.GROUP_STRADDLES_SPLITS,
            _item_ids(members),
            f"The {origin} stands in {_splits_text(members)}. Put all of it into one split.",
        )
        for origin, members in _gathered((origin_of(item), item) for item in items)
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
