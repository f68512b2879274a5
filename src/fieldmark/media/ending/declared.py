"""The size that a file declares of itself, and the index that it lacks."""

import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from fieldmark.media.signatures import HEAD_BYTES, find_format

LARGEST_OGG_PAGE_BYTES = 65_307
_MOST_BOXES = 100_000
FRAGMENT = b"moof"
_UNKNOWN_LENGTH = 0xFFFFFF00  # and above: written before the length was known
_ASF_HEAD_BYTES = 2**16
_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_LARGEST_MP3_FRAME_BYTES = 1_441  # some encoders count one frame too many
_VBRI_POSITION = 36  # in the first frame
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
    name, length, first, long_length = struct.unpack("<4sI4x4s4xQ", file.read(28).ljust(28, b"\x00"))
    if name == b"RF64" and first == b"ds64":
        length = long_length
    elif length >= _UNKNOWN_LENGTH:
        return None
    return int(length) + 8


def _avi(file: BinaryIO, size: int) -> int | None:
    """Return the end of the last of the chunks that an AVI beyond a gigabyte is divided into."""
    end = 0
    while end + 8 <= size:
        file.seek(end)
        name, length = struct.unpack("<4sI", file.read(8))
        if name != b"RIFF":
            break
        if length >= _UNKNOWN_LENGTH:
            return None
        end += 8 + length + length % 2
    return end


def read_avi_seconds(path: Path) -> float | None:
    """Return the length in the main header of an AVI, at least that of its first gigabyte; None for other files.

    FFmpeg tells the length of what it finds instead.
    """
    with path.open("rb") as file:
        head = file.read(52)
    if len(head) < 52 or head[8:12] != b"AVI " or head[24:28] != b"avih":
        return None
    microseconds, count = struct.unpack_from("<I12xI", head, 32)
    return float(microseconds * count / 1e6)


def _caf(file: BinaryIO, size: int) -> int | None:
    end = 8
    while end + 12 <= size:
        file.seek(end)
        name, length = struct.unpack(">4sq", file.read(12))
        if length < 0 or not name.isalpha():  # to the end of the file; data appended later
            return None
        end += 12 + length
    return end


def _au(file: BinaryIO, _: int) -> int | None:
    offset, length = struct.unpack(">4xII", file.read(12))
    return None if length >= _UNKNOWN_LENGTH else int(offset + length)


def _w64(file: BinaryIO, _: int) -> int | None:
    [length] = struct.unpack("<16xQ", file.read(24))
    return int(length)


def _asf(file: BinaryIO, _: int) -> int | None:
    """Return the size in the properties of an ASF; 0 stands for a broadcast."""
    data = file.read(_ASF_HEAD_BYTES)
    at = data.find(_ASF_PROPERTIES)
    [length] = struct.unpack_from("<Q", data, at + 40)
    return int(length) or None if at >= 0 else None


def _aiff(file: BinaryIO, _: int) -> int | None:
    [length] = struct.unpack(">4xI", file.read(8))
    return int(length) + 8


def _boxes(file: BinaryIO, size: int) -> int | None:
    """Return the end of the last top-level box of an MP4; of one in fragments, none tells how many follow."""
    end = 0
    for box in list_boxes(file, size):
        if box.length < 8 or not box.name.isalnum() or box.name == FRAGMENT:
            return None
        end = box.end
    return end


@dataclass(frozen=True, slots=True)
class Box:
    """A box of an MP4; its length is below 8 where it states none that can be followed."""

    name: bytes
    position: int
    length: int

    @property
    def end(self) -> int:
        """The byte behind it."""
        return self.position + self.length


def list_boxes(file: BinaryIO, end: int, *, position: int = 0) -> list[Box]:
    """Return the boxes of an MP4 up to some byte, as far as they can be followed; the last may be no box."""
    boxes: list[Box] = []
    while position + 8 <= end and len(boxes) < _MOST_BOXES:
        file.seek(position)
        head = file.read(16)
        length, name = struct.unpack_from(">I4s", head)
        if length == 1 and len(head) == 16:
            [length] = struct.unpack_from(">Q", head, 8)
        boxes.append(Box(name, position, length))
        if length < 8:
            break
        position += length
    return boxes


def lacks_index(path: Path) -> bool:
    """Tell whether a file is an MP4 or a MOV without the whole of the box that says where its frames are."""
    size = path.stat().st_size
    with path.open("rb") as file:
        met = find_format(file.read(HEAD_BYTES))
        if met is None or met.name not in ("MP4", "M4A"):
            return False
        return all(box.name != b"moov" or box.end > size for box in list_boxes(file, size))


def _pages(file: BinaryIO, size: int) -> int | None:
    """Return the end of the last page of an Ogg file."""
    start = max(0, size - LARGEST_OGG_PAGE_BYTES)
    file.seek(start)
    tail = file.read()
    page = tail.rfind(b"OggS")
    segment_count = tail[page + 26]
    lengths = tail[page + 27 : page + 27 + segment_count]
    return None if page < 0 else start + page + 27 + segment_count + sum(lengths)


def find_matroska_end(file: BinaryIO, size: int) -> int | None:
    """Return the end of the Matroska segment, which is everything after the header."""
    data = file.read(min(size, 4_096))
    header_length, offset = read_vint(data, 4)
    offset += header_length
    if data[offset : offset + 4] != b"\x18\x53\x80\x67":
        return None
    start = offset + 4
    length, offset = read_vint(data, start)
    is_stream = length == (1 << 7 * (offset - start)) - 1
    return None if is_stream else offset + length


def read_vint(data: bytes, offset: int) -> tuple[int, int]:
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
    if frame[_VBRI_POSITION:].startswith(b"VBRI"):
        [count] = struct.unpack_from(">I", frame, _VBRI_POSITION + 10)
        return start + int(count) - _LARGEST_MP3_FRAME_BYTES
    tag = re.search(rb"Xing|Info", frame[:200])
    if tag is None:
        return None
    flags, first, second = struct.unpack(">III", frame[tag.end() : tag.end() + 12])
    counts = [value for bit, value in ((1, first), (2, second if flags & 1 else first)) if flags & bit]
    return start + counts[-1] - _LARGEST_MP3_FRAME_BYTES if flags & 2 else None


_READERS: Mapping[str, Callable[[BinaryIO, int], int | None]] = {
    "WAV": _riff,
    "WebP": _riff,
    "AVI": _avi,
    "AIFF": _aiff,
    "MP4": _boxes,
    "M4A": _boxes,
    "AVIF": _boxes,
    "HEIF": _boxes,
    "Ogg": _pages,
    "Matroska": find_matroska_end,
    "MP3": _mp3,
    "CAF": _caf,
    "AU": _au,
    "W64": _w64,
    "ASF": _asf,
}
