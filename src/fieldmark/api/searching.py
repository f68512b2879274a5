"""The handler of searches: JSON or a form -> one search -> hits with addresses."""

import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float
from starlette.requests import Request

from fieldmark.api.addresses import addresses_of, file_name
from fieldmark.api.bodies import FORM_TYPE, JSON_TYPE, content_type, parse, read_json, receive_form
from fieldmark.api.schemas import HitAnswer, Query, QueryAnswer, SearchAnswer, SearchRequest, SearchSeconds
from fieldmark.api.service import Service, service_of
from fieldmark.config import ServeLimits
from fieldmark.errors import BadRequestError, ContentTypeError, OutOfRangeError
from fieldmark.gallery.interface import Filter
from fieldmark.media.loaders import detect_medium
from fieldmark.types import MEDIA, Hit, Item, Medium
from fieldmark.workflows.encode import encode_item, project


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
    raise ContentTypeError(got=kind, allowed=f"{JSON_TYPE}, or {FORM_TYPE} where there are files")


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
        exclude_item_ids=chosen([each.item_id for each in wanted.queries if each.item_id is not None]),
    )


def answer_search(service: Service, wanted: SearchRequest, files: Sequence[Path]) -> SearchAnswer:
    """Searches, in a thread; the files are there as long as this runs."""
    started = time.perf_counter()
    parts = [_embed_file(service, path) for path in files] + [_embed_query(service, each) for each in wanted.queries]
    encoded = time.perf_counter()
    vector = np.mean([each for _, each in parts], axis=0)
    where = filter_of(wanted)
    hits: list[Hit] = []
    for media in [[each] for each in wanted.media or MEDIA] if wanted.per_medium else [wanted.media]:
        chosen = replace(where, media=frozenset(media) or None)
        hits += service.gallery.index.search(vector, k=wanted.k, where=chosen, by_segment=wanted.by_segment)
    hits.sort(key=lambda hit: -hit.score)
    done = time.perf_counter()
    media_met = list(dict.fromkeys(medium for medium, _ in parts))
    return SearchAnswer(
        query=QueryAnswer(medium=media_met[0], media=media_met),
        collection=None,
        hits=[describe_hit(hit, rank=rank, service=service) for rank, hit in enumerate(hits, start=1)],
        seconds=SearchSeconds(encode=round(encoded - started, 4), search=round(done - encoded, 4)),
    )


def _embed_file(service: Service, path: Path) -> tuple[Medium, Float[np.ndarray, " dim"]]:
    return _embed(service, Item(path.name, detect_medium(path), path=path))


def _embed_query(service: Service, query: Query) -> tuple[Medium, Float[np.ndarray, " dim"]]:
    if query.item_id is not None:
        known = service.gallery.index.get(service.stored_item(query.item_id).item.item_id)
        return known.items[0].medium, _unit(known.embedding)
    return _embed(service, Item("query", Medium.TEXT, text=query.text))


def _embed(service: Service, item: Item) -> tuple[Medium, Float[np.ndarray, " dim"]]:
    model = service.gallery.model
    embedding, _ = project(encode_item(item, model=model), medium=item.medium, network=model.network)
    return item.medium, _unit(embedding)


def _unit(embedding: Float[np.ndarray, "row dim"]) -> Float[np.ndarray, " dim"]:
    mean = embedding.mean(axis=0)
    unit: Float[np.ndarray, " dim"] = mean / np.linalg.norm(mean)
    return unit


def describe_hit(hit: Hit, *, rank: int, service: Service) -> HitAnswer:
    """A hit as the API gives it: a file name for the path, and addresses."""
    facts = asdict(hit)
    path = facts.pop("path")
    item = Item(hit.item_id, hit.medium, path=None if path is None else Path(path), text=hit.text)
    addresses = addresses_of(item, limits=service.preview_limits)
    return HitAnswer.model_validate({"name": file_name(path), **facts, "rank": rank, **addresses})
