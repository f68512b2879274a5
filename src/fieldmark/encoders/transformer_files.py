"""Files of models of the `transformers` library: where they are, and how they are opened without running code."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from fieldmark.encoders.encoder import (
    PACKAGE_PREFIX,
    Encoder,
    FeatureFacts,
    JointFeatures,
    RenewedEncoder,
    hash_parameters,
    locate_in_package,
)
from fieldmark.encoders.labels import ClassNames, order_labels
from fieldmark.errors import EncoderFilesError, MissingExtraError, list_first, read_first_line

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase, SequenceFeatureExtractor

KEY = "name"
"""Of a configuration, that holds a model's name."""
FILES = ("*.safetensors", "*.json", "*.txt", "*.model")
"""Files of a model's folder that are read and downloaded: tensors, settings, vocabularies. Never code."""
OWN_LABELS = "own labels"
"""Among the facts of features: the classes of the model's own classifier, which earlier versions did not read."""
_ODD_NAMES = "names"
_USUAL_FILE = re.compile(
    r"model(-\d{5}-of-\d{5})?\.safetensors|model\.safetensors\.index\.json"
    r"|(config|tokenizer|vocab|modules|special_tokens_map|added_tokens|chat_template)\.json"
    r"|(tokenizer|preprocessor|video_preprocessor|processor|generation|sentence_bert|data)_config\.json"
    r"|config_sentence_transformers\.json|(vocab|merges)\.txt|(sentencepiece\.bpe|spiece|tokenizer|spm)\.model"
)
"""Names of the files of a released model."""
_NOT_SHAPING = ("id2label", "label2id", "architectures", "transformers_version", "dtype", "torch_dtype")
"""Settings of a picture network that change nothing of its pooled features."""
_FETCHING = ("auto_map", "attn_implementation", "experts_implementation", "quantization_config", "backbone")
"""Settings that may name code or weights on the model hub; a file of weights does not get to ask for them."""
_NUMBERED_LABEL = re.compile(r"LABEL_\d+")
"""Stands for a name in configurations that tell none."""


def locate_weights(name: str, *, allow_download: bool, key: str = KEY) -> Path:
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
        reason = "there is no such folder, and downloading failed: " + read_first_line(error)
        if not allow_download:
            reason = "there is no such folder, nor a downloaded model, and 'allow_download' is false"
        raise EncoderFilesError(name=name, reason=reason, key=key) from error


def collect_facts(parameters: Mapping[str, object], folder: Path) -> FeatureFacts:
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


def list_earlier_forms(
    encoder: Encoder, facts: FeatureFacts, *, without_scores: Callable[[], Encoder] | None = None
) -> Mapping[str, Encoder]:
    """Return an encoder by the fingerprint that it had while names of files and scores of classes did not count."""
    forms: dict[str, Encoder] = {}
    if _ODD_NAMES in facts.parameters:
        forms[facts.leave_out(_ODD_NAMES).fingerprint] = encoder
    if without_scores is not None and OWN_LABELS in facts.parameters:
        former = without_scores()
        forms |= {former.fingerprint: former}
        if isinstance(former, RenewedEncoder):
            forms |= former.earlier_forms
    return forms


def describe_joint(folder: Path, *, dim: int) -> JointFeatures:
    """Return the columns of the space that a model's towers share: the same for both towers of the same weights."""
    weights = sorted(folder.glob("*.safetensors"))
    return JointFeatures(hash_parameters({"kind": "joint", "dim": dim}, files=weights), start=0, dim=dim)


def load_model(
    name: str, folder: Path, *, head: Literal["image", "audio"] | None = None, key: str = KEY
) -> "tuple[PreTrainedModel, bool]":
    """Return the model in evaluation mode, and whether the checkpoint had the weights of its pooling layer.

    Args:
        head: The medium of the classifier that is wanted with the model; None for the model alone.
        key: Config key that holds the name, for messages.

    Raises:
        MissingExtraError: The library is not installed.
        EncoderFilesError: The files are no such model, or its weights are not complete.
    """
    try:
        from transformers import AutoModel, AutoModelForAudioClassification, AutoModelForImageClassification
    except ImportError as error:
        raise MissingExtraError(package="transformers", extra="encoders", need=f"The encoder '{name}'") from error
    loaders = {None: AutoModel, "image": AutoModelForImageClassification, "audio": AutoModelForAudioClassification}
    try:
        with _quiet():
            model, loading = loaders[head].from_pretrained(
                folder, use_safetensors=True, trust_remote_code=False, local_files_only=True, output_loading_info=True
            )
    except (OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
        raise EncoderFilesError(name=name, reason=read_first_line(error), key=key) from error
    missing = sorted(loading["missing_keys"])
    lacking = [key for key in missing if "pooler" not in key.split(".")[: 1 if head is None else 2]]
    if lacking:  # the library would fill them with random numbers
        raise EncoderFilesError(name=name, reason=f"its weights lack {list_first(lacking)}", key=key)
    return model.eval().requires_grad_(requires_grad=False), not missing


def read_picture_settings(name: str, folder: Path, *, key: str) -> str:
    """Return the settings of a picture network as JSON, without the names of its classes.

    Args:
        key: Config key that holds the name, for messages.

    Raises:
        MissingExtraError: The library is not installed.
        EncoderFilesError: The folder holds no settings of a picture network.
    """
    settings = _read_settings(folder)
    if not settings:
        raise EncoderFilesError(name=name, reason="the folder holds no 'config.json' of the library", key=key)
    kept = {each: value for each, value in _leave_out_fetching(settings).items() if each not in _NOT_SHAPING}
    try:
        build_picture_network(json.dumps(kept), on_meta=True)
    except ValueError as error:
        raise EncoderFilesError(name=name, reason=read_first_line(error), key=key) from error
    return json.dumps(kept, sort_keys=True)


def build_picture_network(settings_json: str, *, on_meta: bool = False) -> "PreTrainedModel":
    """Return a picture network with weights at random; nothing is downloaded and no code of others is run.

    Args:
        settings_json: As `read_picture_settings` returns them.
        on_meta: Whether it gets no memory, only to see that it can be built.

    Raises:
        MissingExtraError: The library is not installed.
        ValueError: The settings are of no picture network that the library knows.
    """
    try:
        import torch
        from transformers import AutoConfig, AutoModel
        from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES as KNOWN
    except ImportError as error:
        raise MissingExtraError(package="transformers", extra="encoders", need="The trunk of this model") from error
    settings = _leave_out_fetching(json.loads(settings_json))
    kind = settings.pop("model_type", None)
    if kind not in KNOWN or str(kind).startswith("timm"):  # timm's would be fetched by name
        raise ValueError(f"'{kind}' is no picture network that the library knows")
    try:
        with _quiet(), torch.device("meta" if on_meta else "cpu"):
            return AutoModel.from_config(
                AutoConfig.for_model(kind, **settings), dtype=torch.float32, trust_remote_code=False
            )
    except Exception as error:  # what the library raises for settings of a stranger is not known
        raise ValueError(f"its settings build no network ({read_first_line(error)})") from error


def _leave_out_fetching(settings: Mapping[str, object]) -> dict[str, object]:
    return {key: value for key, value in settings.items() if not key.startswith("_") and key not in _FETCHING}


def load_tokenizer(name: str, folder: Path) -> "PreTrainedTokenizerBase":
    """Return the tokenizer of a model.

    Raises:
        MissingExtraError: The library is not installed.
        EncoderFilesError: There is none that can cut a text into windows.
    """
    try:
        from transformers import AutoTokenizer
    except ImportError as error:
        raise MissingExtraError(package="transformers", extra="encoders", need=f"The encoder '{name}'") from error
    try:
        with _quiet():
            tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except (OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
        raise EncoderFilesError(name=name, reason=read_first_line(error), key=KEY) from error
    if not tokenizer.is_fast:  # only these cut a text into windows
        raise EncoderFilesError(name=name, reason="it has no 'tokenizer.json'", key=KEY)
    return tokenizer


def load_feature_extractor(name: str, folder: Path) -> "SequenceFeatureExtractor":
    """Return the preparation of sounds for a model.

    Raises:
        MissingExtraError: The library is not installed.
        EncoderFilesError: Nothing in the folder says how sounds are prepared.
    """
    try:
        from transformers import AutoFeatureExtractor, SequenceFeatureExtractor
    except ImportError as error:
        raise MissingExtraError(package="transformers", extra="encoders", need=f"The encoder '{name}'") from error
    try:
        with _quiet():
            extractor = AutoFeatureExtractor.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except (OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
        raise EncoderFilesError(name=name, reason=read_first_line(error), key=KEY) from error
    if not isinstance(extractor, SequenceFeatureExtractor):
        reason = f"its feature extractor, {type(extractor).__name__}, does not prepare sounds"
        raise EncoderFilesError(name=name, reason=reason, key=KEY)
    return extractor


def is_classifier(folder: Path, *, tower: Literal["image", "audio"]) -> bool:
    """Tell whether a folder holds a classifier of pictures or of sounds that names its classes."""
    ends = {"image": ("ForImageClassification",), "audio": ("ForAudioClassification", "ForSequenceClassification")}
    architectures = _read_settings(folder).get("architectures")
    first = str(architectures[0]) if isinstance(architectures, list) and architectures else ""
    return first.endswith(ends[tower]) and bool(read_own_labels(folder))


def has_text_tower(folder: Path) -> bool:
    """Tell whether a folder holds a model with a tower for texts beside that for pictures or sounds, as CLIP has."""
    settings = _read_settings(folder)
    return "text_config" in settings and ("vision_config" in settings or "audio_config" in settings)


def read_own_labels(folder: Path) -> ClassNames:
    """Return the names of a classifier's classes in its configuration; none where they are numbers alone."""
    labels = _read_settings(folder).get("id2label") or {}
    if not isinstance(labels, dict) or all(_NUMBERED_LABEL.fullmatch(str(label)) for label in labels.values()):
        return ()
    try:
        return order_labels(labels)
    except ValueError:
        return ()


def _read_settings(folder: Path) -> dict[str, object]:
    try:
        settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return settings if isinstance(settings, dict) else {}


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
