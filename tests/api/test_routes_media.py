"""Thumbnails, spectrograms and waveforms as they come over HTTP, and the memory they may keep."""

import io

import pytest
from PIL import Image

from fieldmark import Medium
from fieldmark.api.cache import ByteCache


def item_of(items, medium):
    return next(item.item_id for item in items if item.medium == medium)


@pytest.mark.parametrize("medium", ["image", "video"])
def test_a_thumbnail_is_a_square_jpeg_of_the_side_asked_for(client, toy_items, medium):
    answer = client.get(f"/v1/thumbnails/{item_of(toy_items, medium)}?pixels=48")
    picture = Image.open(io.BytesIO(answer.content))
    assert (picture.format, picture.size) == ("JPEG", (48, 48))


def test_a_spectrogram_is_a_png_of_the_size_asked_for(client, toy_items):
    answer = client.get(f"/v1/spectrograms/{item_of(toy_items, 'audio')}?width=120&height=40&start_seconds=0.5")
    picture = Image.open(io.BytesIO(answer.content))
    assert (picture.format, picture.size) == ("PNG", (120, 40))
    assert "max-age" in answer.headers["cache-control"]


def test_a_waveform_has_as_many_points_as_asked_for(client, toy_items):
    met = client.get(f"/v1/waveforms/{item_of(toy_items, 'audio')}?points=50").json()
    assert len(met["low"]) == len(met["high"]) == 50
    assert all(-1 <= low <= high <= 1 for low, high in zip(met["low"], met["high"], strict=True))


@pytest.mark.parametrize(
    ("path", "medium", "status"),
    [
        ("thumbnails/{}", "text", 404),
        ("thumbnails/{}", "audio", 404),
        ("spectrograms/{}", "image", 404),
        ("waveforms/{}", "text", 404),
        ("spectrograms/{}", "video", 422),  # the toy clips are silent
        ("thumbnails/{}?pixels=4000", "image", 400),
        ("thumbnails/{}?pixels=1", "image", 400),
        ("spectrograms/{}?width=99999", "audio", 400),
        ("spectrograms/{}?start_seconds=nan", "audio", 400),
        ("spectrograms/{}?start_seconds=1&end_seconds=0.5", "audio", 400),
        ("spectrograms/{}?start_seconds=100000", "audio", 400),
        ("waveforms/{}?points=100000", "audio", 400),
    ],
)
def test_what_cannot_be_drawn_is_told(client, toy_items, path, medium, status):
    answer = client.get("/v1/" + path.format(item_of(toy_items, medium)))
    assert (answer.status_code, set(answer.json())) == (status, {"kind", "message"})


def test_addresses_are_null_exactly_where_there_is_nothing(client, toy_items):
    expected = {
        Medium.IMAGE: {"media_url", "thumbnail_url"},
        Medium.TEXT: {"media_url"},
        Medium.VIDEO: {"media_url", "thumbnail_url"},
        Medium.AUDIO: {"media_url", "spectrogram_url", "waveform_url"},
    }
    for medium, names in expected.items():
        item = client.get(f"/v1/items/{item_of(toy_items, medium)}").json()
        urls = {name for name, value in item.items() if name.endswith("_url") and value}
        assert urls == names | {"item_url"}
        assert all(client.get(item[name]).status_code == 200 for name in urls)


def test_the_cache_keeps_what_was_asked_for_last_within_its_bytes():
    cache = ByteCache(max_bytes=100)
    made = []

    def make(key: str):
        return lambda: made.append(key) or bytes(40)

    for key in ("a", "b", "a", "c", "a", "b"):
        assert len(cache.get_or_make(key, make(key))) == 40
        assert cache.held_bytes <= 100
    assert made == ["a", "b", "c", "b"]
    assert len(cache.get_or_make("large", lambda: bytes(500))) == 500
    assert cache.held_bytes <= 100
