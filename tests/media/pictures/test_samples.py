"""Samples of more than 8 bits: the depth that they use, missing values, colors."""

import struct
import zlib

import numpy as np
import pytest
from tiff_files import write_samples

from fieldmark.errors import UnreadableMediaError
from fieldmark.media import image
from fieldmark.media.pictures.samples import find_white, scale_integers, stretch
from fieldmark.types import Decoding, MediaLimits

RAMP = np.linspace(0, 1, 64 * 48).reshape(48, 64)
COLORS = np.stack([RAMP, RAMP[::-1], np.full_like(RAMP, 0.5)], axis=-1)


def pixels_of(path):
    [segment] = image.load(path, decoding=Decoding(), limits=MediaLimits())
    return segment.content.pixels.permute(1, 2, 0).numpy()


def write_png(path, samples):
    height, width = samples.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 0 if samples.ndim == 2 else 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ]
    body = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


@pytest.mark.parametrize("write", [write_png, write_samples])
@pytest.mark.parametrize("picture", [RAMP, COLORS], ids=["gray", "colors"])
@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_a_scan_uses_the_whole_range_whatever_its_depth(write, picture, bits, tmp_path):
    samples = np.rint(picture * (2**bits - 1)).astype(np.uint16)
    got = pixels_of(write(tmp_path / "scan", samples)).astype(int)
    expected = picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)
    assert np.abs(got - expected * 255).max() <= 1


@pytest.mark.parametrize("orientation", [3, 6])
def test_a_dark_scan_in_color_is_turned_upright(orientation, tmp_path):
    samples = np.zeros((40, 60, 3), np.uint16)
    samples[:20, :30, 0] = 4095
    got = pixels_of(write_samples(tmp_path / "a.tif", samples, t274=("H", [orientation])))
    assert got.shape == ((40, 60, 3) if orientation == 3 else (60, 40, 3))
    assert (got[-5, -5] if orientation == 3 else got[5, -5]).tolist() == [255, 0, 0]


def test_a_tiff_may_say_what_is_white(tmp_path):
    samples = np.rint(RAMP * 3000).astype(np.uint16)
    got = pixels_of(write_samples(tmp_path / "a.tif", samples, t281=("H", [6000])))
    assert abs(int(got.max()) - 128) <= 1


@pytest.mark.parametrize("picture", [RAMP, COLORS], ids=["gray", "colors"])
def test_floating_point_is_stretched(picture, tmp_path):
    got = pixels_of(write_samples(tmp_path / "a.tif", (picture * 7 - 3).astype(np.float32))).astype(int)
    expected = picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)
    assert np.abs(got - expected * 255).max() <= 1


def test_missing_values_do_not_count():
    samples = np.array([np.nan, np.inf, -3.4e38, 2.0, 4.0, 3.0], np.float32)
    assert stretch(samples).tolist() == [0, 0, 0, 0, 255, 128]
    assert stretch(np.full(3, np.nan)).tolist() == [0, 0, 0]
    assert stretch(np.array([5.0, 5.0])).tolist() == [0, 0]


@pytest.mark.parametrize("dtype", [np.float64, np.float16])
def test_samples_that_cannot_be_read_are_named(dtype, tmp_path):
    path = write_samples(tmp_path / "a.tif", RAMP.astype(dtype))
    with pytest.raises(UnreadableMediaError, match=r"TIFF of 1 floating-point samples of (64|16) bits"):
        pixels_of(path)


@pytest.mark.parametrize(("largest", "white"), [(0, 255), (255, 255), (256, 1023), (4095, 4095), (65535, 65535)])
def test_white_is_the_full_scale_of_the_depth(largest, white):
    assert find_white(largest) == white
    assert find_white(largest, stated=60_000) == (60_000 if largest <= 60_000 else white)


def test_nothing_has_no_samples():
    assert scale_integers(np.zeros((0, 3), np.uint16)).shape == (0, 3)
