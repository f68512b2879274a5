"""The verb `checkpoint import`: a state dict of the released FGCrossNet code to a run folder."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from torch import Tensor

from fieldmark._version import __version__
from fieldmark.build import build_encoder, list_supported_media
from fieldmark.config import Config
from fieldmark.config_file import load_config
from fieldmark.errors import ConfigError, TrainingError, WeightsFileError, list_first, write_count
from fieldmark.models.weights import (
    ReleasedSize,
    complete_counters,
    drop_ignored,
    read_released_size,
    read_weights,
)
from fieldmark.training.checkpoint import Checkpoint, Provenance, save_checkpoint, write_durably
from fieldmark.training.layout import RunLayout
from fieldmark.training.run_info import ImportedFile, RunInfo

_PRESET = "fgcrossnet_released"
_RESIZE_TO_CROP = 512 / 448
"""Of the released code: a picture is resized to 512 pixels, and the middle 448 are kept."""


@dataclass(frozen=True, slots=True)
class ImportReport:
    """The weights that were imported.

    Args:
        has_class_names: Whether names were given; otherwise classes are numbered.
    """

    run: Path
    size: ReleasedSize
    has_class_names: bool

    def json_values(self) -> dict[str, object]:
        """Return the values of the JSON object, by key."""
        return {
            "run": self.run,
            "checkpoint": RunLayout(self.run).best,
            "depth": self.size.depth,
            "base_width": self.size.base_width,
            "text_width": self.size.text_width,
            "class_count": self.size.class_count,
            "has_class_names": self.has_class_names,
        }

    def to_text(self) -> str:
        """Return the network that was found and its checkpoint as text."""
        size = self.size
        lines = [
            f"FGCrossNet with ResNet-{size.depth} and {size.class_count} classes, computed as the released code does"
        ]
        if not self.has_class_names:
            lines.append("classes have numbers for names; give names, one per line, with --classes")
        return "\n".join([*lines, f"checkpoint: {RunLayout(self.run).best}"])


def import_checkpoint(
    file: Path | str, *, out: Path | str, classes: Path | str | None = None, ignored: Sequence[str] = ()
) -> ImportReport:
    """Import the weights of the authors' released code into a run folder that every verb accepts.

    The configuration is that of the released code: its text encoder and crops, shared statistics of batch norm, and the
    logits as the embedding. No code in the file is run.

    Args:
        file: A state dict, as `torch.save` or safetensors keeps it.
        classes: Class names, one a line in the order of the labels, as in `classes.txt` of CUB-200-2011; None numbers
            the classes.
        ignored: Tensors of the file that are not the network's, such as "fc2" or "centers".

    Raises:
        WeightsFileError: The file is missing, damaged, or of another network.
        ConfigError: The names are not one for each class.
        TrainingError: There is a run in `out`.
    """
    file, out = Path(file), Path(out)
    layout = RunLayout(out)
    if layout.best.exists() or layout.last.exists():
        raise TrainingError(f"'{out}' already holds a run. Choose another --out.", kind="run_exists")
    state = drop_ignored(read_weights(file), ignored, path=file)
    size = read_released_size(state, path=file)
    names = [f"class {label}" for label in range(size.class_count)]
    if classes is not None:
        names = read_class_names(Path(classes), count=size.class_count)
    config = _config(size)
    provenance = Provenance(
        config_json=config.to_json(),
        class_names=tuple(names),
        seed=config.seed,
        code_version=__version__,
        encoder_fingerprints={
            medium: build_encoder(config.model, medium).fingerprint for medium in list_supported_media(config.model)
        },
    )
    checkpoint = Checkpoint(
        provenance=provenance,
        network=_clean(complete_counters(state, list(size.names_and_shapes())), path=file),
        losses={},
        epoch=0,
        validation_map=None,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    write_durably(layout.config, config.to_toml().encode())
    RunInfo(provenance, _describe(file)).write(out)
    save_checkpoint(layout.best, checkpoint)
    return ImportReport(out, size, has_class_names=classes is not None)


def read_class_names(path: Path, *, count: int) -> list[str]:
    """Read class names from a text file, one a line, without line numbers such as those of "3 003.Sooty_Tern".

    Raises:
        ConfigError: The file cannot be read, or does not hold one name for each class.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise _bad_names(path, reason=f"it cannot be read as UTF-8 text ({error})", count=count) from error
    counted = [re.fullmatch(rf"(?:0*{number}[.\s]+)+(.+)", line) for number, line in enumerate(lines, start=1)]
    names = [match[1] for match in counted if match]
    if len(names) < len(lines):  # not all are counted, so numbers are part of the names
        names = lines
    repeated = sorted({name for name in names if names.count(name) > 1})
    if len(names) != count or repeated:
        reason = f"it names {write_count(len(names), 'class', 'classes')}" + (
            f", some twice: {list_first(repeated)}" if repeated else ""
        )
        raise _bad_names(path, reason=reason, count=count)
    return names


def _bad_names(path: Path, *, reason: str, count: int) -> ConfigError:
    return ConfigError(
        f"The class names '{path}' cannot be used: {reason}; the network has {count} classes. "
        "Give one name per line, in the order of the labels."
    )


def _config(size: ReleasedSize) -> Config:
    """Return the released configuration with the sizes of this network; texts are as wide as crops, as released."""
    side = size.text_width
    return load_config(
        _PRESET,
        overrides=[
            f"model.depth={size.depth}",
            f"model.base_width={size.base_width}",
            f"model.crop_pixels={side}",
            f"model.resize_pixels={round(side * _RESIZE_TO_CROP)}",
            f"model.text_length={side}",
            f"model.text_width={side}",
        ],
    )


def _clean(state: Mapping[str, Tensor], *, path: Path) -> dict[str, Tensor]:
    """Return the tensors in single precision, all of them finite."""
    cleaned = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    broken = [name for name, tensor in cleaned.items() if not tensor.isfinite().all()]
    if broken:
        raise WeightsFileError(path=path, reason=f"{list_first(broken)} have numbers that are not finite")
    return cleaned


def _describe(file: Path) -> ImportedFile:
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    return ImportedFile(file.name, digest, file.stat().st_size)
