"""The section of a model to its network, and the facts of encoders that a network is made for."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import assert_never

from torch import Tensor

from fieldmark.config import FGCrossNetConfig, ModelConfig, ReadyConfig, SharedSpaceConfig
from fieldmark.encoders.encoder import Encoder
from fieldmark.models.fgcrossnet import EmbeddingSource, FGCrossNet, TextStem, TrunkSize
from fieldmark.models.network import Network
from fieldmark.models.ready import ReadySize, ReadySpace
from fieldmark.models.shared_space import SharedSpace, SharedSpaceSize
from fieldmark.types import Medium


@dataclass(frozen=True, slots=True)
class NetworkInputs:
    """Facts of the encoders whose features a network reads.

    Args:
        dims: Of the features.
        named_counts: How many of them are scores of names.
        encoder_index: The same number for media that one encoder reads.
    """

    dims: Mapping[Medium, int]
    named_counts: Mapping[Medium, int]
    encoder_index: Mapping[Medium, int]


def describe_inputs(encoders: Mapping[Medium, Encoder]) -> NetworkInputs:
    """Return the facts of some encoders."""
    fingerprints = list(dict.fromkeys(encoder.fingerprint for encoder in encoders.values()))
    return NetworkInputs(
        dims={medium: encoder.shape[0] for medium, encoder in encoders.items()},
        named_counts={medium: len(set(encoder.named_scores.values())) for medium, encoder in encoders.items()},
        encoder_index={medium: fingerprints.index(encoder.fingerprint) for medium, encoder in encoders.items()},
    )


def read_inputs(config: ModelConfig, state: Mapping[str, Tensor]) -> NetworkInputs:
    """Return the facts of the encoders that the network of a state dict was made for."""
    if isinstance(config, ReadyConfig):
        return NetworkInputs(
            ReadySpace.read_input_dims(state),
            ReadySpace.read_named_counts(state),
            ReadySpace.read_encoder_index(state),
        )
    return NetworkInputs(SharedSpace.read_input_dims(state), SharedSpace.read_named_counts(state), {})


def build_network(config: ModelConfig, *, class_count: int, inputs: NetworkInputs) -> Network:
    """Return the network of a configuration; what it has of weights is drawn at random."""
    match config:
        case FGCrossNetConfig():
            return FGCrossNet(
                class_count=class_count,
                trunk=TrunkSize.of_depth(config.depth, base_width=config.base_width, stem_stride=config.stem_stride),
                text=TextStem(conv_width=config.text_width, shifts_in_training=config.released_zeros),
                embedding=EmbeddingSource(config.embedding),
                statistics_per_medium=config.statistics_per_medium,
            )
        case SharedSpaceConfig():
            size = SharedSpaceSize(
                dim=config.dim,
                hidden_dim=config.hidden_dim,
                uniform_trunk=config.uniform_trunk,
                component_count=config.component_count,
                input_dropout=config.input_dropout,
                dropout=config.dropout,
                posterior_weight=config.posterior_weight,
                linear_weight=config.linear_weight,
                named_weight=config.named_weight,
                private_dim=config.private_dim,
                name_dim=config.name_dim,
                name_weight=config.name_weight,
                scale=config.scale,
            )
            return SharedSpace(
                input_dims=inputs.dims, class_count=class_count, named_counts=inputs.named_counts, size=size
            )
        case ReadyConfig():
            ready_size = ReadySize(
                name_dim=config.name_dim,
                look_dim=config.look_dim,
                name_weight=config.name_weight,
                score_floor=config.score_floor,
                sure_mass=config.sure_mass,
            )
            return ReadySpace(
                input_dims=inputs.dims,
                named_counts=inputs.named_counts,
                encoder_index=inputs.encoder_index,
                size=ready_size,
            )
    assert_never(config)
