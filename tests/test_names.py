"""Names of species: their spellings, and the resolution of a class name to the names that encoders know."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldmark.names import KnownNames, Reason, group_names, is_species_name, link_key, name_key, normalize_name

SPECIES = [
    ("Cardinalis cardinalis", "Northern Cardinal"),
    ("Paroaria coronata", "Red-crested Cardinal"),
    ("Cyanocitta cristata", "Blue Jay"),
    ("Ammospiza leconteii", "LeConte's Sparrow"),
    ("Setophaga petechia", "Yellow Warbler"),
    ("Poecile atricapillus", "Black-capped Chickadee"),
    ("Sylvia atricapilla", "Eurasian Blackcap"),
    ("Lamprotornis nitens", "Cape Starling"),
    ("Fratercula arctica", "Atlantic Puffin"),
    ("Puffinus puffinus", "Manx Shearwater"),
    ("Geococcyx californianus", "Greater Roadrunner"),
    ("Larus argentatus", "Herring Gull"),
    ("Phoebastria nigripes", "Black-footed Albatross"),
    ("Rüppellia rueppelli", "Rüppell's Vulture"),
    ("background",),
    ("Engine", "Engine"),
]
KNOWN = KnownNames(SPECIES)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Red_winged_Blackbird", "Red-winged Blackbird"),
        ("012.Black_footed_Albatross", "black-footed albatrosses"),
        ("Le Conte Sparrow", "LeConte\u2019s Sparrow"),
        ("Swainsons_Thrush", "Swainson's Thrushes"),
        ("Swainson s Thrush", "Swainson's Thrush"),
        ("Grey Catbird", "gray catbird"),
        ("Canaries", "Canary"),
        ("R\u00fcppell's Vulture", "Ru\u0308ppells vulture"),
        ("\u00d8rnefugl", "ornefugl"),
    ],
)
def test_spellings_of_one_name_have_one_key(one, other):
    assert name_key(one) == name_key(other)


@pytest.mark.parametrize(("one", "other"), [("Class 17", "Class 18"), ("Blue Jay", "Green Jay"), ("鹤", "鹭")])
def test_names_that_differ_have_two_keys(one, other):
    assert name_key(one) != name_key(other)


def test_names_with_hardly_a_letter_are_compared_as_they_stand():
    assert link_key("C++") != link_key("C#")
    assert link_key("Blue_Jay") == link_key("blue jays")


@given(st.text(max_size=40))
def test_the_key_of_a_name_is_the_same_however_its_characters_are_composed(name):
    assert name_key(unicodedata.normalize("NFD", name)) == name_key(unicodedata.normalize("NFC", name))


@given(st.text(max_size=40))
def test_normalize_name_of_a_normalized_name_changes_nothing(name):
    assert normalize_name(normalize_name(name)) == normalize_name(name)


@pytest.mark.parametrize(
    "label", ["background", "Background", "Engine", "Human vocal", "power_tools", "Noise", "", "--"]
)
def test_labels_of_a_classifier_that_are_no_species(label):
    assert not is_species_name(label)
    assert not KNOWN.find(label)


@pytest.mark.parametrize(
    ("class_name", "name", "reason"),
    [
        ("Blue Jay", "Blue Jay", Reason.EXACT),
        ("cyanocitta cristata", "Blue Jay", Reason.EXACT),
        ("045.Blue_Jays", "Blue Jay", Reason.SPELLING),
        ("Le_Conte_Sparrow", "LeConte's Sparrow", Reason.SPELLING),
        ("Ruppells_Vulture", "Rüppell's Vulture", Reason.SPELLING),
        ("Cyanocitta cristata (Linnaeus, 1758)", "Blue Jay", Reason.AUTHOR),
        ("Cyanocitta cristata Linnaeus", "Blue Jay", Reason.AUTHOR),
        ("cyanocitta_cristata_bromia", "Blue Jay", Reason.AUTHOR),
        ("Cyanocitta cristata subsp. bromia", "Blue Jay", Reason.AUTHOR),
        ("Blue Jay (Cyanocitta cristata)", "Blue Jay", Reason.AUTHOR),
        ("Cyanocitta (Cyanurus) cristata (Linnaeus, 1758)", "Blue Jay", Reason.AUTHOR),
        ("Cyanocitta cristata sensu lato", "Blue Jay", Reason.AUTHOR),
        ("Cardinalis cardinalis - Northern Cardinal", "Northern Cardinal", Reason.AUTHOR),
        ("Geococcyx", "Greater Roadrunner", Reason.CONTAINED),
        ("Herring_Gulls", "Herring Gull", Reason.SPELLING),
        ("Dendroica petechia", "Yellow Warbler", Reason.CONTAINED),
        ("Dendroica petechia (Linnaeus, 1766)", "Yellow Warbler", Reason.CONTAINED),
    ],
)
def test_a_class_name_is_resolved_with_its_reason(class_name, name, reason):
    found = KNOWN.resolve(class_name)
    assert (found.names, found.reason) == ((name,), reason)
    assert found.is_plain == (reason in (Reason.EXACT, Reason.SPELLING))


@pytest.mark.parametrize(
    ("class_name", "candidates"),
    [
        ("Cardinal", {"Northern Cardinal", "Red-crested Cardinal"}),
        ("Parus atricapillus", {"Black-capped Chickadee", "Eurasian Blackcap"}),
    ],
)
def test_a_name_that_may_be_several_species_is_never_guessed(class_name, candidates):
    found = KNOWN.resolve(class_name)
    assert (found.names, found.reason, set(found.candidates)) == ((), Reason.AMBIGUOUS, candidates)


@pytest.mark.parametrize(
    "class_name",
    [
        *(
            "Horned_Puffin",
            "horned_puffin",
            "Class 17",
            "Blauhäher",
            "background",
            "C++",
            "Corvus sp.",
            "Cardinal Lory",
        ),
        *("Larus argentatus x Larus fuscus", "Blue", "Larus cf. argentatus", ""),
    ],
)
def test_a_name_that_nobody_knows_is_not_resolved(class_name):
    found = KNOWN.resolve(class_name)
    assert (found.names, found.reason, found.candidates) == ((), Reason.UNKNOWN, ())


def test_other_names_of_a_class_resolve_it_and_a_lump_is_a_sum():
    assert KNOWN.resolve("Blauhäher", other_names=["Cyanocitta cristata"]).names == ("Blue Jay",)
    lumped = KNOWN.resolve("Cardinals", other_names=["Northern Cardinal", "Paroaria coronata"])
    assert set(lumped.names) == {"Northern Cardinal", "Red-crested Cardinal"}
    assert lumped.reason is Reason.SYNONYM


def test_the_genera_of_its_family_decide_between_contained_names():
    assert KNOWN.resolve("Cardinal", genera={"Cardinalis", "Pheucticus"}).names == ("Northern Cardinal",)


def test_species_of_two_encoders_are_one_where_they_share_a_name():
    known = KnownNames([("Cyanocitta cristata", "Blue Jay"), ("Blue Jay",), ("Cyanocitta cristata", "Jay, Blue")])
    assert known.resolve("Jay, Blue").names == known.resolve("blue jay").names
    assert set(known.find_all_names(["Blue Jay"])) == {"Blue Jay", "Cyanocitta cristata", "Jay, Blue"}


@pytest.mark.parametrize(
    ("class_name", "name", "is_compatible"),
    [
        ("Cardinal", "Northern Cardinal", True),
        ("Cape_Glossy_Starling", "Cape Starling", True),
        ("Class 17", "Blue Jay", True),
        ("Blauhäher", "Blue Jay", True),
        ("Parus atricapillus", "Black-capped Chickadee", True),
        ("Horned_Puffin", "Atlantic Puffin", False),
        ("Cardinal", "Blue Jay", False),
    ],
)
def test_items_may_suggest_a_name_that_the_class_name_allows(class_name, name, is_compatible):
    assert KNOWN.is_compatible(class_name, name) == is_compatible


@st.composite
def altered_names(draw):
    """A known English name in another spelling, and the name itself."""
    name = draw(st.sampled_from([names[-1] for names in SPECIES if len(names) > 1 and names[0] != names[-1]]))
    change = draw(st.lists(st.sampled_from(["_", "upper", "plural", "number", "nfd", "possessive"]), unique=True))
    spelled = name
    for each in change:
        match each:
            case "_":
                spelled = spelled.replace(" ", "_").replace("-", "_")
            case "upper":
                spelled = spelled.upper()
            case "plural":
                spelled = spelled + ("es" if spelled.lower().endswith("s") else "s")
            case "number":
                spelled = "007." + spelled
            case "nfd":
                spelled = unicodedata.normalize("NFD", spelled)
            case "possessive":
                spelled = spelled.replace("'", "\u2019")
    return spelled, name


@given(altered_names())
def test_every_spelling_of_a_known_name_is_resolved_to_it(altered):
    spelled, name = altered
    assert KNOWN.resolve(spelled).names == (name,)


@pytest.mark.parametrize(
    "name",
    ["Cyanocitta cristata \u00d7 stelleri", "Cyanocitta cristata x Cyanocitta stelleri", "Cyanocitta cristata cf."],
)
def test_a_hybrid_or_an_open_name_is_no_parent_of_it(name):
    assert KNOWN.resolve(name).reason is Reason.UNKNOWN


def test_names_of_one_species_are_grouped_whatever_follows_them_and_hybrids_apart():
    of_one = ("Pica pica", "pica_pica", "Pica (Pica) pica", "Pica pica s.l.", "Pica pica (Linnaeus, 1758)")
    crosses = ("Pica pica x nuttalli", "Pica pica \u00d7 Pica nuttalli")
    assert group_names([*of_one, *crosses]) == [
        tuple(sorted(names, key=lambda name: (len(name), name))) for names in (of_one, crosses)
    ]
