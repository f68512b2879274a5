"""Fixtures that write tiny pretrained encoders, with what lies beside such files."""

import json
from collections.abc import Callable, Sequence
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


@pytest.fixture(scope="session")
def make_sound_file() -> Callable[..., Path]:
    """Writes a graph of windows of `samples` sounds, in the layout of Perch 2 or BirdNET 3, and a list of labels."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")

    def make(
        folder: Path,
        *,
        name: str = "perch_v2",
        samples: int | str = 160_000,
        outputs: tuple[str, str] = ("embedding", "label"),
        labels: str | None = LABELS,
        holds_probabilities: bool = False,
    ) -> Path:
        real, helper = onnx.TensorProto.FLOAT, onnx.helper
        weight = np.random.default_rng(0).standard_normal((3, 5)).astype(np.float32)
        reduced = [("ReduceMax", "most"), ("ReduceMean", "mean"), ("ReduceL2", "length")]
        nodes = [
            *(helper.make_node(kind, ["inputs"], [name_], axes=[1], keepdims=1) for kind, name_ in reduced),
            helper.make_node("Concat", [name_ for _, name_ in reduced], [outputs[0]], axis=1),
            helper.make_node("MatMul", [outputs[0], "weight"], ["scores"]),
            helper.make_node("Sigmoid" if holds_probabilities else "Identity", ["scores"], [outputs[1]]),
        ]
        graph = helper.make_graph(
            nodes,
            "sounds",
            [helper.make_tensor_value_info("inputs", real, ["batch", samples])],
            [
                helper.make_tensor_value_info(name_, real, ["batch", size])
                for name_, size in zip(outputs, (3, 5), strict=True)
            ],
            [onnx.numpy_helper.from_array(weight, "weight")],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        folder.mkdir(parents=True, exist_ok=True)
        onnx.save(model, folder / f"{name}.onnx")
        if labels is not None:
            (folder / "labels.csv").write_text(labels, encoding="utf-8")
        return folder / f"{name}.onnx"

    return make


@pytest.fixture(scope="session")
def make_image_classifier_folder() -> Callable[..., Path]:
    """Writes a tiny picture classifier with random weights, which names the five species of `LABELS`."""
    transformers = pytest.importorskip("transformers")

    def make(folder: Path, *, labels: Sequence[str] = tuple(LABELS.splitlines())) -> Path:
        torch.manual_seed(0)
        config = transformers.ViTConfig(
            hidden_size=6,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=8,
            image_size=8,
            patch_size=4,
            id2label=dict(enumerate(labels)),
            label2id={label: index for index, label in enumerate(labels)},
        )
        model = transformers.ViTForImageClassification(config)
        torch.nn.init.normal_(model.classifier.weight)
        model.save_pretrained(folder)
        (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR), encoding="utf-8")
        return folder

    return make


@pytest.fixture(scope="session")
def make_sound_classifier_folder() -> Callable[..., Path]:
    """Writes a tiny sound classifier in the layout of AST, with random weights, which names the species of `LABELS`."""
    transformers = pytest.importorskip("transformers")

    def make(folder: Path) -> Path:
        torch.manual_seed(0)
        labels = LABELS.splitlines()
        config = transformers.ASTConfig(
            hidden_size=8,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=8,
            num_mel_bins=16,
            max_length=100,
            id2label=dict(enumerate(labels)),
            label2id={label: index for index, label in enumerate(labels)},
        )
        model = transformers.ASTForAudioClassification(config)
        for weight in model.parameters():  # the usual start hardly tells one sound from another
            torch.nn.init.normal_(weight, std=0.5)
        model.save_pretrained(folder)
        extractor = transformers.ASTFeatureExtractor(sampling_rate=16_000, num_mel_bins=16, max_length=100)
        extractor.save_pretrained(folder)
        return folder

    return make


@pytest.fixture(scope="session")
def make_joint_folder(make_text_folder) -> Callable[..., Path]:
    """Writes a tiny model with two towers and random weights, in the layout of CLIP, SigLIP or CLAP."""
    transformers = pytest.importorskip("transformers")

    def make(folder: Path, *, kind: str = "clip") -> Path:
        torch.manual_seed(0)
        make_text_folder(folder)  # for its tokenizer; the model is written over
        sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
        text = {**sizes, "vocab_size": 20, "max_position_embeddings": 34, "projection_dim": 6}
        picture = {**sizes, "image_size": 8, "patch_size": 4, "projection_dim": 6}
        if kind == "clap":
            audio = transformers.ClapAudioConfig(
                patch_embeds_hidden_size=8,
                hidden_size=16,
                spec_size=32,
                num_mel_bins=8,
                window_size=2,
                depths=[1, 1],
                num_attention_heads=[1, 1],
                enable_fusion=False,
                projection_dim=6,
                num_classes=3,
            )
            own = transformers.ClapTextConfig(**{**text, "pad_token_id": 0, "max_position_embeddings": 40})
            model = transformers.ClapModel(
                transformers.ClapConfig(text_config=own, audio_config=audio, projection_dim=6)
            )
            transformers.ClapFeatureExtractor(
                feature_size=8, max_length_s=1, truncation="rand_trunc", padding="repeatpad", sampling_rate=48_000
            ).save_pretrained(folder)
        else:
            config_class, model_class = {
                "clip": (transformers.CLIPConfig, transformers.CLIPModel),
                "siglip": (transformers.SiglipConfig, transformers.SiglipModel),
            }[kind]
            tokens = {"eos_token_id": 3, "bos_token_id": 2, "pad_token_id": 0}
            joint = {"projection_dim": 6} if kind == "clip" else {}
            model = model_class(config_class(text_config={**text, **tokens}, vision_config=picture, **joint))
            (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR), encoding="utf-8")
        for weight in model.parameters():
            if weight.dim() > 1:
                torch.nn.init.normal_(weight, std=0.5)
        model.eval().save_pretrained(folder)
        return folder

    return make


@pytest.fixture(scope="session")
def make_trunk_folder() -> Callable[..., Path]:
    """Writes a tiny convolutional picture network with random weights and statistics."""
    transformers = pytest.importorskip("transformers")

    def make(folder: Path) -> Path:
        torch.manual_seed(0)
        config = transformers.ResNetConfig(
            embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", num_labels=5
        )
        network = transformers.ResNetForImageClassification(config)
        for name, buffer in network.named_buffers():
            if name.endswith("running_mean"):
                buffer.uniform_(-0.2, 0.2)
            elif name.endswith("running_var"):
                buffer.uniform_(0.5, 1.5)
        network.save_pretrained(folder)
        (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR), encoding="utf-8")
        return folder

    return make
