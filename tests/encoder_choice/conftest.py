"""A tiny classifier of pictures, with what lies beside such files."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

LABELS = "Cyanocitta cristata (Blue Jay)\nPica nuttalli\nAramus guarauna\nPorzana carolina\nMotacilla cinerea\n"


@pytest.fixture(scope="session")
def make_classifier_file() -> Callable[[Path], Path]:
    """Writes `birds_net.onnx` with a list of labels beside it that shares only the start of its name."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")

    def make(folder: Path) -> Path:
        real = onnx.TensorProto.FLOAT
        weight = np.random.default_rng(0).standard_normal((3, 5)).astype(np.float32)
        nodes = [
            onnx.helper.make_node("ReduceMean", ["pixels"], ["mean"], axes=[2, 3], keepdims=0),
            onnx.helper.make_node("MatMul", ["mean", "weight"], ["features"]),
            onnx.helper.make_node("Mul", ["features", "features"], ["square"]),
            onnx.helper.make_node("Sub", ["square", "features"], ["scores"]),
        ]
        outputs = [onnx.helper.make_tensor_value_info(name, real, ["n", 5]) for name in ("features", "scores")]
        graph = onnx.helper.make_graph(
            nodes,
            "birds",
            [onnx.helper.make_tensor_value_info("pixels", real, ["n", 3, 8, 8])],
            outputs,
            [onnx.numpy_helper.from_array(weight, "weight")],
        )
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8)
        (folder / "birds_net").mkdir(parents=True)
        onnx.save(model, folder / "birds_net.onnx")
        (folder / "birds_labels.txt").write_text(LABELS, encoding="utf-8")
        sizes = {"size": {"height": 12, "width": 12}, "crop_size": {"height": 8, "width": 8}}
        scale = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
        path = folder / "birds_net" / "preprocessor_config.json"
        path.write_text(json.dumps({**sizes, **scale}), encoding="utf-8")
        return folder / "birds_net.onnx"

    return make
