"""The reader of taxonomy.csv."""

import pytest

from fieldmark.data.taxonomy import Taxon, read_taxonomy
from fieldmark.errors import TaxonomyError

HEADER = "class_name,genus,family,order,scientific_name,synonyms\n"


def test_read_taxonomy_gives_ranks_names_and_synonyms(tmp_path):
    path = tmp_path / "taxonomy.csv"
    path.write_text(
        HEADER + "Veery,Catharus,Turdidae,Passeriformes,Catharus fuscescens,Wilson's Thrush; Tawny Thrush\n"
    )
    read = read_taxonomy(path)
    synonyms = ("Wilson's Thrush", "Tawny Thrush")
    taxon = Taxon("Catharus", "Turdidae", "Passeriformes", "Catharus fuscescens", synonyms)
    assert read.taxon_by_class_name == {"Veery": taxon}


def test_names_at_leaves_out_classes_without_that_rank(tmp_path):
    path = tmp_path / "taxonomy.csv"
    path.write_text("\ufefforder,class_name,genus,family\nPasseriformes,Veery,Catharus,Turdidae\n,Snark,,Snarkidae\n")
    assert read_taxonomy(path).names_at("genus") == {"Veery": "Catharus"}
    assert read_taxonomy(path).names_at("family") == {"Veery": "Turdidae", "Snark": "Snarkidae"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("class_name,genus\nVeery,Catharus\n", "lacks the columns family, order"),
        (HEADER + "Veery,Catharus,,,,\nVeery,Catharus,,,,\n", "line 3 names the class 'Veery' again"),
        (HEADER + ",Catharus,,,,\n", "line 2 has no class_name"),
        ("", "lacks the columns"),
    ],
)
def test_read_taxonomy_names_what_is_wrong(text, reason, tmp_path):
    path = tmp_path / "taxonomy.csv"
    path.write_text(text)
    with pytest.raises(TaxonomyError, match=reason):
        read_taxonomy(path)


def test_read_taxonomy_without_a_file(tmp_path):
    with pytest.raises(TaxonomyError, match=r"nowhere\.csv"):
        read_taxonomy(tmp_path / "nowhere.csv")
