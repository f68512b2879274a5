"""Items -> what a person looks at before opening one: a thumbnail, a spectrogram, a waveform."""

import io
import math
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32
from PIL import Image

from fieldmark.errors import MediaError, OutOfRangeError, RequestError
from fieldmark.media.container import find_sound_stream, open_container
from fieldmark.media.loaders import load_segments
from fieldmark.media.pictures import FLOOR_DB, JPEG_QUALITY, LOUDNESS_COLORS, draw_content
from fieldmark.media.spectrogram import compute_power_spectrogram, convert_to_decibels
from fieldmark.types import AudioContent, Decoding, Form, Item, MediaLimits, Medium, Segment, SpectrogramContent

SPECTROGRAM_HZ, WAVEFORM_HZ = 22_050, 8_000
"""Rates to which sound is brought: a spectrogram shows up to half of its own."""

WINDOW_SAMPLES = 1024
BLOCK_SECONDS = 30.0
"""Sound of a waveform that is in memory at once."""

REMEMBERED_TRACKS = 2**16
"""Videos of which it is remembered whether they have a sound track; every list of hits asks again."""


@dataclass(frozen=True, slots=True)
class Waveform:
    """How loud a sound is from place to place: the lowest and the highest sample of equal parts of its time."""

    duration_seconds: float
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a file's time; None for its beginning and its end."""

    start_seconds: float | None = None
    end_seconds: float | None = None


def draw_thumbnail(item: Item, *, side_pixels: int, limits: MediaLimits) -> bytes:
    """A square JPEG of a photo, or of the middle frame of a video's beginning.

    Raises:
        MediaError: The file cannot be read.
        RequestError: A text or a sound has no thumbnail.
    """
    if item.medium not in {Medium.IMAGE, Medium.VIDEO}:
        raise nothing_to_show(item.item_id, wanted="picture")
    decoding = Decoding(side_pixels=side_pixels, segment_seconds=4.0, frames_per_segment=1)
    segment = _first_segment(item, decoding=decoding, limits=limits)
    file = io.BytesIO()
    draw_content(segment.content, side_pixels).convert("RGB").save(file, "JPEG", quality=JPEG_QUALITY)
    return file.getvalue()


def draw_spectrogram(item: Item, stretch: Stretch, *, size: tuple[int, int], limits: MediaLimits) -> bytes:
    """A PNG of a stretch of sound, time from left to right, 0 Hz at the bottom.

    Args:
        size: Width and height, pixels.
        limits: `max_segment_seconds` is the longest stretch; where no end is given, the picture ends there.

    Raises:
        MediaError: The file cannot be read.
        RequestError: The item has no sound.
        OutOfRangeError: The stretch is empty, too long, or outside the item.
    """
    sounding = _part(_sounding(item), stretch, longest=limits.max_segment_seconds)
    decoding = Decoding(sample_rate_hz=SPECTROGRAM_HZ, segment_seconds=limits.max_segment_seconds)
    content = _first_segment(sounding, decoding=decoding, limits=limits).content
    if isinstance(content, SpectrogramContent):
        image = Image.fromarray(content.pixels.permute(1, 2, 0).numpy())
    else:
        assert isinstance(content, AudioContent)  # noqa: S101 - what the loader of sound gives
        image = _paint(content, width=size[0])
    file = io.BytesIO()
    image.resize(size, Image.Resampling.BILINEAR).save(file, "PNG")
    return file.getvalue()


def measure_waveform(item: Item, stretch: Stretch, *, point_count: int, limits: MediaLimits) -> Waveform:
    """The outline of a sound, in memory that does not grow with its length.

    Args:
        limits: `max_segment_seconds` is the longest stretch.

    Raises:
        MediaError: The file cannot be read, or the sound is longer than allowed and no stretch of it was given.
        RequestError: The item has no sound.
        OutOfRangeError: The stretch is empty, too long, or outside the item.
    """
    sounding = _sounding(item)
    if item.form is Form.SPECTROGRAM:
        raise nothing_to_show(item.item_id, wanted="sound")
    if stretch != Stretch():
        sounding = _part(sounding, stretch, longest=limits.max_segment_seconds)
    decoding = Decoding(sample_rate_hz=WAVEFORM_HZ, segment_seconds=BLOCK_SECONDS)
    limits = replace(limits, max_seconds=min(limits.max_seconds, limits.max_segment_seconds))
    samples = _join(sounding, decoding=decoding, limits=limits)
    edges = np.linspace(0, len(samples), min(point_count, len(samples)) + 1).astype(np.int64)[:-1]
    return Waveform(
        duration_seconds=len(samples) / WAVEFORM_HZ,
        low=tuple(np.minimum.reduceat(samples, edges).astype(np.float64).round(4).tolist()),
        high=tuple(np.maximum.reduceat(samples, edges).astype(np.float64).round(4).tolist()),
    )


def has_sound(item: Item, *, limits: MediaLimits) -> bool:
    """Whether there is something to hear: a sound, or a video with a sound track."""
    if item.medium is Medium.AUDIO:
        return item.form is not Form.SPECTROGRAM
    if item.medium is not Medium.VIDEO or item.path is None or item.form is Form.FRAMES:
        return False
    try:
        facts = item.path.stat()
        return _has_sound_track(item.path, (facts.st_mtime_ns, facts.st_size), limits)
    except (OSError, MediaError):
        return False


@lru_cache(maxsize=REMEMBERED_TRACKS)
def _has_sound_track(path: Path, stamp: tuple[int, int], limits: MediaLimits) -> bool:  # noqa: ARG001 - of the file as it was
    with open_container(path, limits=limits) as container:
        return find_sound_stream(container) is not None


def nothing_to_show(item_id: str, *, wanted: str) -> RequestError:
    """Build the error of an item that has nothing of the kind that was asked for."""
    return RequestError(
        f"The item '{item_id}' has no {wanted} that can be shown. Choose one of another medium.", kind="nothing_to_show"
    )


def _sounding(item: Item) -> Item:
    """The item as a sound: a video is heard, not seen."""
    if item.medium not in {Medium.AUDIO, Medium.VIDEO} or item.form is Form.FRAMES:
        raise nothing_to_show(item.item_id, wanted="sound")
    return replace(item, medium=Medium.AUDIO)


def _part(item: Item, stretch: Stretch, *, longest: float) -> Item:
    """A stretch of an item, inside the item's own times."""
    first, last = item.start_seconds or 0.0, item.end_seconds or math.inf
    start = first if stretch.start_seconds is None else stretch.start_seconds
    if not first <= start < last:
        raise OutOfRangeError(name="start_seconds", got=start, smallest=first, largest=last)
    end = min(last, start + longest) if stretch.end_seconds is None else stretch.end_seconds
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
    """The samples of all segments, each once."""
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


def _paint(sound: AudioContent, *, width: int) -> Image.Image:
    """Loudness as color; about two frames for each column of the picture, however long the sound is."""
    samples = sound.waveform
    hop = max(16, len(samples) // (2 * width))
    level: Float[torch.Tensor, "frequency frame"] = convert_to_decibels(
        compute_power_spectrogram(samples, n_fft=WINDOW_SAMPLES, hop_length=hop), floor_db=FLOOR_DB
    )
    loudness = (1 + level.flip(0).numpy() / FLOOR_DB).clip(0, 1)
    steps = np.linspace(0, 1, len(LOUDNESS_COLORS))
    colors = np.stack([np.interp(loudness, steps, LOUDNESS_COLORS[:, channel]) for channel in range(3)], axis=-1)
    return Image.fromarray(colors.round().astype(np.uint8))
