"""Texts read as marks: they move towards the species that have these marks, and hits tell which of them they show."""

import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import final

import numpy as np
from jaxtyping import Bool, Float

from fieldmark.gallery.files import GalleryPlace, open_files
from fieldmark.gallery.layout import GalleryFile
from fieldmark.gallery.search.query import QueryEncoder
from fieldmark.gallery.store import Filter, SegmentIndex, iterate_pages
from fieldmark.marks.profile import Profiles, gather, read_tallies
from fieldmark.marks.question import SeparatingMark, find_separating_mark
from fieldmark.marks.reader import Reading, read_marks
from fieldmark.names import KnownNames
from fieldmark.types import Medium

_FEW_WORDS, _WEIGHT = 12, 0.5
"""Most words of a text that moves, and the length of the direction of the species that fit it, beside the text's own
embedding of length 1. Longer texts stay: captions lost with any weight. Both were chosen on held-out groups of
fgbirds' train split (`docs/results/few_words.md`)."""
_TEMPERATURE = 0.5
_SHARPNESS = 30.0
"""Of the softmax over cosines with species that tells which species an item shows."""
_SAMPLE, _ROWS_AT_ONCE, _GROWTH = 5_000, 1_024, 10
"""Items by which it is known what a gallery holds; it is looked up again when a tenth of them is new or gone."""
_SHOWN, _LACKED = 0.5, 0.15
"""An item shows a mark that is this likely, and lacks one that is less likely."""


@dataclass(frozen=True, slots=True)
class AskedMark:
    """A mark that a text names: its words there, and whether the text denies it."""

    mark: str
    words: tuple[str, ...]
    is_denied: bool


@dataclass(frozen=True, slots=True)
class ShownMarks:
    """The asked marks that a hit shows, and those that it lacks; of others nothing is known.

    Args:
        species: The species that it seems to be, by which marks are known; None where it is like none that is known.
        sources: Where the marks that it shows are known from.
    """

    item_id: str
    species: str | None
    shows: tuple[str, ...]
    lacks: tuple[str, ...]
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DescriptionAnswer:
    """The marks that were read in a text that describes a bird.

    Args:
        unread: Words that say nothing that is known here.
        exclusive: Marks that the text both names and denies.
        question: What would separate best the species that fit.
        hits: In the order of the hits.
    """

    marks: tuple[AskedMark, ...]
    unread: tuple[str, ...]
    exclusive: tuple[str, ...]
    question: SeparatingMark | None
    hits: tuple[ShownMarks, ...]

    def json_values(self) -> dict[str, object]:
        """Return the values of the JSON object, by key."""
        return {
            "marks": [asdict(each) for each in self.marks],
            "unread": self.unread,
            "exclusive": self.exclusive,
            "question": None if self.question is None else asdict(self.question),
            "hits": [asdict(each) for each in self.hits],
        }


@dataclass(frozen=True, slots=True, eq=False)
class _Knowledge:
    """Profiles, and a vector that stands for each of their species."""

    profiles: Profiles
    vectors: Float[np.ndarray, "species dim"]
    fingerprint: str


@final
class HeldItems:
    """The species that the items of a gallery seem to be, by their embeddings alone; looked up anew as it grows.

    Args:
        read_embeddings: Gives embeddings of items, or of a sample of them.
        count_items: Gives the number of items.
    """

    def __init__(
        self, *, read_embeddings: Callable[[], Float[np.ndarray, "item dim"]], count_items: Callable[[], int]
    ) -> None:
        self._read_embeddings = read_embeddings
        self._count_items = count_items
        self._guard = threading.Lock()
        self._known: tuple[object, int, Bool[np.ndarray, " species"]] | None = None

    def list_species(self, vectors: Float[np.ndarray, "species dim"]) -> Bool[np.ndarray, " species"]:
        """Tell of each species whether some item is nearer to its vector than to that of any other.

        Args:
            vectors: The same ones, as an object, give the same answer until the number of items has changed by a tenth.
        """
        count = self._count_items()
        with self._guard:
            if self._known is None or self._known[0] is not vectors or abs(count - self._known[1]) > count / _GROWTH:
                rows = self._read_embeddings()
                is_held = np.zeros(len(vectors), dtype=bool)
                for start in range(0, len(rows), _ROWS_AT_ONCE):
                    is_held[(rows[start : start + _ROWS_AT_ONCE] @ vectors.T).argmax(axis=1)] = True
                self._known = vectors, count, is_held
            return self._known[2]


def sample_held(index: SegmentIndex) -> HeldItems:
    """Return what the items of a store seem to be; of a large one, a sample of them. Texts are left out."""

    def read() -> Float[np.ndarray, "item dim"]:
        media = frozenset(Medium) - {Medium.TEXT}
        ids = [each.item.item_id for page in iterate_pages(index, where=Filter(media=media)) for each in page]
        if len(ids) > _SAMPLE:
            ids = np.random.default_rng(0).permutation(ids)[:_SAMPLE].tolist()
        stored = index.embeddings(Filter(item_ids=frozenset(ids))) if ids else None
        return np.zeros((0, index.dim)) if stored is None else stored.embedding.astype(np.float64)

    return HeldItems(read_embeddings=read, count_items=index.item_count)


@final
class DescriptionReader:
    """Reads descriptions by the profiles of marks that a gallery has; without such a file it leaves texts as they are.

    A species fits a text by the product of the probabilities of its marks. The mean of the vectors that stand for the
    species, weighted by their fit, is where the text moves to. Safe to use from several threads.

    Args:
        place: Of a gallery, or the folder of a run, which keep the profiles in a file of the same name.
        list_known: Gives the names of species that the encoders know.
        held: The items that a text may find: only species that some of them seem to be are fitted. None for any.
    """

    def __init__(
        self,
        place: GalleryPlace,
        *,
        encoder: QueryEncoder,
        list_known: Callable[[], KnownNames],
        held: HeldItems | None = None,
    ) -> None:
        self._files = open_files(place)
        self._encoder = encoder
        self._list_known = list_known
        self._held = held
        self._guard = threading.Lock()
        self._read: tuple[object, _Knowledge | None] = ((), None)

    def read_fingerprint(self) -> str:
        """Return what changes with the profiles; empty where there are none."""
        knowledge = self._load()
        return "" if knowledge is None else knowledge.fingerprint

    def move(self, embedding: Float[np.ndarray, " dim"], text: str) -> Float[np.ndarray, " dim"]:
        """Return the embedding of a text of few words, moved towards the species that its marks fit; of length 1."""
        knowledge = None if len(text.split()) > _FEW_WORDS else self._load()
        if knowledge is None:
            return embedding
        direction = self._find_direction(knowledge, read_marks(text))
        if direction is None:
            return embedding
        total = embedding + _WEIGHT * direction
        moved: Float[np.ndarray, " dim"] = (total / np.linalg.norm(total)).astype(embedding.dtype)
        return moved

    def answer(
        self,
        text: str,
        *,
        item_ids: Sequence[str],
        read_embeddings: Callable[[Sequence[str]], Mapping[str, Float[np.ndarray, " dim"]]],
    ) -> DescriptionAnswer | None:
        """Return what was read in a text, and which of it some hits show; None where no profile is known.

        Args:
            read_embeddings: Gives the embeddings of items by their ids; of none that is missing, hits tell nothing.
        """
        knowledge = self._load()
        if knowledge is None:
            return None
        reading = read_marks(text)
        hits: tuple[ShownMarks, ...] = ()
        question = None
        if reading.marks:
            weight = self._weigh_species(knowledge, reading)
            question = find_separating_mark(knowledge.profiles.share, weight=weight, asked=reading.marks)
            embeddings = read_embeddings(item_ids) if item_ids else {}
            present = [item_id for item_id in item_ids if item_id in embeddings]
            if present:
                rows = np.stack([embeddings[item_id] for item_id in present])
                hits = tuple(self._tell(knowledge, reading, present, rows))
        return DescriptionAnswer(
            marks=tuple(AskedMark(str(each), each.words, each.is_denied) for each in reading.marks),
            unread=reading.unread,
            exclusive=tuple(map(str, reading.exclusive)),
            question=question,
            hits=hits,
        )

    def _find_direction(self, knowledge: _Knowledge, reading: Reading) -> Float[np.ndarray, " dim"] | None:
        if not reading.marks:
            return None
        total = self._weigh_species(knowledge, reading) @ knowledge.vectors
        length = float(np.linalg.norm(total))
        return total / length if length > 0 else None

    def _weigh_species(self, knowledge: _Knowledge, reading: Reading) -> Float[np.ndarray, " species"]:
        """Return how well each species fits, to the sum of 1; nothing for those that no item seems to be."""
        fit = knowledge.profiles.measure_fit(reading.marks) / _TEMPERATURE
        is_held = None if self._held is None else self._held.list_species(knowledge.vectors)
        if is_held is not None and is_held.any():
            fit = np.where(is_held, fit, -np.inf)
        weight = np.exp(fit - fit.max())
        normal: Float[np.ndarray, " species"] = weight / weight.sum()
        return normal

    def _tell(
        self, knowledge: _Knowledge, reading: Reading, item_ids: Sequence[str], embedding: Float[np.ndarray, "item dim"]
    ) -> Sequence[ShownMarks]:
        """Return which marks each item shows, by the species that it seems to be."""
        likely = _SHARPNESS * (embedding @ knowledge.vectors.T)
        likely = np.exp(likely - likely.max(axis=1, keepdims=True))
        likely /= likely.sum(axis=1, keepdims=True)
        names = [str(each) for each in reading.marks]
        chances = likely @ np.stack([knowledge.profiles.measure_chance(each) for each in reading.marks], axis=1)
        sources: dict[tuple[int, int], tuple[str, ...]] = {}
        shown = []
        for item_id, best, own in zip(item_ids, likely.argmax(axis=1).tolist(), chances, strict=True):
            shows = np.flatnonzero(own >= _SHOWN).tolist()
            for at in shows:
                if (best, at) not in sources:
                    marks = reading.marks[at].marks
                    sources[best, at] = tuple(s for m in marks for s in knowledge.profiles.name_sources(best, m))
            told = dict.fromkeys(source for at in shows for source in sources[best, at])
            lacks = tuple(names[at] for at in np.flatnonzero(own < _LACKED).tolist())
            species = knowledge.profiles.names[best][0]
            shown.append(ShownMarks(item_id, species, tuple(names[at] for at in shows), lacks, tuple(told)))
        return shown

    def _load(self) -> _Knowledge | None:
        stamp = self._files.read_stamp(GalleryFile.MARKS)
        with self._guard:
            if self._read[0] != stamp or self._read[0] == ():
                self._read = stamp, None if stamp is None else self._make()
            return self._read[1]

    def _make(self) -> _Knowledge | None:
        path = self._files.find(GalleryFile.MARKS)
        tallies = read_tallies(path)
        if path is None or not tallies:
            return None
        profiles = gather(tallies, known=self._list_known()).profiles
        trained = frozenset(self._encoder.class_names)
        vectors = [self._embed(names, trained) for names in profiles.names]
        dim = next((len(each) for each in vectors if each is not None), None)
        if dim is None:
            return None
        rows = [np.zeros(dim) if each is None else each for each in vectors]
        fingerprint = hashlib.sha256(path.read_bytes()).hexdigest()
        return _Knowledge(profiles, np.stack(rows).astype(np.float64), fingerprint)

    def _embed(self, names: Sequence[str], trained: frozenset[str]) -> Float[np.ndarray, " dim"] | None:
        """Return the vector that stands for a species; as a class where the model was trained on it."""
        name = next((each for each in names if each in trained), names[0])
        return self._encoder.embed_class_name(name, other_names=tuple(each for each in names if each not in trained))
