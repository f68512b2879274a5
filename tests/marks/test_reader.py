"""Marks in texts as people type them: colors, denials, choices, comparisons, several marks of a part."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldmark.marks.reader import LONGEST_TEXT, read_marks
from fieldmark.marks.vocabulary import MARKS, measure_nearness


def read(text):
    return {str(each) for each in read_marks(text).marks}


@pytest.mark.parametrize(
    ("text", "marks"),
    [
        ("small yellow bird with black wings", {"size small", "body yellow", "wing black"}),
        ("rusty cap", {"crown rufous"}),
        ("chestnut flanks and a buff throat", {"flank rufous", "throat buff"}),
        ("a bird with a blue crown and a blue breast", {"crown blue", "breast blue"}),
        ("the belly is yellow and white", {"belly yellow", "belly white"}),
        ("a black and white head with an orange bill", {"head black", "head white", "bill orange"}),
        ("no wing bars", {"no wing barred"}),
        ("two white wingbars", {"wing white", "wing barred"}),
        ("no white wing bars", {"no wing barred"}),
        ("no crest and white wing bars", {"no head crested", "wing white", "wing barred"}),
        ("lacks an eye ring", {"no eye ring"}),
        ("crest absent, red crown", {"no head crested", "crown red"}),
        ("not only red but yellow wings", {"wing red", "wing yellow"}),
        ("red or orange crown", {"crown red or crown orange"}),
        ("larger than a robin", {"size medium or size large or size very large"}),
        ("smaller than a robin", {"size very small or size small"}),
        ("the size of a crow, all black", {"size large", "body black"}),
        ("sparrow-sized", {"size small"}),
        ("unlike the red-bellied woodpecker, it has a yellow nape", {"nape yellow"}),
        ("white-throated, long-tailed", {"throat white", "tail long"}),
        ("a small bird with a small bill", {"size small", "bill short"}),
        ("small songbird, short tail", {"size small", "form perching bird", "tail short"}),
        ("it flicks its tail", {"habit flicks its tail"}),
        ("song is a rising trill", {"voice rising", "voice trill"}),
        ("two notes, the second lower", {"voice twice", "voice falling"}),
        ("a high crown", set()),
        ("found in marshes", {"habitat wetland"}),
        ("white stripe above the eye", {"face white", "face stripe over the eye"}),
    ],
)
def test_read_marks_reads_what_people_write(text, marks):
    assert read(text) == marks


@pytest.mark.parametrize("other", ["wings black, small and yellow bird", "This is a small, yellow bird; black wings!"])
def test_order_and_filler_do_not_matter(other):
    assert read(other) == read("small yellow bird with black wings")


def test_unknown_words_are_listed_once_and_known_ones_are_not():
    reading = read_marks("zorbly bird with a zorbly red crown and wombats")
    assert reading.unread == ("zorbly", "wombats")
    assert [each.words for each in reading.marks] == [("crown", "red")]


def test_nothing_but_unknown_words_reads_as_no_mark():
    reading = read_marks("xylo garbage wombat")
    assert reading.marks == ()
    assert reading.unread == ("xylo", "garbage", "wombat")


def test_marks_that_exclude_each_other_are_told():
    assert [str(each) for each in read_marks("a red crown. No red crown.").exclusive] == ["crown red"]
    assert read_marks("a red crown, no crest").exclusive == ()


@given(st.text(max_size=200))
def test_any_text_is_read_and_reading_ends(text):
    for each in read_marks(text).marks:
        assert set(each.marks) <= set(MARKS)
        assert each.words


@given(
    st.lists(
        st.sampled_from(
            ["red", "black", "crown", "wing", "no", "or", "and", ",", ".", "with", "a", "than", "robin", "size"]
        ),
        max_size=25,
    )
)
def test_any_order_of_words_gives_marks_once(words):
    marks = read_marks(" ".join(words)).marks
    assert len({(each.marks, each.is_denied) for each in marks}) == len(marks)


def test_a_text_beyond_the_limit_is_cut():
    assert read("x " * LONGEST_TEXT + "red crown") == set()


def test_nearness_is_symmetric_and_largest_for_the_mark_itself():
    near = measure_nearness()
    assert (near == near.T).all()
    assert (near.diagonal() == 1).all()
    assert near.max() == 1
    assert near.min() == 0
