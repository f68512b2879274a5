"""What is missing of a video or a sound: cut off, or a bad block, in every container, beside what FFmpeg decodes."""

import re
from contextlib import suppress
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from fieldmark.media import audio, video
from fieldmark.types import Decoding, MediaLimits


def load(path, **decoding):
    return list(video.load(path, decoding=Decoding(**decoding), limits=MediaLimits()))


FILMS = {  # name: codec, and the options of its container
    "a.mp4": ("libx264", {"movflags": "faststart"}),
    "b.mp4": ("libx264", {"movflags": "empty_moov", "frag_duration": "1000000"}),
    "c.mov": ("mpeg4", {"movflags": "faststart"}),
    "d.mkv": ("libx264", {}),
    "e.webm": ("libvpx", {}),
    "f.webm": ("libvpx", {"live": "1"}),
    "g.avi": ("mpeg4", {}),
    "h.avi": ("mjpeg", {}),
    "i.ts": ("libx264", {}),
    "j.flv": ("flv1", {}),
    "k.flv": ("libx264", {}),
    "l.wmv": ("wmv2", {}),
    "m.mpg": ("mpeg2video", {}),
}
FORMATS = {".wmv": "asf", ".ts": "mpegts", ".mpg": "vob", ".mkv": "matroska"}


@pytest.fixture(scope="module", params=FILMS)
def film(request, tmp_path_factory) -> Path:
    """Six seconds of noise, so that every frame has bytes to lose."""
    path = tmp_path_factory.mktemp("films") / request.param
    codec, options = FILMS[request.param]
    generator = np.random.default_rng(0)
    rate = 25 if codec == "mpeg2video" else 10
    kind = FORMATS.get(path.suffix, path.suffix[1:])
    with av.open(str(path), "w", format=kind, options=options) as container:
        pixel_format = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream = container.add_stream(codec, rate=rate, width=64, height=48, pix_fmt=pixel_format)
        stream.codec_context.gop_size = 10
        for _ in range(6 * rate):
            pixels = generator.integers(0, 255, (48, 64, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def decode_bare(path: Path) -> list[float]:
    """The times of the frames that FFmpeg decodes, from the beginning of the file; it gives some the same one."""
    times = []
    with av.open(str(path)) as container:
        packets = container.demux(container.streams.video[0])
        while (packet := next(packets, None)) is not None:
            with suppress(av.FFmpegError):
                times += [frame.time for frame in packet.decode()]
        return sorted({round(time - container.start_time / av.time_base, 3) for time in times})


def read_all(path: Path) -> tuple[int, float, str]:
    """Count of frames, end, and what is said of damage."""
    segments = load(path, segment_seconds=1.0, frames_per_segment=50)
    said = " ".join(each.message for each in segments[-1].warnings if each.kind == "damaged")
    # A frame that stands beside a gap is shown in each second that it stays.
    return sum(len(segment.content.frames) for segment in segments), segments[-1].end_seconds, said


def test_nothing_is_said_of_a_whole_film(film):
    count, end, said = read_all(film)
    assert (count, said) == (len(decode_bare(film)), "")
    assert end == pytest.approx(6, abs=0.05)


@pytest.mark.parametrize("share", [0.35, 0.5, 0.62, 0.85])
def test_a_cut_film_gives_what_ffmpeg_gives_and_says_that_more_is_missing(film, share, tmp_path):
    path = tmp_path / film.name
    data = film.read_bytes()
    path.write_bytes(data[: round(share * len(data)) - 7])  # a cut exactly between two packs of an MPEG is none to see
    expected = decode_bare(path)
    count, end, said = read_all(path)
    assert count >= len(expected)
    assert end > expected[-1]
    assert "cut off at" in said


@pytest.mark.parametrize("share", [0.4, 0.6, 0.75])
def test_a_bad_block_is_never_silent_where_frames_are_lost(film, share, tmp_path):
    path = tmp_path / film.name
    data = film.read_bytes()
    middle, size = round(share * len(data)), len(data) // 12
    path.write_bytes(data[:middle] + bytes(size) + data[middle + size :])
    whole, got = decode_bare(film), decode_bare(path)
    _, end, said = read_all(path)
    assert len(got) < len(whole), "the block is as long as half a second"
    assert said
    if len(got) < len(whole) - 2 and end > 5.9:  # it was read to its end, so the gap is known
        missing = sum(float(to) - float(at) for at, to in re.findall(r"(\d+\.\d+) to (\d+\.\d+)", said))
        step = whole[1] - whole[0]
        assert missing == pytest.approx((len(whole) - len(got)) * step, abs=0.45)


@pytest.mark.parametrize("codec", ["mpeg2video", "mpeg1video"])
def test_a_program_stream_cut_between_its_packs_is_cut_off(codec, tmp_path):
    path, cut = tmp_path / "a.mpg", tmp_path / "b.mpg"
    generator = np.random.default_rng(0)
    with av.open(str(path), "w", format="vob") as container:
        stream = container.add_stream(codec, rate=25, width=160, height=96, pix_fmt="yuv420p", options={"bf": "2"})
        for _ in range(75):
            pixels = generator.integers(0, 255, (96, 160, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    data = path.read_bytes()
    assert read_all(path)[2] == ""
    packs = [each.start() for each in re.finditer(rb"\x00\x00\x01\xba", data)]
    told = 0
    for position in packs[len(packs) // 3 :: len(packs) // 12]:
        cut.write_bytes(data[:position])
        told += "cut off at" in read_all(cut)[2]
    assert told >= 7, "a pack may end exactly where a picture does"


def test_a_stream_that_lacks_pictures_shown_before_its_last_one_is_cut_off(tmp_path):
    path, cut = tmp_path / "a.ts", tmp_path / "b.ts"
    with av.open(str(path), "w", format="mpegts") as container:
        stream = container.add_stream("libx264", rate=10, width=64, height=48, pix_fmt="yuv420p")
        stream.options = {"bf": "2", "b-adapt": "0", "b-pyramid": "none"}
        for index in range(60):
            pixels = np.full((48, 64, 3), index * 4, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.pts) for packet in container.demux(video=0) if packet.pts is not None]
    data = path.read_bytes()
    for number in range(30, 42):  # whole packets, so that nothing but their order tells
        cut.write_bytes(data[: packets[number][0]])
        stamps = sorted(stamp for _, stamp in packets[:number])
        is_holey = max(after - before for before, after in pairwise(stamps)) > 1.5 * 9_000
        _, _, said = read_all(cut)
        assert ("cut off at" in said) == is_holey
    cut.write_bytes(data[: packets[30][0]] + data[packets[31][0] :])
    assert "missing" in read_all(cut)[2]
    assert "cut off" not in read_all(cut)[2], "it is not the end that is missing"


@pytest.mark.parametrize("codec", ["libx264", "mjpeg"])
def test_frames_of_an_avi_come_in_the_order_of_being_shown(codec, tmp_path):
    path = tmp_path / "a.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10, width=64, height=48)
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        if codec == "libx264":
            stream.options = {"bf": "3", "b-pyramid": "normal", "b-adapt": "0"}
        for index in range(30):
            pixels = np.full((48, 64, 3), index * 8, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    segments = load(path, segment_seconds=1.0, frames_per_segment=40)
    shown = [round(float(frame.float().mean()) / 8) for segment in segments for frame in segment.content.frames]
    assert sorted(set(shown)) == list(range(30))
    assert shown == sorted(shown)
    assert segments[-1].warnings == ()


def test_a_frame_that_an_avi_leaves_out_is_the_one_before_and_none_missing(tmp_path):
    path = tmp_path / "a.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10, width=64, height=48, pix_fmt="yuv420p")
        for index in (*range(12), *range(14, 30)):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), index * 8, np.uint8), format="rgb24")
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert load(path, segment_seconds=1.0, frames_per_segment=20)[-1].warnings == ()


@pytest.mark.parametrize("share", [0.4, 0.7])
def test_a_cut_avi_tells_the_length_in_its_header(share, tmp_path):
    path = tmp_path / "a.avi"
    generator = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10, width=64, height=48, pix_fmt="yuv420p")
        for number in range(60):  # the second half has more bytes than the first
            pixels = generator.integers(0, 20 + 200 * (number >= 30), (48, 64, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    path.write_bytes(path.read_bytes()[: round(share * path.stat().st_size)])
    _, end, said = read_all(path)
    assert f"{6 - end:.2f} seconds are missing of the length that it declares" in said


def test_a_changing_rate_is_no_gap_and_a_pause_is_one(write_video):
    changing = list(np.cumsum(np.random.default_rng(0).uniform(0.05, 0.5, 40)))
    [*_, last] = load(write_video("a.mp4", frames=40, times=changing), segment_seconds=1.0, frames_per_segment=20)
    assert last.warnings == ()
    paused = [index / 10 + 3 * (index >= 15) for index in range(30)]
    [*_, last] = load(write_video("b.mp4", frames=30, times=paused), segment_seconds=1.0, frames_per_segment=20)
    assert "3.00 seconds of picture are missing, at 1.50 to 4.50" in last.warnings[0].message


# ---------------------------------------------------------------- sound

SOUNDS = {
    "a.opus": ("libopus", "opus", {}),
    "b.ogg": ("flac", "ogg", {}),
    "c.flac": ("flac", "flac", {}),
    "d.caf": ("pcm_s16le", "caf", {}),
    "e.m4a": ("aac", "ipod", {"movflags": "faststart"}),
    "f.mka": ("aac", "matroska", {}),
    "g.flv": ("aac", "flv", {}),
    "h.ac3": ("ac3", "ac3", {}),
    "i.mp3": ("libmp3lame", "mp3", {"write_xing": "0"}),
    "j.aac": ("aac", "adts", {}),
    "k.wav": ("pcm_s16le", "wav", {}),
    "l.w64": ("pcm_s16le", "w64", {}),
    "m.au": ("pcm_s16be", "au", {}),
    "n.ts": ("mp2", "mpegts", {}),
    "o.avi": ("libmp3lame", "avi", {}),
}


@pytest.mark.parametrize("name", SOUNDS)
def test_cut_sound_says_that_more_is_missing(name, tmp_path):
    codec, kind, options = SOUNDS[name]
    path = tmp_path / name
    samples = np.random.default_rng(0).normal(0, 0.1, 6 * 48_000).astype(np.float32)
    with av.open(str(path), "w", format=kind, options=options) as container:
        stream = container.add_stream(codec, rate=48_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        frame.sample_rate, frame.time_base, frame.pts = 48_000, Fraction(1, 48_000), 0
        size = stream.codec_context.frame_size or 1_024
        resampler = av.AudioResampler(format=stream.format, layout="mono", rate=48_000, frame_size=size)
        for part in [*resampler.resample(frame), *resampler.resample(None), None]:
            container.mux(stream.encode(part))
    whole = path.read_bytes()
    assert read_sound(path)[1] == ""
    for share in (0.31, 0.5, 2 / 3, 0.87):
        path.write_bytes(whole[: round(share * len(whole)) - 11])
        end, said = read_sound(path)
        assert end == pytest.approx(6 * share, abs=1.1), "a page of Ogg may hold a second"
        assert "missing" in said


def read_sound(path: Path) -> tuple[float, str]:
    """End, and what is said of damage."""
    *_, last = audio.load(path, decoding=Decoding(sample_rate_hz=48_000), limits=MediaLimits())
    return last.end_seconds, " ".join(each.message for each in last.warnings if each.kind == "damaged")
