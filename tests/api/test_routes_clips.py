"""Moments over HTTP: cut out of their files, or in a zip with a table; what is nearly identical; areas of the map."""

import csv
import io
import zipfile
from itertools import pairwise

import av
import pytest
import soundfile

from fieldmark import Medium


def find(client, medium):
    """The first hit of a medium, with a moment."""
    hits = client.post("/v1/search", json={"queries": [{"text": "a trill"}], "k": 6, "media": [medium]}).json()["hits"]
    return hits[0]


def mark(hit):
    return {key: hit[key] for key in ("item_id", "rank", "score", "start_seconds", "end_seconds")}


def test_a_moment_of_a_sound_is_the_sound_of_its_file(client, toy_items):
    item = next(item for item in toy_items if item.medium is Medium.AUDIO)
    answer = client.get(f"/v1/clips/{item.item_id}", params={"start_seconds": 0.25, "end_seconds": 0.75})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "audio/wav")
    assert answer.headers["content-disposition"] == f'attachment; filename="{item.item_id}_0.25-0.75s.wav"'
    samples, rate = soundfile.read(io.BytesIO(answer.content))
    original, own_rate = soundfile.read(item.path)
    assert rate == own_rate
    assert len(samples) == pytest.approx(rate / 2, abs=1)
    first = rate // 4
    assert samples == pytest.approx(original[first : first + len(samples)], abs=2e-3)


def test_a_moment_of_a_video_is_as_long_as_it_says_and_upright(client):
    hit = find(client, "video")
    moment = {"start_seconds": 0.5, "end_seconds": 1.5}
    answer = client.get(f"/v1/clips/{hit['item_id']}", params=moment)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "video/mp4")
    with av.open(io.BytesIO(answer.content)) as container:
        assert container.duration / av.time_base == pytest.approx(1.0, abs=0.2)
        frames = [frame.time for frame in container.decode(video=0)]
    assert len(frames) >= 4
    assert frames == sorted(frames)


@pytest.mark.parametrize(
    ("medium", "moment", "status", "kind"),
    [
        (Medium.IMAGE, {}, 404, "refuse_to_show"),
        (Medium.AUDIO, {"start_seconds": 3, "end_seconds": 1}, 400, "out_of_range"),
        (Medium.AUDIO, {"start_seconds": 0, "end_seconds": 999}, 400, "out_of_range"),
    ],
)
def test_what_is_no_moment_is_told(client, toy_items, medium, moment, status, kind):
    item = next(item for item in toy_items if item.medium is medium)
    answer = client.get(f"/v1/clips/{item.item_id}", params=moment)
    assert (answer.status_code, answer.json()["kind"]) == (status, kind)


def test_hits_of_all_media_become_a_zip_whose_table_names_each_file(client):
    hits = [find(client, medium) for medium in Medium]
    answer = client.post("/v1/marks/clips", json={"hits": [mark(hit) for hit in hits], "margin_seconds": 0.5})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/zip")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        rows = list(csv.DictReader(io.StringIO(archive.read("hits.csv").decode())))
        assert [row["item_id"] for row in rows] == [hit["item_id"] for hit in hits]
        assert [row["problem"] for row in rows] == [""] * 4
        assert sorted([*(row["file"] for row in rows), "hits.csv"]) == sorted(archive.namelist())
        assert all(row["file"].startswith(f"{row['medium']}/") for row in rows)
        assert all(archive.read(row["file"]) for row in rows)
    assert all("/" not in (row["path"] or "") for row in rows)


def test_a_zip_that_is_full_says_what_it_leaves_out_and_one_of_too_many_is_refused(serve):
    client = serve(max_zip_bytes=20_000, max_clips=3)
    hits = client.post("/v1/search", json={"queries": [{"text": "a trill"}], "k": 4, "media": ["audio"]}).json()["hits"]
    answer = client.post("/v1/marks/clips", json={"hits": [mark(hit) for hit in hits[:3]]})
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        rows = list(csv.DictReader(io.StringIO(archive.read("hits.csv").decode())))
    assert [bool(row["file"]) for row in rows] == [True, False, False]
    assert "Ask for fewer hits" in rows[1]["problem"]
    refused = client.post("/v1/marks/clips", json={"hits": [mark(hit) for hit in hits]})
    assert (refused.status_code, refused.json()["kind"]) == (400, "out_of_range")


def test_a_file_that_is_gone_costs_one_row_of_the_table(serve, own_gallery, toy_items, monkeypatch):
    client = serve(folder=own_gallery)
    item = next(item for item in toy_items if item.medium is Medium.AUDIO)
    hidden = item.path.with_name("hidden.bin")
    item.path.rename(hidden)
    try:
        answer = client.post("/v1/marks/clips", json={"hits": [{"item_id": item.item_id}]})
    finally:
        hidden.rename(item.path)
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        (row,) = csv.DictReader(io.StringIO(archive.read("hits.csv").decode()))
    assert (row["file"], "'" in row["problem"]) == ("", True)
    assert str(item.path.parent) not in row["problem"]


def test_a_thumbnail_shows_the_whole_picture_and_the_frame_of_a_moment(client, toy_items):
    from PIL import Image

    video = next(item for item in toy_items if item.medium is Medium.VIDEO)
    with av.open(str(video.path)) as container:
        stream = container.streams.video[0]
        shape = stream.width / stream.height
    pictures = []
    for at in (0.1, 1.6):
        parameters = {"pixels": 64, "whole": True, "at_seconds": at}
        content = client.get(f"/v1/thumbnails/{video.item_id}", params=parameters).content
        pictures.append(Image.open(io.BytesIO(content)))
    assert max(pictures[0].size) == 64
    assert pictures[0].width / pictures[0].height == pytest.approx(shape, abs=0.05)
    assert pictures[0].tobytes() != pictures[1].tobytes()
    late = client.get(f"/v1/thumbnails/{video.item_id}", params={"at_seconds": 9e9})
    assert late.status_code in (400, 422)


def test_contrast_darkens_what_is_quiet(client, toy_items):
    import numpy as np
    from PIL import Image

    item = next(item for item in toy_items if item.medium is Medium.AUDIO)
    light, dark = (
        np.asarray(
            Image.open(io.BytesIO(client.get(f"/v1/spectrograms/{item.item_id}", params={"floor_db": floor}).content))
        )
        for floor in (100, 20)
    )
    assert light.mean() > dark.mean() + 10


def test_what_is_nearly_identical_is_grouped(client, serve, own_gallery, toy_items):
    photos = [item for item in toy_items if item.medium is Medium.IMAGE]
    ids = [item.item_id for item in photos]
    answer = client.post("/v1/marks/alike", json={"item_ids": ids}).json()
    assert answer == {"groups": [], "pending_count": 0}
    # The same photo under two names.
    copied, kept = photos[1], photos[0]
    content = copied.path.read_bytes()
    copied.path.write_bytes(kept.path.read_bytes())
    try:
        fresh = serve(folder=own_gallery)
        assert fresh.post("/v1/marks/alike", json={"item_ids": ids}).json()["groups"] == [ids[:2]]
    finally:
        copied.path.write_bytes(content)


def test_a_class_notes_who_gave_it_when_and_from_what(serve, own_gallery, toy_items):
    client = serve(folder=own_gallery)
    told = {"saved_by": "Ana", "basis": "selection in: a trill"}
    given = client.post(
        "/v1/marks/classes", json={"class_name": "Wren", "item_ids": [toy_items[0].item_id], **told}
    ).json()
    (listed,) = client.get("/v1/marks/classes").json()["classes"]
    assert {key: listed[key] for key in told} == told
    assert listed["saved_at"] == given["saved_at"]
    assert given["saved_at"].endswith("+00:00")


def test_an_area_of_the_map_is_a_filter(client):
    columns = client.get("/v1/map/columns").json()
    points = client.get("/v1/map").json()["points"]
    assert [columns["item_ids"][0], len(columns["item_ids"])] == [points[0]["item_id"], len(points)]
    assert columns["x"][0] / 65535 == pytest.approx(points[0]["x"], abs=1e-4)
    assert columns["class_names"][columns["label"][0]] == points[0]["class_name"]
    assert columns["media"][columns["medium"][0]] == points[0]["medium"]
    across = sorted(point["x"] for point in points)
    edge = sum(max(pairwise(across), key=lambda pair: pair[1] - pair[0])) / 2  # no item is near it
    area = [[-0.1, -0.1], [edge, -0.1], [edge, 1.1], [-0.1, 1.1]]
    inside = {point["item_id"] for point in points if point["x"] < edge}
    wanted = {"queries": [{"text": "a trill"}], "k": 200, "area": area}
    hits = client.post("/v1/search", json=wanted).json()["hits"]
    assert {hit["item_id"] for hit in hits} == inside
    nowhere = client.post("/v1/search", json={**wanted, "area": [[0, 0], [0, 0], [0, 0]]}).json()
    assert nowhere["hits"] == []
