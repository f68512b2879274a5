"""What the API takes and gives: schemas of its own, never the inner dataclasses."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from fieldmark.gallery.search.export import ExportFormat
from fieldmark.types import Medium, Split

ItemId = Annotated[str, StringConstraints(min_length=1, max_length=1024)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=256)]
Facts = Annotated[dict[str, str], Field(description="further columns of the item's manifest, by name")]
Names = Annotated[list[Name], Field(max_length=200)]


class Taken(BaseModel):
    """A body that the API takes; unknown keys are refused, so that a typing error is told."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Given(BaseModel):
    """An answer."""

    model_config = ConfigDict(frozen=True)


class ErrorAnswer(Given):
    """Any answer that is not 2xx or 3xx."""

    kind: str = Field(description="short name of the error, for programs")
    message: str = Field(description="what was met, what is allowed, what to do")


# ---------------------------------------------------------------- search


class Query(Taken):
    """One query: a text, or an item of the gallery ("more like this"). Files come as parts of a form."""

    text: str | None = Field(None, min_length=1)
    item_id: ItemId | None = None

    @model_validator(mode="after")
    def _check_one(self) -> "Query":
        if (self.text is None) == (self.item_id is None):
            raise ValueError("give either 'text' or 'item_id'")
        return self


class Marks(Taken):
    """Hits that a person called right or wrong."""

    relevant: list[ItemId] = []
    irrelevant: list[ItemId] = []


class SearchRequest(Taken):
    """What to search for, and among what."""

    queries: list[Query] = Field([], description="fused into one, together with the files of a form")
    marks: Marks = Marks()
    k: int = Field(10, ge=1, description="number of hits; of each medium where per_medium is set")
    per_medium: bool = Field(default=False, description="k hits of each medium")
    by_segment: bool = Field(default=False, description="an item may come once for each of its segments")
    media: list[Medium] = Field([], max_length=4, description="only these; empty for all")
    class_names: Names = []
    set_names: Names = []
    licenses: Names = []
    groups: Names = []


class QueryAnswer(Given):
    """What the query was taken for."""

    medium: Medium
    media: list[Medium]
    class_name: str | None = Field(None, description="the class that a text names, by its name or a synonym")


class CollectionAnswer(Given):
    """Whether the gallery holds the query's class at all."""

    probability: float
    is_likely: bool = Field(description="from the threshold on")
    is_unlikely: bool = Field(description="two to one against, or more")
    threshold: float


class HitAnswer(Given):
    """One hit; addresses are null where there is nothing of the kind."""

    rank: int
    score: float = Field(description="larger is nearer")
    probability: float | None = Field(
        None, description="that the hit is of the query's class, if the gallery holds it; null if not calibrated"
    )
    item_id: str
    medium: Medium
    class_name: str | None
    set_name: str | None = None
    group: str | None = None
    name: str | None = Field(None, description="file name")
    start_seconds: float | None
    end_seconds: float | None
    text: str | None
    source: str | None
    license: str | None
    margin: float | None = Field(None, description="by how much the hit's class is nearer than the look-alike")
    look_alike: str | None = Field(None, description="the nearest other class")
    split: Split | None = None
    item_start_seconds: float | None = Field(None, description="where the item begins in its file")
    item_end_seconds: float | None = None
    caption_of: str | None = None
    facts: Facts
    item_url: str
    media_url: str | None
    thumbnail_url: str | None
    spectrogram_url: str | None
    waveform_url: str | None


class SearchSeconds(Given):
    """How long the server worked."""

    encode: float
    search: float


class SearchAnswer(Given):
    """Hits, best first."""

    query: QueryAnswer
    collection: CollectionAnswer | None
    hits: list[HitAnswer]
    seconds: SearchSeconds


# ---------------------------------------------------------------- marks


class ClassRequest(Taken):
    """A class for some items."""

    class_name: Name
    item_ids: list[ItemId] = Field(min_length=1)


class SavedClassAnswer(Given):
    """A class that was given to items."""

    number: int
    class_name: str
    former_names: dict[str, str | None] = Field(description="the class that each item had before, by item id")
    is_undone: bool


class SavedClassesAnswer(Given):
    """All classes that were given, those undone too."""

    classes: list[SavedClassAnswer]


class HitMark(Taken):
    """A hit to export, as the search gave it."""

    item_id: ItemId
    rank: int = Field(1, ge=1)
    score: float = Field(0.0, allow_inf_nan=False)
    probability: float | None = Field(None, ge=0, le=1)
    start_seconds: float | None = Field(None, ge=0, allow_inf_nan=False)
    end_seconds: float | None = Field(None, ge=0, allow_inf_nan=False)
    margin: float | None = Field(None, allow_inf_nan=False)
    look_alike: Name | None = None


class ExportRequest(Taken):
    """What to export, and as what."""

    format: ExportFormat = Field(description="csv, raven, audacity, or dwc (Darwin Core)")
    item_ids: list[ItemId] = Field([], description="items; Raven and Audacity leave out what has no moment")
    hits: list[HitMark] = Field([], description="hits, with their moments")


# ---------------------------------------------------------------- items, classes, the gallery


class ItemAnswer(Given):
    """An item of the gallery."""

    item_id: str
    medium: Medium
    class_name: str | None
    set_name: str | None
    group: str | None
    name: str | None
    text: str | None
    source: str | None
    license: str | None
    start_seconds: float | None
    end_seconds: float | None
    split: Split | None = None
    caption_of: str | None = None
    facts: Facts
    segment_count: int
    item_url: str
    media_url: str | None
    thumbnail_url: str | None
    spectrogram_url: str | None
    waveform_url: str | None


class SegmentAnswer(Given):
    """A part of an item, in seconds of its file; null for an image or a text."""

    start_seconds: float | None
    end_seconds: float | None


class ItemDetailAnswer(ItemAnswer):
    """An item with its segments."""

    segments: list[SegmentAnswer]


class ItemPage(Given):
    """A page of the items, ordered by id."""

    items: list[ItemAnswer]
    next_after: str | None = Field(description="give it as `after` for the next page; null on the last one")


class ClassAnswer(Given):
    """A class of the gallery."""

    class_name: str
    counts: dict[Medium, int]
    item_count: int
    synonyms: list[str]


class ClassesAnswer(Given):
    """All classes, by name."""

    classes: list[ClassAnswer]


class GalleryAnswer(Given):
    """Statistics of the gallery."""

    name: str
    item_count: int
    segment_count: int
    class_count: int
    counts: dict[Medium, int]
    set_counts: dict[str, int] = Field(description="items by set; those of no set under the empty name")
    license_counts: dict[str, int] = Field(description="items by license; those of none under the empty name")
    media: list[Medium] = Field(description="the media that the model takes as query")
    fingerprint: str
    bytes: int = Field(description="on disk")
    calibrated_pairs: list[str] = Field(description="pairs of media whose scores are shown as probabilities")
    sources: list[str] = Field(description="names that POST /v1/jobs takes")


class WaveformAnswer(Given):
    """The lowest and the highest sample of equal parts of a sound, in [-1, 1]."""

    duration_seconds: float
    low: list[float]
    high: list[float]


class MapPointAnswer(Given):
    """One item on the map."""

    item_id: str
    x: float = Field(description="from 0 to 1")
    y: float
    medium: Medium
    class_name: str | None


class MapAnswer(Given):
    """The gallery on a plane: near items look or sound alike."""

    method: str
    item_count: int = Field(description="items of the gallery; of many, a sample is on the map")
    points: list[MapPointAnswer]


# ---------------------------------------------------------------- jobs, sessions


class JobRequest(Taken):
    """Which source to index."""

    source: Name


class JobAnswer(Given):
    """A job as it stands."""

    job_id: str
    source: str
    state: Literal["running", "done", "failed", "cancelled"]
    started_at: str
    ended_at: str | None
    task: str
    done: int
    total: int
    lines: list[str]
    result: dict[str, object] | None
    message: str | None


class JobsAnswer(Given):
    """Jobs, the newest first."""

    jobs: list[JobAnswer]


class HealthAnswer(Given):
    """That the server answers."""

    status: Literal["ok"]
    version: str
    needs_token: bool
