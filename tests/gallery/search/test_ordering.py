"""Hits of several media in one list, and the margin over a look-alike."""

import numpy as np
import pytest

from fieldmark.gallery.search.candidates import Candidates, compute_class_margins
from fieldmark.gallery.search.fusion import rank_candidates
from fieldmark.types import Hit, Item, Medium


def found(medium, scores, *, names=None, logit=None, standard=None, others=()):
    """Candidates of one medium."""
    hits = tuple(
        Hit(0, score, Item(f"{medium}-{index}", medium, class_name=names[index] if names else None))
        for index, score in enumerate(scores)
    )
    as_array = lambda values: None if values is None else np.array(values, dtype=float)  # noqa: E731
    return Candidates(medium, hits, np.array(scores, dtype=float), as_array(logit), as_array(standard), others)


def ids(*candidates, k=10, per_medium=False, class_name=None):
    ranked = rank_candidates(candidates, k=k, per_medium=per_medium, class_name=class_name)
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


def test_hits_of_a_named_class_come_first_and_other_labels_last():
    photos = found(Medium.IMAGE, [0.9, 0.8, 0.7], names=["Jay", "Auk", None], logit=[3.0, 2.0, 1.0])
    ranked = rank_candidates([photos], k=3, per_medium=False, class_name="Auk")
    assert [hit.item_id for hit in ranked] == ["image-1", "image-2", "image-0"]
    assert [hit.probability for hit in ranked] == [1.0, pytest.approx(0.731, abs=1e-3), 0.0]


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
