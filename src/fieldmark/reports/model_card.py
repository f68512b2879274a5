"""The model card of a checkpoint: the facts of its run and measured figures only."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, metadata, packages_distributions
from pathlib import Path
from typing import Any, assert_never

from fieldmark._version import __version__
from fieldmark.build import Model
from fieldmark.config import FGCrossNetConfig, ModelConfig
from fieldmark.config_encoders import (
    BirdNetConfig,
    FieldMarkTextConfig,
    LexicalTextConfig,
    NamedTextConfig,
    OnnxAudioConfig,
    OnnxImageConfig,
    PartConfig,
    TransformersAudioConfig,
    TransformersImageConfig,
    TransformersTextConfig,
)
from fieldmark.encoders.encoder import PACKAGE_PREFIX
from fieldmark.errors import EvaluationError
from fieldmark.reports.render import render_template
from fieldmark.training.checkpoint import Checkpoint
from fieldmark.types import Medium

_SHOWN_CLASSES = 60  # a card names the first classes; `config.json` has all


@dataclass(frozen=True, slots=True)
class CardSources:
    """The sources of a card, beside the model.

    Args:
        run_info: The run's own facts; empty if there are none.
        evaluation: The output of `fieldmark evaluate --json` for this model; None if it was not evaluated.
        license: Of the weights, as stated by their owner; None if it was not stated.
    """

    run_info: Mapping[str, Any]
    evaluation: Mapping[str, Any] | None = None
    license: str | None = None


def write_card(model: Model, checkpoint: Checkpoint, sources: CardSources) -> str:
    """Return the card as Markdown with the front matter of the model hub."""
    config, info = model.config.model, sources.run_info
    is_fgcrossnet = isinstance(config, FGCrossNetConfig)
    return render_template(
        "model_card.md",
        license=json.dumps(sources.license) if sources.license else None,
        is_fgcrossnet=is_fgcrossnet,
        class_names=model.class_names,
        shown_classes=_SHOWN_CLASSES,
        media=[medium.value for medium in model.media],
        all_media=[medium.value for medium in Medium],
        dim=model.network.dim,
        fingerprint=model.fingerprint,
        code_version=checkpoint.provenance.code_version,
        card_version=__version__,
        created=checkpoint.created,
        epoch=checkpoint.epoch,
        seed=checkpoint.provenance.seed,
        imported=info.get("imported"),
        counts=info.get("counts"),
        manifest_sha256=info.get("manifest_sha256"),
        failure_count=len(info.get("failures", ())),
        validation_map=checkpoint.validation_map,
        evaluation=sources.evaluation,
        format_figure=lambda value: f"{value:.3f}" if isinstance(value, float | int) else "-",
        start=_find_start(config),
        encoders=[] if isinstance(config, FGCrossNetConfig) else list(_list_encoders(model)),
        limits=list(_list_limits(model)),
        config=json.dumps(make_portable_config(model), indent=1),
    )


def _find_start(config: ModelConfig) -> str | None:
    """Return the name of the weights that the trunk of an FGCrossNet started from, without their folder."""
    name = (config.start or config.trunk) if isinstance(config, FGCrossNetConfig) else None
    return None if name is None else hide_local_path(name)


def read_evaluation(path: Path) -> dict[str, Any]:
    """Read a file with the output of `fieldmark evaluate --json`.

    Raises:
        EvaluationError: The file is missing or has other content.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _no_evaluation(path, reason=str(error)) from error
    if not isinstance(values, dict) or not {"protocol", "split", "counts", "map"} <= values.keys():
        raise _no_evaluation(path, reason="it has no 'protocol', 'split', 'counts' and 'map'")
    return values


def _no_evaluation(path: Path, *, reason: str) -> EvaluationError:
    return EvaluationError(
        f"The evaluation '{path}' cannot be used: {reason}. Give a file with the output of `fieldmark evaluate --json`."
    )


def make_portable_config(model: Model) -> Any:  # noqa: ANN401 - plain JSON
    """Return the configuration with local paths cut down to their last part, so that it names no folder."""

    def shorten(value: object) -> object:
        match value:
            case dict():
                return {key: shorten(each) for key, each in value.items()}
            case list():
                return [shorten(each) for each in value]
            case str():
                return hide_local_path(value)
            case _:
                return value

    return shorten(json.loads(model.config.to_json()))


def _list_encoders(model: Model) -> Iterator[tuple[str, str, str]]:
    """Yield the medium, name and license of each encoder."""
    config = model.config.model
    assert not isinstance(config, FGCrossNetConfig)  # noqa: S101 - which has none
    for medium in model.media:
        for part in config.list_encoders(medium):
            yield (medium.value, *_describe_encoder(part))


def _describe_encoder(config: PartConfig) -> tuple[str, str]:
    """Return the name and license of an encoder; of a local one, the last part of its path."""
    match config:
        case OnnxImageConfig() | OnnxAudioConfig():
            return f"`{config.path.name}`", "not stated in the configuration: see where the file came from"
        case TransformersImageConfig() | TransformersTextConfig() | TransformersAudioConfig():
            return f"`{hide_local_path(config.name)}`", _find_license(config.name)
        case LexicalTextConfig():
            return "hashed words (no weights)", "that of fieldmark, Apache-2.0"
        case FieldMarkTextConfig():
            return "field marks by a grammar (no weights)", "that of fieldmark, Apache-2.0"
        case NamedTextConfig():
            book = "" if config.descriptions is None else f", or the accounts in `{config.descriptions.name}`"
            return (
                f"names inside a text{book} (no weights)",
                "Apache-2.0, as fieldmark; accounts as their source says",
            )
        case BirdNetConfig():
            return "BirdNET 2.4", "CC BY-NC-SA 4.0: non-commercial use only"
    assert_never(config)


def hide_local_path(name: str) -> str:
    """Cut a local path down to its last part; return other names unchanged."""
    return Path(name).name if Path(name).is_absolute() else name


def _find_license(name: str) -> str:
    """Return the license that an installed package states, or where to look for it."""
    if name.startswith(PACKAGE_PREFIX):
        module = name.removeprefix(PACKAGE_PREFIX).partition("/")[0]
        try:
            facts = metadata(packages_distributions()[module][0])
        except (KeyError, PackageNotFoundError):
            return "the package is not installed: see its page"
        for key in ("License-Expression", "License"):
            if key in facts:
                return facts[key].partition("\n")[0] + ", as stated by its package"
    return "see the model's own card"


def _list_limits(model: Model) -> Iterator[str]:
    missing = [medium.value for medium in Medium if medium not in model.media]
    if missing:
        yield f"It does not support {', '.join(missing)}."
    yield f"It was trained on {len(model.class_names)} classes; items of other classes are only matched by similarity."
    yield "A score is a similarity, not a probability."
    if isinstance(model.config.model, FGCrossNetConfig) and model.config.model.embedding == "logits":
        yield "Its embedding is the class scores: items of other classes have no region of their own in it."
    if isinstance(model.config.model, FGCrossNetConfig) and model.config.model.released_text:
        yield "It reads texts like the released code: only the last line, in lower case and without spaces."
