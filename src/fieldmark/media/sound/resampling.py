"""Placed sound to one stream of samples at the wanted rate; the gaps are silent."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np
import soxr
from jaxtyping import Float32

from fieldmark.media.sound.mixing import Mixing
from fieldmark.media.sound.placement import PlacedSound

CONTEXT_SECONDS = 0.25
"""Sound around a part that its first and last samples depend on where the rate changes."""

_BLOCK_SECONDS = 1.0  # mixed at once
_SILENCE_SECONDS = 1.0  # of a gap, made at once


@dataclass(frozen=True, slots=True)
class MonoSound:
    """Sound of one channel at its place; `start` counts samples from the beginning of the file."""

    start: int
    samples: Float32[np.ndarray, " time"]
    sample_rate_hz: int

    @property
    def end(self) -> int:
        """Samples from the beginning of the file to behind the last of these."""
        return self.start + len(self.samples)


def mix(blocks: Iterable[PlacedSound], mixing: Mixing) -> Iterator[MonoSound]:
    """Yield the sound of one channel, in blocks of about a second where nothing is missing."""
    held: list[PlacedSound] = []
    for block in blocks:
        if held and not _follows(held[-1], block):
            yield _mix(held, mixing)
            held = []
        held.append(block)
        if block.end - held[0].start >= _BLOCK_SECONDS * block.sample_rate_hz:
            yield _mix(held, mixing)
            held = []
    if held:
        yield _mix(held, mixing)


def _follows(before: PlacedSound, block: PlacedSound) -> bool:
    return (
        before.end == block.start
        and before.sample_rate_hz == block.sample_rate_hz
        and before.samples.dtype == block.samples.dtype
        and len(before.samples) == len(block.samples)
    )


def _mix(held: list[PlacedSound], mixing: Mixing) -> MonoSound:
    samples = held[0].samples if len(held) == 1 else np.concatenate([block.samples for block in held], axis=1)
    return MonoSound(held[0].start, mixing.mix(samples), held[0].sample_rate_hz)


def resample(sound: Iterable[MonoSound], *, rate: int) -> Iterator[MonoSound]:
    """Yield the sound at another rate, without gaps, from the first block on to the end of the last.

    Sample n stands n / `rate` seconds behind the beginning of the file, wherever the sound begins, so that parts of a
    file and the whole of it have the same samples.
    """
    end = None  # of what was given out
    for run in _divide(sound):
        for block in _resample_run(run, rate=rate):
            start = block.start if end is None else end
            if block.start > start:
                yield from _silence(start, block.start, rate)
            samples = block.samples[max(0, start - block.start) :]
            end = max(start, block.end)
            if len(samples):
                yield MonoSound(end - len(samples), np.clip(samples, -1, 1), rate)


def _divide(sound: Iterable[MonoSound]) -> Iterator[Iterator[MonoSound]]:
    """Yield the sound in runs of one rate, each to be read to its end before the next."""
    following: list[MonoSound] = []

    def read_run(first: MonoSound) -> Iterator[MonoSound]:
        yield first
        for block in blocks:
            if block.sample_rate_hz != first.sample_rate_hz:
                following.append(block)
                return
            yield block

    blocks = iter(sound)
    following.extend(block for block in [next(blocks, None)] if block is not None)
    while following:
        yield read_run(following.pop())


def _resample_run(run: Iterator[MonoSound], *, rate: int) -> Iterator[MonoSound]:
    first = next(run)
    source = first.sample_rate_hz
    blocks = _fill_gaps(chain([first], run))
    if source == rate:
        yield from blocks
        return
    divisor = math.gcd(source, rate)
    lead = first.start % (source // divisor)  # the resampler begins where both rates have a sample
    position = (first.start - lead) // (source // divisor) * (rate // divisor)
    begin, end = round(first.start * rate / source), first.start
    resampler = soxr.ResampleStream(source, rate, 1, dtype="float32")
    for block in chain([MonoSound(first.start - lead, np.zeros(lead, dtype=np.float32), source)], blocks):
        end = block.end
        samples = resampler.resample_chunk(block.samples)
        yield _trim(MonoSound(position, samples, rate), begin, None)
        position += len(samples)
    last, stop = resampler.resample_chunk(np.zeros(0, dtype=np.float32), last=True), round(end * rate / source)
    missing = max(0, stop - position - len(last))  # the resampler rounds its count down at times
    yield _trim(MonoSound(position, np.pad(last, (0, missing)), rate), begin, stop)


def _trim(block: MonoSound, begin: int, end: int | None) -> MonoSound:
    """Return the part of a block between two places."""
    first = min(max(0, begin - block.start), len(block.samples))
    last = len(block.samples) if end is None else max(first, end - block.start)
    return MonoSound(block.start + first, block.samples[first:last], block.sample_rate_hz)


def _fill_gaps(blocks: Iterable[MonoSound]) -> Iterator[MonoSound]:
    end = None
    for block in blocks:
        if end is not None and block.start > end:
            yield from _silence(end, block.start, block.sample_rate_hz)
        yield block
        end = block.end


def _silence(start: int, end: int, rate: int) -> Iterator[MonoSound]:
    step = max(1, round(_SILENCE_SECONDS * rate))
    for each in range(start, end, step):
        yield MonoSound(each, np.zeros(min(step, end - each), dtype=np.float32), rate)
