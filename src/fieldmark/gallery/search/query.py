"""A query of any kind -> a query embedding."""

import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, final, runtime_checkable

import numpy as np
from jaxtyping import Float

from fieldmark.errors import MediaError, MissingFileError, UnknownItemError
from fieldmark.gallery.files import GalleryPlace
from fieldmark.gallery.naming.name_index import NamedSpecies
from fieldmark.gallery.naming.name_reader import NameReader
from fieldmark.gallery.naming.typed_names import NameReading, TypedNames
from fieldmark.gallery.store import Filter, ItemCount, SegmentIndex
from fieldmark.media.loaders import detect_medium, hash_content, load_segments
from fieldmark.media.preview import has_sound
from fieldmark.media.signatures import list_extensions
from fieldmark.names import Resolution, Spellings
from fieldmark.recent_answers import RecentAnswers
from fieldmark.types import MEDIA, Decoding, Embeddings, Item, MediaLimits, Medium, Reporter, TextContent

_HEARD_SECONDS = 60.0
"""Of the sound of a clip that asks."""
_REMEMBERED_QUERIES = 2_048
"""Query embeddings that are remembered, of 4 kB each: a person who narrows a search or marks hits sends the same query
again, and many people ask the same words."""
_SEEN = (Medium.IMAGE, Medium.VIDEO, Medium.AUDIO)
_RECOGNIZED = 0.5
"""Sureness from which on a picture shows something that the model knows: likelier than not."""
_A_MEDIUM = {
    Medium.IMAGE: "a photo",
    Medium.TEXT: "a text",
    Medium.VIDEO: "a video",
    Medium.AUDIO: "a sound",
}
REMEMBERED_BYTES = 128 * 1024**2
"""A larger file is not remembered: to recognize it, all of it would have to be read."""


@dataclass(frozen=True, slots=True)
class ItemId:
    """The id of an item of the gallery, as a query for more like it."""

    item_id: str


Query = Path | str | Item | ItemId


@runtime_checkable
class TextMover(Protocol):
    """Moves the embeddings of texts by what their words say."""

    def read_fingerprint(self) -> str:
        """Return what changes with what it knows."""
        ...

    def move(self, embedding: Float[np.ndarray, " dim"], text: str) -> Float[np.ndarray, " dim"]:
        """Return the embedding of a text anew, of length 1."""
        ...


@dataclass(frozen=True, slots=True)
class QueryEmbedding:
    """A vector that the gallery is compared with: that of a query, or of an item that a person marked.

    Args:
        embedding: Of length 1.
        is_negative: Whether hits like it are unwanted.
        is_calibrated: Whether its scores are distributed as those of items of its medium are.
        word_count: Of a text; None where it is not known, and for other media.
        is_name: Whether it is the name of a class or species alone.
        sureness: How plainly its plainest segment shows one class or species, 0 to 1; 1 where that is not known.
    """

    medium: Medium
    embedding: Float[np.ndarray, " dim"]
    is_negative: bool = False
    is_calibrated: bool = True
    word_count: int | None = None
    is_name: bool = False
    sureness: float = 1.0


@runtime_checkable
class QueryEncoder(Protocol):
    """The model as a gallery needs it: it made the embeddings and encodes the queries."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes that the model was trained on."""
        ...

    @property
    def resolutions(self) -> tuple[Resolution, ...]:
        """The species that these classes stand for, as training found them; none where it did not ask."""
        ...

    @property
    def fingerprint(self) -> str:
        """Of all that shapes an embedding."""
        ...

    @property
    def limits(self) -> MediaLimits:
        """Limits on one file."""
        ...

    def embed(self, item: Item, *, reporter: Reporter | None = None) -> Float[np.ndarray, "segment dim"]:
        """Return the embedding of each segment of an item, of length 1.

        Args:
            reporter: Told how many seconds of the item are encoded.

        Raises:
            MediaError: The item cannot be read.
            MediumNotSupportedError: The model takes no item of this medium.
        """
        ...

    def measure_sureness(
        self, embedding: Float[np.ndarray, "segment dim"], *, medium: Medium
    ) -> Float[np.ndarray, " segment"]:
        """Return how plainly each segment shows one class or species, 0 to 1; 1 for all where that is not known."""
        ...

    def embed_class_name(self, class_name: str, *, other_names: Sequence[str] = ()) -> Float[np.ndarray, " dim"] | None:
        """Return an embedding that stands for a class or species by its name alone; None where there is none.

        Args:
            other_names: Of the same species.
        """
        ...

    @property
    def name_weight(self) -> float | None:
        """Share of names in the score of two items without labels; None for a model of the learned space alone."""
        ...

    @property
    def learned_media(self) -> frozenset[Medium]:
        """Media that were trained on; none for a model without training."""
        ...

    def get_overlap_weight(self, query: Medium | None, hit: Medium) -> float | None:
        """Return the weight of the overlap of names in scores of two media; None where labels decide, or nothing.

        Args:
            query: None for a text that only names a species.
        """
        ...

    def can_compare(self, query: Medium | None, hit: Medium) -> bool:
        """Tell whether items of two media have anything in common where nothing was learned.

        Args:
            query: None for a text that only names a species.
        """
        ...

    def has_names(self, embedding: Float[np.ndarray, " dim"]) -> bool:
        """Tell whether the encoders call an item anything, by its embedding; True with the learned space alone."""
        ...

    def is_covered(self, embedding: Float[np.ndarray, " dim"]) -> bool:
        """Tell whether an item is probably of a class with labels; False for a model without training."""
        ...

    def can_compare_looks(self, first: Medium, second: Medium) -> bool:
        """Tell whether one encoder reads items of both media, so that their features can be compared."""
        ...

    def score_species(
        self, embedding: Float[np.ndarray, "row dim"], *, medium: Medium
    ) -> Float[np.ndarray, "row species"] | None:
        """Return the probability of each of `named_species` for some items, as a medium's encoder has it.

        None for a model that has the learned space alone, and for a medium whose encoder names no species.
        """
        ...

    def knows_words(self, words: Sequence[str]) -> Sequence[bool] | None:
        """Tell which of some words the encoder of texts has as its own; None where it cannot tell."""
        ...

    def embed_texts(self, items: Sequence[Item]) -> dict[int, Float[np.ndarray, " dim"]]:
        """Return the embeddings of texts by their index; texts that cannot be encoded are missing."""
        ...

    def named_species(self, medium: Medium) -> tuple[tuple[str, ...], ...]:
        """Return the species that a medium's encoder tells apart, each with all its names."""
        ...


@final
class QueryReader:
    """Turns queries of any kind into query embeddings.

    Safe to use from several threads.

    Args:
        folder: Of the gallery.
        mover: Moves the embeddings of texts; None leaves them as they are.
    """

    def __init__(
        self, folder: GalleryPlace, *, store: SegmentIndex, encoder: QueryEncoder, mover: TextMover | None = None
    ) -> None:
        self._folder = folder
        self._store = store
        self._encoder = encoder
        self._mover = mover
        self._remembered = RecentAnswers[QueryEmbedding](_REMEMBERED_QUERIES)
        self._names = NameReader(folder, resolutions=encoder.resolutions)
        self._trained = Spellings(encoder.class_names)
        self._trained_names = frozenset(encoder.class_names)
        self._held: tuple[Sequence[ItemCount], Mapping[str, int]] = ((), {})

    def encode(self, query: Query, *, reporter: Reporter | None = None) -> QueryEmbedding:
        """Return the embedding of a query, remembered by its content.

        Args:
            reporter: Told how many seconds of a sound or video are encoded.

        Raises:
            MediaError: It cannot be read.
            MediumNotSupportedError: The model takes no query of this medium.
            UnknownItemError: The gallery has no item of this id.
        """
        if isinstance(query, ItemId):
            return self.read_stored([query.item_id])[query.item_id]
        item = _item_of(query)
        if not _is_small(item):
            return self._encode_item(item, reporter)
        key = hash_content(item) + ("" if self._mover is None else self._mover.read_fingerprint())
        return self._remembered.recall(key, lambda: self._encode_item(item, reporter))

    def encode_name(self, named: NamedSpecies) -> QueryEmbedding | None:
        """Return the embedding of a class or species by its names; None where the model has none."""
        name = named.query_name
        embedding = self._encoder.embed_class_name(name, other_names=named.names)
        # A class that was trained lies as near to its items as a text that describes it well; another lies farther.
        # Without training, all scores of names are probabilities alike.
        is_calibrated = self._encoder.name_weight is not None or self._trained.find_one(name) is not None
        if embedding is None:
            return None
        return QueryEmbedding(Medium.TEXT, embedding, is_calibrated=is_calibrated, is_name=True)

    def read_stored(self, item_ids: Collection[str]) -> dict[str, QueryEmbedding]:
        """Return items of the gallery as queries, by id.

        Raises:
            UnknownItemError: The gallery has no item of an id.
        """
        stored = self._store.embeddings(Filter(item_ids=frozenset(item_ids)))
        rows_of = find_rows(stored)
        for item_id in item_ids:
            if item_id not in rows_of:
                raise UnknownItemError(item_id=item_id, gallery=str(self._folder))
        return {
            item_id: self._query_embedding(stored.items[rows[0]], stored.embedding[rows])
            for item_id, rows in rows_of.items()
        }

    def read_names_in(self, queries: Sequence[Query]) -> NameReading | None:
        """Return the classes and species that a single short text names; None where it names none."""
        text = _text_of(queries[0])
        if len(queries) > 1 or text is None:
            return None
        return self.read_names().read(text, knows_words=self._encoder.knows_words)

    def is_understood(self, queries: Sequence[Query]) -> bool:
        """Tell whether a single text has enough words that anything here knows; True for all other queries."""
        text = _get_description(queries)
        if text is None:
            return True
        return self.read_names().vocabulary.is_understood(text, knows_words=self._encoder.knows_words)

    def is_on_topic(self, queries: Sequence[Query]) -> bool:
        """Tell whether a single text speaks of what the gallery's texts do; True for all other queries.

        An encoder that sees photos by words needs no texts to know what they speak of.
        """
        text = _get_description(queries)
        if text is None or any(self._encoder.can_compare_looks(Medium.TEXT, each) for each in _SEEN):
            return True
        return self.read_names().vocabulary.is_on_topic(text)

    def find_own_sound(self, queries: Sequence[Query]) -> Item | None:
        """Return the sound of a single query that is a video file, as a query of its own; None where there is none.

        Of a long one, the first minute is taken.
        """
        item = _find_single_item(queries)
        if item is None or item.medium is not Medium.VIDEO or not has_sound(item, limits=self._encoder.limits):
            return None
        start = item.start_seconds or 0.0
        end = min(start + _HEARD_SECONDS, item.end_seconds or np.inf)
        return Item(item.item_id, Medium.AUDIO, path=item.path, start_seconds=start, end_seconds=float(end))

    def is_recognized(self, queries: Sequence[Query]) -> bool:
        """Tell whether the model recognizes anything in a single photo or clip; True for all other queries."""
        item = _find_single_item(queries)
        if item is None or item.medium not in {Medium.IMAGE, Medium.VIDEO} or not _is_small(item):
            return True
        return self.encode(item).sureness >= _RECOGNIZED

    def get_text(self, queries: Sequence[Query]) -> str | None:
        """Return a single query that is a text, or the name of a file that is not here; None otherwise."""
        if len(queries) > 1:
            return None
        query = queries[0]
        return str(query) if isinstance(query, Path) and not _is_file(query) else _text_of(query)

    def read_names(self) -> TypedNames:
        """Return the names by which texts find classes and species, as the gallery is now."""
        counts = self._store.counts()
        if self._held[0] is not counts:
            self._held = counts, count_items_by_class(counts)
        return self._names.read(held=self._held[1], trained=self._trained_names)

    def _encode_item(self, item: Item, reporter: Reporter | None) -> QueryEmbedding:
        rows = self._encoder.embed(item) if reporter is None else self._encoder.embed(item, reporter=reporter)
        return self._query_embedding(item, rows)

    def _query_embedding(self, item: Item, rows: Float[np.ndarray, "segment dim"]) -> QueryEmbedding:
        mean = pool_segments(rows, medium=item.medium, encoder=self._encoder)
        words = self._read_words(item)
        if self._mover is not None and words:
            mean = self._mover.move(mean, " ".join(words))
        mean.setflags(write=False)
        # What no label covers, and no encoder calls anything, is compared by its look alone, which is no probability.
        is_calibrated = self._encoder.is_covered(mean) or self._encoder.has_names(mean)
        return QueryEmbedding(
            item.medium,
            mean,
            is_calibrated=is_calibrated,
            word_count=None if words is None else len(words),
            sureness=float(self._encoder.measure_sureness(rows, medium=item.medium).max()),
        )

    def _read_words(self, item: Item) -> tuple[str, ...] | None:
        """Return the words of a text; None for other media, and for a text whose file is gone."""
        if item.medium is not Medium.TEXT:
            return None
        try:
            return read_words(item, limits=self._encoder.limits)
        except MediaError:
            return None


def count_items_by_class(counts: Sequence[ItemCount]) -> dict[str, int]:
    """Return the number of items of each class, from the counts of a store."""
    by_class: dict[str, int] = {}
    for each in counts:
        if each.class_name is not None:
            by_class[each.class_name] = by_class.get(each.class_name, 0) + each.item_count
    return by_class


_LEAST_SURENESS = 0.01
_SURENESS_POWER = 16
"""A segment counts by this power of its sureness, so that a minute of noise does not outweigh one call. Chosen on items
held out of fgbirds' training items, as they are and among up to 39 windows of noise or 30 frames without a bird."""


def weigh_segments(
    rows: Float[np.ndarray, "segment dim"], *, medium: Medium, encoder: QueryEncoder
) -> Float[np.ndarray, " segment"]:
    """Return the weight of each segment in the embedding of its item; above zero."""
    sureness = encoder.measure_sureness(rows, medium=medium).astype(np.float64)
    weight: Float[np.ndarray, " segment"] = np.maximum(sureness, _LEAST_SURENESS) ** _SURENESS_POWER
    return weight


def pool_segments(
    rows: Float[np.ndarray, "segment dim"], *, medium: Medium, encoder: QueryEncoder
) -> Float[np.ndarray, " dim"]:
    """Return the embedding of an item as a query, of length 1: the mean of its segments, the sure ones above all.

    Two segments of sureness 1 and 0.5 count as 1 to 0.000015.
    """
    weight = np.ones(1) if len(rows) == 1 else weigh_segments(rows, medium=medium, encoder=encoder)
    mean = weight @ rows
    unit: Float[np.ndarray, " dim"] = mean / np.linalg.norm(mean)
    return unit


def find_rows(stored: Embeddings) -> dict[str, list[int]]:
    """Return the rows of each item, by its id."""
    rows: dict[str, list[int]] = defaultdict(list)
    for row, item in enumerate(stored.items):
        rows[item.item_id].append(row)
    return rows


def read_words(item: Item, *, limits: MediaLimits) -> tuple[str, ...]:
    """Return the words of a text item.

    Raises:
        MediaError: It cannot be read.
    """
    segments = load_segments(item, decoding=Decoding(), limits=limits)
    texts = [segment.content.text for segment in segments if isinstance(segment.content, TextContent)]
    return tuple(word for text in texts for word in text.split())


def describe_files(queries: Sequence[Query]) -> tuple[str, ...]:
    """Return what a person should know of files whose names promise another medium than they hold."""
    notes = []
    for query in queries:
        path = query.path if isinstance(query, Item) else query
        if not isinstance(path, Path | str) or not _is_file(Path(path)):
            continue
        held, suffix = detect_medium(Path(path)), Path(path).suffix.lower()
        promised = [medium for medium in MEDIA if suffix in list_extensions(medium)]
        if promised and held not in promised:
            notes.append(
                f"'{Path(path).name}' holds {_A_MEDIUM[held]} and not {_A_MEDIUM[promised[0]]}, as its name says; it "
                "was searched as what it holds"
            )
    return tuple(notes)


def _find_single_item(queries: Sequence[Query]) -> Item | None:
    """Return a single query as an item; None for several, and for an item of the gallery."""
    query = queries[0]
    return None if len(queries) > 1 or isinstance(query, ItemId) else _item_of(query)


def _item_of(query: Path | str | Item) -> Item:
    """Return the query as an item: a file where there is one, a text otherwise."""
    if isinstance(query, Item):
        return query
    path = Path(query)
    if _is_file(path):
        return Item(item_id=str(query), medium=detect_medium(path), path=path)
    if isinstance(query, Path) or _looks_like_path(query):
        raise MissingFileError(path=query)
    return Item(item_id="query", medium=Medium.TEXT, text=query)


def _is_small(item: Item) -> bool:
    """Tell whether the content is hashed quickly: a text, or one file of moderate size."""
    if item.text is not None:
        return True
    try:
        return item.path is not None and item.form is None and item.path.stat().st_size <= REMEMBERED_BYTES
    except (OSError, ValueError):
        return False  # what is wrong with it is reported where it is decoded


def _text_of(query: Query) -> str | None:
    """Return the words of a query that is a text; None for all others."""
    if isinstance(query, Item):
        return query.text if query.medium is Medium.TEXT else None
    return query if isinstance(query, str) and not _is_file(Path(query)) else None


def _get_description(queries: Sequence[Query]) -> str | None:
    """Return a single query that is a text; None for others, and for what looks like the path of a file."""
    text = None if len(queries) > 1 else _text_of(queries[0])
    return None if text is None or _looks_like_path(text) else text


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False  # a long text, or one with a zero byte, is no path


def _looks_like_path(query: str) -> bool:
    """Tell whether a text without spaces looks like a path, so that a mistyped path is not searched as words."""
    return not any(map(str.isspace, query)) and ("/" in query or bool(re.fullmatch(r".*\.[A-Za-z0-9]{2,5}", query)))
