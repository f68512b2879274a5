"""The species of classes: by names map, taxonomy and agreement of encoders."""

import pytest
import torch

from fieldmark.data.naming import (
    NameSources,
    Votes,
    count_votes,
    describe_resolutions,
    list_shared_names,
    read_names_map,
    resolve_classes,
    settle_by_votes,
)
from fieldmark.data.taxonomy import Taxon, Taxonomy
from fieldmark.errors import ManifestError
from fieldmark.names import KnownNames, Reason
from fieldmark.origin import number_origins
from fieldmark.types import Item, Medium

SPECIES = [
    ("Cardinalis cardinalis", "Northern Cardinal"),
    ("Paroaria coronata", "Red-crested Cardinal"),
    ("Cyanocitta cristata", "Blue Jay"),
    ("Fratercula arctica", "Atlantic Puffin"),
    ("Colibri thalassinus", "Mexican Violetear"),
    ("Colibri cyanotus", "Lesser Violetear"),
]
KNOWN = KnownNames(SPECIES)
NAMES = frozenset(names[-1] for names in SPECIES)


def make_votes(by_class, names=NAMES):
    return Votes(names, {name: {vote: float(count) for vote, count in own.items()} for name, own in by_class.items()})


def settle(class_name, *votes, others=None):
    resolutions = resolve_classes([class_name, *(others or {})], KNOWN)
    counted = [make_votes({class_name: own, **(others or {})}) for own in votes]
    return settle_by_votes(resolutions, counted, known=KNOWN)[0]


def test_a_taxonomy_gives_a_class_its_other_names():
    taxonomy = Taxonomy((Taxon("Blauhäher", scientific_name="Cyanocitta cristata"), Taxon("Dodo")))
    jay, dodo = resolve_classes(["blauhaeher", "Dodo"], KNOWN, sources=NameSources(taxonomy))
    assert not jay.is_resolved  # another spelling than that of the taxonomy
    jay, dodo = resolve_classes(["BLAUHÄHER", "Dodo"], KNOWN, sources=NameSources(taxonomy))
    assert (jay.names, jay.reason) == (("Blue Jay",), Reason.SYNONYM)
    assert dodo.reason is Reason.UNKNOWN


def test_the_family_of_a_class_decides_between_contained_names():
    taxonomy = Taxonomy((Taxon("Cardinal", genus="Cardinalis", family="Cardinalidae"),))
    (cardinal,) = resolve_classes(["Cardinal"], KNOWN, sources=NameSources(taxonomy))
    assert cardinal.names == ("Northern Cardinal",)


def test_a_names_map_decides(tmp_path):
    path = tmp_path / "names.csv"
    path.write_text(
        "class_name,name\nCardinal,Cardinalis cardinalis\nGreen,mexican violetear\nGreen,Colibri cyanotus\nJay,\n"
    )
    sources = NameSources(names_map=read_names_map(path))
    cardinal, green, jay = resolve_classes(["Cardinal", "Green", "Jay"], KNOWN, sources=sources)
    assert (cardinal.names, cardinal.reason) == (("Northern Cardinal",), Reason.MAPPED)
    assert green.names == ("Mexican Violetear", "Lesser Violetear")
    assert (jay.names, jay.reason) == ((), Reason.MAPPED)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("class_name,species\nJay,Blue Jay\n", "no column 'name'"),
        ("class_name,name\n,Blue Jay\n", "no class_name"),
        ("class_name,name\nJay,Dodo\n", "no encoder knows 'Dodo'"),
        ("class_name,name\nJay,background\n", "no encoder knows 'background'"),
        ("class_name,name\nJays,Blue Jay\n", "no class is called 'Jays'"),
    ],
)
def test_faults_of_a_names_map_are_told(tmp_path, text, told):
    path = tmp_path / "names.csv"
    path.write_text(text)
    with pytest.raises(ManifestError, match=told):
        resolve_classes(["Jay"], KNOWN, sources=NameSources(names_map=read_names_map(path)))


def test_votes_are_those_of_groups_by_their_mean_score():
    named_scores = {"Cyanocitta cristata": 1, "Blue Jay": 1, "Northern Cardinal": 3}
    items = [
        Item(item_id=str(number), medium=Medium.IMAGE, text="", class_name="Jay", group=group)
        for number, group in enumerate(["a", "a", "b", None])
    ]
    scores = [[0.9, 0.1], [0.2, 0.4], [0.3, 0.6], [0.8, 0.1]]
    features = {
        item.item_id: torch.tensor([[7.0, jay, 9.0, cardinal]]).sqrt()
        for item, (jay, cardinal) in zip(items, scores, strict=True)
    }
    votes = count_votes(items, features, origin=number_origins(items), named_scores=named_scores, known=KNOWN)
    assert votes.by_class.keys() == {"Jay"}
    wanted = {"Blue Jay": pytest.approx(0.55 + 0.8), "Northern Cardinal": pytest.approx(0.6)}  # a mean, two of one item
    assert votes.by_class["Jay"] == wanted
    assert votes.names == {"Blue Jay", "Northern Cardinal"}


def test_encoders_settle_a_name_that_says_nothing():
    found = settle("Class 17", {"Blue Jay": 8, "Northern Cardinal": 1})
    assert (found.names, found.reason) == (("Blue Jay",), Reason.AGREEMENT)
    assert found.confidence == pytest.approx(9 / 11)


def test_the_votes_of_several_media_add_up():
    assert settle("Class 17", {"Blue Jay": 5}, {"Blue Jay": 2, "Atlantic Puffin": 1}, {"Blue Jay": 1}).names == (
        "Blue Jay",
    )


def test_two_recordings_that_are_named_differently_split_no_class():
    assert not settle("Class 17", {"Blue Jay": 1, "Northern Cardinal": 1}).is_resolved


def test_encoders_choose_among_the_species_that_a_name_may_be():
    assert settle("Cardinal", {"Northern Cardinal": 1}).names == ("Northern Cardinal",)
    assert not settle("Cardinal", {"Blue Jay": 5}).is_resolved


def test_an_encoder_that_knows_no_candidate_is_not_asked():
    cardinal = resolve_classes(["Cardinal"], KNOWN)
    votes = [
        make_votes({"Cardinal": {"Blue Jay": 20}}, names=frozenset(["Blue Jay"])),
        make_votes({"Cardinal": {"Northern Cardinal": 2}}),
    ]
    assert settle_by_votes(cardinal, votes, known=KNOWN)[0].names == ("Northern Cardinal",)


def test_a_name_of_its_own_is_not_replaced_by_what_the_items_look_like():
    found = settle("Horned_Puffin", {"Atlantic Puffin": 9})
    assert (found.names, found.reason, found.candidates) == ((), Reason.AMBIGUOUS, ("Atlantic Puffin",))


@pytest.mark.parametrize(
    "votes", [{"Blue Jay": 0.4}, {"Blue Jay": 2, "Northern Cardinal": 2, "Atlantic Puffin": 2}, {}]
)
def test_few_or_divided_votes_settle_nothing(votes):
    assert settle("Class 17", votes).reason is Reason.UNKNOWN


def test_a_class_that_another_taxonomy_has_split_stands_for_both_species():
    found = settle("Class 17", {"Mexican Violetear": 5, "Lesser Violetear": 4, "Blue Jay": 1})
    assert set(found.names) == {"Mexican Violetear", "Lesser Violetear"}


def test_a_species_that_has_its_class_is_not_given_to_another():
    assert not settle("Class 17", {"Blue Jay": 9}, others={"Blue_Jay": {"Blue Jay": 3}}).is_resolved


def test_a_name_that_the_encoder_gives_to_everything_settles_nothing():
    others = {f"Class {number}": {"Blue Jay": 5} for number in range(3)}
    assert not settle("Class 17", {"Blue Jay": 9}, others=others).is_resolved


def test_items_may_contradict_a_contained_name():
    known = KnownNames([("Cardinalis cardinalis", "Northern Cardinal"), ("Cyanocitta cristata", "Blue Jay")])
    resolutions = resolve_classes(["Cardinal"], known)
    assert resolutions[0].reason is Reason.CONTAINED
    votes = [make_votes({"Cardinal": {"Blue Jay": 9}})]
    found = settle_by_votes(resolutions, votes, known=known)[0]
    assert (found.reason, found.candidates) == (Reason.AMBIGUOUS, ("Northern Cardinal", "Blue Jay"))


def test_two_classes_of_one_species_are_told():
    resolutions = resolve_classes(["Blue_Jay", "Cyanocitta cristata (Linnaeus, 1758)", "Class 17"], KNOWN)
    assert list_shared_names(resolutions) == {"Blue Jay": ("Blue_Jay", "Cyanocitta cristata (Linnaeus, 1758)")}
    told = "\n".join(describe_resolutions(resolutions))
    assert "stand for one species, Blue Jay" in told
    assert "Class 17: not resolved, no encoder knows the name" in told
    assert "Blue_Jay:" not in told
