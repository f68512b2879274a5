"""Sound as an image: power spectrogram and decibels."""

import torch
from jaxtyping import Float
from torch import Tensor


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
