"""Exact zeros inside a recording: told between loud parts, and nowhere else."""

import numpy as np
import pytest
import soundfile

from fieldmark.media import audio
from fieldmark.types import Decoding, MediaLimits

HERTZ = 32_000
NOISE = np.random.default_rng(0).normal(0, 0.05, 6 * HERTZ)


def said(path, samples, **options):
    """Return the warning on zeros; empty without one."""
    soundfile.write(path, samples, HERTZ, **options)
    *_, last = audio.load(path, decoding=Decoding(sample_rate_hz=16_000), limits=MediaLimits())
    return " ".join(each.message for each in last.warnings if each.kind == "zeros")


def blank(*stretches, samples=NOISE):
    blanked = samples.copy()
    for start, stop in stretches:
        blanked[round(start) : round(stop)] = 0
    return blanked


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.wav", {"subtype": "PCM_16"}),
        ("a.wav", {"subtype": "PCM_24"}),
        ("a.wav", {"subtype": "PCM_U8"}),
        ("a.wav", {"subtype": "FLOAT"}),
        ("a.flac", {}),
        ("a.aiff", {}),
    ],
)
def test_a_long_stretch_is_told_with_its_times(name, options, tmp_path):
    assert said(tmp_path / name, NOISE, **options) == ""
    blanked = blank((3.2 * HERTZ, 4.7 * HERTZ))
    assert "From 3.20 to 4.70 seconds the recording is exactly zero" in said(tmp_path / name, blanked, **options)


@pytest.mark.parametrize("size", [512, 2_048, 32_768])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_block_of_a_card_is_told_wherever_it_stands(size, channels, tmp_path):
    samples = np.random.default_rng(1).normal(0, 0.05, (3 * HERTZ, channels))
    path = tmp_path / "a.wav"
    told = 0
    for position in (20_000, 44_000, HERTZ * 2 * channels - size // 2, 151_111 * channels // 2):
        soundfile.write(path, samples, HERTZ, subtype="PCM_16")
        data = bytearray(path.read_bytes())
        data[44 + position : 44 + position + size] = bytes(size)
        path.write_bytes(data)
        *_, last = audio.load(path, decoding=Decoding(sample_rate_hz=16_000), limits=MediaLimits())
        warnings = [each for each in last.warnings if each.kind == "zeros"]
        told += len(warnings)
        assert all(f"from {position / 2 / channels / HERTZ:.2f}" in each.message.lower() for each in warnings)
    assert told >= 3, "the sound beside a block may be soft by chance"


def test_silence_at_the_ends_is_as_it_was_meant(tmp_path):
    assert said(tmp_path / "a.wav", blank((0, HERTZ), (5 * HERTZ, 6 * HERTZ))) == ""
    assert said(tmp_path / "a.wav", np.zeros(HERTZ)) == ""


@pytest.mark.parametrize("ramp_seconds", [0.005, 0.02, 0.5])
def test_a_pause_that_fades_is_as_it_was_meant(ramp_seconds, tmp_path):
    ramp = round(ramp_seconds * HERTZ)
    envelope = np.ones(len(NOISE))
    envelope[3 * HERTZ - ramp : 3 * HERTZ] = np.linspace(1, 0, ramp)
    envelope[3 * HERTZ : 4 * HERTZ] = 0
    envelope[4 * HERTZ : 4 * HERTZ + ramp] = np.linspace(0, 1, ramp)
    assert said(tmp_path / "a.wav", NOISE * envelope) == ""


def test_a_gate_is_as_it_was_meant(tmp_path):
    level = 1 + np.sin(2 * np.pi * 1.5 * np.arange(len(NOISE)) / HERTZ)
    assert said(tmp_path / "a.wav", NOISE * np.where(level > 0.7, level, 0)) == ""


def test_equal_pauses_between_tones_are_as_they_were_meant(tmp_path):
    pause = 0.02 * HERTZ
    assert said(tmp_path / "a.wav", blank((2 * HERTZ, 2 * HERTZ + pause), (3 * HERTZ, 3 * HERTZ + pause))) == ""


def test_sound_of_a_few_steps_may_be_zero_by_itself(tmp_path):
    soft = NOISE * 2.0**-15 / 0.05 * 0.3
    assert np.mean(np.rint(soft * 2**15) == 0) > 0.5
    assert said(tmp_path / "a.wav", soft) == ""
    assert said(tmp_path / "a.wav", blank((HERTZ, 2 * HERTZ), samples=soft)) == ""


def test_a_part_tells_its_own_zeros(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, blank((3.2 * HERTZ, 4.7 * HERTZ)), HERTZ)
    for start, stop, is_told in ((0.0, 2.5, False), (2.5, 5.5, True), (5.0, 6.0, False)):
        *_, last = audio.load(
            path,
            decoding=Decoding(sample_rate_hz=16_000),
            limits=MediaLimits(),
            start_seconds=start,
            end_seconds=stop,
        )
        assert ("zeros" in [each.kind for each in last.warnings]) == is_told


def test_several_stretches_are_counted(tmp_path):
    blanked = blank(*((number * HERTZ / 2, number * HERTZ / 2 + 1_024) for number in range(2, 10)))
    assert "At 8 places between 1.00 and 4.53, 0.26 in all, seconds" in said(tmp_path / "a.wav", blanked)
