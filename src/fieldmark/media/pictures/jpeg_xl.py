"""JPEG XL: the size that a file states, and its pixels."""

import struct
from pathlib import Path

import numpy as np
from PIL import Image

from fieldmark.errors import MissingExtraError, UnreadableMediaError
from fieldmark.media.pictures.samples import scale_integers, stretch

FORMAT = "JPEG XL"
"""Its name in the table of signatures."""

_CODESTREAM = b"\xff\x0a"
_BOX_NAMES = {b"jxlc": 0, b"jxlp": 4}
"""Boxes that hold the codestream, and the bytes before it."""
_MOST_BOXES = 100
_SIZE_BITS = (9, 13, 18, 30)
_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}


def read_size(data: bytes) -> tuple[int, int]:
    """Return width and height by the header (ISO/IEC 18181-1, SizeHeader); decoders allocate before they can be asked.

    Raises:
        ValueError: There is no header.
    """
    stream = _find_codestream(data)
    bits = _Bits(stream[len(_CODESTREAM) : len(_CODESTREAM) + 16])
    is_small = bits.take(1)
    height = _take_side(bits, is_small=is_small)
    ratio = bits.take(3)
    if ratio == 0:
        return _take_side(bits, is_small=is_small), height
    numerator, denominator = _RATIOS[ratio]
    return height * numerator // denominator, height


def decode(data: bytes, *, path: Path) -> Image.Image:
    """Decode the first frame; libjxl turns it upright itself.

    Raises:
        UnreadableMediaError: The package that decodes it is not installed.
    """
    try:
        import imagecodecs
    except ImportError as error:
        missing = MissingExtraError(package="imagecodecs", extra="photos", need="A picture in JPEG XL")
        reason = f"it is a picture in JPEG XL. {str(missing).rstrip('.')}; or save it as JPEG or PNG"
        raise UnreadableMediaError(path=path, reason=reason) from error
    pixels = np.asarray(imagecodecs.jpegxl_decode(data, index=0))
    if pixels.dtype == np.uint16:
        pixels = scale_integers(pixels)
    elif pixels.dtype != np.uint8:
        pixels = stretch(pixels)
    return Image.fromarray(np.ascontiguousarray(pixels))


def _find_codestream(data: bytes) -> bytes:
    if data.startswith(_CODESTREAM):
        return data
    offset = 0
    for _ in range(_MOST_BOXES):
        if offset + 8 > len(data):
            break
        length, name = struct.unpack_from(">I4s", data, offset)
        head = 8
        if length == 1 and offset + 16 <= len(data):
            [length] = struct.unpack_from(">Q", data, offset + 8)
            head = 16
        if name in _BOX_NAMES:
            return data[offset + head + _BOX_NAMES[name] :][:64]
        if length < head:
            break
        offset += length
    raise ValueError("it is a JPEG XL without a picture")


def _take_side(bits: "_Bits", *, is_small: int) -> int:
    if is_small:
        return (bits.take(5) + 1) * 8
    return bits.take(_SIZE_BITS[bits.take(2)]) + 1


class _Bits:
    """Bits of a few bytes, the lowest first."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "little")
        self._left = 8 * len(data)

    def take(self, count: int) -> int:
        """Take the next bits as a number.

        Raises:
            ValueError: There are no more.
        """
        if count > self._left:
            raise ValueError("its header is cut off")
        taken = self._value & ((1 << count) - 1)
        self._value >>= count
        self._left -= count
        return taken
