"""Videos given as numbered pictures: the pictures to segments, each picture standing for one second."""

import math
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from jaxtyping import UInt8
from torch import Tensor

from fieldmark.errors import EmptyMediaError, MissingFileError, TooLargeError, UnreadableMediaError
from fieldmark.media import image
from fieldmark.media.container import pick_equally_spaced
from fieldmark.types import Decoding, ImageContent, MediaLimits, Segment, VideoContent

WILDCARD = "*"
"""Stands in a path where the numbers of the pictures stand."""


def load(
    path: Path,
    *,
    decoding: Decoding,
    limits: MediaLimits,
    start_seconds: float | None = None,
    end_seconds: float | None = None,
) -> Iterator[Segment]:
    """Yield the segments of a video that is stored as numbered images, one image per second.

    So picture n of the sequence, counted from 0, is taken to be on the screen from second n to n + 1. All pictures
    of a video get the size of its first.

    Raises:
        MissingFileError: No picture bears such a name.
        EmptyMediaError: No picture lies between the two times.
        TooLargeError: Too many pictures, or too many bytes or pixels in one.
        UnreadableMediaError: A picture is damaged, or the path has no mark, or more than one.
    """
    files = list_frame_files(path)
    if len(files) > limits.max_frames:
        raise TooLargeError(path=path, quantity="frames", got=len(files), allowed=limits.max_frames)
    first = math.ceil(start_seconds or 0.0)
    chosen = range(first, len(files) if end_seconds is None else min(len(files), math.ceil(end_seconds)))
    if not chosen:
        raise EmptyMediaError(path=path, reason="it has no picture between the two times")
    length = len(chosen) if decoding.segment_seconds is None else max(1, round(decoding.segment_seconds))
    hop = length if decoding.hop_seconds is None else max(1, round(decoding.hop_seconds))
    parts = [chosen[start : start + length] for start in range(0, max(1, len(chosen) - length + hop), hop)]
    size = None
    for index in pick_equally_spaced(len(parts), limit=decoding.max_segments):
        part = parts[index]
        numbers = [part[each] for each in pick_equally_spaced(len(part), limit=decoding.frames_per_segment)]
        pictures = [_picture(files[number], decoding=decoding, limits=limits) for number in numbers]
        size = size or (pictures[0].shape[1], pictures[0].shape[2])
        frames = torch.stack([_fitted(picture, size) for picture in pictures])
        yield Segment(VideoContent(frames), float(part[0]), float(part[-1] + 1))


def list_frame_files(path: Path) -> list[Path]:
    """Return the numbered images that match a path with a wildcard, in the order of their numbers.

    Raises:
        MissingFileError: There is none.
        UnreadableMediaError: The path has no mark in its last part, or more than one.
    """
    if path.name.count(WILDCARD) != 1 or WILDCARD in str(path.parent):
        reason = f"the path of a video given as pictures holds one '{WILDCARD}', in place of their number"
        raise UnreadableMediaError(path=path, reason=reason)
    prefix, _, suffix = path.name.partition(WILDCARD)
    try:
        numbers = _listing(path.parent, path.parent.stat().st_mtime_ns).get((prefix, suffix), ())
    except OSError:
        numbers = ()
    if not numbers:
        raise MissingFileError(path=path)
    return [path.with_name(f"{prefix}{number}{suffix}") for number in sorted(numbers, key=int)]


def split_number(name: str) -> tuple[str, str, str]:
    """Split a file's name into the part before its last number, the number, which may be empty, and the suffix."""
    stem, suffix = os.path.splitext(name)  # noqa: PTH122 - a name, not a path
    prefix = stem.rstrip("0123456789")
    return prefix, stem[len(prefix) :], suffix


# A folder may hold the pictures of all videos, so it is read once; its time of change tells a changed one.
@lru_cache(maxsize=4)
def _listing(folder: Path, _changed_ns: int) -> Mapping[tuple[str, str], tuple[str, ...]]:
    numbers: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for name in os.listdir(folder):  # noqa: PTH208 - names alone are needed, half a million of them at times
        prefix, number, suffix = split_number(name)
        if number:
            numbers[prefix, suffix].append(number)
    return {key: tuple(each) for key, each in numbers.items()}


def _picture(file: Path, *, decoding: Decoding, limits: MediaLimits) -> UInt8[Tensor, "3 height width"]:
    [segment] = image.load(file, decoding=decoding, limits=limits)
    assert isinstance(segment.content, ImageContent)  # noqa: S101 - what the loader of images gives
    return segment.content.pixels


def _fitted(picture: UInt8[Tensor, "3 _ _"], size: tuple[int, int]) -> UInt8[Tensor, "3 height width"]:
    if picture.shape[1:] == size:
        return picture
    return F.interpolate(picture[None], size=size, mode="bilinear", antialias=True)[0]
