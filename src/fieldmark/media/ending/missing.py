"""An end that is missing: files that end, or break, within one of their own parts."""

import struct
import zlib
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from fieldmark.media.ending.bare_sound import ends_in_frame, measure_ac3, measure_adts, measure_mpeg
from fieldmark.media.ending.declared import (
    FRAGMENT,
    LARGEST_OGG_PAGE_BYTES,
    Box,
    find_matroska_end,
    list_boxes,
    read_vint,
)

_TAIL_BYTES = 2**21
_SYNC = 0x47
_TS_LAYOUTS = ((188, 0), (192, 4), (204, 0))  # bytes of a packet, and those before its sync byte
_TAGS = {8, 9, 18}
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
    boxes = list_boxes(file, size)
    fragments = [box for box in boxes if box.name == FRAGMENT]
    if not fragments:
        return False
    last = boxes[-1]
    if last.end > size or any(not _is_whole(file, box) for box in fragments):
        return True
    return last.length < 8 and _holds(file, FRAGMENT, start=last.position)


def _is_whole(file: BinaryIO, box: Box) -> bool:
    """Tell whether the boxes within a box fill it."""
    children = list_boxes(file, box.end, position=box.position + 8)
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
    file.seek(max(0, size - 2 * LARGEST_OGG_PAGE_BYTES))
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
    if find_matroska_end(file, size) is not None:
        return False
    file.seek(max(0, size - _TAIL_BYTES))
    data = file.read()
    cluster = data.rfind(_CLUSTER)
    if cluster < 0:
        return False
    _, position = read_vint(data, cluster + len(_CLUSTER))
    while position < len(data):
        if data[position] == 0:  # no element
            return False
        position += 9 - data[position].bit_length()
        length, position = read_vint(data, position)
        position += length
    return position > len(data)


_ENDINGS: Mapping[str, Callable[[BinaryIO, int], bool]] = {
    "mov,mp4,m4a,3gp,3g2,mj2": _ends_in_fragment,
    "flv": _ends_in_tag,
    "mpegts": _ends_in_stream_packet,
    "mpeg": _ends_in_pack,
    "ogg": _ends_without_mark,
    "gif": _ends_in_block,
    "matroska,webm": _ends_in_cluster,
    "mp3": partial(ends_in_frame, measure=measure_mpeg),
    "aac": partial(ends_in_frame, measure=measure_adts),
    "ac3": partial(ends_in_frame, measure=measure_ac3),
    "eac3": partial(ends_in_frame, measure=measure_ac3),
}
