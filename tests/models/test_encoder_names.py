"""Names that encoders know: matched to classes, and embedded."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from toy_features import random, scored

from fieldmark.models.encoder_names import NameEmbedding, match_names, normalize_name
from fieldmark.models.shared_space import SharedSpace
from fieldmark.types import Medium
from product_parts import shared_space_size


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Red_winged_Blackbird", "Red-winged Blackbird"),
        ("001.Black_footed_Albatross", "Black-footed Albatross"),
        ("Swainson_Warbler", "Swainson's Warbler"),
        ("Grey Catbird", "gray_catbird"),
        ("Agelaius phoeniceus", "AGELAIUS PHOENICEUS"),
    ],
)
def test_names_that_differ_in_spelling_only_are_one(one, other):
    assert normalize_name(one) == normalize_name(other)


@given(st.text(max_size=40))
def test_normalize_name_of_a_normalized_name_changes_nothing(name):
    assert normalize_name(normalize_name(name)) == normalize_name(name)


def test_match_names_finds_each_class_or_says_that_it_is_unknown():
    names = {"Cyanocitta cristata": 4, "Blue Jay": 4, "Gadwall": 9}
    assert match_names(["Gadwall", "Blue_Jay", "Dodo", "Cyanocitta_cristata"], names).tolist() == [9, 4, -1, 4]
    assert match_names(["Gadwall"], {}).tolist() == [-1]


def embedding_of(named_scores, *, dim=256):
    embedding = NameEmbedding(len(set(named_scores.values())), dim=dim)
    embedding.fit(named_scores)
    return embedding


def test_items_of_two_encoders_meet_where_both_give_them_one_name():
    of_sounds = embedding_of({"Turdus merula": 1, "Common Blackbird": 1, "Erithacus rubecula": 2, "European Robin": 2})
    of_images = embedding_of({"European Robin": 0, "Erithacus rubecula": 0, "Common Blackbird": 3, "Turdus merula": 3})
    blackbird, robin = of_sounds(torch.tensor([[9.0, 1.0, 0.0], [9.0, 0.0, 1.0]]))
    torch.testing.assert_close(of_images(torch.tensor([[0.0, 5.0, 5.0, 1.0]]))[0], blackbird)
    torch.testing.assert_close(of_images(torch.tensor([[0.5, 5.0, 5.0, 0.0]]))[0], robin)
    assert abs(float(blackbird @ robin)) < 0.25


def test_items_meet_by_one_of_two_names_where_the_other_has_changed():
    old, new = embedding_of({"Picoides pubescens": 0, "Downy Woodpecker": 0}), embedding_of({"downy_woodpecker": 0})
    (one,), (other,) = old(torch.ones(1, 1)), new(torch.ones(1, 1))
    assert float(one @ other) == pytest.approx(0.5**0.5, abs=0.1)


@given(st.integers(min_value=0, max_value=10_000))
def test_the_product_of_two_items_is_about_their_bhattacharyya_coefficient(seed):
    generator = torch.Generator().manual_seed(seed)
    embedding = embedding_of({f"species {'abcdefghijklmnop'[number]}": number for number in range(16)}, dim=512)
    root = (4 * torch.rand(2, 16, generator=generator)).softmax(dim=1).sqrt()
    one, other = embedding(root)
    assert float(one @ other) == pytest.approx(float(root[0] @ root[1]), abs=0.35)


def test_a_name_in_two_spellings_counts_once():
    twice = embedding_of({"Picoides pubescens": 0, "Downy Woodpecker": 0, "downy_woodpecker": 0})
    once = embedding_of({"Picoides pubescens": 0, "Downy Woodpecker": 0})
    assert torch.equal(twice(torch.ones(1, 1)), once(torch.ones(1, 1)))


def test_names_are_the_same_in_every_process():
    # printf 'blue jay' | b2sum --length 8 says 08: one bit of eight is set, the fourth.
    expected = [[-1.0, -1.0, -1.0, 1.0, -1.0, -1.0, -1.0, -1.0]]
    assert embedding_of({"Blue Jay": 0}, dim=8).directions.sign().tolist() == expected


def test_a_space_with_named_scores_holds_species_that_training_never_saw():
    named = {f"bird {letter}": column for column, letter in enumerate("abcdef")}
    dims = {Medium.IMAGE: 6, Medium.AUDIO: 6}
    size = shared_space_size(dim=16, component_count=6, private_weight=0.0, name_weight=5.0)
    network = SharedSpace(input_dims=dims, class_count=2, named_counts=dict.fromkeys(dims, 6), size=size).eval()
    label = torch.arange(20) % 2
    for medium in dims:
        network.fit(medium, scored(label, columns=[0, 1]), label, named_scores=named)
    unseen = torch.eye(6)[2:].sqrt()
    image, audio = (network(unseen, medium)[0] for medium in dims)
    assert (image @ audio.T).argmax(dim=1).tolist() == [0, 1, 2, 3]


def test_an_item_of_a_medium_without_names_lies_by_the_names_of_the_classes_it_may_be_of():
    dims, label = {Medium.IMAGE: 6, Medium.TEXT: 5}, torch.arange(20) % 2
    size = shared_space_size(dim=16, component_count=5, private_weight=0.0, name_weight=100.0, posterior_weight=0.0)
    network = SharedSpace(input_dims=dims, class_count=2, named_counts={Medium.IMAGE: 6}, size=size).eval()
    network.fit(Medium.TEXT, 9 * torch.nn.functional.one_hot(label, 5).float(), label)
    network.fit(
        Medium.IMAGE,
        scored(label, columns=[4, 1]),
        label,
        named_scores={f"bird {each}": column for column, each in enumerate("abcdef")},
    )
    text = network(9 * torch.eye(5)[:2], Medium.TEXT)[0]
    image = network(torch.eye(6), Medium.IMAGE)[0]
    assert (text @ image.T).argmax(dim=1).tolist() == [4, 1]


def test_a_space_whose_encoders_name_nothing_has_no_part_for_names():
    network = SharedSpace(
        input_dims={Medium.TEXT: 5}, class_count=2, named_counts={Medium.TEXT: 0}, size=shared_space_size()
    )
    assert network.dim == 256 + 64


def test_a_space_with_named_scores_comes_back_from_its_state():
    size = shared_space_size(dim=16, component_count=6)
    network = SharedSpace(input_dims={Medium.AUDIO: 6}, class_count=3, named_counts={Medium.AUDIO: 4}, size=size)
    label = torch.arange(12) % 3
    network.fit(Medium.AUDIO, random(12, 6).abs(), label, named_scores={"a": 1, "b": 2, "c": 4, "d": 5})
    state = network.state_dict()
    counts = SharedSpace.read_named_counts(state)
    assert counts == {Medium.AUDIO: 4}
    again = SharedSpace(input_dims={Medium.AUDIO: 6}, class_count=3, named_counts=counts, size=size)
    again.load_state_dict(state)
    rows = random(4, 6, seed=2).abs()
    torch.testing.assert_close(again.eval()(rows, Medium.AUDIO), network.eval()(rows, Medium.AUDIO))
    assert again.dim == 16 + 64 + 128
