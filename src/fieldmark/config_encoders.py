"""The choices of a user for pretrained encoders, with every default once."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from fieldmark.config_section import Count, LocalPath, Positive, Section, WeightsName

Prompt = Annotated[str, StringConstraints(pattern=r"^[^{}]*\{\}[^{}]*$")]


class FrameSampling(Section):
    """Settings by which an encoder of pictures reads a video."""

    segment_seconds: Positive = Field(4.0, description="length of a video segment, seconds")
    frames_per_segment: Count = Field(4, description="frames averaged in a segment")


class OnnxImageConfig(Section):
    """A picture encoder in an ONNX file; its `preprocessor_config.json` is read where one is named."""

    kind: Literal["onnx_image"]
    path: LocalPath
    preprocessor: LocalPath | None = Field(None, description="preprocessor_config.json; None: beside the file")
    output: str = Field("features", description="name of the output to read")
    labels: LocalPath | None = Field(
        None, description="text file with the names of the classes of its own classifier, a line for each; None: unused"
    )
    logits: str = Field("logits", description="name of that classifier's output")
    activation: Literal["softmax", "sigmoid", "none"] = Field(
        "softmax", description="function that turns that output into probabilities; none: it holds them"
    )
    frames: FrameSampling = FrameSampling()


class TransformersImageConfig(Section):
    """A picture encoder of the `transformers` library."""

    kind: Literal["transformers_image"]
    name: WeightsName = Field(description="model hub name, local folder, or package:NAME/FOLDER")
    allow_download: bool = False
    has_named_scores: bool = Field(default=True, description="whether a classifier's scores follow its features")
    names: LocalPath | None = Field(None, description="names for a model with two towers (CLIP) to score; None: none")
    prompt: Prompt = Field("a photo of a {}", description="text that a name is put in, in place of {}")
    frames: FrameSampling = FrameSampling()


class TransformersAudioConfig(Section):
    """An encoder of sound of the `transformers` library."""

    kind: Literal["transformers_audio"]
    name: WeightsName = Field(description="model hub name, local folder, or package:NAME/FOLDER")
    allow_download: bool = False
    has_named_scores: bool = Field(default=True, description="whether a classifier's scores follow its features")
    names: LocalPath | None = Field(None, description="names for a model with two towers (CLAP) to score; None: none")
    prompt: Prompt = Field("the sound of a {}", description="text that a name is put in, in place of {}")
    window_seconds: Positive | None = Field(None, description="length of a window; None: the model's own")
    hop_seconds: Positive | None = Field(
        None, description="from one window to the next, seconds; None: half of a window"
    )


class OnnxAudioConfig(Section):
    """An encoder of sound in an ONNX file, such as BirdNET 3 or Perch 2."""

    kind: Literal["onnx_audio"]
    path: LocalPath
    output: str = Field("embedding", description="name of the output to read")
    labels: LocalPath | None = Field(
        None, description="file with the names of the classes of its own classifier; None: unused"
    )
    logits: str = Field("label", description="name of that classifier's output")
    activation: Literal["softmax", "sigmoid", "none"] = Field(
        "softmax", description="function that turns that output into probabilities; none: it holds them"
    )
    sample_rate_hz: Count = Field(description="rate of the sounds that it takes")
    window_seconds: Positive = Field(description="length of a window")
    hop_seconds: Positive | None = Field(
        None, description="from one window to the next, seconds; None: half of a window"
    )


class TransformersTextConfig(Section):
    """A text encoder of the `transformers` library."""

    kind: Literal["transformers_text"]
    name: WeightsName = Field(description="model hub name, local folder, or package:NAME/FOLDER")
    allow_download: bool = False


class LexicalTextConfig(Section):
    """Hashed words and word pairs: field marks are words."""

    kind: Literal["lexical_text"]
    dim: Count = Field(4096, description="buckets")
    character_count: Annotated[int, Field(ge=0)] = Field(
        0, description="length of pieces of words; 0: whole words only"
    )


class FieldMarkTextConfig(Section):
    """Field marks that an English text names, as parts with traits: "crown black"."""

    kind: Literal["field_mark_text"]


class NamedTextConfig(Section):
    """The species that a text names, or else those whose accounts in a species book it fits."""

    kind: Literal["named_text"]
    names: LocalPath | None = Field(None, description="further names to look for, as a list of labels; None: none")
    descriptions: LocalPath | None = Field(
        None, description="species book: a CSV file with name (or scientific_name, common_name) and text; None: none"
    )
    # Least cross-entropy over 928 species on captions and attribute templates of fgbirds' train split (2026-11-29).
    temperature: Positive = Field(0.1, description="of the probabilities that a species book gives")
    from_encoders: bool = Field(
        default=True, description="whether the names that encoders of other media know are looked for too"
    )


class BirdNetConfig(Section):
    """BirdNET 2.4; its weights are for non-commercial use (CC BY-NC-SA 4.0)."""

    kind: Literal["birdnet"]
    hop_seconds: Positive = Field(0.5, description="from one window of 3 seconds to the next, seconds")
    has_species_scores: bool = Field(default=True, description="whether BirdNET's own scores follow its embedding")


ImageEncoderConfig = Annotated[OnnxImageConfig | TransformersImageConfig, Field(discriminator="kind")]
TextEncoderConfig = Annotated[
    TransformersTextConfig | LexicalTextConfig | FieldMarkTextConfig | NamedTextConfig, Field(discriminator="kind")
]
AudioEncoderConfig = Annotated[BirdNetConfig | OnnxAudioConfig | TransformersAudioConfig, Field(discriminator="kind")]

PartConfig = (
    OnnxImageConfig
    | TransformersImageConfig
    | TransformersTextConfig
    | LexicalTextConfig
    | FieldMarkTextConfig
    | NamedTextConfig
    | BirdNetConfig
    | OnnxAudioConfig
    | TransformersAudioConfig
)
"""The section of one encoder, of any medium."""
