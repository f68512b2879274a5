"""A gallery that is replaced, moved or gone while it is served; and files that links lead to."""

import shutil

import pytest

from fieldmark import Gallery, Medium, index, train
from fieldmark.data.folder import FolderChoice
from fieldmark.errors import GalleryError
from fieldmark.gallery.labels import save_class

SEARCH = {"queries": [{"text": "a red cap and a trill"}], "k": 60}


@pytest.fixture
def photos(toy_items, tmp_path):
    """A folder of four photos, and a fifth outside it."""
    folder = tmp_path / "photos"
    folder.mkdir()
    paths = [item.path for item in toy_items if item.medium is Medium.IMAGE]
    for number, path in enumerate(paths[:4]):
        shutil.copy(path, folder / f"{number}.png")
    shutil.copy(paths[4], tmp_path / "private.png")
    return folder


def replace_folder(old, new):
    """What `rm -r old; cp -a new old` does: times, sizes and often inodes are the same."""
    shutil.rmtree(old)
    shutil.copytree(new, old)


def test_another_state_that_takes_the_place_of_a_gallery_is_served(
    serve, own_gallery, toy_runtime, toy_items, tmp_path
):
    other = shutil.copytree(own_gallery, tmp_path / "other")
    for folder, name in ((own_gallery, "Old"), (other, "New")):  # two states of one version number
        save_class(
            folder, Gallery.open(folder, runtime=toy_runtime).index, class_name=name, item_ids=[toy_items[0].item_id]
        )
    client = serve(folder=own_gallery)
    assert "Old" in {hit["class_name"] for hit in client.post("/v1/search", json=SEARCH).json()["hits"]}
    assert client.get(f"/v1/items/{toy_items[0].item_id}").json()["class_name"] == "Old"
    replace_folder(own_gallery, other)
    names = {hit["class_name"] for hit in client.post("/v1/search", json=SEARCH).json()["hits"]}
    assert "New" in names
    assert "Old" not in names
    assert client.get(f"/v1/items/{toy_items[0].item_id}").json()["class_name"] == "New"
    assert "Old" not in [each["class_name"] for each in client.get("/v1/classes").json()["classes"]]


def test_a_gallery_moved_in_place_is_served(serve, own_gallery, toy_runtime, photos, toy_run, tmp_path):
    index(photos, checkpoint=toy_run, gallery=tmp_path / "small", runtime=toy_runtime)
    client = serve(folder=own_gallery)
    assert client.get("/v1/gallery").json()["item_count"] == 72
    own_gallery.rename(tmp_path / "away")
    gone = client.post("/v1/search", json=SEARCH)
    assert (gone.status_code, gone.json()["kind"]) == (503, "missing_gallery")
    assert str(tmp_path) not in gone.text
    health = client.get("/v1/health")
    assert (health.status_code, health.json()["kind"]) == (503, "missing_gallery")
    assert client.post("/v1/marks/classes", json={"class_name": "A", "item_ids": ["x"]}).status_code == 503
    assert not own_gallery.exists()  # nothing was made in its place
    (tmp_path / "small").rename(own_gallery)
    assert client.get("/v1/health").status_code == 200
    assert len(client.post("/v1/search", json=SEARCH).json()["hits"]) == 4
    assert client.get("/v1/gallery").json()["item_count"] == 4


@pytest.fixture
def foreign(toy_manifest, toy_config, toy_runtime, photos, tmp_path):
    """A gallery made with another model."""
    config = toy_config.model_copy(update={"seed": 9})
    run = train(toy_manifest, out=tmp_path / "run", config=config, runtime=toy_runtime).run
    return index(photos, checkpoint=run, gallery=tmp_path / "foreign", runtime=toy_runtime).gallery


def test_a_gallery_of_another_model_is_refused(serve, own_gallery, toy_runtime, toy_items, foreign):
    client, opened = serve(folder=own_gallery), Gallery.open(own_gallery, runtime=toy_runtime)
    assert opened.search("a bird", k=1).hits
    replace_folder(own_gallery, foreign)
    for _ in range(2):
        answer = client.post("/v1/search", json=SEARCH)
        assert (answer.status_code, answer.json()["kind"]) == (503, "gallery_replaced")
        assert client.get(f"/v1/items/{toy_items[0].item_id}").status_code == 503
        assert client.get("/v1/health").json()["kind"] == "gallery_replaced"
        with pytest.raises(GalleryError, match="open the gallery again"):
            opened.search("a bird", k=1)


def test_an_open_gallery_takes_the_calibration_of_the_last_index(toy_gallery, toy_runtime, toy_items, tmp_path):
    folder = shutil.copytree(toy_gallery, tmp_path / "gallery")
    opened = Gallery.open(folder, runtime=toy_runtime)
    before = opened.calibration
    assert before.fitted_on
    (folder / "calibration.json").unlink()
    assert not opened.calibration.fitted_on
    shutil.copy(toy_gallery / "calibration.json", folder)
    assert opened.calibration == before


def test_an_item_that_was_shown_is_looked_up_again_when_its_class_changes(serve, own_gallery, toy_items):
    client = serve(folder=own_gallery)
    address = f"/v1/items/{toy_items[0].item_id}"
    assert client.get(address).json()["class_name"] == toy_items[0].class_name
    client.post("/v1/marks/classes", json={"class_name": "Odd one", "item_ids": [toy_items[0].item_id]})
    assert client.get(address).json()["class_name"] == "Odd one"


def test_the_map_is_drawn_again_when_labels_change(serve, own_gallery, toy_items):
    client = serve(folder=own_gallery)
    item_id = toy_items[0].item_id
    client.get("/v1/map")
    client.post("/v1/marks/classes", json={"class_name": "Odd one", "item_ids": [item_id]})
    found = {each["item_id"]: each["class_name"] for each in client.get("/v1/map").json()["points"]}
    assert found[item_id] == "Odd one"


# ---------------------------------------------------------------- links


@pytest.fixture
def make_link(photos, tmp_path):
    def make(name, target):
        try:
            (photos / name).symlink_to(target, target_is_directory=target.is_dir())
        except OSError:
            pytest.skip("this system makes no links")

    return make


def test_what_a_link_leads_to_is_neither_indexed_nor_served(serve, photos, make_link, toy_run, toy_runtime, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    shutil.copy(tmp_path / "private.png", tmp_path / "elsewhere" / "deep.png")
    make_link("file.png", tmp_path / "private.png")
    make_link("folder", tmp_path / "elsewhere")
    make_link("inside.png", photos / "0.png")
    report = index(photos, checkpoint=toy_run, gallery=tmp_path / "own", runtime=toy_runtime)
    assert {failure.item_id for failure in report.failures} >= {"file.png", "folder"}
    opened = Gallery.open(tmp_path / "own", runtime=toy_runtime)
    assert opened.index.content_hashes().keys() == {"0.png", "1.png", "2.png", "3.png", "inside.png"}
    client = serve(folder=tmp_path / "own")
    assert client.get("/v1/media/inside.png").status_code == 200
    asked = index(photos, gallery=tmp_path / "own", choice=FolderChoice(follows_links=True), runtime=toy_runtime)
    assert asked.added_count == 2
    assert client.get("/v1/media/file.png").status_code == 200
    again = index(photos, gallery=tmp_path / "own", runtime=toy_runtime)
    assert again.dropped_count == 2


@pytest.fixture
def indexed(photos, toy_run, toy_runtime, tmp_path):
    return index(photos, checkpoint=toy_run, gallery=tmp_path / "own", runtime=toy_runtime)


@pytest.mark.parametrize("route", ["media", "thumbnails"])
def test_a_file_that_becomes_a_link_is_not_served(serve, photos, make_link, indexed, tmp_path, route):
    client = serve(folder=tmp_path / "own")
    assert client.get(f"/v1/{route}/0.png").status_code == 200
    (photos / "0.png").unlink()
    make_link("0.png", tmp_path / "private.png")
    answer = client.get(f"/v1/{route}/0.png")
    assert (answer.status_code, answer.json()["kind"]) == (404, "outside_source")
    assert str(tmp_path) not in answer.text
    assert client.get("/v1/items/0.png").json()["media_url"] is None


def test_a_folder_that_becomes_a_link_is_not_served(serve, photos, make_link, toy_run, toy_runtime, tmp_path):
    (photos / "trip").mkdir()
    (photos / "0.png").rename(photos / "trip" / "0.png")
    index(photos, checkpoint=toy_run, gallery=tmp_path / "own", runtime=toy_runtime)
    client = serve(folder=tmp_path / "own")
    assert client.get("/v1/media/trip%2F0.png").status_code == 200
    (photos / "trip").rename(tmp_path / "moved")
    make_link("trip", tmp_path / "moved")
    assert client.get("/v1/media/trip%2F0.png").json()["kind"] == "outside_source"


def test_a_collection_moved_with_its_gallery_is_found_again(
    serve, photos, toy_run, toy_runtime, make_reporter, tmp_path
):
    from fieldmark import Runtime

    home = tmp_path / "disk"
    home.mkdir()
    photos.rename(home / "photos")
    index(home / "photos", checkpoint=toy_run, gallery=home / "gallery", runtime=toy_runtime)
    home.rename(tmp_path / "other mount")
    gallery, moved = tmp_path / "other mount" / "gallery", tmp_path / "other mount" / "photos"
    opened = Gallery.open(gallery, runtime=toy_runtime)
    assert {stored.item.path.parent for stored in opened.index.items(limit=9)} == {moved}
    assert {hit.item.path.parent for hit in opened.search("a bird").hits} == {moved}
    assert serve(folder=gallery).get("/v1/media/0.png").status_code == 200
    reporter = make_reporter()
    report = index(moved, gallery=gallery, runtime=Runtime(cache=None, device="cpu", reporter=reporter))
    assert (report.set_name, report.added_count, report.unchanged_count) == ("photos", 0, 4)
    assert "embed" not in reporter.done
    tables = Gallery.open(gallery, runtime=toy_runtime).index.items(limit=9)
    assert {stored.item.path.parent for stored in tables} == {moved}
