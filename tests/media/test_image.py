import gc
import struct
import zlib

import numpy as np
import pillow_heif
import pytest
from PIL import Image
from tiff_files import describe, write_tiff

from fieldmark.errors import EmptyMediaError, MissingFileError, TooLargeError, UnreadableMediaError
from fieldmark.media import image
from fieldmark.media.loaders import detect_medium
from fieldmark.types import Decoding, MediaLimits, Medium

RED_BESIDE_BLUE = np.zeros((30, 40, 3), np.uint8)
RED_BESIDE_BLUE[:, :20, 0] = RED_BESIDE_BLUE[:, 20:, 2] = 255


# How a picture is stored under each EXIF orientation: what a viewer does, undone.
STORED = {
    1: lambda upright: upright,
    2: np.fliplr,
    3: lambda upright: np.rot90(upright, 2),
    4: np.flipud,
    5: lambda upright: upright.transpose(1, 0, 2),
    6: lambda upright: np.rot90(upright, 1),
    7: lambda upright: np.rot90(upright.transpose(1, 0, 2), 2),
    8: lambda upright: np.rot90(upright, -1),
}


def pixels_of(path, *, side_pixels=None, limits=None):
    """The decoded picture as height x width x channel."""
    [segment] = image.load(path, decoding=Decoding(side_pixels=side_pixels), limits=limits or MediaLimits())
    assert segment.start_seconds is None
    assert segment.end_seconds is None
    return segment.content.pixels.permute(1, 2, 0).numpy()


@pytest.mark.parametrize("suffix", ["jpg", "JPEG", "png", "webp", "gif", "bmp", "tiff", "jp2", "avif"])
def test_load_reads_the_format(suffix, write_image):
    got = pixels_of(write_image(f"a.{suffix}", RED_BESIDE_BLUE))
    assert got.shape == (30, 40, 3)
    assert got.dtype == np.uint8
    assert np.abs(got[5:25, 4:16].astype(int) - [255, 0, 0]).mean() < 6
    assert np.abs(got[5:25, 24:36].astype(int) - [0, 0, 255]).mean() < 6


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tiff"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_load_turns_the_picture_upright(suffix, orientation, write_image, tmp_path):
    corners = np.zeros((30, 40, 3), np.uint8)
    corners[:15, :20], corners[:15, 20:], corners[15:, :20] = [250, 0, 0], [0, 250, 0], [0, 0, 250]
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(STORED[orientation](corners))
    for side, shape in ((None, (30, 40, 3)), (12, (12, 16, 3))):
        got = pixels_of(write_image(f"a.{suffix}", stored, exif=exif.tobytes()), side_pixels=side)
        assert got.shape == shape
        height, width, _ = shape
        quarter = (got[height // 4, width // 4], got[height // 4, -width // 4], got[-height // 4, width // 4])
        assert [int(color.argmax()) for color in quarter] == [0, 1, 2]


def test_load_shows_a_picture_whose_exif_is_damaged(write_image):
    got = pixels_of(write_image("a.jpg", RED_BESIDE_BLUE, exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff garbage"))
    assert got.shape == (30, 40, 3)


@pytest.mark.parametrize(
    ("side", "shape"), [(15, (15, 20, 3)), (60, (60, 80, 3)), (30, (30, 40, 3)), (None, (30, 40, 3))]
)
def test_load_scales_the_shortest_side(side, shape, write_image):
    assert pixels_of(write_image("a.png"), side_pixels=side).shape == shape


def test_load_scales_a_large_jpeg_like_a_png(write_image):
    jpeg = pixels_of(write_image("a.jpg", size=(1601, 1201), quality=95), side_pixels=100)
    png = pixels_of(write_image("a.png", size=(1601, 1201)), side_pixels=100)
    assert jpeg.shape == png.shape == (100, 133, 3)
    assert np.abs(jpeg.astype(int) - png).max() <= 6


def test_load_scales_without_moire(write_image):
    stripes = np.repeat(np.tile([0, 255], 500)[None, :, None], 500, axis=0).repeat(3, axis=2).astype(np.uint8)
    inside = pixels_of(write_image("a.png", stripes), side_pixels=50)[:, 2:-2]
    assert np.abs(inside.astype(int) - 127).max() <= 1


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "P"])
def test_load_puts_transparency_over_white(mode, tmp_path):
    picture = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    picture.putpixel((0, 0), (0, 0, 0, 255))
    path = tmp_path / ("a.tiff" if mode == "PA" else "a.png")
    if mode == "PA":
        picture = picture.convert("LA")
    picture.convert({"PA": "LA"}.get(mode, mode)).save(path)
    got = pixels_of(path)
    assert got[4, 4].tolist() == [255, 255, 255]
    assert got[0, 0].tolist() == [0, 0, 0]


def test_load_reads_a_transparent_color_of_a_palette(tmp_path):
    picture = Image.new("P", (4, 4), 1)
    picture.putpalette([0, 0, 0, 200, 0, 0])
    picture.save(tmp_path / "a.gif", transparency=1)
    assert pixels_of(tmp_path / "a.gif")[0, 0].tolist() == [255, 255, 255]


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_load_scales_sixteen_bits_to_eight(suffix, tmp_path):
    Image.fromarray(np.array([[0, 257 * 100, 65535]], np.uint16)).save(tmp_path / f"a.{suffix}")
    assert pixels_of(tmp_path / f"a.{suffix}")[0, :, 0].tolist() == [0, 100, 255]


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_load_stretches_samples_of_32_bits(dtype, tmp_path):
    Image.fromarray(np.array([[-10, 0, 10]], dtype)).save(tmp_path / "a.tiff")
    assert pixels_of(tmp_path / "a.tiff")[0, :, 0].tolist() == [0, 128, 255]


@pytest.mark.parametrize("mode", ["1", "L", "CMYK", "YCbCr"])
def test_load_gives_rgb_whatever_the_file_holds(mode, tmp_path):
    Image.new("RGB", (8, 8), (255, 255, 255)).convert(mode).save(tmp_path / "a.tiff")
    assert pixels_of(tmp_path / "a.tiff").min() >= 253


def test_load_reads_a_cmyk_jpeg(tmp_path):
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "a.jpg")
    red, green, blue = pixels_of(tmp_path / "a.jpg")[8, 8]
    assert red > 240
    assert max(green, blue) < 15


def test_load_takes_the_first_frame_of_an_animation(tmp_path):
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert pixels_of(tmp_path / "a.gif")[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "gif", "bmp", "tiff", "jp2", "avif"])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_load_refuses_a_picture_that_is_cut_off(suffix, share, write_image, tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    data = write_image(f"a.{suffix}", noise).read_bytes()
    (tmp_path / f"cut.{suffix}").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(UnreadableMediaError, match="Replace the file or drop it"):
        pixels_of(tmp_path / f"cut.{suffix}")


def png_of_size(width, height):
    """A PNG whose header states a size and whose body is a few bytes."""
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"0")),
        (b"IEND", b""),
    ]
    body = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("side", [10_001, 12_000, 60_000])
def test_load_refuses_a_bomb_by_its_header(side, tmp_path):
    (tmp_path / "bomb.png").write_bytes(png_of_size(side, 10_000))
    with pytest.raises(TooLargeError, match=rf"{side * 10_000:,} pixels; the limit is 100,000,000.*limits\.max_pixels"):
        pixels_of(tmp_path / "bomb.png")


def test_load_keeps_to_a_limit_above_that_of_pillow(tmp_path):
    (tmp_path / "large.png").write_bytes(png_of_size(13_500, 13_500))
    with pytest.raises(UnreadableMediaError):  # not too large: only its body is missing
        pixels_of(tmp_path / "large.png", limits=MediaLimits(max_pixels=200_000_000))


def test_load_refuses_a_thread_that_would_be_huge_once_scaled(write_image):
    path = write_image("a.png", size=(20_000, 2))
    with pytest.raises(TooLargeError, match="pixels"):
        pixels_of(path, side_pixels=224)


@pytest.mark.parametrize(
    "content", [b"no picture at all", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"\x89PNG\r\n\x1a\n"]
)
def test_load_refuses_what_is_no_picture(content, tmp_path):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(UnreadableMediaError):
        pixels_of(tmp_path / "a.png")


def test_load_tells_a_missing_and_an_empty_file(tmp_path):
    (tmp_path / "a.png").touch()
    with pytest.raises(EmptyMediaError):
        pixels_of(tmp_path / "a.png")
    with pytest.raises(MissingFileError):
        pixels_of(tmp_path / "b.png")


def test_load_closes_its_file(write_image):
    pixels_of(write_image("a.tiff"))  # a file left open would be a ResourceWarning, which is an error here
    gc.collect()


# ---------------------------------------------------------------- phones, animations, pages


def write_heif(path, pixels, **options):
    pillow_heif.from_pillow(Image.fromarray(pixels)).save(path, **options)
    return path


CORNERS = np.zeros((48, 64, 3), np.uint8)
CORNERS[:24, :32], CORNERS[:24, 32:], CORNERS[24:, :32] = [250, 0, 0], [0, 250, 0], [0, 0, 250]


@pytest.mark.parametrize("name", ["phone.heic", "IMG_1.JPG", "photo.heif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_load_reads_the_photo_of_a_phone_upright(name, orientation, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](CORNERS)))
    pillow_heif.register_heif_opener()
    stored.save(tmp_path / name, format="HEIF", quality=95, exif=exif.tobytes())
    assert detect_medium(tmp_path / name) is Medium.IMAGE
    got = pixels_of(tmp_path / name)
    assert got.shape == (48, 64, 3)
    assert [int(got[row, column].argmax()) for row, column in ((12, 16), (12, 48), (36, 16))] == [0, 1, 2]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_load_turns_an_avif_upright(orientation, write_image):
    exif = Image.Exif()
    exif[0x0112] = orientation
    got = pixels_of(write_image("a.avif", np.ascontiguousarray(STORED[orientation](CORNERS)), exif=exif.tobytes()))
    assert got.shape == (48, 64, 3)
    assert [int(got[row, column].argmax()) for row, column in ((12, 16), (12, 48), (36, 16))] == [0, 1, 2]


@pytest.mark.parametrize("bits", [8, 10, 12])
def test_load_reads_a_heif_of_any_depth(bits, tmp_path):
    samples = np.zeros((48, 64, 3), np.uint16)
    samples[:, :32, 0] = 65535
    if bits == 8:
        write_heif(tmp_path / "a.heic", (samples // 257).astype(np.uint8), quality=95)
    else:
        pillow_heif.options.SAVE_HDR_TO_12_BIT = bits == 12
        pillow_heif.from_bytes("RGB;16", (64, 48), samples.tobytes()).save(tmp_path / "a.heic", quality=95)
        pillow_heif.options.SAVE_HDR_TO_12_BIT = False
    got = pixels_of(tmp_path / "a.heic")
    assert got[24, 8, 0] > 240
    assert got[24, 56].max() < 15


def test_load_takes_the_main_picture_of_a_heif(tmp_path):
    file = pillow_heif.from_pillow(Image.fromarray(np.zeros((48, 64, 3), np.uint8)))
    file.add_from_pillow(Image.fromarray(CORNERS))
    file.save(tmp_path / "burst.heic", primary_index=1)
    assert pixels_of(tmp_path / "burst.heic")[12, 16, 0] > 200


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.9])
def test_load_refuses_a_heif_that_is_cut_off(share, tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    data = write_heif(tmp_path / "a.heic", noise).read_bytes()
    (tmp_path / "cut.heic").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(UnreadableMediaError):
        pixels_of(tmp_path / "cut.heic")


def test_load_refuses_a_large_heif_by_its_header(tmp_path):
    path = write_heif(tmp_path / "a.heic", np.zeros((100, 101, 3), np.uint8))
    with pytest.raises(TooLargeError, match="pixels"):
        pixels_of(path, limits=MediaLimits(max_pixels=10_000))


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tiff", "avif"])
def test_load_takes_the_first_frame_that_shows_something(suffix, tmp_path):
    blank, gray = (Image.new("RGB", (64, 48), color) for color in ("white", (9, 9, 9)))
    frames = [blank, gray, Image.fromarray(CORNERS), Image.fromarray(CORNERS[::-1].copy())]
    options = {"lossless": True} if suffix == "webp" else {}
    frames[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=frames[1:], duration=100, **options)
    got = pixels_of(tmp_path / f"a.{suffix}").astype(int)
    assert np.abs(got[4:20, 4:28] - [250, 0, 0]).mean() < 12


def test_load_shows_the_first_page_where_all_are_blank(tmp_path):
    pages = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    pages[0].save(tmp_path / "a.tiff", save_all=True, append_images=pages[1:])
    assert pixels_of(tmp_path / "a.tiff")[0, 0].tolist() == [255, 0, 0]


def test_load_passes_over_the_thumbnail_of_a_tiff(tmp_path):
    small = np.zeros((12, 16, 3), np.uint8)
    small[:, :8] = [0, 250, 0]
    pages = [(describe(small, t254=("I", [1])), small.tobytes(), ()), (describe(CORNERS), CORNERS.tobytes(), ())]
    got = pixels_of(write_tiff(tmp_path / "a.tif", pages))
    np.testing.assert_array_equal(got, CORNERS)


def test_load_checks_the_size_of_every_page(tmp_path):
    pages = [Image.new("RGB", size, "white") for size in ((8, 8), (200, 200))]
    pages[0].save(tmp_path / "a.tiff", save_all=True, append_images=pages[1:])
    with pytest.raises(TooLargeError, match="pixels"):
        pixels_of(tmp_path / "a.tiff", limits=MediaLimits(max_pixels=1_000))
