from itertools import pairwise

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldmark.errors import UnreadableMediaError
from fieldmark.media.container import (
    find_picture_stream,
    find_sound_stream,
    open_container,
    pick_equally_spaced,
    read_packet_times,
    start_again,
)


@given(count=st.integers(0, 500), limit=st.integers(1, 60))
def test_equally_spaced_places_lie_evenly(count, limit):
    places = pick_equally_spaced(count, limit=limit)
    assert len(places) == min(count, limit)
    assert places == sorted(set(places))
    assert all(0 <= place < count for place in places)
    gaps = {after - before for before, after in pairwise(places)}
    assert not gaps or max(gaps) - min(gaps) <= 1


def test_equally_spaced_takes_all_without_a_limit_and_the_middle_of_one():
    assert pick_equally_spaced(3, limit=None) == [0, 1, 2]
    assert pick_equally_spaced(9, limit=1) == [4]


@pytest.mark.parametrize(
    "content",
    ["#EXTM3U\n#EXTINF:1,\nsecret.mp4\n", "ffconcat version 1.0\nfile secret.mp4\n", "only words\n" * 50],
    ids=["playlist", "concat script", "prose"],
)
def test_open_container_opens_no_list_of_other_files(content, write_video, tmp_path, limits):
    write_video("secret.mp4", frames=3)
    for suffix in (".m3u8", ".txt", ".ffconcat"):
        path = (tmp_path / "list").with_suffix(suffix)
        path.write_text(content)
        with pytest.raises(UnreadableMediaError), open_container(path, limits=limits):
            pass


@pytest.mark.parametrize("name", ["a b.mp4", "http:x.mp4", "concat:a.mp4|b.mp4", "ä%20ö.mp4", "-i.mp4"])
def test_open_container_takes_a_name_as_a_name(name, write_video, tmp_path, limits):
    path = write_video("plain.mp4", frames=2).rename(tmp_path / name)
    with open_container(path, limits=limits) as container:
        assert find_picture_stream(container) is not None


def test_open_container_reads_past_a_title_that_is_no_utf8(write_video, limits):
    path = write_video("a.mkv", frames=2)
    path.write_bytes(path.read_bytes().replace(b"Lavf", b"\xe9\xe8\xff\xfe"))
    with open_container(path, limits=limits) as container:
        assert find_picture_stream(container) is not None


def read_times(container):
    return list(read_packet_times(container, find_picture_stream(container), from_seconds=0.0))


@pytest.mark.parametrize(
    ("options", "is_same"), [({}, True), ({"movflags": "frag_keyframe"}, False)], ids=["one index", "in fragments"]
)
def test_start_again_gives_every_packet_once_more(options, is_same, tmp_path, limits):
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream("libx264", rate=10, options={"bf": "2", "g": "8"})
        for index in range(30):
            pixels = np.full((48, 64, 3), index * 8, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    with open_container(path, limits=limits) as container:
        times = read_times(container)
        assert len(times) == 30
        with start_again(container, packet_count=len(times), path=path, limits=limits) as again:
            assert (again is container) == is_same
            stream = find_picture_stream(again)
            shown = [frame.to_ndarray(format="gray").mean() for frame in again.decode(stream)]
    assert len(shown) == 30
    assert shown == sorted(shown)
    with open_container(path, limits=limits) as container:
        read_times(container)
        with start_again(container, packet_count=29, path=path, limits=limits) as again:
            assert again is not container  # one packet could not be read
            assert read_times(again) == times


def test_picture_stream_is_not_the_cover_of_a_sound(write_audio, tmp_path, limits):
    path = tmp_path / "cover.mp3"
    with av.open(str(write_audio("plain.mp3"))) as source, av.open(str(path), "w") as container:
        sound = container.add_stream_from_template(source.streams.audio[0])
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 16, 16, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        packets = [*cover.encode(av.VideoFrame(16, 16, "yuvj420p")), *cover.encode(None)]
        for packet in source.demux(audio=0):
            if packet.dts is not None:
                packet.stream = sound
                packets.append(packet)
        for packet in packets:
            container.mux(packet)
    with open_container(path, limits=limits) as container:
        assert len(container.streams.video) == 1
        assert find_picture_stream(container) is None
        assert find_sound_stream(container) is not None
