"""Choose the items that the page of an evaluation shows: look-alikes, the best and the worst queries."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int

from fieldmark.evaluation.measurement import Measurement
from fieldmark.evaluation.ranking import Neighbors
from fieldmark.evaluation.task import Task
from fieldmark.types import MEDIA, Medium

_LOOK_ALIKE_COUNT = 6
_BEST_COUNT, _WORST_COUNT = 1, 3  # queries of each medium
_HIT_COUNT = 5


@dataclass(frozen=True, slots=True)
class LookAlikes:
    """Two classes that are often confused.

    Args:
        share: Of the first neighbors of both classes' queries, the share of the other class.
        rows: By medium, the item of each class that is most similar to the other class; None if there is none.
    """

    first: str
    second: str
    share: float
    rows: tuple[tuple[Medium, int | None, int | None], ...]


@dataclass(frozen=True, slots=True)
class _ShownHit:
    """One of the first hits of a query."""

    row: int
    score: float
    is_relevant: bool


@dataclass(frozen=True, slots=True)
class ShownQuery:
    """A query with its first hits in the gallery of all media."""

    row: int
    average_precision: float
    hits: tuple[_ShownHit, ...]


def find_look_alikes(measured: Measurement) -> tuple[LookAlikes, ...]:
    """Find the most confused classes, each with the items that show why."""
    table, space = measured.evaluated, measured.evaluation.space
    units = table.units
    label_of = {name: label for label, name in enumerate(table.class_names)}
    found = []
    for confusion in space.confusions[:_LOOK_ALIKE_COUNT] if space else ():
        labels = label_of[confusion.first], label_of[confusion.second]
        centers = [units[table.rows.label == label].mean(axis=0) for label in labels]
        rows = []
        for code, medium in enumerate(MEDIA):
            own = [np.flatnonzero((table.rows.label == label) & (table.medium == code)) for label in labels]
            likest = [
                int(each[np.argmax(units[each] @ center)]) if len(each) else None
                for each, center in zip(own, reversed(centers), strict=True)
            ]
            if any(row is not None for row in likest):
                rows.append((medium, likest[0], likest[1]))
        found.append(LookAlikes(confusion.first, confusion.second, confusion.share, tuple(rows)))
    return tuple(found)


def choose_queries(measured: Measurement, medium: Medium, *, best: bool) -> tuple[ShownQuery, ...]:
    """Choose the queries of a medium with the highest or lowest average precision to all media; one per class."""
    task = next((t for t in measured.tasks if t.query_medium is medium and t.gallery_medium is None), None)
    if task is None:
        return ()
    count = _BEST_COUNT if best else _WORST_COUNT
    value = np.where(task.is_counted, task.average_precision, np.nan)
    order = np.argsort(-value if best else value, kind="stable")
    chosen: dict[int, int] = {}
    for query in order[task.is_counted[order]].tolist():
        label = int(measured.evaluated.rows.label[task.row[query]])
        if label not in chosen and len(chosen) < count:
            chosen[label] = query
    return tuple(_build_query(measured, task, query) for query in chosen.values())


def _build_query(measured: Measurement, task: Task, query: int) -> ShownQuery:
    row = int(task.row[query])
    label = measured.evaluated.rows.label
    gallery, score = _first_hits(measured.neighbors, row)
    hits = tuple(
        _ShownHit(int(each), float(value), bool(label[each] == label[row]))
        for each, value in zip(gallery, score, strict=True)
    )
    return ShownQuery(row, float(task.average_precision[query]), hits)


def _first_hits(
    neighbors: Sequence[Neighbors], row: int
) -> tuple[Int[np.ndarray, " hit"], Float64[np.ndarray, " hit"]]:
    """Return the first hits in all media, merged from the first hits in each medium."""
    chosen = [each.query == row for each in neighbors]
    gallery = np.concatenate([each.gallery[own] for each, own in zip(neighbors, chosen, strict=True)])
    score = np.concatenate([each.score[own] for each, own in zip(neighbors, chosen, strict=True)])
    order = np.argsort(-score, kind="stable")[:_HIT_COUNT]
    return gallery[order], score[order]
