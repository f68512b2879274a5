"""The ranking constraint against loops over all rows, in value and gradient."""

from itertools import permutations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fieldmark.losses.ranking import RankingLoss
from product_parts import ranking_loss, released_ranking_loss

FORMS = pytest.mark.parametrize("loss", [ranking_loss(), released_ranking_loss()], ids=["two_hinges", "released"])


def length(difference):
    """Length of a vector, with gradient 0 at 0."""
    squared = difference.square().sum()
    return squared.sqrt() if squared > 0 else squared


def mean_above_zero(terms, *, like):
    above = [term for term in terms if term > 0]
    return torch.stack(above).mean() if above else like.sum() * 0


def slow_two_hinges(vectors, label, *, margin, second_margin, medium=None):
    """With media, only pairs of two media are positives."""
    rows = range(len(label))
    d = [[length(vectors[a] - vectors[b]) for b in rows] for a in rows]

    def are_positives(i, j):
        return label[i] == label[j] and (medium is None or medium[i] != medium[j])

    triplets = [
        d[i][j] - d[i][k] + margin for i, j, k in permutations(rows, 3) if are_positives(i, j) and label[i] != label[k]
    ]
    quadruplets = [
        d[i][j] - d[k][m] + second_margin
        for i, j, k, m in permutations(rows, 4)
        if are_positives(i, j) and len({label[i], label[k], label[m]}) == 3
    ]
    return mean_above_zero(triplets, like=vectors) + mean_above_zero(quadruplets, like=vectors)


def slow_released(vectors, label, *, margin, second_margin):
    rows = range(len(label))
    d = [[length(vectors[a] - vectors[b]) for b in rows] for a in rows]
    terms = [
        (d[i][j] - d[i][k] + margin) + (d[i][j] - d[k][m] + second_margin)
        for i, j, k, m in permutations(rows, 4)
        if label[i] == label[j] and len({label[i], label[k], label[m]}) == 3
    ]
    return mean_above_zero(terms, like=vectors)


@st.composite
def batches(draw):
    """Labels of 1 to 8 rows and their vectors; some rows may be equal."""
    label = draw(st.lists(st.integers(0, 4), min_size=1, max_size=8))
    seed = draw(st.integers(0, 2**16))
    scale = draw(st.sampled_from([0.1, 0.5, 3.0]))
    vectors = scale * torch.randn(len(label), 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    copies = draw(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=2))
    for source, target in copies:
        vectors[target % len(label)] = vectors[source % len(label)]
    return vectors, label


@given(batch=batches(), margin=st.sampled_from([0.1, 0.4, 1.3]))
def test_ranking_loss_equals_slow_loops(make_outputs, value_and_gradient, batch, margin):
    vectors, label = batch
    loss = ranking_loss(margin=margin, second_margin=margin / 3)
    fast = value_and_gradient(lambda rows: loss(make_outputs(rows, label)), vectors)
    slow = value_and_gradient(
        lambda rows: slow_two_hinges(rows, label, margin=margin, second_margin=margin / 3), vectors
    )
    torch.testing.assert_close(fast, slow, rtol=1e-6, atol=1e-12)


@given(batch=batches(), medium=st.lists(st.integers(0, 3), min_size=8, max_size=8))
def test_ranking_loss_across_media_equals_slow_loops(make_outputs, value_and_gradient, batch, medium):
    vectors, label = batch
    medium = medium[: len(label)]
    loss = ranking_loss(cross_media=True)
    fast = value_and_gradient(lambda rows: loss(make_outputs(rows, label, medium=medium)), vectors)
    slow = value_and_gradient(
        lambda rows: slow_two_hinges(rows, label, margin=0.4, second_margin=0.2, medium=medium), vectors
    )
    torch.testing.assert_close(fast, slow, rtol=1e-6, atol=1e-12)


@given(batch=batches(), margin=st.sampled_from([0.3, 1.0, 2.7]))
def test_released_ranking_loss_equals_slow_loops(make_outputs, value_and_gradient, batch, margin):
    vectors, label = batch
    loss = released_ranking_loss(margin=margin, second_margin=margin / 2)
    fast = value_and_gradient(lambda rows: loss(make_outputs(rows, label)), vectors)
    slow = value_and_gradient(lambda rows: slow_released(rows, label, margin=margin, second_margin=margin / 2), vectors)
    torch.testing.assert_close(fast, slow, rtol=1e-6, atol=1e-12)


@FORMS
@pytest.mark.parametrize(
    "label", [[0, 0, 0, 0], [0, 1, 2, 3], [7], [5, 5]], ids=["one_class", "single_rows", "one_row", "one_pair"]
)
def test_ranking_loss_without_terms_is_zero_with_a_gradient(make_outputs, loss, label):
    vectors = torch.randn(len(label), 6, requires_grad=True)
    value = loss(make_outputs(vectors, label))
    value.backward()
    assert value.item() == 0
    assert vectors.grad.eq(0).all()


@FORMS
def test_ranking_loss_of_equal_rows_is_its_margins(make_outputs, loss):
    vectors = torch.ones(9, 4, requires_grad=True)
    value = loss(make_outputs(vectors, [0, 0, 0, 1, 1, 1, 2, 2, 2]))
    value.backward()
    assert value.item() == pytest.approx(0.4 + 0.2 if isinstance(loss, RankingLoss) else 1.5)
    assert vectors.grad.eq(0).all()


def test_ranking_loss_of_two_classes_has_the_first_hinge_alone(make_outputs):
    vectors = torch.tensor([[0.0], [0.3], [0.2], [0.9]])
    value = ranking_loss(margin=0.1, second_margin=5.0)(make_outputs(vectors, [0, 0, 1, 1]))
    # (i, j, k) above zero: (0,1,2) .3-.2+.1, (1,0,2) .3-.1+.1, (2,3,0) .7-.2+.1, (2,3,1) .7-.1+.1, (3,2,1) .7-.6+.1.
    assert value.item() == pytest.approx((0.2 + 0.3 + 0.6 + 0.7 + 0.2) / 5, rel=1e-6)


def test_ranking_loss_is_not_fooled_by_an_easy_term(make_outputs):
    """One close impostor, all else far: the released hinge sees nothing, two hinges see it (defect 5)."""
    vectors = torch.tensor([[0.0], [0.5], [0.6], [100.0]])
    label = [0, 0, 1, 2]
    assert released_ranking_loss()(make_outputs(vectors, label)).item() == 0
    assert ranking_loss()(make_outputs(vectors, label)).item() > 0


def test_ranking_loss_of_two_classes_is_the_triplet_loss_of_a_library(make_outputs, value_and_gradient):
    losses = pytest.importorskip("pytorch_metric_learning.losses")
    distances = pytest.importorskip("pytorch_metric_learning.distances")
    vectors = torch.randn(20, 6, generator=torch.Generator().manual_seed(1))
    label = [row % 2 for row in range(20)]
    reference = losses.TripletMarginLoss(margin=0.4, distance=distances.LpDistance(normalize_embeddings=False))
    ours = value_and_gradient(lambda rows: ranking_loss()(make_outputs(rows, label)), vectors)
    theirs = value_and_gradient(lambda rows: reference(rows, torch.tensor(label)), vectors)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)


@FORMS
@pytest.mark.parametrize("class_count", [2, 5, 40])
def test_ranking_loss_in_single_precision_is_exact(make_outputs, loss, class_count):
    """More rows than the loops can take: float32 against float64, which the loops have judged."""
    vectors = torch.randn(160, 8, generator=torch.Generator().manual_seed(2))
    label = [row % class_count for row in range(160)]
    single, double = (loss(make_outputs(rows, label)).item() for rows in (vectors, vectors.double()))
    assert single == pytest.approx(double, rel=1e-6)


@FORMS
def test_ranking_loss_does_not_depend_on_order_or_medium(make_outputs, loss):
    generator = torch.Generator().manual_seed(3)
    vectors, label = torch.randn(24, 5, generator=generator, dtype=torch.float64), [row % 5 for row in range(24)]
    order = torch.randperm(24, generator=generator).tolist()
    plain = loss(make_outputs(vectors, label))
    mixed = loss(
        make_outputs(vectors[order], [label[row] for row in order], medium=[row % 4 for row in range(len(label))])
    )
    torch.testing.assert_close(plain, mixed)


@FORMS
def test_ranking_loss_falls_when_followed(make_outputs, loss):
    vectors = torch.randn(12, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    outputs = make_outputs(vectors, [0, 1, 2] * 4)
    first = loss(outputs)
    for _ in range(200):
        vectors.grad = None
        loss(outputs).backward()
        with torch.no_grad():
            vectors -= 0.1 * vectors.grad
    assert loss(outputs) < 0.1 * first


@FORMS
def test_ranking_loss_of_half_precision_is_measured_in_full(make_outputs, loss):
    vectors = torch.randn(12, 4, generator=torch.Generator().manual_seed(0)).bfloat16()
    value = loss(make_outputs(vectors, [0, 1, 2] * 4))
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, loss(make_outputs(vectors.float(), [0, 1, 2] * 4)))
