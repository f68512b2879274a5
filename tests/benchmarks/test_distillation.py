"""Distillation across media against a loop over media and rows, in value and gradient."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from losses.distillation import DistillationLoss

from fieldmark.types import MEDIA, Medium


def slow_distillation(logits, label, medium, *, teacher, temperature):
    total = logits.sum() * 0
    likely = (logits / temperature).softmax(dim=1)
    for code in sorted(set(medium) - {teacher}):
        terms = []
        for i in [row for row in range(len(label)) if medium[row] == code]:
            teachers = [j for j in range(len(label)) if medium[j] == teacher and label[j] == label[i]]
            if teachers:
                target = likely[teachers].detach().mean(dim=0)
                terms.append(temperature**2 * (target * (target / likely[i]).log()).sum())
        if terms:
            total = total + sum(terms) / len(terms)
    return total


@settings(max_examples=60)
@given(
    rows=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=10),
    seed=st.integers(0, 2**16),
    teacher=st.sampled_from(MEDIA),
    temperature=st.sampled_from([1.0, 4.0]),
)
def test_distillation_equals_slow_loops(make_outputs, value_and_gradient, rows, seed, teacher, temperature):
    label, medium = [each[0] for each in rows], [each[1] for each in rows]
    logits = torch.randn(len(rows), 5, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    loss = DistillationLoss(teacher=teacher, temperature=temperature)
    fast = value_and_gradient(lambda each: loss(make_outputs(each, label, medium=medium)), logits)
    slow = value_and_gradient(
        lambda each: slow_distillation(each, label, medium, teacher=MEDIA.index(teacher), temperature=temperature),
        logits,
    )
    torch.testing.assert_close(fast, slow, rtol=1e-9, atol=1e-10)


def test_distillation_by_hand(make_outputs):
    """A photo sure at 3 to 1 and a text that says even; the second text's class has no photo."""
    image, text = MEDIA.index(Medium.IMAGE), MEDIA.index(Medium.TEXT)
    logits = torch.tensor([[math.log(3.0), 0.0], [0.0, 0.0], [4.0, 0.0]], requires_grad=True)
    value = DistillationLoss(temperature=1.0)(make_outputs(logits, [0, 0, 1], medium=[image, text, text]))
    assert value.item() == pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5), rel=1e-6)
    value.backward()
    assert logits.grad[0].eq(0).all(), "the teacher learns nothing"
    assert logits.grad[1].tolist() == pytest.approx([-0.25, 0.25])
    assert logits.grad[2].eq(0).all()


@pytest.mark.parametrize("medium", [[0, 0, 0], [1, 2, 3]], ids=["teachers_alone", "no_teacher"])
def test_distillation_without_terms_is_zero_with_a_gradient(make_outputs, medium):
    logits = torch.randn(3, 6, requires_grad=True)
    value = DistillationLoss()(make_outputs(logits, [0, 0, 1], medium=medium))
    value.backward()
    assert value.item() == 0
    assert logits.grad.eq(0).all()


def test_distillation_of_sure_logits_is_finite(make_outputs):
    logits = torch.tensor([[200.0, -200.0], [-200.0, 200.0]], requires_grad=True)
    value = DistillationLoss(temperature=1.0)(make_outputs(logits, [0, 0], medium=[0, 1]))
    value.backward()
    assert value.item() == pytest.approx(400.0)
    assert torch.isfinite(logits.grad).all()
