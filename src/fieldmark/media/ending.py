"""The end of a file: the size that it declares, the index that it lacks, an end that is missing."""

import re
import struct
import zlib
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from fieldmark.media.signatures import HEAD_BYTES, find_format

# ---------------------------------------------------------------- the size that a file declares

_LARGEST_OGG_PAGE_BYTES = 65_307
_MOST_BOXES = 100_000
_FRAGMENT = b"moof"
_UNKNOWN_LENGTH = 0xFFFFFF00  # and above: written before the length was known
_ASF_HEAD_BYTES = 2**16
_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
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
    for box in _list_boxes(file, size):
        if box.length < 8 or not box.name.isalnum() or box.name == _FRAGMENT:
            return None
        end = box.end
    return end


@dataclass(frozen=True, slots=True)
class _Box:
    """A box of an MP4; its length is below 8 where it states none that can be followed."""

    name: bytes
    position: int
    length: int

    @property
    def end(self) -> int:
        """The byte behind it."""
        return self.position + self.length


def _list_boxes(file: BinaryIO, end: int, *, position: int = 0) -> list[_Box]:
    """Return the boxes of an MP4 up to some byte, as far as they can be followed; the last may be no box."""
    boxes: list[_Box] = []
    while position + 8 <= end and len(boxes) < _MOST_BOXES:
        file.seek(position)
        head = file.read(16)
        length, name = struct.unpack_from(">I4s", head)
        if length == 1 and len(head) == 16:
            [length] = struct.unpack_from(">Q", head, 8)
        boxes.append(_Box(name, position, length))
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
        return all(box.name != b"moov" or box.end > size for box in _list_boxes(file, size))


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
    "AVI": _avi,
    "AIFF": _aiff,
    "MP4": _boxes,
    "M4A": _boxes,
    "AVIF": _boxes,
    "HEIF": _boxes,
    "Ogg": _pages,
    "Matroska": _matroska,
    "MP3": _mp3,
    "CAF": _caf,
    "AU": _au,
    "W64": _w64,
    "ASF": _asf,
}

# ---------------------------------------------------------------- an end that is missing

_TAIL_BYTES = 2**21
_SYNC = 0x47
_TS_LAYOUTS = ((188, 0), (192, 4), (204, 0))  # bytes of a packet, and those before its sync byte
_TAGS = {8, 9, 18}
_FRAMES_BYTES = 2**16
_FRAME_HEAD_BYTES = 8
_SURE_FRAMES = 4  # in a row; fewer may be chance
_LAYER_2, _LAYER_3 = 2, 1
_MPEG_KILOBITS = {
    _LAYER_2: (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    _LAYER_3: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
}
_MPEG_2_KILOBITS = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_AC3_KILOBITS = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640)
_CLUSTER = b"\x1fC\xb6u"


def is_cut_off(path: Path, container_name: str) -> bool:
    """Tell whether a file ends within one of its own parts, or is broken there, whatever size it declares.

    Args:
        container_name: As FFmpeg spells it.
    """
    reader = _ENDINGS.get(container_name)
    if reader is None:
        return False
    with path.open("rb") as file:
        try:
            return reader(file, path.stat().st_size)
        except (struct.error, IndexError):  # within a header
            return True


def _ends_in_fragment(file: BinaryIO, size: int) -> bool:
    """Tell whether a fragment of an MP4 is cut off or broken, so that nothing behind it is found."""
    boxes = _list_boxes(file, size)
    fragments = [box for box in boxes if box.name == _FRAGMENT]
    if not fragments:
        return False
    last = boxes[-1]
    if last.end > size or any(not _is_whole(file, box) for box in fragments):
        return True
    return last.length < 8 and _holds(file, _FRAGMENT, start=last.position)


def _is_whole(file: BinaryIO, box: _Box) -> bool:
    """Tell whether the boxes within a box fill it."""
    children = _list_boxes(file, box.end, position=box.position + 8)
    return bool(children) and children[-1].length >= 8 and children[-1].end == box.end


def _holds(file: BinaryIO, name: bytes, *, start: int) -> bool:
    file.seek(start)
    before = b""
    while block := file.read(_TAIL_BYTES):
        if name in before + block:
            return True
        before = block[-len(name) :]
    return False


def _ends_in_tag(file: BinaryIO, size: int) -> bool:
    """Tell whether the last tag of an FLV is cut off; what cannot be a tag is another matter."""
    file.seek(5)
    [position] = struct.unpack(">I", file.read(4))
    position += 4
    while position < size:
        file.seek(position)
        head = file.read(4)
        if head[0] & 0x1F not in _TAGS:
            return False
        [value] = struct.unpack(">I", head)
        position += 11 + (value & 0xFFFFFF) + 4
    return bool(position > size)


@dataclass(slots=True)
class _Stretch:
    """The last packet of an elementary stream, as far as it was met: `length` is 0 where it states none."""

    length: int = 0
    byte_count: int = 0
    is_padded: bool = False


def _ends_in_stream_packet(file: BinaryIO, size: int) -> bool:
    """Tell whether the last packet of a transport stream, or of one of its tracks, is cut off.

    A track's packet fills whole transport packets; only its last one is padded, unless it fits by chance.
    """
    start = max(0, size - _TAIL_BYTES)
    file.seek(start)
    data = file.read()
    found = _find_sync(data)
    if found is None:
        return False
    first, length, lead = found
    rest = (len(data) - first) % length
    if rest > lead and data[len(data) - rest + lead] == _SYNC:
        return True
    tracks: defaultdict[int, _Stretch | None] = defaultdict(lambda: None)
    for at in range(first + lead, len(data) - length + lead + 1, length):
        _follow_packet(data[at : at + 188], tracks)
    return any(
        track.byte_count < track.length if track.length else not track.is_padded
        for track in tracks.values()
        if track is not None
    )


def _find_sync(data: bytes) -> tuple[int, int, int] | None:
    """Return where packets begin, their length, and the bytes before their sync byte."""
    for length, lead in _TS_LAYOUTS:
        for first in range(length):
            marks = data[first + lead : first + lead + 8 * length : length]
            if len(marks) > 1 and set(marks) == {_SYNC}:
                return first, length, lead
    return None


def _follow_packet(packet: bytes, tracks: dict[int, "_Stretch | None"]) -> None:
    if packet[0] != _SYNC or not packet[3] & 0x10:
        return
    number, begins = (packet[1] & 0x1F) << 8 | packet[2], bool(packet[1] & 0x40)
    padding = 1 + packet[4] if packet[3] & 0x20 else 0
    payload = packet[4 + padding :]
    if begins:
        tracks[number] = None
        if payload.startswith(b"\x00\x00\x01") and len(payload) > 6:
            [length] = struct.unpack_from(">H", payload, 4)
            tracks[number] = _Stretch(length + 6 if length else 0)
    track = tracks[number]
    if track is not None:
        track.byte_count += len(payload)
        track.is_padded = padding > 0 and _count_needed(packet) < padding


def _count_needed(packet: bytes) -> int:
    """Return the bytes of the field before a payload that are no padding, its length included."""
    if packet[4] == 0:
        return 0
    flags = packet[5]
    if flags & 0x03:  # private data, which may be of any length
        return 0
    return 2 + 6 * bool(flags & 0x10) + 6 * bool(flags & 0x08) + bool(flags & 0x04)


def _ends_in_pack(file: BinaryIO, size: int) -> bool:
    """Tell whether the last packet of a program stream is cut off."""
    file.seek(max(0, size - _TAIL_BYTES))
    data = file.read()
    position = data.rfind(b"\x00\x00\x01\xba")
    if position < 0:
        return False
    position += 14 + (data[position + 13] & 7) if data[position + 4] & 0xC0 == 0x40 else 12
    while position < len(data):
        if not data.startswith(b"\x00\x00\x01", position) or data[position + 3] == 0xB9:
            return False
        [length] = struct.unpack_from(">H", data, position + 4)
        position += 6 + length
    return position > len(data)


def _ends_without_mark(file: BinaryIO, size: int) -> bool:
    """Tell whether the last page of an Ogg file is not marked as the last, or is damaged."""
    file.seek(max(0, size - 2 * _LARGEST_OGG_PAGE_BYTES))
    tail = file.read()
    at = tail.rfind(b"OggS")
    if at < 0:
        return False
    head_bytes = 27 + tail[at + 26]
    page = tail[at : at + head_bytes + sum(tail[at + 27 : at + head_bytes])]
    [expected] = struct.unpack_from("<I", page, 22)
    return page[5] & 4 == 0 or expected != _compute_ogg_sum(page[:22] + bytes(4) + page[26:])


def _compute_ogg_sum(page: bytes) -> int:
    """Return the check sum of a page (RFC 3533, 6): the CRC-32 of zlib, but begun with 0 and with all bits mirrored."""
    value = zlib.crc32(page.translate(_MIRRORED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{value:032b}"[::-1], 2)


_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def _ends_in_block(file: BinaryIO, size: int) -> bool:
    """Tell whether a GIF ends, or breaks, before the mark of its end."""
    file.seek(6)
    [flags] = struct.unpack("4xB2x", file.read(7))
    position = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    while position < size:
        file.seek(position)
        head = file.read(10)
        if head[0] == 0x3B:
            return False
        if head[0] == 0x2C:
            position += 11 + (3 << (head[9] & 7) + 1 if head[9] & 0x80 else 0)
        elif head[0] == 0x21:
            position += 2
        else:
            return True
        file.seek(position)
        while step := file.read(1)[0]:
            position += 1 + step
            file.seek(position)
        position += 1
    return True


def _ends_in_cluster(file: BinaryIO, size: int) -> bool:
    """Tell whether the last block of a Matroska of unknown length is cut off."""
    if _matroska(file, size) is not None:
        return False
    file.seek(max(0, size - _TAIL_BYTES))
    data = file.read()
    cluster = data.rfind(_CLUSTER)
    if cluster < 0:
        return False
    _, position = _vint(data, cluster + len(_CLUSTER))
    while position < len(data):
        if data[position] == 0:  # no element
            return False
        position += 9 - data[position].bit_length()
        length, position = _vint(data, position)
        position += length
    return position > len(data)


def _ends_in_frame(file: BinaryIO, size: int, *, measure: Callable[[bytes], int | None]) -> bool:
    """Tell whether the last frame of bare sound is cut off.

    Args:
        measure: Returns the bytes of the frame that a header begins; None for what is no header.
    """
    file.seek(max(0, size - _FRAMES_BYTES))
    data = file.read()
    for first in range(min(len(data), _FRAMES_BYTES // 2)):
        position, count = first, 0
        while length := measure(data[position : position + _FRAME_HEAD_BYTES]):
            position += length
            count += 1
        if count >= _SURE_FRAMES:
            return position > len(data)
    return False


def _measure_mpeg(head: bytes) -> int | None:
    """Return the bytes of a frame of MPEG audio, layers II and III (ISO/IEC 11172-3, 2.4.1.3)."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer, rate = head[1] >> 3 & 3, head[1] >> 1 & 3, head[2] >> 2 & 3
    is_first = version == 3
    bits = (_MPEG_KILOBITS[layer] if is_first else _MPEG_2_KILOBITS) if layer in _MPEG_KILOBITS else ()
    kilobits = bits[head[2] >> 4] if head[2] >> 4 < len(bits) else 0
    if version == 1 or rate == 3 or not kilobits:
        return None
    hertz = (44_100, 48_000, 32_000)[rate] // {3: 1, 2: 2, 0: 4}[version]
    samples = 1_152 if is_first or layer == _LAYER_2 else 576
    return samples // 8 * kilobits * 1_000 // hertz + (head[2] >> 1 & 1)


def _measure_adts(head: bytes) -> int | None:
    """Return the bytes of a frame of AAC (ISO/IEC 14496-3, 1.A.2)."""
    if len(head) < 7 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0:
        return None
    length = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    return length if length > 7 else None


def _measure_ac3(head: bytes) -> int | None:
    """Return the bytes of a frame of AC-3 or E-AC-3 (ETSI TS 102 366, 4.3 and E.1.2)."""
    if len(head) < 6 or not head.startswith(b"\x0bw"):
        return None
    if head[5] >> 3 > 10:
        return 2 * (((head[2] & 7) << 8 | head[3]) + 1)
    rate, number = head[4] >> 6, head[4] & 0x3F
    if rate == 3 or number // 2 >= len(_AC3_KILOBITS):
        return None
    kilobits = _AC3_KILOBITS[number // 2]
    if rate == 1:
        return 2 * (kilobits * 96_000 // 44_100 + number % 2)
    return kilobits * (4 if rate == 0 else 6)


_ENDINGS: Mapping[str, Callable[[BinaryIO, int], bool]] = {
    "mov,mp4,m4a,3gp,3g2,mj2": _ends_in_fragment,
    "flv": _ends_in_tag,
    "mpegts": _ends_in_stream_packet,
    "mpeg": _ends_in_pack,
    "ogg": _ends_without_mark,
    "gif": _ends_in_block,
    "matroska,webm": _ends_in_cluster,
    "mp3": partial(_ends_in_frame, measure=_measure_mpeg),
    "aac": partial(_ends_in_frame, measure=_measure_adts),
    "ac3": partial(_ends_in_frame, measure=_measure_ac3),
    "eac3": partial(_ends_in_frame, measure=_measure_ac3),
}
