"""The handler of searches: JSON or a form -> one search -> hits with addresses."""

from collections.abc import Sequence
from pathlib import Path

from starlette.requests import Request

from fieldmark.api.addresses import addresses_of, file_name
from fieldmark.api.bodies import FORM_TYPE, JSON_TYPE, content_type, parse, read_json, receive_form, wrong_type
from fieldmark.api.schemas import (
    CollectionAnswer,
    HitAnswer,
    Query,
    QueryAnswer,
    SearchAnswer,
    SearchRequest,
    SearchSeconds,
)
from fieldmark.api.service import Service, service_of
from fieldmark.config import ServeLimits
from fieldmark.errors import BadRequestError, OutOfRangeError, UnknownItemError
from fieldmark.gallery.search.query import ItemId
from fieldmark.gallery.search.result import Marks, describe_hit
from fieldmark.gallery.store import Filter
from fieldmark.types import Hit, Item, Medium


async def search(request: Request) -> SearchAnswer:
    """Finds the items nearest to a text, to an item of the gallery, to files of any medium, or to all of these."""
    service = service_of(request)
    kind = content_type(request)
    with service.uploads:
        if kind == JSON_TYPE:
            wanted = await read_json(request, SearchRequest, limits=service.limits)
            check_search(wanted, file_count=0, limits=service.limits)
            return await service.search_room.run(lambda: answer_search(service, wanted, ()))
        if kind == FORM_TYPE:
            async with receive_form(request, limits=service.limits) as form:
                wanted = parse(form.request, SearchRequest)
                check_search(wanted, file_count=len(form.files), limits=service.limits)
                return await service.search_room.run(lambda: answer_search(service, wanted, form.files))
    raise wrong_type(kind, allowed=f"{JSON_TYPE}, or {FORM_TYPE} where there are files")


def check_search(wanted: SearchRequest, *, file_count: int, limits: ServeLimits) -> None:
    """Checks what the schema cannot, since the limits are the server's own.

    Raises:
        BadRequestError: There is nothing to search for.
        OutOfRangeError: There is too much.
    """
    query_count = len(wanted.queries) + file_count
    if query_count == 0:
        raise BadRequestError(problems=["'queries' is empty and there is no file: give one of either at least"])
    marked_count = len(wanted.marks.relevant) + len(wanted.marks.irrelevant)
    for name, got, smallest, largest in (
        ("queries", query_count, 1, limits.max_queries),
        ("k", wanted.k, 1, limits.max_k),
        ("marks", marked_count, 0, limits.max_listed),
    ):
        if not smallest <= got <= largest:
            raise OutOfRangeError(name=name, got=got, smallest=smallest, largest=largest)


def filter_of(wanted: SearchRequest) -> Filter:
    """The conditions of a request; an empty list asks for nothing."""

    def chosen(values: Sequence[str]) -> frozenset[str] | None:
        return frozenset(values) or None

    return Filter(
        media=frozenset(wanted.media) or None,
        class_names=chosen(wanted.class_names),
        set_names=chosen(wanted.set_names),
        licenses=chosen(wanted.licenses),
        groups=chosen(wanted.groups),
    )


def answer_search(service: Service, wanted: SearchRequest, files: Sequence[Path]) -> SearchAnswer:
    """Searches, in a thread; the files are there as long as this runs."""
    try:
        found = service.newest_gallery().search(
            [*files, *map(_query_of, wanted.queries)],
            k=wanted.k,
            where=filter_of(wanted),
            by_segment=wanted.by_segment,
            per_medium=wanted.per_medium,
            marks=Marks(frozenset(wanted.marks.relevant), frozenset(wanted.marks.irrelevant)),
        )
    except UnknownItemError as error:
        raise service.unknown_item(error.item_id) from error
    collection = None
    if found.collection is not None:
        collection = CollectionAnswer(
            probability=found.collection.probability,
            is_likely=found.collection.is_likely,
            is_unlikely=found.collection.is_unlikely,
            threshold=found.collection.threshold,
        )
    return SearchAnswer(
        query=QueryAnswer(medium=found.medium, media=list(found.media), class_name=found.class_name),
        collection=collection,
        hits=[_answer_hit(hit, service) for hit in found.hits],
        seconds=SearchSeconds(encode=round(found.encode_seconds, 4), search=round(found.rank_seconds, 4)),
    )


def _query_of(query: Query) -> Item | ItemId:
    """A query as the library takes it. A text from outside is never taken for a path, whatever it says."""
    if query.item_id is not None:
        return ItemId(query.item_id)
    return Item("query", Medium.TEXT, text=query.text)


def _answer_hit(hit: Hit, service: Service) -> HitAnswer:
    """A hit as the API gives it: a file name for the path, and addresses."""
    addresses = addresses_of(hit.item, limits=service.preview_limits)
    return HitAnswer.model_validate({**describe_hit(hit), "name": file_name(hit.item.path), **addresses})
