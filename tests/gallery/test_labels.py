"""Classes saved from marks: durable, through a later index, and undone."""

import shutil
from dataclasses import replace

import pytest

from fieldmark import Gallery, Item, Medium, Split, index, write_manifest
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


@pytest.fixture
def photos(toy_items, tmp_path):
    """A folder of four photos without labels: 0.png to 3.png."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, item in enumerate([item for item in toy_items if item.medium is Medium.IMAGE][:4]):
        shutil.copy(item.path, folder / f"{number}.png")
    return folder


@pytest.fixture
def index_photos(photos, toy_run, toy_runtime, tmp_path):
    def run(**options):
        report = index(photos, checkpoint=toy_run, gallery=tmp_path / "own", runtime=toy_runtime, **options)
        return report, Gallery.open(tmp_path / "own", runtime=toy_runtime)

    return run


def labels(gallery):
    return {stored.item.item_id: stored.item.class_name for stored in gallery.index.items(limit=100)}


def test_saved_class_survives_another_index_of_a_folder_without_labels(photos, index_photos):
    _, opened = index_photos()
    save_class(opened.folder, opened.index, class_name="Odd one", item_ids=["0.png", "1.png"])
    report, opened = index_photos()
    assert (report.added_count, report.unchanged_count) == (0, 4)
    assert labels(opened) == {"0.png": "Odd one", "1.png": "Odd one", "2.png": None, "3.png": None}


def test_a_renamed_file_keeps_its_class_and_another_photo_does_not_inherit_it(photos, index_photos):
    _, opened = index_photos()
    save_class(opened.folder, opened.index, class_name="Odd one", item_ids=["0.png"])
    (photos / "trip").mkdir()
    (photos / "0.png").rename(photos / "trip" / "best.png")
    (photos / "1.png").rename(photos / "0.png")
    _, opened = index_photos()
    assert labels(opened) == {"trip/best.png": "Odd one", "0.png": None, "2.png": None, "3.png": None}
    [saved] = list_classes(opened.folder, index=opened.index)
    assert (saved.former_names, saved.lost_item_ids) == ({"trip/best.png": None}, ())
    undo_class(opened.folder, opened.index, number=1)
    assert labels(opened)["trip/best.png"] is None


def test_swapped_names_swap_no_classes(photos, index_photos):
    _, opened = index_photos()
    for name, item_ids in (("A", ["0.png", "1.png"]), ("B", ["2.png"])):
        save_class(opened.folder, opened.index, class_name=name, item_ids=item_ids)
    for old, new in (("0", "x"), ("2", "0"), ("1", "2"), ("x", "1")):
        (photos / f"{old}.png").rename(photos / f"{new}.png")
    _, opened = index_photos()
    assert labels(opened) == {"0.png": "B", "1.png": "A", "2.png": "A", "3.png": None}
    assert [each.lost_item_ids for each in list_classes(opened.folder, index=opened.index)] == [(), ()]


def test_a_class_that_lost_its_item_is_listed_and_comes_back_with_it(photos, index_photos, tmp_path):
    _, opened = index_photos()
    save_class(opened.folder, opened.index, class_name="Odd one", item_ids=["0.png", "1.png"])
    (photos / "0.png").rename(tmp_path / "away.png")
    _, opened = index_photos()
    [saved] = list_classes(opened.folder, index=opened.index)
    assert saved.lost_item_ids == ("0.png",)
    assert "no longer in the gallery: 0.png" in saved.to_text()
    (tmp_path / "away.png").rename(photos / "9.png")
    _, opened = index_photos()
    assert labels(opened)["9.png"] == "Odd one"
    assert list_classes(opened.folder, index=opened.index)[0].lost_item_ids == ()


def test_equal_texts_of_two_birds_do_not_share_a_class(toy_run, toy_runtime, tmp_path):
    texts = [Item(f"note {n}", Medium.TEXT, text="male, adult") for n in (1, 2)]
    write_manifest(texts[:1], tmp_path / "notes.csv")
    index(tmp_path / "notes.csv", checkpoint=toy_run, gallery=tmp_path / "own", runtime=toy_runtime)
    opened = Gallery.open(tmp_path / "own", runtime=toy_runtime)
    save_class(opened.folder, opened.index, class_name="A", item_ids=["note 1"])
    write_manifest(texts, tmp_path / "notes.csv")
    index(tmp_path / "notes.csv", gallery=tmp_path / "own", runtime=toy_runtime)
    assert labels(opened) == {"note 1": "A", "note 2": None}


def test_classes_saved_by_an_earlier_version_are_tied_to_what_their_items_hold_now(photos, index_photos):
    _, opened = index_photos()
    old = '[{"number": 1, "class_name": "A", "former_names": {"0.png": null, "gone": null}, "is_undone": false}]'
    GalleryLayout(opened.folder).labels.write_text(old)
    (photos / "0.png").rename(photos / "7.png")
    _, opened = index_photos()
    assert labels(opened)["7.png"] == "A"
    assert list_classes(opened.folder, index=opened.index)[0].lost_item_ids == ("gone",)


def test_the_source_may_change_its_class_below_a_saved_one(toy_items, toy_run, toy_runtime, tmp_path):
    item = next(item for item in toy_items if item.medium is Medium.IMAGE)
    write_manifest([item], tmp_path / "one.csv")
    index(tmp_path / "one.csv", checkpoint=toy_run, gallery=tmp_path / "own", runtime=toy_runtime)
    opened = Gallery.open(tmp_path / "own", runtime=toy_runtime)
    save_class(opened.folder, opened.index, class_name="Mine", item_ids=[item.item_id])
    write_manifest([replace(item, class_name="Corrected")], tmp_path / "one.csv")
    index(tmp_path / "one.csv", gallery=tmp_path / "own", runtime=toy_runtime)
    assert label(opened, item.item_id) == "Mine"
    undo_class(opened.folder, opened.index, number=1)
    assert label(opened, item.item_id) == "Corrected"


@pytest.mark.parametrize("order", [(1, 2, 3), (2, 1, 3), (2, 3, 1)])
def test_classes_undone_in_any_order_end_where_they_began(gallery, toy_items, order):
    first, second, third = (item.item_id for item in toy_items[:3])
    given = {1: [first, second], 2: [second, third], 3: [second]}
    states = {(): [label(gallery, each) for each in (first, second, third)]}
    for number, item_ids in given.items():
        save_class(gallery.folder, gallery.index, class_name=f"class {number}", item_ids=item_ids)
    in_force = [1, 2, 3]
    for number in order:
        undo_class(gallery.folder, gallery.index, number=number)
        in_force.remove(number)
        expected = list(states[()])
        for each in in_force:
            for position, item_id in enumerate((first, second, third)):
                expected[position] = f"class {each}" if item_id in given[each] else expected[position]
        assert [label(gallery, each) for each in (first, second, third)] == expected


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
