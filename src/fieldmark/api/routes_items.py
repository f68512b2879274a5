"""The handlers that say what the gallery holds: items, classes, statistics, the map."""

from collections import Counter
from pathlib import Path
from typing import Annotated

from fastapi import Query
from starlette.requests import Request

from fieldmark.api.addresses import describe_item
from fieldmark.api.schemas import (
    ClassAnswer,
    ClassesAnswer,
    GalleryAnswer,
    ItemDetailAnswer,
    ItemPage,
    MapAnswer,
    MapPointAnswer,
    SegmentAnswer,
)
from fieldmark.api.service import Service, service_of
from fieldmark.data.taxonomy import read_taxonomy
from fieldmark.errors import OutOfRangeError
from fieldmark.gallery.layout import GalleryLayout
from fieldmark.gallery.store import Filter
from fieldmark.types import Medium

Chosen = Annotated[list[str], Query(max_length=200)]


async def list_items(
    request: Request,
    limit: Annotated[int, Query(ge=1, description="items on the page")] = 50,
    after: Annotated[str | None, Query(max_length=1024, description="`next_after` of the page before")] = None,
    media: Annotated[list[Medium], Query(max_length=4)] = [],  # noqa: B006 - FastAPI copies it
    class_names: Chosen = [],  # noqa: B006
    set_names: Chosen = [],  # noqa: B006
) -> ItemPage:
    """Items of the gallery, page by page, ordered by id."""
    service = service_of(request)
    if limit > service.limits.max_listed:
        raise OutOfRangeError(name="limit", got=limit, smallest=1, largest=service.limits.max_listed)
    where = Filter(
        media=frozenset(media) or None,
        class_names=frozenset(class_names) or None,
        set_names=frozenset(set_names) or None,
    )
    return await service.lookup_room.run(lambda: _page(service, where, limit=limit, after=after))


async def show_item(request: Request, item_id: str) -> ItemDetailAnswer:
    """One item with its segments."""
    service = service_of(request)
    return await service.lookup_room.run(lambda: _detail(service, item_id))


async def list_classes(request: Request) -> ClassesAnswer:
    """The classes of the gallery, and how many items each has of each medium."""
    service = service_of(request)
    return await service.lookup_room.run(lambda: _classes(service))


async def show_gallery(request: Request) -> GalleryAnswer:
    """Statistics of the gallery."""
    service = service_of(request)
    return await service.lookup_room.run(lambda: _statistics(service))


async def show_map(request: Request) -> MapAnswer:
    """The gallery on a plane; drawn when it is first asked for, and again once items have come or gone."""
    service = service_of(request)
    drawn = await service.preview_room.run(service.map)
    points = [
        MapPointAnswer(item_id=each.item_id, x=each.x, y=each.y, medium=each.medium, class_name=each.class_name)
        for each in drawn.points
    ]
    return MapAnswer(method=drawn.method, item_count=drawn.item_count, points=points)


def _page(service: Service, where: Filter, *, limit: int, after: str | None) -> ItemPage:
    found = service.gallery.index.items(where=where, start_after=after, limit=limit + 1)
    shown = [describe_item(stored, limits=service.preview_limits) for stored in found[:limit]]
    return ItemPage(items=shown, next_after=shown[-1].item_id if len(found) > limit else None)


def _detail(service: Service, item_id: str) -> ItemDetailAnswer:
    stored = service.stored_item(item_id)
    segments = service.gallery.index.get(item_id)
    times = zip(segments.start_seconds.tolist(), segments.end_seconds.tolist(), strict=True)
    return ItemDetailAnswer(
        **describe_item(stored, limits=service.preview_limits).model_dump(),
        segments=[SegmentAnswer(start_seconds=_time(start), end_seconds=_time(end)) for start, end in times],
    )


def _time(seconds: float) -> float | None:
    return None if seconds != seconds else seconds  # noqa: PLR0124 - NaN says that the medium has no time


def _classes(service: Service) -> ClassesAnswer:
    synonyms = _synonyms(service)
    by_class: dict[str, Counter[Medium]] = {}
    for count in service.gallery.index.counts():
        if count.class_name is not None:
            by_class.setdefault(count.class_name, Counter())[count.medium] += count.item_count
    return ClassesAnswer(
        classes=[
            ClassAnswer(
                class_name=name, counts=dict(counts), item_count=counts.total(), synonyms=synonyms.get(name, [])
            )
            for name, counts in sorted(by_class.items())
        ]
    )


def _synonyms(service: Service) -> dict[str, list[str]]:
    """Other names of the classes, by the taxonomy that the gallery holds, if any."""
    path = GalleryLayout(service.gallery.folder).taxonomy
    if not path.is_file():
        return {}
    return {
        taxon.class_name: [*([taxon.scientific_name] if taxon.scientific_name else []), *taxon.synonyms]
        for taxon in read_taxonomy(path).taxa
    }


def _statistics(service: Service) -> GalleryAnswer:
    gallery = service.gallery
    media: Counter[Medium] = Counter()
    sets: Counter[str] = Counter()
    licenses: Counter[str] = Counter()
    class_names = set()
    for count in gallery.index.counts():
        media[count.medium] += count.item_count
        sets[count.set_name or ""] += count.item_count
        licenses[count.license or ""] += count.item_count
        class_names.add(count.class_name)
    return GalleryAnswer(
        name=gallery.folder.resolve().name,
        item_count=media.total(),
        segment_count=gallery.index.segment_count(),
        class_count=len(class_names - {None}),
        counts=dict(media),
        set_counts=dict(sets),
        license_counts=dict(licenses),
        media=list(gallery.model.media),
        fingerprint=gallery.index.fingerprint,
        bytes=_folder_bytes(gallery.folder),
        calibrated_pairs=_calibrated_pairs(service),
        sources=list(service.desk.source_names),
    )


def _calibrated_pairs(service: Service) -> list[str]:
    scales = service.newest_gallery().calibration.scales
    return [f"{query}_to_{hit}" for (query, hit), scale in scales.items() if scale.curve is not None]


def _folder_bytes(folder: Path) -> int:
    """Bytes of all files; one that goes away meanwhile does not count."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except OSError:
            continue
    return total
