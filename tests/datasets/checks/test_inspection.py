"""Inspections of hostile files."""

import struct
import tracemalloc
import zlib

import numpy as np
import pytest
import soundfile
from PIL import Image

from fieldmark.datasets.checks.inspection import inspect_item
from fieldmark.types import MediaLimits, Medium

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


def test_a_truncated_wav_is_unreadable(make_item, tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(8_000), 8_000)
    whole = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "a.wav").write_bytes(whole[: len(whole) // 2])
    inspection = inspect_item(make_item(Medium.AUDIO, item_id="a.wav"), limits=LIMITS)
    assert inspection.failure.kind == "unreadable"
    assert "truncated: it declares 16,044 bytes" in inspection.failure.message


def test_the_peak_is_that_of_the_whole_sound_above_or_below_zero(make_item, tmp_path):
    wave = np.zeros(16_000 * 3)
    wave[8_000:12_000] = -0.75
    soundfile.write(tmp_path / "early.wav", wave, 16_000)
    inspection = inspect_item(make_item(Medium.AUDIO, item_id="early.wav"), limits=LIMITS)
    assert inspection.peak == pytest.approx(0.75, abs=0.001)
    assert inspection.duration_seconds == 3.0
