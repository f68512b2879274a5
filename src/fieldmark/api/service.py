"""What the handlers share: the gallery with its model, the rooms where work is done, and what is kept."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import final

from starlette.requests import Request

from fieldmark.api.cache import ByteCache
from fieldmark.api.jobs import JobDesk
from fieldmark.api.limits import Doorkeeper, Room
from fieldmark.api.metrics import Metrics
from fieldmark.api.security import Access
from fieldmark.config import ServeLimits
from fieldmark.errors import UnknownItemError
from fieldmark.gallery.layout import GalleryLayout
from fieldmark.gallery.map import GalleryMap, draw_map
from fieldmark.gallery.search.calibration import read_calibration
from fieldmark.gallery.store import Filter, StoredItem
from fieldmark.runtime import Runtime
from fieldmark.types import MediaLimits
from fieldmark.workflows.search import Gallery


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """How a gallery is served.

    Args:
        sources: What jobs may index, by name.
    """

    limits: ServeLimits = field(default_factory=ServeLimits)
    access: Access = field(default_factory=Access)
    sources: Mapping[str, Path] = field(default_factory=dict)


@final
class Service:
    """One gallery being served."""

    def __init__(self, gallery: Gallery, *, options: ServeOptions, runtime: Runtime) -> None:
        limits = options.limits
        self.gallery = gallery
        self.limits = limits
        self.access = options.access
        self.metrics = Metrics()
        self.cache = ByteCache(max_bytes=limits.cache_bytes)
        self.desk = JobDesk(gallery.folder, sources=options.sources, runtime=runtime)
        self.uploads = Doorkeeper("upload", places=limits.max_uploads, retry_seconds=limits.retry_seconds)
        self.followers = Doorkeeper("job events", places=limits.event_streams, retry_seconds=limits.retry_seconds)
        # One at a time: an encoder takes all cores, and some cannot be used by two threads.
        self.search_room = self._room("search", workers=1, places=limits.search_places)
        self.preview_room = self._room("preview", workers=2, places=limits.preview_places)
        self.lookup_room = self._room("lookup", workers=2, places=limits.lookup_places)
        self._calibration_written = -1
        self._map_guard = threading.Lock()
        self._map: tuple[tuple[int, int], GalleryMap] | None = None
        gallery.model.limits = query_limits(gallery.model.limits, limits)

    @property
    def rooms(self) -> tuple[Room, ...]:
        """All rooms."""
        return (self.search_room, self.preview_room, self.lookup_room)

    @property
    def preview_limits(self) -> MediaLimits:
        """What a file of the gallery may cost when it is drawn."""
        return MediaLimits(max_segment_seconds=self.limits.max_preview_seconds)

    def newest_gallery(self) -> Gallery:
        """The gallery with the calibration that stands beside it now: another process, or a job, may have indexed."""
        path = GalleryLayout(self.gallery.folder).calibration
        try:
            written = path.stat().st_mtime_ns
        except FileNotFoundError:
            written = 0
        if written != self._calibration_written:
            self.gallery.calibration = read_calibration(path)
            self._calibration_written = written
        return self.gallery

    def stored_item(self, item_id: str) -> StoredItem:
        """An item of the gallery.

        Raises:
            UnknownItemError: There is none of this id.
        """
        found = self.gallery.index.items(where=Filter(item_ids=frozenset([item_id])), limit=1)
        if not found:
            raise self.unknown_item(item_id)
        return found[0]

    def unknown_item(self, item_id: str) -> UnknownItemError:
        """That the gallery has no item, told without the server's folder and without an endless id."""
        return UnknownItemError(item_id=item_id[:200], gallery=self.gallery.folder.name)

    def map(self) -> GalleryMap:
        """The map of the gallery, drawn anew once items have come or gone."""
        index = self.gallery.index
        with self._map_guard:
            state = (index.item_count(), index.segment_count())
            if self._map is None or self._map[0] != state:
                self._map = (state, draw_map(index))
            return self._map[1]

    def close(self) -> None:
        """Breaks off jobs and lets the threads end."""
        self.desk.close()
        for room in self.rooms:
            room.close()

    def _room(self, name: str, *, workers: int, places: int) -> Room:
        limits = self.limits
        return Room(
            name, workers=workers, places=places, seconds=limits.work_seconds, retry_seconds=limits.retry_seconds
        )


def query_limits(model: MediaLimits, limits: ServeLimits) -> MediaLimits:
    """What a file from a stranger may cost: the tighter of the model's limits and the server's."""
    return replace(
        model,
        max_bytes=min(model.max_bytes, limits.max_body_bytes),
        max_pixels=min(model.max_pixels, limits.max_query_pixels),
        max_seconds=min(model.max_seconds, limits.max_query_seconds),
        max_characters=min(model.max_characters, limits.max_query_characters),
    )


def service_of(request: Request) -> Service:
    """The service that answers a request."""
    service: Service = request.app.state.service
    return service
