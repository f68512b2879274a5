"""Channels and scales that are not as expected."""

import numpy as np
import pytest
import soundfile

from fieldmark.media import audio
from fieldmark.types import Decoding, MediaLimits

RATE = 16_000


def song(*, seconds=4.0, rate=RATE, hz=1_000.0):
    time = np.arange(round(seconds * rate)) / rate
    return 0.5 * np.sin(2 * np.pi * hz * time) * (0.2 + 0.8 * (time % 0.5 > 0.25))


@pytest.fixture
def load(tmp_path):
    """Writes samples and reads them back, with what was said of them; with a part of the file too, where asked."""

    def load(samples, *, rate=RATE, read_hz=RATE, subtype="FLOAT", **part):
        path = tmp_path / "a.wav"
        soundfile.write(path, samples, rate, subtype=subtype)
        [segment] = audio.load(path, decoding=Decoding(sample_rate_hz=read_hz), limits=MediaLimits(), **part)
        return segment.content.waveform.numpy(), {warning.kind: warning.message for warning in segment.warnings}

    return load


@pytest.mark.parametrize("subtype", ["FLOAT", "PCM_16"])
@pytest.mark.parametrize("part", [{}, {"start_seconds": 1.0, "end_seconds": 2.5}])
def test_the_louder_of_two_opposite_channels_is_taken(subtype, part, load):
    got, said = load(np.stack([-0.7 * song(), song()], axis=1), subtype=subtype, **part)
    expected = song()[RATE : round(2.5 * RATE)] if part else song()
    np.testing.assert_allclose(got, expected, atol=1e-4)
    assert list(said) == ["opposite_channels"]
    assert "channel 2, the loudest" in said["opposite_channels"]


def test_six_channels_that_cancel_each_other_are_told(load):
    got, said = load(np.stack([song(), -song()] * 3, axis=1))
    np.testing.assert_allclose(np.abs(got), np.abs(song()), atol=1e-4)
    assert list(said) == ["opposite_channels"]


def test_a_silent_channel_does_not_halve_the_sound(load):
    got, said = load(np.stack([song(), np.zeros(len(song()))], axis=1))
    np.testing.assert_allclose(got, song(), atol=1e-6)
    assert list(said) == ["silent_channel"]


def test_a_channel_that_is_silent_only_at_first_counts(load):
    left, right = song(seconds=40.0), song(seconds=40.0, hz=1_500.0)
    right[: 35 * RATE] = 0
    got, said = load(np.stack([left, right], axis=1))
    np.testing.assert_allclose(got, (left + right) / 2, atol=1e-4)
    assert said == {}


def test_unlike_channels_are_averaged_without_a_word(load):
    other = song(hz=1_500.0)
    got, said = load(np.stack([song(), other], axis=1))
    np.testing.assert_allclose(got, (song() + other) / 2, atol=1e-4)
    assert said == {}


@pytest.mark.parametrize(("scale", "divisor"), [(20_000, 2**15), (5_000_000, 2**23), (1.5e9, 2**31)])
@pytest.mark.parametrize("part", [{}, {"start_seconds": 1.0, "end_seconds": 2.0}])
def test_floats_of_an_integer_scale_are_scaled(scale, divisor, part, load):
    got, said = load(scale * song(), **part)
    expected = (scale / divisor * song())[RATE : 2 * RATE] if part else scale / divisor * song()
    np.testing.assert_allclose(got, expected, atol=1e-4)
    assert f"divided by {divisor:,}" in said["odd_scale"]


def test_very_quiet_floats_are_raised_to_the_loudest_of_the_whole_file(load):
    samples = 1e-5 * song(seconds=40.0)
    samples[-RATE:] *= 10
    got, said = load(samples)
    assert np.abs(got).max() == pytest.approx(0.5, rel=0.01)
    assert "is raised by 80 dB" in said["odd_scale"]


def test_quiet_integers_and_silent_floats_stay_as_they_are(load):
    got, said = load(1e-4 * song(), subtype="PCM_24")
    assert np.abs(got).max() == pytest.approx(5e-5, rel=0.1)
    assert said == {}
    got, said = load(1e-8 * song())
    assert np.abs(got).max() < 1e-7
    assert said == {}


def test_floats_above_full_scale_are_clipped_with_a_word(load):
    got, said = load(6 * song())
    assert np.abs(got).max() == 1
    assert "reach 3 times full scale" in said["odd_scale"]


def test_channels_that_turn_out_opposite_behind_a_quiet_beginning_are_told(load):
    generator = np.random.default_rng(0)
    left, right = generator.normal(0, 0.01, (2, 35 * RATE))
    late = song(seconds=20.0)
    got, said = load(np.stack([np.r_[left, late], np.r_[right, -0.9 * late]], axis=1))
    np.testing.assert_allclose(got[35 * RATE :], late, atol=1e-4)
    assert list(said) == ["opposite_channels"]


def test_an_opposite_channel_of_half_the_loudness_is_told(load):
    got, said = load(np.stack([song(), -0.5 * song()], axis=1))
    np.testing.assert_allclose(got, song(), atol=1e-4)
    assert list(said) == ["opposite_channels"]


def test_floats_of_an_integer_scale_behind_silence_are_scaled(load):
    silence = np.zeros(35 * RATE)
    got, said = load(np.r_[silence, 30_000 * song()])
    np.testing.assert_allclose(got[len(silence) :], 30_000 / 32_768 * song(), atol=1e-4)
    assert list(said) == ["odd_scale"]


def test_quiet_whole_numbers_are_of_an_integer_scale(load):
    got, said = load(np.rint(20 * song()))
    np.testing.assert_allclose(got, np.rint(20 * song()) / 32_768, atol=1e-6)
    assert list(said) == ["odd_scale"]


def test_floats_that_rise_above_full_scale_late_are_clipped_with_a_word(load):
    got, said = load(np.r_[song(seconds=35.0), 3 * song()])
    assert np.abs(got).max() == 1
    assert "1.5 times full scale" in said["odd_scale"]


def test_an_offset_is_subtracted(load):
    got, said = load(0.1 * song() + 0.2, subtype="PCM_16")
    np.testing.assert_allclose(got, 0.1 * song(), atol=1e-2)
    assert "+0.200 of full scale" in said["dc_offset"]


def test_a_single_pulse_is_no_offset(load):
    samples = np.zeros(4 * RATE)
    samples[RATE : 2 * RATE] = 0.5
    got, said = load(samples)
    np.testing.assert_allclose(got, samples, atol=1e-6)
    assert said == {}


def test_energy_above_what_is_heard_is_told(load):
    rate = 384_000
    bat, bird = song(seconds=2.0, rate=rate, hz=60_000.0), song(seconds=2.0, rate=rate, hz=4_000.0)
    _, said = load(bat + 0.64 * bird, rate=rate, read_hz=48_000, subtype="PCM_16")
    assert said["ultrasound"].startswith("384 kHz: 71 % of the energy lies above what the encoder hears")
    _, said = load(0.1 * bat + bird, rate=rate, read_hz=48_000)
    assert said == {}
