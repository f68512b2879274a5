"""Small real files of every medium, made on the spot."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from PIL import Image

from fieldmark.types import Decoding, MediaLimits

WriteImage = Callable[..., Path]
WriteVideo = Callable[..., Path]
WriteAudio = Callable[..., Path]

_VIDEO_CODECS = {
    ".wmv": "wmv2",
    ".flv": "flv1",
    ".webm": "libvpx",
    ".avi": "mpeg4",
    ".gif": "gif",
}
_SOUND_CODECS = {
    ".m4a": "aac",
    ".mp4": "aac",
    ".aac": "aac",
    ".opus": "libopus",
    ".webm": "libopus",
    ".mp3": "libmp3lame",
}


@pytest.fixture
def decoding() -> Decoding:
    return Decoding()


@pytest.fixture
def limits() -> MediaLimits:
    return MediaLimits()


@pytest.fixture
def write_image(tmp_path: Path) -> WriteImage:
    """Writes a picture: a smooth gradient unless pixels are given."""

    def write(name: str, pixels: np.ndarray | None = None, *, size: tuple[int, int] = (40, 30), **options) -> Path:
        if pixels is None:
            width, height = size
            red, green = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
            pixels = np.stack([red, green, np.full_like(red, 128)], axis=-1).astype(np.uint8)
        path = tmp_path / name
        Image.fromarray(pixels).save(path, **options)
        return path

    return write


@pytest.fixture
def write_audio(tmp_path: Path) -> WriteAudio:
    """Writes sound: a tone of 440 Hz at half amplitude unless samples ([time] or [time, channel]) are given."""

    def write(
        name: str, samples: np.ndarray | None = None, *, seconds: float = 1.0, rate: int = 48_000, **options
    ) -> Path:
        if samples is None:
            samples = 0.5 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate)
        path = tmp_path / name
        if path.suffix.lower() in _SOUND_CODECS:
            with av.open(str(path), "w") as container:
                _mux(container, _add_sound(container, samples, rate=rate, codec=_SOUND_CODECS[path.suffix.lower()]))
        else:
            soundfile.write(path, samples, rate, **options)
        return path

    return write


@pytest.fixture
def write_video(tmp_path: Path) -> WriteVideo:
    """Writes a video whose frame i is gray of brightness i * 8, so that a decoded frame tells its own number.

    `times` gives each frame its time (a changing frame rate); `sound` adds a track of 48 kHz; `turned` states a
    rotation counter-clockwise in degrees.
    """

    def write(
        name: str,
        *,
        frames: int | Sequence[np.ndarray] = 30,
        rate: int = 10,
        times: Sequence[float] | None = None,
        sound: np.ndarray | None = None,
        turned: int = 0,
        codec: str | None = None,
    ) -> Path:
        if isinstance(frames, int):
            frames = [np.full((48, 64, 3), min(255, index * 8), np.uint8) for index in range(frames)]
        path = tmp_path / name
        with av.open(str(path), "w") as container:
            codec = codec or _VIDEO_CODECS.get(path.suffix.lower(), "libx264")
            stream = container.add_stream(codec, rate=rate)
            stream.height, stream.width = frames[0].shape[:2]
            stream.pix_fmt = "rgb8" if codec == "gif" else "yuv420p"
            stream.codec_context.time_base = Fraction(1, 1000) if times else Fraction(1, rate)
            if turned:
                stream.set_display_rotation(turned)
            packets = (
                [] if sound is None else _add_sound(container, sound, rate=48_000, codec=_SOUND_CODECS[path.suffix])
            )
            for index, pixels in enumerate(frames):
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                frame.time_base = stream.codec_context.time_base
                frame.pts = round(times[index] * 1000) if times else index
                packets.extend(stream.encode(frame))
            packets.extend(stream.encode(None))
            _mux(container, packets)
        return path

    return write


def _add_sound(container, samples: np.ndarray, *, rate: int, codec: str) -> list[av.Packet]:
    samples = np.atleast_2d(np.asarray(samples, dtype=np.float32).T)
    layout = {1: "mono", 2: "stereo"}[len(samples)]
    stream = container.add_stream(codec, rate=rate, layout=layout)
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="fltp", layout=layout)
    frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), 0
    resampler = av.AudioResampler(format=stream.format, layout=layout, rate=rate)
    parts = [packet for part in resampler.resample(frame) for packet in stream.encode(part)]
    return [*parts, *stream.encode(None)]


def _mux(container, packets: list[av.Packet]) -> None:
    for packet in packets:
        container.mux(packet)
