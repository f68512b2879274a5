"""Field marks read from texts."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fieldmark.encoders.encoder import ConcatenatedEncoder, find_form
from fieldmark.encoders.field_marks import BEARERS, PARTS, REGIONS, TRAITS, FieldMarkTextEncoder, read_field_marks
from fieldmark.types import Segment, TextContent
from product_parts import lexical_text_encoder


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


@pytest.mark.parametrize(
    ("text", "marks"),
    [
        # denied before it is named
        ("brown wings without white wing bars", "wing brown"),
        ("white belly, no crest", "belly white"),
        ("a white belly and no crest", "belly white"),
        ("wings that are brown, no wing bars, rounded", "wing brown, wing rounded"),
        ("a brown bird that lacks a crest but has a white throat", "body brown, throat white"),
        ("It lacks wing bars and an eye ring.", ""),
        ("The belly is not white but brown.", "belly brown"),
        ("The bill isn't long.", ""),
        ("The bill isn\u2019t yellow, the legs are.", ""),
        ("never streaked below, with a black cap", "crown black"),
        ("breast neither spotted nor streaked", ""),
        ("The breast is neither spotted, nor streaked, but plain.", "breast solid"),
        ("no spots or streaks on the breast", ""),
        ("no crest and wing bars", ""),
        ("no crest and white wing bars", "wing white, wing striped"),
        ("no crest and a yellow belly", "belly yellow"),
        ("no crest with a yellow belly", "belly yellow"),
        ("unstreaked breast, non-striped back, crestless head", ""),
        ("crest-less, tail-less and white", "body white"),
        ("a breast free of spots; devoid of any black", ""),
        ("birds without a crest are brown", "body brown"),
        # denied after it is named
        ("tail that is absent. brown head", "head brown"),
        ("white belly, wing bars absent", "belly white"),
        ("wing bars: absent, bill: black", "bill black"),
        ("wing bars are lacking", ""),
        ("lacking white wing bars", ""),
        ("white belly and black crest missing", "belly white"),
        ("eye ring: none", ""),
        # no denial
        ("not only white but also black belly", "belly white, belly black"),
        ("a crest that is never absent, and red", "crest red"),
        ("Nobody knows a redder crown; the crown is red.", "crown red"),
        # of another bird
        ("Unlike the red-bellied woodpecker, it has a red head.", "head red"),
        ("should not be confused with the red-bellied woodpecker", ""),
        ("a pointed head rather than a round one", "head pointed"),
        ("similar to the white-breasted nuthatch, with a black cap", "crown black"),
        # names
        ("The Golden Eagle is brown.", "body brown"),
        ("a golden eagle with a brown body", "body brown"),
        ("A song sparrow sings. Blackbirds sing.", ""),
        ("The Black-throated Blue Warbler", "throat black"),
        ("Small Red Bishop on a fence", ""),
        ("a small brown sparrow", "body short, body brown"),
        ("a black bird", "body black"),
        ("White-throated Sparrow", "throat white"),
        ("the red-winged blackbird", "wing red"),
        ("this white crowned bird", "crown white"),
        ("a yellow-billed, long-tailed bird", "bill yellow, tail long"),
        # places told by other parts
        ("a white stripe above the eye", "eye white, eye striped"),
        ("brown above, white below", "upperparts brown, underparts white"),
        ("red on the back of its head", "nape red"),
        ("white sides of the face, black top of the head", "face white, crown black"),
    ],
)
def test_read_field_marks_reads_only_what_is_said_of_the_bird(text, marks):
    found = [f"{part} {trait}" for part, trait in read_field_marks(text)]
    assert sorted(found) == sorted(marks.split(", ") if marks else [])


@pytest.mark.parametrize(
    ("text", "marks"),
    [
        ("white belly, no crest", "belly white, crest white"),
        ("The Golden Eagle is brown.", "body yellow, body brown"),
        ("White-throated Sparrow", "body white"),
    ],
)
def test_the_first_grammar_reads_as_it_did(text, marks):
    assert [f"{part} {trait}" for part, trait in read_field_marks(text, grammar=1)] == marks.split(", ")


def test_field_mark_text_encoder_is_still_what_earlier_networks_were_trained_with():
    encoder = FieldMarkTextEncoder()
    earlier = find_form(encoder, "84109a7d" + FieldMarkTextEncoder(grammar=1).fingerprint[8:])
    assert earlier.fingerprint != encoder.fingerprint
    texts = [Segment(TextContent("white belly, no crest"))]
    assert not torch.equal(earlier.encode(texts), encoder.encode(texts))
    assert earlier.shape == encoder.shape
    together, lexical = ConcatenatedEncoder([encoder, lexical_text_encoder(dim=8)]), lexical_text_encoder(dim=8)
    before = ConcatenatedEncoder([earlier, lexical])
    assert find_form(together, before.fingerprint).fingerprint == before.fingerprint
    assert torch.equal(find_form(together, before.fingerprint).encode(texts), before.encode(texts))


WORDS = ["white", "belly", "black", "crest", "wing", "bars", "long", "bill", "a", "very"]


@given(
    st.lists(st.sampled_from([*WORDS, "or"]), max_size=6).map(" ".join),
    st.lists(st.sampled_from([*WORDS, "and", "is"]), max_size=6).map(" ".join),
    st.sampled_from(["no", "without", "lacks", "never", "not", "unlike"]),
    st.sampled_from([",", " but", " with", "."]),
)
def test_a_denial_ends_where_the_next_clause_begins(denied, said, cue, end):
    assert read_field_marks(f"{cue} {denied}{end} {said}") == read_field_marks(said)


def test_every_word_stands_for_one_thing():
    words = [word for table in (PARTS, BEARERS, TRAITS) for listed in table.values() for word in listed.split()]
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
