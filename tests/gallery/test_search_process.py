"""The process that `benchmarks/search.py` times searches in: it keeps up with what a search asks of a model."""

import numpy as np
import pytest
from search_process import open_searcher, search

from fieldmark.gallery.lance import LanceIndex
from fieldmark.types import Item, Medium

PLAIN = {"media": [], "where": {}, "by_segment": False, "relevant": [], "irrelevant": []}


@pytest.mark.parametrize("queries", [[(0, "image")], [(0, "image"), (1, "audio")]])
def test_a_search_is_timed_and_answered(tmp_path, unit_rows, embeddings_of, queries):
    rows = unit_rows(6, seed=0)
    index = LanceIndex.create(tmp_path / "gallery", fingerprint="benchmark", dim=rows.shape[1])
    items = [Item(f"photo-{n}", Medium.IMAGE, class_name=f"class {n % 2}") for n in range(6)]
    parts = [(item, row[None]) for item, row in zip(items, rows, strict=True)]
    index.add(embeddings_of(*parts), content_hash_by_item_id={item.item_id: "0" for item in items})
    asked = np.stack([rows[2], rows[2]])
    seconds, processor_seconds, (probability, hits) = search(
        open_searcher(tmp_path / "gallery", asked), {"queries": queries, **PLAIN}
    )
    assert seconds > 0
    assert processor_seconds >= 0
    assert probability is not None
    assert hits[0][0] == "photo-2"
