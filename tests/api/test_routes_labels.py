"""Marks over HTTP: they re-rank at once, become classes that can be undone, and are exported without paths."""

import csv
import io

import pytest

from fieldmark import Gallery, Item, Medium
from fieldmark.gallery.search.result import MarkedItems

SEARCH = {"queries": [{"text": "a red cap and a trill"}], "k": 60}


@pytest.fixture
def own(serve, own_gallery):
    return serve(folder=own_gallery)


def ids_of(answer):
    return [hit["item_id"] for hit in answer.json()["hits"]]


def test_marks_rank_as_the_library_ranks_with_them(client, toy_gallery, toy_runtime, toy_items):
    liked, disliked = ([item.item_id for item in toy_items[start : start + 3]] for start in (0, 30))
    marks = {"relevant": liked, "irrelevant": disliked}
    met = ids_of(client.post("/v1/search", json={**SEARCH, "marks": marks}))
    gallery = Gallery.open(toy_gallery, runtime=toy_runtime)
    text = Item("query", Medium.TEXT, text=SEARCH["queries"][0]["text"])
    found = gallery.search(text, k=60, marks=MarkedItems(frozenset(liked), frozenset(disliked)))
    assert met == [hit.item_id for hit in found.hits]
    assert met != ids_of(client.post("/v1/search", json=SEARCH))


def test_an_unknown_mark_is_told(client):
    answer = client.post("/v1/search", json={**SEARCH, "marks": {"relevant": ["none such"]}})
    assert (answer.status_code, answer.json()["kind"]) == (404, "unknown_item")


def test_a_hit_marked_right_and_wrong_is_told(client, toy_items):
    both = [toy_items[0].item_id]
    answer = client.post("/v1/search", json={**SEARCH, "marks": {"relevant": both, "irrelevant": both}})
    assert (answer.status_code, answer.json()["kind"]) == (400, "contradictory_marks")
    assert both[0] in answer.json()["message"]


def test_a_class_that_is_given_is_there_and_can_be_undone(own, toy_items):
    ids = [item.item_id for item in toy_items[:3]]
    before = [own.get(f"/v1/items/{each}").json()["class_name"] for each in ids]
    given = own.post("/v1/marks/classes", json={"class_name": "<i>New</i> Wren", "item_ids": ids})
    assert (given.status_code, given.json()["former_names"]) == (201, dict(zip(ids, before, strict=True)))
    assert {own.get(f"/v1/items/{each}").json()["class_name"] for each in ids} == {"<i>New</i> Wren"}
    assert "<i>New</i> Wren" in [each["class_name"] for each in own.get("/v1/classes").json()["classes"]]
    number = given.json()["number"]
    assert [each["number"] for each in own.get("/v1/marks/classes").json()["classes"]] == [number]
    assert own.delete(f"/v1/marks/classes/{number}").json()["is_undone"] is True
    assert [own.get(f"/v1/items/{each}").json()["class_name"] for each in ids] == before
    again = own.delete(f"/v1/marks/classes/{number}")
    assert (again.status_code, again.json()["kind"]) == (404, "unknown_saved_class")


@pytest.mark.parametrize(
    ("wanted", "status"),
    [
        ({"class_name": "", "item_ids": ["x"]}, 400),
        ({"class_name": "  ", "item_ids": ["x"]}, 404),
        ({"class_name": "Wren", "item_ids": []}, 400),
        ({"class_name": "Wren", "item_ids": ["none such"]}, 404),
        ({"class_name": "Wren", "item_ids": ["x"] * 501}, 400),
        ({"class_name": "x" * 300, "item_ids": ["x"]}, 400),
    ],
)
def test_a_class_that_cannot_be_given_is_told(client, wanted, status):
    assert client.post("/v1/marks/classes", json=wanted).status_code == status


@pytest.mark.parametrize("name", ["csv", "dwc"])
def test_an_export_has_a_row_for_each_hit_and_no_folder(client, toy_items, name):
    hits = client.post("/v1/search", json={**SEARCH, "k": 5}).json()["hits"]
    keys = ("item_id", "rank", "score", "probability", "start_seconds", "end_seconds", "margin", "look_alike")
    wanted = {"format": name, "hits": [{key: hit[key] for key in keys} for hit in hits]}
    answer = client.post("/v1/marks/export", json=wanted)
    assert answer.headers["content-disposition"].startswith("attachment; filename=")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    column = "item_id" if name == "csv" else "occurrenceID"
    assert [row[column] for row in rows] == [hit["item_id"] for hit in hits]
    assert str(toy_items[0].path.parents[1]) not in answer.text


@pytest.mark.parametrize("name", ["raven", "audacity"])
def test_moments_of_sounds_are_exported_with_their_times(client, name):
    hits = client.post("/v1/search", json={**SEARCH, "media": ["audio"], "k": 3}).json()["hits"]
    marks = [{"item_id": hit["item_id"], "start_seconds": 0.5, "end_seconds": 1.25} for hit in hits]
    text = client.post("/v1/marks/export", json={"format": name, "hits": marks}).text
    assert text.count("0.500000\t1.250000") == 3
    assert all(hit["name"] in text for hit in hits)


def test_items_are_exported_too_and_nothing_is_refused(client, toy_items):
    wanted = {"format": "csv", "item_ids": [item.item_id for item in toy_items[:4]]}
    rows = list(csv.DictReader(io.StringIO(client.post("/v1/marks/export", json=wanted).text)))
    assert [row["item_id"] for row in rows] == wanted["item_ids"]
    assert client.post("/v1/marks/export", json={"format": "csv"}).status_code == 400
    assert client.post("/v1/marks/export", json={"format": "exe", "item_ids": ["x"]}).status_code == 400
