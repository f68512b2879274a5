"""The 12 + 4 tasks query by query: every query against every part of the gallery."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int

from fieldmark.errors import EvaluationError
from fieldmark.evaluation.evaluated_items import EvaluatedItems
from fieldmark.evaluation.metrics import (
    RECALL_LEVELS,
    compute_chance,
    estimate_hits_at_k,
    interpolate_precision,
    sum_precisions,
)
from fieldmark.evaluation.protocol import Protocol
from fieldmark.evaluation.ranking import RankedChunk, Ranking
from fieldmark.evaluation.result import CUTOFFS, name_direction
from fieldmark.evaluation.sorted_keys import Relevance
from fieldmark.types import MEDIA, Medium

_PART_COUNT = len(MEDIA)
"""The parts of the gallery are the media; the whole gallery comes after them."""


@dataclass(frozen=True, slots=True)
class Task:
    """One direction query by query, before anything is averaged.

    Args:
        gallery_medium: None for the gallery of all media.
        row: Of each query, in the table of items.
        gallery_count: Items of the gallery, including the query if it is one of them.
        best_score: Of the best gallery item; NaN where there is none.
        has_relevant: Whether the gallery has a relevant item for the query.
        is_counted: Whether the protocol has the query in the mean.
        hits: For each of `CUTOFFS`, the probability that a relevant item is among the first k.
        rank_average_precision: For each rank of the taxonomy; `rank_chance` beside it.
        gallery_influence: The derivative of the MAP by the weight of each item in the gallery, 0 for items outside it;
            see `sum_influences`. Of no items unless asked for.
    """

    query_medium: Medium
    gallery_medium: Medium | None
    row: Int[np.ndarray, " query"]
    gallery_count: int
    average_precision: Float64[np.ndarray, " query"]
    chance: Float64[np.ndarray, " query"]
    best_score: Float64[np.ndarray, " query"]
    has_relevant: Bool[np.ndarray, " query"]
    is_counted: Bool[np.ndarray, " query"]
    hits: Float64[np.ndarray, "cutoff query"]
    curve: Float64[np.ndarray, "query level"]
    rank_average_precision: Float64[np.ndarray, "rank query"]
    rank_chance: Float64[np.ndarray, "rank query"]
    gallery_influence: Float64[np.ndarray, " row"]

    @property
    def name(self) -> str:
        """The name of the direction."""
        return name_direction(self.query_medium, self.gallery_medium)

    @property
    def average(self) -> str | None:
        """The average that the direction belongs to; None within one medium."""
        if self.gallery_medium is self.query_medium:
            return None
        return "multi_modality" if self.gallery_medium is None else "bi_modality"


def measure_tasks(
    evaluated: EvaluatedItems,
    ranking: Ranking,
    *,
    protocol: Protocol,
    ranks: Mapping[str, Mapping[str, str]],
    with_influences: bool = False,
) -> tuple[list[Task], list[str]]:
    """Measure every query; return the directions with a query to count, and the names of the tasks without one.

    Args:
        ranking: Of the evaluated items, with the media as parts.
        ranks: For each rank above the class, the name of each class at that rank.
        with_influences: Whether it is measured what each item of the gallery is worth.

    Raises:
        EvaluationError: No query has a relevant item.
    """
    ranked = _rank(evaluated, ranking, protocol=protocol, ranks=ranks, with_influences=with_influences)
    tasks: list[Task] = []
    absent: list[str] = []
    for query_code, query_medium in enumerate(MEDIA):
        row = np.flatnonzero(evaluated.medium == query_code)
        for part, gallery_medium in enumerate((*MEDIA, None)):
            task = _make_task(evaluated, ranked, row, part=part, protocol=protocol) if len(row) else None
            if task is not None and task.is_counted.any():
                tasks.append(task)
            elif query_medium is not gallery_medium:
                absent.append(name_direction(query_medium, gallery_medium))
    if not tasks:
        raise EvaluationError(
            f"The embeddings cannot be evaluated: none of {len(evaluated.medium)} items has another of "
            "its class in the gallery. "
            "Embed more items of each class, or correct 'class_name' in the manifest."
        )
    return tasks, absent


@dataclass(frozen=True, slots=True)
class _Ranked:
    """Figures of every query for each relevance (class, then ranks) and each part of the gallery, the whole last.

    Args:
        influence: Of each gallery row, in its part (0) and in the whole gallery (1), summed over the queries of a
            medium; of no rows unless asked for.
    """

    average_precision: Float64[np.ndarray, "relevance part query"]
    relevant_count: Int[np.ndarray, "relevance part query"]
    hits: Float64[np.ndarray, "cutoff part query"]
    curve: Float64[np.ndarray, "part query level"]
    best_score: Float64[np.ndarray, "part query"]
    influence: Float64[np.ndarray, "medium gallery row"]


def _rank(
    evaluated: EvaluatedItems,
    ranking: Ranking,
    *,
    protocol: Protocol,
    ranks: Mapping[str, Mapping[str, str]],
    with_influences: bool,
) -> _Ranked:
    labels = [evaluated.rows.label, *(evaluated.label_at_rank(by_class) for by_class in ranks.values())]
    count, part_count = len(evaluated.items), _PART_COUNT + 1
    ranked = _Ranked(
        average_precision=np.zeros((len(labels), part_count, count)),
        relevant_count=np.zeros((len(labels), part_count, count), dtype=np.int64),
        hits=np.zeros((len(CUTOFFS), part_count, count)),
        curve=np.zeros((part_count, count, len(RECALL_LEVELS))),
        best_score=np.full((part_count, count), np.nan),
        influence=np.zeros((len(MEDIA), 2, count if with_influences else 0)),
    )
    relevance = [Relevance(label, label) for label in labels]
    group = evaluated.medium if with_influences else None
    chunks = ranking.rank(
        evaluated.rows, relevance=relevance, exclude_self=protocol.exclude_self, influence_group=group
    )
    for chunk in chunks:
        _fill(ranked, chunk, gallery_count=count)
    ranked.average_precision[:] /= np.maximum(ranked.relevant_count, 1)
    return ranked


def _fill(ranked: _Ranked, chunk: RankedChunk, *, gallery_count: int) -> None:
    """Fill in the figures of a chunk of queries."""
    start, query_count = chunk.start, chunk.query_count
    rows = slice(start, start + query_count)
    ranked.best_score[:, rows] = chunk.best_score
    if chunk.influence is not None:
        ranked.influence[: len(chunk.influence)] += chunk.influence
    for number, parts in enumerate(chunk.blocks):
        for part, blocks in enumerate(parts):
            ranked.average_precision[number, part, rows] = sum_precisions(
                blocks, start=start, query_count=query_count, gallery_count=gallery_count
            )
            ranked.relevant_count[number, part, rows] = np.bincount(
                blocks.query - start, weights=blocks.relevant_count, minlength=query_count
            )
            if number == 0:
                ranked.curve[part, rows] = interpolate_precision(blocks, start=start, query_count=query_count)
                for cutoff, k in enumerate(CUTOFFS):
                    ranked.hits[cutoff, part, rows] = estimate_hits_at_k(
                        blocks, k=k, start=start, query_count=query_count
                    )


def _make_task(
    evaluated: EvaluatedItems, ranked: _Ranked, row: Int[np.ndarray, " query"], *, part: int, protocol: Protocol
) -> Task | None:
    """Return one direction; None where its gallery is empty."""
    gallery_medium = None if part == _PART_COUNT else MEDIA[part]
    query_medium = MEDIA[int(evaluated.medium[row[0]])]
    gallery_count = len(evaluated.items) if gallery_medium is None else int((evaluated.medium == part).sum())
    if not gallery_count:
        return None
    relevant = ranked.relevant_count[:, part, row]
    is_self_excluded = protocol.exclude_self and gallery_medium in {query_medium, None}
    chance = [
        compute_chance(each, gallery_count=np.full(len(row), gallery_count - is_self_excluded)) for each in relevant
    ]
    has_relevant = relevant[0] > 0
    is_counted = has_relevant if protocol.skip_without_relevant else np.ones(len(row), dtype=bool)
    influence = ranked.influence[int(evaluated.medium[row[0]]), int(gallery_medium is None)]
    if gallery_medium is not None and len(influence):
        influence = np.where(evaluated.medium == part, influence, 0.0)
    return Task(
        query_medium=query_medium,
        gallery_medium=gallery_medium,
        row=row,
        gallery_count=gallery_count,
        average_precision=ranked.average_precision[0, part, row],
        chance=chance[0],
        best_score=ranked.best_score[part, row],
        has_relevant=has_relevant,
        is_counted=is_counted,
        hits=ranked.hits[:, part, row],
        curve=ranked.curve[part, row],
        rank_average_precision=ranked.average_precision[1:, part, row],
        rank_chance=np.stack(chance)[1:],
        gallery_influence=influence / max(int(is_counted.sum()), 1),
    )
