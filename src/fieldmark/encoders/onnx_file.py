"""The files beside an ONNX graph that hold its weights, found without the package `onnx`."""

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from fieldmark.errors import EncoderFilesError

_PARTS = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse_tensor"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse_tensor", 23: "sparse_tensor"},
    "sparse_tensor": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
    "entry": {1: "key", 2: "value"},
}
"""The messages of `onnx.proto` on the way to a tensor's location, by the field that holds them in each."""


class _Field(NamedTuple):
    """A field of a message, and where its content begins and ends."""

    number: int
    start: int
    end: int


def find_external_files(path: Path) -> list[Path]:
    """Return the files that the tensors of a graph refer to, sorted by name.

    Raises:
        EncoderFilesError: The file cannot be read, or is no ONNX graph.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            locations = {each for each in _find_locations(content, "model", 0, len(content)) if each}
    except (OSError, ValueError, IndexError) as error:
        raise EncoderFilesError(name=str(path), reason=f"it is no ONNX graph ({error})", key="path") from error
    return sorted(path.parent / location for location in locations)


def _find_locations(content: mmap.mmap, kind: str, start: int, end: int) -> Iterator[str]:
    """Yield the location of each tensor below a message, by its fields; other fields are skipped."""
    parts = _PARTS[kind]
    key = ""
    for each in _list_fields(content, start, end):
        part = parts.get(each.number)
        if part == "key":
            key = content[each.start : each.end].decode()
        elif part == "value":
            yield content[each.start : each.end].decode() if key == "location" else ""
        elif part is not None:
            yield from _find_locations(content, part, each.start, each.end)


def _list_fields(content: mmap.mmap, start: int, end: int) -> Iterator[_Field]:
    """Yield the fields of a message that hold bytes."""
    while start < end:
        tag, start = _read_number(content, start)
        match tag & 7:
            case 0:  # a number
                _, start = _read_number(content, start)
            case 1:  # eight bytes
                start += 8
            case 5:  # four bytes
                start += 4
            case 2:  # a length, and so many bytes
                length, start = _read_number(content, start)
                if start + length > end:
                    raise ValueError("it is cut off")
                yield _Field(tag >> 3, start, start + length)
                start += length
            case other:
                raise ValueError(f"it holds a field of the unknown kind {other}")


def _read_number(content: mmap.mmap, start: int) -> tuple[int, int]:
    """Return a number of seven bits a byte, and where it ends."""
    number = shift = 0
    while True:
        byte = content[start]
        start += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, start
        shift += 7
