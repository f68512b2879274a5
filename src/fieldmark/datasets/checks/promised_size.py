"""How many bytes a file says it has, so that one that was cut off shows, however well its beginning plays."""

import re
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO

_LARGEST_OGG_PAGE_BYTES = 65_307
_MOST_BOXES = 10_000
_LARGEST_MP3_FRAME_BYTES = 1_441  # by which the counts of some encoders are off
_SYNC_BYTES = 2_000  # the first frame of an MP3, in which its length may stand


def promised_bytes(path: Path, format_name: str) -> int | None:
    """The length that the structure of a file promises; None where the format, or this file, says none.

    A file may be longer: what stands behind its end harms nothing.

    Args:
        format_name: What the file begins as.
    """
    reader = _READERS.get(format_name)
    if reader is None:
        return None
    with path.open("rb") as file:
        try:
            return reader(file, path.stat().st_size)
        except (struct.error, IndexError):  # too short to say anything
            return None


def _riff(file: BinaryIO, _: int) -> int | None:
    [length] = struct.unpack("<4xI", file.read(8))
    is_stream = length >= 0xFFFFFF00  # written before the length was known
    return None if is_stream else int(length) + 8


def _aiff(file: BinaryIO, _: int) -> int | None:
    [length] = struct.unpack(">4xI", file.read(8))
    return int(length) + 8


def _boxes(file: BinaryIO, size: int) -> int | None:
    """The end of the last of the boxes that stand one behind the other in an MP4."""
    end = 0
    for _ in range(_MOST_BOXES):
        if end >= size:
            return end
        file.seek(end)
        length, kind = struct.unpack(">I4s", file.read(8))
        if length == 1:
            [length] = struct.unpack(">Q", file.read(8))
        if length < 8 or not kind.isalnum():  # 0: to the end of the file; no name: something appended
            return None
        end += length
    return None


def _pages(file: BinaryIO, size: int) -> int | None:
    """The end of the last page of an Ogg file."""
    start = max(0, size - _LARGEST_OGG_PAGE_BYTES)
    file.seek(start)
    tail = file.read()
    place = tail.rfind(b"OggS")
    segment_count = tail[place + 26]
    lengths = tail[place + 27 : place + 27 + segment_count]
    return None if place < 0 else start + place + 27 + segment_count + sum(lengths)


def _matroska(file: BinaryIO, size: int) -> int | None:
    """The end of the segment, which is all of the file but its head."""
    data = file.read(min(size, 4_096))
    head_length, place = _vint(data, 4)
    place += head_length
    if data[place : place + 4] != b"\x18\x53\x80\x67":
        return None
    start = place + 4
    length, place = _vint(data, start)
    is_stream = length == (1 << 7 * (place - start)) - 1
    return None if is_stream else place + length


def _vint(data: bytes, place: int) -> tuple[int, int]:
    """A number of variable length, and where the next thing begins."""
    width = 9 - data[place].bit_length()
    value = int.from_bytes(data[place : place + width]) & ((1 << 7 * width) - 1)
    return value, place + width


def _mp3(file: BinaryIO, _: int) -> int | None:
    """The end of the frames, where the first of them counts their bytes."""
    head = file.read(10)
    start = 0
    if head.startswith(b"ID3"):
        start = 10 + sum(byte << 7 * (3 - place) for place, byte in enumerate(head[6:10]))
    file.seek(start)
    frame = file.read(_SYNC_BYTES)
    tag = re.search(rb"Xing|Info", frame[:200])
    if tag is None:
        return None
    flags, first, second = struct.unpack(">III", frame[tag.end() : tag.end() + 12])
    counts = [value for bit, value in ((1, first), (2, second if flags & 1 else first)) if flags & bit]
    return start + counts[-1] - _LARGEST_MP3_FRAME_BYTES if flags & 2 else None


_READERS: Mapping[str, Callable[[BinaryIO, int], int | None]] = {
    "WAV": _riff,
    "WebP": _riff,
    "AVI": _riff,
    "AIFF": _aiff,
    "MP4": _boxes,
    "Ogg": _pages,
    "Matroska": _matroska,
    "MP3": _mp3,
}
