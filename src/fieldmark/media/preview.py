"""Preview an item: a thumbnail, a spectrogram, a waveform."""

import io
import math
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Float32
from PIL import Image

from fieldmark.errors import MediaError, OutOfRangeError, RequestError
from fieldmark.media.container import find_sound_stream, open_container
from fieldmark.media.loaders import load_segments
from fieldmark.media.pictures import JPEG_QUALITY, draw_content, paint_spectrogram
from fieldmark.types import AudioContent, Decoding, Form, Item, MediaLimits, Medium, Segment, SpectrogramContent

SPECTROGRAM_HZ = 22_050
"""Sample rate of the sound of a spectrogram, which shows frequencies up to half of it."""

_WAVEFORM_HZ = 8_000
_BLOCK_SECONDS = 30.0  # sound of a waveform in memory at once
_CACHED_TRACKS = 2**16  # videos whose sound track was looked up; every list of hits asks again


@dataclass(frozen=True, slots=True)
class _Waveform:
    """The outline of a sound: the lowest and highest sample of each of its equal parts."""

    duration_seconds: float
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class TimeRange:
    """A part of a file in time; None stands for the beginning and the end of the file."""

    start_seconds: float | None = None
    end_seconds: float | None = None


def draw_thumbnail(item: Item, *, side_pixels: int, limits: MediaLimits) -> bytes:
    """Return a square JPEG of a photo, or of a frame from the beginning of a video.

    Raises:
        MediaError: The file cannot be read.
        RequestError: A text or a sound has no thumbnail.
    """
    if item.medium not in {Medium.IMAGE, Medium.VIDEO}:
        raise refuse_to_show(item.item_id, wanted="picture")
    decoding = Decoding(side_pixels=side_pixels, segment_seconds=4.0, frames_per_segment=1)
    segment = _first_segment(item, decoding=decoding, limits=limits)
    file = io.BytesIO()
    draw_content(segment.content, side_pixels).convert("RGB").save(file, "JPEG", quality=JPEG_QUALITY)
    return file.getvalue()


def draw_spectrogram(item: Item, time_range: TimeRange, *, size: tuple[int, int], limits: MediaLimits) -> bytes:
    """Return a PNG of a part of a sound, time from left to right, 0 Hz at the bottom.

    Args:
        size: Width and height, pixels.
        limits: `max_segment_seconds` is the longest time range; without an end, the picture ends there.

    Raises:
        MediaError: The file cannot be read.
        RequestError: The item has no sound.
        OutOfRangeError: The time range is empty, too long or outside the item.
    """
    sound_item = _restrict(_take_sound(item), time_range, longest=limits.max_segment_seconds)
    decoding = Decoding(sample_rate_hz=SPECTROGRAM_HZ, segment_seconds=limits.max_segment_seconds)
    content = _first_segment(sound_item, decoding=decoding, limits=limits).content
    if isinstance(content, SpectrogramContent):
        image = Image.fromarray(content.pixels.permute(1, 2, 0).numpy())
    else:
        assert isinstance(content, AudioContent)  # noqa: S101 - what the loader of sound gives
        image = paint_spectrogram(content, hop_length=max(16, len(content.waveform) // (2 * size[0])))
    file = io.BytesIO()
    image.resize(size, Image.Resampling.BILINEAR).save(file, "PNG")
    return file.getvalue()


def measure_waveform(item: Item, time_range: TimeRange, *, point_count: int, limits: MediaLimits) -> _Waveform:
    """Return the outline of a sound.

    Args:
        limits: `max_segment_seconds` is the longest time range.

    Raises:
        MediaError: The file cannot be read, or the sound is too long and no time range was given.
        RequestError: The item has no sound.
        OutOfRangeError: The time range is empty, too long or outside the item.
    """
    sound_item = _take_sound(item)
    if item.form is Form.SPECTROGRAM:
        raise refuse_to_show(item.item_id, wanted="sound")
    if time_range != TimeRange():
        sound_item = _restrict(sound_item, time_range, longest=limits.max_segment_seconds)
    decoding = Decoding(sample_rate_hz=_WAVEFORM_HZ, segment_seconds=_BLOCK_SECONDS)
    limits = replace(limits, max_seconds=min(limits.max_seconds, limits.max_segment_seconds))
    samples = _join(sound_item, decoding=decoding, limits=limits)
    edges = np.linspace(0, len(samples), min(point_count, len(samples)) + 1).astype(np.int64)[:-1]
    return _Waveform(
        duration_seconds=len(samples) / _WAVEFORM_HZ,
        low=tuple(np.minimum.reduceat(samples, edges).astype(np.float64).round(4).tolist()),
        high=tuple(np.maximum.reduceat(samples, edges).astype(np.float64).round(4).tolist()),
    )


def has_sound(item: Item, *, limits: MediaLimits) -> bool:
    """Tell whether an item is a sound or a video with a sound track."""
    if item.medium is Medium.AUDIO:
        return item.form is not Form.SPECTROGRAM
    if item.medium is not Medium.VIDEO or item.path is None or item.form is Form.FRAMES:
        return False
    try:
        facts = item.path.stat()
        return _has_sound_track(item.path, (facts.st_mtime_ns, facts.st_size), limits)
    except (OSError, MediaError):
        return False


@lru_cache(maxsize=_CACHED_TRACKS)
def _has_sound_track(path: Path, stamp: tuple[int, int], limits: MediaLimits) -> bool:  # noqa: ARG001 - part of the key
    with open_container(path, limits=limits) as container:
        return find_sound_stream(container) is not None


def refuse_to_show(item_id: str, *, wanted: str) -> RequestError:
    """Build the error of an item that has nothing of the kind that was asked for."""
    return RequestError(
        f"The item '{item_id}' has no {wanted} that can be shown. Choose one of another medium.", kind="refuse_to_show"
    )


def _take_sound(item: Item) -> Item:
    """Return the item as a sound; of a video, its sound track."""
    if item.medium not in {Medium.AUDIO, Medium.VIDEO} or item.form is Form.FRAMES:
        raise refuse_to_show(item.item_id, wanted="sound")
    return replace(item, medium=Medium.AUDIO)


def _restrict(item: Item, time_range: TimeRange, *, longest: float) -> Item:
    """Restrict an item to a time range inside its own."""
    first, last = item.start_seconds or 0.0, item.end_seconds or math.inf
    start = first if time_range.start_seconds is None else time_range.start_seconds
    if not first <= start < last:
        raise OutOfRangeError(name="start_seconds", got=start, smallest=first, largest=last)
    end = min(last, start + longest) if time_range.end_seconds is None else time_range.end_seconds
    if not start < end <= start + longest:
        raise OutOfRangeError(name="end_seconds", got=end, smallest=start, largest=start + longest)
    return replace(item, start_seconds=start, end_seconds=min(end, last))


def _first_segment(item: Item, *, decoding: Decoding, limits: MediaLimits) -> Segment:
    segments = load_segments(item, decoding=decoding, limits=limits)
    try:
        return next(segments)
    finally:
        segments.close()  # type: ignore[attr-defined]  # a generator, which holds the file open


def _join(item: Item, *, decoding: Decoding, limits: MediaLimits) -> Float32[np.ndarray, " time"]:
    """Join the samples of all segments, overlaps only once."""
    pieces: list[np.ndarray] = []
    end = item.start_seconds or 0.0
    for segment in load_segments(item, decoding=decoding, limits=limits):
        assert isinstance(segment.content, AudioContent)  # noqa: S101 - what the loader of sound gives
        samples = segment.content.waveform.numpy()
        start = segment.start_seconds or 0.0
        overlap = (
            round((end - start) * decoding.sample_rate_hz) if pieces else 0
        )  # the last segment ends with the sound
        pieces.append(samples[max(0, overlap) :])
        end = segment.end_seconds or end
    joined: Float32[np.ndarray, " time"] = np.concatenate(pieces)
    return joined
