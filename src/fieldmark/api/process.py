"""The process that serves an application: where it listens, under which names, and for how long it waits for a head."""

import asyncio
import ipaddress
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, final
from urllib.parse import urlsplit

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from fieldmark.api.app import create_app
from fieldmark.api.security import Access
from fieldmark.api.service import ServeOptions, Service
from fieldmark.errors import ConfigError
from fieldmark.media.apart import start_decoder
from fieldmark.runtime import Runtime
from fieldmark.workflows.search import Gallery

_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_MAX_CONNECTIONS = 1024
"""Connections beyond these are answered 503 by uvicorn itself, before anything is read."""


def serve(
    gallery: Path,
    *,
    host_name: str,
    port: int,
    options: ServeOptions,
    runtime: Runtime,
    announce: Callable[[str], None],
) -> None:
    """Serve a gallery until the process is told to end.

    Args:
        port: 0 takes a free one.
        announce: Called with the URL once requests are answered there.

    Raises:
        ConfigError: The address cannot be used.
        GalleryError: The gallery cannot be opened.
    """
    listener = listen(host_name, port)
    with listener:
        start_decoder()  # uploads are decoded there: no file ends the server
        service = Service(Gallery.open(gallery, runtime=runtime), options=options, runtime=runtime)
        announce(options.access.public_url or format_address(listener))
        make_server(service).run(sockets=[listener])


def make_server(service: Service) -> uvicorn.Server:
    """Return the server of an application; headers in which a proxy tells of others (`X-Forwarded-*`) are not read."""
    config = uvicorn.Config(
        create_app(service),
        http=partial(HeadTimedProtocol, head_seconds=service.limits.head_seconds),  # type: ignore[arg-type]  # any callable
        log_level="warning",
        access_log=False,
        server_header=False,
        limit_concurrency=_MAX_CONNECTIONS,
        timeout_keep_alive=10,
        timeout_graceful_shutdown=5,
        proxy_headers=False,
        ws="none",
    )
    return uvicorn.Server(config)


@final
class HeadTimedProtocol(H11Protocol):
    """A connection that is closed where the head of a request does not arrive in time: silent ones hold no place.

    The time runs from the beginning of a connection, and from the first byte of each further request.
    """

    def __init__(self, *arguments: Any, head_seconds: float, **options: Any) -> None:  # noqa: ANN401 - uvicorn's own
        super().__init__(*arguments, **options)
        self._head_seconds = head_seconds
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a head."""
        super().connection_made(transport)
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read what came; a head that is still not whole is waited for."""
        super().data_received(data)
        self._look_for_head()

    def on_response_complete(self) -> None:
        """Go on to the next request, whose head may have begun."""
        super().on_response_complete()
        self._look_for_head()

    def _look_for_head(self) -> None:
        if self.conn.their_state is not h11.IDLE:
            self._stop_waiting()
        elif self._head_timer is None and self.conn.trailing_data[0] and not self.transport.is_closing():
            self._wait_for_head()

    def _wait_for_head(self) -> None:
        self._head_timer = self.loop.call_later(self._head_seconds, self._give_up)

    def _stop_waiting(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _give_up(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
            self.transport.close()


# ---------------------------------------------------------------- addresses


def listen(host_name: str, port: int) -> socket.socket:
    """Return a socket that listens at an address.

    Raises:
        ConfigError: The name is unknown, or the port is taken or forbidden.
    """
    try:
        [(family, kind, protocol, _, address), *_] = socket.getaddrinfo(host_name, port, type=socket.SOCK_STREAM)
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(512)
        except BaseException:
            listener.close()
            raise
    except OSError as error:
        raise ConfigError(
            f"Cannot listen on '{host_name}', port {port}: {error.strerror or error}. "
            "Choose another --port (0 picks a free one), or another --host."
        ) from error
    return listener


def format_address(listener: socket.socket) -> str:
    """Return the URL of the page."""
    name, port = listener.getsockname()[:2]
    return f"http://[{name}]:{port}/" if ":" in name else f"http://{name}:{port}/"


def make_access(host_name: str, *, token: str | None, public_url: str | None = None) -> Access:
    """Return who may use a server at an address: on loopback only under the names of this machine.

    Args:
        public_url: The address under which a proxy shows the server; it answers under that name too, and no other.

    Raises:
        ConfigError: The public URL is none.
    """
    names = _LOOPBACK_NAMES | {host_name.lower()} if is_loopback(host_name) else frozenset()
    if public_url is not None:
        names = names | _LOOPBACK_NAMES | {_check_public_url(public_url)}
    return Access(token=token, host_names=names, public_url=public_url)


def _check_public_url(url: str) -> str:
    """Return the host name of a public URL.

    Raises:
        ConfigError: It is no plain origin.
    """
    try:
        parts = urlsplit(url)
        name, _ = parts.hostname, parts.port
    except ValueError:
        name, parts = None, urlsplit("")
    is_plain = parts.path in ("", "/") and not (parts.query or parts.fragment or "@" in parts.netloc)
    if parts.scheme not in ("http", "https") or not name or not is_plain:
        raise ConfigError(
            f"The public URL '{url[:200]}' cannot be used; it is a scheme, a host and perhaps a port, without a path. "
            "Give one such as https://birds.example with --public-url."
        )
    return name


def is_loopback(host_name: str) -> bool:
    """Tell whether only this machine reaches an address."""
    if host_name.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host_name).is_loopback
    except ValueError:
        return False
