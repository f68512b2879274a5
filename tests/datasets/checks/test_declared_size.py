"""Files that declare their size, whole and truncated."""

import av
import numpy as np
import pytest
import soundfile

from fieldmark.datasets.checks.declared_size import read_declared_bytes
from fieldmark.datasets.checks.inspection import inspect_item
from fieldmark.types import MediaLimits, Medium

NOISE = np.random.default_rng(0).normal(0, 0.1, 16_000 * 4)


def write_sound(path, format_name):
    soundfile.write(path, NOISE, 16_000, format=format_name)


def write_film(path, format_name):
    options = {"movflags": "faststart"} if format_name == "mp4" else {}
    pixels = np.random.default_rng(0).integers(0, 255, (30, 64, 64, 3), dtype=np.uint8)
    with av.open(str(path), "w", format=format_name, options=options) as container:
        stream = container.add_stream("mpeg4", rate=10, width=64, height=64, pix_fmt="yuv420p")
        for frame in pixels:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))


KINDS = [
    ("WAV", "WAV", write_sound),
    ("AIFF", "AIFF", write_sound),
    ("Ogg", "OGG", write_sound),
    ("MP3", "MP3", write_sound),
    ("MP4", "mp4", write_film),
    ("Matroska", "matroska", write_film),
    ("AVI", "avi", write_film),
]


@pytest.mark.parametrize(("format_name", "written_as", "write"), KINDS)
def test_declared_bytes_tell_a_truncated_file_from_a_whole_one(format_name, written_as, write, tmp_path):
    path = tmp_path / "file"
    write(path, written_as)
    whole = path.read_bytes()
    assert read_declared_bytes(path, format_name) <= len(whole)
    for share in (0.4, 0.9):
        path.write_bytes(whole[: int(share * len(whole))])
        assert read_declared_bytes(path, format_name) > int(share * len(whole))
    path.write_bytes(whole + bytes(100))
    assert (read_declared_bytes(path, format_name) or 0) <= len(whole)


@pytest.mark.parametrize("format_name", ["WAV", "AIFF", "Ogg", "MP3", "MP4", "Matroska", "AVI", "JPEG"])
@pytest.mark.parametrize("content", [b"", b"OggS", b"RIFF", b"\x1aE\xdf\xa3", bytes(5_000), b"ID3" + bytes(5_000)])
def test_declared_bytes_of_a_file_that_declares_none_never_fail(format_name, content, tmp_path):
    (tmp_path / "file").write_bytes(content)
    read_declared_bytes(tmp_path / "file", format_name)


def test_a_stream_of_unknown_length_declares_no_size(tmp_path):
    (tmp_path / "a.mkv").write_bytes(b"\x1aE\xdf\xa3\x80" + b"\x18\x53\x80\x67\x01" + b"\xff" * 7 + bytes(50))
    assert read_declared_bytes(tmp_path / "a.mkv", "Matroska") is None


def test_a_film_that_plays_to_its_half_is_unreadable(make_item, tmp_path):
    write_film(tmp_path / "a.mp4", "mp4")
    whole = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "a.mp4").write_bytes(whole[: len(whole) // 2])
    inspection = inspect_item(make_item(Medium.VIDEO, item_id="a.mp4"), limits=MediaLimits())
    assert inspection.failure.kind == "unreadable"
    assert f"truncated: it declares {len(whole):,} bytes" in inspection.failure.message


def test_a_truncated_film_is_reported_as_such_and_not_in_the_words_of_the_decoder(make_item):
    item = make_item(Medium.VIDEO, item_id="film.mp4")
    with av.open(str(item.path), "w", format="mp4") as container:  # its index stands at its end
        stream = container.add_stream("mpeg4", rate=10, width=64, height=64, pix_fmt="yuv420p")
        for value in range(20):
            frame = np.full((64, 64, 3), 10 * value, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    whole = item.path.read_bytes()
    item.path.write_bytes(whole[: whole.index(b"moov") - 50])
    failure = inspect_item(item, limits=MediaLimits()).failure
    assert failure.kind == "unreadable"
    assert "it is truncated" in failure.message


@pytest.mark.parametrize(
    ("flags", "numbers", "declared"),
    [(3, (40, 9_000), 9_000), (2, (9_000, 77), 9_000), (1, (40, 77), None), (0, (40, 77), None)],
)
def test_declared_bytes_of_an_mp3_are_where_its_flags_say(flags, numbers, declared, tmp_path):
    tag = b"Xing" + b"".join(number.to_bytes(4, "big") for number in (flags, *numbers))
    (tmp_path / "plain.mp3").write_bytes(b"\xff\xfb\x90\x64" + bytes(32) + tag + bytes(200))
    met = read_declared_bytes(tmp_path / "plain.mp3", "MP3")
    assert met == (None if declared is None else declared - 1_441)
    # 300 bytes of an ID3 header come first: 300 is 2 * 128 + 44.
    header = b"ID3\x04\x00\x00\x00\x00\x02\x2c" + bytes(300)
    (tmp_path / "named.mp3").write_bytes(header + (tmp_path / "plain.mp3").read_bytes())
    assert read_declared_bytes(tmp_path / "named.mp3", "MP3") == (None if met is None else met + 310)


def test_declared_bytes_of_an_mp4_with_data_appended_are_none(tmp_path):
    box = (16).to_bytes(4, "big") + b"ftypisom" + bytes(4)
    (tmp_path / "a.mp4").write_bytes(box * 2)
    assert read_declared_bytes(tmp_path / "a.mp4", "MP4") == 32
    (tmp_path / "a.mp4").write_bytes(box * 2 + b"\x7f\xff\xff\xff\x00\x01\x02\x03")
    assert read_declared_bytes(tmp_path / "a.mp4", "MP4") is None


def test_a_wav_written_as_a_stream_declares_no_size(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"RIFF\xff\xff\xff\xffWAVE" + bytes(50))
    assert read_declared_bytes(tmp_path / "a.wav", "WAV") is None
