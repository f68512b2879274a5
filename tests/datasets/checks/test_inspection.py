"""Inspections of hostile files, and those kept between runs."""

import struct
import tracemalloc
import zlib

import numpy as np
import pytest
import soundfile
from PIL import Image

from fieldmark.datasets.checks.inspection import Inspection, InspectionStore, inspect_item
from fieldmark.types import Failure, MediaLimits, Medium

LIMITS = MediaLimits()


@pytest.fixture
def store(tmp_path):
    return InspectionStore(tmp_path / "cache", limits=LIMITS)


def test_store_gives_back_what_was_seen(store, make_item, tmp_path):
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).normal(0, 0.1, 22_050), 22_050)
    Image.effect_noise((40, 40), 90).save(tmp_path / "b.png")
    (tmp_path / "c.txt").write_text("A gull over the sea.")
    items = [
        make_item(Medium.AUDIO, item_id="a.wav"),
        make_item(item_id="b.png"),
        make_item(Medium.TEXT, item_id="c.txt"),
    ]
    seen = [inspect_item(item, limits=LIMITS) for item in items]
    store.put_many(seen)
    kept = store.get_many([each.content_hash for each in seen])
    for each in seen:
        again = kept[each.content_hash]
        assert (again.duration_seconds, again.peak, again.word_count, again.format_name) == (
            each.duration_seconds,
            each.peak,
            each.word_count,
            each.format_name,
        )
        assert again.fingerprint.kind is each.fingerprint.kind
        assert np.array_equal(again.fingerprint.values, each.fingerprint.values)
    assert seen[2].word_count == 5
    assert InspectionStore(tmp_path / "cache", limits=MediaLimits(max_pixels=9)).get_many(list(kept)) == {}


def test_store_keeps_no_failures(store):
    failed = Inspection("x", content_hash="h", failure=Failure("x", "unreadable", "why"))
    store.put_many([failed])
    assert store.get_many(["h"]) == {}


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


def test_a_wav_that_is_cut_off_is_unreadable(make_item, tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(8_000), 8_000)
    whole = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "a.wav").write_bytes(whole[: len(whole) // 2])
    inspection = inspect_item(make_item(Medium.AUDIO, item_id="a.wav"), limits=LIMITS)
    assert inspection.failure.kind == "unreadable"
    assert "cut off: it says that it has 16,044 bytes" in inspection.failure.message
