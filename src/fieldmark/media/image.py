"""Pictures: a file to one RGB tensor, orientation applied."""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from fieldmark.errors import TooLargeError
from fieldmark.media.file import check_file, convert_decoder_errors
from fieldmark.media.pictures import jpeg_xl
from fieldmark.media.pictures.raw_photo import is_raw_photo, open_preview
from fieldmark.media.pictures.samples import decode_deep_colors, scale_integers, stretch
from fieldmark.media.pictures.tiff_tags import read_tiff_tags
from fieldmark.media.signatures import HEAD_BYTES, find_format
from fieldmark.types import Decoding, ImageContent, MediaLimits, Segment

# Pillow reads some fifty formats; the others are rare, and one of them (EPS) runs another program.
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "HEIF")

_OF_FRAMES = frozenset({"PNG", "WEBP", "GIF", "TIFF", "AVIF"})
"""Formats with several frames or pages. A HEIF names its main picture itself."""
_MOST_FRAMES = 100
_BLANK_SPREAD = 3
"""Levels of 255 between the darkest and the brightest sample of a frame that shows nothing."""
_SUBFILE_TAG, _BITS_TAG, _LARGEST_SAMPLE_TAG, _ORIENTATION_TAG = 254, 258, 281, 274
_REDUCED_PAGE = 1
_DARK = 64
"""Colors of 16 bits whose high bytes are all below use 14 bits or fewer."""


def load(
    path: Path,
    *,
    decoding: Decoding,
    limits: MediaLimits,
    start_seconds: float | None = None,  # noqa: ARG001 - one signature for all media; a picture has no time
    end_seconds: float | None = None,  # noqa: ARG001
) -> Iterator[Segment]:
    """Yield the image as one segment: upright, RGB, transparency over white.

    Of an animation or a file of several pages, it is the first frame that shows something; of a raw photo, the largest
    preview that the camera made. The shortest side becomes `decoding.side_pixels`, up or down. Samples of 16 bits are
    scaled to 8 by the depth that they use (a scan of 12 bits is not dark); those of 32 bits, which have no fixed white,
    are stretched from their minimum to their maximum.

    Raises:
        MissingFileError: There is no such file.
        EmptyMediaError: The file has zero bytes.
        TooLargeError: Too many bytes or, by the header or once resized, pixels.
        UnreadableMediaError: The file is no picture, is damaged or cut off, or needs a package that is not installed.
    """
    check_file(path, max_bytes=limits.max_bytes)
    with _quiet_pillow(), _open(path, limits=limits) as image:
        check_pixels(image.size, path=path, limits=limits)
        with convert_decoder_errors(path):
            _seek_shown_frame(image, path=path, limits=limits)
        size = compute_scaled_size(image.size, side_pixels=decoding.side_pixels)
        check_pixels(size, path=path, limits=limits)
        with convert_decoder_errors(path):
            pixels = _render(image, size=size, path=path)
    yield Segment(ImageContent(pixels))


def compute_scaled_size(size: tuple[int, int], *, side_pixels: int | None) -> tuple[int, int]:
    """Return width and height scaled so that the shortest side is `side_pixels`; the aspect is kept."""
    if side_pixels is None:
        return size
    scale = side_pixels / max(1, min(size))
    width, height = (max(1, round(side * scale)) for side in size)
    return width, height


def check_pixels(size: tuple[int, int], *, path: Path, limits: MediaLimits) -> None:
    """Check the area of an image or a frame before memory is allocated for it.

    Raises:
        TooLargeError: It is above `limits.max_pixels`.
    """
    width, height = size
    if width * height > limits.max_pixels:
        raise TooLargeError(path=path, quantity="pixels", got=width * height, allowed=limits.max_pixels)


@contextmanager
def _quiet_pillow() -> Iterator[None]:
    """Suppress Pillow's warnings on odd metadata and large sizes; what matters is raised as an error."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\b")
        yield


def _open(path: Path, *, limits: MediaLimits) -> Image.Image:
    """Open an image: its header is read; its pixels are decoded only where a decoder knows no other way."""
    if Image.MAX_IMAGE_PIXELS is not None:  # Pillow's own guard must not be tighter than the limit a user set
        Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, limits.max_pixels)
    with convert_decoder_errors(path):
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
        found = find_format(head)
        if is_raw_photo(head, path=path):
            return open_preview(path)
        if found is not None and found.name == jpeg_xl.FORMAT:
            data = path.read_bytes()
            check_pixels(jpeg_xl.read_size(data), path=path, limits=limits)
            return jpeg_xl.decode(data, path=path)
        return _open_with_pillow(path, limits=limits)


def _open_with_pillow(path: Path, *, limits: MediaLimits) -> Image.Image:
    import pillow_heif

    pillow_heif.register_heif_opener(thumbnails=False)  # nothing but the picture itself is wanted
    try:
        return Image.open(path, formats=_FORMATS)
    except UnidentifiedImageError as error:
        colors = _open_float_colors(path, limits=limits)
        if colors is not None:
            return colors
        error.args = (_explain_unknown(path),)
        raise
    except Image.DecompressionBombError as error:
        size = re.search(r"\d+", str(error))
        got = float(size[0]) if size else float("inf")
        raise TooLargeError(path=path, quantity="pixels", got=got, allowed=limits.max_pixels) from error


def _open_float_colors(path: Path, *, limits: MediaLimits) -> Image.Image | None:
    """Open a TIFF whose colors are floating-point numbers; None for any other file."""
    tags = read_tiff_tags(path)
    if tags is None or not tags.is_float or tags.samples_per_pixel < 3:
        return None
    check_pixels(tags.size, path=path, limits=limits)
    with suppress(Exception):  # as unknown to FFmpeg as to Pillow
        decoded = decode_deep_colors(path)
        return None if decoded is None else _turn(decoded, tags.orientation)
    return None


def _explain_unknown(path: Path) -> str:
    tags = read_tiff_tags(path)
    if tags is None:
        return "it is not an image in a known format, or its header is damaged"
    kind = "floating-point" if tags.is_float else "integer"
    return (
        f"it is a TIFF of {tags.samples_per_pixel} {kind} samples of {tags.bits_per_sample} bits a pixel, which cannot "
        "be read; save it with 8 or 16 bits"
    )


def _seek_shown_frame(image: Image.Image, *, path: Path, limits: MediaLimits) -> None:
    """Go to the first frame or page that shows something; stay at the first one where none does."""
    frame_count: int = getattr(image, "n_frames", 1)
    if image.format not in _OF_FRAMES or frame_count == 1:
        return
    pixel_count = 0
    for index in range(min(frame_count, _MOST_FRAMES)):
        image.seek(index)
        check_pixels(image.size, path=path, limits=limits)
        pixel_count += image.width * image.height
        if _shows_something(image):
            return
        if pixel_count > 2 * limits.max_pixels:
            break
    image.seek(0)


def _shows_something(image: Image.Image) -> bool:
    """Return whether a frame is neither of one color nor a smaller copy of another."""
    if image.format == "TIFF" and int(image.tag_v2.get(_SUBFILE_TAG, 0)) & _REDUCED_PAGE:  # type: ignore[attr-defined]
        return False
    if image.mode.startswith(("I", "F")):
        [(low, high)] = _list_extrema(image)
        return bool(low != high)
    *colors, alpha = _list_extrema(image.convert("RGBA"))
    return bool(alpha[1] > 0 and max(high - low for low, high in colors) > _BLANK_SPREAD)


def _list_extrema(image: Image.Image) -> Float[np.ndarray, "channel 2"]:
    """Return the lowest and the highest sample of each channel."""
    return np.array(image.getextrema(), dtype=np.float64).reshape(-1, 2)


def _render(image: Image.Image, *, size: tuple[int, int], path: Path) -> UInt8[Tensor, "channel height width"]:
    """Decode the pixels: upright, RGB, and `size` wide and high (by the file's own orientation)."""
    if image.format in {"JPEG", "MPO"}:  # decodes to 1/2, 1/4, 1/8 at a fraction of the cost
        image.draft(None, (2 * size[0], 2 * size[1]))
    image.load()
    upright = image
    with suppress(Exception):  # an EXIF block that cannot be parsed says nothing of the orientation
        upright = ImageOps.exif_transpose(image)
    if (upright.width > upright.height) != (size[0] > size[1]):  # turned by a quarter
        size = (size[1], size[0])
    deep = _decode_dark_colors(image, path=path)
    rgb = _rgb(upright, stated_white=_read_white(image)) if deep is None else deep
    if rgb.size != size:
        rgb = rgb.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)
    return torch.from_numpy(np.array(rgb)).permute(2, 0, 1).contiguous()


def _decode_dark_colors(image: Image.Image, *, path: Path) -> Image.Image | None:
    """Decode colors of 16 bits that use the lower ones alone, of which Pillow leaves little; None for all others."""
    if image.format not in {"PNG", "TIFF"} or image.mode not in {"RGB", "RGBA"} or image.tell() > 0:
        return None
    bits = _read_png_bits(path) if image.format == "PNG" else _read_tag(image, _BITS_TAG)
    if bits != 16 or _list_extrema(image)[:3, 1].max() >= _DARK:
        return None
    tags = read_tiff_tags(path) if image.format == "TIFF" else None  # Pillow has turned the TIFF, and forgot how
    deep = None
    with suppress(Exception):  # FFmpeg reads fewer kinds of TIFF than Pillow, whose reading is dark, not wrong
        deep = decode_deep_colors(path, stated_white=_read_white(image))
    orientation = image.getexif().get(_ORIENTATION_TAG, 1) if tags is None else tags.orientation
    return None if deep is None else _turn(deep, orientation)


def _read_png_bits(path: Path) -> int:
    with path.open("rb") as file:
        return file.read(HEAD_BYTES)[24]


def _read_white(image: Image.Image) -> int | None:
    """Return the sample that a TIFF calls its largest."""
    return _read_tag(image, _LARGEST_SAMPLE_TAG) if image.format == "TIFF" else None


def _read_tag(image: Image.Image, tag: int) -> int | None:
    """Return the first value of a tag of a TIFF; None where it has none."""
    value = image.tag_v2.get(tag)  # type: ignore[attr-defined]
    value = value[0] if isinstance(value, tuple) and value else value
    return value if isinstance(value, int) else None


def _turn(image: Image.Image, orientation: int) -> Image.Image:
    """Turn a picture upright that was decoded without its EXIF."""
    exif = image.getexif()
    exif[_ORIENTATION_TAG] = orientation
    return ImageOps.exif_transpose(image)


def _rgb(image: Image.Image, *, stated_white: int | None) -> Image.Image:
    """Convert an image of any mode to 8-bit RGB."""
    if image.mode.startswith("I;16"):
        image = Image.fromarray(scale_integers(np.asarray(image), stated_white=stated_white))
    elif image.mode in {"I", "F"}:
        image = Image.fromarray(stretch(np.asarray(image)))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")
