"""The channels of a recording to one: opposite and silent channels, odd scales, an offset from zero."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float32, Float64, Shaped

from fieldmark.media.sound.placement import PlacedSound
from fieldmark.media.sound.track import convert_to_fractions, get_unit
from fieldmark.types import MediaWarning

ODD_SCALE = "odd_scale"
"""The kind of the warning on floats beyond full scale, or far below."""

SURVEY_SECONDS = 30.0
"""The sound at the beginning of a file by which it is judged; a file that looks odd is judged by the whole of it."""

_SURVEY_SAMPLES = 2**23  # of all channels together: the most that is held at once
_CANCELED_SHARE = 0.2  # of the power that unrelated channels would have together; opposite ones have none
_SILENT_POWER = 1e-6  # of the loudest channel's
_OPPOSITE_CORRELATION = -0.8  # of two channels, whatever the one's share in the other
_ALIKE_CORRELATION = 0.3  # of two channels at the beginning: such ones do not turn out opposite later
_LARGEST_PEAK = 32.0  # of floats; recorders of 32 bits may go some 24 dB above full scale
_SMALLEST_PEAK, _NO_PEAK = 1e-3, 1e-6  # of floats; below the second there is nothing but rounding
_RAISED_PEAK = 0.5
_INTEGER_SCALES = (2.0**15, 2.0**23, 2.0**31)
_LARGEST_OFFSET = 0.01
_OFFSET_SECONDS = 1.0  # a shorter sound need not be symmetric
_MOST_MEANS = 100_000
_WINDOW = 2_048
_WINDOWS_PER_BLOCK = 8
_ULTRASOUND_HZ = 64_000
_ULTRASOUND_SHARE = 0.5


@final
class SoundStatistics:
    """The measures of a stretch of sound: power, peak and mean of its channels, and its spectrum."""

    def __init__(self) -> None:
        self.sample_rate_hz = 0
        self.count = 0
        self.peak = 0.0
        self.has_fractions = False
        self.means: list[Float64[np.ndarray, " channel"]] = []
        self.total: Float64[np.ndarray, " channel"] = np.zeros(0)
        self.products: Float64[np.ndarray, "channel channel"] = np.zeros((0, 0))
        self.spectrum: Float64[np.ndarray, " frequency"] = np.zeros(_WINDOW // 2 + 1)

    def add(self, sound: PlacedSound) -> None:
        """Add some sound; other channel counts and rates than the first are left out."""
        if not self.count:
            self.sample_rate_hz = sound.sample_rate_hz
            self.total = np.zeros(len(sound.samples))
            self.products = np.zeros((len(self.total), len(self.total)))
        if len(sound.samples) != len(self.total) or sound.sample_rate_hz != self.sample_rate_hz:
            return
        self.count += sound.samples.shape[1]
        has_spectrum = sound.sample_rate_hz > _ULTRASOUND_HZ
        if len(sound.samples) == 1 and sound.samples.dtype.kind == "i" and not has_spectrum:  # nothing else can be odd
            self._add_total(sound.samples.sum(axis=1) * get_unit(sound.samples.dtype), sound.samples.shape[1])
            return
        samples = convert_to_fractions(sound.samples)
        if not np.isfinite(samples).all():  # refused where they are used
            samples = np.nan_to_num(samples, posinf=0.0, neginf=0.0)
        self.peak = max(self.peak, float(samples.max(initial=0)), -float(samples.min(initial=0)))
        self.has_fractions = self.has_fractions or not np.array_equal(samples, np.rint(samples))
        self._add_total(samples.sum(axis=1, dtype=np.float64), samples.shape[1])
        self.products += samples @ samples.T
        if has_spectrum:
            self._add_spectrum(samples)

    def _add_total(self, total: Float64[np.ndarray, " channel"], count: int) -> None:
        self.total += total
        if len(self.means) < _MOST_MEANS:
            self.means.append(total / max(1, count))

    def _add_spectrum(self, samples: Float32[np.ndarray, "channel time"]) -> None:
        starts = np.linspace(0, samples.shape[1] - _WINDOW, _WINDOWS_PER_BLOCK).astype(int)
        for start in starts[starts >= 0]:
            windows = samples[:, start : start + _WINDOW] * np.hanning(_WINDOW)
            self.spectrum += (np.abs(np.fft.rfft(windows - windows.mean(axis=1, keepdims=True))) ** 2).sum(axis=0)

    def compute_covariance(self) -> Float64[np.ndarray, "channel channel"]:
        """Return the power of each channel, and of each pair, around their means."""
        means = self.total / max(1, self.count)
        return self.products / max(1, self.count) - np.outer(means, means)

    def compute_correlation(self) -> float:
        """Return the correlation of the first two channels; 0 where one is silent."""
        covariance = self.compute_covariance()
        power = float(np.sqrt(covariance[0, 0] * covariance[1, 1]))
        return float(covariance[0, 1]) / power if power > 0 else 0.0

    def compute_share_above(self, hz: float) -> float:
        """Return the share of the energy above a frequency; 0 where the rate is no one of ultrasound."""
        frequencies = np.fft.rfftfreq(_WINDOW, 1 / self.sample_rate_hz) if self.sample_rate_hz else np.zeros(1)
        whole = float(self.spectrum.sum())
        return float(self.spectrum[frequencies > hz].sum()) / whole if whole > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Mixing:
    """The way in which the channels of one file become one.

    Args:
        channels: Those whose mean is taken, of `channel_count`; None for all.
        offset: What is subtracted of the mean.
        gain: What it is multiplied by then.
    """

    channel_count: int = 0
    channels: tuple[int, ...] | None = None
    offset: float = 0.0
    gain: float = 1.0
    warnings: tuple[MediaWarning, ...] = ()

    def mix(self, samples: Shaped[np.ndarray, "channel time"]) -> Float32[np.ndarray, " time"]:
        """Return one channel, as fractions of full scale."""
        if self.channels is not None and len(samples) == self.channel_count:
            samples = samples[list(self.channels)]
        fractions = convert_to_fractions(samples)
        mono: Float32[np.ndarray, " time"] = fractions[0] if len(fractions) == 1 else fractions.mean(axis=0)
        if self.offset or self.gain != 1.0:
            mono = (mono - np.float32(self.offset)) * np.float32(self.gain)
        return mono


def take_head(blocks: Iterator[PlacedSound]) -> tuple[list[PlacedSound], bool]:
    """Return the sound of the survey, and whether that is all."""
    head: list[PlacedSound] = []
    seconds, held = 0.0, 0
    for block in blocks:
        head.append(block)
        seconds += block.samples.shape[1] / block.sample_rate_hz
        held += block.samples.size
        if seconds >= SURVEY_SECONDS or held >= _SURVEY_SAMPLES:
            return head, False
    return head, True


def learn_mixing(
    head: Sequence[PlacedSound],
    *,
    is_whole: bool,
    has_float_samples: bool,
    heard_hz: float,
    read_all: Callable[[], Iterable[PlacedSound]],
) -> Mixing:
    """Return the mixing for a file, by its beginning, or by all of it where the beginning is not as expected.

    Args:
        head: From the beginning of the file.
        is_whole: The head is all of it.
        has_float_samples: The file itself stores floats.
        heard_hz: The highest frequency that an encoder hears.
        read_all: Reads the file from its beginning.
    """
    statistics = _measure(head)
    if not is_whole and _is_odd(statistics, has_float_samples=has_float_samples):
        statistics = _measure(read_all())
    return _choose_mixing(statistics, has_float_samples=has_float_samples, heard_hz=heard_hz)


def _measure(blocks: Iterable[PlacedSound]) -> SoundStatistics:
    statistics = SoundStatistics()
    for block in blocks:
        statistics.add(block)
    return statistics


def _is_odd(statistics: SoundStatistics, *, has_float_samples: bool) -> bool:
    """Return whether a beginning is not as expected, or tells nothing: floats in silence, channels that are unlike."""
    channels, _ = _choose_channels(statistics)
    if channels is not None or (has_float_samples and not _SMALLEST_PEAK <= statistics.peak <= 1.0):
        return True
    return len(statistics.total) == 2 and statistics.compute_correlation() < _ALIKE_CORRELATION


def _choose_mixing(statistics: SoundStatistics, *, has_float_samples: bool, heard_hz: float) -> Mixing:
    channels, channel_warnings = _choose_channels(statistics)
    gain, gain_warnings = _choose_gain(statistics, has_float_samples=has_float_samples)
    offset, offset_warnings = _choose_offset(statistics, channels, gain=gain)
    return Mixing(
        channel_count=len(statistics.total),
        channels=channels,
        offset=offset,
        gain=gain,
        warnings=(*channel_warnings, *gain_warnings, *offset_warnings, *_tell_ultrasound(statistics, heard_hz)),
    )


def _choose_channels(statistics: SoundStatistics) -> tuple[tuple[int, ...] | None, tuple[MediaWarning, ...]]:
    """Return the channels to take, None for all: those that are not silent, or one of those that cancel each other."""
    covariance = statistics.compute_covariance()
    power = np.diag(covariance)
    count = len(power)
    if count < 2 or power.max() <= 0:
        return None, ()
    heard = np.flatnonzero(power > _SILENT_POWER * power.max())
    mixed = covariance[np.ix_(heard, heard)].sum()
    is_opposite = len(heard) == count == 2 and statistics.compute_correlation() < _OPPOSITE_CORRELATION
    if is_opposite or mixed < _CANCELED_SHARE * power[heard].sum():
        loudest = int(power.argmax())
        message = (
            f"Its {count} channels have opposite signs and cancel each other; channel {loudest + 1}, the loudest, "
            "is used alone. Check the wiring of the microphones."
        )
        return (loudest,), (MediaWarning("opposite_channels", message),)
    if len(heard) < count:
        silent = ", ".join(str(index + 1) for index in range(count) if index not in heard)
        message = (
            f"Of its {count} channels, {silent} {'is' if len(heard) == count - 1 else 'are'} silent and left out. "
            "Check the microphone, or record one channel."
        )
        return tuple(int(index) for index in heard), (MediaWarning("silent_channel", message),)
    return None, ()


def _choose_gain(statistics: SoundStatistics, *, has_float_samples: bool) -> tuple[float, tuple[MediaWarning, ...]]:
    peak = statistics.peak
    if not has_float_samples or _SMALLEST_PEAK <= peak <= 1.0 or peak < _NO_PEAK:
        return 1.0, ()
    if peak < _SMALLEST_PEAK:
        gain = _RAISED_PEAK / peak
        message = (
            f"Its loudest sample is {peak:.2g} of full scale; the sound is raised by {20 * math.log10(gain):.0f} dB. "
            "Store samples between -1 and 1."
        )
        return gain, (MediaWarning(ODD_SCALE, message),)
    if peak <= _LARGEST_PEAK and statistics.has_fractions:
        return 1.0, (warn_of_clipping(peak),)
    scale = next((each for each in _INTEGER_SCALES if peak <= each), peak)
    message = (
        f"Its samples are floats of an integer's scale, up to {peak:,.0f}; they are divided by {scale:,.0f}. "
        "Store samples between -1 and 1."
    )
    return 1 / scale, (MediaWarning(ODD_SCALE, message),)


def warn_of_clipping(peak: float) -> MediaWarning:
    """Return the warning of floats above full scale."""
    message = f"Its samples reach {peak:.3g} times full scale and are clipped there. Store it lower."
    return MediaWarning(ODD_SCALE, message)


def _choose_offset(
    statistics: SoundStatistics, channels: Sequence[int] | None, *, gain: float
) -> tuple[float, tuple[MediaWarning, ...]]:
    if statistics.count < _OFFSET_SECONDS * max(1, statistics.sample_rate_hz):
        return 0.0, ()
    means = np.median(statistics.means, axis=0)  # a single loud pulse is no offset
    offset = float(means[list(channels)].mean() if channels is not None else means.mean())
    if abs(offset * gain) < _LARGEST_OFFSET:
        return 0.0, ()
    message = (
        f"Its samples lie around {offset * gain:+.3f} of full scale, not around 0; the offset is subtracted. "
        "Check the recorder's input."
    )
    return offset, (MediaWarning("dc_offset", message),)


def _tell_ultrasound(statistics: SoundStatistics, heard_hz: float) -> tuple[MediaWarning, ...]:
    share = statistics.compute_share_above(heard_hz)
    if statistics.sample_rate_hz <= 2 * heard_hz or share < _ULTRASOUND_SHARE:
        return ()
    message = (
        f"{statistics.sample_rate_hz / 1000:g} kHz: {share:.0%} of the energy lies above what the encoder hears, "
        f"which is {heard_hz / 1000:g} kHz. Slow the recording down, or use an encoder of ultrasound."
    )
    return (MediaWarning("ultrasound", message.replace("%", " %")),)
