"""Turn an item into what a page can show: a picture, a player, the text."""

import base64
import io
import textwrap
from dataclasses import dataclass

import av
import numpy as np
import soundfile
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from fieldmark.errors import MediaError
from fieldmark.media.loaders import load_segments
from fieldmark.media.spectrogram import compute_power_spectrogram, convert_to_decibels
from fieldmark.types import (
    AudioContent,
    Content,
    Decoding,
    ImageContent,
    Item,
    MediaLimits,
    SpectrogramContent,
    TextContent,
    VideoContent,
)

_LOUDNESS_COLORS = np.array([(18, 24, 38), (42, 72, 110), (70, 140, 140), (190, 200, 120), (255, 244, 200)])
_FLOOR_DB = 60.0
_CARD_INK, _CARD_PAPER = "#22302b", "#efece3"

_PLAYED_SECONDS = 8.0  # longer sounds and videos are cut
_FRAMES_PER_SECOND = 6
_SHOWN_CHARACTERS = 600
JPEG_QUALITY = 78


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
            return paint_spectrogram(content, hop_length=128).resize((side_pixels, side_pixels))
        case TextContent(text):
            return _draw_words(text, side_pixels)


def _crop(pixels: np.ndarray, side_pixels: int) -> Image.Image:
    image = Image.fromarray(pixels)
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side)).resize((side_pixels, side_pixels))


def paint_spectrogram(sound: AudioContent, *, hop_length: int) -> Image.Image:
    """Return the spectrogram of a sound in colors, one column per frame, 0 Hz at the bottom."""
    power = compute_power_spectrogram(sound.waveform, n_fft=1024, hop_length=hop_length)
    level = convert_to_decibels(power, floor_db=_FLOOR_DB)
    loudness = (1 + level.flip(0).numpy() / _FLOOR_DB).clip(0, 1)
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
    image.convert("RGB").save(file, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return make_data_uri("image/jpeg", file.getvalue())


def make_data_uri(mime_type: str, content: bytes) -> str:
    """Return a file as a data URI."""
    return f"data:{mime_type};base64,{base64.b64encode(content).decode()}"
