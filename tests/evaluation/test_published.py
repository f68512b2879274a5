"""The published tables agree with themselves, and stand beside ours with their caveats."""

import json

import pytest

from fieldmark.evaluation.measurement import evaluate
from fieldmark.evaluation.protocol import PAPER, STRICT
from fieldmark.evaluation.published import format_beside, list_setting_differences, read_published, select_shown_methods
from fieldmark.io import encode_report
from fieldmark.types import MEDIA

PUBLISHED = read_published()
NAMES = {f"{one}_to_{other}" for one in MEDIA for other in (*MEDIA, "all") if one != other}


@pytest.mark.parametrize("method", PUBLISHED.methods, ids=lambda method: method.name)
def test_the_printed_averages_are_those_of_the_printed_numbers(method):
    # Rounded to three digits on both sides, an average may be off by a little more than half a unit of the third.
    across = [value for name, value in method.map.items() if not name.endswith("_to_all")]
    to_all = [value for name, value in method.map.items() if name.endswith("_to_all")]
    assert sum(across) / len(across) == pytest.approx(method.average["bi_modality"], abs=0.0011)
    assert ("multi_modality" in method.average) == bool(to_all)
    if to_all:
        assert sum(to_all) / len(to_all) == pytest.approx(method.average["multi_modality"], abs=0.0011)


def test_the_published_tables_have_all_tasks_and_name_the_doubt():
    by_name = {method.name: method for method in PUBLISHED.methods}
    assert len(by_name) == 12
    assert set(by_name["FGCrossNet"].map) == set(by_name["GASA"].map) == NAMES
    assert set(by_name["GXN"].map) == {"image_to_text", "text_to_image"}
    assert by_name["FGCrossNet"].in_doubt == ("video_to_all", "audio_to_all")
    assert by_name["SAFGCMHN"].in_doubt == ()
    assert PUBLISHED.counts == dict(zip(MEDIA, (5794, 4000, 5684, 6000), strict=True))
    assert all(method.source for method in PUBLISHED.methods)
    assert [method.name for method in select_shown_methods(PUBLISHED)][-1] == "GASA"


def test_format_beside_shows_every_task_and_caveat_in_80_columns(make_embeddings):
    text = format_beside(evaluate(make_embeddings(), protocol=STRICT), PUBLISHED)
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    assert sum("→" in line.split(" ")[0] for line in lines) == 16
    assert next(line for line in lines if line.startswith("V→All")).count("*") == 3
    flat = " ".join(text.split())
    assert all(" ".join(caveat.text.split()) in flat for caveat in PUBLISHED.caveats)
    assert "Different test items: 12 image" in flat
    assert "--protocol paper" in flat


def test_format_beside_with_a_medium_absent_shows_what_is_published(make_embeddings):
    text = format_beside(evaluate(make_embeddings(media=MEDIA[:2]), protocol=STRICT), PUBLISHED)
    line = next(line for line in text.splitlines() if line.startswith("V→A "))
    assert line.split() == ["V→A", "-", "-", "0.437", "0.521", "0.525", "0.533"]
    assert "over 2 of the 12 tasks between two media and 2 of the 4 to all" in " ".join(text.split())


def test_the_same_items_under_the_same_protocol_need_no_excuse(make_embeddings):
    from dataclasses import replace

    found = evaluate(make_embeddings(), protocol=PAPER)
    assert len(list_setting_differences(found, PUBLISHED)) == 1
    same = replace(found, item_count=dict(PUBLISHED.counts), class_count=200)
    assert list_setting_differences(same, PUBLISHED) == ()


def test_published_to_json_is_plain():
    values = json.loads(json.dumps(encode_report(PUBLISHED)))
    assert values["counts"]["audio"] == 6000
    assert len(values["methods"]) == 12
    assert values["methods"][7]["map"]["image_to_all"] == 0.549
