"""Cut raw media into excerpts: active intervals of recordings, frames of videos, passages of texts."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from fieldmark.media.audio import compute_power_spectrogram
from fieldmark.media.loaders import load_segments
from fieldmark.types import AudioContent, Decoding, Item, MediaLimits, VideoContent

_RATE_HZ, _WINDOW, _HOP = 16_000, 1_024, 800
_FRAME_SECONDS = _HOP / _RATE_HZ
_LOWEST_BIN = 32  # below 500 Hz there is wind and traffic
_SILENT_PEAK = 2.0 / 2**15  # below the last bit or two of 16: a gap, a fade, or padding, and no noise of a place
_FLOOR_SECONDS = 60.0  # background noise changes within minutes
_FLOOR_SHARE, _MARGIN_DB = 0.2, 6.0
_LONGEST_GAP_SECONDS, _PADDING_SECONDS, _SHORTEST_SECONDS = 0.6, 0.25, 0.3

_NOISE_FACTOR = 1.05  # GASA (2020): a frame farther from the medoid than this times the mean distance is noise

# A sentence ends at . ! or ? before a space; a paragraph at an empty line.
_END = re.compile(r"[.!?][\"')\]]*\s+|\n\s*\n")


# ---------------------------------------------------------------- recordings


@dataclass(frozen=True, slots=True)
class Interval:
    """A part of a recording, in seconds from the beginning of its file."""

    start_seconds: float
    end_seconds: float


def find_active_intervals(item: Item, *, limits: MediaLimits, longest_seconds: float) -> tuple[Interval, ...]:
    """Return the intervals of a recording that hold sound, in order, none longer than `longest_seconds`.

    A frame of 50 ms is active if its energy above 500 Hz exceeds the noise floor by 6 dB. The noise floor of a minute
    is the level that a fifth of its frames stay below; frames of digital silence are no part of it. Gaps of up to 0.6 s
    are bridged, each interval is padded by a quarter of a second on both sides, and long intervals are cut into equal
    parts. Only the levels of the frames are kept in memory, not the sound.

    Raises:
        MediaError: The recording cannot be decoded to its end.
    """
    levels, begin, end = _levels(item, limits=limits)
    if not np.isfinite(levels).any():
        return ()
    parts: list[Interval] = []
    for first, last in _runs(levels > _floor(levels) + _MARGIN_DB):
        start = max(begin, begin + first * _FRAME_SECONDS - _PADDING_SECONDS)
        stop = min(end, begin + (last + 1) * _FRAME_SECONDS + _PADDING_SECONDS)
        count = int(np.ceil(round((stop - start) / longest_seconds, 6)))
        edges = np.linspace(start, stop, count + 1).round(3).tolist()
        parts += [Interval(one, two) for one, two in pairwise(edges)]
    return tuple(parts)


def _levels(item: Item, *, limits: MediaLimits) -> tuple[Float[np.ndarray, " frame"], float, float]:
    """Return each frame's level in decibels (minus infinity in digital silence), and the recording's start and end."""
    found: list[Float[np.ndarray, " frame"]] = []
    begin, end = 0.0, 0.0
    for segment in load_segments(item, decoding=Decoding(segment_seconds=1.0, sample_rate_hz=_RATE_HZ), limits=limits):
        assert isinstance(segment.content, AudioContent)  # noqa: S101 - what sound is loaded as
        start, stop = segment.start_seconds or 0.0, segment.end_seconds or 0.0
        begin = begin if found else start
        # The last segment ends with the sound and overlaps the one before.
        overlap = max(0.0, end - start) if found else 0.0
        waveform = segment.content.waveform[round(overlap * _RATE_HZ) :]
        end = stop
        if len(waveform) >= _HOP:
            power = compute_power_spectrogram(waveform, n_fft=_WINDOW, hop_length=_HOP)[
                _LOWEST_BIN:, : len(waveform) // _HOP
            ]
            level = 10 * power.sum(dim=0).clamp_min(1e-9).log10()
            peak = waveform[: power.shape[1] * _HOP].abs().reshape(-1, _HOP).amax(dim=1)
            found.append(level.masked_fill(peak < _SILENT_PEAK, -torch.inf).numpy().astype(np.float32))
    return (np.concatenate(found) if found else np.empty(0, dtype=np.float32)), begin, end


def _floor(levels: Float[np.ndarray, " frame"]) -> Float[np.ndarray, " frame"]:
    """Return the noise floor at each frame: that of its minute, limited by that of the whole recording."""
    whole = np.quantile(levels[np.isfinite(levels)], _FLOOR_SHARE)
    length = round(_FLOOR_SECONDS / _FRAME_SECONDS)
    floor = np.empty_like(levels)
    for start in range(0, len(levels), length):
        part = levels[start : start + length]
        heard = part[np.isfinite(part)]
        # A minute full of song has no quiet fifth.
        own = np.quantile(heard, _FLOOR_SHARE) if len(heard) else whole
        floor[start : start + length] = min(own, whole + _MARGIN_DB)
    return floor


def _runs(is_active: Bool[np.ndarray, " frame"]) -> Sequence[tuple[int, int]]:
    """Return the first and last frame of each active run; short gaps are bridged, short runs dropped."""
    active = np.flatnonzero(is_active)
    if not len(active):
        return []
    breaks = np.flatnonzero(np.diff(active) > round(_LONGEST_GAP_SECONDS / _FRAME_SECONDS))
    firsts = active[np.concatenate([[0], breaks + 1])].tolist()
    lasts = active[np.concatenate([breaks, [len(active) - 1]])].tolist()
    shortest = round(_SHORTEST_SECONDS / _FRAME_SECONDS)
    return [(first, last) for first, last in zip(firsts, lasts, strict=True) if last - first + 1 >= shortest]


# ---------------------------------------------------------------- videos


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of a video and its time in the file."""

    seconds: float
    pixels: UInt8[Tensor, "channel height width"]


def take_spaced_frames(item: Item, *, count: int, side_pixels: int | None, limits: MediaLimits) -> Iterator[Frame]:
    """Yield the middle frame of each of `count` equal parts of a video.

    Args:
        side_pixels: Shorter side of the frames; None keeps their size.

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


def find_noise_frames(features: Float[np.ndarray, "frame feature"]) -> Bool[np.ndarray, " frame"]:
    """Mark the frames of a video that are noise: farther from its medoid than 1.05 times the mean distance from it.

    The medoid is the frame nearest to all others and is never noise; nor are frames that are all equal.
    """
    distance = np.linalg.norm(features[:, None] - features[None], axis=-1)
    from_medoid = distance[distance.sum(axis=1).argmin()]
    is_noise: Bool[np.ndarray, " frame"] = from_medoid > _NOISE_FACTOR * from_medoid.mean()
    return is_noise


# ---------------------------------------------------------------- texts


@dataclass(frozen=True, slots=True)
class Passage:
    """A part of a text and its character offsets."""

    text: str
    start_character: int
    end_character: int


def split_into_passages(text: str, *, longest_words: int) -> Iterator[Passage]:
    """Yield passages of whole sentences and at most `longest_words` words; a longer sentence is cut."""
    start = 0
    word_count = 0
    for begin, end in _sentences(text, longest_words):
        words = len(text[begin:end].split())
        is_new_paragraph = "\n\n" in text[start:begin] and word_count > longest_words // 2
        if word_count and (word_count + words > longest_words or is_new_paragraph):
            yield from _passage(text, start, begin)
            start, word_count = begin, 0
        word_count += words
    yield from _passage(text, start, len(text))


def _sentences(text: str, longest_words: int) -> Iterator[tuple[int, int]]:
    """Yield the start and end of each sentence, and of the parts of one that is too long."""
    edges = [0, *(found.end() for found in _END.finditer(text)), len(text)]
    for begin, end in pairwise(edges):
        words = [found.end() for found in re.finditer(r"\S+\s*", text[begin:end])]
        for index in range(longest_words, len(words), longest_words):
            yield begin + (words[index - longest_words - 1] if index > longest_words else 0), begin + words[index - 1]
        rest = (len(words) - 1) // longest_words * longest_words
        if words:
            yield begin + (words[rest - 1] if rest else 0), end


def _passage(text: str, start: int, end: int) -> Iterator[Passage]:
    part = text[start:end]
    if part.strip():
        start += len(part) - len(part.lstrip())
        yield Passage(part.strip(), start, start + len(part.strip()))
