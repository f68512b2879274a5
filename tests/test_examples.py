"""The examples run, at small size: scripts as programs, the notebook cell by cell."""

import csv
import json
import runpy
import sys
from pathlib import Path

import pytest

from fieldmark import read_manifest

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
TESTED = {"make_collection.py", "search_with_python.py", "measure_a_model.ipynb", "own_things.py"}
"""The last in tests/workflows/test_own_things.py."""


@pytest.fixture
def run_script(monkeypatch, capsys):
    def run(name, *arguments):
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out

    return run


def test_every_example_is_tested():
    assert {path.name for path in EXAMPLES.iterdir() if path.is_file()} == TESTED


def test_collection_has_a_table_of_all_files(run_script, tmp_path):
    said = run_script("make_collection.py", tmp_path / "cabinet", "--classes", 2, "--items", 4)
    assert "2 species" in said
    with (tmp_path / "cabinet" / "records.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len({row["catalog_number"] for row in rows}) == 2 * 4 * 4
    files = [tmp_path / "cabinet" / row["path"] for row in rows if row["path"]]
    assert files
    assert all(file.is_file() for file in files)
    assert all(row["path"] or row["text"] for row in rows)


@pytest.mark.slow
def test_search_with_python_asks_with_each_medium(run_script, tmp_path):
    said = run_script("search_with_python.py", tmp_path, "--classes", 2, "--items", 5, "--epochs", 1)
    assert [line.split()[0] for line in said.splitlines() if " of " in line] == ["image", "text", "video", "audio"]
    assert len(said.splitlines()) == 4 * 5


@pytest.mark.slow
def test_notebook_runs_from_top_to_bottom(capsys):
    cells = json.loads((EXAMPLES / "measure_a_model.ipynb").read_text(encoding="utf-8"))["cells"]
    assert all(not cell.get("outputs") for cell in cells)
    names = {"__name__": "notebook"}
    for cell in cells:
        if cell["cell_type"] == "code":
            source = "".join(cell["source"]).replace("= 6, 12, 8 ", "= 2, 5, 1 ")
            exec(compile(source, "measure_a_model.ipynb", "exec"), names)  # noqa: S102 - our own notebook
    said = capsys.readouterr().out
    assert said.count("chance") == 16
    assert sum(names["pairs"].values()) == len(names["songs"])
    assert len(read_manifest(names["manifest"])) == 2 * 5 * 4
