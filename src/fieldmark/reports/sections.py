"""The parts of the page that show numbers."""

from collections.abc import Iterable, Sequence
from html import escape

from fieldmark.errors import first
from fieldmark.evaluation.published import (
    Method,
    Published,
    format_published,
    list_setting_differences,
    select_shown_methods,
)
from fieldmark.evaluation.result import (
    CUTOFFS,
    SEEN_GALLERY,
    SYMBOLS,
    Direction,
    Evaluation,
    Slice,
    SliceMean,
    average_by_class,
    explain_columns,
    format_symbol,
)
from fieldmark.reports.charts import MEDIUM_COLORS, draw_calibration, draw_curves, draw_directions
from fieldmark.types import MEDIA

_CALIBRATION = (
    '<p class="faint">On the diagonal a score is the probability that the hit is right; below it scores promise too '
    "much. Error: the mean distance from the diagonal. Each point is a tenth of the queries.</p>"
)

_GAP = (
    '<p class="faint">Distance between the means of two media: 0 where they mix, at most 2. Score: mean cosine '
    "of pairs of one class, one item of each medium, and of all other pairs.</p>"
)


def shown_name(name: str) -> str:
    """A class name as people write it."""
    return escape(name.replace("_", " "))


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, average_rows: int = 0) -> str:
    """A table that scrolls within itself where the page is too narrow; cells are HTML, the last rows averages."""
    body = [list(row) for row in rows]
    lines = []
    for place, row in enumerate(body):
        kind = ' class="average"' if place >= len(body) - average_rows else ""
        cells = "".join(f"<td>{cell}</td>" for cell in row[1:])
        lines.append(f'<tr{kind}><th scope="row">{row[0]}</th>{cells}</tr>')
    head = "".join(f'<th scope="col">{each}</th>' for each in heads)
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="table">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def notes(lines: Iterable[str]) -> str:
    """A list of remarks; nothing where there are none."""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f'<ol class="notes">{items}</ol>' if items else ""


def overview(evaluation: Evaluation) -> str:
    """The main figures and the counts behind them."""
    counts = evaluation.task_counts
    galleries = {"bi_modality": "between two media", "multi_modality": "to all media"}
    boxes = []
    for name, value in evaluation.averages.items():
        title = f"MAP, {counts[name]} tasks {galleries[name]}"
        interval = evaluation.interval_95_average.get(name)
        span = f", 95 % {interval[0]:.3f} to {interval[1]:.3f}" if interval else ""
        boxes.append(_figure("-" if value is None else f"{value:.3f}", title + span))
    boxes += [_figure(f"{evaluation.item_count[medium]:,}", f"{medium} items") for medium in MEDIA]
    boxes.append(_figure(f"{evaluation.class_count:,}", "classes"))
    cautions = "".join(f'<p class="caution">{escape(line)}</p>' for line in evaluation.cautions)
    lines = [
        f"Classes without {medium}: {len(names):,} ({shown_name(first(names))})."
        for medium, names in evaluation.absent_classes.items()
    ]
    left_out = []
    if evaluation.without_class_count:
        left_out.append(f"{evaluation.without_class_count:,} items without a class")
    if evaluation.leaking_count:
        left_out.append(f"{evaluation.leaking_count:,} items whose group also stands in train")
    if left_out:
        lines.append(f"Left out: {', '.join(left_out)}.")
    text = "".join(f"<p>{line}</p>" for line in lines)
    return f'<section id="overview"><div class="figures">{"".join(boxes)}</div>{cautions}{text}</section>'


def tasks(evaluation: Evaluation, published: Published) -> str:
    """The 16 tasks beside chance and the published methods, with every caveat; then all that was measured of each."""
    methods = select_shown_methods(published)
    measured = {direction.name: direction for direction in evaluation.directions}
    rows = []
    for name in [*measured, *(name for name in methods[0].map if name not in measured)]:
        own = measured.get(name)
        ours = ["-", "-"] if own is None else [f"<b>{own.mean_average_precision:.3f}</b>", f"{own.chance:.3f}"]
        rows.append([format_symbol(name), *ours, *(format_published(method, name).strip() for method in methods)])
    titles = {"bi_modality": "average, two media", "multi_modality": "average, to all"}
    for name, value in evaluation.averages.items():
        theirs = [f"{method.average[name]:.3f}" for method in methods]
        rows.append([titles[name], "-" if value is None else f"{value:.3f}", "", *theirs])
    remarks = [*list_setting_differences(evaluation, published), *(caveat.text for caveat in published.caveats)]
    if evaluation.absent:
        absent = ", ".join(format_symbol(name) for name in evaluation.absent)
        remarks.append(f"Not measured, for want of a medium or of a shared class: {absent}.")
    heads = ["task", "this run", "chance", *(_method_head(method) for method in methods)]
    return (
        '<section id="tasks"><h2>The 16 tasks</h2>'
        "<p>MAP, beside chance and beside what others published on "
        f"{escape(published.benchmark)}. {SYMBOLS}</p>"
        '<p class="hint">Tables scroll sideways.</p>'
        f"{table(heads, rows, average_rows=2)}<p><b>Before setting one beside the other:</b></p>{notes(remarks)}"
        f"{_details(evaluation)}</section>"
    )


def _method_head(method: Method) -> str:
    year = f"<br><small>{method.year}</small>" if method.year else ""
    return escape(method.name) + year


def _details(evaluation: Evaluation) -> str:
    """Interval, class average, hit rates and counts of each task."""
    heads = ["task", "MAP", "95 % interval", "by class", *(f"hit@{k}" for k in CUTOFFS)]
    rows = [[format_symbol(direction.name), *_task_cells(direction)] for direction in evaluation.directions]
    return (
        f"<h3>Each task in full</h3><p>{escape(explain_columns(evaluation.protocol))} "
        "Hit@k: share of queries with a relevant item among the first k.</p>"
        f"{table([*heads, 'queries', 'gallery', 'no match'], rows)}"
    )


def curves(evaluation: Evaluation) -> str:
    """MAP with intervals, and precision-recall curves by query medium."""
    maps = draw_directions(evaluation.directions)
    charts = [_chart("MAP with 95 % interval; the gray tick is chance", maps, kind="chart is-tall")]
    for medium in MEDIA:
        own = [direction for direction in evaluation.directions if direction.query_medium is medium]
        if own:
            charts.append(_chart(f"Precision at each recall, {medium} asks", draw_curves(own)))
    return f'<section id="curves"><h2>Curves</h2><div class="charts">{"".join(charts)}</div></section>'


def species(evaluation: Evaluation) -> str:
    """MAP of each class as bars, then by direction in a table."""
    means = average_by_class(evaluation)
    unseen = dict.fromkeys(evaluation.unseen_classes or (), " <small>unseen</small>")
    bars = "".join(
        f'<li><span class="name">{shown_name(name)}{unseen.get(name, "")}</span>'
        f'<span class="bar"><i style="width:{value:.1%}"></i></span><b>{value:.3f}</b></li>'
        for name, value in means.items()
    )
    directions = evaluation.directions
    rows = [[shown_name(name), *(_class_cell(direction, name) for direction in directions)] for name in sorted(means)]
    by_rank = _by_rank(evaluation)
    return (
        '<section id="species"><h2>Species</h2><p>Mean MAP of each class over the tasks between two media, '
        f'best first.</p><ul class="species">{bars}</ul>'
        "<details><summary>Each class in each task</summary>"
        f"{table(['class', *(format_symbol(d.name) for d in directions)], rows)}</details>"
        f"{by_rank}{_by_slice(evaluation)}"
        "</section>"
    )


def space(evaluation: Evaluation) -> str:
    """Calibration, media gap and hubs."""
    found = evaluation.space
    if found is None:
        return ""
    to_all = [d for d in evaluation.directions if d.gallery_medium is None]
    chart = draw_calibration([(d.name, d.query_medium, found.calibration[d.name]) for d in to_all])
    legend = "".join(
        f'<li><b style="color:{MEDIUM_COLORS[d.query_medium]}">{format_symbol(d.name)}</b> '
        f"error {found.calibration[d.name].error:.3f}</li>"
        for d in to_all
    )
    gaps = [
        [f"{one} and {other}", f"{gap.centroid_distance:.3f}", f"{gap.same_class:.3f}", f"{gap.other_class:.3f}"]
        for (one, other), gap in found.media_gap.items()
    ]
    hubs = [
        [format_symbol(name), f"{hub.skewness:+.2f}", f"{hub.never_share:.0%}", f"{hub.top_share:.1%}"]
        for name, hub in found.hubness.items()
    ]
    return (
        '<section id="space"><h2>The embedding space in figures</h2><div class="charts">'
        + _chart(
            "How often the best hit is right, by its score", chart + f'<ul class="key">{legend}</ul>{_CALIBRATION}'
        )
        + '<figure class="chart"><figcaption>Gap between media</figcaption>'
        + table(["media", "distance<br>of centers", "score,<br>same class", "score,<br>other"], gaps)
        + _GAP
        + "</figure></div><h3>Hubs</h3><p>Items that appear among the first ten of very many queries crowd out others. "
        "Skewness of the number of appearances: 0 is even, above 2 there are hubs. Never found: share of the gallery "
        "that is among the first ten of no query. Taken by the top 1 %: share of all first tens that the most frequent "
        "hundredth of the gallery fills.</p>"
        + table(["task", "skewness", "never found", "taken by the top 1 %"], hubs)
        + "</section>"
    )


def receipt(facts: Sequence[tuple[str, str]]) -> str:
    """What the numbers were made from."""
    lines = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts)
    return (
        '<section id="receipt"><h2>Made from</h2>'
        f'<dl class="receipt">{lines}</dl><p class="faint">'
        "<code>fieldmark evaluate DIR --receipt FILE</code> writes all hashes and numbers; "
        "<code>fieldmark verify FILE</code> computes them again.</p></section>"
    )


def _figure(value: str, title: str) -> str:
    return f'<div class="figure"><b>{value}</b><span>{escape(title)}</span></div>'


def _chart(title: str, picture: str, *, kind: str = "chart") -> str:
    return f'<figure class="{kind}"><figcaption>{escape(title)}</figcaption>{picture}</figure>'


def _task_cells(direction: Direction) -> list[str]:
    low, high = direction.interval_95
    return [
        f"<b>{direction.mean_average_precision:.3f}</b>",
        f"{low:.3f} to {high:.3f}",
        f"{direction.class_mean_average_precision:.3f}",
        *(f"{direction.hit_rate[k]:.3f}" for k in CUTOFFS),
        f"{direction.query_count:,}",
        f"{direction.gallery_count:,}",
        f"{direction.without_relevant_count:,}",
    ]


def _class_cell(direction: Direction, name: str) -> str:
    mean = direction.by_slice[Slice.CLASS].get(name)
    return (
        "-" if mean is None else f'<span title="{mean.query_count:,} queries">{mean.mean_average_precision:.3f}</span>'
    )


def _by_rank(evaluation: Evaluation) -> str:
    """MAP at genus and family rank, where a taxonomy was given."""
    ranks = list(evaluation.directions[0].by_rank)
    if not ranks:
        return ""
    rows = [
        [
            format_symbol(d.name),
            f"{d.mean_average_precision:.3f}",
            *(f"{d.by_rank[r].mean_average_precision:.3f} <small>({d.by_rank[r].chance:.3f})</small>" for r in ranks),
        ]
        for d in evaluation.directions
    ]
    missing = ", ".join(evaluation.without_rank)
    remark = f"<p>Without an entry in the taxonomy, so alone in their ranks: {escape(missing)}.</p>" if missing else ""
    return (
        "<h3>At wider ranks</h3><p>A hit in the right genus is not worthless: here every item of the query's genus, or "
        f"family, is relevant; chance in brackets.</p>{remark}{table(['task', 'species', *ranks], rows)}"
    )


def _by_slice(evaluation: Evaluation) -> str:
    """MAP by the queries' origin, and apart for classes that training never saw."""
    parts = []
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
                cells = [_slice_cell(own.get(gallery, {}).get(name)) for gallery in (*MEDIA, None)]
                rows.append([f"{medium}: {escape(name.replace('_', ' '))}", *cells])
        if rows:
            heads = ["queries", *(f"→ {medium}" for medium in MEDIA), "→ all"]
            parts.append(f"<h3>{title}</h3><p>MAP, chance and number of queries.{remark}</p>{table(heads, rows)}")
    return "".join(parts)


def _slice_cell(mean: SliceMean | None) -> str:
    if mean is None:
        return ""
    return f"{mean.mean_average_precision:.3f} <small>({mean.chance:.3f}; {mean.query_count:,})</small>"
