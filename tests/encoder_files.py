"""Fixtures that write tiny pretrained encoders, with what lies beside such files."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

PREPROCESSOR = {
    "size": {"height": 12, "width": 12},
    "crop_size": {"height": 8, "width": 8},
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
}
WORDS = ["a", "small", "bird", "with", "red", "crown", "black", "wings", "and", "white", "belly"]
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
        path = folder / "birds_net" / "preprocessor_config.json"
        path.write_text(json.dumps(PREPROCESSOR), encoding="utf-8")
        return folder / "birds_net.onnx"

    return make


@pytest.fixture(scope="session")
def make_vision_folder() -> Callable[..., Path]:
    """Writes a tiny vision transformer with random weights."""
    transformers = pytest.importorskip("transformers")

    def make(folder: Path, *, seed: int = 0, has_pooler: bool = True) -> Path:
        torch.manual_seed(seed)
        config = transformers.ViTConfig(
            hidden_size=6, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, image_size=8, patch_size=4
        )
        transformers.ViTModel(config, add_pooling_layer=has_pooler).save_pretrained(folder)
        (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR), encoding="utf-8")
        return folder

    return make


@pytest.fixture(scope="session")
def make_text_folder() -> Callable[..., Path]:
    """Writes a tiny language model with random weights and a tokenizer of a few words."""
    transformers = pytest.importorskip("transformers")
    tokenizers = pytest.importorskip("tokenizers")

    def make(folder: Path, *, seed: int = 0) -> Path:
        torch.manual_seed(seed)
        known = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS]
        tokenizer = tokenizers.Tokenizer(
            tokenizers.models.WordLevel({word: place for place, word in enumerate(known)}, unk_token=known[1])
        )
        tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
        tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
        names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
        transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=32, **names).save_pretrained(
            folder
        )
        config = transformers.BertConfig(
            vocab_size=len(known),
            hidden_size=6,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=8,
            max_position_embeddings=32,
        )
        transformers.BertModel(config).save_pretrained(folder)
        return folder

    return make
