"""The table of file formats: complete, with no type that a browser runs; and the size that files declare."""

import av
import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from fieldmark import Medium
from fieldmark.media.signatures import (
    FORMATS,
    OPAQUE_TYPE,
    choose_mime_type,
    find_format,
    list_extensions,
    list_media,
    read_declared_bytes,
)


@pytest.mark.parametrize("medium", list(Medium))
@given(head=st.binary(max_size=64) | st.sampled_from([b"<html>", b"<svg xmlns=", b"%PDF-1.7", b"<?xml ", b"#!/bin/sh"]))
def test_choose_mime_type_gives_no_type_that_runs(medium, head):
    kind = choose_mime_type(head, medium=medium)
    assert kind in {OPAQUE_TYPE, "text/plain; charset=utf-8"} or kind.split("/")[0] in {"image", "video", "audio"}
    assert "svg" not in kind


def test_every_type_of_the_table_belongs_to_its_medium():
    for each in FORMATS:
        for medium, (mime_type, _) in each.media.items():
            assert mime_type in {OPAQUE_TYPE, "image/gif"} or mime_type.split("/")[0] == medium
        assert all(extension.startswith(".") and extension == extension.lower() for extension in each.extensions)


@pytest.mark.parametrize(
    ("head", "name", "media", "mime_type"),
    [
        (b"\xff\xd8\xff\xe0", "JPEG", ("image",), "image/jpeg"),
        (b"RIFF\x24\x00\x00\x00WAVEfmt ", "WAV", ("audio",), "audio/wav"),
        (b"RIFF\x24\x00\x00\x00WAVEbext", "WAV", ("audio",), "audio/wav"),
        (b"\x00\x00\x00\x18ftypmp42", "MP4", ("video", "audio"), "video/mp4"),
        (b"\x00\x00\x00\x18ftypM4A ", "M4A", ("audio", "video"), "audio/mp4"),
        (b"\x00\x00\x00\x18ftypheic", "HEIF", ("image",), OPAQUE_TYPE),
        (b"\x00\x00\x00\x18ftypavif", "AVIF", ("image",), "image/avif"),
        (b"OggS\x00\x02", "Ogg", ("audio", "video"), "audio/ogg"),
        (b"ID3\x04\x00", "MP3", ("audio",), "audio/mpeg"),
    ],
)
def test_a_format_is_told_by_how_files_begin(head, name, media, mime_type):
    assert find_format(head).name == name
    assert list_media(head) == media
    assert choose_mime_type(head, medium=Medium(media[0])) == mime_type


@pytest.mark.parametrize(("head", "mime_type"), [(b"\xff\xfb\x90", "audio/mpeg"), (b"\xff\xf1\x50", "audio/aac")])
def test_a_signature_of_two_bytes_names_a_type_and_settles_nothing(head, mime_type):
    assert list_media(head) == ()
    assert choose_mime_type(head, medium=Medium.AUDIO) == mime_type


def test_a_spectrogram_is_sent_as_a_picture_and_a_text_as_text():
    assert choose_mime_type(b"\x89PNG\r\n\x1a\n", medium=Medium.AUDIO) == "image/png"
    assert choose_mime_type(b"\x89PNG\r\n\x1a\n", medium=Medium.TEXT) == "text/plain; charset=utf-8"
    assert choose_mime_type(b"no signature", medium=Medium.VIDEO) == OPAQUE_TYPE


def test_list_extensions_keeps_sound_and_pictures_apart():
    audio, video = list_extensions(Medium.AUDIO), list_extensions(Medium.VIDEO)
    assert {".wav", ".m4a", ".mka", ".ogg", ".wma"} <= audio
    assert {".mp4", ".mkv", ".avi"} <= video
    assert not audio & video


# ---------------------------------------------------------------- the size that a file declares

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
