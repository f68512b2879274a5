"""Compute fingerprints of items that are robust to re-encoding, resizing and a shift in time."""

import re
import zlib
from dataclasses import dataclass
from enum import StrEnum
from typing import final

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from fieldmark.media.spectrogram import compute_power_spectrogram

VERSION = 3
"""Increased whenever fingerprints or the faults found in decoding change, so that cached inspections are redone."""

SOUND_RATE_HZ = 16_000
FRAME_SECONDS = 256 / SOUND_RATE_HZ
"""Duration of one frame of the spectrogram in which landmarks are found."""

_LIGHT_SIDE, _COLOR_SIDE = 16, 8
_PLAIN_LEVELS = 5.0  # a picture with less spread of gray levels is plain, and plain pictures all look alike
_MAX_FRAMES = 16

_WINDOW, _LOWEST_BIN = 1_024, 16  # 64 ms; below 250 Hz there is wind and traffic
_PEAKS_PER_SECOND, _PARTNERS, _LONGEST_LAG = 15, 8, 63
_PEAK_CONTRAST = 0.3  # in powers of ten above the median of its band
_BLOCK_SECONDS = 30
_MAX_LANDMARKS = 200_000  # about half an hour of sound; the rest is not compared

_MAX_WORDS = 20_000


class FingerprintKind(StrEnum):
    """Kinds of fingerprint; only those of one kind are compared. Frames of videos are pictures."""

    PICTURE = "picture"
    SPECTROGRAM = "spectrogram"
    SOUND = "sound"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The rows that are compared for an item.

    Args:
        values: A row for each frame, landmark (hash, frame) or word.
    """

    kind: FingerprintKind
    values: Int[np.ndarray, "row component"]


def compute_picture_row(pixels: UInt8[Tensor, "channel height width"]) -> Int[np.ndarray, " component"] | None:
    """Return a picture as 16 x 16 centered gray levels and 8 x 8 color differences, scaled to length 127.

    The scalar product of two rows, over 127 squared, is 1 for equal pictures. Measured 2026-11 on 3,864 photos of
    birds: at most 0.90 between different photos, at least 0.99 after JPEG at quality 50 to 85 and a resize to 30 % to
    170 %. Plain pictures give None.
    """
    light, _, _ = _pooled(pixels, _LIGHT_SIDE)
    light = light - light.mean()
    if light.std() < _PLAIN_LEVELS:
        return None
    gray, red, blue = _pooled(pixels, _COLOR_SIDE)
    row = torch.cat([light, blue - gray, red - gray])
    scaled: Int[np.ndarray, " component"] = (127 * row / row.norm()).round().to(torch.int8).numpy()
    return scaled


def _pooled(pixels: UInt8[Tensor, "channel height width"], side: int) -> list[Float[Tensor, " component"]]:
    """Average gray, red and blue over side x side fields, one channel at a time because pictures may be very large."""
    red, green, blue = (F.adaptive_avg_pool2d(channel[None].float(), side).flatten() for channel in pixels)
    return [0.299 * red + 0.587 * green + 0.114 * blue, red, blue]


def split_words(text: str) -> list[str]:
    """Return the words of a text in lower case, without punctuation."""
    return re.findall(r"[^\W_]+(?:'[^\W_]+)?", text.lower())


def compute_text_fingerprint(text: str) -> Fingerprint:
    """Return the words of a text, each hashed to 31 bits."""
    codes = [zlib.crc32(word.encode()) >> 1 for word in split_words(text)[:_MAX_WORDS]]
    return Fingerprint(FingerprintKind.TEXT, np.array(codes, dtype=np.int32).reshape(-1, 1))


@final
class FrameCollector:
    """Collects at most 16 rows of a picture or a video, at times that do not depend on its length."""

    def __init__(self, kind: FingerprintKind) -> None:
        self._kind = kind
        self._rows: list[Int[np.ndarray, " component"] | None] = []
        self._step = 1
        self._count = 0

    def add(self, pixels: UInt8[Tensor, "channel height width"]) -> None:
        """Add the next frame; of a long video, every second, then every fourth is kept, and so on."""
        if self._count % self._step == 0:
            self._rows.append(compute_picture_row(pixels))
        self._count += 1
        if len(self._rows) > _MAX_FRAMES:
            self._rows = self._rows[::2]
            self._step *= 2

    def build_fingerprint(self) -> Fingerprint:
        """Return the rows kept, without plain frames."""
        rows = [row for row in self._rows if row is not None]
        width = _LIGHT_SIDE**2 + 2 * _COLOR_SIDE**2
        return Fingerprint(self._kind, np.array(rows, dtype=np.int8).reshape(-1, width))


@final
class SoundCollector:
    """Collects the landmarks of a sound block by block, in memory that does not grow with its length."""

    def __init__(self) -> None:
        self._held: list[Float[Tensor, " time"]] = []
        self._held_count = 0
        self._first_frame = 0
        self._blocks: list[Int[np.ndarray, "landmark 2"]] = []
        self._landmark_count = 0

    def add(self, waveform: Float[Tensor, " time"]) -> None:
        """Add the next part of the sound, at `SOUND_RATE_HZ`."""
        if self._landmark_count >= _MAX_LANDMARKS:
            return
        self._held.append(waveform)
        self._held_count += len(waveform)
        if self._held_count >= _BLOCK_SECONDS * SOUND_RATE_HZ:
            self._finish_block()

    def build_fingerprint(self) -> Fingerprint:
        """Return all landmarks, in order of time."""
        if self._held_count:
            self._finish_block()
        blocks = [*self._blocks, np.empty((0, 2), dtype=np.int32)]
        return Fingerprint(FingerprintKind.SOUND, np.concatenate(blocks)[:_MAX_LANDMARKS])

    def _finish_block(self) -> None:
        found = find_landmarks(torch.cat(self._held))
        found[:, 1] += self._first_frame
        self._blocks.append(found)
        self._landmark_count += len(found)
        self._first_frame += round(self._held_count / (FRAME_SECONDS * SOUND_RATE_HZ))
        self._held, self._held_count = [], 0


def find_landmarks(waveform: Float[Tensor, " time"]) -> Int[np.ndarray, "landmark 2"]:
    """Find pairs of spectral peaks close in time: frequencies and lag as one number, and the frame of the first.

    After Wang, ISMIR 2003. Measured 2026-11 on 886 clips of birds: two different recordings have at most 6 in common
    at one shift; a clip and its copy, shifted by 0.3 s and re-encoded to MP3, at least 14 (20 copies).
    """
    power = (
        compute_power_spectrogram(waveform, n_fft=_WINDOW, hop_length=_WINDOW // 4)
        .clamp_min(1e-9)
        .log10()[_LOWEST_BIN:]
    )
    contrast = power - power.median(dim=1, keepdim=True).values
    is_highest = power == F.max_pool2d(power[None, None], (15, 9), stride=1, padding=(7, 4))[0, 0]
    frequency, frame = torch.nonzero(is_highest & (contrast > _PEAK_CONTRAST), as_tuple=True)
    wanted = int(_PEAKS_PER_SECOND * len(waveform) / SOUND_RATE_HZ) + 1
    loudest = contrast[frequency, frame].argsort(descending=True, stable=True)[:wanted]
    order = np.lexsort((frequency[loudest].numpy(), frame[loudest].numpy()))
    low, time = frequency[loudest].numpy()[order], frame[loudest].numpy()[order]
    found = []
    for step in range(1, _PARTNERS + 1):
        lag = time[step:] - time[:-step]
        near = (lag >= 1) & (lag <= _LONGEST_LAG)
        code = (low[:-step] << 15) | (low[step:] << 6) | lag
        found.append(np.stack([code[near], time[:-step][near]], axis=1))
    marks = np.concatenate(found).astype(np.int32)
    ordered: Int[np.ndarray, "landmark 2"] = marks[np.argsort(marks[:, 1], kind="stable")]
    return ordered
