import hashlib
import math
import random
import time

import numpy as np
import pytest

from fieldmark.errors import (
    EmptyMediaError,
    MediaError,
    MediumMismatchError,
    MissingFileError,
    TooLargeError,
    UnreadableMediaError,
)
from fieldmark.media.loaders import LOADERS, detect_medium, hash_content, load_segments
from fieldmark.types import AudioContent, Decoding, ImageContent, Item, MediaLimits, Medium, TextContent, VideoContent

CONTENT = {
    Medium.IMAGE: ImageContent,
    Medium.TEXT: TextContent,
    Medium.VIDEO: VideoContent,
    Medium.AUDIO: AudioContent,
}
IMAGE_NAMES = ["a.jpg", "a.png", "a.webp", "a.gif", "a.bmp", "a.tiff", "a.jp2", "a.avif"]
AUDIO_NAMES = ["a.wav", "a.flac", "a.ogg", "a.mp3", "a.m4a", "a.aac", "a.opus", "a.webm", "a.aiff", "a.caf", "a.au"]
VIDEO_NAMES = ["a.mp4", "a.mov", "a.mkv", "a.webm", "a.avi", "a.ts", "a.flv", "a.wmv"]


def item_of(path, medium, **fields):
    return Item(item_id="row 1", medium=medium, path=path, **fields)


def load(item, *, limits=None, **decoding):
    return list(load_segments(item, decoding=Decoding(**decoding), limits=limits or MediaLimits()))


@pytest.fixture
def write_any(write_image, write_audio, write_video, tmp_path):
    """Writes a small file of a medium, with or without a format's name."""

    def write(medium, name=None):
        match medium:
            case Medium.IMAGE:
                return write_image(name or "a.jpg")
            case Medium.AUDIO:
                return write_audio(name or "a.ogg", seconds=0.5)
            case Medium.VIDEO:
                return write_video(name or "a.mp4", frames=10)
            case Medium.TEXT:
                path = tmp_path / (name or "a.txt")
                path.write_text("A small bird — with a crest and a white wing bar.", encoding="utf-8")
                return path

    return write


def test_every_medium_has_a_loader():
    assert set(LOADERS) == set(Medium)


@pytest.mark.parametrize(
    ("medium", "name"),
    [
        *[(Medium.IMAGE, name) for name in IMAGE_NAMES],
        *[(Medium.AUDIO, name) for name in AUDIO_NAMES],
        *[(Medium.VIDEO, name) for name in VIDEO_NAMES],
        (Medium.TEXT, "a.txt"),
    ],
)
def test_detect_medium_knows_the_content_under_any_name(medium, name, write_any, tmp_path):
    path = write_any(medium, name)
    assert detect_medium(path) is medium
    for disguise in ("A.TXT", "b.JPG", "c.mp3", "d.Mp4", "e", "f.csv.bak"):
        path = path.rename(tmp_path / disguise)
        assert detect_medium(path) is medium


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize(
    "words",
    [
        "BMW and birds, größer",
        "RIFF says the bird",
        "ID3 tags",
        "II* birds",
        "OggS is a magic",
        "you skip the bird",
        "é",
    ],
)
def test_detect_medium_knows_text_however_it_begins(words, encoding, tmp_path):
    (tmp_path / "a.mp4").write_bytes((words + " and more of it" * 3).encode(encoding))
    assert detect_medium(tmp_path / "a.mp4") is Medium.TEXT


def test_detect_medium_knows_a_long_text_cut_in_a_character(tmp_path):
    (tmp_path / "a").write_text("x" + "ü" * 100_000, encoding="utf-8")
    assert detect_medium(tmp_path / "a") is Medium.TEXT


def test_detect_medium_asks_the_extension_of_a_damaged_container(write_any, tmp_path):
    data = write_any(Medium.VIDEO, "a.mkv").read_bytes()
    for name, medium in (
        ("a.MKA", Medium.AUDIO),
        ("b.mkv", Medium.VIDEO),
        ("c", Medium.VIDEO),
        ("d.txt", Medium.VIDEO),
    ):
        (tmp_path / name).write_bytes(data[:60])
        assert detect_medium(tmp_path / name) is medium


def test_detect_medium_refuses_what_is_none_of_the_four(tmp_path):
    for data in (
        b"\x00" * 5_000,
        bytes(range(256)) * 20,
        b"\x00\x01nothing known\xff" * 9,
    ):
        (tmp_path / "a.mp4").write_bytes(data)
        with pytest.raises(MediaError, match="not an image, text, video or sound"):
            detect_medium(tmp_path / "a.mp4")


def test_detect_medium_tells_missing_and_empty_files(tmp_path):
    with pytest.raises(MissingFileError):
        detect_medium(tmp_path / "none")
    (tmp_path / "empty").touch()
    with pytest.raises(EmptyMediaError):
        detect_medium(tmp_path / "empty")


@pytest.mark.parametrize("medium", list(Medium))
def test_load_segments_gives_the_content_of_the_medium(medium, write_any):
    [segment] = load(item_of(write_any(medium), medium))
    assert type(segment.content) is CONTENT[medium]
    has_time = medium in {Medium.VIDEO, Medium.AUDIO}
    assert (segment.start_seconds is not None) == has_time
    assert (segment.end_seconds is not None) == has_time


@pytest.mark.parametrize("claimed", list(Medium))
@pytest.mark.parametrize("held", list(Medium))
def test_load_segments_refuses_another_medium_than_the_row_says(claimed, held, write_any):
    path = write_any(held)
    if claimed is held:
        return
    with pytest.raises(MediumMismatchError, match=f"holds {held}, but its row says {claimed}"):
        load(item_of(path, claimed))


def test_load_segments_refuses_another_medium_without_a_signature(write_any):
    with pytest.raises(MediumMismatchError, match="holds audio, but its row says text"):
        load(item_of(write_any(Medium.AUDIO, "a.aac"), Medium.TEXT))


def test_load_segments_gives_the_sound_and_the_picture_of_a_video(write_video):
    path = write_video("a.mp4", sound=np.zeros(48_000))
    assert type(load(item_of(path, Medium.AUDIO))[0].content) is AudioContent
    assert type(load(item_of(path, Medium.VIDEO))[0].content) is VideoContent


def test_load_segments_takes_a_moving_gif_for_either(write_video):
    path = write_video("a.gif")
    assert type(load(item_of(path, Medium.IMAGE))[0].content) is ImageContent
    assert len(load(item_of(path, Medium.VIDEO), segment_seconds=1.0)) == 3


def test_load_segments_passes_the_times_of_the_item_on(write_audio, write_video):
    for path, medium in ((write_audio("a.wav", seconds=4.0), Medium.AUDIO), (write_video("a.mp4"), Medium.VIDEO)):
        [segment] = load(item_of(path, medium, start_seconds=1.0, end_seconds=2.5))
        assert (segment.start_seconds, segment.end_seconds) == (1.0, 2.5)


def test_load_segments_reads_a_text_of_the_manifest():
    [segment] = load(Item(item_id="row 1", medium=Medium.TEXT, text="a red bird"))
    assert segment.content == TextContent("a red bird")
    with pytest.raises(EmptyMediaError, match="'row 1' is empty"):
        load(Item(item_id="row 1", medium=Medium.TEXT, text=" "))
    with pytest.raises(EmptyMediaError, match="neither a path nor a text"):
        load(Item(item_id="row 1", medium=Medium.TEXT))


def test_load_segments_tells_missing_empty_and_large_files(tmp_path, write_any):
    (tmp_path / "empty.mp4").touch()
    for medium in Medium:
        with pytest.raises(MissingFileError):
            load(item_of(tmp_path / "none", medium))
        with pytest.raises(EmptyMediaError):
            load(item_of(tmp_path / "empty.mp4", medium))
        with pytest.raises(TooLargeError):
            load(item_of(write_any(medium), medium), limits=MediaLimits(max_bytes=10))


def test_load_segments_keeps_the_error_of_a_damaged_file(write_any, tmp_path):
    for medium, suffix in ((Medium.IMAGE, ".jpg"), (Medium.VIDEO, ".mp4")):
        data = write_any(medium).read_bytes()
        path = tmp_path / f"cut{suffix}"
        path.write_bytes(data[: len(data) // 2])
        with pytest.raises(UnreadableMediaError, match="cannot be decoded"):
            load(item_of(path, medium))


def test_hash_content_is_of_bytes_medium_and_times(write_audio, tmp_path):
    path = write_audio("a.wav")
    copy = tmp_path / "copy.wav"
    copy.write_bytes(path.read_bytes())
    assert hash_content(item_of(path, Medium.AUDIO)) == hash_content(item_of(copy, Medium.AUDIO))
    parts = [(None, None), (0.0, None), (0.0, 1.0), (1.0, None), (None, 1.0)]
    hashes = {hash_content(item_of(path, Medium.AUDIO, start_seconds=a, end_seconds=b)) for a, b in parts}
    hashes.add(hash_content(item_of(path, Medium.VIDEO)))
    assert len(hashes) == 6
    assert all(len(digest) == len(hashlib.sha256().hexdigest()) for digest in hashes)


def test_hash_content_of_a_text_does_not_ask_where_it_stands(tmp_path):
    (tmp_path / "a.txt").write_text("größer", encoding="utf-8")
    in_manifest = Item(item_id="row 1", medium=Medium.TEXT, text="größer")
    assert hash_content(in_manifest) == hash_content(item_of(tmp_path / "a.txt", Medium.TEXT))


def test_hash_content_tells_a_missing_file(tmp_path):
    with pytest.raises(MissingFileError):
        hash_content(item_of(tmp_path / "none", Medium.IMAGE))


def damaged(data, chance):
    """The bytes of a file after one of the accidents that happen to files."""
    changed = bytearray(data)
    match chance.randrange(4):
        case 0:
            return bytes(changed[: chance.randrange(1, len(changed))])
        case 1:
            for _ in range(chance.randrange(1, 20)):
                changed[chance.randrange(len(changed))] = chance.randrange(256)
        case 2:  # headers are short, and most of what a decoder believes stands there
            for _ in range(chance.randrange(1, 6)):
                changed[chance.randrange(min(len(changed), 120))] = chance.choice((0, 1, 127, 128, 255))
        case _:
            start = chance.randrange(len(changed))
            del changed[start : start + chance.randrange(1, 200)]
    return bytes(changed)


@pytest.mark.parametrize(
    ("medium", "name"),
    [
        *[(Medium.IMAGE, name) for name in IMAGE_NAMES],
        *[(Medium.AUDIO, name) for name in AUDIO_NAMES],
        *[(Medium.VIDEO, name) for name in ["a.mp4", "a.mkv", "a.webm", "a.avi", "a.ts", "a.gif"]],
        (Medium.TEXT, "a.txt"),
    ],
)
def test_a_damaged_file_gives_segments_or_a_media_error(medium, name, write_any, capfd):
    path = write_any(medium, name)
    data = path.read_bytes()
    chance = random.Random(name)  # noqa: S311 - a seeded sequence of accidents, no secret
    began = time.monotonic()
    for _ in range(25):
        path.write_bytes(damaged(data, chance) or b"\x00")
        try:
            segments = load(
                item_of(path, medium), segment_seconds=0.2, max_segments=20, side_pixels=16, frames_per_segment=2
            )
            assert segments
        except MediaError as error:
            assert str(path) in str(error) or "row 1" in str(error)  # noqa: PT017 - either outcome is right
    assert time.monotonic() - began < 60
    assert capfd.readouterr().err == ""


@pytest.mark.shared
@pytest.mark.parametrize("medium", list(Medium))
def test_load_segments_reads_real_files(medium, shared_folder):
    folder = shared_folder / "data" / "fgbirds" / medium
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    for path in paths[:: max(1, len(paths) // 25)]:
        assert detect_medium(path) is medium
        segments = load(item_of(path, medium), segment_seconds=3.0, frames_per_segment=4, side_pixels=224)
        assert all(type(segment.content) is CONTENT[medium] for segment in segments)
        assert segments


@pytest.mark.parametrize("form", [None, "spectrogram", "frames"])
@pytest.mark.parametrize("medium", list(Medium))
@pytest.mark.parametrize(
    "content",
    [b"", b"\0" * 64, b"RIFF\x04\0\0\0WAVE", b"\x89PNG\r\n\x1a\n" + b"\0" * 40, b"\xff" * 99],
    ids=["empty", "zeros", "wav", "png", "noise"],
)
def test_whatever_is_wrong_with_an_item_is_a_media_error(form, medium, content, tmp_path):
    path = tmp_path / "x_1.bin"
    path.write_bytes(content)
    shown = tmp_path / "x_*.bin" if form == "frames" and medium is Medium.VIDEO else path
    for odd in ({}, {"start_seconds": math.inf}, {"end_seconds": -1.0}, {"start_seconds": math.nan}):
        item = Item("odd", medium, path=shown, extra=(("form", form),) if form else (), **odd)
        for decoding in (Decoding(), Decoding(side_pixels=8, segment_seconds=1.0, max_segments=2)):
            with pytest.raises(MediaError):
                list(load_segments(item, decoding=decoding, limits=MediaLimits()))
