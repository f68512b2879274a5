"""A measurement to one HTML page that needs nothing beside itself: no network, no files."""

import json
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

import numpy as np

from fieldmark.evaluation.measurement import Measurement
from fieldmark.evaluation.published import Published
from fieldmark.gallery.projection import TSNE, choose_rows, project
from fieldmark.media.pictures import make_card
from fieldmark.reports import sections
from fieldmark.reports.charts import MEDIUM_COLORS
from fieldmark.reports.selection import (
    LookAlikes,
    ShownQuery,
    choose_queries,
    find_look_alikes,
)
from fieldmark.types import MEDIA, Medium, Reporter

MAP_LIMIT = 1_500
"""Items on the map; of larger sets a sample, so that the page stays small."""

TILE_PIXELS, MARK_PIXELS = 240, 88
"""Sides of the pictures in the examples and on the map."""

_MAP_HELP = "Hover, tap or press the arrow keys to see an item."

NAVIGATION = {
    "overview": "Overview",
    "tasks": "16 tasks",
    "curves": "Curves",
    "species": "Species",
    "alikes": "Look-alikes",
    "map-section": "Map",
    "queries": "Best and worst",
    "space": "Space",
    "receipt": "Made from",
}


def render_page(
    measured: Measurement,
    *,
    title: str,
    published: Published,
    facts: Sequence[tuple[str, str]],
    reporter: Reporter,
) -> str:
    """The whole page.

    Args:
        facts: What the numbers were made from, as name and value.
    """
    evaluation, seed = measured.evaluation, measured.evaluation.seed
    alikes = find_look_alikes(measured)
    queries = {
        medium: (choose_queries(measured, medium, best=True), choose_queries(measured, medium, best=False))
        for medium in MEDIA
    }
    rows = choose_rows(measured.table.medium, limit=MAP_LIMIT, generator=np.random.default_rng(seed))
    coordinates, method = project(measured.table.rows.embedding[rows], seed=seed)
    shown = _shown_rows(alikes, [query for pair in queries.values() for half in pair for query in half])
    items = _describe_items(measured, shown=shown, marked=rows.tolist(), reporter=reporter)
    data = {
        "classes": list(measured.table.class_names),
        "colors": {medium.value: MEDIUM_COLORS[medium] for medium in MEDIA},
        "items": items,
        "map": [
            {"row": row, "x": round(x, 4), "y": round(y, 4)}
            for row, (x, y) in zip(rows.tolist(), coordinates.tolist(), strict=True)
        ],
    }
    body = "".join(
        [
            _header(measured, title),
            "<main>",
            sections.overview(evaluation),
            sections.tasks(evaluation, published),
            sections.curves(evaluation),
            sections.species(evaluation),
            _look_alikes(measured, alikes),
            _map(measured, method=method, count=len(rows)),
            _queries(measured, queries),
            sections.space(evaluation),
            sections.receipt(facts),
            "</main>",
        ]
    )
    template = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
    values = {"title": escape(title), "body": body, "data": json.dumps(data, ensure_ascii=False).replace("</", "<\\/")}
    before, _, rest = template.partition("{{title}}")
    middle, _, rest = rest.partition("{{body}}")
    between, _, after = rest.partition("{{data}}")
    return "".join([before, values["title"], middle, values["body"], between, values["data"], after])


def _shown_rows(alikes: Iterable[LookAlikes], queries: Iterable[ShownQuery]) -> list[int]:
    """Rows of the items that stand among the examples."""
    rows = [row for alike in alikes for _, one, other in alike.rows for row in (one, other) if row is not None]
    for query in queries:
        rows += [query.row, *(hit.row for hit in query.hits)]
    return list(dict.fromkeys(rows))


def _describe_items(
    measured: Measurement, *, shown: Sequence[int], marked: Sequence[int], reporter: Reporter
) -> dict[int, dict[str, str]]:
    """What the page knows of each item: large and playable for examples, small for marks on the map."""
    described: dict[int, dict[str, str]] = {}
    large = set(shown)
    every = list(dict.fromkeys([*shown, *marked]))
    for done, row in enumerate(every, start=1):
        item = measured.table.items[row]
        is_large = row in large
        card = make_card(item, side_pixels=TILE_PIXELS if is_large else MARK_PIXELS, with_player=is_large)
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


def _header(measured: Measurement, title: str) -> str:
    evaluation = measured.evaluation
    split = "all items" if evaluation.split is None else f"split {evaluation.split}"
    links = "".join(f'<li><a href="#{anchor}">{name}</a></li>' for anchor, name in NAVIGATION.items())
    return (
        f"<header><div><h1>{escape(title)}</h1><p>fieldmark evaluation, protocol {evaluation.protocol.name}, {split}, "
        f'seed {evaluation.seed}</p></div></header><nav aria-label="sections"><ul>{links}</ul></nav>'
    )


def _look_alikes(measured: Measurement, alikes: Sequence[LookAlikes]) -> str:
    if not alikes:
        return '<section id="alikes"><h2>Look-alikes</h2><p>No class was taken for another.</p></section>'
    parts = []
    for alike in alikes:
        names = f"{sections.shown_name(alike.first)} and {sections.shown_name(alike.second)}"
        pairs = "".join(
            f'<div class="pair"><span>{medium}</span><div>{_half(measured, one, alike.first)}'
            f"{_half(measured, other, alike.second)}</div></div>"
            for medium, one, other in alike.rows
        )
        parts.append(
            f'<article class="alike"><h3>{names}</h3>'
            f'<p class="faint">{alike.share:.1%} of the first ten of either, in other media, are of the other.</p>'
            f'<div class="pairs">{pairs}</div></article>'
        )
    return (
        '<section id="alikes"><h2>Look-alikes</h2><p>The classes most taken for one another across media. Of each '
        f"medium the item that is most like the other class.</p>{''.join(parts)}</section>"
    )


def _half(measured: Measurement, row: int | None, class_name: str) -> str:
    if row is None:
        return f'<div class="problem">no {sections.shown_name(class_name)} in this medium</div>'
    return _tile(measured, row, kind="", note="")


def _tile(measured: Measurement, row: int, *, kind: str, note: str) -> str:
    """A place for an item, which the page's script fills."""
    item = measured.table.items[row]
    origin = (item.origin or "").replace("_", " ")
    lines = "".join(f"<small>{escape(line)}</small>" for line in (note, origin) if line)
    marks = {"is-right": "✓ ", "is-wrong": "✗ "}
    mark = f'<span class="mark">{marks[kind]}</span>' if kind in marks else ""
    name = sections.shown_name(item.class_name or "")
    return f'<figure class="tile {kind}" data-row="{row}"><figcaption>{mark}{name}{lines}</figcaption></figure>'


def _map(measured: Measurement, *, method: str, count: int) -> str:
    present = [medium for code, medium in enumerate(MEDIA) if (measured.table.medium == code).any()]
    shapes = {Medium.IMAGE: "●", Medium.TEXT: "■", Medium.VIDEO: "▲", Medium.AUDIO: "◆"}
    media = "".join(
        f'<label><input type="checkbox" name="medium" value="{medium}" checked>'
        f'<span style="color:{MEDIUM_COLORS[medium]}">{shapes[medium]}</span>{medium}</label>'
        for medium in present
    )
    classes = "".join(
        f'<option value="{escape(name)}">{sections.shown_name(name)}</option>' for name in measured.table.class_names
    )
    total = len(measured.table.items)
    of_all = f"{count:,} of {total:,} items, drawn by chance" if count < total else f"All {total:,} items"
    how = f"laid out by {method}" + (
        ": what is near on the map is near in the space; distances across the map mean little."
        if method == TSNE
        else "; the extra “report” (openTSNE) gives a map of neighborhoods."
    )
    return (
        f'<section id="map-section"><h2>Map of the embedding space</h2><p>{of_all}, {how} {_MAP_HELP}</p>'
        '<div class="controls" id="controls"><fieldset><legend>color</legend>'
        '<label><input type="radio" name="color" value="class" checked>class</label>'
        '<label><input type="radio" name="color" value="medium">medium</label></fieldset>'
        f"<fieldset><legend>show</legend>{media}</fieldset>"
        f'<label>class <select id="chosen"><option value="">all</option>{classes}</select></label></div>'
        '<div class="map"><canvas id="map" tabindex="0" role="img" aria-label="map of the embedding space; arrow keys '
        'step through the items"></canvas><div class="inspector" id="inspector" aria-live="polite">'
        '<p class="faint">No item chosen yet.</p></div></div></section>'
    )


def _queries(
    measured: Measurement, queries: dict[Medium, tuple[tuple[ShownQuery, ...], tuple[ShownQuery, ...]]]
) -> str:
    parts = []
    for medium, (best, worst) in queries.items():
        if best:
            parts.append(f"<h3>{medium.value.capitalize()} asks</h3>")
            parts += [_query(measured, query, "best") for query in best]
            parts += [_query(measured, query, "among the worst") for query in worst]
    return (
        '<section id="queries"><h2>Best and worst queries</h2><p>Each query (dark frame) with its first five items of '
        "all media; ✓ the same class, ✗ another. Queries are chosen by average precision, of each class at most one."
        "</p>"
        f"{''.join(parts)}</section>"
    )


def _query(measured: Measurement, query: ShownQuery, rank: str) -> str:
    hits = "".join(
        _tile(
            measured,
            hit.row,
            kind="is-right" if hit.is_relevant else "is-wrong",
            note=f"{measured.table.items[hit.row].medium}, score {hit.score:.2f}",
        )
        for hit in query.hits
    )
    own = _tile(measured, query.row, kind="is-query", note="query")
    name = sections.shown_name(measured.table.items[query.row].class_name or "")
    return (
        f'<article class="query"><h4>{name} <small>average precision {query.average_precision:.3f}, {rank}</small></h4>'
        f'<div class="tiles">{own}{hits}</div></article>'
    )
