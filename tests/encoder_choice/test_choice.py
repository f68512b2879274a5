"""Encoders by name or path: what is found beside a file, and what is said where there is none."""

import json
import shutil
from pathlib import Path

import pytest

from fieldmark import load_config
from fieldmark.build_encoders import build_part
from fieldmark.config import ReadyConfig
from fieldmark.encoder_choice.catalog import CATALOG
from fieldmark.encoder_choice.choice import (
    EncoderChoice,
    list_available_encoders,
    make_ready_config,
    override_encoders,
    resolve_encoder,
)
from fieldmark.errors import ConfigError, EncoderFilesError
from fieldmark.types import Medium, SilentReporter


@pytest.fixture
def classifier(make_classifier_file, tmp_path) -> Path:
    """A picture classifier of five species, `birds_net.onnx`, with a list of labels and preprocessing beside it."""
    return make_classifier_file(tmp_path / "models")


def test_known_encoders_have_different_names_in_the_form_they_are_compared_in():
    names = [each.name for each in CATALOG]
    assert len(set(names)) == len(names)
    assert all(name == name.lower() and "_" not in name for name in names)
    assert all(each.media for each in CATALOG)


def test_path_of_a_classifier_finds_labels_and_preprocessing_beside_it(classifier):
    section = resolve_encoder(str(classifier), medium=Medium.IMAGE)
    assert section.labels == classifier.with_name("birds_labels.txt")
    assert section.preprocessor == classifier.with_name("birds_net") / "preprocessor_config.json"
    assert (section.output, section.logits, section.activation) == ("features", "scores", "softmax")
    assert build_part(section).named_scores["Blue Jay"] == 5


def test_folder_with_one_graph_is_that_graph(classifier):
    assert resolve_encoder(str(classifier.parent), medium=Medium.VIDEO).path == classifier


def test_labels_of_the_own_choice_come_first(classifier, tmp_path):
    (tmp_path / "mine.txt").write_text("a\nb\nc\nd\ne\n", encoding="utf-8")
    assert resolve_encoder(str(classifier), medium=Medium.IMAGE, labels=tmp_path / "mine.txt").labels.name == "mine.txt"


def test_labels_of_the_wrong_length_are_refused(classifier):
    classifier.with_name("birds_labels.txt").write_text("a\nb\nc\n", encoding="utf-8")
    with pytest.raises(EncoderFilesError, match=r"names 3 classes, but .* features has 5, scores has 5"):
        resolve_encoder(str(classifier), medium=Medium.IMAGE)


def test_two_lists_of_labels_are_not_chosen_between(classifier):
    shutil.copy(classifier.with_name("birds_labels.txt"), classifier.with_name("birds_classes.txt"))
    with pytest.raises(ConfigError, match=r"birds_classes\.txt, birds_labels\.txt.*--labels"):
        resolve_encoder(str(classifier), medium=Medium.IMAGE)


def test_list_of_labels_of_another_model_is_not_taken(classifier):
    classifier.with_name("birds_labels.txt").rename(classifier.with_name("bats_labels.txt"))
    assert resolve_encoder(str(classifier), medium=Medium.IMAGE).labels is None


def test_classifier_without_preprocessing_says_what_is_missing(classifier):
    shutil.rmtree(classifier.with_name("birds_net"))
    with pytest.raises(EncoderFilesError, match=r"no 'preprocessor_config\.json' beside it.*Put the file"):
        resolve_encoder(str(classifier), medium=Medium.IMAGE)


@pytest.mark.parametrize(
    ("text", "medium", "message"),
    [
        ("brdnet", Medium.AUDIO, "Did you mean 'birdnet'"),
        ("birdnet", Medium.IMAGE, "takes audio, not image"),
        ("perch-2", Medium.AUDIO, "fieldmark models add FILE --name perch-2"),
        ("nobody/such-model", Medium.IMAGE, "fieldmark models get nobody/such-model"),
        ("./nowhere.onnx", Medium.IMAGE, "no encoder './nowhere.onnx'"),
    ],
)
def test_encoder_that_is_not_here_says_what_to_do(text, medium, message):
    with pytest.raises(ConfigError, match=message):
        resolve_encoder(text, medium=medium)


def test_names_are_read_in_any_case():
    assert resolve_encoder("Field_Marks", medium=Medium.TEXT).kind == "field_mark_text"


def test_image_encoder_serves_video_unless_it_has_its_own(classifier):
    both = EncoderChoice(image=(str(classifier),)).names
    assert both[Medium.VIDEO] == both[Medium.IMAGE]
    assert EncoderChoice(image=("a",), video=("b",)).names[Medium.VIDEO] == ("b",)


def test_chosen_encoders_replace_those_of_a_configuration(classifier):
    config = load_config("fieldmark")
    changed = override_encoders(config, EncoderChoice(image=(str(classifier),), text=("lexical", "field-marks")))
    assert [part.kind for part in changed.model.image] == [part.kind for part in changed.model.video] == ["onnx_image"]
    assert [part.kind for part in changed.model.text] == ["lexical_text", "field_mark_text"]
    assert changed.model.audio == config.model.audio
    assert override_encoders(config, EncoderChoice()) is config
    with pytest.raises(ConfigError, match="'fgcrossnet' has its own encoders"):
        override_encoders(load_config("tiny"), EncoderChoice(text=("lexical",)))


def test_labels_need_one_file_that_they_are_of(tmp_path):
    choice = EncoderChoice(text=("lexical",), labels=tmp_path / "labels.txt")
    with pytest.raises(ConfigError, match=r"--labels .* but 0 are named"):
        override_encoders(load_config("fieldmark"), choice)


def test_medium_without_an_encoder_says_which_command_brings_one():
    available = list_available_encoders([Medium.TEXT, Medium.IMAGE])
    assert {"lexical_text", "field_mark_text"} <= {part.kind for part in available.sections[Medium.TEXT]}
    if Medium.IMAGE not in available.sections:
        assert "fieldmark models add" in available.remedies[Medium.IMAGE]


def test_media_left_open_take_what_is_here(classifier):
    config = load_config("ready")
    chosen = make_ready_config(config, EncoderChoice(image=(str(classifier),)), reporter=SilentReporter()).model
    assert isinstance(chosen, ReadyConfig)
    assert [part.kind for part in chosen.image] == ["onnx_image"]
    assert chosen.text


def test_record_of_an_added_model_that_is_broken_says_what_to_do(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "model.json").write_text(json.dumps({"name": "mine"}), encoding="utf-8")
    with pytest.raises(ConfigError, match="Delete the folder"):
        resolve_encoder("mine", medium=Medium.IMAGE, models=tmp_path)


def test_names_of_the_user_go_to_the_model_that_scores_any_names(make_joint_folder, tmp_path):
    folder = make_joint_folder(tmp_path / "clip")
    names = tmp_path / "names.txt"
    names.write_text("Blue Jay\nVeery\n", encoding="utf-8")
    choice = EncoderChoice(image=(str(folder),), audio=(), names_file=names)
    model = make_ready_config(load_config("ready"), choice, reporter=SilentReporter()).model
    assert model.image[0].names == model.video[0].names == names
    assert build_part(model.image[0]).named_scores == {"Blue Jay": 6, "Veery": 7}


def test_texts_are_read_by_the_tower_of_the_model_that_reads_pictures(make_joint_folder, tmp_path):
    folder = make_joint_folder(tmp_path / "clip")
    config = make_ready_config(load_config("ready"), EncoderChoice(image=(str(folder),)), reporter=SilentReporter())
    assert str(folder) in [getattr(each, "name", "") for each in config.model.text]
    own = EncoderChoice(image=(str(folder),), text=("lexical",))
    kinds = {each.kind for each in make_ready_config(load_config("ready"), own, reporter=SilentReporter()).model.text}
    assert kinds == {"lexical_text", "named_text"}


def test_model_without_a_tower_for_texts_scores_no_list_of_names(make_vision_folder, tmp_path):
    (tmp_path / "names.txt").write_text("Blue Jay\n", encoding="utf-8")
    section = resolve_encoder(str(make_vision_folder(tmp_path / "vit")), medium=Medium.IMAGE)
    with pytest.raises(EncoderFilesError, match=r"no tower for texts.*cannot score a list of names"):
        build_part(section.model_copy(update={"names": tmp_path / "names.txt"}))
