"""Pictures of any size to the normalized pixels that pretrained image encoders read."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float32, UInt8
from torch import Tensor
from torch.nn.functional import interpolate, pad

from fieldmark.encoders.encoder import build_mismatch_error
from fieldmark.errors import EncoderFilesError
from fieldmark.types import Decoding, ImageContent, Medium, Segment, VideoContent

PREPROCESSOR_FILE = "preprocessor_config.json"

_Interpolation = Literal["nearest-exact", "bilinear", "bicubic"]
_INTERPOLATION_OF_RESAMPLE: dict[int, _Interpolation] = {0: "nearest-exact", 2: "bilinear", 3: "bicubic"}
"""By Pillow's numbers, which preprocessor files hold."""

_UNSUPPORTED_KEYS = ("crop_pct", "rescale_offset", "do_flip_channel_order", "do_pad")
"""Settings of preprocessor files that would change the pixels in ways unknown here."""

_Pixels = Float32[Tensor, "batch 3 height width"]


@dataclass(frozen=True, slots=True)
class ImagePreprocessing:
    """Resize, cut out the center, scale, normalize, in this order.

    Args:
        resize_pixels: Shortest side after the resize, the aspect kept; or (height, width), the aspect given up; None
            leaves the size.
        crop_pixels: (height, width) of the center that is kept; what a smaller picture lacks is black.
        mean: Subtracted channel by channel, after scaling.
        std: Divided by, channel by channel.
        scale: Times a pixel's byte; 1 / 255 brings it to [0, 1].
    """

    resize_pixels: int | tuple[int, int] | None = 256
    crop_pixels: tuple[int, int] = (224, 224)
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    scale: float = 1 / 255
    interpolation: _Interpolation = "bilinear"

    def decoding(self, *, segment_seconds: float, frames_per_segment: int) -> Decoding:
        """Return the decoding of images and videos for this preprocessing: no larger than needed.

        Args:
            segment_seconds: Length of a segment of a video.
            frames_per_segment: Frames taken from it.
        """
        resize = self.resize_pixels
        return Decoding(
            side_pixels=max(resize) if isinstance(resize, tuple) else resize,
            segment_seconds=segment_seconds,
            frames_per_segment=frames_per_segment,
        )

    def apply(self, pixels: UInt8[Tensor, "3 height width"]) -> Float32[Tensor, "3 rows columns"]:
        """Return one image, ready for the encoder."""
        size = self._size_after_resize(*pixels.shape[1:])
        if size != tuple(pixels.shape[1:]):
            # On bytes, as Pillow does it: then features are those of the libraries that resize with Pillow.
            is_smooth = self.interpolation != "nearest-exact"
            pixels = interpolate(pixels[None], size=size, mode=self.interpolation, antialias=is_smooth)[0]
        mean, std = (torch.tensor(values, dtype=torch.float32).view(3, 1, 1) for values in (self.mean, self.std))
        return (_cut_center(pixels, *self.crop_pixels).float() * self.scale - mean) / std

    def _size_after_resize(self, height: int, width: int) -> tuple[int, int]:
        match self.resize_pixels:
            case None:
                return height, width
            case int(side):
                shortest = min(height, width)
                return height * side // shortest, width * side // shortest
            case size:
                return size


def read_preprocessing(path: Path, *, key: str) -> ImagePreprocessing:
    """Read the preprocessing in a `preprocessor_config.json`.

    Args:
        key: Config key that names the encoder, for the message.

    Raises:
        EncoderFilesError: The file is missing, broken, or asks for what is not supported.
    """
    try:
        return _parse(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise EncoderFilesError(name=str(path), reason="this file, which gives sizes, is missing", key=key) from error
    except (ValueError, TypeError, LookupError) as error:
        reason = f"it describes no known way to prepare images ({type(error).__name__}: {error})"
        raise EncoderFilesError(name=str(path), reason=reason, key=key) from error


def encode_pictures(
    segments: Sequence[Segment],
    infer: Callable[[_Pixels], Float32[Tensor, "batch dim"]],
    *,
    preprocessing: ImagePreprocessing,
    dim: int,
    batch_size: int,
) -> Float32[Tensor, "segment dim"]:
    """Return the features of images, and of video segments as the mean over their frames.

    Args:
        infer: The pretrained network.
        dim: Of its features.
        batch_size: Pictures it is given at once.

    Raises:
        MediumMismatchError: A segment holds neither an image nor frames.
    """
    frames = [_frames_of(segment, index=index) for index, segment in enumerate(segments)]
    pictures = (preprocessing.apply(frame) for part in frames for frame in part)
    features = torch.cat([torch.empty(0, dim), *(infer(batch) for batch in _stack(pictures, batch_size=batch_size))])
    owner = torch.tensor([row for row, part in enumerate(frames) for _ in part], dtype=torch.int64)
    total = torch.zeros(len(frames), dim).index_add_(0, owner, features)
    return total / torch.tensor([len(part) for part in frames]).view(-1, 1)


def _frames_of(segment: Segment, *, index: int) -> UInt8[Tensor, "frame 3 height width"]:
    match segment.content:
        case ImageContent(pixels=pixels):
            return pixels[None]
        case VideoContent(frames=frames):
            return frames
        case _:
            raise build_mismatch_error(segment, index=index, expected=f"{Medium.IMAGE} or {Medium.VIDEO}")


def _stack(pictures: Iterator[Float32[Tensor, "3 height width"]], *, batch_size: int) -> Iterator[_Pixels]:
    """Yield batches one at a time, so that a long video's frames are never all in memory as floats."""
    while batch := list(islice(pictures, batch_size)):
        yield torch.stack(batch)


def _cut_center(pixels: UInt8[Tensor, "3 height width"], height: int, width: int) -> UInt8[Tensor, "3 rows columns"]:
    lacking = [max(0, height - pixels.shape[1]), max(0, width - pixels.shape[2])]
    top, left = (lack // 2 for lack in lacking)
    padded = pad(pixels, (left, lacking[1] - left, top, lacking[0] - top))
    first_row, first_column = (padded.shape[1] - height) // 2, (padded.shape[2] - width) // 2
    return padded[:, first_row : first_row + height, first_column : first_column + width]


def _parse(values: object) -> ImagePreprocessing:
    if not isinstance(values, dict):
        raise TypeError(f"it is not an object of keys and values, but {type(values).__name__}")
    for name in _UNSUPPORTED_KEYS:
        if values.get(name):
            raise ValueError(f"'{name}' is not supported")
    resize = _size(values["size"]) if values.get("do_resize", True) else None
    crop = _size(values["crop_size"]) if values.get("do_center_crop", "crop_size" in values) else resize
    is_normalized = values.get("do_normalize", True)
    return ImagePreprocessing(
        resize_pixels=resize,
        crop_pixels=_rectangle(crop),
        mean=_channels(values["image_mean"]) if is_normalized else (0.0, 0.0, 0.0),
        std=_channels(values["image_std"]) if is_normalized else (1.0, 1.0, 1.0),
        scale=_number(values.get("rescale_factor", 1 / 255)) if values.get("do_rescale", True) else 1.0,
        interpolation=_INTERPOLATION_OF_RESAMPLE[int(_number(values.get("resample", 2)))],
    )


def _size(value: object) -> int | tuple[int, int]:
    """Return a side, or (height, width)."""
    match value:
        case int(side) | {"shortest_edge": int(side)}:
            return side
        case {"height": int(height), "width": int(width)}:
            return height, width
        case _:
            raise ValueError(f"the size {value!r} is not supported")


def _rectangle(size: int | tuple[int, int] | None) -> tuple[int, int]:
    match size:
        case None:
            raise ValueError("neither a crop nor a resize fixes the size")
        case int(side):
            return side, side
        case _:
            return size


def _channels(value: object) -> tuple[float, ...]:
    if not isinstance(value, list) or len(value) != 3:
        raise ValueError(f"three channels are expected, met {value!r}")
    return tuple(_number(each) for each in value)


def _number(value: object) -> float:
    if not isinstance(value, int | float):
        raise TypeError(f"a number is expected, met {value!r}")
    return float(value)
