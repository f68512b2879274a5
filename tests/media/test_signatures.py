"""The table of file formats: complete, with no type that a browser runs."""

import pytest
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
