"""How likely each class is by an item's features themselves."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from fieldmark.models.evidence import PENALTY, LinearClassifier, NamedScores, match_names, plain_name
from fieldmark.models.shared_space import SharedSpace, SharedSpaceSize
from fieldmark.types import Medium


def random(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# ---------------------------------------------------------------- the linear classifier


@pytest.mark.parametrize("row_count", [12, 60])
def test_linear_classifier_equals_logistic_regression_of_scikit_learn(row_count):
    rows, label = random(row_count, 6), torch.arange(row_count) % 3
    classifier = LinearClassifier(6, class_count=3)
    classifier.fit(rows, label)
    judge = LogisticRegression(C=1 / PENALTY, tol=1e-8, max_iter=5_000).fit(rows.numpy() / 6**0.5, label.numpy())
    expected = torch.from_numpy(judge.predict_proba(rows.numpy() / 6**0.5)).float()
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


# ---------------------------------------------------------------- names


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
    assert plain_name(one) == plain_name(other)


@given(st.text(max_size=40))
def test_plain_names_are_plain(name):
    assert plain_name(plain_name(name)) == plain_name(name)


def test_match_names_finds_each_class_or_says_that_it_is_unknown():
    names = {"Cyanocitta cristata": 4, "Blue Jay": 4, "Gadwall": 9}
    assert match_names(["Gadwall", "Blue_Jay", "Dodo", "Cyanocitta_cristata"], names).tolist() == [9, 4, -1, 4]
    assert match_names(["Gadwall"], {}).tolist() == [-1]


# ---------------------------------------------------------------- an encoder's own scores


def scored(label, *, columns, count=6):
    """Square roots of probabilities, high in the column of each row's class."""
    features = torch.full((len(label), count), 0.1)
    features[torch.arange(len(label)), torch.tensor(columns)[label]] = 0.9
    return features


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
    assert float(named.share) == pytest.approx(2 / 3)


def test_named_scores_are_left_alone_where_no_name_is_known():
    named = NamedScores(3)
    named.fit(scored(torch.arange(9) % 3, columns=[5, 2, 0]), torch.arange(9) % 3, column=torch.tensor([-1, -1, -1]))
    assert float(named.share) == 0.0


def test_named_scores_never_decide_without_bound():
    named = NamedScores(2)
    named.fit(random(4, 2).abs(), torch.arange(4) % 2, column=torch.tensor([0, 1]))
    assert torch.isfinite(named(torch.tensor([[0.0, 1.0]]))).all()


def test_shared_space_knows_a_class_by_its_name_without_an_item_of_it():
    size = SharedSpaceSize(dim=16, component_count=4)
    torch.manual_seed(0)
    network = SharedSpace(input_dims={Medium.AUDIO: 6}, class_count=3, size=size)
    label = torch.arange(20) % 2  # the third class has no recording
    named_column = match_names(["Gadwall", "Mallard", "Veery"], {"Gadwall": 5, "Mallard": 2, "Veery": 0})
    network.fit(Medium.AUDIO, scored(label, columns=[5, 2, 0]), label, named_column=named_column)
    heard = torch.arange(9) % 3
    _, evidence = network.eval()(scored(heard, columns=[5, 2, 0]), Medium.AUDIO)
    assert evidence.argmax(dim=1).tolist() == heard.tolist()


def test_shared_space_in_training_scores_by_the_head_alone():
    torch.manual_seed(0)
    network = SharedSpace(
        input_dims={Medium.TEXT: 6}, class_count=3, size=SharedSpaceSize(dim=16, dropout=0.0, input_dropout=0.0)
    )
    rows, label = random(12, 6), torch.arange(12) % 3
    before = network.train()(rows, Medium.TEXT)[1]
    network._heads["text"].linear.fit(rows, label)
    torch.testing.assert_close(network(rows, Medium.TEXT)[1], before)
    assert not torch.allclose(network.eval()(rows, Medium.TEXT)[1], before)
