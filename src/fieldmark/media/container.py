"""Files with a timeline: containers opened and decoded through FFmpeg, with limits and clear errors."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, final

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition, Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from fieldmark.errors import MediaError, UnreadableMediaError
from fieldmark.media.damage import DamageLog, Loss
from fieldmark.media.file import convert_decoder_errors
from fieldmark.media.signatures import lacks_index
from fieldmark.types import MediaLimits

if TYPE_CHECKING:
    AnyPacket = Packet[Stream]
else:
    AnyPacket = Packet  # generic in the eyes of mypy alone

# Only formats that hold media themselves. FFmpeg also knows playlists and scripts, which open other files and
# addresses, and draws any text as a video of a terminal. Bare video streams are left out: they know no time.
_FORMATS = "aac,ac3,aiff,amr,ape,asf,au,avi,caf,eac3,flac,flv,gif,matroska,mov,mp3,mpeg,mpegts,ogg,rm,tta,w64,wav,wv"
PREROLL_SECONDS = 1.0
"""The time that decoders need before a position, to be exact there."""
# These have no index of key frames: a seek lands between two, and what follows cannot be decoded.
_WITHOUT_INDEX = {"mpegts", "mpeg"}
_FRAMES = (AudioFrame, VideoFrame)
_MOST_FAILED_READS = 16  # in a row; some demuxers fail for ever at the junk behind the end
CHUNK_HEAD_BYTES = 8
"""The header before the bytes of a chunk of an AVI: its index counts from there, FFmpeg from behind."""
_COVER = Disposition.attached_pic | Disposition.timed_thumbnails


@contextmanager
def open_container(path: Path, *, limits: MediaLimits) -> Iterator[InputContainer]:
    """Open a container; other files that it names inside are never opened.

    Raises:
        UnreadableMediaError: FFmpeg cannot open the file.
    """
    options = {"format_whitelist": _FORMATS, "protocol_whitelist": "file", "max_pixels": str(limits.max_pixels)}
    with convert_decoder_errors(path), _explain_missing_index(path):
        container = av.open(f"file:{path.absolute()}", mode="r", options=options, metadata_errors="replace")
    with container:
        if len(container.streams) == 0:
            raise UnreadableMediaError(path=path, reason="no track of it can be read")
        yield container


@contextmanager
def _explain_missing_index(path: Path) -> Iterator[None]:
    """Say of an MP4 or MOV without its index, which FFmpeg cannot open, that this is what it lacks."""
    try:
        yield
    except av.InvalidDataError as error:
        if lacks_index(path):
            reason = (
                "its index, the 'moov' box, is missing: the recording was not finished, or the file was cut off. "
                "A repair tool may restore it with the help of a whole file from the same device"
            )
            raise UnreadableMediaError(path=path, reason=reason) from error
        raise


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


def get_origin_seconds(container: InputContainer) -> float:
    """Return the time stamp at which the file begins: the zero of all times given to a user."""
    return (container.start_time or 0) / av.time_base


def seek(container: InputContainer, stream: Stream, *, seconds: float) -> None:
    """Seek to a position somewhat before `seconds`; stay where a file has no index."""
    target = seconds - PREROLL_SECONDS
    if target > 0 and stream.time_base and container.format.name not in _WITHOUT_INDEX:
        with suppress(av.FFmpegError):
            container.seek(round((target + get_origin_seconds(container)) / stream.time_base), stream=stream)


class DecodedPacket(NamedTuple):
    """One packet and what the decoder gave for it; a tuple, since a frozen dataclass takes longer than some packets.

    Args:
        packet: None where the container itself could not be read.
        frames: Empty while the decoder waits for more, and for a packet without bytes.
        is_bad: It could not be decoded.
    """

    packet: AnyPacket | None
    frames: Sequence[AudioFrame | VideoFrame] = ()
    is_bad: bool = False

    @property
    def is_empty(self) -> bool:
        """True for a packet without bytes, which stands for "as before"; the end of the file is none."""
        return self.packet is not None and self.packet.size == 0 and self.packet.pts is not None


def read_packets(container: InputContainer, stream: AudioStream | VideoStream) -> Iterator[AnyPacket | None]:
    """Yield the packets of a track to the end of the file, read on behind what a demuxer cannot make out.

    None stands where it could not; the last packet has no bytes and no time, and asks the decoder for what it holds.
    """
    failed_in_a_row = 0
    packets = container.demux(stream)
    while failed_in_a_row < _MOST_FAILED_READS:
        try:
            packet = next(packets, None)
        except BlockingIOError:  # what is left of the file is too short for a packet
            packets = container.demux(stream)
            failed_in_a_row += 1
        except (av.FFmpegError, ValueError):
            packets = container.demux(stream)  # one that raised is finished; the next reads on
            failed_in_a_row += 1
            yield None
        else:
            if packet is None:
                return
            failed_in_a_row = 0
            yield packet


def decode_packets(container: InputContainer, stream: AudioStream | VideoStream) -> Iterator[DecodedPacket]:
    """Yield each packet of a track with its frames, to the end of the file; bad ones are told, not raised."""
    for packet in read_packets(container, stream):
        if packet is None:
            yield DecodedPacket(None, is_bad=True)
        elif packet.size == 0 and packet.pts is not None:
            yield DecodedPacket(packet)
        else:
            try:
                frames = [frame for frame in packet.decode() if isinstance(frame, _FRAMES)]
            except (av.FFmpegError, ValueError):
                yield DecodedPacket(packet, is_bad=True)
            else:
                yield DecodedPacket(packet, frames)


def decode_pictures(
    container: InputContainer, stream: VideoStream, *, path: Path, from_seconds: float, log: DamageLog
) -> Iterator[tuple[float, VideoFrame]]:
    """Yield time and frame, from a position at or before `from_seconds` to the end of the file.

    A packet that cannot be decoded gives no frame and is logged. One without bytes gives the frame before once more, at
    its own time.

    Raises:
        UnreadableMediaError: There is no decoder for the track.
    """
    check_decoder(stream, path=path)
    step = estimate_frame_seconds(stream)
    seek(container, stream, seconds=from_seconds)
    origin = get_origin_seconds(container)
    times = ChunkTimes(container, stream)
    following = 0.0
    last = None
    for decoded in decode_packets(container, stream):
        assert decoded.packet is not None or decoded.is_bad  # noqa: S101 - as `decode_packets` gives them
        shift = times.find_shift(decoded.packet)
        if decoded.is_bad:
            log.count_packet()
            if decoded.packet is not None and decoded.packet.dts is not None:
                log.add(Loss(_compute_packet_seconds(decoded.packet, origin) + shift, step))
        if decoded.is_empty and last is not None and decoded.packet is not None:
            following = _compute_packet_seconds(decoded.packet, origin) + shift
            yield following, last
            following += step
        for frame in decoded.frames:
            assert isinstance(frame, VideoFrame)  # noqa: S101 - the track is one of pictures
            seconds = following if frame.time is None else frame.time - origin + shift
            yield seconds, frame
            last, following = frame, seconds + step


def read_packet_times(
    container: InputContainer, stream: VideoStream, *, from_seconds: float
) -> Iterator[tuple[float, float]]:
    """Yield start and end of each frame, read from the packets without decoding; in the order of decoding."""
    seek(container, stream, seconds=from_seconds)
    origin, step = get_origin_seconds(container), estimate_frame_seconds(stream)
    times = ChunkTimes(container, stream)
    following = 0.0
    for packet in read_packets(container, stream):
        if packet is None or (packet.size == 0 and packet.pts is None):  # unreadable, or the mark of the end
            continue
        has_time = packet.pts is not None or packet.dts is not None
        seconds = _compute_packet_seconds(packet, origin) + times.find_shift(packet) if has_time else following
        following = seconds + (float((packet.duration or 0) * (packet.time_base or 0)) or step)
        yield seconds, following


def _compute_packet_seconds(packet: AnyPacket, origin: float) -> float:
    stamp = packet.dts if packet.pts is None else packet.pts
    return float((stamp or 0) * (packet.time_base or 0)) - origin


def estimate_frame_seconds(stream: VideoStream) -> float:
    """Return the duration of a frame, for files that do not state it frame by frame."""
    rate = stream.average_rate or stream.guessed_rate
    return 1 / float(rate) if rate else 1 / 25


@final
class ChunkTimes:
    """The times of the frames of an AVI, which FFmpeg counts: behind a lost chunk its index tells the right ones."""

    def __init__(self, container: InputContainer, stream: VideoStream) -> None:
        has_index = container.format.name == "avi"
        self._stamps = {each.pos: each.timestamp for each in stream.index_entries} if has_index else {}
        self._shift = 0.0

    def find_shift(self, packet: AnyPacket | None) -> float:
        """Return the seconds by which the time stamps of a packet and its frames are too early."""
        if not self._stamps or packet is None or packet.pos is None or packet.dts is None:
            return self._shift
        stamp = self._stamps.get(packet.pos - CHUNK_HEAD_BYTES)
        if stamp is not None:
            self._shift = float((stamp - packet.dts) * (packet.time_base or 0))
        return self._shift


def pick_equally_spaced(count: int, *, limit: int | None) -> list[int]:
    """Return at most `limit` of the indices 0 to `count` - 1: the middles of as many equal parts."""
    if limit is None or count <= limit:
        return list(range(count))
    return [(2 * part + 1) * count // (2 * limit) for part in range(limit)]


def measure_seconds(path: Path, *, limits: MediaLimits) -> float:
    """Return how long a file says that it lasts; 0 for one that does not say, or is no sound and no video."""
    try:
        with open_container(path, limits=limits) as container:
            return float((container.duration or 0) / av.time_base)
    except MediaError:
        return 0.0
