"""Config to objects: the only place where a name becomes a class."""

import json
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import assert_never, final

import numpy as np
import torch
from jaxtyping import Int
from torch import nn

from fieldmark._version import __version__
from fieldmark.build_encoders import build_part
from fieldmark.build_networks import build_network, describe_disagreement, describe_inputs, load_trunk, read_inputs
from fieldmark.config import (
    CenterConfig,
    ClassificationConfig,
    Config,
    EncodersConfig,
    FGCrossNetConfig,
    LossConfig,
    ModelConfig,
    RankingConfig,
    ReadyConfig,
    ReleasedCenterConfig,
    ReleasedRankingConfig,
    SharedSpaceConfig,
    StageConfig,
    TrainConfig,
)
from fieldmark.config_file import parse_config
from fieldmark.data.sampler import CrossMediaSampler, ListSampler, Sampler
from fieldmark.encoders.encoder import ConcatenatedEncoder, Encoder, find_form, list_names_by_index, require_form
from fieldmark.encoders.pixels import CharacterEncoder, PixelEncoder, SpectrogramEncoder
from fieldmark.encoders.transformer_files import locate_weights
from fieldmark.errors import CheckpointError, ConfigError, EncoderFilesError, MediumNotSupportedError, MissingExtraError
from fieldmark.losses.center import CenterLoss, ReleasedCenterLoss
from fieldmark.losses.classification import ClassificationLoss
from fieldmark.losses.ranking import RankingLoss, ReleasedRankingLoss
from fieldmark.models.completed_space import CompletedSpace
from fieldmark.models.fgcrossnet import FGCrossNet
from fieldmark.models.network import Network
from fieldmark.models.ready import ReadySpace
from fieldmark.models.shared_space import SharedSpace
from fieldmark.models.weights import start_network
from fieldmark.names import KnownNames, Resolution
from fieldmark.training.checkpoint import Checkpoint, Provenance, hash_model, load_checkpoint, restore_state
from fieldmark.training.optimizer import OptimizerKind, OptimizerOptions, Schedule, ScheduleKind
from fieldmark.training.step import Execution, WeightedLoss, can_use_bf16
from fieldmark.training.task import BatchSource, TrainingStage
from fieldmark.types import MEDIA, MediaLimits, Medium, Reporter, SilentReporter

logger = logging.getLogger(__name__)

_CENTER_KINDS = frozenset({"center", "released_center"})


@final
class Model:
    """A network and the encoders that lead into it; an encoder is loaded when an item of its medium is first met.

    Args:
        encoders: Those that are loaded already.
        encoder_fingerprints: What the encoders were when the network was trained; None for a network to be trained.
        fingerprint: Of all that shapes an embedding; "" for a network to be trained.
        resolutions: The species that each class stands for, as training found them.
    """

    def __init__(  # noqa: PLR0913 - what a checkpoint tells of itself
        self,
        config: Config,
        *,
        class_names: tuple[str, ...],
        network: Network,
        encoders: Mapping[Medium, Encoder] | None = None,
        encoder_fingerprints: Mapping[Medium, str] | None = None,
        fingerprint: str = "",
        resolutions: Sequence[Resolution] = (),
    ) -> None:
        self.config = config
        self.class_names = class_names
        self.network = network
        self.fingerprint = fingerprint
        self.resolutions = tuple(resolutions)
        self.limits = MediaLimits(**config.limits.model_dump(exclude={"failure_share"}))
        self._expected = encoder_fingerprints
        self._encoders = dict(encoders or {})

    @property
    def media(self) -> tuple[Medium, ...]:
        """The media it takes: those it has an encoder for and, once trained, was trained on."""
        supported = list_supported_media(self.config.model)
        if isinstance(self.network, CompletedSpace):
            supported = tuple(each for each in supported if each in self.network.input_dims)
        return supported if self._expected is None else tuple(each for each in supported if each in self._expected)

    def named_species(self, medium: Medium) -> tuple[tuple[str, ...], ...]:
        """The species that a medium's encoder tells apart, with all their names; none without a place for them.

        Raises:
            As `encoder`.
        """
        network = self.network.ready if isinstance(self.network, CompletedSpace) else self.network
        if not isinstance(network, SharedSpace | ReadySpace) or medium not in network.named_media:
            return ()
        return list_species(self.encoder(medium))

    def encoder(self, medium: Medium) -> Encoder:
        """The encoder of a medium.

        Raises:
            MediumNotSupportedError: The model does not take this medium.
            MissingExtraError: The encoder needs a package that is not installed.
            EncoderFilesError: Its weights are not where the configuration says.
            EncoderChangedError: It is not the encoder that the network was trained with.
        """
        if medium not in self.media:
            raise MediumNotSupportedError(medium=medium.value, supported=[each.value for each in self.media])
        if medium not in self._encoders:
            encoder = build_encoder(self.config.model, medium)
            if self._expected is not None:
                encoder = require_form(encoder, self._expected[medium], medium=medium)
            self._encoders[medium] = encoder
        return self._encoders[medium]


def list_species(encoder: Encoder) -> tuple[tuple[str, ...], ...]:
    """The species that an encoder tells apart, each with all its names, in the order of their scores."""
    return list_names_by_index(encoder.named_scores)


def create_model(
    config: Config,
    *,
    class_names: tuple[str, ...],
    media: Collection[Medium],
    device: torch.device,
    begun_with: Mapping[Medium, str] | None = None,
    reporter: Reporter | None = None,
) -> Model:
    """A model to be trained, its weights drawn by the configuration's seed.

    Args:
        media: Those of the training items. Encoders of others are loaded where the model has a space without training.
        begun_with: Fingerprints of the encoders of a run to resume, which are built in the form that they had then.

    Raises:
        ConfigError: The model needs no training.
        MissingExtraError: An encoder needs a package that is not installed.
        EncoderFilesError: An encoder's weights are not where the configuration says.
        WeightsFileError: The weights to start from are of another network.
    """
    if isinstance(config.model, ReadyConfig):
        raise ConfigError(
            f"A model of the kind '{config.model.kind}' is made of encoders alone, so there is nothing to train. "
            "Use `fieldmark index` without a checkpoint, or train the preset 'fieldmark'."
        )
    encoders = {
        medium: build_encoder(config.model, medium) for medium in list_supported_media(config.model) if medium in media
    }
    if is_completed(config.model):
        others = [medium for medium in list_supported_media(config.model) if medium not in media]
        encoders |= build_encoders_that_load(config.model, others, reporter=reporter or SilentReporter())
        encoders = {medium: encoders[medium] for medium in MEDIA if medium in encoders}
    for medium, fingerprint in (begun_with or {}).items():
        if medium in encoders and find_form(encoders[medium], fingerprint):  # one of other files is refused later
            encoders[medium] = require_form(encoders[medium], fingerprint, medium=medium)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        inputs = describe_inputs(encoders, labelled_media=frozenset(encoders).intersection(media))
        if isinstance(config.model, FGCrossNetConfig):
            inputs = replace(inputs, trunk=load_trunk(config.model))
        network = build_network(config.model, class_count=len(class_names), inputs=inputs)
    if isinstance(network, CompletedSpace):
        _fit_names(network.ready, encoders)
    if isinstance(config.model, FGCrossNetConfig) and config.model.start is not None:
        assert isinstance(network, FGCrossNet)  # noqa: S101 - of one configuration comes one class
        start = locate_weights(config.model.start, allow_download=config.model.allow_download, key="model.start")
        start_network(network, start)
    return Model(config, class_names=class_names, network=network.to(device), encoders=encoders)


def make_ready_checkpoint(config: Config, *, reporter: Reporter) -> Checkpoint:
    """Return the checkpoint of a model that needs no training: encoders side by side, and the names that they know.

    A medium whose encoder cannot be loaded is left out, and the reporter says why.

    Args:
        config: Its model is of the kind `ready`.

    Raises:
        ConfigError: The model is of another kind, or none of its encoders can be loaded.
    """
    if not isinstance(config.model, ReadyConfig):
        raise ConfigError(
            f"A model without training is of the kind 'ready', but this one is of the kind '{config.model.kind}'. "
            "Train it first and give the run with --checkpoint, or leave out --config."
        )
    encoders = build_encoders_that_load(config.model, list_supported_media(config.model), reporter=reporter)
    if not encoders:
        raise ConfigError(
            f"None of the encoders for {', '.join(list_supported_media(config.model))} can be loaded; one is enough. "
            "Install some with: pip install 'fieldmark[encoders,birdnet]'"
        )
    for line in describe_disagreement({medium: list_species(encoder) for medium, encoder in encoders.items()}):
        reporter.say(line)
    network = build_network(config.model, class_count=0, inputs=describe_inputs(encoders))
    assert isinstance(network, ReadySpace)  # noqa: S101 - of one configuration comes one class
    _fit_names(network, encoders)
    provenance = Provenance(
        config_json=config.to_json(),
        class_names=(),
        seed=config.seed,
        code_version=__version__,
        encoder_fingerprints={medium: encoder.fingerprint for medium, encoder in encoders.items()},
    )
    created = datetime.now(UTC).isoformat(timespec="seconds")
    return Checkpoint(provenance, network.state_dict(), {}, epoch=0, validation_map=None, created=created)


def is_completed(config: ModelConfig) -> bool:
    """Tell whether a model to be trained has a space without training beside the learned one."""
    return isinstance(config, SharedSpaceConfig) and config.ready is not None


def build_encoders_that_load(
    config: ModelConfig, media: Collection[Medium], *, reporter: Reporter
) -> dict[Medium, Encoder]:
    """Return the encoders of some media; the reporter says which cannot be loaded, and why."""
    encoders: dict[Medium, Encoder] = {}
    for medium in media:
        try:
            encoders[medium] = build_encoder(config, medium)
        except (MissingExtraError, EncoderFilesError) as error:
            reporter.say(f"{medium} is left out: {error}")
    return encoders


def _fit_names(network: ReadySpace, encoders: Mapping[Medium, Encoder]) -> None:
    """Give a space the names of its encoders; they agree on a species where any of them has both its names."""
    known = KnownNames(names for encoder in encoders.values() for names in list_species(encoder))
    for medium, encoder in encoders.items():
        index_by_name = encoder.named_scores
        all_names = {name: index for own, index in index_by_name.items() for name in known.find_all_names([own])}
        network.fit(medium, {**all_names, **index_by_name})


def load_model(path: Path | str, *, device: torch.device) -> Model:
    """The model of a run's best checkpoint, or of one checkpoint file.

    Raises:
        CheckpointError: The file is missing, damaged, or of another network.
        ConfigError: Its configuration is not one of this version.
    """
    checkpoint = load_checkpoint(path)
    provenance = checkpoint.provenance
    config = parse_config(provenance.config_json, path=path)
    try:
        inputs = read_inputs(config.model, checkpoint.network)
    except ValueError as error:
        raise CheckpointError(path=path, reason=str(error)) from error
    network = build_network(config.model, class_count=len(provenance.class_names), inputs=inputs)
    restore_state(network, SharedSpace.upgrade_state(checkpoint.network), path=path)
    return Model(
        config,
        class_names=provenance.class_names,
        network=network.to(device).eval(),
        encoder_fingerprints=provenance.encoder_fingerprints,
        fingerprint=hash_model(checkpoint, model_json=describe_embedding(config.model)),
        resolutions=provenance.resolutions,
    )


def describe_embedding(config: ModelConfig) -> str:
    """Return the settings that shape embeddings beside weights and encoders; paths do not count."""
    has_encoders = isinstance(config, EncodersConfig)
    left_out = (
        {"image", "text", "video", "audio"} if has_encoders else {"start", "trunk", "trunk_frozen", "allow_download"}
    )
    # Where they change nothing, as before there were such keys: galleries that were made then stay of the same model.
    if isinstance(config, SharedSpaceConfig) and config.ready is None:
        left_out |= {"ready"}
    if isinstance(config, FGCrossNetConfig):
        left_out |= {name for name in ("released_sound", "released_zeros") if not getattr(config, name)}
    return json.dumps(config.model_dump(mode="json", exclude=left_out), sort_keys=True)


def load_known_names(config: ModelConfig, *, media: Collection[Medium]) -> KnownNames:
    """Return the names that the encoders of some media know; an encoder that cannot be loaded is skipped."""
    species: list[tuple[str, ...]] = []
    for medium in list_supported_media(config):
        if medium not in media:
            continue
        try:
            species += list_species(build_encoder(config, medium))
        except (MissingExtraError, EncoderFilesError) as error:
            logger.warning("The names of the %s encoder are not known: %s", medium, error)
    return KnownNames(species)


def list_supported_media(config: ModelConfig) -> tuple[Medium, ...]:
    """The media a model has an encoder for."""
    match config:
        case FGCrossNetConfig():
            return MEDIA
        case SharedSpaceConfig() | ReadyConfig():
            return tuple(medium for medium in MEDIA if config.list_encoders(medium))
    assert_never(config)


def reads_features(config: ModelConfig) -> bool:
    """Tell whether the network reads features, which are computed once before training, rather than files."""
    return isinstance(config, EncodersConfig)


def build_encoder(config: ModelConfig, medium: Medium) -> Encoder:
    """The encoder of one medium, its weights loaded.

    Raises:
        MediumNotSupportedError: The model has none for this medium.
        MissingExtraError: It needs a package that is not installed.
        EncoderFilesError: Its weights are not where the configuration says.
    """
    match config:
        case FGCrossNetConfig():
            return _build_light_encoder(config, medium)
        case SharedSpaceConfig() | ReadyConfig():
            parts = config.list_encoders(medium)
            if not parts:
                supported = [each.value for each in list_supported_media(config)]
                raise MediumNotSupportedError(medium=medium.value, supported=supported)
            others = [part for each in MEDIA if each is not medium for part in config.list_encoders(each)]
            return _join([build_part(part, others=others) for part in parts])
    assert_never(config)


def _build_light_encoder(config: FGCrossNetConfig, medium: Medium) -> Encoder:
    match medium:
        case Medium.IMAGE | Medium.VIDEO:
            return PixelEncoder(
                medium,
                resize_pixels=config.resize_pixels,
                crop_pixels=config.crop_pixels,
                frame_seconds=config.frame_seconds,
                max_frames=config.max_frames,
                resize_once=config.resize_once,
            )
        case Medium.AUDIO:
            return SpectrogramEncoder(
                side_pixels=config.crop_pixels,
                resize_pixels=config.resize_pixels if config.crop_spectrograms else None,
                segment_seconds=config.sound_seconds,
                released=config.released_sound,
            )
        case Medium.TEXT:
            return CharacterEncoder(text_length=config.text_length, released=config.released_text)
    assert_never(medium)


def _join(encoders: Sequence[Encoder]) -> Encoder:
    return encoders[0] if len(encoders) == 1 else ConcatenatedEncoder(encoders)


def build_losses(configs: Sequence[LossConfig], *, network: Network, seed: int = 0) -> dict[str, WeightedLoss]:
    """The losses with their weights, by the names under which they are reported.

    Args:
        seed: For centers that start at random.
    """
    generator = torch.Generator().manual_seed(seed)
    return {
        config.kind: WeightedLoss(
            _build_loss(config, network=network, generator=generator),
            config.weight,
            # With SGD a factor on the gradient is one on the rate.
            lr_scale=config.gradient_scale if isinstance(config, ReleasedCenterConfig) else 1.0,
        )
        for config in configs
    }


def _build_loss(config: LossConfig, *, network: Network, generator: torch.Generator) -> nn.Module:
    match config:
        case ClassificationConfig():
            return ClassificationLoss(label_smoothing=config.label_smoothing)
        case CenterConfig():
            dim = network.training_dim if config.space == "embedding" else network.class_count
            return CenterLoss(class_count=network.class_count, dim=dim, rate=config.rate, space=config.space)
        case ReleasedCenterConfig():
            dim = network.training_dim if config.space == "embedding" else network.class_count
            return ReleasedCenterLoss(class_count=network.class_count, dim=dim, space=config.space, generator=generator)
        case RankingConfig():
            return RankingLoss(margin=config.margin, second_margin=config.second_margin, cross_media=config.cross_media)
        case ReleasedRankingConfig():
            return ReleasedRankingLoss(margin=config.margin, second_margin=config.second_margin)
    assert_never(config)


def build_sampler(config: Config, labels: Mapping[Medium, Int[np.ndarray, " row"]]) -> Sampler:
    """Build what draws the batches.

    Args:
        labels: Of the training rows of each medium.
    """
    match config.data.order:
        case "classes":
            return CrossMediaSampler(
                labels,
                classes_per_batch=config.data.classes_per_batch,
                items_per_class=config.data.items_per_class,
                seed=config.seed,
            )
        case "lists":
            return ListSampler(
                {medium: len(label) for medium, label in labels.items()},
                items_per_medium=config.data.items_per_medium,
                seed=config.seed,
            )
    assert_never(config.data.order)


def build_stage(
    stage: StageConfig, config: Config, *, batches: BatchSource, validate: Callable[[nn.Module], float | None] | None
) -> TrainingStage:
    """Build a stage of training from its batches."""
    choices = stage.choose(config.train)
    kinds = tuple(loss.kind for loss in config.losses)
    return TrainingStage(
        name=stage.name,
        batches=batches,
        loss_names=tuple(kind for kind in kinds if stage.losses is None or kind in stage.losses),
        epochs=choices.epochs,
        optimizer=build_optimizer_options(choices),
        schedule=build_schedule(choices),
        renewed=() if stage.keep_centers else tuple(kind for kind in kinds if kind in _CENTER_KINDS),
        patience_epochs=choices.patience_epochs,
        validate=validate,
    )


def build_optimizer_options(config: TrainConfig) -> OptimizerOptions:
    """The choices of the optimizer."""
    return OptimizerOptions(
        kind=OptimizerKind(config.optimizer),
        lr=config.lr,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        clip_norm=config.clip_norm,
    )


def build_execution(config: TrainConfig, *, device: torch.device) -> Execution:
    """Return the execution of a training step on a device."""
    return Execution(
        bf16=config.bf16 == "on" or (config.bf16 == "auto" and can_use_bf16(device)),
        channels_last=config.channels_last,
        is_compiled=config.compile,
        part_count=config.accumulation,
    )


def build_schedule(config: TrainConfig) -> Schedule:
    """The learning-rate schedule."""
    return Schedule(
        kind=ScheduleKind(config.schedule),
        warmup_epochs=config.warmup_epochs,
        step_epochs=config.step_epochs,
        step_factor=config.step_factor,
        is_early=config.step_early,
    )
