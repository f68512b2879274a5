"""One track of sound: its packets decoded, each piece with what the file says of its time."""

import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, final

import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.video.frame import VideoFrame
from jaxtyping import Float32, Shaped

from fieldmark.errors import EmptyMediaError, UnreadableMediaError
from fieldmark.media.container import CHUNK_HEAD_BYTES, AnyPacket, DecodedPacket, decode_packets, get_origin_seconds

_SLOWEST_HZ, _FASTEST_HZ = 1_000, 4_000_000  # outside lies no recorder, only a damaged header
_SILENT_PEAK = 1e-4  # -80 dB of full scale
# Of these FFmpeg checks the sums only if it is asked to; a damaged block would become loud noise.
_CHECKED_CODECS = {"wavpack", "tta"}
# These have frames and nothing else: their time is the count of the frames, so a lost one has to be counted too.
_WITHOUT_TIMES = {"mp3", "aac", "ac3", "eac3", "amr"}
_LOSSLESS = {"flac", "alac", "wavpack", "tta", "ape"}
_SAMPLE_TYPES = {"u8": "u1", "s16": "i2", "s32": "i4", "s64": "i8", "flt": "f4", "dbl": "f8"}
_PIECE_SECONDS = 1.0  # frames are handled together: each by itself would cost more than its decoding
_STEP_SECONDS = 0.02  # a frame farther from its place begins another piece
_CHECKED_EACH = 4  # packets; so often it is looked whether a packet stands where it is said to stand
_COMPARED_BYTES = 16
_LONGEST_JUNK_BYTES = 2**22
_TAGS = re.compile(rb"(?:TAG.{125})?(?:ID3.{3}(?P<size>.{4}))?", re.DOTALL)  # of MP3: at the end, and at the beginning

# ---------------------------------------------------------------- the track


def list_sound_streams(container: InputContainer, *, path: Path) -> list[AudioStream]:
    """Return the tracks of sound that can be decoded, in the order of the file.

    Raises:
        EmptyMediaError: There is no track of sound.
        UnreadableMediaError: None can be decoded.
    """
    if not container.streams.audio:
        raise EmptyMediaError(path=path, reason="it has no sound track")
    streams = [stream for stream in container.streams.audio if stream.codec_context is not None]
    if not streams:
        raise UnreadableMediaError(path=path, reason="there is no decoder for its audio track")
    for stream in streams:
        if stream.codec_context.name in _CHECKED_CODECS:
            stream.codec_context.options = {"err_detect": "crccheck+explode"}
    return streams


@dataclass(frozen=True, slots=True)
class Piece:
    """Some decoded sound as the file holds it.

    Args:
        samples: In the file's own scale, an integer type or a float.
        stamp: The decoder's own time stamp, which tells where a seek has landed; None where there is none.
        seconds: The time stamp, from the beginning of the file; None where the file has none.
        is_after_break: Something before it could not be read.
        is_stamp_late: Its time stamp, and those of the next few, only count on from before that break.
        lost_seconds: Sound before it that is known to be lost, in files without time stamps.
    """

    samples: Shaped[np.ndarray, "channel time"]
    sample_rate_hz: int
    stamp: int | None
    seconds: float | None
    is_after_break: bool = False
    is_stamp_late: bool = False
    lost_seconds: float = 0.0


def decode_pieces(
    container: InputContainer, stream: AudioStream, *, path: Path, split_at: int | None = None
) -> Iterator[Piece]:
    """Yield the sound of a track from where the container stands to its end.

    Bad packets are skipped; the piece behind them says so. Where the last packets are bad, a piece without samples
    ends the sound. Frames that follow each other make pieces of a second.

    Args:
        split_at: The time stamp at which a piece is to begin in any case.

    Raises:
        UnreadableMediaError: It states an absurd sample rate, or none of its packets can be decoded.
    """
    with path.open("rb") as file:
        clock = _choose_clock(container, stream, file)
        gathering = _Gathering(get_origin_seconds(container) if clock.has_times else None, path=path)
        is_broken, is_late, lost = False, False, 0.0
        for decoded in decode_packets(container, stream):
            lost += clock.count_lost_seconds(decoded)
            is_broken |= decoded.is_bad
            is_late |= clock.is_late
            for frame in decoded.frames:
                assert isinstance(frame, AudioFrame)  # noqa: S101 - the track is one of sound
                is_odd = is_broken or is_late or lost > 0
                if (is_odd or frame.pts == split_at or not gathering.takes(frame)) and gathering.has_any:
                    yield gathering.finish()
                if is_odd:
                    is_counted = is_broken and (clock.has_times or lost > 0)  # a tag between two files is no damage
                    gathering.mark(is_after_break=is_counted, is_stamp_late=is_late, lost_seconds=lost)
                gathering.add(frame)
                is_broken, is_late, lost = False, False, 0.0
        if gathering.has_any:
            yield gathering.finish()
    if gathering.last is None and is_broken:
        raise UnreadableMediaError(path=path, reason="none of its sound can be decoded")
    if gathering.last is not None and clock.trailing_seconds > 0:
        rest, rate = gathering.last.samples[:, :0], gathering.last.sample_rate_hz
        yield Piece(rest, rate, None, None, lost_seconds=clock.trailing_seconds)


@final
class _Gathering:
    """The frames of one piece.

    Args:
        origin: The time stamp at which the file begins; None for a file without time stamps.
    """

    def __init__(self, origin: float | None, *, path: Path) -> None:
        self._origin = origin
        self._path = path
        self._unit: float | None = None  # of time stamps, seconds
        self._frames: list[AudioFrame] = []
        self._form: tuple[int, str, int] | None = None  # of the first frame
        self._first_stamp: int | None = None
        self._most = 0.0
        self._count = 0
        self._before: tuple[bool, bool, float] | None = None
        self.last: Piece | None = None

    @property
    def has_any(self) -> bool:
        """True where a piece was begun."""
        return bool(self._frames)

    def takes(self, frame: AudioFrame) -> bool:
        """Tell whether a frame belongs to the piece."""
        if not self._frames:
            return True
        if self._count >= self._most or _describe_form(frame) != self._form:
            return False
        stamp, first = frame.pts, self._first_stamp
        if stamp is None or first is None or self._unit is None:
            return (stamp is None) == (first is None)
        return abs((stamp - first) * self._unit - self._count / frame.sample_rate) < _STEP_SECONDS

    def mark(self, *, is_after_break: bool, is_stamp_late: bool, lost_seconds: float) -> None:
        """State what lies before the piece that begins."""
        self._before = (is_after_break, is_stamp_late, lost_seconds)

    def add(self, frame: AudioFrame) -> None:
        """Add a frame.

        Raises:
            UnreadableMediaError: It states an absurd sample rate.
        """
        if not _SLOWEST_HZ <= frame.sample_rate <= _FASTEST_HZ:
            raise UnreadableMediaError(path=self._path, reason=f"it states a sample rate of {frame.sample_rate} Hz")
        if not self._frames:
            self._form, self._first_stamp = _describe_form(frame), frame.pts
            self._most = _PIECE_SECONDS * frame.sample_rate
            if self._unit is None and frame.time_base:
                self._unit = float(frame.time_base)
        self._frames.append(frame)
        self._count += frame.samples

    def finish(self) -> Piece:
        """Return the piece."""
        first = self._frames[0]
        samples = _join_frames(self._frames)
        has_time = self._origin is not None and first.pts is not None and self._unit is not None
        seconds = (first.pts or 0) * (self._unit or 0.0) - (self._origin or 0.0) if has_time else None
        piece = Piece(samples, first.sample_rate, first.pts, seconds)
        if self._before is not None:
            is_broken, is_late, lost = self._before
            piece = replace(piece, is_after_break=is_broken, is_stamp_late=is_late, lost_seconds=lost)
        self._frames, self._count, self._before, self.last = [], 0, None, piece
        return piece


def _describe_form(frame: AudioFrame) -> tuple[int, str, int]:
    """Return the rate, the format and the count of channels of a frame."""
    return frame.sample_rate, frame.format.name, frame.layout.nb_channels


def _join_frames(frames: Sequence[AudioFrame]) -> Shaped[np.ndarray, "channel time"]:
    """Return the samples of frames of one format and channel count.

    `to_ndarray` takes as long for a frame as its decoding, and of more than eight channels it may read planes that are
    not there, which ends the process: the channels are counted by the layout.
    """
    sample_format, channel_count = frames[0].format, frames[0].layout.nb_channels
    dtype = _SAMPLE_TYPES[sample_format.packed.name]
    plane_count, width = (channel_count, 1) if sample_format.is_planar else (1, channel_count)
    buffers = [(frame.samples * width, frame.planes) for frame in frames]
    planes = [
        np.concatenate([np.frombuffer(memoryview(each[index]), dtype=dtype, count=count) for count, each in buffers])
        for index in range(plane_count)
    ]
    if not sample_format.is_planar:
        return planes[0].reshape(-1, channel_count).T
    return planes[0][None] if channel_count == 1 else np.stack(planes)


def convert_to_fractions(samples: Shaped[np.ndarray, "channel time"]) -> Float32[np.ndarray, "channel time"]:
    """Return samples as fractions of full scale; floats stay as they are."""
    fractions: Float32[np.ndarray, "channel time"] = samples.astype(np.float32, copy=False)
    if samples.dtype == np.uint8:
        fractions -= np.float32(128)
    if samples.dtype.kind in "iu":
        fractions *= np.float32(get_unit(samples.dtype))
    return fractions


def get_unit(dtype: np.dtype[Any]) -> float:
    """Return the fraction of full scale that one step of a sample is; 1 for floats."""
    return float(2.0 ** (1 - 8 * dtype.itemsize)) if dtype.kind in "iu" else 1.0


def has_float_samples(stream: AudioStream) -> bool:
    """Tell whether the file itself stores floats, whose scale is a matter of habit."""
    name = stream.codec_context.name
    return name.startswith("pcm_f") or (name == "wavpack" and (stream.format.name or "").startswith("flt"))


def is_lossless(stream: AudioStream) -> bool:
    """Tell whether the samples are those that were recorded; any other codec may make its own zeros."""
    return stream.codec_context.name.startswith(("pcm_s", "pcm_u", "pcm_f")) or stream.codec_context.name in _LOSSLESS


def is_silent(pieces: Iterator[Piece]) -> bool:
    """Tell whether no sample reaches -80 dB; reads on only until one does."""
    return not any(np.abs(convert_to_fractions(piece.samples)).max(initial=0) > _SILENT_PEAK for piece in pieces)


# ---------------------------------------------------------------- what a packet says of lost sound


def _choose_clock(container: InputContainer, stream: AudioStream, file: BinaryIO) -> "_StampClock | _ByteClock":
    name = container.format.name
    if name == "avi":
        return _ByteClock(file, _list_chunks(stream))
    if name in _WITHOUT_TIMES:
        return _ByteClock(file, None, can_pass_over=name == "aac")
    return _StampClock(file if name == "ogg" else None)


@final
class _StampClock:
    """The clock of files with time stamps, which are right behind a loss.

    Args:
        pages: An Ogg file, whose pages are numbered; None for all others. Where some are missing before the packet that
            was counted last, `is_late` is true: the time stamps behind them come right later.
    """

    has_times = True

    def __init__(self, pages: BinaryIO | None) -> None:
        self._pages = pages
        self.is_late = False
        self._position = -1
        self._number: int | None = None
        self.trailing_seconds = 0.0

    def count_lost_seconds(self, decoded: DecodedPacket) -> float:
        """Count the bad packets at the end; what is lost elsewhere the time stamps tell."""
        if self._pages is not None:
            self.is_late = self._misses_any(self._pages, decoded.packet)
        if decoded.is_bad and decoded.packet is not None:
            self.trailing_seconds += _compute_duration(decoded.packet)
        elif decoded.frames:
            self.trailing_seconds = 0.0
        return 0.0

    def _misses_any(self, pages: BinaryIO, packet: AnyPacket | None) -> bool:
        """Tell whether pages are missing before this packet."""
        if packet is None or packet.pos is None or packet.pos == self._position:
            return False
        before, self._number = self._number, _read_page_number(pages, packet.pos)
        self._position = packet.pos
        return before is not None and self._number is not None and self._number - before > 1


def _compute_duration(packet: AnyPacket) -> float:
    return float((packet.duration or 0) * (packet.time_base or 0))


def _read_page_number(file: BinaryIO, position: int) -> int | None:
    """Return the number of a page of an Ogg file; it counts within its track."""
    file.seek(position)
    head = file.read(27)
    if len(head) < 27 or not head.startswith(b"OggS"):
        return None
    [number] = struct.unpack_from("<I", head, 18)
    return int(number)


def _sum_seconds(frames: Sequence[AudioFrame | VideoFrame]) -> float:
    return sum(frame.samples / frame.sample_rate for frame in frames if isinstance(frame, AudioFrame))


def _list_chunks(stream: AudioStream) -> dict[int, int]:
    """Return the position of each chunk of sound in the index of an AVI, and the bytes of those before it."""
    chunks: dict[int, int] = {}
    before = 0
    for entry in stream.index_entries:
        chunks[entry.pos + CHUNK_HEAD_BYTES] = before
        before += entry.size
    return chunks


@final
class _ByteClock:
    """The clock of files without time stamps: lost bytes are worth as many frames as good ones of their size.

    Args:
        chunks: The bytes of sound before each chunk of an AVI, by its position, since pictures stand between them; None
            for a file that holds sound alone.
        can_pass_over: The demuxer skips junk without counting it in the positions that it tells.
    """

    has_times = False
    is_late = False

    def __init__(self, file: BinaryIO, chunks: dict[int, int] | None, *, can_pass_over: bool = False) -> None:
        self._file = file
        self._chunks = chunks
        self._end: int | None = None  # of what was decoded last: an offset in the file, or in the sound of an AVI
        self._frame_seconds = self._bytes = self._seconds = 0.0
        self._packet_count = self._passed_over = 0
        self._is_after_bad = False
        self._can_check = can_pass_over
        self._duration: int | None = None
        self.trailing_seconds = 0.0

    def count_lost_seconds(self, decoded: DecodedPacket) -> float:
        """Return the sound lost before the frames of this packet."""
        packet = decoded.packet
        if packet is None or (size := packet.size) == 0 or packet.pos is None:
            return 0.0
        start = self._locate(packet)
        if start is None:
            return 0.0
        self._is_after_bad = decoded.is_bad
        if decoded.is_bad:
            if self._end is not None:
                self.trailing_seconds = self._convert(start + size - self._end)
            return 0.0
        lost = 0.0
        if self._end is not None and start > self._end:
            lost = self._convert(self._leave_out_tags(self._end, start))
        self._end = start + size
        duration = packet.duration
        if duration != self._duration or not self._frame_seconds:
            self._duration = duration
            self._frame_seconds = _compute_duration(packet) or _sum_seconds(decoded.frames)
        self._bytes += size
        self._seconds += self._frame_seconds
        self.trailing_seconds = 0.0
        return lost

    def _locate(self, packet: AnyPacket) -> int | None:
        """Return the offset of a packet; in an AVI, that within its sound."""
        position = packet.pos or 0
        if self._chunks is not None:
            return self._chunks.get(position, self._end)  # a later packet of a chunk, or no index
        self._packet_count += 1
        if self._can_check and (self._packet_count % _CHECKED_EACH == 0 or self._is_after_bad):
            self._passed_over += self._find_passed_over(packet, position + self._passed_over)
        return position + self._passed_over

    def _find_passed_over(self, packet: AnyPacket, position: int) -> int:
        """Return the bytes of junk that the reader of an AAC has skipped without counting them."""
        head = bytes(memoryview(packet)[:_COMPARED_BYTES])
        self._file.seek(position)
        if self._file.read(len(head)) == head:
            return 0
        self._file.seek(position)
        found = self._file.read(_LONGEST_JUNK_BYTES).find(head)
        self._can_check = found >= 0
        return max(0, found)

    def _convert(self, byte_count: int) -> float:
        """Return the seconds of whole frames that a number of bytes would hold."""
        if byte_count <= 0 or not self._seconds or not self._frame_seconds:
            return 0.0
        return round(byte_count * self._seconds / self._bytes / self._frame_seconds) * self._frame_seconds

    def _leave_out_tags(self, start: int, end: int) -> int:
        """Return the bytes between two offsets less the tags at a joint of two files, and the header of the second."""
        if self._chunks is not None or end <= start:
            return end - start
        self._file.seek(start)
        gap = self._file.read(min(end - start, _LONGEST_JUNK_BYTES))
        tags = _TAGS.match(gap)
        if tags is None:
            return end - start
        left = len(gap) - tags.end()
        if tags["size"]:
            left -= sum(byte << 7 * (3 - index) for index, byte in enumerate(tags["size"]))
        return 0 if b"Xing" in gap or b"Info" in gap else max(0, left + end - start - len(gap))
