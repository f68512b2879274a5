"""Near duplicates: what re-encoding, resizing, shifting and rewording leave alike, and what is left in peace."""

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image, ImageDraw

from fieldmark.datasets.checks.inspection import inspect_item
from fieldmark.datasets.checks.pictures import compute_picture_row
from fieldmark.datasets.checks.problems import ProblemKind, Severity, find_problems
from fieldmark.datasets.checks.similarity import (
    FRAME_SECONDS,
    SOUND_RATE_HZ,
    Fingerprint,
    FingerprintKind,
    FrameCollector,
    SoundCollector,
    compute_text_fingerprint,
    find_landmarks,
    find_similar,
)
from fieldmark.types import Item, MediaLimits, Medium, Split

NOTE = (
    "a small brown bird with a pale eyebrow and a short tail that was seen creeping along the mossy trunks near the "
    "stream early on a cold morning"
)


def drawing(seed: int, *, side: int = 160) -> Image.Image:
    """A picture of blobs, as different from the next seed's as two photos."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", (side, side), tuple(rng.integers(0, 255, 3).tolist()))
    pen = ImageDraw.Draw(image)
    for _ in range(9):
        x, y, r = [*rng.uniform(0, side, 2).tolist(), rng.uniform(side / 12, side / 4)]
        pen.ellipse((x - r, y - r, x + r, y + r), fill=tuple(rng.integers(0, 255, 3).tolist()))
    return image


def pixels(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def reencoded(image: Image.Image, *, scale: float, quality: int) -> Image.Image:
    content = io.BytesIO()
    side = round(image.width * scale)
    image.resize((side, side)).save(content, format="JPEG", quality=quality)
    return Image.open(content).convert("RGB")


def picture(image: Image.Image) -> Fingerprint:
    collector = FrameCollector(FingerprintKind.PICTURE)
    collector.add(pixels(image))
    return collector.build_fingerprint()


def song(seed: int, *, seconds: float = 4.0) -> np.ndarray:
    """Chirps at random times and pitches in noise, like one recording."""
    rng = np.random.default_rng(seed)
    wave = rng.normal(0, 0.01, round(seconds * SOUND_RATE_HZ))
    for start in np.sort(rng.uniform(0, seconds - 0.3, round(5 * seconds))):
        time = np.arange(round(0.15 * SOUND_RATE_HZ)) / SOUND_RATE_HZ
        chirp = np.sin(2 * np.pi * (rng.uniform(1_500, 6_000) * time + rng.uniform(-4_000, 4_000) * time**2))
        index = round(start * SOUND_RATE_HZ)
        wave[index : index + len(time)] += 0.3 * chirp * np.hanning(len(time))
    return wave


def pairs(fingerprints, class_names=None) -> set[tuple[int, int]]:
    names = class_names or ["Veery"] * len(fingerprints)
    return {(pair.first, pair.second) for pair in find_similar(fingerprints, names)}


# ---------------------------------------------------------------- pictures and videos


@pytest.mark.parametrize(("scale", "quality"), [(0.3, 80), (0.5, 50), (1.7, 70)])
def test_pictures_stay_alike_through_resizing_and_encoding(scale, quality):
    first = picture(drawing(0))
    again = picture(reencoded(drawing(0), scale=scale, quality=quality))
    assert pairs([first, *map(picture, map(drawing, range(1, 30))), again]) == {(0, 30)}


def test_plain_pictures_are_like_nothing():
    assert compute_picture_row(pixels(Image.new("RGB", (50, 50), (200, 30, 30)))) is None
    assert pairs([picture(Image.new("RGB", (50, 50), color)) for color in ("red", "red", "black")]) == set()


def test_videos_are_alike_by_half_their_frames_and_pictures_by_one():
    def video(*seeds: int) -> Fingerprint:
        collector = FrameCollector(FingerprintKind.PICTURE)
        for seed in seeds:
            collector.add(pixels(drawing(seed)))
        return collector.build_fingerprint()

    clips = [video(1, 2, 3, 4), video(3, 4, 5, 6), video(4, 7, 8, 9), picture(drawing(8)), video(20, 21)]
    assert pairs(clips) == {(0, 1), (2, 3)}


def test_frames_of_a_long_video_stay_few_and_on_a_grid():
    collector = FrameCollector(FingerprintKind.PICTURE)
    frames = [pixels(drawing(seed, side=32)) for seed in range(70)]
    for frame in frames:
        collector.add(frame)
    values = collector.build_fingerprint().values
    assert len(values) <= 17
    assert np.array_equal(values, np.stack([compute_picture_row(frames[index]) for index in range(0, 70, 8)]))


# ---------------------------------------------------------------- sounds


@pytest.mark.parametrize("suffix", [".mp3", ".ogg", ".wav"])
def test_sounds_stay_alike_through_a_shift_and_encoding(suffix, tmp_path):
    waves = [song(seed) for seed in range(12)]
    shifted = waves[0][round(0.3 * SOUND_RATE_HZ) :] * 0.5
    items = []
    for index, wave in enumerate([*waves, shifted]):
        file = tmp_path / f"{index}{suffix if index == len(waves) else '.wav'}"
        soundfile.write(file, wave, SOUND_RATE_HZ)
        items.append(Item(str(index), Medium.AUDIO, path=file))
    found = [inspect_item(item, limits=MediaLimits()).fingerprint for item in items]
    [pair] = find_similar(found, [None] * len(found))
    assert (pair.first, pair.second) == (0, 12)
    assert "a shift of 0.3 s" in pair.evidence


def test_a_clip_is_found_in_a_longer_recording():
    long = song(5, seconds=70.0)
    collector = SoundCollector()
    for start in range(0, len(long), SOUND_RATE_HZ):
        collector.add(torch.from_numpy(long[start : start + SOUND_RATE_HZ]).float())
    clip = SoundCollector()
    clip.add(torch.from_numpy(long[40 * SOUND_RATE_HZ : 46 * SOUND_RATE_HZ]).float())
    other = SoundCollector()
    other.add(torch.from_numpy(song(6)).float())
    assert pairs([each.build_fingerprint() for each in (collector, clip, other)]) == {(0, 1)}


def test_landmarks_of_silence_are_none():
    assert len(find_landmarks(torch.zeros(SOUND_RATE_HZ))) == 0
    assert len(SoundCollector().build_fingerprint().values) == 0


# ---------------------------------------------------------------- texts


@pytest.mark.parametrize(
    ("other", "is_alike"),
    [
        (NOTE.replace("brown", "gray").replace("cold", "warm"), True),
        (NOTE.upper() + "!", True),
        (NOTE.replace("small brown bird with a pale eyebrow", "large white gull without any marks"), False),
        (" ".join(sorted(NOTE.split())), False),
        (NOTE + " " + " ".join(f"word{n}" for n in range(20)), False),
    ],
)
def test_texts_are_alike_with_two_words_changed(other, is_alike):
    fillers = [compute_text_fingerprint(" ".join(f"{word}{n}" for word in NOTE.split())) for n in range(40)]
    found = pairs([compute_text_fingerprint(NOTE), *fillers, compute_text_fingerprint(other)])
    assert found == ({(0, 41)} if is_alike else set())


def test_stock_phrases_are_not_alike():
    phrases = [
        f"this bird is {color} with black wings and has a {size} beak"
        for color in ("red", "blue", "gray", "white", "brown", "green", "pink")
        for size in ("short", "long", "thick", "thin", "tiny")
    ]
    assert pairs([compute_text_fingerprint(each) for each in phrases]) == set()


CAPTION = "this bird has a pale throat, a thin dark bill and yellow legs"


@pytest.mark.parametrize(
    ("other", "is_alike"),
    [
        (CAPTION.replace("throat", "breast").replace("yellow", "pink"), True),
        (CAPTION.replace("a thin dark bill", "a bill"), True),
        (CAPTION.replace("pale", "very pale, whitish"), True),
        (CAPTION.replace("a thin dark bill", "the bill"), False),
        (CAPTION.replace("pale", "snow white").replace("dark", "red"), False),
    ],
)
def test_short_texts_of_one_class_are_alike_with_two_words_changed(other, is_alike):
    # Other captions of the same phrases, so that what the two share is no rarity.
    phrases = [f"this bird has a {color} throat and yellow legs" for color in ("red", "blue", "gray", "white", "brown")]
    found = [compute_text_fingerprint(each) for each in (CAPTION, *phrases, other)]
    assert pairs(found[:1] + found[-1:]) == ({(0, 1)} if is_alike else set())
    assert pairs(found, ["Veery", *map(str, range(5)), "Gull"]) == set()
    assert ((0, 6) in pairs(found, ["Veery", *map(str, range(5)), "Veery"])) == is_alike


def test_short_texts_and_none_are_compared_with_nothing():
    assert pairs([compute_text_fingerprint("a gull"), compute_text_fingerprint("a gull"), None]) == set()


# ---------------------------------------------------------------- as findings


@pytest.fixture
def photos(make_item, tmp_path):
    def make(**fields) -> list[Item]:
        items = [make_item(item_id=f"{seed}.png") for seed in range(4)]
        for seed, item in enumerate(items):
            drawing(seed).save(item.path)
        copy = make_item(item_id="copy.jpg", **fields)
        drawing(2).resize((100, 100)).save(copy.path, quality=70)
        return [*items, copy]

    return make


def near(items: list[Item]):
    found = find_problems(items, [inspect_item(item, limits=MediaLimits()) for item in items])
    return [problem for problem in found if problem.kind.startswith("near")]


def test_near_duplicates_within_a_split_are_a_warning(photos):
    [problem] = near(photos())
    assert (problem.kind, problem.item_ids) == (ProblemKind.NEAR_DUPLICATE, ("2.png", "copy.jpg"))
    assert problem.severity is Severity.WARNING


def test_near_duplicates_in_two_splits_are_an_error(photos):
    [problem] = near(photos(split=Split.TEST))
    assert (problem.kind, problem.severity) == (ProblemKind.NEAR_DUPLICATE_ACROSS_SPLITS, Severity.ERROR)
    assert "in train (1), test (1): they look alike" in problem.detail


def test_near_duplicates_of_one_group_are_expected(photos):
    items = photos()
    assert near([Item(i.item_id, i.medium, path=i.path, split=i.split, group="burst") for i in items]) == []


def test_a_file_named_as_another_format_is_a_harmless_mismatch(make_item, tmp_path):
    item = make_item(item_id="picture.jpg")
    drawing(1).save(item.path, format="PNG")
    assert Path(tmp_path / "picture.jpg").is_file()
    [problem] = find_problems([item], [inspect_item(item, limits=MediaLimits())])
    assert (problem.kind, problem.severity) == (ProblemKind.MEDIUM_MISMATCH, Severity.WARNING)
    assert "has a suffix of JPEG but holds PNG" in problem.detail


def test_landmarks_of_a_long_sound_keep_their_time():
    collector = SoundCollector()
    generator = torch.Generator().manual_seed(0)
    for second in range(95):
        loud = 0.3 if second in {1, 40, 92} else 1e-5
        collector.add(loud * torch.randn(SOUND_RATE_HZ, generator=generator))
    seconds = collector.build_fingerprint().values[:, 1] * FRAME_SECONDS
    assert (np.diff(seconds) >= 0).all()
    assert set(seconds.astype(int)) >= {1, 40, 92}
    assert seconds.max() < 95
