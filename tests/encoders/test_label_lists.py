"""Lists of labels in the forms that people have, and what is wrong with them."""

import json

import pytest

from fieldmark.encoders.labels import index_names, read_labels
from fieldmark.errors import EncoderFilesError

TWO = (("Cyanocitta cristata", "Blue Jay"), ("Pica nuttalli", "Yellow-billed Magpie"))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("labels.txt", "Cyanocitta cristata (Blue Jay)\nPica nuttalli (Yellow-billed Magpie)\n"),
        ("labels.txt", "Cyanocitta cristata_Blue Jay\nPica nuttalli_Yellow-billed Magpie\n\n"),
        ("labels.txt", "0,Cyanocitta cristata (Blue Jay)\n1,Pica nuttalli (Yellow-billed Magpie)"),
        ("labels.csv", "scientific_name,common_name\nCyanocitta cristata,Blue Jay\nPica nuttalli,Yellow-billed Magpie"),
        ("labels.csv", "id;sci_name;com_name\n1;Cyanocitta cristata;Blue Jay\n2;Pica nuttalli;Yellow-billed Magpie\n"),
        (
            "labels.csv",
            '\ufeffid,common_name,scientific_name\n1,"Blue Jay",Cyanocitta cristata\n2,Yellow-billed Magpie,'
            "Pica nuttalli\n",
        ),
        ("labels.csv", "inat2024\nCyanocitta cristata_Blue Jay\nPica nuttalli_Yellow-billed Magpie\n"),
        ("labels.json", json.dumps([f"{first} ({second})" for first, second in TWO])),
        ("config.json", json.dumps({"id2label": {"1": "_".join(TWO[1]), "0": "_".join(TWO[0])}})),
        (
            "labels.json",
            json.dumps({"label2id": {f"{first} ({second})": place for place, (first, second) in enumerate(TWO)}}),
        ),
    ],
)
def test_labels_are_read_in_the_forms_that_people_have(tmp_path, name, text):
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert read_labels(tmp_path / name, count=2) == TWO


def test_labels_with_an_underscore_for_a_space_are_one_name(tmp_path):
    (tmp_path / "labels.txt").write_text("Blue_Jay\nBlack_footed_Albatross\n", encoding="utf-8")
    assert read_labels(tmp_path / "labels.txt") == (("Blue_Jay",), ("Black_footed_Albatross",))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("labels.txt", "a\nb\nc\nd\n", "names 4 classes, but the classifier has 2"),
        ("labels.txt", "", "names 0 classes"),
        ("labels.json", '{"0": "a", "2": "b"}', "not numbered from 0"),
        ("labels.json", "{", "no list of labels"),
        ("labels.json", "3", "no list of labels"),
    ],
)
def test_labels_that_cannot_be_used_say_why(tmp_path, name, text, message):
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(EncoderFilesError, match=message):
        read_labels(tmp_path / name, count=2)


def test_names_have_the_first_index_and_no_background():
    names = (("Blue Jay", "Cyanocitta cristata"), ("background",), ("Blue Jay",), ())
    assert index_names(names, start=5) == {"Blue Jay": 5, "Cyanocitta cristata": 5}
