"""The handlers of marks: classes given to items, listed and undone, and exports for other programs."""

from dataclasses import replace
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from fieldmark.api.bodies import read_json
from fieldmark.api.schemas import ClassRequest, ExportRequest, HitMark, SavedClassAnswer, SavedClassesAnswer
from fieldmark.api.service import Service, service_of
from fieldmark.errors import BadRequestError, OutOfRangeError
from fieldmark.gallery.labels import SavedClass, list_classes, save_class, undo_class
from fieldmark.gallery.search.export import ExportFormat, export_marks
from fieldmark.gallery.store import StoredItem
from fieldmark.types import Hit, Item

FILES = {
    ExportFormat.CSV: ("hits.csv", "text/csv; charset=utf-8"),
    ExportFormat.RAVEN: ("hits.selections.txt", "text/tab-separated-values; charset=utf-8"),
    ExportFormat.AUDACITY: ("hits.labels.txt", "text/plain; charset=utf-8"),
    ExportFormat.DARWIN_CORE: ("occurrence.csv", "text/csv; charset=utf-8"),
}
"""Name and type of the file that each format becomes."""


async def give_class(request: Request) -> SavedClassAnswer:
    """Gives items a class: it outlives the server and later indexing, and can be undone."""
    service = service_of(request)
    wanted = await read_json(request, ClassRequest, limits=service.limits)
    check_count(len(wanted.item_ids), service)

    def save() -> SavedClass:
        for item_id in wanted.item_ids:
            service.stored_item(item_id)
        gallery = service.gallery
        return save_class(gallery.folder, gallery.index, class_name=wanted.class_name, item_ids=set(wanted.item_ids))

    return _described(await service.lookup_room.run(save))


async def list_given_classes(request: Request) -> SavedClassesAnswer:
    """The classes that were given to items, in the order of giving."""
    service = service_of(request)
    saved = await service.lookup_room.run(lambda: list_classes(service.gallery.folder))
    return SavedClassesAnswer(classes=[_described(each) for each in saved])


async def undo_given_class(request: Request, number: int) -> SavedClassAnswer:
    """Gives the items their former classes again."""
    service = service_of(request)
    gallery = service.gallery
    undone = await service.lookup_room.run(lambda: undo_class(gallery.folder, gallery.index, number=number))
    return _described(undone)


async def export(request: Request) -> Response:
    """Hits or items as a file for a spreadsheet, Raven, Audacity, or a Darwin Core archive."""
    service = service_of(request)
    wanted = await read_json(request, ExportRequest, limits=service.limits)
    count = len(wanted.item_ids) + len(wanted.hits)
    if count == 0:
        raise BadRequestError(problems=["'item_ids' and 'hits' are empty: give one of either at least"])
    check_count(count, service)

    def write() -> str:
        items = [_without_folder(service.stored_item(item_id).item) for item_id in wanted.item_ids]
        hits = [_hit_of(mark, service.stored_item(mark.item_id)) for mark in wanted.hits]
        return export_marks([*hits, *items], format=wanted.format)

    text = await service.lookup_room.run(write)
    name, kind = FILES[wanted.format]
    return Response(text, media_type=kind, headers={"content-disposition": f'attachment; filename="{name}"'})


def check_count(count: int, service: Service) -> None:
    """Checks how many items a request names.

    Raises:
        OutOfRangeError: They are too many.
    """
    if count > service.limits.max_listed:
        raise OutOfRangeError(name="item_ids", got=count, smallest=1, largest=service.limits.max_listed)


def _described(saved: SavedClass) -> SavedClassAnswer:
    return SavedClassAnswer(
        number=saved.number,
        class_name=saved.class_name,
        former_names=dict(saved.former_names),
        is_undone=saved.is_undone,
    )


def _without_folder(item: Item) -> Item:
    """The item with its file's name for its path: folders are the server's own business."""
    return item if item.path is None else replace(item, path=Path(item.path.name))


def _hit_of(mark: HitMark, stored: StoredItem) -> Hit:
    """A hit as it was given, its facts as the gallery holds them now."""
    return Hit(item=_without_folder(stored.item), set_name=stored.set_name, **mark.model_dump(exclude={"item_id"}))
