"""Show an item: a thumbnail, a spectrogram, a waveform; or all that a page without a server shows of it."""

import base64
import io
import math
import textwrap
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import av
import numpy as np
import soundfile
from jaxtyping import Float32, UInt8
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from fieldmark.errors import MediaError, OutOfRangeError, RequestError
from fieldmark.media.audio import compute_power_spectrogram, convert_to_decibels
from fieldmark.media.container import find_sound_stream, open_container
from fieldmark.media.file import convert_decoder_errors
from fieldmark.media.loaders import load_segments
from fieldmark.types import (
    AudioContent,
    Content,
    Decoding,
    Form,
    ImageContent,
    Item,
    MediaLimits,
    Medium,
    Segment,
    SpectrogramContent,
    TextContent,
    VideoContent,
)

# ---------------------------------------------------------------- thumbnail, spectrogram and waveform

SPECTROGRAM_HZ = 22_050
"""Sample rate of the sound of a spectrogram, which shows frequencies up to half of it."""

_WAVEFORM_HZ = 8_000
_BLOCK_SECONDS = 30.0  # sound of a waveform in memory at once
_PDF_MARK = b"%PDF-"
_FRAME_SECONDS = 0.25  # around the frame of a moment
_CACHED_TRACKS = 2**16  # videos whose sound track was looked up; every list of hits asks again


@dataclass(frozen=True, slots=True)
class Waveform:
    """The outline of a sound: the lowest and highest sample of each of its equal parts."""

    duration_seconds: float
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class TimeRange:
    """A part of a file in time; None stands for the beginning and the end of the file."""

    start_seconds: float | None = None
    end_seconds: float | None = None


def draw_thumbnail(
    item: Item, *, side_pixels: int, limits: MediaLimits, at_seconds: float | None = None, is_cropped: bool = True
) -> bytes:
    """Return a JPEG of a photo, or of a frame of a video.

    Args:
        side_pixels: Of the square; the longest side where nothing is cut off.
        at_seconds: Time of the frame, in the file's own time; None for the beginning.
        is_cropped: Whether the middle is cut out as a square; else the whole picture is shown.

    Raises:
        MediaError: The file cannot be read.
        RequestError: A text or a sound has no thumbnail.
        OutOfRangeError: The time is outside the item.
    """
    if item.medium not in {Medium.IMAGE, Medium.VIDEO}:
        raise refuse_to_show(item.item_id, wanted="picture")
    if at_seconds is not None and item.medium is Medium.VIDEO:
        item = restrict(item, TimeRange(at_seconds), longest=_FRAME_SECONDS)
    seconds = 4.0 if at_seconds is None else _FRAME_SECONDS
    decoding = Decoding(side_pixels=side_pixels, segment_seconds=seconds, frames_per_segment=1)
    content = _first_segment(item, decoding=decoding, limits=limits).content
    picture = draw_content(content, side_pixels) if is_cropped else _draw_whole(content, side_pixels)
    file = io.BytesIO()
    picture.convert("RGB").save(file, "JPEG", quality=_JPEG_QUALITY)
    return file.getvalue()


def draw_spectrogram(
    item: Item, time_range: TimeRange, *, size: tuple[int, int], limits: MediaLimits, floor_db: float = 60.0
) -> bytes:
    """Return a PNG of a part of a sound, time from left to right, 0 Hz at the bottom.

    Args:
        size: Width and height, pixels.
        floor_db: Below the loudest by this much everything is dark.
        limits: `max_segment_seconds` is the longest time range; without an end, the picture ends there.

    Raises:
        MediaError: The file cannot be read.
        RequestError: The item has no sound.
        OutOfRangeError: The time range is empty, too long or outside the item.
    """
    sound_item = restrict(_take_sound(item, limits), time_range, longest=limits.max_segment_seconds)
    decoding = Decoding(sample_rate_hz=SPECTROGRAM_HZ, segment_seconds=limits.max_segment_seconds)
    content = _first_segment(sound_item, decoding=decoding, limits=limits).content
    if isinstance(content, SpectrogramContent):
        image = Image.fromarray(content.pixels.permute(1, 2, 0).numpy())
    else:
        assert isinstance(content, AudioContent)  # noqa: S101 - what the loader of sound gives
        hop_length = max(16, len(content.waveform) // (2 * size[0]))
        image = _paint_spectrogram(content, hop_length=hop_length, floor_db=floor_db)
    file = io.BytesIO()
    image.resize(size, Image.Resampling.BILINEAR).save(file, "PNG")
    return file.getvalue()


def measure_waveform(item: Item, time_range: TimeRange, *, point_count: int, limits: MediaLimits) -> Waveform:
    """Return the outline of a sound.

    Args:
        limits: `max_segment_seconds` is the longest time range.

    Raises:
        MediaError: The file cannot be read, or the sound is too long and no time range was given.
        RequestError: The item has no sound.
        OutOfRangeError: The time range is empty, too long or outside the item.
    """
    sound_item = _take_sound(item, limits)
    if item.form is Form.SPECTROGRAM:
        raise refuse_to_show(item.item_id, wanted="sound")
    if time_range != TimeRange():
        sound_item = restrict(sound_item, time_range, longest=limits.max_segment_seconds)
    decoding = Decoding(sample_rate_hz=_WAVEFORM_HZ, segment_seconds=_BLOCK_SECONDS)
    limits = replace(limits, max_seconds=min(limits.max_seconds, limits.max_segment_seconds))
    samples = _join(sound_item, decoding=decoding, limits=limits)
    edges = np.linspace(0, len(samples), min(point_count, len(samples)) + 1).astype(np.int64)[:-1]
    return Waveform(
        duration_seconds=len(samples) / _WAVEFORM_HZ,
        low=tuple(np.minimum.reduceat(samples, edges).astype(np.float64).round(4).tolist()),
        high=tuple(np.maximum.reduceat(samples, edges).astype(np.float64).round(4).tolist()),
    )


def decode_foreign_text(item: Item, *, limits: MediaLimits) -> bytes | None:
    """Return a text in UTF-8 whose file is a document or in another encoding; None where the file itself can be shown.

    Raises:
        MediaError: The file cannot be read.
    """
    if item.medium is not Medium.TEXT or item.path is None:
        return None
    with convert_decoder_errors(item.path), item.path.open("rb") as file:
        data = file.read(limits.max_bytes)
    if _PDF_MARK not in data[:1024]:
        with suppress(UnicodeDecodeError):
            data.decode("utf-8")
            return None
    segments = load_segments(item, decoding=Decoding(), limits=limits)
    texts = [each.content.text for each in segments if isinstance(each.content, TextContent)]
    return "\n\n".join(texts).encode()


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


def _is_silent_video(item: Item, limits: MediaLimits) -> bool:
    """Tell whether a video has no sound; one that cannot be opened is told of where it is decoded."""
    if item.path is None or item.form is Form.FRAMES:
        return False
    try:
        facts = item.path.stat()
        return not _has_sound_track(item.path, (facts.st_mtime_ns, facts.st_size), limits)
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


def _take_sound(item: Item, limits: MediaLimits) -> Item:
    """Return the item as a sound; of a video, its sound track."""
    is_silent = item.medium is Medium.VIDEO and _is_silent_video(item, limits)
    if item.medium not in {Medium.AUDIO, Medium.VIDEO} or item.form is Form.FRAMES or is_silent:
        raise refuse_to_show(item.item_id, wanted="sound")
    return replace(item, medium=Medium.AUDIO)


def restrict(item: Item, time_range: TimeRange, *, longest: float) -> Item:
    """Restrict an item to a time range inside its own."""
    first, last = item.start_seconds or 0.0, item.end_seconds or math.inf
    start = first if time_range.start_seconds is None else time_range.start_seconds
    if not first <= start < last:
        raise OutOfRangeError(name="start_seconds", got=start, smallest=first, largest=last, excluded=last)
    end = min(last, start + longest) if time_range.end_seconds is None else time_range.end_seconds
    if not start < end <= start + longest:
        raise OutOfRangeError(name="end_seconds", got=end, smallest=start, largest=start + longest, excluded=start)
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


# ---------------------------------------------------------------- cards and pictures of contents

_LOUDNESS_COLORS = np.array([(18, 24, 38), (42, 72, 110), (70, 140, 140), (190, 200, 120), (255, 244, 200)])
_FLOOR_DB = 60.0
_CARD_INK, _CARD_PAPER = "#22302b", "#efece3"

_PLAYED_SECONDS = 8.0  # longer sounds and videos are cut
_FRAMES_PER_SECOND = 6
_SHOWN_CHARACTERS = 600
_JPEG_QUALITY = 78


@dataclass(frozen=True, slots=True)
class Card:
    """The content of one item on a page; files are data URIs, so that the page needs no other file.

    Args:
        problem: Why there is nothing to show; None if there is.
    """

    picture: str | None = None
    sound: str | None = None
    clip: str | None = None
    text: str | None = None
    problem: str | None = None


def make_card(item: Item, *, side_pixels: int, with_player: bool) -> Card:
    """Return everything to show of an item, or the reason why it cannot be shown.

    Args:
        side_pixels: The side of the square picture.
        with_player: Whether a sound or a video can be played.
    """
    decoding = Decoding(
        side_pixels=side_pixels,
        segment_seconds=_PLAYED_SECONDS,
        frames_per_segment=int(_PLAYED_SECONDS * _FRAMES_PER_SECOND) if with_player else 3,
    )
    try:
        segment = next(load_segments(item, decoding=decoding, limits=MediaLimits()))
    except MediaError as error:
        return Card(problem=str(error))
    content = segment.content
    match content:
        case TextContent(text):
            return Card(text=textwrap.shorten(text, _SHOWN_CHARACTERS, placeholder=" ..."))
        case AudioContent():
            sound = _encode_sound(content) if with_player else None
            return Card(picture=_jpeg(draw_content(content, side_pixels)), sound=sound)
        case VideoContent(frames):
            seconds = (segment.end_seconds or _PLAYED_SECONDS) - (segment.start_seconds or 0.0)
            clip = _encode_clip(frames, rate=max(1, round(len(frames) / max(seconds, 0.1)))) if with_player else None
            return Card(picture=_jpeg(draw_content(content, side_pixels)), clip=clip)
        case ImageContent() | SpectrogramContent():
            return Card(picture=_jpeg(draw_content(content, side_pixels)))


def draw_content(content: Content, side_pixels: int) -> Image.Image:
    """Return a square picture of a segment: the photo, a frame, the spectrogram, or the text."""
    match content:
        case ImageContent(pixels) | SpectrogramContent(pixels):
            return _crop(pixels.permute(1, 2, 0).numpy(), side_pixels)
        case VideoContent(frames):
            return _crop(frames[len(frames) // 2].permute(1, 2, 0).numpy(), side_pixels)
        case AudioContent():
            return _paint_spectrogram(content, hop_length=128).resize((side_pixels, side_pixels))
        case TextContent(text):
            return _draw_words(text, side_pixels)


def _crop(pixels: np.ndarray, side_pixels: int) -> Image.Image:
    image = Image.fromarray(pixels)
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side)).resize((side_pixels, side_pixels))


def _draw_whole(content: Content, side_pixels: int) -> Image.Image:
    """Return a photo or a frame with nothing cut off, its longest side of the given length."""
    assert isinstance(content, ImageContent | VideoContent)  # noqa: S101 - what photos and videos are
    pixels = content.pixels if isinstance(content, ImageContent) else content.frames[len(content.frames) // 2]
    picture = Image.fromarray(pixels.permute(1, 2, 0).numpy())
    picture.thumbnail((side_pixels, side_pixels))
    return picture


def _paint_spectrogram(sound: AudioContent, *, hop_length: int, floor_db: float = _FLOOR_DB) -> Image.Image:
    """Return the spectrogram of a sound in colors, one column per frame, 0 Hz at the bottom."""
    power = compute_power_spectrogram(sound.waveform, n_fft=1024, hop_length=hop_length)
    level = convert_to_decibels(power, floor_db=floor_db)
    loudness = (1 + level.flip(0).numpy() / floor_db).clip(0, 1)
    steps = np.linspace(0, 1, len(_LOUDNESS_COLORS))
    colors = np.stack([np.interp(loudness, steps, _LOUDNESS_COLORS[:, channel]) for channel in range(3)], axis=-1)
    return Image.fromarray(colors.round().astype(np.uint8))


def _draw_words(text: str, side_pixels: int) -> Image.Image:
    card = Image.new("RGB", (side_pixels, side_pixels), _CARD_PAPER)
    shown = textwrap.shorten(text, side_pixels * 13 // 10, placeholder=" ...")
    lines = textwrap.wrap(shown, width=side_pixels * 27 // 200)
    pen = ImageDraw.Draw(card)
    pen.multiline_text((10, 10), "\n".join(lines), fill=_CARD_INK, font=ImageFont.load_default(13), spacing=4)
    return card


def _encode_sound(sound: AudioContent) -> str:
    """Encode a sound as MP3, which every browser plays."""
    file = io.BytesIO()
    soundfile.write(file, sound.waveform.numpy(), sound.sample_rate_hz, format="MP3")
    return make_data_uri("audio/mpeg", file.getvalue())


def _encode_clip(frames: UInt8[Tensor, "frame channel height width"], *, rate: int) -> str:
    """Encode frames as WebM with VP8, which every browser plays."""
    file = io.BytesIO()
    height, width = (int(side) // 2 * 2 for side in frames.shape[2:])
    with av.open(file, "w", format="webm") as container:
        stream = container.add_stream("libvpx", rate=rate, options={"crf": "24", "b": "300k", "cpu-used": "8"})
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        for frame in frames.permute(0, 2, 3, 1).numpy():
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame[:height, :width]), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return make_data_uri("video/webm", file.getvalue())


def _jpeg(image: Image.Image) -> str:
    file = io.BytesIO()
    image.convert("RGB").save(file, "JPEG", quality=_JPEG_QUALITY, optimize=True)
    return make_data_uri("image/jpeg", file.getvalue())


def make_data_uri(mime_type: str, content: bytes) -> str:
    """Return a file as a data URI."""
    return f"data:{mime_type};base64,{base64.b64encode(content).decode()}"
