"""Embeddings -> the 12 + 4 tasks, in the protocol of the published tables or in ours."""

import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int

from fieldmark.errors import CannotEvaluateError
from fieldmark.evaluation.item_table import ItemTable, ItemVector, select_items
from fieldmark.evaluation.metrics import (
    CHUNK_BYTES,
    LabeledRows,
    Ties,
    average_precision,
    bootstrap_means,
    chance_average_precision,
    relevant_count,
)
from fieldmark.types import MEDIA, Embeddings, Medium, Split

RESAMPLE_COUNT = 1000
"""Bootstrap resamples behind an interval."""

ALL = "all"
"""The gallery of every medium together."""


@dataclass(frozen=True, slots=True)
class Protocol:
    """The rules of an evaluation.

    Args:
        exclude_self: Whether a query is taken out of a gallery it stands in.
        drop_straddling: Whether items are left out whose group also stands in train.
        skip_without_relevant: Whether a query without relevant items is left out of the mean, rather than counted as 0.
    """

    name: str
    vector: ItemVector
    ties: Ties
    exclude_self: bool
    drop_straddling: bool
    skip_without_relevant: bool


PAPER = Protocol(
    name="paper",
    vector=ItemVector.POSTERIOR,
    ties=Ties.GALLERY_ORDER,
    exclude_self=False,
    drop_straddling=False,
    skip_without_relevant=False,
)
"""What the tables of He et al., ACM MM 2019 use; for comparison with published numbers only."""

STRICT = Protocol(
    name="strict",
    vector=ItemVector.EMBEDDING,
    ties=Ties.EXPECTED,
    exclude_self=True,
    drop_straddling=True,
    skip_without_relevant=True,
)
"""Ours: nothing that the query itself, a leaking group or the order of the gallery could give away."""

PROTOCOLS: Mapping[str, Protocol] = {protocol.name: protocol for protocol in (PAPER, STRICT)}


@dataclass(frozen=True, slots=True)
class Direction:
    """One task: queries of a medium against a gallery of a medium, or of all.

    Args:
        gallery_medium: None for the gallery of all media.
        mean_average_precision: Mean over the counted queries.
        class_mean_average_precision: Mean over classes of the mean over the counted queries of the class.
        interval_95: Bootstrap interval of the mean, groups drawn anew.
        chance: What a random ranking gives on average.
        query_count: Queries counted in the mean.
        gallery_count: Items of the gallery, the query among them where it stands there.
        without_relevant_count: Queries without a relevant item; the protocol says whether they are counted.
    """

    query_medium: Medium
    gallery_medium: Medium | None
    mean_average_precision: float
    class_mean_average_precision: float
    interval_95: tuple[float, float]
    chance: float
    query_count: int
    gallery_count: int
    without_relevant_count: int

    @property
    def name(self) -> str:
        """The direction in words, such as `image_to_text`."""
        return _direction_name(self.query_medium, self.gallery_medium)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What an evaluation found, with everything needed to read it.

    Args:
        split: The split all items are of; None where they are of several, or of none.
        item_count: Items evaluated, of each medium; 0 for a medium that is absent.
        without_class_count: Items left out because they have no class.
        straddling_count: Items left out because their group also stands in train.
        directions: The tasks that could be measured, in the media's order.
        same_medium: The same within one medium; not one of the 16 tasks.
        absent: Names of the tasks without a query that counts: a medium, or a shared class, is missing.
        seed: Of the bootstrap.
    """

    protocol: Protocol
    split: Split | None
    item_count: Mapping[Medium, int]
    class_count: int
    without_class_count: int
    straddling_count: int
    directions: tuple[Direction, ...]
    same_medium: tuple[Direction, ...]
    absent: tuple[str, ...]
    seed: int

    @property
    def bi_modality(self) -> float | None:
        """Mean MAP of the directions between two media; None where there is none."""
        return _mean_map(d for d in self.directions if d.gallery_medium is not None)

    @property
    def multi_modality(self) -> float | None:
        """Mean MAP of the directions to all media; None where there is none."""
        return _mean_map(d for d in self.directions if d.gallery_medium is None)

    def to_json(self) -> dict[str, object]:
        """The plain values that `fieldmark evaluate --json` prints."""
        return {
            "protocol": self.protocol.name,
            "split": None if self.split is None else self.split.value,
            "counts": {medium.value: count for medium, count in self.item_count.items()},
            "class_count": self.class_count,
            "map": {d.name: d.mean_average_precision for d in self.directions},
            "map_average": {"bi_modality": self.bi_modality, "multi_modality": self.multi_modality},
            "chance": {d.name: d.chance for d in self.directions},
            "interval_95": {d.name: list(d.interval_95) for d in self.directions},
            "map_class_average": {d.name: d.class_mean_average_precision for d in self.directions},
            "map_same_medium": {d.name: d.mean_average_precision for d in self.same_medium},
            "query_counts": {d.name: d.query_count for d in self.directions},
            "gallery_counts": {d.name: d.gallery_count for d in self.directions},
            "queries_without_relevant": {d.name: d.without_relevant_count for d in self.directions},
            "absent": list(self.absent),
            "left_out": {"without_class": self.without_class_count, "straddling_group": self.straddling_count},
            "ties": self.protocol.ties.value,
            "bootstrap": {"resample_count": RESAMPLE_COUNT, "seed": self.seed},
        }

    def to_text(self) -> str:
        """The table that `fieldmark evaluate` prints."""
        return format_table(self)


def evaluate(
    embeddings: Embeddings,
    *,
    protocol: Protocol,
    split: Split | None = Split.TEST,
    straddling_groups: Iterable[str] = (),
    seed: int = 0,
    chunk_bytes: int = CHUNK_BYTES,
) -> Evaluation:
    """Measures every direction for which there are items, under the rules of a protocol.

    Args:
        split: The split to evaluate; None for all items.
        straddling_groups: Groups that also stand in train.
        seed: Of the bootstrap.
        chunk_bytes: Memory for the rankings held at once.

    Raises:
        CannotEvaluateError: No item is left to measure, no query has a relevant item, or the protocol needs
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
    table = select_items(
        embeddings,
        vector=protocol.vector,
        split=split,
        straddling_groups=frozenset(straddling_groups if protocol.drop_straddling else ()),
    )
    measured, absent = _measure(table, protocol=protocol, seed=seed, chunk_bytes=chunk_bytes)
    return Evaluation(
        protocol=protocol,
        split=table.split,
        item_count={medium: int((table.medium == code).sum()) for code, medium in enumerate(MEDIA)},
        class_count=len(table.class_names),
        without_class_count=table.without_class_count,
        straddling_count=table.straddling_count,
        directions=tuple(d for d in measured if d.gallery_medium is not d.query_medium),
        same_medium=tuple(d for d in measured if d.gallery_medium is d.query_medium),
        absent=tuple(absent),
        seed=seed,
    )


def format_table(evaluation: Evaluation) -> str:
    """The 16 MAPs beside chance, with the protocol and all counts, as text of at most 80 columns."""
    protocol, split = evaluation.protocol, evaluation.split
    counts = ", ".join(f"{medium} {count:,}" for medium, count in evaluation.item_count.items())
    lines = [
        f"Protocol {protocol.name}, {'all items' if split is None else f'split {split}'}, "
        f"{evaluation.class_count:,} classes",
        f"Items: {counts}",
    ]
    if evaluation.without_class_count:
        lines.append(f"Left out: {evaluation.without_class_count:,} without a class")
    if evaluation.straddling_count:
        lines.append(f"Left out: {evaluation.straddling_count:,} whose group also stands in train")
    header = f"{'task':<6} {'MAP':>6} {'95 % interval':>15} {'by class':>9} {'chance':>7} {'queries':>8}"
    lines += ["", f"{header} {'gallery':>8} {'no match':>9}"]
    for d in evaluation.directions:
        low, high = d.interval_95
        lines.append(
            f"{_symbol(d.name):<6} {d.mean_average_precision:6.3f} {f'{low:.3f} to {high:.3f}':>15} "
            f"{d.class_mean_average_precision:9.3f} {d.chance:7.3f} {d.query_count:8,} {d.gallery_count:8,} "
            f"{d.without_relevant_count:9,}"
        )
    across = sum(d.gallery_medium is not None for d in evaluation.directions)
    to_all = len(evaluation.directions) - across
    lines += [
        "",
        f"Average of {across:>2} bi-modality tasks:    {_shown(evaluation.bi_modality)}",
        f"Average of {to_all:>2} multi-modality tasks: {_shown(evaluation.multi_modality)}",
    ]
    if evaluation.absent:
        names = ", ".join(_symbol(name) for name in evaluation.absent)
        lines += textwrap.wrap(f"Not measured, for want of a medium or of a shared class: {names}", 80)
    fate = "left out of the mean" if protocol.skip_without_relevant else "counted as 0"
    lines.append(f"No match: queries without a relevant item in the gallery, {fate}.")
    return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class _Task:
    """The raw numbers of one direction, query by query, before anything is averaged."""

    query_medium: Medium
    gallery_medium: Medium | None
    query: LabeledRows
    gallery_count: int
    average_precision: Float64[np.ndarray, " query"]
    chance: Float64[np.ndarray, " query"]
    has_relevant: Bool[np.ndarray, " query"]
    is_counted: Bool[np.ndarray, " query"]


def _measure(table: ItemTable, *, protocol: Protocol, seed: int, chunk_bytes: int) -> tuple[list[Direction], list[str]]:
    """The directions that have a query to count, and the names of the tasks that have none."""
    tasks: list[_Task] = []
    absent: list[str] = []
    for query_medium in MEDIA:
        for gallery_medium in (*MEDIA, None):
            task = _rank(table, query_medium, gallery_medium, protocol=protocol, chunk_bytes=chunk_bytes)
            if task is not None and task.is_counted.any():
                tasks.append(task)
            elif query_medium is not gallery_medium:
                absent.append(_direction_name(query_medium, gallery_medium))
    if not tasks:
        raise CannotEvaluateError(
            reason="no item has another of its class in the gallery",
            remedy="Embed more items of each class, or mend 'class_name' in the manifest",
        )
    intervals = _intervals(tasks, table.group, seed=seed)
    return [_summarize(task, interval) for task, interval in zip(tasks, intervals, strict=True)], absent


def _rank(
    table: ItemTable, query_medium: Medium, gallery_medium: Medium | None, *, protocol: Protocol, chunk_bytes: int
) -> _Task | None:
    """One direction; None where its queries or its gallery are missing."""
    query = table.select(table.medium == MEDIA.index(query_medium))
    is_gallery = np.ones(len(table.medium), dtype=bool)
    if gallery_medium is not None:
        is_gallery = table.medium == MEDIA.index(gallery_medium)
    gallery = table.select(is_gallery)
    if not len(query.label) or not len(gallery.label):
        return None
    relevant = relevant_count(query, gallery, exclude_self=protocol.exclude_self)
    is_own_left_out = protocol.exclude_self and gallery_medium in {query_medium, None}
    return _Task(
        query_medium=query_medium,
        gallery_medium=gallery_medium,
        query=query,
        gallery_count=len(gallery.label),
        average_precision=average_precision(
            query, gallery, ties=protocol.ties, exclude_self=protocol.exclude_self, chunk_bytes=chunk_bytes
        ),
        chance=chance_average_precision(
            relevant, gallery_count=np.full(len(relevant), len(gallery.label) - is_own_left_out)
        ),
        has_relevant=relevant > 0,
        is_counted=relevant > 0 if protocol.skip_without_relevant else np.ones(len(relevant), dtype=bool),
    )


def _intervals(tasks: list[_Task], group: Int[np.ndarray, " row"], *, seed: int) -> Float[np.ndarray, "task two"]:
    """The 2.5 % and 97.5 % points of each task's mean when all groups are drawn anew, for all tasks together."""
    group_count = int(group.max()) + 1
    total = np.zeros((group_count, len(tasks)))
    count = np.zeros((group_count, len(tasks)))
    for column, task in enumerate(tasks):
        query_group = group[task.query.item_code]
        value = task.average_precision * task.is_counted
        total[:, column] = np.bincount(query_group, weights=value, minlength=group_count)
        count[:, column] = np.bincount(query_group, weights=task.is_counted, minlength=group_count)
    generator = np.random.default_rng(seed)
    means = bootstrap_means(total, count, resample_count=RESAMPLE_COUNT, generator=generator)
    points: Float[np.ndarray, "task two"] = np.nanpercentile(means, [2.5, 97.5], axis=0).T
    return points


def _summarize(task: _Task, interval: Float[np.ndarray, " two"]) -> Direction:
    value, label = task.average_precision[task.is_counted], task.query.label[task.is_counted]
    class_size = np.bincount(label)
    class_mean = np.bincount(label, weights=value) / np.maximum(class_size, 1)
    return Direction(
        query_medium=task.query_medium,
        gallery_medium=task.gallery_medium,
        mean_average_precision=float(value.mean()),
        class_mean_average_precision=float(class_mean[class_size > 0].mean()),
        interval_95=(float(interval[0]), float(interval[1])),
        chance=float(task.chance[task.is_counted].mean()),
        query_count=len(value),
        gallery_count=task.gallery_count,
        without_relevant_count=int((~task.has_relevant).sum()),
    )


def _direction_name(query_medium: Medium, gallery_medium: Medium | None) -> str:
    return f"{query_medium}_to_{gallery_medium or ALL}"


def _symbol(direction_name: str) -> str:
    """Such as I→T or I→All."""
    query, gallery = direction_name.split("_to_")
    return f"{query[0].upper()}→{'All' if gallery == ALL else gallery[0].upper()}"


def _mean_map(directions: Iterable[Direction]) -> float | None:
    values = [direction.mean_average_precision for direction in directions]
    return float(np.mean(values)) if values else None


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
