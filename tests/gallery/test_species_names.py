"""Species that a text names, and that encoders know: with and without labels, trained on or not."""

import shutil

import numpy as np
import pytest

from fieldmark import Gallery, Item, Medium, Runtime, Split, index, train, write_manifest
from fieldmark.errors import DamagedGalleryError
from fieldmark.gallery.layout import GalleryLayout
from fieldmark.gallery.naming.name_index import NamedSpecies
from fieldmark.gallery.naming.stored_names import read_species
from fieldmark.gallery.search.query import QueryReader
from fieldmark.query_encoder import ModelQueryEncoder

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def run(color_config, pictures, tmp_path_factory):
    """A model that was trained on red and green birds."""
    folder = tmp_path_factory.mktemp("species")
    items = [
        Item(path.stem, Medium.IMAGE, path=path, class_name=name, split=Split.TRAIN)
        for name in ("Red_Bird", "Green_Bird")
        for path in pictures[name][:3]
    ]
    write_manifest(items, folder / "train.csv")
    return train(folder / "train.csv", out=folder / "run", config=color_config, runtime=Runtime(device="cpu")).run


@pytest.fixture(scope="module")
def unlabelled(run, pictures):
    """A gallery of all pictures without a label."""
    folder = pictures["Red_Bird"][0].parent
    return index(folder, checkpoint=run, gallery=run.with_name("unlabelled"), runtime=Runtime(device="cpu")).gallery


@pytest.mark.parametrize(
    ("text", "initial", "class_name"),
    [
        ("blue bird", "b", "Blue Bird"),  # never trained on
        ("photos of Caeruleus", "b", "Caeruleus"),
        ("GREEN BIRD", "g", "Green_Bird"),
        ("rufus ruber", "r", "Red_Bird"),
    ],
)
def test_a_name_finds_pictures_that_nobody_labelled(text, initial, class_name, unlabelled):
    found = Gallery.open(unlabelled, runtime=Runtime(device="cpu")).search(text, k=15)
    assert found.class_name == class_name
    assert {hit.item_id[0] for hit in found.hits[:5]} == {initial}
    assert len(found.hits) == 15


def test_a_name_of_a_species_that_was_not_trained_has_no_probability(unlabelled):
    found = Gallery.open(unlabelled, runtime=Runtime(device="cpu")).search("blue bird", k=3)
    assert [hit.probability for hit in found.hits] == [None] * 3
    assert found.collection is None


def test_a_synonym_that_the_encoder_knows_finds_a_label(run, pictures, tmp_path):
    items = [Item(path.stem, Medium.IMAGE, path=path, class_name="Blue_Bird") for path in pictures["Blue_Bird"]]
    items += [Item(path.stem, Medium.IMAGE, path=path, class_name="Red_Bird") for path in pictures["Red_Bird"]]
    write_manifest(items, tmp_path / "birds.csv")
    runtime = Runtime(device="cpu")
    gallery = Gallery.open(
        index(tmp_path / "birds.csv", checkpoint=run, gallery=tmp_path / "gallery", runtime=runtime).gallery,
        runtime=runtime,
    )
    found = gallery.search("caeruleus", k=10)
    assert found.class_name == "Blue_Bird"
    assert [hit.probability for hit in found.hits] == [1.0] * 5 + [0.0] * 5
    assert found.collection is not None
    assert found.collection.probability == 1.0
    absent = gallery.search("Viridis", k=1)
    assert absent.class_name == "Green_Bird"
    assert absent.collection is not None
    assert absent.collection.probability == 0.0


GERMAN = {"Red_Bird": "Rotvogel", "Green_Bird": "Grünvogel", "Blue_Bird": "Blauvogel"}


def index_as(folder, run, pictures, class_names):
    """A gallery of all pictures of some colors, each color under another name."""
    items = [
        Item(path.stem, Medium.IMAGE, path=path, class_name=name)
        for color, name in class_names.items()
        for path in pictures[color]
    ]
    write_manifest(items, folder / "birds.csv")
    runtime = Runtime(device="cpu")
    report = index(folder / "birds.csv", checkpoint=run, gallery=folder / "gallery", runtime=runtime)
    return Gallery.open(report.gallery, runtime=runtime)


@pytest.mark.parametrize(
    ("text", "color", "species_name"),
    [("blue birds", "Blue_Bird", "Blue Bird"), ("rufus ruber", "Red_Bird", "Rufus ruber")],
)
def test_a_class_of_another_language_is_found_by_what_the_encoders_call_its_items(
    text, color, species_name, run, pictures, tmp_path
):
    found = index_as(tmp_path, run, pictures, GERMAN).search(text, k=15)
    assert (found.class_name, found.species_name) == (GERMAN[color], species_name)
    assert [hit.class_name for hit in found.hits[:5]] == [GERMAN[color]] * 5
    assert [hit.probability for hit in found.hits[:5]] == [1.0] * 5
    assert 0.0 not in [hit.probability for hit in found.hits]
    assert found.collection.probability == 1.0
    assert found.to_text().startswith(f'the text names {species_name}, here "{GERMAN[color]}"\n')


@pytest.mark.parametrize(
    "class_names",
    [
        {"Red_Bird": "Rotvogel", "Green_Bird": "Grünvogel"},  # the collection has no blue one
        {"Blue_Bird": "Vogel", "Red_Bird": "Vogel", "Green_Bird": "Vogel"},  # a class of several species
    ],
)
def test_without_agreement_a_class_of_another_language_is_neither_there_nor_not(class_names, run, pictures, tmp_path):
    found = index_as(tmp_path, run, pictures, class_names).search("blue bird", k=15)
    assert (found.class_name, found.species_name, found.collection) == ("Blue Bird", None, None)
    assert {hit.probability for hit in found.hits} == {None}


def test_a_class_of_few_items_is_not_judged_by_them(run, pictures, tmp_path):
    few = {color: paths[:2] for color, paths in pictures.items()}
    found = index_as(tmp_path, run, few, {"Blue_Bird": "Blauvogel", "Red_Bird": "Red_Bird"}).search("blue bird", k=15)
    assert (found.class_name, found.collection) == ("Blue Bird", None)
    assert [hit.probability for hit in found.hits] == [None, None, 0.0, 0.0]


def test_of_two_classes_of_one_species_neither_is_preferred(run, pictures, tmp_path):
    paths = pictures["Blue_Bird"]
    items = [
        Item(f"{name}-{path.stem}", Medium.IMAGE, path=path, class_name=name)
        for name in ("Blauvogel", "Oiseau bleu")
        for path in paths
    ]
    write_manifest(items, tmp_path / "birds.csv")
    runtime = Runtime(device="cpu")
    report = index(tmp_path / "birds.csv", checkpoint=run, gallery=tmp_path / "gallery", runtime=runtime)
    found = Gallery.open(report.gallery, runtime=runtime).search("blue bird", k=15)
    assert (found.class_name, found.species_name, found.collection) == ("Blue Bird", None, None)
    assert {hit.probability for hit in found.hits} == {None}


def name_species(name):
    return NamedSpecies(name, query_name=name, class_name=None, names=(), other_classes=frozenset())


@pytest.mark.parametrize("spelling", ["Red Bird", "red-bird", "RED_BIRDS"])
def test_a_trained_class_is_known_in_any_spelling(spelling, unlabelled):
    gallery = Gallery.open(unlabelled, runtime=Runtime(device="cpu"))
    encoder = ModelQueryEncoder(gallery.model)
    np.testing.assert_array_equal(encoder.embed_class_name(spelling), encoder.embed_class_name("Red_Bird"))
    reader = QueryReader(unlabelled, store=gallery.index, encoder=encoder)
    assert reader.encode_name(name_species(spelling)).is_calibrated
    assert not reader.encode_name(name_species("Blue Bird")).is_calibrated


def test_names_stay_with_a_gallery_whose_encoder_files_are_gone(unlabelled, color_config, tmp_path):
    folder = shutil.copytree(unlabelled, tmp_path / "moved")
    assert ("Caeruleus", "Blue Bird") in read_species(folder)[Medium.IMAGE]
    labels = color_config.model.image[0].labels
    text = labels.read_text(encoding="utf-8")
    labels.unlink()
    try:
        assert Gallery.open(folder, runtime=Runtime(device="cpu")).search("blue bird", k=1).hits[0].item_id[0] == "b"
    finally:
        labels.write_text(text, encoding="utf-8")


@pytest.mark.parametrize("content", ["[1, 2]", "not json", '{"image": 3}'])
def test_a_broken_list_of_species_is_named(content, unlabelled, tmp_path):
    folder = shutil.copytree(unlabelled, tmp_path / "broken")
    GalleryLayout(folder).species.write_text(content, encoding="utf-8")
    with pytest.raises(DamagedGalleryError, match=r"species\.json.*not a list of species"):
        Gallery.open(folder, runtime=Runtime(device="cpu")).search("blue bird")


def test_a_gallery_without_a_list_of_species_still_searches_by_class(unlabelled, tmp_path):
    folder = shutil.copytree(unlabelled, tmp_path / "earlier")
    GalleryLayout(folder).species.unlink()
    found = Gallery.open(folder, runtime=Runtime(device="cpu")).search("red bird", k=5)
    assert {hit.item_id[0] for hit in found.hits} == {"r"}
