"""The shared files of sound and video that went wrong once, and the right answers."""

import numpy as np
import pytest
from PIL import Image

from fieldmark.media.loaders import load_segments
from fieldmark.types import Decoding, Item, MediaLimits, Medium
from media.timeline_files import list_misplaced

pytestmark = pytest.mark.shared
RATE = 22_050


@pytest.fixture
def read(shared_folder):
    """Reads a case as one segment."""

    def read(name, medium=Medium.AUDIO, *, rate=RATE, frames=1, **part):
        item = Item("case", medium, path=shared_folder / "cases" / "media" / name, **part)
        decoding = Decoding(sample_rate_hz=rate, frames_per_segment=frames)
        [segment] = load_segments(item, decoding=decoding, limits=MediaLimits())
        return segment

    return read


def samples_of(segment):
    return segment.content.waveform.numpy()


def test_a_gap_keeps_the_call_at_its_time(read):
    call = samples_of(read("time_stamps/query.wav"))
    for part in ({}, {"start_seconds": 20.0}, {"start_seconds": 29.5, "end_seconds": 36.0}):
        segment = read("time_stamps/gap.webm", **part)
        likeness = np.abs(np.correlate(samples_of(segment), call[:RATE], "valid"))
        assert segment.start_seconds + likeness.argmax() / RATE == pytest.approx(30, abs=0.05)
    whole = samples_of(read("time_stamps/gap.webm"))
    assert np.abs(whole[round(9.1 * RATE) : round(29.9 * RATE)]).max() == 0


def test_what_lies_behind_a_bad_block_of_a_card_keeps_its_time(read):
    segment = read("time_stamps/card_block.ogg", rate=44_100)
    assert segment.end_seconds == pytest.approx(20, abs=0.1)
    assert list_misplaced(samples_of(segment), rate=44_100) == []
    assert "1.00 seconds of sound are missing, at 9.0" in segment.warnings[0].message


@pytest.mark.parametrize(
    ("name", "seconds", "said"),
    [
        ("card_block.m4a", 20.0, "0.07 seconds of sound are missing, at 6.87"),
        ("trunc.flac", 11.9, "the file is cut off at 11.91: 8.09 seconds are missing"),
        ("zeros.mp3", 20.0, "0.26 seconds of sound are missing, at 20.00"),
    ],
)
def test_all_that_decodes_is_used_and_the_rest_is_told(name, seconds, said, read):
    segment = read(f"bad_frames/{name}")
    assert segment.end_seconds == pytest.approx(seconds, abs=0.05)
    [warning] = segment.warnings
    assert warning.kind == "damaged"
    assert said in warning.message


def test_every_packet_of_a_still_is_a_frame(read):
    segment = read("theora/still.ogv", Medium.VIDEO, frames=100)
    assert len(segment.content.frames) == 97, "as many packets as the file holds, 9 of them with bytes"
    assert segment.end_seconds == pytest.approx(3.88)
    assert segment.warnings == ()


def test_a_mirrored_video_is_shown_as_its_matrix_says(read, shared_folder):
    segment = read("mirrored_video/mirror.mov", Medium.VIDEO)
    expected = np.asarray(Image.open(shared_folder / "cases/media/mirrored_video/ref_mirror.png").convert("RGB"))
    got = segment.content.frames[0].permute(1, 2, 0).numpy()
    assert np.abs(got.astype(int) - expected).mean() < 1


def test_pixels_are_square(read):
    assert read("square_pixels/sar.mp4", Medium.VIDEO).content.frames.shape[2:] == (160, 427)


@pytest.mark.parametrize("name", ["float_scale/float_int_scale.wav", "opposite_channels/antiphase.wav"])
def test_odd_sound_is_the_song_that_it_is(name, read):
    segment = read(name)
    np.testing.assert_allclose(samples_of(segment), samples_of(read("float_scale/query.wav")), atol=1e-3)
    assert len(segment.warnings) == 1
