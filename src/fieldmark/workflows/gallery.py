"""The verbs `gallery describe`, `check` and `compact`: what a gallery holds, its integrity, its disk space."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import ClassVar

from fieldmark.build import load_model
from fieldmark.datasets.export import RecordExport, RecordFormat, export_items
from fieldmark.errors import (
    DamagedGalleryError,
    FieldmarkError,
    GalleryError,
    MissingGalleryError,
    UnknownItemError,
    list_first,
    suggest_nearest,
    write_count,
)
from fieldmark.gallery.files import GalleryPlace, name_place, open_files
from fieldmark.gallery.integrity import GalleryProblem, check_media, check_sets
from fieldmark.gallery.item_state import FileStamps
from fieldmark.gallery.labels import SavedClass, list_classes
from fieldmark.gallery.lance import EXACT_ROWS
from fieldmark.gallery.layout import GalleryFile
from fieldmark.gallery.naming.name_offers import NameOffer
from fieldmark.gallery.naming.name_reader import NameReader
from fieldmark.gallery.opening import measure_bytes, open_place, open_store
from fieldmark.gallery.search.fitting import recalibrate
from fieldmark.gallery.search.query import count_items_by_class
from fieldmark.gallery.search.records import look_up
from fieldmark.gallery.search.result import describe_facts
from fieldmark.gallery.sets import list_set
from fieldmark.gallery.sources import read_sets, read_sources, record_set
from fieldmark.gallery.store import Approximation, Filter, StoredItem, iterate_pages
from fieldmark.query_encoder import ModelQueryEncoder
from fieldmark.runtime import Runtime
from fieldmark.types import MEDIA

_SHOWN = 10
"""Lines of a kind that a text names before it only counts."""


@dataclass(frozen=True, slots=True)
class GalleryDescription:
    """The contents of a gallery.

    Args:
        sources: Where each set came from, by name.
        class_counts: Items by class; those without one are not in it.
        set_counts: Items by set, and by license in `license_counts`; "" stands for none.
        disk_bytes: None where an engine keeps the gallery.
        version_count: States that the store keeps until it is compacted.
        approximation: None where every search is exact.
    """

    gallery: Path | str
    fingerprint: str
    dim: int
    item_count: int
    segment_count: int
    counts: dict[str, int]
    set_counts: dict[str, int]
    license_counts: dict[str, int]
    class_counts: dict[str, int]
    sources: dict[str, str]
    disk_bytes: int | None
    version_count: int
    approximation: Approximation | None

    json_keys: ClassVar = (
        "gallery",
        "fingerprint",
        "dim",
        "item_count",
        "segment_count",
        "counts",
        "set_counts",
        "license_counts",
        "class_counts",
        "sources",
        "disk_bytes",
        "version_count",
        "approximation",
        "class_count",
        "search",
    )

    @property
    def class_count(self) -> int:
        """The number of classes."""
        return len(self.class_counts)

    @property
    def search(self) -> str:
        """The kind of search: `exact`, or the kind of the index."""
        return "exact" if self.approximation is None else self.approximation.kind

    def to_text(self) -> str:
        """A few lines: how much of what, from where, how it is searched, and its size on disk."""
        lines = [
            f"{self.gallery}: {write_count(self.item_count, 'item')}, {write_count(self.segment_count, 'segment')} of "
            f"{self.dim} dimensions",
            f"made with the model {self.fingerprint[:12]}",
            f"media: {_listed(self.counts)}",
            f"classes: {len(self.class_counts):,}",
        ]
        for name, count in self.set_counts.items():
            source = f" from {self.sources[name]}" if name in self.sources else ""
            lines.append(f"set {name or '(none)'}: {write_count(count, 'item')}{source}")
        lines.append(f"licenses: {_listed(self.license_counts)}")
        if self.approximation is None:
            lines.append("search: exact, every segment is compared")
        else:
            known = self.approximation
            probes = f"{known.probe_count} of {known.partition_count} partitions are probed"
            candidates = f"{known.probe_count} candidates are kept"
            lines.append(
                f"search: {known.kind.upper()}, {candidates if known.kind == 'hnsw' else probes}; it finds "
                f"{known.recall:.3f} of the 10 nearest segments (measured with {known.query_count} stored segments "
                f"when there were {known.measured_count:,})"
            )
            if known.filtered_recall is not None:
                lines.append(f"in searches of one class: {known.filtered_recall:.3f}")
        if self.disk_bytes is not None:
            lines.append(f"disk: {self.disk_bytes / 1e6:,.1f} MB in {self.version_count} versions")
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class GalleryCheck:
    """The findings of an integrity check of a gallery."""

    gallery: Path | str
    item_count: int
    problems: tuple[GalleryProblem, ...]

    @property
    def has_problems(self) -> bool:
        """True where the gallery needs repair."""
        return bool(self.problems)

    def to_text(self) -> str:
        """Each problem in a line; many of a kind are counted."""
        if not self.problems:
            return f"{self.gallery}: {write_count(self.item_count, 'item')}, no problems"
        problems = write_count(len(self.problems), "problem")
        lines = [f"{self.gallery}: {write_count(self.item_count, 'item')}, {problems}"]
        shown: Counter[str] = Counter()
        for problem in self.problems:
            shown[problem.kind] += 1
            if shown[problem.kind] <= _SHOWN:
                about = f"{', '.join(problem.item_ids)}: " if problem.item_ids else ""
                lines.append(f"{problem.kind}: {about}{problem.detail}")
        lines += [
            f"{kind}: {count - _SHOWN:,} more; --json lists them" for kind, count in shown.items() if count > _SHOWN
        ]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Compaction:
    """The disk space of a gallery before and after compaction; None where an engine keeps it."""

    gallery: Path | str
    bytes_before: int | None
    bytes_after: int | None

    def to_text(self) -> str:
        """Bytes before and after."""
        if self.bytes_before is None or self.bytes_after is None:
            return f"{self.gallery}: the engine was told to write and index what it holds"
        return f"{self.gallery}: {self.bytes_before / 1e6:,.1f} MB before, {self.bytes_after / 1e6:,.1f} MB now"


def describe_gallery(gallery: Path | str, *, exact_rows: int = EXACT_ROWS) -> GalleryDescription:
    """Return what a gallery holds, without loading its model.

    Args:
        exact_rows: Segments up to which its searches are exact.

    Raises:
        MissingGalleryError: The folder holds no gallery.
        DamagedGalleryError: A part of it cannot be read.
    """
    folder = _open(gallery)
    store = open_store(folder, exact_rows=exact_rows)
    by_set: Counter[str] = Counter()
    by_license: Counter[str] = Counter()
    by_class: Counter[str] = Counter()
    by_medium = dict.fromkeys((medium.value for medium in MEDIA), 0)
    for each in store.counts():
        by_medium[each.medium.value] += each.item_count
        by_set[each.set_name or ""] += each.item_count
        by_license[each.license or ""] += each.item_count
        if each.class_name is not None:
            by_class[each.class_name] += each.item_count
    return GalleryDescription(
        gallery=name_place(folder),
        fingerprint=store.fingerprint,
        dim=store.dim,
        item_count=store.item_count(),
        segment_count=store.segment_count(),
        counts=by_medium,
        set_counts=dict(sorted(by_set.items())),
        license_counts=dict(by_license.most_common()),
        class_counts=dict(sorted(by_class.items())),
        sources=read_sets(folder),
        disk_bytes=measure_bytes(folder),
        version_count=store.version_count(),
        approximation=store.approximation(),
    )


def offer_names(gallery: Path | str, text: str, *, limit: int) -> tuple[NameOffer, ...]:
    """Return the names in a gallery that fit what was typed, the most fitting first, without loading its model.

    Raises:
        MissingGalleryError: The folder holds no gallery.
        DamagedGalleryError: A part of it cannot be read.
    """
    place = _open(gallery)
    held = count_items_by_class(open_store(place).counts())
    names = NameReader(place, resolutions=()).read(held=held, trained=frozenset())
    return names.offers.offer(text, limit=limit)


@dataclass(frozen=True, slots=True)
class ShownRecord:
    """The items of a gallery that an id or a number stands for."""

    gallery: Path | str
    found: tuple[StoredItem, ...]

    def json_values(self) -> dict[str, object]:
        """Return the values of the JSON object, by key."""
        return {
            "gallery": self.gallery,
            "items": [
                {**describe_facts(each.item), "set_name": each.set_name, "segment_count": each.segment_count}
                for each in self.found
            ],
        }

    def to_text(self) -> str:
        """Each item with its facts, one in a line."""
        return "\n\n".join(_describe_item(each) for each in self.found)


def _describe_item(stored: StoredItem) -> str:
    values = describe_facts(stored.item)
    extra = values.pop("facts")
    told = {**values, "set_name": stored.set_name, "segment_count": stored.segment_count}
    rows = {name: value for name, value in told.items() if value is not None}
    rows |= {name: value for name, value in extra.items() if value} if isinstance(extra, dict) else {}
    width = max(map(len, rows))
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows.items())


_MOST_SHOWN = 1_000


def show_record(gallery: Path | str, record: str) -> ShownRecord:
    """Return the item of an id, or all items of a catalog or occurrence number or a file name.

    Raises:
        MissingGalleryError: The folder holds no gallery.
        UnknownItemError: Nothing in it has this id or number.
    """
    folder = _open(gallery)
    store = open_store(folder)
    found = store.items(where=Filter(item_ids=frozenset({record})), limit=1)
    if not found:
        match = look_up(store, record, where=Filter(), limit=_MOST_SHOWN)
        ids = frozenset(hit.item_id for hit in match.hits) if match else frozenset()
        found = store.items(where=Filter(item_ids=ids), limit=len(ids)) if ids else ()
    if not found:
        raise UnknownItemError(item_id=record, gallery=name_place(folder))
    return ShownRecord(name_place(folder), found)


def export_gallery(gallery: Path | str, *, out: Path, file_format: RecordFormat = "dwca") -> RecordExport:
    """Write the records of all items of a gallery.

    Raises:
        MissingGalleryError: The folder holds no gallery.
        OSError: The file cannot be written.
    """
    folder = _open(gallery)
    pages = iterate_pages(open_store(folder))
    items = (stored.item for page in pages for stored in page)
    return export_items(items, out=out, file_format=file_format, title=open_files(folder).name)


def check_gallery(gallery: Path | str, *, reads_media: bool = True, runtime: Runtime | None = None) -> GalleryCheck:
    """Read every part of a gallery, and the media it points at, and return what is wrong.

    Args:
        reads_media: Whether the media files should be there and unchanged; each is read to its end.

    Raises:
        MissingGalleryError: The folder holds no gallery.
    """
    runtime = runtime or Runtime.from_environment()
    folder = open_place(gallery, access=runtime.engine)
    problems = list(_check_checkpoint(folder, runtime))
    item_count = 0
    try:
        store = open_store(folder)
        item_count = store.item_count()
        lost = store.find_lost_version()
        if lost is not None:
            detail = f"'{lost}' is missing: the gallery shows an older state. Index each of its sources again"
            problems.append(GalleryProblem("store", (), detail))
        unsound = store.find_unsound_items()
        problems += [GalleryProblem("unsound_item", (item_id,), reason) for item_id, reason in unsound.items()]
        if not unsound:
            problems += check_sets(folder, store)
        if reads_media and not unsound:
            problems += check_media(store, item_count=item_count, reporter=runtime.reporter)
    except DamagedGalleryError as error:
        problems.append(GalleryProblem("store", (), str(error)))
    return GalleryCheck(name_place(folder), item_count, tuple(problems))


def compact_gallery(gallery: Path | str) -> Compaction:
    """Free the disk space of replaced and deleted items, and bring the index up to date.

    Raises:
        MissingGalleryError: The folder holds no gallery.
        GalleryError: Another process has been writing for too long.
        GalleryError: The store could not be written.
    """
    folder = _open(gallery)
    store = open_store(folder)
    before = measure_bytes(folder)
    store.optimize()
    return Compaction(name_place(folder), before, measure_bytes(folder))


def list_saved_classes(gallery: Path | str) -> tuple[SavedClass, ...]:
    """Return the classes that people gave to items of a gallery, with the items that it no longer holds.

    Raises:
        MissingGalleryError: The folder holds no gallery.
        DamagedGalleryError: A part of it cannot be read.
    """
    folder = _open(gallery)
    return list_classes(folder, index=open_store(folder))


@dataclass(frozen=True, slots=True)
class SetRemoval:
    """A set that is gone from a gallery.

    Args:
        item_count: Of the gallery, now.
    """

    gallery: Path | str
    set_name: str
    removed_count: int
    item_count: int

    def to_text(self) -> str:
        """Return what was removed and what is left."""
        return (
            f"removed the set '{self.set_name}' with {write_count(self.removed_count, 'item')}; "
            f"{self.gallery} holds {write_count(self.item_count, 'item')}"
        )


def remove_set(gallery: Path | str, set_name: str, *, runtime: Runtime | None = None) -> SetRemoval:
    """Remove a set with all its items from a gallery; the files themselves stay.

    Raises:
        MissingGalleryError: The folder holds no gallery.
        GalleryError: The gallery has no such set.
        GalleryError: Another process has been writing for too long.
    """
    runtime = runtime or Runtime.from_environment()
    folder = open_place(gallery, access=runtime.engine)
    store = open_store(folder)
    names = {*read_sources(folder), *(each.set_name for each in store.counts() if each.set_name)}
    if set_name not in names:
        raise GalleryError(
            f"The gallery '{name_place(folder)}' has no set '{set_name}'; "
            f"its sets are: {list_first(sorted(names)) or 'none'}."
            f"{suggest_nearest(set_name, names)} Give the name of one of them.",
            kind="unknown_set",
        )
    model = load_model(_find_checkpoint(folder), device=runtime.choose_device())
    gone = list_set(store, set_name, split=None)
    removed = store.remove(gone)
    store.optimize()
    record_set(folder, set_name, source=None)
    FileStamps(folder, {}, is_trusted=False).write(gone=gone)
    recalibrate(folder, index=store, encoder=ModelQueryEncoder(model, runtime=runtime))
    return SetRemoval(name_place(folder), set_name, removed, store.item_count())


def _open(gallery: Path | str) -> GalleryPlace:
    return open_place(gallery, access=Runtime.from_environment().engine)


def _find_checkpoint(folder: GalleryPlace) -> Path:
    path = open_files(folder).find(GalleryFile.CHECKPOINT)
    if path is None:
        raise DamagedGalleryError(path=name_place(folder), reason=f"'{GalleryFile.CHECKPOINT}' is missing")
    return path


def _check_checkpoint(folder: GalleryPlace, runtime: Runtime) -> Iterator[GalleryProblem]:
    path = open_files(folder).find(GalleryFile.CHECKPOINT)
    if path is None:
        yield GalleryProblem("checkpoint", (), f"'{GalleryFile.CHECKPOINT}' is missing: index again with --checkpoint")
        return
    try:
        fingerprint = load_model(path, device=runtime.choose_device()).fingerprint
        open_store(folder, fingerprint=fingerprint)
    except (DamagedGalleryError, MissingGalleryError):
        return  # told where the store is looked at
    except FieldmarkError as error:
        yield GalleryProblem("checkpoint", (), str(error))


_LISTED = 8
"""Most names in a line of text."""


def _listed(counts: dict[str, int]) -> str:
    """Return the largest of some counts as text; `--json` has all of them."""
    listed = [f"{count:,} {shorten(name, 60) or 'without'}" for name, count in counts.items()]
    rest = len(listed) - _LISTED
    return ", ".join(listed[:_LISTED] + ([f"and {rest:,} more (--json lists them)"] if rest > 0 else []))
