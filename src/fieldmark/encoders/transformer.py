"""Pretrained image and text encoders of the `transformers` library, from a local folder or the model hub."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fieldmark.encoders.encoder import (
    PACKAGE_PREFIX,
    Encoder,
    FeatureFacts,
    get_contents,
    iterate_batches,
    locate_in_package,
)
from fieldmark.encoders.preprocessing import PREPROCESSOR_FILE, encode_pictures, read_preprocessing
from fieldmark.errors import EncoderFilesError, MissingExtraError, UnknownLettersError, list_first
from fieldmark.types import Decoding, Segment, TextContent

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_KEY = "name"
_BATCH_SIZE = 16
_LETTERS_CHECKED = 1_000
"""First characters of a text that tell whether the model knows its letters."""
FILES = ("*.safetensors", "*.json", "*.txt", "*.model")
"""Files of a model's folder that are read and downloaded: tensors, settings, vocabularies. Never code."""
_ODD_NAMES = "names"
_USUAL_FILE = re.compile(
    r"model(-\d{5}-of-\d{5})?\.safetensors|model\.safetensors\.index\.json"
    r"|(config|tokenizer|vocab|modules|special_tokens_map|added_tokens|chat_template)\.json"
    r"|(tokenizer|preprocessor|video_preprocessor|processor|generation|sentence_bert|data)_config\.json"
    r"|config_sentence_transformers\.json|(vocab|merges)\.txt|(sentencepiece\.bpe|spiece|tokenizer|spm)\.model"
)
"""Names of the files of a released model."""


@final
class TransformersImageEncoder:
    """The pooled output of a vision model as the features of images, and, averaged over frames, of video segments.

    A model with two towers (CLIP, SigLIP) gives its projected image features. Where a checkpoint lacks the pooling
    layer's weights, the first token is read instead.

    Args:
        name: A folder in the layout of `transformers`, `package:NAME/FOLDER`, or a name on the model hub.
        allow_download: Whether a hub name that is not in the local cache may be downloaded.
        segment_seconds: Length of a segment of a video; images ignore it.
        frames_per_segment: Frames averaged in each.

    Raises:
        MissingExtraError: The library is not installed.
        EncoderFilesError: The files are missing, or are no vision model with safetensors weights.
    """

    is_costly: ClassVar[bool] = True
    named_scores: ClassVar[Mapping[str, int]] = MappingProxyType({})

    def __init__(
        self,
        name: str,
        *,
        allow_download: bool,
        segment_seconds: float,
        frames_per_segment: int,
    ) -> None:
        folder = locate_weights(name, allow_download=allow_download)
        self._preprocessing = read_preprocessing(folder / PREPROCESSOR_FILE, key=_KEY)
        self._model, self._has_pooler = _load_model(name, folder)
        self._dim = self._try_out(name)
        self.decoding = self._preprocessing.decoding(
            segment_seconds=segment_seconds, frames_per_segment=frames_per_segment
        )
        self.facts = _collect_facts(
            {"kind": "transformers_image", "preprocessing": self._preprocessing, "decoding": self.decoding}, folder
        )
        self.fingerprint = self.facts.fingerprint
        self.earlier_forms = _list_earlier_forms(self, self.facts)

    @property
    def shape(self) -> tuple[int]:
        """Dimension of the features."""
        return (self._dim,)

    def encode(self, segments: Sequence[Segment]) -> Float[Tensor, "segment dim"]:
        """Return the features of some segments.

        Raises:
            MediumMismatchError: A segment holds neither an image nor frames.
        """
        return encode_pictures(
            segments, self._infer, preprocessing=self._preprocessing, dim=self._dim, batch_size=_BATCH_SIZE
        )

    @torch.no_grad()
    def _infer(self, pixels: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch dim"]:
        if _has_two_towers(self._model):
            output = self._model.get_image_features(pixel_values=pixels)
        else:
            output = self._model(pixel_values=pixels)
        features: Tensor = output.pooler_output if self._has_pooler else output.last_hidden_state[:, 0]
        return features.flatten(1).float()

    def _try_out(self, name: str) -> int:
        """Return the dimension of the features, found with a black image: configurations name it in many ways."""
        try:
            return self._infer(torch.zeros(1, 3, *self._preprocessing.crop_pixels)).shape[1]
        except (TypeError, ValueError, RuntimeError, AttributeError) as error:
            reason = f"it does not take pictures of {self._preprocessing.crop_pixels} pixels: {_first_line(error)}"
            raise EncoderFilesError(name=name, reason=reason, key=_KEY) from error


@final
class TransformersTextEncoder:
    """The mean over a text's tokens of a language model's last hidden states.

    A text of more tokens than the model takes at once is read in windows, and the mean goes over the tokens of all of
    them: nothing is cut off.

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
        self._tokenizer = _load_tokenizer(name, folder)
        self._model, _ = _load_model(name, folder)
        self._window_tokens = min(window_tokens, self._tokenizer.model_max_length)
        self._is_normalized = is_normalized
        self.decoding = Decoding()
        self._dim = self._try_out(name)
        self.facts = _collect_facts(
            {"kind": "transformers_text", "window_tokens": self._window_tokens, "is_normalized": is_normalized}, folder
        )
        self.fingerprint = self.facts.fingerprint
        self.earlier_forms = _list_earlier_forms(self, self.facts)

    @property
    def shape(self) -> tuple[int]:
        """Dimension of the features."""
        return (self._dim,)

    def encode(self, segments: Sequence[Segment]) -> Float[Tensor, "segment dim"]:
        """Return the features of some texts.

        Raises:
            MediumMismatchError: A segment holds another medium.
            UnknownLettersError: A text has no word and no letter that the model knows.
        """
        texts = [content.text for content in get_contents(segments, TextContent)]
        for text in texts:
            self._check_letters(text)
        features = [self._infer(batch) for batch in iterate_batches(texts, batch_size=_BATCH_SIZE)]
        return torch.cat([torch.empty(0, self._dim), *features])

    def _check_letters(self, text: str) -> None:
        unknown = self._tokenizer.unk_token_id
        if unknown is None or text.isascii():
            return
        tokens = self._tokenizer(text[:_LETTERS_CHECKED], add_special_tokens=False)["input_ids"]
        if all(token == unknown for token in tokens):
            raise UnknownLettersError(text=text)

    @torch.no_grad()
    def _infer(self, texts: Sequence[str]) -> Float[Tensor, "batch dim"]:
        windows = self._tokenizer(
            list(texts),
            truncation=True,
            max_length=self._window_tokens,
            return_overflowing_tokens=True,  # a text's further windows become rows of their own
            padding=True,
            return_tensors="pt",
        )
        owner: Int[Tensor, " window"] = windows.pop("overflow_to_sample_mapping")
        parts = iterate_batches(range(len(owner)), batch_size=_BATCH_SIZE)
        sums = torch.cat(
            [self._sum_tokens({key: values[list(part)] for key, values in windows.items()}) for part in parts]
        )
        total = sums.new_zeros(len(texts), sums.shape[1]).index_add_(0, owner, sums)
        features = total[:, :-1] / total[:, -1:]
        return torch.nn.functional.normalize(features, dim=1) if self._is_normalized else features

    def _sum_tokens(self, windows: dict[str, Tensor]) -> Float[Tensor, "window dim_and_count"]:
        """Return for each window the sum of its tokens' hidden states and, last, the number of tokens."""
        hidden = self._model(**windows).last_hidden_state.float()
        mask = windows["attention_mask"].unsqueeze(2)
        return torch.cat([(hidden * mask).sum(dim=1), mask.sum(dim=1)], dim=1)

    def _try_out(self, name: str) -> int:
        """Return the dimension of the features, found with a text that fills a window, the longest input."""
        try:
            return self._infer(["bird " * self._window_tokens]).shape[1]
        except (TypeError, ValueError, RuntimeError, AttributeError, LookupError) as error:
            reason = f"it does not read a text: {_first_line(error)}"
            raise EncoderFilesError(name=name, reason=reason, key=_KEY) from error


def locate_weights(name: str, *, allow_download: bool, key: str = _KEY) -> Path:
    """Return the local folder or file for a name; a hub name is looked up in the cache or downloaded.

    Args:
        key: Config key that holds the name, for messages.

    Raises:
        MissingExtraError: It is a hub name, and the library is not installed.
        EncoderFilesError: There is no such folder or file, and none was downloaded.
    """
    if name.startswith(PACKAGE_PREFIX):
        return locate_in_package(name, key=key)
    if Path(name).exists():
        return Path(name)
    if Path(name).is_absolute() or name.startswith("."):
        raise EncoderFilesError(name=name, reason="there is no such folder or file", key=key)
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    except ImportError as error:
        raise MissingExtraError(package="transformers", extra="encoders", need=f"The encoder '{name}'") from error
    try:
        return Path(snapshot_download(name, allow_patterns=list(FILES), local_files_only=not allow_download))
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        reason = "there is no such folder, and downloading failed: " + _first_line(error)
        if not allow_download:
            reason = "there is no such folder, nor a downloaded model, and 'allow_download' is false"
        raise EncoderFilesError(name=name, reason=reason, key=key) from error


def _collect_facts(parameters: Mapping[str, object], folder: Path) -> FeatureFacts:
    """Return what the features depend on: the settings, and the files of a folder.

    The name of a file tells what it is, so a name that no released model has counts too: a file put aside under another
    name is another model.
    """
    files = sorted(file for pattern in FILES for file in folder.glob(pattern))
    odd = [file.name for file in files if not _USUAL_FILE.fullmatch(file.name)]
    return FeatureFacts.collect(
        {**parameters, **({_ODD_NAMES: odd} if odd else {})},
        files={f"the file '{file.name}'": file for file in files},
        packages=("transformers", "torch"),
    )


def _list_earlier_forms(encoder: Encoder, facts: FeatureFacts) -> Mapping[str, Encoder]:
    """Return an encoder by the fingerprint that it had while names of files did not count."""
    return {facts.leave_out(_ODD_NAMES).fingerprint: encoder} if _ODD_NAMES in facts.parameters else {}


def _load_model(name: str, folder: Path) -> "tuple[PreTrainedModel, bool]":
    """Return the model in evaluation mode, and whether the checkpoint had the weights of its pooling layer."""
    try:
        from transformers import AutoModel
    except ImportError as error:
        raise MissingExtraError(package="transformers", extra="encoders", need=f"The encoder '{name}'") from error
    try:
        with _quiet():
            model, loading = AutoModel.from_pretrained(
                folder, use_safetensors=True, trust_remote_code=False, local_files_only=True, output_loading_info=True
            )
    except (OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
        raise EncoderFilesError(name=name, reason=_first_line(error), key=_KEY) from error
    missing = sorted(loading["missing_keys"])
    lacking = [key for key in missing if not key.startswith("pooler.")]
    if lacking:  # the library would fill them with random numbers
        raise EncoderFilesError(name=name, reason=f"its weights lack {list_first(lacking)}", key=_KEY)
    return model.eval().requires_grad_(requires_grad=False), not missing


def _load_tokenizer(name: str, folder: Path) -> "PreTrainedTokenizerBase":
    try:
        from transformers import AutoTokenizer
    except ImportError as error:
        raise MissingExtraError(package="transformers", extra="encoders", need=f"The encoder '{name}'") from error
    try:
        with _quiet():
            tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except (OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
        raise EncoderFilesError(name=name, reason=_first_line(error), key=_KEY) from error
    if not tokenizer.is_fast:  # only these cut a text into windows
        raise EncoderFilesError(name=name, reason="it has no 'tokenizer.json'", key=_KEY)
    return tokenizer


def _has_two_towers(model: "PreTrainedModel") -> bool:
    return hasattr(model.config, "vision_config") and hasattr(model.config, "text_config")


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the library's progress bar and its table of unused weights."""
    from transformers.utils import logging

    level, had_bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if had_bar:
            logging.enable_progress_bar()


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).partition("\n")[0]
