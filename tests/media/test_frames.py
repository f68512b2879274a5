"""Videos given as numbered pictures, and sound given as a picture of its spectrogram."""

import numpy as np
import pytest
import torch

from fieldmark.errors import EmptyMediaError, MissingFileError, TooLargeError, UnreadableMediaError
from fieldmark.media.frames import list_frame_files, split_number
from fieldmark.media.loaders import hash_content, load_segments
from fieldmark.types import Decoding, Item, MediaLimits, Medium, SpectrogramContent
from product_parts import spectrogram_encoder


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
