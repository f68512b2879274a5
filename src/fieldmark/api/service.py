"""Shared state of all routes: gallery, model, worker pools, caches, metrics; and the description of an item."""

import tempfile
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import final
from urllib.parse import quote

from cachetools import LRUCache
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from starlette.requests import Request

from fieldmark.api.errors import PathHider
from fieldmark.api.jobs import JobQueue, JobState
from fieldmark.api.limits import Limiter, WorkerPool
from fieldmark.api.schemas import ItemAnswer
from fieldmark.api.security import Access
from fieldmark.config import ServeLimits
from fieldmark.datasets.checks.alike import group_alike
from fieldmark.datasets.checks.inspection import inspect_item
from fieldmark.datasets.checks.similarity import Fingerprint
from fieldmark.errors import RequestError, UnknownItemError
from fieldmark.gallery.files import name_place, open_files
from fieldmark.gallery.layout import GalleryFile
from fieldmark.gallery.map import GalleryMap, draw_map
from fieldmark.gallery.search.result import describe_facts
from fieldmark.gallery.sources import LinkCheck, SetSource, read_sources
from fieldmark.gallery.store import Filter, StoredItem
from fieldmark.media.preview import has_sound
from fieldmark.recent_answers import RecentAnswers
from fieldmark.records.ranges import Ranges
from fieldmark.runtime import Runtime
from fieldmark.types import Form, Item, MediaLimits, Medium
from fieldmark.workflows.search import Gallery

_BUCKETS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of the counted times, seconds."""

_SEARCHES_AT_ONCE = 2
"""Threads of searches. They hold the lock of Python most of the time: more of them answer fewer searches in a second,
and let everything else wait (8: 105 requests a second, 4: 117, 2: 131; two cores, docs/results/server.md)."""

_LOOKUPS_AT_ONCE = 4
"""Threads of what takes a millisecond, which has to get its turn beside the searches."""

_ALIKE_SHARE = 0.3
"""Of the time of one request, spent on looking for nearly identical items; what is left is asked for again."""

_FINGERPRINTS = 4_096
"""Items whose fingerprints are kept in memory, some 10 kB each."""

_REMEMBERED_ITEMS = 2_048
"""Items that are kept in memory as the store holds them, some 2 kB each: a page asks for a hit's picture, its sound and
its facts one after the other."""

METHODS = {"GET", "HEAD", "POST", "DELETE", "OPTIONS", "PUT", "PATCH"}


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """The choices of a person who serves a gallery.

    Args:
        sources: What jobs may index, by name.
        ranges: Species by region and month, to judge hits by; None for none.
    """

    limits: ServeLimits = field(default_factory=ServeLimits)
    access: Access = field(default_factory=Access)
    sources: Mapping[str, Path] = field(default_factory=dict)
    ranges: Ranges | None = None


@final
class Service:
    """One gallery that is served."""

    def __init__(self, gallery: Gallery, *, options: ServeOptions, runtime: Runtime) -> None:
        limits = options.limits
        self.gallery = gallery
        self.limits = limits
        self.access = options.access
        self.ranges = options.ranges
        self.metrics = Metrics()
        self.metrics.registry.register(self)
        self.cache: LRUCache[Hashable, bytes] = LRUCache(limits.cache_bytes, getsizeof=len)
        self._cache_lock = threading.Lock()
        self.files = open_files(gallery.folder)
        self.hider = PathHider(
            [
                name_place(gallery.folder),
                self.files.local_folder,
                *options.sources.values(),
                Path(tempfile.gettempdir()),
                Path.home(),
            ]
        )
        self.jobs = JobQueue(name_place(gallery.folder), sources=options.sources, runtime=runtime, hider=self.hider)
        self.uploads = Limiter("upload", capacity=limits.max_uploads, retry_seconds=limits.retry_seconds)
        self.followers = Limiter("job events", capacity=limits.event_streams, retry_seconds=limits.retry_seconds)
        # Encoders are used by one thread at a time, which takes all cores; texts that wait go through one together.
        self.search_pool = self._make_pool("search", workers=_SEARCHES_AT_ONCE, capacity=limits.search_places)
        long_limiter = Limiter("long search", capacity=limits.long_search_places, retry_seconds=limits.retry_seconds)
        self.long_search_pool = WorkerPool(long_limiter, workers=1, seconds=limits.long_work_seconds)
        export_limiter = Limiter("export", capacity=limits.export_places, retry_seconds=limits.retry_seconds)
        self.export_pool = WorkerPool(export_limiter, workers=1, seconds=limits.long_work_seconds)
        self.preview_pool = self._make_pool("preview", workers=2, capacity=limits.preview_places)
        self.lookup_pool = self._make_pool("lookup", workers=_LOOKUPS_AT_ONCE, capacity=limits.lookup_places)
        self._items = RecentAnswers[StoredItem](_REMEMBERED_ITEMS)
        self._sources: tuple[object, Mapping[str, SetSource]] | None = None
        self._fingerprints: LRUCache[Hashable, Fingerprint | None] = LRUCache(_FINGERPRINTS)
        self._map_guard = threading.Lock()
        self._map: tuple[object, GalleryMap] | None = None
        gallery.model.limits = _limit_queries(gallery.model.limits, limits)

    @property
    def pools(self) -> tuple[WorkerPool, ...]:
        """All worker pools."""
        return (self.search_pool, self.long_search_pool, self.export_pool, self.preview_pool, self.lookup_pool)

    @property
    def preview_limits(self) -> MediaLimits:
        """Limits on a picture or waveform of a file of the gallery."""
        return MediaLimits(max_segment_seconds=self.limits.max_preview_seconds)

    def check_gallery(self) -> None:
        """Check that the gallery is there, and made with the model that is loaded.

        Raises:
            GalleryError: It is not.
        """
        self.gallery.index.counts()

    def lies_outside(self, item: Item, set_name: str | None) -> bool:
        """Tell whether a link leads from an item's path out of the source of its set, which may be so only now."""
        return _leads_outside(item, self.read_sources().get(set_name or ""))

    def check_served(self, stored: StoredItem) -> Item:
        """Return an item whose file may be sent.

        Raises:
            RequestError: A link leads to the file, out of the source.
        """
        if self.lies_outside(stored.item, stored.set_name):
            raise RequestError(
                f"The file of the item '{stored.item.item_id[:200]}' lies outside its source, by a link, and is not "
                "sent. Put a copy into the source, or index that with --follow-links.",
                kind="outside_source",
            )
        return stored.item

    def read_sources(self) -> Mapping[str, SetSource]:
        """Return where sets come from; the file is read again where it has changed."""
        stamp = self.files.read_stamp(GalleryFile.SETS)
        if self._sources is None or self._sources[0] != stamp:
            folder = self.gallery.folder
            found = {name: source.find(folder) for name, source in read_sources(folder).items()}
            self._sources = stamp, found
        return self._sources[1]

    def get_item(self, item_id: str) -> StoredItem:
        """Return an item of the gallery, remembered for as long as the gallery stays as it is.

        Raises:
            UnknownItemError: No item has this id.
        """
        return self._items.recall((self.gallery.index.version, item_id), lambda: self._look_up(item_id))

    def _look_up(self, item_id: str) -> StoredItem:
        found = self.gallery.index.items(where=Filter(item_ids=frozenset([item_id])), limit=1)
        if not found:
            raise self.make_unknown_item_error(item_id)
        return found[0]

    def make_unknown_item_error(self, item_id: str) -> UnknownItemError:
        """Return the error for an unknown item, without the server's folder and without an endless id."""
        return UnknownItemError(item_id=item_id[:200], gallery=self.files.name)

    def group_alike(self, item_ids: Sequence[str]) -> tuple[list[list[str]], int]:
        """Return the sets of nearly identical items among some, and how many there was no time to look at.

        What an item is compared by is kept for the next time.

        Raises:
            UnknownItemError: No item has one of these ids.
        """
        deadline = time.monotonic() + self.limits.work_seconds * _ALIKE_SHARE
        items, content, fingerprints, pending = [], [], [], 0
        for stored in map(self.get_item, dict.fromkeys(item_ids)):
            key = (stored.content_hash, stored.item.start_seconds, stored.item.end_seconds)
            if key not in self._fingerprints:
                if time.monotonic() > deadline:
                    pending += 1
                    continue
                served = None if self.lies_outside(stored.item, stored.set_name) else stored.item
                found = served and inspect_item(served, limits=self.preview_limits, content_hash=stored.content_hash)
                self._fingerprints[key] = found.fingerprint if found else None
            items.append(stored.item)
            content.append(key)
            fingerprints.append(self._fingerprints.get(key))
        return group_alike(items, content=content, fingerprints=fingerprints), pending

    def draw_map(self) -> GalleryMap:
        """Return the map of the gallery, drawn again once items or their labels have changed."""
        index = self.gallery.index
        with self._map_guard:
            state = index.version
            if self._map is None or self._map[0] != state:
                self._map = (state, draw_map(index))
            return self._map[1]

    def make_once(self, key: Hashable, make: Callable[[], bytes]) -> bytes:
        """Return what was made for a key before; make it, and keep it up to `cache_bytes`, where there is nothing."""
        with self._cache_lock:
            if key in self.cache:
                return self.cache[key]
        content = make()
        with self._cache_lock, suppress(ValueError):  # larger than the whole cache
            self.cache[key] = content
        return content

    def collect(self) -> Iterator[Metric]:
        """Yield what the server holds now, whenever Prometheus asks."""
        gauges = {
            "resident_bytes": ("Memory of the process", _resident_bytes()),
            "cache_bytes": ("Pictures and waveforms in memory", self.cache.currsize),
            "uploads": ("Bodies that are being received", self.uploads.in_use),
            "job_running": (
                "Indexing jobs that run",
                sum(job.state is JobState.RUNNING for job in self.jobs.list_jobs()),
            ),
        }
        for name, (text, value) in gauges.items():
            yield GaugeMetricFamily(f"fieldmark_{name}", text, value)
        for limiter in (pool.limiter for pool in self.pools):
            name = f"fieldmark_{limiter.name.replace(' ', '_')}"
            yield GaugeMetricFamily(f"{name}_inside", "Requests that run or wait", limiter.in_use)
            yield CounterMetricFamily(f"{name}_refused", "Requests that were refused", limiter.refused)

    def describe_item(self, stored: StoredItem, *, sources: Mapping[str, SetSource]) -> ItemAnswer:
        """Return an item as the API gives it: a file name instead of a path of the server.

        Args:
            sources: As `read_sources` gives them, once for all items of an answer.
        """
        item = stored.item
        return ItemAnswer.model_validate(
            {
                **describe_facts(item),
                "set_name": stored.set_name,
                "name": get_file_name(item.path),
                "start_seconds": item.start_seconds,
                "end_seconds": item.end_seconds,
                "segment_count": stored.segment_count,
                **self.find_urls(item, source=sources.get(stored.set_name or "")),
            }
        )

    def find_urls(self, item: Item, *, source: SetSource | None) -> dict[str, str | None]:
        """Return the URLs of an item, its file and its pictures; None for each that it lacks.

        Args:
            source: Of the item's set; None where it is unknown.
        """
        # Whatever an id holds becomes one piece of a path: a slash or dots in it never lead elsewhere.
        name = quote(item.item_id, safe="")
        has_file = item.path is not None and not _leads_outside(item, source)
        is_single_file = has_file and item.form is not Form.FRAMES
        is_seen = item.medium in {Medium.IMAGE, Medium.VIDEO} and has_file
        is_heard = is_single_file and has_sound(item, limits=self.preview_limits)
        is_drawn = is_heard or (item.medium is Medium.AUDIO and is_single_file)
        return {
            "item_url": f"/v1/items/{name}",
            "media_url": f"/v1/media/{name}" if is_single_file else None,
            "thumbnail_url": f"/v1/thumbnails/{name}" if is_seen else None,
            "spectrogram_url": f"/v1/spectrograms/{name}" if is_drawn else None,
            "waveform_url": f"/v1/waveforms/{name}" if is_heard else None,
        }

    def close(self) -> None:
        """Cancel jobs and let the threads end."""
        self.jobs.close()
        for pool in self.pools:
            pool.close()

    def _make_pool(self, name: str, *, workers: int, capacity: int) -> WorkerPool:
        limiter = Limiter(name, capacity=capacity, retry_seconds=self.limits.retry_seconds)
        return WorkerPool(limiter, workers=workers, seconds=self.limits.work_seconds)


@final
class Metrics:
    """Requests by route and status, and how long they took."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "fieldmark_requests", "Answered requests", ["method", "route", "status"], registry=self.registry
        )
        self._seconds = Histogram(
            "fieldmark_request_seconds", "Times to answer", ["route"], buckets=_BUCKETS, registry=self.registry
        )

    def count_request(self, *, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        method = method if method in METHODS else "other"  # any word may stand there, and each would be kept for ever
        self._requests.labels(method, route, status).inc()
        self._seconds.labels(route).observe(seconds)


def _leads_outside(item: Item, source: SetSource | None) -> bool:
    if item.path is None or source is None or source.follows_links:
        return False
    return LinkCheck(source.root).leads_outside(item.path)


def _resident_bytes() -> int:
    """Return the memory that this process holds; 0 where the system does not tell."""
    try:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    except OSError:
        return 0
    return int(pages) * 4096


def get_file_name(path: PurePath | str | None) -> str | None:
    """Return the last part of a path; the folders are the server's own business."""
    return None if path is None else PurePath(path).name


def _limit_queries(model: MediaLimits, limits: ServeLimits) -> MediaLimits:
    """Return what a file from a stranger may cost: the tighter of the model's limits and the server's."""
    return replace(
        model,
        max_bytes=min(model.max_bytes, limits.max_body_bytes),
        max_pixels=min(model.max_pixels, limits.max_query_pixels),
        max_seconds=min(model.max_seconds, limits.max_query_seconds),
        max_characters=min(model.max_characters, limits.max_query_characters),
    )


def get_service(request: Request) -> Service:
    """Return the service that answers a request."""
    service: Service = request.app.state.service
    return service
