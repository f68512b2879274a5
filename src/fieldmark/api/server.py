"""The server process: it opens the socket, loads the model once, and answers requests until a signal."""

import ipaddress
import socket
from collections.abc import Callable
from pathlib import Path

import uvicorn

from fieldmark.api.app import create_app
from fieldmark.api.security import Access
from fieldmark.api.service import ServeOptions, Service
from fieldmark.errors import ConfigError
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
        service = Service(Gallery.open(gallery, runtime=runtime), options=options, runtime=runtime)
        config = uvicorn.Config(
            create_app(service),
            log_level="warning",
            access_log=False,
            server_header=False,
            limit_concurrency=_MAX_CONNECTIONS,
            timeout_keep_alive=10,
            timeout_graceful_shutdown=5,
            proxy_headers=False,
            ws="none",
        )
        announce(format_address(listener))
        uvicorn.Server(config).run(sockets=[listener])


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


def make_access(host_name: str, *, token: str | None) -> Access:
    """Return who may use a server at an address: on loopback only under the names of this machine."""
    return Access(token=token, host_names=_LOOPBACK_NAMES if is_loopback(host_name) else frozenset())


def is_loopback(host_name: str) -> bool:
    """Tell whether only this machine reaches an address."""
    if host_name == "localhost":
        return True
    try:
        return ipaddress.ip_address(host_name).is_loopback
    except ValueError:
        return False
