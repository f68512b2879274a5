"""The model card of a checkpoint: what its run says of it, and nothing that was not measured."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, metadata, packages_distributions
from pathlib import Path
from typing import Any, assert_never

from fieldmark._version import __version__
from fieldmark.build import Model, PartConfig, encoder_configs
from fieldmark.config import (
    BirdNetConfig,
    FGCrossNetConfig,
    FieldMarkTextConfig,
    LexicalTextConfig,
    OnnxImageConfig,
    TransformersImageConfig,
    TransformersTextConfig,
)
from fieldmark.encoders.reading import PACKAGE_PREFIX
from fieldmark.errors import EvaluationError
from fieldmark.training.checkpoint import Checkpoint
from fieldmark.types import Medium

MANY_CLASSES = 60
"""Above this number a card names the first classes only; `config.json` has all."""


@dataclass(frozen=True, slots=True)
class CardSources:
    """What a card is written from, beside the model.

    Args:
        receipt: The run's `receipt.json`; empty where there is none.
        evaluation: What `fieldmark evaluate --json` printed of this model; None where it was not measured.
        license: Of the weights, as their owner states it; None where it was not stated.
    """

    receipt: Mapping[str, Any]
    evaluation: Mapping[str, Any] | None = None
    license: str | None = None


def write_card(model: Model, checkpoint: Checkpoint, sources: CardSources) -> str:
    """The card as Markdown with the front matter of the model hub."""
    sections = [
        _front_matter(sources),
        _summary(model, checkpoint),
        _use(),
        _training(sources.receipt, checkpoint),
        _figures(sources.evaluation),
        _encoders(model),
        _limits(model),
        _classes(model.class_names),
        "## Configuration\n\n```json\n" + json.dumps(portable_config(model), indent=1) + "\n```",
    ]
    return "\n\n".join(sections) + "\n"


def read_evaluation(path: Path) -> dict[str, Any]:
    """The object that `fieldmark evaluate --json` printed into a file.

    Raises:
        EvaluationError: The file is missing, or holds something else.
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
        f"The evaluation '{path}' cannot be used: {reason}. "
        "Give a file that holds what `fieldmark evaluate --json` printed."
    )


def portable_config(model: Model) -> Any:  # noqa: ANN401 - plain JSON
    """The configuration with local paths cut down to their last part, which is all that another machine may know."""

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


def _front_matter(sources: CardSources) -> str:
    lines = ["library_name: fieldmark", "tags: [cross-media-retrieval, fine-grained]"]
    if sources.license:
        lines.append(f"license: {json.dumps(sources.license)}")
    return "\n".join(["---", *lines, "---"])


def _summary(model: Model, checkpoint: Checkpoint) -> str:
    kind = "FGCrossNet (He et al., ACM MM 2019)" if isinstance(model.config.model, FGCrossNetConfig) else "shared space"
    return f"""# fieldmark {kind}, {len(model.class_names)} classes

Embeddings of {_listed(model.media)} in one space of {model.network.dim} dimensions: items of one class are near each
other, whatever their medium.

| fact | value |
|---|---|
| written by | fieldmark {checkpoint.provenance.code_version}, card by {__version__} |
| written at | {checkpoint.created or "unknown"} |
| epochs | {checkpoint.epoch} |
| seed | {checkpoint.provenance.seed} |
| fingerprint | `{model.fingerprint}` |"""


def _use() -> str:
    return """## Use

Meant for retrieval: to rank a collection by how near its items are to a photo, a text, a video or a sound, and to
compare methods on such rankings. Not meant for decisions about single items without a person who looks at them.

```bash
fieldmark index FOLDER --checkpoint THIS_FOLDER --gallery GALLERY
fieldmark search song.wav --gallery GALLERY
```"""


def _training(receipt: Mapping[str, Any], checkpoint: Checkpoint) -> str:
    lines = ["## Training"]
    if imported := receipt.get("imported"):
        lines.append(
            f"Not trained by fieldmark: imported from a state dict of the released code of FGCrossNet "
            f"(`{imported['file']}`, SHA-256 `{imported['sha256']}`). What it was trained on, the file does not say."
        )
    elif counts := receipt.get("counts"):
        media = [medium.value for medium in Medium]
        rows = [
            f"| {split} | " + " | ".join(f"{by_medium.get(medium, 0):,}" for medium in media) + " |"
            for split, by_medium in counts.items()
        ]
        lines.append("\n".join(["| items | " + " | ".join(media) + " |", "|---" * 5 + "|", *rows]))
        lines.append(
            f"Manifest: SHA-256 `{receipt['manifest_sha256']}`. Files passed over: {len(receipt['failures'])}."
        )
    else:
        lines.append("No receipt of the run was at hand: what it was trained on is not known here.")
    if checkpoint.validation_map is not None:
        lines.append(f"The epoch was chosen by validation items taken from train: MAP {checkpoint.validation_map:.3f}.")
    return "\n\n".join(lines)


def _figures(evaluation: Mapping[str, Any] | None) -> str:
    if evaluation is None:
        return "## Figures\n\nNo evaluation was given when this card was written; `fieldmark evaluate` makes one."
    chance = evaluation.get("chance", {})
    counts = ", ".join(f"{count:,} {medium}" for medium, count in evaluation["counts"].items())
    lines = [
        "## Figures",
        f"MAP, protocol `{evaluation['protocol']}`, split `{evaluation['split']}`, {counts} items:",
        "\n".join(
            [
                "| direction | MAP | chance |",
                "|---|---|---|",
                *(
                    f"| {direction} | {_number(value)} | {_number(chance.get(direction))} |"
                    for direction, value in evaluation["map"].items()
                ),
            ]
        ),
    ]
    return "\n\n".join(lines)


def _number(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float | int) else "-"


def _encoders(model: Model) -> str:
    config = model.config.model
    if isinstance(config, FGCrossNetConfig):
        start = f"The trunk started from `{hide_local_path(config.start)}`." if config.start else ""
        return f"## Encoders\n\nNone: the network reads pixels, spectrograms and characters. {start}".rstrip()
    rows = [
        f"| {medium} | {name} | {license_} |"
        for medium in model.media
        for name, license_ in (_describe(part) for part in encoder_configs(config, medium))
    ]
    table = "\n".join(["| medium | encoder | license |", "|---|---|---|", *rows])
    return f"""## Encoders

Their weights are not part of this folder, and must be where the configuration below says. Their licenses bind the
use of the whole.

{table}"""


def _describe(config: PartConfig) -> tuple[str, str]:
    """Name and license of an encoder; of a local one, the last part of its path."""
    match config:
        case OnnxImageConfig():
            return f"`{config.path.name}`", "not stated in the configuration: see where the file came from"
        case TransformersImageConfig() | TransformersTextConfig():
            return f"`{hide_local_path(config.name)}`", _license_of(config.name)
        case LexicalTextConfig():
            return "hashed words (no weights)", "that of fieldmark, Apache-2.0"
        case FieldMarkTextConfig():
            return "field marks by a grammar (no weights)", "that of fieldmark, Apache-2.0"
        case BirdNetConfig():
            return "BirdNET 2.4", "CC BY-NC-SA 4.0: non-commercial use only"
    assert_never(config)


def hide_local_path(name: str) -> str:
    """A local path cut down to its last part; other names as they are."""
    return Path(name).name if Path(name).is_absolute() else name


def _license_of(name: str) -> str:
    """What an installed package says of its license; of others, where to look."""
    if name.startswith(PACKAGE_PREFIX):
        module = name.removeprefix(PACKAGE_PREFIX).partition("/")[0]
        try:
            facts = metadata(packages_distributions()[module][0])
        except (KeyError, PackageNotFoundError):
            return "the package is not installed: see its page"
        for key in ("License-Expression", "License"):
            if key in facts:
                return facts[key].partition("\n")[0] + ", by the package that carries it"
    return "see the model's own card"


def _limits(model: Model) -> str:
    lines = list(_limit_lines(model))
    return "\n".join(["## Limits", "", *(f"- {line}" for line in lines)])


def _limit_lines(model: Model) -> Iterator[str]:
    missing = [medium for medium in Medium if medium not in model.media]
    if missing:
        yield f"It takes no {_listed(missing)}."
    yield f"It was trained on {len(model.class_names)} classes; of others it says only what looks or sounds alike."
    yield "A score is a similarity, not a probability."
    if isinstance(model.config.model, FGCrossNetConfig) and model.config.model.embedding == "logits":
        yield "Its embedding is the class scores: an item of a class never trained has no place of its own in it."
    if isinstance(model.config.model, FGCrossNetConfig) and model.config.model.released_text:
        yield "It reads texts as the released code does: the last line only, without capitals and spaces."


def _classes(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:MANY_CLASSES])
    rest = f", and {len(names) - MANY_CLASSES} more in `config.json`" if len(names) > MANY_CLASSES else ""
    return f"## Classes\n\n{shown}{rest}"


def _listed(media: tuple[Medium, ...] | list[Medium]) -> str:
    return ", ".join(medium.value for medium in media)
