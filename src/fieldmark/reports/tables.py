"""Format an evaluation as CSV for machines and as LaTeX for papers."""

import csv
import io
from collections.abc import Iterator

from fieldmark.evaluation.published import Published, format_published
from fieldmark.evaluation.result import ALL, CUTOFFS, Direction, Evaluation, format_symbol
from fieldmark.types import MEDIA

CSV_COLUMNS = (
    *("protocol", "split", "slice", "name", "direction", "map", "interval_95_low", "interval_95_high"),
    *("interval_95_this_gallery_low", "interval_95_this_gallery_high"),
    *("map_class_average", "chance", *(f"hit_rate_at_{k}" for k in CUTOFFS)),
    *("query_count", "gallery_count", "without_relevant_count"),
)

_LATEX_SPECIAL = {character: f"\\{character}" for character in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}


def format_csv(evaluation: Evaluation) -> str:
    """Return one CSV row per direction, overall and by slice and rank; cells without a value are empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, CSV_COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    facts = {"protocol": evaluation.protocol.name, "split": "" if evaluation.split is None else evaluation.split.value}
    for direction in (*evaluation.directions, *evaluation.same_medium):
        for row in _csv_rows(direction):
            writer.writerow(facts | {"direction": direction.name} | row)
    return text.getvalue()


def format_latex(evaluation: Evaluation, published: Published | None = None) -> str:
    """Return two `booktabs` tables, tasks between two media and tasks to all; published methods come first."""
    across = [f"{one}_to_{other}" for one in MEDIA for other in MEDIA if one is not other]
    to_all = [f"{one}_to_{ALL}" for one in MEDIA]
    tables = [
        _latex_table(evaluation, published, across, average="bi_modality", label="bi"),
        _latex_table(evaluation, published, to_all, average="multi_modality", label="multi"),
    ]
    return "\n".join(["% Needs \\usepackage{booktabs}. I image, T text, V video, A audio.", *tables])


def _csv_rows(direction: Direction) -> Iterator[dict[str, object]]:
    low, high = direction.interval_95 or ("", "")
    own_low, own_high = direction.interval_95_this_gallery or ("", "")
    yield {
        "slice": "all",
        "map": direction.mean_average_precision,
        "interval_95_low": low,
        "interval_95_high": high,
        "interval_95_this_gallery_low": own_low,
        "interval_95_this_gallery_high": own_high,
        "map_class_average": direction.class_mean_average_precision,
        "chance": direction.chance,
        **{f"hit_rate_at_{k}": value for k, value in direction.hit_rate.items()},
        "query_count": direction.query_count,
        "gallery_count": direction.gallery_count,
        "without_relevant_count": direction.without_relevant_count,
    }
    for by, means in direction.by_slice.items():
        for name, mean in means.items():
            yield {
                "slice": by.value,
                "name": name,
                "map": mean.mean_average_precision,
                "chance": mean.chance,
                "query_count": mean.query_count,
                "gallery_count": direction.gallery_count,
            }
    for rank, rank_mean in direction.by_rank.items():
        yield {
            "slice": "rank",
            "name": rank,
            "map": rank_mean.mean_average_precision,
            "chance": rank_mean.chance,
            "query_count": direction.query_count,
            "gallery_count": direction.gallery_count,
        }


def _latex_table(
    evaluation: Evaluation, published: Published | None, names: list[str], *, average: str, label: str
) -> str:
    heads = [format_symbol(name).replace("→", r"$\to$") for name in names]
    rows = []
    for method in published.methods if published else ():
        if average in method.average:
            cells = [format_published(method, name).strip().replace("*", r"\rlap{*}") for name in names]
            rows.append([method.name, *cells, f"{method.average[average]:.3f}"])
    ours = {d.name: d for d in evaluation.directions}
    mean = evaluation.averages[average]
    chance = [f"{ours[name].chance:.3f}" if name in ours else "-" for name in names]
    maps = [f"{ours[name].mean_average_precision:.3f}" if name in ours else "-" for name in names]
    lines = [" & ".join(_escape(cell) if column == 0 else cell for column, cell in enumerate(row)) for row in rows]
    own = [
        " & ".join(["chance", *chance, ""]),
        " & ".join(["this run", *maps, "-" if mean is None else f"{mean:.3f}"]),
    ]
    body = [f"{line} \\\\" for line in lines] + ([r"\midrule"] if lines else []) + [f"{line} \\\\" for line in own]
    return "\n".join(
        [
            r"\begin{table}",
            rf"\caption{{{_caption(evaluation, published)}}}",
            rf"\label{{tab:fieldmark-{label}}}",
            r"\begin{tabular}{l" + "r" * (len(names) + 1) + "}",
            r"\toprule",
            " & ".join(["method", *heads, "average"]) + r" \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def _caption(evaluation: Evaluation, published: Published | None) -> str:
    """Protocol, counts and cautions: a table without them compares nothing."""
    counts = ", ".join(f"{count:,} {medium}" for medium, count in evaluation.item_count.items())
    split = "all items" if evaluation.split is None else f"{evaluation.split} split"
    text = f"MAP, protocol {evaluation.protocol.name}, {split}: {counts} items of {evaluation.class_count:,} classes."
    parts = [text, *evaluation.cautions]
    if evaluation.absent:
        tasks = evaluation.task_counts
        parts.append(f"Averages over {tasks['bi_modality']} of 12 and {tasks['multi_modality']} of 4 tasks.")
    if published is not None:
        theirs = ", ".join(f"{count:,} {medium}" for medium, count in published.counts.items())
        parts.append(
            f"Published rows: {published.benchmark}, protocol {published.protocol}, {theirs} items of "
            f"{published.class_count:,} classes, as printed; * columns that were probably exchanged in print."
        )
    return _escape(" ".join(parts))


def _escape(text: str) -> str:
    return "".join(_LATEX_SPECIAL.get(character, character) for character in text).replace("→", r"$\to$")
