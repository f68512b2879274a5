"""The encoders of each medium: those that a user names, and those that are here for the media left open."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

from fieldmark.config import Config, EncodersConfig, ReadyConfig
from fieldmark.config_encoders import (
    NamedTextConfig,
    PartConfig,
    TransformersAudioConfig,
    TransformersImageConfig,
    TransformersTextConfig,
)
from fieldmark.encoder_choice.catalog import CATALOG, KnownEncoder, is_downloaded
from fieldmark.encoder_choice.inspection import SoundWindow, inspect_model
from fieldmark.encoder_choice.models_folder import AddedModel, list_added
from fieldmark.encoder_choice.name_check import describe_repeats
from fieldmark.encoders.encoder import PACKAGE_PREFIX
from fieldmark.encoders.transformer_files import has_text_tower, locate_weights
from fieldmark.errors import ConfigError, EncoderFilesError, MissingExtraError, suggest_nearest
from fieldmark.types import MEDIA, Medium, Reporter, SilentReporter

_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_DEFAULTS: Mapping[Medium, tuple[str, ...]] = {
    Medium.IMAGE: ("siglip", "clip", "dinov2-small"),
    Medium.VIDEO: ("siglip", "clip", "dinov2-small"),
    Medium.AUDIO: ("birdnet",),
    Medium.TEXT: ("all-minilm-l6-v2", "lexical", "field-marks"),
}
"""Known encoders that are taken where the user names none: all of those for texts that are here, else the first."""

_REMEDIES: Mapping[Medium, str] = {
    Medium.IMAGE: "fieldmark models get dinov2-small, or fieldmark models add FILE.onnx",
    Medium.VIDEO: "fieldmark models get dinov2-small, or fieldmark models add FILE.onnx",
    Medium.AUDIO: "pip install 'fieldmark[birdnet]'",
    Medium.TEXT: "pip install 'fieldmark[encoders]'",
}


@dataclass(frozen=True, slots=True)
class EncoderChoice:
    """The encoders that a user named for a command; media without one are left open.

    Args:
        image: Names or paths; several are joined. They serve video too, unless it has its own.
        labels: List of labels of the ONNX classifier that is named by its path.
        names_file: Names of species to look for in texts.
        descriptions: Species book: accounts that texts are compared with.
    """

    image: tuple[str, ...] = ()
    text: tuple[str, ...] = ()
    video: tuple[str, ...] = ()
    audio: tuple[str, ...] = ()
    labels: Path | None = None
    names_file: Path | None = None
    descriptions: Path | None = None

    @property
    def is_empty(self) -> bool:
        """True if the user named nothing."""
        return not (self.names or self.labels or self.names_file or self.descriptions)

    @property
    def names(self) -> dict[Medium, tuple[str, ...]]:
        """The names for each medium that has any."""
        by_medium = {
            Medium.IMAGE: self.image,
            Medium.TEXT: self.text,
            Medium.VIDEO: self.video or self.image,
            Medium.AUDIO: self.audio,
        }
        return {medium: names for medium, names in by_medium.items() if names}


@dataclass(frozen=True, slots=True)
class AvailableEncoders:
    """The sections of the encoders for each medium, and the remedy for each medium that has none.

    Args:
        sections: As `model.<medium>` of a configuration takes them.
        remedies: The command that brings an encoder, by medium without one.
    """

    sections: Mapping[Medium, tuple[PartConfig, ...]]
    remedies: Mapping[Medium, str]


def resolve_encoder(
    text: str,
    *,
    medium: Medium,
    labels: Path | None = None,
    window: SoundWindow | None = None,
    models: Path | None = None,
) -> PartConfig:
    """Return the section of the encoder that a user names for a medium.

    Args:
        text: The name of a known or added encoder, a path, `package:NAME/FOLDER`, or a name on the model hub.
        labels: List of labels, for an ONNX classifier given by its path.
        window: What a graph of sound, given by its path, takes at once; None where the file or its size tells.
        models: Folder of added models.

    Raises:
        ConfigError: There is none of this name, it takes another medium, or it is not here.
        EncoderFilesError: Its files cannot be read.
        MissingExtraError: It needs a package that is not installed.
    """
    if named := _find_named(text, models=models):
        return _take_section(named, text=text, medium=medium)
    if Path(text).exists():
        return inspect_model(Path(text), medium=medium, labels=labels, window=window)
    if text.startswith(PACKAGE_PREFIX) or (_HUB_NAME.fullmatch(text) and is_downloaded(text)):
        return _make_section(text, medium=medium)
    if _HUB_NAME.fullmatch(text) and not text.startswith("."):
        raise ConfigError(
            f"There is no file at '{text}', and no model of this name was fetched from the model hub. "
            f"Correct the path, or run: fieldmark models get {text}"
        )
    names = [each.name for each in CATALOG if medium in each.media]
    names += [each.name for each in list_added(models) if medium in each.media]
    raise ConfigError(
        f"There is no encoder '{text}'.{suggest_nearest(text.lower(), names)} Give one of {', '.join(names)}, "
        "a file or folder, or see `fieldmark models`."
    )


def _find_named(text: str, *, models: Path | None) -> KnownEncoder | AddedModel | None:
    wanted = normalize_model_name(text)
    for added in list_added(models):  # a file that the user added stands for the known one
        if added.name == wanted:
            return added
    for known in CATALOG:
        if known.name == wanted or known.hub_name == text:
            return known
    return None


def normalize_model_name(text: str) -> str:
    """Return the form in which names of encoders are compared."""
    return text.strip().lower().replace("_", "-").replace(" ", "-")


def _take_section(encoder: KnownEncoder | AddedModel, *, text: str, medium: Medium) -> PartConfig:
    if medium not in encoder.media:
        raise ConfigError(
            f"The encoder '{text}' takes {', '.join(encoder.media)}, not {medium}. "
            "See `fieldmark models` for those that do."
        )
    if isinstance(encoder, KnownEncoder) and not encoder.is_here:
        fetch = f"; FILE is {encoder.file_hint}" if encoder.file_hint else ""
        raise ConfigError(f"The encoder '{encoder.name}' is not here. Run: {encoder.how}{fetch}")
    return encoder.sections[medium]


def _make_section(name: str, *, medium: Medium) -> PartConfig:
    match medium:
        case Medium.IMAGE | Medium.VIDEO:
            return TransformersImageConfig(kind="transformers_image", name=name)
        case Medium.TEXT:
            return TransformersTextConfig(kind="transformers_text", name=name)
        case Medium.AUDIO:
            return TransformersAudioConfig(kind="transformers_audio", name=name)


def list_available_encoders(media: Collection[Medium] = MEDIA, *, models: Path | None = None) -> AvailableEncoders:
    """Return the encoders that are here for some media; nothing is downloaded.

    A model that the user added comes before known ones. A medium with several such models takes the first by name.

    Args:
        models: Folder of added models.
    """
    added = list_added(models)
    sections: dict[Medium, tuple[PartConfig, ...]] = {}
    for medium in media:
        own = [each.sections[medium] for each in added if medium in each.sections]
        known = [each for name in _DEFAULTS[medium] for each in CATALOG if each.name == name and each.is_here]
        here = [each.sections[medium] for each in known]
        chosen = [*own[:1], *here] if medium is Medium.TEXT else [*own, *here][:1]
        if chosen:
            sections[medium] = tuple(chosen)
    return AvailableEncoders(sections, {medium: _REMEDIES[medium] for medium in media if medium not in sections})


def resolve_choice(choice: EncoderChoice, *, models: Path | None = None) -> dict[Medium, tuple[PartConfig, ...]]:
    """Return the sections of the encoders that the user named.

    Raises:
        As `resolve_encoder`.
        ConfigError: A list of labels is given, and no file that it may be of, or more than one.
    """
    labeled = _find_labeled(choice)
    return {
        medium: tuple(
            resolve_encoder(name, medium=medium, labels=choice.labels if name == labeled else None, models=models)
            for name in names
        )
        for medium, names in choice.names.items()
    }


def _give_names(
    sections: Mapping[Medium, tuple[PartConfig, ...]], choice: EncoderChoice
) -> dict[Medium, tuple[PartConfig, ...]]:
    """Return the sections, the user's list of names given to each model that scores any names, as CLIP does."""
    names = None if choice.names_file is None else choice.names_file.resolve()
    return {
        medium: tuple(
            each.model_copy(update={"names": names}) if names is not None and _has_text_tower(each) else each
            for each in own
        )
        for medium, own in sections.items()
    }


def _add_text_towers(
    sections: Mapping[Medium, tuple[PartConfig, ...]], *, named: Collection[Medium]
) -> dict[Medium, tuple[PartConfig, ...]]:
    """Return the sections, those for texts with the tower of the model that reads pictures or sounds.

    With it a text is compared with them directly. Where the user named encoders of texts, theirs are kept.
    """
    if Medium.TEXT in named:
        return dict(sections)
    others = [each for medium in (Medium.IMAGE, Medium.VIDEO, Medium.AUDIO) for each in sections.get(medium, ())]
    towers = [each for each in others if _has_text_tower(each)]
    if not towers:
        return dict(sections)
    tower = TransformersTextConfig(kind="transformers_text", name=towers[0].name)
    return {**sections, Medium.TEXT: (*sections.get(Medium.TEXT, ()), tower)}


def _has_text_tower(section: PartConfig) -> TypeGuard[TransformersImageConfig | TransformersAudioConfig]:
    """Tell whether a section is of a model with two towers, one of them for texts."""
    if not isinstance(section, TransformersImageConfig | TransformersAudioConfig):
        return False
    try:
        return has_text_tower(locate_weights(section.name, allow_download=False))
    except (EncoderFilesError, MissingExtraError):
        return False


def _add_named_text(sections: Sequence[PartConfig], choice: EncoderChoice) -> tuple[PartConfig, ...]:
    """Return the sections for texts with one that reads names, unless there is one already and nothing to add.

    Raises:
        ConfigError: A file of names or accounts is not there.
    """
    given = {"names": choice.names_file, "descriptions": choice.descriptions}
    files = {key: path.resolve() for key, path in given.items() if path is not None}
    for path in files.values():
        if not path.is_file():
            raise ConfigError(f"There is no file at '{path}'. Correct the path after --names or --descriptions.")
    if not files and any(isinstance(section, NamedTextConfig) for section in sections):
        return tuple(sections)
    others = [section for section in sections if not isinstance(section, NamedTextConfig)]
    return (*others, NamedTextConfig(kind="named_text", **files))


def _report_repeats(choice: EncoderChoice, reporter: Reporter) -> None:
    """Report names that stand more than once in the lists that the user gave."""
    for path in (choice.names_file, choice.labels):
        line = describe_repeats(path) if path is not None and path.is_file() else None
        if line is not None:
            reporter.say(line)


def _find_labeled(choice: EncoderChoice) -> str | None:
    """Return the encoder that `labels` is of: the only one that is given as a file."""
    if choice.labels is None:
        return None
    files = list(dict.fromkeys(name for names in choice.names.values() for name in names if _is_graph(name)))
    if len(files) != 1:
        raise ConfigError(
            f"--labels '{choice.labels}' is the list of labels of one ONNX file, but {len(files)} are named. "
            "Give one with --image-encoder or --audio-encoder, and add others with `fieldmark models add`."
        )
    return files[0]


def _is_graph(name: str) -> bool:
    path = Path(name)
    return path.suffix.lower() == ".onnx" or (path.is_dir() and not (path / "config.json").is_file())


def override_encoders(
    config: Config, choice: EncoderChoice, *, models: Path | None = None, reporter: Reporter | None = None
) -> Config:
    """Return a configuration with the encoders that the user named in place of its own.

    Raises:
        As `resolve_choice`.
        ConfigError: The configuration's model has its own encoders.
    """
    if choice.is_empty:
        return config
    _report_repeats(choice, reporter or SilentReporter())
    chosen = _give_names(resolve_choice(choice, models=models), choice)
    model = config.model
    if not isinstance(model, EncodersConfig):
        raise ConfigError(
            f"The model '{model.kind}' has its own encoders. Use the configuration 'fieldmark', or leave out "
            f"{', '.join(f'--{medium}-encoder' for medium in chosen) or '--names and --descriptions'}."
        )
    if choice.names_file is not None or choice.descriptions is not None:
        chosen[Medium.TEXT] = _add_named_text(chosen.get(Medium.TEXT, model.text), choice)
    return config.model_copy(update={"model": _replace_sections(model, chosen)})


def take_encoders(config: Config, other: Config) -> Config:
    """Return a configuration with the encoders of another one; that other one where its model has none to take."""
    model, given = config.model, other.model
    if not isinstance(model, EncodersConfig) or not isinstance(given, EncodersConfig):
        return other
    return config.model_copy(
        update={"model": _replace_sections(model, {medium: given.list_encoders(medium) for medium in MEDIA})}
    )


def make_ready_config(
    config: Config, choice: EncoderChoice, *, models: Path | None = None, reporter: Reporter
) -> Config:
    """Return a configuration without training: with the encoders that the user named, its own, or those that are here.

    The reporter says which media are left out, and what would bring them.

    Raises:
        As `resolve_choice`.
        ConfigError: The configuration's model has to be trained, or no medium has an encoder.
    """
    model = config.model
    if not isinstance(model, EncodersConfig):
        raise ConfigError(
            f"The model '{model.kind}' has no pretrained encoders, so it has to be trained first. Run "
            "`fieldmark train` and give the run with --checkpoint, or use the configuration 'ready'."
        )
    ready = model if isinstance(model, ReadyConfig) else ReadyConfig(kind="ready")
    own = {medium: sections for medium in MEDIA if (sections := model.list_encoders(medium))}
    named = {**own, **resolve_choice(choice, models=models)}
    _report_repeats(choice, reporter)
    available = list_available_encoders([medium for medium in MEDIA if medium not in named], models=models)
    chosen = _give_names(_add_text_towers({**available.sections, **named}, named=named), choice)
    if not chosen:
        commands = "; ".join(dict.fromkeys(available.remedies.values()))
        raise ConfigError(f"There is no encoder for any of {', '.join(MEDIA)}. Run one of these: {commands}.")
    if Medium.TEXT in chosen:
        chosen[Medium.TEXT] = _add_named_text(chosen[Medium.TEXT], choice)
    for medium, remedy in available.remedies.items():
        reporter.say(f"{medium} is left out, as there is no encoder for it. Get one with: {remedy}")
    return config.model_copy(update={"model": _replace_sections(ready, chosen)})


def _replace_sections(model: EncodersConfig, sections: Mapping[Medium, Sequence[PartConfig]]) -> EncodersConfig:
    """Return the model with other encoders, validated as a file's would be."""
    values = model.model_dump() | {
        medium.value: [section.model_dump() for section in own] for medium, own in sections.items()
    }
    return type(model).model_validate(values)
