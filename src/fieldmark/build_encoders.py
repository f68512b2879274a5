"""A section of the configuration to the encoder that it describes."""

from typing import assert_never

from fieldmark.config_encoders import (
    BirdNetConfig,
    FieldMarkTextConfig,
    LexicalTextConfig,
    OnnxImageConfig,
    PartConfig,
    TransformersImageConfig,
    TransformersTextConfig,
)
from fieldmark.encoders.birdnet import BirdNetEncoder
from fieldmark.encoders.encoder import Encoder
from fieldmark.encoders.field_marks import FieldMarkTextEncoder
from fieldmark.encoders.lexical import LexicalTextEncoder
from fieldmark.encoders.onnx import OnnxImageEncoder
from fieldmark.encoders.preprocessing import read_preprocessing
from fieldmark.encoders.transformer import TransformersImageEncoder, TransformersTextEncoder


def build_part(config: PartConfig) -> Encoder:
    """Return the encoder of one section, its weights loaded.

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
                segment_seconds=config.frames.segment_seconds,
                frames_per_segment=config.frames.frames_per_segment,
            )
        case TransformersTextConfig():
            return TransformersTextEncoder(config.name, allow_download=config.allow_download)
        case LexicalTextConfig():
            return LexicalTextEncoder(dim=config.dim, character_count=config.character_count)
        case FieldMarkTextConfig():
            return FieldMarkTextEncoder()
        case BirdNetConfig():
            return BirdNetEncoder(hop_seconds=config.hop_seconds, has_species_scores=config.has_species_scores)
    assert_never(config)
