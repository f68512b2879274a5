"""Access: host, origin and token of a request are checked before anything is read; and headers that protect."""

import hashlib
import hmac
import logging
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import final
from urllib.parse import urlsplit

from cachetools import TTLCache
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fieldmark.api.errors import answer, answer_error
from fieldmark.errors import FieldmarkError, RequestError

logger = logging.getLogger(__name__)

SESSION_COOKIE = "fieldmark_session"
_SAFE_METHODS = {"GET", "HEAD"}
_OPEN_PATHS = {"/v1/health", "/v1/openapi.json", "/v1/session"}
"""Open without a token, so that a client can learn that one is needed; so are the page's own files."""

_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
    "connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_DATA_POLICY = "default-src 'none'; frame-ancestors 'none'; sandbox"
"""For everything under /v1: whatever a file pretends to be, it runs nothing."""

_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "microphone=(self), camera=(), geolocation=()",
}


_SESSION_SECONDS = 7 * 24 * 3600.0
_MOST_SESSIONS = 10_000


@final
class Sessions:
    """The sessions of pages: the server knows them by the hash of a cookie, and forgets one when it is ended.

    They end with the process: a page begins another one with its token.
    """

    def __init__(self) -> None:
        self._known: TTLCache[str, bool] = TTLCache(_MOST_SESSIONS, ttl=_SESSION_SECONDS)
        self._guard = threading.Lock()

    def begin(self) -> str:
        """Return the value of a new session's cookie: not the token, and nothing that could be guessed."""
        value = secrets.token_urlsafe(32)
        with self._guard:
            self._known[_hash(value)] = True
        return value

    def end(self, value: str) -> None:
        """Forget a session."""
        with self._guard:
            self._known.pop(_hash(value), None)

    def __contains__(self, value: str) -> bool:
        """Tell whether a session has begun and not ended."""
        with self._guard:
            return _hash(value) in self._known


def _hash(value: str) -> str:
    return hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class Access:
    """The rules of access to the server.

    Args:
        token: Every request must carry it; None asks for none.
        host_names: Host names under which the server answers; empty for any. On loopback this stops a foreign page
            whose own name has been pointed at this machine (DNS rebinding).
        public_url: The address under which a proxy shows the server; None without one.
        sessions: Those that the token began.
    """

    token: str | None = None
    host_names: frozenset[str] = frozenset()
    public_url: str | None = None
    sessions: Sessions = field(default_factory=Sessions)

    @property
    def public_origin(self) -> str | None:
        """Scheme and host of the public address, as a browser names the origin of its page."""
        if self.public_url is None:
            return None
        parts = urlsplit(self.public_url)
        port = "" if parts.port in (None, {"http": 80, "https": 443}.get(parts.scheme)) else f":{parts.port}"
        name = parts.hostname or ""
        return f"{parts.scheme}://[{name}]{port}" if ":" in name else f"{parts.scheme}://{name}{port}"


@final
class Guard:
    """Checks, counts and times each request, and adds the headers; an unforeseen error becomes one clear answer."""

    def __init__(self, app: ASGIApp, *, access: Access, count_request: Callable[..., None]) -> None:
        self._app = app
        self._access = access
        self._count_request = count_request

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass on that the server starts or stops."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 500
        is_data = scope["path"].startswith("/v1/")

        async def send_guarded(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers.update(_HEADERS)
                headers["content-security-policy"] = _DATA_POLICY if is_data else _PAGE_POLICY
                headers.setdefault("cache-control", "no-store" if is_data else "no-cache")
            await send(message)

        try:
            _check_host(scope, self._access)
            _check_origin(scope, self._access)
            _check_token(scope, self._access)
        except FieldmarkError as error:
            await answer_error(error)(scope, receive, send_guarded)
        else:
            await self._answer(scope, receive, send_guarded)
        finally:
            self._count_request(
                method=scope["method"], route=_find_route(scope), status=status, seconds=time.perf_counter() - started
            )

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; an unforeseen error is logged, and becomes one clear answer."""
        has_begun = False

        async def send_watched(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await self._app(scope, receive, send_watched)
        except Exception:
            logger.exception("%s %s failed", scope["method"], scope["path"])
            if has_begun:
                raise
            message = "The server failed to answer. See its log for the reason."
            await answer(500, kind="internal", message=message)(scope, receive, send)


def _find_route(scope: Scope) -> str:
    """Return the pattern of a request's route, so that metrics have few names, whatever is asked."""
    return getattr(scope.get("route"), "path", "none")


def _check_host(scope: Scope, access: Access) -> None:
    """Check under which name the server is addressed.

    Raises:
        RequestError: The name is not its own.
    """
    host = Headers(scope=scope).get("host", "")
    if access.host_names and _parse_host_name(f"//{host}") not in access.host_names:
        allowed = ", ".join(sorted(access.host_names))
        raise _make_foreign_error(f"the host '{host[:100]}'", allowed=allowed)


def _check_origin(scope: Scope, access: Access) -> None:
    """Check that no page of another site sends a request that changes something.

    Raises:
        RequestError: One does.
    """
    if scope["method"] in _SAFE_METHODS:
        return
    headers = Headers(scope=scope)
    site, origin = headers.get("sec-fetch-site", "none"), headers.get("origin")
    is_own = origin is None or origin.lower() == access.public_origin or _names_host(origin, headers.get("host", ""))
    if site not in {"none", "same-origin"} or not is_own:
        raise _make_foreign_error(f"the site '{(origin or site)[:100]}'", allowed="the page of this server")


def _check_token(scope: Scope, access: Access) -> None:
    """Check the token, or for requests that only read, the session that a token began.

    A picture or a player of the page cannot send a header, and a token in a URL ends up in logs and histories: so a
    page exchanges its token for a cookie, which scripts cannot read and which allows only GET and HEAD.

    Raises:
        RequestError: There is none, or a wrong one.
    """
    path = scope["path"]
    if access.token is None or path in _OPEN_PATHS or not path.startswith("/v1/"):
        return
    headers = Headers(scope=scope)
    if carries_token(headers, access):
        return
    if scope["method"] in _SAFE_METHODS and any(value in access.sessions for value in read_sessions(headers)):
        return
    raise make_token_error(headers)


def make_token_error(headers: Headers) -> RequestError:
    """Return the error of a request without the token that this server asks for."""
    got = "none" if "authorization" not in headers else "another"
    return RequestError(
        f"This server requires a token, but got {got}. Send it in the header 'Authorization: Bearer TOKEN'.",
        kind="unauthorized",
    )


def _make_foreign_error(got: str, *, allowed: str) -> RequestError:
    return RequestError(
        f"The request comes from {got}; allowed is {allowed}. Use the address that the server printed.",
        kind="foreign_request",
    )


def carries_token(headers: Headers, access: Access) -> bool:
    """Tell whether a request carries the token in its header."""
    scheme, _, given = headers.get("authorization", "").partition(" ")
    return scheme.lower() == "bearer" and _is_same(given.strip(), access.token or "")


def _is_same(given: str, expected: str) -> bool:
    """Compare in constant time."""
    return bool(expected) and hmac.compare_digest(given.encode(), expected.encode())


def read_sessions(headers: Headers) -> list[str]:
    """Return the values of session cookies of a request, beside whatever cookies others have set."""
    pairs = (pair.partition("=") for line in headers.getlist("cookie") for pair in line.split(";"))
    return [value.strip().strip('"') for name, _, value in pairs if name.strip() == SESSION_COOKIE]


def _names_host(origin: str, host: str) -> bool:
    try:
        return urlsplit(origin).netloc.lower() == host.lower()
    except ValueError:
        return False


def _parse_host_name(address: str) -> str | None:
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None
