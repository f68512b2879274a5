"""Samples of more than 8 bits to 8: scaled by the depth that they use, or stretched where they have no fixed white."""

from pathlib import Path

import av
import numpy as np
from PIL import Image

_DEPTHS = (8, 10, 12, 14, 16)
"""Of cameras, scanners and microscopes; most write fewer bits than the 16 of a file."""
_NO_DATA = 1e30
"""Numbers beyond, either way, stand for missing values."""


def find_white(largest: int, *, stated: int | None = None) -> int:
    """Return the sample that is white: the smallest full scale of a usual depth that holds the largest sample.

    Args:
        stated: What the file says that it is.
    """
    if stated is not None and largest <= stated < 2**16:
        return max(1, stated)
    return next((1 << depth) - 1 for depth in _DEPTHS if largest < 1 << depth)


def scale_integers(samples: np.ndarray, *, stated_white: int | None = None) -> np.ndarray:
    """Return unsigned samples of up to 16 bits as 8 bits."""
    white = find_white(int(samples.max(initial=0)), stated=stated_white)
    scaled: np.ndarray = np.rint(samples.astype(np.float32) * (255 / white)).clip(0, 255).astype(np.uint8)
    return scaled


def stretch(samples: np.ndarray) -> np.ndarray:
    """Return samples without a fixed white as 8 bits, from the lowest to the highest; missing values are black."""
    values = samples.astype(np.float64)
    is_known = np.isfinite(values) & (np.abs(values) < _NO_DATA)
    known = values[is_known]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
    values[~is_known] = low
    if high == low:
        return np.zeros(values.shape, np.uint8)
    return np.rint((values - low) / (high - low) * 255).astype(np.uint8)


def decode_deep_colors(path: Path, *, stated_white: int | None = None) -> Image.Image | None:
    """Decode colors of 16 bits, or of 32-bit floats, which Pillow cuts to their high byte or refuses.

    Returns:
        The picture as it is stored, without its orientation; None if FFmpeg finds no such colors.
    """
    with av.open(str(path), format="tiff_pipe" if _is_tiff(path) else "png_pipe") as container:
        frame = next(container.decode(video=0))
    name = frame.format.name
    if name.startswith(("rgb48", "rgba64")):
        pixels = scale_integers(frame.to_ndarray()[..., :3], stated_white=stated_white)
    elif name.startswith("rgbf32"):
        pixels = stretch(frame.to_ndarray())
    else:
        return None
    return Image.fromarray(np.ascontiguousarray(pixels))


def _is_tiff(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) in (b"II", b"MM")
