"""Raw photos of cameras by the largest preview that the camera put into them; never by a thumbnail."""

import io
import mmap
from pathlib import Path

import numpy as np
from PIL import Image

from fieldmark.errors import MissingExtraError, UnreadableMediaError
from fieldmark.media.pictures.tiff_tags import read_tiff_tags
from fieldmark.media.signatures import RAW_PHOTO, find_format

_SUFFIXES = frozenset(
    {
        ".nef", ".nrw", ".dng", ".cr2", ".arw", ".srf", ".sr2", ".rw2", ".rwl", ".orf", ".pef", ".srw", ".3fr", ".fff",
        ".iiq", ".erf", ".mef", ".mos", ".kdc", ".dcr", ".gpr",
    }
)  # fmt: skip
"""Of raw photos that are TIFF inside."""

_SMALLEST_SIDE = 640
"""A preview whose longer side has fewer pixels is a thumbnail, unless the sensor has no more than twice as many."""
_PROBE_BYTES = 256
_TURNS = {3: Image.Transpose.ROTATE_180, 5: Image.Transpose.ROTATE_90, 6: Image.Transpose.ROTATE_270}
_ORIENTATION = 0x0112
_TO_JPEG = "save it as JPEG or TIFF"


def is_raw_photo(head: bytes, *, path: Path) -> bool:
    """Return whether a file is a raw photo, by its content; the suffix counts only for a TIFF."""
    found = find_format(head)
    if found is None or found.name != "TIFF":
        return found is not None and found.name == RAW_PHOTO
    tags = read_tiff_tags(path)
    return path.suffix.lower() in _SUFFIXES or (tags is not None and tags.is_raw)


def open_preview(path: Path) -> Image.Image:
    """Open the largest preview of a raw photo; its pixels are not decoded yet.

    Raises:
        UnreadableMediaError: It has none but a thumbnail, LibRaw does not know it, or `rawpy` is not installed.
    """
    try:
        import rawpy
    except ImportError as error:
        missing = MissingExtraError(package="rawpy", extra="photos", need="A raw photo")
        reason = f"it is a raw photo. {str(missing).rstrip('.')}; or {_TO_JPEG}"
        raise UnreadableMediaError(path=path, reason=reason) from error
    try:
        with rawpy.imread(str(path)) as raw:
            sizes = raw.sizes
            preview = raw.extract_thumb()
            turn = sizes.flip
    except rawpy.LibRawError as error:
        cause = (error.args[0] if error.args else b"") or type(error).__name__
        text = cause.decode(errors="replace") if isinstance(cause, bytes) else str(cause)
        reason = f"it is a raw photo without a preview that can be read ({text}); {_TO_JPEG}"
        raise UnreadableMediaError(path=path, reason=reason) from error
    if isinstance(preview.data, bytes):
        _check_whole(preview.data, path=path)
        image: Image.Image = Image.open(io.BytesIO(preview.data), formats=["JPEG"])
    else:
        image = Image.fromarray(np.asarray(preview.data))
    _check_size(image, sensor=(sizes.width, sizes.height), path=path)
    if (
        image.getexif().get(_ORIENTATION, 0) in (0, 1)
        and turn in _TURNS
        and _is_across(image, sizes.width, sizes.height)
    ):
        image = image.transpose(_TURNS[turn])
    return image


def _check_whole(preview: bytes, *, path: Path) -> None:
    """Check that a preview stands in its file to its end: of one that is cut off, LibRaw fills up the rest at random.

    Its beginning may be LibRaw's own, which puts the date of the photo there.

    Raises:
        UnreadableMediaError: It does not.
    """
    rest = preview[len(preview) // 2 :]
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        position = content.find(rest[:_PROBE_BYTES])
        while position >= 0:
            if content[position : position + len(rest)] == rest:
                return
            position = content.find(rest[:_PROBE_BYTES], position + 1)
    raise UnreadableMediaError(path=path, reason="it is a raw photo that is cut off within its preview")


def _is_across(image: Image.Image, width: int, height: int) -> bool:
    """Return whether a preview lies as the sensor does, so that it has not been turned upright yet."""
    return (image.width >= image.height) == (width >= height)


def _check_size(image: Image.Image, *, sensor: tuple[int, int], path: Path) -> None:
    """Check that a preview is more than a thumbnail.

    Raises:
        UnreadableMediaError: It is not.
    """
    longer = max(image.size)
    if longer < min(_SMALLEST_SIDE, max(sensor) / 2):
        reason = (
            f"it is a raw photo of {sensor[0]} x {sensor[1]} pixels whose largest preview is a thumbnail of "
            f"{image.width} x {image.height}; {_TO_JPEG}"
        )
        raise UnreadableMediaError(path=path, reason=reason)
