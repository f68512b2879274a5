"""Parts at the settings of the product: what a test does not choose comes from the configuration."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from fieldmark import config, config_encoders
from fieldmark.config_section import Section
from fieldmark.encoders.birdnet import BirdNetEncoder
from fieldmark.encoders.lexical import LexicalTextEncoder
from fieldmark.encoders.named_text import NamedTextEncoder
from fieldmark.encoders.onnx import OnnxImageEncoder
from fieldmark.encoders.onnx_audio import OnnxAudioEncoder
from fieldmark.encoders.pixels import CharacterEncoder, PixelEncoder, SpectrogramEncoder
from fieldmark.encoders.transformer import TransformersImageEncoder, TransformersTextEncoder
from fieldmark.encoders.transformer_audio import TransformersAudioEncoder
from fieldmark.losses.center import CenterLoss, ReleasedCenterLoss
from fieldmark.losses.classification import ClassificationLoss
from fieldmark.losses.ranking import RankingLoss, ReleasedRankingLoss
from fieldmark.models.fgcrossnet import EmbeddingSource, FGCrossNet, TextStem, TrunkSize
from fieldmark.models.shared_space import SharedSpaceSize

Part = TypeVar("Part")


def fill(part: Callable[..., Part], *sections: type[Section], **keys: str) -> Callable[..., Part]:
    """Give a part the defaults of configuration sections.

    Args:
        keys: The key of the configuration for each parameter of another name.
    """
    defaults = {
        key: field.default
        for section in sections
        for key, field in section.model_fields.items()
        if not field.is_required()
    }
    parameters = inspect.signature(part).parameters.values()
    chosen = {
        each.name: defaults[keys.get(each.name, each.name)]
        for each in parameters
        if each.kind is each.KEYWORD_ONLY and each.default is each.empty and keys.get(each.name, each.name) in defaults
    }
    return partial(part, **chosen)


lexical_text_encoder = fill(LexicalTextEncoder, config_encoders.LexicalTextConfig)
transformers_text_encoder = fill(TransformersTextEncoder, config_encoders.TransformersTextConfig)
transformers_image_encoder = fill(
    TransformersImageEncoder, config_encoders.TransformersImageConfig, config_encoders.FrameSampling
)
onnx_image_encoder = fill(OnnxImageEncoder, config_encoders.OnnxImageConfig, config_encoders.FrameSampling)
onnx_audio_encoder = fill(OnnxAudioEncoder, config_encoders.OnnxAudioConfig)
transformers_audio_encoder = fill(TransformersAudioEncoder, config_encoders.TransformersAudioConfig)
named_text_encoder = fill(NamedTextEncoder, config_encoders.NamedTextConfig)
birdnet_encoder = fill(BirdNetEncoder, config_encoders.BirdNetConfig)
pixel_encoder = fill(PixelEncoder, config.FGCrossNetConfig)
spectrogram_encoder = fill(
    SpectrogramEncoder,
    config.FGCrossNetConfig,
    side_pixels="crop_pixels",
    segment_seconds="sound_seconds",
    released="released_sound",
)
character_encoder = fill(CharacterEncoder, config.FGCrossNetConfig, released="released_text")

shared_space_size = fill(SharedSpaceSize, config.SharedSpaceConfig)
text_stem = fill(TextStem, config.FGCrossNetConfig, conv_width="text_width")
trunk_of_depth = fill(TrunkSize.of_depth, config.FGCrossNetConfig)


def fgcrossnet(**choices: object) -> FGCrossNet:
    """Make a network of the size that the configuration has by default, but for what is chosen."""
    default = config.FGCrossNetConfig(kind="fgcrossnet")
    return FGCrossNet(
        **{
            "trunk": trunk_of_depth(default.depth),
            "text": text_stem(),
            "embedding": EmbeddingSource(default.embedding),
            "statistics_per_medium": default.statistics_per_medium,
        }
        | choices
    )


classification_loss = fill(ClassificationLoss, config.ClassificationConfig)
center_loss = fill(CenterLoss, config.CenterConfig)
released_center_loss = fill(ReleasedCenterLoss, config.ReleasedCenterConfig)
ranking_loss = fill(RankingLoss, config.RankingConfig)
released_ranking_loss = fill(ReleasedRankingLoss, config.ReleasedRankingConfig)
