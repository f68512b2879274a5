"""The totals of a store in Milvus as a process knows them, and the lock under which it changes them."""

import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import final

from fieldmark.errors import FieldmarkError, GalleryError, MissingGalleryError
from fieldmark.gallery.milvus.files import MilvusFiles
from fieldmark.gallery.milvus.rows import FACT_COLUMNS
from fieldmark.gallery.milvus.segment_rows import SegmentRows
from fieldmark.gallery.milvus.state import PENDING, STATE, Key, Load, State, Write, list_keys, parse_state

_PUBLISH_SECONDS = 5.0
"""While many writes are done in one go, other processes learn of them so often."""


@final
class StateKeeper:
    """The state of a store, read again when another process may have written it.

    Args:
        state: As it was read when the store was opened.
    """

    def __init__(self, files: MilvusFiles, rows: SegmentRows, state: State) -> None:
        self._files = files
        self._rows = rows
        self._known: tuple[object, State] = (None, state)
        self._guard = threading.RLock()
        self._load: Load | None = None

    @property
    def known(self) -> State:
        """The state as it was read last."""
        return self._known[1]

    def read(self, *, is_strong: bool = False, is_held: bool = False) -> State:
        """Return the newest state that is known.

        Raises:
            MissingGalleryError: The store is gone.
            GalleryError: Another one took its place, made with another model.
        """
        stamp = self._files.read_content_stamp(STATE, is_strong=is_strong, is_held=is_held)
        known_stamp, known = self._known
        if stamp is None:
            raise MissingGalleryError(path=str(self._files))
        if stamp == known_stamp:
            return known
        content = self._files.read_content(STATE, is_strong=is_strong, is_held=is_held)
        if content is None:
            raise MissingGalleryError(path=str(self._files))
        state = parse_state(content, self._files)
        if (state.fingerprint, state.dim) != (known.fingerprint, known.dim):
            raise GalleryError(
                f"The gallery '{self._files}' was replaced by one made with another model, {state.fingerprint[:12]}; "
                f"this process has loaded {known.fingerprint[:12]}. Start the server again, or open the gallery again.",
                kind="gallery_replaced",
            )
        self._known = stamp, state
        return state

    def read_level(self) -> int:
        """Return the engine's time up to which this process knows of writes."""
        return max(self.read().written_at, self._read_own_time())

    @contextmanager
    def loading(self) -> Iterator[Load]:
        """Hold the store over many writes, as `SegmentIndex.loading` says; counts are corrected where a writer died.

        Other processes learn of the writes every few seconds, and at the end.
        """
        with self._guard:  # other threads of this process wait here
            if self._load is not None:
                yield self._load
                return
            with self._files.lock("store"):
                state = self.read(is_held=True)
                is_pending = self._files.read_content_stamp(PENDING, is_held=True) is not None
                load = self._load = Load(self._files, self._recount(state) if is_pending else state)
                load.is_marked = load.is_changed = is_pending
                try:
                    yield load
                except BaseException:
                    with suppress(FieldmarkError):  # if this fails too, the next writer corrects the counts
                        self._end(load)
                    raise
                self._end(load)

    @contextmanager
    def writing(self) -> Iterator[Write]:
        """Hold the store for one write."""
        with self.loading() as load:
            begun = Write(load)
            try:
                yield begun
            except BaseException:
                load.is_broken |= begun.is_marked  # the mark stays, so the next writer corrects the counts
                raise
            if begun.is_marked:
                begun.apply()
                if time.monotonic() - load.published_at > _PUBLISH_SECONDS and not load.is_broken:
                    self._publish(load)

    def _end(self, load: Load) -> None:
        self._load = None
        if load.is_changed and not load.is_broken:
            self._publish(load)

    def _publish(self, load: Load) -> None:
        """Write the state, so that other processes know of all that was written."""
        written_at = max(self._read_own_time(), load.state.written_at)
        load.state = replace(load.state, version=uuid.uuid4().hex, written_at=written_at)
        self._files.write_content(STATE, load.state.to_json(), is_held=True)
        self._files.remove_content(PENDING)
        self._known = self._files.read_content_stamp(STATE, is_held=True), load.state
        load.is_marked = load.is_changed = False
        load.published_at = time.monotonic()

    def _read_own_time(self) -> int:
        return self._files.connection.get_written_time(self._files.name)

    def _recount(self, state: State) -> State:
        """Return what the rows say that are there, without those of segments that were replaced."""
        self._rows.delete_replaced()
        counts: Counter[Key] = Counter()
        segment_count = 0
        for page in self._rows.read_first_pages(None, FACT_COLUMNS):
            counts.update(list_keys(page))
            segment_count += sum(row["segment_count"] for row in page)
        return replace(state, counts=counts, segment_count=segment_count)
