"""Rank metrics against slow loops written from their definitions."""

import itertools
import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldmark.errors import NonFiniteEmbeddingError, OutOfRangeError
from fieldmark.evaluation.metrics import (
    RECALL_LEVELS,
    bootstrap_means,
    compute_chance,
    correct_by_holm,
    estimate_hits_at_k,
    interpolate_precision,
    measure_average_precision,
    measure_hit_rate_at_k,
)
from fieldmark.evaluation.near_ties import Ties
from fieldmark.evaluation.ranking import SCORE_STEP, Compute, LabeledRows, count_relevant, rank_relevant


def rows_of(embedding, label, *, first_code=0) -> LabeledRows:
    embedding = np.asarray(embedding, dtype=np.float32)
    return LabeledRows(embedding, np.asarray(label), np.arange(first_code, first_code + len(embedding)))


def random_rows(count, *, seed, dim=6, class_count=3, first_code=0) -> LabeledRows:
    generator = np.random.default_rng(seed)
    vectors = generator.normal(size=(count, dim))
    return rows_of(vectors, generator.integers(class_count, size=count), first_code=first_code)


def angles(scores) -> np.ndarray:
    """Plane unit vectors whose cosines with the first axis are the scores."""
    scores = np.asarray(scores, dtype=np.float64)
    return np.stack([scores, np.sqrt(1 - scores**2)], axis=1)


FIRST_AXIS = rows_of([[1.0, 0.0]], [1], first_code=1000)


def slow_scores(query: LabeledRows, gallery: LabeledRows) -> list[list[float]]:
    units = [
        [row / math.sqrt(sum(x * x for x in row)) for row in side.embedding.astype(float)] for side in (query, gallery)
    ]
    return [[round(float(sum(q * g)) / 1e-9) * 1e-9 for g in units[1]] for q in units[0]]


def slow_average_precision(relevant_in_order) -> float:
    found, total = 0, 0.0
    for rank, is_relevant in enumerate(relevant_in_order, start=1):
        if is_relevant:
            found += 1
            total += found / rank
    return total / max(found, 1)


def tied_orders(scores, relevant):
    """Every ranking the scores allow, as sequences of relevance."""
    best_first = sorted(set(scores), reverse=True)
    blocks = [[r for s, r in zip(scores, relevant, strict=True) if s == score] for score in best_first]
    for parts in itertools.product(*(itertools.permutations(block) for block in blocks)):
        yield list(itertools.chain(*parts))


def slow_values(query, gallery, *, ties, exclude_self, metric):
    values = []
    for i, all_scores in enumerate(slow_scores(query, gallery)):
        kept = [j for j, code in enumerate(gallery.item_code) if not (exclude_self and code == query.item_code[i])]
        scores = [all_scores[j] for j in kept]
        relevant = [bool(gallery.label[j] == query.label[i]) for j in kept]
        if ties is Ties.EXPECTED:
            values.append(np.mean([metric(order) for order in tied_orders(scores, relevant)]))
        else:
            order = sorted(range(len(kept)), key=lambda row: -scores[row])
            values.append(metric([relevant[row] for row in order]))
    return np.array(values)


@st.composite
def small_problems(draw):
    """Few distinct directions, so that ties, duplicates and one-class galleries are common; queries may be inside."""
    corner = st.sampled_from([-1.0, 0.0, 1.0, 2.0])
    vector = st.tuples(corner, corner).filter(any)
    gallery_count = draw(st.integers(1, 6))
    vectors = draw(st.lists(vector, min_size=gallery_count, max_size=gallery_count))
    labels = draw(st.lists(st.integers(0, 2), min_size=gallery_count, max_size=gallery_count))
    gallery = rows_of(vectors, labels)
    inside = draw(st.integers(0, gallery_count))
    other = draw(st.lists(vector, min_size=1, max_size=2))
    other_labels = draw(st.lists(st.integers(0, 3), min_size=len(other), max_size=len(other)))
    query = LabeledRows(
        np.concatenate([gallery.embedding[:inside], np.array(other, dtype=np.float32)]),
        np.concatenate([gallery.label[:inside], other_labels]).astype(np.int64),
        np.concatenate([gallery.item_code[:inside], np.arange(100, 100 + len(other))]),
    )
    return query, gallery


@given(
    problem=small_problems(), ties=st.sampled_from(Ties), exclude_self=st.booleans(), chunk_bytes=st.integers(1, 2000)
)
@settings(deadline=None)
def test_measure_average_precision_equals_the_definition(problem, ties, exclude_self, chunk_bytes):
    query, gallery = problem
    got = measure_average_precision(
        query, gallery, ties=ties, exclude_self=exclude_self, compute=Compute(chunk_bytes=chunk_bytes)
    )
    expected = slow_values(query, gallery, ties=ties, exclude_self=exclude_self, metric=slow_average_precision)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12)


@given(problem=small_problems(), ties=st.sampled_from(Ties), exclude_self=st.booleans(), k=st.integers(1, 6))
@settings(deadline=None)
def test_measure_hit_rate_at_k_equals_the_definition(problem, ties, exclude_self, k):
    query, gallery = problem
    k = min(k, len(gallery.label))
    got = measure_hit_rate_at_k(query, gallery, k=k, ties=ties, exclude_self=exclude_self)
    hits = slow_values(query, gallery, ties=ties, exclude_self=exclude_self, metric=lambda order: any(order[:k]))
    assert got == pytest.approx(hits.mean(), abs=1e-12)


@pytest.mark.parametrize("ties", Ties)
def test_measure_average_precision_equals_the_definition_on_longer_untied_rankings(ties):
    query, gallery = random_rows(40, seed=1), random_rows(150, seed=2, first_code=40)
    got = measure_average_precision(query, gallery, ties=ties, exclude_self=False)
    expected = slow_values(query, gallery, ties=Ties.GALLERY_ORDER, exclude_self=False, metric=slow_average_precision)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12)


def library_average_precision(relevant_in_order) -> float:
    """The independent library's value for a ranking, its scores made so that they fall strictly."""
    library = pytest.importorskip("sklearn.metrics")
    if not any(relevant_in_order):
        return 0.0
    return library.average_precision_score(relevant_in_order, -np.arange(len(relevant_in_order), dtype=float))


@given(problem=small_problems(), ties=st.sampled_from(Ties), exclude_self=st.booleans())
def test_measure_average_precision_equals_an_independent_library_over_all_orders_of_ties(problem, ties, exclude_self):
    query, gallery = problem
    got = measure_average_precision(query, gallery, ties=ties, exclude_self=exclude_self)
    expected = slow_values(query, gallery, ties=ties, exclude_self=exclude_self, metric=library_average_precision)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12)


@given(seed=st.integers(0, 10**6), class_count=st.integers(1, 6), is_adverse=st.booleans())
def test_measure_average_precision_equals_an_independent_library(seed, class_count, is_adverse):
    query, gallery = random_rows(5, seed=seed, class_count=class_count), random_rows(60, seed=seed + 1, first_code=5)
    if is_adverse:  # what is relevant points away from the query
        query = LabeledRows(-gallery.embedding[:5], gallery.label[:5], query.item_code)
    got = measure_average_precision(query, gallery, ties=Ties.EXPECTED, exclude_self=False)
    for i, scores in enumerate(slow_scores(query, gallery)):
        order = np.argsort(-np.array(scores), kind="stable")
        expected = library_average_precision((gallery.label == query.label[i])[order])
        assert got[i] == pytest.approx(expected, abs=1e-12)


def test_measure_average_precision_divides_by_all_relevant_items():
    gallery = rows_of(angles([0.9, 0.8, 0.7, 0.6]), [1, 0, 0, 1])
    got = measure_average_precision(FIRST_AXIS, gallery, ties=Ties.EXPECTED, exclude_self=False)
    assert got[0] == pytest.approx((1 / 1 + 2 / 4) / 2)


@given(relevant=st.integers(1, 30), other=st.integers(0, 30))
def test_measure_average_precision_of_the_best_ranking_is_one_and_of_the_worst_the_least(relevant, other):
    scores = np.linspace(0.9, 0.1, relevant + other)
    best = rows_of(angles(scores), [1] * relevant + [0] * other)
    worst = rows_of(angles(scores), [0] * other + [1] * relevant)
    for ties in Ties:
        assert measure_average_precision(FIRST_AXIS, best, ties=ties, exclude_self=False)[0] == 1.0
        least = sum(i / (other + i) for i in range(1, relevant + 1)) / relevant
        assert measure_average_precision(FIRST_AXIS, worst, ties=ties, exclude_self=False)[0] == pytest.approx(least)


def test_measure_average_precision_of_equal_scores_is_chance():
    gallery = rows_of(np.ones((9, 2)), [1, 1, 0, 0, 0, 1, 0, 0, 0])
    got = measure_average_precision(FIRST_AXIS, gallery, ties=Ties.EXPECTED, exclude_self=False)
    assert got == pytest.approx(compute_chance(np.array([3]), gallery_count=np.array([9])))


def test_measure_average_precision_by_gallery_order_favors_what_comes_first():
    front, back = rows_of(np.ones((4, 2)), [1, 0, 0, 0]), rows_of(np.ones((4, 2)), [0, 0, 0, 1])
    assert measure_average_precision(FIRST_AXIS, front, ties=Ties.GALLERY_ORDER, exclude_self=False)[0] == 1.0
    assert measure_average_precision(FIRST_AXIS, back, ties=Ties.GALLERY_ORDER, exclude_self=False)[0] == 0.25


def test_measure_average_precision_without_relevant_items_is_zero():
    gallery = rows_of(angles([0.9, 0.8]), [0, 0])
    assert measure_average_precision(FIRST_AXIS, gallery, ties=Ties.EXPECTED, exclude_self=False).tolist() == [0.0]
    assert count_relevant(FIRST_AXIS, gallery, exclude_self=False).tolist() == [0]


def test_measure_average_precision_leaves_the_query_out_of_a_one_item_gallery():
    alone = rows_of([[1.0, 0.0]], [1])
    assert measure_average_precision(alone, alone, ties=Ties.EXPECTED, exclude_self=True).tolist() == [0.0]
    assert measure_average_precision(alone, alone, ties=Ties.EXPECTED, exclude_self=False).tolist() == [1.0]
    assert count_relevant(alone, alone, exclude_self=True).tolist() == [0]


def test_measure_average_precision_of_an_empty_gallery_or_query_set():
    nothing = rows_of(np.zeros((0, 2)), np.zeros(0, dtype=np.int64))
    for ties in Ties:
        assert measure_average_precision(FIRST_AXIS, nothing, ties=ties, exclude_self=True).tolist() == [0.0]
        assert measure_average_precision(nothing, FIRST_AXIS, ties=ties, exclude_self=True).tolist() == []


def crowded(count, *, seed) -> LabeledRows:
    """Rows of which many are copies of one another up to their length: their scores tie but for float64 rounding."""
    generator = np.random.default_rng(seed)
    vectors = generator.normal(size=(12, 48))[generator.integers(12, size=count)]
    lengths = generator.choice([0.3, 1.0, 7.0], size=(count, 1))
    return LabeledRows(vectors * lengths, generator.integers(4, size=count), np.arange(count))


@pytest.mark.parametrize("ties", Ties)
def test_measure_average_precision_does_not_depend_on_the_chunk_size(ties):
    rows = crowded(300, seed=5)
    whole = measure_average_precision(rows, rows, ties=ties, exclude_self=True)
    for chunk_bytes in (1, 30_000, 100_001):
        parts = measure_average_precision(
            rows, rows, ties=ties, exclude_self=True, compute=Compute(chunk_bytes=chunk_bytes)
        )
        np.testing.assert_array_equal(parts, whole)


def test_measure_average_precision_with_expected_ties_does_not_depend_on_the_order_of_the_gallery():
    rows = crowded(300, seed=6)
    whole = measure_average_precision(rows, rows, ties=Ties.EXPECTED, exclude_self=True)
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(300)
        shuffled = LabeledRows(rows.embedding[order], rows.label[order], rows.item_code[order])
        np.testing.assert_array_equal(
            measure_average_precision(rows, shuffled, ties=Ties.EXPECTED, exclude_self=True), whole
        )


def test_scores_do_not_depend_on_the_order_of_summation():
    # Permuting the entries permutes the summation, as another BLAS or number of threads would.
    rows = crowded(200, seed=7)
    whole = list(rank_relevant(rows, rows, ties=Ties.EXPECTED, exclude_self=True))
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(rows.embedding.shape[1])
        turned = LabeledRows(rows.embedding[:, order], rows.label, rows.item_code)
        for mine, other in zip(
            whole, rank_relevant(turned, turned, ties=Ties.EXPECTED, exclude_self=True), strict=True
        ):
            np.testing.assert_array_equal(mine.better_count, other.better_count)
            np.testing.assert_array_equal(mine.item_count, other.item_count)


def test_scores_half_way_between_two_steps_tie_whatever_the_length_of_the_row():
    # The length of a row changes the last bits of its unit vector, which here would decide where its score is sorted.
    steps = np.random.default_rng(9).integers(1, 2**29, size=200)
    rows = np.concatenate([angles((steps + 0.5) * SCORE_STEP) * length for length in (0.3, 1.0, 7.0)])
    # Some copies are not relevant: where all are, their order makes no difference and is not decided.
    gallery = LabeledRows(rows, np.repeat([1, 0, 1], 200), np.arange(600))
    query = LabeledRows(np.array([[1.0, 0.0]]), np.array([1]), np.array([1000]))
    [blocks] = rank_relevant(query, gallery, ties=Ties.EXPECTED, exclude_self=False)
    assert set(blocks.item_count % 3) == {0}


def test_rank_relevant_counts_scaled_copies_as_tied():
    rows = crowded(300, seed=8)
    vectors, copies = np.unique(
        np.round(rows.embedding / np.linalg.norm(rows.embedding, axis=1)[:, None], 9), axis=0, return_counts=True
    )
    assert len(vectors) == 12
    for blocks in rank_relevant(rows, rows, ties=Ties.EXPECTED, exclude_self=False):
        assert set(blocks.item_count) <= set(copies)


def test_measure_average_precision_of_3000_by_3000_items_takes_about_a_second():
    query, gallery = (random_rows(3000, seed=seed, dim=128, class_count=100) for seed in (15, 16))
    start = time.perf_counter()
    measure_average_precision(query, gallery, ties=Ties.EXPECTED, exclude_self=False)
    assert time.perf_counter() - start < 10.0  # 0.4 s on two idle cores; the rest is for busy machines


@pytest.mark.parametrize("bad", [math.nan, math.inf, 0.0])
def test_rank_relevant_refuses_rows_without_direction(bad):
    gallery = rows_of([[1.0, 0.0], [bad, 0.0]], [0, 1])
    with pytest.raises(NonFiniteEmbeddingError, match="row 1"):
        measure_average_precision(FIRST_AXIS, gallery, ties=Ties.EXPECTED, exclude_self=False)


@pytest.mark.parametrize("k", [0, 4])
def test_measure_hit_rate_at_k_refuses_a_cutoff_outside_the_ranking(k):
    gallery = rows_of(angles([0.9, 0.8, 0.7]), [0, 1, 1])
    with pytest.raises(OutOfRangeError, match="1 to 3"):
        measure_hit_rate_at_k(FIRST_AXIS, gallery, k=k, ties=Ties.EXPECTED, exclude_self=False)


@pytest.mark.parametrize(("relevant", "gallery"), [(1, 1), (1, 5), (3, 7), (4, 4), (2, 8)])
def test_compute_chance_is_the_mean_over_all_rankings(relevant, gallery):
    order_values = [
        slow_average_precision([row in chosen for row in range(gallery)])
        for chosen in itertools.combinations(range(gallery), relevant)
    ]
    got = compute_chance(np.array([relevant]), gallery_count=np.array([gallery]))
    assert got[0] == pytest.approx(np.mean(order_values))


def test_compute_chance_without_relevant_items_is_zero():
    got = compute_chance(np.array([0, 0]), gallery_count=np.array([5, 0]))
    assert got.tolist() == [0.0, 0.0]


def test_bootstrap_means_equal_drawing_the_groups_one_by_one():
    generator = np.random.default_rng(10)
    total, count = generator.uniform(size=(7, 2)), generator.integers(1, 5, size=(7, 2)).astype(float)
    got = bootstrap_means(total, count, resample_count=20, generator=np.random.default_rng(11))
    again = np.random.default_rng(11)
    for means in got:
        drawn = again.integers(7, size=7)
        for metric in range(2):
            expected = sum(total[g, metric] for g in drawn) / sum(count[g, metric] for g in drawn)
            assert means[metric] == pytest.approx(expected)


def test_bootstrap_means_spread_like_the_standard_error():
    value = np.random.default_rng(12).normal(size=(400, 1))
    means = bootstrap_means(value, np.ones_like(value), resample_count=1000, generator=np.random.default_rng(13))
    assert means.std() == pytest.approx(value.std() / 20, rel=0.1)
    assert means.mean() == pytest.approx(value.mean(), abs=0.01)


def test_bootstrap_means_of_a_resample_without_queries_is_nan():
    total, count = np.array([[0.5], [0.0]]), np.array([[1.0], [0.0]])
    means = bootstrap_means(total, count, resample_count=50, generator=np.random.default_rng(14))
    assert set(means[~np.isnan(means)]) == {0.5}
    assert np.isnan(means).any()


# ---------------------------------------------------------------- curves and tests


def slow_interpolated_precision(relevant_in_order) -> list[float]:
    relevant = sum(relevant_in_order)
    points = [
        (sum(relevant_in_order[:rank]) / relevant, sum(relevant_in_order[:rank]) / rank)
        for rank in range(1, len(relevant_in_order) + 1)
        if relevant_in_order[rank - 1]
    ]
    return [max(precision for recall, precision in points if recall >= level - 1e-12) for level in RECALL_LEVELS]


@given(seed=st.integers(0, 10**6), count=st.integers(1, 30))
def test_interpolate_precision_equals_the_definition(seed, count):
    query, gallery = random_rows(3, seed=seed), random_rows(count, seed=seed + 1, first_code=3)
    [blocks] = rank_relevant(query, gallery, ties=Ties.EXPECTED, exclude_self=False)
    got = interpolate_precision(blocks, start=0, query_count=3)
    for i, scores in enumerate(slow_scores(query, gallery)):
        relevant = (gallery.label == query.label[i])[np.argsort(-np.array(scores), kind="stable")]
        expected = slow_interpolated_precision(relevant.tolist()) if relevant.any() else [0.0] * len(RECALL_LEVELS)
        np.testing.assert_allclose(got[i], expected, atol=1e-12)


def test_interpolate_precision_spreads_tied_items_evenly():
    # Three tied items, one of them relevant: its expected rank is 2.
    gallery = rows_of(np.ones((3, 2)), [1, 0, 0])
    [blocks] = rank_relevant(FIRST_AXIS, gallery, ties=Ties.EXPECTED, exclude_self=False)
    assert set(interpolate_precision(blocks, start=0, query_count=1)[0]) == {0.5}


def test_estimate_hits_at_k_of_chunks_are_put_in_their_rows():
    rows = crowded(40, seed=12)
    whole = list(rank_relevant(rows, rows, ties=Ties.EXPECTED, exclude_self=True))
    parts = list(rank_relevant(rows, rows, ties=Ties.EXPECTED, exclude_self=True, compute=Compute(chunk_bytes=1)))
    assert len(parts) == 40
    expected = np.sum([estimate_hits_at_k(each, k=3, start=0, query_count=40) for each in whole], axis=0)
    assert [
        estimate_hits_at_k(part, k=3, start=i, query_count=1)[0] for i, part in enumerate(parts)
    ] == expected.tolist()


def test_adjust_by_holm_follows_the_step_down():
    assert correct_by_holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert correct_by_holm([0.9, 0.8]) == (1.0, 1.0)
