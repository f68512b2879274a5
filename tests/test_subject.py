"""What a collection is of, and the words for it."""

import pytest

from fieldmark.subject import Subject, decide_by_names, decide_subject, get_words

BIRD, FROG = ("Cyanocitta cristata", "Blue Jay"), ("Rana temporaria", "Common Frog")


@pytest.mark.parametrize(
    ("known", "orders", "class_count", "wanted"),
    [
        ([], [], 0, Subject.THINGS),
        ([], [], 9, Subject.THINGS),
        ([BIRD], [], 1, Subject.BIRDS),
        ([BIRD], [], 2, Subject.BIRDS),
        ([BIRD], [], 3, Subject.THINGS),
        ([FROG], [], 1, Subject.SPECIES),
        ([FROG, BIRD], [], 2, Subject.BIRDS),
        ([FROG, FROG, BIRD], [], 3, Subject.SPECIES),
        ([], ["Passeriformes"], 1, Subject.BIRDS),
        ([], ["Anura", "ANURA", "Piciformes"], 3, Subject.SPECIES),
    ],
)
def test_the_classes_decide_what_a_collection_is_of(known, orders, class_count, wanted):
    assert decide_subject(known, orders=orders, class_count=class_count) is wanted


def test_every_subject_has_its_words():
    assert {subject: get_words(subject).one for subject in Subject} == {
        Subject.BIRDS: "species",
        Subject.SPECIES: "species",
        Subject.THINGS: "class",
    }
    assert get_words(Subject.SPECIES).sound == "sound"


def test_names_of_classes_alone_tell_birds_and_a_taxonomy_tells_species():
    assert decide_by_names(["Blue_Jay", "Barn_Swallow", "Whip_poor_Will"], is_ranked=False) is Subject.BIRDS
    assert decide_by_names(["tin_robot", "steam_train"], is_ranked=False) is Subject.THINGS
    assert decide_by_names(["Common_Frog", "Toad"], is_ranked=True) is Subject.SPECIES
