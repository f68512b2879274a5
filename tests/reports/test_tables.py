"""CSV and LaTeX of an evaluation."""

import csv
import io
import re
from dataclasses import replace

import pytest

from fieldmark.evaluation.published import read_published
from fieldmark.evaluation.result import Evaluation
from fieldmark.reports.tables import CSV_COLUMNS, format_csv, format_latex
from fieldmark.types import MEDIA


@pytest.fixture
def evaluation(measurement) -> Evaluation:
    return measurement.evaluation


def test_format_csv_has_every_direction_whole_and_by_slice(evaluation):
    rows = list(csv.DictReader(io.StringIO(format_csv(evaluation))))
    assert tuple(rows[0]) == CSV_COLUMNS
    whole = {row["direction"]: row for row in rows if row["slice"] == "all"}
    assert len(whole) == 20
    for direction in (*evaluation.directions, *evaluation.same_medium):
        assert float(whole[direction.name]["map"]) == direction.mean_average_precision
        assert float(whole[direction.name]["hit_rate_at_5"]) == direction.hit_rate[5]
    assert {row["name"] for row in rows if row["slice"] == "class"} == {"a_b & 0", "a_b & 1"}
    assert {row["map"] for row in rows if row["slice"] == "rank"} == {"1.0"}
    assert {row["name"] for row in rows if row["slice"] == "origin"} == {"pseudo_x"}


def test_format_latex_is_two_tables_with_as_many_cells_as_columns(evaluation):
    text = format_latex(evaluation, read_published())
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 2
    for columns, table in re.findall(r"\\begin\{tabular\}\{(l r*|lr*)\}(.*?)\\end", text, re.DOTALL):
        rows = [line for line in table.splitlines() if line.endswith(r"\\")]
        assert {line.count("&") + 1 for line in rows} == {len(columns)}
        assert rows[-1].startswith("this run")
    assert r"pseudo\_x" in text
    assert "as printed" in text
    assert not re.search(r"(?<!\\)[%_](?!.*usepackage)", text.split("\n", 1)[1])


def test_format_latex_without_published_rows_and_with_an_absent_medium(evaluation):
    some = replace(evaluation, directions=evaluation.directions[:3], absent=("image_to_all",))
    text = format_latex(some)
    assert "Averages over 3 of 12 and 0 of 4 tasks." in text
    assert "FGCrossNet" not in text
    assert " & - & " in text


def test_format_csv_has_the_interval_and_the_query_count_of_each_class(evaluation):
    direction = evaluation.directions[0]
    rows = [row for row in csv.DictReader(io.StringIO(format_csv(evaluation))) if row["direction"] == direction.name]
    low, high = direction.interval_95
    assert (float(rows[0]["interval_95_low"]), float(rows[0]["interval_95_high"])) == (low, high)
    assert low < high
    counts = {row["name"]: row["query_count"] for row in rows if row["slice"] == "class"}
    assert counts == {"a_b & 0": "3", "a_b & 1": "3"}


def test_format_latex_has_the_chance_and_the_map_of_each_task(evaluation):
    chance, own = [line for line in format_latex(evaluation).splitlines() if line.startswith(("chance", "this run"))][
        2:
    ]
    to_all = {direction.name: direction for direction in evaluation.directions}
    tasks = [to_all[f"{medium}_to_all"] for medium in MEDIA]
    assert chance.split(" & ")[1:5] == [f"{task.chance:.3f}" for task in tasks]
    assert own.split(" & ")[1:5] == [f"{task.mean_average_precision:.3f}" for task in tasks]
    assert own.endswith(rf"{evaluation.averages['multi_modality']:.3f} \\")
