"""Tables of traits in CUB's layout and as CSV, and the questions made from them."""

import numpy as np
import pytest

from fieldmark.errors import ConfigError
from fieldmark.marks.questions import MOST_FITTING, make_questions
from fieldmark.marks.reader import read_marks
from fieldmark.marks.traits import read_traits
from fieldmark.marks.vocabulary import COLUMN, Mark

ATTRIBUTES = ("has_crown_color::red", "has_belly_pattern::spotted", "has_size::small_(5_-_9_in)", "has_fur::woolly")


@pytest.fixture
def cub(tmp_path):
    (tmp_path / "attributes.txt").write_text("".join(f"{n} {name}\n" for n, name in enumerate(ATTRIBUTES, 1)))
    (tmp_path / "classes.txt").write_text("1 001.Blue_Jay\n2 002.House_Finch\n")
    (tmp_path / "class_attribute_labels_continuous.txt").write_text("0.0 12.5 80.0 1.0\n90.0 0.0 100.0 2.0\n")
    return tmp_path


@pytest.mark.parametrize("name", ["", "class_attribute_labels_continuous.txt"])
def test_the_attributes_of_cub_are_read(cub, name):
    table = read_traits(cub / name)
    assert table.names == (("Blue_Jay",), ("House_Finch",))
    assert table.unknown_columns == ("has_fur::woolly",)
    for mark, share in (
        (("crown", "red"), [0.0, 0.9]),
        (("belly", "spotted"), [0.125, 0.0]),
        (("size", "small"), [0.8, 1]),
    ):
        assert table.share[:, COLUMN[Mark(*mark)]].tolist() == share
    assert np.isnan(table.share).sum() == table.share.size - 6


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda folder: (folder / "classes.txt").unlink(), r"no 'classes\.txt' beside it"),
        (lambda folder: (folder / "classes.txt").write_text("1 a\n"), "1 class and 4 attributes, but 2 rows"),
        (lambda folder: (folder / "class_attribute_labels_continuous.txt").write_text("a b\n"), "no number"),
    ],
)
def test_a_broken_layout_is_refused(cub, break_it, message):
    break_it(cub)
    with pytest.raises(ConfigError, match=message):
        read_traits(cub)


def test_a_table_of_marks_and_parts_is_read(tmp_path):
    path = tmp_path / "marks.csv"
    path.write_text(
        "scientific_name,common_name,red crown,belly,notes\nAvis rubra,Red Bird,80%,white; spotted,shy\n,,1,red,\n"
    )
    table = read_traits(path)
    assert table.names == (("Avis rubra", "Red Bird"),)
    assert table.unknown_columns == ("notes",)
    own = {
        mark: table.share[0, COLUMN[Mark(*mark)]]
        for mark in (("crown", "red"), ("belly", "white"), ("belly", "spotted"))
    }
    assert own == {("crown", "red"): 0.8, ("belly", "white"): 1.0, ("belly", "spotted"): 1.0}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("fish,red crown\nCod,1\n", "no column of names"),
        ("name,weight,fur\nBlue Jay,3,soft\n", "none of its columns names a mark.*weight, fur"),
        ("", "no column of names"),
        ("\xff\xfe", "no column of names|cannot be read"),
    ],
)
def test_a_table_without_names_or_marks_is_refused(tmp_path, content, message):
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(ConfigError, match=message):
        read_traits(tmp_path / "t.csv")


def test_a_table_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        read_traits(tmp_path / "none.csv")


@pytest.fixture
def table(tmp_path):
    generator = np.random.default_rng(0)
    colors = ["red", "blue", "black", "yellow"]
    parts = ["crown", "belly", "back", "bill"]
    rows = [[f"Bird {n}", *generator.choice(colors, len(parts))] for n in range(12)]
    (tmp_path / "t.csv").write_text("\n".join(",".join(row) for row in [["name", *parts], *rows]))
    return read_traits(tmp_path / "t.csv")


def test_questions_name_their_marks_and_exactly_the_classes_that_have_them(table):
    held = [names[0] for names in table.names]
    asked = make_questions(table, held, count=10, seed=3)
    assert {len(each.marks) for each in asked} >= {2, 3}
    for each in asked:
        columns = [COLUMN[mark] for mark in each.marks]
        fits = {held[row] for row in np.flatnonzero((table.share[:, columns] >= 0.5).all(axis=1))}
        assert set(each.class_names) == fits
        assert 1 <= len(fits) <= MOST_FITTING
        assert {mark for read in read_marks(each.text).marks for mark in read.marks} == set(each.marks)


def test_the_same_seed_asks_the_same_and_another_one_others(table):
    held = [names[0] for names in table.names]
    first, again, other = (make_questions(table, held, count=10, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_a_table_without_the_classes_asks_nothing(table):
    assert make_questions(table, ["Unicorn"], count=5) == ()


def test_no_question_takes_what_a_table_does_not_tell_for_no(tmp_path):
    """A bird of whose crown nothing is told may have a red one, so no question about crowns leaves it out."""
    (tmp_path / "t.csv").write_text(
        "name,crown,belly\nFirst,red,white\nSecond,blue,white\nThird,,white\nFourth,red,black\n"
    )
    table = read_traits(tmp_path / "t.csv")
    asked = make_questions(table, [names[0] for names in table.names], count=20)
    of_crown = [each for each in asked if any(mark.part == "crown" for mark in each.marks)]
    assert [set(each.class_names) for each in of_crown] == [{"Fourth"}]  # red and black: the third one's belly is white
    assert any(set(each.class_names) == {"First", "Second", "Third"} for each in asked)
