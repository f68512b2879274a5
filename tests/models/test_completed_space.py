"""The learned space beside the one without training: what labels cover, and what they do not."""

import pytest
import torch

from fieldmark.models.completed_space import LEARNED_SHARE, CompletedSpace, LabelledRows
from fieldmark.models.ready import ReadySize, ReadySpace
from fieldmark.models.shared_space import SharedSpace, SharedSpaceSize
from fieldmark.types import Medium, MediumBatch

SIZE = SharedSpaceSize(
    dim=8,
    hidden_dim=8,
    uniform_trunk=False,
    component_count=8,
    input_dropout=0.0,
    dropout=0.0,
    posterior_weight=3.0,
    linear_weight=1.3,
    named_weight=1.0,
    private_dim=2,
    name_dim=64,
    name_weight=0.8,
    scale=16.0,
)
READY = ReadySize(name_dim=512, look_dim=64, name_weight=0.6, score_floor=0.003, sure_mass=0.2)
NAMES = {"Blue Jay": 12, "Veery": 13, "Limpkin": 14, "Sora": 15}
NO_COLUMN = torch.zeros(0, dtype=torch.int64)
PER_CLASS = 12


def make_rows(*, is_named, seed=0):
    """Photos of four species, each with a look of its own; the labels of all four are 0 to 3."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.arange(4).repeat_interleave(PER_CLASS)
    look = torch.nn.functional.one_hot(label, 12).float() + 0.15 * torch.rand(len(label), 12, generator=generator)
    named = 0.95 * torch.nn.functional.one_hot(label, 4).float().sqrt() if is_named else torch.zeros(len(label), 4)
    return torch.cat([look, named], dim=1), label


def make_space(*, is_named):
    """Photos and sounds; only photos are learned, of two classes."""
    named = 4 if is_named else 0
    dims, counts = {Medium.IMAGE: 16, Medium.AUDIO: 16}, {Medium.IMAGE: named, Medium.AUDIO: 4}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        learned = SharedSpace(
            input_dims={Medium.IMAGE: 16}, class_count=2, named_counts={Medium.IMAGE: named}, size=SIZE
        )
        index = {Medium.IMAGE: 0, Medium.AUDIO: 1}
        ready = ReadySpace(input_dims=dims, named_counts=counts, encoder_index=index, joint={}, size=READY)
    ready.fit(Medium.AUDIO, NAMES)
    if is_named:
        ready.fit(Medium.IMAGE, NAMES)
    return CompletedSpace(learned, ready).eval()


def fit(space, features, label, *, chosen):
    """Fit the photos of the first two species that are chosen as labelled, all others as unlabelled."""
    labelled = (label < 2) & chosen
    rows = LabelledRows(features[labelled], label[labelled], torch.arange(len(label))[labelled])
    column = torch.tensor([12, 13]) if space.ready.named_media >= {Medium.IMAGE} else NO_COLUMN
    space.learned.fit(Medium.IMAGE, rows.features, rows.label, group=rows.group)
    space.fit_coverage(Medium.IMAGE, rows, unlabelled=features[~labelled], named_column=column)


@pytest.mark.parametrize("is_named", [True, False])
@pytest.mark.parametrize("share", [1, 2])
def test_coverage_is_that_of_the_classes_with_labels_and_not_of_the_items(is_named, share):
    space = make_space(is_named=is_named)
    features, label = make_rows(is_named=is_named)
    fit(space, features, label, chosen=torch.arange(len(label)) % share == 0)
    fresh, fresh_label = make_rows(is_named=is_named, seed=1)
    coverage = space.measure_coverage(space(fresh, Medium.IMAGE)[0])
    assert coverage[fresh_label < 2].mean() > 0.85
    assert coverage[fresh_label >= 2].mean() < 0.15


def test_what_labels_do_not_cover_lies_where_it_lies_without_training():
    space = make_space(is_named=True)
    features, label = make_rows(is_named=True)
    fit(space, features, label, chosen=label < 2)
    embedding = space(features, Medium.IMAGE)[0]
    torch.testing.assert_close(embedding.norm(dim=1), torch.ones(len(label)))
    others = embedding[label >= 2]
    ready = space.ready(features[label >= 2], Medium.IMAGE)[0]
    torch.testing.assert_close(others @ others.T, ready @ ready.T, atol=0.15, rtol=0)
    torch.testing.assert_close(space.take_ready_part(embedding), space.ready(features, Medium.IMAGE)[0])


def test_a_medium_without_labels_is_compared_as_without_training():
    space = make_space(is_named=True)
    features, label = make_rows(is_named=True)
    fit(space, features, label, chosen=label < 2)
    sound = space(features, Medium.AUDIO)[0]
    without = space.ready(features, Medium.AUDIO)[0]
    torch.testing.assert_close(sound @ sound.T, without @ without.T)
    photo = space(features[:1], Medium.IMAGE)[0]
    plain = space.ready(features[:1], Medium.IMAGE)[0]
    scores, plain_scores = (photo @ sound.T)[0], (plain @ without.T)[0]
    factor = space.measure_coverage(photo).mul(-LEARNED_SHARE).add(1).sqrt()
    torch.testing.assert_close(scores, factor * plain_scores)  # one factor for all, so the order is the same
    assert space.learned_media == {Medium.IMAGE}
    assert space.get_mean_coverage(Medium.AUDIO) == 0.0


def test_without_unlabelled_rows_labels_cover_everything():
    space = make_space(is_named=True)
    features, label = make_rows(is_named=True)
    space.learned.fit(Medium.IMAGE, features[label < 2], label[label < 2])
    coverage = space.measure_coverage(space(features, Medium.IMAGE)[0])
    torch.testing.assert_close(coverage, torch.ones(len(label)))
    assert space.covered_media == {Medium.IMAGE}


def test_training_sees_the_learned_space_alone():
    space = make_space(is_named=True).train()
    features, label = make_rows(is_named=True)
    embedding, logits = space.forward_together([MediumBatch(Medium.IMAGE, features, label)])
    assert embedding.shape == (len(label), space.training_dim)
    assert logits.shape == (len(label), 2)
    torch.testing.assert_close(embedding, space.learned(features, Medium.IMAGE)[0])


def test_names_have_one_scale_whether_or_not_their_class_was_learned():
    space = make_space(is_named=True)
    features, label = make_rows(is_named=True)
    fit(space, features, label, chosen=label < 2)
    learned, other = space.embed_name("Blue Jay", label=0), space.embed_name("Limpkin")
    sound = space(features, Medium.AUDIO)[0]
    for name, own in ((learned, 0), (other, 2)):
        torch.testing.assert_close(name.norm(), torch.tensor(1.0))
        score = (sound @ name)[label == own].mean()
        assert float(score) == pytest.approx(READY.name_weight * (1 - LEARNED_SHARE) ** 0.5, abs=0.03)


def test_one_group_to_a_class_still_gives_a_coverage():
    space = make_space(is_named=False)
    features, label = make_rows(is_named=False)
    chosen = torch.tensor([0, 1, PER_CLASS, PER_CLASS + 1])
    rows = LabelledRows(features[chosen], label[chosen], torch.tensor([0, 0, 1, 1]))
    space.learned.fit(Medium.IMAGE, rows.features, rows.label, group=rows.group)
    space.fit_coverage(Medium.IMAGE, rows, unlabelled=features[2 * PER_CLASS :], named_column=NO_COLUMN)
    coverage = space.measure_coverage(space(features, Medium.IMAGE)[0])
    assert coverage[label < 2].mean() > coverage[label >= 2].mean() + 0.3
