"""The user's folder of added models: each in a folder of its own, with its files and a record of how they are read."""

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from fieldmark.config_encoders import (
    PartConfig,
    TransformersAudioConfig,
    TransformersImageConfig,
    TransformersTextConfig,
)
from fieldmark.encoders.onnx_file import find_external_files
from fieldmark.encoders.transformer_files import FILES
from fieldmark.errors import ConfigError, EncoderFilesError, read_first_line
from fieldmark.io import write_text
from fieldmark.types import Medium

RECORD_NAME = "model.json"
_FOLDER_SECTIONS = (TransformersImageConfig, TransformersTextConfig, TransformersAudioConfig)
_SECTIONS = TypeAdapter[dict[Medium, PartConfig]](dict[Medium, Annotated[PartConfig, Field(discriminator="kind")]])


@dataclass(frozen=True, slots=True)
class AddedModel:
    """A model that the user added: a copy of its files, or a name on the model hub.

    Args:
        sections: The section of the configuration for each medium that it takes.
        names_count: Number of species or classes that it names.
        license: As the user or the hub stated it; "" where nobody did.
        source: The path or hub name that it came from.
    """

    name: str
    sections: Mapping[Medium, PartConfig]
    names_count: int
    size_bytes: int
    license: str
    source: str

    @property
    def media(self) -> tuple[Medium, ...]:
        """The media that it takes."""
        return tuple(self.sections)


def list_added(models: Path | None) -> tuple[AddedModel, ...]:
    """Return the models that were added, by name.

    Raises:
        ConfigError: A record is broken.
    """
    if models is None or not models.is_dir():
        return ()
    return tuple(_read(path.parent) for path in sorted(models.glob(f"*/{RECORD_NAME}")))


def add_files(model: AddedModel, *, models: Path) -> AddedModel:
    """Copy a model's files into the folder, and return it as it is there.

    A copy, so that galleries made with it still open when the download it came from is gone.

    Raises:
        ConfigError: A model of this name is there already.
        EncoderFilesError: A graph has weights outside of its own folder.
    """
    target = models / model.name
    if target.exists():
        raise ConfigError(
            f"There is a model '{model.name}' already, and galleries may use it. "
            f"Choose another --name, or delete the folder '{target}'."
        )
    models.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=".adding-", dir=models))
    try:
        sections = {medium: _copy_files(section, partial) for medium, section in model.sections.items()}
        record = {
            "name": model.name,
            "sections": {medium.value: section for medium, section in sections.items()},
            "names_count": model.names_count,
            "license": model.license,
            "source": model.source,
        }
        write_text(partial / RECORD_NAME, json.dumps(record, indent=2, ensure_ascii=False) + "\n")
        partial.chmod(0o755)
        partial.rename(target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return _read(target)


def _copy_files(section: PartConfig, folder: Path) -> dict[str, object]:
    """Copy the files that a section names, and return its values with paths from the folder on."""
    values: dict[str, object] = json.loads(section.model_dump_json(exclude_none=True))
    for key, value in section:
        if isinstance(value, Path):
            values[key] = _copy_file(value, folder)
    if isinstance(section, _FOLDER_SECTIONS) and Path(section.name).is_dir():
        for pattern in FILES:
            for file in sorted(Path(section.name).glob(pattern)):
                _copy_file(file, folder)
        values["name"] = "./"
    return values


def _copy_file(file: Path, folder: Path) -> str:
    """Copy a file, and the files beside an ONNX graph that hold its weights; return its name.

    Raises:
        EncoderFilesError: A graph has weights outside of its own folder.
    """
    outside = find_external_files(file) if file.suffix == ".onnx" else []
    for each in (file, *outside):
        place = Path(os.path.relpath(each, file.parent))
        if place.parts[0] == "..":
            reason = f"its weights are in '{each}', outside of its folder"
            raise EncoderFilesError(
                name=str(file),
                reason=reason,
                key="path",
                remedy="Put the graph and its weights into one folder, and add it again.",
            )
        target = folder / place
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(each, target)
    return file.name


def _read(folder: Path) -> AddedModel:
    path = folder / RECORD_NAME
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        sections = _SECTIONS.validate_python(values["sections"], context={"folder": folder})
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        return AddedModel(
            name=folder.name,
            sections=sections,
            names_count=int(values["names_count"]),
            size_bytes=size,
            license=str(values["license"]),
            source=str(values["source"]),
        )
    except (OSError, ValueError, LookupError, TypeError, ValidationError) as error:
        raise ConfigError(
            f"The record '{path}' of an added model cannot be read: {read_first_line(error)}. "
            f"Delete the folder '{folder}', and add the model again."
        ) from error
