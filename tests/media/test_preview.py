"""Spectrograms and waveforms against sounds whose course is known."""

import io
import shutil

import numpy as np
import pytest
import soundfile
from PIL import Image

from fieldmark import Item, Medium
from fieldmark.errors import OutOfRangeError, RequestError, TooLargeError
from fieldmark.media.preview import (
    SPECTROGRAM_HZ,
    TimeRange,
    decode_foreign_text,
    draw_spectrogram,
    draw_thumbnail,
    has_sound,
    measure_waveform,
)
from fieldmark.types import MediaLimits

RATE = 16_000
LIMITS = MediaLimits(max_segment_seconds=60.0)


@pytest.fixture
def ramp(tmp_path) -> Item:
    """Two seconds, whose loudness grows; the sample says the time."""
    seconds = np.arange(2 * RATE) / RATE
    soundfile.write(tmp_path / "ramp.wav", 0.4 * seconds * np.sin(2 * np.pi * 500 * seconds), RATE)
    return Item("ramp", Medium.AUDIO, path=tmp_path / "ramp.wav")


@pytest.fixture
def steps(tmp_path) -> Item:
    """One second of 1 kHz, then one of 5 kHz."""
    seconds = np.arange(RATE) / RATE
    sound = [0.5 * np.sin(2 * np.pi * hz * seconds) for hz in (1_000, 5_000)]
    soundfile.write(tmp_path / "steps.wav", np.concatenate(sound), RATE)
    return Item("steps", Medium.AUDIO, path=tmp_path / "steps.wav")


def loudest_hz(png: bytes, *, column: int) -> float:
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("L"), dtype=float)
    row = pixels[:, column].argmax()
    return (1 - (row + 0.5) / len(pixels)) * SPECTROGRAM_HZ / 2


def test_a_spectrogram_shows_each_tone_at_its_time_and_height(steps):
    picture = draw_spectrogram(steps, TimeRange(), size=(100, 220), limits=LIMITS)
    assert loudest_hz(picture, column=25) == pytest.approx(1_000, abs=60)
    assert loudest_hz(picture, column=75) == pytest.approx(5_000, abs=60)


def test_a_stretch_shows_only_its_part(steps):
    picture = draw_spectrogram(steps, TimeRange(1.1, 1.9), size=(100, 220), limits=LIMITS)
    assert {round(loudest_hz(picture, column=column), -3) for column in (10, 50, 90)} == {5_000}


def test_a_waveform_follows_the_loudness(ramp):
    met = measure_waveform(ramp, TimeRange(), point_count=20, limits=LIMITS)
    assert met.duration_seconds == pytest.approx(2.0, abs=0.01)
    expected = 0.4 * np.arange(1, 21) / 10
    assert np.array(met.high) == pytest.approx(expected, abs=0.02)
    assert np.array(met.low) == pytest.approx(-expected, abs=0.02)


def test_a_waveform_longer_than_one_block_has_each_sample_once(tmp_path):
    seconds = np.arange(70 * 8_000) / 8_000
    soundfile.write(tmp_path / "long.wav", np.where(seconds.astype(int) % 10 == 0, 0.5, 0.0), 8_000)
    item = Item("long", Medium.AUDIO, path=tmp_path / "long.wav")
    met = measure_waveform(item, TimeRange(), point_count=70, limits=MediaLimits(max_segment_seconds=100.0))
    assert met.duration_seconds == pytest.approx(70.0, abs=0.01)
    assert [second for second, high in enumerate(met.high) if high > 0.4] == [0, 10, 20, 30, 40, 50, 60]


def test_what_is_too_long_is_refused_and_a_stretch_of_it_is_not(ramp):
    short = MediaLimits(max_segment_seconds=1.0)
    with pytest.raises(TooLargeError):
        measure_waveform(ramp, TimeRange(), point_count=10, limits=short)
    part = measure_waveform(ramp, TimeRange(1.0, 1.5), point_count=10, limits=short)
    assert part.duration_seconds == pytest.approx(0.5, abs=0.01)
    with pytest.raises(OutOfRangeError, match="'end_seconds' is"):
        draw_spectrogram(ramp, TimeRange(0.2, 1.9), size=(20, 20), limits=short)


def test_a_part_of_a_recording_is_shown_within_its_own_times(steps):
    part = Item("part", Medium.AUDIO, path=steps.path, start_seconds=1.1, end_seconds=1.9)
    picture = draw_spectrogram(part, TimeRange(), size=(100, 220), limits=LIMITS)
    assert loudest_hz(picture, column=5) == pytest.approx(5_000, abs=60)
    for start in (0.5, 1.9):
        with pytest.raises(OutOfRangeError, match="'start_seconds'"):
            draw_spectrogram(part, TimeRange(start), size=(100, 220), limits=LIMITS)


def test_what_has_no_picture_or_sound_says_so(toy_items):
    by_medium = {item.medium: item for item in toy_items}
    with pytest.raises(RequestError, match="no picture"):
        draw_thumbnail(by_medium[Medium.TEXT], side_pixels=32, limits=LIMITS)
    with pytest.raises(RequestError, match="no sound"):
        measure_waveform(by_medium[Medium.IMAGE], TimeRange(), point_count=9, limits=LIMITS)
    assert [has_sound(by_medium[medium], limits=LIMITS) for medium in Medium] == [False, False, False, True]


def test_a_video_has_sound_as_its_file_is_now(toy_items, ramp, tmp_path):
    silent = next(item.path for item in toy_items if item.medium is Medium.VIDEO)
    path = tmp_path / "clip"
    clip = Item("x", Medium.VIDEO, path=path)
    assert not has_sound(clip, limits=LIMITS)
    for file, expected in ((silent, False), (ramp.path, True), (silent, False)):
        shutil.copy(file, path)
        assert has_sound(clip, limits=LIMITS) is expected
    path.write_bytes(b"no video")
    assert not has_sound(clip, limits=LIMITS)


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        ("Eine Kohlmeise größer als diese".encode(), None),
        (b"\xef\xbb\xbfA wren", None),
        ("Dzięcioł duży, śpiew krótki, nad łąką".encode("cp1250"), "Dzięcioł duży, śpiew krótki, nad łąką"),
        ("Eine Kohlmeise, größer".encode("utf-16"), "Eine Kohlmeise, größer"),
        ("Gebüsch, kräftig ?".encode().replace(b"?", b"\xff"), "Gebüsch, kräftig \ufffd"),
    ],
)
def test_a_text_in_another_encoding_is_shown_as_it_was_read(content, shown, tmp_path):
    (tmp_path / "note.txt").write_bytes(content)
    item = Item("note", Medium.TEXT, path=tmp_path / "note.txt")
    got = decode_foreign_text(item, limits=MediaLimits())
    assert got == (None if shown is None else shown.encode())
    assert decode_foreign_text(Item("inline", Medium.TEXT, text="words"), limits=MediaLimits()) is None
