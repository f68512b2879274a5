"""The class or species that a text names, with a list of species as two encoders have it."""

import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldmark.data.taxonomy import Taxon, Taxonomy
from fieldmark.gallery.naming.name_index import ClassMeanings, NameIndex
from fieldmark.names import Reason, Resolution
from fieldmark.types import Medium

CUB = ["Cardinal", "Blue_Jay", "American_Crow", "012.Red_winged_Blackbird", "Thrush"]
SOUNDS = (
    ("Cardinalis cardinalis", "Northern Cardinal"),
    ("Cyanocitta cristata", "Blue Jay"),
    ("Cyanocitta stelleri", "Steller's Jay"),
    ("Turdus migratorius", "American Robin"),
    ("Erithacus rubecula", "European Robin"),
    ("Setophaga ruticilla", "American Redstart"),
    ("Phoenicurus phoenicurus", "Common Redstart"),
    ("Melospiza melodia", "Song Sparrow"),
    ("Zenaida macroura", "Mourning Dove"),
    ("Gavia immer", "Common Loon"),
    ("Sterna hirundo", "Common Tern"),
    ("Sylvia atricapilla", "Eurasian Blackcap"),
    ("Regulus regulus", "Goldcrest"),
    ("Emberiza citrinella", "Yellowhammer"),
    ("Turdus iliacus", "Redwing"),
    ("Ammospiza leconteii", "LeConte's Sparrow"),
    ("Antrostomus vociferus", "Eastern Whip-poor-will"),
    ("background", "background"),
    ("Engine", "Engine"),
)
PHOTOS = (("Cyanocitta cristata", "Blue Jay"), ("Agelaius phoeniceus", "Red-winged Blackbird"))


def make_index(held=(), *, trained=(), taxa=(), species=None, resolutions=()):
    species = {Medium.AUDIO: SOUNDS, Medium.IMAGE: PHOTOS} if species is None else species
    meanings = ClassMeanings(species, Taxonomy(tuple(taxa)), resolutions=resolutions)
    return NameIndex(held=held, trained=trained, meanings=meanings)


def find_class(text, *held, **options):
    found = make_index(held, **options).find(text)
    return None if found is None else found.class_name


@pytest.mark.parametrize("species", [None, {}], ids=["encoders that name", "encoders that do not"])
@pytest.mark.parametrize(
    ("text", "class_name"),
    [
        ("cardinal", "Cardinal"),
        ("Northern Cardinal", "Cardinal"),
        ("the song of a blue jay", "Blue_Jay"),
        ("photos of blue jays", "Blue_Jay"),
        ("male red-winged blackbird, singing", "012.Red_winged_Blackbird"),
        ("red winged blackbird", "012.Red_winged_Blackbird"),
        ("Red_winged_Blackbird", "012.Red_winged_Blackbird"),
        ("red-winged black bird", "012.Red_winged_Blackbird"),
        ("Common American Crow", "American_Crow"),
        ("thrushes", "Thrush"),
        ("the blue jay's call", "Blue_Jay"),
        ("BLUEJAY", "Blue_Jay"),
    ],
)
def test_a_name_is_found_within_the_words_people_put_around_it(text, class_name, species):
    assert find_class(text, *CUB, species=species) == class_name


@pytest.mark.parametrize("species", [None, {}], ids=["encoders that name", "encoders that do not"])
@pytest.mark.parametrize(
    "text",
    ["a small red bird", "bird", "", "...", "a blue jay but smaller", "cardinal red crown", "of the", "???", "blue"],
)
def test_a_description_names_nothing(text, species):
    assert make_index(CUB, species=species).find(text) is None


def test_a_synonym_is_found_like_a_name():
    catbird = Taxon(
        "Gray Catbird", scientific_name="Dumetella carolinensis", synonyms=("Grey Catbird", "Katzendrossel")
    )
    for text in ("song of the grey catbird", "Dumetella carolinensis", "gray catbirds", "Katzendrossel"):
        assert find_class(text, *CUB, "Gray_Catbird", taxa=[catbird]) == "Gray_Catbird"
        assert find_class(text, *CUB, taxa=[catbird]) == "Gray Catbird"


# ---------------------------------------------------------------- longer and shorter names


@pytest.mark.parametrize(
    ("text", "held"),
    [("Common Redstart", "Redstart"), ("American Robin", "Robin"), ("songs of the european robin", "Robin")],
)
def test_a_longer_name_is_not_cut_down_to_a_class_that_may_be_several_species(text, held):
    found = make_index([held, "Blue_Jay"]).find(text)
    assert found.class_name is None
    assert found.query_name.casefold() in text.casefold()
    assert [found.judge(name) for name in (held, "Blue_Jay", None)] == [0, -1, 0]


def test_a_class_that_can_only_be_the_named_species_is_found_by_the_longer_name():
    found = make_index(["Cardinal", "Blue_Jay", "Redstart", "Amsel"]).find("Northern Cardinal")
    assert (found.class_name, found.query_name) == ("Cardinal", "Northern Cardinal")
    assert found.other_classes == {"Blue_Jay", "Redstart"}


def test_regions_are_left_out_only_where_no_encoder_knows_the_class():
    assert find_class("Common Redstart", "Redstart", species={}) == "Redstart"
    assert find_class("Northern Redstart", "Redstart") is None
    assert find_class("American Dodo", "Dodo") == "Dodo"


def test_a_part_of_a_name_is_found_where_only_one_class_has_it():
    assert find_class("cardinal", "Northern_Cardinal", "Blue_Jay") == "Northern_Cardinal"
    assert find_class("the cardinal's song", "Northern_Cardinal") == "Northern_Cardinal"
    assert find_class("crow", *CUB) == "American_Crow"
    assert make_index(["Northern_Cardinal", "Vermilion_Cardinal"]).find("cardinal") is None
    assert make_index(["Red_crested_Cardinal", "Desert_Cardinal"], species={}).find("cardinal") is None
    assert find_class("cardinal", "Blue_Jay", trained=["Northern_Cardinal"]) == "Northern_Cardinal"
    pyrrhuloxia = Taxon("Pyrrhuloxia", synonyms=("Desert Cardinal",))
    assert make_index(["Northern_Cardinal", "Pyrrhuloxia"], taxa=[pyrrhuloxia]).find("cardinal") is None
    assert make_index(["Clouded_Yellow"]).find("yellow") is None
    assert make_index(["Red_winged_Blackbird"]).find("red blackbird") is None


# ---------------------------------------------------------------- descriptions

_COLORS = ("black", "white", "red", "gold", "yellow", "blue", "brown")
_PARTS = ("cap", "throat", "wing", "wings", "crest", "hammer", "start", "neck", "tail", "head", "bird", "caps")
_CLASSES = ("Blackcap", "Whitethroat", "Redwing", "Goldcrest", "Yellowhammer", "Redstart", "Redhead", "Bluetail")


@given(st.lists(st.tuples(st.sampled_from(_COLORS), st.sampled_from(_PARTS)), min_size=1, max_size=3), st.booleans())
def test_field_marks_name_nothing(marks, is_sentence):
    words = [f"{color} {part}" for color, part in marks]
    text = f"a bird with a {' and a '.join(words)}" if is_sentence else " ".join(words)
    assert _WITH_ENCODERS.find(text) is None
    assert _WITHOUT_ENCODERS.find(text) is None


_WITH_ENCODERS = make_index(_CLASSES)
_WITHOUT_ENCODERS = make_index(_CLASSES, species={})


@pytest.mark.parametrize(
    ("text", "class_name"),
    [
        *(("blackcap", "Blackcap"), ("a Blackcap", "Blackcap"), ("black-cap", "Blackcap"), ("blackcaps", "Blackcap")),
        *(("song of the black cap", None), ("Black Cap", None), ("black_cap", None)),
    ],
)
def test_a_name_of_one_word_is_written_in_one_word(text, class_name):
    assert find_class(text, *_CLASSES) == class_name


@pytest.mark.parametrize("text", ["background", "engine", "the background", "Engines"])
def test_labels_of_encoders_that_are_no_species_name_nothing(text):
    assert make_index(CUB).find(text) is None
    assert find_class("background", "Background") == "Background"
    assert make_index(["Background"]).find("blue jay").judge("Background") == -1
    assert make_index(["Background", "Blue_Jay"]).find("background").judge("Blue_Jay") == -1


# ---------------------------------------------------------------- spelling


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("song of the song sparrow", "Song Sparrow"),
        ("song sparrow song", "Song Sparrow"),
        ("Common Loon call", "Common Loon"),
        ("photos of the common tern", "Common Tern"),
        ("call of the mourning dove", "Mourning Dove"),
        ("leconte's sparrow", "LeConte's Sparrow"),
        ("Le Conte's Sparrow", "LeConte's Sparrow"),
        ("Le Conte\u2019s Sparrows", "LeConte's Sparrow"),
        ("eastern whip poor will", "Eastern Whip-poor-will"),
        ("Eastern Whippoorwill", "Eastern Whip-poor-will"),
        ("Cardinalis cardinalis (Linnaeus, 1758)", "Cardinalis cardinalis"),
        ("cardinalis cardinalis (linnaeus, 1758)", "Cardinalis cardinalis"),
        ("Cardinalis cardinalis Linnaeus, 1758", "Cardinalis cardinalis"),
        ("Cardinalis cardinalis (Linnaeus)", "Cardinalis cardinalis"),
        ("Cardinalis cardinalis cardinalis", "Cardinalis cardinalis"),
        ("Cardinalis cardinalis ssp. igneus", "Cardinalis cardinalis"),
        ("song of Cardinalis cardinalis", "Cardinalis cardinalis"),
        ("Northern Cardinal (Cardinalis cardinalis)", "Northern Cardinal"),
        ("Blue Jay - Cyanocitta cristata", "Blue Jay"),
        ("Blue Jay (male)", "Blue Jay"),
    ],
)
def test_a_species_of_an_encoder_is_found_in_any_spelling(text, name):
    found = make_index(["Amsel"]).find(text)
    assert found.name == found.query_name == name
    assert found.judge("Amsel") == 0


@pytest.mark.parametrize(
    "text",
    ["Blue Jay (Steller's Jay)", "blue jay perched", "Blue Jay (with a snake)", "Cardinalis cardinalis in the snow"],
)
def test_a_name_with_other_words_beside_it_is_a_description(text):
    assert make_index(["Blue_jay"]).find(text) is None


def test_scientific_names_with_authors_find_the_class():
    for text in ("Cardinalis cardinalis", "Cardinalis cardinalis (Linnaeus, 1758)", "Cardinalis cardinalis igneus"):
        assert find_class(text, *CUB) == "Cardinal"


def test_exact_spelling_decides_between_classes_that_differ_in_nothing_else():
    languages = ["C++", "C#"]
    assert find_class("c++", *languages) == "C++"
    assert find_class("C#", *languages) == "C#"
    assert find_class("C", *languages) is None
    assert find_class("C", "C++") is None
    jays = ["Blue_Jay", "Blue Jay"]
    assert [find_class(each, *jays, species={}) for each in (*jays, "blue-jay")] == [*jays, None]
    found = make_index(jays).find("blue-jay")
    assert (found.class_name, found.query_name, found.judge("Blue Jay"), found.judge("Blue_Jay")) == (
        None,
        *["Blue Jay"],
        0,
        0,
    )


@pytest.mark.parametrize("name", ["蓝松鸦", "Синяя сойка", "Blauhäher", "Rüppell's Vulture", "Geai bleu", "Løvsanger"])
def test_names_of_other_scripts_and_languages_are_found(name):
    for form in ("NFC", "NFD"):
        for text in (name, name.lower(), f"photo of {name}"):
            assert find_class(unicodedata.normalize(form, text), name, *CUB) == name
    assert find_class("Ruppell\u2019s vulture", "Rüppell's Vulture") == "Rüppell's Vulture"


_ANY_NAME = st.sampled_from(
    (
        *(
            "Blue_Jay",
            "Red_winged_Blackbird",
            "Le_Conte_Sparrow",
            "Whip_poor_Will",
            "Gray_Catbird",
            "Rüppell's Vulture",
        ),
        *("Cardinal", "Song Sparrow", "Chuck-will's-widow", "Great_Grey_Shrike", "Blauhäher", "Cyanocitta cristata"),
    )
)
_CASE = st.sampled_from((str.lower, str.upper, str.title, str))
_JOINT = st.sampled_from((" ", "_", "-"))
_FRAME = st.sampled_from(("{}", "song of the {}", "photos of {}", "a male {}, singing", "{} call", " {}. "))


@given(_ANY_NAME, _CASE, _JOINT, _FRAME, st.sampled_from(("NFC", "NFD")))
def test_a_class_is_named_in_any_spelling(name, case, joint, frame, form):
    text = unicodedata.normalize(form, frame.format(case(joint.join(name.replace("_", " ").split()))))
    for species in ({}, {Medium.AUDIO: SOUNDS[2:]}):
        assert find_class(text, name, "Snowy Egret", species=species) == name


# ---------------------------------------------------------------- classes of other names


def test_a_class_that_no_encoder_knows_may_be_any_species():
    found = make_index(["Blauhäher", "Cardinal", "Redstart", "unknown"]).find("Blue Jay")
    assert found.class_name is None
    assert [found.judge(each) for each in ("Blauhäher", "Cardinal", "Redstart", "unknown")] == [0, -1, -1, -1]


def test_where_no_encoder_knows_names_all_other_labels_are_other_classes():
    found = make_index(["Blauhäher", "Amsel"], species={}).find("Amsel")
    assert (found.judge("Amsel"), found.judge("Blauhäher")) == (1, -1)


def test_classes_of_one_taxonomy_are_different():
    taxa = [Taxon("Amsel", scientific_name="Turdus merula"), Taxon("Star", scientific_name="Sturnus vulgaris")]
    found = make_index(["Amsel", "Star", "Blauhäher"], taxa=taxa).find("Turdus merula")
    assert [found.judge(each) for each in ("Amsel", "Star", "Blauhäher")] == [1, -1, 0]
    found = make_index(["Amsel", "Turdus_merula", "Star"], taxa=taxa).find("Amsel")
    assert [found.judge(each) for each in ("Amsel", "Turdus_merula", "Star")] == [1, 0, -1]


def test_a_taxonomy_tells_the_species_of_a_class():
    jay = Taxon("Blauhäher", scientific_name="Cyanocitta cristata")
    found = make_index(["Blauhäher", "Amsel"], taxa=[jay]).find("blue jay")
    assert (found.class_name, found.query_name) == ("Blauhäher", "Blue Jay")


def test_a_trained_class_is_known_in_any_spelling():
    for trained in ("Blue_Jay", "Cyanocitta_cristata"):
        found = make_index(["Blue Jay", "Cardinal"], trained=[trained]).find("blue jays")
        assert (found.class_name, found.query_name) == ("Blue Jay", trained)
    found = make_index(["Cyanocitta cristata"], trained=["Blue_Jay"]).find("Blue Jay")
    assert (found.class_name, found.query_name) == ("Cyanocitta cristata", "Blue_Jay")
    found = make_index(["Cardinal"], trained=["Blue_Jay"]).find("Cyanocitta cristata")
    assert (found.class_name, found.query_name, found.judge("Cardinal")) == ("Blue_Jay", "Blue_Jay", -1)


def test_training_tells_the_species_of_a_class_whose_name_does_not():
    agreed = Resolution("Blauhäher", ("Blue Jay",), Reason.AGREEMENT, 0.8)
    found = make_index(["blauhäher", "Cardinal"], trained=["Blauhäher"], resolutions=[agreed]).find(
        "Cyanocitta cristata"
    )
    assert (found.class_name, found.query_name, found.is_agreed) == ("blauhäher", "Blauhäher", True)
    assert found.judge("Cardinal") == -1
    other = make_index(["Blauhäher"], trained=["Blauhäher"], resolutions=[agreed]).find("Steller's Jay")
    assert (other.class_name, other.judge("Blauhäher")) == (None, 0)


def test_items_that_contradict_a_contained_name_leave_it_open():
    contradicted = Resolution("Cardinal", (), Reason.AMBIGUOUS, 0.0, ("Northern Cardinal", "American Robin"))
    options = {"trained": ["Cardinal"], "resolutions": [contradicted]}
    assert make_index(["Cardinal"], **options).find("Northern Cardinal").class_name is None
    map_row = Resolution("Blue_Jay", ("Steller's Jay",), Reason.MAPPED, 1.0)
    assert find_class("Steller's Jay", "Blue_Jay", trained=["Blue_Jay"], resolutions=[map_row]) == "Blue_Jay"
    unknown = Resolution("Cardinal", (), Reason.UNKNOWN, 0.0)
    assert find_class("Northern Cardinal", "Cardinal", trained=["Cardinal"], resolutions=[unknown]) == "Cardinal"


def test_two_classes_of_one_species_are_both_possible():
    found = make_index(["Cyanocitta cristata", "Jay, Blue_Jay (Cyanocitta cristata)"]).find("blue jay")
    assert (found.class_name, found.other_classes) == (None, frozenset())


@pytest.mark.parametrize("text", ["Aa bb " + "A,A," * 23, "(" * 100, "Aa bb " + "a-" * 47, "a " * 50, "s's" * 33])
def test_a_hostile_text_is_no_name(text):
    assert make_index(CUB).find(text) is None


def test_a_text_is_compared_with_thousands_of_names_in_little_time():
    species = tuple((f"Genus{number} species", f"Bird Number{number}") for number in range(7_500))
    index = make_index([f"Bird_Number{number}" for number in range(200)], species={Medium.AUDIO: species})
    index.find("a warm-up")
    started = time.perf_counter()
    for _ in range(100):
        index.find("a small brown bird with a white throat and a long tail")
    assert (time.perf_counter() - started) / 100 < 0.005
