"""Several queries and marks as one log-odds; hits of several media in one list, and the margin over a look-alike."""

import numpy as np
import pytest

from fieldmark.gallery.search.calibration import UNCALIBRATED, Curve, PairScale, ScoreCalibration, compute_sigmoid
from fieldmark.gallery.search.fusion import (
    Candidates,
    combine_logits,
    combine_standard_scores,
    compute_class_margins,
    rank_candidates,
    rank_medium,
)
from fieldmark.gallery.search.name_index import NamedSpecies
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


# ---------------------------------------------------------------- hits in one list


def found(medium, scores, *, names=None, logit=None, standard=None, others=()):
    """Candidates of one medium."""
    hits = tuple(
        Hit(0, score, Item(f"{medium}-{index}", medium, class_name=names[index] if names else None))
        for index, score in enumerate(scores)
    )
    as_array = lambda values: None if values is None else np.array(values, dtype=float)  # noqa: E731
    return Candidates(medium, hits, np.array(scores, dtype=float), as_array(logit), as_array(standard), others)


def ids(*candidates, k=10, per_medium=False):
    ranked = rank_candidates(candidates, k=k, per_medium=per_medium, named=None)
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


def test_hits_of_a_named_class_come_first_and_those_of_other_species_last():
    names = ["Jay", "Auk", None, "Alk"]
    photos = found(Medium.IMAGE, [0.9, 0.8, 0.7, 0.6], names=names, logit=[3.0, 2.0, 1.0, 0.0])
    auk = NamedSpecies("Auk", "Auk", "Auk", names=(), other_classes=frozenset({"Jay"}))
    ranked = rank_candidates([photos], k=4, per_medium=False, named=auk)
    assert [hit.item_id for hit in ranked] == ["image-1", "image-2", "image-3", "image-0"]
    assert [hit.probability for hit in ranked] == [1.0, pytest.approx(0.731, abs=1e-3), 0.5, 0.0]


def test_class_margins_are_over_the_nearest_other_class():
    photos = found(Medium.IMAGE, [0.9, 0.8, 0.6, 0.5, 0.4], names=["Jay", "Jay", "Auk", None, "Wren"])
    margins = compute_class_margins(photos)
    assert [other for _, other in [m for m in margins if m]] == ["Auk", "Auk", "Jay", "Jay"]
    np.testing.assert_allclose([m[0] for m in margins if m], [0.3, 0.3, -0.3, -0.5])
    assert margins[3] is None


def test_class_margins_of_one_class_need_others():
    assert compute_class_margins(found(Medium.IMAGE, [0.9, 0.8], names=["Jay", "Jay"])) == [None, None]
    auk = Hit(0, 0.25, Item("auk", Medium.IMAGE, class_name="Auk"))
    margins = compute_class_margins(found(Medium.IMAGE, [0.75], names=["Jay"], others=(auk,)))
    assert margins == [(0.5, "Auk")]
