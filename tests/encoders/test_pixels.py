"""The light encoders: what each medium becomes, and what they refuse."""

import itertools
import math

import numpy as np
import pytest
import torch
from PIL import Image

from fieldmark.encoders.encoder import Encoder
from fieldmark.errors import ConfigError, MediumMismatchError
from fieldmark.media.loaders import load_segments
from fieldmark.types import AudioContent, ImageContent, Item, MediaLimits, Medium, Segment, TextContent, VideoContent
from product_parts import character_encoder, pixel_encoder, spectrogram_encoder, text_stem

RATE_HZ = 22_050


def image(height, width, *, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return Segment(ImageContent(torch.randint(0, 256, (3, height, width), generator=generator, dtype=torch.uint8)))


def video(*levels):
    return Segment(
        VideoContent(torch.tensor(levels, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 9, 9)), 0.0, 1.0
    )


def sound(waveform):
    return Segment(AudioContent(torch.as_tensor(waveform, dtype=torch.float32), RATE_HZ), 0.0, len(waveform) / RATE_HZ)


def text(value):
    return Segment(TextContent(value))


def tone(hertz, *, seconds=1.0):
    return torch.sin(2 * math.pi * hertz * torch.arange(int(seconds * RATE_HZ)) / RATE_HZ)


ENCODERS: dict[Medium, Encoder] = {
    Medium.IMAGE: pixel_encoder(Medium.IMAGE, resize_pixels=40, crop_pixels=32),
    Medium.TEXT: character_encoder(text_length=20),
    Medium.VIDEO: pixel_encoder(Medium.VIDEO, resize_pixels=40, crop_pixels=32),
    Medium.AUDIO: spectrogram_encoder(side_pixels=32),
}
SEGMENTS = {
    Medium.IMAGE: [image(50, 90), image(20, 30, seed=1)],
    Medium.TEXT: [text("a small bird"), text("")],
    Medium.VIDEO: [video(10, 20, 30), video(200)],
    Medium.AUDIO: [sound(tone(3000)), sound(tone(500, seconds=0.01))],
}


@pytest.mark.parametrize("medium", Medium)
def test_encoder_gives_small_tensors_of_its_shape(medium):
    encoder = ENCODERS[medium]
    inputs = encoder.encode(SEGMENTS[medium])
    assert inputs.shape == (2, *encoder.shape)
    assert inputs.dtype == torch.uint8
    assert not encoder.is_costly


@pytest.mark.parametrize("medium", Medium)
def test_encoder_gives_a_segment_the_same_in_any_company(medium):
    encoder, segments = ENCODERS[medium], SEGMENTS[medium]
    together = encoder.encode([*segments, segments[0]])
    alone = torch.cat([encoder.encode([segment]) for segment in segments])
    torch.testing.assert_close(together, torch.cat([alone, alone[:1]]))


@pytest.mark.parametrize(("medium", "other"), list(itertools.permutations(Medium, 2)))
def test_encoder_refuses_another_medium(medium, other):
    with pytest.raises(MediumMismatchError, match=f"holds {other}, but its row says {medium}"):
        ENCODERS[medium].encode([SEGMENTS[medium][0], SEGMENTS[other][0]])


def test_encoders_have_fingerprints_of_all_their_parameters():
    variants = [
        *ENCODERS.values(),
        pixel_encoder(Medium.IMAGE, resize_pixels=41, crop_pixels=32),
        pixel_encoder(Medium.IMAGE, resize_pixels=40, crop_pixels=31),
        pixel_encoder(Medium.VIDEO, resize_pixels=40, crop_pixels=32, frame_seconds=0.5),
        pixel_encoder(Medium.VIDEO, resize_pixels=40, crop_pixels=32, max_frames=24),
        spectrogram_encoder(side_pixels=33),
        spectrogram_encoder(side_pixels=32, resize_pixels=40),
        spectrogram_encoder(side_pixels=32, sample_rate_hz=44_100),
        spectrogram_encoder(side_pixels=32, n_fft=1024),
        spectrogram_encoder(side_pixels=32, hop_length=256),
        spectrogram_encoder(side_pixels=32, floor_db=60.0),
        spectrogram_encoder(side_pixels=32, segment_seconds=3.0),
        character_encoder(text_length=21),
        character_encoder(text_length=20, released=True),
    ]
    assert len({encoder.fingerprint for encoder in variants}) == len(variants)
    assert character_encoder(text_length=20).fingerprint == ENCODERS[Medium.TEXT].fingerprint


@pytest.mark.parametrize(("height", "width"), [(300, 200), (512, 512), (60, 700), (30, 20)])
def test_pixel_encoder_resizes_and_crops_as_pillow_does(height, width):
    segment = image(height, width)
    pixels = pixel_encoder(Medium.IMAGE, resize_pixels=64, crop_pixels=48).encode([segment])[0]
    picture = Image.fromarray(segment.content.pixels.permute(1, 2, 0).numpy())
    expected = np.asarray(picture.resize((64, 64), Image.Resampling.BILINEAR).crop((8, 8, 56, 56)))
    difference = np.abs(pixels.permute(1, 2, 0).numpy().astype(int) - expected.astype(int))
    assert difference.max() <= 1


def test_pixel_encoder_that_resizes_once_is_pillow_to_a_level(tmp_path):
    """From the file on: the released code resizes a picture's full size in one step."""
    coarse = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize((300, 170), Image.Resampling.BICUBIC).save(tmp_path / "picture.png")
    with Image.open(tmp_path / "picture.png") as image:
        expected = np.asarray(image.resize((64, 64), Image.Resampling.BILINEAR).crop((4, 4, 60, 60)), dtype=np.int64)
    item = Item("a", Medium.IMAGE, path=tmp_path / "picture.png")
    distance = {}
    for once in (True, False):
        encoder = pixel_encoder(Medium.IMAGE, resize_pixels=64, crop_pixels=56, resize_once=once)
        segments = load_segments(item, decoding=encoder.decoding, limits=MediaLimits())
        pixels = encoder.encode(list(segments))[0].permute(1, 2, 0).numpy().astype(np.int64)
        distance[once] = np.abs(pixels - expected)
    assert distance[True].max() <= 1
    assert distance[True].mean() < distance[False].mean()


def test_pixel_encoder_takes_the_middle_frame():
    inputs = pixel_encoder(Medium.VIDEO, resize_pixels=9, crop_pixels=9).encode([video(10, 20, 30), video(7)])
    assert inputs[0].unique().tolist() == [20]
    assert inputs[1].unique().tolist() == [7]


def test_pixel_encoder_cuts_video_alone_into_stretches():
    encoder = pixel_encoder(Medium.VIDEO, frame_seconds=2.0, max_frames=10)
    assert encoder.decoding.segment_seconds == 2.0
    assert encoder.decoding.max_segments == 10
    assert pixel_encoder(Medium.IMAGE).decoding.segment_seconds is None


def test_pixel_encoder_refuses_a_crop_larger_than_the_picture():
    with pytest.raises(ConfigError, match=r"'crop_pixels' is 65; allowed is at most 'resize_pixels', 64\. Lower"):
        pixel_encoder(Medium.IMAGE, resize_pixels=64, crop_pixels=65)


@pytest.mark.parametrize("hertz", [1000, 5000, 10_000])
def test_spectrogram_encoder_draws_a_tone_at_its_height(hertz):
    picture = spectrogram_encoder(side_pixels=64).encode([sound(tone(hertz))])[0]
    assert (picture[0] == picture[1]).all()
    assert (picture[0] == picture[2]).all()
    brightest = picture[0].float().mean(dim=1).argmax().item()
    assert 63 - brightest == pytest.approx(63 * hertz / (RATE_HZ / 2), abs=1)


def test_spectrogram_encoder_squeezes_the_whole_clip_into_the_width():
    """A click at either end stands in the first or last columns; nothing is cropped (defect 13)."""
    waveform = torch.zeros(4 * RATE_HZ)
    waveform[1000] = waveform[-1000] = 1.0
    picture = spectrogram_encoder(side_pixels=64).encode([sound(waveform)])[0, 0].float()
    loudness = picture.mean(dim=0)
    assert loudness[:2].max() > 50
    assert loudness[-2:].max() > 50
    assert loudness[3:-3].max() == 0


def test_spectrogram_encoder_draws_the_same_at_any_volume():
    encoder = spectrogram_encoder(side_pixels=32)
    loud, quiet = encoder.encode([sound(tone(2000)), sound(0.001 * tone(2000))])
    assert (loud.int() - quiet.int()).abs().max() <= 1


@pytest.mark.parametrize("length", [0, 1, 2, 511, 1024, 2047, 2049])
def test_spectrogram_encoder_draws_very_short_sound(length):
    waveform = torch.rand(length, generator=torch.Generator().manual_seed(0)) - 0.5
    picture = spectrogram_encoder(side_pixels=32).encode([sound(waveform)])
    assert picture.shape == (1, 3, 32, 32)
    assert (picture.max() > 0) == (length > 0)


def test_spectrogram_encoder_draws_short_sound_as_if_silence_followed_up_to_one_window():
    waveform, whole = tone(3000)[:700], torch.zeros(2048)
    whole[:700] = waveform
    short, padded = spectrogram_encoder(side_pixels=32).encode([sound(waveform), sound(whole)])
    assert torch.equal(short, padded)


def test_spectrogram_encoder_cuts_the_sides_off_as_released_where_asked():
    segment = sound(tone(3000))
    whole, cut = spectrogram_encoder(side_pixels=64), spectrogram_encoder(side_pixels=56, resize_pixels=64)
    torch.testing.assert_close(cut.encode([segment]), whole.encode([segment])[:, :, 4:60, 4:60])


@pytest.mark.parametrize("length", [0, 100, 2 * RATE_HZ])
def test_spectrogram_encoder_draws_silence_black(length):
    assert spectrogram_encoder(side_pixels=32).encode([sound(torch.zeros(length))]).max() == 0


def read(value, **options):
    ids = character_encoder(**{"text_length": 40} | options).encode([text(value)])[0].tolist()
    return ids[: len(ids) - next((place for place, id_ in enumerate(reversed(ids)) if id_), len(ids))]


def test_character_encoder_numbers_the_alphabet_from_one():
    symbols = "abcdefghijklmnopqrstuvwxyz0123456789,;.!?:'\"/\\|_@#$%^&*~`+-=<>()[]{}"
    for released in (False, True):
        assert read(symbols, text_length=100, released=released) == list(range(1, 69))


def test_character_encoder_gives_space_the_free_row_of_the_table():
    stem = text_stem()
    assert read("a b") == [1, 69, 2]
    assert stem.symbol_count + 2 == 70  # ids 0 to 69


@pytest.mark.parametrize(
    ("met", "same"),
    [
        ("A Small BIRD", "a small bird"),
        ("  two\n\tlines  \r\n", "two lines"),
        ("café, señor, Ångström", "cafe, senor, angstrom"),
        ("Straße", "strasse"),
        ("it\u2019s \u201cso\u201d \u2014 yes\u2013no\u2026", 'it\'s "so" - yes-no...'),
        ("a☃b", "a b"),
        ("鳥 bird 鳥", "bird"),
    ],
)
def test_character_encoder_brings_text_to_its_alphabet(met, same):
    assert read(met) == read(same)
    assert read(same)


@pytest.mark.parametrize("met", ["", " \n ", "鳥"])
def test_character_encoder_gives_padding_where_nothing_can_be_read(met):
    assert read(met) == []


def test_character_encoder_cuts_and_pads():
    ids = character_encoder(text_length=3).encode([text("abcd"), text("a")])
    assert ids.tolist() == [[1, 2, 3], [1, 0, 0]]


@pytest.mark.parametrize(
    ("met", "expected"),
    [("ab\ncd", [3, 4]), ("ab\ncd\n", [3, 4]), ("ab\n\n", []), ("Ab c", [2, 3]), ("", []), ("aé", [1])],
)
def test_character_encoder_reads_as_released(met, expected):
    assert read(met, released=True) == expected
