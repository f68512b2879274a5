"""Parts of scientific names, as museums and observers write them."""

import pytest

from fieldmark.scientific_name import parse_scientific_name


@pytest.mark.parametrize(
    ("text", "species", "authorship"),
    [
        ("Spinus tristis", "Spinus tristis", None),
        ("Spinus  tristis (Linnaeus, 1758)", "Spinus tristis", "(Linnaeus, 1758)"),
        ("Spinus_tristis", "Spinus tristis", None),
        ("Corvus_corax_Linnaeus,_1758", "Corvus corax", "Linnaeus, 1758"),
        ("Corvus corax Linnaeus, 1758", "Corvus corax", "Linnaeus, 1758"),
        ("Lanius (Lanius) collurio Linnaeus, 1758", "Lanius collurio", "Linnaeus, 1758"),
        ("Dendroica caerulescens de la Torre, 1901", "Dendroica caerulescens", "de la Torre, 1901"),
        ("Dendroica nigrescens (J.K. Townsend, 1837)", "Dendroica nigrescens", "(J.K. Townsend, 1837)"),
        ("Larus canus sensu lato", "Larus canus", None),
        ("Larus canus s.l.", "Larus canus", None),
        ("Larus canus auct.", "Larus canus", None),
        ("Larus canus Linnaeus, 1758 non Gmelin", "Larus canus", "Linnaeus, 1758"),
        ("Passer domesticus (Domestic type)", "Passer domesticus", None),
        ("Passer domesticus [domesticus Group]", "Passer domesticus", None),
        ("Crax blumenbachii Spix, 1825 [1]", "Crax blumenbachii", "Spix, 1825"),
        ("Setophaga coronata coronata/hooveri", "Setophaga coronata", None),
    ],
)
def test_an_author_is_no_part_of_the_species(text, species, authorship):
    name = parse_scientific_name(text)
    assert (name.species, name.authorship, name.is_species) == (species, authorship, True)


@pytest.mark.parametrize(
    "text",
    [
        *("Larus sp.", "Larus cf. canus", "Larus argentatus?", "Corvus corone/cornix"),
        *("Larus ?canus", "Larus canus (?)"),
    ],
)
def test_a_name_that_leaves_the_species_open_is_none(text):
    name = parse_scientific_name(text)
    assert name.is_open
    assert not name.is_species


@pytest.mark.parametrize(
    "text",
    [
        *("Anas platyrhynchos x acuta", "Anas platyrhynchos \u00d7 Anas acuta", "Anas platyrhynchos X A. acuta"),
        "Anas platyrhynchos x acuta (hybrid)",
    ],
)
def test_both_parents_of_a_hybrid_are_told_in_one_way(text):
    name = parse_scientific_name(text)
    assert name.species == "Anas platyrhynchos \u00d7 Anas acuta"
    assert not name.is_species


def test_a_hybrid_with_a_name_of_its_own_is_no_cross_with_its_genus():
    assert parse_scientific_name("Larus x hybridus").species == "Larus \u00d7 hybridus"


def test_a_rank_below_the_species_is_the_species_with_an_epithet():
    assert parse_scientific_name("Motacilla alba subsp. yarrellii").epithet == "yarrellii"
    assert parse_scientific_name("Motacilla alba yarrellii Gould, 1837").species == "Motacilla alba"


@pytest.mark.parametrize(
    "text",
    [
        *("Blue Jay", "", "blue jay", "Northern Cardinal (male)", "3 gulls"),
        *("Red-winged Blackbird", "Red_winged_Blackbird", "Red_winged Blackbird"),
    ],
)
def test_an_english_name_is_no_scientific_one(text):
    assert parse_scientific_name(text) is None
