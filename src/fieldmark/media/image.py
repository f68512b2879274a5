"""Pictures: a file to one RGB tensor, orientation applied."""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from fieldmark.errors import TooLargeError
from fieldmark.media.file import check_file, convert_decoder_errors
from fieldmark.types import Decoding, ImageContent, MediaLimits, Segment

# Pillow reads some fifty formats; the others are rare, and one of them (EPS) runs another program.
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000")


def load(
    path: Path,
    *,
    decoding: Decoding,
    limits: MediaLimits,
    start_seconds: float | None = None,  # noqa: ARG001 - one signature for all media; a picture has no time
    end_seconds: float | None = None,  # noqa: ARG001
) -> Iterator[Segment]:
    """Yield the image as one segment: RGB, transparency over white, the first frame of an animation.

    The shortest side becomes `decoding.side_pixels`, up or down. Samples of 16 bits are scaled to 8; those of 32 bits,
    which have no fixed white, are stretched from their minimum to their maximum.

    Raises:
        MissingFileError: There is no such file.
        EmptyMediaError: The file has zero bytes.
        TooLargeError: Too many bytes or, by the header or once resized, pixels.
        UnreadableMediaError: The file is no picture, or is damaged or cut off.
    """
    check_file(path, max_bytes=limits.max_bytes)
    with _quiet_pillow(), _open(path, limits=limits) as image:
        check_pixels(image.size, path=path, limits=limits)
        size = compute_scaled_size(image.size, side_pixels=decoding.side_pixels)
        check_pixels(size, path=path, limits=limits)
        with convert_decoder_errors(path):
            pixels = _render(image, size=size)
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
    """Open an image: its header is read, its pixels are not yet decoded."""
    if Image.MAX_IMAGE_PIXELS is not None:  # Pillow's own guard must not be tighter than the limit a user set
        Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, limits.max_pixels)
    with convert_decoder_errors(path):
        try:
            return Image.open(path, formats=_FORMATS)
        except UnidentifiedImageError as error:
            error.args = ("it is not an image in a known format, or its header is damaged",)
            raise
        except Image.DecompressionBombError as error:
            size = re.search(r"\d+", str(error))
            got = float(size[0]) if size else float("inf")
            raise TooLargeError(path=path, quantity="pixels", got=got, allowed=limits.max_pixels) from error


def _render(image: Image.Image, *, size: tuple[int, int]) -> UInt8[Tensor, "channel height width"]:
    """Decode the pixels: upright, RGB, and `size` wide and high (by the file's own orientation)."""
    image.draft(None, (2 * size[0], 2 * size[1]))  # a JPEG decodes to 1/2, 1/4, 1/8 at a fraction of the cost
    image.load()
    upright = image
    with suppress(Exception):  # an EXIF block that cannot be parsed says nothing of the orientation
        upright = ImageOps.exif_transpose(image)
    if (upright.width > upright.height) != (size[0] > size[1]):  # turned by a quarter
        size = (size[1], size[0])
    rgb = _rgb(upright)
    if rgb.size != size:
        rgb = rgb.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)
    return torch.from_numpy(np.array(rgb)).permute(2, 0, 1).contiguous()


def _rgb(image: Image.Image) -> Image.Image:
    """Convert an image of any mode to 8-bit RGB."""
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image, dtype=np.float32) / 257).round().astype(np.uint8))
    elif image.mode in {"I", "F"}:
        samples = np.nan_to_num(np.asarray(image, dtype=np.float64))
        low, high = samples.min(), samples.max()
        image = Image.fromarray(((samples - low) * (255 / max(high - low, 1e-12))).round().astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")
