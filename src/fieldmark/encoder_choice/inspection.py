"""Files of a model as they lie: the section of the configuration that reads them."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fieldmark.config_encoders import (
    OnnxAudioConfig,
    OnnxImageConfig,
    PartConfig,
    TransformersAudioConfig,
    TransformersImageConfig,
    TransformersTextConfig,
)
from fieldmark.encoders.labels import read_labels
from fieldmark.encoders.onnx_graph import GraphOutput, describe_graph, read_input
from fieldmark.encoders.preprocessing import PREPROCESSOR_FILE, read_preprocessing
from fieldmark.encoders.transformer_files import has_text_tower
from fieldmark.errors import ConfigError, EncoderFilesError
from fieldmark.types import Medium

_LABEL_WORDS = re.compile(r"[-_. ]*(labels?|classes|class_names|species)(_list)?$", re.IGNORECASE)
_PICTURES = (Medium.IMAGE, Medium.VIDEO)
_SCORE_NAMES = ("logits", "label", "labels", "scores", "predictions", "probabilities", "output")
_FEATURE_NAMES = ("features", "embedding", "embeddings", "pooler_output")
_USUAL_SECONDS = 3.0
"""Length of a window for a graph that takes any."""


@dataclass(frozen=True, slots=True)
class SoundWindow:
    """The sound that a model takes at once.

    Args:
        seconds: Its length; None for what the model's input tells.
    """

    sample_rate_hz: int
    seconds: float | None = None


_WINDOWS: Mapping[int, SoundWindow] = {
    160_000: SoundWindow(32_000, 5.0),  # Perch
    144_000: SoundWindow(48_000, 3.0),  # BirdNET 2
    96_000: SoundWindow(32_000, 3.0),  # BirdNET 3
}
"""By the samples that the graphs of released models take: no graph tells its rate."""


def inspect_model(
    path: Path, *, medium: Medium, labels: Path | None = None, window: SoundWindow | None = None
) -> PartConfig:
    """Return the section for a model's file or folder, with what lies beside it: list of labels, preprocessing.

    Args:
        path: An ONNX file, a folder that holds one, or a folder in the layout of `transformers`.
        labels: The classifier's list of labels; None looks for it beside the file.
        window: The sound that a graph takes; None looks for it beside the file, and at the size of its input.

    Raises:
        ConfigError: There is no such file, or it is no model of this medium.
        EncoderFilesError: The model, its labels or its preprocessing cannot be read.
        MissingExtraError: ONNX Runtime is not installed.
    """
    if path.is_dir() and (path / "config.json").is_file():
        return _inspect_folder(path, medium=medium)
    file = _find_file(path)
    if medium in (Medium.IMAGE, Medium.VIDEO):
        return _inspect_picture_graph(file, labels=labels)
    if medium is Medium.AUDIO:
        return _inspect_sound_graph(file, labels=labels, window=window)
    raise ConfigError(f"'{file}' is an ONNX file, which is not read for {medium}. Give a folder of `transformers`.")


def list_possible_media(path: Path) -> tuple[Medium, ...]:
    """Return the media that a model's file or folder takes, by the shape of its input or by its configuration.

    Raises:
        As `inspect_model`.
    """
    if path.is_dir() and (path / "config.json").is_file():
        if (path / "tokenizer.json").is_file() and not (path / PREPROCESSOR_FILE).is_file():
            return (Medium.TEXT,)
        own = (Medium.AUDIO,) if "sampling_rate" in _read_json(path / PREPROCESSOR_FILE) else _PICTURES
        return (*own, Medium.TEXT) if has_text_tower(path) else own
    file = _find_file(path)
    taken = read_input(file)
    if len(taken.shape) == 4:
        return _PICTURES
    if len(taken.shape) == 2 and taken.is_real:
        return (Medium.AUDIO,)
    raise ConfigError(
        f"'{file}' has an input of the shape {taken.shape}; a model for pictures has (batch, 3, height, width), one "
        "for sounds (batch, samples). Give another model."
    )


def _find_file(path: Path) -> Path:
    if path.is_dir():
        files = sorted(path.glob("*.onnx"))
        if len(files) != 1:
            met = ", ".join(file.name for file in files) or "none"
            raise ConfigError(
                f"The folder '{path}' has neither a config.json nor one ONNX file (met: {met}). Give the file itself."
            )
        return files[0]
    if not path.is_file():
        raise ConfigError(f"There is no file or folder at '{path}'. Correct the path, or see `fieldmark models`.")
    if path.suffix.lower() != ".onnx":
        raise ConfigError(
            f"'{path}' is no model that can be read. Give an ONNX file (.onnx), or a folder in the layout of "
            "`transformers` (config.json and model.safetensors)."
        )
    return path


def _inspect_folder(folder: Path, *, medium: Medium) -> PartConfig:
    match medium:
        case Medium.IMAGE | Medium.VIDEO:
            return TransformersImageConfig(kind="transformers_image", name=str(folder.resolve()))
        case Medium.TEXT:
            return TransformersTextConfig(kind="transformers_text", name=str(folder.resolve()))
        case Medium.AUDIO:
            return TransformersAudioConfig(kind="transformers_audio", name=str(folder.resolve()))


def _inspect_sound_graph(file: Path, *, labels: Path | None, window: SoundWindow | None) -> OnnxAudioConfig:
    length = read_input(file).shape[-1]
    found = window or _find_window(file, length=length)
    seconds = found.seconds or (length / found.sample_rate_hz if length else _USUAL_SECONDS)
    outputs = describe_graph(file, shape=(1, round(found.sample_rate_hz * seconds)))
    labels, scores, features = _read_outputs(file, outputs, labels=labels)
    return OnnxAudioConfig(
        kind="onnx_audio",
        path=file.resolve(),
        output=features.name,
        labels=None if labels is None else labels.resolve(),
        logits="label" if scores is None else scores.name,
        activation="none" if scores is not None and scores.holds_probabilities else "softmax",
        sample_rate_hz=found.sample_rate_hz,
        window_seconds=seconds,
    )


def _find_window(file: Path, *, length: int | None) -> SoundWindow:
    """Return the sound that a graph takes, by the file of its feature extractor or by the size of its input.

    Raises:
        EncoderFilesError: Neither tells.
    """
    for path in _list_preprocessors(file):
        values = _read_json(path)
        rate = values.get("sampling_rate")
        if isinstance(rate, int) and rate > 0:
            lengths = [values.get(key) for key in ("chunk_length_s", "max_length_s", "chunk_length")]
            return SoundWindow(rate, next((float(each) for each in lengths if isinstance(each, int | float)), None))
    if length is not None and length in _WINDOWS:
        return _WINDOWS[length]
    taken = "sounds of any length" if length is None else f"{length:,} samples"
    raise EncoderFilesError(
        name=str(file),
        reason=f"it takes {taken}, and nothing says at which rate",
        key="sample_rate_hz",
        remedy="Give it to `fieldmark models add` with --sample-rate, or write "
        f'{{"sampling_rate": 32000, "chunk_length_s": 5}} to a \'{PREPROCESSOR_FILE}\' beside it.',
    )


def _inspect_picture_graph(file: Path, *, labels: Path | None) -> OnnxImageConfig:
    preprocessor = find_preprocessor(file)
    size = read_preprocessing(preprocessor, key="preprocessor").crop_pixels
    outputs = describe_graph(file, shape=(1, 3, *size))
    labels, scores, features = _read_outputs(file, outputs, labels=labels)
    return OnnxImageConfig(
        kind="onnx_image",
        path=file.resolve(),
        preprocessor=preprocessor.resolve(),
        output=features.name,
        labels=None if labels is None else labels.resolve(),
        logits="logits" if scores is None else scores.name,
        activation="none" if scores is not None and scores.holds_probabilities else "softmax",
    )


def _read_outputs(
    file: Path, outputs: Sequence[GraphOutput], *, labels: Path | None
) -> tuple[Path | None, GraphOutput | None, GraphOutput]:
    """Return the list of labels of a graph, the output with its scores, and the one to read as features."""
    labels = labels if labels is not None else find_labels(file, counts=[output.size for output in outputs])
    scores = None if labels is None else choose_scores(file, outputs, labels=labels)
    return labels, scores, choose_features(outputs, scores=scores)


def find_preprocessor(file: Path) -> Path:
    """Return the file that says how pictures are prepared for a model: one of the model's own name comes first.

    Raises:
        EncoderFilesError: There is none.
    """
    found = _list_preprocessors(file)
    if found:
        return found[0]
    reason = (
        f"nothing says how pictures are prepared: there is no '{PREPROCESSOR_FILE}' beside it, nor in '{file.stem}/'"
    )
    raise EncoderFilesError(
        name=str(file),
        reason=reason,
        key="preprocessor",
        remedy="Put the file of this name that the model came with beside it. It is JSON, and tells `size`, "
        "`image_mean` and `image_std` of the pictures that the model was trained on.",
    )


def _list_preprocessors(file: Path) -> list[Path]:
    stem = file.stem
    names = (f"{stem}/{PREPROCESSOR_FILE}", f"{stem}_{PREPROCESSOR_FILE}", f"{stem}.{PREPROCESSOR_FILE}")
    return [file.parent / name for name in (*names, PREPROCESSOR_FILE) if (file.parent / name).is_file()]


def find_labels(file: Path, *, counts: Sequence[int]) -> Path | None:
    """Return the list of labels beside a model: its name begins as the model's; None if there is none.

    Args:
        counts: Sizes of the model's outputs; among several lists, the one with as many labels is the model's.

    Raises:
        ConfigError: Several lists may be the model's.
    """
    found: dict[Path, int] = {}
    for path in sorted(file.parent.iterdir()):
        if path.suffix.lower() not in (".txt", ".csv", ".tsv", ".json") or not path.is_file():
            continue
        prefix, replaced = _LABEL_WORDS.subn("", path.stem)
        if (replaced and file.stem.lower().startswith(prefix.lower())) or path.stem == file.stem:
            found[path] = len(prefix)
    if not found:
        config = file.parent / file.stem / "config.json"
        return config if config.is_file() and _has_labels(config) else None
    longest = [path for path, length in found.items() if length == max(found.values())]
    fitting = [path for path in longest if _count_labels(path) in counts] or longest
    if len(fitting) > 1:
        names = ", ".join(path.name for path in fitting)
        raise ConfigError(f"Several files beside '{file}' may list its labels: {names}. Choose one with --labels FILE.")
    return fitting[0]


def _has_labels(config: Path) -> bool:
    return "id2label" in _read_json(config)


def _read_json(path: Path) -> dict[str, object]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def _count_labels(path: Path) -> int:
    try:
        return len(read_labels(path))
    except EncoderFilesError:
        return 0


def choose_scores(file: Path, outputs: Sequence[GraphOutput], *, labels: Path) -> GraphOutput:
    """Return the output with a score for each label.

    Raises:
        EncoderFilesError: No output has as many scores as there are labels.
    """
    vectors = [output for output in outputs if output.is_vector]
    fitting = [output for output in vectors if _fits(labels, output.size)]
    if not fitting:
        sizes = ", ".join(f"{output.name} has {output.size:,}" for output in vectors)
        reason = f"it names {_count_labels(labels):,} classes, but of the outputs of '{file.name}' {sizes}"
        raise EncoderFilesError(
            name=str(labels),
            reason=reason,
            key="labels",
            remedy="Give the list that the model came with, as `--labels FILE`.",
        )
    named = [output for name in _SCORE_NAMES for output in fitting if output.name.lower() == name]
    return (named or fitting)[0]


def _fits(labels: Path, count: int) -> bool:
    try:
        return len(read_labels(labels, count=count)) == count
    except EncoderFilesError:
        return False


def choose_features(outputs: Sequence[GraphOutput], *, scores: GraphOutput | None) -> GraphOutput:
    """Return the output to read as features: one that is called so, else a vector that holds no scores."""
    named = [output for name in _FEATURE_NAMES for output in outputs if output.name.lower() == name]
    vectors = [output for output in outputs if output.is_vector]
    others = [output for output in vectors if output != scores]
    return (named or others or vectors or list(outputs))[0]
