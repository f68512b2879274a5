"""Files of items to clients: whole or one range of bytes, of a type told by their content."""

import asyncio
import os
import re
import stat
from collections.abc import AsyncIterator
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path
from typing import BinaryIO

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from fieldmark.errors import RangeError, RequestError
from fieldmark.media.preview import nothing_to_show
from fieldmark.types import Item, Medium

BLOCK_BYTES = 256 * 1024
OPAQUE_TYPE = "application/octet-stream"

# By how files begin. Never a type that a browser runs: no HTML, no SVG, no script.
_SIGNATURES: dict[re.Pattern[bytes], dict[Medium, str]] = {
    re.compile(pattern, re.DOTALL): types
    for pattern, types in {
        rb"\xff\xd8\xff": {Medium.IMAGE: "image/jpeg"},
        rb"\x89PNG\r\n\x1a\n": {Medium.IMAGE: "image/png"},
        rb"GIF8[79]a": {Medium.IMAGE: "image/gif", Medium.VIDEO: "image/gif"},
        rb"RIFF.{4}WEBP": {Medium.IMAGE: "image/webp"},
        rb"\x00{3}.ftyp(avif|avis)": {Medium.IMAGE: "image/avif"},
        rb"BM": {Medium.IMAGE: "image/bmp"},
        rb"II[*+]\x00|MM\x00[*+]": {Medium.IMAGE: "image/tiff"},
        rb"RIFF.{4}WAVE|RF64.{4}WAVE": {Medium.AUDIO: "audio/wav"},
        rb"fLaC": {Medium.AUDIO: "audio/flac"},
        rb"OggS": {Medium.AUDIO: "audio/ogg", Medium.VIDEO: "video/ogg"},
        rb".{4}(ftyp|moov|mdat|wide|skip|free)": {Medium.AUDIO: "audio/mp4", Medium.VIDEO: "video/mp4"},
        rb"\x1aE\xdf\xa3": {Medium.AUDIO: "audio/webm", Medium.VIDEO: "video/webm"},
        rb"RIFF.{4}AVI ": {Medium.VIDEO: "video/x-msvideo"},
        rb"ID3|\xff[\xe2\xe3\xf2\xf3\xfa\xfb]": {Medium.AUDIO: "audio/mpeg"},
        rb"\xff[\xf0\xf1\xf8\xf9]": {Medium.AUDIO: "audio/aac"},
    }.items()
}
_RANGE = re.compile(r"bytes=\s*(\d{0,18})-(\d{0,18})\s*")


@dataclass(frozen=True, slots=True)
class Range:
    """A part of a file: its first byte and the byte behind its last."""

    start: int
    stop: int


def media_type(head: bytes, *, medium: Medium) -> str:
    """The media type of a file that begins so, as an item of some medium."""
    if medium is Medium.TEXT:
        return "text/plain; charset=utf-8"
    found = next((types for pattern, types in _SIGNATURES.items() if pattern.match(head)), {})
    if medium is Medium.AUDIO and Medium.IMAGE in found:
        return found[Medium.IMAGE]  # a picture of a spectrogram
    return found.get(medium, OPAQUE_TYPE)


def parse_range(header: str | None, *, size: int) -> Range | None:
    """The range that is asked for, as RFC 9110 says; None sends the whole file.

    What is no range of bytes is passed over, and so are several at once: both are allowed by RFC 9110.

    Raises:
        RangeError: The range lies outside the file.
    """
    match = _RANGE.fullmatch(header or "")
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:  # the last so many bytes
        start, stop = max(0, size - int(match[2])), size
        is_inside = int(match[2]) > 0 and size > 0
    else:
        start = int(match[1])
        stop = min(size, int(match[2]) + 1) if match[2] else size
        if match[2] and int(match[2]) < start:
            return None
        is_inside = start < size
    if not is_inside:
        raise RangeError(got=(header or "")[:60], size=size)
    return Range(start, stop)


def media_gone(item_id: str) -> RequestError:
    """Build the error of an item whose file is not where the gallery says."""
    return RequestError(
        f"The file of the item '{item_id}' is gone. Put it back, or run `fieldmark index` again.", kind="media_gone"
    )


def open_media(item: Item) -> tuple[BinaryIO, os.stat_result]:
    """The open file of an item, and what the system says of it.

    Raises:
        RequestError: The item has no file, or several, or the file is not there any more, or is no plain file.
    """
    if item.path is None or "*" in item.path.name:
        raise nothing_to_show(item.item_id, wanted="file")
    try:
        file = _open_plain(item.path)
    except (OSError, ValueError) as error:
        raise media_gone(item.item_id) from error
    facts = os.fstat(file.fileno())
    if not stat.S_ISREG(facts.st_mode):
        file.close()
        raise media_gone(item.item_id)
    return file, facts


def _open_plain(path: Path) -> BinaryIO:
    """Opens without waiting, so that a pipe in a file's place never holds a thread."""
    return os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb")


def deliver(request: Request, file: BinaryIO, *, facts: os.stat_result, kind: str) -> Response:
    """The answer that sends an open file, or a part of it, and closes it.

    Raises:
        RangeError: The range lies outside the file; the file is closed.
    """
    size, tag = facts.st_size, f'"{facts.st_mtime_ns:x}-{facts.st_size:x}"'
    date = formatdate(facts.st_mtime, usegmt=True)
    headers = {"etag": tag, "last-modified": date, "accept-ranges": "bytes", "cache-control": "private, no-cache"}
    if tag in [each.strip() for each in request.headers.get("if-none-match", "").split(",")]:
        file.close()
        return Response(status_code=304, headers=headers)
    wanted = request.headers.get("range")
    if request.headers.get("if-range", tag) not in {tag, date}:
        wanted = None
    try:
        part = parse_range(wanted, size=size) if request.method == "GET" else None
    except RangeError:
        file.close()
        raise
    status = 200
    if part is None:
        part = Range(0, size)
    else:
        status = 206
        headers["content-range"] = f"bytes {part.start}-{part.stop - 1}/{size}"
    headers["content-length"] = str(part.stop - part.start)
    if request.method == "HEAD":
        file.close()
        return Response(headers=headers, media_type=kind)
    return StreamingResponse(_blocks(file, part), status_code=status, headers=headers, media_type=kind)


async def _blocks(file: BinaryIO, part: Range) -> AsyncIterator[bytes]:
    try:
        await asyncio.to_thread(file.seek, part.start)
        left = part.stop - part.start
        while left > 0:
            block = await asyncio.to_thread(file.read, min(BLOCK_BYTES, left))
            if not block:
                return  # the file was cut meanwhile; the client sees that bytes are missing
            left -= len(block)
            yield block
    finally:
        file.close()
