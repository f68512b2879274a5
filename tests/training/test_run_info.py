"""Run info: what a run's folder tells of it, and that a run goes on with its own items only."""

import json

import pytest

from fieldmark import Item, Medium, Split
from fieldmark.errors import TrainingError
from fieldmark.training.checkpoint import Provenance
from fieldmark.training.run_info import ImportedFile, RunInfo, check_same_data, describe_data, read_run_info
from fieldmark.training.task import TrainingResult
from fieldmark.types import Failure

PROVENANCE = Provenance(
    config_json='{"seed": 3}',
    class_names=("gull", "wren"),
    seed=3,
    code_version="1",
    encoder_fingerprints={Medium.TEXT: "abc"},
)


@pytest.fixture
def items():
    texts = [Item(name, Medium.TEXT, text=name, class_name="gull") for name in ("a", "b", "c")]
    return {Split.TRAIN: texts[:2], Split.VALIDATION: texts[2:]}


@pytest.fixture
def data(items, tmp_path):
    (tmp_path / "manifest.csv").write_text("x")
    return describe_data(tmp_path / "manifest.csv", items)


def test_describe_data_counts_and_ignores_the_order_of_items(data, items, tmp_path):
    assert data.counts == {"train": {"text": 2}, "validation": {"text": 1}}
    turned = {split: list(reversed(own)) for split, own in items.items()}
    assert describe_data(tmp_path / "manifest.csv", turned) == data
    moved = {Split.TRAIN: [*items[Split.TRAIN], *items[Split.VALIDATION]], Split.VALIDATION: []}
    assert describe_data(tmp_path / "manifest.csv", moved).items_sha256 != data.items_sha256


def test_run_info_is_read_as_it_was_written(data, tmp_path):
    result = TrainingResult(tmp_path / "best", best_epoch=2, best_score=0.5, epochs=3, steps=30, seconds=1.26)
    failures = (Failure("lost", "missing_file", "It is gone."),)
    RunInfo(PROVENANCE, data, failures=failures, result=result).write(tmp_path)
    found = read_run_info(tmp_path)
    assert found["config"] == {"seed": 3}
    assert found["class_count"] == 2
    assert found["encoders"] == {"text": "abc"}
    assert found["failures"] == [{"item_id": "lost", "kind": "missing_file", "message": "It is gone."}]
    assert found["result"] == {"best_epoch": 2, "validation_map": 0.5, "epochs": 3, "steps": 30, "seconds": 1.3}


def test_run_info_of_imported_weights_names_their_file(tmp_path):
    RunInfo(PROVENANCE, ImportedFile("net.pth", "f00", 12)).write(tmp_path)
    found = json.loads((tmp_path / "receipt.json").read_text())
    assert found["imported"] == {"file": "net.pth", "sha256": "f00", "bytes": 12}
    assert found["result"] is None


def test_check_same_data_refuses_other_items(data, items, tmp_path):
    check_same_data(tmp_path, data)  # a run that is not begun has nothing to differ from
    RunInfo(PROVENANCE, data).write(tmp_path)
    check_same_data(tmp_path, data)
    fewer = describe_data(tmp_path / "manifest.csv", {**items, Split.TRAIN: items[Split.TRAIN][:1]})
    with pytest.raises(TrainingError, match="items"):
        check_same_data(tmp_path, fewer)


def test_read_run_info_of_no_run_is_empty(tmp_path):
    assert read_run_info(tmp_path) == {}
