"""Two files joined to one: the second is never lost in silence."""

import av
import numpy as np
import pytest

from fieldmark.media.joined import JOINED, warn_of_joined_file
from fieldmark.media.loaders import load_segments
from fieldmark.types import Decoding, Item, MediaLimits, Medium


def write_sound(path, *, codec, samples=30_001):
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=8_000, layout="mono")
        kind = "s16" if codec in ("pcm_s16le", "pcm_s16be") else stream.codec_context.format.name
        planar = av.AudioFrame.from_ndarray(
            (np.sin(np.arange(samples) / 7) * 9_000).astype(np.int16)[None], format="s16", layout="mono"
        )
        planar.sample_rate = 8_000
        resampler = av.AudioResampler(format=kind, layout="mono", rate=8_000)
        for frame in (*resampler.resample(planar), None):
            for packet in stream.encode(frame):
                container.mux(packet)


def write_film(path, *, codec):
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(12):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 20 * number, np.uint8), format="rgb24")
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)


FILES = {
    ".wav": (write_sound, "pcm_s16le"),
    ".aiff": (write_sound, "pcm_s16be"),
    ".caf": (write_sound, "pcm_s16be"),
    ".tta": (write_sound, "tta"),
    ".wv": (write_sound, "wavpack"),
    ".m4a": (write_sound, "aac"),
    ".mp4": (write_film, "mpeg4"),
    ".flv": (write_film, "flv1"),
}


@pytest.fixture(params=FILES)
def whole(request, tmp_path):
    write, codec = FILES[request.param]
    path = tmp_path / f"whole{request.param}"
    write(path, codec=codec)
    return path


def load(path):
    medium = Medium.VIDEO if path.suffix in (".mp4", ".flv") else Medium.AUDIO
    return list(load_segments(Item("a", medium, path=path), decoding=Decoding(), limits=MediaLimits()))


def test_a_joined_file_is_named_and_a_whole_one_is_not(whole, tmp_path):
    content = whole.read_bytes()
    joined = tmp_path / f"joined{whole.suffix}"
    joined.write_bytes(2 * content)
    assert JOINED not in [warning.kind for segment in load(whole) for warning in segment.warnings]
    [warning] = [each for segment in load(joined) for each in segment.warnings if each.kind == JOINED]
    assert f"byte {len(content):,} of this one" in warning.message


def test_junk_at_the_end_and_cut_files_are_no_joined_ones(whole, tmp_path):
    content = whole.read_bytes()
    for name, changed in (
        ("junk", content + bytes(4_096)),
        ("cut", content[: len(content) // 2]),
        ("head", content[:9]),
    ):
        path = tmp_path / f"{name}{whole.suffix}"
        path.write_bytes(changed)
        assert not warn_of_joined_file(path)
