"""BERT in plain PyTorch: its usual form, computed without the library `transformers`, whose import takes seconds."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import embedding, gelu, layer_norm, linear, scaled_dot_product_attention

from fieldmark.encoders.text_model import TextModel, Windows

_USUAL = {
    "hidden_act": "gelu",
    "position_embedding_type": "absolute",
    "is_decoder": False,
    "add_cross_attention": False,
    "quantization_config": None,
}
"""Settings of the form that is computed here; one that a configuration does not name has this value too."""
_AS_WRITTEN = ("PreTrainedTokenizerFast", "TokenizersBackend")
"""Tokenizers that are what their file says."""
_NORMALIZER = {"lowercase": "do_lower_case", "handle_chinese_chars": "tokenize_chinese_chars", "strip_accents": None}
_TABLES = ("word_embeddings", "position_embeddings", "token_type_embeddings")
_PARTS = (
    *(f"attention.self.{part}" for part in ("query", "key", "value")),
    *("attention.output.dense", "attention.output.LayerNorm"),
    *("intermediate.dense", "output.dense", "output.LayerNorm"),
)


@final
class Bert(TextModel):
    """The last hidden states of BERT (Devlin et al., NAACL 2019), with exact GELU and absolute positions.

    Args:
        weights: By their names in a checkpoint of the model without a head.
        tokens: The tokens of texts.
    """

    def __init__(
        self, weights: Mapping[str, Tensor], *, tokens: "WordPieces", head_count: int, norm_epsilon: float
    ) -> None:
        self._weights = weights
        self._tokens = tokens
        self._head_count = head_count
        self._norm_epsilon = norm_epsilon
        self._layer_count = _count_layers(weights)

    @property
    def unknown_id(self) -> int:
        """The token of what has none of its own."""
        return self._tokens.unknown_id

    @property
    def longest_tokens(self) -> int:
        """The most tokens that are read at once."""
        return self._tokens.longest_tokens

    def split(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of each text, without those that stand for no part of it."""
        return self._tokens.split(texts)

    def cut(self, texts: Sequence[str], *, window_tokens: int) -> Windows:
        """Return texts in windows; an empty text has one too."""
        return self._tokens.cut(texts, window_tokens=window_tokens)

    def read(self, inputs: Mapping[str, Tensor]) -> Float[Tensor, "window token dim"]:
        """Return the state of each token; what the mask leaves out is seen by no other token."""
        input_ids: Int[Tensor, "window token"] = inputs["input_ids"]
        positions = self._weights["embeddings.position_embeddings.weight"][: input_ids.shape[1]]
        first_sentence = self._weights["embeddings.token_type_embeddings.weight"][0]
        words = embedding(input_ids, self._weights["embeddings.word_embeddings.weight"])
        state = self._normalize(words + first_sentence + positions, "embeddings.LayerNorm")
        is_seen = inputs["attention_mask"].bool()[:, None, None, :]
        for layer in range(self._layer_count):
            state = self._apply_layer(state, is_seen, f"encoder.layer.{layer}")
        return state

    def _apply_layer(
        self, state: Float[Tensor, "window token dim"], is_seen: Bool[Tensor, "window 1 1 token"], name: str
    ) -> Float[Tensor, "window token dim"]:
        heads = (*state.shape[:2], self._head_count, -1)
        query, key, value = (
            self._apply(state, f"{name}.attention.self.{part}").view(heads).transpose(1, 2)
            for part in ("query", "key", "value")
        )
        attended = scaled_dot_product_attention(query, key, value, attn_mask=is_seen).transpose(1, 2).flatten(2)
        attended = self._apply(attended, f"{name}.attention.output.dense")
        state = self._normalize(attended + state, f"{name}.attention.output.LayerNorm")
        widened = gelu(self._apply(state, f"{name}.intermediate.dense"))
        return self._normalize(self._apply(widened, f"{name}.output.dense") + state, f"{name}.output.LayerNorm")

    def _apply(self, state: Float[Tensor, "window token dim"], name: str) -> Float[Tensor, "window token out"]:
        return linear(state, self._weights[f"{name}.weight"], self._weights[f"{name}.bias"])

    def _normalize(self, state: Float[Tensor, "window token dim"], name: str) -> Float[Tensor, "window token dim"]:
        weight, bias = self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]
        return layer_norm(state, weight.shape, weight, bias, self._norm_epsilon)


@final
class WordPieces:
    """The tokens of texts, as a file of the library `tokenizers` has them.

    Args:
        spelling: The tokenizer's configuration.

    Raises:
        KeyError, TypeError, ValueError: It is not usual.
    """

    def __init__(self, folder: Path, spelling: Mapping[str, object]) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        names = ("cls_token", "sep_token", "pad_token", "unk_token")
        begin, end, fill, unknown = (self._tokenizer.token_to_id(str(spelling[name])) for name in names)
        if begin is None or end is None or fill is None or unknown is None:
            raise KeyError(names)
        self._begin, self._end, self._fill, self.unknown_id = begin, end, fill, unknown
        self.longest_tokens = int(str(spelling["model_max_length"]))
        if self._tokenizer.encode("").ids != [self._begin, self._end]:
            raise ValueError(folder)

    def split(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of each text alone."""
        return [each.ids for each in self._tokenizer.encode_batch(list(texts), add_special_tokens=False)]

    def cut(self, texts: Sequence[str], *, window_tokens: int) -> Windows:
        """Return the tokens of texts in windows, each with a token that begins it and one that ends it."""
        step = window_tokens - 2
        rows, owner = list[list[int]](), list[int]()
        for position, tokens in enumerate(self.split(texts)):
            for start in range(0, max(len(tokens), 1), step):
                rows.append([self._begin, *tokens[start : start + step], self._end])
                owner.append(position)
        longest = max(map(len, rows))
        filled = torch.tensor([row + [self._fill] * (longest - len(row)) for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
        return Windows({"input_ids": filled, "attention_mask": mask}, torch.tensor(owner))


def load_bert(folder: Path) -> Bert | None:
    """Return the model in a folder; None where anything is not as usual, so that the library must read it."""
    settings, spelling = _read(folder / "config.json"), _read(folder / "tokenizer_config.json")
    is_usual = settings.get("model_type") == "bert" and settings.get("architectures") == ["BertModel"]
    if not is_usual or any(settings.get(name, usual) != usual for name, usual in _USUAL.items()):
        return None
    if not _is_spelled_as_written(_read(folder / "tokenizer.json"), spelling):
        return None
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError:
        return None
    try:
        weights = load_file(folder / "model.safetensors")
        tokens = WordPieces(folder, spelling)
    except (ImportError, OSError, KeyError, ValueError, TypeError, SafetensorError):
        return None
    if not _is_complete(weights, layer_count=settings.get("num_hidden_layers")):
        return None
    head_count, norm_epsilon = (str(settings.get(name)) for name in ("num_attention_heads", "layer_norm_eps"))
    return Bert(weights, tokens=tokens, head_count=int(head_count), norm_epsilon=float(norm_epsilon))


def _is_spelled_as_written(file: Mapping[str, object], spelling: Mapping[str, object]) -> bool:
    """Tell whether the file of a tokenizer says all of it: the library also asks the configuration of some."""
    if spelling.get("tokenizer_class") in _AS_WRITTEN:
        return True
    normalizer = file.get("normalizer")
    if spelling.get("tokenizer_class") not in {"BertTokenizer", "BertTokenizerFast"} or not isinstance(
        normalizer, dict
    ):
        return False
    return normalizer.get("type") == "BertNormalizer" and all(
        name in normalizer and spelling.get(key or name, normalizer[name]) == normalizer[name]
        for name, key in _NORMALIZER.items()
    )


def _is_complete(weights: Mapping[str, Tensor], *, layer_count: object) -> bool:
    names = [f"embeddings.{table}.weight" for table in _TABLES]
    layers = [f"encoder.layer.{number}" for number in range(_count_layers(weights))]
    pairs = ["embeddings.LayerNorm", *(f"{layer}.{part}" for layer in layers for part in _PARTS)]
    names += [f"{pair}.{kind}" for pair in pairs for kind in ("weight", "bias")]
    is_there = all(name in weights and weights[name].dtype == torch.float32 for name in names)
    return is_there and _count_layers(weights) == layer_count


def _count_layers(weights: Mapping[str, Tensor]) -> int:
    return len({name.split(".")[2] for name in weights if name.startswith("encoder.layer.")})


def _read(path: Path) -> dict[str, object]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
