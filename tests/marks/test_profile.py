"""Profiles of marks: gathered from several sources, estimated, written and read again."""

import json

import numpy as np
import pytest

from fieldmark.errors import DamagedGalleryError
from fieldmark.marks.profile import Profiles, SourceKind, encode_tallies, gather, read_tallies, tally_table, tally_texts
from fieldmark.marks.question import find_separating_mark
from fieldmark.marks.reader import read_marks
from fieldmark.marks.traits import read_traits
from fieldmark.marks.vocabulary import COLUMN, Mark
from fieldmark.names import KnownNames

JAY, AUK, FINCH = ("Cyanocitta cristata", "Blue Jay"), ("Auk",), ("Finch",)
TEXTS = {
    JAY: ["A blue crown and a white belly.", "Blue back, blue crown, with a crest."],
    AUK: ["Black head, white belly.", "A black crown and black back; no crest."],
    FINCH: ["A red crown.", "Red crown, brown back, and a brown, striped breast."],
}


@pytest.fixture
def texts():
    return tally_texts(TEXTS, kind=SourceKind.TEXTS, source="training texts")


@pytest.fixture
def profiles(texts):
    return gather([texts], known=KnownNames([JAY])).profiles


@pytest.mark.parametrize(
    ("text", "best"),
    [
        ("blue crown", 0),
        ("red crown", 2),
        ("white belly, black crown", 1),
        ("white belly, no black crown", 0),
        ("crown orange or blue", 0),
        ("red forehead", 2),
        ("crest", 0),
    ],
)
def test_the_species_with_the_marks_fits_best(profiles, text, best):
    assert profiles.measure_fit(read_marks(text).marks).argmax() == best


def test_probabilities_stay_inside_and_a_denial_is_the_rest(profiles):
    assert 0 < profiles.share.min() <= profiles.share.max() < 1
    [named], [denied] = read_marks("crest").marks, read_marks("no crest").marks
    assert profiles.measure_chance(named) + profiles.measure_chance(denied) == pytest.approx(1)


def test_more_mentions_make_a_mark_more_common(texts):
    often = tally_texts({**TEXTS, FINCH: ["A red crown."] * 9}, kind=SourceKind.TEXTS, source="more")
    column, row = COLUMN[Mark("crown", "red")], 2
    assert Profiles(tuple(TEXTS), [often]).share[row, column] > Profiles(tuple(TEXTS), [texts]).share[row, column]


def test_sources_are_linked_by_any_name_and_what_resolves_to_nothing_is_listed(texts):
    book = tally_texts({("Blue Jay",): ["Gray belly."], ("Dodo",): ["Fat."]}, kind=SourceKind.BOOK, source="book.csv")
    gathered = gather([texts, book], known=KnownNames([JAY]))
    assert len(gathered.profiles.names) == 4
    assert gathered.unresolved == ("Dodo",)
    assert gathered.profiles.name_sources(0, Mark("belly", "gray")) == ("training texts", "book.csv")
    assert gathered.profiles.name_sources(0, Mark("crown", "blue")) == ("training texts",)


def test_contradicting_sources_are_both_kept_and_told(texts):
    book = tally_texts({AUK: ["It has a crest."]}, kind=SourceKind.BOOK, source="book.csv")
    profiles = gather([texts, book], known=KnownNames([JAY])).profiles
    assert profiles.list_contradictions() == (("Auk", Mark("head", "crested")),)
    [fact] = [each for each in profiles.describe(1) if each.mark == Mark("head", "crested")]
    assert (fact.sources, fact.against) == (("book.csv",), ("training texts",))
    assert 0.4 < fact.share < 0.6  # nobody has the majority
    more = tally_texts({AUK: ["It has no crest."] * 4}, kind=SourceKind.BOOK, source="book.csv")
    column = COLUMN[Mark("head", "crested")]
    assert gather([texts, book, more], known=KnownNames([JAY])).profiles.share[1, column] < 0.3


def test_what_is_written_is_read_again(texts, tmp_path):
    (tmp_path / "marks.json").write_bytes(encode_tallies([texts]))
    [found] = read_tallies(tmp_path / "marks.json")
    assert (found.kind, found.source, found.names) == (texts.kind, texts.source, texts.names)
    assert np.allclose(found.named, texts.named, atol=1e-4)
    assert np.allclose(found.denied, texts.denied, atol=1e-4)


@pytest.mark.parametrize("content", ["[]", "{", '{"sources": [{"kind": "rumor"}]}', "null", '{"sources": 3}'])
def test_a_broken_file_is_named(content, tmp_path):
    (tmp_path / "marks.json").write_text(content)
    with pytest.raises(DamagedGalleryError, match=r"marks\.json"):
        read_tallies(tmp_path / "marks.json")


def test_without_a_file_nothing_is_known_and_unknown_marks_are_left_out(tmp_path, texts):
    assert read_tallies(tmp_path / "marks.json") == ()
    (tmp_path / "marks.json").write_bytes(encode_tallies([texts]))
    changed = json.loads((tmp_path / "marks.json").read_text())
    changed["sources"][0]["species"][0]["named"] = {"antler green": 3}
    (tmp_path / "marks.json").write_text(json.dumps(changed))
    assert read_tallies(tmp_path / "marks.json")[0].named[0].sum() == 0


def test_the_separating_mark_divides_what_fits(profiles):
    weight = np.array([0.5, 0.5, 0.0])
    found = find_separating_mark(profiles.share, weight=weight, asked=read_marks("white belly").marks)
    assert found is not None
    own = profiles.share[:2, COLUMN[Mark(*found.mark.split(" ", 1))]]
    assert abs(own[0] - own[1]) > 0.2
    assert "belly" not in found.mark


def test_nothing_separates_one_species(profiles):
    assert find_separating_mark(profiles.share, weight=np.array([1.0, 0.0, 0.0]), asked=()) is None


def test_a_table_is_a_source_too(tmp_path):
    (tmp_path / "t.csv").write_text("name,red crown,belly\nFinch,0.9,white\nAuk,no,black\n")
    tally = tally_table(read_traits(tmp_path / "t.csv"))
    assert gather([tally], known=KnownNames([])).profiles.measure_fit(read_marks("red crown").marks).argmax() == 0
