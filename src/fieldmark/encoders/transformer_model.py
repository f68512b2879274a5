"""A model of the `transformers` library as features and, where it names classes, their probabilities."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, final

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from fieldmark.encoders.encoder import iterate_batches
from fieldmark.encoders.labels import ClassNames, index_names, read_labels
from fieldmark.encoders.text_model import TextModel, Windows
from fieldmark.encoders.transformer_files import (
    KEY,
    OWN_LABELS,
    has_text_tower,
    is_classifier,
    load_model,
    load_tokenizer,
    read_own_labels,
)
from fieldmark.errors import EncoderFilesError, read_first_line

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase
    from transformers.modeling_outputs import ModelOutput

Tower = Literal["image", "audio"]
_BATCH_SIZE = 16


@final
class LibraryTextModel(TextModel):
    """Any language model of the library, and its tokens.

    Args:
        name: For messages.

    Raises:
        MissingExtraError: The library is not installed.
        EncoderFilesError: The files are no language model with a tokenizer and safetensors weights.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self._tokenizer = load_tokenizer(name, folder)
        self._model, _ = load_model(name, folder)

    @property
    def unknown_id(self) -> int | None:
        """The token of what has none of its own; None where there is nothing of the kind."""
        found: int | None = self._tokenizer.unk_token_id
        return found

    @property
    def longest_tokens(self) -> int:
        """The most tokens that are read at once."""
        return int(self._tokenizer.model_max_length)

    def split(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of each text, without those that stand for no part of it."""
        found: list[list[int]] = self._tokenizer(list(texts), add_special_tokens=False)["input_ids"]
        return found

    def cut(self, texts: Sequence[str], *, window_tokens: int) -> Windows:
        """Return texts in windows; an empty text has one too."""
        inputs = self._tokenizer(
            list(texts),
            truncation=True,
            max_length=window_tokens,
            return_overflowing_tokens=True,  # a text's further windows become rows of their own
            padding=True,
            return_tensors="pt",
        )
        owner = inputs.pop("overflow_to_sample_mapping")
        return Windows(dict(inputs), owner)

    def read(self, inputs: Mapping[str, Tensor]) -> Float[Tensor, "window token dim"]:
        """Return the last hidden state of each token."""
        state: Tensor = self._model(**inputs).last_hidden_state
        return state.float()

    def open_tower(self) -> "TextTower":
        """Return the tower for texts of a model that has two."""
        return TextTower(self._model, self._tokenizer)


@final
class FeatureModel:
    """The pooled output of a model and, behind it, the square roots of its probabilities of classes.

    A model names classes in two ways: a classifier has a list in its configuration (`id2label`); a model with a tower
    for texts as well (CLIP, SigLIP, CLAP) scores any list of names. Every other model gives its pooled output alone.
    Where a checkpoint lacks the pooling layer's weights, the first token of a picture is read, and the mean over the
    time of a sound.

    Args:
        name: Of the model, for messages.
        folder: Its files.
        tower: The medium that is read.
        has_named_scores: Whether a classifier's scores follow the features.
        names: A list of names to score, as `read_labels` reads it; None for none.
        prompt: The text that a name is put in before the tower for texts reads it, with `{}` for the name.

    Raises:
        MissingExtraError: The library is not installed.
        EncoderFilesError: The files are no such model, or it cannot score names.
    """

    def __init__(
        self, name: str, folder: Path, *, tower: Tower, has_named_scores: bool, names: Path | None, prompt: str
    ) -> None:
        labels = read_own_labels(folder) if has_named_scores and is_classifier(folder, tower=tower) else ()
        self._tower, self._prompt = tower, prompt
        self._model, self._has_pooler = load_model(name, folder, head=tower if labels else None)
        self._has_two_towers = has_text_tower(folder)
        if names is not None and not self._has_two_towers:
            reason = "it has no tower for texts, as CLIP, SigLIP and CLAP have, so it cannot score a list of names"
            raise EncoderFilesError(name=name, reason=reason, key="names")
        self.class_names: ClassNames = labels if names is None else read_labels(names)
        self._text_tower = TextTower(self._model, load_tokenizer(name, folder)) if self._has_two_towers else None
        self._directions = (
            self._text_tower.encode_names(self.class_names, prompt=prompt)
            if names is not None and self._text_tower is not None
            else None
        )
        self.feature_dim = 0

    @property
    def named_facts(self) -> dict[str, object]:
        """The facts that its scores depend on beside the model's files; empty where it names nothing."""
        if self._directions is not None:
            return {"scored names": self.class_names, "prompt": self._prompt}
        return {OWN_LABELS: self.class_names} if self.class_names else {}

    @property
    def is_joint(self) -> bool:
        """True if its features can be compared with those of the same model's tower for texts."""
        return self._has_two_towers

    def try_out(self, inputs: Mapping[str, Tensor], *, name: str) -> int:
        """Return the dimension of all that the model gives, found with one input: configurations tell it in many ways.

        Raises:
            EncoderFilesError: The model does not take this input.
        """
        try:
            dim = self.infer(inputs).shape[1]
        except (TypeError, ValueError, RuntimeError, AttributeError, LookupError) as error:
            shapes = ", ".join(f"{key} of {tuple(value.shape)}" for key, value in inputs.items())
            reason = f"it does not take {shapes}: {read_first_line(error)}"
            raise EncoderFilesError(name=name, reason=reason, key=KEY) from error
        self.feature_dim = dim - len(self.class_names)
        return dim

    @property
    def named_scores(self) -> dict[str, int]:
        """Index of each score by the names of its class, once the model was tried out."""
        return index_names(self.class_names, start=self.feature_dim)

    @torch.no_grad()
    def infer(self, inputs: Mapping[str, Tensor]) -> Float[Tensor, "batch dim"]:
        """Return features and, behind them, the square roots of the probabilities of named classes."""
        if self._has_two_towers:
            features = self._infer_tower(inputs)
            if self._directions is None:
                return features
            probabilities = self._score(normalize(features, dim=1) @ self._directions.T)
            return torch.cat([features, probabilities.sqrt()], dim=1)
        if not self.class_names:
            return self._pool(self._model(**inputs))
        return self._infer_classifier(inputs)

    def _infer_tower(self, inputs: Mapping[str, Tensor]) -> Float[Tensor, "batch dim"]:
        read: Callable[..., ModelOutput] = getattr(self._model, f"get_{self._tower}_features")
        features: Tensor = read(**inputs).pooler_output
        return features.flatten(1).float()

    def _score(self, cosines: Float[Tensor, "batch class"]) -> Float[Tensor, "batch class"]:
        """Return probabilities, by the temperature that the model learned with its two towers."""
        scale: Tensor = self._model.logit_scale_a if self._tower == "audio" else self._model.logit_scale
        logits = cosines * scale.exp()
        bias: Tensor | None = getattr(self._model, "logit_bias", None)
        return logits.softmax(dim=1) if bias is None else (logits + bias).sigmoid()  # SigLIP: each name fits or not

    def _infer_classifier(self, inputs: Mapping[str, Tensor]) -> Float[Tensor, "batch dim"]:
        """Run the network once: its trunk's output is caught on the way to the classifier."""
        caught: list[ModelOutput] = []
        hook = self._model.base_model.register_forward_hook(lambda _module, _inputs, output: caught.append(output))
        try:
            logits: Tensor = self._model(**inputs).logits.float()
        finally:
            hook.remove()
        is_multiple = self._model.config.problem_type == "multi_label_classification"
        probabilities = logits.sigmoid() if is_multiple else logits.softmax(dim=1)
        return torch.cat([self._pool(caught[0]), probabilities.sqrt()], dim=1)

    def _pool(self, output: "ModelOutput") -> Float[Tensor, "batch dim"]:
        pooled = getattr(output, "pooler_output", None) if self._has_pooler else None
        if pooled is not None:
            features: Tensor = pooled
        elif self._tower == "image":
            features = output.last_hidden_state[:, 0]
        else:
            features = output.last_hidden_state.mean(dim=1)
        return features.flatten(1).float()


@final
class TextTower:
    """The side of a model with two towers that reads texts, into the space of its pictures or sounds."""

    def __init__(self, model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase") -> None:
        self._model = model
        self._tokenizer = tokenizer
        own = model.config.text_config.max_position_embeddings
        # RoBERTa, in CLAP, counts its positions from behind the padding token's number.
        reserved = model.config.text_config.pad_token_id + 1 if model.config.model_type == "clap" else 0
        self.longest_tokens = min(tokenizer.model_max_length, own - reserved)

    @torch.no_grad()
    def encode(self, texts: Sequence[str]) -> Float[Tensor, "text dim"]:
        """Return vectors of length 1; a text of more tokens than the tower takes is read in windows, and averaged."""
        # SigLIP was trained on texts that were padded to its full length, and reads its last token.
        is_siglip = self._model.config.model_type.startswith("siglip")
        windows = self._tokenizer(
            list(texts),
            truncation=True,
            max_length=self.longest_tokens,
            return_overflowing_tokens=True,
            padding="max_length" if is_siglip else True,
            return_tensors="pt",
        )
        owner: Tensor = windows.pop("overflow_to_sample_mapping")
        if is_siglip:
            windows.pop("attention_mask", None)
        features = [
            normalize(
                self._model.get_text_features(
                    **{key: values[list(part)] for key, values in windows.items()}
                ).pooler_output.float(),
                dim=1,
            )
            for part in iterate_batches(range(len(owner)), batch_size=_BATCH_SIZE)
        ]
        joined = torch.cat(features)
        return normalize(joined.new_zeros(len(texts), joined.shape[1]).index_add_(0, owner, joined), dim=1)

    def encode_names(self, class_names: ClassNames, *, prompt: str) -> Float[Tensor, "class dim"]:
        """Return the direction of each class: the mean over its names, each put in the prompt."""
        texts = [prompt.format(name) for names in class_names for name in names]
        owner = torch.tensor([row for row, names in enumerate(class_names) for _ in names])
        parts = [self.encode(part) for part in iterate_batches(texts, batch_size=_BATCH_SIZE)]
        features = torch.cat(parts)
        total = features.new_zeros(len(class_names), features.shape[1]).index_add_(0, owner, features)
        return normalize(total, dim=1)
