"""JPEG XL: the size by the header, the pixels by the package, or the name of what to install."""

import sys

import imagecodecs
import numpy as np
import pytest

from fieldmark.errors import TooLargeError, UnreadableMediaError
from fieldmark.media import image
from fieldmark.media.loaders import detect_medium
from fieldmark.media.pictures.jpeg_xl import read_size
from fieldmark.types import Decoding, MediaLimits, Medium

PICTURE = np.zeros((48, 64, 3), np.uint8)
PICTURE[:24, :32] = [250, 0, 0]


def pixels_of(path, *, limits=None):
    [segment] = image.load(path, decoding=Decoding(), limits=limits or MediaLimits())
    return segment.content.pixels.permute(1, 2, 0).numpy()


@pytest.mark.parametrize("usecontainer", [False, True])
def test_a_jpeg_xl_is_read(usecontainer, tmp_path):
    path = tmp_path / "a.jxl"
    path.write_bytes(imagecodecs.jpegxl_encode(PICTURE, lossless=True, usecontainer=usecontainer))
    assert detect_medium(path) is Medium.IMAGE
    np.testing.assert_array_equal(pixels_of(path), PICTURE)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_deep_samples_are_scaled(dtype, tmp_path):
    path = tmp_path / "a.jxl"
    samples = (PICTURE / 250 * (4095 if dtype is np.uint16 else 1)).astype(dtype)
    path.write_bytes(imagecodecs.jpegxl_encode(samples, lossless=True))
    assert pixels_of(path)[5, 5, 0] == 255


@pytest.mark.parametrize(
    "size", [(8, 8), (256, 256), (64, 48), (300, 200), (320, 180), (1000, 10), (1, 1), (2000, 1000), (9000, 3)]
)
def test_the_size_stands_in_the_header(size):
    width, height = size
    data = imagecodecs.jpegxl_encode(np.zeros((height, width, 3), np.uint8), level=1)
    assert read_size(data) == size


def test_a_bomb_is_refused_by_its_header(tmp_path):
    path = tmp_path / "a.jxl"
    path.write_bytes(imagecodecs.jpegxl_encode(np.zeros((1000, 1000, 3), np.uint8), level=1))
    with pytest.raises(TooLargeError, match="pixels"):
        pixels_of(path, limits=MediaLimits(max_pixels=999_999))


@pytest.mark.parametrize("length", [2, 3, 8, 20])
def test_a_cut_off_file_is_refused(length, tmp_path):
    path = tmp_path / "a.jxl"
    path.write_bytes(imagecodecs.jpegxl_encode(PICTURE)[:length])
    with pytest.raises(UnreadableMediaError):
        pixels_of(path)


def test_without_its_reader_it_says_what_to_install(tmp_path, monkeypatch):
    path = tmp_path / "a.jxl"
    path.write_bytes(imagecodecs.jpegxl_encode(PICTURE))
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    with pytest.raises(UnreadableMediaError, match=r"JPEG XL.*fieldmark\[photos\].*or save it as JPEG"):
        pixels_of(path)
