"""Fixtures every room may use: the shared media, and one small four-media set with a run, embeddings and a gallery."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import settings

if TYPE_CHECKING:
    # Imported in the fixtures: modules loaded before pytest is configured escape the check of tensor axes.
    from fieldmark import Config, Host

# A time limit for each example would make the outcome depend on how busy the machine is.
settings.register_profile("without_deadline", deadline=None)
settings.load_profile("without_deadline")

# Small tensors: on a loaded machine a second thread makes the tests many times slower.
torch.set_num_threads(1)

TOY_OVERRIDES = (
    "model.base_width=4",
    "model.resize_pixels=32",
    "model.crop_pixels=32",
    "model.text_width=32",
    "model.text_length=64",
    "model.max_frames=2",
    "data.classes_per_batch=3",
    "data.items_per_class=2",
    "train.epochs=2",
    "train.lr=2e-3",
)


@pytest.fixture(scope="session")
def shared_folder() -> Path:
    """The folder of real media and models that stands beside the checkout, where there is one."""
    folder = Path(os.environ.get("FIELDMARK_TEST_SHARED", Path(__file__).resolve().parents[2] / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip("the shared media are not beside this checkout")
    return folder


@pytest.fixture(scope="session")
def toy_overrides() -> tuple[str, ...]:
    """What makes the preset `tiny` a matter of a second."""
    return TOY_OVERRIDES


@pytest.fixture(scope="session")
def toy_config(toy_overrides: tuple[str, ...]) -> "Config":
    """FGCrossNet at its smallest."""
    from fieldmark import load_config

    return load_config("tiny", overrides=toy_overrides)


@pytest.fixture(scope="session")
def toy_host(tmp_path_factory: pytest.TempPathFactory) -> "Host":
    """The CPU, and a feature cache of its own."""
    from fieldmark import Host

    return Host(cache=tmp_path_factory.mktemp("cache"), device="cpu")


@pytest.fixture(scope="session")
def toy_manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three species, six items of each in each medium, two of them test items."""
    from fieldmark import synthesize

    return synthesize(tmp_path_factory.mktemp("toy") / "aviary", class_count=3, items_per_medium=6, seed=1)


@pytest.fixture(scope="session")
def toy_run(toy_manifest: Path, toy_config: "Config", toy_host: "Host") -> Path:
    """FGCrossNet trained on the toy set. Only to be read."""
    from fieldmark import train

    return train(toy_manifest, out=toy_manifest.parents[1] / "run", config=toy_config, host=toy_host).run


@pytest.fixture(scope="session")
def toy_embeddings(toy_manifest: Path, toy_run: Path, toy_host: "Host") -> Path:
    """Embeddings of the test split. Only to be read."""
    from fieldmark import embed

    return embed(toy_manifest, checkpoint=toy_run, out=toy_run.with_name("embeddings"), host=toy_host).folder


@pytest.fixture(scope="session")
def toy_gallery(toy_manifest: Path, toy_run: Path, toy_host: "Host") -> Path:
    """A gallery of the whole toy set. Only to be read."""
    from fieldmark import index

    return index(toy_manifest, checkpoint=toy_run, gallery=toy_run.with_name("gallery"), host=toy_host).gallery


@pytest.fixture(scope="session")
def shared_space_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration of the default model, and an encoder of pictures that gives the colors of a 4 x 4 grid."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    folder = tmp_path_factory.mktemp("encoder")
    real = onnx.TensorProto.FLOAT
    nodes = [
        onnx.helper.make_node("AveragePool", ["pixels"], ["grid"], kernel_shape=[4, 4], strides=[4, 4]),
        onnx.helper.make_node("Flatten", ["grid"], ["features"], axis=1),
    ]
    graph = onnx.helper.make_graph(
        nodes,
        "grid",
        [onnx.helper.make_tensor_value_info("pixels", real, ["batch", 3, 16, 16])],
        [onnx.helper.make_tensor_value_info("features", real, ["batch", 48])],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, folder / "grid.onnx")
    sizes = {"size": {"height": 16, "width": 16}, "crop_size": {"height": 16, "width": 16}}
    scale = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.25, 0.25]}
    (folder / "preprocessor_config.json").write_text(json.dumps({**sizes, **scale}), encoding="utf-8")
    (folder / "config.toml").write_text(
        """
        [model]
        kind = "shared_space"
        dim = 16
        hidden_dim = 32
        image = [{kind = "onnx_image", path = "grid.onnx"}]
        video = [{kind = "onnx_image", path = "grid.onnx"}]
        text = [{kind = "lexical_text", dim = 256}]

        [[losses]]
        kind = "classification"

        [[losses]]
        kind = "ranking"

        [data]
        classes_per_batch = 3
        items_per_class = 1

        [train]
        epochs = 4
        """,
        encoding="utf-8",
    )
    return folder
