"""`checkpoint import`: the logits of the released definition from files on disk, and runs that every verb accepts."""

import json
from collections import OrderedDict

import numpy as np
import pytest
import torch
from PIL import Image
from released_network import ReleasedNetwork, released_ids
from torch import nn

from fieldmark import Medium, embed, evaluate, index, load_config
from fieldmark.data.shards import read_embeddings
from fieldmark.errors import ConfigError, TrainingError, WeightsFileError
from fieldmark.training.checkpoint import load_checkpoint
from fieldmark.training.layout import RunLayout
from fieldmark.workflows.import_checkpoint import import_checkpoint, read_class_names
from product_parts import fgcrossnet, text_stem, trunk_of_depth

TEXT = "A first line, which is not read.\nA small Bird: red cap; black wings (3 bars) & a #long~ tail.\n"
PICTURES = {"photo.png": 1, "sound.png": 2, "clip_00001.png": 3, "clip_00002.png": 4}
MANIFEST = """item_id,path,medium,class_name,split,form
photo,photo.png,image,a,test,
text,text.txt,text,a,test,
clip,clip_*.png,video,a,test,frames
sound,sound.png,audio,a,test,spectrogram
"""


def standardized(path):
    """A picture as the released code prepares it: 512 x 512, the middle 448, ImageNet's mean and deviation."""
    with Image.open(path) as image:
        middle = image.convert("RGB").resize((512, 512), Image.Resampling.BILINEAR).crop((32, 32, 480, 480))
    pixels = torch.from_numpy(np.array(middle)).permute(2, 0, 1) / 255
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return ((pixels - mean.view(3, 1, 1)) / std.view(3, 1, 1)).unsqueeze(0)


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """Files of the four media, a random released network, its state on disk, and its logits."""
    folder = tmp_path_factory.mktemp("released")
    for name, seed in PICTURES.items():
        coarse = np.random.default_rng(seed).integers(0, 256, (9, 9, 3), dtype=np.uint8)
        # At 512 pixels resizing changes nothing: how it interpolates is not known of the released code.
        Image.fromarray(coarse).resize((512, 512), Image.Resampling.BICUBIC).save(folder / name)
    (folder / "text.txt").write_text(TEXT)
    (folder / "manifest.csv").write_text(MANIFEST)
    torch.manual_seed(0)
    network = ReleasedNetwork(class_count=200)
    pictures = {name: standardized(folder / name) for name in PICTURES}
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # statistics of the one pass below, so that logits are neither 0 nor huge
    with torch.no_grad():
        drawn = network.draw(released_ids(TEXT))
        network(torch.cat([*pictures.values(), drawn]))
        network.eval()
        logits = {name: network(picture) for name, picture in pictures.items()} | {"text": network(drawn)}
    state = OrderedDict((f"module.{name}", tensor) for name, tensor in network.state_dict().items())
    torch.save({"epoch": 50, "state_dict": state}, folder / "model.pkl", _use_new_zipfile_serialization=False)
    return folder, logits


@pytest.mark.slow
def test_imported_network_gives_the_logits_of_the_released_one_from_files(released, toy_runtime):
    folder, expected = released
    report = import_checkpoint(folder / "model.pkl", out=folder / "run")
    assert (report.size.depth, report.size.class_count, report.has_class_names) == (50, 200, False)
    embed(folder / "manifest.csv", checkpoint=folder / "run", out=folder / "embeddings", runtime=toy_runtime)
    found, _ = read_embeddings(folder / "embeddings")
    names = {
        "photo": ["photo.png"],
        "text": ["text"],
        "clip": ["clip_00001.png", "clip_00002.png"],
        "sound": ["sound.png"],
    }
    assert {item.medium for item in found.items} == set(Medium)
    for item_id, references in names.items():
        rows = [row for row, item in enumerate(found.items) if item.item_id == item_id]
        theirs = torch.cat([expected[name] for name in references]).numpy()
        assert np.abs(theirs).max() > 0.5
        np.testing.assert_allclose(found.logits[rows], theirs, rtol=0, atol=1e-4)
        unit = theirs / np.linalg.norm(theirs, axis=1, keepdims=True)
        np.testing.assert_allclose(found.embedding[rows], unit, rtol=0, atol=1e-4)


# ---------------------------------------------------------------- small networks


@pytest.fixture
def small_state():
    torch.manual_seed(0)
    network = fgcrossnet(
        class_count=3,
        trunk=trunk_of_depth(10, base_width=4),
        text=text_stem(conv_width=32),
        statistics_per_medium=False,
    )
    return network.state_dict()


@pytest.fixture
def save(tmp_path):
    def save_state(state):
        torch.save(state, tmp_path / "model.pkl")
        return tmp_path / "model.pkl"

    return save_state


def test_import_reads_as_the_released_code_reads(small_state, save, tmp_path):
    run = import_checkpoint(save(small_state), out=tmp_path / "run").run
    config, preset = load_config(run / "config.toml"), load_config("fgcrossnet_released")
    own = {"depth": 10, "base_width": 4, "crop_pixels": 32, "resize_pixels": 37, "text_length": 32, "text_width": 32}
    assert config.model == preset.model.model_copy(update=own)
    assert config.model.released_text
    assert config.model.embedding == "logits"
    assert not config.model.statistics_per_medium
    receipt = json.loads((run / "receipt.json").read_text())
    assert receipt["imported"]["file"] == "model.pkl"
    assert len(receipt["imported"]["sha256"]) == 64


def test_imported_run_is_embedded_evaluated_and_indexed(small_state, save, tmp_path, toy_manifest, toy_runtime):
    names = tmp_path / "classes.txt"
    names.write_text("1 001.Blue\n2 002.Red\n3 003.Green\n")
    run = import_checkpoint(save(small_state), out=tmp_path / "run", classes=names).run
    assert load_checkpoint(run).provenance.class_names == ("Blue", "Red", "Green")
    embed(toy_manifest, checkpoint=run, out=tmp_path / "embeddings", runtime=toy_runtime)
    assert evaluate(tmp_path / "embeddings", protocol="paper").bi_modality > 0
    index(toy_manifest, checkpoint=run, gallery=tmp_path / "gallery", runtime=toy_runtime)


def test_import_without_counters_and_in_half_precision(small_state, save, tmp_path):
    state = {name: tensor.half() for name, tensor in small_state.items() if not name.endswith("num_batches_tracked")}
    run = import_checkpoint(save(state), out=tmp_path / "run").run
    network = load_checkpoint(run).network
    assert network.keys() == small_state.keys()
    assert network["fc.weight"].dtype == torch.float32
    torch.testing.assert_close(network["fc.weight"], small_state["fc.weight"], rtol=1e-3, atol=1e-3)


def test_import_leaves_a_run_as_it_is(small_state, save, tmp_path, toy_run):
    before = RunLayout(toy_run).best.read_bytes()
    with pytest.raises(TrainingError, match="already holds a run"):
        import_checkpoint(save(small_state), out=toy_run)
    assert RunLayout(toy_run).best.read_bytes() == before


def test_import_of_other_names_writes_nothing(small_state, save, tmp_path):
    small_state["fc.wieght"] = small_state.pop("fc.weight")
    with pytest.raises(
        WeightsFileError, match=r"\(fc\.weight\), 1 are unexpected \(fc\.wieght nearest: 'fc\.weight'\)"
    ):
        import_checkpoint(save(small_state), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_import_of_numbers_that_are_not_finite(small_state, save, tmp_path):
    small_state["layer1.0.conv1.weight"][0] = torch.inf
    with pytest.raises(WeightsFileError, match=r"layer1\.0\.conv1\.weight have numbers that are not finite"):
        import_checkpoint(save(small_state), out=tmp_path / "run")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Blue\nRed\n", ["Blue", "Red"]),
        ("1 001.Blue_Jay\n\n2 002.Red\n", ["Blue_Jay", "Red"]),
        ("001.Blue\n002.Red", ["Blue", "Red"]),
        ("2 Spots\n3 Spots", ["2 Spots", "3 Spots"]),
    ],
)
def test_class_names_are_read_with_or_without_numbers(tmp_path, text, expected):
    (tmp_path / "classes.txt").write_text(text)
    assert read_class_names(tmp_path / "classes.txt", count=2) == expected


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"Blue\n", "names 1 class; .* has 2"),
        (b"A\nA\n", "twice: A"),
        (b"\xff\xfe\n", "UTF-8"),
        (None, "cannot be read"),
    ],
)
def test_class_names_that_do_not_fit(tmp_path, content, reason):
    if content is not None:
        (tmp_path / "classes.txt").write_bytes(content)
    with pytest.raises(ConfigError, match=reason):
        read_class_names(tmp_path / "classes.txt", count=2)


# ---------------------------------------------------------------- states with something else


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda state: {f"module.module.{name}": each for name, each in state.items()}, "begin with 'module.module.'"),
        (
            lambda state: {("module." if i % 2 else "") + name: state[name] for i, name in enumerate(state)},
            "and the others do not",
        ),
        (lambda state: {}, "empty state dict"),
        (lambda state: {"state_dict": {}, "epoch": 1}, "empty state dict"),
        (lambda state: state | {"fc2.weight": torch.ones(3, 32), "fc2.bias": torch.ones(3)}, "a second head (fc2.bias"),
        (lambda state: state | {"centers": torch.ones(3, 3)}, "centers of the classes (centers)"),
        (lambda state: state | {"lstm.gate": torch.ones(5, 5)}, "1 are unexpected (lstm.gate"),
    ],
)
def test_a_state_with_something_else_is_named_for_what_it_is(small_state, save, tmp_path, change, reason):
    with pytest.raises(WeightsFileError) as caught:
        import_checkpoint(save(change(small_state)), out=tmp_path / "run")
    assert reason in str(caught.value)


def test_centers_beside_a_network_of_dataparallel_can_be_ignored(small_state, save, tmp_path):
    path = save({f"module.{name}": each for name, each in small_state.items()} | {"centers": torch.ones(3, 3)})
    run = import_checkpoint(path, out=tmp_path / "run", ignored=["centers"]).run
    assert load_checkpoint(RunLayout(run).best).network.keys() == small_state.keys()


def test_an_empty_file_is_said_to_be_empty(tmp_path):
    (tmp_path / "model.pkl").write_bytes(b"")
    with pytest.raises(WeightsFileError, match="it is empty: 0 bytes"):
        import_checkpoint(tmp_path / "model.pkl", out=tmp_path / "run")


def test_ignored_tensors_are_left_out(small_state, save, tmp_path):
    extra = {"fc2.weight": torch.ones(3, 32), "fc2.bias": torch.ones(3), "center_loss.centers": torch.ones(3, 3)}
    path = save({f"module.{name}": each for name, each in (small_state | extra).items()})
    with pytest.raises(WeightsFileError, match=r"or --ignore center_loss\.centers --ignore fc2") as caught:
        import_checkpoint(path, out=tmp_path / "run")
    assert "second head" in str(caught.value)
    run = import_checkpoint(path, out=tmp_path / "run", ignored=["fc2", "center_loss.centers"]).run
    assert load_checkpoint(RunLayout(run).best).network.keys() == small_state.keys()
    with pytest.raises(WeightsFileError, match="no tensor 'fc3' to ignore"):
        import_checkpoint(path, out=tmp_path / "other", ignored=["fc3"])
