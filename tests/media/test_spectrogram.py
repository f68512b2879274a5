import numpy as np
import pytest
import torch

from fieldmark.media.spectrogram import compute_power_spectrogram, convert_to_decibels


@pytest.fixture
def waveform():
    generator = torch.Generator().manual_seed(0)
    return 0.1 * torch.randn(22_050, generator=generator) + torch.sin(torch.arange(22_050) * 0.3)


@pytest.mark.parametrize(("n_fft", "hop_length"), [(2048, 512), (512, 160), (1024, 1024)])
def test_power_spectrogram_is_that_of_librosa(n_fft, hop_length, waveform):
    librosa = pytest.importorskip("librosa")
    expected = np.abs(librosa.stft(waveform.numpy(), n_fft=n_fft, hop_length=hop_length)) ** 2
    got = compute_power_spectrogram(waveform, n_fft=n_fft, hop_length=hop_length)
    np.testing.assert_allclose(got.numpy(), expected, rtol=2e-3, atol=1e-3)


def test_decibels_are_those_of_librosa(waveform):
    librosa = pytest.importorskip("librosa")
    power = compute_power_spectrogram(waveform, n_fft=2048, hop_length=512)
    expected = librosa.power_to_db(power.numpy(), ref=np.max, amin=1e-10, top_db=80.0)
    np.testing.assert_allclose(convert_to_decibels(power, floor_db=80.0).numpy(), expected, atol=1e-3)


def test_power_spectrogram_finds_the_tone():
    tone = torch.sin(2 * torch.pi * 1_000 * torch.arange(8_000) / 8_000)
    power = compute_power_spectrogram(tone, n_fft=800, hop_length=200)
    assert power.shape == (401, 41)
    assert power[:, 20].argmax() == 100  # 1,000 Hz in steps of 10 Hz


def test_power_spectrogram_takes_a_batch_and_a_single_sample(waveform):
    batch = torch.stack([waveform, waveform.flip(0)])
    together = compute_power_spectrogram(batch, n_fft=512, hop_length=256)
    torch.testing.assert_close(together[1], compute_power_spectrogram(batch[1], n_fft=512, hop_length=256))
    assert compute_power_spectrogram(torch.ones(1), n_fft=512, hop_length=256).shape == (257, 1)


def test_decibels_of_each_spectrogram_are_relative_to_its_own_maximum():
    power = torch.tensor([[[1.0, 0.1]], [[1e-6, 1e-8]], [[0.0, 0.0]]])
    expected = torch.tensor([[[0.0, -10.0]], [[0.0, -20.0]], [[-80.0, -80.0]]])
    torch.testing.assert_close(convert_to_decibels(power, floor_db=80.0), expected, atol=1e-4, rtol=0)


def test_decibels_stay_finite_for_the_faintest_sound():
    got = convert_to_decibels(torch.tensor([[1e-44, 0.0]]), floor_db=80.0)
    assert got.isfinite().all()
    assert got.min() >= -80.001
