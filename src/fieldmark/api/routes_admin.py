"""Routes of the server itself: the session of a page, health, metrics."""

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response

from fieldmark._version import __version__
from fieldmark.api.schemas import HealthAnswer
from fieldmark.api.security import SESSION_COOKIE, carries_token, make_token_error
from fieldmark.api.service import get_service


async def begin_session(request: Request) -> Response:
    """Exchange the token in the header for a cookie, which the page needs for pictures and players."""
    access = get_service(request).access
    if access.token is not None and not carries_token(Headers(scope=request.scope), access):
        raise make_token_error(request.headers)
    response = Response(status_code=204)
    if access.token is not None:
        secure = request.url.scheme == "https"
        response.set_cookie(
            SESSION_COOKIE, access.make_session_value(), httponly=True, samesite="strict", path="/v1", secure=secure
        )
    return response


async def end_session(request: Request) -> Response:  # noqa: ARG001 - a handler takes its request
    """Delete the cookie."""
    response = Response(status_code=204)
    response.delete_cookie(SESSION_COOKIE, path="/v1")
    return response


async def show_health(request: Request) -> HealthAnswer:
    """Tell that the server answers, and whether it asks for a token."""
    return HealthAnswer(status="ok", version=__version__, needs_token=get_service(request).access.token is not None)


async def show_metrics(request: Request) -> Response:
    """Return counts, times and memory, as Prometheus reads them."""
    service = get_service(request)
    return Response(generate_latest(service.metrics.registry), media_type=CONTENT_TYPE_PLAIN_0_0_4)
