"""Sound as a picture: power spectrogram, mel bands, convert_to_decibels."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

_LINEAR_HZ = 1_000.0  # up to here Slaney's mel scale is linear, above it is logarithmic
_HZ_PER_MEL = 200.0 / 3.0
_LINEAR_MELS = _LINEAR_HZ / _HZ_PER_MEL
_LOG_STEP = math.log(6.4) / 27.0


def compute_power_spectrogram(
    waveform: Float[Tensor, "*batch time"], *, n_fft: int, hop_length: int
) -> Float[Tensor, "*batch frequency frame"]:
    """|STFT|² under a Hann window; frame t is centered on sample t * `hop_length`, with silence around the sound.

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
    """10 log10(power / maximum), each spectrogram by its own maximum: from -`floor_db` to 0; silence is all floor."""
    loudest = power.amax(dim=(-2, -1), keepdim=True)
    smallest = 10 ** (-floor_db / 10)
    relative = torch.where(loudest > 0, power / loudest.clamp_min(torch.finfo(power.dtype).tiny), 0)
    return 10 * relative.clamp_min(smallest).log10()


def mel_filters(*, sample_rate_hz: int, n_fft: int, mel_count: int) -> Float[Tensor, "mel frequency"]:
    """Triangular bands, equally wide in Slaney's mels from 0 to half the sample rate, each of area 1 over hertz."""
    nyquist = sample_rate_hz / 2
    frequencies = torch.linspace(0, nyquist, n_fft // 2 + 1, dtype=torch.float64)
    top = _mel(torch.tensor(nyquist, dtype=torch.float64)).item()
    edges = _hz(torch.linspace(0, top, mel_count + 2, dtype=torch.float64))
    widths = edges.diff()
    distance = edges[:, None] - frequencies[None, :]
    rising = -distance[:-2] / widths[:-1, None]
    falling = distance[2:] / widths[1:, None]
    triangles = torch.minimum(rising, falling).clamp_min(0)
    return (triangles * (2 / (edges[2:] - edges[:-2]))[:, None]).float()


def log_mel(
    waveform: Float[Tensor, "*batch time"],
    *,
    sample_rate_hz: int,
    n_fft: int,
    hop_length: int,
    mel_count: int,
    floor_db: float,
) -> Float[Tensor, "*batch mel frame"]:
    """The mel spectrogram in convert_to_decibels below its maximum."""
    power = compute_power_spectrogram(waveform, n_fft=n_fft, hop_length=hop_length)
    filters = mel_filters(sample_rate_hz=sample_rate_hz, n_fft=n_fft, mel_count=mel_count)
    return convert_to_decibels(filters.to(power) @ power, floor_db=floor_db)


def _mel(hz: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Hertz to Slaney's mels."""
    above = _LINEAR_MELS + torch.log(hz.clamp_min(_LINEAR_HZ) / _LINEAR_HZ) / _LOG_STEP
    return torch.where(hz < _LINEAR_HZ, hz / _HZ_PER_MEL, above)


def _hz(mel: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Slaney's mels to hertz."""
    above = _LINEAR_HZ * torch.exp(_LOG_STEP * (mel - _LINEAR_MELS).clamp_min(0))
    return torch.where(mel < _LINEAR_MELS, mel * _HZ_PER_MEL, above)
