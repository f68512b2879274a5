"""Sound at the file's own times, in every container, whole or in parts."""

import numpy as np
import pytest

from fieldmark.errors import UnreadableMediaError
from fieldmark.media import audio
from fieldmark.types import Decoding, MediaLimits
from media.timeline_files import CODECS, RATE, list_misplaced, make_tones, write_sound, zero_block

STAMPED = ["a.webm", "flac.mka", "a.m4a", "a.flv", "a.ts"]


def load(path, *, rate=RATE, limits=None, **part):
    [segment] = audio.load(path, decoding=Decoding(sample_rate_hz=rate), limits=limits or MediaLimits(), **part)
    return segment


def samples_of(segment):
    return segment.content.waveform.numpy()


def kinds(segment):
    return [warning.kind for warning in segment.warnings]


@pytest.mark.parametrize("name", STAMPED)
def test_a_gap_is_silent_and_what_lies_behind_keeps_its_time(name, tmp_path):
    path = write_sound(
        tmp_path / name, make_tones(8), restamp=lambda seconds: seconds if not 2.5 < seconds < 6.5 else None
    )
    segment = load(path)
    assert segment.end_seconds == pytest.approx(8, abs=0.1)
    assert len(list_misplaced(samples_of(segment), rate=RATE)) <= 1, "an MP3 frame needs those before it"
    assert np.abs(samples_of(segment)[3 * RATE : 6 * RATE]).max() < 1e-3
    [warning] = segment.warnings
    assert warning.kind == "damaged"
    assert "seconds of sound are missing, at 2.5" in warning.message


@pytest.mark.parametrize("name", STAMPED)
def test_a_part_equals_the_same_part_of_the_whole(name, tmp_path):
    path = write_sound(
        tmp_path / name, make_tones(8), restamp=lambda seconds: seconds if not 2.5 < seconds < 6.5 else None
    )
    for rate, tolerance in ((RATE, 0), (22_050, 1e-6)):
        whole = samples_of(load(path, rate=rate))
        for start, end in ((1.0, 2.0), (3.5, 7.25), (3.5, 5.5), (2.0, 4.0), (7.0, None)):
            segment = load(path, rate=rate, start_seconds=start, end_seconds=end)
            stop = None if end is None else round(end * rate)
            assert segment.start_seconds == start
            np.testing.assert_allclose(samples_of(segment), whole[round(start * rate) : stop], rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", ["a.flac", "a.mp3", "a.ogg", "a.m4a", "a.wav"])
def test_a_late_part_equals_the_whole_however_often_it_was_read_before(name, tmp_path):
    path = write_sound(tmp_path / name, np.tile(make_tones(8), 3))
    whole = samples_of(load(path))
    for start in (20.3, 13.0, 20.3):
        got = samples_of(load(path, start_seconds=start, end_seconds=start + 1))
        np.testing.assert_array_equal(got, whole[round(start * RATE) : round((start + 1) * RATE)])


@pytest.mark.parametrize("name", ["a.webm", "a.m4a"])
def test_time_stamps_that_waver_leave_no_cracks(name, tmp_path):
    plain = load(write_sound(tmp_path / name, make_tones(4)))
    wavering = iter(np.linspace(0, 0.045, 1_000))
    path = write_sound(tmp_path / f"x{name}", make_tones(4), codec=CODECS[name], restamp=lambda s: s + next(wavering))
    segment = load(path)
    assert kinds(segment) == []
    count = min(len(samples_of(segment)), len(samples_of(plain)))
    assert count > 3.9 * RATE
    np.testing.assert_array_equal(samples_of(segment)[:count], samples_of(plain)[:count])


def test_a_clock_that_runs_apart_is_followed(tmp_path):
    path = write_sound(tmp_path / "a.webm", make_tones(8), restamp=lambda seconds: seconds * 1.05)
    assert load(path).end_seconds == pytest.approx(8 * 1.05, abs=0.1)


@pytest.mark.parametrize("name", [name for name in CODECS if name not in {"a.wav", "a.caf", "a.aiff", "a.m4a"}])
def test_what_lies_behind_a_bad_block_keeps_its_time(name, tmp_path):
    path = write_sound(tmp_path / name, make_tones(8))
    path.write_bytes(zero_block(path.read_bytes()))
    segment = load(path, limits=MediaLimits(damaged_share=0.9))
    assert len(list_misplaced(samples_of(segment), rate=RATE)) <= 1, "the last of what was damaged may still be heard"
    assert kinds(segment) == ["damaged"]


@pytest.mark.parametrize("name", ["a.mp3", "a.ogg", "a.flac", "a.aac", "a.ac3", "a.ts", "a.webm", "flac.mka"])
def test_joined_files_are_read_through(name, tmp_path):
    path = write_sound(tmp_path / name, make_tones(3))
    path.write_bytes(path.read_bytes() * 2)
    segment = load(path)
    assert segment.end_seconds == pytest.approx(6, abs=0.2)
    assert list_misplaced(samples_of(segment)[: 3 * RATE], rate=RATE) == []
    assert list_misplaced(samples_of(segment)[-3 * RATE :], rate=RATE)[:1] in ([], [0.1])
    assert kinds(segment) == []


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.mp3", "a.ogg", "a.aac", "a.avi", "a.webm", "a.wv", "a.m4a"])
def test_junk_behind_the_end_costs_nothing(name, tmp_path):
    path = write_sound(tmp_path / name, make_tones(3))
    path.write_bytes(path.read_bytes() + bytes(4_096))
    segment = load(path)
    assert segment.end_seconds == pytest.approx(3, abs=0.1)
    assert list_misplaced(samples_of(segment), rate=RATE) == []
    assert kinds(segment) == (["damaged"] if name == "a.mp3" else [])  # its frames have no other mark of their end


@pytest.mark.parametrize("name", [name for name in CODECS if name != "a.m4a"])
def test_a_file_cut_off_gives_what_it_has(name, tmp_path):
    path = write_sound(tmp_path / name, make_tones(8))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    segment = load(path)
    assert 3.8 < segment.end_seconds < 6
    assert list_misplaced(samples_of(segment), rate=RATE) == []
    if name in {"a.wav", "a.flac", "a.mp3", "a.webm", "a.avi", "a.wv", "a.tta", "a.aiff", "a.flv"}:
        assert "seconds are missing of the length that it declares" in segment.warnings[0].message


@pytest.mark.parametrize("name", ["a.m4a", "a.mov"])
def test_a_file_without_its_index_is_refused_by_name(name, tmp_path):
    path = write_sound(tmp_path / name, make_tones(3), codec="aac")
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"moov") - 4])
    with pytest.raises(UnreadableMediaError, match="its index, the 'moov' box, is missing"):
        load(path)


def test_a_file_that_is_damaged_nearly_everywhere_is_refused(tmp_path):
    path = write_sound(tmp_path / "a.m4a", make_tones(8))
    data = path.read_bytes()
    first = data.index(b"mdat")
    path.write_bytes(data[: first + 4_000] + bytes(len(data) // 2) + data[first + 4_000 + len(data) // 2 :])
    allowed = MediaLimits(damaged_share=0.9)
    assert kinds(load(path, limits=allowed)) == ["damaged"]
    with pytest.raises(UnreadableMediaError, match=r"are damaged; at most 20% may be, by 'limits\.damaged_share'"):
        load(path, limits=MediaLimits(damaged_share=0.2))
