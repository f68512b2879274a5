"""Cut the moment of a sound or a video out of its file, as a small file that every program plays."""

import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain

import av
import numpy as np
import soundfile
from av.audio.fifo import AudioFifo
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from jaxtyping import Float32

from fieldmark.errors import EmptyMediaError, MediaError
from fieldmark.media.container import find_picture_stream, find_sound_stream, open_container
from fieldmark.media.loaders import load_segments
from fieldmark.media.preview import TimeRange, has_sound, refuse_to_show, restrict
from fieldmark.types import AudioContent, Decoding, Item, MediaLimits, Medium, VideoContent

_SIDE_PIXELS = 480  # the shortest side of a cut video, at most
_MOST_FRAMES_PER_SECOND = 30
_BLOCK_SECONDS = 2.0  # of a video in memory at once
_SOUND_HZ = 48_000  # of a video's sound
_RATES_HZ = (8_000, 384_000)
_TICKS = 90_000  # per second, in which frames are timed


@dataclass(frozen=True, slots=True)
class Clip:
    """A moment as a file.

    Args:
        suffix: Of the file's name, with its dot.
    """

    content: bytes
    suffix: str
    mime_type: str


def cut_moment(item: Item, time_range: TimeRange, *, limits: MediaLimits) -> Clip:
    """Return a moment of a sound as WAV, at the file's own rate in one channel, or of a video as MP4 with its sound.

    Args:
        limits: `max_segment_seconds` is the longest moment; without an end, the moment ends there.

    Raises:
        MediaError: The file cannot be read.
        RequestError: The item is neither a sound nor a video.
        OutOfRangeError: The moment is empty, too long or outside the item.
    """
    if item.medium not in {Medium.AUDIO, Medium.VIDEO} or item.form is not None or item.path is None:
        raise refuse_to_show(item.item_id, wanted="moment")
    part = restrict(item, time_range, longest=limits.max_segment_seconds)
    if item.medium is Medium.AUDIO:
        return _cut_sound(part, limits)
    return _cut_video(part, limits, is_heard=has_sound(item, limits=limits))


def _cut_sound(part: Item, limits: MediaLimits) -> Clip:
    rate = _find_rate(part, limits)
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", samplerate=rate, channels=1, format="WAV", subtype="PCM_16") as out:
        for samples in _read_sound(part, rate_hz=rate, limits=limits):
            out.write(samples)
    return Clip(file.getvalue(), ".wav", "audio/wav")


def _find_rate(part: Item, limits: MediaLimits) -> int:
    """Return the sample rate of the file; that of a video's sound where the container does not tell it."""
    assert part.path is not None  # noqa: S101 - checked by the caller
    try:
        with open_container(part.path, limits=limits) as container:
            stream = find_sound_stream(container)
            rate = 0 if stream is None else int(stream.rate or 0)
    except MediaError:  # what only soundfile reads
        rate = 0
    return rate if _RATES_HZ[0] <= rate <= _RATES_HZ[1] else _SOUND_HZ


def _read_sound(part: Item, *, rate_hz: int, limits: MediaLimits) -> Iterator[Float32[np.ndarray, " time"]]:
    """Yield the sound of a part as one segment: the loader's own cutting would repeat its end."""
    decoding = Decoding(sample_rate_hz=rate_hz)
    for segment in load_segments(part, decoding=decoding, limits=limits):
        assert isinstance(segment.content, AudioContent)  # noqa: S101 - what the loader of sound gives
        samples: Float32[np.ndarray, " time"] = segment.content.waveform.numpy()
        yield samples


# ---------------------------------------------------------------- a video


def _cut_video(part: Item, limits: MediaLimits, *, is_heard: bool) -> Clip:
    assert part.path is not None  # noqa: S101 - checked by the caller
    with open_container(part.path, limits=limits) as container:
        stream = find_picture_stream(container)
        if stream is None:
            raise EmptyMediaError(path=part.path, reason="it has no pictures")
        rate = min(_MOST_FRAMES_PER_SECOND, max(1, round(float(stream.average_rate or stream.guessed_rate or 25))))
        side = min(_SIDE_PIXELS, *(each for each in (stream.width, stream.height) if each > 0))
    frames = _read_frames(part, rate=rate, side_pixels=side, limits=limits)
    first = next(frames)
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as out:
        pictures = _add_pictures(out, rate=rate, size=(first.width // 2 * 2, first.height // 2 * 2))
        sound = out.add_stream("aac", rate=_SOUND_HZ, layout="mono") if is_heard else None
        for frame in chain([first], frames):
            out.mux(pictures.encode(frame.reformat(pictures.width, pictures.height, "yuv420p")))
        out.mux(pictures.encode(None))
        if sound is not None:
            _write_sound(out, sound, part, limits)
    return Clip(file.getvalue(), ".mp4", "video/mp4")


def _add_pictures(out: OutputContainer, *, rate: int, size: tuple[int, int]) -> VideoStream:
    stream = out.add_stream("libx264", rate=rate, options={"crf": "21", "preset": "veryfast"})
    assert isinstance(stream, VideoStream)  # noqa: S101 - what this codec makes
    stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
    stream.codec_context.time_base = Fraction(1, _TICKS)
    return stream


def _read_frames(part: Item, *, rate: int, side_pixels: int, limits: MediaLimits) -> Iterator[VideoFrame]:
    """Yield the frames of a part with their times, a few seconds in memory at once."""
    decoding = Decoding(
        side_pixels=side_pixels, segment_seconds=_BLOCK_SECONDS, frames_per_segment=round(_BLOCK_SECONDS * rate)
    )
    origin, last = part.start_seconds or 0.0, -1
    for segment in load_segments(part, decoding=decoding, limits=limits):
        assert isinstance(segment.content, VideoContent)  # noqa: S101 - what the loader of videos gives
        pictures = segment.content.frames.permute(0, 2, 3, 1).numpy()
        start, end = segment.start_seconds or 0.0, segment.end_seconds or 0.0
        for number, picture in enumerate(pictures):
            frame = VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            ticks = round((start + (end - start) * number / len(pictures) - origin) * _TICKS)
            if ticks <= last:  # the last segment ends with the video and may repeat some of the one before
                continue
            frame.pts, frame.time_base, last = ticks, Fraction(1, _TICKS), ticks
            yield frame


def _write_sound(out: OutputContainer, stream: AudioStream, part: Item, limits: MediaLimits) -> None:
    fifo = AudioFifo()
    for samples in _read_sound(replace(part, medium=Medium.AUDIO), rate_hz=_SOUND_HZ, limits=limits):
        frame = AudioFrame.from_ndarray(samples.reshape(1, -1), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = _SOUND_HZ, None
        fifo.write(frame)
    while (block := fifo.read(stream.codec_context.frame_size or 1024, partial=True)) is not None:
        out.mux(stream.encode(block))
    out.mux(stream.encode(None))
