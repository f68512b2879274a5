"""Routes of what can be seen and heard: media files, thumbnails, spectrograms, waveforms."""

import os
import stat
from collections.abc import Callable
from typing import Annotated

from fastapi import Query
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.staticfiles import NotModifiedResponse, StaticFiles
from starlette.types import Message

from fieldmark.api.schemas import WaveformAnswer
from fieldmark.api.service import Service, get_service
from fieldmark.errors import MissingFileError, OutOfRangeError, RangeError, RequestError, TooLargeError
from fieldmark.media.preview import (
    TimeRange,
    decode_foreign_text,
    draw_spectrogram,
    draw_thumbnail,
    measure_waveform,
    refuse_to_show,
)
from fieldmark.media.signatures import HEAD_BYTES, choose_mime_type
from fieldmark.types import Form, Item, Medium

_CACHED = {"cache-control": "private, max-age=300"}

Seconds = Annotated[float | None, Query(ge=0, allow_inf_nan=False, description="in the file's own time")]


async def send_media(request: Request, item_id: str) -> Response:
    """Send the file of an item, whole or one range of bytes, with a type told by its content.

    A text that is a document, or in another encoding than UTF-8, is sent as the text that was read.
    """
    service = get_service(request)
    item, response = await service.lookup_pool.run(lambda: _find_media(service, item_id))
    if item.medium is Medium.TEXT:
        limits = service.preview_limits
        text = await service.preview_pool.run(lambda: decode_foreign_text(item, limits=limits))
        if text is not None:
            headers = {"cache-control": "private, no-cache"}
            return Response(text, media_type="text/plain; charset=utf-8", headers=headers)
    if StaticFiles(check_dir=False).is_not_modified(response.headers, request.headers):
        return NotModifiedResponse(response.headers)
    await _settle_range(request, response)
    return response


def _find_media(service: Service, item_id: str) -> tuple[Item, FileResponse]:
    item = service.check_served(service.get_item(item_id))
    return item, open_media(item)


def open_media(item: Item) -> FileResponse:
    """Return the answer that sends the file of an item.

    Raises:
        RequestError: The item has no file, or several, or the file is not there any more, or is no plain file.
    """
    if item.path is None or item.form is Form.FRAMES:
        raise refuse_to_show(item.item_id, wanted="file")
    try:
        # Opened without waiting, so that a pipe instead of a file never holds a thread.
        with os.fdopen(os.open(item.path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as file:
            facts = os.fstat(file.fileno())
            head = file.read(HEAD_BYTES) if stat.S_ISREG(facts.st_mode) else None
    except (OSError, ValueError) as error:
        raise _make_gone_error(item.item_id) from error
    if head is None:
        raise _make_gone_error(item.item_id)
    kind = choose_mime_type(head, medium=item.medium)
    return FileResponse(item.path, media_type=kind, stat_result=facts, headers={"cache-control": "private, no-cache"})


async def _settle_range(request: Request, response: FileResponse) -> None:
    """Leave to `FileResponse` only a range that it sends; the whole file is sent for one that RFC 9110 lets us ignore.

    Starlette answers a range that lies outside with 416 in plain text, and refuses a malformed one; it is asked for
    the head alone, to give the first the shape of all errors and to ignore the second. Several ranges at once, which
    no player needs, are ignored too.

    Raises:
        RangeError: The range lies outside the file.
    """
    wanted = request.headers.get("range")
    if wanted is None:
        return
    statuses = []

    async def keep_status(message: Message) -> None:
        statuses.append(message.get("status"))

    await response({**request.scope, "method": "HEAD"}, request.receive, keep_status)
    if statuses[0] == 416 and request.method == "GET":
        raise RangeError(got=wanted[:60], size=int(response.headers["content-length"]))
    if statuses[0] != 206 or request.method != "GET" or "," in wanted:
        request.scope["headers"] = [each for each in request.scope["headers"] if each[0] != b"range"]


async def send_thumbnail(
    request: Request,
    item_id: str,
    pixels: Annotated[int, Query(ge=16, description="side of the square; the longest side where whole is set")] = 256,
    at_seconds: Annotated[Seconds, Query(description="of a video: the time of the frame")] = None,
    whole: Annotated[bool, Query(description="nothing is cut off to make a square")] = False,  # noqa: FBT002 - in a URL
) -> Response:
    """Send a JPEG of a photo or of a frame of a video, by default a square."""
    service = get_service(request)
    _check_side("pixels", pixels, service)

    def draw(item: Item) -> bytes:
        return draw_thumbnail(
            item, side_pixels=pixels, limits=service.preview_limits, at_seconds=at_seconds, is_cropped=not whole
        )

    key = ("thumbnail", pixels, at_seconds, whole)
    content = await service.preview_pool.run(lambda: _draw_once(service, item_id, key, draw))
    return Response(content, media_type="image/jpeg", headers=_CACHED)


async def send_spectrogram(  # noqa: PLR0913, PLR0917 - each is a parameter of the URL
    request: Request,
    item_id: str,
    start_seconds: Seconds = None,
    end_seconds: Seconds = None,
    width: Annotated[int, Query(ge=16, description="pixels")] = 640,
    height: Annotated[int, Query(ge=16, description="pixels")] = 256,
    floor_db: Annotated[float, Query(ge=20, le=100, description="below the loudest by this much all is dark")] = 60.0,
) -> Response:
    """Send a spectrogram as PNG: time from left to right, 0 Hz at the bottom, 11,025 Hz at the top."""
    service = get_service(request)
    _check_side("width", width, service)
    _check_side("height", height, service)
    time_range = TimeRange(start_seconds, end_seconds)

    def draw(item: Item) -> bytes:
        return draw_spectrogram(
            item, time_range, size=(width, height), limits=service.preview_limits, floor_db=floor_db
        )

    key = ("spectrogram", time_range, width, height, floor_db)
    content = await service.preview_pool.run(lambda: _draw_once(service, item_id, key, draw))
    return Response(content, media_type="image/png", headers=_CACHED)


async def send_waveform(
    request: Request,
    item_id: str,
    points: Annotated[int, Query(ge=1)] = 800,
    start_seconds: Seconds = None,
    end_seconds: Seconds = None,
) -> Response:
    """Send the outline of a sound: the lowest and the highest sample of each of its equal parts."""
    service = get_service(request)
    if points > service.limits.max_points:
        raise OutOfRangeError(name="points", got=points, smallest=1, largest=service.limits.max_points)
    time_range = TimeRange(start_seconds, end_seconds)

    def measure(item: Item) -> bytes:
        found = measure_waveform(item, time_range, point_count=points, limits=service.preview_limits)
        answer = WaveformAnswer(duration_seconds=found.duration_seconds, low=list(found.low), high=list(found.high))
        return answer.model_dump_json().encode()

    key = ("waveform", time_range, points)
    content = await service.preview_pool.run(lambda: _draw_once(service, item_id, key, measure))
    return Response(content, media_type="application/json", headers=_CACHED)


def _check_side(name: str, pixels: int, service: Service) -> None:
    """Check a side of a picture.

    Raises:
        OutOfRangeError: It is too long.
    """
    if pixels > service.limits.max_preview_pixels:
        raise OutOfRangeError(name=name, got=pixels, smallest=16, largest=service.limits.max_preview_pixels)


def _draw_once(service: Service, item_id: str, key: tuple[object, ...], draw: Callable[[Item], bytes]) -> bytes:
    """Return what is drawn of an item; it is drawn again where the item's content has changed."""
    stored = service.get_item(item_id)
    try:
        item = service.check_served(stored)
        return service.make_once((stored.content_hash, item_id, key), lambda: draw(item))
    except MissingFileError as error:
        raise _make_gone_error(item_id) from error
    except TooLargeError as error:
        error.name_limit("max_preview_seconds")
        raise


def _make_gone_error(item_id: str) -> RequestError:
    return RequestError(
        f"The file of the item '{item_id}' is gone. Restore it, or run `fieldmark index` again.", kind="media_gone"
    )
