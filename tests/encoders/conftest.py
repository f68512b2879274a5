"""Segments of every medium, and tiny pretrained encoders on disk."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from encoder_files import PREPROCESSOR
from fieldmark.types import AudioContent, ImageContent, Medium, Segment, TextContent, VideoContent


@pytest.fixture(scope="session")
def segments() -> dict[Medium, list[Segment]]:
    """Three different segments of each medium."""
    generator = torch.Generator().manual_seed(7)

    def pixels(*shape: int) -> torch.Tensor:
        return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)

    texts = ["a small bird with red crown", "black wings and white belly", "a bird " * 40]
    waves = [torch.randn(length, generator=generator) * 0.1 for length in (48_000, 144_000, 96_000)]
    return {
        Medium.IMAGE: [Segment(ImageContent(pixels(3, *size))) for size in ((20, 30), (12, 12), (31, 9))],
        Medium.TEXT: [Segment(TextContent(text)) for text in texts],
        Medium.VIDEO: [Segment(VideoContent(pixels(count, 3, 16, 24)), 0.0, 1.0) for count in (1, 3, 2)],
        Medium.AUDIO: [Segment(AudioContent(wave, 48_000), 0.0, len(wave) / 48_000) for wave in waves],
    }


@pytest.fixture(scope="session")
def make_onnx_file() -> Callable[..., Path]:
    """Writes a graph that sums up each channel of a picture, weighted, with its preprocessor file beside it."""
    onnx = pytest.importorskip("onnx")

    def make(folder: Path, *, seed: int = 0, batch: int | str = "batch") -> Path:
        weight = np.random.default_rng(seed).standard_normal((3, 5)).astype(np.float32)
        nodes = [
            onnx.helper.make_node("ReduceMean", ["pixels"], ["mean"], axes=[2, 3], keepdims=0),
            onnx.helper.make_node("MatMul", ["mean", "weight"], ["features"]),
            onnx.helper.make_node("Tanh", ["features"], ["logits"]),
        ]
        real = onnx.TensorProto.FLOAT
        graph = onnx.helper.make_graph(
            nodes,
            "tiny",
            [onnx.helper.make_tensor_value_info("pixels", real, [batch, 3, 8, 8])],
            [onnx.helper.make_tensor_value_info(name, real, [batch, 5]) for name in ("features", "logits")],
            [onnx.numpy_helper.from_array(weight, "weight")],
        )
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8)
        folder.mkdir(parents=True, exist_ok=True)
        onnx.save(model, folder / "tiny.onnx")
        (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR), encoding="utf-8")
        return folder / "tiny.onnx"

    return make
