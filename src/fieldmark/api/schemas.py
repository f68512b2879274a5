"""Schemas of requests and answers, separate from the inner dataclasses."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from fieldmark.gallery.naming.typed_names import NameUse
from fieldmark.gallery.search.records import HitOrder
from fieldmark.gallery.search.result import ExportFormat
from fieldmark.subject import Subject
from fieldmark.types import Medium, Split

ItemId = Annotated[str, StringConstraints(min_length=1, max_length=1024)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=256)]
Facts = Annotated[dict[str, str], Field(description="further columns of the item's manifest, by name")]
Names = Annotated[list[Name], Field(max_length=200)]


class RequestBody(BaseModel):
    """A request body; unknown keys are refused, so that a typing error is noticed."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class AnswerBody(BaseModel):
    """The body of an answer."""

    model_config = ConfigDict(frozen=True)


class RecordAnswer(AnswerBody):
    """The facts of an item's record, as given; null where it has none."""

    event_date: str | None = Field(None, description="day, time, month, year or interval of ISO 8601")
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
    license_form: str | None = Field(None, description="normal form of the license, such as CC BY 4.0")


class ErrorAnswer(AnswerBody):
    """Every error: any answer that is not 2xx or 3xx."""

    kind: str = Field(description="short name of the error, for programs")
    message: str = Field(description="what was found, what is allowed, what to do")


# ---------------------------------------------------------------- search


class Query(RequestBody):
    """One query: a text, or an item of the gallery ("more like this"). Files come as parts of a form."""

    text: str | None = Field(None, min_length=1)
    item_id: ItemId | None = None

    @model_validator(mode="after")
    def _check_one(self) -> "Query":
        if (self.text is None) == (self.item_id is None):
            raise ValueError("give either 'text' or 'item_id'")
        return self


class Marks(RequestBody):
    """Hits that a user marked right or wrong; none is both."""

    relevant: list[ItemId] = []
    irrelevant: list[ItemId] = []


class FactConditions(RequestBody):
    """Conditions on the record of an item; one whose fact is not known meets none."""

    date_from: str | None = Field(None, max_length=40, description="day, month or year of ISO 8601")
    date_to: str | None = Field(None, max_length=40)
    months: list[Annotated[int, Field(ge=1, le=12)]] = Field([], max_length=12, description="of any year")
    box: list[float] = Field([], max_length=4, description="west, south, east, north, in degrees")
    near: list[float] = Field([], max_length=3, description="latitude, longitude, kilometers")
    countries: Names = Field([], description="codes of ISO 3166-1, or English names")
    observers: Names = []
    has_no: Names = Field([], description="facts that the item lacks, such as license, date, coordinates, place")


class SightingRequest(RequestBody):
    """When and where the query was made, for a server with a table of ranges; what is left out its file may tell."""

    place: list[float] = Field([], max_length=2, description="latitude and longitude, in degrees")
    country: str | None = Field(None, max_length=100, description="code of ISO 3166-1, or English name")
    date: str | None = Field(None, max_length=40, description="day, month or year of ISO 8601")


class SearchRequest(RequestBody):
    """A search: queries, number of hits, filters."""

    queries: list[Query] = Field(
        [], description="combined into one, together with the files of a form; none to list what meets `facts`"
    )
    marks: Marks = Marks()
    k: int = Field(10, ge=1, strict=True, description="number of hits; of each medium where per_medium is set")
    per_medium: bool = Field(default=False, description="k hits of each medium")
    by_segment: bool = Field(default=False, description="list an item once for each matching segment")
    media: list[Medium] = Field([], max_length=4, description="only these; empty for all")
    class_names: Names = []
    set_names: Names = []
    licenses: Names = Field([], description="in any spelling, such as 'cc by 4.0'; a version may be left out")
    groups: Names = []
    facts: FactConditions = FactConditions()
    order: HitOrder | None = Field(None, description="sort the hits by date or place; null for their ranks")
    by_record: bool = Field(default=False, description="k records, all hits of each together")
    area: list[Annotated[list[float], Field(min_length=2, max_length=2)]] = Field(
        [], max_length=100, description="corners x, y of a polygon on the map, each from 0 to 1: only items within it"
    )
    seen: SightingRequest = SightingRequest()


class ReadNameAnswer(AnswerBody):
    """A name that was read in a text."""

    name: str
    class_name: str | None = Field(None, description="its class here; null where none is surely this")


class NameAnswer(AnswerBody):
    """A class, or a species that encoders call items, that a text may mean."""

    name: str = Field(description="as the gallery calls it")
    matched: str = Field(description="that of its names which is most like the text")
    fit: float = Field(description="from 0 to 1")
    item_count: int


class NamesAnswer(AnswerBody):
    """Names that fit what was typed, the most fitting first."""

    names: list[NameAnswer]


class LikelyClassAnswer(AnswerBody):
    """A class that a query may show."""

    name: str
    probability: float


class QueryAnswer(AnswerBody):
    """The query as the server understood it."""

    medium: Medium
    media: list[Medium]
    class_name: str | None = Field(None, description="the class that the text names, directly or by a synonym")
    species_name: str | None = Field(
        None, description="the species that the text names, if only the items of the class tell that it is this species"
    )
    names: list[ReadNameAnswer] = Field([], description="all names that the text holds; hits are of any of them")
    name_use: NameUse | None = Field(
        None,
        description="the text is a name, several, a part of some, a sentence with names, or was corrected",
    )
    is_understood: bool = Field(
        default=True, description="false where the words mean nothing to what reads texts here; there are no hits then"
    )
    is_listing: bool = Field(
        default=False, description="the hits are the items that meet the conditions, with nothing to rank them by"
    )
    is_on_topic: bool = Field(
        default=True, description="false where the words speak of nothing that texts and names here do"
    )
    notes: list[str] = Field([], description="what to know of the queries, such as a text in a file named .jpg")


class CollectionAnswer(AnswerBody):
    """The probability that the gallery holds the query's class at all."""

    probability: float
    is_likely: bool = Field(description="the probability reaches the threshold")
    is_unlikely: bool = Field(description="two to one against, or more")
    threshold: float
    can_tell: bool = Field(
        description="false where the class is not likely there and nothing says that it is missing: a hit is nearly "
        "certain, the query is unlike what the probabilities were fitted on, or the score lies between both cases"
    )


class QueryPartAnswer(AnswerBody):
    """One of several queries that show different classes, as if it had been asked alone."""

    medium: Medium
    likeliest: list[LikelyClassAnswer]
    collection: CollectionAnswer | None


class ReadMarkAnswer(AnswerBody):
    """A mark that a description names."""

    mark: str = Field(description="a part and its trait, such as 'crown red'; 'no' before one that is denied")
    words: list[str] = Field(description="the words that say so")
    is_denied: bool


class ShownMarksAnswer(AnswerBody):
    """The marks of the description that a hit shows and lacks, by the species that it seems to be."""

    item_id: str
    species: str | None
    shows: list[str]
    lacks: list[str]
    sources: list[str] = Field(description="where the marks that it shows are known from")


class QuestionAnswer(AnswerBody):
    """The mark that would separate best the species that fit."""

    mark: str
    gain: float = Field(description="nats that the answer tells on average; at most ln 2")
    text: str


class DescriptionAnswer(AnswerBody):
    """The marks that were read in a text that describes a bird, and the words that were not."""

    marks: list[ReadMarkAnswer]
    unread: list[str] = Field(description="words that name no known mark")
    exclusive: list[str] = Field(description="marks that are both named and denied")
    question: QuestionAnswer | None
    hits: list[ShownMarksAnswer]


class HitAnswer(RecordAnswer):
    """One hit; a URL is null if the item lacks what it would show."""

    rank: int
    score: float = Field(description="similarity; larger is nearer; 1 for a hit that was compared with nothing")
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
    called: str | None = Field(
        None, description="what its encoder calls an item without a class, in a gallery indexed without training"
    )
    called_probability: float | None = Field(None, description="of that species, by the encoder's own scores")
    matched: str | None = Field(None, description="the fact of the item that the query is, such as catalog_number")
    record_id: str | None = Field(None, description="what all media of one record share")
    unlikely: str | None = Field(None, description="why its species is unlikely where and when the query was made")
    is_compared: bool = Field(default=True, description="false for an item that was looked up or listed, not ranked")
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


class SearchSeconds(AnswerBody):
    """Seconds that the server spent."""

    encode: float
    search: float


class SearchAnswer(AnswerBody):
    """Hits, best first."""

    query: QueryAnswer
    collection: CollectionAnswer | None
    is_by_encoders: bool = Field(
        default=False, description="probabilities are the encoders' own scores; too little is labelled to check them"
    )
    is_called: bool = Field(
        default=False, description="a name was asked for, and `collection` tells whether encoders call any item so"
    )
    likely_count: int | None = Field(
        None, description="the first hits that are as likely as not of the query's class; null without probabilities"
    )
    left_out: list[Medium] = Field([], description="media that no encoder compares with the query")
    likeliest: list[LikelyClassAnswer] = Field(
        [], description="the classes that the queries most likely show, best first; empty where a text names one"
    )
    parts: list[QueryPartAnswer] = Field(
        [], description="what each query shows alone, where they contradict each other; hits are then of each alone"
    )
    absent_media: list[Medium] = Field(
        [], description="media that have nothing of the class that is named, though others have"
    )
    offered: list[NameAnswer] = Field([], description="names that the text may mean, where it is none as it stands")
    seen: str | None = Field(
        None, description="when and where the query was made, by which hits were judged; null without ranges"
    )
    unlikely: str | None = Field(None, description="why the species that the text names is unlikely there and then")
    description: DescriptionAnswer | None = Field(
        None, description="what was read in a text that names no species; null without profiles of marks"
    )
    hits: list[HitAnswer]
    seconds: SearchSeconds


# ---------------------------------------------------------------- marks


class ClassRequest(RequestBody):
    """A class to give to items."""

    class_name: Name
    item_ids: list[ItemId] = Field(min_length=1)
    saved_by: Name | None = Field(None, description="who gives it, in their own words")
    basis: Name | None = Field(None, description="from what it was told, such as the search in which they were marked")


class SavedClassAnswer(AnswerBody):
    """A class that was given to items."""

    number: int
    class_name: str
    former_names: dict[str, str | None] = Field(description="the class that each item had before, by item id")
    lost_item_ids: list[str] = Field([], description="items whose content the gallery no longer holds")
    saved_at: str | None = Field(None, description="day and time of ISO 8601, in UTC; null where it was not noted")
    saved_by: str | None = None
    basis: str | None = None
    is_undone: bool


class SavedClassesAnswer(AnswerBody):
    """All classes that were given to items, including undone ones."""

    classes: list[SavedClassAnswer]


class HitMark(RequestBody):
    """A hit to export, as the search returned it."""

    item_id: ItemId
    rank: int = Field(1, ge=1)
    score: float = Field(0.0, allow_inf_nan=False)
    probability: float | None = Field(None, ge=0, le=1)
    start_seconds: float | None = Field(None, ge=0, allow_inf_nan=False)
    end_seconds: float | None = Field(None, ge=0, allow_inf_nan=False)
    margin: float | None = Field(None, allow_inf_nan=False)
    look_alike: Name | None = None
    is_compared: bool = True


class ExportRequest(RequestBody):
    """Items or hits to export, and the format."""

    format: ExportFormat | Literal["dwca"] = Field(
        description="csv, raven, audacity, inaturalist, dwc (Darwin Core), or dwca (a Darwin Core Archive, zipped)"
    )
    item_ids: list[ItemId] = Field([], description="items; Raven and Audacity skip those without times")
    hits: list[HitMark] = Field([], description="hits, with their times")


class ClipsRequest(RequestBody):
    """Hits whose moments become a zip."""

    hits: list[HitMark] = Field(min_length=1)
    margin_seconds: float = Field(0.0, ge=0, le=30, allow_inf_nan=False, description="before and after each moment")


class AlikeRequest(RequestBody):
    """Items among which to find nearly identical ones."""

    item_ids: list[ItemId] = Field(min_length=1)


class AlikeAnswer(AnswerBody):
    """Nearly identical items."""

    groups: list[list[str]] = Field(description="in the order in which they were given; items alone are left out")
    pending_count: int = Field(description="items that were not looked at for lack of time; ask again")


# ---------------------------------------------------------------- items, classes, the gallery


class ItemAnswer(RecordAnswer):
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


class SegmentAnswer(AnswerBody):
    """A part of an item, in seconds of its file; null for images and texts."""

    start_seconds: float | None
    end_seconds: float | None


class ItemDetailAnswer(ItemAnswer):
    """An item with its segments."""

    segments: list[SegmentAnswer]


class ItemPage(AnswerBody):
    """A page of the items, ordered by id."""

    items: list[ItemAnswer]
    next_after: str | None = Field(description="send it as `after` for the next page; null on the last page")


class ClassAnswer(AnswerBody):
    """A class of the gallery."""

    class_name: str
    counts: dict[Medium, int]
    item_count: int
    synonyms: list[str]
    scientific_name: str | None = Field(None, description="from the taxonomy of the gallery")
    names: dict[str, str] = Field({}, description="names in languages, by their codes, from the taxonomy: `name_de`")


class ClassesAnswer(AnswerBody):
    """All classes, by name."""

    classes: list[ClassAnswer]


class WordsAnswer(AnswerBody):
    """The words for a collection's classes and items: "species" and "song", or "class" and "sound"."""

    one: str
    many: str
    item: str
    sound: str


class GalleryAnswer(AnswerBody):
    """Statistics of the gallery."""

    name: str
    item_count: int
    segment_count: int
    class_count: int
    counts: dict[Medium, int]
    set_counts: dict[str, int] = Field(description="items by set; those of no set under the empty name")
    license_counts: dict[str, int] = Field(description="items by license; those of none under the empty name")
    license_forms: dict[str, str] = Field({}, description="normal forms of these licenses, where they have one")
    media: list[Medium] = Field(description="media that can be used as query")
    fingerprint: str
    bytes: int = Field(description="on disk; 0 where an engine keeps the gallery")
    calibrated_pairs: list[str] = Field(description="pairs of media whose hits have probabilities")
    sources: list[str] = Field(description="names that POST /v1/jobs accepts")
    subject: Subject = Field(Subject.THINGS, description="what the collection is of")
    words: WordsAnswer = Field(description="the words for its classes and items")


class WaveformAnswer(AnswerBody):
    """The lowest and the highest sample of each of the equal parts of a sound, in [-1, 1]."""

    duration_seconds: float
    low: list[float]
    high: list[float]


class MapPointAnswer(AnswerBody):
    """One item on the map."""

    item_id: str
    x: float = Field(description="from 0 to 1")
    y: float
    medium: Medium
    class_name: str | None


class MapAnswer(AnswerBody):
    """The gallery on a plane: items close together look or sound alike."""

    method: str
    item_count: int = Field(description="items of the gallery; the map shows a sample of a large one")
    points: list[MapPointAnswer]


class MapColumnsAnswer(AnswerBody):
    """The map in columns, which a browser takes in at once: entry by entry, one item each."""

    method: str
    item_count: int = Field(description="items of the gallery; the map shows a sample of a very large one")
    media: list[Medium] = Field(description="what the numbers in `medium` stand for")
    class_names: list[str] = Field(description="what the numbers in `label` stand for")
    item_ids: list[str]
    x: list[int] = Field(description="from 0 to 65535")
    y: list[int]
    medium: list[int]
    label: list[int] = Field(description="-1 for an item without a class")


# ---------------------------------------------------------------- jobs, sessions


class JobRequest(RequestBody):
    """The source to index."""

    source: Name


class JobAnswer(AnswerBody):
    """An indexing job and its state."""

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


class JobsAnswer(AnswerBody):
    """Jobs, newest first."""

    jobs: list[JobAnswer]


class HealthAnswer(AnswerBody):
    """Tells that the server answers."""

    status: Literal["ok"]
    version: str
    needs_token: bool
