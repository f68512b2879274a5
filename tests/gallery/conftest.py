"""Made-up segments, and a store of each kind to put them in."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fieldmark import load_config
from fieldmark.gallery.lance import LanceIndex
from fieldmark.gallery.store import SegmentIndex
from fieldmark.types import Embeddings, Item, Medium

UnitRows = Callable[..., np.ndarray]
EmbeddingsOf = Callable[..., Embeddings]

LABELS = "Rufus ruber (Red Bird)\nViridis (Green Bird)\nCaeruleus (Blue Bird)\n"
COLORS = {"Red_Bird": (250, 20, 20), "Green_Bird": (20, 250, 20), "Blue_Bird": (20, 20, 250)}
CONFIG = """
[model]
kind = "shared_space"
dim = 16
hidden_dim = 16

[[model.image]]
kind = "onnx_image"
path = "colors.onnx"
labels = "labels.txt"

[[losses]]
kind = "classification"

[data]
classes_per_batch = 2
items_per_class = 2
validation_share = 0.0

[train]
epochs = 1
"""


@pytest.fixture(scope="session")
def unit_rows() -> UnitRows:
    """Makes random rows of length 1."""

    def make(count: int, *, seed: int = 0, dim: int = 8) -> np.ndarray:
        rows = np.random.default_rng(seed).normal(size=(count, dim))
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)

    return make


@pytest.fixture(scope="session")
def embeddings_of() -> EmbeddingsOf:
    """Makes embeddings of (item, rows) in turn; sound and video get times, three seconds to a segment."""

    def make(*parts: tuple[Item, np.ndarray]) -> Embeddings:
        start_seconds = [
            3.0 * place if item.medium in {Medium.VIDEO, Medium.AUDIO} else np.nan
            for item, rows in parts
            for place in range(len(rows))
        ]
        return Embeddings(
            items=tuple(item for item, rows in parts for _ in rows),
            start_seconds=np.array(start_seconds, dtype=np.float64),
            end_seconds=np.array(start_seconds, dtype=np.float64) + 3.0,
            embedding=np.concatenate([rows for _, rows in parts]),
        )

    return make


@pytest.fixture(scope="session", params=["exact", "approximate", "milvus"])
def create_index(request: pytest.FixtureRequest) -> Callable[[Path], SegmentIndex]:
    """Makes an empty store of 8 dimensions, of each implementation in turn."""
    match request.param:
        case "milvus":
            from milvus_engine import MilvusStores

            return MilvusStores(request.getfixturevalue("milvus_server")).make_empty
        case "exact":
            return lambda folder: LanceIndex.create(folder, fingerprint="sparrow", dim=8)
        case "approximate":
            return lambda folder: LanceIndex.create(folder, fingerprint="sparrow", dim=8, exact_rows=0)
        case other:
            raise AssertionError(other)


@pytest.fixture
def index(create_index, tmp_path: Path) -> SegmentIndex:
    """An empty store of 8 dimensions."""
    return create_index(tmp_path / "index")


@pytest.fixture(scope="session")
def color_config(tmp_path_factory):
    """A model of pictures whose encoder tells three colors apart, and names them."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    folder = tmp_path_factory.mktemp("colors")
    nodes = [
        onnx.helper.make_node("ReduceMean", ["pixels"], ["features"], axes=[2, 3], keepdims=0),
        onnx.helper.make_node("Mul", ["features", "factor"], ["logits"]),
    ]
    infos = {
        name: onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name, shape in (
            ("pixels", ["batch", 3, 8, 8]),
            ("features", ["batch", 3]),
            ("logits", ["batch", 3]),
        )
    }
    factor = onnx.numpy_helper.from_array(np.array(4.0, dtype=np.float32), "factor")
    graph = onnx.helper.make_graph(nodes, "colors", [infos["pixels"]], [infos["features"], infos["logits"]], [factor])
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8),
        folder / "colors.onnx",
    )
    sizes = {"size": {"height": 8, "width": 8}, "crop_size": {"height": 8, "width": 8}}
    scale = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.25, 0.25]}
    (folder / "preprocessor_config.json").write_text(json.dumps({**sizes, **scale}), encoding="utf-8")
    (folder / "labels.txt").write_text(LABELS, encoding="utf-8")
    (folder / "config.toml").write_text(CONFIG, encoding="utf-8")
    return load_config(folder / "config.toml")


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """Five pictures of each color, by class."""
    folder, generator = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    paths = {}
    for name, color in COLORS.items():
        for number in range(5):
            path = folder / f"{name[0].lower()}{number}.png"
            pixels = np.clip(np.array(color) + generator.integers(-20, 21, size=(24, 24, 3)), 0, 255)
            Image.fromarray(pixels.astype(np.uint8)).save(path)
            paths.setdefault(name, []).append(path)
    return paths
