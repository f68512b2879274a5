"""Videos to frames, without those that show something else than the rest."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from fieldmark.media.loaders import load_segments
from fieldmark.types import Decoding, Item, MediaLimits, VideoContent

NOISE_FACTOR = 1.05
"""After the rule of GASA (2020): a frame farther from the medoid than this times the mean distance is noise."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of a video, and the second of the file it was taken at."""

    seconds: float
    pixels: UInt8[Tensor, "channel height width"]


def spaced_frames(item: Item, *, count: int, side_pixels: int | None, limits: MediaLimits) -> Iterator[Frame]:
    """Frames from the middles of `count` equal parts of a video, one by one.

    Args:
        side_pixels: Shortest side of the frames; None keeps their size.

    Raises:
        MediaError: The video cannot be decoded to its end.
    """
    [whole] = load_segments(item, decoding=Decoding(side_pixels=16), limits=limits)
    start, end = whole.start_seconds or 0.0, whole.end_seconds or 0.0
    decoding = Decoding(side_pixels=side_pixels, segment_seconds=(end - start) / count)
    part = replace(item, start_seconds=start, end_seconds=end)
    for segment in load_segments(part, decoding=decoding, limits=limits):
        assert isinstance(segment.content, VideoContent)  # noqa: S101 - what a video is loaded as
        middle = ((segment.start_seconds or 0.0) + (segment.end_seconds or 0.0)) / 2
        yield Frame(round(middle, 3), segment.content.frames[0])


def told_apart(features: Float[np.ndarray, "frame feature"]) -> Bool[np.ndarray, " frame"]:
    """Which frames of a video are noise: farther from its medoid than `NOISE_FACTOR` times the mean distance from it.

    The medoid is the frame nearest to all others, and is never noise; equal frames have none.
    """
    distance = np.linalg.norm(features[:, None] - features[None], axis=-1)
    from_medoid = distance[distance.sum(axis=1).argmin()]
    is_noise: Bool[np.ndarray, " frame"] = from_medoid > NOISE_FACTOR * from_medoid.mean()
    return is_noise
