"""The size that a file declares, and the index that it lacks; files are cut in many places."""

import pytest
from stream_files import write_film, write_pictures, write_sound

from fieldmark.media.ending.declared import lacks_index, read_declared_bytes

KINDS = [
    ("WAV", "WAV", write_sound),
    ("WAV", "RF64", write_sound),
    ("W64", "W64", write_sound),
    ("CAF", "CAF", write_sound),
    ("AU", "AU", write_sound),
    ("AIFF", "AIFF", write_sound),
    ("Ogg", "OGG", write_sound),
    ("MP3", "MP3", write_sound),
    ("MP4", "mp4", write_film),
    ("Matroska", "matroska", write_film),
    ("AVI", "avi", write_film),
    ("ASF", "asf", write_film),
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


@pytest.mark.parametrize(
    "format_name", ["WAV", "W64", "CAF", "AU", "AIFF", "Ogg", "MP3", "MP4", "Matroska", "AVI", "ASF", "JPEG"]
)
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


def test_declared_bytes_of_an_mp3_of_fraunhofer_are_in_its_own_header(tmp_path):
    tag = b"VBRI" + bytes(6) + (9_000).to_bytes(4, "big") + (40).to_bytes(4, "big")
    (tmp_path / "a.mp3").write_bytes(b"\xff\xfb\x90\x64" + bytes(32) + tag + bytes(200))
    assert read_declared_bytes(tmp_path / "a.mp3", "MP3") == 9_000 - 1_441


def test_declared_bytes_of_an_mp4_with_data_appended_are_none(tmp_path):
    box = (16).to_bytes(4, "big") + b"ftypisom" + bytes(4)
    (tmp_path / "a.mp4").write_bytes(box * 2)
    assert read_declared_bytes(tmp_path / "a.mp4", "MP4") == 32
    (tmp_path / "a.mp4").write_bytes(box * 2 + b"\x7f\xff\xff\xff\x00\x01\x02\x03")
    assert read_declared_bytes(tmp_path / "a.mp4", "MP4") is None


def test_a_wav_written_as_a_stream_declares_no_size(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"RIFF\xff\xff\xff\xffWAVE" + bytes(50))
    assert read_declared_bytes(tmp_path / "a.wav", "WAV") is None


def test_an_index_that_is_cut_off_is_lacking(tmp_path):
    path = tmp_path / "a.mp4"
    write_pictures(path, "mp4", "mpeg4", options={})
    whole = path.read_bytes()
    assert not lacks_index(path)
    for cut in (whole.rindex(b"moov") - 4, whole.rindex(b"moov") + 200):
        path.write_bytes(whole[:cut])
        assert lacks_index(path)
