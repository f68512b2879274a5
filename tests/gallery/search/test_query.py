"""The embedding of a query of several segments."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldmark.gallery.search.query import describe_files, pool_segments
from fieldmark.types import Item, Medium
from query_encoders import PlainQueryEncoder

BIRD, NOISE = np.array([1.0, 0.0, 0.0]), np.array([0.0, 0.6, 0.8])


class FakeEncoder(PlainQueryEncoder):
    """Is as sure of a segment as its first value is large."""

    def measure_sureness(self, embedding, *, medium):
        return np.clip(embedding[:, 0], 0, 1)


@given(st.integers(0, 200), st.integers(1, 3))
def test_one_call_is_heard_in_ten_minutes_of_noise(noise_count, call_count):
    rows = np.stack([*[NOISE] * noise_count, *[BIRD] * call_count]).astype(np.float32)
    np.testing.assert_allclose(pool_segments(rows, medium=Medium.AUDIO, encoder=FakeEncoder()), BIRD, atol=1e-6)


def test_segments_that_are_equally_sure_count_alike():
    rows = np.array([[0.6, 0.8, 0.0], [0.6, 0.0, 0.8]], dtype=np.float32)
    pooled = pool_segments(rows, medium=Medium.VIDEO, encoder=FakeEncoder())
    np.testing.assert_allclose(pooled, rows.mean(axis=0) / np.linalg.norm(rows.mean(axis=0)), atol=1e-6)


def test_where_nothing_is_sure_all_segments_count():
    rows = np.stack([NOISE, np.array([0.0, 1.0, 0.0])]).astype(np.float32)
    pooled = pool_segments(rows, medium=Medium.AUDIO, encoder=FakeEncoder())
    np.testing.assert_allclose(pooled, rows.mean(axis=0) / np.linalg.norm(rows.mean(axis=0)), atol=1e-6)


@given(st.lists(st.lists(st.floats(-1, 1), min_size=3, max_size=3), min_size=1, max_size=5))
def test_a_pooled_query_has_length_1(values):
    rows = np.array(values)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    if (length < 0.1).any() or np.linalg.norm((rows / length).sum(axis=0)) < 0.1:
        return
    pooled = pool_segments((rows / length).astype(np.float32), medium=Medium.AUDIO, encoder=FakeEncoder())
    assert np.linalg.norm(pooled) == pytest.approx(1, abs=1e-6)


def test_a_text_under_the_name_of_a_photo_is_named(tmp_path):
    photo, note = tmp_path / "jay.jpg", tmp_path / "jay.txt"
    for path in (photo, note):
        path.write_text("a blue bird with a crest", encoding="utf-8")
    assert describe_files([note, "a blue bird", "jay.jpg"]) == ()
    [told] = describe_files([photo])
    assert told == "'jay.jpg' holds a text and not a photo, as its name says; it was searched as what it holds"
    item = Item("query", Medium.TEXT, path=photo)
    assert describe_files([item, str(photo)]) == (told, told)
