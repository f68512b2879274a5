"""Field marks read from texts."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fieldmark.encoders.field_marks import PARTS, REGIONS, TRAITS, FieldMarkTextEncoder, read_field_marks
from fieldmark.types import Segment, TextContent


def encode(*texts):
    return FieldMarkTextEncoder().encode([Segment(TextContent(text)) for text in texts])


@pytest.mark.parametrize(
    ("text", "marks"),
    [
        ("a white belly", "belly white"),
        ("The belly is white.", "belly white"),
        ("crown black, grey wing", "crown black, wing gray"),
        ("a white belly and breast", "belly white, breast white"),
        ("the belly is yellow and white", "belly yellow, belly white"),
        ("belly yellow and white wing", "belly yellow, wing white"),
        ("red face, black and white head", "face red, face black, head black, head white"),
        ("black heads, wings, backs, and tails", "head black, wing black, back black, tail black"),
        ("a black bird with a long bill", "body black, bill long"),
        ("this bird is white with black and has a short beak", "body white, body black, bill black, bill short"),
        ("bill about as long as the head", "bill as long as the head"),
        ("bill shorter than the head", "bill short"),
        ("black under tail and white upper tail", "undertail black, uppertail white"),
        ("rounded-wings", "wing rounded"),
        ("mostly black", "body black"),
        ("WHITE CHEST; the beak: orange", "breast white, bill orange"),
        ("It sings at dawn.", ""),
        ("", ""),
    ],
)
def test_read_field_marks(text, marks):
    found = [f"{part} {trait}" for part, trait in read_field_marks(text)]
    assert sorted(found) == sorted(marks.split(", ") if marks else [])


def test_every_word_stands_for_one_thing():
    words = [word for table in (PARTS, TRAITS) for listed in table.values() for word in listed.split()]
    assert len(words) == len(set(words))
    assert all(part in PARTS for parts in REGIONS.values() for part in parts)


def test_field_mark_text_encoder_takes_other_words_for_the_same_mark():
    first, second = encode("This one wears a black cap and has a chest of grey.", "breast gray. crown blackish")
    torch.testing.assert_close(first, second)


def test_field_mark_text_encoder_tells_parts_apart():
    crown, nape, belly = encode("black crown", "black nape", "black belly")
    assert crown @ nape == pytest.approx(2 / 3)  # the region and the trait anywhere are common
    assert crown @ belly == pytest.approx(1 / 3)


def test_field_mark_text_encoder_grows_with_the_logarithm_of_a_count():
    row = encode("black bill. black bill. black bill. red leg")[0]
    assert row.max() / row[row > 0].min() == pytest.approx(1 + math.log(3))


@pytest.mark.parametrize("text", ["", "?!", "It sings at dawn."])
def test_field_mark_text_encoder_gives_zeros_for_a_text_without_marks(text):
    assert not encode(text).any()


@given(st.lists(st.sampled_from(["black", "wing", "and", ",", ".", "with", "bird", "x", "\n", "é", "-"])).map(" ".join))
def test_field_mark_text_encoder_gives_length_one_or_zero_whatever_the_text(text):
    length = float(encode(text).norm())
    assert length == 0 or length == pytest.approx(1, abs=1e-5)
    assert (length > 0) == bool(read_field_marks(text)) == ("black" in text)


def test_a_trait_between_two_parts_belongs_to_the_one_that_follows():
    assert read_field_marks("belly white breast") == [("breast", "white")]


def test_a_part_without_traits_shares_those_that_stood_alone_before_too():
    marks = read_field_marks("white, black head and crown")
    assert [trait for part, trait in marks if part == "crown"] == ["white", "black"]
