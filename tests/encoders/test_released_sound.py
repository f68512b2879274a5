"""Sound for released weights: the picture drawn here against the PNG that the released script draws."""

import io

import librosa
import librosa.display
import matplotlib as mpl
import numpy as np
import pytest
import torch
from PIL import Image

from fieldmark.encoders.pixels import SpectrogramEncoder
from fieldmark.encoders.released_sound import draw_released_spectrogram
from fieldmark.types import AudioContent, Medium, Segment, SpectrogramContent
from product_parts import fgcrossnet, text_stem, trunk_of_depth

mpl.use("Agg")
RATE = 22_050


def make_song(seconds) -> np.ndarray:
    """A warble over noise, louder in its second half."""
    time = np.arange(int(RATE * seconds)) / RATE
    warble = np.sin(2 * np.pi * (2500 * time + 400 * np.sin(6 * time)))
    noise = np.random.default_rng(0).normal(size=len(time))
    return (0.3 * warble * (0.2 + (time > seconds / 2)) + 0.01 * noise).astype(np.float32)


def draw_png(wave) -> np.ndarray:
    """The steps of the released `audio.py`, with the mirrored ends of the librosa of its time."""
    from matplotlib import pyplot as plt

    level = librosa.amplitude_to_db(np.abs(librosa.stft(wave, pad_mode="reflect")), ref=np.max)
    figure = plt.figure(figsize=(7.0 / 3, 7.0 / 3))
    librosa.display.specshow(level)
    plt.gca().xaxis.set_major_locator(plt.NullLocator())
    plt.gca().yaxis.set_major_locator(plt.NullLocator())
    plt.subplots_adjust(top=1, bottom=0, right=1, left=0, hspace=0, wspace=0)
    plt.margins(0, 0)
    file = io.BytesIO()
    plt.savefig(file, format="png", transparent=True, dpi=300, pad_inches=0)
    plt.close(figure)
    return np.array(Image.open(file).convert("RGB"))


def encode(content, *, released) -> torch.Tensor:
    encoder = SpectrogramEncoder(side_pixels=112, resize_pixels=128, segment_seconds=None, released=released)
    return encoder.encode([Segment(content, None, None)])


@pytest.mark.parametrize("seconds", [0.8, 7.0, 40.0])
def test_sound_is_drawn_as_the_png_of_the_released_script(seconds):
    wave = make_song(seconds)
    theirs = draw_png(wave)
    ours = draw_released_spectrogram(torch.from_numpy(wave), n_fft=2048, hop_length=512).permute(1, 2, 0).numpy()
    assert ours.shape == theirs.shape == (700, 700, 3)
    gap = np.abs(ours.astype(int) - theirs.astype(int))
    assert gap.mean() < 3
    assert np.quantile(gap, 0.99) < 24


def test_posteriors_from_sound_are_those_from_the_png():
    wave = make_song(7.0)
    torch.manual_seed(0)
    network = fgcrossnet(
        class_count=20, trunk=trunk_of_depth(10, base_width=8), text=text_stem(), statistics_per_medium=False
    ).train()
    png = SpectrogramContent(torch.from_numpy(draw_png(wave)).permute(2, 0, 1))
    sound = AudioContent(torch.from_numpy(wave), RATE)
    pictures = torch.cat([encode(png, released=True), encode(sound, released=True), encode(sound, released=False)])
    network(torch.cat([pictures, pictures.flip(3)]), Medium.AUDIO)  # statistics, so that logits have a scale
    with torch.no_grad():
        _, logits = network.eval()(pictures, Medium.AUDIO)
    posterior = torch.nn.functional.normalize(torch.softmax(20 * logits, dim=1))
    from_sound, gray = posterior[1:] @ posterior[0]
    assert from_sound > 0.999
    assert gray < 0.98


def test_silence_and_the_shortest_sound_can_be_drawn():
    for wave in (torch.zeros(RATE), torch.ones(1)):
        picture = draw_released_spectrogram(wave, n_fft=2048, hop_length=512)
        assert picture.shape == (3, 700, 700)


def test_fingerprint_tells_released_pictures_apart():
    def fingerprint(**options) -> str:
        return SpectrogramEncoder(side_pixels=448, resize_pixels=512, segment_seconds=None, **options).fingerprint

    assert fingerprint(released=False) != fingerprint(released=True)
