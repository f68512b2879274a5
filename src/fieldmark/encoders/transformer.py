"""Pretrained image and text encoders of the `transformers` library, from a local folder or the model hub."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fieldmark.encoders.bert import load_bert
from fieldmark.encoders.encoder import Encoder, get_contents, iterate_batches
from fieldmark.encoders.preprocessing import PREPROCESSOR_FILE, encode_pictures, read_preprocessing
from fieldmark.encoders.text_model import TextModel
from fieldmark.encoders.transformer_files import (
    KEY,
    collect_facts,
    describe_joint,
    has_text_tower,
    list_earlier_forms,
    locate_weights,
)
from fieldmark.encoders.transformer_model import FeatureModel, LibraryTextModel, TextTower
from fieldmark.errors import EncoderFilesError, read_first_line
from fieldmark.types import Decoding, Segment, TextContent

_BATCH_SIZE = 16
_LETTERS_CHECKED = 1_000
"""First characters of a text that tell whether the model knows its letters."""


@final
class TransformersImageEncoder:
    """The features of a vision model for images, and, averaged over frames, for video segments.

    As `FeatureModel` gives them: behind the features stand the scores of a classifier, or, for a model with two towers
    (CLIP, SigLIP), those of a list of names.

    Args:
        name: A folder in the layout of `transformers`, `package:NAME/FOLDER`, or a name on the model hub.
        allow_download: Whether a hub name that is not in the local cache may be downloaded.
        has_named_scores: Whether a classifier's scores follow the features.
        names: A list of names for a model with two towers to score; None for none.
        prompt: The text that a name is put in, with `{}` for the name.
        segment_seconds: Length of a segment of a video; images ignore it.
        frames_per_segment: Frames averaged in each.

    Raises:
        MissingExtraError: The library is not installed.
        EncoderFilesError: The files are missing, or are no vision model with safetensors weights.
    """

    is_costly: ClassVar[bool] = True

    def __init__(  # noqa: PLR0913 - a model, the names that it scores, and how it reads a video
        self,
        name: str,
        *,
        allow_download: bool,
        has_named_scores: bool,
        names: Path | None,
        prompt: str,
        segment_seconds: float,
        frames_per_segment: int,
    ) -> None:
        folder = locate_weights(name, allow_download=allow_download)
        self._preprocessing = read_preprocessing(folder / PREPROCESSOR_FILE, key=KEY)
        self._model = FeatureModel(
            name, folder, tower="image", has_named_scores=has_named_scores, names=names, prompt=prompt
        )
        blank = {"pixel_values": torch.zeros(1, 3, *self._preprocessing.crop_pixels)}
        self._dim = self._model.try_out(blank, name=name)
        self.decoding = self._preprocessing.decoding(
            segment_seconds=segment_seconds, frames_per_segment=frames_per_segment
        )
        self.facts = collect_facts(
            {
                "kind": "transformers_image",
                "preprocessing": self._preprocessing,
                "decoding": self.decoding,
                **self._model.named_facts,
            },
            folder,
        )
        self.fingerprint = self.facts.fingerprint
        self.joint = describe_joint(folder, dim=self._model.feature_dim) if self._model.is_joint else None
        self._make_former = partial(
            TransformersImageEncoder,
            name,
            allow_download=False,
            has_named_scores=False,
            names=None,
            prompt=prompt,
            segment_seconds=segment_seconds,
            frames_per_segment=frames_per_segment,
        )

    @property
    def earlier_forms(self) -> Mapping[str, Encoder]:
        """The encoder as it was before names of files counted, and before a classifier's scores were read."""
        return list_earlier_forms(self, self.facts, without_scores=self._make_former)

    @property
    def shape(self) -> tuple[int]:
        """Dimension of the features."""
        return (self._dim,)

    @property
    def named_scores(self) -> Mapping[str, int]:
        """Index of the score of each class that the model names."""
        return self._model.named_scores

    def encode(self, segments: Sequence[Segment]) -> Float[Tensor, "segment dim"]:
        """Return the features of some segments.

        Raises:
            MediumMismatchError: A segment holds neither an image nor frames.
        """
        return encode_pictures(
            segments, self._infer, preprocessing=self._preprocessing, dim=self._dim, batch_size=_BATCH_SIZE
        )

    def _infer(self, pixels: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch dim"]:
        return self._model.infer({"pixel_values": pixels})


@final
class TransformersTextEncoder:
    """The mean over a text's tokens of a language model's last hidden states.

    A model with two towers (CLIP, SigLIP, CLAP) gives what its tower for texts does, in the space of its pictures or
    sounds. A text of more tokens than the model takes at once is read in windows, and the mean goes over the tokens of
    all of them: nothing is cut off.

    Args:
        name: A folder in the layout of `transformers`, `package:NAME/FOLDER`, or a name on the model hub.
        allow_download: Whether a hub name that is not in the local cache may be downloaded.
        window_tokens: Tokens read at once; the model's own limit, where that is lower.
        is_normalized: Whether features get length 1.

    Raises:
        MissingExtraError: The library is not installed.
        EncoderFilesError: The files are missing, or are no language model with a tokenizer and safetensors weights.
    """

    is_costly: ClassVar[bool] = True
    named_scores: ClassVar[Mapping[str, int]] = MappingProxyType({})

    def __init__(
        self, name: str, *, allow_download: bool, window_tokens: int = 256, is_normalized: bool = True
    ) -> None:
        folder = locate_weights(name, allow_download=allow_download)
        self._tower: TextTower | None = None
        if has_text_tower(folder):
            library = LibraryTextModel(name, folder)
            self._model: TextModel = library
            self._tower = library.open_tower()
        else:
            self._model = load_bert(folder) or LibraryTextModel(name, folder)
        longest = self._model.longest_tokens if self._tower is None else self._tower.longest_tokens
        self._window_tokens = min(window_tokens, longest)
        self._is_normalized = is_normalized
        self.decoding = Decoding()
        self._dim = self._try_out(name)
        self.facts = collect_facts(
            {"kind": "transformers_text", "window_tokens": self._window_tokens, "is_normalized": is_normalized}, folder
        )
        self.fingerprint = self.facts.fingerprint
        self.earlier_forms = list_earlier_forms(self, self.facts)
        self.joint = None if self._tower is None else describe_joint(folder, dim=self._dim)

    @property
    def shape(self) -> tuple[int]:
        """Dimension of the features."""
        return (self._dim,)

    def encode(self, segments: Sequence[Segment]) -> Float[Tensor, "segment dim"]:
        """Return the features of some texts.

        Raises:
            MediumMismatchError: A segment holds another medium.
        """
        texts = [content.text for content in get_contents(segments, TextContent)]
        features = [self._infer(batch) for batch in iterate_batches(texts, batch_size=_BATCH_SIZE)]
        return torch.cat([torch.empty(0, self._dim), *features])

    def knows_letters(self, text: str) -> bool:
        """Tell whether the model knows any part of a text; to it, all texts of which it knows none are the same."""
        unknown = self._model.unknown_id
        if unknown is None or text.isascii():
            return True
        return any(token != unknown for token in self._model.split([text[:_LETTERS_CHECKED]])[0])

    def knows_words(self, words: Sequence[str]) -> list[bool]:
        """Tell which of some words the tokenizer has as one token; it spells all others."""
        forms = [each for word in words for each in (word, word.lower())]
        tokens = self._model.split(forms) if forms else []
        is_one = [len(each) == 1 and each[0] != self._model.unknown_id for each in tokens]
        return [first or second for first, second in zip(is_one[::2], is_one[1::2], strict=True)]

    @torch.no_grad()
    def _infer(self, texts: Sequence[str]) -> Float[Tensor, "batch dim"]:
        if self._tower is not None:
            return self._tower.encode(texts)
        windows = self._model.cut(texts, window_tokens=self._window_tokens)
        owner: Int[Tensor, " window"] = windows.owner
        parts = iterate_batches(range(len(owner)), batch_size=_BATCH_SIZE)
        sums = torch.cat(
            [self._sum_tokens({key: values[list(part)] for key, values in windows.inputs.items()}) for part in parts]
        )
        total = sums.new_zeros(len(texts), sums.shape[1]).index_add_(0, owner, sums)
        features = total[:, :-1] / total[:, -1:]
        return torch.nn.functional.normalize(features, dim=1) if self._is_normalized else features

    def _sum_tokens(self, windows: dict[str, Tensor]) -> Float[Tensor, "window dim_and_count"]:
        """Return for each window the sum of its tokens' hidden states and, last, the number of tokens."""
        hidden = self._model.read(windows)
        mask = windows["attention_mask"].unsqueeze(2)
        return torch.cat([(hidden * mask).sum(dim=1), mask.sum(dim=1)], dim=1)

    def _try_out(self, name: str) -> int:
        """Return the dimension of the features, found with a text that fills a window, the longest input."""
        try:
            return self._infer(["bird " * self._window_tokens]).shape[1]
        except (TypeError, ValueError, RuntimeError, AttributeError, LookupError) as error:
            reason = f"it does not read a text: {read_first_line(error)}"
            raise EncoderFilesError(name=name, reason=reason, key=KEY) from error
