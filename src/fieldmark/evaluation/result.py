"""Results of an evaluation, as plain values and as a table to read."""

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from fieldmark.errors import list_first, write_count
from fieldmark.evaluation.embedding_space import EmbeddingSpace
from fieldmark.evaluation.evaluated_items import ItemVector
from fieldmark.evaluation.few_words import FewWordsMean
from fieldmark.evaluation.metrics import RECALL_LEVELS, Interval
from fieldmark.evaluation.protocol import Protocol
from fieldmark.leakage import Leak, count_leaks
from fieldmark.types import Medium, Split

RESAMPLE_COUNT = 1000
"""Bootstrap resamples behind an interval."""

CUTOFFS = (1, 5, 10)
"""Cut-offs of the hit rates."""

AVERAGES = ("bi_modality", "multi_modality")
"""The averages over tasks."""

ALL = "all"
"""The gallery of every medium together."""

_PSEUDO = "pseudo"
"""Prefix of the `origin` of items that imitate their medium, such as a pan over a photo among the videos."""


class Slice(StrEnum):
    """Properties that divide the queries of a direction."""

    CLASS = "class"
    ORIGIN = "origin"
    TRAINING = "training"


SEEN, UNSEEN = "seen", "unseen"
"""The slices by training: classes that the model was trained on, and others."""

SEEN_GALLERY = "Seen or unseen, a query searches the whole gallery, with the items of both."
"""The gallery of the slices by training."""

SYMBOLS = "I image, T text, V video, A audio; I→T: the query is an image, texts are ranked."


@dataclass(frozen=True, slots=True)
class SliceMean:
    """MAP over some of a direction's queries, each against the whole gallery, beside its chance level."""

    mean_average_precision: float
    chance: float
    query_count: int


@dataclass(frozen=True, slots=True)
class Direction:
    """One task: queries of a medium against a gallery of a medium, or of all.

    Args:
        gallery_medium: None for the gallery of all media.
        class_mean_average_precision: MAP averaged over classes instead of queries.
        interval_95: Of the MAP, were other items of these classes drawn, as queries and for the gallery; None where
            queries or gallery are of one group.
        interval_95_this_gallery: Were other queries drawn and the gallery kept; by bootstrap over groups.
        chance: MAP of random rankings of the same galleries.
        query_count: Queries in the mean.
        gallery_count: Items of the gallery, including the query if it is one of them.
        without_relevant_count: Queries without a relevant item; the protocol says whether they are counted.
        hit_rate: By cut-off.
        precision_at_recall: At each of `RECALL_LEVELS`, interpolated, the mean over queries.
        by_slice: MAP over the queries of each class, each origin, and of seen and unseen classes.
        by_rank: Where every item of the query's genus or family is relevant, by the name of the rank.
    """

    query_medium: Medium
    gallery_medium: Medium | None
    mean_average_precision: float
    class_mean_average_precision: float
    interval_95: Interval
    interval_95_this_gallery: Interval
    chance: float
    query_count: int
    gallery_count: int
    without_relevant_count: int
    hit_rate: Mapping[int, float]
    precision_at_recall: tuple[float, ...]
    by_slice: Mapping[Slice, Mapping[str, SliceMean]]
    by_rank: Mapping[str, SliceMean]

    @property
    def name(self) -> str:
        """The direction in words, such as `image_to_text`."""
        return name_direction(self.query_medium, self.gallery_medium)

    @property
    def is_within_medium(self) -> bool:
        """True if queries and gallery are of one medium; such a direction is not one of the 16 tasks."""
        return self.query_medium is self.gallery_medium


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The result of an evaluation, with everything needed to interpret it.

    Args:
        split: The split all items are of; None where they are of several, or of none.
        item_count: Items evaluated, of each medium; 0 for a medium that is absent.
        origin_count: The same by the column `origin` of the manifest, where it is given.
        without_class_count: Items left out because they have no class.
        leaks: Items left out because they belong together with items of train, each with the reason.
        unseen_classes: Classes that the model was not trained on; None where that is not known.
        absent_classes: For each medium that is present, the classes it has no item of.
        rank_counts: Number of genera and families of the classes; 0 where the taxonomy has them for no class, and
            nothing was measured.
        without_rank: Classes without a genus or family in the taxonomy; each counts as one of its own.
        directions: The tasks that could be measured, in the media's order.
        same_medium: The same within one medium; not one of the 16 tasks.
        absent: Names of the tasks without a query that counts: a medium, or a shared class, is missing.
        interval_95_average: Of the averages `bi_modality` and `multi_modality`, where there are any.
        lone_class_count: Classes with one group in a medium, where they are so many that the intervals of its tasks
            are over classes; see `count_lone_classes`.
        seed: Of the bootstrap.
        space: Figures of the embedding space; None unless asked for.
        few_words: Of questions of a few marks; none unless asked for.
    """

    protocol: Protocol
    split: Split | None
    item_count: Mapping[Medium, int]
    class_count: int
    without_class_count: int
    leaks: tuple[Leak, ...]
    directions: tuple[Direction, ...]
    same_medium: tuple[Direction, ...]
    absent: tuple[str, ...]
    seed: int
    origin_count: Mapping[Medium, Mapping[str, int]] = field(default_factory=dict)
    unseen_classes: tuple[str, ...] | None = None
    absent_classes: Mapping[Medium, tuple[str, ...]] = field(default_factory=dict)
    rank_counts: Mapping[str, int] = field(default_factory=dict)
    without_rank: tuple[str, ...] = ()
    interval_95_average: Mapping[str, Interval] = field(default_factory=dict)
    interval_95_average_this_gallery: Mapping[str, Interval] = field(default_factory=dict)
    lone_class_count: Mapping[Medium, int] = field(default_factory=dict)
    space: EmbeddingSpace | None = None
    few_words: tuple[FewWordsMean, ...] = ()

    @property
    def leaking_count(self) -> int:
        """Number of items left out because they leak from train."""
        return len(self.leaks)

    @property
    def bi_modality(self) -> float | None:
        """Mean MAP of the directions between two media; None where there is none."""
        return _average_map(d for d in self.directions if d.gallery_medium is not None)

    @property
    def multi_modality(self) -> float | None:
        """Mean MAP of the directions to all media; None where there is none."""
        return _average_map(d for d in self.directions if d.gallery_medium is None)

    @property
    def averages(self) -> Mapping[str, float | None]:
        """Both averages by name."""
        return {"bi_modality": self.bi_modality, "multi_modality": self.multi_modality}

    @property
    def task_counts(self) -> Mapping[str, int]:
        """Number of tasks in each average, at most 12 between two media and 4 to all."""
        to_all = sum(d.gallery_medium is None for d in self.directions)
        return {"bi_modality": len(self.directions) - to_all, "multi_modality": to_all}

    @property
    def cautions(self) -> tuple[str, ...]:
        """Remarks that belong wherever the numbers are shown."""
        return (*_warn_of_items(self), *_warn_of_lone_groups(self), *_warn_of_ranks(self), *_warn_of_protocol(self))

    def json_values(self) -> dict[str, object]:
        """Return the values of the JSON object, by key."""
        every = (*self.directions, *self.same_medium)
        return {
            "protocol": self.protocol.name,
            "split": self.split,
            "counts": self.item_count,
            "origin_counts": self.origin_count,
            "cautions": self.cautions,
            "class_count": self.class_count,
            "map": {d.name: d.mean_average_precision for d in self.directions},
            "map_average": self.averages,
            "chance": {d.name: d.chance for d in self.directions},
            "interval_95": {d.name: d.interval_95 for d in self.directions},
            "interval_95_average": self.interval_95_average,
            "interval_95_this_gallery": {d.name: d.interval_95_this_gallery for d in self.directions},
            "interval_95_average_this_gallery": self.interval_95_average_this_gallery,
            "map_class_average": {d.name: d.class_mean_average_precision for d in self.directions},
            "map_same_medium": {d.name: d.mean_average_precision for d in self.same_medium},
            "query_counts": {d.name: d.query_count for d in self.directions},
            "gallery_counts": {d.name: d.gallery_count for d in self.directions},
            "queries_without_relevant": {d.name: d.without_relevant_count for d in self.directions},
            "hit_rate": {d.name: d.hit_rate for d in every},
            "recall_levels": RECALL_LEVELS,
            "precision_at_recall": {d.name: d.precision_at_recall for d in every},
            **{f"map_by_{each}": _group_by_slice(every, each) for each in Slice},
            "map_by_rank": {
                d.name: {rank: {"map": m.mean_average_precision, "chance": m.chance} for rank, m in d.by_rank.items()}
                for d in every
                if d.by_rank
            },
            "rank_counts": self.rank_counts,
            "classes_without_rank": self.without_rank,
            "classes_of_one_group": self.lone_class_count,
            "absent_classes": self.absent_classes,
            "unseen_classes": self.unseen_classes,
            "absent": self.absent,
            "left_out": {"without_class": self.without_class_count, "straddling_group": self.leaking_count},
            "leaks": self.leaks,
            "leak_counts": count_leaks(self.leaks),
            "ties": self.protocol.ties,
            "bootstrap": {"resample_count": RESAMPLE_COUNT, "seed": self.seed},
            "space": self.space,
            **({"few_words": {each.name: each for each in self.few_words}} if self.few_words else {}),
        }

    def to_text(self) -> str:
        """Return the table that `fieldmark evaluate` prints."""
        return _format_table(self)


def _format_table(evaluation: Evaluation) -> str:
    """Return the 16 MAPs beside chance, with the protocol and all counts, as text of at most 80 columns."""
    lines = _format_heading(evaluation)
    header = f"{'task':<6} {'MAP':>6} {'95 % interval':>15} {'by class':>9} {'chance':>7} {'queries':>8}"
    lines += ["", f"{header} {'gallery':>8} {'no match':>9}"]
    for d in evaluation.directions:
        lines.append(
            f"{format_symbol(d.name):<6} {d.mean_average_precision:6.3f} {format_interval(d.interval_95):>15} "
            f"{d.class_mean_average_precision:9.3f} {d.chance:7.3f} {d.query_count:8,} {d.gallery_count:8,} "
            f"{d.without_relevant_count:9,}"
        )
    lines += ["", *_format_averages(evaluation), *_format_slices(evaluation), ""]
    lines += _format_few_words(evaluation.few_words)
    if evaluation.absent:
        names = ", ".join(format_symbol(name) for name in evaluation.absent)
        lines += textwrap.wrap(f"Not measured, because a medium or a shared class is missing: {names}", 80)
    for remark in (*evaluation.cautions, SYMBOLS, explain_columns(evaluation.protocol)):
        lines += textwrap.wrap(remark, 80)
    return "\n".join(lines)


def explain_columns(protocol: Protocol) -> str:
    """Return the meaning of the columns of the table of tasks under a protocol."""
    fate = "left out of the mean" if protocol.skip_without_relevant else "counted as 0"
    own = "without the query itself" if protocol.exclude_self else "with the query among them"
    return (
        "MAP: mean over queries of the average precision over the whole ranking. Interval: of the MAP, were other "
        "groups of these classes drawn, as queries and for the gallery; - where queries or gallery are of one group. "
        f"By class: mean over classes of their queries' MAP. Chance: MAP of random rankings. Gallery: items that "
        f"are there, ranked {own}. No match: queries without a relevant item "
        f"in the gallery, {fate}."
    )


def describe_leaks(leaks: Sequence[Leak]) -> str:
    """Return how many items were left out because they leak, by which links, and the first few of them."""
    kinds = ", ".join(f"{count:,} {kind.replace('_', ' ')}" for kind, count in count_leaks(leaks).items())
    first = list_first([f"{each.item_id}: {each.learned_id or 'an item'} in train" for each in leaks], limit=3)
    return f"Left out: {len(leaks):,} that leak from train ({kinds}): {first}"


def format_interval(interval: Interval) -> str:
    """Return an interval as tables print it."""
    return "-" if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}"


def name_direction(query_medium: Medium, gallery_medium: Medium | None) -> str:
    """Return the name of a direction, such as `image_to_text` or `image_to_all`."""
    return f"{query_medium}_to_{gallery_medium or ALL}"


def format_symbol(name: str) -> str:
    """Return the name of a direction as tables print it, such as I→T or I→All."""
    query, gallery = name.split("_to_")
    return f"{query[0].upper()}→{'All' if gallery == ALL else gallery[0].upper()}"


def average_by_class(evaluation: Evaluation) -> dict[str, float]:
    """Average the MAP of each class over the directions between two media that it has items for, the best first."""
    values: dict[str, list[float]] = {}
    for direction in evaluation.directions:
        if direction.gallery_medium is not None:
            for name, mean in direction.by_slice[Slice.CLASS].items():
                if mean.chance > 0:  # otherwise nothing in the gallery is of the class
                    values.setdefault(name, []).append(mean.mean_average_precision)
    means = {name: sum(each) / len(each) for name, each in values.items()}
    return dict(sorted(means.items(), key=lambda pair: (-pair[1], pair[0])))


def _warn_of_items(evaluation: Evaluation) -> Iterator[str]:
    """Yield cautions about items that only imitate their medium, and tasks that any model solves."""
    for medium, counts in evaluation.origin_count.items():
        for origin, count in counts.items():
            if origin.startswith(_PSEUDO):
                yield (
                    f"{count:,} of {evaluation.item_count[medium]:,} {medium} items are of origin '{origin}': they "
                    f"only imitate {medium}, and results on them say nothing about real {medium}."
                )
    certain = [format_symbol(d.name) for d in evaluation.directions if d.chance == 1.0]
    if certain:
        yield (
            "Every gallery item is relevant to every query that counts, so that MAP is 1 whatever the model, in "
            f"{', '.join(certain)}."
        )


def _warn_of_lone_groups(evaluation: Evaluation) -> Iterator[str]:
    """Yield cautions about intervals that are over classes."""
    for medium, count in evaluation.lone_class_count.items():
        yield (
            f"In {medium}, {count:,} of the classes have one group only, and nothing tells how others of theirs would "
            f"fare. Intervals of tasks with {medium} are of other classes drawn, which makes them too wide rather than "
            "too narrow."
        )


def _warn_of_ranks(evaluation: Evaluation) -> Iterator[str]:
    """Yield cautions about gaps of the taxonomy."""
    for rank, count in evaluation.rank_counts.items():
        if not count:
            yield f"The taxonomy gives no class here a {rank}: nothing was measured at {rank} rank."
        elif count == evaluation.class_count:
            yield f"No two of the classes share a {rank}: at {rank} rank the MAP is that of the classes."
    if evaluation.without_rank:
        yield (
            f"The taxonomy leaves a rank of {len(evaluation.without_rank):,} of {evaluation.class_count:,} classes "
            f"open, and each is alone there: {list_first(evaluation.without_rank)}."
        )


def _warn_of_protocol(evaluation: Evaluation) -> Iterator[str]:
    """Yield cautions where the paper's rules flatter or cannot be followed."""
    if evaluation.protocol.vector is ItemVector.POSTERIOR:
        yield "Protocol paper keeps the query in the gallery of all media: for comparison only."
        if evaluation.unseen_classes:
            yield (
                f"Protocol paper compares scores of the classes seen in training; of the "
                f"{len(evaluation.unseen_classes):,} others, it has no scores."
            )


def _format_heading(evaluation: Evaluation) -> list[str]:
    """Return the protocol and the counts."""
    split = "all items" if evaluation.split is None else f"split {evaluation.split}"
    counts = ", ".join(f"{medium} {count:,}" for medium, count in evaluation.item_count.items())
    lines = [f"Protocol {evaluation.protocol.name}, {split}, {evaluation.class_count:,} classes", f"Items: {counts}"]
    if evaluation.without_class_count:
        lines.append(f"Left out: {evaluation.without_class_count:,} without a class")
    if evaluation.leaking_count:
        lines += textwrap.wrap(describe_leaks(evaluation.leaks), 80)
    for medium, names in evaluation.absent_classes.items():
        lines += textwrap.wrap(f"Classes without {medium}: {len(names):,} ({list_first(names)})", 80)
    return lines


def _format_averages(evaluation: Evaluation) -> Iterator[str]:
    """Yield both averages, each with its interval."""
    for name, count in evaluation.task_counts.items():
        title = f"Average of {count:>2} {name.replace('_', '-')} tasks:"
        interval = evaluation.interval_95_average.get(name)
        span = "" if interval is None else f" ({format_interval(interval)})"
        yield f"{title:<35} {_format_map(evaluation.averages[name])}{span}"


def _format_slices(evaluation: Evaluation) -> list[str]:
    """Return the bi-modality average by origin, at genus and family rank, and of seen and unseen classes, if known."""
    across = [d for d in evaluation.directions if d.gallery_medium is not None]
    lines = []
    for medium, origins in evaluation.origin_count.items():
        for origin in origins if len(origins) > 1 else ():
            own = [d.by_slice[Slice.ORIGIN][origin] for d in across if _has_queries(d, medium, origin)]
            if own:
                count = max(mean.query_count for mean in own)
                lines.append(f"  {count:,} {medium} queries of origin {origin}: {_format_mean(own)}")
    for rank in across[0].by_rank if across else ():
        means_at = _format_mean(d.by_rank[rank] for d in across)
        lines.append(
            f"  at {rank} rank ({evaluation.rank_counts[rank]:,} in all), any of the {rank} relevant: {means_at}"
        )
    if evaluation.unseen_classes:
        seen_count = evaluation.class_count - len(evaluation.unseen_classes)
        for name, count in ((SEEN, seen_count), (UNSEEN, len(evaluation.unseen_classes))):
            means = [d.by_slice[Slice.TRAINING][name] for d in across if name in d.by_slice[Slice.TRAINING]]
            if means:
                classes = write_count(count, "class", "classes")
                lines.append(f"  queries of the {classes} {name} in training: {_format_mean(means)}")
        lines.append(f"  {SEEN_GALLERY}")
    return ["Of the tasks between two media, the average for", *lines] if lines else []


def _format_few_words(means: Sequence[FewWordsMean]) -> Iterator[str]:
    """Yield the table of questions of a few marks."""
    if means:
        yield f"{'marks asked for':<24} {'MAP':>6} {'first 10':>9} {'chance':>7} {'questions':>10}"
        for each in means:
            title = f"{each.mark_count} to {each.gallery_medium}, {each.training}"
            yield (
                f"{title:<24} {each.mean_average_precision:6.3f} {each.precision_at_10:9.3f} {each.chance:7.3f} "
                f"{each.question_count:10,}"
            )
        yield ""


def _has_queries(direction: Direction, medium: Medium, origin: str) -> bool:
    """Return whether queries of the medium and the origin count in the direction."""
    return direction.query_medium is medium and origin in direction.by_slice[Slice.ORIGIN]


def _format_mean(means: Iterable[SliceMean]) -> str:
    """Return the average over directions beside that of chance, as text."""
    listed = list(means)
    value, chance = (
        sum(each) / len(listed) for each in ([m.mean_average_precision for m in listed], [m.chance for m in listed])
    )
    return f"{value:.3f} (chance {chance:.3f})"


def _group_by_slice(directions: Iterable[Direction], by: Slice) -> dict[str, dict[str, dict[str, float]]]:
    """Return MAP, chance and query count by slice, then by direction."""
    values: dict[str, dict[str, dict[str, float]]] = {}
    for direction in directions:
        for name, mean in direction.by_slice[by].items():
            figures = {"map": mean.mean_average_precision, "chance": mean.chance, "query_count": mean.query_count}
            values.setdefault(name, {})[direction.name] = figures
    return values


def _average_map(directions: Iterable[Direction]) -> float | None:
    values = [direction.mean_average_precision for direction in directions]
    return sum(values) / len(values) if values else None


def _format_map(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
