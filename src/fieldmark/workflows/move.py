"""The verb `gallery move`: a gallery from a folder to an engine and back, with nothing embedded again."""

import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from fieldmark.errors import DamagedGalleryError, GalleryError, list_first, write_count
from fieldmark.gallery.files import GalleryPlace, name_place, open_files
from fieldmark.gallery.layout import GalleryFile, GalleryLayout
from fieldmark.gallery.opening import create_store, find_store, open_place, open_store
from fieldmark.gallery.recall import QUERY_COUNT, RECALL_K, ExactNeighbors, Queries, choose_spread
from fieldmark.gallery.sources import SetSource, read_sources, record_set
from fieldmark.gallery.store import Filter, SegmentIndex, StoredItem, iterate_pages
from fieldmark.runtime import Runtime

_BLOCK_ROWS = 8_192
"""Segments of whole items that are written at once."""

_COPIED = (
    GalleryFile.CALIBRATION,
    GalleryFile.LABELS,
    GalleryFile.TAXONOMY,
    GalleryFile.SPECIES,
    GalleryFile.NAMES,
    GalleryFile.MARKS,
)
"""The checkpoint goes before the items; where sets come from is told anew, as seen from the new place."""


@dataclass(frozen=True, slots=True)
class MoveReport:
    """The items that `gallery move` wrote, and how well the new place finds them.

    Args:
        moved_count: Items that were written.
        present_count: Items that were there already, from a move that was cut short.
        search: The kind of search in the new place: `exact`, or the kind of its index.
        recall: Mean share of the 10 nearest segments that its searches find, against a look at every segment that was
            moved.
        query_count: Segments that were asked for.
    """

    source: Path | str
    target: Path | str
    item_count: int
    segment_count: int
    moved_count: int
    present_count: int
    search: str
    recall: float
    query_count: int

    json_keys: ClassVar = (
        "source",
        "target",
        "item_count",
        "segment_count",
        "moved_count",
        "present_count",
        "search",
        "recall",
        "query_count",
    )

    def to_text(self) -> str:
        """Return what was moved, and what searches find there."""
        return (
            f"moved {write_count(self.moved_count, 'item')} to {self.target}, {self.present_count:,} were there; "
            f"it holds {write_count(self.item_count, 'item')}, {write_count(self.segment_count, 'segment')}\n"
            f"search there ({self.search}) finds {self.recall:.4f} of the {RECALL_K} nearest segments, "
            f"asked with {self.query_count} of them\n"
            f"{self.source} is as it was; delete it when you no longer need it"
        )


def move_gallery(source: Path | str, target: Path | str, *, runtime: Runtime | None = None) -> MoveReport:
    """Bring a gallery to another place; the one it comes from stays as it is.

    Items go in blocks. A move that was cut short goes on where it stopped when it is started again.

    Args:
        source: A folder, or an address such as `milvus://host:port/name`.
        target: The same; it holds no gallery, or a part of this one.

    Raises:
        MissingGalleryError: There is no gallery at the source.
        GalleryError: Both are one place, or the target holds another gallery.
    """
    runtime = runtime or Runtime.from_environment()
    start, end = (open_place(each, access=runtime.engine) for each in (source, target))
    if str(start) == str(end) or (
        isinstance(start, Path) and isinstance(end, Path) and start.resolve() == end.resolve()
    ):
        raise GalleryError(
            f"'{name_place(start)}' cannot be moved to itself. Give another folder or address.", kind="move_target"
        )
    origin = open_store(start)
    goal = _open_target(start, end, store=origin)
    wanted = [stored for page in iterate_pages(origin) for stored in page]
    present = {stored.item.item_id: stored for page in iterate_pages(goal) for stored in page}
    strange = sorted(present.keys() - {stored.item.item_id for stored in wanted})
    if strange:
        raise GalleryError(
            f"'{name_place(end)}' holds {len(strange):,} items that '{name_place(start)}' does not have: "
            f"{list_first(strange)}. Give a place without a gallery.",
            kind="move_target",
        )
    neighbors = _choose_queries(origin, wanted)
    with goal.loading():
        moved = _copy(origin, goal, wanted=wanted, present=present, neighbors=neighbors, runtime=runtime)
    goal.optimize()
    _copy_files(start, end, origin=origin, goal=goal)
    approximation = goal.approximation()
    return MoveReport(
        source=name_place(start),
        target=name_place(end),
        item_count=goal.item_count(),
        segment_count=goal.segment_count(),
        moved_count=moved,
        present_count=len(wanted) - moved,
        search="exact" if approximation is None else approximation.kind,
        recall=neighbors.measure(lambda vector, where: goal.search(vector, k=RECALL_K, where=where, by_segment=True)),
        query_count=min(len(wanted), QUERY_COUNT),
    )


def _open_target(start: GalleryPlace, end: GalleryPlace, *, store: SegmentIndex) -> SegmentIndex:
    """Return the store of the new place, made where there is none; the checkpoint is there before it."""
    checkpoint = open_files(start).find(GalleryFile.CHECKPOINT)
    if checkpoint is None:
        raise DamagedGalleryError(path=name_place(start), reason=f"'{GalleryFile.CHECKPOINT}' is missing")
    found = find_store(end, fingerprint=store.fingerprint, is_raw=True)
    if found is not None:
        return found
    if isinstance(end, Path):
        end.mkdir(parents=True, exist_ok=True)
    open_files(end).write(GalleryFile.CHECKPOINT, checkpoint.read_bytes())
    return create_store(end, fingerprint=store.fingerprint, dim=store.dim)


def _choose_queries(store: SegmentIndex, stored: Sequence[StoredItem]) -> ExactNeighbors:
    chosen = choose_spread([each.item.item_id for each in stored])
    embeddings = store.embeddings(Filter(item_ids=frozenset(chosen)))
    return ExactNeighbors(Queries.from_items(embeddings, media=[each.item.medium for each in stored]))


def _copy(
    origin: SegmentIndex,
    goal: SegmentIndex,
    *,
    wanted: Sequence[StoredItem],
    present: Mapping[str, StoredItem],
    neighbors: ExactNeighbors,
    runtime: Runtime,
) -> int:
    """Write what is missing in the new place, or is not as it was; return the number of these items.

    Blocks that are there are read too, so that the recall is measured against all.
    """
    moved = done = 0
    for set_name, block in _split(wanted):
        embeddings = origin.embeddings(Filter(item_ids=frozenset(stored.item.item_id for stored in block)))
        neighbors.look_at(
            embeddings.embedding,
            [item.item_id for item in embeddings.items],
            [item.medium.value for item in embeddings.items],
        )
        missing = [stored for stored in block if present.get(stored.item.item_id) != stored]
        if missing:
            if len(missing) < len(block):
                embeddings = origin.embeddings(Filter(item_ids=frozenset(stored.item.item_id for stored in missing)))
            hashes = {stored.item.item_id: stored.content_hash for stored in missing}
            goal.add(embeddings, content_hash_by_item_id=hashes, set_name=set_name)
        moved += len(missing)
        done += len(block)
        runtime.reporter.step("move", done=done, total=len(wanted))
    return moved


def _split(wanted: Sequence[StoredItem]) -> Iterator[tuple[str | None, list[StoredItem]]]:
    """Yield items of one set, about `_BLOCK_ROWS` segments at a time."""
    by_set: dict[str | None, list[StoredItem]] = defaultdict(list)
    for stored in wanted:
        by_set[stored.set_name].append(stored)
    for set_name, of_set in by_set.items():
        block, rows = list[StoredItem](), 0
        for stored in of_set:
            block.append(stored)
            rows += stored.segment_count
            if rows >= _BLOCK_ROWS:
                yield set_name, block
                block, rows = [], 0
        if block:
            yield set_name, block


def _copy_files(start: GalleryPlace, end: GalleryPlace, *, origin: SegmentIndex, goal: SegmentIndex) -> None:
    """Write labels, sets, names, marks and calibration to the new place."""
    old, new = open_files(start), open_files(end)
    for name in _COPIED:
        path = old.find(name)
        if path is not None:
            new.write(name, path.read_bytes())
    for set_name, source in read_sources(start).items():
        now = source.find(start)
        seen = SetSource.from_path(now.origin, gallery=end, follows_links=now.follows_links)
        record_set(end, set_name, source=SetSource(now.origin, now.root, seen.below_gallery, now.follows_links))
    stamps, copied = (GalleryLayout(each.local_folder).files for each in (old, new))
    if stamps.is_file():
        shutil.copyfile(stamps, copied)
    finished = old.find(GalleryFile.FINISHED)
    if finished is not None and finished.read_text(encoding="ascii") == str(origin.version):
        new.write(GalleryFile.FINISHED, str(goal.version).encode())
