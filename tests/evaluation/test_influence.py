"""Influences of gallery items against the derivative of a weighted average precision, and against a direct form."""

from dataclasses import replace

import numpy as np
import pytest

from fieldmark.evaluation.evaluated_items import select_items
from fieldmark.evaluation.protocol import PAPER, STRICT
from fieldmark.evaluation.ranking import SCORE_STEP, Compute, Ranking
from fieldmark.evaluation.task import measure_tasks
from fieldmark.types import MEDIA


def measure(embeddings, protocol, *, chunk_bytes=2**27):
    """The items that are evaluated and their tasks, with influences."""
    evaluated = select_items(embeddings, vector=protocol.vector, split=None, leaking_ids=frozenset())
    ranking = Ranking(
        evaluated.rows,
        part=evaluated.medium,
        part_count=len(MEDIA),
        ties=protocol.ties,
        compute=Compute(chunk_bytes=chunk_bytes),
    )
    return evaluated, measure_tasks(evaluated, ranking, protocol=protocol, ranks={}, with_influences=True)[0]


def list_gallery(task, evaluated):
    """Rows of a task's gallery."""
    if task.gallery_medium is None:
        return np.arange(len(evaluated.items))
    return np.flatnonzero(evaluated.medium == MEDIA.index(task.gallery_medium))


def slow_map(task, evaluated, weight):
    """The MAP with a weight for each item of the gallery."""
    units = evaluated.units
    values = []
    for row in task.row[task.is_counted]:
        gallery = list_gallery(task, evaluated)
        gallery = gallery[gallery != row]
        order = gallery[np.argsort(-(units[gallery] @ units[row]), kind="stable")]
        is_relevant = evaluated.rows.label[order] == evaluated.rows.label[row]
        own = weight[order]
        precision = np.cumsum(own * is_relevant) / np.cumsum(own)
        values.append((own * is_relevant * precision).sum() / (own * is_relevant).sum())
    return np.mean(values)


def slow_influences(task, evaluated, *, exclude_self):
    """The influences query by query and item by item, as `sum_influences` defines them."""
    units = evaluated.units
    total = np.zeros(len(evaluated.items))
    for row in task.row[task.is_counted]:
        gallery = list_gallery(task, evaluated)
        gallery = gallery[gallery != row] if exclude_self else gallery
        key = np.round((units[gallery] @ units[row]) / -SCORE_STEP)
        is_relevant = evaluated.rows.label[gallery] == evaluated.rows.label[row]
        needles = key[is_relevant]
        if not len(needles):
            continue
        rank = np.array([(key < each).sum() + ((key == each).sum() + 1) / 2 for each in needles])
        found = np.array([(needles < each).sum() + ((needles == each).sum() + 1) / 2 for each in needles])
        rise, fall = 1 / rank, found / rank**2
        # Of tied items half come first; of itself, an item is the half that is before and the half that is beside.
        after = (needles > key[:, None]) + (needles == key[:, None]) / 2
        influence = -(after @ fall)
        precision = found / rank
        influence[is_relevant] += after[is_relevant] @ rise + (rise - fall) / 2 + precision - precision.mean()
        total[gallery] += influence / len(needles)
    return total / task.is_counted.sum()


def test_influences_are_the_derivatives_by_the_weights(make_embeddings):
    evaluated, tasks = measure(make_embeddings(class_count=3, items_per_class=3, spread=1.5, segments=1), STRICT)
    step = 1e-5
    for task in tasks:
        if task.name not in ("image_to_text", "text_to_text", "audio_to_all"):
            continue
        for row in range(len(evaluated.items)):
            more, less = (np.ones(len(evaluated.items)) for _ in range(2))
            more[row] += step
            less[row] -= step
            slope = (slow_map(task, evaluated, more) - slow_map(task, evaluated, less)) / (2 * step)
            assert task.gallery_influence[row] == pytest.approx(slope, abs=1e-7)
        assert task.gallery_influence.sum() == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("protocol", [STRICT, PAPER], ids=lambda protocol: protocol.name)
@pytest.mark.parametrize("logit_scale", [1.0, 8.0])
@pytest.mark.parametrize("chunk_bytes", [1, 2**27])
def test_influences_are_those_of_the_direct_form(make_embeddings, protocol, logit_scale, chunk_bytes):
    embeddings = make_embeddings(class_count=5, items_per_class=7, spread=1.5, segments=1)
    kept = np.random.default_rng(0).permutation(len(embeddings.items))[: 5 * 7 * 3]
    rows, logits = embeddings.embedding[kept], embeddings.logits[kept] * np.float32(logit_scale)
    # Items of one vector tie, in some of the classes and media: other queries of the same chunk have no ties.
    rows[5:9], logits[5:9], rows[60:63] = rows[4], logits[4], rows[59]
    items = [embeddings.items[number] for number in kept.tolist()]
    items[0] = replace(items[0], class_name="alone")
    mixed = replace(
        embeddings,
        items=tuple(items),
        embedding=rows,
        logits=logits,
        start_seconds=embeddings.start_seconds[kept],
        end_seconds=embeddings.end_seconds[kept],
    )
    evaluated, tasks = measure(mixed, protocol, chunk_bytes=chunk_bytes)
    assert len(tasks) == 20
    for task in tasks:
        direct = slow_influences(task, evaluated, exclude_self=protocol.exclude_self)
        assert task.gallery_influence == pytest.approx(direct, abs=1e-12)


def test_influences_of_queries_that_all_tie(make_embeddings):
    embeddings = make_embeddings(class_count=2, items_per_class=3, segments=1)
    same = replace(embeddings, embedding=np.ones_like(embeddings.embedding))
    evaluated, tasks = measure(same, STRICT)
    for task in tasks:
        assert task.gallery_influence == pytest.approx(slow_influences(task, evaluated, exclude_self=True), abs=1e-12)


def test_influences_of_a_medium_without_items_and_of_classes_that_a_medium_lacks(make_embeddings):
    embeddings = make_embeddings(media=MEDIA[:2], class_count=3, items_per_class=4, spread=1.5, segments=1)
    is_kept = [item.medium is MEDIA[0] or item.class_name != "bird 1" for item in embeddings.items]
    kept = np.flatnonzero(is_kept)
    fewer = replace(
        embeddings,
        items=tuple(embeddings.items[number] for number in kept.tolist()),
        start_seconds=embeddings.start_seconds[kept],
        end_seconds=embeddings.end_seconds[kept],
        embedding=embeddings.embedding[kept],
        logits=embeddings.logits[kept],
    )
    evaluated, tasks = measure(fewer, STRICT)
    for task in tasks:
        assert task.gallery_influence == pytest.approx(slow_influences(task, evaluated, exclude_self=True), abs=1e-12)


def test_influences_are_not_measured_unless_asked_for(make_embeddings):
    evaluated, _ = measure(make_embeddings(), STRICT)
    ranking = Ranking(evaluated.rows, part=evaluated.medium, part_count=len(MEDIA), ties=STRICT.ties, compute=Compute())
    tasks, _ = measure_tasks(evaluated, ranking, protocol=STRICT, ranks={})
    assert all(not len(task.gallery_influence) for task in tasks)
