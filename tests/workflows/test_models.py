"""Encoders listed, added and fetched; the hub is one of the test's own."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from fieldmark import Runtime, add_model, get_model, list_models
from fieldmark.build_encoders import build_part
from fieldmark.config_encoders import OnnxImageConfig
from fieldmark.encoder_choice.choice import list_available_encoders, resolve_encoder
from fieldmark.encoder_choice.hub import HubModel
from fieldmark.encoder_choice.models_folder import AddedModel, add_files
from fieldmark.errors import ConfigError, EncoderFilesError, MissingExtraError
from fieldmark.types import Medium


class Hub:
    """A hub with one model, in a folder."""

    def __init__(self, folder: Path, *, is_online: bool = True) -> None:
        self._folder = folder
        self._is_online = is_online
        self.fetched: list[str] = []

    def describe(self, name: str) -> HubModel:
        if not self._is_online:
            raise OSError("Name or service not known")
        return HubModel(name, "abc", "mit", 12_000_000)

    def fetch(self, model: HubModel) -> Path:
        self.fetched.append(f"{model.name}@{model.revision}")
        return self._folder


class Heard:
    """Keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def step(self, task: str, *, done: int, total: int, note: str = "") -> None:
        """Say nothing."""

    def say(self, message: str) -> None:
        self.lines.append(message)


@pytest.fixture
def runtime(tmp_path) -> Runtime:
    return Runtime(cache=tmp_path / "cache", device="cpu", reporter=Heard())


def test_list_tells_what_is_here_and_how_to_get_the_rest(runtime):
    listed = list_models(runtime=runtime)
    rows = {row.name: row for row in listed.models}
    assert rows["lexical"].is_here
    assert rows["perch-2"].how == "fieldmark models add FILE --name perch-2"
    assert not rows["perch-2"].is_here
    assert all(row.is_here or row.how for row in listed.models)
    assert "CC BY-NC-SA 4.0" in listed.to_text()


def test_added_model_is_copied_and_found_by_name(runtime, make_classifier_file, tmp_path):
    original = make_classifier_file(tmp_path / "download")
    report = add_model(original, name="My Birds", runtime=runtime)
    assert (report.name, report.media, report.names_count) == ("my-birds", (Medium.IMAGE, Medium.VIDEO), 5)
    before = build_part(resolve_encoder(str(original), medium=Medium.IMAGE)).fingerprint
    shutil.rmtree(original.parent)
    section = resolve_encoder("my birds", medium=Medium.IMAGE, models=runtime.models_folder)
    assert build_part(section).fingerprint == before, "the copy is the same encoder"
    assert list_models(runtime=runtime).models[0].names == "5 classes"
    assert list_available_encoders([Medium.IMAGE], models=runtime.models_folder).sections[Medium.IMAGE] == (section,)


def test_name_of_an_added_model_is_not_given_twice(runtime, make_classifier_file, tmp_path):
    original = make_classifier_file(tmp_path / "download")
    add_model(original, runtime=runtime)
    with pytest.raises(ConfigError, match="There is a model 'birds-net' already"):
        add_model(original, runtime=runtime)


def test_model_that_cannot_be_used_is_not_added(runtime, make_classifier_file, tmp_path):
    original = make_classifier_file(tmp_path / "download")
    (tmp_path / "few.txt").write_text("a\nb\n", encoding="utf-8")
    with pytest.raises(EncoderFilesError, match="names 2 classes"):
        add_model(original, labels=tmp_path / "few.txt", runtime=runtime)
    with pytest.raises(ConfigError, match=r"no model that can be read.*ONNX"):
        add_model(tmp_path / "few.txt", runtime=runtime)
    assert not runtime.models_folder.exists()


def test_model_of_the_hub_is_fetched_after_its_license_is_said(runtime, make_vision_folder, tmp_path):
    hub = Hub(make_vision_folder(tmp_path / "vision"))
    report = get_model("dinov2-small", runtime=runtime, hub=hub)
    assert hub.fetched == ["facebook/dinov2-small@abc"]
    assert report.media == (Medium.IMAGE, Medium.VIDEO)
    assert "12 MB" in runtime.reporter.lines[0]
    assert "license: mit" in runtime.reporter.lines[0]


def test_hub_that_cannot_be_reached_is_said_in_one_message(runtime, tmp_path):
    hub = Hub(tmp_path, is_online=False)
    with pytest.raises(ConfigError, match=r"did not give 'facebook/dinov2-small': Name or service.*Check the network"):
        get_model("facebook/dinov2-small", runtime=runtime, hub=hub)
    assert hub.fetched == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("dinov2-smal", "Did you mean 'dinov2-small'"),
        ("lexical", "Use it with --text-encoder lexical"),
        ("perch-2", "once it is here by: fieldmark models add FILE --name perch-2"),
    ],
)
def test_name_that_the_hub_does_not_have_says_what_to_do(runtime, tmp_path, name, message):
    with pytest.raises(ConfigError, match=message):
        get_model(name, runtime=runtime, hub=Hub(tmp_path))


def test_without_the_library_the_hub_says_what_to_install(runtime, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtraError, match="pip install"):
        get_model("dinov2-small", runtime=runtime)


def test_record_of_an_added_model_has_no_path_outside_its_folder(runtime, make_vision_folder, tmp_path):
    report = add_model(make_vision_folder(tmp_path / "vision"), runtime=runtime)
    record = json.loads((report.folder / "model.json").read_text(encoding="utf-8"))
    assert str(tmp_path) not in json.dumps(record["sections"])
    moved = runtime.models_folder.rename(tmp_path / "elsewhere")
    assert build_part(resolve_encoder("vision", medium=Medium.IMAGE, models=moved)).shape == (6,)


def test_add_copies_weights_that_a_graph_keeps_in_another_file(make_classifier_file, runtime, tmp_path):
    onnx = pytest.importorskip("onnx")
    path = make_classifier_file(tmp_path / "download")
    options = {"save_as_external_data": True, "size_threshold": 0, "location": "weights.bin"}
    onnx.save_model(onnx.load(path), path, **options)
    before = build_part(resolve_encoder(str(path), medium=Medium.IMAGE)).fingerprint
    added = add_model(path, runtime=runtime)
    shutil.rmtree(tmp_path / "download")
    section = resolve_encoder(added.name, medium=Medium.IMAGE, models=runtime.models_folder)
    assert build_part(section).fingerprint == before


def test_add_refuses_a_graph_whose_weights_are_outside_of_its_folder(make_classifier_file, tmp_path):
    onnx = pytest.importorskip("onnx")
    path = make_classifier_file(tmp_path / "download")
    model = onnx.load(path)
    onnx.external_data_helper.set_external_data(model.graph.initializer[0], location="../secret.bin")
    path.write_bytes(model.SerializeToString())
    (tmp_path / "secret.bin").write_bytes(bytes(60))
    section = OnnxImageConfig(kind="onnx_image", path=path)
    model = AddedModel("birds", {Medium.IMAGE: section}, names_count=0, size_bytes=0, license="", source="")
    with pytest.raises(EncoderFilesError, match="outside of its folder"):
        add_files(model, models=tmp_path / "models")
    assert list((tmp_path / "models").iterdir()) == []


def test_added_file_in_the_layout_of_perch_is_an_encoder_of_sound(runtime, make_sound_file, tmp_path):
    report = add_model(make_sound_file(tmp_path / "download"), name="Perch 2", runtime=runtime)
    assert (report.name, report.media, report.names_count) == ("perch-2", (Medium.AUDIO,), 5)
    shutil.rmtree(tmp_path / "download")
    encoder = build_part(resolve_encoder("perch-2", medium=Medium.AUDIO, models=runtime.models_folder))
    assert (encoder.decoding.sample_rate_hz, encoder.decoding.segment_seconds) == (32_000, 5.0)
    assert list_models(runtime=runtime).models[0].is_here


def test_added_file_in_the_layout_of_birdnet_3_is_known_by_its_name(runtime, make_sound_file, tmp_path):
    labels = (
        "id;sci_name;com_name;class\n"
        "1;Cyanocitta cristata;Blue Jay;Aves\n2;Pica nuttalli;Yellow-billed Magpie;Aves\n3;Hyla arborea;;Amphibia\n"
        "4;Turdus merula;Blackbird;Aves\n5;Parus major;Great Tit;Aves\n"
    )
    made = make_sound_file(
        tmp_path / "download",
        name="birdnet-3",
        samples="samples",
        outputs=("embeddings", "predictions"),
        labels=labels,
        holds_probabilities=True,
    )
    add_model(made, name="birdnet-3", runtime=runtime)
    section = resolve_encoder("birdnet-3", medium=Medium.AUDIO, models=runtime.models_folder)
    assert (section.sample_rate_hz, section.window_seconds, section.activation) == (32_000, 3.0, "none")
    assert (section.output, section.logits) == ("embeddings", "predictions")
    assert build_part(section).named_scores["Great Tit"] == 3 + 4


def test_sound_file_that_tells_no_rate_says_how_to_give_it(runtime, make_sound_file, tmp_path):
    path = make_sound_file(tmp_path / "download", name="mine", samples=12_345)
    with pytest.raises(EncoderFilesError, match=r"12,345 samples, and nothing says at which rate.*--sample-rate"):
        add_model(path, runtime=runtime)
    add_model(path, sample_rate_hz=12_345, runtime=runtime)
    section = resolve_encoder("mine", medium=Medium.AUDIO, models=runtime.models_folder)
    assert (section.sample_rate_hz, section.window_seconds) == (12_345, 1.0)


def test_rate_of_a_sound_file_is_read_beside_it(runtime, make_sound_file, tmp_path):
    path = make_sound_file(tmp_path / "download", name="mine", samples="samples")
    settings = {"sampling_rate": 16_000, "chunk_length_s": 4}
    path.with_name("preprocessor_config.json").write_text(json.dumps(settings), encoding="utf-8")
    add_model(path, runtime=runtime)
    section = resolve_encoder("mine", medium=Medium.AUDIO, models=runtime.models_folder)
    assert (section.sample_rate_hz, section.window_seconds) == (16_000, 4.0)


def test_folder_of_a_classifier_names_its_classes(runtime, make_image_classifier_folder, tmp_path):
    report = add_model(make_image_classifier_folder(tmp_path / "birds"), runtime=runtime)
    assert (report.media, report.names_count) == ((Medium.IMAGE, Medium.VIDEO), 5)


def test_folder_of_a_sound_classifier_takes_sounds(runtime, make_sound_classifier_folder, tmp_path):
    report = add_model(make_sound_classifier_folder(tmp_path / "songs"), runtime=runtime)
    assert (report.media, report.names_count) == ((Medium.AUDIO,), 5)
    section = resolve_encoder("songs", medium=Medium.AUDIO, models=runtime.models_folder)
    assert build_part(section).decoding.segment_seconds == 1.0


@pytest.mark.parametrize(
    ("kind", "media"),
    [("clip", (Medium.IMAGE, Medium.VIDEO, Medium.TEXT)), ("clap", (Medium.AUDIO, Medium.TEXT))],
)
def test_folder_of_a_model_with_two_towers_takes_texts_too(runtime, make_joint_folder, tmp_path, kind, media):
    assert add_model(make_joint_folder(tmp_path / kind, kind=kind), runtime=runtime).media == media
