"""Items page by page, classes, statistics and the map, against what the manifest says."""

from collections import Counter

from fieldmark import Gallery, index
from fieldmark.data.taxonomy import Taxon, Taxonomy, write_taxonomy


def test_items_come_page_by_page_and_each_once(client, toy_items):
    ids, after = [], None
    while True:
        page = client.get("/v1/items", params={"limit": 10, **({"after": after} if after else {})}).json()
        ids += [item["item_id"] for item in page["items"]]
        after = page["next_after"]
        if after is None:
            break
    assert ids == sorted(item.item_id for item in toy_items)


def test_items_are_filtered_in_the_store(client, toy_items):
    name = toy_items[0].class_name
    query = {"media": ["image", "audio"], "class_names": [name], "limit": 100}
    met = [item["item_id"] for item in client.get("/v1/items", params=query).json()["items"]]
    assert met == sorted(i.item_id for i in toy_items if i.medium in {"image", "audio"} and i.class_name == name)


def test_items_are_filtered_by_set_and_a_full_last_page_has_no_next(client, toy_items):
    sets = client.get("/v1/gallery").json()["set_counts"]
    page = client.get("/v1/items", params={"set_names": [*sets], "limit": len(toy_items)}).json()
    assert (len(page["items"]), page["next_after"]) == (len(toy_items), None)
    assert client.get("/v1/items", params={"set_names": ["none such"]}).json()["items"] == []


def test_an_item_is_told_without_any_path(client, toy_items):
    for medium in ("image", "text", "video", "audio"):
        item = next(each for each in toy_items if each.medium == medium)
        met = client.get(f"/v1/items/{item.item_id}").json()
        assert (met["item_id"], met["class_name"], met["name"]) == (item.item_id, item.class_name, item.path.name)
        assert met["segment_count"] == len(met["segments"])
        assert str(item.path.parent) not in client.get(f"/v1/items/{item.item_id}").text
        assert (met["segments"][0]["start_seconds"] is None) == (medium in {"image", "text"})


def test_classes_count_what_the_manifest_holds(client, toy_items):
    expected = Counter((item.class_name, item.medium.value) for item in toy_items)
    classes = client.get("/v1/classes").json()["classes"]
    assert Counter({(c["class_name"], m): n for c in classes for m, n in c["counts"].items()}) == expected
    assert [c["class_name"] for c in classes] == sorted({item.class_name for item in toy_items})


def test_classes_have_the_synonyms_of_the_gallery_s_taxonomy(serve, own_gallery, toy_items):
    name = toy_items[0].class_name
    taxon = Taxon(name, scientific_name="Avis ficta", synonyms=("Some Peep",), names={"de": "Irgendein Piep"})
    write_taxonomy(Taxonomy((taxon,)), own_gallery / "taxonomy.csv")
    classes = serve(folder=own_gallery).get("/v1/classes").json()["classes"]
    own = next(each for each in classes if each["class_name"] == name)
    assert own["synonyms"] == ["Avis ficta", "Some Peep", "Irgendein Piep"]
    assert own["names"] == {"de": "Irgendein Piep"}


def test_statistics_add_up(client, toy_items, toy_gallery):
    met = client.get("/v1/gallery").json()
    assert met["item_count"] == sum(met["counts"].values()) == sum(met["license_counts"].values()) == len(toy_items)
    assert met["class_count"] == 3
    assert met["fingerprint"] == Gallery.open(toy_gallery).index.fingerprint
    assert met["bytes"] == sum(path.stat().st_size for path in toy_gallery.rglob("*") if path.is_file())


def test_the_map_has_each_item_once_and_is_drawn_anew_once_items_come(
    serve, own_gallery, toy_items, toy_runtime, tmp_path
):
    client = serve(folder=own_gallery)
    first = client.get("/v1/map").json()
    assert sorted(point["item_id"] for point in first["points"]) == sorted(item.item_id for item in toy_items)
    assert all(0 <= point[axis] <= 1 for point in first["points"] for axis in "xy")
    assert client.get("/v1/map").json() == first
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "new.txt").write_text("a bird seen at dusk", encoding="utf-8")
    index(tmp_path / "notes", gallery=own_gallery, runtime=toy_runtime)
    assert client.get("/v1/map").json()["item_count"] == len(toy_items) + 1
