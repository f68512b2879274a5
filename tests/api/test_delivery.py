"""Files of items: whole, in ranges as RFC 9110 says, with types that no browser runs."""

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldmark import Item, Medium, index, read_manifest, write_manifest
from fieldmark.api.delivery import OPAQUE_TYPE, media_type, open_media, parse_range
from fieldmark.errors import RangeError, RequestError


@pytest.fixture
def song(toy_items) -> Item:
    return next(item for item in toy_items if item.medium is Medium.AUDIO)


@given(st.integers(1, 500), st.integers(0, 600), st.integers(0, 600))
def test_a_range_is_what_slicing_gives(size, first, last):
    content = bytes(place % 251 for place in range(size))
    if last < first:
        assert parse_range(f"bytes={first}-{last}", size=size) is None
    elif first >= size:
        with pytest.raises(RangeError, match="lies outside"):
            parse_range(f"bytes={first}-{last}", size=size)
    else:
        met = parse_range(f"bytes={first}-{last}", size=size)
        assert content[met.start : met.stop] == content[first : last + 1]
        assert met == parse_range(f"bytes={first}-{min(last, size - 1)}", size=size)


@given(st.integers(1, 500), st.integers(1, 600))
def test_a_suffix_range_is_the_end(size, count):
    content = bytes(size)
    met = parse_range(f"bytes=-{count}", size=size)
    assert (met.start, met.stop) == (max(0, size - count), size)
    assert len(content[met.start : met.stop]) == len(content[-count:])


@pytest.mark.parametrize("header", [None, "", "bytes=", "bytes=-", "bytes=a-b", "bytes=0-1,3-4", "lines=0-1", "x" * 99])
def test_what_is_no_single_range_sends_the_whole(header):
    assert parse_range(header, size=10) is None


@pytest.mark.parametrize("header", ["bytes=-0", "bytes=10-", "bytes=999999999999999999-"])
def test_a_range_outside_is_refused(header):
    with pytest.raises(RangeError, match="Choose one inside"):
        parse_range(header, size=10)


@given(st.text(max_size=40))
def test_any_header_is_a_range_or_none_or_refused(header):
    try:
        met = parse_range(header, size=10)
    except RangeError:
        return
    assert met is None or 0 <= met.start < met.stop <= 10


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
    head = client.head(url)
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(content)))


def test_conditions_are_kept(client, song):
    url, tag = f"/v1/media/{song.item_id}", client.get(f"/v1/media/{song.item_id}").headers["etag"]
    assert client.get(url, headers={"if-none-match": tag}).status_code == 304
    assert client.get(url, headers={"range": "bytes=0-9", "if-range": tag}).status_code == 206
    assert client.get(url, headers={"range": "bytes=0-9", "if-range": '"another"'}).status_code == 200


@pytest.mark.parametrize(
    ("medium", "kind"),
    [("image", "image/jpeg"), ("text", "text/plain"), ("video", "video/mp4"), ("audio", "audio/flac")],
)
def test_the_type_is_told_by_the_content(client, toy_items, medium, kind):
    item = next(each for each in toy_items if each.medium == medium)
    assert client.head(f"/v1/media/{item.item_id}").headers["content-type"].startswith(kind)


@pytest.mark.parametrize("medium", list(Medium))
@given(head=st.binary(max_size=64) | st.sampled_from([b"<html>", b"<svg xmlns=", b"%PDF-1.7", b"<?xml ", b"#!/bin/sh"]))
def test_no_content_gets_a_type_that_runs(medium, head):
    kind = media_type(head, medium=medium)
    assert kind in {OPAQUE_TYPE, "text/plain; charset=utf-8"} or kind.split("/")[0] in {"image", "video", "audio"}
    assert "svg" not in kind


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
    for room in ("media", "spectrograms", "waveforms"):
        answer = client.get(f"/v1/{room}/{item_id}")
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
@pytest.mark.parametrize("room", ["items", "media", "thumbnails", "spectrograms", "waveforms"])
def test_an_id_from_outside_never_reaches_the_file_system(client, room, item_id):
    answer = client.get(f"/v1/{room}/{item_id}")
    assert answer.status_code == 404
    assert "root:" not in answer.text
    assert len(answer.text) < 1000
