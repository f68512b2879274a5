"""What is fitted at once: linear classifier, named scores and their mixture; names matched, and embedded."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from toy_features import random, scored

from fieldmark.models.fitted import PENALTY, LinearClassifier, NamedScores, NameEmbedding, fit_named_share, match_names
from fieldmark.models.shared_space import SharedSpace
from fieldmark.names import normalize_name
from fieldmark.types import Medium
from product_parts import shared_space_size

# ---------------------------------------------------------------- the linear classifier


@pytest.mark.parametrize("row_count", [12, 60])
def test_linear_classifier_equals_logistic_regression_of_scikit_learn(row_count):
    rows, label = random(row_count, 6), torch.arange(row_count) % 3
    classifier = LinearClassifier(6, class_count=3)
    classifier.fit(rows, label)
    reference = LogisticRegression(C=1 / PENALTY, tol=1e-8, max_iter=5_000).fit(rows.numpy() / 6**0.5, label.numpy())
    expected = torch.from_numpy(reference.predict_proba(rows.numpy() / 6**0.5)).float()
    torch.testing.assert_close(classifier(rows).softmax(dim=1), expected, rtol=1e-2, atol=2e-3)


def test_linear_classifier_that_was_not_fitted_takes_no_side():
    assert not LinearClassifier(6, class_count=3)(random(4, 6)).any()


def test_linear_classifier_is_fitted_the_same_whatever_the_seed():
    fitted = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        classifier = LinearClassifier(6, class_count=3)
        classifier.fit(random(30, 6), torch.arange(30) % 3)
        fitted.append(classifier.weight)
    assert torch.equal(*fitted)


def test_linear_classifier_takes_classes_without_rows():
    classifier = LinearClassifier(6, class_count=5)
    classifier.fit(random(30, 6), torch.arange(30) % 3)
    likely = classifier(random(30, 6)).softmax(dim=1)
    assert torch.isfinite(likely).all()
    assert (likely[:, 3:] < 0.2).all()


# ---------------------------------------------------------------- an encoder's own scores


def test_named_scores_are_log_probabilities_of_the_named_columns():
    named = NamedScores(2)
    named.fit(random(4, 3).abs(), torch.arange(4) % 2, column=torch.tensor([2, 0]))
    expected = torch.tensor([[0.25, 0.04], [0.01, 1.0]]).log()
    torch.testing.assert_close(named(torch.tensor([[0.2, 0.0, 0.5], [1.0, 0.3, 0.1]])), expected)
    assert float(named.share) == 1.0


def test_named_scores_find_the_column_of_a_class_without_a_name():
    label = torch.arange(30) % 3
    features = scored(label, columns=[5, 2, 0])
    named = NamedScores(3)
    named.fit(features, label, column=torch.tensor([5, -1, 0]))
    assert named.column.tolist() == [5, 2, 0]


def test_named_scores_are_left_alone_where_no_name_is_known():
    named = NamedScores(3)
    named.fit(scored(torch.arange(9) % 3, columns=[5, 2, 0]), torch.arange(9) % 3, column=torch.tensor([-1, -1, -1]))
    assert float(named.share) == 0.0


def test_named_scores_never_decide_without_bound():
    named = NamedScores(2)
    named.fit(random(4, 2).abs(), torch.arange(4) % 2, column=torch.tensor([0, 1]))
    assert torch.isfinite(named(torch.tensor([[0.0, 1.0]]))).all()


def test_shared_space_knows_a_class_by_its_name_without_an_item_of_it():
    size = shared_space_size(dim=16, component_count=4)
    torch.manual_seed(0)
    network = SharedSpace(input_dims={Medium.AUDIO: 6}, class_count=3, size=size)
    label = torch.arange(20) % 2  # the third class has no recording
    named_column = match_names(["Gadwall", "Mallard", "Veery"], {"Gadwall": 5, "Mallard": 2, "Veery": 0})
    network.fit(Medium.AUDIO, scored(label, columns=[5, 2, 0]), label, named_column=named_column)
    heard = torch.arange(9) % 3
    _, class_logits = network.eval()(scored(heard, columns=[5, 2, 0]), Medium.AUDIO)
    assert class_logits.argmax(dim=1).tolist() == heard.tolist()


def training_case(*, by_name, by_features, seed=0):
    """Rows of three classes, four groups of three each, whose names and whose features tell the class or do not."""
    label = torch.arange(3).repeat_interleave(12)
    group = torch.arange(12).repeat_interleave(3)
    told = scored(
        label if by_name else label[torch.randperm(36, generator=torch.Generator().manual_seed(seed))],
        columns=[5, 2, 0],
    )
    rows = random(36, 8, seed=seed) + (6 * torch.nn.functional.one_hot(label, 8) if by_features else 0)
    return {"features": told, "rows": rows, "label": label, "group": group, "column": torch.tensor([5, 2, 0])}


def share_of(case):
    return fit_named_share(
        case.pop("features"),
        case.pop("rows"),
        case.pop("label"),
        **case,
        linear_weight=1.0,
    )


def test_named_scores_are_trusted_where_they_tell_more_than_what_is_learned():
    assert share_of(training_case(by_name=True, by_features=False)) > 0.8
    assert share_of(training_case(by_name=False, by_features=True)) < 0.3


def test_the_share_of_named_scores_is_the_largest_within_one_standard_error():
    # Both tell every class. The share with the least loss is 0, and those up to 0.4 are as good within one standard
    # error; up to 0.8 they are so within one standard deviation, which would be too generous.
    assert 0.3 < share_of(training_case(by_name=True, by_features=True)) < 0.5


def test_named_scores_are_not_scored_by_rows_of_the_same_group():
    # Each group has a feature of its own: learned by heart, it tells every class, and none of a group not met before.
    case = training_case(by_name=True, by_features=False)
    case["rows"] = 6 * torch.nn.functional.one_hot(case["group"], 12).float()
    assert share_of(dict(case)) > 0.8
    case["group"] = torch.arange(36)
    assert share_of(case) < 0.6


def test_named_scores_decide_where_every_class_has_one_group():
    case = training_case(by_name=False, by_features=True)
    case["group"] = case["label"]
    assert share_of(case) == 1.0


def test_a_class_without_rows_and_without_a_name_is_left_to_what_is_learned():
    named = NamedScores(3)
    label = torch.arange(20) % 2
    features = scored(label, columns=[5, 2, 0])
    named.fit(features, label, column=torch.tensor([5, 2, -1]))
    learned = random(20, 3)
    expected = (1 - named.share) * learned + named.share * named(features)
    torch.testing.assert_close(named.mix_with(learned, features, weight=1.0), expected)


def test_a_class_without_rows_is_as_likely_as_its_name_says():
    named = NamedScores(3)
    label = torch.arange(20) % 2
    named.fit(scored(label, columns=[5, 2, 0]), label, column=torch.tensor([5, 2, 0]))
    named.share.fill_(0.25)
    features, learned = random(9, 6).abs(), random(9, 3, seed=2)
    likely = named.mix_with(learned, features, weight=1.0).softmax(dim=1)
    torch.testing.assert_close(likely[:, 2], named(features).softmax(dim=1)[:, 2])
    met = (0.75 * learned + 0.25 * named(features))[:, :2].softmax(dim=1)
    torch.testing.assert_close(likely[:, :2], met * (1 - likely[:, 2:]))


def test_shared_space_in_training_scores_by_the_head_alone():
    torch.manual_seed(0)
    network = SharedSpace(
        input_dims={Medium.TEXT: 6}, class_count=3, size=shared_space_size(dim=16, dropout=0.0, input_dropout=0.0)
    )
    rows, label = random(12, 6), torch.arange(12) % 3
    before = network.train()(rows, Medium.TEXT)[1]
    network._heads["text"].linear.fit(rows, label)
    torch.testing.assert_close(network(rows, Medium.TEXT)[1], before)
    assert not torch.allclose(network.eval()(rows, Medium.TEXT)[1], before)


# ---------------------------------------------------------------- names that encoders know


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Red_winged_Blackbird", "Red-winged Blackbird"),
        ("001.Black_footed_Albatross", "Black-footed Albatross"),
        ("Swainson_Warbler", "Swainson's Warbler"),
        ("Grey Catbird", "gray_catbird"),
        ("Agelaius phoeniceus", "AGELAIUS PHOENICEUS"),
    ],
)
def test_names_that_differ_in_spelling_only_are_one(one, other):
    assert normalize_name(one) == normalize_name(other)


@given(st.text(max_size=40))
def test_normalize_name_of_a_normalized_name_changes_nothing(name):
    assert normalize_name(normalize_name(name)) == normalize_name(name)


def test_match_names_finds_each_class_or_says_that_it_is_unknown():
    names = {"Cyanocitta cristata": 4, "Blue Jay": 4, "Gadwall": 9}
    assert match_names(["Gadwall", "Blue_Jay", "Dodo", "Cyanocitta_cristata"], names).tolist() == [9, 4, -1, 4]
    assert match_names(["Gadwall"], {}).tolist() == [-1]


def embedding_of(named_scores, *, dim=256):
    embedding = NameEmbedding(len(set(named_scores.values())), dim=dim)
    embedding.fit(named_scores)
    return embedding


def test_items_of_two_encoders_meet_where_both_give_them_one_name():
    of_sounds = embedding_of({"Turdus merula": 1, "Common Blackbird": 1, "Erithacus rubecula": 2, "European Robin": 2})
    of_images = embedding_of({"European Robin": 0, "Erithacus rubecula": 0, "Common Blackbird": 3, "Turdus merula": 3})
    blackbird, robin = of_sounds(torch.tensor([[9.0, 1.0, 0.0], [9.0, 0.0, 1.0]]))
    torch.testing.assert_close(of_images(torch.tensor([[0.0, 5.0, 5.0, 1.0]]))[0], blackbird)
    torch.testing.assert_close(of_images(torch.tensor([[0.5, 5.0, 5.0, 0.0]]))[0], robin)
    assert abs(float(blackbird @ robin)) < 0.25


def test_items_meet_by_one_of_two_names_where_the_other_has_changed():
    old, new = embedding_of({"Picoides pubescens": 0, "Downy Woodpecker": 0}), embedding_of({"downy_woodpecker": 0})
    (one,), (other,) = old(torch.ones(1, 1)), new(torch.ones(1, 1))
    assert float(one @ other) == pytest.approx(0.5**0.5, abs=0.1)


@given(st.integers(min_value=0, max_value=10_000))
def test_the_product_of_two_items_is_about_their_bhattacharyya_coefficient(seed):
    generator = torch.Generator().manual_seed(seed)
    embedding = embedding_of({f"species {'abcdefghijklmnop'[number]}": number for number in range(16)}, dim=512)
    root = (4 * torch.rand(2, 16, generator=generator)).softmax(dim=1).sqrt()
    one, other = embedding(root)
    assert float(one @ other) == pytest.approx(float(root[0] @ root[1]), abs=0.35)


def test_a_name_in_two_spellings_counts_once():
    twice = embedding_of({"Picoides pubescens": 0, "Downy Woodpecker": 0, "downy_woodpecker": 0})
    once = embedding_of({"Picoides pubescens": 0, "Downy Woodpecker": 0})
    assert torch.equal(twice(torch.ones(1, 1)), once(torch.ones(1, 1)))


def test_names_are_the_same_in_every_process():
    # printf 'blue jay' | b2sum --length 8 says 08: one bit of eight is set, the fourth.
    expected = [[-1.0, -1.0, -1.0, 1.0, -1.0, -1.0, -1.0, -1.0]]
    assert embedding_of({"Blue Jay": 0}, dim=8).directions.sign().tolist() == expected


def test_a_space_with_named_scores_holds_species_that_training_never_saw():
    named = {f"bird {letter}": column for column, letter in enumerate("abcdef")}
    dims = {Medium.IMAGE: 6, Medium.AUDIO: 6}
    size = shared_space_size(dim=16, component_count=6, private_weight=0.0, name_weight=5.0)
    network = SharedSpace(input_dims=dims, class_count=2, named_counts=dict.fromkeys(dims, 6), size=size).eval()
    label = torch.arange(20) % 2
    for medium in dims:
        network.fit(medium, scored(label, columns=[0, 1]), label, named_scores=named)
    unseen = torch.eye(6)[2:].sqrt()
    image, audio = (network(unseen, medium)[0] for medium in dims)
    assert (image @ audio.T).argmax(dim=1).tolist() == [0, 1, 2, 3]


def test_an_item_of_a_medium_without_names_lies_by_the_names_of_the_classes_it_may_be_of():
    dims, label = {Medium.IMAGE: 6, Medium.TEXT: 5}, torch.arange(20) % 2
    size = shared_space_size(dim=16, component_count=5, private_weight=0.0, name_weight=100.0, posterior_weight=0.0)
    network = SharedSpace(input_dims=dims, class_count=2, named_counts={Medium.IMAGE: 6}, size=size).eval()
    network.fit(Medium.TEXT, 9 * torch.nn.functional.one_hot(label, 5).float(), label)
    network.fit(
        Medium.IMAGE,
        scored(label, columns=[4, 1]),
        label,
        named_scores={f"bird {each}": column for column, each in enumerate("abcdef")},
    )
    text = network(9 * torch.eye(5)[:2], Medium.TEXT)[0]
    image = network(torch.eye(6), Medium.IMAGE)[0]
    assert (text @ image.T).argmax(dim=1).tolist() == [4, 1]


def test_a_space_whose_encoders_name_nothing_has_no_part_for_names():
    network = SharedSpace(
        input_dims={Medium.TEXT: 5}, class_count=2, named_counts={Medium.TEXT: 0}, size=shared_space_size()
    )
    assert network.dim == 256 + 64


def test_a_space_with_named_scores_comes_back_from_its_state():
    size = shared_space_size(dim=16, component_count=6)
    network = SharedSpace(input_dims={Medium.AUDIO: 6}, class_count=3, named_counts={Medium.AUDIO: 4}, size=size)
    label = torch.arange(12) % 3
    network.fit(Medium.AUDIO, random(12, 6).abs(), label, named_scores={"a": 1, "b": 2, "c": 4, "d": 5})
    state = network.state_dict()
    counts = SharedSpace.read_named_counts(state)
    assert counts == {Medium.AUDIO: 4}
    again = SharedSpace(input_dims={Medium.AUDIO: 6}, class_count=3, named_counts=counts, size=size)
    again.load_state_dict(state)
    rows = random(4, 6, seed=2).abs()
    torch.testing.assert_close(again.eval()(rows, Medium.AUDIO), network.eval()(rows, Medium.AUDIO))
    assert again.dim == 16 + 64 + 128
