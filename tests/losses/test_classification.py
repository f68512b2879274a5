"""The classification constraint against a loop over media and rows."""

import math

import pytest
import torch

from product_parts import classification_loss


def slow_classification(logits, label, medium, *, smoothing):
    total = 0.0
    for code in sorted(set(medium)):
        rows = [row for row in range(len(label)) if medium[row] == code]
        for row in rows:
            scores = logits[row].tolist()
            normalizer = math.log(sum(math.exp(score) for score in scores))
            target = [smoothing / len(scores) + (1 - smoothing) * (place == label[row]) for place in range(len(scores))]
            entropy = -sum(share * (score - normalizer) for share, score in zip(target, scores, strict=True))
            total += entropy / len(rows)
    return total


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("medium", [[0, 1, 2, 3, 3, 1], [2, 0, 2, 0, 2, 2], [3, 3, 3, 3, 3, 3]])
def test_classification_loss_equals_slow_loop(make_outputs, medium, smoothing):
    logits = torch.randn(6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    label = [0, 4, 2, 2, 1, 3]
    loss = classification_loss(label_smoothing=smoothing)(make_outputs(logits, label, medium=medium))
    assert loss.item() == pytest.approx(slow_classification(logits, label, medium, smoothing=smoothing), rel=1e-12)


def test_classification_loss_weighs_media_alike(make_outputs):
    """Nine rows of one medium and one of another: the sum of the two means."""
    logits = torch.tensor([[2.0, 0.0]] * 9 + [[0.0, 2.0]])
    loss = classification_loss()(make_outputs(logits, [0] * 10, medium=[0] * 9 + [1]))
    right, wrong = math.log(1 + math.exp(-2)), math.log(1 + math.exp(2))
    assert loss.item() == pytest.approx(right + wrong, rel=1e-6)


def test_classification_loss_does_not_depend_on_order(make_outputs):
    logits = torch.randn(8, 3, generator=torch.Generator().manual_seed(1))
    label, medium = [0, 1, 2, 0, 1, 2, 0, 1], [0, 1, 2, 3, 0, 1, 2, 3]
    order = [5, 3, 0, 7, 1, 6, 2, 4]
    plain = classification_loss()(make_outputs(logits, label, medium=medium))
    mixed = classification_loss()(
        make_outputs(logits[order], [label[row] for row in order], medium=[medium[row] for row in order])
    )
    torch.testing.assert_close(plain, mixed)
