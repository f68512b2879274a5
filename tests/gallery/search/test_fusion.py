"""Several queries and marks as one log-odds."""

import numpy as np
import pytest

from fieldmark.gallery.search.calibration import UNCALIBRATED, PairScale, ScoreCalibration
from fieldmark.gallery.search.curve import Curve, compute_sigmoid
from fieldmark.gallery.search.fusion import combine_logits, combine_standard_scores, rank_medium
from fieldmark.gallery.search.query import QueryEmbedding
from fieldmark.types import Hit, Item, Medium

CURVE = Curve(slope=8.0, offset=-4.0, prior=0.1, relevant_count=50, query_count=20)
KNOWN = ScoreCalibration(
    {
        (Medium.AUDIO, Medium.IMAGE): PairScale(0.1, 0.2, CURVE),
        (Medium.IMAGE, Medium.IMAGE): PairScale(0.3, 0.1, CURVE),
        (Medium.TEXT, Medium.IMAGE): PairScale(0.0, 0.1, None),
    }
)
SCORE = np.array([[0.9, 0.4, -0.2], [0.1, 0.8, 0.3]])


def query(medium, *, is_negative=False):
    return QueryEmbedding(medium, np.ones(1), is_negative=is_negative)


def combined(score, *queries, combine=combine_logits):
    return combine(score, queries=queries, medium=Medium.IMAGE, calibration=KNOWN)


def test_one_query_has_the_logit_of_its_curve():
    np.testing.assert_allclose(combined(SCORE[:1], query(Medium.AUDIO)), 8 * SCORE[0] - 4)


def test_two_queries_add_what_they_change_of_the_prior():
    both = combined(SCORE, query(Medium.AUDIO), query(Medium.IMAGE))
    expected = CURVE.prior_logit + ((8 * SCORE - 4) - CURVE.prior_logit).sum(axis=0) / np.sqrt(2)
    np.testing.assert_allclose(both, expected)


def test_a_hit_like_one_that_was_wrong_sinks_and_one_unlike_it_stays():
    alone = combined(SCORE[:1], query(Medium.AUDIO))
    marked = combined(SCORE, query(Medium.AUDIO), query(Medium.IMAGE, is_negative=True))
    np.testing.assert_allclose(marked - alone, np.log(1 - compute_sigmoid(8 * SCORE[1] - 4)))
    assert (alone - marked)[0] < 0.05 < (alone - marked)[1]


def test_a_pair_without_a_curve_has_no_logit_but_a_standard():
    assert combined(SCORE[:1], query(Medium.TEXT)) is None
    assert combined(SCORE[:1], query(Medium.VIDEO), combine=combine_standard_scores) is None
    np.testing.assert_allclose(combined(SCORE[:1], query(Medium.TEXT), combine=combine_standard_scores), SCORE[0] / 0.1)


def test_standard_of_a_mark_against_only_lowers():
    alone = combined(SCORE[:1], query(Medium.AUDIO), combine=combine_standard_scores)
    marked = combined(
        SCORE, query(Medium.AUDIO), query(Medium.IMAGE, is_negative=True), combine=combine_standard_scores
    )
    assert (marked <= alone).all()
    assert marked[1] < alone[1]
    assert marked[0] == pytest.approx(alone[0])


def test_marks_against_do_not_weaken_what_several_queries_add():
    both = combined(SCORE, query(Medium.AUDIO), query(Medium.IMAGE))
    low = np.full((1, 3), -5.0)  # so unlike the mark that it says nothing
    marked = combined(
        np.concatenate([SCORE, low]), query(Medium.AUDIO), query(Medium.IMAGE), query(Medium.IMAGE, is_negative=True)
    )
    np.testing.assert_allclose(marked, both, atol=1e-12)


def test_standard_of_several_marks_is_the_mean_over_each_kind():
    score = np.array([[0.5], [0.6], [0.5], [0.7]])
    marked = combined(
        score,
        *(query(Medium.AUDIO), query(Medium.IMAGE)),
        *(query(Medium.IMAGE, is_negative=True), query(Medium.IMAGE, is_negative=True)),
        combine=combine_standard_scores,
    )
    # Standard scores: 2 and 3 of the queries, 2 and 4 of the marks against.
    np.testing.assert_allclose(marked, [2.5 - 3.0])


def test_score_of_a_hit_is_the_mean_over_positive_queries_alone():
    hits = [Hit(0, 0.0, Item(name, Medium.IMAGE)) for name in "abc"]
    found = rank_medium(
        hits,
        SCORE,
        queries=[query(Medium.AUDIO), query(Medium.IMAGE, is_negative=True)],
        medium=Medium.IMAGE,
        calibration=UNCALIBRATED,
    )
    np.testing.assert_allclose(found.score, SCORE[0])
    assert [hit.item_id for hit in found.hits] == ["a", "b", "c"]
