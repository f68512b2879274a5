"""Embeddings to the 12 + 4 tasks, measured under the rules of a protocol."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float64

from fieldmark.errors import EvaluationError
from fieldmark.evaluation.embedding_space import (
    NEIGHBOR_COUNT,
    EmbeddingSpace,
    find_confusions,
    measure_hubness,
    measure_media_gap,
    measure_reliability,
)
from fieldmark.evaluation.evaluated_items import EvaluatedItems, ItemVector, select_items
from fieldmark.evaluation.few_words import AskedQuestion, measure_few_words
from fieldmark.evaluation.inference import count_lone_classes, estimate_uncertainty, influence_items
from fieldmark.evaluation.metrics import Interval, bootstrap_means
from fieldmark.evaluation.protocol import STRICT, Protocol
from fieldmark.evaluation.ranking import Compute, Neighbors, Ranking
from fieldmark.evaluation.result import (
    AVERAGES,
    CUTOFFS,
    RESAMPLE_COUNT,
    SEEN,
    UNSEEN,
    Direction,
    Evaluation,
    Slice,
    SliceMean,
    name_direction,
)
from fieldmark.evaluation.task import Task, measure_tasks
from fieldmark.leakage import Leak
from fieldmark.types import MEDIA, Embeddings, Medium, Split


@dataclass(frozen=True, slots=True)
class EvaluationContext:
    """Facts of the items beside their embeddings.

    Args:
        split: The split to evaluate; None for all items.
        leaks: Items that belong together with items of train, which the strict protocol leaves out.
        seen_classes: Classes that the model was trained on; None if that is not known.
        ranks: For each rank above the class, such as genus, the name of each class at that rank.
        with_intervals: Whether intervals are estimated, which takes as long as the rankings.
        questions: Of a few marks each; they are asked under the strict protocol alone, which compares embeddings.
    """

    split: Split | None = Split.TEST
    leaks: tuple[Leak, ...] = ()
    seen_classes: frozenset[str] | None = None
    ranks: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    with_intervals: bool = True
    questions: tuple[AskedQuestion, ...] = ()


@dataclass(frozen=True, slots=True)
class Measurement:
    """An evaluation together with what it was averaged from.

    Args:
        influences: What each item adds to each task's MAP; see `influence_items`. Without rows unless asked for.
        neighbors: The first items of every query, for each medium of the gallery; empty unless asked for.
    """

    evaluated: EvaluatedItems
    tasks: tuple[Task, ...]
    influences: Float64[np.ndarray, "row task design"]
    neighbors: tuple[Neighbors, ...]
    evaluation: Evaluation


def evaluate(
    embeddings: Embeddings,
    *,
    protocol: Protocol,
    split: Split | None = Split.TEST,
    leaks: Iterable[Leak] = (),
    seed: int = 0,
    compute: Compute | None = None,
) -> Evaluation:
    """Measure every direction for which there are items, under the rules of a protocol.

    Args:
        split: The split to evaluate; None for all items.
        leaks: Items that belong together with items of train, which the strict protocol leaves out.
        seed: Of the bootstrap.

    Raises:
        EvaluationError: No item is left to measure, no query has a relevant item, or the protocol needs
            class scores and there are none.
        NonFiniteEmbeddingError: Items without a usable vector; all are named.

    Example:
        >>> from fieldmark.types import Item
        >>> gulls = tuple(Item(medium, Medium(medium), class_name="gull") for medium in ("image", "text"))
        >>> no_time = np.full(2, np.nan)
        >>> pair = Embeddings(gulls, no_time, no_time, np.eye(2, dtype=np.float32))
        >>> evaluate(pair, protocol=STRICT, split=None).bi_modality
        1.0
    """
    context = EvaluationContext(split=split, leaks=tuple(leaks))
    return measure(embeddings, protocol=protocol, context=context, seed=seed, compute=compute).evaluation


def measure_validation_map(embeddings: Embeddings) -> float | None:
    """Return the mean MAP of the directions between media, strict protocol, by which a run chooses its best epoch.

    It is that within the medium where there is only one, and None where no item has another of its class.

    Raises:
        NonFiniteEmbeddingError: Items without a usable vector; all are named.
    """
    try:
        context = EvaluationContext(split=None, with_intervals=False)
        found = measure(embeddings, protocol=STRICT, context=context).evaluation
    except EvaluationError:
        return None
    if found.bi_modality is not None:
        return found.bi_modality
    return float(np.mean([each.mean_average_precision for each in found.same_medium]))


def measure(
    embeddings: Embeddings,
    *,
    protocol: Protocol,
    context: EvaluationContext,
    seed: int = 0,
    compute: Compute | None = None,
    with_space: bool = False,
) -> Measurement:
    """Measure every direction query by query and, if asked for, the embedding space.

    Raises:
        EvaluationError: As for `evaluate`.
        NonFiniteEmbeddingError: Items without a usable vector; all are named.
    """
    leaks = {leak.item_id: leak for leak in context.leaks} if protocol.drop_leaking else {}
    evaluated = select_items(embeddings, vector=protocol.vector, split=context.split, leaking_ids=leaks.keys())
    asked_ranks = context.ranks
    context = replace(context, ranks=_keep_named_ranks(evaluated, asked_ranks))
    ranking = Ranking(
        evaluated.rows, part=evaluated.medium, part_count=len(MEDIA), ties=protocol.ties, compute=compute or Compute()
    )
    tasks, absent = measure_tasks(
        evaluated, ranking, protocol=protocol, ranks=context.ranks, with_influences=context.with_intervals
    )
    neighbors: tuple[Neighbors, ...] = ()
    if with_space:
        neighbors = ranking.find_nearest(evaluated.rows, k=NEIGHBOR_COUNT, exclude_self=protocol.exclude_self)
    influences = np.zeros((0, len(tasks), 2))
    if context.with_intervals:
        influences = influence_items(evaluated, tasks)
    intervals, average_intervals = _estimate_intervals(tasks, evaluated, influences, seed=seed)
    directions = [
        _summarize(task, evaluated, each, context=context) for task, each in zip(tasks, intervals, strict=True)
    ]
    evaluation = Evaluation(
        protocol=protocol,
        split=evaluated.split,
        item_count={medium: int((evaluated.medium == code).sum()) for code, medium in enumerate(MEDIA)},
        class_count=len(evaluated.class_names),
        without_class_count=evaluated.without_class_count,
        leaks=tuple(leaks[name] for name in evaluated.leaking_ids),
        directions=tuple(d for d in directions if not d.is_within_medium),
        same_medium=tuple(d for d in directions if d.is_within_medium),
        absent=tuple(absent),
        seed=seed,
        origin_count=_count_origins(evaluated),
        unseen_classes=_list_unseen(evaluated, context),
        absent_classes=_list_absent_classes(evaluated),
        rank_counts={rank: _count_names(evaluated, context.ranks.get(rank)) for rank in asked_ranks},
        without_rank=tuple(
            name for name in evaluated.class_names if any(name not in by_class for by_class in context.ranks.values())
        ),
        interval_95_average={name: each.drawn for name, each in average_intervals.items()},
        interval_95_average_this_gallery={name: each.this_gallery for name, each in average_intervals.items()},
        lone_class_count=count_lone_classes(evaluated) if context.with_intervals else {},
        space=_measure_space(evaluated, tasks, neighbors) if with_space else None,
        few_words=()
        if protocol.vector is ItemVector.POSTERIOR
        else measure_few_words(context.questions, evaluated, seen_classes=context.seen_classes),
    )
    return Measurement(evaluated, tuple(tasks), influences, neighbors, evaluation)


def _keep_named_ranks(
    evaluated: EvaluatedItems, ranks: Mapping[str, Mapping[str, str]]
) -> dict[str, Mapping[str, str]]:
    """Return the ranks at which at least one of the classes has a name."""
    return {rank: by_class for rank, by_class in ranks.items() if not by_class.keys().isdisjoint(evaluated.class_names)}


def _count_names(evaluated: EvaluatedItems, by_class: Mapping[str, str] | None) -> int:
    """Return the number of genera or families of the classes; 0 where they are not known."""
    return 0 if by_class is None else len(np.unique(evaluated.label_at_rank(by_class)))


@dataclass(frozen=True, slots=True)
class _Intervals:
    """The interval over queries and galleries drawn anew, and that for this gallery only."""

    drawn: Interval = None
    this_gallery: Interval = None


def _estimate_intervals(
    tasks: Sequence[Task], evaluated: EvaluatedItems, influences: Float64[np.ndarray, "row task design"], *, seed: int
) -> tuple[list[_Intervals], dict[str, _Intervals]]:
    """Return the 95 % intervals of each task's mean, and of their averages."""
    numbers = {name: [n for n, task in enumerate(tasks) if task.average == name] for name in AVERAGES}
    averages = {name: each for name, each in numbers.items() if each}
    if not len(influences):
        return [_Intervals() for _ in tasks], {name: _Intervals() for name in averages}
    single, means = estimate_uncertainty(evaluated, tasks, influences, averages)
    values = [float(task.average_precision[task.is_counted].mean()) for task in tasks]
    drawn = _resample_queries(tasks, evaluated, seed=seed)
    of_tasks = [
        _Intervals(each.compute_interval(value, lowest=0.0, highest=1.0), _cut(drawn[:, [number]]))
        for number, (each, value) in enumerate(zip(single, values, strict=True))
    ]
    of_averages = {}
    for name, each in averages.items():
        interval = means[name].compute_interval(float(np.mean([values[n] for n in each])), lowest=0.0, highest=1.0)
        of_averages[name] = _Intervals(interval, _cut(drawn[:, each]))
    return of_tasks, of_averages


def _resample_queries(
    tasks: Sequence[Task], evaluated: EvaluatedItems, *, seed: int
) -> Float64[np.ndarray, "resample task"]:
    """Return the means of each task over groups of queries drawn with replacement; NaN for queries of one group."""
    group, group_count = evaluated.group, evaluated.group_count
    total = np.zeros((group_count, len(tasks)))
    count = np.zeros((group_count, len(tasks)))
    for column, task in enumerate(tasks):
        value = task.average_precision * task.is_counted
        total[:, column] = np.bincount(group[task.row], weights=value, minlength=group_count)
        count[:, column] = np.bincount(group[task.row], weights=task.is_counted, minlength=group_count)
    generator = np.random.default_rng(seed)
    means = bootstrap_means(total, count, resample_count=RESAMPLE_COUNT, generator=generator)
    means[:, (count > 0).sum(axis=0) < 2] = np.nan
    return means


def _cut(drawn: Float64[np.ndarray, "resample task"]) -> Interval:
    """Return the middle 95 % of the means over some tasks; None where a task has none."""
    means = drawn.mean(axis=1)
    if np.isnan(means).all():
        return None
    low, high = np.nanpercentile(means, [2.5, 97.5])
    return float(low), float(high)


def _summarize(
    task: Task, evaluated: EvaluatedItems, intervals: _Intervals, *, context: EvaluationContext
) -> Direction:
    counted = task.is_counted
    value, chance, row = task.average_precision[counted], task.chance[counted], task.row[counted]
    class_of_query = [evaluated.class_names[label] for label in evaluated.rows.label[row]]
    by_class = _average_by_name(class_of_query, value, chance)
    by_slice = {
        Slice.CLASS: by_class,
        Slice.ORIGIN: _average_by_name([evaluated.items[each].origin for each in row.tolist()], value, chance),
        Slice.TRAINING: {}
        if context.seen_classes is None
        else _average_by_name(
            [SEEN if name in context.seen_classes else UNSEEN for name in class_of_query], value, chance
        ),
    }
    return Direction(
        query_medium=task.query_medium,
        gallery_medium=task.gallery_medium,
        mean_average_precision=float(value.mean()),
        class_mean_average_precision=float(np.mean([each.mean_average_precision for each in by_class.values()])),
        interval_95=intervals.drawn,
        interval_95_this_gallery=intervals.this_gallery,
        chance=float(chance.mean()),
        query_count=len(value),
        gallery_count=task.gallery_count,
        without_relevant_count=int((~task.has_relevant).sum()),
        hit_rate={k: float(hits[counted].mean()) for k, hits in zip(CUTOFFS, task.hits, strict=True)},
        precision_at_recall=tuple(task.curve[counted].mean(axis=0).tolist()),
        by_slice=by_slice,
        by_rank={
            rank: SliceMean(float(precision[counted].mean()), float(rank_chance[counted].mean()), len(value))
            for rank, precision, rank_chance in zip(
                context.ranks, task.rank_average_precision, task.rank_chance, strict=True
            )
        },
    )


def _average_by_name(
    names: Sequence[str | None], value: Float64[np.ndarray, " query"], chance: Float64[np.ndarray, " query"]
) -> dict[str, SliceMean]:
    """Return the mean over the queries of each name; queries without a name are ignored."""
    known = sorted({name for name in names if name is not None})
    code = {name: number for number, name in enumerate(known)}
    slot = np.array([-1 if name is None else code[name] for name in names])
    is_named = slot >= 0
    count = np.bincount(slot[is_named], minlength=len(known))
    means = [
        np.bincount(slot[is_named], weights=each[is_named], minlength=len(known)) / count for each in (value, chance)
    ]
    return {
        name: SliceMean(float(means[0][number]), float(means[1][number]), int(count[number]))
        for name, number in code.items()
    }


def _count_origins(evaluated: EvaluatedItems) -> dict[Medium, dict[str, int]]:
    counts = {medium: Counter[str]() for medium in MEDIA}
    for item in evaluated.items:
        if item.origin is not None:
            counts[item.medium][item.origin] += 1
    return {medium: dict(sorted(each.items())) for medium, each in counts.items() if each}


def _list_absent_classes(evaluated: EvaluatedItems) -> dict[Medium, tuple[str, ...]]:
    """Return the classes that a medium has no item of, for each medium that is present and lacks some."""
    absent = {}
    for code, medium in enumerate(MEDIA):
        present = np.unique(evaluated.rows.label[evaluated.medium == code])
        if 0 < len(present) < len(evaluated.class_names):
            absent[medium] = tuple(np.delete(np.array(evaluated.class_names, dtype=object), present).tolist())
    return absent


def _list_unseen(evaluated: EvaluatedItems, context: EvaluationContext) -> tuple[str, ...] | None:
    if context.seen_classes is None:
        return None
    return tuple(name for name in evaluated.class_names if name not in context.seen_classes)


def _measure_space(evaluated: EvaluatedItems, tasks: Sequence[Task], neighbors: Sequence[Neighbors]) -> EmbeddingSpace:
    """Measure calibration, media gap, hubs and confusions."""
    hubness = {}
    for code, gallery_medium in enumerate(MEDIA):
        gallery = np.flatnonzero(evaluated.medium == code)
        for query_code, query_medium in enumerate(MEDIA):
            each = neighbors[code]
            chosen = evaluated.medium[each.query] == query_code
            if len(gallery) and chosen.any():
                own = Neighbors(each.query[chosen], each.gallery[chosen], each.score[chosen], each.share[chosen])
                hubness[name_direction(query_medium, gallery_medium)] = measure_hubness(own, gallery=gallery)
    return EmbeddingSpace(
        calibration={
            task.name: measure_reliability(
                np.clip(task.best_score[task.is_counted], 0.0, 1.0), task.hits[0][task.is_counted]
            )
            for task in tasks
        },
        media_gap=measure_media_gap(evaluated),
        hubness=hubness,
        confusions=find_confusions(evaluated, neighbors),
    )
