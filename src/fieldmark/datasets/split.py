"""`fieldmark data split`: assign a split to every item of a manifest."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import ClassVar, assert_never

from fieldmark.data.manifest import read_manifest, write_manifest
from fieldmark.data.split import count_items, format_counts, split_items
from fieldmark.errors import OutOfRangeError, list_first
from fieldmark.gallery.search.records import get_record_id
from fieldmark.leakage import Findings, link_contents, read_findings
from fieldmark.origin import Link, LinkKind, name_origins
from fieldmark.records.columns import fold_text, split_people
from fieldmark.records.coordinates import is_on_earth
from fieldmark.types import MEDIA, Item, Split


class Shared(StrEnum):
    """The facts of records by which items can be kept in one split."""

    RECORD = "record"
    PLACE = "place"
    OBSERVER = "observer"


@dataclass(frozen=True, slots=True)
class SplitReport:
    """The result of a split.

    Args:
        unseen: Classes with test items only.
        moved_count: Items that were in another split before.
        untested: By medium, the classes with items of it but, for too few groups, no test items.
        left_out: Items that tied two splits together.
    """

    manifest: Path
    seed: int
    counts: Mapping[str, Mapping[str, int]]
    moved_count: int
    unseen: tuple[str, ...]
    untested: Mapping[str, tuple[str, ...]]
    left_out: int = 0

    json_keys: ClassVar = (
        "manifest",
        "seed",
        "counts",
        "moved_count",
        "unseen_classes=unseen",
        "classes_without_test=untested",
        "left_out",
    )

    def to_text(self) -> str:
        """Return the counts, and the classes that lack training or test items."""
        lines = [f"{self.manifest}, seed {self.seed}"]
        lines += format_counts(self.counts)
        lines += [f"{self.moved_count:,} items were in another split before"] if self.moved_count else []
        lines += [f"{self.left_out:,} items that tie two splits together are left out"] if self.left_out else []
        lines += [f"classes only in test: {list_first(self.unseen, limit=8)}"] if self.unseen else []
        lines += [
            f"classes without {medium} in test, for too few groups: {list_first(names, limit=8)}"
            for medium, names in self.untested.items()
        ]
        return "\n".join(lines)


def split_manifest(  # noqa: PLR0913 - users set each of them independently
    manifest: Path,
    *,
    out: Path,
    validation: float = 0.1,
    test: float = 0.3,
    unseen_classes: int = 0,
    seed: int = 0,
    keep: Collection[Split] = (),
    findings: Path | None = None,
    together: Collection[Shared] = (),
    cuts: bool = False,
) -> SplitReport:
    """Split a manifest so that nothing leaks; the split of a group follows from the seed and its name alone.

    What has a common origin or the same content (`link_contents`) goes into one split. Rows added later, and the order
    of the rows, change no split, but for the few that `split_items` names.

    Args:
        validation: Share of the items, 0 to 1.
        test: Share of the items, 0 to 1; the rest is for training.
        unseen_classes: Number of randomly drawn classes that go to the test split as a whole.
        keep: Splits whose present items stay in them.
        findings: What `data check --json` printed for the manifest, so that near duplicates go together too.
        together: Facts that items of two splits never share, such as an observer; chains count.
        cuts: Whether chains are cut: each observer or place is of one split, and what ties two splits is left out.

    Raises:
        ManifestError: The manifest is not valid, or the findings are not.
        OutOfRangeError: A share or a count is outside its range.
    """
    if validation + test > 1:
        raise OutOfRangeError(name="validation + test", got=validation + test, smallest=0, largest=1)
    shares = {Split.TRAIN: 1 - validation - test, Split.VALIDATION: validation, Split.TEST: test}
    found = Findings() if findings is None else read_findings(findings)
    before = read_manifest(manifest)
    given, links = before, [*link_contents(before), *found.links]
    kept = tuple(keep)
    if cuts and together:
        given, kept = _cut(before, together, shares=shares, seed=seed, links=links), tuple(Split)
    else:
        links += link_records(before, together)
    items = split_items(given, shares=shares, seed=seed, unseen_class_count=unseen_classes, kept=kept, links=links)
    before_by_id = {item.item_id: item.split for item in before}
    write_manifest(items, out)
    return SplitReport(
        manifest=out,
        seed=seed,
        counts=count_items(items),
        moved_count=sum(before_by_id[item.item_id] not in (None, item.split) for item in items),
        left_out=len(before) - len(items),
        unseen=tuple(
            sorted(_class_names(items) - _class_names(item for item in items if item.split is not Split.TEST))
        ),
        untested=_find_untested(items),
    )


def link_records(items: Iterable[Item], together: Collection[Shared]) -> Iterator[Link]:
    """Yield links between the items of one record, place or observer; those without the fact have none.

    Places within about 10 km have the same coordinates to a tenth of a degree; those without coordinates have a name.
    """
    for item in items:
        for shared in together:
            for name in _list_shared(item, shared):
                yield Link(item.item_id, LinkKind.ORIGIN, (f"shared {shared}", name))


def _cut(
    items: Sequence[Item],
    together: Collection[Shared],
    *,
    shares: Mapping[Split, float],
    seed: int,
    links: Sequence[Link],
) -> tuple[Item, ...]:
    """Return items in the split of what they share, without those that share things of two splits.

    Places or observers are gone through by a hash of seed and name; the first of them, as far as the share of the test
    goes, are its own, the next those of validation. Items that share nothing have no split.
    """
    names = [tuple((shared, name) for shared in together for name in _list_shared(item, shared)) for item in items]
    split_by_name: dict[tuple[Shared, str], Split] = {}
    for shared in together:
        counts = Counter(name for own in names for name in own if name[0] is shared)
        order = sorted(counts, key=lambda name: hashlib.sha256(f"{seed}\n{name}".encode()).digest())
        done = 0
        for name in order:
            share = (done + counts[name] / 2) / counts.total()
            is_test, is_validation = share < shares[Split.TEST], share < shares[Split.TEST] + shares[Split.VALIDATION]
            split_by_name[name] = Split.TEST if is_test else Split.VALIDATION if is_validation else Split.TRAIN
            done += counts[name]
    found: defaultdict[str, set[Split]] = defaultdict(set)
    origins = name_origins(items, links)
    for origin, own in zip(origins, names, strict=True):
        found[origin].update(split_by_name[name] for name in own)
    return tuple(
        replace(item, split=next(iter(found[origin]), None))
        for item, origin in zip(items, origins, strict=True)
        if len(found[origin]) < 2
    )


def _list_shared(item: Item, shared: Shared) -> tuple[str, ...]:
    match shared:
        case Shared.RECORD:
            record = get_record_id(item)
            return () if record is None else (record,)
        case Shared.PLACE:
            return _name_place(item)
        case Shared.OBSERVER:
            return tuple(map(fold_text, split_people(item.recorded_by or "")))
        case _:
            assert_never(shared)


def _name_place(item: Item) -> tuple[str, ...]:
    latitude, longitude = item.latitude, item.longitude
    if latitude is not None and longitude is not None and is_on_earth(latitude, longitude):
        return (f"{latitude:.1f},{longitude:.1f}",)
    return (f"{fold_text(item.place)}, {item.country_code or ''}",) if item.place else ()


def _class_names(items: Iterable[Item]) -> set[str]:
    return {item.class_name for item in items if item.class_name is not None}


def _find_untested(items: Sequence[Item]) -> dict[str, tuple[str, ...]]:
    """Find the classes of each medium that have items of it but no test items."""
    found = {}
    for medium in MEDIA:
        own = [item for item in items if item.medium is medium]
        names = _class_names(own) - _class_names(item for item in own if item.split is Split.TEST)
        if names:
            found[medium.value] = tuple(sorted(names))
    return found
