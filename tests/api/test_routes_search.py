"""Searches over HTTP: by text, file, item and several at once, with filters, against what the library finds."""

import json

import pytest

from fieldmark import Gallery, Medium


def file_part(path, name=None):
    return ("file", (name or path.name, path.read_bytes()))


@pytest.fixture(scope="module")
def gallery(toy_gallery, toy_runtime):
    return Gallery.open(toy_gallery, runtime=toy_runtime)


@pytest.mark.parametrize("medium", list(Medium))
def test_a_file_of_each_medium_finds_what_the_library_finds(client, gallery, toy_items, medium):
    path = next(item.path for item in toy_items if item.medium is medium)
    answer = client.post("/v1/search", files=[file_part(path)], data={"request": json.dumps({"k": 7})})
    met = answer.json()
    assert met["query"]["medium"] == medium.value
    expected = gallery.search(path, k=7).hits
    assert [hit["item_id"] for hit in met["hits"]] == [hit.item_id for hit in expected]
    assert [hit["score"] for hit in met["hits"]] == pytest.approx([hit.score for hit in expected], abs=1e-6)
    assert [hit["rank"] for hit in met["hits"]] == list(range(1, 8))
    assert all("path" not in hit and "/" not in hit["name"] for hit in met["hits"])
    assert met["seconds"]["encode"] >= 0 <= met["seconds"]["search"]


def test_a_text_finds_what_the_library_finds(client, gallery):
    met = client.post("/v1/search", json={"queries": [{"text": "a red cap and a trill"}], "k": 5}).json()
    expected = gallery.search("a red cap and a trill", k=5).hits
    assert [hit["item_id"] for hit in met["hits"]] == [hit.item_id for hit in expected]


def test_a_text_that_names_a_class_says_so(client, toy_items):
    name = toy_items[0].class_name
    met = client.post("/v1/search", json={"queries": [{"text": name.replace("_", " ").lower()}], "k": 5}).json()
    assert met["query"]["class_name"] == name
    assert {hit["class_name"] for hit in met["hits"]} == {name}


def test_a_text_that_names_a_file_of_the_server_is_a_text(client, toy_items):
    path = next(item.path for item in toy_items if item.medium is Medium.IMAGE)
    for text in (str(path), "/etc/passwd", "../manifest.csv"):
        answer = client.post("/v1/search", json={"queries": [{"text": text}], "k": 1})
        assert (answer.status_code, answer.json()["query"]["media"]) == (200, ["text"])


def test_more_like_an_item_leaves_the_item_out(client, toy_items):
    for medium in Medium:
        item_id = next(item.item_id for item in toy_items if item.medium is medium)
        for media in ([], [medium.value]):
            wanted = {"queries": [{"item_id": item_id}], "k": 200} | ({"media": media} if media else {})
            hits = client.post("/v1/search", json=wanted).json()["hits"]
            others = {item.item_id for item in toy_items if item.medium is medium or not media} - {item_id}
            assert sorted(hit["item_id"] for hit in hits) == sorted(others)


def test_files_texts_and_items_are_asked_at_once(client, toy_items):
    photo = next(item for item in toy_items if item.medium is Medium.IMAGE)
    song = next(item for item in toy_items if item.medium is Medium.AUDIO)
    wanted = {"queries": [{"text": "a bird"}, {"item_id": song.item_id}], "k": 3}
    answer = client.post("/v1/search", files=[file_part(photo.path)], data={"request": json.dumps(wanted)})
    assert sorted(answer.json()["query"]["media"]) == ["audio", "image", "text"]
    assert len(answer.json()["hits"]) == 3


def test_filters_are_kept_and_k_counts_what_is_left(client, toy_items):
    names = sorted({item.class_name for item in toy_items})[:2]
    wanted = {"queries": [{"text": "a bird"}], "k": 10, "media": ["video", "audio"], "class_names": names}
    hits = client.post("/v1/search", json=wanted).json()["hits"]
    assert len(hits) == 10
    assert all(hit["medium"] in {"video", "audio"} and hit["class_name"] in names for hit in hits)
    group = hits[0]["group"]
    [only] = client.post("/v1/search", json={**wanted, "groups": [group], "media": [hits[0]["medium"]]}).json()["hits"][
        :1
    ]
    assert only["group"] == group
    for unknown in ({"licenses": ["none such"]}, {"set_names": ["none such"]}):
        answer = client.post("/v1/search", json={**wanted, **unknown})
        assert (answer.status_code, answer.json()["kind"]) == (404, "unknown_name")


def test_conditions_alone_list_what_meets_them_and_nothing_at_all_is_told(client, toy_items):
    met = client.post("/v1/search", json={"facts": {"has_no": ["date"]}, "media": ["audio"], "k": 50}).json()
    expected = sorted(item.item_id for item in toy_items if item.medium is Medium.AUDIO and item.event_date is None)
    assert met["query"]["is_listing"]
    assert [hit["item_id"] for hit in met["hits"]] == expected[:50] != []
    assert {(hit["is_compared"], hit["score"]) for hit in met["hits"]} == {(False, 1.0)}
    assert client.post("/v1/search", json={"media": ["audio"]}).json()["kind"] == "bad_request"


def test_k_of_each_medium(client):
    wanted = {"queries": [{"text": "a bird"}], "k": 4, "per_medium": True}
    hits = client.post("/v1/search", json=wanted).json()["hits"]
    assert sorted(hit["medium"] for hit in hits) == sorted(["image", "text", "video", "audio"] * 4)
    assert [hit["rank"] for hit in hits] == list(range(1, 17))
    some = client.post("/v1/search", json={**wanted, "media": ["audio"]}).json()["hits"]
    assert [hit["medium"] for hit in some] == ["audio"] * 4


def test_by_segment_an_item_may_come_more_than_once(client):
    wanted = {"queries": [{"text": "a bird"}], "k": 200, "media": ["video"], "by_segment": True}
    hits = client.post("/v1/search", json=wanted).json()["hits"]
    assert len(hits) > len({hit["item_id"] for hit in hits})
    assert len({(hit["item_id"], hit["start_seconds"]) for hit in hits}) == len(hits)


@pytest.mark.parametrize(
    ("wanted", "kind"),
    [
        ({}, "bad_request"),
        ({"queries": []}, "bad_request"),
        ({"queries": [{}]}, "bad_request"),
        ({"queries": [{"text": "a", "item_id": "b"}]}, "bad_request"),
        ({"queries": [{"text": ""}]}, "bad_request"),
        ({"queries": [{"path": "/etc/passwd"}]}, "bad_request"),
        ({"queries": "a bird"}, "bad_request"),
        ({"queries": [{"text": "a"}], "k": 0}, "bad_request"),
        ({"queries": [{"text": "a"}], "k": 10**9}, "out_of_range"),
        ({"queries": [{"text": "a"}], "k": "many"}, "bad_request"),
        ({"queries": [{"text": "a"}], "media": ["smell"]}, "bad_request"),
        ({"queries": [{"text": "a"}], "kk": 3}, "bad_request"),
        ({"queries": [{"text": "a"}] * 9}, "out_of_range"),
        ({"queries": [{"text": "a"}], "marks": {"relevant": ["x"] * 501}}, "out_of_range"),
        ({"queries": [{"item_id": "x" * 2000}]}, "bad_request"),
        ([], "bad_request"),
    ],
)
def test_what_is_no_search_is_told(client, wanted, kind):
    answer = client.post("/v1/search", json=wanted)
    assert (answer.status_code, answer.json()["kind"]) == (400, kind)
    assert len(answer.text) < 2000


@pytest.mark.parametrize(
    ("query", "status", "kind"),
    [
        ({"item_id": "none such"}, 404, "unknown_item"),
        ({"text": " \n "}, 422, "empty"),
        ({"text": "a\x00b"}, 422, "unreadable"),
        ({"text": "word " * 25_000}, 413, "too_long"),
    ],
)
def test_a_query_that_cannot_be_used_is_told(client, query, status, kind):
    answer = client.post("/v1/search", json={"queries": [query]})
    assert (answer.status_code, answer.json()["kind"]) == (status, kind)
