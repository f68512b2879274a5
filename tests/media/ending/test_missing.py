"""An end that is missing; streams are cut in many places."""

from functools import partial

import numpy as np
import pytest
from stream_files import write_pictures, write_sound

from fieldmark.media.ending.missing import is_cut_off

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


@pytest.mark.parametrize(
    "container", ["flv", "mpegts", "mpeg", "ogg", "gif", "matroska,webm", "mov,mp4,m4a,3gp,3g2,mj2"]
)
@pytest.mark.parametrize("content", [b"", b"FLV", b"G" * 400, b"OggS", bytes(5_000), b"\x00\x00\x01\xba" + bytes(3)])
def test_the_end_of_a_damaged_file_never_fails(container, content, tmp_path):
    (tmp_path / "file").write_bytes(content)
    assert is_cut_off(tmp_path / "file", container) in (True, False)
