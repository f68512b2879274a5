"""Route of searches: JSON or a form -> one search -> hits with URLs."""

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from fastapi import Query as FromQuery
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from fieldmark.api.lanes import EVENTS_TYPE, LongSearch
from fieldmark.api.limits import JSON_TYPE, get_content_type, make_type_error, parse_json, read_json
from fieldmark.api.schemas import (
    CollectionAnswer,
    DescriptionAnswer,
    FactConditions,
    HitAnswer,
    LikelyClassAnswer,
    NameAnswer,
    NamesAnswer,
    Query,
    QueryAnswer,
    QueryPartAnswer,
    ReadNameAnswer,
    SearchAnswer,
    SearchRequest,
    SearchSeconds,
)
from fieldmark.api.service import Service, get_file_name, get_service
from fieldmark.api.uploads import FORM_TYPE, receive_form
from fieldmark.config import ServeLimits
from fieldmark.errors import BadRequestError, OutOfRangeError, TooLargeError, UnknownItemError
from fieldmark.gallery.fact_query import FactQuery, SightingQuery
from fieldmark.gallery.naming.name_offers import NameOffer
from fieldmark.gallery.search.evidence import add_evidence
from fieldmark.gallery.search.query import ItemId
from fieldmark.gallery.search.result import LikelyClass, MarkedItems, OpenSetAnswer, describe_hit
from fieldmark.gallery.sources import SetSource
from fieldmark.gallery.store import Filter
from fieldmark.types import Hit, Item, Medium

_QUERY_LIMITS = {
    "limits.max_bytes": "max_body_bytes",
    "limits.max_pixels": "max_query_pixels",
    "limits.max_seconds": "max_query_seconds",
    "limits.max_characters": "max_query_characters",
}
"""The server's own names for the limits on a file."""


async def search(request: Request) -> SearchAnswer | Response:
    """Find the items nearest to a text, to an item of the gallery, to files of any medium, or to all of these.

    A long sound or video waits in a lane of its own. Where the client accepts `text/event-stream`, the answer is a
    stream of events: `progress` with the seconds that are encoded and the seconds there are, then `answer` or `error`.
    """
    service = get_service(request)
    kind = get_content_type(request)
    if kind not in (JSON_TYPE, FORM_TYPE):
        raise make_type_error(kind, allowed=f"{JSON_TYPE}, or {FORM_TYPE} where there are files")
    async with AsyncExitStack() as stack:
        stack.enter_context(service.uploads)
        if kind == JSON_TYPE:
            wanted, files = await read_json(request, SearchRequest, limits=service.limits), tuple[Path, ...]()
        else:
            form = await stack.enter_async_context(receive_form(request, limits=service.limits))
            wanted, files = parse_json(form.request, SearchRequest), form.files
        _check_search(wanted, file_count=len(files), limits=service.limits)
        work = LongSearch(service, lambda: _answer(service, wanted, files), files)
        if EVENTS_TYPE not in request.headers.get("accept", ""):
            return await work.run()
        return StreamingResponse(work.stream(stack.pop_all()), media_type=EVENTS_TYPE)


async def offer_names(
    request: Request,
    text: Annotated[str, FromQuery(min_length=1, max_length=200, description="what was typed so far")],
    limit: Annotated[int, FromQuery(ge=1, description="number of names")] = 8,
) -> NamesAnswer:
    """Return the names of the gallery that fit what somebody is typing: parts, typing errors, other names."""
    service = get_service(request)
    if limit > service.limits.max_listed:
        raise OutOfRangeError(name="limit", got=limit, smallest=1, largest=service.limits.max_listed)
    offered = await service.lookup_pool.run(lambda: service.gallery.offer_names(text, limit=limit))
    return NamesAnswer(names=list_names(offered))


def _check_search(wanted: SearchRequest, *, file_count: int, limits: ServeLimits) -> None:
    """Check what the schema cannot, since the limits are the server's own.

    Raises:
        BadRequestError: There is nothing to search for.
        OutOfRangeError: There is too much.
    """
    query_count = len(wanted.queries) + file_count
    if query_count == 0 and wanted.facts == FactConditions():
        raise BadRequestError(
            problems=["'queries' is empty, there is no file, and 'facts' sets no condition: give one of these"]
        )
    marked_count = len(wanted.marks.relevant) + len(wanted.marks.irrelevant)
    for name, got, smallest, largest in (
        ("queries", query_count, 0, limits.max_queries),
        ("k", wanted.k, 1, limits.max_k),
        ("marks", marked_count, 0, limits.max_listed),
    ):
        if not smallest <= got <= largest:
            raise OutOfRangeError(name=name, got=got, smallest=smallest, largest=largest)


def _make_filter(wanted: SearchRequest) -> Filter:
    """Return the conditions of a request; an empty list sets none."""

    def chosen(values: Sequence[str]) -> frozenset[str] | None:
        return frozenset(values) or None

    return Filter(
        media=frozenset(wanted.media) or None,
        class_names=chosen(wanted.class_names),
        set_names=chosen(wanted.set_names),
        licenses=chosen(wanted.licenses),
        groups=chosen(wanted.groups),
        facts=FactQuery(
            date_from=wanted.facts.date_from,
            date_to=wanted.facts.date_to,
            months=[str(month) for month in wanted.facts.months],
            box=wanted.facts.box,
            near=wanted.facts.near,
            countries=wanted.facts.countries,
            observers=wanted.facts.observers,
            has_no=wanted.facts.has_no,
        ).make_filter(),
    )


def _answer(service: Service, wanted: SearchRequest, files: Sequence[Path]) -> SearchAnswer:
    """Search, in a thread; the files exist as long as this runs."""
    where = _make_filter(wanted)
    if wanted.area:
        corners = [(corner[0], corner[1]) for corner in wanted.area]
        where = replace(where, item_ids=service.draw_map().find_inside(corners))
    service.gallery.check_names(where)
    queries = [*files, *map(_make_query, wanted.queries)]
    given = SightingQuery(wanted.seen.place, wanted.seen.country, wanted.seen.date)
    try:
        found = service.gallery.search(
            queries,
            k=wanted.k,
            where=where,
            by_segment=wanted.by_segment,
            per_medium=wanted.per_medium,
            marks=MarkedItems(frozenset(wanted.marks.relevant), frozenset(wanted.marks.irrelevant)),
            order=wanted.order,
            by_record=wanted.by_record,
        )
        found = add_evidence(found, queries, index=service.gallery.index, ranges=service.ranges, given=given)
    except UnknownItemError as error:
        raise service.make_unknown_item_error(error.item_id) from error
    except TooLargeError as error:
        error.name_limit(_QUERY_LIMITS.get(error.limit_name, error.limit_name))
        raise
    sources = service.read_sources()
    return SearchAnswer(
        query=QueryAnswer(
            medium=found.medium,
            media=list(found.media),
            class_name=found.class_name,
            species_name=found.species_name,
            names=[ReadNameAnswer(name=each.name, class_name=each.class_name) for each in found.names],
            name_use=found.name_use,
            is_understood=found.is_understood,
            is_on_topic=found.is_on_topic,
            is_listing=found.is_listing,
            notes=list(found.notes),
        ),
        collection=_answer_collection(found.collection),
        is_by_encoders=found.is_by_encoders,
        is_called=found.is_called,
        likely_count=found.likely_count,
        left_out=list(found.left_out),
        likeliest=_list_likeliest(found.likeliest),
        parts=[
            QueryPartAnswer(
                medium=each.medium,
                likeliest=_list_likeliest(each.likeliest),
                collection=_answer_collection(each.collection),
            )
            for each in found.parts
        ],
        absent_media=list(found.absent_media),
        offered=list_names(found.offered),
        seen=None if found.seen is None else found.seen.to_text(),
        unlikely=found.unlikely,
        description=None
        if found.description is None
        else DescriptionAnswer.model_validate(found.description.json_values()),
        hits=[_answer_hit(hit, service, sources) for hit in found.hits],
        seconds=SearchSeconds(encode=round(found.encode_seconds, 4), search=round(found.rank_seconds, 4)),
    )


def _answer_collection(answer: OpenSetAnswer | None) -> CollectionAnswer | None:
    if answer is None:
        return None
    return CollectionAnswer(
        probability=answer.probability,
        is_likely=answer.is_likely,
        is_unlikely=answer.is_unlikely,
        threshold=answer.threshold,
        can_tell=answer.can_tell,
    )


def _list_likeliest(likeliest: Sequence[LikelyClass]) -> list[LikelyClassAnswer]:
    return [LikelyClassAnswer(name=each.name, probability=each.probability) for each in likeliest]


def list_names(offered: Sequence[NameOffer]) -> list[NameAnswer]:
    """Return names that are offered, as the API gives them."""
    return [
        NameAnswer(name=each.name, matched=each.matched, fit=each.fit, item_count=each.item_count) for each in offered
    ]


def _make_query(query: Query) -> Item | ItemId:
    """Return a query as the library takes it; text from outside is never taken for a path, whatever it says."""
    if query.item_id is not None:
        return ItemId(query.item_id)
    return Item("query", Medium.TEXT, text=query.text)


def _answer_hit(hit: Hit, service: Service, sources: Mapping[str, SetSource]) -> HitAnswer:
    """Return a hit as the API gives it: a file name instead of the path, and URLs."""
    return HitAnswer.model_validate(
        {
            **describe_hit(hit),
            "name": get_file_name(hit.item.path),
            **service.find_urls(hit.item, source=sources.get(hit.set_name or "")),
        }
    )
