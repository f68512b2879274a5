"""Config to objects: the same seed gives the same weights, and a model refuses encoders it was not trained with."""

import json
import re
import shutil
from dataclasses import replace

import pytest
import torch

from fieldmark import Medium, load_config
from fieldmark.build import (
    build_encoder,
    build_losses,
    build_optimizer_options,
    build_schedule,
    create_model,
    describe_embedding,
    list_supported_media,
    load_model,
    reads_features,
)
from fieldmark.build_networks import describe_disagreement
from fieldmark.errors import (
    CheckpointError,
    ConfigError,
    EncoderChangedError,
    EncoderFilesError,
    MediumNotSupportedError,
)
from fieldmark.losses.center import CenterLoss
from fieldmark.losses.ranking import RankingLoss, ReleasedRankingLoss
from fieldmark.training.checkpoint import Checkpoint, Provenance, load_checkpoint, save_checkpoint
from fieldmark.training.layout import RunLayout
from fieldmark.types import Segment, TextContent

CPU = torch.device("cpu")

LEXICAL = """
[model]
kind = "shared_space"
dim = 8
hidden_dim = 8
text = [{kind = "lexical_text", dim = %d}]
[[losses]]
kind = "classification"
"""


@pytest.fixture
def lexical_config(tmp_path):
    def make(dim=64, **model):
        (tmp_path / "config.toml").write_text(LEXICAL % dim)
        return load_config(tmp_path / "config.toml", overrides=[f"model.{key}={value}" for key, value in model.items()])

    return make


@pytest.fixture
def save(tmp_path):
    """Keeps a model as a checkpoint."""

    def save_model(model, **changes):
        provenance = Provenance(
            config_json=model.config.to_json(),
            class_names=model.class_names,
            seed=0,
            code_version="0",
            encoder_fingerprints={medium: model.encoder(medium).fingerprint for medium in model.media},
        )
        path = tmp_path / "model.safetensors"
        state = {"network": model.network.state_dict(), "losses": {}, "epoch": 1, "validation_map": None}
        save_checkpoint(path, Checkpoint(provenance=replace(provenance, **changes), created="", **state))
        return path

    return save_model


def test_new_model_is_drawn_by_the_seed_alone(toy_config):
    torch.manual_seed(1)
    first = create_model(toy_config, class_names=("a", "b"), media=list(Medium), device=CPU).network.state_dict()
    before = torch.random.get_rng_state()
    second = create_model(toy_config, class_names=("a", "b"), media=list(Medium), device=CPU).network.state_dict()
    other = create_model(
        toy_config.model_copy(update={"seed": 1}), class_names=("a", "b"), media=list(Medium), device=CPU
    ).network.state_dict()
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_new_model_starts_from_trained_weights(toy_config, toy_overrides, tmp_path, save):
    def make(**changes):
        overrides = [*toy_overrides, *(f"model.{key}={value}" for key, value in changes.items())]
        config = load_config("tiny", overrides=overrides)
        return create_model(config, class_names=("a", "b"), media=list(Medium), device=CPU)

    source = make(statistics_per_medium="true").network.state_dict()
    source["conv1.weight"] += 1
    torch.save(source, tmp_path / "start.pth")
    model = make(start=tmp_path / "start.pth")
    assert torch.equal(model.network.state_dict()["conv1.weight"], source["conv1.weight"])
    loaded = load_model(save(model), device=CPU)
    (tmp_path / "start.pth").unlink()  # only training needs it, and it is no part of what the model is
    elsewhere = model.config.model.model_copy(update={"start": "owner/name"})
    moved = model.config.model_copy(update={"model": elsewhere}).to_json()
    assert load_model(save(model, config_json=moved), device=CPU).fingerprint == loaded.fingerprint
    with pytest.raises(EncoderFilesError, match=r"no such folder or file.* in 'model\.start'"):
        make(start=tmp_path / "start.pth")


def test_start_of_a_hub_name_is_not_downloaded_unasked(toy_overrides):
    pytest.importorskip("huggingface_hub")
    config = load_config("tiny", overrides=[*toy_overrides, "model.start=owner/no-such-model"])
    with pytest.raises(EncoderFilesError, match="'allow_download' is false"):
        create_model(config, class_names=("a", "b"), media=list(Medium), device=CPU)


def test_model_loads_an_encoder_once(lexical_config):
    model = create_model(lexical_config(), class_names=("a", "b"), media=[Medium.TEXT], device=CPU)
    assert model.encoder(Medium.TEXT) is model.encoder(Medium.TEXT)


def test_model_names_the_media_it_takes(lexical_config, toy_config):
    config = lexical_config()
    assert list_supported_media(config.model) == (Medium.TEXT,)
    assert reads_features(config.model)
    assert not reads_features(toy_config.model)
    with pytest.raises(MediumNotSupportedError, match="does not support audio; it supports text"):
        build_encoder(config.model, Medium.AUDIO)
    model = create_model(config, class_names=("a", "b"), media=[Medium.TEXT], device=CPU)
    with pytest.raises(MediumNotSupportedError, match="does not support image"):
        model.encoder(Medium.IMAGE)


def test_encoders_of_one_medium_stand_side_by_side(lexical_config):
    config = lexical_config(text="[{kind='lexical_text', dim=16}, {kind='lexical_text', dim=24, character_count=3}]")
    encoder = build_encoder(config.model, Medium.TEXT)
    assert encoder.shape == (40,)
    assert encoder.encode([Segment(TextContent("a red cap"))]).shape == (1, 40)


def test_encoder_files_that_are_missing(tmp_path, lexical_config):
    pytest.importorskip("onnxruntime")
    config = lexical_config(image="[{kind='onnx_image', path='nowhere.onnx'}]")
    with pytest.raises(EncoderFilesError, match=r"nowhere\.onnx"):
        create_model(config, class_names=("a", "b"), media=[Medium.IMAGE], device=CPU)


def test_load_model_gives_the_same_embeddings(toy_run, tmp_path):
    shutil.copy(RunLayout(toy_run).best, tmp_path / "moved.safetensors")
    first, second = load_model(toy_run, device=CPU), load_model(tmp_path / "moved.safetensors", device=CPU)
    assert first.fingerprint == second.fingerprint != ""
    assert not first.network.training
    inputs = torch.randint(256, (2, *first.encoder(Medium.IMAGE).shape), dtype=torch.uint8)
    assert torch.equal(first.network(inputs, Medium.IMAGE)[0], second.network(inputs, Medium.IMAGE)[0])


@pytest.mark.parametrize(
    ("preset", "override", "added"),
    [
        ("tiny", "model.released_sound=true", "released_sound"),
        ("tiny", "model.released_zeros=true", "released_zeros"),
    ],
)
def test_a_switch_that_came_later_changes_no_fingerprint_where_it_is_off(preset, override, added):
    off, on = (load_config(preset, overrides=each).model for each in ([], [override]))
    assert added not in json.loads(describe_embedding(off))
    assert json.loads(describe_embedding(on))[added] is True


def test_fingerprint_changes_with_what_shapes_embeddings(lexical_config, save):
    model = create_model(lexical_config(), class_names=("a", "b"), media=[Medium.TEXT], device=CPU)
    first = load_model(save(model), device=CPU).fingerprint
    assert load_model(save(model, code_version="9", seed=3), device=CPU).fingerprint == first
    weighed = lexical_config(posterior_weight=0.5).to_json()
    assert load_model(save(model, config_json=weighed), device=CPU).fingerprint != first
    encoders = {Medium.TEXT: "another"}
    assert load_model(save(model, encoder_fingerprints=encoders), device=CPU).fingerprint != first
    with torch.no_grad():
        next(model.network.parameters()).add_(1e-3)
    assert load_model(save(model), device=CPU).fingerprint != first


def test_model_refuses_an_encoder_it_was_not_trained_with(lexical_config, save):
    model = create_model(lexical_config(), class_names=("a", "b"), media=[Medium.TEXT], device=CPU)
    loaded = load_model(save(model, encoder_fingerprints={Medium.TEXT: "f" * 64}), device=CPU)
    with pytest.raises(EncoderChangedError, match=r"text encoder .* train again"):
        loaded.encoder(Medium.TEXT)


def test_load_model_of_another_network(lexical_config, toy_config, save):
    model = create_model(lexical_config(), class_names=("a", "b"), media=[Medium.TEXT], device=CPU)
    with pytest.raises(CheckpointError, match="another network"):
        load_model(save(model, config_json=toy_config.to_json()), device=CPU)
    with pytest.raises(CheckpointError, match="another network"):
        load_model(save(model, class_names=("a", "b", "c")), device=CPU)


@pytest.mark.parametrize("config_json", ["", "{}", '{"seed": "x"}'])
def test_load_model_with_a_configuration_that_is_none(config_json, lexical_config, save):
    model = create_model(lexical_config(), class_names=("a", "b"), media=[Medium.TEXT], device=CPU)
    with pytest.raises(ConfigError, match=r"model\.safetensors"):
        load_model(save(model, config_json=config_json), device=CPU)


def test_losses_are_built_with_their_weights():
    kinds = [
        "{kind='classification', weight=2}",
        "{kind='center', weight=0.5, space='logits'}",
        "{kind='ranking'}",
        "{kind='released_ranking'}",
        "{kind='released_center', weight=0.25}",
    ]
    config = load_config("tiny", overrides=[f"losses=[{', '.join(kinds)}]"])
    network = create_model(config, class_names=("a", "b", "c"), media=list(Medium), device=CPU).network
    built = build_losses(config.losses, network=network)
    assert list(built) == [re.search("'(.+?)'", kind)[1] for kind in kinds]
    assert [built[name].weight for name in ("classification", "center")] == [2.0, 0.5]
    assert isinstance(built["center"].module, CenterLoss)
    assert isinstance(built["ranking"].module, RankingLoss)
    assert built["released_center"].lr_scale == 1000
    again, other = (build_losses(config.losses, network=network, seed=seed)["released_center"] for seed in (0, 1))
    assert torch.equal(built["released_center"].module.centers, again.module.centers)
    assert not torch.equal(built["released_center"].module.centers, other.module.centers)
    assert isinstance(built["released_ranking"].module, ReleasedRankingLoss)


def test_optimizer_and_schedule_are_built_as_configured():
    config = load_config("tiny", overrides=["train.optimizer=sgd", "train.lr=0.25", "train.schedule=step"]).train
    options, schedule = build_optimizer_options(config), build_schedule(config)
    assert (options.kind.value, options.lr) == ("sgd", 0.25)
    assert (schedule.kind.value, schedule.step_epochs) == ("step", config.step_epochs)


def test_encoder_that_moved_keeps_the_fingerprint(shared_space_files, save, tmp_path):
    config = load_config(shared_space_files / "config.toml")
    model = create_model(config, class_names=("a", "b"), media=[Medium.IMAGE], device=CPU)
    only = {Medium.IMAGE: model.encoder(Medium.IMAGE).fingerprint}
    first = load_model(save(model, encoder_fingerprints=only), device=CPU)
    shutil.copytree(shared_space_files, tmp_path / "moved")
    moved = load_config(tmp_path / "moved" / "config.toml")
    second = load_model(save(model, encoder_fingerprints=only, config_json=moved.to_json()), device=CPU)
    assert first.fingerprint == second.fingerprint
    assert second.encoder(Medium.IMAGE).fingerprint == only[Medium.IMAGE]


def test_best_checkpoint_is_what_a_run_s_folder_means(toy_run):
    assert load_checkpoint(toy_run).epoch == load_checkpoint(RunLayout(toy_run).best).epoch


def test_encoders_that_name_nothing_in_common_are_told():
    birds = (("Cyanocitta cristata", "Blue Jay"), ("Catharus fuscescens", "Veery"))
    frogs = (("Hyla arborea",), ("Rana temporaria", "Common Frog"), ("Bufo bufo",))
    species = {Medium.IMAGE: frogs, Medium.AUDIO: birds, Medium.TEXT: (("Veery",), ("Bufo bufo",)), Medium.VIDEO: ()}
    [line] = describe_disagreement(species)
    assert line.startswith("audio and image: their encoders name 2 and 3 classes, 0 of them the same")
    assert describe_disagreement({Medium.IMAGE: birds, Medium.AUDIO: (("Blue Jay",), ("Limpkin",))}) == ()
