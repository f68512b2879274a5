"""Excerpts: active intervals of recordings, frames of videos, passages of texts."""

import tracemalloc

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from fieldmark.datasets.excerpts import (
    find_active_intervals,
    find_noise_frames,
    split_into_passages,
    take_spaced_frames,
)
from fieldmark.types import Item, MediaLimits, Medium

RATE_HZ = 16_000
LIMITS = MediaLimits()


@pytest.fixture
def record(tmp_path):
    """Quiet noise with tones at the given seconds."""

    def make(seconds: float, songs: list[tuple[float, float]], *, noise: float = 0.005) -> Item:
        wave = np.random.default_rng(0).normal(0, noise, round(seconds * RATE_HZ))
        for start, end in songs:
            time = np.arange(round((end - start) * RATE_HZ)) / RATE_HZ
            wave[round(start * RATE_HZ) :][: len(time)] += 0.3 * np.sin(2 * np.pi * 3_000 * time)
        soundfile.write(tmp_path / "a.flac", wave, RATE_HZ)
        return Item("a", Medium.AUDIO, path=tmp_path / "a.flac")

    return make


def intervals(item: Item, longest_seconds: float = 10.0) -> list[tuple[float, float]]:
    found = find_active_intervals(item, limits=LIMITS, longest_seconds=longest_seconds)
    return [(part.start_seconds, part.end_seconds) for part in found]


def test_intervals_are_where_something_sounds(record):
    found = intervals(record(30.0, [(4.0, 6.0), (6.4, 7.0), (20.0, 21.0)]))
    assert found == [pytest.approx((3.75, 7.25), abs=0.11), pytest.approx((19.75, 21.25), abs=0.11)]


@pytest.mark.parametrize("silence", [2.0, 20.0, 200.0])
def test_digital_silence_changes_nothing_but_the_times(record, silence):
    item = record(30.0, [(4.0, 6.0), (20.0, 21.0)])
    expected = intervals(item)
    wave, rate = soundfile.read(item.path)
    pause = np.zeros(round(silence * rate))
    soundfile.write(item.path, np.concatenate([pause, wave, pause]), rate)
    found = intervals(item)
    assert found == [pytest.approx((start + silence, end + silence), abs=0.11) for start, end in expected]


def test_a_file_of_digital_silence_has_no_interval(record):
    assert intervals(record(5.0, [], noise=0.0)) == []


def test_intervals_stay_within_the_item(record):
    item = record(30.0, [(4.0, 6.0), (20.0, 21.0)])
    part = Item("b", Medium.AUDIO, path=item.path, start_seconds=19.9, end_seconds=25.0)
    assert intervals(part) == [pytest.approx((19.9, 21.25), abs=0.11)]


def test_a_long_interval_is_cut_into_equal_parts(record):
    found = intervals(record(40.0, [(5.0, 26.0)]), longest_seconds=6.0)
    assert len(found) == 4
    assert max(end - start for start, end in found) <= 6.0
    assert [end for _, end in found][:-1] == [start for start, _ in found][1:]


def test_an_interval_does_not_begin_before_its_item(record):
    item = record(30.0, [(4.0, 10.0)])
    [(start, end)] = intervals(Item("b", Medium.AUDIO, path=item.path, start_seconds=4.1, end_seconds=25.0))
    assert start == 4.1
    assert end == pytest.approx(10.25, abs=0.11)


def test_a_sound_at_the_end_of_a_recording_is_counted_once(record):
    [(start, end)] = intervals(record(6.4, [(5.0, 6.0)]))
    assert (start, end) == pytest.approx((4.75, 6.25), abs=0.06)


def test_a_sound_of_six_frames_is_an_interval_and_one_of_five_is_not(record):
    assert intervals(record(10.0, [(4.0, 4.25)])) == [pytest.approx((3.75, 4.55))]
    assert intervals(record(10.0, [(4.0, 4.2)])) == []


def test_silence_and_steady_noise_hold_nothing_of_interest(record):
    assert intervals(record(20.0, [], noise=0.0)) == []
    assert intervals(record(20.0, [], noise=0.2)) == []


def test_a_minute_full_of_song_is_of_interest(record):
    assert intervals(record(180.0, [(60.0, 120.0)]), longest_seconds=600.0) == [
        pytest.approx((59.75, 120.25), abs=0.11)
    ]


def test_intervals_of_a_long_recording_take_little_memory(tmp_path):
    noise = np.random.default_rng(0).normal(0, 0.01, RATE_HZ * 60)
    with soundfile.SoundFile(tmp_path / "a.flac", "w", RATE_HZ, 1) as file:
        for _ in range(6):
            file.write(noise)
    tracemalloc.start()
    intervals(Item("a", Medium.AUDIO, path=tmp_path / "a.flac"))
    _, most_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most_bytes < 5_000_000


def test_noise_frames_leaves_out_what_is_far_from_the_medoid():
    features = np.array([[0.0, 0], [0.1, 0], [0, 0.1], [-0.1, 0], [9, 9]])
    assert find_noise_frames(features).tolist() == [False, False, False, False, True]
    assert not find_noise_frames(np.ones((4, 3))).any()
    assert not find_noise_frames(np.ones((1, 3))).any()


@given(st.lists(st.tuples(st.floats(-9, 9), st.floats(-9, 9)), min_size=1, max_size=30))
def test_noise_frames_never_leaves_out_everything(rows):
    assert not find_noise_frames(np.array(rows)).all()


def test_spaced_frames_tell_their_times(tmp_path):
    from fieldmark.datasets.aviary.synthesize import write_clip

    write_clip(np.repeat(np.arange(0, 200, 10, dtype=np.uint8), 64 * 64 * 3).reshape(20, 64, 64, 3), tmp_path / "a.mp4")
    item = Item("a", Medium.VIDEO, path=tmp_path / "a.mp4")
    frames = list(take_spaced_frames(item, count=5, side_pixels=32, limits=LIMITS))
    assert [frame.seconds for frame in frames] == pytest.approx([0.25, 0.75, 1.25, 1.75, 2.25], abs=0.01)
    assert [int(frame.pixels.float().mean()) for frame in frames] == pytest.approx([20, 60, 100, 140, 180], abs=12)


WORDS = st.text("ab .!?\n", max_size=300)


@given(WORDS, st.integers(5, 20))
def test_passages_hold_every_word_once_in_order(text, longest_words):
    found = list(split_into_passages(text, longest_words=longest_words))
    assert " ".join(part.text for part in found).split() == text.split()
    for part in found:
        assert text[part.start_character : part.end_character] == part.text
        assert 0 < len(part.text.split()) <= longest_words


def test_passages_end_with_sentences():
    text = "One two three. Four five six! Seven eight nine ten.\n\nEleven twelve."
    assert [part.text for part in split_into_passages(text, longest_words=7)] == [
        "One two three. Four five six!",
        "Seven eight nine ten.",
        "Eleven twelve.",
    ]
    assert [part.text for part in split_into_passages("a b c d e f g h", longest_words=5)] == ["a b c d e", "f g h"]


def test_a_short_paragraph_stays_with_the_next_and_a_long_one_ends_its_passage():
    short, long, last = "A wren.", "One two three four five six.", "A veery sings."
    parts = [part.text for part in split_into_passages(f"{short}\n\n{long}\n\n{last}", longest_words=12)]
    assert parts == [f"{short}\n\n{long}", last]
