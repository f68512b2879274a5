"""The list of routes, and the application that answers them."""

import mimetypes
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from fastapi import FastAPI
from fastapi.datastructures import Default
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.staticfiles import StaticFiles

from fieldmark._version import __version__
from fieldmark.api import routes_admin, routes_clips, routes_items, routes_labels, routes_media, routes_search
from fieldmark.api.errors import answer, answer_error
from fieldmark.api.limits import explain
from fieldmark.api.schemas import (
    AlikeRequest,
    ClassRequest,
    ClipsRequest,
    ErrorAnswer,
    ExportRequest,
    JobRequest,
    MapColumnsAnswer,
    SearchRequest,
    WaveformAnswer,
)
from fieldmark.api.security import Guard
from fieldmark.api.service import Service, get_service
from fieldmark.config import ServeLimits
from fieldmark.errors import BadRequestError, FieldmarkError

# ---------------------------------------------------------------- routes


@dataclass(frozen=True, slots=True)
class Route:
    """One route of the API.

    Args:
        about: More of its OpenAPI text, where the handler's signature does not tell it.
    """

    method: str
    path: str
    handler: Callable[..., Any]
    about: dict[str, Any] = field(default_factory=dict)
    status: int = 200


def _describe_json_body(schema: type) -> dict[str, Any]:
    """Return the OpenAPI text of a body that the handler reads itself, so that it is counted while it arrives."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": _refer_to(schema)}}}}


def _refer_to(schema: type) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{schema.__name__}"}


def _describe_content(*kinds: str) -> dict[str, Any]:
    return {"responses": {"200": {"description": "the content", "content": {kind: {} for kind in kinds}}}}


_SEARCH_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": _refer_to(SearchRequest)},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "request": _refer_to(SearchRequest),
                        "file": {"type": "array", "items": {"type": "string", "format": "binary"}},
                    },
                }
            },
        },
    }
}
_WAVEFORM = {
    "responses": {
        "200": {"description": "the outline", "content": {"application/json": {"schema": _refer_to(WaveformAnswer)}}}
    }
}
_MAP_COLUMNS = {
    "responses": {
        "200": {"description": "the map", "content": {"application/json": {"schema": _refer_to(MapColumnsAnswer)}}}
    }
}
_EXPORT = {**_describe_json_body(ExportRequest), **_describe_content("text/csv", "text/plain")}

ROUTES: Sequence[Route] = (
    Route("POST", "/v1/search", routes_search.search, _SEARCH_BODY),
    Route("GET", "/v1/names", routes_search.offer_names),
    Route("GET", "/v1/items", routes_items.list_items),
    Route("GET", "/v1/items/{item_id:path}", routes_items.show_item),
    Route("GET", "/v1/media/{item_id:path}", routes_media.send_media, _describe_content("application/octet-stream")),
    Route("HEAD", "/v1/media/{item_id:path}", routes_media.send_media, _describe_content("application/octet-stream")),
    Route("GET", "/v1/thumbnails/{item_id:path}", routes_media.send_thumbnail, _describe_content("image/jpeg")),
    Route("GET", "/v1/spectrograms/{item_id:path}", routes_media.send_spectrogram, _describe_content("image/png")),
    Route("GET", "/v1/waveforms/{item_id:path}", routes_media.send_waveform, _WAVEFORM),
    Route("GET", "/v1/clips/{item_id:path}", routes_clips.send_clip, _describe_content("audio/wav", "video/mp4")),
    Route("GET", "/v1/classes", routes_items.list_classes),
    Route("GET", "/v1/gallery", routes_items.show_gallery),
    Route("GET", "/v1/map", routes_items.show_map),
    Route("GET", "/v1/map/columns", routes_items.show_map_columns, _MAP_COLUMNS),
    Route("POST", "/v1/marks/classes", routes_labels.give_class, _describe_json_body(ClassRequest), status=201),
    Route("GET", "/v1/marks/classes", routes_labels.list_given_classes),
    Route("DELETE", "/v1/marks/classes/{number}", routes_labels.undo_given_class),
    Route("POST", "/v1/marks/export", routes_labels.export, _EXPORT),
    Route(
        "POST",
        "/v1/marks/clips",
        routes_clips.export_clips,
        {**_describe_json_body(ClipsRequest), **_describe_content("application/zip")},
    ),
    Route("POST", "/v1/marks/alike", routes_labels.find_alike, _describe_json_body(AlikeRequest)),
    Route("POST", "/v1/jobs", routes_admin.start_job, _describe_json_body(JobRequest), status=202),
    Route("GET", "/v1/jobs", routes_admin.list_jobs),
    Route("GET", "/v1/jobs/{job_id}", routes_admin.show_job),
    Route("DELETE", "/v1/jobs/{job_id}", routes_admin.cancel_job),
    Route("GET", "/v1/jobs/{job_id}/events", routes_admin.follow_job, _describe_content("text/event-stream")),
    Route("POST", "/v1/session", routes_admin.begin_session, status=204),
    Route("DELETE", "/v1/session", routes_admin.end_session, status=204),
    Route("GET", "/v1/health", routes_admin.show_health),
    Route("GET", "/v1/metrics", routes_admin.show_metrics, _describe_content("text/plain")),
)
"""All routes of the API; those of the page's files are added beside them."""

_WEB_FOLDER = Path(__file__).resolve().parents[1] / "web"

_READ_BY_HANDLERS = (
    *(SearchRequest, ClassRequest, ExportRequest, ClipsRequest, AlikeRequest, JobRequest, WaveformAnswer),
    MapColumnsAnswer,
)
"""Schemas that are in no handler's signature."""


def create_app(service: Service) -> FastAPI:
    """Return the application that serves one gallery."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        service.close()

    app = FastAPI(
        title="fieldmark",
        version=__version__,
        description=describe_api(service.limits),
        openapi_url="/v1/openapi.json",
        docs_url=None,  # these pages load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        middleware=[Middleware(Guard, access=service.access, count_request=service.metrics.count_request)],
        responses={"default": {"model": ErrorAnswer, "description": "an error"}},
        exception_handlers={**_HANDLERS},
    )
    app.state.service = service
    for route in ROUTES:
        returned = _find_answer(route.handler)
        app.add_api_route(
            route.path,
            route.handler,
            methods=[route.method],
            status_code=route.status,
            response_model=None if returned is Response else returned,
            # With the default, and not JSONResponse itself, an answer becomes JSON in one step, not by way of dicts.
            response_class=Response if returned is Response else Default(JSONResponse),
            openapi_extra=route.about,
            operation_id=f"{route.method.lower()}_{route.handler.__name__}",
            summary=route.handler.__name__.replace("_", " "),
        )
    mimetypes.add_type("text/javascript", ".js")  # some systems say text/plain, which no browser runs
    for path in ("/", "/{name}"):  # not all below "/", which would hide that a method is not allowed
        page = StaticFiles(directory=_WEB_FOLDER, html=True)
        app.router.add_route(path, page, methods=["GET"], include_in_schema=False)  # type: ignore[arg-type]  # an ASGI app
    _describe_when_asked(app, service.limits)
    return app


def _find_answer(handler: Callable[..., Any]) -> Any:  # noqa: ANN401 - any annotation
    """Return the schema that a handler answers with, also where it may send it in another form."""
    returned = handler.__annotations__["return"]
    return next((each for each in get_args(returned) if each is not Response), returned)


def describe_api(limits: ServeLimits) -> str:
    """Return the description of the API, with every limit of this server."""
    lines = [f"- `{name}`: {value:,} ({about})" for name, value, about in _list_limits(limits)]
    return "\n".join(
        [
            "Finds photos, texts, videos and sounds of the same species: search with any of the four.",
            "",
            "Errors are `{kind, message}`. An overloaded server answers 503 with",
            "`Retry-After` and does no work. Where a token is needed, send it as `Authorization: Bearer TOKEN`;",
            "`POST /v1/session` exchanges it for a cookie that allows GET and HEAD only, for pictures and players.",
            "",
            "Limits of this server:",
            "",
            *lines,
        ]
    )


def _list_limits(limits: ServeLimits) -> list[tuple[str, int | float, str]]:
    fields = type(limits).model_fields
    return [(name, getattr(limits, name), each.description or "") for name, each in fields.items()]


def _describe_when_asked(app: FastAPI, limits: ServeLimits) -> None:
    """Make the OpenAPI text when it is first asked for, once: it takes longer than all the rest of the app."""
    make = app.openapi

    def describe() -> dict[str, Any]:
        if app.openapi_schema is None:
            text = make()
            _add_schemas(text)
            _add_maxima(text, limits)
        return make()

    app.openapi = describe  # type: ignore[method-assign]  # FastAPI's own way to extend the text


def _add_schemas(text: dict[str, Any]) -> None:
    """Add the schemas that handlers read themselves to the OpenAPI text."""
    for operations in text["paths"].values():
        for operation in operations.values():
            operation["responses"].pop("422", None)  # FastAPI's own answer to bad parameters; here they get 400
    schemas = text["components"]["schemas"]
    schemas.pop("HTTPValidationError", None)
    schemas.pop("ValidationError", None)
    for schema in _READ_BY_HANDLERS:
        described = schema.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(described.pop("$defs", {}))
        schemas[schema.__name__] = described


_MAXIMA = {
    "SearchRequest": {"k": "max_k", "queries": "max_queries"},
    "Marks": {"relevant": "max_listed", "irrelevant": "max_listed"},
    "Query": {"text": "max_query_characters"},
    "ClassRequest": {"item_ids": "max_listed"},
    "ExportRequest": {"item_ids": "max_listed", "hits": "max_listed"},
    "ClipsRequest": {"hits": "max_clips"},
    "AlikeRequest": {"item_ids": "max_listed"},
}
"""The limit on each property of a body."""

_PARAMETER_MAXIMA = {
    "limit": "max_listed",
    "pixels": "max_preview_pixels",
    "width": "max_preview_pixels",
    "height": "max_preview_pixels",
    "points": "max_points",
}
"""The limit on each parameter, whatever its route."""


def _add_maxima(text: dict[str, Any], limits: ServeLimits) -> None:
    """Add the limits of this server to the OpenAPI text: a client need not try them out."""
    for schema, properties in _MAXIMA.items():
        for name, limit in properties.items():
            found = text["components"]["schemas"][schema]["properties"][name]
            for each in found.get("anyOf", [found]):
                bound = {"integer": "maximum", "array": "maxItems", "string": "maxLength"}.get(each.get("type", ""))
                if bound is not None:
                    each[bound] = getattr(limits, limit)
    operations = (operation for path in text["paths"].values() for operation in path.values())
    for parameter in (each for operation in operations for each in operation.get("parameters", ())):
        if parameter["name"] in _PARAMETER_MAXIMA:
            parameter["schema"]["maximum"] = getattr(limits, _PARAMETER_MAXIMA[parameter["name"]])


# ---------------------------------------------------------------- errors


_ErrorHandler = Callable[[Request, Exception], Coroutine[Any, Any, Response]]


async def _on_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, FieldmarkError)  # noqa: S101 - what it is registered for
    return answer_error(error, hider=get_service(request).hider)


async def _on_bad_parameters(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    return answer_error(BadRequestError(problems=[explain(each["loc"], each["msg"]) for each in error.errors()]))


async def _on_unknown(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    kind = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "bad_request")
    message = f"{request.method[:20]} {request.url.path[:100]} is not a route of this server. See /v1/openapi.json."
    return answer(error.status_code, kind=kind, message=message, headers=dict(error.headers or {}))


_HANDLERS: dict[int | type[Exception], _ErrorHandler] = {
    FieldmarkError: _on_error,
    RequestValidationError: _on_bad_parameters,
    HTTPException: _on_unknown,
}
