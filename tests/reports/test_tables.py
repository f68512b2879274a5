"""CSV and LaTeX of an evaluation."""

import csv
import io
import re
from dataclasses import replace

import numpy as np
import pytest

from fieldmark.evaluation.measurement import EvaluationContext, measure
from fieldmark.evaluation.protocol import STRICT
from fieldmark.evaluation.published import read_published
from fieldmark.evaluation.result import Evaluation
from fieldmark.reports.tables import CSV_COLUMNS, format_csv, format_latex
from fieldmark.types import MEDIA, Embeddings, Item, Split


@pytest.fixture
def evaluation() -> Evaluation:
    generator = np.random.default_rng(0)
    items = tuple(
        Item(f"{medium}-{n}", medium, class_name=f"a_b & {n % 2}", split=Split.TEST, extra=(("origin", "pseudo_x"),))
        for medium in MEDIA
        for n in range(6)
    )
    rows = generator.normal(size=(24, 4)).astype(np.float32)
    embeddings = Embeddings(items, np.full(24, np.nan), np.full(24, np.nan), rows)
    ranks = {"genus": {"a_b & 0": "g", "a_b & 1": "g"}}
    return measure(embeddings, protocol=STRICT, context=EvaluationContext(ranks=ranks)).evaluation


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
