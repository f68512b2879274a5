"""Routes of the server itself: the session of a page, health, metrics."""

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response

from fieldmark._version import __version__
from fieldmark.api.metrics import resident_bytes
from fieldmark.api.schemas import HealthAnswer
from fieldmark.api.security import SESSION_COOKIE, carries_token, unauthorized
from fieldmark.api.service import service_of


async def begin_session(request: Request) -> Response:
    """Changes the token in the header for a cookie, which opens pictures and players of the page."""
    access = service_of(request).access
    if access.token is not None and not carries_token(Headers(scope=request.scope), access):
        raise unauthorized(request.headers)
    response = Response(status_code=204)
    if access.token is not None:
        secure = request.url.scheme == "https"
        response.set_cookie(
            SESSION_COOKIE, access.session_value(), httponly=True, samesite="strict", path="/v1", secure=secure
        )
    return response


async def end_session(request: Request) -> Response:  # noqa: ARG001 - a handler takes its request
    """Takes the cookie away."""
    response = Response(status_code=204)
    response.delete_cookie(SESSION_COOKIE, path="/v1")
    return response


async def show_health(request: Request) -> HealthAnswer:
    """That the server answers, and whether it asks for a token."""
    return HealthAnswer(status="ok", version=__version__, needs_token=service_of(request).access.token is not None)


async def show_metrics(request: Request) -> Response:
    """Counts, times and memory, as Prometheus reads them."""
    service = service_of(request)
    gauges: dict[str, int | float] = {
        "resident_bytes": resident_bytes(),
        "cache_bytes": service.cache.held_bytes,
        "uploads": service.uploads.inside,
        "job_running": sum(job.state.value == "running" for job in service.desk.jobs()),
    }
    gauges |= {f"{room.name}_inside": room.inside for room in service.rooms}
    counters: dict[str, int | float] = {f"{room.name}_refused_total": room.refused for room in service.rooms}
    text = service.metrics.render(gauges=gauges, counters=counters)
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")
