"""The taxonomy file: read, written, and refused where one name stands for two classes."""

import pytest

from fieldmark.data.taxonomy import Taxon, Taxonomy, read_taxonomy, write_taxonomy
from fieldmark.errors import ManifestError
from fieldmark.names import name_key

GULL = Taxon("Common_Gull", "Larus", "Laridae", "Charadriiformes", "Larus canus", ("Mew Gull", "Sea Mew"))
TERN = Taxon("Tern")


def test_taxonomy_comes_back_as_it_was_written(tmp_path):
    write_taxonomy(Taxonomy((GULL, TERN)), tmp_path / "taxonomy.csv")
    assert read_taxonomy(tmp_path / "taxonomy.csv") == Taxonomy((GULL, TERN))


@pytest.mark.parametrize(
    "name", ["Common_Gull", "common gull", "Larus canus", "mew-gull", "SEA MEW", "044.Common_Gull"]
)
def test_taxonomy_finds_a_class_by_each_of_its_names(name):
    assert Taxonomy((GULL, TERN)).class_named(name) == "Common_Gull"


def test_taxonomy_has_names_in_languages(tmp_path):
    path = tmp_path / "taxonomy.csv"
    path.write_text(
        "class_name,synonyms,name_de,Name_FR\nCommon_Gull,Mew Gull,Sturmmöwe,Goéland cendré\nTern,,,\n", "utf-8"
    )
    taxonomy = read_taxonomy(path)
    assert taxonomy.taxa[0].names == {"de": "Sturmmöwe", "fr": "Goéland cendré"}
    assert taxonomy.taxa[1].names == {}
    assert taxonomy.class_named("goéland cendré") == "Common_Gull"
    write_taxonomy(taxonomy, path)
    assert read_taxonomy(path) == taxonomy


def test_taxonomy_knows_no_other_names():
    assert Taxonomy((GULL, TERN)).class_named("Herring Gull") is None
    assert name_key("12.Black_footed Albatross") == name_key("black-footed albatross") == "blackfootedalbatross"


def test_taxonomy_leaves_out_of_a_rank_what_has_none_there():
    assert Taxonomy((GULL, TERN)).names_at("family") == {"Common_Gull": "Laridae"}


def test_taxonomy_needs_only_class_names(tmp_path):
    (tmp_path / "t.csv").write_text("Class_Name,note\nTern,x\n")
    assert read_taxonomy(tmp_path / "t.csv").taxa == (TERN,)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("genus\nLarus\n", "no column 'class_name'"),
        ("class_name,genus\n,Larus\n", "line 2: no class_name"),
        ("class_name,synonyms\nTern,\nGull,tern\n", "line 3: 'tern' is already a name of 'Tern'"),
        ("class_name\nTern\nTern\n", "line 3: the class 'Tern' is already listed"),
    ],
)
def test_taxonomy_refuses_what_is_not_clear(text, message, tmp_path):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(ManifestError, match=message):
        read_taxonomy(tmp_path / "t.csv")


def test_taxonomy_prefers_a_class_name_to_the_same_name_as_a_synonym():
    mew = Taxon("Mew_Gull")
    for taxa in ((GULL, mew), (mew, GULL)):
        assert Taxonomy(taxa).class_named("mew gull") == "Mew_Gull"
