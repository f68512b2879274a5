"""Near ties: the strict protocol ranks as exact arithmetic does, the paper protocol as the released script."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from fieldmark.evaluation.measurement import evaluate
from fieldmark.evaluation.metrics import measure_average_precision
from fieldmark.evaluation.near_ties import Ties, compute_distances
from fieldmark.evaluation.protocol import PAPER, STRICT
from fieldmark.evaluation.ranking import Compute, LabeledRows
from fieldmark.types import MEDIA, Embeddings, Item

COUNTS, CLASS_COUNT = (34, 30, 26, 30), 6


def make_logits(scale, *, is_sorted, seed=0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Label, medium and logits of some items of each medium, whose classes are hardly told."""
    generator = np.random.default_rng(seed)
    rows = [np.arange(count) % CLASS_COUNT for count in COUNTS]
    label = np.concatenate([np.sort(each) if is_sorted else generator.permutation(each) for each in rows])
    logits = generator.normal(size=(len(label), CLASS_COUNT)) + np.eye(CLASS_COUNT)[label]
    return label, np.repeat(np.arange(4), COUNTS), (scale * logits).astype(np.float32)


def soften(logits) -> np.ndarray:
    return torch.softmax(torch.from_numpy(logits), dim=1).numpy()


def put_together(label, medium, vectors, logits) -> Embeddings:
    items = tuple(Item(str(i), MEDIA[m], class_name=f"class {c}") for i, (m, c) in enumerate(zip(medium, label)))  # noqa: B905 - equal
    no_time = np.full(len(items), np.nan)
    return Embeddings(items, no_time, no_time, vectors.astype(np.float32), logits)


def exact_positions(vectors) -> list[list[int]]:
    """Whole numbers, equal where cosines are and in their order: of each row as a query to all rows, nonnegative ones.

    A cosine times the query's length, squared, is a rational number. Equal powers of two, put to all elements, leave
    the order of these numbers and make each element whole.
    """
    rows = [[int(float(x) * 2.0**149) for x in row] for row in vectors.astype(np.float32)]
    lengths = [sum(x * x for x in row) for row in rows]
    positions = []
    for query in rows:
        products = [sum(a * b for a, b in zip(query, row, strict=True)) for row in rows]
        exact = [Fraction(product * product, length) for product, length in zip(products, lengths, strict=True)]
        position = {score: index for index, score in enumerate(sorted(set(exact)))}
        positions.append([position[score] for score in exact])
    return positions


def expected_average_precision(scores, relevant) -> float:
    """Average precision over all orders of equal scores, block by block."""
    better, found, total = 0, 0, 0.0
    for score in sorted(set(scores), reverse=True):
        block = [r for s, r in zip(scores, relevant, strict=True) if s == score]
        count, hits = len(block), sum(block)
        for place in range(1, count + 1):
            before = (place - 1) * (hits - 1) / (count - 1) if count > 1 else 0
            total += hits / count * (found + 1 + before) / (better + place) if hits else 0.0
        better, found = better + count, found + hits
    return total / found


@pytest.mark.parametrize("is_sorted", [False, True])
@pytest.mark.parametrize("scale", [1, 8, 16, 32])
def test_strict_ranks_posteriors_as_exact_arithmetic_does(scale, is_sorted):
    label, medium, logits = make_logits(scale, is_sorted=is_sorted)
    vectors = soften(logits)
    exact = exact_positions(vectors)
    found = evaluate(put_together(label, medium, vectors, logits), protocol=STRICT, split=None)
    assert len(found.directions) == 16
    for direction in found.directions:
        queries = np.flatnonzero(medium == MEDIA.index(direction.query_medium))
        values = []
        for query in queries:
            gallery = [
                j for j in range(len(label)) if j != query and direction.gallery_medium in {None, MEDIA[medium[j]]}
            ]
            relevant = [bool(label[j] == label[query]) for j in gallery]
            values.append(expected_average_precision([exact[query][j] for j in gallery], relevant))
        assert direction.mean_average_precision == pytest.approx(np.mean(values), abs=1e-12)


def script_map(vectors, queries, gallery, label) -> float:
    """The released script: SciPy's cosine distances, sorted; here by a stable sort."""
    order = np.argsort(cdist(vectors[queries], vectors[gallery], "cosine"), axis=1, kind="stable")
    relevant = label[gallery][order] == label[queries][:, None]
    precision = relevant.cumsum(axis=1) / np.arange(1, len(gallery) + 1)
    return float(((precision * relevant).sum(axis=1) / relevant.sum(axis=1)).mean())


@pytest.mark.parametrize("is_sorted", [False, True])
@pytest.mark.parametrize("scale", [1, 8, 16, 32, 64])
def test_paper_gives_the_numbers_of_the_released_script(scale, is_sorted):
    label, medium, logits = make_logits(scale, is_sorted=is_sorted, seed=1)
    found = evaluate(put_together(label, medium, logits, logits), protocol=PAPER, split=None)
    for direction in found.directions:
        queries = np.flatnonzero(medium == MEDIA.index(direction.query_medium))
        gallery = np.flatnonzero([direction.gallery_medium in {None, MEDIA[m]} for m in medium])
        expected = script_map(soften(logits).astype(np.float64), queries, gallery, label)
        # 1e-12 if SciPy adds in the order it does today; else the last bits of near-equal distances may differ.
        assert direction.mean_average_precision == pytest.approx(expected, abs=1e-3 if is_other_scipy() else 1e-12)


def is_other_scipy() -> bool:
    """Whether this build of SciPy adds in another order."""
    rows = np.random.default_rng(2).uniform(size=(20, 33))
    return bool((cdist(rows[:1], rows, "cosine")[0] != compute_distances(rows[0], rows)).any())


@pytest.mark.parametrize("ties", Ties)
def test_rankings_of_confident_posteriors_do_not_depend_on_the_chunks(ties):
    label, _, logits = make_logits(16, is_sorted=True, seed=3)
    rows = LabeledRows(soften(logits), label, np.arange(len(label)))
    whole = measure_average_precision(rows, rows, ties=ties, exclude_self=False)
    for chunk_bytes in (1, 5_000, 20_001):
        parts = measure_average_precision(
            rows, rows, ties=ties, exclude_self=False, compute=Compute(chunk_bytes=chunk_bytes)
        )
        np.testing.assert_array_equal(parts, whole)


def test_gallery_order_decides_what_the_doubles_cannot():
    # Both distances are 1 - 1e-20 and 1 - 3e-20 before rounding, and 1 after.
    gallery = LabeledRows(np.array([[1e-20, 1.0], [3e-20, 1.0]]), np.array([0, 1]), np.arange(2))
    query = LabeledRows(np.array([[1.0, 0.0]]), np.array([1]), np.array([9]))
    assert measure_average_precision(query, gallery, ties=Ties.GALLERY_ORDER, exclude_self=False) == [0.5]
    assert measure_average_precision(query, gallery, ties=Ties.EXPECTED, exclude_self=False) == [1.0]


def test_binary_codes_of_equal_scores_tie():
    # Sums of the same terms in another order: the products differ in their last bits, the scores do not.
    generator = np.random.default_rng(4)
    codes = generator.choice([-1.0, 1.0], size=(120, 50))
    rows = LabeledRows(codes, generator.integers(3, size=120), np.arange(120))
    scores = (codes @ codes.T).astype(int)
    expected = [
        expected_average_precision(scores[i].tolist(), (rows.label == rows.label[i]).tolist()) for i in range(120)
    ]
    got = measure_average_precision(rows, rows, ties=Ties.EXPECTED, exclude_self=False)
    np.testing.assert_allclose(got, expected, atol=1e-12)
