"""The files of the page, read once at the start: no path from outside reaches the file system."""

import hashlib
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

WEB_FOLDER = Path(__file__).resolve().parents[1] / "web"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".webmanifest": "application/manifest+json",
}
"""The kinds of files that the page consists of; others in its folder are not served."""

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


def page_handlers(folder: Path = WEB_FOLDER) -> dict[str, Handler]:
    """A handler for each file of the page, by its address; `index.html` is at `/`."""
    handlers = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix in TYPES:
            name = path.relative_to(folder).as_posix()
            handlers["/" if name == "index.html" else f"/{name}"] = _handler(path.read_bytes(), TYPES[path.suffix])
    return handlers


def _handler(content: bytes, kind: str) -> Handler:
    tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
    headers = {"etag": tag, "cache-control": "no-cache"}

    async def send_file(request: Request) -> Response:
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(content, media_type=kind, headers=headers)

    return send_file
