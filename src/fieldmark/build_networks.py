"""The section of a model to its network, and the facts of encoders that a network is made for."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import assert_never

import torch
from torch import Tensor, nn

from fieldmark.config import FGCrossNetConfig, ModelConfig, ReadyConfig, SharedSpaceConfig
from fieldmark.encoders.encoder import Encoder, find_joint
from fieldmark.encoders.preprocessing import PREPROCESSOR_FILE, ImagePreprocessing, read_preprocessing
from fieldmark.encoders.transformer_files import (
    build_picture_network,
    load_model,
    locate_weights,
    read_picture_settings,
)
from fieldmark.errors import EncoderFilesError, read_first_line
from fieldmark.models.backbone import Backbone, BackboneFacts, pool
from fieldmark.models.completed_space import CompletedSpace
from fieldmark.models.fgcrossnet import EmbeddingSource, FGCrossNet, TextStem, TrunkSize
from fieldmark.models.network import Network
from fieldmark.models.ready import ReadySize, ReadySpace
from fieldmark.models.shared_space import SharedSpace, SharedSpaceSize
from fieldmark.names import KnownNames, name_key
from fieldmark.types import Medium

_FEW = 0.1
"""Share of the smaller vocabulary below which two encoders hardly name the same classes."""


@dataclass(frozen=True, slots=True)
class TrainedTrunk:
    """A picture network of another library in the place of a trunk, and its facts."""

    network: nn.Module
    facts: BackboneFacts


@dataclass(frozen=True, slots=True)
class NetworkInputs:
    """Facts of the encoders whose features a network reads.

    Args:
        dims: Of the features.
        named_counts: How many of them are scores of names.
        encoder_index: The same number for media that one encoder reads.
        joint: Columns of the features that can be compared with those of another encoder's medium.
        labelled_media: Media whose features are trained on; None for all of them.
        trunk: In place of the network's own; None for its own.
    """

    dims: Mapping[Medium, int]
    named_counts: Mapping[Medium, int]
    encoder_index: Mapping[Medium, int]
    joint: Mapping[Medium, range] = field(default_factory=dict)
    labelled_media: frozenset[Medium] | None = None
    trunk: TrainedTrunk | None = None

    def keep_labelled(self) -> "NetworkInputs":
        """Return the facts of the media that are trained on alone."""
        own = self.dims.keys() if self.labelled_media is None else self.labelled_media
        return NetworkInputs(
            {medium: dim for medium, dim in self.dims.items() if medium in own},
            {medium: count for medium, count in self.named_counts.items() if medium in own},
            {},
        )


def describe_inputs(
    encoders: Mapping[Medium, Encoder], *, labelled_media: frozenset[Medium] | None = None
) -> NetworkInputs:
    """Return the facts of some encoders.

    Args:
        labelled_media: Media that are trained on; None for all.
    """
    fingerprints = list(dict.fromkeys(encoder.fingerprint for encoder in encoders.values()))
    return NetworkInputs(
        dims={medium: encoder.shape[0] for medium, encoder in encoders.items()},
        named_counts={medium: len(set(encoder.named_scores.values())) for medium, encoder in encoders.items()},
        encoder_index={medium: fingerprints.index(encoder.fingerprint) for medium, encoder in encoders.items()},
        labelled_media=labelled_media,
        joint=_find_joint_columns(encoders),
    )


def _find_joint_columns(encoders: Mapping[Medium, Encoder]) -> dict[Medium, range]:
    """Return the columns of the space that most encoders share; none where one encoder stands alone in each."""
    joints = {medium: joint for medium, encoder in encoders.items() if (joint := find_joint(encoder)) is not None}
    readers: dict[str, set[str]] = {}
    for medium, joint in joints.items():
        readers.setdefault(joint.space, set()).add(encoders[medium].fingerprint)
    widest = max(readers, key=lambda space: len(readers[space]), default="")
    if len(readers.get(widest, ())) < 2:
        return {}
    shared = {medium: joint for medium, joint in joints.items() if joint.space == widest}
    return {medium: range(joint.start, joint.start + joint.dim) for medium, joint in shared.items()}


def describe_disagreement(species: Mapping[Medium, Sequence[Sequence[str]]]) -> tuple[str, ...]:
    """Return a line for each two media whose encoders name hardly any species in common.

    Args:
        species: All names of each species that the encoder of a medium tells apart.
    """
    known = KnownNames(names for own in species.values() for names in own)
    keys = {
        medium: [frozenset(map(name_key, known.find_all_names(names))) for names in own]
        for medium, own in species.items()
        if own
    }
    lines = []
    for first, second in itertools.combinations(keys, 2):
        small, large = sorted((first, second), key=lambda medium: len(keys[medium]))
        others = frozenset[str]().union(*keys[large])
        common = sum(not own.isdisjoint(others) for own in keys[small])
        if common < _FEW * len(keys[small]):
            lines.append(
                f"{small} and {large}: their encoders name {len(keys[small]):,} and {len(keys[large]):,} classes, "
                f"{common:,} of them the same, so one hardly finds the other. Give both the same names: encoders of "
                "one subject, or lists with the scientific and the common name of each class"
            )
    return tuple(lines)


def load_trunk(config: FGCrossNetConfig) -> TrainedTrunk | None:
    """Return the trained trunk that a configuration names; None where it names none.

    Raises:
        MissingExtraError: Its library is not installed.
        EncoderFilesError: There is no such network, or it takes no pictures of the configured sizes.
    """
    if config.trunk is None:
        return None
    key = "model.trunk"
    folder = locate_weights(config.trunk, allow_download=config.allow_download, key=key)
    settings_json = read_picture_settings(config.trunk, folder, key=key)
    prepared = ImagePreprocessing()
    if (folder / PREPROCESSOR_FILE).is_file():
        prepared = read_preprocessing(folder / PREPROCESSOR_FILE, key=key)
    network, _ = load_model(config.trunk, folder, key=key)
    network.requires_grad_(requires_grad=True)
    try:
        with torch.no_grad():
            dims = [
                pool(network, torch.zeros(1, 3, *size)).shape[-1]
                for size in ((config.crop_pixels,) * 2, (config.text_width, config.text_length))
            ]
    except (TypeError, ValueError, RuntimeError, AttributeError) as error:
        reason = f"it takes no pictures of the sizes of this model ({read_first_line(error)})"
        raise EncoderFilesError(name=config.trunk, reason=reason, key=key) from error
    unit = 255 * prepared.scale
    mean, std = (tuple(each / unit for each in values) for values in (prepared.mean, prepared.std))
    return TrainedTrunk(network, BackboneFacts(settings_json, dim=dims[0], mean=mean, std=std))


def read_inputs(config: ModelConfig, state: Mapping[str, Tensor]) -> NetworkInputs:
    """Return the facts of the encoders that the network of a state dict was made for.

    Raises:
        ValueError: The state lacks facts that the configuration asks for.
    """
    if isinstance(config, FGCrossNetConfig) and config.trunk is not None:
        facts = BackboneFacts.from_tensor(state.get(BackboneFacts.STATE_NAME, torch.zeros(0)))
        return NetworkInputs({}, {}, {}, trunk=TrainedTrunk(build_picture_network(facts.settings_json), facts))
    if isinstance(config, ReadyConfig):
        return _read_ready_inputs(state)
    if isinstance(config, SharedSpaceConfig) and config.ready is not None:
        learned, ready = CompletedSpace.split_state(state)
        return replace(_read_ready_inputs(ready), labelled_media=frozenset(SharedSpace.read_input_dims(learned)))
    return NetworkInputs(SharedSpace.read_input_dims(state), SharedSpace.read_named_counts(state), {})


def _read_ready_inputs(state: Mapping[str, Tensor]) -> NetworkInputs:
    return NetworkInputs(
        ReadySpace.read_input_dims(state),
        ReadySpace.read_named_counts(state),
        ReadySpace.read_encoder_index(state),
        ReadySpace.read_joint(state),
    )


def build_network(config: ModelConfig, *, class_count: int, inputs: NetworkInputs) -> Network:
    """Return the network of a configuration; what it has of weights is drawn at random."""
    match config:
        case FGCrossNetConfig():
            return FGCrossNet(
                class_count=class_count,
                trunk=_build_trunk(config, inputs.trunk),
                text=TextStem(conv_width=config.text_width, shifts_in_training=config.released_zeros),
                embedding=EmbeddingSource(config.embedding),
                statistics_per_medium=config.statistics_per_medium,
            )
        case SharedSpaceConfig():
            learned = _build_shared_space(config, class_count=class_count, inputs=inputs.keep_labelled())
            return learned if config.ready is None else CompletedSpace(learned, _build_ready(config.ready, inputs))
        case ReadyConfig():
            return _build_ready(config, inputs)
    assert_never(config)


def _build_trunk(config: FGCrossNetConfig, trained: TrainedTrunk | None) -> TrunkSize | Backbone:
    if trained is None:
        return TrunkSize.of_depth(config.depth, base_width=config.base_width, stem_stride=config.stem_stride)
    return Backbone(
        trained.network,
        facts=trained.facts,
        per_medium=config.statistics_per_medium,
        frozen=config.trunk_frozen,
    )


def _build_shared_space(config: SharedSpaceConfig, *, class_count: int, inputs: NetworkInputs) -> SharedSpace:
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
    return SharedSpace(input_dims=inputs.dims, class_count=class_count, named_counts=inputs.named_counts, size=size)


def _build_ready(config: ReadyConfig, inputs: NetworkInputs) -> ReadySpace:
    size = ReadySize(
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
        joint=inputs.joint,
        size=size,
    )
