"""The examples of an evaluation: the best and the worst queries, and look-alikes."""

import numpy as np
import pytest

from fieldmark.reports.evaluation_page import choose_queries, find_look_alikes
from fieldmark.types import MEDIA, Medium


@pytest.mark.parametrize("best", [True, False])
def test_choose_queries_takes_the_best_or_the_worst_of_each_class(measurement, best):
    chosen = choose_queries(measurement, Medium.IMAGE, best=best)
    [task] = [t for t in measurement.tasks if t.query_medium is Medium.IMAGE and t.gallery_medium is None]
    label = measurement.evaluated.rows.label
    extreme = max if best else min
    of_class = [
        extreme(task.average_precision[label[task.row] == each].tolist()) for each in np.unique(label[task.row])
    ]
    expected = sorted(of_class, reverse=best)[: 1 if best else 3]
    assert [query.average_precision for query in chosen] == pytest.approx(expected)


@pytest.mark.parametrize("medium", MEDIA)
def test_choose_queries_gives_the_nearest_hits_of_all_media(measurement, medium):
    table = measurement.evaluated
    for query in choose_queries(measurement, medium, best=False):
        similarity = table.units @ table.units[query.row]
        similarity[query.row] = -2
        assert [hit.row for hit in query.hits] == np.argsort(-similarity)[:5].tolist()
        assert [hit.score for hit in query.hits] == pytest.approx(np.sort(similarity)[:-6:-1].tolist(), abs=1e-6)
        assert [hit.is_relevant for hit in query.hits] == [
            table.items[hit.row].class_name == table.items[query.row].class_name for hit in query.hits
        ]


def test_find_look_alikes_shows_the_items_most_like_the_other_class(measurement):
    table = measurement.evaluated
    names = np.array([item.class_name for item in table.items])
    [alike] = find_look_alikes(measurement)
    assert {alike.first, alike.second} == set(names)
    assert [medium for medium, _, _ in alike.rows] == list(MEDIA)
    for medium, *rows in alike.rows:
        for row, own, other in zip(rows, (alike.first, alike.second), (alike.second, alike.first), strict=True):
            center = table.units[names == other].mean(axis=0)
            candidates = [n for n, item in enumerate(table.items) if item.medium is medium and names[n] == own]
            assert row == max(candidates, key=lambda n: float(table.units[n] @ center))
