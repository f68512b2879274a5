"""Classes saved from marks: durable, through a later index, and undone."""

import shutil
from dataclasses import replace

import pytest

from fieldmark import Gallery, Medium, Split, index, write_manifest
from fieldmark.errors import DamagedGalleryError, RequestError, UnknownItemError
from fieldmark.gallery.labels import list_classes, restore_classes, save_class, undo_class
from fieldmark.gallery.layout import GalleryLayout


@pytest.fixture
def gallery(toy_gallery, toy_runtime, tmp_path):
    shutil.copytree(toy_gallery, tmp_path / "gallery")
    return Gallery.open(tmp_path / "gallery", runtime=toy_runtime)


def label(gallery, item_id):
    return gallery.index.get(item_id).items[0].class_name


def test_saved_class_is_there_for_who_opens_the_gallery_later(gallery, toy_items, toy_runtime):
    chosen = [item.item_id for item in toy_items[:3]]
    save_class(gallery.folder, gallery.index, class_name=" Odd one ", item_ids=chosen)
    again = Gallery.open(gallery.folder, runtime=toy_runtime)
    assert {label(again, item_id) for item_id in chosen} == {"Odd one"}
    result = again.search("odd-ONE", k=3)
    assert result.class_name == "Odd one"
    assert {hit.item_id for hit in result.hits} == set(chosen)
    assert result.collection.probability == 1


def test_saved_class_leaves_all_else_of_an_item(gallery, toy_items):
    item_id = next(item.item_id for item in toy_items if item.medium is Medium.AUDIO)
    before, hashes = gallery.index.get(item_id), gallery.index.content_hashes()
    save_class(gallery.folder, gallery.index, class_name="Odd one", item_ids=[item_id])
    after = gallery.index.get(item_id)
    assert after.items[0] == replace(before.items[0], class_name="Odd one")
    assert (after.embedding == before.embedding).all()
    assert gallery.index.content_hashes() == hashes


def test_saved_class_survives_another_index_of_a_folder_without_labels(
    toy_run, toy_items, toy_runtime, tmp_path, toy_gallery
):
    photos = tmp_path / "photos"
    photos.mkdir()
    for item in [item for item in toy_items if item.medium is Medium.IMAGE][:4]:
        shutil.copy(item.path, photos)
    index(photos, checkpoint=toy_run, gallery=tmp_path / "gallery", runtime=toy_runtime)
    opened = Gallery.open(tmp_path / "gallery", runtime=toy_runtime)
    [first, second, *_] = opened.index.items(limit=4)
    ids = [first.item.item_id, second.item.item_id]
    save_class(opened.folder, opened.index, class_name="Odd one", item_ids=ids)
    report = index(photos, gallery=tmp_path / "gallery", runtime=toy_runtime)
    assert (report.added_count, report.unchanged_count) == (0, 4)
    assert [label(opened, item_id) for item_id in ids] == ["Odd one"] * 2
    # A file with other content is indexed anew, without a label, and gets its class again.
    shutil.copy(second.item.path, first.item.path)
    assert index(photos, gallery=tmp_path / "gallery", runtime=toy_runtime).added_count == 1
    assert label(opened, ids[0]) == "Odd one"


def test_undo_gives_the_former_class_unless_another_was_given_since(gallery, toy_items):
    first, second = toy_items[0], toy_items[1]
    save_class(gallery.folder, gallery.index, class_name="A", item_ids=[first.item_id, second.item_id])
    save_class(gallery.folder, gallery.index, class_name="B", item_ids=[second.item_id])
    undo_class(gallery.folder, gallery.index, number=1)
    assert label(gallery, first.item_id) == first.class_name
    assert label(gallery, second.item_id) == "B"
    assert [(each.class_name, each.is_undone) for each in list_classes(gallery.folder)] == [("A", True), ("B", False)]
    with pytest.raises(RequestError, match="can be undone are 2"):
        undo_class(gallery.folder, gallery.index, number=1)


def test_restore_gives_what_a_crash_left_undone(gallery, toy_items):
    item = toy_items[0]
    save_class(gallery.folder, gallery.index, class_name="A", item_ids=[item.item_id])
    kept = GalleryLayout(gallery.folder).labels.read_text()
    undo_class(gallery.folder, gallery.index, number=1)
    GalleryLayout(gallery.folder).labels.write_text(kept)  # noted, and killed before the label was given
    assert restore_classes(gallery.folder, gallery.index) == 1
    assert label(gallery, item.item_id) == "A"
    assert restore_classes(gallery.folder, gallery.index) == 0


def test_save_class_of_nothing_or_nobody(gallery, toy_items):
    with pytest.raises(UnknownItemError, match="nobody"):
        save_class(gallery.folder, gallery.index, class_name="A", item_ids=[toy_items[0].item_id, "nobody"])
    with pytest.raises(RequestError, match="needs a name"):
        save_class(gallery.folder, gallery.index, class_name="  ", item_ids=[toy_items[0].item_id])
    with pytest.raises(RequestError, match="0 items"):
        save_class(gallery.folder, gallery.index, class_name="A", item_ids=[])
    assert list_classes(gallery.folder) == ()
    assert label(gallery, toy_items[0].item_id) == toy_items[0].class_name


def test_saved_classes_that_are_damaged(gallery):
    GalleryLayout(gallery.folder).labels.write_text('[{"number": 1}]')
    with pytest.raises(DamagedGalleryError):
        list_classes(gallery.folder)


def test_index_reads_the_taxonomy_beside_a_manifest(toy_items, toy_run, toy_runtime, tmp_path):
    some = [item for item in toy_items if item.medium is Medium.TEXT and item.split is Split.TEST]
    write_manifest(some, tmp_path / "manifest.csv")
    name = some[0].class_name
    (tmp_path / "taxonomy.csv").write_text(
        f"class_name,scientific_name,synonyms\n{name},Rara avis,Old Bill; Ol' Bill\n"
    )
    index(tmp_path / "manifest.csv", checkpoint=toy_run, gallery=tmp_path / "gallery", runtime=toy_runtime)
    opened = Gallery.open(tmp_path / "gallery", runtime=toy_runtime)
    for text in ("rara avis", "OLD BILL", "Ol Bill", name.replace("_", " ").lower()):
        result = opened.search(text, k=1)
        assert (result.class_name, result.hits[0].class_name) == (name, name)
    assert opened.search("a bill of old").class_name is None
