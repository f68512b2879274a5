"""The handlers of what is seen and heard: media, thumbnails, spectrograms, waveforms."""

from collections.abc import Callable
from typing import Annotated

from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from fieldmark.api.delivery import deliver, media_gone, media_type, open_media
from fieldmark.api.schemas import WaveformAnswer
from fieldmark.api.service import Service, service_of
from fieldmark.errors import MissingFileError, OutOfRangeError
from fieldmark.media.preview import Stretch, draw_spectrogram, draw_thumbnail, measure_waveform
from fieldmark.types import Item

HEAD_BYTES = 64
KEPT = {"cache-control": "private, max-age=300"}

Seconds = Annotated[float | None, Query(ge=0, allow_inf_nan=False, description="in the file's own time")]


async def send_media(request: Request, item_id: str) -> Response:
    """The file of an item, whole or one range of bytes, with a type told by its content."""
    service = service_of(request)
    item = (await service.lookup_room.run(lambda: service.stored_item(item_id))).item
    file, facts = await service.lookup_room.run(lambda: open_media(item))
    kind = media_type(file.read(HEAD_BYTES), medium=item.medium)
    return deliver(request, file, facts=facts, kind=kind)


async def send_thumbnail(
    request: Request,
    item_id: str,
    pixels: Annotated[int, Query(ge=16, description="side of the square")] = 256,
) -> Response:
    """A square JPEG of a photo or a video."""
    service = service_of(request)
    check_side("pixels", pixels, service)

    def draw(item: Item) -> bytes:
        return draw_thumbnail(item, side_pixels=pixels, limits=service.preview_limits)

    made = await service.preview_room.run(lambda: _kept(service, item_id, ("thumbnail", pixels), draw))
    return Response(made, media_type="image/jpeg", headers=KEPT)


async def send_spectrogram(
    request: Request,
    item_id: str,
    start_seconds: Seconds = None,
    end_seconds: Seconds = None,
    width: Annotated[int, Query(ge=16, description="pixels")] = 640,
    height: Annotated[int, Query(ge=16, description="pixels")] = 256,
) -> Response:
    """A PNG of a stretch of sound: time from left to right, 0 Hz at the bottom, 11,025 Hz at the top."""
    service = service_of(request)
    check_side("width", width, service)
    check_side("height", height, service)
    stretch = Stretch(start_seconds, end_seconds)

    def draw(item: Item) -> bytes:
        return draw_spectrogram(item, stretch, size=(width, height), limits=service.preview_limits)

    made = await service.preview_room.run(
        lambda: _kept(service, item_id, ("spectrogram", stretch, width, height), draw)
    )
    return Response(made, media_type="image/png", headers=KEPT)


async def send_waveform(
    request: Request,
    item_id: str,
    points: Annotated[int, Query(ge=1)] = 800,
    start_seconds: Seconds = None,
    end_seconds: Seconds = None,
) -> Response:
    """The outline of a sound."""
    service = service_of(request)
    if points > service.limits.max_points:
        raise OutOfRangeError(name="points", got=points, smallest=1, largest=service.limits.max_points)
    stretch = Stretch(start_seconds, end_seconds)

    def measure(item: Item) -> bytes:
        found = measure_waveform(item, stretch, point_count=points, limits=service.preview_limits)
        answer = WaveformAnswer(duration_seconds=found.duration_seconds, low=list(found.low), high=list(found.high))
        return answer.model_dump_json().encode()

    made = await service.preview_room.run(lambda: _kept(service, item_id, ("waveform", stretch, points), measure))
    return Response(made, media_type="application/json", headers=KEPT)


def check_side(name: str, pixels: int, service: Service) -> None:
    """Checks a side of a picture.

    Raises:
        OutOfRangeError: It is too long.
    """
    if pixels > service.limits.max_preview_pixels:
        raise OutOfRangeError(name=name, got=pixels, smallest=16, largest=service.limits.max_preview_pixels)


def _kept(service: Service, item_id: str, what: tuple[object, ...], make: Callable[[Item], bytes]) -> bytes:
    """What is drawn of an item; drawn anew where the item's content has changed."""
    stored = service.stored_item(item_id)
    try:
        return service.cache.get_or_make((stored.content_hash, item_id, what), lambda: make(stored.item))
    except MissingFileError as error:
        raise media_gone(item_id) from error
