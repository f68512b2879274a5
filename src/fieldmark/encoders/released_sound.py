"""Spectrograms as the released code draws them: a square picture in the colors of magma."""

import torch
import torch.nn.functional as F  # noqa: N812 - the name torch itself uses
from jaxtyping import Float32, Int64, UInt8
from torch import Tensor

from fieldmark.media.audio import compute_power_spectrogram, convert_to_decibels

_SIDE_PIXELS = 700
"""7/3 inches at 300 dots an inch."""
_FLOOR_DB = 80.0
_SMALLEST_POWER = 1e-10
"""Below it everything is equally silent; of librosa's `amplitude_to_db`, 1e-5 squared."""

# Magma of matplotlib (S. van der Walt, N. Smith; CC0): red, green and blue of 256 levels, two hexadecimal digits each.
_MAGMA = bytes.fromhex(
    "00000300000400000601000701010901010b02020d02020f03031104031304041505041706051907051b08061d09071f0a07220b0824"
    "0c09260d0a280e0a2a0f0b2c100c2f110c31120d33140d35150e38160e3a170f3c180f3f1a10411b10441c10461e10491f114b20114d"
    "2211502311522511552611572811592a115c2b115e2d10602f1062301065321067341068350f6a370f6c390f6e3b0f6f3c0f713e0f72"
    "400f73420f74430f75450f76470f774810784a10794b10794d117a4f117b50127b52127c53137c55137d57147d58157e5a157e5b167e"
    "5d177e5e177f60187f61187f63197f651a80661a80681b80691c806b1c806c1d806e1e816f1e81711f81731f81742081762181772181"
    "7922817a22817c23817e24817f24818125818225818426818526818727818928818a28818c29808d29808f2a80912a80922b80942b80"
    "952c80972c7f992d7f9a2d7f9c2e7f9e2e7e9f2f7ea12f7ea3307ea4307da6317da7317da9327cab337cac337bae347bb0347bb1357a"
    "b3357ab53679b63679b83778b93778bb3877bd3977be3976c03a75c23a75c33b74c53c74c63c73c83d72ca3e72cb3e71cd3f70ce4070"
    "d0416fd1426ed3426dd4436dd6446cd7456bd9466ada4769dc4869dd4968de4a67e04b66e14c66e24d65e44e64e55063e65162e75262"
    "e85461ea5560eb5660ec585fed595fee5b5eee5d5def5e5df0605df1615cf2635cf3655cf3675bf4685bf56a5bf56c5bf66e5bf6705b"
    "f7715bf7735cf8755cf8775cf9795cf97b5df97d5dfa7f5efa805efa825ffb8460fb8660fb8861fb8a62fc8c63fc8e63fc9064fc9265"
    "fc9366fd9567fd9768fd9969fd9b6afd9d6bfd9f6cfda16efda26ffda470fea671fea873feaa74feac75feae76feaf78feb179feb37b"
    "feb57cfeb77dfeb97ffebb80febc82febe83fec085fec286fec488fec689fec78bfec98dfecb8efdcd90fdcf92fdd193fdd295fdd497"
    "fdd698fdd89afdda9cfddc9dfddd9ffddfa1fde1a3fce3a5fce5a6fce6a8fce8aafceaacfcecaefceeb0fcf0b1fcf1b3fcf3b5fcf5b7"
    "fbf7b9fbf9bbfbfabdfbfcbf"
)


def draw_released_spectrogram(
    waveform: Float32[Tensor, " time"], *, n_fft: int, hop_length: int
) -> UInt8[Tensor, "3 side side"]:
    """Return the picture that `audio.py` of the released code (He et al., ACM MM 2019) makes of a whole clip.

    Decibels below the loudest point, at most 80, spread over the colors from the lowest to the highest level met;
    frequency is linear, upwards. Each pixel shows the bin under its middle: the mesh is drawn without smoothing. The
    ends of the clip are mirrored for half a window, as librosa did in 2019. Matplotlib's own picture differs by about 2
    of 255 levels, since it blends each color with a transparent ground (3.11, 2026-11-29).
    """
    padded = F.pad(waveform, (0, max(0, n_fft - len(waveform))))
    half = n_fft // 2
    mirrored = F.pad(padded[None], (half, half), mode="reflect")[0]
    power = compute_power_spectrogram(mirrored, n_fft=n_fft, hop_length=hop_length)
    # The spectrogram has silence around; its frames from half a window in are those centered on the clip.
    skipped = half // hop_length
    power = power[:, skipped : power.shape[1] - skipped]
    level = convert_to_decibels(power.clamp_min(_SMALLEST_POWER), floor_db=_FLOOR_DB)
    lowest = level.min()
    share = (level - lowest) / (level.max() - lowest).clamp_min(torch.finfo(level.dtype).tiny)
    step = (share * 256).to(torch.int64).clamp_max(255)
    rows, columns = (_find_bins(count) for count in step.shape)
    colors = torch.frombuffer(bytearray(_MAGMA), dtype=torch.uint8).view(256, 3)
    return colors[step[rows.flip(0)][:, columns]].permute(2, 0, 1).contiguous()


def _find_bins(count: int) -> Int64[Tensor, " side"]:
    """Return the bin under the middle of each pixel of a side."""
    middles = (torch.arange(_SIDE_PIXELS) + 0.5) / _SIDE_PIXELS
    return (middles * count).long().clamp_max(count - 1)
