"""Synthesize the songs of invented birds from field marks, as a microphone records them."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Float32
from numpy.random import Generator

from fieldmark.datasets.aviary.species import COUNTS, Song

RATE_HZ = 22_050

_Wave = Float[np.ndarray, " time"]

_PITCHES_HZ = {"low": 1_700.0, "middle": 2_900.0, "high": 4_900.0}
_TEMPOS = {"slow": 1.3, "steady": 1.0, "fast": 0.62}


def _compute_phase(time: _Wave, rate: float) -> _Wave:
    """Return the phase, 0 to 1, of a row of equal notes."""
    return (rate * time) % 1


# The course of each syllable's pitch (as a ratio to the song's) and loudness, over seconds and over its length.
_SYLLABLES: dict[str, Callable[[_Wave, _Wave], tuple[_Wave, _Wave]]] = {
    "rising whistle": lambda time, share: (0.70 * 1.95**share, np.ones_like(time)),
    "falling whistle": lambda time, share: (1.36 * 0.51**share, np.ones_like(time)),
    "level whistle": lambda time, _: (1 + 0.008 * np.sin(40 * time), np.ones_like(time)),
    "warble": lambda time, share: (1 + 0.26 * np.sin(8 * np.pi * share), np.ones_like(time)),
    "trill": lambda time, _: (
        1.16 - 0.32 * _compute_phase(time, 24.0),
        np.sin(np.pi * _compute_phase(time, 24.0)) ** 1.5,
    ),
    "buzz": lambda time, _: (1 + 0.13 * np.sin(723 * time), 0.6 + 0.4 * np.sin(723 * time)),
    "chirps": lambda _, share: (1.6 - _compute_phase(share, 3.0), np.sin(np.pi * _compute_phase(share, 3.0)) ** 2),
    "rattle": lambda time, _: (1 + 0.75 * np.sin(1_400 * time), 1.6 * np.exp(-8 * _compute_phase(time, 17.0))),
}


def _synthesize_syllable(name: str, *, center_hz: float, seconds: float, haste: float) -> _Wave:
    time = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    share = time / seconds
    ratio, gain = _SYLLABLES[name](haste * time, share)
    phase = 2 * np.pi * np.cumsum(ratio * center_hz) / RATE_HZ
    overtone = 0.15 * np.sin(2 * phase) * (2 * ratio * center_hz < 0.45 * RATE_HZ)
    edge = np.minimum(1, np.minimum(share, 1 - share) * seconds / 0.015)
    sound: _Wave = edge * gain * (np.sin(phase) + overtone)
    return sound


def synthesize_song(
    song: Song, *, bout_count: int, difficulty: float, rng: Generator
) -> list[Float32[np.ndarray, " time"]]:
    """Synthesize the bouts of one recording of one individual, each 2 to 3 seconds at `RATE_HZ`.

    Args:
        difficulty: 0 to 1; how much pitch and tempo vary, and how loud the background is.
    """
    spread = 0.25 + 0.75 * difficulty
    center_hz = _PITCHES_HZ[song.pitch] * np.exp(rng.normal(0, 0.06) * spread)
    pace = _TEMPOS[song.tempo] * np.exp(rng.normal(0, 0.07) * spread)
    haste = np.exp(rng.normal(0, 0.12) * spread)
    bouts = [
        _synthesize_bout(song, center_hz=center_hz, pace=pace, haste=haste, spread=spread, rng=rng)
        for _ in range(bout_count)
    ]
    return np.split(_record(np.concatenate(bouts), difficulty, rng), np.cumsum([bout.size for bout in bouts])[:-1])


def _synthesize_bout(
    song: Song, *, center_hz: float, pace: float, haste: float, spread: float, rng: Generator
) -> _Wave:
    rest, pieces = np.zeros(int(0.05 * pace * RATE_HZ)), []
    for _ in range(COUNTS[song.phrases]):
        for name in (song.opening, song.ending):
            # No two syllables of a bird are the same, and each bird trills at a speed of its own.
            seconds, drift = 0.25 * pace * np.exp(rng.normal(0, 0.05) * spread), np.exp(rng.normal(0, 0.04) * spread)
            pieces += [_synthesize_syllable(name, center_hz=center_hz * drift, seconds=seconds, haste=haste), rest]
        pieces += [rest, rest]
    sound = np.concatenate(pieces)[: 3 * RATE_HZ]
    # Whole tenths of a second, so that the times of a bout in its file are short decimals.
    silence = int(np.clip(np.ceil(10 * sound.size / RATE_HZ) + 2, 20, 30)) * RATE_HZ // 10 - sound.size
    before = int(rng.integers(0, silence + 1))
    return np.pad(sound, (before, silence - before))


# The pass band of each microphone (from, to) in hertz, and the gain above 3 kHz.
_MICROPHONES = {
    "field recorder": (60.0, 10_500.0, 1.0),
    "parabolic dish": (700.0, 10_800.0, 1.8),
    "telephone": (350.0, 8_200.0, 1.2),
    "old cassette": (150.0, 7_600.0, 0.7),
}


def _record(sound: _Wave, difficulty: float, rng: Generator) -> Float32[np.ndarray, " time"]:
    """Record the sound with a microphone: echo, background, pass band and level."""
    fade = np.exp(-14 * np.arange(RATE_HZ // 3) / RATE_HZ)
    echo = rng.normal(size=fade.size) * fade * 0.03 * difficulty * rng.random()
    echo[0] = 1.0
    length = 1 << (sound.size + fade.size).bit_length()
    hz = np.fft.rfftfreq(length, 1 / RATE_HZ)
    spectrum = np.fft.rfft(sound, length) * np.fft.rfft(echo, length)
    low_hz, high_hz, lift = _MICROPHONES[str(rng.choice(list(_MICROPHONES)))]
    band = 1 / (1 + (low_hz / np.maximum(hz, 1)) ** 4) / (1 + (hz / high_hz) ** 8) * np.where(hz > 3_000, lift, 1.0)
    noise_gain = 0.01 + 0.16 * difficulty * rng.random()
    background = noise_gain * np.fft.rfft(_make_background(length, rng))
    heard = np.fft.irfft((spectrum + background) * band, length)[: sound.size]
    level: Float32[np.ndarray, " time"] = (heard / np.abs(heard).max() * rng.uniform(0.4, 0.9)).astype(np.float32)
    return level


def _make_background(length: int, rng: Generator) -> _Wave:
    """Return hiss with wind, insects, a stream or traffic; about as loud as white noise of variance 1."""
    hz = np.fft.rfftfreq(length, 1 / RATE_HZ)
    white = np.fft.rfft(rng.normal(size=length))
    hiss: _Wave = np.fft.irfft(white / np.sqrt(1 + hz / 500), length)
    seconds = np.arange(length) / RATE_HZ
    match str(rng.choice(["still air", "wind", "insects", "stream", "traffic"])):
        case "wind":
            gusts = 1 + np.sin(2 * np.pi * rng.uniform(0.2, 0.7) * seconds + rng.uniform(0, 6))
            return hiss * 0.8 + 1.5 * gusts * np.fft.irfft(white / (1 + (hz / 180) ** 2), length)
        case "insects":
            pitch_hz, rate = rng.uniform(6_500, 8_500), rng.uniform(12, 40)
            pulse = np.maximum(0, np.sin(2 * np.pi * rate * seconds)) ** 2
            return hiss + 0.5 * pulse * np.sin(2 * np.pi * pitch_hz * seconds)
        case "stream":
            return hiss * 0.6 + 0.8 * np.fft.irfft(white * np.exp(-(((hz - 2_200) / 1_800) ** 2)), length)
        case "traffic":
            return hiss * 0.8 + 1.6 * np.fft.irfft(white / (1 + (hz / 90) ** 2), length)
        case _:
            return hiss
