"""The choices of a user: every section of the configuration, with every default once."""

import json
from typing import Annotated, Literal, assert_never

import tomli_w
from pydantic import Field, model_validator

from fieldmark.config_encoders import AudioEncoderConfig, ImageEncoderConfig, PartConfig, TextEncoderConfig
from fieldmark.config_section import Count, NotNegative, Positive, Section, Share, WeightsName
from fieldmark.types import MediaLimits, Medium

DEFAULT_PRESET = "fieldmark"


# ---------------------------------------------------------------- models


class EncodersConfig(Section):
    """The pretrained encoders of each medium."""

    kind: str
    image: tuple[ImageEncoderConfig, ...] = Field((), description="encoders joined along their features")
    text: tuple[TextEncoderConfig, ...] = ()
    video: tuple[ImageEncoderConfig, ...] = ()
    audio: tuple[AudioEncoderConfig, ...] = ()

    def list_encoders(self, medium: Medium) -> tuple[PartConfig, ...]:
        """Return the encoders of a medium, whose features are joined."""
        match medium:
            case Medium.IMAGE:
                return self.image
            case Medium.TEXT:
                return self.text
            case Medium.VIDEO:
                return self.video
            case Medium.AUDIO:
                return self.audio
        assert_never(medium)


class ReadyConfig(EncodersConfig):
    """Pretrained encoders alone: no training, no labels."""

    kind: Literal["ready"]
    name_dim: Annotated[int, Field(ge=8, le=512, multiple_of=8)] = Field(
        512, description="dimension of the part for the names that encoders give to items"
    )
    look_dim: Count = Field(512, description="dimension of each encoder's part for how items look or sound")
    # Chosen on fgbirds' train split, as a gallery of its own (2026-11-29).
    name_weight: Share = Field(0.6, description="share of the names in the score of two items that are surely named")
    score_floor: Share = Field(0.003, description="probability below which a name counts for nothing")
    sure_mass: Positive = Field(0.2, description="sum of the probabilities from which on an item counts as named")


class SharedSpaceConfig(EncodersConfig):
    """The default model: pretrained encoders for each medium, one shared space."""

    kind: Literal["shared_space"]
    dim: Count = Field(256, description="dimension of the embedding")
    hidden_dim: Count = 512
    uniform_trunk: bool = Field(
        default=False, description="one trunk for all media instead of a head for each; as in He et al. 2019"
    )
    component_count: Count = Field(512, description="principal components kept of a medium's features")
    input_dropout: Share = 0.3
    dropout: Share = 0.3
    posterior_weight: NotNegative = Field(3.0, description="weight of the class component in the embedding")
    linear_weight: NotNegative = Field(
        1.3, description="factor on a linear classifier's logits, of the class component"
    )
    named_weight: Share = Field(1.0, description="weight of an encoder's scores of classes it knows by name")
    private_dim: Annotated[int, Field(ge=0)] = Field(
        64, description="dimension of each medium's private part, which compares items of one medium; 0 leaves it out"
    )
    name_dim: Annotated[int, Field(ge=8, le=512, multiple_of=8)] = Field(
        128, description="dimension of the part for the names that encoders give to items"
    )
    name_weight: NotNegative = Field(0.8, description="weight of that part; 0 leaves it out")
    scale: Positive = Field(16.0, description="initial factor that turns cosines into logits")
    ready: ReadyConfig | None = Field(
        None,
        description="the space without training beside this one, for what no label covers; its encoders are those of "
        "the model. None: training adds it where a medium or an item has no label",
    )


class FGCrossNetConfig(Section):
    """The paper's network (He et al., ACM MM 2019); the defaults are those of the released code, repaired."""

    kind: Literal["fgcrossnet"]
    depth: Literal[10, 18, 34, 50, 101, 152] = Field(50, description="layers of the trunk; 10 is for tests")
    base_width: Count = Field(64, description="channels of the trunk's first stage")
    resize_pixels: Count = 512
    crop_pixels: Count = 448
    sound_seconds: Positive | None = Field(None, description="length of a sound segment; None: the whole sound")
    text_length: Count = Field(448, description="characters read of a text")
    text_width: Count = Field(448, description="height of the picture made of a text")
    frame_seconds: Positive = Field(1.0, description="one frame is taken from each stretch of this length, seconds")
    max_frames: Count = Field(25, description="frames of one video")
    stem_stride: Literal[1, 2] = Field(2, description="stride of the first convolution; 1 keeps detail in small images")
    start: WeightsName | None = Field(
        None,
        description="trained weights that the trunk starts from: a file of torch or safetensors with the names of "
        "torchvision or transformers, a folder, package:NAME/FOLDER, or a model hub name; None: at random",
    )
    trunk: WeightsName | None = Field(
        None,
        description="trained network in place of the residual trunk, whose sizes then do not count: a folder in "
        "the layout of transformers, package:NAME/FOLDER, or a model hub name",
    )
    trunk_frozen: tuple[str, ...] = Field(
        (), description="modules of that network that keep their weights and statistics, such as 'conv_stem', 'layer.0'"
    )
    allow_download: bool = Field(
        default=False, description="whether 'start' or 'trunk' may be downloaded from the model hub"
    )
    statistics_per_medium: bool = Field(default=True, description="batch norm keeps statistics for each medium")
    resize_once: bool = Field(
        default=False, description="pictures are read at full size and resized in one step, as released; slower"
    )
    crop_spectrograms: bool = Field(default=False, description="cut spectrograms as pictures are cut; released: true")
    released_sound: bool = Field(
        default=False, description="draw sound as the released code does: 700 pixels, in the colors of magma"
    )
    embedding: Literal["features", "logits"] = "features"
    released_text: bool = Field(default=False, description="read texts as the released code does: no spaces, last line")

    released_zeros: bool = Field(
        default=False, description="training puts 0, 2, 4, 6 or 8 zeros before each text, as released"
    )

    @model_validator(mode="after")
    def _check_sizes(self) -> "FGCrossNetConfig":
        if self.trunk is not None and self.start is not None:
            raise ValueError("'start' and 'trunk' both name trained weights; give one of them")
        if self.trunk is None and self.trunk_frozen:
            raise ValueError("'trunk_frozen' names modules of 'trunk', which is missing; give both or none")
        if self.crop_pixels > self.resize_pixels:
            raise ValueError(f"crop_pixels ({self.crop_pixels}) must not exceed resize_pixels ({self.resize_pixels})")
        if not self.statistics_per_medium and not (self.crop_pixels == self.text_width == self.text_length):
            raise ValueError(
                "common statistics need pictures of one size: set crop_pixels, text_width and text_length to one "
                "number, or statistics_per_medium = true"
            )
        return self


ModelConfig = Annotated[SharedSpaceConfig | ReadyConfig | FGCrossNetConfig, Field(discriminator="kind")]


# ---------------------------------------------------------------- losses


class ClassificationConfig(Section):
    """Cross-entropy, summed over the media."""

    kind: Literal["classification"]
    weight: float = 1.0
    label_smoothing: Share = 0.0


class CenterConfig(Section):
    """Distance to the center of the class, one center for all media."""

    kind: Literal["center"]
    weight: float = Field(0.001, description="He et al. 2019, released code")
    rate: Share = Field(0.5, description="share of the distance to its rows that a center moves in one step")
    space: Literal["embedding", "logits"] = Field(
        "embedding", description="where distances are taken; released: logits"
    )


class ReleasedCenterConfig(Section):
    """Centers as the released code has them: parameters that start at random and move by a scaled gradient."""

    kind: Literal["released_center"]
    weight: float = Field(0.001, description="He et al. 2019, released code")
    gradient_scale: Positive = Field(1000.0, description="factor on the centers' gradient (released code)")
    space: Literal["embedding", "logits"] = Field("logits", description="where distances are taken")


class RankingConfig(Section):
    """Quadruplets: an item is nearer to its class than to others."""

    kind: Literal["ranking"]
    weight: float = Field(0.1, description="He et al. 2019, released code")
    margin: Positive = Field(0.4, description="between a positive and a negative of one row, embeddings of length 1")
    second_margin: Positive = Field(0.2, description="between a positive and a pair of two other classes")
    mining: Literal["none"] = Field("none", description="every negative counts; the key is kept for older runs")
    cross_media: bool = Field(default=False, description="only positives of two media")


class ReleasedRankingConfig(Section):
    """Quadruplets as in the released code: one hinge over both terms, on Euclidean distances of raw logits."""

    kind: Literal["released_ranking"]
    weight: float = Field(0.1, description="He et al. 2019, released code")
    margin: Positive = Field(1.0, description="He et al. 2019, released code")
    second_margin: Positive = Field(0.5, description="He et al. 2019, released code")


LossConfig = Annotated[
    ClassificationConfig | CenterConfig | ReleasedCenterConfig | RankingConfig | ReleasedRankingConfig,
    Field(discriminator="kind"),
]


# ---------------------------------------------------------------- the rest


class DataConfig(Section):
    """Settings of the batches."""

    validation_share: Share = Field(0.15, description="share of train held out for validation, by group")
    order: Literal["classes", "lists"] = Field(
        "classes",
        description="classes: some classes in every medium they have, drawn again in each epoch; lists: each medium in "
        "the order of the manifest, up to the end of the shortest (released)",
    )
    frame_rows: bool = Field(
        default=False, description="each picture of a video given as pictures is a training row of its own (released)"
    )
    items_per_medium: Count = Field(4, description="of a batch in the order of lists (released code)")
    classes_per_batch: Count = 16
    items_per_class: Count = Field(2, description="of every medium")
    workers: Annotated[int, Field(ge=0)] = Field(0, description="processes that decode; 0: the training process")
    prefetch: Count = Field(2, description="batches that each of the workers decodes ahead")
    memory_megabytes: Annotated[int, Field(ge=0)] = Field(1024, description="decoded inputs kept in memory")


class TrainConfig(Section):
    """The loop."""

    epochs: Count = 30
    optimizer: Literal["adamw", "sgd"] = "adamw"
    lr: Positive = 1e-3
    momentum: Share = 0.9
    weight_decay: NotNegative = 0.01
    schedule: Literal["cosine", "constant", "step"] = "cosine"
    warmup_epochs: NotNegative = 0.0
    step_epochs: Count = Field(3, description="step schedule: epochs between two cuts (He et al. 2019)")
    step_factor: Share = Field(0.5, description="step schedule: factor of a cut (He et al. 2019)")
    step_early: bool = Field(
        default=False,
        description="step schedule: each cut an epoch early, as the released line has it in today's torch",
    )
    bf16: Literal["off", "auto", "on"] = Field(
        "off", description="products in bfloat16; auto: where the chip itself multiplies so"
    )
    channels_last: bool = Field(default=False, description="memory order of pictures in which convolutions are fast")
    compile: bool = Field(default=False, description="torch.compile; needs a C++ or CUDA compiler, slow at the start")
    accumulation: Count = Field(
        1,
        description="parts in which a batch goes through the network, for less memory; losses still see all of its "
        "rows at once, so each part goes through twice; batch norm sees a part at a time",
    )
    tensorboard: bool = Field(default=False, description="also write the metrics for TensorBoard (extra tensorboard)")
    clip_norm: Positive | None = Field(None, description="largest gradient norm")
    patience_epochs: Count | None = Field(None, description="stop after so many epochs without a better validation")
    max_steps: Count | None = Field(None, description="stop after so many steps; None runs all epochs")
    checkpoint_seconds: Positive = Field(300.0, description="longest work that a crash may cost, seconds")


class StageConfig(Section):
    """A part of a run with media, losses and a schedule of its own; None is what `train` or `losses` says."""

    name: Annotated[str, Field(pattern=r"^[\w-]*$")] = ""
    media: Annotated[tuple[Medium, ...], Field(min_length=1)] | None = Field(None, description="None: all")
    losses: Annotated[tuple[str, ...], Field(min_length=1)] | None = Field(None, description="kinds; None: all")
    keep_centers: bool = Field(
        default=True, description="keep the centers of the previous stage; released: start again"
    )
    epochs: Count | None = None
    lr: Positive | None = None
    schedule: Literal["cosine", "constant", "step"] | None = None
    warmup_epochs: NotNegative | None = None
    patience_epochs: Count | None = None

    def choose(self, train: TrainConfig) -> TrainConfig:
        """The loop's choices in this stage."""
        own = {name: value for name, value in self if name in TrainConfig.model_fields and value is not None}
        return train.model_copy(update=own)


_MEDIA_LIMITS = MediaLimits()
"""Files are also read where there is no configuration, so these defaults stand beside the part."""


class LimitsConfig(Section):
    """Limits on one untrusted file, and the share of files that may fail."""

    max_bytes: Count = _MEDIA_LIMITS.max_bytes
    max_pixels: Count = _MEDIA_LIMITS.max_pixels
    max_seconds: Positive = _MEDIA_LIMITS.max_seconds
    max_segment_seconds: Positive = _MEDIA_LIMITS.max_segment_seconds
    max_frames: Count = _MEDIA_LIMITS.max_frames
    max_characters: Count = _MEDIA_LIMITS.max_characters
    damaged_share: Share = Field(
        _MEDIA_LIMITS.damaged_share, description="share of a sound's or a video's seconds that may be damaged"
    )
    failure_share: Share = Field(0.05, description="share of the items that may fail and be skipped")


class ServeLimits(Section):
    """Limits on one request to the server, and the number of requests handled at once."""

    max_body_bytes: Count = Field(64 * 1024**2, description="bytes of a request with files")
    max_json_bytes: Count = Field(256 * 1024, description="bytes of a request, or of its part 'request', in JSON")
    max_files: Count = Field(4, description="files in one search")
    max_queries: Count = Field(8, description="queries combined in one search, including files")
    max_k: Count = Field(200, description="hits of a search, of each medium where per_medium is set")
    max_listed: Count = Field(500, description="items on one page, and marked items of one request")
    head_seconds: Positive = Field(10.0, description="seconds in which the head of a request must arrive")
    upload_seconds: Positive = Field(60.0, description="seconds in which a body must arrive")
    work_seconds: Positive = Field(60.0, description="seconds after which a search or a picture is abandoned")
    max_query_seconds: Positive = Field(600.0, description="seconds of a sound or a video as query")
    max_query_pixels: Count = Field(50_000_000, description="pixels of a picture or a frame as query")
    max_query_characters: Count = Field(100_000, description="characters of a text as query")
    max_preview_seconds: Positive = Field(600.0, description="seconds of sound in one spectrogram or waveform")
    max_preview_pixels: Count = Field(1024, description="longest side of a thumbnail or spectrogram, pixels")
    max_points: Count = Field(4000, description="points of a waveform")
    max_clip_seconds: Positive = Field(120.0, description="seconds of a moment that is cut out of its file")
    max_clips: Count = Field(200, description="hits whose moments are put into one zip")
    max_zip_bytes: Count = Field(512 * 1024**2, description="bytes of moments in one zip; others are left out")
    export_places: Count = Field(4, description="zips that are made or wait; one is made at a time")
    cache_bytes: Count = Field(64 * 1024**2, description="bytes of pictures and waveforms kept in memory")
    max_uploads: Count = Field(64, description="uploads that are received at once")
    search_places: Count = Field(64, description="searches that run or wait; several run at a time")
    long_query_seconds: Positive = Field(
        20.0, description="seconds of a sound or video from which on its search waits in a lane of its own"
    )
    long_search_places: Count = Field(8, description="long searches that run or wait; one runs at a time")
    long_work_seconds: Positive = Field(600.0, description="seconds after which a long search is abandoned")
    preview_places: Count = Field(
        64, description="pictures and waveforms that are drawn or wait; two are drawn at a time"
    )
    lookup_places: Count = Field(256, description="other requests that run or wait")
    event_streams: Count = Field(32, description="clients that follow jobs at once")
    retry_seconds: Count = Field(2, description="seconds that a refused client is told to wait")


class Config(Section):
    """The whole configuration of a run."""

    seed: Annotated[int, Field(ge=0)] = 0
    model: ModelConfig
    losses: tuple[LossConfig, ...] = ()
    data: DataConfig = DataConfig()
    train: TrainConfig = TrainConfig()
    stages: tuple[StageConfig, ...] = Field((), description="in their order; none: one stage of all media and losses")
    limits: LimitsConfig = LimitsConfig()

    @model_validator(mode="after")
    def _check_losses(self) -> "Config":
        if not self.losses and not isinstance(self.model, ReadyConfig):
            raise ValueError(
                f"'losses' is missing; a model of the kind '{self.model.kind}' is trained with one or more"
            )
        kinds = [loss.kind for loss in self.losses]
        repeated = sorted({kind for kind in kinds if kinds.count(kind) > 1})
        if repeated:
            raise ValueError(f"losses of the kind {', '.join(repeated)} are given twice; give each kind once")
        return self

    @model_validator(mode="after")
    def _check_stages(self) -> "Config":
        names = [stage.name for stage in self.stages]
        if len(set(names)) < len(names):
            raise ValueError(f"stages need different names; got {', '.join(names)}")
        known = [loss.kind for loss in self.losses]
        for stage in self.stages:
            unknown = [kind for kind in stage.losses or () if kind not in known]
            if unknown:
                raise ValueError(
                    f"stage '{stage.name}' names the losses {', '.join(unknown)}; 'losses' has {', '.join(known)}"
                )
        return self

    @property
    def all_stages(self) -> tuple[StageConfig, ...]:
        """The stages of the run; one of all media and losses where none is named."""
        return self.stages or (StageConfig(),)

    def to_json(self) -> str:
        """The effective configuration as one line of JSON; `parse_config` reads it back."""
        return self.model_dump_json(exclude_none=True)

    def to_toml(self) -> str:
        """The effective configuration as TOML."""
        return tomli_w.dumps(json.loads(self.to_json()))
