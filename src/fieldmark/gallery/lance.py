"""The store on one machine: a LanceDB table in a folder."""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import final

import lancedb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float

from fieldmark.errors import (
    DamagedGalleryError,
    GalleryError,
    MissingGalleryError,
    TakenItemIdError,
    UnknownItemError,
)
from fieldmark.gallery import integrity
from fieldmark.gallery.approximate import (
    ApproximateComparison,
    bring_up_to_date,
    find_near_items,
    load_approximation,
)
from fieldmark.gallery.exact import COLUMNS, REMEMBERED_FILTERS, ROWS_AT_ONCE, Snapshot
from fieldmark.gallery.facts import quote
from fieldmark.gallery.lance_folder import (
    FINGERPRINT_KEY,
    FORMAT,
    FORMAT_KEY,
    TABLE,
    Stamp,
    StoreTable,
    find_lost_version,
    find_reason,
    hold_write_lock,
    list_versions,
    measure_data_bytes,
    read_versions_stamp,
    report_as_damaged,
)
from fieldmark.gallery.layout import StoreLayout
from fieldmark.gallery.store import (
    FIRST_SEGMENT,
    Approximation,
    Comparison,
    Filter,
    ItemCount,
    ScoredItems,
    SegmentIndex,
    StoredItem,
    check_dim,
    check_vectors,
    is_one_of,
    normalize_query,
    write_condition,
)
from fieldmark.recent_answers import RecentAnswers
from fieldmark.segment_table import (
    LazyItems,
    build_segment_schema,
    convert_facts_to_table,
    convert_to_table,
    read_embeddings_from_table,
)
from fieldmark.types import MEDIA, Embeddings, Item, Medium

logger = logging.getLogger(__name__)

_Version = tuple[int, int]
"""A version's number, and how often the store was replaced before."""
_Size = tuple[_Version, int, Approximation | None]

EXACT_ROWS = 200_000
"""Segments up to which a gallery is held in memory and searched exactly: about 400 MB at 512 dimensions."""

_WAIT_SECONDS = 60.0
"""Seconds for which a write waits for other writers before it gives up."""

VERSION_LIMIT = 128
"""Every write leaves a version, with a list of all parts; the write that makes so many compacts them into one."""

_DISK_FACTOR, _DISK_FREE_BYTES, _FACT_BYTES = 3, 2**23, 256
"""The write that makes the rows on disk so many times as large as those that count, and 8 MiB, compacts them as well;
a row's facts are taken to be of 256 bytes."""

_SUPERSEDED_KEPT = timedelta(milliseconds=1)
"""Compaction drops every older version at once; a reader that loses its version goes on with the newest."""


def _leave(rows: pa.Table) -> pa.Table:
    return rows


@final
class LanceIndex(SegmentIndex):
    """A store of segments in a folder, for one machine; made by `create`, opened by `open`.

    A write is one commit of LanceDB under a lock file that the system frees when its holder dies. Up to `exact_rows`
    segments, a search is exact; it runs over the newest version in memory (4 bytes for each dimension of each segment,
    and the items' facts), which the first search after a commit loads. A larger store stays on disk and is searched
    through an IVF_FLAT index, which `optimize` makes; segments that came since are looked at one by one. The death of
    the process loses nothing acknowledged; whether a power cut loses the last writes is up to the file system.
    """

    def __init__(
        self, folder: Path, *, wait_seconds: float, exact_rows: int, adapt: Callable[[pa.Table], pa.Table] = _leave
    ) -> None:
        self._folder = folder
        self._versions = StoreLayout(folder).versions
        self._exact_rows = exact_rows
        self._guard = threading.Lock()
        self._sized: tuple[Stamp | None, _Size | None] = (None, None)
        self._loaded: tuple[_Version, Snapshot] | None = None
        self._counted: tuple[_Version, tuple[ItemCount, ...]] | None = None
        self._matching: tuple[_Version, RecentAnswers[int]] | None = None
        self._store = StoreTable(folder, wait_seconds=wait_seconds, adapt=adapt)

    @classmethod
    def create(
        cls,
        folder: Path,
        *,
        fingerprint: str,
        dim: int,
        wait_seconds: float = _WAIT_SECONDS,
        exact_rows: int = EXACT_ROWS,
    ) -> "LanceIndex":
        """Create an empty store in a folder, which is made where it is missing.

        Args:
            exact_rows: Segments up to which a search by this handle is exact.

        Raises:
            GalleryError: The folder holds a store already.
            GalleryError: Another process has been writing there for too long.
            GalleryError: The folder cannot be written.
        """
        schema = build_segment_schema(dim=dim).with_metadata({FORMAT_KEY: FORMAT, FINGERPRINT_KEY: fingerprint})
        with hold_write_lock(folder, wait_seconds=wait_seconds):
            if list_versions(folder):
                raise GalleryError(
                    f"There is a gallery at '{folder}' already. Add to it, or choose another path.",
                    kind="gallery_exists",
                )
            lancedb.connect(folder).create_table(TABLE, schema=schema)
        return cls(folder, wait_seconds=wait_seconds, exact_rows=exact_rows)

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        fingerprint: str | None = None,
        wait_seconds: float = _WAIT_SECONDS,
        exact_rows: int = EXACT_ROWS,
        adapt: Callable[[pa.Table], pa.Table] = _leave,
    ) -> "LanceIndex":
        """Open the store in a folder.

        Args:
            fingerprint: Of the encoder the caller uses; None takes the store whatever it was made with.
            exact_rows: Segments up to which a search by this handle is exact.
            adapt: Applied to all rows that are read, such as to paths of files that were moved.

        Raises:
            MissingGalleryError: The folder holds no store.
            DamagedGalleryError: The store cannot be read.
            GalleryError: The store was made by another version of fieldmark.
            GalleryError: The store was made with another fingerprint.
        """
        if not list_versions(folder):
            if any(StoreLayout(folder).data.glob("*")):
                raise DamagedGalleryError(path=folder, reason="it has data, but the list of its versions is gone")
            raise MissingGalleryError(path=folder)
        index = cls(folder, wait_seconds=wait_seconds, exact_rows=exact_rows, adapt=adapt)
        if fingerprint is not None and fingerprint != index.fingerprint:
            raise GalleryError(
                f"The encoder's fingerprint is {fingerprint[:12]}, but gallery '{folder}' was built with "
                f"{index.fingerprint[:12]}. Use the checkpoint the gallery was built with, or build a new gallery.",
                kind="encoder_mismatch",
            )
        return index

    @property
    def fingerprint(self) -> str:
        """Fingerprint of what made the embeddings."""
        return self._store.fingerprint

    @property
    def dim(self) -> int:
        """Dimension of the embeddings."""
        return self._store.dim

    @property
    def version(self) -> object:
        """The newest version."""
        return self._size()[0]

    def add(
        self, embeddings: Embeddings, *, content_hash_by_item_id: Mapping[str, str], set_name: str | None = None
    ) -> None:
        """Store items as `SegmentIndex.add` does, in one commit."""
        check_vectors(embeddings, dim=self._store.dim, gallery=self._folder)
        if not embeddings.items:
            return
        rows = convert_to_table(embeddings, content_hash_by_item_id=content_hash_by_item_id, set_name=set_name)
        added = is_one_of("item_id", (item.item_id for item in embeddings.items))
        with self._store.writing():
            present = self._store.list_rows(["item_id", "set_name"], f"{FIRST_SEGMENT} AND {added}")
            taken = [fact["item_id"] for fact in present.to_pylist() if fact["set_name"] != set_name]
            if taken:
                raise TakenItemIdError(item_ids=taken, set_name=set_name, gallery=self._folder)
            self._add_missing_columns(rows.schema)
            if len(present) == 0:
                self._store.table.add(rows)
            else:
                merged = self._store.table.merge_insert(["item_id", "segment"])
                merged = merged.when_matched_update_all().when_not_matched_insert_all()
                merged.when_not_matched_by_source_delete(added).execute(rows)
            self._compact_when_due()

    def update_facts(self, items: Sequence[Item], *, content_hash_by_item_id: Mapping[str, str]) -> None:
        """Replace facts as `SegmentIndex.update_facts` does, in one commit; no vector is read or written."""
        if not items:
            return
        rows = convert_facts_to_table(tuple(items), content_hash_by_item_id=content_hash_by_item_id)
        with self._store.writing():
            listed = f"{FIRST_SEGMENT} AND {is_one_of('item_id', rows['item_id'].to_pylist())}"
            found = self._store.list_rows(["item_id"], listed)
            unknown = set(rows["item_id"].to_pylist()) - set(found["item_id"].to_pylist())
            if unknown:
                raise UnknownItemError(item_id=min(unknown), gallery=self._folder)
            self._add_missing_columns(rows.schema)
            self._store.table.merge_insert("item_id").when_matched_update_all().execute(rows)
            self._compact_when_due()

    def remove(self, item_ids: Collection[str]) -> int:
        """Delete items as `SegmentIndex.remove` does, in one commit."""
        if not item_ids:
            return 0
        removed = is_one_of("item_id", item_ids)
        with self._store.writing():
            count: int = self._store.table.count_rows(f"{FIRST_SEGMENT} AND {removed}")
            if count:
                self._store.table.delete(removed)
                self._compact_when_due()
        return count

    def move_files(self, old: str, *, to: str, set_name: str) -> None:
        """Store where the files of a set are now, as `SegmentIndex.move_files` does, in one commit."""
        prefix = f"`set_name` = {quote([set_name])} AND starts_with(`path`, {quote([old])})"
        path = f"concat({quote([to])}, substr(`path`, {len(old) + 1}))"
        with self._store.writing():
            if self._store.table.count_rows(prefix):
                self._store.table.update(where=prefix, values_sql={"path": path})
                self._compact_when_due()

    def get(self, item_id: str) -> Embeddings:
        """Return one item as `SegmentIndex.get` does."""
        found = self.embeddings(Filter(item_ids=frozenset({item_id})))
        if not found.items:
            raise UnknownItemError(item_id=item_id, gallery=self._folder)
        return found

    def compare(self, query: Float[np.ndarray, " dim"]) -> Comparison:
        """Compare a query with the newest version, as `SegmentIndex.compare` does."""
        unit = normalize_query(query, dim=self._store.dim, gallery=self._folder)
        version, row_count, known = self._size()
        if row_count <= self._exact_rows:
            return self._newest(version).compare(unit)
        return ApproximateComparison(
            self._store, query=unit, row_count=row_count, known=known, matching=self._remember_matching(version)
        )

    def score_items(
        self,
        queries: Float[np.ndarray, "query dim"],
        *,
        near: Float[np.ndarray, " dim"],
        k: int,
        where: Sequence[Filter],
        by_segment: bool = False,
    ) -> ScoredItems:
        """Score items by several queries, as `SegmentIndex.score_items` does."""
        check_dim(queries.shape[1], of_gallery=self._store.dim, gallery=self._folder)
        version, row_count, known = self._size()
        if row_count <= self._exact_rows:
            return self._newest(version).score_items(queries, near=near, where=where, by_segment=by_segment)
        matching = self._remember_matching(version)
        found = self._store.read(
            lambda: find_near_items(
                self._store.table, near.astype(np.float64), k=k, where=where, known=known, matching=matching
            )
        )
        rows = self._store.read(lambda: self._store.list_rows(list(COLUMNS), is_one_of("item_id", found)))
        return Snapshot.from_rows(rows, dim=self._store.dim).score_items(
            queries, near=near, where=where, by_segment=by_segment
        )

    def content_hashes(self, where: Filter | None = None) -> dict[str, str]:
        """Return the content hash of every item that meets a filter, by item id."""
        columns = ["item_id", "content_hash"]
        rows = self._store.read(lambda: self._store.list_rows(columns, self._condition(where, FIRST_SEGMENT)))
        return dict(zip(rows["item_id"].to_pylist(), rows["content_hash"].to_pylist(), strict=True))

    def items(
        self, *, where: Filter | None = None, start_after: str | None = None, limit: int
    ) -> tuple[StoredItem, ...]:
        """Return one page of items, as `SegmentIndex.items` does."""
        loaded = self._find_loaded()
        if loaded is not None:
            return loaded.list_items(where or Filter(), start_after=start_after, limit=limit)
        return self._store.read(lambda: self._page(where, start_after=start_after, limit=limit))

    def embeddings(self, where: Filter | None = None) -> Embeddings:
        """Return all segments of the items that meet a filter, as `SegmentIndex.embeddings` does."""
        loaded = self._find_loaded()
        if loaded is not None:
            return loaded.list_embeddings(where or Filter())
        rows = self._store.read(lambda: self._store.list_rows(None, self._condition(where)))
        return read_embeddings_from_table(rows, dim=self._store.dim)

    def counts(self, where: Filter | None = None) -> tuple[ItemCount, ...]:
        """Count the items that share their facts, as `SegmentIndex.counts` says."""
        version, *_ = self._size()
        if where is None and self._counted is not None and self._counted[0] == version:
            return self._counted[1]
        columns = ["medium", "class_name", "set_name", "license"]
        facts = self._store.read(lambda: self._store.list_rows(columns, self._condition(where, FIRST_SEGMENT)))
        counted = facts.group_by(columns).aggregate([([], "count_all")]).to_pylist()
        found = (
            ItemCount(Medium(each["medium"]), each["class_name"], each["set_name"], each["license"], each["count_all"])
            for each in counted
        )
        counts = tuple(sorted(found, key=_sort_key))
        if where is None:
            self._counted = version, counts
        return counts

    def item_count(self) -> int:
        """Return the number of items."""
        return self._store.read(lambda: int(self._store.table.count_rows(FIRST_SEGMENT)))

    def segment_count(self) -> int:
        """Return the number of segments of all items."""
        return self._store.read(lambda: int(self._store.table.count_rows()))

    def count_by_medium(self) -> dict[Medium, int]:
        """Return the number of items of each medium, in the fixed order of the media."""
        found = dict.fromkeys(MEDIA, 0)
        for each in self.counts():
            found[each.medium] += each.item_count
        return found

    def approximation(self) -> Approximation | None:
        """Return the measured recall of the index of a store above `exact_rows`; None for an exact search."""
        _, row_count, known = self._size()
        return known if row_count > self._exact_rows else None

    def find_unsound_items(self) -> dict[str, str]:
        """Return what is wrong with items, as `SegmentIndex.find_unsound_items` does."""

        def read() -> dict[str, str]:
            batches = self._store.table.search().select(list(integrity.COLUMNS)).to_batches(ROWS_AT_ONCE)
            return integrity.find_unsound_items(batches, dim=self._store.dim)

        return self._store.read(read)

    def find_lost_version(self) -> str | None:
        """Return the file of the newest version where it was written to the end and is now missing; None otherwise."""
        return find_lost_version(self._folder, newest=self._store.refresh()[0])

    def version_count(self) -> int:
        """Return the number of versions on disk; compaction leaves one."""
        return len(list_versions(self._folder))

    def optimize(self) -> None:
        """Free disk space, as `SegmentIndex.optimize` does."""
        with self._store.writing():
            self._compact()

    def _add_missing_columns(self, wanted: pa.Schema) -> None:
        """Give a table that is older than some facts their columns; they are empty, and no row is written anew."""
        present = self._store.table.schema.names
        missing = [field.with_nullable(nullable=True) for field in wanted if field.name not in present]
        if missing:
            self._store.table.add_columns(pa.schema(missing))
            self._store.note_columns()

    def _condition(self, where: Filter | None, *others: str) -> str | None:
        return write_condition(where, *others, present=self._store.columns)

    def _page(self, where: Filter | None, *, start_after: str | None, limit: int) -> tuple[StoredItem, ...]:
        if where is not None and where.item_ids is not None:  # no more than these: read at once
            rows = self._store.list_rows(self._store.columns, self._condition(where))
            found = sorted(set(rows["item_id"].to_pylist()))
            page = [item_id for item_id in found if start_after is None or item_id > start_after][:limit]
        else:
            ids = self._store.list_rows(["item_id"], self._condition(where, FIRST_SEGMENT))["item_id"]
            if start_after is not None:
                ids = ids.filter(pc.greater(ids, pa.scalar(start_after, pa.string())))
            page = ids.take(pc.sort_indices(ids)[:limit]).to_pylist()
            rows = self._store.list_rows(self._store.columns, is_one_of("item_id", page))
        segment_counts = Counter(rows["item_id"].to_pylist())
        first = rows.filter(pc.equal(rows["segment"], 0))
        facts = zip(*(first[name].to_pylist() for name in ("item_id", "set_name", "content_hash")), strict=True)
        items = LazyItems(first)
        stored = {
            item_id: StoredItem(items[index], set_name, content_hash, segment_counts[item_id])
            for index, (item_id, set_name, content_hash) in enumerate(facts)
        }
        return tuple(stored[item_id] for item_id in page)

    def _size(self) -> _Size:
        """Return the newest version, its number of segments, and what its index is known to find, if it has one."""
        (seen_stamp, sized), stamp = self._sized, read_versions_stamp(self._versions)
        if sized is not None and stamp is not None and stamp == seen_stamp:
            return sized
        version = self._store.refresh()
        if sized is None or sized[0] != version:
            with report_as_damaged(self._folder):
                known = load_approximation(self._folder)
            sized = version, self.segment_count(), known
        self._sized = stamp, sized
        return sized

    def _remember_matching(self, version: _Version) -> RecentAnswers[int]:
        """Return what remembers, for one version, how many rows meet a filter."""
        known = self._matching
        if known is None or known[0] != version:
            known = self._matching = version, RecentAnswers(REMEMBERED_FILTERS)
        return known[1]

    def _find_loaded(self) -> Snapshot | None:
        """Return the newest version where it is in memory: it answers in a tenth of the time that the disk takes."""
        version, *_ = self._size()
        loaded = self._loaded
        return loaded[1] if loaded is not None and loaded[0] == version else None

    def _newest(self, version: _Version) -> Snapshot:
        """Return a version, or a newer one, in memory; it is loaded once however many threads ask."""
        loaded = self._loaded
        if loaded is not None and loaded[0] == version:
            return loaded[1]
        with self._guard:
            version = self._store.refresh()
            if self._loaded is None or self._loaded[0] != version:
                # Released first, so that two versions never stand in memory at once.
                self._loaded = None
                version, rows = self._store.read(
                    lambda: (self._store.version, self._store.list_rows(list(COLUMNS), None))
                )
                try:
                    self._loaded = version, Snapshot.from_rows(rows, dim=self._store.dim)
                except ValueError as error:
                    raise DamagedGalleryError(path=self._folder, reason=find_reason(error)) from error
            return self._loaded[1]

    def _compact(self) -> None:
        # No file without an owner can belong to a write in progress: this process holds the lock.
        self._store.table.optimize(cleanup_older_than=_SUPERSEDED_KEPT, delete_unverified=True)
        if len(list_versions(self._folder)) > 1:  # what compaction itself wrote in its last millisecond
            self._store.table.optimize(cleanup_older_than=_SUPERSEDED_KEPT, delete_unverified=True)
        if self._store.table.count_rows() > self._exact_rows:
            bring_up_to_date(self._store.table, self._folder)

    def _compact_when_due(self) -> None:
        try:
            live_bytes = self._store.table.count_rows() * (4 * self._store.dim + _FACT_BYTES)
            is_bloated = measure_data_bytes(self._folder) > _DISK_FACTOR * live_bytes + _DISK_FREE_BYTES
            if is_bloated or len(list_versions(self._folder)) >= VERSION_LIMIT:
                self._compact()
        except Exception as error:  # noqa: BLE001  the write itself stands; LanceDB's errors have no common class
            logger.warning("The gallery '%s' could not be compacted: %s", self._folder, find_reason(error))


def _sort_key(each: ItemCount) -> tuple[int, str, str, str]:
    return MEDIA.index(each.medium), each.class_name or "", each.set_name or "", each.license or ""
