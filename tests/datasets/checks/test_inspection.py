"""Inspections of hostile files, and their cache."""

import struct
import tracemalloc
import zlib

import av
import numpy as np
import pytest
import soundfile
from PIL import Image

from fieldmark.datasets.checks.inspection import Inspection, InspectionCache, inspect_item
from fieldmark.types import Failure, MediaLimits, Medium

LIMITS = MediaLimits()


def test_a_bomb_of_a_picture_costs_no_memory(make_item, tmp_path):
    """A PNG of 60,000 x 60,000 pixels in a few hundred kilobytes."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes(60_001 * 600), 9)
    (tmp_path / "bomb.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )
    tracemalloc.start()
    inspection = inspect_item(make_item(item_id="bomb.png"), limits=LIMITS)
    _, most_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert inspection.failure.kind == "too_long"
    assert most_bytes < 20_000_000


def test_a_picture_of_thirty_megapixels_is_no_fault(make_item, tmp_path):
    Image.linear_gradient("L").resize((7_500, 4_000)).save(tmp_path / "large.jpg")
    inspection = inspect_item(make_item(item_id="large.jpg"), limits=LIMITS)
    assert (inspection.failure, inspection.format_name) == (None, "JPEG")


def test_a_long_recording_takes_little_memory(make_item, tmp_path):
    with soundfile.SoundFile(tmp_path / "long.flac", "w", 8_000, 1) as file:
        noise = np.random.default_rng(0).normal(0, 0.1, 8_000 * 60)
        for _ in range(5):
            file.write(noise)
    tracemalloc.start()
    inspection = inspect_item(make_item(Medium.AUDIO, item_id="long.flac"), limits=LIMITS)
    _, most_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert inspection.duration_seconds == pytest.approx(300, abs=0.5)
    assert most_bytes < 40_000_000


def test_a_truncated_wav_gives_what_it_has_and_tells_what_it_lacks(make_item, tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(8_000), 8_000)
    whole = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "a.wav").write_bytes(whole[: len(whole) // 2])
    inspection = inspect_item(make_item(Medium.AUDIO, item_id="a.wav"), limits=LIMITS)
    assert inspection.failure is None
    assert inspection.duration_seconds == pytest.approx(0.5, abs=0.01)
    [warning] = inspection.warnings
    assert warning.kind == "damaged"
    assert "cut off at 0.50: 0.50 seconds are missing" in warning.message


def test_the_peak_is_that_of_the_whole_sound_above_or_below_zero(make_item, tmp_path):
    wave = np.zeros(16_000 * 3)
    wave[8_000:12_000] = -0.75
    soundfile.write(tmp_path / "early.wav", wave, 16_000)
    inspection = inspect_item(make_item(Medium.AUDIO, item_id="early.wav"), limits=LIMITS)
    assert inspection.peak == pytest.approx(0.75, abs=0.001)
    assert inspection.duration_seconds == 3.0


def write_film(path, *, pixels, **options):
    with av.open(str(path), "w", format="mp4", options=options) as container:
        stream = container.add_stream("mpeg4", rate=10, width=64, height=64, pix_fmt="yuv420p")
        for frame in pixels:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))


def test_a_film_that_plays_to_its_half_gives_that_and_tells_what_it_lacks(make_item, tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (30, 64, 64, 3), dtype=np.uint8)
    write_film(tmp_path / "a.mp4", pixels=noise, movflags="faststart")
    whole = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "a.mp4").write_bytes(whole[: len(whole) // 2])
    inspection = inspect_item(make_item(Medium.VIDEO, item_id="a.mp4"), limits=LIMITS)
    assert inspection.failure is None
    assert inspection.duration_seconds == pytest.approx(1.0, abs=0.3)  # its first frames are the largest
    assert "the length that it declares" in inspection.warnings[0].message


def test_a_film_without_its_index_is_reported_as_such_and_not_in_the_words_of_the_decoder(make_item):
    item = make_item(Medium.VIDEO, item_id="film.mp4")
    flat = np.repeat(10 * np.arange(20, dtype=np.uint8), 64 * 64 * 3).reshape(20, 64, 64, 3)
    write_film(item.path, pixels=flat)  # its index stands at its end
    whole = item.path.read_bytes()
    item.path.write_bytes(whole[: whole.index(b"moov") - 50])
    failure = inspect_item(item, limits=LIMITS).failure
    assert failure.kind == "unreadable"
    assert "its index, the 'moov' box, is missing" in failure.message


# ---------------------------------------------------------------- the cache


@pytest.fixture
def cache(tmp_path):
    return InspectionCache(tmp_path / "cache", limits=LIMITS)


def test_cache_returns_what_was_stored(cache, make_item, tmp_path):
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).normal(0, 0.1, 22_050), 22_050)
    Image.effect_noise((40, 40), 90).save(tmp_path / "b.png")
    (tmp_path / "c.txt").write_text("A gull over the sea.")
    items = [
        make_item(Medium.AUDIO, item_id="a.wav"),
        make_item(item_id="b.png"),
        make_item(Medium.TEXT, item_id="c.txt"),
    ]
    stored = [inspect_item(item, limits=LIMITS) for item in items]
    cache.put_many(stored)
    kept = cache.get_many([each.content_hash for each in stored])
    for each in stored:
        again = kept[each.content_hash]
        assert (again.duration_seconds, again.peak, again.word_count, again.format_name) == (
            each.duration_seconds,
            each.peak,
            each.word_count,
            each.format_name,
        )
        assert again.fingerprint.kind is each.fingerprint.kind
        assert np.array_equal(again.fingerprint.values, each.fingerprint.values)
    assert stored[2].word_count == 5
    assert InspectionCache(tmp_path / "cache", limits=MediaLimits(max_pixels=9)).get_many(list(kept)) == {}


def test_cache_stores_no_failures(cache):
    failed = Inspection("x", content_hash="h", failure=Failure("x", "unreadable", "why"))
    cache.put_many([failed])
    assert cache.get_many(["h"]) == {}
