"""Routes of what the gallery holds: items, classes, statistics, the map."""

from collections import Counter
from typing import Annotated

from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from fieldmark.api.schemas import (
    ClassAnswer,
    ClassesAnswer,
    GalleryAnswer,
    ItemDetailAnswer,
    ItemPage,
    MapAnswer,
    MapColumnsAnswer,
    MapPointAnswer,
    SegmentAnswer,
    WordsAnswer,
)
from fieldmark.api.service import Service, get_service
from fieldmark.data.taxonomy import Taxon, read_taxonomy
from fieldmark.errors import OutOfRangeError
from fieldmark.gallery.layout import GalleryFile
from fieldmark.gallery.opening import measure_bytes
from fieldmark.gallery.store import Filter
from fieldmark.records.licenses import normalize_license
from fieldmark.subject import get_words
from fieldmark.types import MEDIA, Medium

_MAP_STEPS = 65_535

Names = Annotated[list[str], Query(max_length=200)]


async def list_items(
    request: Request,
    limit: Annotated[int, Query(ge=1, description="items on the page")] = 50,
    after: Annotated[str | None, Query(max_length=1024, description="`next_after` of the page before")] = None,
    media: Annotated[list[Medium], Query(max_length=4)] = [],  # noqa: B006 - FastAPI copies it
    class_names: Names = [],  # noqa: B006
    set_names: Names = [],  # noqa: B006
) -> ItemPage:
    """List items of the gallery, page by page, ordered by id."""
    service = get_service(request)
    if limit > service.limits.max_listed:
        raise OutOfRangeError(name="limit", got=limit, smallest=1, largest=service.limits.max_listed)
    where = Filter(
        media=frozenset(media) or None,
        class_names=frozenset(class_names) or None,
        set_names=frozenset(set_names) or None,
    )
    return await service.lookup_pool.run(lambda: _list_page(service, where, limit=limit, after=after))


async def show_item(request: Request, item_id: str) -> ItemDetailAnswer:
    """Return one item with its segments."""
    service = get_service(request)
    return await service.lookup_pool.run(lambda: _describe_detail(service, item_id))


async def list_classes(request: Request) -> ClassesAnswer:
    """List the classes of the gallery, and how many items of each medium each has."""
    service = get_service(request)
    return await service.lookup_pool.run(lambda: _count_classes(service))


async def show_gallery(request: Request) -> GalleryAnswer:
    """Return statistics of the gallery."""
    service = get_service(request)
    return await service.lookup_pool.run(lambda: _measure_gallery(service))


async def show_map(request: Request) -> MapAnswer:
    """Return the gallery on a plane, drawn on first request and again once items or labels have changed."""
    service = get_service(request)
    drawn = await service.preview_pool.run(service.draw_map)
    points = [
        MapPointAnswer(item_id=each.item_id, x=each.x, y=each.y, medium=each.medium, class_name=each.class_name)
        for each in drawn.points
    ]
    return MapAnswer(method=drawn.method, item_count=drawn.item_count, points=points)


async def show_map_columns(request: Request) -> Response:
    """Return the map in columns: the same points, in a form that a page draws a hundred thousand of."""
    service = get_service(request)
    content = await service.preview_pool.run(lambda: _write_columns(service))
    return Response(content, media_type="application/json", headers={"cache-control": "private, no-cache"})


def _write_columns(service: Service) -> bytes:
    drawn = service.draw_map()
    points = drawn.points
    names = sorted({point.class_name for point in points if point.class_name is not None})
    label = {name: code for code, name in enumerate(names)} | {None: -1}
    answer = MapColumnsAnswer(
        method=drawn.method,
        item_count=drawn.item_count,
        media=list(MEDIA),
        class_names=names,
        item_ids=[point.item_id for point in points],
        x=[round(point.x * _MAP_STEPS) for point in points],
        y=[round(point.y * _MAP_STEPS) for point in points],
        medium=[MEDIA.index(point.medium) for point in points],
        label=[label[point.class_name] for point in points],
    )
    return answer.model_dump_json().encode()


def _list_page(service: Service, where: Filter, *, limit: int, after: str | None) -> ItemPage:
    found = service.gallery.index.items(where=where, start_after=after, limit=limit + 1)
    sources = service.read_sources()
    shown = [service.describe_item(stored, sources=sources) for stored in found[:limit]]
    return ItemPage(items=shown, next_after=shown[-1].item_id if len(found) > limit else None)


def _describe_detail(service: Service, item_id: str) -> ItemDetailAnswer:
    stored = service.get_item(item_id)
    segments = service.gallery.index.get(item_id)
    times = zip(segments.start_seconds.tolist(), segments.end_seconds.tolist(), strict=True)
    return ItemDetailAnswer(
        **service.describe_item(stored, sources=service.read_sources()).model_dump(),
        segments=[SegmentAnswer(start_seconds=_get_time(start), end_seconds=_get_time(end)) for start, end in times],
    )


def _get_time(seconds: float) -> float | None:
    return None if seconds != seconds else seconds  # noqa: PLR0124 - NaN says that the medium has no time


def _count_classes(service: Service) -> ClassesAnswer:
    taxa = _read_taxa(service)
    by_class: dict[str, Counter[Medium]] = {}
    for count in service.gallery.index.counts():
        if count.class_name is not None:
            by_class.setdefault(count.class_name, Counter())[count.medium] += count.item_count
    return ClassesAnswer(
        classes=[
            ClassAnswer(
                class_name=name,
                counts=dict(counts),
                item_count=counts.total(),
                synonyms=list(taxa[name].other_names) if name in taxa else [],
                scientific_name=taxa[name].scientific_name if name in taxa else None,
                names=dict(taxa[name].names) if name in taxa else {},
            )
            for name, counts in sorted(by_class.items())
        ]
    )


def _read_taxa(service: Service) -> dict[str, Taxon]:
    """Return the classes of the gallery's taxonomy, by name; none if it has no taxonomy."""
    path = service.files.find(GalleryFile.TAXONOMY)
    return {taxon.class_name: taxon for taxon in read_taxonomy(path).taxa} if path is not None else {}


def _measure_gallery(service: Service) -> GalleryAnswer:
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
    subject = gallery.read_names().subject
    words = get_words(subject)
    return GalleryAnswer(
        name=service.files.name,
        item_count=media.total(),
        segment_count=gallery.index.segment_count(),
        class_count=len(class_names - {None}),
        counts=dict(media),
        set_counts=dict(sets),
        license_counts=dict(licenses),
        license_forms={name: form for name in licenses if (form := normalize_license(name)) is not None},
        media=list(gallery.model.media),
        fingerprint=gallery.index.fingerprint,
        bytes=measure_bytes(gallery.folder) or 0,
        calibrated_pairs=_list_calibrated_pairs(service),
        sources=list(service.jobs.source_names),
        subject=subject,
        words=WordsAnswer(one=words.one, many=words.many, item=words.item, sound=words.sound),
    )


def _list_calibrated_pairs(service: Service) -> list[str]:
    scales = service.gallery.calibration.scales
    return [f"{query}_to_{hit}" for (query, hit), scale in scales.items() if scale.curve is not None]
