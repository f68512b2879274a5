"""Stretches of exact zeros inside a recording, as a failing card or a lost connection leaves them."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Bool, Shaped

from fieldmark.media.sound.placement import PlacedSound
from fieldmark.media.sound.track import convert_to_fractions, get_unit
from fieldmark.types import MediaWarning

ZEROS = "zeros"
"""The kind of the warning."""

_SHORTEST_SECONDS, _FEWEST_SAMPLES = 0.002, 64
_NEAR_SECONDS, _AROUND_SECONDS = 0.001, 0.01  # of the sound before and behind, whose levels tell a fault from a fade
_SMALLEST_LEVEL = 6e-5  # of full scale: two steps of 16 bits; softer sound may be zero for a while by itself
_SMALLEST_SHARE = 0.25  # of the usual level: a gate closes on what is soft
_FADED_SHARE = 0.3  # of the level around
_MOST_ODD = 3  # more stretches whose length is no number of blocks are what a gate has made
_BLOCK_BYTES = 512  # of a card
_FRAMES_MORE, _FRAMES_LESS = 3, 2  # zeros by chance beside a block, and frames of which it holds a part
_LEVELS_PER_BLOCK = 256
_MOST_LEVELS = 100_000
_LISTED = 4
_TOUCHING_SECONDS = 0.1  # stretches nearer than this are told as one


@dataclass(frozen=True, slots=True)
class _Edge:
    """The level of the sound beside a stretch of zeros: next to it, and farther around."""

    near: float
    around: float


@dataclass(frozen=True, slots=True)
class _Stretch:
    """A run of zeros between two times.

    Args:
        level: The lower one of the sound at its edges.
        is_of_blocks: It is as long as some blocks of a card.
    """

    start_seconds: float
    end_seconds: float
    level: float
    is_of_blocks: bool


@final
class ZeroWatch:
    """Looks for exact zeros between loud parts while a recording passes.

    No microphone gives zeros for long beside sound of more than a few steps. A recording that begins or ends with them,
    that fades, or that a gate has closed is as it was meant; one that breaks off at its usual level is not. The level
    is the mean step from sample to sample, which wind and an offset from zero change little.
    """

    def __init__(self) -> None:
        self._stretches: list[_Stretch] = []
        self._levels: list[float] = []  # the median of each block
        self._tail: Shaped[np.ndarray, "channel time"] | None = None  # the end of the sound before, None for none
        self._end = 0  # of the block before
        self._open: tuple[int, _Edge] | None = None  # a run that goes on: its first sample, the sound before it
        self._rate = 0

    def watch(self, blocks: Iterable[PlacedSound]) -> Iterator[PlacedSound]:
        """Yield the sound unchanged."""
        for block in blocks:
            self._add(block)
            yield block

    def describe(self) -> tuple[MediaWarning, ...]:
        """Return the warning that tells where the zeros are; empty where there are none."""
        spans = _join(self._choose())
        if not spans:
            return ()
        places = ", ".join(f"from {start:.2f} to {end:.2f}" for start, end in spans)
        if len(spans) > _LISTED:
            total = math.fsum(end - start for start, end in spans)
            places = f"at {len(spans)} places between {spans[0][0]:.2f} and {spans[-1][1]:.2f}, {total:.2f} in all,"
        message = (
            f"{places[0].upper()}{places[1:]} seconds the recording is exactly zero between loud parts, as where a "
            "card or a cable fails. It counts as silence; listen to it, and replace the file if a better copy exists."
        )
        return (MediaWarning(ZEROS, message),)

    def _choose(self) -> list[_Stretch]:
        """Return the stretches that are faults."""
        usual = float(np.median(self._levels)) if self._levels else 0.0
        lengths = [each.end_seconds - each.start_seconds for each in self._stretches if not each.is_of_blocks]
        is_gate = len(lengths) > max(_MOST_ODD, len(self._stretches) / 2)
        is_pattern = len(lengths) > 1 and max(lengths) - min(lengths) < _SHORTEST_SECONDS  # pauses between tones
        if is_gate or is_pattern:
            return []
        least = {True: _SMALLEST_LEVEL, False: max(_SMALLEST_LEVEL, _SMALLEST_SHARE * usual)}
        return [each for each in self._stretches if each.level >= least[each.is_of_blocks]]

    def _add(self, block: PlacedSound) -> None:
        samples, rate = block.samples, block.sample_rate_hz
        if rate != self._rate or block.start != self._end or (self._tail is not None and _differs(self._tail, samples)):
            self._tail = self._open = None
        self._rate, self._end = rate, block.end
        shortest = max(_FEWEST_SAMPLES, round(_SHORTEST_SECONDS * rate))
        self._note_level(samples)
        if self._open is not None or _may_hold_run(samples, shortest=shortest):
            self._find_runs(block, shortest=shortest)
        self._tail = samples[:, -round(_AROUND_SECONDS * rate) :]

    def _note_level(self, samples: Shaped[np.ndarray, "channel time"]) -> None:
        if len(self._levels) >= _MOST_LEVELS:
            return
        step = max(1, samples.shape[1] // _LEVELS_PER_BLOCK)
        count = (samples.shape[1] - 1) // step
        steps = np.subtract(samples[:, 1::step][:, :count], samples[:, ::step][:, :count], dtype=np.float32)
        steps = np.abs(steps, out=steps)[0] if len(steps) == 1 else np.abs(steps, out=steps).max(axis=0)
        heard = steps[steps > 0]
        if len(heard):
            middle = len(heard) // 2
            self._levels.append(float(np.partition(heard, middle)[middle]) * get_unit(samples.dtype))

    def _find_runs(self, block: PlacedSound, *, shortest: int) -> None:
        """Note the runs of zeros that end in a block, and the one that its end leaves open."""
        is_zero = _find_zeros(block.samples)
        edges = np.flatnonzero(np.diff(np.concatenate([[False], is_zero, [False]]))).reshape(-1, 2)
        is_long = edges[:, 1] - edges[:, 0] >= shortest  # soft sound has thousands that are not
        is_long |= (edges[:, 0] == 0) | (edges[:, 1] == len(is_zero))
        runs: list[tuple[int, int]] = [(first, last) for first, last in edges[is_long].tolist()]
        before, self._open = self._open, None
        if before is not None and (not runs or runs[0][0] > 0):
            runs.insert(0, (0, 0))  # it has ended with the block before
        for first, last in runs:
            start, edge = before or (block.start + first, self._measure_before(block.samples, first))
            before = None
            if last == len(is_zero):
                self._open = (start, edge)
            elif block.start + last - start >= shortest:
                self._note_run(block, start=start, last=last, before=edge)

    def _note_run(self, block: PlacedSound, *, start: int, last: int, before: _Edge) -> None:
        rate = block.sample_rate_hz
        near, around = (last + round(seconds * rate) for seconds in (_NEAR_SECONDS, _AROUND_SECONDS))
        behind = _Edge(_measure_level(block.samples[:, last:near]), _measure_level(block.samples[:, last:around]))
        is_faded = any(each.near < _FADED_SHARE * each.around for each in (before, behind))
        is_of_blocks = _is_of_blocks(block.samples, count=block.start + last - start)
        level = 0.0 if is_faded else min(before.near, behind.near)
        self._stretches.append(_Stretch(start / rate, (block.start + last) / rate, level, is_of_blocks))

    def _measure_before(self, samples: Shaped[np.ndarray, "channel time"], position: int) -> _Edge:
        """Return the level of the sound before a position; 0 where the sound begins there."""
        near, around = (round(seconds * self._rate) for seconds in (_NEAR_SECONDS, _AROUND_SECONDS))
        before = samples[:, max(0, position - around) : position]
        if position < around and self._tail is not None:
            before = np.concatenate([self._tail[:, position - around :], before], axis=1)
        return _Edge(_measure_level(before[:, -near:]), _measure_level(before))


def _differs(before: Shaped[np.ndarray, "channel _"], samples: Shaped[np.ndarray, "channels time"]) -> bool:
    return len(before) != len(samples) or before.dtype != samples.dtype


def _find_zeros(samples: Shaped[np.ndarray, "channel time"]) -> Bool[np.ndarray, " time"]:
    """Return the samples at which all channels are exactly zero."""
    zero = 128 if samples.dtype == np.uint8 else 0
    is_zero: Bool[np.ndarray, " time"] = (samples == zero).all(axis=0)
    return is_zero


def _may_hold_run(samples: Shaped[np.ndarray, "channel time"], *, shortest: int) -> bool:
    """Return whether a block may hold, or end with, a run of zeros; looks at a few samples of every such run."""
    step = max(1, shortest // 4)
    is_zero = _find_zeros(samples[:1, ::step])
    return bool((is_zero[1:] & is_zero[:-1]).any()) or bool(_find_zeros(samples[:, -1:]).all())


def _measure_level(samples: Shaped[np.ndarray, "channel time"]) -> float:
    """Return the mean step from sample to sample, as a fraction of full scale; that of the louder channel."""
    if samples.shape[1] < 2:
        return 0.0
    return float(np.abs(np.diff(convert_to_fractions(samples), axis=1)).mean(axis=1).max())


def _is_of_blocks(samples: Shaped[np.ndarray, "channel time"], *, count: int) -> bool:
    """Return whether a number of frames, of samples such as these, is that of some blocks of a card."""
    widths = (3, 4) if samples.dtype == np.int32 else (samples.dtype.itemsize,)  # 24 bits are decoded to 32
    for width in widths:
        frame = width * len(samples)
        rest = (count * frame) % _BLOCK_BYTES
        if count * frame >= _BLOCK_BYTES - _FRAMES_LESS * frame and (
            rest <= _FRAMES_MORE * frame or rest >= _BLOCK_BYTES - _FRAMES_LESS * frame
        ):
            return True
    return False


def _join(stretches: Iterable[_Stretch]) -> list[tuple[float, float]]:
    """Return beginning and end of the stretches, those that touch as one."""
    joined: list[tuple[float, float]] = []
    for each in stretches:
        if joined and each.start_seconds - joined[-1][1] < _TOUCHING_SECONDS:
            joined[-1] = (joined[-1][0], each.end_seconds)
        else:
            joined.append((each.start_seconds, each.end_seconds))
    return joined
