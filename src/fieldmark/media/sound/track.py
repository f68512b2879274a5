"""One track of sound: its packets decoded, each piece with what the file says of its time."""

import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, final

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


def decode_pieces(container: InputContainer, stream: AudioStream, *, path: Path) -> Iterator[Piece]:
    """Yield the sound of a track from where the container stands to its end.

    Bad packets are passed over; the piece behind them says so. Where the last packets are bad, a piece without samples
    ends the sound.

    Raises:
        UnreadableMediaError: It states an absurd sample rate, or none of its packets can be decoded.
    """
    origin = get_origin_seconds(container)
    with path.open("rb") as file:
        clock = _choose_clock(container, stream, file)
        is_broken, is_late, lost, last = False, False, 0.0, None
        for decoded in decode_packets(container, stream):
            is_broken |= decoded.is_bad
            is_late |= clock.misses_any(decoded)
            lost += clock.count_lost_seconds(decoded)
            for frame in decoded.frames:
                assert isinstance(frame, AudioFrame)  # noqa: S101 - the track is one of sound
                last = _make_piece(frame, origin=origin if clock.has_times else None, path=path)
                if is_broken or is_late or lost:
                    is_counted = is_broken and (clock.has_times or lost > 0)  # a tag between two files is no damage
                    last = replace(last, is_after_break=is_counted, is_stamp_late=is_late, lost_seconds=lost)
                yield last
                is_broken, is_late, lost = False, False, 0.0
    if last is None and is_broken:
        raise UnreadableMediaError(path=path, reason="none of its sound can be decoded")
    if last is not None and clock.trailing_seconds > 0:
        rest = last.samples[:, :0]
        yield Piece(rest, last.sample_rate_hz, None, None, lost_seconds=clock.trailing_seconds)


def _make_piece(frame: AudioFrame, *, origin: float | None, path: Path) -> Piece:
    rate = frame.sample_rate
    if not _SLOWEST_HZ <= rate <= _FASTEST_HZ:
        raise UnreadableMediaError(path=path, reason=f"it states a sample rate of {rate} Hz")
    samples = frame.to_ndarray()
    if not frame.format.is_planar:
        samples = samples.reshape(-1, frame.layout.nb_channels).T
    seconds = None if origin is None or frame.time is None else frame.time - origin
    return Piece(samples, rate, frame.pts, seconds)


def convert_to_fractions(samples: Shaped[np.ndarray, "channel time"]) -> Float32[np.ndarray, "channel time"]:
    """Return samples as fractions of full scale; floats stay as they are."""
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - np.float32(128)) / np.float32(128)
    if np.issubdtype(samples.dtype, np.integer):
        return samples.astype(np.float32) / np.float32(2 ** (8 * samples.dtype.itemsize - 1))
    return samples.astype(np.float32, copy=False)


def has_float_samples(stream: AudioStream) -> bool:
    """Tell whether the file itself stores floats, whose scale is a matter of habit."""
    name = stream.codec_context.name
    return name.startswith("pcm_f") or (name == "wavpack" and (stream.format.name or "").startswith("flt"))


def is_silent(pieces: Iterator[Piece]) -> bool:
    """Tell whether no sample reaches -80 dB; reads on only until one does."""
    return not any(np.abs(convert_to_fractions(piece.samples)).max(initial=0) > _SILENT_PEAK for piece in pieces)


# ---------------------------------------------------------------- what a packet says of lost sound


def _choose_clock(container: InputContainer, stream: AudioStream, file: BinaryIO) -> "_StampClock | _ByteClock":
    name = container.format.name
    if name == "avi":
        return _ByteClock(file, _list_chunks(stream))
    if name in _WITHOUT_TIMES:
        return _ByteClock(file, None)
    return _StampClock(file if name == "ogg" else None)


@final
class _StampClock:
    """The clock of files with time stamps, which are right behind a loss.

    Args:
        pages: An Ogg file, whose pages are numbered; None for all others.
    """

    has_times = True

    def __init__(self, pages: BinaryIO | None) -> None:
        self._pages = pages
        self._position = -1
        self._number: int | None = None
        self.trailing_seconds = 0.0

    def misses_any(self, decoded: DecodedPacket) -> bool:
        """Tell whether pages are missing before this packet; the time stamps behind them come right later."""
        packet = decoded.packet
        if self._pages is None or packet is None or packet.pos is None or packet.pos == self._position:
            return False
        before, self._number = self._number, _read_page_number(self._pages, packet.pos)
        self._position = packet.pos
        return before is not None and self._number is not None and self._number - before > 1

    def count_lost_seconds(self, decoded: DecodedPacket) -> float:
        """Count the bad packets at the end; what is lost elsewhere the time stamps tell."""
        if decoded.is_bad and decoded.packet is not None:
            self.trailing_seconds += _compute_duration(decoded.packet)
        elif decoded.frames:
            self.trailing_seconds = 0.0
        return 0.0


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


@dataclass(frozen=True, slots=True)
class _Chunk:
    """One chunk of sound in the index of an AVI; `before` counts the bytes of those before it."""

    position: int
    size: int
    before: int


def _list_chunks(stream: AudioStream) -> dict[int, _Chunk]:
    chunks: dict[int, _Chunk] = {}
    before = 0
    for entry in stream.index_entries:
        position = entry.pos + CHUNK_HEAD_BYTES
        chunks[position] = _Chunk(position, entry.size, before)
        before += entry.size
    return chunks


@final
class _ByteClock:
    """The clock of files without time stamps: lost bytes are worth as many frames as good ones of their size.

    Args:
        chunks: The chunks of an AVI by position, which divide its sound among its pictures; None for a file that holds
            sound alone.
    """

    has_times = False

    def __init__(self, file: BinaryIO, chunks: dict[int, _Chunk] | None) -> None:
        self._file = file
        self._chunks = chunks
        self._end: int | None = None  # of what was decoded last: an offset in the file, or in the sound of an AVI
        self._frame_seconds = self._bytes = self._seconds = 0.0
        self._packet_count = self._passed_over = 0
        self._is_after_bad = False
        self._can_check = True
        self.trailing_seconds = 0.0

    def misses_any(self, decoded: DecodedPacket) -> bool:  # noqa: ARG002 - one signature for both clocks
        """Tell that no time stamp will come right later."""
        return False

    def count_lost_seconds(self, decoded: DecodedPacket) -> float:
        """Return the sound lost before the frames of this packet."""
        packet = decoded.packet
        if packet is None or packet.pos is None or packet.size == 0:
            return 0.0
        start = self._locate(packet)
        if start is None:
            return 0.0
        self._is_after_bad = decoded.is_bad
        if decoded.is_bad:
            if self._end is not None:
                self.trailing_seconds = self._convert(start + packet.size - self._end)
            return 0.0
        lost = 0.0 if self._end is None else self._convert(self._leave_out_tags(self._end, start))
        self._end = start + packet.size
        self._frame_seconds = _compute_duration(packet) or _sum_seconds(decoded.frames)
        self._bytes += packet.size
        self._seconds += self._frame_seconds
        self.trailing_seconds = 0.0
        return lost

    def _locate(self, packet: AnyPacket) -> int | None:
        """Return the offset of a packet; in an AVI, that within its sound."""
        position = packet.pos or 0
        if self._chunks is not None:
            chunk = self._chunks.get(position)
            return self._end if chunk is None else chunk.before  # a later packet of a chunk, or no index
        self._packet_count += 1
        if self._can_check and (self._packet_count % _CHECKED_EACH == 0 or self._is_after_bad):
            self._passed_over += self._find_passed_over(packet, position + self._passed_over)
        return position + self._passed_over

    def _find_passed_over(self, packet: AnyPacket, position: int) -> int:
        """Return the bytes of junk that the reader of an AAC has passed over without counting them."""
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
