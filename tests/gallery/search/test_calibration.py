"""Curves from scores to probabilities: against a slow search, monotone, honest, and careful where labels are few."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from fieldmark.gallery.search.calibration import (
    MIN_QUERIES,
    USUAL_WORDS,
    Curve,
    PairScale,
    ScoreCalibration,
    compute_sigmoid,
    compute_text_length,
    fit_curve,
    fit_logistic,
)
from fieldmark.gallery.search.fitting import MIN_RELEVANT, fit_scale
from fieldmark.types import Medium


def drawn(*, seed: int = 0, count: int = 4000, slope: float = 9.0, offset: float = -5.0):
    """Scores, and labels drawn with the probabilities of a known curve."""
    rng = np.random.default_rng(seed)
    score = rng.uniform(-0.4, 1.0, count)
    return score, rng.random(count) < compute_sigmoid(slope * score + offset)


def test_fit_logistic_agrees_with_scikit_learn():
    score, relevant = drawn(count=500)
    weights = fit_logistic(score[:, None], relevant, ridge=1e-6)
    oracle = LogisticRegression(C=1e6, tol=1e-10, max_iter=1000).fit(score[:, None], relevant)
    np.testing.assert_allclose(weights, [oracle.coef_[0, 0], oracle.intercept_[0]], rtol=1e-3)


def test_fit_curve_finds_the_curve_that_the_labels_were_drawn_from():
    score, relevant = drawn(count=40_000)
    curve = fit_curve(score, relevant, query_count=100)
    assert curve.slope == pytest.approx(9, abs=0.4)
    assert curve.offset == pytest.approx(-5, abs=0.3)
    assert curve.prior == pytest.approx(relevant.mean(), abs=1e-3)


def test_fit_curve_of_scores_that_part_the_classes_stays_finite():
    score = np.linspace(-1, 1, 200)
    curve = fit_curve(score, score > 0, query_count=20)
    assert np.isfinite([curve.slope, curve.offset]).all()
    assert ((curve.compute_logit(score) > 0) == (score > 0)).mean() > 0.99


@given(st.integers(0, 2**32 - 1), st.integers(2, 200))
def test_curve_rises_strictly_whatever_it_was_fitted_on(seed, count):
    rng = np.random.default_rng(seed)
    curve = fit_curve(rng.uniform(-1, 1, count), rng.random(count) < rng.random(), query_count=1)
    logit = curve.compute_logit(np.linspace(-1, 1, 101))
    assert np.isfinite(logit).all()
    assert (np.diff(logit) > 0).all()


def test_curve_of_scores_that_fall_with_the_label_says_the_prior():
    score, relevant = drawn()
    curve = fit_curve(-score, relevant, query_count=10)
    np.testing.assert_allclose(compute_sigmoid(curve.compute_logit(score)), relevant.mean(), atol=1e-3)


def test_fit_curve_finds_what_the_length_of_a_text_adds():
    rng = np.random.default_rng(0)
    score, length = rng.uniform(-0.4, 1.0, 60_000), rng.uniform(-2, 1, 60_000)
    relevant = rng.random(60_000) < compute_sigmoid((6 + 2 * length) * score - 4 - 0.5 * length)
    curve = fit_curve(score, relevant, query_count=100, length=length)
    found = [curve.slope, curve.slope_by_length, curve.offset, curve.offset_by_length]
    np.testing.assert_allclose(found, [6, 2, -4, -0.5], atol=0.3)
    short = curve.fix_length(-2.0)
    assert short.compute_logit(np.array([0.5]))[0] == pytest.approx(curve.slope * 0.5 + curve.offset - 2 * (
        0.5 * curve.slope_by_length + curve.offset_by_length
    ))  # fmt: skip
    assert short.fix_length(1.0) == short
    # Without the length the same scores say too much of short texts, and too little of long ones.
    plain = fit_curve(score, relevant, query_count=100)
    for few, sign in ((length < -1.5, 1), (length > 0.5, -1)):
        assert sign * (compute_sigmoid(plain.compute_logit(score[few])).mean() - relevant[few].mean()) > 0.03


@given(st.integers(0, 2**32 - 1), st.integers(2, 200))
def test_curve_rises_strictly_at_every_length_it_was_fitted_on(seed, count):
    rng = np.random.default_rng(seed)
    length = rng.choice([-2.0, 0.0, 1.0], size=count)
    curve = fit_curve(rng.uniform(-1, 1, count), rng.random(count) < rng.random(), query_count=1, length=length)
    for at in (length.min(), length.mean(), length.max()):
        logit = curve.fix_length(at).compute_logit(np.linspace(-1, 1, 101))
        assert np.isfinite(logit).all()
        assert (np.diff(logit) > 0).all()


def test_a_length_beyond_those_that_asked_counts_as_the_nearest():
    curve = Curve(5.0, -2.0, 0.1, relevant_count=50, query_count=20, slope_by_length=1.0, offset_by_length=-0.5)
    lengths = compute_text_length(5), compute_text_length(40)
    calibration = ScoreCalibration({(Medium.TEXT, Medium.IMAGE): PairScale(0.0, 1.0, curve)}, lengths)

    def of(word_count):
        return calibration.get_curve(Medium.TEXT, Medium.IMAGE, word_count=word_count)

    assert of(1) == of(5) == curve.fix_length(lengths[0])
    assert of(1000) == of(40) == curve.fix_length(lengths[1])
    assert of(None) == of(USUAL_WORDS) == curve.fix_length(0.0)
    assert of(5).slope < of(10).slope < of(40).slope


def pair(*, queries: int = 40, items: int = 60, classes: int = 4):
    """Scores of a pair of media in which items of one class are near."""
    rng = np.random.default_rng(0)
    labels = rng.integers(classes, size=queries), rng.integers(classes, size=items)
    score = 0.6 * (labels[0][:, None] == labels[1][None]) + rng.normal(0, 0.2, (queries, items))
    return score, labels


def test_fit_scale_leaves_out_what_does_not_count():
    score, labels = pair()
    counts = np.ones(score.shape, dtype=bool)
    plain = fit_scale(score, counts=counts, labels=labels)
    spoiled = score.copy()
    spoiled[np.arange(40), np.arange(40)] = 50.0
    counts[np.arange(40), np.arange(40)] = False
    careful = fit_scale(spoiled, counts=counts, labels=labels)
    assert careful.mean == pytest.approx(plain.mean, abs=0.02)
    assert careful.curve.slope == pytest.approx(plain.curve.slope, rel=0.1)


def test_fit_scale_without_labels_knows_what_is_usual():
    score, labels = pair()
    nobody = np.full(40, -1)
    scale = fit_scale(score, counts=np.ones(score.shape, dtype=bool), labels=(nobody, labels[1]))
    assert scale.curve is None
    np.testing.assert_allclose(scale.standardize(score.ravel()).mean(), 0, atol=1e-9)
    np.testing.assert_allclose(scale.standardize(score.ravel()).std(), 1, atol=1e-9)


def test_fit_scale_with_few_pairs_of_one_class_has_no_curve():
    score, labels = pair(queries=40, items=60)
    relevant = np.flatnonzero((labels[0][:, None] == labels[1][None]).ravel())
    counts = np.ones(score.size, dtype=bool)
    counts[relevant[MIN_RELEVANT - 1 :]] = False
    assert fit_scale(score, counts=counts.reshape(score.shape), labels=labels).curve is None


def test_fit_scale_of_nothing():
    score, labels = pair()
    assert fit_scale(score, counts=np.zeros(score.shape, dtype=bool), labels=labels) is None


def test_fit_scale_counts_the_parts_of_one_text_as_one_query():
    score, labels = pair()
    counts = np.ones(score.shape, dtype=bool)
    few = np.arange(40) % (MIN_QUERIES - 1)
    assert fit_scale(score, counts=counts, labels=labels).curve.query_count == 40
    assert fit_scale(score, counts=counts, labels=labels, query_item=few).curve is None


def test_prior_of_few_cases_keeps_away_from_certainty():
    score = np.array([0.1, 0.2, 0.3, 0.4])
    assert fit_curve(score, np.array([False, True, True, True]), query_count=4).prior == pytest.approx(3.5 / 5)
    assert fit_curve(score, np.full(4, True), query_count=4).prior == pytest.approx(4.5 / 5)
