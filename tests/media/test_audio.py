import struct

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st

from fieldmark.errors import EmptyMediaError, MissingFileError, TooLargeError, UnreadableMediaError
from fieldmark.media import audio
from fieldmark.media.audio import compute_power_spectrogram, convert_to_decibels
from fieldmark.types import Decoding, MediaLimits

RATE = 8_000


def load(path, *, limits=None, start_seconds=None, end_seconds=None, **decoding):
    decoding = Decoding(**{"sample_rate_hz": RATE, **decoding})
    limits = limits or MediaLimits()
    return list(
        audio.load(path, decoding=decoding, limits=limits, start_seconds=start_seconds, end_seconds=end_seconds)
    )


def times(segments):
    return [(round(segment.start_seconds, 4), round(segment.end_seconds, 4)) for segment in segments]


def ramp(count):
    """Samples that tell their own number."""
    return np.arange(count) / count - 0.5


def strength(waveform, hz, rate):
    """Amplitude of one frequency in a waveform."""
    phase = 2j * np.pi * hz * np.arange(len(waveform)) / rate
    return 2 * abs(np.mean(np.asarray(waveform) * np.exp(phase)))


@pytest.mark.parametrize(
    "name",
    ["a.wav", "A.WAV", "a.flac", "a.ogg", "a.mp3", "a.m4a", "a.aac", "a.opus", "a.webm", "a.aiff", "a.au", "a.caf"],
)
def test_load_reads_the_format(name, write_audio):
    [segment] = load(write_audio(name, seconds=2.0), sample_rate_hz=22_050)
    waveform = segment.content.waveform.numpy()
    assert segment.content.sample_rate_hz == 22_050
    assert waveform.dtype == np.float32
    assert len(waveform) == pytest.approx(2 * 22_050, abs=0.08 * 22_050)
    assert segment.start_seconds == pytest.approx(0, abs=0.03)
    assert strength(waveform[11_000:33_000], 440, 22_050) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW"])
def test_load_scales_every_kind_of_sample_to_one(subtype, write_audio):
    [segment] = load(write_audio("a.wav", rate=RATE, subtype=subtype))
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)
    got = segment.content.waveform.numpy()[:RATE]
    assert np.abs(got - expected[: len(got)]).max() < (0.02 if subtype == "ULAW" else 0.009)


def test_load_leaves_sound_of_the_same_rate_as_it_is(write_audio):
    samples = np.random.default_rng(0).uniform(-1, 1, 5_000).astype(np.float32)
    [segment] = load(write_audio("a.wav", samples, rate=RATE, subtype="FLOAT"))
    np.testing.assert_array_equal(segment.content.waveform.numpy(), samples)


def test_load_averages_the_channels(write_audio):
    left = np.full(4_000, 0.5)
    for channels in ([left, -left], [left, np.zeros(4_000)], [left] * 6):
        [segment] = load(write_audio("a.wav", np.stack(channels, -1), rate=RATE, subtype="FLOAT"))
        np.testing.assert_allclose(segment.content.waveform.numpy(), np.mean(channels, axis=0), atol=1e-6)


def test_load_keeps_sound_within_one(write_audio):
    [segment] = load(write_audio("a.wav", np.array([0.0, 7.0, -7.0, 0.5]), rate=RATE, subtype="FLOAT"))
    assert segment.content.waveform.tolist() == [0, 1, -1, 0.5]


@pytest.mark.parametrize(("name", "tolerance"), [("a.wav", 1e-4), ("a.flac", 1e-4), ("a.ogg", 0.03), ("a.mp3", 0.03)])
def test_load_begins_where_it_is_asked_to(name, tolerance, write_audio):
    path = write_audio(name, seconds=6.0)
    [whole] = load(path, sample_rate_hz=48_000)
    [part] = load(path, start_seconds=3.25, end_seconds=4.5, sample_rate_hz=48_000)
    assert times([part]) == [(3.25, 4.5)]
    expected = whole.content.waveform[round(3.25 * 48_000) : round(4.5 * 48_000)]
    np.testing.assert_allclose(part.content.waveform.numpy(), expected.numpy(), atol=tolerance)


def test_load_cuts_the_part_it_is_asked_for(write_audio):
    path = write_audio("a.wav", seconds=5.0)
    segments = load(path, start_seconds=1.5, end_seconds=4.0, segment_seconds=1.0)
    assert times(segments) == [(1.5, 2.5), (2.5, 3.5), (3.0, 4.0)]
    assert times(load(path, start_seconds=4.5, end_seconds=99.0)) == [(4.5, 5.0)]


def slow_cut(total, length, hop):
    """Segments as the docstring defines them, in samples."""
    if total <= length:
        return [(0, total)] if total else []
    whole = [(start, start + length) for start in range(0, total, hop) if start + length <= total]
    return [*whole, (total - length, total)] if total - whole[-1][1] >= 0.25 * hop else whole


@given(
    total=st.integers(1, 3_000),
    length=st.integers(1, 900),
    hop=st.integers(1, 900),
    limit=st.none() | st.integers(1, 9),
)
def test_load_cuts_as_the_slow_loop_does(total, length, hop, limit, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "cut.wav"
    samples = ramp(total).astype(np.float32)
    soundfile.write(path, samples, RATE, subtype="FLOAT")
    expected = slow_cut(total, length, hop)
    if limit is not None and len(expected) > limit:
        expected = [expected[(2 * part + 1) * len(expected) // (2 * limit)] for part in range(limit)]
    segments = load(path, segment_seconds=length / RATE, hop_seconds=hop / RATE, max_segments=limit)
    assert [(round(s.start_seconds * RATE), round(s.end_seconds * RATE)) for s in segments] == expected
    for segment, (start, end) in zip(segments, expected, strict=True):
        np.testing.assert_array_equal(segment.content.waveform.numpy(), samples[start:end])


@pytest.mark.parametrize("rate", [11_025, 22_050, 44_100, 96_000])
def test_load_counts_segments_the_same_before_and_after_resampling(rate, write_audio):
    for count in (rate * 2 - 1, rate * 2, rate * 2 + 1, round(rate * 2.25)):
        path = write_audio("a.wav", ramp(count), rate=rate)
        whole = load(path, segment_seconds=1.0)
        assert times(load(path, segment_seconds=1.0, max_segments=50)) == times(whole)
        assert len(load(path, segment_seconds=1.0, max_segments=1)) == 1


def test_load_gives_short_sound_as_it_is(write_audio):
    [segment] = load(write_audio("a.wav", np.array([0.5]), rate=RATE), segment_seconds=3.0)
    assert len(segment.content.waveform) == 1


def test_load_believes_no_stated_length(write_audio):
    data = bytearray(write_audio("a.wav", seconds=2.0, rate=RATE).read_bytes())
    at = data.find(b"data") + 4
    for stated in (0, 0xFFFFFFFF, 0x7FFFFFFF):
        data[at : at + 4] = struct.pack("<I", stated)
        path = write_audio("b.wav")
        path.write_bytes(data)
        assert times(load(path, segment_seconds=1.0, max_segments=5)) == [(0, 1), (1, 2)]


def test_load_reads_a_flac_of_unknown_length(write_audio):
    path = write_audio("a.flac", seconds=2.0)
    data = bytearray(path.read_bytes())
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    path.write_bytes(data)
    assert times(load(path, segment_seconds=1.0, max_segments=5)) == [(0, 1), (1, 2)]


def test_load_takes_what_there_is_of_a_recording_cut_off(write_audio):
    path = write_audio("a.wav", seconds=2.0, rate=RATE)
    path.write_bytes(path.read_bytes()[: 44 + RATE * 2])
    assert times(load(path)) == [(0, 1)]


def test_load_gives_the_sound_of_a_video(write_video):
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(3 * 48_000) / 48_000)
    for name in ("a.mp4", "a.webm"):
        segments = load(write_video(name, sound=tone), segment_seconds=1.0)
        assert [round(start) for start, _ in times(segments)] == [0, 1, 2]
        assert strength(segments[1].content.waveform, 440, RATE) == pytest.approx(0.5, abs=0.05)


def test_load_tells_a_video_without_sound(write_video):
    with pytest.raises(EmptyMediaError, match="no sound track"):
        load(write_video("a.mp4"))


def test_load_tells_a_part_with_nothing_in_it(write_audio):
    path = write_audio("a.wav")
    for start, end in ((5.0, 6.0), (0.5, 0.5), (0.8, 0.2)):
        with pytest.raises(EmptyMediaError, match="between the two times"):
            load(path, start_seconds=start, end_seconds=end)


def test_load_tells_a_recording_without_samples(write_audio):
    with pytest.raises(EmptyMediaError):
        load(write_audio("a.wav", np.zeros(0)))


def test_load_refuses_samples_that_are_no_numbers(write_audio):
    for bad in (np.nan, np.inf):
        with pytest.raises(UnreadableMediaError, match="not finite"):
            load(write_audio("a.wav", np.array([0.1, bad]), subtype="FLOAT"))


@pytest.mark.parametrize("rate", [1, 999, 4_100_000_000])
def test_load_refuses_an_absurd_rate(rate, write_audio):
    data = bytearray(write_audio("a.wav").read_bytes())
    data[24:28] = struct.pack("<I", rate)
    path = write_audio("b.wav")
    path.write_bytes(data)
    with pytest.raises(UnreadableMediaError):
        load(path)


def test_load_refuses_too_much_at_once(write_audio):
    path = write_audio("a.wav", seconds=5.0)
    limits = MediaLimits(max_segment_seconds=2.0)
    with pytest.raises(TooLargeError, match=r"has 5 segment seconds; the limit is 2\..*limits\.max_segment_seconds"):
        load(path, limits=limits)
    with pytest.raises(TooLargeError, match="has 4 segment seconds"):
        load(path, limits=limits, segment_seconds=4.0)
    assert len(load(path, limits=limits, segment_seconds=1.0)) == 5
    assert len(load(path, limits=limits, start_seconds=1.0, end_seconds=2.5)) == 1


def test_load_refuses_too_many_seconds(write_audio):
    with pytest.raises(TooLargeError, match=r"seconds; the limit is 2\..*limits\.max_seconds"):
        load(write_audio("a.wav", seconds=5.0), limits=MediaLimits(max_seconds=2.0), segment_seconds=1.0)


def test_load_tells_missing_empty_large_and_foreign_files(tmp_path, write_audio):
    with pytest.raises(MissingFileError):
        load(tmp_path / "none.wav")
    (tmp_path / "empty.wav").touch()
    with pytest.raises(EmptyMediaError):
        load(tmp_path / "empty.wav")
    (tmp_path / "text.wav").write_text("no sound")
    with pytest.raises(UnreadableMediaError):
        load(tmp_path / "text.wav")
    with pytest.raises(TooLargeError, match="bytes"):
        load(write_audio("a.wav"), limits=MediaLimits(max_bytes=100))


def test_load_streams_a_long_recording(tmp_path):
    path = tmp_path / "long.wav"
    with soundfile.SoundFile(path, "w", RATE, 1) as file:
        for _ in range(60):
            file.write(np.zeros(RATE * 60))
    segments = audio.load(path, decoding=Decoding(sample_rate_hz=RATE, segment_seconds=3.0), limits=MediaLimits())
    assert next(segments).end_seconds == 3.0  # an hour is not read for the first three seconds
    segments.close()


# ---------------------------------------------------------------- spectrograms


@pytest.fixture
def waveform():
    generator = torch.Generator().manual_seed(0)
    return 0.1 * torch.randn(22_050, generator=generator) + torch.sin(torch.arange(22_050) * 0.3)


@pytest.mark.parametrize(("n_fft", "hop_length"), [(2048, 512), (512, 160), (1024, 1024)])
def test_power_spectrogram_is_that_of_librosa(n_fft, hop_length, waveform):
    librosa = pytest.importorskip("librosa")
    expected = np.abs(librosa.stft(waveform.numpy(), n_fft=n_fft, hop_length=hop_length)) ** 2
    got = compute_power_spectrogram(waveform, n_fft=n_fft, hop_length=hop_length)
    np.testing.assert_allclose(got.numpy(), expected, rtol=2e-3, atol=1e-3)


def test_decibels_are_those_of_librosa(waveform):
    librosa = pytest.importorskip("librosa")
    power = compute_power_spectrogram(waveform, n_fft=2048, hop_length=512)
    expected = librosa.power_to_db(power.numpy(), ref=np.max, amin=1e-10, top_db=80.0)
    np.testing.assert_allclose(convert_to_decibels(power, floor_db=80.0).numpy(), expected, atol=1e-3)


def test_power_spectrogram_finds_the_tone():
    tone = torch.sin(2 * torch.pi * 1_000 * torch.arange(8_000) / 8_000)
    power = compute_power_spectrogram(tone, n_fft=800, hop_length=200)
    assert power.shape == (401, 41)
    assert power[:, 20].argmax() == 100  # 1,000 Hz in steps of 10 Hz


def test_power_spectrogram_takes_a_batch_and_a_single_sample(waveform):
    batch = torch.stack([waveform, waveform.flip(0)])
    together = compute_power_spectrogram(batch, n_fft=512, hop_length=256)
    torch.testing.assert_close(together[1], compute_power_spectrogram(batch[1], n_fft=512, hop_length=256))
    assert compute_power_spectrogram(torch.ones(1), n_fft=512, hop_length=256).shape == (257, 1)


def test_decibels_of_each_spectrogram_are_relative_to_its_own_maximum():
    power = torch.tensor([[[1.0, 0.1]], [[1e-6, 1e-8]], [[0.0, 0.0]]])
    expected = torch.tensor([[[0.0, -10.0]], [[0.0, -20.0]], [[-80.0, -80.0]]])
    torch.testing.assert_close(convert_to_decibels(power, floor_db=80.0), expected, atol=1e-4, rtol=0)


def test_decibels_stay_finite_for_the_faintest_sound():
    got = convert_to_decibels(torch.tensor([[1e-44, 0.0]]), floor_db=80.0)
    assert got.isfinite().all()
    assert got.min() >= -80.001
