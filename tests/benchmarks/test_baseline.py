"""What every baseline promises, run over all of them."""

from itertools import permutations

import pytest
import torch
from methods.acmr import ACMR
from methods.baseline import LabeledFeatures, count_classes, draw_batches
from methods.cca import CCA
from methods.dscmr import DSCMR
from methods.semantic_matching import SemanticMatching

from fieldmark.errors import MediumNotSupportedError
from fieldmark.types import Medium

ALL = [
    CCA(dim=5),
    SemanticMatching(),
    ACMR(dim=16, hidden_dim=32, steps=80, lr=5e-3),
    DSCMR(dim=16, hidden_dim=32, steps=80, lr=5e-3),
]


@pytest.fixture(params=ALL, ids=lambda each: type(each).__name__)
def baseline(request):
    return request.param


def nearest_labels(space, rows, *, query, gallery):
    scores = space.project(rows[query].features, query) @ space.project(rows[gallery].features, gallery).T
    return rows[gallery].label[scores.argmax(dim=1)]


def test_baseline_learns_to_find_its_class_in_every_other_medium(baseline, make_toy):
    space = baseline.fit(make_toy(seed=0), seed=0)
    unseen = make_toy(seed=1)
    for query, gallery in permutations(unseen, 2):
        found = nearest_labels(space, unseen, query=query, gallery=gallery)
        assert torch.equal(found, unseen[query].label), (query, gallery)


def test_baseline_finds_nothing_across_media_whose_labels_disagree(baseline, make_toy):
    toy = make_toy(seed=0)
    text = toy[Medium.TEXT]
    toy[Medium.TEXT] = LabeledFeatures(text.features, (text.label + 1) % 6)
    space = baseline.fit(toy, seed=0)
    found = nearest_labels(space, make_toy(seed=1), query=Medium.IMAGE, gallery=Medium.TEXT)
    expected = (make_toy(seed=1)[Medium.IMAGE].label - 1) % 6  # what is called so in the text
    assert torch.equal(found, expected)


def test_embeddings_have_length_one(baseline, make_toy):
    toy = make_toy()
    space = baseline.fit(toy, seed=0)
    for medium, rows in toy.items():
        length = space.project(rows.features, medium).norm(dim=1)
        torch.testing.assert_close(length, torch.ones_like(length))


def test_same_seed_finds_the_same_space_and_leaves_the_random_state_alone(baseline, make_toy):
    toy = make_toy()
    before = torch.get_rng_state()
    one, other = (baseline.fit(toy, seed=3).project(toy[Medium.TEXT].features, Medium.TEXT) for _ in range(2))
    assert torch.equal(one, other)
    assert torch.equal(before, torch.get_rng_state())


def test_a_class_may_be_missing_from_a_medium(baseline, make_toy):
    toy = make_toy()
    audio = toy[Medium.AUDIO]
    toy[Medium.AUDIO] = LabeledFeatures(audio.features[4:], audio.label[4:])
    space = baseline.fit(toy, seed=0)
    found = nearest_labels(space, toy, query=Medium.AUDIO, gallery=Medium.IMAGE)
    assert torch.equal(found, toy[Medium.AUDIO].label)


def test_a_medium_that_was_not_fitted_is_refused(baseline, make_toy):
    space = baseline.fit(make_toy(), seed=0)
    with pytest.raises(MediumNotSupportedError, match="video"):
        space.project(torch.zeros(1, 12), Medium.VIDEO)


def test_batches_hold_the_rows_of_one_class_in_every_medium(make_toy):
    toy = make_toy()
    for batch in draw_batches(toy, steps=5, seed=0):
        assert [part.medium for part in batch] == [Medium.IMAGE, Medium.TEXT, Medium.AUDIO]
        assert len({tuple(part.label.unique().tolist()) for part in batch}) == 1
        for part in batch:
            rows = toy[part.medium]
            for inputs, label in zip(part.inputs, part.label, strict=True):
                assert (rows.features[rows.label == label] == inputs).all(dim=1).any()


def test_count_classes_counts_those_of_all_media():
    one, other = (LabeledFeatures(torch.zeros(2, 1), torch.tensor(label)) for label in ([0, 1], [1, 4]))
    assert count_classes({Medium.IMAGE: one, Medium.TEXT: other}) == 5
