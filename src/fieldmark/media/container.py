"""Files with a timeline: containers opened and decoded through FFmpeg, with limits and clear errors."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Disposition, Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from fieldmark.errors import MediaError, UnreadableMediaError
from fieldmark.media.file import convert_decoder_errors
from fieldmark.types import MediaLimits

Frame = TypeVar("Frame", AudioFrame, VideoFrame)

# Only formats that hold media themselves. FFmpeg also knows playlists and scripts, which open other files and
# addresses, and draws any text as a video of a terminal. Bare video streams are left out: they know no time.
_FORMATS = "aac,ac3,aiff,amr,ape,asf,au,avi,caf,eac3,flac,flv,gif,matroska,mov,mp3,mpeg,mpegts,ogg,rm,tta,w64,wav,wv"
# Decoders of sound need what comes before a position to be exact there. Measured 2026-11: with 1 s, the samples after a
# seek equal those of a whole decode in wav, flac, mp3, ogg, m4a, aac and ac3.
_PREROLL_SECONDS = 1.0
# These have no index of key frames: a seek lands between two, and what follows cannot be decoded.
_WITHOUT_INDEX = {"mpegts", "mpeg"}
_COVER = Disposition.attached_pic | Disposition.timed_thumbnails


@contextmanager
def open_container(path: Path, *, limits: MediaLimits) -> Iterator[InputContainer]:
    """Open a container; other files that it names inside are never opened.

    Raises:
        UnreadableMediaError: FFmpeg cannot open the file.
    """
    options = {"format_whitelist": _FORMATS, "protocol_whitelist": "file", "max_pixels": str(limits.max_pixels)}
    with convert_decoder_errors(path):
        container = av.open(f"file:{path.absolute()}", mode="r", options=options, metadata_errors="replace")
    with container:
        if len(container.streams) == 0:
            raise UnreadableMediaError(path=path, reason="no track of it can be read")
        yield container


def find_picture_stream(container: InputContainer) -> VideoStream | None:
    """Return the video stream; None if there is none. The cover of a sound file is no video."""
    stream = container.streams.best("video")
    return stream if isinstance(stream, VideoStream) and not stream.disposition & _COVER else None


def find_sound_stream(container: InputContainer) -> AudioStream | None:
    """Return the sound track; None if there is none."""
    stream = container.streams.best("audio")
    return stream if isinstance(stream, AudioStream) else None


def check_decoder(stream: VideoStream | AudioStream, *, path: Path) -> None:
    """Check that this build of FFmpeg can decode a track.

    Raises:
        UnreadableMediaError: It cannot.
    """
    if stream.codec_context is None:
        raise UnreadableMediaError(path=path, reason=f"there is no decoder for its {stream.type} track")


def _get_origin_seconds(container: InputContainer) -> float:
    """Return the time stamp at which the file begins: the zero of all times given to a user."""
    return (container.start_time or 0) / av.time_base


def _seek(container: InputContainer, stream: Stream, *, seconds: float) -> None:
    """Seek to a position somewhat before `seconds`; stay where a file has no index."""
    target = seconds - _PREROLL_SECONDS
    if target > 0 and stream.time_base and container.format.name not in _WITHOUT_INDEX:
        with suppress(av.FFmpegError):
            container.seek(round((target + _get_origin_seconds(container)) / stream.time_base), stream=stream)


def decode_pictures(
    container: InputContainer, stream: VideoStream, *, path: Path, from_seconds: float
) -> Iterator[tuple[float, VideoFrame]]:
    """Yield time and frame, from a position at or before `from_seconds` to the end of the file.

    Raises:
        UnreadableMediaError: A part of the stream cannot be decoded.
    """
    check_decoder(stream, path=path)
    step = _estimate_frame_seconds(stream)
    _seek(container, stream, seconds=from_seconds)
    origin = _get_origin_seconds(container)
    yield from _stamp(container.decode(stream), path=path, origin=origin, length=lambda _: step)


def decode_sound(
    container: InputContainer, stream: AudioStream, *, path: Path, from_seconds: float
) -> Iterator[tuple[float, AudioFrame]]:
    """Yield time and block of samples, from a position at or before `from_seconds` to the end of the file.

    Raises:
        UnreadableMediaError: A part of the stream cannot be decoded.
    """
    check_decoder(stream, path=path)
    _seek(container, stream, seconds=from_seconds)
    origin = _get_origin_seconds(container)
    yield from _stamp(
        container.decode(stream),
        path=path,
        origin=origin,
        length=lambda block: block.samples / max(1, block.sample_rate),
    )


def read_packet_times(
    container: InputContainer, stream: VideoStream, *, path: Path, from_seconds: float
) -> Iterator[tuple[float, float]]:
    """Yield start and end of each frame, read from the packets without decoding; in the order of decoding.

    Raises:
        UnreadableMediaError: The container is damaged.
    """
    _seek(container, stream, seconds=from_seconds)
    origin, step = _get_origin_seconds(container), _estimate_frame_seconds(stream)
    packets = container.demux(stream)
    following = 0.0
    while True:
        with convert_decoder_errors(path):
            packet = next(packets, None)
        if packet is None:
            return
        if packet.size == 0:  # the mark of the end
            continue
        unit = float(packet.time_base or 0)
        stamp = packet.dts if packet.pts is None else packet.pts
        seconds = following if stamp is None else stamp * unit - origin
        following = seconds + ((packet.duration or 0) * unit or step)
        yield seconds, following


def _estimate_frame_seconds(stream: VideoStream) -> float:
    """Return the duration of a frame, for files that do not state it frame by frame."""
    rate = stream.average_rate or stream.guessed_rate
    return 1 / float(rate) if rate else 1 / 25


def pick_equally_spaced(count: int, *, limit: int | None) -> list[int]:
    """Return at most `limit` of the indices 0 to `count` - 1: the middles of as many equal parts."""
    if limit is None or count <= limit:
        return list(range(count))
    return [(2 * part + 1) * count // (2 * limit) for part in range(limit)]


def _stamp(
    frames: Iterator[Frame], *, path: Path, origin: float, length: Callable[[Frame], float]
) -> Iterator[tuple[float, Frame]]:
    """Yield each frame with its time; a frame without a time stamp follows the one before."""
    following = 0.0
    while True:
        with convert_decoder_errors(path):
            frame = next(frames, None)
        if frame is None:
            return
        seconds = following if frame.time is None else frame.time - origin
        yield seconds, frame
        following = seconds + length(frame)


def measure_seconds(path: Path, *, limits: MediaLimits) -> float:
    """Return how long a file says that it lasts; 0 for one that does not say, or is no sound and no video."""
    try:
        with open_container(path, limits=limits) as container:
            return float((container.duration or 0) / av.time_base)
    except MediaError:
        return 0.0
