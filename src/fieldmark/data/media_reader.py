"""The files of items, read: their content hashes, and their segments decoded ahead of the caller."""

import queue
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, final, runtime_checkable

from fieldmark.data.file_store import open_locally
from fieldmark.errors import MediaError
from fieldmark.media.apart import load_segments_apart
from fieldmark.media.loaders import hash_content
from fieldmark.types import Decoding, Failure, Item, MediaLimits, Segment

WAITING_SEGMENTS = 64
"""Decoded segments that wait at most, so that a recording of any length fits into memory."""

DecodedPart = tuple[int, Segment | MediaError]
"""The next segment of an item, by its index, or why the rest of it cannot be decoded."""


@runtime_checkable
class MediaReader(Protocol):
    """Reads the files of items: here, or on other machines."""

    def hash_contents(self, items: Sequence[Item]) -> list[str | Failure]:
        """Return the content hash of each item, or why it has none."""
        ...

    def read_segments(self, items: Sequence[Item], *, decoding: Decoding, limits: MediaLimits) -> Iterator[DecodedPart]:
        """Yield the segments of the items, in order."""
        ...


def hash_item(item: Item) -> str | Failure:
    """Return the hash of an item's content, or why it has none."""
    try:
        with open_locally(item) as local:
            return hash_content(local)
    except MediaError as error:
        return Failure(item.item_id, error.kind, str(error))


@final
class LocalReader:
    """Reads files on this machine, in threads beside the caller's.

    Args:
        starts_decoder: Whether a process that decodes may be started; a query uses one that is there.
    """

    def __init__(self, *, starts_decoder: bool = True) -> None:
        self._starts_decoder = starts_decoder

    def hash_contents(self, items: Sequence[Item]) -> list[str | Failure]:
        """Return the content hash of each item, or why it has none."""
        with ThreadPoolExecutor(max_workers=2) as pool:
            return list(pool.map(hash_item, items))

    def read_segments(self, items: Sequence[Item], *, decoding: Decoding, limits: MediaLimits) -> Iterator[DecodedPart]:
        """Yield the segments of the items, in order, decoded ahead of the caller."""
        yield from _SegmentStream(items, decoding, limits, starts_decoder=self._starts_decoder)


@final
class _SegmentStream:
    """Segments of items in order, decoded in a thread while the caller encodes; few wait at a time."""

    def __init__(self, items: Sequence[Item], decoding: Decoding, limits: MediaLimits, *, starts_decoder: bool) -> None:
        self._items = items
        self._starts_decoder = starts_decoder
        self._decoding = decoding
        self._limits = limits
        self._decoded: queue.Queue[DecodedPart | BaseException | None]
        self._decoded = queue.Queue(WAITING_SEGMENTS)
        self._abandoned = threading.Event()

    def __iter__(self) -> Iterator[DecodedPart]:
        worker = threading.Thread(target=self._work, name="decode", daemon=True)
        worker.start()
        try:
            while (value := self._decoded.get()) is not None:
                if isinstance(value, BaseException):
                    raise value
                yield value
        finally:
            self._abandoned.set()
            worker.join()

    def _work(self) -> None:
        try:
            for index, item in enumerate(self._items):
                self._decode(index, item)
        except BaseException as error:  # noqa: BLE001 - handed to the caller's thread, which raises it
            self._put(error)
        self._put(None)

    def _decode(self, index: int, item: Item) -> None:
        try:
            with open_locally(item) as local:
                for segment in load_segments_apart(
                    local, decoding=self._decoding, limits=self._limits, starts=self._starts_decoder
                ):
                    self._put((index, segment))
                    if self._abandoned.is_set():
                        return
        except MediaError as error:
            self._put((index, error))

    def _put(self, value: DecodedPart | BaseException | None) -> None:
        while not self._abandoned.is_set():
            try:
                self._decoded.put(value, timeout=0.2)
            except queue.Full:
                continue
            return
