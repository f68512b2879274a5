from pathlib import Path

import pytest

from fieldmark.gallery.names import find_named_class

NAMES = ["Cardinal", "Blue_Jay", "American_Crow", "012.Red_winged_Blackbird", "Thrush"]


@pytest.mark.parametrize(
    ("text", "class_name"),
    [
        ("cardinal", "Cardinal"),
        ("Northern Cardinal", "Cardinal"),
        ("the song of a blue jay", "Blue_Jay"),
        ("photos of blue jays", "Blue_Jay"),
        ("male red-winged blackbird, singing", "012.Red_winged_Blackbird"),
        ("Common American Crow", "American_Crow"),
        ("thrushes", "Thrush"),
    ],
)
def test_a_name_is_found_within_the_words_people_put_around_it(text: str, class_name: str, tmp_path: Path) -> None:
    assert find_named_class(text, folder=tmp_path, class_names=NAMES) == class_name


@pytest.mark.parametrize(
    "text", ["a small red bird", "bird", "", "...", "a blue jay but smaller", "crow", "cardinal red crown", "of the"]
)
def test_a_description_names_no_class(text: str, tmp_path: Path) -> None:
    assert find_named_class(text, folder=tmp_path, class_names=NAMES) is None


def test_a_synonym_is_found_like_a_name(tmp_path: Path) -> None:
    (tmp_path / "taxonomy.csv").write_text("class_name,synonyms\nGray_Catbird,Grey Catbird; Dumetella carolinensis\n")
    for text in ("song of the grey catbird", "Dumetella carolinensis", "gray catbirds"):
        assert find_named_class(text, folder=tmp_path, class_names=NAMES) == "Gray_Catbird"
