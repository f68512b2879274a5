"""Segment rows to item vectors, and who is left out."""

import math
from dataclasses import replace

import numpy as np
import pytest

from fieldmark.errors import EvaluationError, NonFiniteEmbeddingError
from fieldmark.evaluation.evaluated_items import ItemVector, select_items
from fieldmark.types import Embeddings, Item, Medium, Split


def embeddings_of(*segments, logits=None) -> Embeddings:
    """Rows of (item, vector)."""
    no_time = np.full(len(segments), np.nan)
    vectors = np.array([vector for _, vector in segments], dtype=np.float32)
    scores = None if logits is None else np.array(logits, dtype=np.float32)
    return Embeddings(tuple(item for item, _ in segments), no_time, no_time, vectors, scores)


def item_of(name, *, class_name="gull", split=Split.TEST, group=None) -> Item:
    return Item(name, Medium.AUDIO, class_name=class_name, split=split, group=group)


def select(embeddings, *, vector=ItemVector.EMBEDDING, split=Split.TEST, leaking_ids=frozenset()):
    return select_items(embeddings, vector=vector, split=split, leaking_ids=leaking_ids)


def test_select_items_points_along_the_mean_of_the_unit_segments():
    a, b = item_of("a"), item_of("b")
    table = select(embeddings_of((a, [10.0, 0.0]), (a, [0.0, 1.0]), (b, [0.0, 3.0])))
    np.testing.assert_allclose(table.rows.embedding, [[0.5, 0.5], [0.0, 1.0]])


def test_select_items_takes_the_softmax_of_the_mean_logits():
    a = item_of("a")
    logits = [[1.0, 3.0, 1000.0], [3.0, 3.0, 1000.0]]
    table = select(embeddings_of((a, [1.0]), (a, [1.0]), logits=logits), vector=ItemVector.POSTERIOR)
    np.testing.assert_allclose(table.rows.embedding, [[0.0, 0.0, 1.0]], atol=1e-300)
    table = select(embeddings_of((a, [1.0]), (a, [1.0]), logits=np.log([[1, 4], [4, 4]])), vector=ItemVector.POSTERIOR)
    np.testing.assert_allclose(table.rows.embedding, [[1 / 3, 2 / 3]], rtol=1e-6)


def test_select_items_counts_who_is_left_out():
    embeddings = embeddings_of(
        (item_of("kept"), [1.0]),
        (item_of("leaks", group="tape 7"), [1.0]),
        (item_of("safe", group="tape 8"), [1.0]),
        (item_of("nameless", class_name=None), [1.0]),
        (item_of("other split", split=Split.TRAIN, class_name=None), [1.0]),
        (item_of("nameless leak", class_name=None, group="tape 7"), [1.0]),
    )
    table = select(embeddings, leaking_ids={"leaks", "nameless leak"})
    assert (len(table.rows.label), table.without_class_count, table.leaking_count) == (2, 2, 1)


def test_select_items_names_labels_by_the_classes_that_are_kept():
    table = select(
        embeddings_of(
            (item_of("a", class_name="wren"), [1.0]),
            (item_of("b", class_name="auk", split=Split.TRAIN), [1.0]),
            (item_of("c", class_name="gull"), [1.0]),
        )
    )
    assert table.class_names == ("gull", "wren")
    assert table.rows.label.tolist() == [1, 0]


def test_select_items_makes_an_item_without_group_its_own():
    table = select(
        embeddings_of((item_of("a", group="b"), [1.0]), (item_of("b"), [1.0]), (item_of("c", group="b"), [1.0]))
    )
    assert table.group.tolist() == [0, 1, 0]


@pytest.mark.parametrize("bad", [[math.nan, 1.0], [math.inf, 1.0], [0.0, 0.0]])
def test_select_items_names_items_with_an_unusable_segment(bad):
    a, b, c = item_of("a"), item_of("b"), item_of("c")
    with pytest.raises(NonFiniteEmbeddingError, match=r"1 item .* b"):
        select(embeddings_of((a, [1.0, 0.0]), (b, [1.0, 0.0]), (b, bad), (c, [0.0, 1.0])))


def test_select_items_names_items_whose_segments_cancel():
    a = item_of("a")
    with pytest.raises(NonFiniteEmbeddingError, match=r"1 item .* a"):
        select(embeddings_of((a, [0.6, 0.8]), (a, [-0.6, -0.8])))


def test_select_items_names_items_with_unusable_logits():
    with pytest.raises(NonFiniteEmbeddingError, match=r"1 item .* a"):
        select(embeddings_of((item_of("a"), [1.0]), logits=[[math.nan, 1.0]]), vector=ItemVector.POSTERIOR)


def test_select_items_passes_over_bad_embeddings_that_are_not_evaluated():
    table = select(embeddings_of((item_of("a"), [1.0]), (item_of("b", split=Split.TRAIN), [math.nan])))
    assert len(table.rows.label) == 1


def test_select_items_without_logits_says_what_to_do():
    with pytest.raises(EvaluationError, match="--protocol strict"):
        select(embeddings_of((item_of("a"), [1.0])), vector=ItemVector.POSTERIOR)


def test_select_items_of_an_absent_split_says_what_there_is():
    with pytest.raises(EvaluationError, match=r"no item of split validation.*2 of split test.*1 of no split.*Choose"):
        select(
            embeddings_of((item_of("a"), [1.0]), (item_of("b"), [1.0]), (item_of("c", split=None), [1.0])),
            split=Split.VALIDATION,
        )


def test_select_items_of_nothing_says_so():
    nothing = Embeddings((), np.zeros(0), np.zeros(0), np.zeros((0, 3), dtype=np.float32))
    with pytest.raises(EvaluationError, match="none at all"):
        select(nothing, split=None)


def test_select_items_refuses_scattered_rows():
    a, b = item_of("a"), item_of("b")
    with pytest.raises(EvaluationError, match="'a' are in 2 places"):
        select(embeddings_of((a, [1.0]), (b, [1.0]), (replace(a), [1.0])))


def test_select_items_counts_no_leak_of_another_split():
    kept, leak = item_of("kept"), item_of("other leak", split=Split.VALIDATION, group="tape 7")
    assert select(embeddings_of((kept, [1.0]), (leak, [1.0])), leaking_ids={"other leak"}).leaking_count == 0


def test_label_at_rank_keeps_classes_without_a_name_there_apart():
    names = ["auk", "gull", "tern", "wren"]
    table = select(embeddings_of(*((item_of(name, class_name=name), [1.0]) for name in names)))
    labels = table.label_at_rank({"gull": "Laridae", "tern": "Laridae"}).tolist()
    assert labels[1] == labels[2]
    assert len(set(labels)) == 3
