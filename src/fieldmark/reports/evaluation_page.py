"""The page of an evaluation: one HTML file that opens without a network."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int

from fieldmark.errors import list_first
from fieldmark.evaluation.measurement import Measurement
from fieldmark.evaluation.published import (
    Method,
    Published,
    format_published,
    list_setting_differences,
    select_shown_methods,
)
from fieldmark.evaluation.ranking import Neighbors
from fieldmark.evaluation.result import (
    CUTOFFS,
    SEEN_GALLERY,
    SYMBOLS,
    Evaluation,
    Slice,
    average_by_class,
    describe_leaks,
    explain_columns,
    format_symbol,
)
from fieldmark.evaluation.task import Task
from fieldmark.gallery.map import TSNE, choose_rows, project
from fieldmark.media.preview import make_card
from fieldmark.reports.charts import draw_calibration, draw_curves, draw_directions
from fieldmark.reports.render import render_template
from fieldmark.subject import Words, decide_by_names, get_words
from fieldmark.types import MEDIA, Medium, Reporter

# ---------------------------------------------------------------- the items that the page shows

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
class ShownHit:
    """One of the first hits of a query."""

    row: int
    score: float
    is_relevant: bool


@dataclass(frozen=True, slots=True)
class ShownQuery:
    """A query with its first hits in the gallery of all media."""

    row: int
    average_precision: float
    hits: tuple[ShownHit, ...]


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
        ShownHit(int(each), float(value), bool(label[each] == label[row]))
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


# ---------------------------------------------------------------- the page

_MAX_MAPPED = 1_500  # items on the map; of larger sets a sample, so that the page stays small
_TILE_PIXELS, _MARK_PIXELS = 240, 88  # sides of the pictures in the examples and on the map
_MAP_MARKS = {Medium.IMAGE: "●", Medium.TEXT: "■", Medium.VIDEO: "▲", Medium.AUDIO: "◆"}


def render_evaluation_page(
    measured: Measurement,
    *,
    title: str,
    published: Published,
    facts: Sequence[tuple[str, str]],
    reporter: Reporter,
) -> str:
    """Return the whole page as HTML.

    Args:
        facts: The provenance of the numbers, as names and values.
    """
    evaluation, table = measured.evaluation, measured.evaluated
    look_alikes = find_look_alikes(measured)
    queries = list(_choose_queries(measured))
    rows = choose_rows(table.medium, limit=_MAX_MAPPED, generator=np.random.default_rng(evaluation.seed))
    coordinates, map_method = project(table.rows.embedding[rows], seed=evaluation.seed)
    shown = _shown_rows(look_alikes, [query for _, chosen in queries for query, _ in chosen])
    data = {
        "classes": list(table.class_names),
        "items": _describe_items(measured, shown=shown, mapped=rows.tolist(), reporter=reporter),
        "map": [
            {"row": row, "x": round(x, 4), "y": round(y, 4)}
            for row, (x, y) in zip(rows.tolist(), coordinates.tolist(), strict=True)
        ],
    }
    return render_template(
        "evaluation_page.html",
        title=title,
        evaluation=evaluation,
        published=published,
        facts=facts,
        data=data,
        items=table.items,
        look_alikes=look_alikes,
        shown_queries=queries,
        item_count=len(table.items),
        mapped_count=len(rows),
        map_method=map_method,
        is_tsne=map_method == TSNE,
        map_media=[(medium, _MAP_MARKS[medium]) for code, medium in enumerate(MEDIA) if (table.medium == code).any()],
        class_names=table.class_names,
        **_fill_tasks(evaluation, published),
        **_fill_charts(evaluation),
        **_fill_species(evaluation),
        words=_choose_words(table.class_names, evaluation),
        media=MEDIA,
        cutoffs=CUTOFFS,
        first=list_first,
        symbol=format_symbol,
        symbols=SYMBOLS,
        left_out=list(_list_left_out(evaluation)),
    )


def _choose_queries(measured: Measurement) -> Iterator[tuple[Medium, list[tuple[ShownQuery, str]]]]:
    """Yield the best and worst queries of each medium, each with its standing."""
    for medium in MEDIA:
        best = [(query, "best") for query in choose_queries(measured, medium, best=True)]
        worst = [(query, "among the worst") for query in choose_queries(measured, medium, best=False)]
        if best:
            yield medium, [*best, *worst]


def _shown_rows(look_alikes: Iterable[LookAlikes], queries: Iterable[ShownQuery]) -> list[int]:
    """Return the rows of the items among the examples."""
    rows = [row for alike in look_alikes for _, one, other in alike.rows for row in (one, other) if row is not None]
    for query in queries:
        rows += [query.row, *(hit.row for hit in query.hits)]
    return list(dict.fromkeys(rows))


def _describe_items(
    measured: Measurement, *, shown: Sequence[int], mapped: Sequence[int], reporter: Reporter
) -> dict[int, dict[str, str]]:
    """Return what the script of the page shows of each item: large and playable as example, small on the map."""
    described: dict[int, dict[str, str]] = {}
    large = set(shown)
    every = list(dict.fromkeys([*shown, *mapped]))
    for done, row in enumerate(every, start=1):
        item = measured.evaluated.items[row]
        is_large = row in large
        card = make_card(item, side_pixels=_TILE_PIXELS if is_large else _MARK_PIXELS, with_player=is_large)
        facts = {
            "item_id": item.item_id,
            "medium": item.medium.value,
            "class_name": item.class_name,
            "origin": item.origin,
            "picture": card.picture,
            "sound": card.sound,
            "clip": card.clip,
            "text": card.text,
            "problem": card.problem,
        }
        described[row] = {name: value for name, value in facts.items() if value}
        reporter.step("report", done=done, total=len(every))
    return described


def _list_left_out(evaluation: Evaluation) -> Iterator[str]:
    if evaluation.without_class_count:
        yield f"{evaluation.without_class_count:,} items without a class"
    if evaluation.leaking_count:
        yield describe_leaks(evaluation.leaks).removeprefix("Left out: ")


def _fill_tasks(evaluation: Evaluation, published: Published) -> dict[str, object]:
    """Return the 16 tasks beside chance and the published methods, with every caveat."""
    methods = select_shown_methods(published)
    measured = {direction.name: direction for direction in evaluation.directions}
    names = [*measured, *(name for name in methods[0].map if name not in measured)]
    titles = {"bi_modality": "average, two media", "multi_modality": "average, to all"}
    remarks = [*list_setting_differences(evaluation, published), *(caveat.text for caveat in published.caveats)]
    if evaluation.absent:
        absent = ", ".join(format_symbol(name) for name in evaluation.absent)
        remarks.append(f"Not measured, because a medium or a shared class is missing: {absent}.")
    return {
        "task_counts": evaluation.task_counts,
        "method_heads": [_format_head(method) for method in methods],
        "tasks": [
            {
                "name": format_symbol(name),
                "own": measured.get(name),
                "published": [format_published(method, name).strip() for method in methods],
            }
            for name in names
        ],
        "averages": [
            {"name": titles[name], "own": value, "published": [f"{method.average[name]:.3f}" for method in methods]}
            for name, value in evaluation.averages.items()
        ],
        "remarks": remarks,
        "columns": explain_columns(evaluation.protocol),
        "hit_heads": [f"hit@{k}" for k in CUTOFFS],
    }


def _format_head(method: Method) -> str:
    return f"{method.name} ({method.year})" if method.year else method.name


def _fill_charts(evaluation: Evaluation) -> dict[str, object]:
    """Return the charts, and the figures of the embedding space where they were measured."""
    by_medium = {
        medium: [direction for direction in evaluation.directions if direction.query_medium is medium]
        for medium in MEDIA
    }
    space = evaluation.space
    to_all = [direction for direction in evaluation.directions if direction.gallery_medium is None]
    return {
        "direction_chart": draw_directions(evaluation.directions),
        "curve_charts": [(medium, draw_curves(own)) for medium, own in by_medium.items() if own],
        "space": space,
        "to_all": to_all,
        "calibration_chart": draw_calibration([(d.name, d.query_medium, space.calibration[d.name]) for d in to_all])
        if space
        else None,
        "gap_heads": ["media", "distance of centers", "score, same class", "score, other class"],
    }


def _fill_species(evaluation: Evaluation) -> dict[str, object]:
    """Return MAP by class, at wider ranks, by origin of the query, and for classes not seen in training."""
    return {
        "class_means": average_by_class(evaluation),
        "unseen_classes": evaluation.unseen_classes or (),
        "class_slice": Slice.CLASS,
        "task_symbols": [format_symbol(direction.name) for direction in evaluation.directions],
        "ranks": list(evaluation.directions[0].by_rank),
        "slices": list(_list_slices(evaluation)),
        "slice_heads": [*(f"→ {medium}" for medium in MEDIA), "→ all"],
    }


def _choose_words(class_names: Sequence[str], evaluation: Evaluation) -> Words:
    """Return the words for the classes: species where their names or a taxonomy say so."""
    is_ranked = bool(evaluation.directions[0].by_rank)
    return get_words(decide_by_names(class_names, is_ranked=is_ranked))


def _list_slices(evaluation: Evaluation) -> Iterator[dict[str, object]]:
    titles = {
        Slice.ORIGIN: ("By origin of the query", ""),
        Slice.TRAINING: ("Classes seen in training, and others", f" {SEEN_GALLERY}"),
    }
    for by, (title, remark) in titles.items():
        rows = []
        for medium in MEDIA:
            own = {d.gallery_medium: d.by_slice[by] for d in evaluation.directions if d.query_medium is medium}
            names = sorted({name for means in own.values() for name in means})
            for name in names if len(names) > 1 else ():
                means = [own.get(gallery, {}).get(name) for gallery in (*MEDIA, None)]
                rows.append((f"{medium}: {name.replace('_', ' ')}", means))
        if rows:
            yield {"title": title, "remark": remark, "rows": rows}
