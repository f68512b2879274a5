"""Training on what has a class in a gallery that was made without labels."""

import json
import shutil

import pytest

from fieldmark import Gallery, Medium, Runtime, index, train
from fieldmark.encoder_choice.choice import EncoderChoice
from fieldmark.errors import NoItemsError
from fieldmark.gallery.labels import save_class
from fieldmark.gallery.lance import LanceIndex
from fieldmark.gallery.search.query import ItemId
from fieldmark.gallery.source import hash_source
from fieldmark.types import SilentReporter

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


class Listener(SilentReporter):
    def __init__(self):
        self.lines = []

    def say(self, text):
        self.lines.append(text)


@pytest.fixture(scope="module")
def files(pictures, tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    for paths in pictures.values():
        for path in paths:
            shutil.copy(path, folder / path.name)
    for number, text in enumerate(("a small bird with a red crown", "a small bird with a blue back", "rain")):
        (folder / f"note{number}.txt").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def config(color_config):
    """Pictures alone; the encoder of sounds is not to be had, so that none of those installed is taken."""
    values = json.loads(color_config.to_json())
    sound = {"kind": "onnx_audio", "path": "gone.onnx", "sample_rate_hz": 16_000, "window_seconds": 1.0}
    return type(color_config).model_validate({**values, "model": {**values["model"], "audio": [sound]}})


@pytest.fixture(scope="module")
def labelled(files, config, tmp_path_factory):
    """Two red and two green pictures have a class; blue ones and texts have none."""
    folder = tmp_path_factory.mktemp("ready") / "gallery"
    runtime = Runtime(device="cpu")
    index(files, gallery=folder, config=config, encoders=EncoderChoice(text=("lexical",)), runtime=runtime)
    store = LanceIndex.open(folder / "segments")
    save_class(folder, store, class_name="Ruby", item_ids=["r0.png", "r1.png"])
    save_class(folder, store, class_name="Emerald", item_ids=["g0.png", "g1.png"])
    return folder


@pytest.fixture(scope="module")
def listener():
    return Listener()


@pytest.fixture(scope="module")
def run(labelled, listener, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "run"
    return train(labelled, out=folder, runtime=Runtime(device="cpu", reporter=listener))


@pytest.fixture(scope="module")
def trained(run, files, tmp_path_factory):
    folder = tmp_path_factory.mktemp("again") / "gallery"
    index(files, gallery=folder, checkpoint=run.run, runtime=Runtime(device="cpu"))
    return Gallery.open(folder, runtime=Runtime(device="cpu"))


def test_training_takes_the_classes_of_the_gallery_and_its_encoders(run, labelled, listener):
    assert (run.class_count, run.counts["train"]) == (2, {"image": 4})
    said = " ".join(listener.lines)
    assert "image: 4 of 15 items have labels" in said
    assert "text: no item has a label; searched by its encoder alone" in said
    encoders = json.loads((run.run / "receipt.json").read_text(encoding="utf-8"))["encoders"]
    assert set(encoders) == {"image", "text"}
    assert "audio is left out" in said


def test_a_class_without_labels_is_found_as_before(trained, labelled):
    before = Gallery.open(labelled, runtime=Runtime(device="cpu"))
    for gallery in (before, trained):
        found = gallery.search(ItemId("b0.png"), k=4, media=(Medium.IMAGE,))
        assert {hit.item_id[0] for hit in found.hits} == {"b"}
        assert {hit.item_id[0] for hit in gallery.search("Caeruleus", k=5, media=(Medium.IMAGE,)).hits} == {"b"}
    assert trained.search(ItemId("b0.png"), k=4).hits[0].called == "Blue Bird"


def test_a_class_with_labels_is_found_by_the_name_that_it_was_given(trained):
    found = trained.search("Ruby", k=5, media=(Medium.IMAGE,))
    assert {hit.item_id[0] for hit in found.hits} == {"r"}


def test_a_medium_without_labels_still_answers(trained):
    found = trained.search("a small bird with a red crown", k=1)
    assert found.hits[0].item_id == "note0.txt"
    assert found.left_out == (Medium.IMAGE,)  # texts name nothing, and none has a label


def test_a_name_that_nothing_bears_is_still_said_not_to_be_there(files, run, tmp_path):
    some = tmp_path / "some"
    shutil.copytree(files, some)
    for path in some.glob("b*.png"):
        path.unlink()
    index(some, gallery=tmp_path / "gallery", checkpoint=run.run, runtime=Runtime(device="cpu"))
    found = Gallery.open(tmp_path / "gallery", runtime=Runtime(device="cpu")).search("Blue Bird", k=3)
    assert not found.collection.is_likely


def test_a_gallery_with_fewer_than_two_classes_has_nothing_to_train_on(files, config, tmp_path):
    choice = EncoderChoice(text=("lexical",))
    index(files, gallery=tmp_path / "gallery", config=config, encoders=choice, runtime=Runtime(device="cpu"))
    with pytest.raises(NoItemsError, match="two classes or more"):
        train(tmp_path / "gallery", out=tmp_path / "run", runtime=Runtime(device="cpu"))


def test_the_hash_of_a_gallery_changes_with_a_label(labelled, tmp_path):
    shutil.copytree(labelled, tmp_path / "gallery")
    assert hash_source(tmp_path / "gallery") == hash_source(labelled)
    save_class(
        tmp_path / "gallery", LanceIndex.open(tmp_path / "gallery" / "segments"), class_name="Sky", item_ids=["b0.png"]
    )
    assert hash_source(tmp_path / "gallery") != hash_source(labelled)
