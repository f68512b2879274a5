"""Evaluation of an embeddings folder under both protocols."""

import json
import math

import pytest

from fieldmark import Split, embed, evaluate
from fieldmark.errors import CannotEvaluateError, EmbeddingsError


@pytest.mark.parametrize("protocol", ["strict", "paper"])
def test_evaluate_measures_all_sixteen_tasks(protocol, toy_embeddings):
    result = json.loads(json.dumps(evaluate(toy_embeddings, protocol=protocol).to_json()))
    assert result["protocol"] == protocol
    assert result["split"] == "test"
    assert len(result["map"]) == len(result["chance"]) == len(result["interval_95"]) == 16
    assert all(0 <= value <= 1 and math.isfinite(value) for value in result["map"].values())


def test_evaluate_takes_the_test_items_of_a_folder_of_all(toy_manifest, toy_run, toy_embeddings, toy_host, tmp_path):
    embed(toy_manifest, checkpoint=toy_run, out=tmp_path / "all", split="all", host=toy_host)
    ours, of_test = evaluate(tmp_path / "all"), evaluate(toy_embeddings)
    assert ours.to_json()["map"] == pytest.approx(of_test.to_json()["map"], abs=1e-6)
    train = evaluate(tmp_path / "all", split=Split.TRAIN).to_json()
    assert train["split"] == "train"
    assert train["counts"] != of_test.to_json()["counts"]


def test_evaluate_a_folder_without_test_items(toy_manifest, toy_run, toy_host, tmp_path):
    embed(toy_manifest, checkpoint=toy_run, out=tmp_path / "train", split="train", host=toy_host)
    assert evaluate(tmp_path / "train").to_json()["split"] == "train"
    with pytest.raises(CannotEvaluateError):
        evaluate(tmp_path / "train", split=Split.TEST)


def test_evaluate_without_a_complete_folder(tmp_path):
    with pytest.raises(EmbeddingsError, match="fieldmark embed"):
        evaluate(tmp_path / "nowhere")
