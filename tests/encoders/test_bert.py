"""BERT in plain PyTorch: the same numbers as the library, and only where all is as usual."""

import json
import subprocess
import sys

import pytest
import torch

from fieldmark.encoders.bert import load_bert
from fieldmark.encoders.transformer_model import LibraryTextModel

pytest.importorskip("transformers")

TEXTS = ["a bird", "", "red crown a bird " * 20, "ünknown 鳥 [SEP] bird"]


@pytest.mark.parametrize("window_tokens", [6, 32])
def test_bert_reads_texts_as_the_library_does(make_text_folder, tmp_path, window_tokens):
    folder = make_text_folder(tmp_path)
    plain, library = load_bert(folder), LibraryTextModel("model", folder)
    assert plain is not None
    assert (plain.unknown_id, plain.longest_tokens) == (library.unknown_id, library.longest_tokens)
    assert plain.split(TEXTS) == library.split(TEXTS)
    ours, theirs = (model.cut(TEXTS, window_tokens=window_tokens) for model in (plain, library))
    assert torch.equal(ours.owner, theirs.owner)
    for name in ("input_ids", "attention_mask"):
        assert torch.equal(ours.inputs[name], theirs.inputs[name])
    counts = ours.inputs["attention_mask"].bool()
    with torch.no_grad():
        torch.testing.assert_close(plain.read(ours.inputs)[counts], library.read(theirs.inputs)[counts])


@pytest.mark.parametrize(
    ("file", "changed"),
    [
        ("config.json", {"hidden_act": "relu"}),
        ("config.json", {"model_type": "roberta"}),
        ("config.json", {"architectures": ["BertForMaskedLM"]}),
        ("config.json", {"num_hidden_layers": 2}),
        ("config.json", {"quantization_config": {}}),
        ("tokenizer_config.json", {"tokenizer_class": "BertTokenizer"}),
        ("tokenizer_config.json", {"unk_token": "<nowhere>"}),
        ("tokenizer_config.json", {"model_max_length": 1e30}),
        ("tokenizer.json", {"post_processor": None}),
    ],
)
def test_what_is_not_as_usual_is_left_to_the_library(make_text_folder, tmp_path, file, changed):
    folder = make_text_folder(tmp_path)
    path = folder / file
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))
    assert load_bert(folder) is None


def test_weights_that_are_missing_or_damaged_are_left_to_the_library(make_text_folder, tmp_path):
    folder = make_text_folder(tmp_path)
    (folder / "model.safetensors").write_bytes(b"no weights")
    assert load_bert(folder) is None
    (folder / "model.safetensors").unlink()
    assert load_bert(folder) is None


def test_a_usual_text_encoder_is_opened_without_the_library(make_text_folder, tmp_path):
    code = (
        "import sys; from fieldmark.encoders.transformer import TransformersTextEncoder; "
        f"TransformersTextEncoder({str(make_text_folder(tmp_path))!r}, allow_download=False); "
        "print('transformers' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout.strip() == "False"
