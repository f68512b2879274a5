"""Videos; videos given as numbered pictures, and sound given as a picture of its spectrogram."""

import struct
from fractions import Fraction

import av
import numpy as np
import pytest
import torch

from fieldmark.errors import EmptyMediaError, MissingFileError, TooLargeError, UnreadableMediaError
from fieldmark.media import video
from fieldmark.media.loaders import hash_content, load_segments
from fieldmark.media.video import list_frame_files, split_number
from fieldmark.types import Decoding, Item, MediaLimits, Medium, SpectrogramContent
from product_parts import spectrogram_encoder


def load(path, *, limits=None, start_seconds=None, end_seconds=None, **decoding):
    decoding, limits = Decoding(**decoding), limits or MediaLimits()
    return list(
        video.load(path, decoding=decoding, limits=limits, start_seconds=start_seconds, end_seconds=end_seconds)
    )


def times(segments):
    return [(round(segment.start_seconds, 3), round(segment.end_seconds, 3)) for segment in segments]


def numbers(segment):
    """Which frames of `write_video` a segment holds, told from their brightness."""
    return [round(float(frame.float().mean()) / 8) for frame in segment.content.frames]


@pytest.mark.parametrize("name", ["a.mp4", "a.MOV", "a.mkv", "a.webm", "a.avi", "a.ts", "a.flv", "a.wmv"])
def test_load_reads_the_format(name, write_video):
    segments = load(write_video(name), segment_seconds=1.0, frames_per_segment=2)
    assert times(segments) == [(0, 1), (1, 2), (2, 3)]
    assert [numbers(segment) for segment in segments] == [[2, 7], [12, 17], [22, 27]]
    assert segments[0].content.frames.shape == (2, 3, 48, 64)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.webm", "a.avi", "a.ts"])
def test_load_begins_where_it_is_asked_to(name, write_video):
    segments = load(write_video(name), start_seconds=1.5, end_seconds=2.75, segment_seconds=1.0, frames_per_segment=2)
    assert times(segments) == [(1.5, 2.5), (2.5, 2.75)]
    assert numbers(segments[0])[0] in {17, 18}
    assert numbers(segments[0])[1] == 22


def test_load_takes_the_whole_video_as_one_segment(write_video):
    [segment] = load(write_video("a.mp4"), frames_per_segment=3)
    assert times([segment]) == [(0, 3)]
    assert numbers(segment) == [5, 15, 25]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_load_takes_all_frames_where_there_are_fewer_than_asked(count, write_video):
    [segment] = load(write_video("a.mp4", frames=count), frames_per_segment=25)
    assert numbers(segment) == list(range(count))


def test_load_takes_each_frame_once_where_as_many_are_asked(write_video):
    [segment] = load(write_video("a.mp4"), frames_per_segment=30)
    assert numbers(segment) == list(range(30))


def test_load_keeps_a_short_last_segment(write_video):
    segments = load(write_video("a.mp4", frames=25), segment_seconds=1.0, frames_per_segment=5)
    assert times(segments) == [(0, 1), (1, 2), (2, 2.5)]
    assert numbers(segments[-1]) == [20, 21, 22, 23, 24]


def test_load_leaves_out_a_rest_in_which_no_frame_begins(write_video):
    segments = load(write_video("a.mp4", frames=30), segment_seconds=2.95)
    assert times(segments) == [(0, 2.95)]


def test_load_spaces_frames_in_time_where_the_rate_changes(write_video):
    path = write_video("a.mkv", frames=6, times=[0, 0.1, 0.2, 4.0, 7.0, 8.0])
    [segment] = load(path, end_seconds=8.0, frames_per_segment=4)
    assert numbers(segment) == [2, 3, 4]  # on the screen at 1 and 3, at 5, and at 7 seconds


def test_load_shows_a_frame_until_the_next_one(write_video):
    path = write_video("a.mkv", frames=3, times=[0, 25.0, 30.0])
    segments = load(path, segment_seconds=10.0, frames_per_segment=2)
    assert [numbers(segment) for segment in segments[:3]] == [[0], [0], [0, 1]]
    assert numbers(load(path, start_seconds=10.0, end_seconds=20.0)[0]) == [0]


def test_load_shares_frames_between_overlapping_segments(write_video):
    segments = load(write_video("a.mp4"), segment_seconds=2.0, hop_seconds=0.5, frames_per_segment=2)
    assert times(segments) == [(0, 2), (0.5, 2.5), (1, 3)]
    assert [numbers(segment) for segment in segments] == [[5, 15], [10, 20], [15, 25]]


def test_load_leaves_gaps_where_the_hop_is_longer(write_video):
    segments = load(write_video("a.mp4"), segment_seconds=0.5, hop_seconds=1.25)
    assert times(segments) == [(0, 0.5), (1.25, 1.75), (2.5, 3)]


@pytest.mark.parametrize("name", ["a.mp4", "a.ts"])
def test_load_takes_segments_equally_spaced_from_a_long_video(name, write_video):
    frames = [np.full((32, 32, 3), 2 * (index // 10), np.uint8) for index in range(1_200)]
    segments = load(write_video(name, frames=frames), segment_seconds=2.0, max_segments=3)
    assert times(segments) == [(20, 22), (60, 62), (100, 102)]
    got = [float(segment.content.frames.float().mean()) / 2 for segment in segments]
    assert got == pytest.approx([21, 61, 101], abs=1)


def test_load_scales_the_shortest_side(write_video):
    [segment] = load(write_video("a.mp4"), side_pixels=24)
    assert segment.content.frames.shape == (1, 3, 24, 32)


@pytest.mark.parametrize("turned", [0, 90, -90, 180])
def test_load_turns_frames_upright(turned, write_video):
    stored = np.zeros((48, 64, 3), np.uint8)
    stored[:24, :32] = [255, 0, 0]
    expected = np.rot90(stored, turned // 90)
    [segment] = load(write_video("a.mp4", frames=[stored] * 3, turned=turned))
    got = segment.content.frames[0].permute(1, 2, 0).numpy()
    assert got.shape == expected.shape
    assert np.abs(got.astype(int) - expected).mean() < 8


def test_load_gives_frames_in_red_green_blue(write_video):
    frame = np.full((48, 64, 3), [200, 100, 20], np.uint8)
    [segment] = load(write_video("a.mp4", frames=[frame] * 3))
    np.testing.assert_allclose(segment.content.frames[0].float().mean(dim=(1, 2)), [200, 100, 20], atol=4)


def test_load_reads_an_animated_gif(write_video):
    assert len(load(write_video("a.gif"), segment_seconds=1.0)) == 3


def test_load_tells_a_file_without_pictures(write_audio):
    for name in ("a.m4a", "a.wav"):
        with pytest.raises(EmptyMediaError, match="no moving picture"):
            load(write_audio(name))


def test_load_tells_a_part_with_nothing_in_it(write_video):
    path = write_video("a.mp4")
    for start, end in ((5.0, 6.0), (1.0, 1.0), (2.0, 1.0)):
        with pytest.raises(EmptyMediaError, match="between the two times"):
            load(path, start_seconds=start, end_seconds=end)


def test_load_refuses_what_is_beyond_a_limit(write_video):
    path = write_video("a.mp4")
    for limits, words in (
        (MediaLimits(max_frames=29), r"frames; the limit is 29\..*limits\.max_frames"),
        (MediaLimits(max_seconds=2.0), r"3 seconds; the limit is 2\..*limits\.max_seconds"),
        (MediaLimits(max_pixels=3_000), r"3,072 pixels; the limit is 3,000.*limits\.max_pixels"),
        (MediaLimits(max_bytes=100), r"bytes; the limit is 100\..*limits\.max_bytes"),
    ):
        with pytest.raises(TooLargeError, match=words):
            load(path, limits=limits)
    with pytest.raises(TooLargeError, match="pixels"):
        load(path, limits=MediaLimits(max_pixels=4_000), side_pixels=480)


def test_load_counts_the_part_it_reads_against_the_limits(write_video):
    limits = MediaLimits(max_seconds=1.5, max_frames=15)
    assert times(load(write_video("a.mp4"), limits=limits, start_seconds=1.0, end_seconds=2.0)) == [(1, 2)]


def test_load_tells_missing_empty_and_damaged_files(tmp_path, write_video):
    with pytest.raises(MissingFileError):
        load(tmp_path / "none.mp4")
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(EmptyMediaError):
        load(tmp_path / "empty.mp4")
    data = write_video("a.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) // 2])
    with pytest.raises(UnreadableMediaError):
        load(tmp_path / "cut.mp4")


# ---------------------------------------------------------------- geometry and damage


def display_matrix(a, b, c, d):
    return np.array([[a, b, 0], [c, d, 0], [0, 0, 2**14]], dtype=np.int64) * 2**16


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        ((1, 0, 0, 1), lambda stored: stored),
        ((-1, 0, 0, 1), np.fliplr),
        ((1, 0, 0, -1), np.flipud),
        ((-1, 0, 0, -1), lambda stored: np.rot90(stored, 2)),
        ((0, 1, -1, 0), lambda stored: np.rot90(stored, -1)),
        ((0, -1, 1, 0), lambda stored: np.rot90(stored, 1)),
        ((0, 1, 1, 0), lambda stored: stored.transpose(1, 0, 2)),
        ((0, -1, -1, 0), lambda stored: np.rot90(stored.transpose(1, 0, 2), 2)),
    ],
)
def test_load_follows_the_whole_display_matrix(matrix, expected, write_video):
    stored = np.zeros((48, 64, 3), np.uint8)
    stored[:24, :32] = [255, 0, 0]
    stored[24:, :32] = [0, 0, 255]
    path = write_video("a.mp4", frames=[stored] * 3, turned=90)
    plain = struct.pack(">9i", *display_matrix(0, -1, 1, 0).flatten())[:20]
    data = path.read_bytes()
    at = next(at for at in range(len(data)) if data[at : at + 20] == plain or _is_turn(data[at : at + 20]))
    path.write_bytes(data[:at] + struct.pack(">5i", *display_matrix(*matrix).flatten()[:5]) + data[at + 20 :])
    [segment] = load(path)
    got = segment.content.frames[0].permute(1, 2, 0).numpy().astype(int)
    shown = expected(stored)
    assert got.shape == shown.shape
    assert np.abs(got - shown)[4:-4, 4:-4].mean() < 12


def _is_turn(data):
    """Whether bytes are the first five numbers of a matrix that turns by a quarter, in the header of a track."""
    if len(data) < 20:
        return False
    a, b, _, c, d = struct.unpack(">5i", data)
    return a == d == 0 and abs(b) == 2**16 and c == -b


@pytest.mark.parametrize(("ratio", "shape"), [((4, 3), (48, 85)), ((1, 2), (48, 32)), ((1, 1), (48, 64))])
def test_load_gives_square_pixels(ratio, shape, tmp_path):
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, width=64, height=48, pix_fmt="yuv420p")
        stream.codec_context.sample_aspect_ratio = Fraction(*ratio)
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame(64, 48, "yuv420p")))
        container.mux(stream.encode(None))
    [segment] = load(path)
    assert segment.content.frames.shape[2:] == shape
    [segment] = load(path, side_pixels=24)
    assert min(segment.content.frames.shape[2:]) == 24


def test_load_shows_the_picture_before_where_a_packet_is_empty(write_video):
    path = write_video("a.avi", frames=10)
    data = bytearray(path.read_bytes())
    chunk = data.index(b"movi") + 4
    for number in range(10):  # all chunks but the first and the last lose their bytes to one that nobody reads
        [size] = struct.unpack_from("<I", data, chunk + 4)
        size += size % 2
        if 0 < number < 9:
            data[chunk + 4 : chunk + 16] = bytes(4) + b"JUNK" + struct.pack("<I", size - 8)
        chunk += 8 + size
    path.write_bytes(data)
    segments = load(path, segment_seconds=0.5)
    assert times(segments) == [(0, 0.5), (0.5, 1)]
    assert [numbers(segment) for segment in segments] == [[0], [0]]
    assert [segment.warnings for segment in segments] == [(), ()]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.avi"])
def test_load_passes_over_bad_packets_and_keeps_the_times(name, write_video):
    noise = np.random.default_rng(0).integers(0, 60, (30, 48, 64, 3))
    path = write_video(
        name, frames=list((noise + 5 * np.arange(30)[:, None, None, None]).astype(np.uint8)), codec="mpeg4"
    )
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + bytes(1_000) + data[len(data) // 2 + 1_000 :])
    segments = load(path, segment_seconds=1.0, frames_per_segment=2)
    shown = [float(frame.float().mean()) for segment in segments for frame in segment.content.frames]
    assert segments[-1].end_seconds == pytest.approx(3, abs=0.01)
    assert shown[0] == pytest.approx(shown[-1] - 5 * 25, abs=15), "the last second is still the last"


def test_load_takes_the_first_track_that_is_not_silent(tmp_path):
    path = tmp_path / "a.mkv"
    loud = np.sin(np.arange(48_000) / 10).astype(np.float32)
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("pcm_s16le", rate=48_000, layout="mono") for _ in range(3)]
        packets = []
        for stream, samples in zip(streams, (np.zeros_like(loud), 0.5 * loud, 0.25 * loud), strict=True):
            frame = av.AudioFrame.from_ndarray((samples * 32_767).astype(np.int16)[None], format="s16", layout="mono")
            frame.sample_rate, frame.time_base, frame.pts = 48_000, Fraction(1, 48_000), 0
            packets += [*stream.encode(frame), *stream.encode(None)]
        for packet in packets:
            container.mux(packet)
    item = Item("a", Medium.AUDIO, path=path)
    [segment] = load_segments(item, decoding=Decoding(sample_rate_hz=48_000), limits=MediaLimits())
    assert float(segment.content.waveform.abs().max()) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(
    ("space", "pixel_format", "transfer"),
    [(1, "yuv420p", 1), (9, "yuv420p10le", 1), (9, "yuv420p10le", 16), (9, "yuv420p10le", 18), (5, "yuvj420p", 6)],
)
def test_load_gives_the_colors_that_ffmpeg_gives(space, pixel_format, transfer, tmp_path):
    path = tmp_path / "a.mkv"
    pixels = np.random.default_rng(0).integers(0, 255, (6, 8, 3), dtype=np.uint8).repeat(8, axis=0).repeat(8, axis=1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, width=64, height=48, pix_fmt=pixel_format)
        stream.codec_context.colorspace = space
        stream.codec_context.color_trc = transfer  # 16 and 18 are those of HDR, whose tones FFmpeg does not change
        stream.options = {"qp": "1"}
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    expected = ask_ffmpeg(path)[0]
    [segment] = load(path)
    got = segment.content.frames[0].permute(1, 2, 0).numpy().astype(int)
    assert np.abs(got - expected)[4::8, 4::8].mean() < 2, "in the middle of the patches, where no chroma is blended"


def ask_ffmpeg(path):
    """The frames in RGB as FFmpeg's own filters give them where nothing is asked of them."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        graph = av.filter.Graph()
        ends = graph.add_buffer(template=stream), graph.add("format", "rgb24"), graph.add("buffersink")
        graph.link_nodes(*ends).configure()
        frames = []
        for frame in container.decode(stream):
            graph.push(frame)
            frames.append(graph.pull().to_ndarray().astype(int))
        return frames


def test_load_shows_interlaced_frames_woven_as_ffmpeg_does(tmp_path):
    """Both fields of a frame, line by line: FFmpeg takes none out unless it is asked to."""
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, width=64, height=48, pix_fmt="yuv420p")
        stream.options = {"x264-params": "tff=1", "qp": "1"}
        for number in range(4):
            pixels = np.full((48, 64, 3), 40, np.uint8)
            pixels[0::2, 8 * number : 8 * number + 8] = 220  # the bar of the second field has moved on
            pixels[1::2, 8 * number + 4 : 8 * number + 12] = 220
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    with av.open(str(path)) as container:
        assert next(container.decode(video=0)).interlaced_frame
    [segment] = load(path, frames_per_segment=4)
    expected = ask_ffmpeg(path)
    for got, theirs in zip(segment.content.frames, expected, strict=True):
        assert np.abs(got.permute(1, 2, 0).numpy().astype(int) - theirs).mean() < 2
    first = segment.content.frames[0].float().mean(0)
    assert first[0::2, 0:4].mean() - first[1::2, 0:4].mean() > 100, "the lines of the two fields differ"


# ---------------------------------------------------------------- numbered pictures


@pytest.fixture
def clip(write_image, tmp_path) -> Item:
    """Five pictures of growing brightness, among those of another video, numbered with gaps."""
    for place, number in enumerate((0, 12, 24, 36, 100)):
        write_image(f"a_{number:05d}.png", np.full((20, 30, 3), 10 * place, np.uint8))
    write_image("a_b_00001.png")
    write_image("a_x.png")
    return Item("a", Medium.VIDEO, path=tmp_path / "a_*.png", extra=(("form", "frames"),))


def brightness(item: Item, limits: MediaLimits, **decoding) -> list[list[int]]:
    segments = load_segments(item, decoding=Decoding(**decoding), limits=limits)
    return [segment.content.frames[:, 0, 0, 0].tolist() for segment in segments]


def test_frames_of_one_video_come_in_the_order_of_their_numbers(clip, limits):
    assert [path.name for path in list_frame_files(clip.path)] == [f"a_{n:05d}.png" for n in (0, 12, 24, 36, 100)]
    assert brightness(clip, limits, frames_per_segment=9) == [[0, 10, 20, 30, 40]]
    assert brightness(clip, limits, segment_seconds=2.0, frames_per_segment=2) == [[0, 10], [20, 30], [40]]
    assert brightness(clip, limits, segment_seconds=1.0, max_segments=2) == [[10], [30]]


def test_frames_between_two_times(clip, limits):
    part = Item("part", Medium.VIDEO, path=clip.path, start_seconds=1.0, end_seconds=3.0, extra=clip.extra)
    assert brightness(part, limits, frames_per_segment=9) == [[10, 20]]
    [segment] = load_segments(part, decoding=Decoding(), limits=limits)
    assert (segment.start_seconds, segment.end_seconds) == (1.0, 3.0)
    # A picture that is on the screen when the time ends belongs to it, and one that begins then does not.
    half = Item("half", Medium.VIDEO, path=clip.path, start_seconds=1.0, end_seconds=2.5, extra=clip.extra)
    assert brightness(half, limits, frames_per_segment=9) == [[10, 20]]
    late = Item("late", Medium.VIDEO, path=clip.path, start_seconds=9.0, extra=clip.extra)
    with pytest.raises(EmptyMediaError):
        list(load_segments(late, decoding=Decoding(), limits=limits))


def test_frames_take_the_size_of_the_first(clip, limits, write_image):
    write_image("a_00012.png", np.full((7, 9, 3), 10, np.uint8))
    [segment] = load_segments(clip, decoding=Decoding(frames_per_segment=5), limits=limits)
    assert segment.content.frames.shape == (5, 3, 20, 30)


def test_frames_hash_covers_every_picture(clip, write_image):
    before = hash_content(clip)
    write_image("a_00100.png", np.full((20, 30, 3), 77, np.uint8))
    assert hash_content(clip) != before


def test_frames_that_are_not_there_or_too_many(clip, limits, tmp_path):
    for name, error in (
        ("z_*.png", MissingFileError),
        ("a.png", UnreadableMediaError),
        ("*_*.png", UnreadableMediaError),
    ):
        with pytest.raises(error):
            list_frame_files(tmp_path / name)
    with pytest.raises(TooLargeError, match="5 frames"):
        list(load_segments(clip, decoding=Decoding(), limits=MediaLimits(max_frames=4)))
    assert list(load_segments(clip, decoding=Decoding(), limits=MediaLimits(max_frames=5)))


@pytest.mark.parametrize(
    ("name", "parts"),
    [("x_y_00012.jpg", ("x_y_", "00012", ".jpg")), ("7.png", ("", "7", ".png")), ("none.jpg", ("none", "", ".jpg"))],
)
def test_split_number(name, parts):
    assert split_number(name) == parts


def test_spectrogram_pictures_are_read_as_sound(write_image, limits):
    item = Item("s", Medium.AUDIO, path=write_image("s.png"), extra=(("form", "Spectrogram"),))
    [segment] = load_segments(item, decoding=Decoding(), limits=limits)
    assert isinstance(segment.content, SpectrogramContent)
    pictures = spectrogram_encoder(side_pixels=32).encode([segment])
    assert (pictures.shape, pictures.dtype) == ((1, 3, 32, 32), torch.uint8)


def test_form_is_of_its_medium_only():
    assert Item("x", Medium.IMAGE, extra=(("form", "frames"),)).form is None
    assert Item("x", Medium.AUDIO, extra=(("form", "frames"),)).form is None
