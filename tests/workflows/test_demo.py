"""The demo at small size, and that it deletes nothing it did not make."""

import json
from dataclasses import replace

import pytest
from PIL import Image

from fieldmark import Gallery, Medium, run_demo
from fieldmark.errors import ManifestError
from fieldmark.io import encode_report


@pytest.fixture(scope="module")
def demo(tmp_path_factory, toy_overrides, toy_runtime):
    folder = tmp_path_factory.mktemp("demo")
    return run_demo(
        folder, seed=3, class_count=4, items_per_medium=6, overrides=toy_overrides, runtime=toy_runtime
    )  # fmt: skip


def test_demo_does_the_whole_job(demo, toy_runtime):
    assert not demo.check.has_errors
    assert [query.item.medium for query in demo.queries] == list(Medium)
    assert len({query.item.class_name for query in demo.queries}) == 4
    for query in demo.queries:
        assert query.item.item_id not in {hit.item_id for hit in query.hits}
        assert {hit.medium for hit in query.hits} == set(Medium)
    result = json.loads(json.dumps(encode_report(demo)))
    assert len(result["evaluation"]["map"]) == 16
    assert Gallery.open(demo.folder / "gallery", runtime=toy_runtime).search("a red cap", k=1).hits
    with Image.open(demo.folder / "results.png") as picture:
        assert picture.height > 900


def test_demo_says_what_it_did_and_what_to_try(demo):
    text = demo.to_text()
    for name in ("aviary/manifest.csv", "run/", "embeddings/", "gallery/", "results.png", "fieldmark search"):
        assert name in text


@pytest.mark.slow
def test_demo_replaces_its_own_files_and_leaves_others(demo, toy_overrides, toy_runtime, make_reporter, tmp_path):
    (demo.folder / "notes.txt").write_text("mine")
    reporter = make_reporter()
    again = run_demo(
        demo.folder, class_count=4, items_per_medium=6, overrides=toy_overrides,
        runtime=replace(toy_runtime, reporter=reporter),
    )  # fmt: skip
    assert (demo.folder / "notes.txt").read_text() == "mine"
    assert again.training.result.epochs == 2
    assert [line.split()[0] for line in reporter.lines if line[:1].isdigit() and "/6" in line] == [
        f"{step}/6" for step in range(1, 7)
    ]


@pytest.mark.parametrize("what", ["folder", "file"])
def test_demo_refuses_what_it_did_not_make(what, tmp_path):
    taken = tmp_path / "taken"
    if what == "folder":
        (taken / "run").mkdir(parents=True)
    else:
        taken.touch()
    with pytest.raises(ManifestError, match="--out"):
        run_demo(taken)
    assert taken.exists()
