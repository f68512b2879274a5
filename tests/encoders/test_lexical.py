"""Hashed words and word pairs."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fieldmark.types import Segment, TextContent
from product_parts import lexical_text_encoder


def encode(*texts, **parameters):
    encoder = lexical_text_encoder(**parameters)
    return encoder.encode([Segment(TextContent(text)) for text in texts])


def test_lexical_text_encoder_is_the_same_on_every_machine():
    features = encode("A red crown.", dim=16, character_count=0)[0]
    torch.testing.assert_close(
        features,
        torch.tensor([0.0, -0.5774, 0.0, 0.0, 0.0, 0.0, -0.5774, 0.0, 0.0, 0.0, -0.5774, 0.0, 0.0, 0.0, 0.0, 0.0]),
        rtol=1e-4,
        atol=1e-4,
    )


def test_lexical_text_encoder_ignores_case_and_function_words():
    first, second = encode("Red crown, white BELLY!", "a red crown; a white belly")
    torch.testing.assert_close(first, second)


def test_lexical_text_encoder_pairs_words_in_either_order():
    first, second = encode("a black crown", "the crown is black", character_count=0)
    torch.testing.assert_close(first, second)


def test_lexical_text_encoder_tells_which_words_stand_together():
    first, second = encode("red crown and black wings", "black crown and red wings", character_count=0)
    assert 0.5 < first @ second < 0.9


@pytest.mark.parametrize("end", [",", ".", ";", " and", "\n"])
def test_lexical_text_encoder_pairs_no_words_of_two_clauses(end):
    apart = encode("crown", "white", "", character_count=0, dim=4096).sum(dim=0) / 2**0.5
    torch.testing.assert_close(encode(f"crown{end} white", character_count=0)[0], apart)


def test_lexical_text_encoder_grows_with_the_logarithm_of_a_count():
    many, once = encode("red " * 5, "red", dim=4096, character_count=0)
    word = once.abs().argmax()
    pair = (many.abs() * (torch.arange(4096) != word)).argmax()
    ratio = (1 + math.log(5)) / (1 + math.log(4))  # five words, four pairs of them
    torch.testing.assert_close(many[word].abs() / many[pair].abs(), torch.tensor(ratio))


def test_lexical_text_encoder_brings_words_with_common_pieces_together():
    without = [float(first @ second) for first, second in pairwise(encode("spotted", "spots", character_count=0))]
    with_pieces = [float(first @ second) for first, second in pairwise(encode("spotted", "spots", character_count=3))]
    assert without == [0.0]
    assert with_pieces[0] > 0.2


@pytest.mark.parametrize("text", ["", " ", "?!", "\n"])
def test_lexical_text_encoder_gives_zeros_for_a_text_without_words(text):
    assert not encode(text).any()


@given(st.text(max_size=60))
def test_lexical_text_encoder_gives_length_one_or_zero_whatever_the_text(text):
    length = float(encode(text, dim=64).norm())
    assert length == 0 or length == pytest.approx(1, abs=1e-5)
