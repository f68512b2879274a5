"""What the files of a field worker's disk must give, and what their makers share."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fieldmark.types import Medium


@dataclass(frozen=True)
class Truth:
    """What one file must give.

    Args:
        medium: Of the item; None for no item.
        text: The text that must be read, exactly.
        shows_corners: Whether the picture must show red, green and blue at its corners, upright.
        hertz: The tone that must be heard.
        seconds: Where the sound or the video must end, to a quarter of a second.
        silence: Start and end of what must be silent; the tone must be heard on both sides.
        warning: The kind of the warning that must be given beside the item.
        refused: What the reason must contain; the item must not be there.
        passed_over: The reason for which the file is no part of the collection.
    """

    medium: Medium | None = None
    text: str | None = None
    shows_corners: bool = False
    hertz: float | None = None
    seconds: float | None = None
    silence: tuple[float, float] | None = None
    warning: str | None = None
    refused: str | None = None
    passed_over: str | None = None


Maker = Callable[[Path, np.random.Generator], Truth]
"""Writes a file at a path without a suffix, or beside it, and tells what it must give; the name stays unique."""


def name_of(path: Path, suffix: str) -> Path:
    """The path with a suffix, in its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(path.name + suffix)


def draw(rng: np.random.Generator, *, width: int = 96, height: int = 64) -> np.ndarray:
    """Red at the upper left, green at the upper right, blue at the lower left, noise at the lower right."""
    pixels = rng.integers(0, 255, (height, width, 3), dtype=np.uint8)
    middle_row, middle = height // 2, width // 2
    pixels[:middle_row, :middle], pixels[:middle_row, middle:] = [230, 10, 10], [10, 230, 10]
    pixels[middle_row:, :middle] = [10, 10, 230]
    return pixels
