"""The cache of inspections."""

import numpy as np
import pytest
import soundfile
from PIL import Image

from fieldmark.datasets.checks.inspection import Inspection, inspect_item
from fieldmark.datasets.checks.inspection_cache import InspectionCache
from fieldmark.types import Failure, MediaLimits, Medium

LIMITS = MediaLimits()


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
