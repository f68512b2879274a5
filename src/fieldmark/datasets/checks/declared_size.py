"""Read the size that a media file declares in its own structure, to detect truncated files."""

import re
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO

_LARGEST_OGG_PAGE_BYTES = 65_307
_MOST_BOXES = 10_000
_LARGEST_MP3_FRAME_BYTES = 1_441  # some encoders count one frame too many
_SYNC_BYTES = 2_000  # enough for the first frame of an MP3, which may state the total size


def read_declared_bytes(path: Path, format_name: str) -> int | None:
    """Return the size in bytes that a file declares; None if the format, or this file, declares none.

    A file may be longer: data after the declared end does no harm.

    Args:
        format_name: The format that the first bytes of the file identify.
    """
    reader = _READERS.get(format_name)
    if reader is None:
        return None
    with path.open("rb") as file:
        try:
            return reader(file, path.stat().st_size)
        except (struct.error, IndexError):  # too short to declare a size
            return None


def _riff(file: BinaryIO, _: int) -> int | None:
    [length] = struct.unpack("<4xI", file.read(8))
    is_stream = length >= 0xFFFFFF00  # written before the size was known
    return None if is_stream else int(length) + 8


def _aiff(file: BinaryIO, _: int) -> int | None:
    [length] = struct.unpack(">4xI", file.read(8))
    return int(length) + 8


def _boxes(file: BinaryIO, size: int) -> int | None:
    """Return the end of the last top-level box of an MP4."""
    end = 0
    for _ in range(_MOST_BOXES):
        if end >= size:
            return end
        file.seek(end)
        length, kind = struct.unpack(">I4s", file.read(8))
        if length == 1:
            [length] = struct.unpack(">Q", file.read(8))
        if length < 8 or not kind.isalnum():  # 0: extends to the end of the file; no name: data appended later
            return None
        end += length
    return None


def _pages(file: BinaryIO, size: int) -> int | None:
    """Return the end of the last page of an Ogg file."""
    start = max(0, size - _LARGEST_OGG_PAGE_BYTES)
    file.seek(start)
    tail = file.read()
    page = tail.rfind(b"OggS")
    segment_count = tail[page + 26]
    lengths = tail[page + 27 : page + 27 + segment_count]
    return None if page < 0 else start + page + 27 + segment_count + sum(lengths)


def _matroska(file: BinaryIO, size: int) -> int | None:
    """Return the end of the Matroska segment, which is everything after the header."""
    data = file.read(min(size, 4_096))
    header_length, offset = _vint(data, 4)
    offset += header_length
    if data[offset : offset + 4] != b"\x18\x53\x80\x67":
        return None
    start = offset + 4
    length, offset = _vint(data, start)
    is_stream = length == (1 << 7 * (offset - start)) - 1
    return None if is_stream else offset + length


def _vint(data: bytes, offset: int) -> tuple[int, int]:
    """Return an integer of variable length and the offset behind it."""
    width = 9 - data[offset].bit_length()
    value = int.from_bytes(data[offset : offset + width]) & ((1 << 7 * width) - 1)
    return value, offset + width


def _mp3(file: BinaryIO, _: int) -> int | None:
    """Return the end of the frames of an MP3 whose first frame states their total size."""
    head = file.read(10)
    start = 0
    if head.startswith(b"ID3"):
        start = 10 + sum(byte << 7 * (3 - index) for index, byte in enumerate(head[6:10]))
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
    "M4A": _boxes,
    "AVIF": _boxes,
    "HEIF": _boxes,
    "Ogg": _pages,
    "Matroska": _matroska,
    "MP3": _mp3,
}
