"""The store on one machine: a LanceDB table in a folder."""

import logging
import re
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TypeVar, final

import filelock
import lancedb
import numpy as np
from jaxtyping import Float

from fieldmark.errors import (
    CutoffError,
    DamagedGalleryError,
    DimensionMismatchError,
    EncoderMismatchError,
    FieldmarkError,
    GalleryBusyError,
    GalleryExistsError,
    GalleryWriteError,
    MissingGalleryError,
    NonFiniteEmbeddingError,
    UnknownItemError,
)
from fieldmark.gallery.interface import Filter, SegmentIndex
from fieldmark.gallery.rows import (
    LENGTH_TOLERANCE,
    embeddings_from_rows,
    length_errors,
    rows_from_embeddings,
    segment_schema,
)
from fieldmark.gallery.snapshot import COLUMNS, Snapshot
from fieldmark.types import MEDIA, Embeddings, Hit, Medium

logger = logging.getLogger(__name__)
Result = TypeVar("Result")

TABLE = "segments"
FORMAT = "1"
FORMAT_KEY, FINGERPRINT_KEY = b"fieldmark.format", b"fieldmark.fingerprint"

WAIT_SECONDS = 60.0
"""How long a write waits for other writers before it gives up."""

VERSION_LIMIT = 128
"""Every write leaves a version, with a list of all parts; the write that makes so many compacts them into one."""

SUPERSEDED_KEPT = timedelta(milliseconds=1)
"""Compaction drops every older version at once; a reader that loses its version goes on with the newest."""


@final
class LanceIndex(SegmentIndex):
    """A store of segments in a folder, for one machine; made by `create`, opened by `open`.

    A write is one commit of LanceDB under a lock file that the system frees when its holder dies. A search is exact;
    it runs over the newest version in memory (4 bytes for each dimension of each segment, and the items' facts),
    which the first search after a commit loads. The death of the process loses nothing acknowledged; whether a
    power cut loses the last writes is up to the file system.
    """

    def __init__(self, folder: Path, *, wait_seconds: float) -> None:
        self._folder = folder
        self._wait_seconds = wait_seconds
        self._guard = threading.Lock()
        self._loaded: tuple[int, Snapshot] | None = None
        with failing_as_damaged(folder):
            self._table = lancedb.connect(folder).open_table(TABLE)
            schema = self._table.schema
            found_format = schema.metadata[FORMAT_KEY].decode()
            self._fingerprint: str = schema.metadata[FINGERPRINT_KEY].decode()
            self._dim: int = schema.field("vector").type.list_size
        if found_format != FORMAT:
            reason = f"its store has format {found_format}, this version of fieldmark reads format {FORMAT}"
            raise DamagedGalleryError(path=folder, reason=reason)

    @classmethod
    def create(cls, folder: Path, *, fingerprint: str, dim: int, wait_seconds: float = WAIT_SECONDS) -> "LanceIndex":
        """An empty store in a folder, which is made where it is missing.

        Raises:
            GalleryExistsError: The folder holds a store already.
            GalleryBusyError: Another process has been writing there for too long.
            GalleryWriteError: The folder cannot be written.
        """
        schema = segment_schema(dim=dim).with_metadata({FORMAT_KEY: FORMAT, FINGERPRINT_KEY: fingerprint})
        with writing_alone(folder, wait_seconds=wait_seconds):
            if versions_in(folder):
                raise GalleryExistsError(path=folder)
            lancedb.connect(folder).create_table(TABLE, schema=schema)
        return cls(folder, wait_seconds=wait_seconds)

    @classmethod
    def open(cls, folder: Path, *, fingerprint: str | None = None, wait_seconds: float = WAIT_SECONDS) -> "LanceIndex":
        """The store in a folder.

        Args:
            fingerprint: Of the encoder the caller uses; None takes the store whatever it was made with.

        Raises:
            MissingGalleryError: The folder holds no store.
            DamagedGalleryError: The store cannot be read.
            EncoderMismatchError: The store was made with another fingerprint.
        """
        if not versions_in(folder):
            if any((folder / f"{TABLE}.lance" / "data").glob("*")):
                raise DamagedGalleryError(path=folder, reason="it has data, but the list of its versions is gone")
            raise MissingGalleryError(path=folder)
        index = cls(folder, wait_seconds=wait_seconds)
        if fingerprint is not None and fingerprint != index.fingerprint:
            raise EncoderMismatchError(got=fingerprint, expected=index.fingerprint, gallery=folder)
        return index

    @property
    def fingerprint(self) -> str:
        """Fingerprint of what made the embeddings."""
        return self._fingerprint

    @property
    def dim(self) -> int:
        """Dimension of the embeddings."""
        return self._dim

    def add(self, embeddings: Embeddings, *, content_hash_by_item_id: Mapping[str, str]) -> None:
        """Stores items as `SegmentIndex.add` says, in one commit."""
        self._check_dim(embeddings.embedding.shape[1])
        bad_rows = np.flatnonzero(length_errors(embeddings.embedding) > LENGTH_TOLERANCE)
        if len(bad_rows):
            bad_ids = dict.fromkeys(embeddings.items[row].item_id for row in bad_rows)
            raise NonFiniteEmbeddingError(item_ids=tuple(bad_ids))
        if not embeddings.items:
            return
        rows = rows_from_embeddings(embeddings, content_hash_by_item_id=content_hash_by_item_id)
        added = is_one_of("item_id", (item.item_id for item in embeddings.items))
        with self._writing():
            if self._table.count_rows(added) == 0:
                self._table.add(rows)
            else:
                replace = self._table.merge_insert(["item_id", "segment"])
                replace = replace.when_matched_update_all().when_not_matched_insert_all()
                replace.when_not_matched_by_source_delete(added).execute(rows)
            self._compact_when_due()

    def remove(self, item_ids: Collection[str]) -> int:
        """Drops items as `SegmentIndex.remove` says, in one commit."""
        if not item_ids:
            return 0
        removed = is_one_of("item_id", item_ids)
        with self._writing():
            count: int = self._table.count_rows(f"{FIRST_SEGMENT} AND {removed}")
            if count:
                self._table.delete(removed)
                self._compact_when_due()
        return count

    def get(self, item_id: str) -> Embeddings:
        """One item as `SegmentIndex.get` says."""
        rows = self._reading(lambda: self._table.search().where(is_one_of("item_id", [item_id])).to_arrow())
        if len(rows) == 0:
            raise UnknownItemError(item_id=item_id, gallery=self._folder)
        return embeddings_from_rows(rows, dim=self._dim)

    def search(
        self,
        query: Float[np.ndarray, " dim"],
        *,
        k: int,
        where: Filter | None = None,
        by_segment: bool = False,
    ) -> tuple[Hit, ...]:
        """The nearest items or segments, as `SegmentIndex.search` says."""
        self._check_dim(len(query))
        if k < 1:
            raise CutoffError(got=k, largest=self.segment_count() if by_segment else self.item_count())
        if not np.isfinite(query).all() or not query.any():
            raise NonFiniteEmbeddingError(item_ids=("the query",))
        return self._newest().search(query, k=k, where=where, by_segment=by_segment)

    def content_hashes(self) -> dict[str, str]:
        """The content hash of every item, by item id."""
        columns = ["item_id", "content_hash"]
        rows = self._reading(lambda: self._table.search().where(FIRST_SEGMENT).select(columns).to_arrow())
        return dict(zip(rows["item_id"].to_pylist(), rows["content_hash"].to_pylist(), strict=True))

    def item_count(self) -> int:
        """Number of items."""
        return self._reading(lambda: int(self._table.count_rows(FIRST_SEGMENT)))

    def segment_count(self) -> int:
        """Number of segments of all items."""
        return self._reading(lambda: int(self._table.count_rows()))

    def count_by_medium(self) -> dict[Medium, int]:
        """Number of items of each medium, in the fixed order of the media."""
        rows = self._reading(lambda: self._table.search().where(FIRST_SEGMENT).select(["medium"]).to_arrow())
        media = rows["medium"].to_pylist()
        return {medium: media.count(medium.value) for medium in MEDIA}

    def optimize(self) -> None:
        """Gives back disk space, as `SegmentIndex.optimize` says."""
        with self._writing():
            self._compact()

    def _check_dim(self, dim: int) -> None:
        if dim != self._dim:
            raise DimensionMismatchError(got=dim, expected=self._dim, gallery=self._folder)

    def _newest(self) -> Snapshot:
        """The newest version in memory, loaded once however many threads ask."""
        with self._guard:
            version = self._refresh()
            if self._loaded is None or self._loaded[0] != version:
                # Released first, so that two versions never stand in memory at once.
                self._loaded = None
                version, rows = self._reading(
                    lambda: (int(self._table.version), self._table.search().select(list(COLUMNS)).to_arrow())
                )
                try:
                    self._loaded = version, Snapshot.from_rows(rows, dim=self._dim)
                except ValueError as error:
                    raise DamagedGalleryError(path=self._folder, reason=reason_of(error)) from error
            return self._loaded[1]

    def _refresh(self) -> int:
        """Turns to the newest version and gives its number."""
        with failing_as_damaged(self._folder):
            self._table.checkout_latest()
            return int(self._table.version)

    def _reading(self, read: Callable[[], Result]) -> Result:
        """What a read of the newest version gives; reads again where another process compacted that version away."""
        while True:
            version = self._refresh()
            try:
                return read()
            except Exception as error:
                if self._refresh() == version:
                    raise DamagedGalleryError(path=self._folder, reason=reason_of(error)) from error

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Holds the store for one write of the newest version."""
        with writing_alone(self._folder, wait_seconds=self._wait_seconds):
            self._refresh()
            yield

    def _compact(self) -> None:
        # No file without an owner can belong to a write in progress: this process holds the lock.
        self._table.optimize(cleanup_older_than=SUPERSEDED_KEPT, delete_unverified=True)

    def _compact_when_due(self) -> None:
        try:
            if len(versions_in(self._folder)) >= VERSION_LIMIT:
                self._compact()
        except Exception as error:  # noqa: BLE001  the write itself stands; LanceDB's errors have no common class
            logger.warning("The gallery '%s' could not be compacted: %s", self._folder, reason_of(error))


FIRST_SEGMENT = "segment = 0"
"""Each item has one such row."""


def versions_in(folder: Path) -> tuple[Path, ...]:
    """The files that list the parts of each version, sound or not; a store that was not made to the end has none."""
    return tuple((folder / f"{TABLE}.lance" / "_versions").glob("*.manifest"))


def is_one_of(column: str, values: Iterable[str]) -> str:
    """The SQL condition that a column has one of some values; a value is never read as SQL."""
    quoted = ", ".join("'" + value.replace("'", "''") + "'" for value in dict.fromkeys(values))
    return f"{column} IN ({quoted})"


def reason_of(error: Exception) -> str:
    """The first line of what LanceDB says, without the places in its source."""
    lines = str(error).splitlines() or [type(error).__name__]
    return re.sub(r",? */\S+\.rs:\d+:\d+", "", lines[0])


@contextmanager
def failing_as_damaged(folder: Path) -> Iterator[None]:
    """Tells of any failure to read as of a damaged gallery."""
    try:
        yield
    except Exception as error:
        raise DamagedGalleryError(path=folder, reason=reason_of(error)) from error


@contextmanager
def writing_alone(folder: Path, *, wait_seconds: float) -> Iterator[None]:
    """Holds the folder's lock; tells of any failure within as of a failure to write."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(folder / "write.lock", timeout=wait_seconds, poll_interval=0.005):
            yield
    except filelock.Timeout as error:
        raise GalleryBusyError(path=folder, waited_seconds=wait_seconds) from error
    except FieldmarkError:
        raise
    except Exception as error:
        raise GalleryWriteError(path=folder, reason=reason_of(error)) from error
