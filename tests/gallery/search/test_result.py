"""What a search answers, as JSON and as text."""

from pathlib import Path

import pytest

from fieldmark.gallery.search.result import CollectionAnswer, SearchResult
from fieldmark.io import encode_report
from fieldmark.types import Hit, Item, Medium

SONG = Hit(
    rank=1,
    score=0.81,
    probability=0.92,
    item=Item(
        "song",
        Medium.AUDIO,
        class_name="Blue_Jay",
        group="XC1",
        path=Path("birds/song.ogg"),
        license="CC0",
        extra=(("observer", "A. Smith"),),
    ),
    start_seconds=3.0,
    end_seconds=6.0,
    margin=0.12,
    look_alike="Florida_Jay",
)


def test_search_result_to_json_has_the_keys_of_the_contract():
    result = SearchResult((Medium.IMAGE, Medium.TEXT), (SONG,), CollectionAnswer(0.4, 0.5))
    value = encode_report(result)
    assert value["query"] == {"medium": "image", "media": ["image", "text"], "class_name": None}
    wanted = {"probability": 0.4, "is_likely": False, "is_unlikely": False, "threshold": 0.5}
    assert value["collection"] == wanted
    wanted = (
        "rank score probability item_id medium class_name set_name group path start_seconds end_seconds text source"
    )
    keys = [*wanted.split(), "license", "margin", "look_alike"]
    added = ["item_start_seconds", "item_end_seconds", "split", "caption_of", "facts"]
    assert list(value["hits"][0])[: len(keys)] == keys
    assert sorted(value["hits"][0]) == sorted([*keys, *added])
    assert value["hits"][0]["facts"] == {"observer": "A. Smith"}
    assert value["hits"][0]["medium"] == "audio"


def test_search_result_to_text_says_what_is_not_there_and_why_a_hit_is():
    lines = SearchResult((Medium.IMAGE,), (SONG,), CollectionAnswer(0.2, 0.5)).to_text().splitlines()
    assert lines[0] == "probably not in this collection (20% likely that it is)"
    assert lines[1] == "nearest hits; their percentages assume that the species is there:"
    assert lines[2] == "  1   92%  0.810  audio  Blue_Jay  birds/song.ogg  at 3.0-6.0 s  (+0.120 to Florida_Jay)"


@pytest.mark.parametrize(("probability", "doubt"), [(0.33, "probably"), (0.34, "perhaps"), (0.49, "perhaps")])
def test_search_result_to_text_says_how_sure_it_is_that_a_class_is_missing(probability, doubt):
    lines = SearchResult((Medium.TEXT,), (SONG,), CollectionAnswer(probability, 0.5)).to_text().splitlines()
    assert lines[0] == f"{doubt} not in this collection ({100 * probability:.0f}% likely that it is)"


def test_search_result_to_text_of_a_class_that_is_there():
    lines = SearchResult((Medium.TEXT,), (), CollectionAnswer(0.5, 0.5), class_name="Blue_Jay").to_text().splitlines()
    assert lines == ["the text names Blue_Jay", "nothing found"]


@pytest.mark.parametrize(
    ("probability", "shown"),
    [
        (0.0, "  0%"),
        (0.0004, " <1%"),
        (0.0099, " <1%"),
        (0.01, "  1%"),
        (0.99, " 99%"),
        (0.9951, ">99%"),
        (1.0, "100%"),
    ],
)
def test_only_certainty_is_called_0_or_100_percent(probability, shown):
    [line] = SearchResult((Medium.IMAGE,), (SONG._replace(probability=probability),), None).to_text().splitlines()
    assert line.startswith(f"  1  {shown}  0.810")
