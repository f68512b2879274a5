"""The center constraint: its value, and how the centers follow their rows."""

import pytest
import torch

from fieldmark.types import Outputs
from product_parts import center_loss, released_center_loss


@pytest.fixture
def vectors():
    return torch.randn(6, 4, generator=torch.Generator().manual_seed(0))


LABEL = [0, 2, 0, 1, 2, 0]


def test_center_loss_equals_slow_loop(make_outputs, vectors):
    loss = center_loss(class_count=3, dim=4).eval()
    loss.start_at(torch.arange(12.0).view(3, 4), torch.arange(3))
    expected = 0.0
    for row, label in enumerate(LABEL):
        for place in range(4):
            expected += (vectors[row, place].item() - (4 * label + place)) ** 2 / 6
    assert loss(make_outputs(vectors, LABEL)).item() == pytest.approx(expected, rel=1e-6)


def test_center_loss_starts_at_class_means(make_outputs, vectors):
    loss = center_loss(class_count=4, dim=4)
    label = torch.tensor(LABEL)
    loss.start_at(vectors, label)
    for own in range(3):
        torch.testing.assert_close(loss.centers[own], vectors[label == own].mean(dim=0))
    assert loss.is_started.tolist() == [True, True, True, False]


def test_center_loss_starts_a_new_class_at_its_first_rows(make_outputs, vectors):
    loss = center_loss(class_count=4, dim=4)
    value = loss(make_outputs(vectors, LABEL))
    label = torch.tensor(LABEL)
    scatter = sum((vectors[label == own] - vectors[label == own].mean(dim=0)).square().sum() for own in range(3)) / 6
    torch.testing.assert_close(value, scatter)
    assert loss.centers[3].eq(0).all()


def test_center_loss_moves_centers_by_the_rule(make_outputs, vectors):
    loss = center_loss(class_count=3, dim=4, rate=0.3)
    loss.start_at(torch.zeros(3, 4), torch.arange(3))
    loss(make_outputs(vectors, LABEL))
    label = torch.tensor(LABEL)
    for own in range(3):
        rows = vectors[label == own]
        torch.testing.assert_close(loss.centers[own], 0.3 * rows.sum(dim=0) / (1 + len(rows)))


def test_center_loss_finds_the_means_of_still_rows(make_outputs, vectors):
    loss = center_loss(class_count=3, dim=4)
    loss.start_at(torch.full((3, 4), 5.0), torch.arange(3))
    for _ in range(100):
        loss(make_outputs(vectors, LABEL))
    label = torch.tensor(LABEL)
    for own in range(3):
        torch.testing.assert_close(loss.centers[own], vectors[label == own].mean(dim=0))


def test_center_loss_keeps_centers_in_eval_mode(make_outputs, vectors):
    loss = center_loss(class_count=3, dim=4).eval()
    loss(make_outputs(vectors, LABEL))
    assert loss.centers.eq(0).all()
    assert not loss.is_started.any()


def test_center_loss_centers_are_saved_and_are_no_parameters(make_outputs, vectors):
    loss = center_loss(class_count=3, dim=4)
    loss(make_outputs(vectors, LABEL))
    other = center_loss(class_count=3, dim=4)
    other.load_state_dict(loss.state_dict())
    torch.testing.assert_close(other.centers, loss.centers)
    assert other.is_started.all()
    assert not list(loss.parameters())


def test_center_loss_gradient_points_from_the_center(make_outputs, vectors):
    loss = center_loss(class_count=3, dim=4)
    loss.start_at(torch.zeros(3, 4), torch.arange(3))
    vectors.requires_grad_()
    loss(make_outputs(vectors, LABEL)).backward()
    torch.testing.assert_close(vectors.grad, 2 * vectors.detach() / 6)


@pytest.mark.parametrize(("space", "expected"), [("embedding", 1.0), ("logits", 4.0)])
def test_center_loss_measures_in_its_space(space, expected):
    loss = center_loss(class_count=2, dim=2, space=space).eval()
    outputs = Outputs(
        embedding=torch.tensor([[1.0, 0.0]]),
        logits=torch.tensor([[0.0, 2.0]]),
        label=torch.tensor([1]),
        medium=torch.tensor([0]),
    )
    assert loss(outputs).item() == expected


def test_released_center_loss_equals_slow_loop_and_moves_by_its_gradient(make_outputs, vectors):
    loss = released_center_loss(class_count=4, dim=4, generator=torch.Generator().manual_seed(3))
    start = loss.centers.detach().clone()
    value = loss(make_outputs(vectors, LABEL))
    expected = sum((vectors[row] - start[label]).square().sum().item() for row, label in enumerate(LABEL)) / 6
    assert value.item() == pytest.approx(expected, rel=1e-6)
    value.backward()
    label = torch.tensor(LABEL)
    for own in range(4):
        torch.testing.assert_close(loss.centers.grad[own], 2 * (start[own] - vectors[label == own]).sum(dim=0) / 6)
    assert start.std() > 0.5
