"""A section of the configuration to the encoder that it describes."""

import logging
from collections.abc import Sequence
from typing import assert_never

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
from fieldmark.encoders.birdnet import BirdNetEncoder, list_birdnet_species
from fieldmark.encoders.encoder import Encoder
from fieldmark.encoders.field_marks import FieldMarkTextEncoder
from fieldmark.encoders.labels import ClassNames, read_labels
from fieldmark.encoders.lexical import LexicalTextEncoder
from fieldmark.encoders.named_text import NamedTextEncoder
from fieldmark.encoders.onnx import OnnxImageEncoder
from fieldmark.encoders.onnx_audio import OnnxAudioEncoder
from fieldmark.encoders.preprocessing import read_preprocessing
from fieldmark.encoders.transformer import TransformersImageEncoder, TransformersTextEncoder
from fieldmark.encoders.transformer_audio import TransformersAudioEncoder
from fieldmark.encoders.transformer_files import is_classifier, locate_weights, read_own_labels
from fieldmark.encoders.transformer_model import Tower
from fieldmark.errors import EncoderFilesError, MissingExtraError

logger = logging.getLogger(__name__)


def build_part(  # noqa: C901, PLR0911 - a case for each kind
    config: PartConfig, *, others: Sequence[PartConfig] = ()
) -> Encoder:
    """Return the encoder of one section, its weights loaded.

    Args:
        others: Sections of the other media, whose names an encoder of texts may look for.

    Raises:
        MissingExtraError: It needs a package that is not installed.
        EncoderFilesError: Its weights are not where the configuration says.
    """
    match config:
        case OnnxImageConfig():
            file = config.preprocessor
            return OnnxImageEncoder(
                config.path,
                output=config.output,
                labels=config.labels,
                logits=config.logits,
                activation=config.activation,
                preprocessing=None if file is None else read_preprocessing(file, key="preprocessor"),
                segment_seconds=config.frames.segment_seconds,
                frames_per_segment=config.frames.frames_per_segment,
            )
        case TransformersImageConfig():
            return TransformersImageEncoder(
                config.name,
                allow_download=config.allow_download,
                has_named_scores=config.has_named_scores,
                names=config.names,
                prompt=config.prompt,
                segment_seconds=config.frames.segment_seconds,
                frames_per_segment=config.frames.frames_per_segment,
            )
        case TransformersTextConfig():
            return TransformersTextEncoder(config.name, allow_download=config.allow_download)
        case LexicalTextConfig():
            return LexicalTextEncoder(dim=config.dim, character_count=config.character_count)
        case FieldMarkTextConfig():
            return FieldMarkTextEncoder()
        case NamedTextConfig():
            species = [] if config.names is None else list(read_labels(config.names))
            if config.from_encoders:
                species += [names for other in others for names in list_section_species(other)]
            return NamedTextEncoder(species, descriptions=config.descriptions, temperature=config.temperature)
        case BirdNetConfig():
            return BirdNetEncoder(hop_seconds=config.hop_seconds, has_species_scores=config.has_species_scores)
        case OnnxAudioConfig():
            return OnnxAudioEncoder(
                config.path,
                output=config.output,
                labels=config.labels,
                logits=config.logits,
                activation=config.activation,
                sample_rate_hz=config.sample_rate_hz,
                window_seconds=config.window_seconds,
                hop_seconds=config.hop_seconds or config.window_seconds / 2,
            )
        case TransformersAudioConfig():
            return TransformersAudioEncoder(
                config.name,
                allow_download=config.allow_download,
                has_named_scores=config.has_named_scores,
                names=config.names,
                prompt=config.prompt,
                window_seconds=config.window_seconds,
                hop_seconds=config.hop_seconds,
            )
    assert_never(config)


def list_section_species(config: PartConfig) -> ClassNames:
    """Return the names of the species that an encoder tells apart, without loading its weights.

    An encoder that is not here knows none, which is logged.
    """
    try:
        match config:
            case OnnxImageConfig() | OnnxAudioConfig():
                return () if config.labels is None else read_labels(config.labels)
            case TransformersImageConfig() | TransformersAudioConfig():
                return _list_model_classes(config)
            case BirdNetConfig():
                return list_birdnet_species() if config.has_species_scores else ()
            case NamedTextConfig() | TransformersTextConfig() | LexicalTextConfig() | FieldMarkTextConfig():
                return ()
        assert_never(config)
    except (EncoderFilesError, MissingExtraError) as error:
        logger.warning("The names that an encoder knows cannot be read: %s", error)
        return ()


def _list_model_classes(config: TransformersImageConfig | TransformersAudioConfig) -> ClassNames:
    if config.names is not None:
        return read_labels(config.names)
    folder = locate_weights(config.name, allow_download=False)
    tower: Tower = "image" if isinstance(config, TransformersImageConfig) else "audio"
    return read_own_labels(folder) if config.has_named_scores and is_classifier(folder, tower=tower) else ()
