"""Evaluation of an embeddings folder under both protocols."""

import json
import math
import re
import shutil

import pytest

from fieldmark import Split, embed, evaluate
from fieldmark.data.shards import EmbeddingsWriter, read_content_hashes, read_embeddings
from fieldmark.errors import EmbeddingsError, EvaluationError, ManifestError, NonFiniteEmbeddingError
from fieldmark.io import encode_report


@pytest.mark.parametrize("protocol", ["strict", "paper"])
def test_evaluate_measures_all_sixteen_tasks(protocol, toy_embeddings):
    result = json.loads(json.dumps(encode_report(evaluate(toy_embeddings, protocol=protocol))))
    assert result["protocol"] == protocol
    assert result["split"] == "test"
    assert len(result["map"]) == len(result["chance"]) == len(result["interval_95"]) == 16
    assert all(0 <= value <= 1 and math.isfinite(value) for value in result["map"].values())


def test_evaluate_takes_the_test_items_of_a_folder_of_all(toy_manifest, toy_run, toy_embeddings, toy_runtime, tmp_path):
    embed(toy_manifest, checkpoint=toy_run, out=tmp_path / "all", split="all", runtime=toy_runtime)
    ours, of_test = evaluate(tmp_path / "all"), evaluate(toy_embeddings)
    assert encode_report(ours)["map"] == pytest.approx(encode_report(of_test)["map"], abs=1e-6)
    train = encode_report(evaluate(tmp_path / "all", split=Split.TRAIN))
    assert train["split"] == "train"
    assert train["counts"] != encode_report(of_test)["counts"]


def test_evaluate_a_folder_without_test_items(toy_manifest, toy_run, toy_runtime, tmp_path):
    embed(toy_manifest, checkpoint=toy_run, out=tmp_path / "train", split="train", runtime=toy_runtime)
    assert encode_report(evaluate(tmp_path / "train"))["split"] == "train"
    with pytest.raises(EvaluationError, match="no item of split test is left"):
        evaluate(tmp_path / "train", split=Split.TEST)


def test_evaluate_without_a_complete_folder(tmp_path):
    with pytest.raises(EmbeddingsError, match="fieldmark embed"):
        evaluate(tmp_path / "nowhere")


def test_evaluate_refuses_embeddings_of_two_models(toy_embeddings, tmp_path):
    mixed = tmp_path / "mixed"
    shutil.copytree(toy_embeddings, mixed)
    embeddings, info = read_embeddings(toy_embeddings)
    other = EmbeddingsWriter(tmp_path / "other", fingerprint="another model")
    other.add(embeddings, content_hash_by_item_id=read_content_hashes(toy_embeddings))
    other.finish(class_names=info.class_names)
    [shard], [stranger] = mixed.glob("*.parquet"), (tmp_path / "other").glob("*.parquet")
    shutil.copy(stranger, shard)
    with pytest.raises(EmbeddingsError, match=re.escape(str(shard.name))):
        evaluate(mixed)


def test_evaluate_names_items_whose_embedding_is_zero(toy_embeddings, tmp_path):
    embeddings, info = read_embeddings(toy_embeddings)
    embeddings.embedding[3] = 0.0
    writer = EmbeddingsWriter(tmp_path / "zero", fingerprint=info.fingerprint)
    writer.add(embeddings, content_hash_by_item_id=read_content_hashes(toy_embeddings))
    writer.finish(class_names=info.class_names)
    with pytest.raises(NonFiniteEmbeddingError, match=embeddings.items[3].item_id):
        evaluate(tmp_path / "zero")


def test_evaluate_finds_the_classes_of_a_taxonomy_by_any_of_their_names(toy_embeddings, tmp_path):
    names = sorted({item.class_name for item in read_embeddings(toy_embeddings)[0].items})
    rows = "".join(f"bird {number},Genus,,{name.upper()}\n" for number, name in enumerate(names))
    (tmp_path / "taxonomy.csv").write_text("class_name,genus,family,synonyms\n" + rows)
    found = evaluate(toy_embeddings, taxonomy=tmp_path / "taxonomy.csv")
    assert found.without_rank == ()
    assert found.rank_counts == {"genus": 1, "family": 0}
    assert {tuple(d.by_rank) for d in found.directions} == {("genus",)}
    assert "no class here a family" in " ".join(found.to_text().split())


@pytest.mark.parametrize("content", ["class_name,genus\ndodo,Raphus\n", "class_name\ndodo\n"])
def test_evaluate_refuses_a_taxonomy_that_tells_nothing_of_the_classes(content, toy_embeddings, tmp_path):
    (tmp_path / "taxonomy.csv").write_text(content)
    with pytest.raises(ManifestError, match=r"no genus and family for any of the 3 classes of the embeddings"):
        evaluate(toy_embeddings, taxonomy=tmp_path / "taxonomy.csv")


def test_evaluate_takes_a_run_folder_that_holds_embeddings(toy_embeddings, tmp_path):
    shutil.copytree(toy_embeddings, tmp_path / "run/birds")
    assert evaluate(tmp_path / "run") == evaluate(toy_embeddings)
    shutil.copytree(toy_embeddings, tmp_path / "run/other")
    with pytest.raises(EmbeddingsError):
        evaluate(tmp_path / "run")
    shutil.copytree(toy_embeddings, tmp_path / "run/test")
    assert evaluate(tmp_path / "run") == evaluate(toy_embeddings)
