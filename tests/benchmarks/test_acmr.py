"""The adversary of ACMR and its triplets."""

import torch
from methods.acmr import ACMR, reverse_gradient
from methods.baseline import LabeledFeatures

from fieldmark.types import Medium


def test_reversed_gradient_leaves_rows_and_turns_their_gradient_round():
    rows = torch.randn(3, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    factor = torch.arange(12.0).view(3, 4)
    reversed_rows = reverse_gradient(rows, weight=0.25)
    torch.testing.assert_close(reversed_rows, rows)
    (reversed_rows * factor).sum().backward()
    torch.testing.assert_close(rows.grad, -0.25 * factor)


def test_adversary_takes_part_only_where_it_has_weight(make_toy):
    toy = make_toy()
    without, again, with_weight = (
        ACMR(dim=8, hidden_dim=16, steps=20, lr=5e-3, adversary_weight=weight)
        .fit(toy, seed=0)
        .project(toy[Medium.TEXT].features, Medium.TEXT)
        for weight in (0.0, 0.0, 1.0)
    )
    assert torch.equal(without, again)
    assert (without - with_weight).abs().max() > 1e-3


def test_negatives_stay_away_where_they_count(make_toy):
    toy = make_toy()
    label = toy[Medium.IMAGE].label
    is_other = label[:, None] != label

    def nearest_negative(weight):
        space = ACMR(dim=8, hidden_dim=32, steps=80, lr=5e-3, label_weight=0.0, negative_weight=weight).fit(toy, seed=0)
        image, text = (space.project(toy[m].features, m) for m in (Medium.IMAGE, Medium.TEXT))
        return torch.cdist(image, text)[is_other].mean()

    assert nearest_negative(0.0) < nearest_negative(1.0) - 0.1


def test_one_medium_alone_can_be_fitted():
    rows = LabeledFeatures(torch.eye(4), torch.arange(4))
    placed = ACMR(dim=4, hidden_dim=8, steps=5).fit({Medium.TEXT: rows}, seed=0).project(rows.features, Medium.TEXT)
    assert torch.isfinite(placed).all()
