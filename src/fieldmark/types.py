"""The nouns that cross a folder's wall: medium, item, segment, batch, embeddings, hit."""

import logging
import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple, Protocol, final, runtime_checkable

import numpy as np
from jaxtyping import Float, Float32, Int, UInt8
from torch import Tensor

_LOGGER = logging.getLogger(__name__)


class Medium(StrEnum):
    """One of the four media; the order is that of the paper's tables."""

    IMAGE = "image"
    TEXT = "text"
    VIDEO = "video"
    AUDIO = "audio"


MEDIA = tuple(Medium)
"""The media in their fixed order; a row's medium code is its index in this tuple."""


class Split(StrEnum):
    """The part of a benchmark that an item belongs to."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


class Form(StrEnum):
    """The form of a medium that is not a file of its own kind, from the manifest's column `form`.

    SPECTROGRAM is sound as a picture of its spectrogram. FRAMES is a video as numbered pictures: its path holds one
    asterisk where the number stands.
    """

    SPECTROGRAM = "spectrogram"
    FRAMES = "frames"


_SPAN = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?")


@dataclass(frozen=True, slots=True)
class Item:
    """One file of one medium, or one text: a row of a manifest.

    Args:
        path: Where the file lies, ready to open; None for a text that stands in the manifest itself.
        text: The text itself; None where `path` names a file.
        start_seconds: Where the item begins in its file; None for the file's beginning.
        end_seconds: Where it ends; None for the file's end.
        group: What the item shares its origin with (one recording, one page, one video).
        license: As given; `normalize_license` reads it.
        event_date: Day, time, month, year or interval of ISO 8601 of its record. Kept as given, as all facts of the
            record are; what cannot be is not used.
        latitude: Degrees north.
        longitude: Degrees east.
        country_code: Of ISO 3166-1, two letters.
        recorded_by: The observers, separated by `|`.
        basis_of_record: As Darwin Core has it, such as `PreservedSpecimen`.
        scientific_name: As the record has it, with or without its author.
        extra: Unknown manifest columns, kept as (column, value) in file order.
    """

    item_id: str
    medium: Medium
    path: Path | None = None
    text: str | None = None
    class_name: str | None = None
    split: Split | None = None
    group: str | None = None
    start_seconds: float | None = None
    end_seconds: float | None = None
    source: str | None = None
    license: str | None = None
    caption_of: str | None = None
    event_date: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    coordinate_uncertainty_meters: float | None = None
    place: str | None = None
    country_code: str | None = None
    recorded_by: str | None = None
    catalog_number: str | None = None
    occurrence_id: str | None = None
    basis_of_record: str | None = None
    rights_holder: str | None = None
    scientific_name: str | None = None
    authorship: str | None = None
    taxon_rank: str | None = None
    extra: tuple[tuple[str, str], ...] = ()

    @property
    def frame_numbers(self) -> tuple[range, ...] | None:
        """The numbers of a video's pictures, by the column `frame_numbers`, as "1-25" or "1 4 9-12"; None for all."""
        spans = [_SPAN.fullmatch(part) for part in dict(self.extra).get("frame_numbers", "").split()]
        found = tuple(range(int(span[1]), int(span[2] or span[1]) + 1) for span in spans if span)
        return found if found and len(found) == len(spans) else None

    @property
    def form(self) -> Form | None:
        """The form of the medium, by the column `form`; None for a file of the medium's own kind."""
        name = dict(self.extra).get("form", "").strip().lower()
        forms = {Medium.AUDIO: Form.SPECTROGRAM, Medium.VIDEO: Form.FRAMES}
        return forms[self.medium] if self.medium in forms and name == forms[self.medium] else None

    @property
    def origin(self) -> str | None:
        """The origin of the item, by the column `origin`; None where it is empty."""
        return dict(self.extra).get("origin") or None


@dataclass(frozen=True, slots=True)
class ImageContent:
    """A decoded picture in RGB, orientation applied."""

    pixels: UInt8[Tensor, "channel height width"]


@dataclass(frozen=True, slots=True)
class TextContent:
    """A decoded text."""

    text: str


@dataclass(frozen=True, slots=True)
class VideoContent:
    """The frames chosen from one segment of a video, in RGB."""

    frames: UInt8[Tensor, "frame channel height width"]


@dataclass(frozen=True, slots=True)
class AudioContent:
    """One segment of sound, mono, in [-1, 1]."""

    waveform: Float32[Tensor, " time"]
    sample_rate_hz: int


@dataclass(frozen=True, slots=True)
class SpectrogramContent:
    """Sound given as a picture of its spectrogram, in RGB; its loudness and length are unknown."""

    pixels: UInt8[Tensor, "channel height width"]


Content = ImageContent | TextContent | VideoContent | AudioContent | SpectrogramContent


@dataclass(frozen=True, slots=True)
class MediaWarning:
    """One thing that a reader should know of how a file was read: nothing failed, and something is in doubt.

    Args:
        kind: A short name, as `data check` prints it.
        message: What was met, and what to do.
    """

    kind: str
    message: str


@dataclass(frozen=True, slots=True)
class Segment:
    """A decoded part of an item.

    Args:
        start_seconds: Where the part begins in the file; None for an image or a text.
        end_seconds: Where it ends.
        warnings: What is in doubt; each stands at one segment of the item.
    """

    content: Content
    start_seconds: float | None = None
    end_seconds: float | None = None
    warnings: tuple[MediaWarning, ...] = ()


@dataclass(frozen=True, slots=True)
class Decoding:
    """The way in which one encoder wants its medium decoded and cut.

    Args:
        side_pixels: Shortest side of a decoded picture or frame; None keeps the size of the file.
        sample_rate_hz: Rate to which sound is resampled.
        segment_seconds: Length of a segment of audio or video; None makes the whole item one segment.
        hop_seconds: From one segment's start to the next; None for segments that touch.
        frames_per_segment: Frames taken from each video segment, equally spaced.
        max_segments: Above this many segments of one item, as many are taken, equally spaced; None takes all.
    """

    side_pixels: int | None = None
    sample_rate_hz: int = 22_050
    segment_seconds: float | None = None
    hop_seconds: float | None = None
    frames_per_segment: int = 1
    max_segments: int | None = None


@dataclass(frozen=True, slots=True)
class MediaLimits:
    """The most that one untrusted file may cost before it is refused.

    Args:
        max_segment_seconds: Longest sound held in memory at once, where the whole item is one segment.
        damaged_share: Share of the seconds of a sound or a video that may be damaged; a file with more is refused.
    """

    max_bytes: int = 4 * 1024**3
    max_pixels: int = 100_000_000
    max_seconds: float = 48 * 3600.0
    max_segment_seconds: float = 600.0
    max_frames: int = 10_000_000
    max_characters: int = 1_000_000
    damaged_share: float = 0.5


@dataclass(frozen=True, slots=True)
class Failure:
    """One item that could not be used, and why.

    Args:
        kind: The short name of the error, as `data check` prints it.
    """

    item_id: str
    kind: str
    message: str


@dataclass(frozen=True, slots=True)
class ItemWarning:
    """One item that was used, and what is in doubt of how its file was read.

    Args:
        kind: A short name, as `data check` prints it.
    """

    item_id: str
    kind: str
    message: str


@dataclass(frozen=True, slots=True)
class MediumBatch:
    """The rows of one medium in a training step."""

    medium: Medium
    inputs: Tensor
    label: Int[Tensor, " batch"]


@dataclass(frozen=True, slots=True)
class Batch:
    """The rows of one training step, of every medium present; each part names its medium."""

    parts: tuple[MediumBatch, ...]
    item_ids: tuple[str, ...]
    failures: tuple[Failure, ...] = ()


@dataclass(frozen=True, slots=True)
class Outputs:
    """The output of a network for a batch; each row carries its label and its medium.

    Args:
        embedding: Rows of length 1.
        logits: Class scores before softmax.
        medium: Medium codes, indices into `MEDIA`.
    """

    embedding: Float[Tensor, "batch dim"]
    logits: Float[Tensor, "batch class"]
    label: Int[Tensor, " batch"]
    medium: Int[Tensor, " batch"]


@dataclass(frozen=True, slots=True)
class Embeddings:
    """One row for each segment: its vector, its logits, and the item it belongs to.

    Args:
        items: Row by row; rows of one item stand together and share the object.
        start_seconds: NaN where the medium has no time.
        logits: None where the model has no classifier.
    """

    items: tuple[Item, ...]
    start_seconds: Float[np.ndarray, " row"]
    end_seconds: Float[np.ndarray, " row"]
    embedding: Float32[np.ndarray, "row dim"]
    logits: Float32[np.ndarray, "row class"] | None = None


class Hit(NamedTuple):
    """One result of a search: an item, or one of its segments, and how it ranks.

    A tuple, since ten frozen dataclasses cost a small gallery a quarter of its search.

    Args:
        rank: Counted from 1.
        score: Cosine similarity; larger is nearer. Of several queries, the mean.
        set_name: The set of the gallery that the item belongs to.
        start_seconds: Where the best segment begins; None where the medium has no time.
        end_seconds: Where it ends.
        probability: That the hit is of the query's class, where the gallery holds that class at all; None where nothing
            could be calibrated.
        margin: How much nearer the hit's class is than the nearest other class, in score units, among the hit's
            medium; below zero for a hit of another class than the nearest. None where there is no other class.
        look_alike: That other class.
        called: For an item without a class, the species that its encoder calls it most likely, in a gallery that was
            indexed without training.
        called_probability: Of that species, by the encoder's own scores.
        matched: The fact of the item that a query is, such as its catalog number; None for a hit that was ranked.
        unlikely: Why its species is unlikely to be where and when the query was made; None where nothing says so.
        is_compared: False for an item that was looked up or listed: it was compared with nothing, and its score of 1
            says only that it is the item itself.
    """

    rank: int
    score: float
    item: Item
    set_name: str | None = None
    start_seconds: float | None = None
    end_seconds: float | None = None
    probability: float | None = None
    margin: float | None = None
    look_alike: str | None = None
    called: str | None = None
    called_probability: float | None = None
    matched: str | None = None
    unlikely: str | None = None
    is_compared: bool = True

    @property
    def item_id(self) -> str:
        """The id of the item."""
        return self.item.item_id

    @property
    def medium(self) -> Medium:
        """The medium of the item."""
        return self.item.medium

    @property
    def class_name(self) -> str | None:
        """The class of the item."""
        return self.item.class_name


@runtime_checkable
class Reporter(Protocol):
    """Receiver of the progress of long work; the CLI and the API implement it."""

    def step(self, task: str, *, done: int, total: int, note: str = "") -> None:
        """Report that `done` of `total` parts of `task` are finished."""

    def say(self, message: str) -> None:
        """Pass one line on to the person who waits."""


@final
class SilentReporter:
    """Reports no progress; lines go to the log."""

    def step(self, task: str, *, done: int, total: int, note: str = "") -> None:
        """Do nothing."""

    def say(self, message: str) -> None:
        """Log the line."""
        _LOGGER.info(message)
