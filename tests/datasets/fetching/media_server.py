"""A server of media on this machine that answers as it is told."""

import io
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
from PIL import Image

LOCAL = "127.0.0.1"


def draw_picture(seed: int, side: int = 48) -> bytes:
    """A picture as PNG, of a few kilobytes."""
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    stored = io.BytesIO()
    Image.fromarray(pixels).save(stored, "PNG")
    return stored.getvalue()


@dataclass
class Answer:
    """What the server says at one path; `steps` come first, one for each request.

    Args:
        breaks_after: Bytes after which the connection is cut.
        stalls_after: Bytes after which nothing more comes.
    """

    content: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    etag: str = ""
    breaks_after: int | None = None
    stalls_after: int | None = None
    steps: "list[Answer]" = field(default_factory=list)


class MediaServer:
    """A server on this machine, and the requests that came."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.release = threading.Event()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                owner.requests.append((self.path, dict(self.headers)))
                answer = owner.answers.get(self.path, Answer(status=404))
                owner._send(self, answer.steps.pop(0) if answer.steps else answer)

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                pass  # the other side went away

        self._server = Server((LOCAL, 0), Handler)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def address(self, path: str, host: str = LOCAL) -> str:
        return f"http://{host}:{self.port}{path}"

    def count(self, path: str) -> int:
        return sum(each == path for each, _ in self.requests)

    def close(self) -> None:
        self.release.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _send(self, handler: BaseHTTPRequestHandler, answer: Answer) -> None:
        content, status, headers = answer.content, answer.status, dict(answer.headers)
        total, asked = len(content), handler.headers.get("Range", "")
        if answer.etag:
            headers["ETag"] = answer.etag
        if asked and answer.etag and handler.headers.get("If-Range") == answer.etag:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            content, status = content[start:], 206
            headers.setdefault("Content-Range", f"bytes {start}-{total - 1}/{total}")
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        cut = answer.breaks_after if answer.stalls_after is None else answer.stalls_after
        handler.wfile.write(content[:cut])
        handler.wfile.flush()
        if answer.stalls_after is not None:
            self.release.wait(10)
        if cut is not None:
            handler.close_connection = True
