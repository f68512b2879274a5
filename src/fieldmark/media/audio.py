"""Sound: a recording, or the sound of a video, to mono segments at one sample rate; and its spectrogram."""

import math
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import final

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from fieldmark.errors import EmptyMediaError, TooLargeError, UnreadableMediaError
from fieldmark.media.container import pick_equally_spaced
from fieldmark.media.damage import DamageLog
from fieldmark.media.file import check_file
from fieldmark.media.joined import warn_of_joined_file
from fieldmark.media.sound.mixing import ODD_SCALE, Mixing, learn_mixing, take_head, warn_of_clipping
from fieldmark.media.sound.placement import PlacedSound
from fieldmark.media.sound.reader import FileStamp, SoundTrack, open_sound, stamp_file
from fieldmark.media.sound.resampling import CONTEXT_SECONDS, MonoSound, mix, resample
from fieldmark.media.sound.zeros import ZeroWatch
from fieldmark.types import AudioContent, Decoding, MediaLimits, MediaWarning, Segment

# ---------------------------------------------------------------- segments

_SMALLEST_TAIL = 0.25  # in hops
_REMEMBERED_MIXINGS = 256


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of a file's sound, as it is asked for.

    Args:
        last: The sample behind its last one; None for the end of the file.
    """

    start_seconds: float
    end_seconds: float
    first: int
    last: int | None
    rate: int

    def clip(self, start: int, end: int) -> tuple[int, int]:
        """Return the samples from `start` to `end` that lie in the part; the second is the smaller where none does."""
        return max(start, self.first), end if self.last is None else min(end, self.last)


def load(
    path: Path,
    *,
    decoding: Decoding,
    limits: MediaLimits,
    start_seconds: float | None = None,
    end_seconds: float | None = None,
) -> Iterator[Segment]:
    """Yield the sound of a file, segment by segment, in memory that does not grow with its length.

    The sound stands where the file's own times put it, and is silent where the file has none. Channels are averaged,
    unless they cancel each other or are silent; the rate becomes `decoding.sample_rate_hz`, and nothing is padded.
    Segments of `segment_seconds` begin every `hop_seconds`. Sound shorter than one segment gives one, as short as it
    is. Where at least a quarter of a hop lies behind the last whole segment, one more segment ends with the sound (and
    overlaps the one before). Lengths are counted, never believed: files state wrong ones.

    The last segment carries the warnings: what is damaged or missing, and what was not as expected.

    Raises:
        MissingFileError: There is no such file.
        EmptyMediaError: The file has zero bytes, no sound track, or no sample between the two times.
        TooLargeError: Too many bytes; too many seconds of sound; or too many at once, as one segment.
        UnreadableMediaError: The file is no recording, or more of it is damaged than may be.
    """
    check_file(path, max_bytes=limits.max_bytes)
    rate = decoding.sample_rate_hz
    length = sys.maxsize if decoding.segment_seconds is None else max(1, round(decoding.segment_seconds * rate))
    hop = length if decoding.hop_seconds is None else max(1, round(decoding.hop_seconds * rate))
    part = _make_part(start_seconds, end_seconds, rate=rate)

    chosen = None
    if decoding.max_segments is not None and decoding.segment_seconds is not None:
        count = _segment_count(_count_samples(path, part, limits=limits), length=length, hop=hop)
        chosen = set(pick_equally_spaced(count, limit=decoding.max_segments))

    with open_sound(path, limits=limits) as track:
        reading = _Reading(track, part, path=path, limits=limits)
        waveform = _check_held(reading.read(), length=length, rate=rate, path=path, limits=limits)
        held = None
        for index, (start, samples) in enumerate(_cut(waveform, length=length, hop=hop)):
            if chosen is None or index in chosen:
                if held is not None:
                    yield held
                begin = reading.begin_seconds + start / rate
                content = AudioContent(torch.from_numpy(samples.copy()), sample_rate_hz=rate)
                held = Segment(content, start_seconds=begin, end_seconds=begin + len(samples) / rate)
        if held is not None:
            yield replace(held, warnings=reading.finish())


def _make_part(start_seconds: float | None, end_seconds: float | None, *, rate: int) -> _Part:
    start, end = start_seconds or 0.0, math.inf if end_seconds is None else end_seconds
    return _Part(start, end, first=round(start * rate), last=None if math.isinf(end) else round(end * rate), rate=rate)


@final
class _Reading:
    """One pass over a part of a file; what was met on the way is known at its end."""

    def __init__(self, track: SoundTrack, part: _Part, *, path: Path, limits: MediaLimits) -> None:
        self._track = track
        self._part = part
        self._path = path
        self._limits = limits
        self._log = DamageLog(start_seconds=part.start_seconds, end_seconds=part.end_seconds)
        self._warnings: tuple[MediaWarning, ...] = ()
        self._end_seconds: float | None = None  # of the file; None where the part ends before
        self._count = 0
        self._peak = 0.0  # of floats, once mixed
        self._zeros = ZeroWatch()
        self.begin_seconds = part.start_seconds

    def read(self) -> Iterator[Float32[np.ndarray, " time"]]:
        """Yield the samples of the part.

        Raises:
            EmptyMediaError: There are none.
            TooLargeError: They are too many.
            UnreadableMediaError: Some are no numbers.
        """
        part, allowed = self._part, self._limits.max_seconds
        blocks, mixing = self._survey(self.read_blocks())
        self._warnings = mixing.warnings
        if self._track.is_lossless:
            blocks = self._zeros.watch(blocks)
        for block in resample(self._check_numbers(mix(blocks, mixing)), rate=part.rate):
            start, end = part.clip(block.start, block.end)
            if start >= end:
                continue
            if not self._count and start > part.first:
                self.begin_seconds = start / part.rate
            self._count += end - start
            if self._count > allowed * part.rate:
                got = self._count / part.rate
                raise TooLargeError(path=self._path, quantity="seconds", got=got, allowed=allowed)
            yield block.samples[start - block.start : end - block.start]
        if not self._count:
            raise EmptyMediaError(path=self._path, reason="it has no sound between the two times, or none at all")

    def read_blocks(self) -> Iterator[PlacedSound]:
        """Yield the sound of the part as the file holds it, with the context that resampling needs.

        Where the part begins or ends in a gap, one silent sample stands there.
        """
        start = self._part.start_seconds - CONTEXT_SECONDS
        stop = self._part.end_seconds + CONTEXT_SECONDS
        before, is_first = None, True
        for block in self._track.read(from_seconds=max(0.0, start), log=self._log):
            rate = block.sample_rate_hz
            if block.end > start * rate:
                if is_first and before is not None:
                    yield from self._fill(self._part.start_seconds, before, block)
                is_first = False
            if block.start >= stop * rate:
                if before is not None:
                    yield from self._fill(self._part.end_seconds, before, block)
                return
            if not is_first:
                yield block
            before = block
        self._end_seconds = 0.0 if before is None else before.end / before.sample_rate_hz

    def _fill(self, seconds: float, before: PlacedSound, block: PlacedSound) -> Iterator[PlacedSound]:
        """Yield a silent sample at a time that lies between two blocks."""
        rate = block.sample_rate_hz
        position = round(seconds * rate)
        if before.end * rate / before.sample_rate_hz <= position < block.start:
            yield PlacedSound(position, np.zeros_like(block.samples[:, :1]), rate)

    def finish(self) -> tuple[MediaWarning, ...]:
        """Return the warnings.

        Raises:
            UnreadableMediaError: More of it is damaged than may be.
        """
        self._log.check(read_seconds=self._count / self._part.rate, path=self._path, limits=self._limits)
        if self._end_seconds is not None:
            declared = self._track.find_declared_seconds(read=self._end_seconds)
            if declared is not None:
                self._log.add_cut(from_seconds=self._end_seconds, declared_seconds=declared)
        joined = warn_of_joined_file(self._path) if self._end_seconds is not None else ()
        is_known = any(each.kind == ODD_SCALE for each in self._warnings)
        clipped = (warn_of_clipping(self._peak),) if self._peak > 1.0 and not is_known else ()
        return (*self._log.describe(noun="sound"), *joined, *self._zeros.describe(), *self._warnings, *clipped)

    def _survey(self, blocks: Iterator[PlacedSound]) -> tuple[Iterator[PlacedSound], Mixing]:
        """Return the sound and the mixing of the file, which its beginning decides."""
        heard_hz = self._part.rate / 2
        if self._part.start_seconds > 0 or self._part.last is not None:
            return blocks, _recall_mixing(stamp_file(self._path), self._limits, heard_hz)
        head, is_whole = take_head(blocks)
        mixing = learn_mixing(
            head,
            is_whole=is_whole,
            has_float_samples=self._track.has_float_samples,
            heard_hz=heard_hz,
            read_all=lambda: _read_all(self._path, self._limits),
        )
        return chain(head, blocks), mixing

    def _check_numbers(self, blocks: Iterable[MonoSound]) -> Iterator[MonoSound]:
        for block in blocks:
            if not np.isfinite(block.samples).all():
                raise UnreadableMediaError(path=self._path, reason="it holds samples that are not finite numbers")
            if self._track.has_float_samples:
                self._peak = max(self._peak, float(np.abs(block.samples).max(initial=0)))
            yield block


@lru_cache(maxsize=_REMEMBERED_MIXINGS)
def _recall_mixing(stamp: FileStamp, limits: MediaLimits, heard_hz: float) -> Mixing:
    """Return the mixing of a file, for its parts."""
    with open_sound(stamp.path, limits=limits) as track:
        head, is_whole = take_head(track.read(from_seconds=0.0, log=_forget_losses()))
        return learn_mixing(
            head,
            is_whole=is_whole,
            has_float_samples=track.has_float_samples,
            heard_hz=heard_hz,
            read_all=lambda: _read_all(stamp.path, limits),
        )


def _read_all(path: Path, limits: MediaLimits) -> Iterator[PlacedSound]:
    with open_sound(path, limits=limits) as track:
        yield from track.read(from_seconds=0.0, log=_forget_losses())


def _forget_losses() -> DamageLog:
    return DamageLog(start_seconds=0.0, end_seconds=math.inf)


def _count_samples(path: Path, part: _Part, *, limits: MediaLimits) -> int:
    """Return the number of samples of a part, without resampling them."""
    start, end = None, 0
    with open_sound(path, limits=limits) as track:
        for block in _Reading(track, part, path=path, limits=limits).read_blocks():
            ratio = part.rate / block.sample_rate_hz
            start = round(block.start * ratio) if start is None else start
            end = round(block.end * ratio)
    first, last = part.clip(start or 0, end)
    return max(0, last - first)


def _check_held(
    waveform: Iterable[Float32[np.ndarray, " time"]], *, length: int, rate: int, path: Path, limits: MediaLimits
) -> Iterator[Float32[np.ndarray, " time"]]:
    """Yield the sound unchanged; raise before a segment of `length` samples would hold too much of it at once.

    Raises:
        TooLargeError: More than `limits.max_segment_seconds` would be held.
    """
    allowed = limits.max_segment_seconds
    waveform = iter(waveform)
    total = 0
    for samples in waveform:
        total += len(samples)
        if min(total, length) > allowed * rate:
            got = min(total + sum(len(rest) for rest in waveform), length) / rate
            raise TooLargeError(path=path, quantity="segment seconds", got=got, allowed=allowed)
        yield samples


def _cut(
    waveform: Iterable[Float32[np.ndarray, " time"]], *, length: int, hop: int
) -> Iterator[tuple[int, Float32[np.ndarray, " time"]]]:
    """Yield first sample and samples of each segment, as `load` defines them."""
    held: deque[Float32[np.ndarray, " time"]] = deque()
    first = total = start = 0  # of what is held, of what was read, of the next segment
    for samples in waveform:
        held.append(samples)
        total += len(samples)
        if start + length <= total:
            joined = np.concatenate(held)
            while start + length <= total:
                yield start, joined[start - first : start - first + length]
                start += hop
            held = deque([joined])
        # The last `length` samples stay: they may turn out to be the last segment.
        needed = max(first, min(start, total - length))
        while held and first + len(held[0]) <= needed:
            first += len(held.popleft())
        if held:
            held[0] = held[0][needed - first :]
            first = needed
    if start == 0 and total > 0:
        yield 0, np.concatenate(held)
    elif start > 0 and _has_tail(total, length=length, hop=hop):
        yield total - length, np.concatenate(held)[-length:]


def _has_tail(total: int, *, length: int, hop: int) -> bool:
    """Return whether the sound behind the last whole segment is long enough for a segment of its own."""
    behind = total - length - (total - length) // hop * hop
    return behind >= _SMALLEST_TAIL * hop


def _segment_count(total: int, *, length: int, hop: int) -> int:
    """Return the number of segments that `_cut` makes of `total` samples."""
    if total <= length:
        return min(total, 1)
    return (total - length) // hop + 1 + _has_tail(total, length=length, hop=hop)


# ---------------------------------------------------------------- spectrograms


def compute_power_spectrogram(
    waveform: Float[Tensor, "*batch time"], *, n_fft: int, hop_length: int
) -> Float[Tensor, "*batch frequency frame"]:
    """Return |STFT|² under a Hann window; frame t is centered on sample t * `hop_length`, with silence around.

    Args:
        n_fft: Samples in a window; gives n_fft / 2 + 1 frequencies from 0 to half the sample rate.
        hop_length: Samples from one frame to the next; T samples give T // hop_length + 1 frames.
    """
    window = torch.hann_window(n_fft, dtype=waveform.dtype, device=waveform.device)
    flat = waveform.reshape(-1, waveform.shape[-1])
    spectrum = torch.stft(
        flat, n_fft, hop_length=hop_length, window=window, center=True, pad_mode="constant", return_complex=True
    )
    return spectrum.abs().square().reshape(*waveform.shape[:-1], *spectrum.shape[-2:])


def convert_to_decibels(
    power: Float[Tensor, "*batch frequency frame"], *, floor_db: float
) -> Float[Tensor, "*batch frequency frame"]:
    """Return 10 log10(power / maximum), each spectrogram by its own maximum: -`floor_db` to 0; silence is all floor."""
    loudest = power.amax(dim=(-2, -1), keepdim=True)
    smallest = 10 ** (-floor_db / 10)
    relative = torch.where(loudest > 0, power / loudest.clamp_min(torch.finfo(power.dtype).tiny), 0)
    return 10 * relative.clamp_min(smallest).log10()
