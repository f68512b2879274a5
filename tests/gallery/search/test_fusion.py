"""Several queries and marks as one log-odds; hits of several media in one list, and the margin over a look-alike."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldmark.gallery.search.calibration import UNCALIBRATED, Curve, PairScale, ScoreCalibration, compute_sigmoid
from fieldmark.gallery.search.fusion import (
    Candidates,
    Measures,
    combine_logits,
    combine_scores,
    combine_standard_scores,
    compute_class_margins,
    rank_candidates,
)
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


def test_standard_of_a_mark_against_takes_away_from_what_is_like_it():
    """The mark is 4.5 deviations near to the query, so what is less than a third as near to it keeps its place."""
    alone = combined(SCORE[:1], query(Medium.AUDIO), combine=combine_standard_scores)
    score = np.stack([SCORE[0], np.array([1.0, 0.7, 0.4])])  # 7, 4 and 1 deviations near to the mark
    marked = combined(
        score, query(Medium.AUDIO), query(Medium.IMAGE, is_negative=True), combine=combine_standard_scores
    )
    usual = (1.0 - 0.1) / 0.2
    np.testing.assert_allclose(alone - marked, [10.5 - usual / 2, 6 - usual / 2, 0])


def test_marks_against_do_not_weaken_what_several_queries_add():
    both = combined(SCORE, query(Medium.AUDIO), query(Medium.IMAGE))
    low = np.full((1, 3), -5.0)  # so unlike the mark that it says nothing
    marked = combined(
        np.concatenate([SCORE, low]), query(Medium.AUDIO), query(Medium.IMAGE), query(Medium.IMAGE, is_negative=True)
    )
    np.testing.assert_allclose(marked, both, atol=1e-12)


def test_score_of_a_hit_is_the_mean_over_positive_queries_alone():
    queries = [query(Medium.AUDIO), query(Medium.IMAGE, is_negative=True)]
    measures = combine_scores(SCORE, queries=queries, medium=Medium.IMAGE, calibration=UNCALIBRATED)
    np.testing.assert_allclose(measures.score, SCORE[0])
    assert measures.logit is None
    assert measures.standard is None
    np.testing.assert_allclose(measures.plain, [0.9, 0.4 - 0.7, -0.2])


# ---------------------------------------------------------------- hits in one list


def found(medium, scores, *, names=None, logit=None, standard=None, verdict=None, best_by_class=None):
    """Candidates of one medium."""
    hits = [
        Hit(0, score, Item(f"{medium}-{index}", medium, class_name=names[index] if names else None))
        for index, score in enumerate(scores)
    ]
    as_array = lambda values: None if values is None else np.array(values, dtype=float)  # noqa: E731
    measures = Measures(as_array(scores), as_array(logit), as_array(standard), plain=as_array(scores))
    verdict = np.array(verdict or [0] * len(scores), dtype=np.int64)
    listed = sorted(set(names or ()))
    code = np.array([listed.index(name) for name in names] if names else [-1] * len(scores), dtype=np.int64)
    return Candidates(
        medium,
        measures,
        verdict=verdict,
        class_names=listed,
        class_code=code,
        best_by_class=best_by_class or {},
        make_hits=lambda order: [hits[index] for index in order],
    )


def ids(*candidates, k=10, per_medium=False):
    ranked = rank_candidates(candidates, k=k, per_medium=per_medium)
    assert [hit.rank for hit in ranked] == list(range(1, len(ranked) + 1))
    return [hit.item_id for hit in ranked]


def test_hits_stand_by_probability_not_by_score():
    photos = found(Medium.IMAGE, [0.9, 0.8], logit=[0.0, -1.0], standard=[3, 2])
    songs = found(Medium.AUDIO, [0.5, 0.1], logit=[1.0, -2.0], standard=[1, 0])
    assert ids(photos, songs) == ["audio-0", "image-0", "image-1", "audio-1"]
    assert ids(photos, songs, k=3) == ["audio-0", "image-0", "image-1"]


def test_media_take_turns_where_hits_are_certain():
    photos = found(Medium.IMAGE, [0.9, 0.8, 0.7], logit=[9.0, 8.0, 7.0])
    songs = found(Medium.AUDIO, [0.5, 0.1], logit=[5.0, 1.0])
    assert ids(photos, songs) == ["image-0", "audio-0", "image-1", "image-2", "audio-1"]


def test_hits_without_probability_stand_by_what_is_usual_else_in_turns():
    photos = found(Medium.IMAGE, [0.9, 0.8], standard=[1.0, 0.5])
    songs = found(Medium.AUDIO, [0.5, 0.1], standard=[2.0, 0.7])
    assert ids(photos, songs) == ["audio-0", "image-0", "audio-1", "image-1"]
    assert ids(found(Medium.IMAGE, [0.9, 0.8]), found(Medium.AUDIO, [0.5, 0.1])) == [
        "image-0",
        "audio-0",
        "image-1",
        "audio-1",
    ]


def test_per_medium_gives_k_of_each():
    photos = found(Medium.IMAGE, [0.9, 0.8, 0.7], logit=[3.0, 2.0, 1.0])
    songs = found(Medium.AUDIO, [0.5, 0.1, 0.0], logit=[0.0, -2.0, -3.0])
    assert ids(photos, songs, k=2, per_medium=True) == ["image-0", "image-1", "audio-0", "audio-1"]


def test_hits_known_to_be_right_come_first_and_those_known_to_be_wrong_last():
    photos = found(Medium.IMAGE, [0.9, 0.8, 0.7], verdict=[-1, 1, 0], logit=[3.0, 2.0, 1.0])
    ranked = rank_candidates([photos], k=3, per_medium=False)
    assert [hit.item_id for hit in ranked] == ["image-1", "image-2", "image-0"]
    assert [hit.probability for hit in ranked] == [1.0, pytest.approx(0.731, abs=1e-3), 0.0]


def test_hits_whose_probability_is_all_but_zero_keep_their_order():
    photos = found(Medium.IMAGE, [0.1, 0.9], logit=[-50.0, -60.0])
    songs = found(Medium.AUDIO, [0.5, 0.6], logit=[-45.0, -70.0])
    assert ids(photos, songs) == ["audio-0", "image-0", "image-1", "audio-1"]


@given(
    st.lists(st.tuples(st.integers(-3, 9), st.integers(-2, 2), st.integers(-1, 1)), min_size=1, max_size=12),
    st.lists(st.tuples(st.integers(-3, 9), st.integers(-2, 2), st.integers(-1, 1)), max_size=12),
    st.sets(st.sampled_from(["photo logit", "song logit", "standard"])),
)
def test_the_first_hits_do_not_depend_on_how_many_are_wanted(photos, songs, known):
    def make(medium, values, knows_logit):
        logit, standard, verdict = zip(*values, strict=True) if values else ((), (), ())
        return found(
            medium,
            standard,
            logit=logit if knows_logit in known else None,
            standard=standard if "standard" in known else None,
            verdict=list(verdict),
        )

    candidates = [make(Medium.IMAGE, photos, "photo logit"), make(Medium.AUDIO, songs, "song logit")]
    whole = rank_candidates(candidates, k=24, per_medium=False)
    for k in (1, 3, 7):
        few = [hit.item_id for hit in rank_candidates(candidates, k=k, per_medium=False)]
        assert few == [hit.item_id for hit in whole][:k]


def test_class_margins_are_over_the_nearest_other_class():
    margins = compute_class_margins(["Jay", "Auk", None, "Wren"], {"Wren": 0.4, "Jay": 0.9, "Auk": 0.6, "Owl": 0.5})
    assert [other for _, other in [m for m in margins if m]] == ["Auk", "Jay", "Jay"]
    np.testing.assert_allclose([m[0] for m in margins if m], [0.3, -0.3, -0.5])
    assert margins[2] is None
    assert compute_class_margins(["Jay"], {"Jay": 0.9}) == [None]
