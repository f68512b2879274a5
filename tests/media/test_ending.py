"""The end of a file: the size that it declares, and an end that is missing; files are cut in many places."""

from functools import partial

import av
import numpy as np
import pytest
import soundfile

from fieldmark.media.ending import is_cut_off, lacks_index, read_declared_bytes

# ---------------------------------------------------------------- the size that a file declares

NOISE = np.random.default_rng(0).normal(0, 0.1, 16_000 * 4)


def write_sound(path, format_name):
    soundfile.write(path, NOISE, 16_000, format=format_name)


def write_film(path, format_name):
    options = {"movflags": "faststart"} if format_name == "mp4" else {}
    write_pictures(path, format_name, "wmv2" if format_name == "asf" else "mpeg4", options=options)


def write_pictures(path, format_name, codec, *, options):
    pixels = np.random.default_rng(0).integers(0, 255, (30, 64, 64, 3), dtype=np.uint8)
    with av.open(str(path), "w", format=format_name, options=options) as container:
        rate, pixel_format = (25, "yuv420p") if codec == "mpeg2video" else (10, "rgb8" if codec == "gif" else "yuv420p")
        stream = container.add_stream(codec, rate=rate, width=64, height=64, pix_fmt=pixel_format)
        for frame in pixels:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))


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


def test_declared_bytes_of_an_mp4_with_data_appended_are_none(tmp_path):
    box = (16).to_bytes(4, "big") + b"ftypisom" + bytes(4)
    (tmp_path / "a.mp4").write_bytes(box * 2)
    assert read_declared_bytes(tmp_path / "a.mp4", "MP4") == 32
    (tmp_path / "a.mp4").write_bytes(box * 2 + b"\x7f\xff\xff\xff\x00\x01\x02\x03")
    assert read_declared_bytes(tmp_path / "a.mp4", "MP4") is None


def test_a_wav_written_as_a_stream_declares_no_size(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"RIFF\xff\xff\xff\xffWAVE" + bytes(50))
    assert read_declared_bytes(tmp_path / "a.wav", "WAV") is None


# ---------------------------------------------------------------- an end that is missing

FRAGMENTS = {"movflags": "empty_moov", "frag_duration": "500000"}
STREAMS = {  # the container, and how it is written
    "fragments": ("mov,mp4,m4a,3gp,3g2,mj2", partial(write_pictures, codec="libx264", options=FRAGMENTS)),
    "flv": ("flv", partial(write_pictures, codec="flv1", options={})),
    "mpegts": ("mpegts", partial(write_pictures, codec="libx264", options={})),
    "mpeg": ("mpeg", partial(write_pictures, codec="mpeg2video", options={})),
    "live": ("matroska,webm", partial(write_pictures, codec="libx264", options={"live": "1"})),
    "gif": ("gif", partial(write_pictures, codec="gif", options={})),
}
FORMATS = {"fragments": "mp4", "mpeg": "vob", "live": "matroska"}


@pytest.fixture(scope="module", params=STREAMS)
def stream(request, tmp_path_factory):
    """A stream without a declared size: its container, and its bytes."""
    path = tmp_path_factory.mktemp("streams") / "file"
    container, write = STREAMS[request.param]
    write(path, FORMATS.get(request.param, request.param))
    return container, path.read_bytes()


def test_a_whole_stream_is_not_cut_off(stream, tmp_path):
    container, whole = stream
    path = tmp_path / "file"
    for junk in (b"", bytes(4_096)):
        path.write_bytes(whole + junk)
        assert not is_cut_off(path, container)


def test_a_stream_that_ends_within_one_of_its_parts_is_cut_off(stream, tmp_path):
    container, whole = stream
    path = tmp_path / "file"
    found = 0
    cuts = np.random.default_rng(0).integers(len(whole) // 4, len(whole) - 4, 40)
    for cut in cuts:
        path.write_bytes(whole[:cut])
        found += is_cut_off(path, container)
    assert found >= 39, "a cut exactly between two parts may go unseen"


def test_a_transport_stream_cut_between_its_packets_is_cut_off(tmp_path):
    path = tmp_path / "a.ts"
    write_pictures(path, "mpegts", "libx264", options={})
    whole = path.read_bytes()
    inner = [at for at in range(188 * 20, len(whole), 188) if _is_inner(whole[at : at + 188])]
    for cut in inner[:: len(inner) // 10]:
        path.write_bytes(whole[:cut])
        assert is_cut_off(path, "mpegts")


def _is_inner(packet):
    """Whether a transport packet of the video goes on with what the one before began."""
    return packet[1] & 0x5F == 1 and packet[2] == 0


def test_a_fragment_broken_inside_is_an_end_before_the_end(tmp_path):
    path = tmp_path / "a.mp4"
    write_pictures(path, "mp4", "libx264", options=FRAGMENTS)
    whole = path.read_bytes()
    assert whole.count(b"moof") > 2
    at = whole.rindex(b"moof", 0, whole.rindex(b"moof"))
    for start, size in ((at - 4, 64), (at + 8, 32)):
        path.write_bytes(whole[:start] + bytes(size) + whole[start + size :])
        assert is_cut_off(path, "mov,mp4,m4a,3gp,3g2,mj2")


def test_an_ogg_without_its_last_page_is_cut_off(tmp_path):
    path = tmp_path / "a.ogg"
    write_sound(path, "OGG")
    whole = path.read_bytes()
    assert not is_cut_off(path, "ogg")
    path.write_bytes(whole[: whole.rindex(b"OggS")])
    assert is_cut_off(path, "ogg")
    at = whole.rindex(b"OggS") + 200
    path.write_bytes(whole[:at] + bytes(50) + whole[at + 50 :])
    assert is_cut_off(path, "ogg"), "FFmpeg drops a page whose check sum is wrong"


def test_an_index_that_is_cut_off_is_lacking(tmp_path):
    path = tmp_path / "a.mp4"
    write_pictures(path, "mp4", "mpeg4", options={})
    whole = path.read_bytes()
    assert not lacks_index(path)
    for cut in (whole.rindex(b"moov") - 4, whole.rindex(b"moov") + 200):
        path.write_bytes(whole[:cut])
        assert lacks_index(path)


@pytest.mark.parametrize(
    "container", ["flv", "mpegts", "mpeg", "ogg", "gif", "matroska,webm", "mov,mp4,m4a,3gp,3g2,mj2"]
)
@pytest.mark.parametrize("content", [b"", b"FLV", b"G" * 400, b"OggS", bytes(5_000), b"\x00\x00\x01\xba" + bytes(3)])
def test_the_end_of_a_damaged_file_never_fails(container, content, tmp_path):
    (tmp_path / "file").write_bytes(content)
    assert is_cut_off(tmp_path / "file", container) in (True, False)
