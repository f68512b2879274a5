"""The open-set answer: what the media weigh, classes that only other media hold, and when nothing can be told."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldmark.gallery.search.calibration import Curve, MediumCenter, ScoreCalibration, fit_curve
from fieldmark.gallery.search.open_set import (
    DEPTH,
    LIMIT,
    BestItems,
    OpenSetEvidence,
    answer_open_set,
    compute_elsewhere_score,
    compute_open_set_score,
    weigh_evidence,
)
from fieldmark.gallery.search.query import QueryEmbedding
from fieldmark.types import MEDIA, Medium

PLAIN = Curve(1.0, 0.0, 0.5, relevant_count=50, query_count=50)
PHOTO = QueryEmbedding(Medium.IMAGE, np.array([1.0, 0.0]))
OTHERS = (Medium.TEXT, Medium.VIDEO, Medium.AUDIO)


def calibration_of(*, doubt=0.0, centers=None):
    curves = {medium: Curve(1.0, 0.0, 0.5, relevant_count=50, query_count=50, doubt=doubt) for medium in MEDIA}
    return ScoreCalibration({}, (0.0, 0.0), curves, "", curves, centers or {})


def best_items(logits, names):
    return BestItems(np.array(logits, dtype=float), list(names))


def only_elsewhere(logit=3.0, *, own=-6.0):
    """Photos of other classes far away; all other media name an owl."""
    best = {medium: best_items([logit] * DEPTH, ["Owl"] * DEPTH) for medium in OTHERS}
    return best | {Medium.IMAGE: best_items([own] * DEPTH, ["Crow"] * DEPTH)}


@pytest.mark.parametrize(("medium", "share"), [(Medium.IMAGE, 0.75), (Medium.TEXT, 0.0), (Medium.AUDIO, 0.75)])
def test_the_score_weighs_the_own_medium_against_the_mean_of_the_others(medium, share):
    others = [hit for hit in MEDIA if hit is not medium]
    best = {medium: best_items([5, 1, -3], "aab"), others[0]: best_items([2], "a"), others[1]: best_items([4], "a")}
    assert compute_open_set_score(best, medium=medium) == pytest.approx(share * 1 + (1 - share) * 3)


@pytest.mark.parametrize("medium", MEDIA)
def test_the_score_takes_what_is_there(medium):
    for hit in MEDIA:
        assert compute_open_set_score({hit: best_items([1e6], "a")}, medium=medium) == LIMIT
    assert compute_open_set_score({}, medium=medium) is None


def test_a_class_that_only_other_media_hold_is_likely_though_its_own_medium_speaks_against_it():
    media_of = {"Owl": OTHERS, "Crow": MEDIA}
    evidence = weigh_evidence(only_elsewhere(), query=PHOTO, calibration=calibration_of(), media_of=media_of)
    assert evidence.logit == 3
    held = weigh_evidence(
        only_elsewhere(), query=PHOTO, calibration=calibration_of(), media_of=media_of | {"Owl": MEDIA}
    )
    assert held.logit == pytest.approx(0.75 * -6 + 0.25 * 3)


def test_other_media_agree_where_most_of_those_that_hold_the_class_name_it():
    best = {
        Medium.TEXT: best_items([2, 2, 2, -1, -1], ["Owl", "Owl", "Owl", "Crow", "Crow"]),
        Medium.VIDEO: best_items([-5] * 5, ["Crow", "Duck", "Eider", "Finch", None]),
    }
    wanted = (pytest.approx(0.8), "Owl")  # videos hold no owl, and do not count
    assert compute_elsewhere_score(best, medium=Medium.IMAGE, media_of={"Owl": [Medium.TEXT]}) == wanted
    both = {"Owl": [Medium.TEXT, Medium.VIDEO]}
    assert compute_elsewhere_score(best, medium=Medium.IMAGE, media_of=both) is None
    assert compute_elsewhere_score(best, medium=Medium.IMAGE, media_of={"Owl": MEDIA[:2]}) is None


def test_items_without_a_label_agree_on_nothing():
    best = {medium: best_items([4] * DEPTH, [None] * DEPTH) for medium in OTHERS}
    assert compute_elsewhere_score(best, medium=Medium.IMAGE, media_of={"Owl": OTHERS}) is None


names = st.sampled_from(["Owl", "Crow", "Duck", None])
logits = st.floats(-10, 10)
rows_of_medium = st.lists(st.tuples(logits, names), min_size=1, max_size=DEPTH)


def best_of(rows_by_medium):
    return {medium: best_items(*zip(*rows, strict=True)) for medium, rows in rows_by_medium.items()}


@given(st.dictionaries(st.sampled_from(OTHERS), rows_of_medium, min_size=1), rows_of_medium)
def test_items_of_other_classes_in_the_own_medium_never_lower_the_answer_for_a_class_held_elsewhere(rows, photos):
    best = best_of(rows)
    media_of = {"Owl": OTHERS, "Crow": OTHERS, "Duck": OTHERS}
    alone = compute_elsewhere_score(best, medium=Medium.IMAGE, media_of=media_of)
    if alone is None:
        return
    photos = best_items([logit for logit, _ in photos], ["Wren"] * len(photos))
    held = media_of | {"Wren": MEDIA}
    with_photos = weigh_evidence(
        best | {Medium.IMAGE: photos}, query=PHOTO, calibration=calibration_of(), media_of=held
    )
    assert with_photos.logit >= alone[0]


@given(st.dictionaries(st.sampled_from(MEDIA), rows_of_medium, min_size=1), st.floats(4.6, 20))
def test_the_answer_never_contradicts_a_hit_that_is_nearly_certain(rows, logit):
    best = best_of(rows)
    medium = next(iter(best))
    best = best | {medium: best_items([logit, *best[medium].logit[1:]], best[medium].class_names)}
    evidence = weigh_evidence(best, query=PHOTO, calibration=calibration_of(), media_of={})
    answer = answer_open_set([evidence])
    assert answer.is_likely or not answer.can_tell
    assert not answer.is_unlikely


@given(st.lists(st.builds(OpenSetEvidence, st.floats(-20, 0), st.floats(-20, 0)), min_size=1, max_size=4))
def test_a_certain_hit_of_several_queries_is_not_contradicted_either(found):
    answer = answer_open_set(found, has_certain_hit=True)
    assert answer.is_likely or not answer.can_tell


def test_between_the_edge_and_the_line_nothing_can_be_told():
    best = {Medium.IMAGE: best_items([-1.0], ["Crow"])}
    for doubt, can_tell in ((0.5, False), (0.0, True)):
        calibration = calibration_of(doubt=2 * doubt)
        answer = answer_open_set([weigh_evidence(best, query=PHOTO, calibration=calibration, media_of={})])
        assert (answer.can_tell, answer.is_likely, answer.is_unlikely) == (can_tell, False, can_tell)


def test_a_query_unlike_all_that_was_fitted_is_never_called_missing():
    best = {Medium.IMAGE: best_items([-6.0], ["Crow"])}
    for largest, can_tell in ((0.9, False), (1.0, True)):
        centers = {Medium.IMAGE: MediumCenter((1.0, 0.0), largest)}
        evidence = weigh_evidence(best, query=PHOTO, calibration=calibration_of(centers=centers), media_of={})
        assert answer_open_set([evidence]).can_tell is can_tell


def test_without_a_curve_there_is_no_evidence():
    best = {Medium.IMAGE: best_items([1.0], ["Crow"])}
    assert weigh_evidence(best, query=PHOTO, calibration=ScoreCalibration({}), media_of={}) is None
    assert weigh_evidence({}, query=PHOTO, calibration=calibration_of(), media_of={}) is None


def test_two_queries_that_agree_are_surer_than_one():
    curve = fit_curve(np.array([-1.0, 0, 1, 2] * 20), np.array([False, False, True, True] * 20), query_count=40)
    logit = float(curve.compute_logit(np.array([1.2]))[0])
    one, two = answer_open_set([OpenSetEvidence(logit, logit)]), answer_open_set([OpenSetEvidence(logit, logit)] * 2)
    assert 0.5 < one.probability < two.probability < 1
    assert answer_open_set([]) is None
