"""Mined quadruplets against a loop over the positive pairs, in value and gradient."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from losses.mining import MinedRankingLoss, Mining

EVERY_MINING = pytest.mark.parametrize("mining", list(Mining))


def slow_choice(distance, candidates, *, near, mining):
    """The candidate that the rule takes, by distances of floats; None where there is none."""
    if not candidates:
        return None
    if mining is Mining.HARD:
        return min(candidates, key=lambda row: distance[row])
    further = [row for row in candidates if distance[row] > near]
    return min(further, key=lambda row: distance[row]) if further else max(candidates, key=lambda row: distance[row])


def slow_mined(vectors, label, medium, *, mining, cross_media):
    rows = range(len(label))
    d = torch.cdist(vectors, vectors, compute_mode="donot_use_mm_for_euclid_dist")
    plain = d.tolist()
    first, second = [], []
    for i in rows:
        for j in rows:
            if i == j or label[i] != label[j] or (cross_media and medium[i] == medium[j]):
                continue
            others = [row for row in rows if label[row] != label[i]]
            k = slow_choice(plain[i], others, near=plain[i][j], mining=mining)
            if k is None:
                continue
            first.append(d[i, j] - d[i, k] + 0.4)
            thirds = [row for row in rows if label[row] not in (label[i], label[k])]
            m = slow_choice(plain[k], thirds, near=plain[i][j], mining=mining)
            if m is not None:
                second.append(d[i, j] - d[k, m] + 0.2)
    total = vectors.sum() * 0
    for terms in (first, second):
        above = [term for term in terms if term > 0]
        total = total + (torch.stack(above).mean() if above else 0)
    return total


@EVERY_MINING
@settings(max_examples=40)
@given(
    rows=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=1, max_size=12),
    seed=st.integers(0, 2**16),
    scale=st.sampled_from([0.1, 0.5, 3.0]),
    cross_media=st.booleans(),
)
def test_mined_ranking_loss_equals_slow_loops(
    make_outputs, value_and_gradient, *, mining, rows, seed, scale, cross_media
):
    label, medium = [each[0] for each in rows], [each[1] for each in rows]
    generator = torch.Generator().manual_seed(seed)
    vectors = scale * torch.randn(len(rows), 3, dtype=torch.float64, generator=generator)
    loss = MinedRankingLoss(mining=mining, cross_media=cross_media)
    fast = value_and_gradient(lambda each: loss(make_outputs(each, label, medium=medium)), vectors)
    slow = value_and_gradient(
        lambda each: slow_mined(each, label, medium, mining=mining, cross_media=cross_media), vectors
    )
    torch.testing.assert_close(fast, slow, rtol=1e-9, atol=1e-12)


def test_mined_ranking_loss_by_hand(make_outputs):
    vectors, label = torch.tensor([[0.0], [0.3], [0.2], [0.9], [-1.0]]), [0, 0, 1, 1, 2]
    hard = MinedRankingLoss(margin=0.1, second_margin=0.5)(make_outputs(vectors, label))
    # (i,j) -> k, l: (0,1) -> 2, row -1 at 1.2; (1,0) -> 2, 4; (2,3) -> 1, 4 at 1.3; (3,2) -> 1, 4.
    # First hinge: .3-.2+.1, .3-.1+.1, .7-.1+.1, .7-.6+.1. Second: .3-1.2+.5 twice, .7-1.3+.5 twice, none above 0.
    assert hard.item() == pytest.approx((0.2 + 0.3 + 0.7 + 0.2) / 4, rel=1e-6)
    semi_hard = MinedRankingLoss(mining=Mining.SEMI_HARD, margin=0.1, second_margin=0.5)(make_outputs(vectors, label))
    # Further than j: (0,1) -> 3 at .9; (1,0) -> 3 at .6; (2,3) -> 4 at 1.2; (3,2) -> 0 at .9: no first hinge.
    # l: from 3, 4 at 1.9 twice; from 4, 0 at 1.0; from 0, 4 at 1.0: .7-1+.5 twice.
    assert semi_hard.item() == pytest.approx((0.2 + 0.2) / 2, rel=1e-6)


@EVERY_MINING
@pytest.mark.parametrize("label", [[0, 0, 0], [0, 1, 2], [7]], ids=["one_class", "single_rows", "one_row"])
def test_mined_ranking_loss_without_terms_is_zero_with_a_gradient(make_outputs, mining, label):
    vectors = torch.randn(len(label), 6, requires_grad=True)
    value = MinedRankingLoss(mining=mining)(make_outputs(vectors, label))
    value.backward()
    assert value.item() == 0
    assert vectors.grad.eq(0).all()


@EVERY_MINING
def test_mined_ranking_loss_does_not_depend_on_its_chunks(make_outputs, mining, monkeypatch):
    vectors = torch.randn(30, 4, generator=torch.Generator().manual_seed(0))
    outputs = make_outputs(vectors, [row % 5 for row in range(30)])
    whole = MinedRankingLoss(mining=mining)(outputs)
    monkeypatch.setattr("losses.mining.CHUNK_DISTANCES", 1)
    torch.testing.assert_close(MinedRankingLoss(mining=mining)(outputs), whole)


@EVERY_MINING
def test_mined_ranking_loss_falls_when_followed(make_outputs, mining):
    vectors = torch.randn(12, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    outputs = make_outputs(vectors, [0, 1, 2] * 4)
    first = MinedRankingLoss(mining=mining)(outputs)
    for _ in range(200):
        vectors.grad = None
        MinedRankingLoss(mining=mining)(outputs).backward()
        with torch.no_grad():
            vectors -= 0.05 * vectors.grad
    assert MinedRankingLoss(mining=mining)(outputs) < 0.2 * first


def test_hard_mining_takes_the_negatives_of_a_library(make_outputs):
    losses = pytest.importorskip("pytorch_metric_learning.losses")
    miners = pytest.importorskip("pytorch_metric_learning.miners")
    distances = pytest.importorskip("pytorch_metric_learning.distances")
    vectors = torch.randn(20, 6, generator=torch.Generator().manual_seed(1))
    label = [row % 2 for row in range(20)]
    distance = distances.LpDistance(normalize_embeddings=False)
    miner = miners.BatchEasyHardMiner(pos_strategy="all", neg_strategy="hard", distance=distance)
    mined = miner(vectors, torch.tensor(label))
    reference = losses.TripletMarginLoss(margin=0.4, distance=distance)
    theirs = reference(vectors, torch.tensor(label), mined)
    torch.testing.assert_close(MinedRankingLoss()(make_outputs(vectors, label)), theirs, rtol=1e-5, atol=1e-7)
