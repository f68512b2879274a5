"""A gallery that was indexed without training and without labels."""

import json
import shutil

import pytest

from fieldmark import Gallery, Item, Medium, Runtime, Split, index, load_config, train, write_manifest
from fieldmark.encoder_choice.choice import EncoderChoice, make_ready_config
from fieldmark.errors import ConfigError, FieldmarkError, MissingGalleryError
from fieldmark.gallery.layout import GalleryLayout
from fieldmark.gallery.search.query import ItemId
from fieldmark.gallery.store import Filter
from fieldmark.types import SilentReporter
from fieldmark.workflows.export_checkpoint import export_onnx

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


class Listener(SilentReporter):
    def __init__(self):
        self.lines = []

    def say(self, text):
        self.lines.append(text)


@pytest.fixture(scope="module")
def files(pictures, tmp_path_factory):
    """All pictures and a note, in nested folders and under names that say nothing."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "old" / "phone").mkdir(parents=True)
    for name, paths in pictures.items():
        for path in paths:
            shutil.copy(path, folder / "old" / ("phone" if name == "Red_Bird" else "") / path.name)
    (folder / "note.txt").write_text("a small bird with a red crown", encoding="utf-8")
    return folder


def without_sound(config):
    """Return the configuration with an encoder of sounds that is not to be had, so that none of those here is taken."""
    values = json.loads(config.to_json())
    sound = {"kind": "onnx_audio", "path": "gone.onnx", "sample_rate_hz": 16_000, "window_seconds": 1.0}
    return type(config).model_validate({**values, "model": {**values["model"], "audio": [sound]}})


@pytest.fixture(scope="module")
def color_config(color_config):
    """The same without sound: BirdNET, where it is installed, would be loaded by most tests here and never asked."""
    return without_sound(color_config)


@pytest.fixture(scope="module")
def listener():
    return Listener()


@pytest.fixture(scope="module")
def gallery(files, color_config, listener, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ready") / "gallery"
    runtime = Runtime(device="cpu", reporter=listener)
    report = index(
        files, gallery=folder, config=color_config, encoders=EncoderChoice(text=("lexical",)), runtime=runtime
    )
    assert report.failures == ()
    return Gallery.open(folder, runtime=Runtime(device="cpu"))


def test_a_picture_finds_others_that_the_encoder_calls_the_same(gallery):
    found = gallery.search(ItemId("old/phone/r0.png"), k=4)
    assert {hit.item_id[-6] for hit in found.hits} == {"r"}
    assert found.is_by_encoders
    assert found.collection.is_likely
    assert all(hit.probability > 0.9 for hit in found.hits)
    assert "percentages are the encoders' own" in found.to_text()


def test_a_name_finds_what_nobody_labelled(gallery):
    found = gallery.search("Caeruleus", k=10)
    assert {hit.item_id[-6] for hit in found.hits[:5]} == {"b"}
    assert (found.likely_count, found.collection.is_likely) == (5, True)
    assert "----" in found.to_text().splitlines()[-6]


def test_a_name_that_nothing_bears_is_said_not_to_be_there(gallery, color_config, files, tmp_path):
    folder = tmp_path / "some"
    shutil.copytree(files, folder)
    for path in folder.rglob("b*.png"):
        path.unlink()
    runtime = Runtime(device="cpu")
    index(folder, gallery=tmp_path / "gallery", config=color_config, runtime=runtime)
    found = Gallery.open(tmp_path / "gallery", runtime=runtime).search("Blue Bird", k=3)
    assert not found.collection.is_likely
    assert found.likely_count == 0
    assert found.to_text().startswith("the text names Blue Bird\nnothing here is called Blue Bird")


def test_media_that_have_nothing_in_common_with_the_query_are_left_out(gallery):
    found = gallery.search("Blue Bird")
    assert found.left_out == ()
    assert found.absent_media == (Medium.TEXT,)  # the text names nothing
    assert {hit.medium for hit in found.hits} == {Medium.IMAGE}
    described = gallery.search("a small bird with a red crown and other words", k=3)
    assert described.left_out == (Medium.IMAGE,)
    assert [hit.item_id for hit in described.hits] == ["note.txt"]
    assert described.hits[0].probability is None
    assert described.collection is None
    assert described.json_values()["left_out"] == (Medium.IMAGE,)
    assert "left out" in described.to_text()


def test_a_picture_of_what_is_not_there_is_not_called_likely(gallery, pictures):
    ids = frozenset(f"old/{path.name}" for path in pictures["Blue_Bird"])
    found = gallery.search(pictures["Blue_Bird"][0], where=Filter(exclude_item_ids=ids))
    assert not found.collection.is_likely


def test_labels_that_are_there_are_used(pictures, color_config, tmp_path):
    items = [
        Item(path.stem, Medium.IMAGE, path=path, class_name=name, split=Split.TEST)
        for name, paths in pictures.items()
        for path in paths
    ]
    write_manifest(items, tmp_path / "birds.csv")
    runtime = Runtime(device="cpu")
    index(tmp_path / "birds.csv", gallery=tmp_path / "gallery", config=color_config, runtime=runtime)
    found = Gallery.open(tmp_path / "gallery", runtime=runtime).search(ItemId("r0"), k=4)
    assert {hit.class_name for hit in found.hits} == {"Red_Bird"}
    assert not found.is_by_encoders  # 15 pictures of three classes are enough for a curve
    assert found.collection is not None


def test_a_medium_whose_encoder_is_missing_is_left_out_and_that_is_said(files, color_config, tmp_path):
    values = json.loads(color_config.to_json())
    values["model"]["image"][0]["path"] = str(tmp_path / "gone.onnx")
    broken = type(color_config).model_validate(values)
    listener = Listener()
    runtime = Runtime(device="cpu", reporter=listener)
    choice = EncoderChoice(text=("lexical",))
    report = index(files, gallery=tmp_path / "gallery", config=broken, encoders=choice, runtime=runtime)
    assert report.counts["text"] == 1
    assert report.counts["image"] == 0
    assert any(line.startswith("image is left out") and "gone.onnx" in line for line in listener.lines)


def test_media_without_an_encoder_are_named_with_the_command_that_brings_one(gallery, listener):
    said = " ".join(listener.lines)
    assert "video is left out, as there is no encoder for it. Get one with: fieldmark models" in said


def test_a_gallery_without_training_is_updated_as_any_other(files, gallery, tmp_path):
    folder = tmp_path / "gallery"
    shutil.copytree(gallery.folder, folder)
    report = index(files, gallery=folder, runtime=Runtime(device="cpu"))
    assert (report.added_count, report.unchanged_count) == (0, 16)


def test_a_model_that_has_to_be_trained_is_refused(files, tmp_path):
    with pytest.raises(ConfigError, match="has to be trained first"):
        index(files, gallery=tmp_path / "gallery", config=load_config("tiny"), runtime=Runtime(device="cpu"))
    assert not GalleryLayout(tmp_path / "gallery").checkpoint.exists()


def test_encoders_are_not_named_for_a_gallery_that_has_its_own(files, gallery):
    with pytest.raises(ConfigError, match="has its own encoders"):
        index(files, gallery=gallery.folder, encoders=EncoderChoice(text=("lexical",)), runtime=Runtime(device="cpu"))


def test_an_embeddings_folder_needs_its_own_checkpoint(tmp_path):
    (tmp_path / "embeddings").mkdir()
    (tmp_path / "embeddings" / "embeddings.json").write_text("{}", encoding="utf-8")
    with pytest.raises(MissingGalleryError):
        index(tmp_path / "embeddings", gallery=tmp_path / "gallery", runtime=Runtime(device="cpu"))


def test_there_is_nothing_to_train_in_a_model_of_encoders_alone(pictures, color_config, tmp_path):
    items = [
        Item(name, Medium.IMAGE, path=paths[0], class_name=name, split=Split.TRAIN) for name, paths in pictures.items()
    ]
    write_manifest(items, tmp_path / "birds.csv")
    ready = make_ready_config(color_config, EncoderChoice(), reporter=SilentReporter())
    with pytest.raises(ConfigError, match="nothing to train"):
        train(tmp_path / "birds.csv", out=tmp_path / "run", config=ready, runtime=Runtime(device="cpu"))


def test_a_name_is_answered_in_a_gallery_without_texts(pictures, color_config, tmp_path):
    folder = pictures["Red_Bird"][0].parent
    runtime = Runtime(device="cpu")
    index(folder, gallery=tmp_path / "gallery", config=color_config, runtime=runtime)
    found = Gallery.open(tmp_path / "gallery", runtime=runtime).search("red bird", k=6)
    assert found.likely_count == 5
    assert found.collection.is_likely


def test_a_text_that_names_a_species_finds_its_pictures(files, color_config, tmp_path):
    folder = tmp_path / "files"
    shutil.copytree(files, folder)
    (folder / "seen.txt").write_text("This morning a Blue Bird sang in the old orchard behind us.", encoding="utf-8")
    runtime = Runtime(device="cpu")
    choice = EncoderChoice(text=("lexical",))
    index(folder, gallery=tmp_path / "gallery", config=color_config, encoders=choice, runtime=runtime)
    gallery = Gallery.open(tmp_path / "gallery", runtime=runtime)
    found = gallery.search(ItemId("seen.txt"), k=5)
    assert {hit.item_id[-6] for hit in found.hits} == {"b"}
    by_name = gallery.search("Blue Bird", k=10)
    assert "seen.txt" in [hit.item_id for hit in by_name.hits[: by_name.likely_count]]


def test_a_species_book_lets_a_description_find_pictures(files, color_config, tmp_path):
    book = tmp_path / "book.csv"
    book.write_text(
        "name,text\n"
        "Blue Bird,It has a blue crown. The breast is blue. Its bill is short.\n"
        "Red Bird,It has a red crown. The breast is red. Its bill is hooked.\n"
        "Green Bird,It has a green crown. The breast is green. The tail is long.\n",
        encoding="utf-8",
    )
    runtime = Runtime(device="cpu")
    choice = EncoderChoice(text=("lexical",), descriptions=book)
    index(files, gallery=tmp_path / "gallery", config=color_config, encoders=choice, runtime=runtime)
    found = Gallery.open(tmp_path / "gallery", runtime=runtime).search(
        "a bird with a blue crown, a blue breast and a short bill", media=(Medium.IMAGE,), k=5
    )
    assert {hit.item_id[-6] for hit in found.hits} == {"b"}


def test_names_that_stand_twice_in_a_list_are_reported(files, color_config, tmp_path):
    (tmp_path / "names.txt").write_text("Red Bird\nBlue Bird\nred bird\n", encoding="utf-8")
    listener = Listener()
    choice = EncoderChoice(text=("lexical",), names_file=tmp_path / "names.txt")
    runtime = Runtime(device="cpu", reporter=listener)
    index(files, gallery=tmp_path / "gallery", config=color_config, encoders=choice, runtime=runtime)
    [line] = [line for line in listener.lines if "more than once" in line]
    assert "1 name stands in" in line
    assert "'Red Bird' (entries 1, 3)" in line


def test_an_encoder_that_goes_missing_leaves_the_rest_as_it_was(pictures, color_config, files, tmp_path):
    model = color_config.model.image[0].path.parent
    shutil.copytree(model, tmp_path / "model")
    values = json.loads(color_config.to_json())
    values["model"]["image"][0] |= {
        "path": str(tmp_path / "model" / "colors.onnx"),
        "labels": str(tmp_path / "model" / "labels.txt"),
    }
    config, folder, listener = type(color_config).model_validate(values), tmp_path / "files", Listener()
    shutil.copytree(files, folder)
    runtime = Runtime(device="cpu", reporter=listener)
    choice = EncoderChoice(text=("lexical",))
    index(folder, gallery=tmp_path / "gallery", config=config, encoders=choice, runtime=runtime)
    (tmp_path / "model" / "colors.onnx").unlink()
    gallery = Gallery.open(tmp_path / "gallery", runtime=runtime)
    assert {hit.item_id[-6] for hit in gallery.search("Blue Bird", k=5).hits} == {"b"}
    assert gallery.search(ItemId("old/phone/r0.png"), k=4).hits[0].item_id[-6] == "r"
    assert gallery.search("a small bird with a red crown", k=1).hits[0].item_id == "note.txt"
    with pytest.raises(FieldmarkError, match=r"No image can be a query now.*by another medium"):
        gallery.search(pictures["Red_Bird"][0])
    (folder / "later.txt").write_text("a later note", encoding="utf-8")
    shutil.copy(folder / "old" / "b0.png", folder / "later.png")
    report = index(folder, gallery=tmp_path / "gallery", runtime=runtime)
    assert (report.added_count, report.dropped_count, report.counts["image"]) == (1, 0, 15)
    assert any("skipped 1 new image items" in line and "colors.onnx" in line for line in listener.lines)


def test_a_space_without_training_is_not_written_as_onnx_and_that_is_said(gallery, tmp_path):
    with pytest.raises(ConfigError, match=r"has a space without training.*not written as ONNX.*--pretrained"):
        export_onnx(GalleryLayout(gallery.folder).checkpoint, folder=tmp_path / "onnx")
