"""Names in what a person types, and words that say nothing here."""

import pytest

from fieldmark.data.taxonomy import Taxon, Taxonomy
from fieldmark.errors import DamagedGalleryError
from fieldmark.gallery.layout import GalleryLayout
from fieldmark.gallery.naming.gallery_names import GalleryNames, read_gallery_names, write_gallery_names
from fieldmark.gallery.naming.name_index import ClassMeanings, NameIndex
from fieldmark.gallery.naming.name_offers import HeldName, NameOffers
from fieldmark.gallery.naming.typed_names import TypedNames
from fieldmark.subject import Subject
from fieldmark.types import Medium

SPECIES = [
    ("Spinus tristis", "American Goldfinch"),
    ("Carduelis carduelis", "European Goldfinch"),
    ("Cyanocitta cristata", "Blue Jay"),
    ("Cardinalis cardinalis", "Northern Cardinal"),
    ("Aramus guarauna", "Limpkin"),
    ("Sylvia atricapilla", "Eurasian Blackcap"),
]
HELD = ["American_Goldfinch", "European_Goldfinch", "Blue_Jay", "Cardinal", "Red_Bird"]
ENGLISH = frozenset(
    [
        "bay",
        "a",
        "an",
        "the",
        "how",
        "to",
        "bake",
        "bread",
        "blue",
        "jay",
        "with",
        "black",
        "cap",
        "at",
        "dawn",
        "red",
        "bird",
        "calling",
        "on",
        "like",
        "and",
        "not",
    ]
)
TEXT_WORDS = frozenset(f"word{letter}{other}" for letter in "abcdefghijk" for other in "abcdefghij")


def make_names(*, words=TEXT_WORDS):
    taxonomy = Taxonomy((Taxon("Blue_Jay", synonyms=("Blauhäher",)),))
    meanings = ClassMeanings({Medium.IMAGE: SPECIES}, taxonomy)
    index = NameIndex(held=HELD, trained=[], meanings=meanings)
    offers = NameOffers(HeldName(each, meanings.list_names(each), 3) for each in HELD)
    return TypedNames(index, offers, subject=Subject.BIRDS, words=words)


NAMES = make_names()


def knows_words(words):
    return [word.casefold() in ENGLISH for word in words]


def read(text):
    found = NAMES.read(text, knows_words=knows_words)
    return None if found is None else (found.use.value, [each.class_name or each.name for each in found.names])


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Blue Jay", ("name", ["Blue_Jay"])),
        ("Cardinalis cardinalis", ("name", ["Cardinal"])),
        ("blauhäher", ("name", ["Blue_Jay"])),
        ("goldfinches", ("part", ["American_Goldfinch", "European_Goldfinch"])),
        ("photos of goldfinches", ("part", ["American_Goldfinch", "European_Goldfinch"])),
        ("cardinal or blue jay", ("several", ["Cardinal", "Blue_Jay"])),
        ("Cardinal, goldfinch", ("several", ["Cardinal", "American_Goldfinch", "European_Goldfinch"])),
        ("blue jay calling at dawn", ("within", ["Blue_Jay"])),
        ("a limpkin and a blue jay at dawn", ("within", ["Blue_Jay"])),
        ("a northern cardinal with a blue jay", ("within", ["Cardinal", "Blue_Jay"])),
        ("cardnal", ("corrected", ["Cardinal"])),
        ("blue jya", ("corrected", ["Blue_Jay"])),
        ("goldfnch", ("corrected", ["American_Goldfinch", "European_Goldfinch"])),
    ],
)
def test_names_are_read_as_people_type_them(text, wanted):
    assert read(text) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "a bird with a black cap",
        "a red bird at dawn",
        "a small finch, not like a blue jay",
        "much larger than a blue jay",
        "black, red and blue",
        "blue bay",
        "asdf qwer",
        "how to bake bread",
        "blue jay " * 20,
        "",
        "\x00\ud800 ??",
    ],
)
def test_descriptions_and_nonsense_name_nothing(text):
    assert read(text) is None


def test_what_a_sentence_says_beside_the_name_is_told():
    assert NAMES.read("blue jay calling at dawn", knows_words=knows_words).has_more
    assert not NAMES.read("the song of some blue jays and cardinals", knows_words=knows_words).has_more


def test_known_words_are_never_corrected_and_are_only_offered():
    assert read("blue bay") is None
    assert [each.name for each in NAMES.offer("blue bay", limit=1)] == ["Blue_Jay"]
    assert NAMES.offer("a bird with a long red bill and a tail", limit=3) == ()


@pytest.mark.parametrize(
    ("text", "is_understood"),
    [("asdf qwer", False), ("a blue asdf", True), ("zzz", False), ("Limpkin", True), ("???", True), ("", True)],
)
def test_words_that_are_none_are_not_understood(text, is_understood):
    assert NAMES.vocabulary.is_understood(text, knows_words=knows_words) == is_understood


@pytest.mark.parametrize(
    ("text", "is_on_topic"),
    [
        ("how to bake bread", False),
        ("a red sports car on the highway", False),
        ("red bill, yellow belly", True),
        ("wordaa wordbb worddd", True),
        ("a jay", True),
        ("the bird", True),
        ("12345", True),
    ],
)
def test_words_off_the_topic_are_told(text, is_on_topic):
    assert NAMES.vocabulary.is_on_topic(text) == is_on_topic


def test_too_few_texts_show_no_topic():
    few = make_names(words=frozenset({"tail"}))
    assert few.vocabulary.is_on_topic("how to bake bread")
    assert few.vocabulary.is_understood("asdf", knows_words=lambda words: None)


def test_the_names_of_a_gallery_are_read_as_they_were_written(tmp_path):
    names = GalleryNames(Subject.BIRDS, {"Blue Jay": 3}, (("Cyanocitta cristata", "Blue Jay"),), frozenset({"tail"}))
    write_gallery_names(names, tmp_path)
    assert read_gallery_names(tmp_path) == names
    GalleryLayout(tmp_path).names.unlink()
    assert read_gallery_names(tmp_path) == GalleryNames()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"subject": "stones", "called": {}, "species": [], "words": []}'])
def test_a_broken_list_of_names_is_said(tmp_path, text):
    GalleryLayout(tmp_path).names.write_text(text, encoding="utf-8")
    with pytest.raises(DamagedGalleryError, match="list of names"):
        read_gallery_names(tmp_path)
