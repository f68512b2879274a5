"""What is missing of a video: cut off, or a bad block, in every container; told beside what FFmpeg decodes."""

import re
from contextlib import suppress
from pathlib import Path

import av
import numpy as np
import pytest

from fieldmark.media import video
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
