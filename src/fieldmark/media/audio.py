"""Sound: a recording, or the sound of a video, to mono segments at one sample rate; and its spectrogram."""

import sys
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import soxr
import torch
from av.audio.frame import AudioFrame
from jaxtyping import Float, Float32
from torch import Tensor

from fieldmark.errors import EmptyMediaError, TooLargeError, UnreadableMediaError
from fieldmark.media.container import decode_sound, find_sound_stream, open_container, pick_equally_spaced
from fieldmark.media.file import check_file
from fieldmark.types import AudioContent, Decoding, MediaLimits, Segment

# ---------------------------------------------------------------- segments

_SLOWEST_HZ, _FASTEST_HZ = 1_000, 4_000_000  # outside lies no recorder, only a damaged header
_SMALLEST_TAIL = 0.25  # in hops


@dataclass(frozen=True, slots=True)
class _Block:
    """Some sound as the file holds it, mixed to one channel."""

    samples: Float32[np.ndarray, " time"]
    sample_rate_hz: int
    start_seconds: float


def load(
    path: Path,
    *,
    decoding: Decoding,
    limits: MediaLimits,
    start_seconds: float | None = None,
    end_seconds: float | None = None,
) -> Iterator[Segment]:
    """Yield the sound of a file, segment by segment, in memory that does not grow with its length.

    Channels are averaged, the rate becomes `decoding.sample_rate_hz`, and nothing is padded. Segments of
    `segment_seconds` begin every `hop_seconds`. Sound shorter than one segment gives one, as short as it is. Where at
    least a quarter of a hop lies behind the last whole segment, one more segment ends with the sound (and overlaps
    the one before). Lengths are counted, never believed: files state wrong ones.

    Raises:
        MissingFileError: There is no such file.
        EmptyMediaError: The file has zero bytes, no sound track, or no sample between the two times.
        TooLargeError: Too many bytes; too many seconds of sound; or too many at once, as one segment.
        UnreadableMediaError: The file is no recording, or is damaged.
    """
    check_file(path, max_bytes=limits.max_bytes)
    rate = decoding.sample_rate_hz
    length = sys.maxsize if decoding.segment_seconds is None else max(1, round(decoding.segment_seconds * rate))
    hop = length if decoding.hop_seconds is None else max(1, round(decoding.hop_seconds * rate))

    chosen = None
    if decoding.max_segments is not None and decoding.segment_seconds is not None:
        blocks = _read(path, limits=limits, start_seconds=start_seconds, end_seconds=end_seconds)
        count = _segment_count(_resampled_count(blocks, rate=rate), length=length, hop=hop)
        chosen = set(pick_equally_spaced(count, limit=decoding.max_segments))

    blocks = _read(path, limits=limits, start_seconds=start_seconds, end_seconds=end_seconds)
    first = next(blocks, None)
    if first is None:
        raise EmptyMediaError(path=path, reason="it has no sound between the two times, or none at all")
    waveform = _resample(chain([first], blocks), rate=rate, path=path, limits=limits)
    waveform = _check_held(waveform, length=length, rate=rate, path=path, limits=limits)
    for index, (start, samples) in enumerate(_cut(waveform, length=length, hop=hop)):
        if chosen is None or index in chosen:
            begin = first.start_seconds + start / rate
            content = AudioContent(torch.from_numpy(samples.copy()), sample_rate_hz=rate)
            yield Segment(content, start_seconds=begin, end_seconds=begin + len(samples) / rate)


def _read(
    path: Path, *, limits: MediaLimits, start_seconds: float | None, end_seconds: float | None
) -> Iterator[_Block]:
    """Yield the sound between two times, block by block as the decoder gives it."""
    begin = start_seconds or 0.0
    end = float("inf") if end_seconds is None else end_seconds
    with open_container(path, limits=limits) as container:
        stream = find_sound_stream(container)
        if stream is None:
            raise EmptyMediaError(path=path, reason="it has no sound track")
        position = None
        for seconds, frame in decode_sound(container, stream, path=path, from_seconds=begin):
            if position is None:  # from here on samples are counted, for some files round their time stamps
                position = seconds
            rate, samples = frame.sample_rate, _mono(frame)
            if not _SLOWEST_HZ <= rate <= _FASTEST_HZ:
                raise UnreadableMediaError(path=path, reason=f"it states a sample rate of {rate} Hz")
            edges = np.rint((np.array([begin, end]) - position) * rate)
            first, last = (int(edge) for edge in np.clip(edges, 0, len(samples)))
            if first < last:
                yield _Block(samples[first:last], sample_rate_hz=rate, start_seconds=max(begin, position))
            position += len(samples) / rate
            if position >= end:
                return


def _mono(frame: AudioFrame) -> Float32[np.ndarray, " time"]:
    """Return the mean of the channels; integers become fractions of their range."""
    samples = frame.to_ndarray()
    if not frame.format.is_planar:
        samples = samples.reshape(-1, frame.layout.nb_channels).T
    zero, scale = 0.0, 1.0
    if samples.dtype == np.uint8:
        zero, scale = 128.0, 128.0
    elif np.issubdtype(samples.dtype, np.integer):
        scale = float(2 ** (8 * samples.dtype.itemsize - 1))
    mono: Float32[np.ndarray, " time"] = ((samples.mean(axis=0, dtype=np.float64) - zero) / scale).astype(np.float32)
    return mono


def _resample(
    blocks: Iterable[_Block], *, rate: int, path: Path, limits: MediaLimits
) -> Iterator[Float32[np.ndarray, " time"]]:
    """Yield the sound resampled to `rate`, in [-1, 1].

    Raises:
        TooLargeError: It is longer than `limits.max_seconds`.
        UnreadableMediaError: Its rate changes, or it holds infinities or NaN.
    """
    resampler = None
    source_rate = 0
    seconds = 0.0
    for block in blocks:
        if resampler is None:
            source_rate = block.sample_rate_hz
            resampler = soxr.ResampleStream(source_rate, rate, 1, dtype="float32")
        if block.sample_rate_hz != source_rate:
            reason = f"its sample rate changes from {source_rate} to {block.sample_rate_hz} Hz"
            raise UnreadableMediaError(path=path, reason=reason)
        if not np.isfinite(block.samples).all():
            raise UnreadableMediaError(path=path, reason="it holds samples that are not finite numbers")
        seconds += len(block.samples) / source_rate
        if seconds > limits.max_seconds:
            raise TooLargeError(path=path, quantity="seconds", got=seconds, allowed=limits.max_seconds)
        yield np.clip(resampler.resample_chunk(block.samples), -1, 1)
    if resampler is not None:
        yield np.clip(resampler.resample_chunk(np.zeros(0, dtype=np.float32), last=True), -1, 1)


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


def _resampled_count(blocks: Iterable[_Block], *, rate: int) -> int:
    """Return the number of samples after resampling."""
    return round(sum(len(block.samples) * rate / block.sample_rate_hz for block in blocks))


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
