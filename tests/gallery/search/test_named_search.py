"""Searches for a species by its name, in a gallery whose encoders know it and whose labels may not tell."""

import json
import os
from dataclasses import replace

import numpy as np
import pytest

from fieldmark.gallery.layout import GalleryLayout
from fieldmark.gallery.naming.name_reader import NameReader
from fieldmark.gallery.search.calibration import Curve, PairScale, ScoreCalibration
from fieldmark.gallery.search.searcher import Searcher
from fieldmark.gallery.store import Filter
from fieldmark.types import MEDIA, Item, Medium
from query_encoders import PlainQueryEncoder

SPECIES = [
    ["Setophaga ruticilla", "American Redstart"],
    ["Phoenicurus phoenicurus", "Common Redstart"],
    ["Cyanocitta cristata", "Blue Jay"],
    ["Corvus corax", "Common Raven"],
]
DIRECTIONS = np.eye(8, dtype=np.float32)
DIRECTION_BY_NAME = {name: DIRECTIONS[number] for number, names in enumerate(SPECIES) for name in names}


class NamingEncoder(PlainQueryEncoder):
    """Knows the direction of each species by any of its names; a text that it reads has one of its own."""

    fingerprint = "naming"

    def __init__(self, *, embeds_names=True):
        self._embeds_names = embeds_names

    def embed(self, item):
        return DIRECTIONS[7:]

    def embed_class_name(self, class_name, *, other_names=()):
        return DIRECTION_BY_NAME.get(class_name, DIRECTIONS[6]) if self._embeds_names else None


@pytest.fixture
def calibration():
    curve = Curve(3.0, -1.0, 0.3, relevant_count=50, query_count=20)
    scales = {(query, hit): PairScale(0.0, 1.0, curve) for query in MEDIA for hit in MEDIA}
    return ScoreCalibration(scales, open_set_curves=dict.fromkeys(MEDIA, curve))


@pytest.fixture
def create_searcher(create_index, embeddings_of, tmp_path, calibration):
    """Makes a searcher of a gallery with four sounds of each species, under the names that are given for them."""

    def create(class_by_species, **options):
        store = create_index(tmp_path / "store")
        noise = np.random.default_rng(0)
        parts = []
        for species, class_name in class_by_species.items():
            rows = DIRECTION_BY_NAME[species] + 0.1 * noise.normal(size=(4, 8)).astype(np.float32)
            for number, row in enumerate(rows / np.linalg.norm(rows, axis=1, keepdims=True)):
                parts.append((Item(f"{species}-{number}", Medium.AUDIO, class_name=class_name), row[None]))
        ids = [item.item_id for item, _ in parts]
        store.add(embeddings_of(*parts), content_hash_by_item_id=dict.fromkeys(ids, "h"))
        GalleryLayout(tmp_path).species.write_text(json.dumps({"audio": SPECIES}), encoding="utf-8")
        return Searcher(tmp_path, index=store, encoder=NamingEncoder(**options), calibration=calibration)

    return create


def probabilities(result):
    """The probabilities of the hits of each class."""
    found = {}
    for hit in result.hits:
        found.setdefault(hit.class_name, set()).add(hit.probability)
    return found


def test_hits_of_a_class_that_may_be_the_species_keep_their_measured_probability(create_searcher):
    searcher = create_searcher({"American Redstart": "Redstart", "Blue Jay": "Blue_Jay"}, embeds_names=False)
    result = searcher.search("Common Redstart", k=20)
    assert (result.class_name, result.species_name) == ("Common Redstart", None)
    found = probabilities(result)
    assert found["Blue_Jay"] == {0.0}
    assert all(0 < value < 1 for value in found["Redstart"])
    assert [hit.class_name for hit in result.hits[:4]] == ["Redstart"] * 4
    assert 0 < result.collection.probability < 1


def test_a_named_species_of_no_class_is_surely_missing_only_where_all_classes_are_others(create_searcher):
    result = create_searcher({"American Redstart": "American_Redstart", "Blue Jay": "Blue_Jay"}).search("Common Raven")
    assert result.collection.probability == 0.0
    assert probabilities(result) == {"American_Redstart": {0.0}, "Blue_Jay": {0.0}}


def test_a_class_is_the_species_that_its_items_are_nearest_to(create_searcher):
    searcher = create_searcher({"American Redstart": "Redstart", "Blue Jay": "Blauhäher", "Common Raven": "Rabe"})
    for text, class_name in (("american redstart", "Redstart"), ("blue jays", "Blauhäher"), ("Corvus corax", "Rabe")):
        result = searcher.search(text, k=20)
        assert result.class_name == class_name
        assert probabilities(result)[class_name] == {1.0}
    missing = searcher.search("Common Redstart", k=20)
    assert (missing.class_name, missing.species_name, missing.collection) == ("Common Redstart", None, None)


def test_a_narrowed_search_finds_the_same_class(create_searcher):
    searcher = create_searcher({"Blue Jay": "Blauhäher", "Common Raven": "Rabe"})
    assert searcher.search("Blue Jay", media=[Medium.IMAGE]).class_name == "Blauhäher"


def test_a_class_whose_name_is_of_another_species_is_not_taken_for_one_that_it_looks_like(create_searcher):
    result = create_searcher({"Common Raven": "Horned_Raven", "Blue Jay": "Blauhäher"}).search("Common Raven", k=20)
    assert (result.class_name, result.collection) == ("Common Raven", None)
    assert probabilities(result) == {"Horned_Raven": {None}, "Blauhäher": {None}}


def test_a_class_of_two_species_is_neither(create_searcher):
    searcher = create_searcher({"Blue Jay": "Rabenvogel", "Common Raven": "Rabenvogel"})
    assert searcher.search("Blue Jay").class_name == "Blue Jay"


def test_names_are_read_again_where_a_file_has_changed(tmp_path):
    reader, wanted = NameReader(tmp_path, resolutions=()), {"held": {"Blauhäher": 1}, "trained": frozenset()}
    first = reader.read(**wanted)
    assert reader.read(**wanted) is first
    assert first.index.find("Blue Jay") is None
    layout = GalleryLayout(tmp_path)
    layout.species.write_text(json.dumps({"audio": SPECIES}), encoding="utf-8")
    assert reader.read(**wanted).index.find("Blue Jay").class_name is None
    layout.taxonomy.write_text("class_name,scientific_name\nBlauhäher,Cyanocitta cristata\n", encoding="utf-8")
    assert reader.read(**wanted).index.find("Blue Jay").class_name == "Blauhäher"
    layout.taxonomy.unlink()
    assert reader.read(**wanted).index.find("Blue Jay").class_name is None
    layout.species.write_text("{}", encoding="utf-8")
    os.utime(layout.species, ns=(1, 1))
    assert reader.read(**wanted).index.find("Blue Jay") is None


@pytest.fixture
def birds(create_searcher):
    return create_searcher(
        {"American Redstart": "American_Redstart", "Common Redstart": "Common_Redstart", "Blue Jay": "Blue_Jay"}
    )


def test_a_part_of_several_names_finds_all_that_have_it(birds):
    result = birds.search("redstarts", k=8)
    assert (result.name_use, {each.class_name for each in result.names}) == (
        "part",
        {"American_Redstart", "Common_Redstart"},
    )
    assert [hit.class_name for hit in result.hits].count("American_Redstart") == 4
    assert {hit.class_name for hit in result.hits} == {"American_Redstart", "Common_Redstart"}


def test_several_names_take_turns(birds):
    result = birds.search("blue jay or American Redstart", k=4)
    assert result.name_use == "several"
    assert [hit.class_name for hit in result.hits] == ["Blue_Jay", "American_Redstart"] * 2
    assert [hit.rank for hit in result.hits] == [1, 2, 3, 4]
    assert result.collection.is_likely


def test_in_a_sentence_the_name_decides_and_the_rest_orders(birds):
    result = birds.search("blue jay calling at dawn", k=4)
    assert (result.name_use, result.class_name) == ("within", "Blue_Jay")
    assert {hit.class_name for hit in result.hits} == {"Blue_Jay"}
    stored = birds.index.embeddings(Filter(class_names=frozenset({"Blue_Jay"})))
    like_text = stored.embedding @ DIRECTIONS[7]
    wanted = [stored.items[row].item_id for row in np.argsort(-like_text)]
    assert [hit.item_id for hit in result.hits] == wanted
    assert [hit.item_id for hit in birds.search("Blue Jay", k=4).hits] != wanted


def test_a_name_with_nothing_in_the_wanted_medium_says_so_and_shows_no_others(create_searcher):
    searcher = create_searcher({"American Redstart": "American_Redstart", "Blue Jay": "Blue_Jay"})
    jay = Item("photo", Medium.IMAGE, class_name="Common_Raven")
    raven = Item("another", Medium.IMAGE, class_name="Common_Raven")
    for item in (jay, raven):
        table = replace(searcher.index.embeddings(Filter(item_ids=frozenset({"Blue Jay-0"}))), items=(item,))
        searcher.index.add(table, content_hash_by_item_id={item.item_id: "h"})
    result = searcher.search("Blue Jay", media=[Medium.IMAGE])
    assert (result.hits, result.absent_media, result.collection.is_likely) == ((), (Medium.IMAGE,), True)
    assert result.to_text().splitlines()[-1] == "no image of Blue_Jay here"
    both = searcher.search("Blue Jay", k=20)
    assert both.absent_media == (Medium.IMAGE,)
    assert {hit.medium for hit in both.hits} == {Medium.AUDIO}


def test_a_misspelled_name_is_corrected_and_said(birds):
    result = birds.search("american restart")
    assert (result.name_use, result.class_name) == ("corrected", "American_Redstart")
    assert result.to_text().splitlines()[0] == "read as American_Redstart"
    assert birds.search("xkcd").names == ()
