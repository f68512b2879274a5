"""Folders to hand on: bit-equal after a round trip, a card of facts, and a hub that is only a fake here."""

import dataclasses
import json
import shutil

import pytest
import torch

from fieldmark import Medium, Runtime, evaluate, from_pretrained, index, push_to_hub, save_pretrained, train
from fieldmark.build import load_model
from fieldmark.errors import CheckpointError, EvaluationError, TrainingError
from fieldmark.io import encode_report
from fieldmark.training.checkpoint import load_checkpoint, save_checkpoint
from fieldmark.training.layout import RunLayout

CPU = torch.device("cpu")


class FakeHub:
    """Keeps what was uploaded in a folder."""

    def __init__(self, folder, *, error=None):
        self._folder = folder
        self._error = error
        self.calls = []

    def create_repo(self, repo_id, *, private, exist_ok):
        self.calls.append(("create", repo_id, private, exist_ok))

    def upload_folder(self, *, repo_id, folder_path, allow_patterns, commit_message):
        if self._error:
            raise self._error
        self._folder.mkdir()
        for pattern in allow_patterns:
            for file in folder_path.glob(pattern):
                shutil.copy(file, self._folder)
        self.calls.append(("upload", repo_id, commit_message))

    def snapshot_download(self, repo_id, *, allow_patterns, local_files_only):
        self.calls.append(("download", repo_id, local_files_only))
        if local_files_only or self._error:
            raise self._error or FileNotFoundError("not in the cache")
        return str(self._folder)


@pytest.fixture
def folder(toy_run, tmp_path):
    save_pretrained(toy_run, tmp_path / "model")
    return tmp_path / "model"


def test_pretrained_folder_is_bit_equal_after_a_round_trip(folder, toy_run, toy_runtime, have_same_tensors):
    first, second = load_model(toy_run, device=CPU), from_pretrained(folder, runtime=toy_runtime)
    assert have_same_tensors(first.network.state_dict(), second.network.state_dict())
    assert (first.fingerprint, first.class_names, first.config) == (
        second.fingerprint,
        second.class_names,
        second.config,
    )
    again = save_pretrained(folder, folder.with_name("again")).folder
    assert (again / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()


def test_pretrained_folder_does_not_name_the_folder_of_a_start(toy_run, tmp_path):
    file, kept = tmp_path / "started.safetensors", load_checkpoint(toy_run)
    values = json.loads(kept.provenance.config_json)
    values["model"]["start"] = str(tmp_path / "trunk.pth")
    started = dataclasses.replace(kept.provenance, config_json=json.dumps(values))
    save_checkpoint(file, dataclasses.replace(kept, provenance=started))
    save_pretrained(file, tmp_path / "model")
    assert str(tmp_path).encode() in file.read_bytes()
    for written in (tmp_path / "model").iterdir():
        assert str(tmp_path).encode() not in written.read_bytes()
    model = load_model(tmp_path / "model", device=CPU)
    assert model.config.model.start == "trunk.pth"
    assert model.fingerprint == load_model(toy_run, device=CPU).fingerprint


def test_pretrained_folder_holds_no_state_of_training(folder):
    kept = load_checkpoint(folder)
    assert kept.resume is None
    assert not kept.losses
    assert {file.name for file in folder.iterdir()} == {"model.safetensors", "config.json", "README.md"}


def test_pretrained_folder_is_taken_as_a_checkpoint(folder, toy_manifest, toy_runtime, tmp_path):
    index(toy_manifest, checkpoint=folder, gallery=tmp_path / "gallery", runtime=toy_runtime)
    assert load_model(tmp_path / "gallery" / "checkpoint.safetensors", device=CPU).fingerprint


def test_pretrained_folder_is_not_put_into_a_run(toy_run, tmp_path):
    shutil.copytree(toy_run, tmp_path / "run")
    with pytest.raises(TrainingError, match="already holds a run"):
        save_pretrained(toy_run, tmp_path / "run")
    with pytest.raises(CheckpointError, match="no such file"):
        save_pretrained(tmp_path / "nowhere", tmp_path / "model")


# ---------------------------------------------------------------- the card


def test_card_says_what_the_run_says(folder, toy_run):
    card, receipt = (folder / "README.md").read_text(), json.loads((toy_run / "receipt.json").read_text())
    model = load_model(toy_run, device=CPU)
    assert card.startswith("---\nlibrary_name: fieldmark\n")
    assert "license:" not in card.partition("---\n\n")[0]
    train_counts = receipt["counts"]["train"]
    assert "| train | " + " | ".join(f"{train_counts[medium]:,}" for medium in Medium) + " |" in card
    for fact in (model.fingerprint, receipt["manifest_sha256"], ", ".join(model.class_names), '"base_width": 4'):
        assert fact in card
    assert f"MAP {load_checkpoint(toy_run).validation_map:.3f}" in card
    assert "No evaluation was given" in card
    assert "## Limits" in card


def test_card_with_an_evaluation_and_a_license(toy_run, toy_embeddings, tmp_path):
    found = encode_report(evaluate(toy_embeddings))
    (tmp_path / "evaluation.json").write_text(json.dumps(found))
    save_pretrained(toy_run, tmp_path / "model", evaluation=tmp_path / "evaluation.json", license="apache-2.0")
    card = (tmp_path / "model" / "README.md").read_text()
    assert '\nlicense: "apache-2.0"\n' in card
    assert f"| image_to_text | {found['map']['image_to_text']:.3f} | {found['chance']['image_to_text']:.3f} |" in card
    assert "protocol `strict`, split `test`" in card


@pytest.mark.parametrize("content", ["{", "[]", '{"map": {}}'])
def test_card_with_an_evaluation_that_is_none(toy_run, tmp_path, content):
    (tmp_path / "evaluation.json").write_text(content)
    with pytest.raises(EvaluationError, match=r"evaluation\.json"):
        save_pretrained(toy_run, tmp_path / "model", evaluation=tmp_path / "evaluation.json")
    assert not (tmp_path / "model").exists()


def test_card_names_encoders_and_no_folder_of_this_machine(
    shared_space_config, toy_manifest, toy_runtime, tmp_path, tmp_path_factory
):
    run = train(toy_manifest, out=tmp_path / "run", config=shared_space_config, runtime=toy_runtime).run
    save_pretrained(run, tmp_path / "model")
    card = (tmp_path / "model" / "README.md").read_text()
    assert "| image | `grid.onnx` | not stated in the configuration" in card
    assert "| text | hashed words (no weights) | that of fieldmark, Apache-2.0 |" in card
    assert "It does not support audio." in card
    for name in ("README.md", "config.json"):
        assert str(tmp_path_factory.getbasetemp()) not in (tmp_path / "model" / name).read_text()


def test_card_of_a_checkpoint_without_its_run(toy_run, tmp_path):
    file = tmp_path / "lone" / "checkpoints" / "some.safetensors"
    file.parent.mkdir(parents=True)
    shutil.copy(RunLayout(toy_run).best, file)
    save_pretrained(file, tmp_path / "model")
    assert "No run info was available" in (tmp_path / "model" / "README.md").read_text()


# ---------------------------------------------------------------- the hub


def test_pushed_folder_comes_back_from_the_hub(folder, tmp_path, toy_runtime):
    (folder / "notes.txt").write_text("not to be uploaded")
    hub = FakeHub(tmp_path / "hub")
    push_to_hub(folder, "owner/name", hub=hub)
    assert hub.calls[0] == ("create", "owner/name", True, True)
    assert not (tmp_path / "hub" / "notes.txt").exists()
    back = from_pretrained("owner/name", allow_download=True, runtime=toy_runtime, hub=hub)
    assert back.fingerprint == from_pretrained(folder, runtime=toy_runtime).fingerprint


def test_nothing_is_downloaded_unasked(tmp_path, toy_runtime):
    hub = FakeHub(tmp_path / "hub")
    with pytest.raises(CheckpointError, match="'allow_download' is false"):
        from_pretrained("owner/name", runtime=toy_runtime, hub=hub)
    assert hub.calls == [("download", "owner/name", True)]


def test_hub_that_refuses(folder, tmp_path):
    hub = FakeHub(tmp_path / "hub", error=ValueError("401: log in first\nand so on"))
    with pytest.raises(CheckpointError, match=r"'owner/name' .* did not take it: 401: log in first\. Give"):
        push_to_hub(folder, "owner/name", hub=hub)
    with pytest.raises(CheckpointError, match=r"'owner/name' .* did not give it: 401"):
        from_pretrained("owner/name", allow_download=True, hub=hub, runtime=Runtime(device="cpu"))


def test_only_a_folder_made_to_hand_on_is_pushed(toy_run, tmp_path):
    hub = FakeHub(tmp_path / "hub")
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        push_to_hub(toy_run, "owner/name", hub=hub)
    assert hub.calls == []
