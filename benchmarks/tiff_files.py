"""TIFF files that Pillow does not write: raw photos, pages, and samples of any depth."""

import io
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

_CODES = {"B": 1, "s": 2, "H": 3, "I": 4, "R": 5, "i": 9, "r": 10, "f": 11}
Tags = Mapping[int, tuple[str, Sequence[int] | bytes]]


def write_tiff(
    path: Path, pages: Sequence[tuple[Tags, bytes, Sequence[tuple[Tags, bytes]]]], *, is_data_behind: bool = False
) -> Path:
    """Write directories, each with its own data and the directories below it (tag 330).

    Args:
        is_data_behind: All data, the smallest first, stands behind all directories, as cameras write it.
    """
    layout = _Layout()
    layout.write(pages)
    if is_data_behind:
        behind = _Layout(held={})
        behind.write(pages)  # once for the size of the directories
        end, starts = len(behind.file.getvalue()), {}
        for data in sorted(behind.held or (), key=len):
            starts[data], end = end, end + len(data)
        layout = _Layout(held=starts)
        layout.write(pages)
        layout.file.write(b"".join(starts))
    path.write_bytes(layout.file.getvalue())
    return path


class _Layout:
    """A TIFF that is being written; `held` says where each data will stand, None: before its directory."""

    def __init__(self, *, held: dict[bytes, int] | None = None) -> None:
        self.file = io.BytesIO()
        self.held = held

    def write(self, pages: Sequence[tuple[Tags, bytes, Sequence[tuple[Tags, bytes]]]]) -> None:
        file = self.file
        file.write(b"II*\0\0\0\0\0")
        next_at = 4
        for tags, data, children in pages:
            below = [self._write_directory(child, child_data)[0] for child, child_data in children]
            own = {**tags, **({330: ("I", below)} if below else {})}
            offset, link = self._write_directory(own, data)
            file.seek(next_at)
            file.write(struct.pack("<I", offset))
            file.seek(0, io.SEEK_END)
            next_at = link

    def _write_directory(self, tags: Tags, data: bytes) -> tuple[int, int]:
        """Write a directory, and its data; return where it stands, and where the link to the next is."""
        file = self.file
        if self.held is None:
            start = file.tell()
            file.write(data)
        else:
            start = self.held.setdefault(data, 0)
        entries = b""
        resolved = {tag: (kind, _place(values, start, len(data))) for tag, (kind, values) in tags.items()}
        for tag, (kind, values) in sorted(resolved.items()):
            packed = _pack(kind, values)
            count = len(values) // (2 if kind in "Rr" else 1)
            if len(packed) > 4:
                place = file.tell()
                file.write(packed)
                packed = struct.pack("<I", place)
            entries += struct.pack("<HHI", tag, _CODES[kind], count) + packed.ljust(4, b"\0")
        offset = file.tell()
        file.write(struct.pack("<H", len(resolved)) + entries + struct.pack("<I", 0))
        return offset, offset + 2 + len(entries)


def _place(values: Sequence[int] | bytes, start: int, length: int) -> Sequence[int] | bytes:
    return values if isinstance(values, bytes) else [{-1: start, -2: length}.get(value, value) for value in values]


def _pack(kind: str, values: Sequence[int] | bytes) -> bytes:
    if isinstance(values, bytes):
        return values
    return struct.pack(f"<{len(values)}{kind.translate({ord('R'): 'I', ord('r'): 'i'})}", *values)


def describe(pixels: np.ndarray, *, photometric: int | None = None, **more: tuple[str, Sequence[int] | bytes]) -> Tags:
    """The tags of uncompressed samples; -1 and -2 stand for where they begin and how long they are."""
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    kind = {"u": 1, "i": 2, "f": 3}[pixels.dtype.kind]
    return {
        256: ("I", [pixels.shape[1]]),
        257: ("I", [pixels.shape[0]]),
        258: ("H", [8 * pixels.dtype.itemsize] * channels),
        259: ("H", [1]),
        262: ("H", [photometric if photometric is not None else (1 if channels == 1 else 2)]),
        273: ("I", [-1]),
        277: ("H", [channels]),
        278: ("I", [pixels.shape[0]]),
        279: ("I", [-2]),
        339: ("H", [kind] * channels),
        **{int(tag[1:]): value for tag, value in more.items()},
    }


def write_samples(path: Path, pixels: np.ndarray, **more: tuple[str, Sequence[int] | bytes]) -> Path:
    """Write samples as they are: 12 in 16 bits, colors of 16 bits, floats of 32 or 64."""
    return write_tiff(path, [(describe(pixels, **more), np.ascontiguousarray(pixels).tobytes(), ())])


def make_jpeg(pixels: np.ndarray, *, orientation: int | None = None) -> bytes:
    """A JPEG, with or without the EXIF of a camera."""
    file = io.BytesIO()
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    Image.fromarray(pixels).save(file, "JPEG", quality=95, exif=exif.tobytes() if orientation else b"")
    return file.getvalue()


def write_raw_photo(
    path: Path,
    *,
    preview: np.ndarray | None,
    sensor: tuple[int, int] = (1_600, 1_200),
    turned: int = 1,
    is_data_behind: bool = False,
) -> Path:
    """Write a DNG: a green thumbnail first, as cameras do, then the sensor's values and the preview."""
    width, height = sensor
    thumbnail = np.zeros((120, 160, 3), np.uint8)
    thumbnail[..., 1] = 200
    values = (np.arange(width * height) % 4_096).astype(np.uint16).reshape(height, width)
    matrix = [10_000, 10_000, 0, 1, 0, 1, 0, 1, 10_000, 10_000, 0, 1, 0, 1, 0, 1, 10_000, 10_000]
    first = describe(
        thumbnail,
        t254=("I", [1]),
        t271=("s", b"Fieldmark\0"),
        t272=("s", b"Test\0"),
        t274=("H", [turned]),
        t50706=("B", [1, 4, 0, 0]),
        t50707=("B", [1, 1, 0, 0]),
        t50708=("s", b"Fieldmark Test\0"),
        t50721=("r", matrix),
        t50778=("H", [21]),
    )
    below = [
        (
            describe(
                values,
                photometric=32803,
                t254=("I", [0]),
                t33421=("H", [2, 2]),
                t33422=("B", [0, 1, 1, 2]),
                t50717=("I", [4_095]),
            ),
            values.tobytes(),
        )
    ]
    if preview is not None:
        data = make_jpeg(preview)
        tags = {**describe(preview, photometric=6, t254=("I", [1])), 259: ("H", [7])}
        below.append((tags, data))
    return write_tiff(path, [(first, thumbnail.tobytes(), below)], is_data_behind=is_data_behind)
