"""A trained picture network as the trunk of FGCrossNet: it computes what its library does, and travels with the run."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch.nn.functional import normalize

from fieldmark import Medium, load_config, train
from fieldmark.build import create_model, load_model
from fieldmark.encoders.transformer_files import build_picture_network
from fieldmark.errors import CheckpointError, ConfigError, EncoderFilesError
from fieldmark.models.backbone import BackboneFacts
from fieldmark.training.checkpoint import Checkpoint, Provenance, save_checkpoint
from fieldmark.types import MEDIA, MediumBatch
from fieldmark.workflows.export_checkpoint import export_onnx
from fieldmark.workflows.pretrained import save_pretrained

CPU = torch.device("cpu")
SIDE = 32


@pytest.fixture
def folder(make_trunk_folder, tmp_path):
    return make_trunk_folder(tmp_path / "trunk")


def configure(folder, toy_overrides, *overrides):
    sides = [f"model.{key}={SIDE}" for key in ("crop_pixels", "resize_pixels", "text_length", "text_width")]
    return load_config("tiny", overrides=[*toy_overrides, *sides, f"model.trunk='{folder}'", *overrides])


def create(config):
    return create_model(config, class_names=("a", "b", "c"), media=list(Medium), device=CPU)


def draw(seed=0, rows=3):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (rows, 3, SIDE, SIDE), dtype=torch.uint8, generator=generator)


def statistics(network, medium):
    """Running means and variances of a medium, by name."""
    return {
        name: buffer[MEDIA.index(medium)].clone()
        for name, buffer in network.named_buffers()
        if name.endswith(("running_mean", "running_var"))
    }


@pytest.mark.parametrize("medium", [Medium.IMAGE, Medium.VIDEO, Medium.AUDIO])
@pytest.mark.parametrize("per_medium", ["true", "false"])
def test_backbone_gives_the_pooled_features_of_its_library(folder, toy_overrides, medium, per_medium):
    transformers = pytest.importorskip("transformers")
    model = create(configure(folder, toy_overrides, f"model.statistics_per_medium={per_medium}"))
    library = transformers.AutoModel.from_pretrained(folder).eval()
    pixels = draw()
    with torch.inference_mode():
        embedding, _ = model.network.eval()(pixels, medium)
        pooled = library((pixels.float() / 255 - 0.5) / 0.5).pooler_output.flatten(1)  # as its preprocessor says
    assert model.network.dim == pooled.shape[1]
    assert torch.allclose(embedding, normalize(pooled), atol=1e-6)


def test_backbone_of_tokens_is_a_trunk_too(make_vision_folder, toy_overrides, tmp_path):
    sides = [f"model.{key}=8" for key in ("crop_pixels", "resize_pixels", "text_length", "text_width")]
    model = create(configure(make_vision_folder(tmp_path), toy_overrides, *sides))
    embedding, logits = model.network.eval()(torch.zeros(2, 8, dtype=torch.uint8), Medium.TEXT)
    assert embedding.shape == (2, 6)
    assert logits.shape == (2, 3)


def test_backbone_keeps_the_statistics_of_media_apart(folder, toy_overrides):
    network = create(configure(folder, toy_overrides)).network.train()
    before = {medium: statistics(network, medium) for medium in MEDIA}
    network(draw(), Medium.AUDIO)
    for medium in MEDIA:
        after = statistics(network, medium)
        is_same = [torch.equal(after[name], tensor) for name, tensor in before[medium].items()]
        assert not any(is_same) if medium is Medium.AUDIO else all(is_same), medium


def test_common_statistics_are_those_of_rows_together(folder, toy_overrides):
    network = create(configure(folder, toy_overrides, "model.statistics_per_medium=false")).network.train()
    parts = [
        MediumBatch(medium, draw(seed), torch.zeros(3, dtype=torch.int64))
        for seed, medium in enumerate((Medium.IMAGE, Medium.VIDEO))
    ]
    together, _ = network.forward_together(parts)
    apart, _ = network(torch.cat([part.inputs for part in parts]), Medium.IMAGE)
    assert torch.allclose(together, apart, atol=1e-6)


def test_threads_with_other_media_do_not_disturb_each_other(folder, toy_overrides):
    network = create(configure(folder, toy_overrides)).network.eval()
    with torch.no_grad():
        for number, medium in enumerate(MEDIA):  # statistics that differ by medium
            for name, buffer in network.named_buffers():
                if name.endswith("running_mean"):
                    buffer[MEDIA.index(medium)] = number / 4

    def embed(medium):
        with torch.inference_mode():
            return [network(draw(), medium)[0] for _ in range(20)]

    media = (Medium.IMAGE, Medium.AUDIO)
    alone = [embed(medium)[0] for medium in media]
    with ThreadPoolExecutor(2) as pool:
        for medium_alone, rows in zip(alone, pool.map(embed, media), strict=True):
            assert all(torch.equal(each, medium_alone) for each in rows)
    assert not torch.allclose(*alone)


def test_frozen_modules_stay_as_they_are(folder, toy_overrides):
    network = create(configure(folder, toy_overrides, "model.trunk_frozen=['embedder']")).network.train()
    frozen = {name: tensor.clone() for name, tensor in network.state_dict().items() if ".embedder." in name}
    optimizer = torch.optim.SGD([each for each in network.parameters() if each.requires_grad], lr=0.1)
    _, logits = network(draw(), Medium.IMAGE)
    logits.square().sum().backward()
    optimizer.step()
    after = network.state_dict()
    assert len(frozen) > 2
    assert all(torch.equal(after[name], tensor) for name, tensor in frozen.items())
    assert network.embed.weight.requires_grad


def test_frozen_modules_are_named_as_the_trunk_has_them(folder, toy_overrides):
    with pytest.raises(ConfigError, match=r"names layer\.0, which the trunk does not have. Choose among.* embedder"):
        create(configure(folder, toy_overrides, "model.trunk_frozen=['layer.0']"))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.start=owner/name"], "'start' and 'trunk' both name trained weights"),
        (["model.trunk_frozen=['a']"], "'trunk_frozen' names modules of 'trunk', which is missing"),
    ],
)
def test_keys_of_the_trunk_fit_together(toy_overrides, overrides, message):
    trunk = ["model.trunk=owner/name"] if "start" in overrides[0] else []
    with pytest.raises(ConfigError, match=message):
        load_config("tiny", overrides=[*toy_overrides, *trunk, *overrides])


def test_trunk_is_a_picture_network(make_text_folder, toy_overrides, tmp_path):
    with pytest.raises(EncoderFilesError, match=r"'bert' is no picture network.* in 'model\.trunk'"):
        create(configure(make_text_folder(tmp_path), toy_overrides))


def test_trunk_takes_the_sizes_of_the_model(make_vision_folder, toy_overrides, tmp_path):
    with pytest.raises(EncoderFilesError, match=r"takes no pictures of the sizes .* in 'model\.trunk'"):
        create(configure(make_vision_folder(tmp_path), toy_overrides))  # it wants 8 pixels


def test_trained_run_needs_no_files_of_its_trunk(folder, toy_overrides, toy_manifest, toy_runtime, tmp_path):
    config = configure(folder, toy_overrides, "train.epochs=1", "train.max_steps=2", "train.lr=1e-4")
    run = train(toy_manifest, out=tmp_path / "run", config=config, runtime=toy_runtime).run
    model = load_model(run, device=CPU)
    with torch.inference_mode():
        embedding, _ = model.network(draw(), Medium.IMAGE)
    saved = save_pretrained(run, tmp_path / "saved")
    shutil.rmtree(folder)
    for path in (run, saved.folder):
        again = load_model(path, device=CPU)
        assert again.fingerprint == model.fingerprint
        with torch.inference_mode():
            assert torch.equal(again.network(draw(), Medium.IMAGE)[0], embedding)
    assert load_model(saved.folder, device=CPU).config.model.trunk == "trunk"
    assert "started from `trunk`" in (saved.folder / "README.md").read_text()


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        (None, "facts of the trunk are damaged"),
        (torch.arange(5, dtype=torch.uint8), "facts of the trunk are damaged"),
        (BackboneFacts("{}", dim=16, mean=(0.0,), std=(1.0,)).to_tensor(), "no mean and deviation of three channels"),
        (
            BackboneFacts('{"model_type": "timm_backbone"}', 16, (0.0,) * 3, (1.0,) * 3).to_tensor(),
            "no picture network",
        ),
        (BackboneFacts('{"model_type": "resnet", "depths": "x"}', 16, (0.0,) * 3, (1.0,) * 3).to_tensor(), "settings"),
    ],
    ids=["missing", "no_json", "channels", "other_network", "settings"],
)
def test_damaged_facts_of_a_trunk_are_told(folder, toy_overrides, tmp_path, facts, message):
    model = create(configure(folder, toy_overrides))
    state = {name: tensor for name, tensor in model.network.state_dict().items() if name != BackboneFacts.STATE_NAME}
    provenance = Provenance(model.config.to_json(), model.class_names, 0, "0", {})
    network = state if facts is None else {**state, BackboneFacts.STATE_NAME: facts}
    checkpoint = Checkpoint(provenance, network, {}, epoch=1, validation_map=None, created="")
    save_checkpoint(tmp_path / "damaged.safetensors", checkpoint)
    with pytest.raises(CheckpointError, match=message):
        load_model(tmp_path / "damaged.safetensors", device=CPU)


def test_settings_in_a_checkpoint_fetch_nothing(folder, toy_overrides):
    facts = create(configure(folder, toy_overrides)).network.backbone.facts
    asking = {
        "_attn_implementation": "owner/kernel",
        "attn_implementation": "owner/kernel",
        "auto_map": {"AutoModel": "a.b"},
    }
    network = build_picture_network(json.dumps({**json.loads(facts.settings_json), **asking}))
    assert not hasattr(network.config, "auto_map")
    assert "owner" not in str(network.config._attn_implementation)


@pytest.mark.slow
def test_trained_trunk_is_written_as_onnx(folder, toy_overrides, toy_manifest, toy_runtime, tmp_path):
    pytest.importorskip("onnxscript")
    config = configure(folder, toy_overrides, "train.epochs=1", "train.max_steps=2", "train.lr=1e-4")
    run = train(toy_manifest, out=tmp_path / "run", config=config, runtime=toy_runtime).run
    report = export_onnx(run, folder=tmp_path / "onnx")  # which compares each file with torch
    assert [file.medium for file in report.files] == list(Medium)
