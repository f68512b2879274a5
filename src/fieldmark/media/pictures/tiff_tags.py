"""The tags of a TIFF that decide how it is read: raw photos and pictures of many bits are TIFF too."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from PIL.TiffImagePlugin import ImageFileDirectory_v2

_COLOR_FILTER_ARRAY, _LINEAR_RAW = 32803, 34892
_REDUCED = 1
_MOST_DIRECTORIES = 16
_HEADER_BYTES = 8


@dataclass(frozen=True, slots=True)
class TiffTags:
    """The tags in the directories of a TIFF.

    Args:
        is_raw: It holds the values of a camera's sensor.
        is_reduced_first: Its first picture is a smaller copy of another.
        bits_per_sample: Of the first picture; 0 where it does not say.
        is_float: Its samples are floating-point numbers.
        samples_per_pixel: 1 for gray, 3 for colors.
        orientation: 1 to 8, as in EXIF.
        size: Width and height.
    """

    is_raw: bool
    is_reduced_first: bool
    bits_per_sample: int
    is_float: bool
    samples_per_pixel: int
    orientation: int
    size: tuple[int, int]


def read_tiff_tags(path: Path) -> TiffTags | None:
    """Return the tags of a TIFF; None where its first directory cannot be read."""
    with path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
        try:
            first = _read_directory(file, header)
        except (OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError):
            return None
        if first is None:
            return None
        photometrics = {_read_int(each, 262) for each in (first, *_read_subdirectories(file, header, first))}
    return TiffTags(
        is_raw=50706 in first or not photometrics.isdisjoint({_COLOR_FILTER_ARRAY, _LINEAR_RAW}),
        is_reduced_first=bool(_read_int(first, 254) & _REDUCED),
        bits_per_sample=_read_int(first, 258),
        is_float=_read_int(first, 339) == 3,
        samples_per_pixel=_read_int(first, 277) or 1,
        orientation=_read_int(first, 274) or 1,
        size=(_read_int(first, 256), _read_int(first, 257)),
    )


def _read_directory(file: BinaryIO, header: bytes, offset: int | None = None) -> ImageFileDirectory_v2 | None:
    directory = ImageFileDirectory_v2(header)
    file.seek(directory.next if offset is None else offset)
    directory.load(file)
    return directory if 256 in directory or 254 in directory or 330 in directory else None


def _read_subdirectories(
    file: BinaryIO, header: bytes, directory: ImageFileDirectory_v2
) -> Iterator[ImageFileDirectory_v2]:
    offsets = directory.get(330, ())
    for offset in (offsets if isinstance(offsets, tuple) else (offsets,))[:_MOST_DIRECTORIES]:
        found = None
        with suppress(OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError):
            found = _read_directory(file, header, int(offset))
        if found is not None:
            yield found


def _read_int(directory: ImageFileDirectory_v2, tag: int) -> int:
    """Return the first value of a tag as an integer; 0 where there is none."""
    value = directory.get(tag, 0)
    if isinstance(value, tuple):
        value = value[0] if value else 0
    return int(value) if isinstance(value, int | float) else 0
