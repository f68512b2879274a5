"""Influences of gallery items against the derivative of a weighted average precision, from its definition."""

import numpy as np
import pytest

from fieldmark.evaluation.evaluated_items import ItemVector, select_items
from fieldmark.evaluation.influence import measure_gallery_influences
from fieldmark.evaluation.protocol import STRICT
from fieldmark.evaluation.ranking import Compute, Ranking
from fieldmark.evaluation.task import measure_tasks
from fieldmark.types import MEDIA


def slow_map(task, evaluated, weight):
    """The MAP with a weight for each item of the gallery."""
    units = evaluated.units
    values = []
    for row in task.row[task.is_counted]:
        gallery = np.flatnonzero(
            np.ones(len(units), dtype=bool)
            if task.gallery_medium is None
            else evaluated.medium == MEDIA.index(task.gallery_medium)
        )
        gallery = gallery[gallery != row]
        order = gallery[np.argsort(-(units[gallery] @ units[row]), kind="stable")]
        is_relevant = evaluated.rows.label[order] == evaluated.rows.label[row]
        own = weight[order]
        precision = np.cumsum(own * is_relevant) / np.cumsum(own)
        values.append((own * is_relevant * precision).sum() / (own * is_relevant).sum())
    return np.mean(values)


def test_influences_are_the_derivatives_by_the_weights(make_embeddings):
    embeddings = make_embeddings(class_count=3, items_per_class=3, spread=1.5, segments=1)
    evaluated = select_items(embeddings, vector=ItemVector.EMBEDDING, split=None, leaking_ids=frozenset())
    ranking = Ranking(evaluated.rows, part=evaluated.medium, part_count=len(MEDIA), ties=STRICT.ties, compute=Compute())
    tasks, _ = measure_tasks(evaluated, ranking, protocol=STRICT, ranks={})
    chosen = [task for task in tasks if task.name in ("image_to_text", "text_to_text", "audio_to_all")]
    got = measure_gallery_influences(evaluated, chosen, exclude_self=True, compute=Compute())
    step = 1e-5
    for column, task in enumerate(chosen):
        for row in range(len(evaluated.items)):
            more, less = (np.ones(len(evaluated.items)) for _ in range(2))
            more[row] += step
            less[row] -= step
            slope = (slow_map(task, evaluated, more) - slow_map(task, evaluated, less)) / (2 * step)
            assert got[row, column] == pytest.approx(slope, abs=1e-7)
    assert got.sum(axis=0) == pytest.approx(0.0, abs=1e-12)
    in_chunks = measure_gallery_influences(evaluated, chosen, exclude_self=True, compute=Compute(chunk_bytes=1))
    assert in_chunks == pytest.approx(got, abs=1e-14)
