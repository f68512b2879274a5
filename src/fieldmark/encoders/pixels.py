"""The light encoders of FGCrossNet: pixels, spectrograms drawn as pixels, and characters, each a byte a value."""

import hashlib
import json
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from types import MappingProxyType
from typing import ClassVar, Literal, final

import torch
import torch.nn.functional as F  # noqa: N812 - the name torch itself uses
from jaxtyping import Float32, UInt8
from torch import Tensor

from fieldmark.encoders.encoder import build_mismatch_error, get_contents
from fieldmark.encoders.released_sound import draw_released_spectrogram
from fieldmark.errors import ConfigError
from fieldmark.media.audio import compute_power_spectrogram, convert_to_decibels
from fieldmark.types import (
    AudioContent,
    Decoding,
    ImageContent,
    Medium,
    Segment,
    SpectrogramContent,
    TextContent,
    VideoContent,
)

_VERSION = 1
"""Raised whenever an encoder below gives other tensors for the same parameters."""

SYMBOLS = "abcdefghijklmnopqrstuvwxyz0123456789,;.!?:'\"/\\|_@#$%^&*~`+-=<>()[]{}"
"""The released alphabet; a symbol's id is its position here, counted from 1, and 0 is padding."""
_SPACE_ID = len(SYMBOLS) + 1
"""The one row of the released embedding table that no symbol uses: a space takes it, and released weights still fit."""
_LOOKALIKES = str.maketrans("\u2018\u2019\u201c\u201d\u2010\u2011\u2012\u2013\u2014\u2212", "''\"\"------")
"""Quotes and dashes of print, as the alphabet has them."""


@final
class PixelEncoder:
    """Images, or one frame of each video segment, as square RGB pixels from 0 to 255.

    An image is resized to a square, whatever its aspect, and cropped to its center: the preprocessing of the released
    code of He et al., ACM MM 2019. The network subtracts the mean; so a cached image takes a fourth of the memory.

    Args:
        resize_pixels: Side of the square that an image is resized to.
        crop_pixels: Side of the center crop, at most `resize_pixels`.
        frame_seconds: A video gives one frame for each segment of this length; images ignore it.
        max_frames: A longer video gives this many frames, equally spaced.
        resize_once: Whether an image is read at full size and resized in one step, as in the released code. Otherwise
            it is decoded at about the final size, in a fraction of the time, and differs by about two levels of 255.

    Raises:
        ConfigError: The crop is larger than the square.
    """

    is_costly: ClassVar[bool] = False
    named_scores: ClassVar[Mapping[str, int]] = MappingProxyType({})

    def __init__(
        self,
        medium: Literal[Medium.IMAGE, Medium.VIDEO],
        *,
        resize_pixels: int,
        crop_pixels: int,
        frame_seconds: float,
        max_frames: int,
        resize_once: bool,
    ) -> None:
        if crop_pixels > resize_pixels:
            raise ConfigError(
                f"'crop_pixels' is {crop_pixels}; allowed is at most 'resize_pixels', {resize_pixels}. "
                "Lower the first or raise the second."
            )
        self._medium = medium
        self._resize_pixels = resize_pixels
        self._crop_pixels = crop_pixels
        side_pixels = None if resize_once else resize_pixels
        self.decoding = (
            Decoding(side_pixels=side_pixels)
            if medium is Medium.IMAGE
            else Decoding(side_pixels=side_pixels, segment_seconds=frame_seconds, max_segments=max_frames)
        )

    @property
    def fingerprint(self) -> str:
        """Changes with the sizes and with the frames taken."""
        return _fingerprint("pixels", self.decoding, self._medium, self._resize_pixels, self._crop_pixels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of one picture."""
        return (3, self._crop_pixels, self._crop_pixels)

    def encode(self, segments: Sequence[Segment]) -> UInt8[Tensor, "batch 3 height width"]:
        """Return the images of some segments.

        Raises:
            MediumMismatchError: A segment holds another medium than the encoder takes.
        """
        if self._medium is Medium.IMAGE:
            pictures = [image.pixels for image in get_contents(segments, ImageContent)]
        else:
            pictures = [video.frames[len(video.frames) // 2] for video in get_contents(segments, VideoContent)]
        return torch.stack([self._cut(picture) for picture in pictures])

    def _cut(self, pixels: UInt8[Tensor, "3 height width"]) -> UInt8[Tensor, "3 side side"]:
        return _cut_middle(_resize(pixels, side_pixels=self._resize_pixels), side_pixels=self._crop_pixels)


@final
class SpectrogramEncoder:
    """Sound as a square picture on three channels: time to the right, frequency upwards, louder is brighter.

    Sound that is stored as a spectrogram image is that image, resized to the same square.

    Decibels relative to the loudest point, on a linear frequency axis; the whole segment is squeezed into the width
    (He et al., ACM MM 2019, released code). Unlike there, the sides are not cropped, and levels are gray instead of
    color-mapped: brightness then is the level itself, without the steps of a color map. Weights of the released code
    have seen its colors, and need `released`.

    Args:
        side_pixels: Side of the picture.
        resize_pixels: Side of the square that is drawn, of which the middle is kept, as the released code does with
            spectrograms too; None draws the picture at its side and cuts nothing off.
        floor_db: Levels so far below the loudest point, or further, are black.
        segment_seconds: Length of a segment; None makes the whole sound one.
        released: Whether sound is drawn as by the released code, 700 pixels in the colors of magma, before the resize.
    """

    is_costly: ClassVar[bool] = False
    named_scores: ClassVar[Mapping[str, int]] = MappingProxyType({})

    def __init__(  # noqa: PLR0913 - two sizes, and the numbers of a spectrogram
        self,
        *,
        side_pixels: int,
        resize_pixels: int | None = None,
        sample_rate_hz: int = 22_050,
        n_fft: int = 2048,
        hop_length: int = 512,
        floor_db: float = 80.0,
        segment_seconds: float | None,
        released: bool,
    ) -> None:
        self._released = released
        self._side_pixels = side_pixels
        self._resize_pixels = resize_pixels
        self._n_fft = n_fft
        self._hop_length = hop_length
        self._floor_db = floor_db
        self.decoding = Decoding(sample_rate_hz=sample_rate_hz, segment_seconds=segment_seconds)

    @property
    def fingerprint(self) -> str:
        """Changes with every parameter."""
        drawn: list[int | str] = [] if self._resize_pixels is None else [self._resize_pixels]
        drawn += ["magma"] if self._released else []
        return _fingerprint(
            "spectrogram", self.decoding, self._side_pixels, self._n_fft, self._hop_length, self._floor_db, *drawn
        )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of one picture."""
        return (3, self._side_pixels, self._side_pixels)

    def encode(self, segments: Sequence[Segment]) -> UInt8[Tensor, "batch 3 height width"]:
        """Return the spectrogram images of some segments; silence is black.

        Raises:
            MediumMismatchError: A segment holds another medium than sound.
        """
        pictures = []
        for index, segment in enumerate(segments):
            match segment.content:
                case AudioContent(waveform):
                    pictures.append(self._draw(waveform))
                case SpectrogramContent(pixels):
                    pictures.append(self._fit(pixels))
                case _:
                    raise build_mismatch_error(segment, index=index, expected=Medium.AUDIO)
        return torch.stack(pictures)

    def _draw(self, waveform: Float32[Tensor, " time"]) -> UInt8[Tensor, "3 side side"]:
        if self._released:
            return self._fit(draw_released_spectrogram(waveform, n_fft=self._n_fft, hop_length=self._hop_length))
        padded = F.pad(waveform, (0, max(0, self._n_fft - len(waveform))))  # at least one whole frame
        power = compute_power_spectrogram(padded, n_fft=self._n_fft, hop_length=self._hop_length)
        share = 1 + convert_to_decibels(power, floor_db=self._floor_db) / self._floor_db
        grey = (255 * share.clamp(0, 1)).round().to(torch.uint8).flip(0)
        return self._fit(grey.unsqueeze(0)).expand(3, -1, -1)

    def _fit(self, pixels: UInt8[Tensor, "channel height width"]) -> UInt8[Tensor, "channel side side"]:
        square = _resize(pixels, side_pixels=self._resize_pixels or self._side_pixels)
        return _cut_middle(square, side_pixels=self._side_pixels)


@final
class CharacterEncoder:
    """Text as the ids of its first characters, padded with 0.

    A text is converted to the alphabet: lower case, letters without accents, any run of other characters as a space.
    The released code reads only the last line and drops everything that is not in the alphabet, capitals and spaces
    included; `released` does the same, for released weights.

    Args:
        text_length: Number of characters.
        released: Whether to read as the released code of He et al., ACM MM 2019, does.
    """

    is_costly: ClassVar[bool] = False
    named_scores: ClassVar[Mapping[str, int]] = MappingProxyType({})

    def __init__(self, *, text_length: int, released: bool) -> None:
        self._text_length = text_length
        self._released = released
        self.decoding = Decoding()

    @property
    def fingerprint(self) -> str:
        """Changes with the length and with `released`."""
        return _fingerprint("characters", self.decoding, self._text_length, self._released)

    @property
    def shape(self) -> tuple[int]:
        """Number of ids of one text."""
        return (self._text_length,)

    def encode(self, segments: Sequence[Segment]) -> UInt8[Tensor, "batch token"]:
        """Return the symbol ids of some texts.

        Raises:
            MediumMismatchError: A segment holds another medium than text.
        """
        ids = torch.zeros(len(segments), self._text_length, dtype=torch.uint8)
        for row, content in enumerate(get_contents(segments, TextContent)):
            read = _read_as_released(content.text) if self._released else _read(content.text)
            kept = read[: self._text_length]
            ids[row, : len(kept)] = torch.tensor(kept, dtype=torch.uint8)
        return ids

    def knows_letters(self, text: str) -> bool:
        """Tell whether a text has a letter of the alphabet."""
        return self._released or bool(_read(text)) or not text.strip()


_ID_OF = {symbol: index for index, symbol in enumerate(SYMBOLS, start=1)}


def _read(text: str) -> list[int]:
    folded = unicodedata.normalize("NFKD", text.casefold().translate(_LOOKALIKES))
    letters = [character for character in folded if not unicodedata.combining(character)]
    words = "".join(character if character in _ID_OF else " " for character in letters).split()
    return [_ID_OF.get(character, _SPACE_ID) for character in " ".join(words)]


def _read_as_released(text: str) -> list[int]:
    last = text.removesuffix("\n").rpartition("\n")[2]
    return [_ID_OF[character] for character in last if character in _ID_OF]


def _resize(pixels: UInt8[Tensor, "channel height width"], *, side_pixels: int) -> UInt8[Tensor, "channel side side"]:
    size = (side_pixels, side_pixels)
    return F.interpolate(pixels.unsqueeze(0), size=size, mode="bilinear", antialias=True).squeeze(0)


def _cut_middle(
    square: UInt8[Tensor, "channel height width"], *, side_pixels: int
) -> UInt8[Tensor, "channel side side"]:
    start = (square.shape[-1] - side_pixels) // 2
    end = start + side_pixels
    return square[:, start:end, start:end]


def _fingerprint(kind: str, decoding: Decoding, *parameters: int | float | str) -> str:
    """Return a short hash of everything that the tensors depend on."""
    text = json.dumps([kind, _VERSION, asdict(decoding), *parameters])
    return hashlib.sha256(text.encode()).hexdigest()[:16]
