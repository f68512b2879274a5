"""The store above its exact size: what its index finds, against a look at every segment."""

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from fieldmark.errors import DamagedGalleryError
from fieldmark.gallery.lance import LanceIndex
from fieldmark.gallery.store import Filter
from fieldmark.types import Embeddings, Item, Medium

DIM, CLASSES = 16, 60


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def classes_of(count: int, *, seed: int, first: int = 0) -> Embeddings:
    """A trained space in small: classes apart, their members around them, two media."""
    generator = np.random.default_rng(seed)
    centers = unit(np.random.default_rng(0).normal(size=(CLASSES, DIM)))
    label = generator.integers(0, CLASSES, count)
    items = [
        Item(f"{first + place:05}", (Medium.IMAGE, Medium.AUDIO)[place % 2], class_name=f"class {label[place]}")
        for place in range(count)
    ]
    vectors = unit(centers[label] + 0.15 * generator.normal(size=(count, DIM)))
    return Embeddings(tuple(items), np.full(count, np.nan), np.full(count, np.nan), vectors)


def add(index: LanceIndex, embeddings: Embeddings) -> None:
    index.add(embeddings, content_hash_by_item_id={item.item_id: "h" for item in embeddings.items})


@pytest.fixture(scope="module")
def stored() -> Embeddings:
    return classes_of(6000, seed=1)


@pytest.fixture(scope="module")
def folder(stored, tmp_path_factory) -> Path:
    """A store of 6,000 segments with a trained index."""
    folder = tmp_path_factory.mktemp("approximate") / "index"
    index = LanceIndex.create(folder, fingerprint="sparrow", dim=DIM, exact_rows=1000)
    add(index, stored)
    index.optimize()
    return folder


@pytest.fixture(scope="module")
def index(folder) -> LanceIndex:
    return LanceIndex.open(folder, exact_rows=1000)


@pytest.fixture(scope="module")
def oracle(folder) -> LanceIndex:
    """The same store, searched exactly."""
    return LanceIndex.open(folder)


def test_index_looks_at_a_part_and_finds_what_it_says(index, oracle):
    known = index.approximation()
    assert oracle.approximation() is None
    assert known.probe_count < known.partition_count
    assert (known.trained_count, known.measured_count, known.partition_count) == (6000, 6000, 77)
    shares = []
    for query in classes_of(50, seed=2).embedding:
        exact = {hit.item_id for hit in oracle.search(query, k=10)}
        shares.append(len(exact & {hit.item_id for hit in index.search(query, k=10)}) / 10)
    assert known.recall >= 0.95
    assert np.mean(shares) == pytest.approx(known.recall, abs=0.05)


def test_scores_and_order_are_exact(index, oracle, stored):
    for query in stored.embedding[:20]:
        expected = {hit.item_id: hit for hit in oracle.search(query, k=6000)}
        hits = index.search(query, k=5)
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
        assert [hit.score for hit in hits] == [expected[hit.item_id].score for hit in hits]


@pytest.mark.parametrize(
    "where",
    [
        Filter(class_names=frozenset({"class 7"})),
        Filter(class_names=frozenset({"class 7", "class 50"}), media=frozenset({Medium.AUDIO})),
        Filter(item_ids=frozenset({"00007", "05999", "02500"})),
        Filter(class_names=frozenset({"no such class"})),
    ],
)
def test_filter_never_gives_fewer_than_match(index, oracle, where):
    """Also where all that match lie in parts far from the query."""
    query = classes_of(1, seed=3).embedding[0]
    expected = oracle.search(query, k=1000, where=where)
    assert [hit.item_id for hit in index.search(query, k=1000, where=where)] == [hit.item_id for hit in expected]
    assert len(index.search(query, k=3, where=where)) == min(3, len(expected))


@pytest.mark.parametrize("class_count", [1, 5, 25])
def test_filtered_searches_keep_their_recall_far_from_the_query(index, oracle, stored, class_count):
    names = sorted({str(item.class_name) for item in stored.items})
    shares = []
    for number in range(0, 600, 20):
        own = stored.items[number].class_name
        wanted = [name for name in names if name != own][number % 30 :][:class_count]
        where, query = Filter(class_names=frozenset(wanted)), stored.embedding[number]
        exact = {hit.item_id for hit in oracle.search(query, k=10, where=where)}
        shares.append(len(exact & {hit.item_id for hit in index.search(query, k=10, where=where)}) / len(exact))
    assert np.mean(shares) >= 0.99
    assert min(shares) >= 0.9
    assert index.approximation().filtered_recall >= 0.99


def test_segments_added_since_are_found_and_removed_ones_are_not(tmp_path, stored):
    index = LanceIndex.create(tmp_path / "index", fingerprint="sparrow", dim=DIM, exact_rows=1000)
    add(index, stored)
    index.optimize()
    late = classes_of(50, seed=4, first=6000)
    add(index, late)
    for item, vector in zip(late.items, late.embedding, strict=True):
        assert index.search(vector, k=1)[0].item_id == item.item_id
    index.remove([item.item_id for item in late.items[:25]])
    for vector in late.embedding:
        assert index.search(vector, k=1)[0].item_id not in {item.item_id for item in late.items[:25]}


@pytest.mark.slow
def test_index_is_measured_again_when_the_store_grows_and_trained_again_when_it_doubles(tmp_path):
    index = LanceIndex.create(tmp_path / "index", fingerprint="sparrow", dim=DIM, exact_rows=500)
    known = []
    for place in range(4):
        add(index, classes_of(600, seed=place, first=600 * place))
        index.optimize()
        known.append(index.approximation())
    assert [each.measured_count for each in known] == [600, 1200, 1800, 2400]
    assert [each.trained_count for each in known] == [600, 600, 1800, 1800]
    before = (tmp_path / "index" / "approximation.json").stat().st_mtime_ns
    add(index, classes_of(10, seed=9, first=2400))
    index.optimize()
    assert (tmp_path / "index" / "approximation.json").stat().st_mtime_ns == before


def test_store_that_was_never_trained_is_scanned(tmp_path, stored, oracle):
    index = LanceIndex.create(tmp_path / "index", fingerprint="sparrow", dim=DIM, exact_rows=1000)
    add(index, stored)
    assert index.approximation() is None
    for query in classes_of(5, seed=5).embedding:
        assert [hit.item_id for hit in index.search(query, k=20)] == [h.item_id for h in oracle.search(query, k=20)]


def test_search_above_the_exact_size_holds_no_vectors(folder, stored):
    def kept_bytes(index: LanceIndex) -> int:
        tracemalloc.start()
        index.search(stored.embedding[0], k=5)
        kept, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return kept

    assert kept_bytes(LanceIndex.open(folder)) > stored.embedding.nbytes
    assert kept_bytes(LanceIndex.open(folder, exact_rows=1000)) < stored.embedding.nbytes / 3


@pytest.mark.parametrize("content", ["", "{}", json.dumps({"recall": 1.0, "unknown": 3})])
def test_damaged_facts_of_the_index_are_told(tmp_path, stored, content):
    index = LanceIndex.create(tmp_path / "index", fingerprint="sparrow", dim=DIM, exact_rows=100)
    add(index, stored)
    (tmp_path / "index" / "approximation.json").write_text(content)
    with pytest.raises(DamagedGalleryError, match=r"approximation\.json"):
        index.search(stored.embedding[0], k=5)
