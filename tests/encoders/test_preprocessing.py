"""Preparing pictures: against Pillow, and against what preprocessor files may hold."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from fieldmark.encoders.preprocessing import ImagePreprocessing, read_preprocessing
from fieldmark.errors import EncoderFilesError
from fieldmark.types import Decoding

PLAIN = {"mean": (0.0,) * 3, "std": (1.0,) * 3, "scale": 1.0}


def noise(height, width):
    return torch.randint(0, 256, (3, height, width), generator=torch.Generator().manual_seed(5), dtype=torch.uint8)


def read(folder, **values):
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps(values), encoding="utf-8")
    return read_preprocessing(path, key="name")


@pytest.mark.parametrize("size", [(40, 60), (60, 40), (10, 17), (24, 24)])
@pytest.mark.parametrize(("interpolation", "resample"), [("bilinear", 2), ("bicubic", 3)])
def test_image_preprocessing_resizes_as_pillow_does(size, interpolation, resample):
    pixels = noise(*size)
    shortest = min(size)
    rows, columns = size[0] * 24 // shortest, size[1] * 24 // shortest
    picture = Image.fromarray(pixels.permute(1, 2, 0).numpy()).resize((columns, rows), Image.Resampling(resample))
    top, left = (rows - 16) // 2, (columns - 16) // 2
    expected = np.asarray(picture)[top : top + 16, left : left + 16].transpose(2, 0, 1)
    preprocessing = ImagePreprocessing(resize_pixels=24, crop_pixels=(16, 16), interpolation=interpolation, **PLAIN)
    assert np.abs(preprocessing.apply(pixels).numpy() - expected).max() <= 1


def test_image_preprocessing_scales_and_normalizes_each_channel():
    pixels = torch.tensor([0, 51, 255], dtype=torch.uint8).view(3, 1, 1).expand(3, 4, 4)
    preprocessing = ImagePreprocessing(
        resize_pixels=None, crop_pixels=(2, 2), mean=(0.5, 0.0, 0.5), std=(0.5, 0.1, 0.25)
    )
    expected = torch.tensor([-1.0, 2.0, 2.0]).view(3, 1, 1).expand(3, 2, 2)
    torch.testing.assert_close(preprocessing.apply(pixels), expected)


def test_image_preprocessing_gives_a_small_picture_a_black_rim():
    pixels = torch.full((3, 1, 2), 9, dtype=torch.uint8)
    prepared = ImagePreprocessing(resize_pixels=None, crop_pixels=(3, 4), **PLAIN).apply(pixels)
    assert prepared[0].tolist() == [[0, 0, 0, 0], [0, 9, 9, 0], [0, 0, 0, 0]]


def test_image_preprocessing_gives_up_the_aspect_for_a_rectangle():
    prepared = ImagePreprocessing(resize_pixels=(6, 5), crop_pixels=(6, 5), **PLAIN).apply(noise(30, 10))
    assert prepared.shape == (3, 6, 5)


def test_image_preprocessing_asks_for_no_more_pixels_than_needed():
    decoding = ImagePreprocessing(resize_pixels=256).decoding(segment_seconds=3.0, frames_per_segment=2)
    assert decoding == Decoding(side_pixels=256, segment_seconds=3.0, frames_per_segment=2)


@pytest.mark.parametrize("size", [(20, 30), (30, 20)])
def test_image_preprocessing_to_a_rectangle_asks_for_its_longer_side(size):
    decoding = ImagePreprocessing(resize_pixels=size).decoding(segment_seconds=3.0, frames_per_segment=2)
    assert decoding.side_pixels == 30


def test_read_preprocessing_takes_over_every_setting(tmp_path):
    assert read(
        tmp_path,
        size={"shortest_edge": 30},
        crop_size={"height": 20, "width": 24},
        image_mean=[0.1, 0.2, 0.3],
        image_std=[1, 2, 3],
        rescale_factor=0.01,
        resample=3,
    ) == ImagePreprocessing(
        resize_pixels=30,
        crop_pixels=(20, 24),
        mean=(0.1, 0.2, 0.3),
        std=(1.0, 2.0, 3.0),
        scale=0.01,
        interpolation="bicubic",
    )


def test_read_preprocessing_leaves_out_what_the_file_switches_off(tmp_path):
    preprocessing = read(
        tmp_path, do_resize=False, do_normalize=False, do_rescale=False, do_center_crop=True, crop_size=8
    )
    assert preprocessing == ImagePreprocessing(resize_pixels=None, crop_pixels=(8, 8), **PLAIN)


def test_read_preprocessing_without_a_crop_keeps_the_whole_resized_picture(tmp_path):
    preprocessing = read(tmp_path, size={"height": 9, "width": 7}, image_mean=[0, 0, 0], image_std=[1, 1, 1])
    assert (preprocessing.resize_pixels, preprocessing.crop_pixels) == ((9, 7), (9, 7))


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"crop_pct": 0.9}, "crop_pct"),
        ({"do_flip_channel_order": True}, "do_flip_channel_order"),
        ({"resample": 1}, "KeyError: 1"),
        ({"size": {"longest_edge": 9}}, "longest_edge"),
        ({"size": "large"}, "large"),
        ({"image_mean": [0.5]}, "three channels"),
        ({"image_std": None}, "three channels"),
        ({"rescale_factor": "big"}, "big"),
        ({"do_resize": False, "do_center_crop": False}, "neither a crop nor a resize"),
    ],
)
def test_read_preprocessing_refuses_what_it_cannot_do(tmp_path, values, named):
    standard = {"size": 9, "crop_size": 8, "image_mean": [0, 0, 0], "image_std": [1, 1, 1]}
    with pytest.raises(EncoderFilesError, match=rf"preprocessor_config\.json.*{named}.*'name'"):
        read(tmp_path, **{**standard, **values})


@pytest.mark.parametrize("text", ["", "[1, 2]", "{", '"text"', "{}"])
def test_read_preprocessing_refuses_a_broken_file(tmp_path, text):
    path = tmp_path / "preprocessor_config.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(EncoderFilesError, match="describes no known way to prepare images"):
        read_preprocessing(path, key="name")
