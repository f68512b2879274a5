"""Routes of labels and exports: classes given to items, listed and undone, and files for other programs."""

from dataclasses import replace
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from fieldmark.api.limits import read_json
from fieldmark.api.schemas import (
    AlikeAnswer,
    AlikeRequest,
    ClassRequest,
    ExportRequest,
    HitMark,
    SavedClassAnswer,
    SavedClassesAnswer,
)
from fieldmark.api.service import Service, get_service
from fieldmark.errors import BadRequestError, OutOfRangeError
from fieldmark.gallery.labels import SavedClass, list_classes, save_class, undo_class
from fieldmark.gallery.search.result import ARCHIVE_FORMAT, ExportFormat, collect_found, export_marks
from fieldmark.gallery.store import StoredItem
from fieldmark.records.darwin_core import write_archive
from fieldmark.types import Hit, Item

FILES = {
    ExportFormat.CSV: ("hits.csv", "text/csv; charset=utf-8"),
    ExportFormat.RAVEN: ("hits.selections.txt", "text/tab-separated-values; charset=utf-8"),
    ExportFormat.AUDACITY: ("hits.labels.txt", "text/plain; charset=utf-8"),
    ExportFormat.DARWIN_CORE: ("occurrence.csv", "text/csv; charset=utf-8"),
    ExportFormat.INATURALIST: ("inaturalist.csv", "text/csv; charset=utf-8"),
    ARCHIVE_FORMAT: ("dwca.zip", "application/zip"),
}
"""Name and type of the file that each format becomes."""


async def give_class(request: Request) -> SavedClassAnswer:
    """Give items a class: it outlives the server and later indexing, and can be undone."""
    service = get_service(request)
    wanted = await read_json(request, ClassRequest, limits=service.limits)
    _check_count(len(wanted.item_ids), service)

    def save() -> SavedClass:
        for item_id in wanted.item_ids:
            service.get_item(item_id)
        gallery = service.gallery
        return save_class(
            gallery.folder,
            gallery.index,
            class_name=wanted.class_name,
            item_ids=set(wanted.item_ids),
            saved_by=wanted.saved_by,
            basis=wanted.basis,
        )

    return _describe(await service.lookup_pool.run(save))


async def list_given_classes(request: Request) -> SavedClassesAnswer:
    """List the classes that were given to items, oldest first."""
    service = get_service(request)
    saved = await service.lookup_pool.run(lambda: list_classes(service.gallery.folder, index=service.gallery.index))
    return SavedClassesAnswer(classes=[_describe(each) for each in saved])


async def undo_given_class(request: Request, number: int) -> SavedClassAnswer:
    """Give the items their former classes again."""
    service = get_service(request)
    gallery = service.gallery
    undone = await service.lookup_pool.run(lambda: undo_class(gallery.folder, gallery.index, number=number))
    return _describe(undone)


async def find_alike(request: Request) -> AlikeAnswer:
    """Find nearly identical items among some, by their content: other sizes, encodings, cuts, a few other words."""
    service = get_service(request)
    wanted = await read_json(request, AlikeRequest, limits=service.limits)
    _check_count(len(wanted.item_ids), service)
    groups, pending = await service.preview_pool.run(lambda: service.group_alike(wanted.item_ids))
    return AlikeAnswer(groups=groups, pending_count=pending)


async def export(request: Request) -> Response:
    """Export hits or items as a file for a spreadsheet, Raven, Audacity, or a Darwin Core archive."""
    service = get_service(request)
    wanted = await read_json(request, ExportRequest, limits=service.limits)
    count = len(wanted.item_ids) + len(wanted.hits)
    if count == 0:
        raise BadRequestError(problems=["'item_ids' and 'hits' are empty: give at least one of either"])
    _check_count(count, service)

    def write() -> str | bytes:
        items = [_remove_folder(service.get_item(item_id).item) for item_id in wanted.item_ids]
        hits = [make_hit(mark, service.get_item(mark.item_id)) for mark in wanted.hits]
        if isinstance(wanted.format, ExportFormat):
            return export_marks([*hits, *items], format=wanted.format)
        return write_archive(collect_found([*hits, *items]), title=service.files.name)

    text = await service.lookup_pool.run(write)
    name, kind = FILES[wanted.format]
    return Response(text, media_type=kind, headers={"content-disposition": f'attachment; filename="{name}"'})


def _check_count(count: int, service: Service) -> None:
    """Check how many items a request names.

    Raises:
        OutOfRangeError: There are too many.
    """
    if count > service.limits.max_listed:
        raise OutOfRangeError(name="item_ids", got=count, smallest=1, largest=service.limits.max_listed)


def _describe(saved: SavedClass) -> SavedClassAnswer:
    return SavedClassAnswer(
        number=saved.number,
        class_name=saved.class_name,
        former_names=saved.former_names,
        lost_item_ids=list(saved.lost_item_ids),
        is_undone=saved.is_undone,
        saved_at=saved.saved_at,
        saved_by=saved.saved_by,
        basis=saved.basis,
    )


def _remove_folder(item: Item) -> Item:
    """Return the item with a file name for its path: folders are the server's own business."""
    return item if item.path is None else replace(item, path=Path(item.path.name))


def make_hit(mark: HitMark, stored: StoredItem) -> Hit:
    """Return a hit as it was given, with the facts that the gallery holds now."""
    return Hit(item=_remove_folder(stored.item), set_name=stored.set_name, **mark.model_dump(exclude={"item_id"}))
