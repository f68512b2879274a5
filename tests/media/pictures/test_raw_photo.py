"""Raw photos: by the largest preview, upright; refused by name where there is only a thumbnail."""

import sys

import numpy as np
import pytest
from tiff_files import make_jpeg, write_raw_photo, write_samples

from fieldmark.errors import UnreadableMediaError
from fieldmark.media import image
from fieldmark.media.loaders import detect_medium
from fieldmark.media.pictures.raw_photo import is_raw_photo
from fieldmark.types import Decoding, MediaLimits, Medium

PREVIEW = np.zeros((600, 800, 3), np.uint8)
PREVIEW[:300, :400] = [250, 0, 0]

RED_AT = {1: (0, 0), 3: (-1, -1), 6: (0, -1), 8: (-1, 0)}


def pixels_of(path):
    [segment] = image.load(path, decoding=Decoding(side_pixels=60), limits=MediaLimits())
    return segment.content.pixels.permute(1, 2, 0).numpy()


@pytest.mark.parametrize("turned", RED_AT)
@pytest.mark.parametrize("name", ["a.dng", "a.NEF", "a.tif"])
def test_a_raw_photo_is_its_preview_turned_upright(turned, name, tmp_path):
    path = write_raw_photo(tmp_path / name, preview=PREVIEW, turned=turned)
    got = pixels_of(path)
    assert got.shape == ((60, 80, 3) if turned in (1, 3) else (80, 60, 3))
    row, column = RED_AT[turned]
    corner = got[got.shape[0] // 4 if row == 0 else -got.shape[0] // 4]
    assert corner[got.shape[1] // 4 if column == 0 else -got.shape[1] // 4][0] > 200
    assert got[..., 1].max() < 30  # the thumbnail is green
    assert detect_medium(path) is Medium.IMAGE


def test_a_raw_photo_with_a_thumbnail_alone_is_refused(tmp_path):
    path = write_raw_photo(tmp_path / "a.dng", preview=None)
    with pytest.raises(UnreadableMediaError, match=r"1600 x 1200 .* thumbnail of 160 x 120; save it as JPEG or TIFF"):
        pixels_of(path)


def test_a_raw_photo_without_its_reader_says_what_to_install(tmp_path, monkeypatch):
    path = write_raw_photo(tmp_path / "a.dng", preview=PREVIEW)
    monkeypatch.setitem(sys.modules, "rawpy", None)
    with pytest.raises(UnreadableMediaError, match=r"raw photo.*fieldmark\[photos\].*or save it as JPEG"):
        pixels_of(path)


HEADS = {
    "CR2": b"II*\x00\x10\x00\x00\x00CR\x02\x00",
    "CR3": b"\x00\x00\x00\x18ftypcrx \x00\x00\x00\x01crx isom",
    "RAF": b"FUJIFILMCCD-RAW 0201FF159503",
    "RW2": b"IIU\x00\x18\x00\x00\x00",
    "ORF": b"IIRO\x08\x00\x00\x00",
    "ORF of Olympus": b"IIRS\x08\x00\x00\x00",
    "ORF of old": b"MMOR\x00\x00\x00\x08",
}


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_a_damaged_raw_photo_is_refused_by_name(head, tmp_path):
    path = tmp_path / "photo"
    path.write_bytes(head + bytes(500))
    assert is_raw_photo(path.read_bytes()[:64], path=path)
    assert detect_medium(path) is Medium.IMAGE
    with pytest.raises(UnreadableMediaError, match="raw photo without a preview"):
        pixels_of(path)


@pytest.mark.parametrize("kind", [*HEADS, "a.nef", "a.arw", "a.dng", "a"])
def test_every_raw_photo_is_refused_by_name_where_its_reader_is_missing(kind, tmp_path, monkeypatch):
    path = tmp_path / (kind if kind not in HEADS else "photo.jpg")
    if kind in HEADS:
        path.write_bytes(HEADS[kind] + bytes(500))
    else:
        write_raw_photo(path, preview=PREVIEW)
    monkeypatch.setitem(sys.modules, "rawpy", None)
    with pytest.raises(UnreadableMediaError, match=r"raw photo.*fieldmark\[photos\].*or save it as JPEG"):
        pixels_of(path)


@pytest.mark.parametrize("name", ["a.dng", "a.NEF", "a.tif"])
def test_a_raw_photo_cut_off_within_its_preview_is_refused(name, tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, PREVIEW.shape, dtype=np.uint8)
    path = write_raw_photo(tmp_path / name, preview=noise, is_data_behind=True)
    assert pixels_of(path).shape == (60, 80, 3)
    whole = path.read_bytes()
    preview = len(make_jpeg(noise))
    start = whole.index(b"\xff\xd8\xff")
    for share in (0.3, 0.6, 0.9, 0.99):
        path.write_bytes(whole[: start + round(share * preview)])
        with pytest.raises(UnreadableMediaError, match=r"raw photo (that is cut off|without a preview)"):
            pixels_of(path)
    path.write_bytes(whole[: start + preview + 1_000])  # in the values of the sensor, which are not used
    assert pixels_of(path).shape == (60, 80, 3)


def test_a_plain_tiff_is_no_raw_photo(tmp_path):
    path = write_samples(tmp_path / "a.tif", PREVIEW)
    assert not is_raw_photo(path.read_bytes()[:64], path=path)
    assert pixels_of(path)[10, 10].tolist() == [250, 0, 0]
