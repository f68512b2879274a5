"""The store on a cluster: a collection of Milvus, which several processes read and write."""

import uuid
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import final

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Float64

from fieldmark.errors import (
    DamagedGalleryError,
    GalleryError,
    MissingGalleryError,
    TakenItemIdError,
    UnknownItemError,
)
from fieldmark.gallery import integrity
from fieldmark.gallery.exact import Snapshot
from fieldmark.gallery.milvus.connection import FLAT, HNSW, Connection, Row, VectorIndex, split
from fieldmark.gallery.milvus.files import MilvusFiles
from fieldmark.gallery.milvus.filters import ANY, is_item, is_other_class, is_whole, write_expression
from fieldmark.gallery.milvus.index_recall import IndexRecall
from fieldmark.gallery.milvus.rows import (
    FACT_COLUMNS,
    decode_rows,
    describe_columns,
    encode_rows,
    find_missing_columns,
    make_tombstone,
    read_key,
    write_key,
    write_segment_key,
)
from fieldmark.gallery.milvus.search import MilvusComparison, Reader, match_facts
from fieldmark.gallery.milvus.segment_rows import IDS_AT_ONCE, ROWS_AT_ONCE, SegmentRows, group_items
from fieldmark.gallery.milvus.state import STATE, Key, State, list_keys, parse_state
from fieldmark.gallery.milvus.state_keeper import StateKeeper
from fieldmark.gallery.recall import ExactNeighbors
from fieldmark.gallery.store import (
    Approximation,
    Comparison,
    Filter,
    ItemCount,
    ScoredItems,
    SegmentIndex,
    StoredItem,
    check_dim,
    check_vectors,
    normalize_query,
)
from fieldmark.segment_table import (
    LazyItems,
    convert_facts_to_table,
    convert_to_table,
    read_embeddings_from_table,
    read_matrix,
)
from fieldmark.types import MEDIA, Embeddings, Item, Medium

_ROWS_SCORED = 1_000
"""Rows near to the sum of several queries whose items are scored by each of them; see `approximate`."""


@final
class MilvusIndex(SegmentIndex):
    """A store of segments in Milvus; made by `create`, opened by `open`.

    One write of items is one request to a collection of one part, which readers see whole or not at all; it holds a
    lock against other writers. A call that takes more than one request (24 MiB) may, where its process dies, leave the
    first of them: each item is whole, and the next writer corrects the counts. Reads that decide on a write see all
    that was acknowledged. Searches see the writes of their own process at once, and those of others once they know of
    them: after `MilvusFiles.fresh_seconds` and what Milvus itself lags, at most 5 seconds by its default.

    Args:
        state: As it was read when the store was opened.
    """

    def __init__(self, files: MilvusFiles, state: State) -> None:
        self._files = files
        self._connection: Connection = files.connection
        self._rows = SegmentRows(files.connection, files.name)
        self._keeper = StateKeeper(files, self._rows, state)
        self._recall = IndexRecall(files, self._rows, self._keeper)

    @classmethod
    def create(cls, files: MilvusFiles, *, fingerprint: str, dim: int, vectors: VectorIndex = HNSW) -> "MilvusIndex":
        """Create an empty store.

        Raises:
            GalleryError: There is a store, or another collection of the name.
        """
        with files.lock("store"):
            if files.read_content(STATE, is_held=True) is not None:
                raise GalleryError(
                    f"There is a gallery at '{files}' already. Add to it, or choose another name.",
                    kind="gallery_exists",
                )
            name, columns = files.address.name, describe_columns(dim=dim)
            if files.connection.has_collection(name):
                if files.connection.list_columns(name).keys() != columns.keys():
                    raise GalleryError(
                        f"The collection '{name}' at '{files}' is no gallery of fieldmark. Choose another name.",
                        kind="gallery_exists",
                    )
                files.connection.drop_collection(name)  # of a store that was not created to the end
            files.connection.create_collection(name, columns, index=vectors)
            state = State(fingerprint, dim, vectors.kind, uuid.uuid4().hex, 0, 0, {})
            files.write_content(STATE, state.to_json(), is_held=True)
        return cls(files, state)

    @classmethod
    def open(cls, files: MilvusFiles, *, fingerprint: str | None = None) -> "MilvusIndex":
        """Open a store.

        Raises:
            MissingGalleryError: There is none.
            DamagedGalleryError: Its collection is missing, or not as it was made.
            GalleryError: It was made with another fingerprint, or by another version of fieldmark.
        """
        content = files.read_content(STATE, is_strong=True)
        if content is None:
            raise MissingGalleryError(path=str(files))
        state = parse_state(content, files)
        if not files.connection.has_collection(files.address.name):
            raise DamagedGalleryError(path=str(files), reason="its collection of segments is missing")
        found = files.connection.list_columns(files.address.name)
        if found != describe_columns(dim=state.dim) | {name: None for name in found if name != "vector"}:
            reason = f"its collection has other columns, or vectors of {found.get('vector')} instead of {state.dim}"
            raise DamagedGalleryError(path=str(files), reason=reason)
        if fingerprint is not None and fingerprint != state.fingerprint:
            raise GalleryError(
                f"The encoder's fingerprint is {fingerprint[:12]}, but gallery '{files}' was built with "
                f"{state.fingerprint[:12]}. Use the checkpoint the gallery was built with, or build a new gallery.",
                kind="encoder_mismatch",
            )
        return cls(files, state)

    @property
    def fingerprint(self) -> str:
        """Fingerprint of what made the embeddings."""
        return self._keeper.read().fingerprint

    @property
    def dim(self) -> int:
        """Dimension of the embeddings."""
        return self._keeper.known.dim

    @property
    def version(self) -> object:
        """A name that the last write gave to what the store holds."""
        return self._keeper.read().version

    # ------------------------------------------------------------ writes

    def add(
        self, embeddings: Embeddings, *, content_hash_by_item_id: Mapping[str, str], set_name: str | None = None
    ) -> None:
        """Store items as `SegmentIndex.add` does."""
        check_vectors(embeddings, dim=self.dim, gallery=self._files)
        if not embeddings.items:
            return
        table = convert_to_table(embeddings, content_hash_by_item_id=content_hash_by_item_id, set_name=set_name)
        self.add_rows(encode_rows(table), set_name=set_name)

    def add_rows(self, rows: Sequence[Row], *, set_name: str | None) -> None:
        """Store the rows of whole items; those of the same items that are there go.

        Raises:
            TakenItemIdError: An item is there already, in another set.
        """
        by_item: dict[str, list[Row]] = {}
        for row in rows:
            by_item.setdefault(row["item"], []).append(row)
        with self._keeper.writing() as begun:
            is_new = begun.has_none_of(by_item)
            present = [] if is_new else self._rows.read_first(map(read_key, by_item))
            facts = decode_rows(present)
            pairs = zip(facts["item_id"].to_pylist(), facts["set_name"].to_pylist(), strict=True)
            taken = [item_id for item_id, other in pairs if other != set_name]
            if taken:
                raise TakenItemIdError(item_ids=sorted(taken), set_name=set_name, gallery=str(self._files))
            gone: list[str] = []
            for old in present:
                new = by_item[old["item"]]
                rest = [make_tombstone(new[0], segment=at) for at in range(len(new), old["segment_count"])]
                gone += [row["pk"] for row in rest]
                new += rest
            begun.mark()
            self._rows.write(by_item.values(), is_new=is_new)
            self._rows.delete(gone)
            begun.note(gone=present, came=[item_rows[0] for item_rows in by_item.values()])

    def update_facts(self, items: Sequence[Item], *, content_hash_by_item_id: Mapping[str, str]) -> None:
        """Replace facts as `SegmentIndex.update_facts` does; Milvus takes whole rows, so the vectors are read first."""
        if not items:
            return
        new = convert_facts_to_table(tuple(items), content_hash_by_item_id=content_hash_by_item_id)
        row_of_item = {item_id: row for row, item_id in enumerate(new["item_id"].to_pylist())}
        with self._keeper.writing() as begun:
            present = self._rows.read_first(row_of_item)
            unknown = row_of_item.keys() - {read_key(row["item"]) for row in present}
            if unknown:
                raise UnknownItemError(item_id=min(unknown), gallery=str(self._files))
            begun.mark()
            came: list[Row] = []
            for some in split(row_of_item, IDS_AT_ONCE):
                for old in self._rows.read_whole_items(is_item(some)):
                    facts = new.take(pa.array([row_of_item[item_id] for item_id in old["item_id"].to_pylist()]))
                    for name in ("segment", "start_seconds", "end_seconds", "set_name"):
                        facts = facts.append_column(old.schema.field(name), old[name])
                    rows = encode_rows(facts, vectors=read_matrix(old["vector"], dim=self.dim))
                    self._rows.write(group_items(rows))
                    came += [row for row in rows if row["segment"] == 0]
            begun.note(gone=present, came=came)

    def remove(self, item_ids: Collection[str]) -> int:
        """Delete items as `SegmentIndex.remove` does."""
        if not item_ids:
            return 0
        with self._keeper.writing() as begun:
            present = self._rows.read_first(dict.fromkeys(item_ids))
            if not present:
                return 0
            begun.mark()
            keys = (
                write_segment_key(row["item"], segment) for row in present for segment in range(row["segment_count"])
            )
            self._rows.delete(keys)
            begun.note(gone=present, came=())
        return len(present)

    def move_files(self, old: str, *, to: str, set_name: str) -> None:
        """Store where the files of a set are now, as `SegmentIndex.move_files` does."""
        where = Filter(set_names=frozenset({set_name}))
        with self._keeper.writing() as begun:
            for table in self._rows.read_whole_items(write_expression(where)):
                path = table["path"]
                moved = pa.array(
                    [
                        to + each[len(old) :] if each is not None and each.startswith(old) else each
                        for each in path.to_pylist()
                    ],
                    pa.string(),
                )
                if not path.combine_chunks().equals(moved):
                    begun.mark()
                    changed = table.set_column(table.schema.get_field_index("path"), table.schema.field("path"), moved)
                    self._rows.write(group_items(encode_rows(changed)))

    @contextmanager
    def loading(self) -> Iterator[None]:
        """Hold the store over many writes, as `SegmentIndex.loading` says."""
        with self._keeper.loading():
            yield

    # ------------------------------------------------------------ reads

    def get(self, item_id: str) -> Embeddings:
        """Return one item as `SegmentIndex.get` does."""
        found = self.embeddings(Filter(item_ids=frozenset({item_id})))
        if not found.items:
            raise UnknownItemError(item_id=item_id, gallery=str(self._files))
        return found

    def compare(self, query: Float[np.ndarray, " dim"]) -> Comparison:
        """Compare a query as `SegmentIndex.compare` does."""
        unit = normalize_query(query, dim=self.dim, gallery=self._files)
        return MilvusComparison(self._recall.open_reader(), query=unit)

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
        check_dim(queries.shape[1], of_gallery=self.dim, gallery=self._files)
        reader, found = self._recall.open_reader(), set[str]()
        for each in where:
            found.update(_find_near_items(reader, near.astype(np.float64), limit=max(4 * k, _ROWS_SCORED), where=each))
        tables = self._rows.read_tables_of(sorted(found))
        empty = convert_to_table(_NOTHING(self.dim), content_hash_by_item_id={})
        rows = find_missing_columns(pa.concat_tables(tables)) if tables else empty
        return Snapshot.from_rows(rows, dim=self.dim).score_items(
            queries, near=near, where=where, by_segment=by_segment
        )

    def content_hashes(self, where: Filter | None = None) -> dict[str, str]:
        """Return the content hash of every item that meets a filter, by item id."""
        columns = ["pk", "content_hash"] if is_whole(where) else [*FACT_COLUMNS, "content_hash"]
        pages = self._rows.read_first_pages(where, columns)
        return {read_key(row["pk"]): row["content_hash"] for page in pages for row in page}

    def items(
        self, *, where: Filter | None = None, start_after: str | None = None, limit: int
    ) -> tuple[StoredItem, ...]:
        """Return one page of items, as `SegmentIndex.items` does."""
        columns = [*FACT_COLUMNS, "content_hash"]
        if where is not None and where.item_ids is not None and is_whole(where):  # no more than these: read at once
            rows = self._rows.read_listed(where, where.item_ids, columns, level=self._keeper.read_level())
            rows = [row for row in rows if start_after is None or read_key(row["pk"]) > start_after]
        else:
            after = "" if start_after is None else write_segment_key(write_key(start_after), 2**32 - 1)
            pages = self._rows.read_first_pages(where, columns, after=after, limit=min(limit, ROWS_AT_ONCE))
            rows = list(islice((row for page in pages for row in page), limit))
        return _make_stored(rows[:limit])

    def embeddings(self, where: Filter | None = None) -> Embeddings:
        """Return all segments of the items that meet a filter, as `SegmentIndex.embeddings` does."""
        tables = list(self.read_tables(where))
        if not tables:
            return _NOTHING(self.dim)
        return read_embeddings_from_table(pa.concat_tables(tables), dim=self.dim)

    def read_tables(self, where: Filter | None = None) -> Iterator[pa.Table]:
        """Yield all rows of the items that meet a filter, in the order of items and segments, page by page."""
        for table in self._rows.read_tables(write_expression(where)):
            yield table if where is None or is_whole(where) else table.filter(pa.array(match_facts(table, where)))

    def counts(self, where: Filter | None = None) -> tuple[ItemCount, ...]:
        """Count the items that share their facts, as `SegmentIndex.counts` says."""
        counted: Mapping[Key, int] = self._keeper.read().counts
        if where is not None:
            pages = self._rows.read_first_pages(where, FACT_COLUMNS)
            counted = Counter(key for page in pages for key in list_keys(page))
        found = (ItemCount(Medium(key[0]), *key[1:], count) for key, count in counted.items() if count)
        return tuple(sorted(found, key=_sort_key))

    def item_count(self) -> int:
        """Return the number of items."""
        return sum(self._keeper.read().counts.values())

    def segment_count(self) -> int:
        """Return the number of segments of all items."""
        return self._keeper.read().segment_count

    def count_by_medium(self) -> dict[Medium, int]:
        """Return the number of items of each medium, in the fixed order of the media."""
        found = dict.fromkeys(MEDIA, 0)
        for each in self.counts():
            found[each.medium] += each.item_count
        return found

    def approximation(self) -> Approximation | None:
        """Return the measured recall of the index; None for a search that looks at every segment."""
        return self._recall.read()

    def find_unsound_items(self) -> dict[str, str]:
        """Return what is wrong with items, as `SegmentIndex.find_unsound_items` does."""
        tables = self._rows.read_tables(ANY)
        batches = (batch for table in tables for batch in table.select(list(integrity.COLUMNS)).to_batches())
        return integrity.find_unsound_items(batches, dim=self.dim)

    def find_lost_version(self) -> str | None:
        """Return None: what Milvus acknowledged is its own to keep."""
        return None

    def version_count(self) -> int:
        """Return 1: Milvus compacts by itself."""
        return 1

    def optimize(self) -> None:
        """Let Milvus index what was written, and measure the recall of a store that has doubled since."""
        state = self._keeper.read(is_strong=True)
        self._connection.flush(self._files.name)
        if state.index_kind != FLAT.kind:
            self._connection.wait_for_index(self._files.name, "vector")
        if self._recall.is_due(state):
            self.record_recall(self._recall.look_at_all(state))

    def record_recall(self, neighbors: ExactNeighbors) -> None:
        """Find how many candidates searches have to keep, as `IndexRecall.record` does."""
        self._recall.record(neighbors)


def _NOTHING(dim: int) -> Embeddings:  # noqa: N802
    return Embeddings((), np.empty(0), np.empty(0), np.empty((0, dim), dtype=np.float32))


def _make_stored(rows: Sequence[Row]) -> tuple[StoredItem, ...]:
    facts = decode_rows(rows)
    items, sets = LazyItems(facts), facts["set_name"].to_pylist()
    return tuple(
        StoredItem(items[at], sets[at], row["content_hash"], row["segment_count"]) for at, row in enumerate(rows)
    )


def _find_near_items(reader: Reader, near: Float64[np.ndarray, " dim"], *, limit: int, where: Filter) -> set[str]:
    """Return the items nearest to a vector; where they are all of one class, those of other classes too."""
    found = reader.rank(near, where, write_expression(where)).read(limit, FACT_COLUMNS)
    rows = decode_rows(found)
    if not is_whole(where) and len(rows):
        rows = rows.filter(pa.array(match_facts(rows, where)))
    names = set(rows["class_name"].to_pylist())
    ids = set(rows["item_id"].to_pylist())
    if len(found) == limit and len(names) == 1 and None not in names:
        [name] = names
        condition = write_expression(where, is_other_class(name))
        others = reader.rank(near, where, condition).read(limit, FACT_COLUMNS)
        ids |= set(decode_rows(others)["item_id"].to_pylist())
    return ids


def _sort_key(each: ItemCount) -> tuple[int, str, str, str]:
    return MEDIA.index(each.medium), each.class_name or "", each.set_name or "", each.license or ""
