"""Media files, whole and in ranges as RFC 9110 says; thumbnails, spectrograms and waveforms; the memory they keep."""

import io
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fieldmark import Item, Medium, index, read_manifest, write_manifest
from fieldmark.api.routes_media import open_media
from fieldmark.errors import RequestError

RANGES = r"\Abytes=[0-9 ,-]{0,20}\Z"


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


@pytest.mark.parametrize("route", ["waveforms/{}?points=40", "spectrograms/{}?width=64&height=48"])
def test_each_part_of_a_sound_is_measured_for_itself(client, toy_items, route):
    address = f"/v1/{route.format(item_of(toy_items, 'audio'))}"
    first, second = (client.get(f"{address}&start_seconds={start}&end_seconds={start + 0.5}") for start in (0, 1))
    assert first.status_code == second.status_code == 200
    assert first.content != second.content


def test_a_spectrogram_of_another_height_is_drawn_anew(client, toy_items):
    address = f"/v1/spectrograms/{item_of(toy_items, 'audio')}?width=64"
    heights = [Image.open(io.BytesIO(client.get(f"{address}&height={height}").content)).height for height in (32, 80)]
    assert heights == [32, 80]


@pytest.mark.parametrize(
    ("path", "medium", "status"),
    [
        ("thumbnails/{}", "text", 404),
        ("thumbnails/{}", "audio", 404),
        ("spectrograms/{}", "image", 404),
        ("waveforms/{}", "text", 404),
        ("spectrograms/{}", "video", 404),  # the toy clips are silent
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


def test_the_cache_keeps_what_was_asked_for_last_within_its_bytes(serve):
    service = serve(cache_bytes=100).app.state.service
    made = []

    def make(key: str):
        return lambda: made.append(key) or bytes(40)

    for key in ("a", "b", "a", "c", "a", "b"):
        assert len(service.make_once(key, make(key))) == 40
        assert service.cache.currsize <= 100
    assert made == ["a", "b", "c", "b"]
    assert len(service.make_once("large", lambda: bytes(500))) == 500
    assert service.cache.currsize <= 100


# ---------------------------------------------------------------- media files


@pytest.fixture(scope="module")
def song(toy_items) -> Item:
    return next(item for item in toy_items if item.medium is Medium.AUDIO)


@pytest.fixture(scope="module")
def get_range(client, song):
    """Asks for the file of the song with a header `Range`; gives the answer."""

    def get(header):
        return client.get(f"/v1/media/{song.item_id}", headers={"range": header})

    return get


@settings(max_examples=30, deadline=None)
@given(first=st.integers(0, 70_000), length=st.integers(1, 70_000), beyond=st.booleans())
def test_a_range_is_what_slicing_gives(get_range, song, first, length, beyond):
    content = song.path.read_bytes()
    first, last = first % len(content), first % len(content) + length - 1 + beyond * len(content)
    met = get_range(f"bytes={first}-{last}")
    assert (met.status_code, met.content) == (206, content[first : last + 1])
    assert met.headers["content-range"] == f"bytes {first}-{min(last, len(content) - 1)}/{len(content)}"
    assert met.headers["content-length"] == str(len(met.content))


@settings(max_examples=15, deadline=None)
@given(count=st.integers(1, 200_000))
def test_a_suffix_range_is_the_end(get_range, song, count):
    met = get_range(f"bytes=-{count}")
    assert (met.status_code, met.content) == (206, song.path.read_bytes()[-count:])


@pytest.mark.parametrize(
    "header",
    [
        "",
        "bytes=",
        "bytes=-",
        "bytes=a-b",
        "bytes=0-1,3-4",
        "bytes=" + "0-1," * 500,
        "bytes=9-3",
        "lines=0-1",
        "x" * 99,
    ],
)
def test_what_is_no_single_range_sends_the_whole(get_range, song, header):
    met = get_range(header)
    assert (met.status_code, met.content) == (200, song.path.read_bytes())


@pytest.mark.parametrize("header", ["bytes=-0", "bytes=999999999-", "bytes=999999999999999999-"])
def test_a_range_outside_is_refused(get_range, song, header):
    met = get_range(header)
    assert (met.status_code, met.json()["kind"]) == (416, "range")
    assert met.headers["content-range"] == f"bytes */{song.path.stat().st_size}"
    assert "Choose a range inside" in met.json()["message"]


@settings(max_examples=40, deadline=None)
@given(
    header=st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40)
    | st.from_regex(r"\Abytes=[0-9 ,-]{0,20}\Z")
)
def test_any_header_is_a_range_or_none_or_refused(get_range, header):
    assert get_range(header).status_code in {200, 206, 416}


def test_media_are_sent_whole_in_parts_and_not_at_all(client, song):
    url, content = f"/v1/media/{song.item_id}", song.path.read_bytes()
    whole = client.get(url)
    assert (whole.status_code, whole.content, whole.headers["content-type"]) == (200, content, "audio/flac")
    assert whole.headers["x-content-type-options"] == "nosniff"
    assert whole.headers["accept-ranges"] == "bytes"
    part = client.get(url, headers={"range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, content[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(content)}"
    outside = client.get(url, headers={"range": f"bytes={len(content)}-"})
    assert (outside.status_code, outside.headers["content-range"]) == (416, f"bytes */{len(content)}")
    assert outside.json()["kind"] == "range"
    for headers in ({}, {"range": "bytes=0-9"}, {"range": f"bytes={len(content)}-"}):  # a range is for GET only
        head = client.head(url, headers=headers)
        assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(content)))


def test_conditions_are_kept(client, song):
    url, tag = f"/v1/media/{song.item_id}", client.get(f"/v1/media/{song.item_id}").headers["etag"]
    same = client.get(url, headers={"if-none-match": f'"another", {tag}'})
    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", tag)
    assert client.get(url, headers={"if-none-match": '"another"'}).status_code == 200
    date = client.get(url).headers["last-modified"]
    assert client.get(url, headers={"if-modified-since": date}).status_code == 304
    assert client.get(url, headers={"range": "bytes=0-9", "if-range": tag}).status_code == 206
    assert client.get(url, headers={"range": "bytes=0-9", "if-range": '"another"'}).status_code == 200


@pytest.mark.parametrize(
    ("medium", "kind"),
    [("image", "image/jpeg"), ("text", "text/plain"), ("video", "video/mp4"), ("audio", "audio/flac")],
)
def test_the_type_is_told_by_the_content(client, toy_items, medium, kind):
    item = next(each for each in toy_items if each.medium == medium)
    assert client.head(f"/v1/media/{item.item_id}").headers["content-type"].startswith(kind)


def test_a_text_in_another_encoding_is_sent_as_it_was_read(serve, own_gallery, toy_runtime, tmp_path):
    note = "Dzięcioł duży, śpiew krótki, w zaroślach nad łąką"
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "note.txt").write_bytes(note.encode("cp1250"))
    index(tmp_path / "notes", gallery=own_gallery, runtime=toy_runtime)
    client = serve(folder=own_gallery)
    [item_id] = [i["item_id"] for i in client.get("/v1/items?limit=500").json()["items"] if i["name"] == "note.txt"]
    answer = client.get(f"/v1/media/{item_id}")
    assert (answer.text, answer.headers["content-type"]) == (note, "text/plain; charset=utf-8")


def test_a_file_that_is_no_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, tmp_path / "nowhere", Path("/dev/zero")):
        with pytest.raises(RequestError, match="is gone"):
            open_media(Item("item", Medium.AUDIO, path=path))
    with pytest.raises(RequestError, match="has no file"):
        open_media(Item("item", Medium.TEXT, text="words"))


def test_a_file_that_has_gone_is_told_without_its_path(serve, own_gallery, toy_items, toy_runtime, tmp_path):
    song = next(item for item in toy_items if item.medium is Medium.AUDIO)
    (tmp_path / "songs").mkdir()
    shutil.copy(song.path, tmp_path / "songs" / "lost.flac")
    index(tmp_path / "songs", gallery=own_gallery, runtime=toy_runtime)
    (tmp_path / "songs" / "lost.flac").unlink()
    client = serve(folder=own_gallery)
    [item_id] = [i["item_id"] for i in client.get("/v1/items?limit=500").json()["items"] if i["name"] == "lost.flac"]
    for route in ("media", "spectrograms", "waveforms"):
        answer = client.get(f"/v1/{route}/{item_id}")
        assert (answer.status_code, answer.json()["kind"]) == (404, "media_gone")
        assert str(tmp_path) not in answer.text


def test_an_id_full_of_tricks_is_only_an_id(serve, toy_items, toy_run, toy_runtime, tmp_path):
    photo = next(item for item in read_manifest(toy_run.with_name("aviary") / "manifest.csv") if item.medium == "image")
    tricky = ["../../etc/passwd", "/etc/passwd", "a b?c#d", "<script>alert(1)</script>", "it's; DROP TABLE"]
    shutil.copy(photo.path, tmp_path / "photo.jpg")
    items = [Item(each, Medium.IMAGE, path=tmp_path / "photo.jpg", class_name="<b>bold</b>") for each in tricky]
    write_manifest(items, tmp_path / "manifest.csv")
    gallery = index(
        tmp_path / "manifest.csv", checkpoint=toy_run, gallery=tmp_path / "gallery", runtime=toy_runtime
    ).gallery
    client = serve(folder=gallery)
    listed = client.get("/v1/items").json()["items"]
    assert {item["item_id"] for item in listed} == set(tricky)
    for item in listed:
        assert client.get(item["item_url"]).json()["item_id"] == item["item_id"]
        assert client.get(item["media_url"]).content == photo.path.read_bytes()
        assert client.get(item["thumbnail_url"]).headers["content-type"] == "image/jpeg"


@pytest.mark.parametrize(
    "item_id",
    [
        "../../../etc/passwd",
        "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "%00",
        "/etc/passwd",
        "..%5c..%5c",
        "%ff%fe",
        "a" * 5000,
        "'",
    ],
)
@pytest.mark.parametrize("route", ["items", "media", "thumbnails", "spectrograms", "waveforms"])
def test_an_id_from_outside_never_reaches_the_file_system(client, route, item_id):
    answer = client.get(f"/v1/{route}/{item_id}")
    assert answer.status_code == 404
    assert "root:" not in answer.text
    assert len(answer.text) < 1000
