"""The supervised contrastive constraint against loops over rows, in value and gradient, and against a library."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from losses.contrastive import SupervisedContrastiveLoss


def slow_contrastive(vectors, label, medium, *, temperature, cross_media):
    unit = vectors / vectors.norm(dim=1, keepdim=True)
    terms = []
    for i in range(len(label)):
        others = [k for k in range(len(label)) if (medium[k] != medium[i] if cross_media else k != i)]
        positives = [j for j in others if label[j] == label[i]]
        if positives:
            total = sum(torch.exp(unit[i] @ unit[k] / temperature) for k in others)
            terms.append(-sum(unit[i] @ unit[j] / temperature - total.log() for j in positives) / len(positives))
    return sum(terms) / len(terms) if terms else vectors.sum() * 0


@settings(max_examples=60)
@given(
    rows=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=10),
    seed=st.integers(0, 2**16),
    temperature=st.sampled_from([0.07, 0.5, 2.0]),
    cross_media=st.booleans(),
)
def test_contrastive_loss_equals_slow_loops(make_outputs, value_and_gradient, rows, seed, temperature, cross_media):
    label, medium = [each[0] for each in rows], [each[1] for each in rows]
    vectors = torch.randn(len(rows), 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    options = {"temperature": temperature, "cross_media": cross_media}
    loss = SupervisedContrastiveLoss(**options)
    fast = value_and_gradient(lambda each: loss(make_outputs(each, label, medium=medium)), vectors)
    slow = value_and_gradient(lambda each: slow_contrastive(each, label, medium, **options), vectors)
    torch.testing.assert_close(fast, slow, rtol=1e-9, atol=1e-10)


def test_contrastive_loss_by_hand(make_outputs):
    """Rows at 0, 90 and 180 degrees; the first two are of one class: the third has no positive and is left out."""
    vectors = torch.tensor([[2.0, 0.0], [0.0, 5.0], [-1.0, 0.0]])
    value = SupervisedContrastiveLoss(temperature=1.0)(make_outputs(vectors, [0, 0, 1]))
    first = -math.log(1 / (1 + math.exp(-1)))  # cosine 0 to the positive, -1 to the other
    second = -math.log(1 / (1 + 1))  # cosine 0 to both
    assert value.item() == pytest.approx((first + second) / 2, rel=1e-6)


@pytest.mark.parametrize("cross_media", [True, False])
@pytest.mark.parametrize("label", [[0, 1, 2], [7]], ids=["single_rows", "one_row"])
def test_contrastive_loss_without_positives_is_zero_with_a_gradient(make_outputs, label, cross_media):
    vectors = torch.randn(len(label), 6, requires_grad=True)
    value = SupervisedContrastiveLoss(cross_media=cross_media)(make_outputs(vectors, label))
    value.backward()
    assert value.item() == 0
    assert vectors.grad.eq(0).all()


def test_contrastive_loss_is_that_of_a_library(make_outputs, value_and_gradient):
    losses = pytest.importorskip("pytorch_metric_learning.losses")
    vectors = torch.randn(20, 6, generator=torch.Generator().manual_seed(1))
    label = [row % 5 for row in range(20)]
    theirs = losses.SupConLoss(temperature=0.1)
    fast = value_and_gradient(lambda rows: SupervisedContrastiveLoss()(make_outputs(rows, label)), vectors)
    slow = value_and_gradient(lambda rows: theirs(rows, torch.tensor(label)), vectors)
    torch.testing.assert_close(fast, slow, rtol=1e-4, atol=1e-6)
