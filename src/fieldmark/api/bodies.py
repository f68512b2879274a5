"""Bodies of requests: counted while they stream in; uploads go to a folder that is always removed."""

import asyncio
import os
import re
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, TypeVar, final

from pydantic import BaseModel, ValidationError
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from fieldmark.config import ServeLimits
from fieldmark.errors import (
    BadRequestError,
    EmptyMediaError,
    MediaError,
    RequestError,
)

Body = TypeVar("Body", bound=BaseModel)
JSON_TYPE, FORM_TYPE = "application/json", "multipart/form-data"
FORM_OVERHEAD_BYTES = 64 * 1024
"""Bytes that the boundaries and headers of a form may take beside its parts."""

_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,5}")


@dataclass(frozen=True, slots=True)
class Form:
    """A form as it was received: the JSON of its part `request`, and its files."""

    request: bytes
    files: tuple[Path, ...]


async def read_json(request: Request, schema: type[Body], *, limits: ServeLimits) -> Body:
    """The body of a request as a checked object.

    Raises:
        RequestError: It is not sent as JSON, which no plain HTML form of another site can do; it has too many bytes,
            did not arrive in time, or is not what the schema says.
    """
    kind = content_type(request)
    if kind != JSON_TYPE:
        raise wrong_type(kind, allowed=JSON_TYPE)
    received = bytearray()
    async for block in receive(request, max_bytes=limits.max_json_bytes, limit="max_json_bytes", limits=limits):
        received += block
    return parse(bytes(received), schema)


def parse(text: bytes, schema: type[Body]) -> Body:
    """Some JSON as a checked object.

    Raises:
        BadRequestError: It is no JSON, nested too deeply, or not what the schema says.
    """
    try:
        return schema.model_validate_json(text)
    except ValidationError as error:
        raise BadRequestError(problems=[explain(each["loc"], each["msg"]) for each in error.errors()]) from error


def explain(place: tuple[int | str, ...], message: str) -> str:
    """One finding of pydantic: the key and what is wrong with it; what was met may be long and is not shown."""
    key = ".".join(str(part)[:40] for part in place)
    return f"'{key}': {message}" if key else message


def content_type(request: Request) -> str:
    """The media type of a body, without its parameters."""
    return request.headers.get("content-type", "none").partition(";")[0].strip().lower()[:100]


def wrong_type(got: str, *, allowed: str) -> RequestError:
    """Build the error of a body whose type is not read."""
    return RequestError(
        f"The body has the type '{got}'; read is {allowed}. Set the header Content-Type to that.", kind="content_type"
    )


async def receive(request: Request, *, max_bytes: int, limit: str, limits: ServeLimits) -> AsyncIterator[bytes]:
    """The blocks of a body: the declared length is checked first, and what comes is counted.

    Raises:
        RequestError: It has too many bytes, or says so, or did not arrive in time.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and (len(declared) > 15 or int(declared) > max_bytes):
        raise _too_large(declared[:30], allowed=max_bytes, limit=limit)
    count = 0
    stream = request.stream()
    deadline = asyncio.get_running_loop().time() + limits.upload_seconds
    while (block := await _next_block(stream, deadline=deadline, limits=limits)) is not None:
        count += len(block)
        if count > max_bytes:
            raise _too_large(f"more than {max_bytes:,}", allowed=max_bytes, limit=limit)
        yield block


def _too_large(got: str, *, allowed: int, limit: str) -> RequestError:
    return RequestError(
        f"The request holds {got} bytes; the limit is {allowed:,}. "
        f"Cut or shrink what is sent, or let the server raise '{limit}'.",
        kind="body_too_large",
    )


async def _next_block(stream: AsyncGenerator[bytes, None], *, deadline: float, limits: ServeLimits) -> bytes | None:
    try:
        async with asyncio.timeout_at(deadline):
            return await anext(stream, None)
    except TimeoutError as error:
        raise RequestError(
            f"The body did not arrive within {limits.upload_seconds:g} seconds. Use a faster line or less data.",
            kind="slow_request",
        ) from error
    except ClientDisconnect as error:
        raise BadRequestError(problems=["the client went away"]) from error


@asynccontextmanager
async def receive_form(request: Request, *, limits: ServeLimits) -> AsyncIterator[Form]:
    """A form with its files on disk, which are gone when the block ends, however it ends.

    Raises:
        RequestError: It, or its part `request`, has too many bytes, or it did not arrive in time.
        BadRequestError: It is no form, or has other parts than `request` and `file`, or too many.
        EmptyMediaError: A file has zero bytes.
    """
    _, options = parse_options_header(request.headers.get("content-type", ""))
    boundary = options.get(b"boundary")
    if not boundary:
        raise BadRequestError(problems=["the header Content-Type of the form names no boundary"])
    with tempfile.TemporaryDirectory(prefix="fieldmark-upload-") as folder, _Parts(Path(folder), limits) as parts:
        max_bytes = limits.max_body_bytes + limits.max_json_bytes + FORM_OVERHEAD_BYTES
        try:
            parser = MultipartParser(boundary, parts.callbacks())  # type: ignore[arg-type]  # a TypedDict of its own
            async for block in receive(request, max_bytes=max_bytes, limit="max_body_bytes", limits=limits):
                # A block is at most 64 KiB, and the page cache takes it: no thread for so little.
                parser.write(block)
            parser.finalize()
        except FormParserError as error:
            raise BadRequestError(problems=["the form is damaged or cut off"]) from error
        try:
            yield parts.finish()
        except MediaError as error:  # names the part, not the server's own folder
            error.args = (str(error).replace(f"{folder}{os.sep}", ""),)
            raise


@dataclass(slots=True)
class _Header:
    """The header that is being received."""

    name: bytearray = field(default_factory=bytearray)
    value: bytearray = field(default_factory=bytearray)


@final
class _Parts:
    """Takes the parts of a form as they stream in: files to the folder, the part `request` to memory."""

    def __init__(self, folder: Path, limits: ServeLimits) -> None:
        self._folder = folder
        self._limits = limits
        self._header = _Header()
        self._disposition = b""
        self._request: bytearray | None = None
        self._files: list[Path] = []
        self._file: BinaryIO | None = None
        self._is_complete = False

    def __enter__(self) -> "_Parts":
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def callbacks(self) -> dict[str, object]:
        """What the parser calls."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._header.name.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._header.value.extend(data[start:end]),
            "on_header_end": self._end_header,
            "on_headers_finished": self._open,
            "on_part_data": self._write,
            "on_part_end": self._close,
            "on_end": self._complete,
        }

    def finish(self) -> Form:
        """What was received.

        Raises:
            BadRequestError: The form ended too early or holds no file.
            EmptyMediaError: A file has zero bytes.
        """
        if not self._is_complete:
            raise BadRequestError(problems=["the form is cut off: its last boundary is missing"])
        if not self._files:
            raise BadRequestError(problems=["the form has no part named 'file'; send JSON where there is no file"])
        for path in self._files:
            if path.stat().st_size == 0:
                raise EmptyMediaError(path=path, reason="it has zero bytes")
        return Form(bytes(self._request or b"{}"), tuple(self._files))

    def _begin(self) -> None:
        self._disposition = b""

    def _end_header(self) -> None:
        if bytes(self._header.name).strip().lower() == b"content-disposition":
            self._disposition = bytes(self._header.value)
        self._header = _Header()

    def _open(self) -> None:
        _, options = parse_options_header(self._disposition)
        name = options.get(b"name", b"")
        if name == b"request" and self._request is None:
            self._request = bytearray()
        elif name == b"file" and len(self._files) < self._limits.max_files:
            # Of the client's own name only a plain extension is kept: no path from outside is ever opened.
            suffix = Path(options.get(b"filename", b"").decode("latin-1").replace("\x00", "")).suffix
            path = self._folder / f"file-{len(self._files) + 1}{suffix if _SUFFIX.fullmatch(suffix) else ''}"
            self._files.append(path)
            self._file = path.open("wb")
        else:
            allowed = f"one part 'request' and 1 to {self._limits.max_files} parts 'file'"
            raise BadRequestError(problems=[f"the form may hold {allowed}; met another part or one too many"])

    def _write(self, data: bytes, start: int, end: int) -> None:
        if self._file is not None:
            self._file.write(data[start:end])
        elif self._request is not None:
            self._request += data[start:end]
            if len(self._request) > self._limits.max_json_bytes:
                allowed = self._limits.max_json_bytes
                raise _too_large(f"more than {allowed:,}", allowed=allowed, limit="max_json_bytes")

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _complete(self) -> None:
        self._is_complete = True
