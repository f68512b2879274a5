"""Files that were joined: another file of the same format behind the end of the first, which players never show."""

import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from fieldmark.types import MediaWarning

JOINED = "joined"
"""The kind of the warning."""

_MOST_PARTS = 1_000_000  # boxes, blocks or tags that are followed


def warn_of_joined_file(path: Path) -> tuple[MediaWarning, ...]:
    """Return the warning that a file holds another one behind its end; empty where it does not."""
    with path.open("rb") as file:
        offset = _find(file, path.stat().st_size)
    if offset is None:
        return ()
    return (
        MediaWarning(
            JOINED,
            f"Another file begins at byte {offset:,} of this one, as if two were joined. Only the first is used; split "
            "the file to use both.",
        ),
    )


def _find(file: BinaryIO, size: int) -> int | None:
    """Return where the second file begins."""
    head = file.read(12)
    name = next((name for name, is_meant in _FORMATS.items() if is_meant(head)), None)
    if name is None:
        return None
    is_meant, follow = _FORMATS[name], _FOLLOW[name]
    try:
        for count, position in enumerate(follow(file, size)):
            file.seek(position)
            if position >= size or count > _MOST_PARTS:
                return None
            if position and is_meant(file.read(12)):
                return position
    except (struct.error, ArithmeticError):  # it ends, or is damaged, before a second file
        return None
    return None


def _follow_chunk(file: BinaryIO, _: int, *, order: str) -> Iterator[int]:
    """Yield the end of the one chunk that a WAV or an AIFF is, with and without its padding."""
    file.seek(4)
    [length] = struct.unpack(f"{order}I", file.read(4))
    if length < 0xFFFFFF00:  # otherwise it was written before the size was known
        yield 8 + length
        yield 8 + length + length % 2


def _follow_caf(file: BinaryIO, size: int) -> Iterator[int]:
    position = 8
    while position < size:
        yield position
        file.seek(position + 4)
        [length] = struct.unpack(">q", file.read(8))
        if length < 0:  # to the end of the file
            return
        position += 12 + length


def _follow_boxes(file: BinaryIO, size: int) -> Iterator[int]:
    position = 0
    while position < size:
        yield position
        file.seek(position)
        head = file.read(16)
        [length] = struct.unpack_from(">I", head)
        if length == 1:
            [length] = struct.unpack_from(">Q", head, 8)
        if length < 8:
            return
        position += length


def _follow_tta(file: BinaryIO, _: int) -> Iterator[int]:
    """Yield the end of the frames, whose sizes stand behind the header."""
    file.seek(10)
    rate, length = struct.unpack("<II", file.read(8))
    frame_count = min(-(-length // (256 * rate // 245)), _MOST_PARTS)
    file.seek(22)
    sizes = struct.unpack(f"<{frame_count}I", file.read(4 * frame_count))
    yield _skip_tag(file, 22 + 4 * frame_count + 4 + sum(sizes))


def _skip_tag(file: BinaryIO, position: int) -> int:
    """Return the end of an APE tag, if one stands here."""
    file.seek(position)
    if file.read(8) != b"APETAGEX":
        return position
    [length] = struct.unpack("<4xI", file.read(8))
    return position + 32 + int(length)


def _follow_wavpack(file: BinaryIO, size: int) -> Iterator[int]:
    """Yield where a first block with samples does not lie behind the samples before."""
    position, last = 0, -1
    while (position := _skip_tag(file, position)) < size:
        file.seek(position)
        length, index, count, flags = struct.unpack("<4xI8xIII", file.read(28))
        if count and flags & _WAVPACK_FIRST:
            if index <= last:
                yield position
            last = index
        position += 8 + length


_WAVPACK_FIRST = 0x800  # of the blocks of one time, which hold two channels each


def _follow_flv(file: BinaryIO, size: int) -> Iterator[int]:
    file.seek(5)
    [position] = struct.unpack(">I", file.read(4))
    position += 4
    while position < size:
        yield position
        file.seek(position)
        [head] = struct.unpack(">I", file.read(4))
        position += 11 + (head & 0xFFFFFF) + 4


_FORMATS: Mapping[str, Callable[[bytes], bool]] = {
    "WAV": lambda head: head[:4] == b"RIFF" and head[8:12] == b"WAVE",
    "AIFF": lambda head: head[:4] == b"FORM" and head[8:11] == b"AIF",
    "CAF": lambda head: head[:4] == b"caff",
    "MP4": lambda head: head[4:8] == b"ftyp",
    "TTA": lambda head: head[:4] == b"TTA1",
    "WavPack": lambda head: head[:4] == b"wvpk",
    "FLV": lambda head: head[:4] == b"FLV\x01",
}

_FOLLOW: Mapping[str, Callable[[BinaryIO, int], Iterator[int]]] = {
    "WAV": lambda file, size: _follow_chunk(file, size, order="<"),
    "AIFF": lambda file, size: _follow_chunk(file, size, order=">"),
    "CAF": _follow_caf,
    "MP4": _follow_boxes,
    "TTA": _follow_tta,
    "WavPack": _follow_wavpack,
    "FLV": _follow_flv,
}
"""Where, in a file of each format, another one may begin."""
