"""The verbs `list_models`, `add_model` and `get_model`: encoders that are known, here, or to be had."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from fieldmark.build_encoders import build_part
from fieldmark.config_encoders import PartConfig
from fieldmark.encoder_choice.catalog import CATALOG, SEE_PAGE, KnownEncoder
from fieldmark.encoder_choice.choice import normalize_model_name, resolve_encoder
from fieldmark.encoder_choice.hub import HubModel, ModelHub, download, find_on_hub, open_hub
from fieldmark.encoder_choice.inspection import SoundWindow, list_possible_media
from fieldmark.encoder_choice.models_folder import AddedModel, add_files, list_added
from fieldmark.errors import ConfigError, suggest_nearest
from fieldmark.runtime import Runtime
from fieldmark.types import Medium


@dataclass(frozen=True, slots=True)
class ModelRow:
    """One encoder as `fieldmark models` lists it.

    Args:
        names: The species or classes that it names; "" for one that names none.
        how: The command that brings it; "" where it is here.
        page: Its address, or for an added one the path that it came from; "" where there is none.
    """

    name: str
    media: tuple[Medium, ...]
    names: str
    size: str
    license: str
    is_here: bool
    how: str
    page: str

    json_keys: ClassVar = ("name", "media", "names", "size", "license", "is_here", "how", "page")


@dataclass(frozen=True, slots=True)
class ModelList:
    """The known encoders and those that the user added."""

    models: tuple[ModelRow, ...]
    folder: Path | None

    json_keys: ClassVar = ("models", "folder")

    def to_text(self) -> str:
        """Return a table with a line for each encoder, and how to get those that are not here."""
        table = [("name", "media", "names", "size", "license", "")]
        for row in self.models:
            here = "here" if row.is_here else f"{row.how}  {row.page}"
            table.append((row.name, ", ".join(row.media), row.names or "-", row.size, row.license, here))
        widths = [max(len(cells[column]) for cells in table) for column in range(5)]
        lines = [
            "  ".join([*(c.ljust(w) for c, w in zip(cells[:5], widths, strict=True)), cells[5]]) for cells in table
        ]
        return "\n".join(line.rstrip() for line in lines)


@dataclass(frozen=True, slots=True)
class ModelReport:
    """An encoder that was added or fetched, and can be used now.

    Args:
        names_count: Species or classes that it names.
    """

    name: str
    media: tuple[Medium, ...]
    names_count: int
    license: str
    folder: Path

    json_keys: ClassVar = ("name", "media", "names_count", "license", "folder")

    def to_text(self) -> str:
        """Return what the encoder takes and names, and how to use it."""
        names = f"; names {self.names_count:,} species or classes" if self.names_count else "; names no classes"
        lines = [f"{self.name} is here ({', '.join(self.media)}{names})", f"files: {self.folder}"]
        return "\n".join([*lines, f"use it with --{self.media[0]}-encoder {self.name}"])


def list_models(*, runtime: Runtime | None = None) -> ModelList:
    """Return the known encoders and those that the user added; nothing is downloaded.

    Raises:
        ConfigError: The record of an added model is broken.
    """
    folder = (runtime or Runtime.from_environment()).models_folder
    added = list_added(folder)
    own = {each.name for each in added}
    rows = [_describe_added(each) for each in added]
    return ModelList((*rows, *(_describe_known(each) for each in CATALOG if each.name not in own)), folder)


def add_model(
    path: Path | str,
    *,
    name: str | None = None,
    labels: Path | str | None = None,
    medium: Medium | None = None,
    sample_rate_hz: int | None = None,
    runtime: Runtime | None = None,
) -> ModelReport:
    """Add a model's file or folder under a name; the files are copied, so the original may go.

    The model is loaded once, so that what is wrong with it is said now.

    Args:
        path: An ONNX file, a folder that holds one, or a folder in the layout of `transformers`.
        name: None for that of the file or folder.
        labels: List of labels of an ONNX classifier; None for the one beside it.
        medium: None for that of the model's input; pictures serve images and videos.
        sample_rate_hz: Of the sounds that an ONNX file takes; None where the name of a known encoder, the file's
            preprocessing or the size of its input tells.

    Raises:
        ConfigError: It is no model that can be read, or the name is taken.
        EncoderFilesError: The model, its labels or its preprocessing cannot be used.
        MissingExtraError: It needs a package that is not installed.
    """
    runtime, path = runtime or Runtime.from_environment(), Path(path)
    media = list_possible_media(path) if medium is None else _widen(medium)
    labels = None if labels is None else Path(labels)
    name = normalize_model_name(name or path.stem)
    window = None if sample_rate_hz is None else SoundWindow(sample_rate_hz)
    window = window or next((known.window for known in CATALOG if known.name == name), None)
    sections = {
        each: resolve_encoder(str(path.absolute()), medium=each, labels=labels, window=window) for each in media
    }
    names_count = _try_out(list(sections.values()))
    model = AddedModel(
        name=name,
        sections=sections,
        names_count=names_count,
        size_bytes=0,
        license="",
        source=str(path.absolute()),
    )
    models = _require_folder(runtime)
    added = add_files(model, models=models)
    return ModelReport(added.name, added.media, names_count, added.license, models / added.name)


def get_model(name: str, *, runtime: Runtime | None = None, hub: ModelHub | None = None) -> ModelReport:
    """Fetch an encoder from the model hub into the hub's own cache; what is there already is not fetched again.

    The license is said before anything is fetched. The hub's library continues a broken download and checks its hash.

    Args:
        name: Of a known encoder, or "owner/name" of any model on the hub.
        hub: None for that of the `huggingface_hub` library.

    Raises:
        ConfigError: The encoder is not on the hub, or the hub cannot be reached.
        EncoderFilesError: What was fetched is no encoder that can be read.
        MissingExtraError: A package is not installed.
    """
    runtime = runtime or Runtime.from_environment()
    known = _find_known(name)
    if known is not None and known.hub_name is None:
        bring = f", once it is here by: {known.how}" if known.how else ""
        raise ConfigError(
            f"The encoder '{known.name}' does not come from the model hub. Use it with --{known.media[0]}-encoder "
            f"{known.name}{bring}."
        )
    hub_name = name if known is None else str(known.hub_name)
    client = hub or open_hub()
    found = find_on_hub(hub_name, hub=client)
    runtime.reporter.say(_announce(found))
    folder = download(found, hub=client)
    media = list_possible_media(folder) if known is None else known.media
    sections = {each: resolve_encoder(str(folder), medium=each) for each in media}
    names_count = _try_out(list(sections.values()))
    return ModelReport(name if known is None else known.name, tuple(media), names_count, found.license, folder)


def _announce(model: HubModel) -> str:
    size = f"{model.size_bytes / 1e6:,.0f} MB" if model.size_bytes else "size unknown"
    return f"fetching {model.name} ({size}); license: {model.license or SEE_PAGE}; page: {model.page}"


def _find_known(name: str) -> KnownEncoder | None:
    """Return the known encoder of a name; None for a name on the hub.

    Raises:
        ConfigError: It is neither.
    """
    for known in CATALOG:
        if normalize_model_name(name) == known.name or name == known.hub_name:
            return known
    if name.count("/") != 1:
        names = [known.name for known in CATALOG]
        raise ConfigError(
            f"There is no encoder '{name}'.{suggest_nearest(normalize_model_name(name), names)} "
            f"Give one of {', '.join(names)}, or OWNER/NAME of the model hub."
        )
    return None


def _try_out(sections: Sequence[PartConfig]) -> int:
    """Load the encoders, and return how many species or classes they name."""
    return max(len(set(build_part(section).named_scores.values())) for section in sections)


def _widen(medium: Medium) -> tuple[Medium, ...]:
    return (Medium.IMAGE, Medium.VIDEO) if medium in (Medium.IMAGE, Medium.VIDEO) else (medium,)


def _require_folder(runtime: Runtime) -> Path:
    if runtime.models_folder is None:
        raise ConfigError(
            f"There is no folder for models, since the cache is {runtime.cache}. Set FIELDMARK_CACHE to a folder."
        )
    return runtime.models_folder


def _describe_known(known: KnownEncoder) -> ModelRow:
    is_here = known.is_here
    return ModelRow(
        name=known.name,
        media=known.media,
        names=known.names,
        size=known.size,
        license=known.license,
        is_here=is_here,
        how="" if is_here else known.how,
        page=known.page,
    )


def _describe_added(added: AddedModel) -> ModelRow:
    return ModelRow(
        name=added.name,
        media=added.media,
        names=f"{added.names_count:,} classes" if added.names_count else "",
        size=f"{added.size_bytes / 1e6:,.0f} MB",
        license=added.license or "as its source says",
        is_here=True,
        how="",
        page=added.source,
    )
