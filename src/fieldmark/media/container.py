"""Files with a timeline: containers opened and decoded through FFmpeg, with limits and clear errors."""

import heapq
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast, final

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition, Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from fieldmark.errors import MediaError, UnreadableMediaError
from fieldmark.media.damage import DamageLog, Length, Loss
from fieldmark.media.ending.declared import lacks_index
from fieldmark.media.file import convert_decoder_errors
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
_UNORDERED_IN_AVI = {"h264", "hevc"}  # an AVI counts its chunks in the order of decoding
_MOST_FAILED_READS = 16  # in a row; some demuxers fail for ever at the junk behind the end
CHUNK_HEAD_BYTES = 8
"""The header before the bytes of a chunk of an AVI: its index counts from there, FFmpeg from behind."""
# These state how long the longest of their tracks is; of others FFmpeg may guess it.
_WITH_LENGTH = {"matroska,webm", "flv", "asf"}
_MP4 = "mov,mp4,m4a,3gp,3g2,mj2"
_GRAIN_SECONDS = 2e-3  # the rounding of time stamps
_MOST_REORDERED = 4  # pictures that are usually shown behind one that was decoded after them
_SMALLEST_SHARE = 0.6  # of the time from one picture to the next
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


@contextmanager
def start_again(
    container: InputContainer, *, packet_count: int, path: Path, limits: MediaLimits
) -> Iterator[InputContainer]:
    """Give a container of which no packet was decoded from its beginning once more.

    An MP4 whose index names every packet goes back to the first. Any other file is closed and opened again, which takes
    longer and always works.

    Args:
        packet_count: The packets of its pictures that were met.
    """
    if _goes_back(container, packet_count=packet_count):
        yield container
        return
    container.close()
    with open_container(path, limits=limits) as another:
        yield another


def _goes_back(container: InputContainer, *, packet_count: int) -> bool:
    stream = find_picture_stream(container)
    if container.format.name != _MP4 or stream is None:
        return False
    entries = stream.index_entries
    if not packet_count == stream.frames == len(entries):  # in fragments, or not to be shown as it is stored
        return False
    first = entries[0]
    with suppress(av.FFmpegError, StopIteration):
        container.seek(first.timestamp, stream=stream)
        packet = next(container.demux(stream))
        if packet.pos == first.pos and packet.dts == first.timestamp:
            container.seek(first.timestamp, stream=stream)
            return True
    return False


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


def read_length(container: InputContainer, stream: AudioStream | VideoStream, *, is_of_track: bool) -> Length:
    """Return the length that a file states.

    Args:
        is_of_track: It states that of a track by itself.
    """
    own = stream.duration if is_of_track else None
    whole = container.duration if container.format.name in _WITH_LENGTH else None
    return Length(
        of_track=None if own is None else float(own * (stream.time_base or 0)),
        of_file=None if whole is None else whole / av.time_base,
        is_of_one_track=len(container.streams) == 1,
    )


def seek(container: InputContainer, stream: Stream, *, seconds: float) -> bool:
    """Seek to a position somewhat before `seconds`, and tell whether it worked; stay where a file has no index."""
    target = seconds - PREROLL_SECONDS
    if target > 0 and stream.time_base and container.format.name not in _WITHOUT_INDEX:
        with suppress(av.FFmpegError):
            container.seek(round((target + get_origin_seconds(container)) / stream.time_base), stream=stream)
            return True
    return False


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
    while failed_in_a_row < _MOST_FAILED_READS:
        try:
            for packet in container.demux(stream):
                failed_in_a_row = 0
                yield packet
        except BlockingIOError:  # what is left of the file is too short for a packet
            failed_in_a_row += 1
        except (av.FFmpegError, ValueError):
            failed_in_a_row += 1
            yield None
        else:
            return


def decode_packets(container: InputContainer, stream: AudioStream | VideoStream) -> Iterator[DecodedPacket]:
    """Yield each packet of a track with its frames, to the end of the file; bad ones are told, not raised."""
    for packet in read_packets(container, stream):
        if packet is None:
            yield DecodedPacket(None, is_bad=True)
        elif packet.size == 0 and packet.pts is not None:
            yield DecodedPacket(packet)
        else:
            try:
                frames = packet.decode()
            except (av.FFmpegError, ValueError):
                yield DecodedPacket(packet, is_bad=True)
            else:
                # A stub knows subtitles, too; to check each frame would take as long as some codecs need for it.
                yield DecodedPacket(packet, cast("list[AudioFrame | VideoFrame]", frames))


def decode_pictures(
    container: InputContainer, stream: VideoStream, *, path: Path, from_seconds: float, log: DamageLog
) -> Iterator[tuple[float, VideoFrame]]:
    """Yield time and frame, from a position at or before `from_seconds` to the end of the file.

    A packet that gives no frame is logged. One without bytes gives the frame before once more, at its own time.

    Raises:
        UnreadableMediaError: There is no decoder for the track.
    """
    check_decoder(stream, path=path)
    step, base = estimate_frame_seconds(stream), stream.time_base
    has_sought = seek(container, stream, seconds=from_seconds)
    origin = get_origin_seconds(container)
    times = ChunkTimes(container, stream)
    balance = _Balance(log, first_seconds=from_seconds if has_sought else None, step=step)
    is_unordered = container.format.name == "avi" and stream.codec_context.name in _UNORDERED_IN_AVI
    following = 0.0
    last = None
    for decoded in decode_packets(container, stream):
        assert decoded.packet is not None or decoded.is_bad  # noqa: S101 - as `decode_packets` gives them
        shift = times.find_shift(decoded.packet)
        stamp = _find_stamp(decoded.packet, base, origin - shift)
        if decoded.is_bad or (decoded.packet is not None and decoded.packet.is_corrupt):
            log.count_packet()
        if decoded.is_empty and last is not None and stamp is not None:
            following = stamp
            yield following, last
            following += step
        elif stamp is not None:
            balance.expect(stamp)
        for frame in decoded.frames:
            assert isinstance(frame, VideoFrame)  # noqa: S101 - the track is one of pictures
            seconds = following if frame.time is None else frame.time - origin + shift
            if is_unordered:
                seconds = balance.find_next(seconds)
            balance.take(seconds, is_damaged=frame.is_corrupt)
            yield seconds, frame
            last, following = frame, seconds + step
    balance.finish()


def _find_stamp(packet: AnyPacket | None, base: Fraction | None, origin: float) -> float | None:
    """Return the time of the picture in a packet; None for one without, or that is not to be shown."""
    if packet is None or (packet.pts is None and packet.dts is None) or packet.is_discard:
        return None
    return _compute_packet_seconds(packet, base, origin)


@final
class _Balance:
    """Compares the packets of a track with the pictures that come of them; logs the pictures that are missing.

    Not every packet gives one: some hold half a picture, or one that is never shown. So a picture is missing only where
    two that follow each other lie apart, with the time of a packet well between them.

    Args:
        first_seconds: The time before which pictures may be missing, since the decoder began in the middle; None where
            it began with the file.
    """

    def __init__(self, log: DamageLog, *, first_seconds: float | None, step: float) -> None:
        self._log = log
        self._first = first_seconds
        self._step = step
        self._expected: list[float] = []  # a heap
        self._before = None if first_seconds is not None else -math.inf
        self._held = 0
        self._whole_count = _MOST_REORDERED  # pictures since the last damaged one

    def expect(self, seconds: float) -> None:
        """Note the time of a packet."""
        heapq.heappush(self._expected, seconds)

    def find_next(self, seconds: float) -> float:
        """Return the time of the next picture where packets tell the time of decoding alone: the earliest not taken.

        The decoder holds back as many packets as before the first picture; of more, the earliest gave nothing.

        Args:
            seconds: The time if there is none.
        """
        self._held = self._held or len(self._expected)
        if self._held == 1:  # none is held back, so that both orders are one
            return seconds
        while len(self._expected) > self._held:
            self._miss(heapq.heappop(self._expected), until=math.inf)
        return self._expected[0] if self._expected else seconds

    def take(self, seconds: float, *, is_damaged: bool) -> None:
        """Note the time of a picture."""
        if is_damaged and (self._first is None or seconds >= self._first):
            self._log.count_packet()
        self._whole_count = 0 if is_damaged else self._whole_count + 1
        while self._expected and self._expected[0] < seconds - _GRAIN_SECONDS:
            self._miss(heapq.heappop(self._expected), until=seconds)
        while self._expected and self._expected[0] <= seconds + _GRAIN_SECONDS:
            heapq.heappop(self._expected)
        self._before = seconds

    def finish(self) -> None:
        """Note that no picture follows."""
        is_broken = self._whole_count < _MOST_REORDERED
        while self._expected:
            is_broken |= self._miss(heapq.heappop(self._expected), until=math.inf)
        if is_broken:
            self._log.break_end()

    def _miss(self, seconds: float, *, until: float) -> bool:
        """Note that a packet gave no picture; return whether one is missing."""
        apart = self._step * _SMALLEST_SHARE
        if self._before is None or seconds - self._before <= apart or until - seconds <= apart:
            return False
        self._log.add(Loss(seconds, min(self._step, until - seconds)))
        return True


class PacketTime(NamedTuple):
    """The time of one frame, and that at which it is decoded, which is never later; a tuple for the sake of speed."""

    start_seconds: float
    end_seconds: float
    decoding_seconds: float


def read_packet_times(container: InputContainer, stream: VideoStream, *, from_seconds: float) -> Iterator[PacketTime]:
    """Yield the times of each frame, read from the packets without decoding; in the order of decoding."""
    seek(container, stream, seconds=from_seconds)
    origin, step, base = get_origin_seconds(container), estimate_frame_seconds(stream), stream.time_base
    times = ChunkTimes(container, stream)
    following = 0.0
    for packet in read_packets(container, stream):
        if packet is None or (packet.size == 0 and packet.pts is None):  # unreadable, or the mark of the end
            continue
        decoding_stamp = packet.dts
        has_time = packet.pts is not None or decoding_stamp is not None
        seconds = _compute_packet_seconds(packet, base, origin) + times.find_shift(packet) if has_time else following
        following = seconds + (_to_seconds(packet.duration, base) or step)
        decoding = seconds if decoding_stamp is None else _to_seconds(decoding_stamp, base) - origin
        yield PacketTime(seconds, following, decoding)


def _compute_packet_seconds(packet: AnyPacket, base: Fraction | None, origin: float) -> float:
    """Return the time of a packet; to ask each for its base, which is the track's, takes longer than all the rest."""
    return _to_seconds(packet.dts if packet.pts is None else packet.pts, base) - origin


def _to_seconds(stamp: int | None, base: Fraction | None) -> float:
    """Return a time stamp in seconds; by whole numbers, which takes a fifth of the time of a product of fractions."""
    return 0.0 if stamp is None or base is None else stamp * base.numerator / base.denominator


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


def read_index_times(container: InputContainer, stream: VideoStream) -> list[float]:
    """Return the times of all frames that the index of a file names, in order."""
    origin = get_origin_seconds(container)
    return sorted(float(each.timestamp * (stream.time_base or 0)) - origin for each in stream.index_entries)


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
