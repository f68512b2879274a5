"""Rankings of a gallery in parts: the same as part by part, whatever the chunks, the threads and the device."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fieldmark.evaluation.near_ties import Ties
from fieldmark.evaluation.ranking import CPU, Compute, LabeledRows, Ranking
from fieldmark.evaluation.sorted_keys import Relevance, RelevantBlocks

FIELDS = ("query", "better_count", "item_count", "better_relevant_count", "relevant_count")


def rows_of(count, *, seed, distinct=None) -> LabeledRows:
    """Rows of few directions, so that many tie, or all of their own."""
    generator = np.random.default_rng(seed)
    vectors = generator.normal(size=(distinct or count, 5)).astype(np.float32)
    chosen = vectors[generator.integers(len(vectors), size=count)] if distinct else vectors
    return LabeledRows(chosen, generator.integers(4, size=count), np.arange(count))


def ranked(rows, part, *, ties, exclude_self=True, compute=None, labels=None, part_count=None):
    """The blocks of all queries by relevance and part, chunks put together."""
    ranking = Ranking(
        rows, part=part, part_count=part_count or int(part.max()) + 1, ties=ties, compute=compute or Compute()
    )
    relevance = [Relevance(label, label) for label in (labels or [rows.label])]
    chunks = list(ranking.rank(rows, relevance=relevance, exclude_self=exclude_self))
    assert [chunk.start for chunk in chunks] == np.cumsum([0, *(c.query_count for c in chunks[:-1])]).tolist()
    return [
        [
            RelevantBlocks(*(np.concatenate([getattr(c.blocks[r][p], name) for c in chunks]) for name in FIELDS))
            for p in range(len(chunks[0].blocks[r]))
        ]
        for r in range(len(relevance))
    ]


def assert_same(mine: RelevantBlocks, other: RelevantBlocks) -> None:
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(mine, name), getattr(other, name))


def slow_blocks(rows, gallery, *, ties, exclude_self, label):
    """(query, better, tied, better relevant, relevant) of each block, from the definition."""
    units = rows.embedding.astype(float) / np.linalg.norm(rows.embedding.astype(float), axis=1, keepdims=True)
    found = []
    for query in range(len(label)):
        kept = [g for g in gallery if not (exclude_self and g == query)]
        steps = [(-round(float(units[query] @ units[g]) * 2**30), g if ties is Ties.GALLERY_ORDER else 0) for g in kept]
        relevant = [bool(label[g] == label[query]) for g in kept]
        for step in sorted({s for s, r in zip(steps, relevant, strict=True) if r}):
            better = [s < step for s in steps]
            equal = [s == step for s in steps]
            counts = (
                sum(better),
                sum(equal),
                sum(b and r for b, r in zip(better, relevant, strict=True)),
                sum(e and r for e, r in zip(equal, relevant, strict=True)),
            )
            found.append((query, *counts))
    return np.array(found, dtype=np.int64).reshape(-1, 5)


def spread(blocks) -> list[tuple[int, ...]]:
    """Blocks of relevant items only as one block for each item: their order makes no difference."""
    return [
        each
        for query, better, count, better_relevant, relevant in blocks.tolist()
        for each in (
            [(query, better + i, 1, better_relevant + i, 1) for i in range(count)]
            if count == relevant
            else [(query, better, count, better_relevant, relevant)]
        )
    ]


@given(
    seed=st.integers(0, 1000),
    count=st.integers(1, 14),
    distinct=st.sampled_from([1, 3, None]),
    ties=st.sampled_from(Ties),
    exclude_self=st.booleans(),
    chunk_bytes=st.integers(1, 3000),
)
def test_rank_equals_the_definition_in_every_part_and_for_every_relevance(
    seed, count, distinct, ties, exclude_self, chunk_bytes
):
    rows = rows_of(count, seed=seed, distinct=distinct)
    part = np.random.default_rng(seed + 1).integers(3, size=count)
    coarse = rows.label // 2
    found = ranked(
        rows,
        part,
        ties=ties,
        exclude_self=exclude_self,
        compute=Compute(chunk_bytes=chunk_bytes),
        labels=[rows.label, coarse],
        part_count=3,
    )
    galleries = [np.flatnonzero(part == code) for code in range(3)] + [np.arange(count)]
    for label, parts in zip([rows.label, coarse], found, strict=True):
        for gallery, blocks in zip(galleries, parts, strict=True):
            expected = slow_blocks(rows, gallery, ties=ties, exclude_self=exclude_self, label=label)
            got = np.stack([getattr(blocks, name) for name in FIELDS], axis=1)
            np.testing.assert_array_equal(spread(got), spread(expected))


@pytest.mark.parametrize("ties", Ties)
def test_rank_gives_the_same_with_one_thread_and_with_several(ties):
    rows, part = rows_of(200, seed=1, distinct=45), np.arange(200) % 4
    one = ranked(rows, part, ties=ties)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        several = ranked(rows, part, ties=ties, compute=Compute(chunk_bytes=50_000))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    for mine, other in zip(one[0], several[0], strict=True):
        assert_same(mine, other)


@pytest.mark.gpu
@pytest.mark.parametrize("ties", Ties)
def test_rank_gives_the_same_on_a_gpu(ties):
    if not torch.cuda.is_available():
        pytest.skip("there is no GPU here")
    rows, part = rows_of(3000, seed=2, distinct=700), np.arange(3000) % 4
    here, there = (
        ranked(rows, part, ties=ties, compute=Compute(device=device)) for device in (CPU, torch.device("cuda"))
    )
    for mine, other in zip(here[0], there[0], strict=True):
        assert_same(mine, other)


def test_chunks_stay_within_their_memory():
    rows, part = rows_of(1000, seed=3), np.arange(1000) % 4
    ranking = Ranking(rows, part=part, part_count=4, ties=Ties.EXPECTED, compute=Compute(chunk_bytes=400_000))
    chunks = list(ranking.rank(rows, relevance=[Relevance(rows.label, rows.label)], exclude_self=True))
    # A chunk holds at least the scores of its largest part in float64 and all keys in int32.
    assert max(chunk.query_count for chunk in chunks) * (250 * 8 + 1000 * 4) <= 400_000
    assert len(chunks) < 1000


def test_a_chunk_tells_the_best_score_of_each_part():
    rows, part = rows_of(30, seed=4), np.array([0] * 20 + [2] * 10)
    ranking = Ranking(rows, part=part, part_count=3, ties=Ties.EXPECTED, compute=Compute())
    [chunk] = ranking.rank(rows, relevance=[Relevance(rows.label, rows.label)], exclude_self=True)
    units = rows.embedding / np.linalg.norm(rows.embedding, axis=1, keepdims=True)
    scores = units @ units.T
    np.fill_diagonal(scores, -np.inf)
    np.testing.assert_allclose(chunk.best_score[0], scores[:, :20].max(axis=1), atol=1e-6)
    assert np.isnan(chunk.best_score[1]).all()
    np.testing.assert_allclose(chunk.best_score[2], scores[:, 20:].max(axis=1), atol=1e-6)
    np.testing.assert_allclose(chunk.best_score[3], scores.max(axis=1), atol=1e-6)


@pytest.mark.parametrize("ties", Ties)
def test_nearest_gives_the_first_items_of_each_part_best_first(ties):
    rows, part = rows_of(40, seed=5), np.arange(40) % 2
    ranking = Ranking(rows, part=part, part_count=2, ties=ties, compute=Compute(chunk_bytes=2000))
    units = rows.embedding / np.linalg.norm(rows.embedding, axis=1, keepdims=True)
    for code, found in enumerate(ranking.find_nearest(rows, k=4, exclude_self=True)):
        assert set(found.share) == {1.0}
        for query in range(40):
            gallery = [g for g in np.flatnonzero(part == code) if g != query]
            expected = sorted(gallery, key=lambda g: -(units[query] @ units[g]))[:4]
            assert found.gallery[found.query == query].tolist() == expected
            np.testing.assert_allclose(found.score[found.query == query], units[expected] @ units[query], atol=1e-6)


def test_nearest_shares_the_last_places_among_tied_items():
    same = LabeledRows(np.ones((5, 2), dtype=np.float32), np.zeros(5, dtype=np.int64), np.arange(5))
    ranking = Ranking(same, part=np.zeros(5, dtype=np.int64), part_count=1, ties=Ties.EXPECTED, compute=Compute())
    [found] = ranking.find_nearest(same, k=2, exclude_self=True)
    assert set(found.share) == {0.5}
    assert np.bincount(found.query).tolist() == [4] * 5
    [whole] = ranking.find_nearest(same, k=9, exclude_self=True)
    assert set(whole.share) == {1.0}
    np.testing.assert_allclose(whole.score, 1.0, atol=1e-7)
