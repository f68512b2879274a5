"""Descriptions in a search: texts move to the species that have their marks, and hits tell which of them they show."""

import json

import numpy as np
import pytest

from fieldmark.gallery.lance import LanceIndex
from fieldmark.gallery.layout import GalleryLayout
from fieldmark.gallery.search.description import DescriptionReader
from fieldmark.gallery.search.query import ItemId
from fieldmark.gallery.search.searcher import Searcher
from fieldmark.marks.profile import SourceKind, encode_tallies, tally_texts
from fieldmark.names import KnownNames
from fieldmark.types import Item, Medium
from query_encoders import PlainQueryEncoder

CLASSES = ("Auk", "Bunting", "Crow")
TEXTS = {
    ("Auk",): ["A white belly and a thick, orange bill.", "Black back, white belly, with a short tail."],
    ("Bunting",): ["A red crown and a brown back.", "Red crown, streaked breast, no crest."],
    ("Crow",): ["Black all over, with a black belly.", "A large bird with a black bill."],
}
DIM = 8


class FakeEncoder(PlainQueryEncoder):
    """Each class has an axis; a text lies nowhere near any of them."""

    class_names = CLASSES

    def embed(self, item):
        return np.eye(DIM, dtype=np.float32)[[DIM - 1]]

    def embed_class_name(self, class_name, *, other_names=()):
        return np.eye(DIM, dtype=np.float32)[CLASSES.index(class_name)] if class_name in CLASSES else None


@pytest.fixture(scope="module")
def gallery(tmp_path_factory):
    folder = tmp_path_factory.mktemp("described")
    GalleryLayout(folder).marks.write_bytes(
        encode_tallies([tally_texts(TEXTS, kind=SourceKind.TEXTS, source="training texts")])
    )
    return folder


@pytest.fixture(scope="module")
def searcher(gallery, embeddings_of):
    index = LanceIndex.create(gallery / "segments", fingerprint="fake", dim=DIM)
    rng = np.random.default_rng(0)
    parts = []
    for number in range(12):
        row = np.eye(DIM)[number % 3] + 0.02 * rng.normal(size=DIM)
        item = Item(f"photo-{number}", Medium.IMAGE, class_name=CLASSES[number % 3])
        parts.append((item, (row / np.linalg.norm(row))[None].astype(np.float32)))
    index.add(embeddings_of(*parts), content_hash_by_item_id={f"photo-{n}": "h" for n in range(12)})
    return Searcher(gallery, index=index, encoder=FakeEncoder())


@pytest.mark.parametrize(
    ("text", "class_name"),
    [
        ("white belly", "Auk"),
        ("a bird with a red crown, please", "Bunting"),
        ("crown red or orange; no crest", "Bunting"),
        ("large and black", "Crow"),
        ("black bill, not white belly", "Crow"),
    ],
)
def test_a_description_finds_the_species_with_its_marks(searcher, text, class_name):
    hits = searcher.search(text, k=4).hits
    assert [hit.class_name for hit in hits] == [class_name] * 4


def test_the_answer_tells_what_was_read_and_what_hits_show(searcher):
    result = searcher.search("a zorbly bird with a red crown and a white belly", k=12)
    told = result.description
    assert [each.mark for each in told.marks] == ["crown red", "belly white"]
    assert told.unread == ("zorbly",)
    shown = {each.item_id: each for each in told.hits}
    by_class = {hit.class_name: shown[hit.item_id] for hit in result.hits}
    assert by_class["Bunting"].species == "Bunting"
    assert by_class["Bunting"].sources in ((), ("training texts",))
    assert "belly white" not in by_class["Crow"].shows
    assert json.loads(json.dumps(result.json_values()["description"]))["unread"] == ["zorbly"]
    text = result.to_text()
    assert "marks read: crown red, belly white" in text
    assert "words that name no known mark: zorbly" in text


def test_marks_that_exclude_each_other_are_said(searcher):
    assert "named and denied at once: crown red" in searcher.search("a red crown. No red crown.").to_text()


def test_a_question_of_nothing_known_keeps_its_place_and_says_so(searcher):
    result = searcher.search("xylo wombat", k=3)
    assert result.description.marks == ()
    assert result.description.hits == ()
    assert "no mark was read" in result.to_text()


def test_only_a_text_that_names_no_class_is_a_description(searcher):
    assert searcher.search("crow", k=3).description is None
    assert searcher.search(ItemId("photo-1"), k=3).description is None
    assert searcher.search(["red crown", ItemId("photo-1")], k=3).description is None


def test_without_profiles_texts_stay_as_they_are(tmp_path):
    reader = DescriptionReader(tmp_path, encoder=FakeEncoder(), list_known=lambda: KnownNames(()))
    row = np.eye(DIM)[0]
    assert reader.move(row, "red crown") is row
    assert reader.read_fingerprint() == ""
    assert reader.answer("red crown", item_ids=(), read_embeddings=lambda ids: {}) is None


def test_profiles_that_change_are_read_anew(gallery, tmp_path):
    path = tmp_path / "marks.json"
    path.write_bytes(GalleryLayout(gallery).marks.read_bytes())
    reader = DescriptionReader(tmp_path, encoder=FakeEncoder(), list_known=lambda: KnownNames(()))
    before, row = reader.read_fingerprint(), np.eye(DIM)[DIM - 1]
    assert reader.move(row, "red crown")[:3].argmax() == 1
    path.write_bytes(encode_tallies([tally_texts({("Crow",): ["Red crown."]}, kind=SourceKind.BOOK, source="b")]))
    assert reader.read_fingerprint() != before
    moved = reader.move(row, "red crown")
    assert moved[:3].argmax() == 2
    assert np.linalg.norm(moved) == pytest.approx(1)
