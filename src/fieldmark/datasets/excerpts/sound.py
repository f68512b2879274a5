"""Recordings to stretches of interest: where there is more energy than the noise floor, with their times."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float

from fieldmark.media.loaders import load_segments
from fieldmark.media.spectrogram import power_spectrogram
from fieldmark.types import AudioContent, Decoding, Item, MediaLimits

_RATE_HZ, _WINDOW, _HOP = 16_000, 1_024, 800
FRAME_SECONDS = _HOP / _RATE_HZ
_LOWEST_BIN = 32  # below 500 Hz there is wind and traffic
_FLOOR_SECONDS = 60.0  # the noise floor of a place changes in minutes
_FLOOR_SHARE, _MARGIN_DB = 0.2, 6.0
_LONGEST_GAP_SECONDS, _PADDING_SECONDS, _SHORTEST_SECONDS = 0.6, 0.25, 0.3


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a recording, in seconds of its file."""

    start_seconds: float
    end_seconds: float


def stretches_of_interest(item: Item, *, limits: MediaLimits, longest_seconds: float) -> tuple[Stretch, ...]:
    """The parts of a recording where something sounds, in order, none longer than `longest_seconds`.

    Something sounds where the energy above 500 Hz, in frames of 50 ms, lies 6 dB above the noise floor: the level that
    a fifth of the minute's frames stay below. Gaps of up to 0.6 s are bridged, a quarter of a second is added on each
    side, and a long part is cut into equal ones. A recording of any length takes little memory: its levels are kept,
    not its sound.

    Raises:
        MediaError: The recording cannot be decoded to its end.
    """
    levels, begin, end = _levels(item, limits=limits)
    if not len(levels):
        return ()
    parts: list[Stretch] = []
    for first, last in _runs(levels > _floor(levels) + _MARGIN_DB):
        start = max(begin, begin + first * FRAME_SECONDS - _PADDING_SECONDS)
        stop = min(end, begin + (last + 1) * FRAME_SECONDS + _PADDING_SECONDS)
        count = int(np.ceil(round((stop - start) / longest_seconds, 6)))
        edges = np.linspace(start, stop, count + 1).round(3).tolist()
        parts += [Stretch(one, two) for one, two in pairwise(edges)]
    return tuple(parts)


def _levels(item: Item, *, limits: MediaLimits) -> tuple[Float[np.ndarray, " frame"], float, float]:
    """The level of each frame in decibels, and where the recording begins and ends."""
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
            power = power_spectrogram(waveform, n_fft=_WINDOW, hop_length=_HOP)[_LOWEST_BIN:, : len(waveform) // _HOP]
            found.append((10 * power.sum(dim=0).clamp_min(1e-9).log10()).numpy().astype(np.float32))
    return (np.concatenate(found) if found else np.empty(0, dtype=np.float32)), begin, end


def _floor(levels: Float[np.ndarray, " frame"]) -> Float[np.ndarray, " frame"]:
    """The noise floor at each frame: that of its minute, but little above that of the whole."""
    whole = np.quantile(levels, _FLOOR_SHARE)
    length = round(_FLOOR_SECONDS / FRAME_SECONDS)
    floor = np.empty_like(levels)
    for start in range(0, len(levels), length):
        part = levels[start : start + length]
        # A minute full of song has no quiet fifth.
        floor[start : start + length] = min(np.quantile(part, _FLOOR_SHARE), whole + _MARGIN_DB)
    return floor


def _runs(is_active: Bool[np.ndarray, " frame"]) -> Sequence[tuple[int, int]]:
    """First and last frame of each run of activity, short gaps bridged, short runs left out."""
    places = np.flatnonzero(is_active)
    if not len(places):
        return []
    breaks = np.flatnonzero(np.diff(places) > round(_LONGEST_GAP_SECONDS / FRAME_SECONDS))
    firsts = places[np.concatenate([[0], breaks + 1])].tolist()
    lasts = places[np.concatenate([breaks, [len(places) - 1]])].tolist()
    shortest = round(_SHORTEST_SECONDS / FRAME_SECONDS)
    return [(first, last) for first, last in zip(firsts, lasts, strict=True) if last - first + 1 >= shortest]
