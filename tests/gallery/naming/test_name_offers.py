"""Names that are offered while somebody types."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldmark.gallery.naming.name_offers import LEAST_FIT, HeldName, NameOffers

HELD = [
    HeldName("American_Goldfinch", ("American_Goldfinch", "Spinus tristis", "Goldzeisig"), 28),
    HeldName("European_Goldfinch", ("European_Goldfinch", "Carduelis carduelis", "Stieglitz"), 21),
    HeldName("Blue_Jay", ("Blue_Jay", "Cyanocitta cristata", "Blauhäher"), 27),
    HeldName("Black_capped_Vireo", ("Black_capped_Vireo", "Vireo atricapilla"), 2),
    HeldName("Cardinal", ("Cardinal", "Northern Cardinal", "Cardinalis cardinalis"), 11),
    HeldName("Mallard", ("Mallard", "Anas platyrhynchos"), 31),
]
OFFERS = NameOffers(HELD)


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        ("goldfinch", ["American_Goldfinch", "European_Goldfinch"]),
        ("goldfinches", ["American_Goldfinch", "European_Goldfinch"]),
        ("jay", ["Blue_Jay"]),
        ("jays", ["Blue_Jay"]),
        ("blu", ["Blue_Jay"]),
        ("blu ja", ["Blue_Jay"]),
        ("bluejay", ["Blue_Jay"]),
        ("cardnal", ["Cardinal"]),
        ("malalrd", ["Mallard"]),
        ("Cardinalis cardinalis", ["Cardinal"]),
        ("cyanocita cristatta", ["Blue_Jay"]),
        ("blauhaher", ["Blue_Jay"]),
        ("STIEGLITZ", ["European_Goldfinch"]),
        ("black capped", ["Black_capped_Vireo"]),
    ],
)
def test_a_name_is_offered_for_what_people_type(typed, wanted):
    found = [each.name for each in OFFERS.offer(typed)]
    assert sorted(found[: len(wanted)]) == sorted(wanted)


@pytest.mark.parametrize("typed", ["", " ", "?!", "asdf", "zxcvb qwer", "12345"])
def test_nothing_is_offered_for_what_is_no_name(typed):
    assert OFFERS.offer(typed) == ()


def test_the_name_that_fits_is_told_beside_that_of_the_class():
    offer = OFFERS.offer("blauhäher")[0]
    assert (offer.name, offer.matched, offer.fit, offer.item_count) == ("Blue_Jay", "Blauhäher", 1.0, 27)
    assert offer.to_text() == "Blue_Jay (Blauhäher): 27 items"


@given(st.sampled_from([(each.name, name) for each in HELD for name in each.names]), st.integers(0, 3), st.data())
def test_one_letter_dropped_or_doubled_leaves_the_class_first(pair, kind, data):
    owner, name = pair
    place = data.draw(st.integers(0, len(name) - 1))
    changed = name[:place] + (name[place] * 2 if kind else "") + name[place + 1 :]
    assert OFFERS.offer(changed)[0].name == owner


@given(st.text(max_size=200), st.integers(1, 4))
def test_offers_are_few_fit_and_differ(text, limit):
    found = OFFERS.offer(text, limit=limit)
    assert len(found) <= limit
    assert len({each.name for each in found}) == len(found)
    assert all(LEAST_FIT <= each.fit <= 1 for each in found)


def test_an_empty_gallery_offers_nothing():
    assert NameOffers([]).offer("jay") == ()
