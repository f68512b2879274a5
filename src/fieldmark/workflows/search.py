"""The verb `search`: a gallery opened with the model it was built with, asked with any medium."""

import re
import time
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar, final

import numpy as np
from jaxtyping import Float

from fieldmark.build import Model, load_model
from fieldmark.embedding import encode_item, project, read_words
from fieldmark.errors import (
    DamagedGalleryError,
    MediaError,
    MissingFileError,
    MissingGalleryError,
    OutOfRangeError,
    RequestError,
    UnknownItemError,
)
from fieldmark.gallery.exact import Recent
from fieldmark.gallery.lance import LanceIndex
from fieldmark.gallery.search.calibration_file import read_judgment
from fieldmark.gallery.search.candidates import Candidates, find_candidates
from fieldmark.gallery.search.fitting import Judgment
from fieldmark.gallery.search.fusion import Voice
from fieldmark.gallery.search.open_set import DEPTH as EVIDENCE_DEPTH
from fieldmark.gallery.search.open_set import THRESHOLD, answer, evidence
from fieldmark.gallery.search.ordering import rank_candidates
from fieldmark.gallery.search.result import CollectionAnswer, Marks, SearchResult
from fieldmark.gallery.store import Filter, SegmentIndex
from fieldmark.media.loaders import detect_medium, hash_content
from fieldmark.models.shared_space import SharedSpace
from fieldmark.runtime import Runtime
from fieldmark.types import MEDIA, Item, Medium
from fieldmark.workflows.judge import JUDGMENT_NAME
from fieldmark.workflows.names import SPECIES_NAME, class_named, read_species

CHECKPOINT_NAME = "checkpoint.safetensors"
SEGMENTS_NAME = "segments"


LONGEST_NAME = 100
"""Characters of a text that may be the name of a class."""
KEPT_QUERIES = 64
"""Queries whose embeddings are remembered: a person who narrows or marks what was found asks with the same again."""
KEPT_BYTES = 128 * 1024**2
"""A larger file is not remembered: to know it again, all of it would have to be read."""
MARGIN_DEPTH = 30
"""Hits of each medium that are looked at, so that the nearest other class is mostly among them."""

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class ItemId:
    """The id of an item of the gallery, as a query for more like it."""

    item_id: str


Query = Path | str | Item | ItemId


@final
class Gallery:
    """A gallery on disk, and the model that its embeddings come from.

    Example:
        >>> Gallery.open("birds.gallery").search("song.ogg", k=10)  # doctest: +SKIP
    """

    def __init__(self, folder: Path, *, index: SegmentIndex, model: Model, judgment: Judgment) -> None:
        self.folder = folder
        self.index = index
        self.model = model
        self.judgment = judgment
        self._names: tuple[int, Mapping[str, tuple[str, ...]]] | None = None
        self._heard: Recent[str, Voice] = Recent(kept=KEPT_QUERIES)

    @classmethod
    def open(cls, folder: Path | str, *, runtime: Runtime | None = None) -> "Gallery":
        """The gallery in a folder.

        Raises:
            MissingGalleryError: The folder holds no gallery.
            DamagedGalleryError: A part of it is missing or broken.
            GalleryError: Its checkpoint is not the one it was built with.
        """
        folder, runtime = Path(folder), runtime or Runtime.from_environment()
        if not (folder / SEGMENTS_NAME).is_dir():
            raise MissingGalleryError(path=folder)
        if not (folder / CHECKPOINT_NAME).is_file():
            raise DamagedGalleryError(path=folder, reason=f"'{CHECKPOINT_NAME}' is missing")
        model = load_model(folder / CHECKPOINT_NAME, device=runtime.torch_device())
        try:
            index = LanceIndex.open(folder / SEGMENTS_NAME, fingerprint=model.fingerprint)
        except MissingGalleryError as error:
            raise MissingGalleryError(path=folder) from error
        return cls(folder, index=index, model=model, judgment=read_judgment(folder / JUDGMENT_NAME))

    def search(  # noqa: PLR0913 - each option is one that the faces offer
        self,
        query: Query | Sequence[Query],
        *,
        k: int = 10,
        media: Collection[Medium] = (),
        where: Filter | None = None,
        by_segment: bool = False,
        per_medium: bool = False,
        marks: Marks | None = None,
    ) -> SearchResult:
        """The `k` items that are most likely of the query's class, each with its best segment.

        Hits of all media stand in one list, by their probability; from 99 % on, where they tell no more apart, the
        media take turns. Where the gallery has too few labels for probabilities, by how far their scores lie above
        what is usual for the two media.

        Args:
            query: A path, a text (one that names an existing file is that file), an item, the id of an item of the
                gallery, which is then no hit itself, or several of these that show one class.
            media: Only hits of these; none for all.
            where: Which items may be hits; None for all.
            by_segment: Whether every segment may be a hit, so that an item may come more than once.
            per_medium: Whether there are `k` hits of each medium.
            marks: Items of the gallery that a person found right or wrong; the ranking follows them.

        Raises:
            OutOfRangeError: k is below 1.
            RequestError: The sequence of queries is empty.
            MediaError: A query cannot be read.
            MediumNotSupportedError: The gallery's model takes no query of this medium.
            UnknownItemError: The gallery has no item of an id.
        """
        if k < 1:
            raise OutOfRangeError(name="k", got=k, smallest=1, largest=self.index.item_count(), kind="cutoff")
        queries = (query,) if isinstance(query, str | Path | Item | ItemId) else tuple(query)
        if not queries:
            raise RequestError(
                "The search has no query; it needs one or more. Give a file, a text or the id of an item.",
                kind="no_query",
            )
        started = time.perf_counter()
        class_name = self._class_named(queries)
        named = None if class_name is None else self._named_voice(class_name)
        voices = [named] if named is not None else [self._voice(each) for each in queries]
        heard_at = time.perf_counter()
        where = _narrowed(where or Filter(), media=media, asked={e.item_id for e in queries if isinstance(e, ItemId)})
        heard = [*voices, *self._marked(marks or Marks())]
        candidates = self._candidates(heard, where=where, depth=max(k, MARGIN_DEPTH), by_segment=by_segment)
        if class_name is not None:
            only = replace(where, class_names=_both(where.class_names, {class_name}))
            labelled = self._candidates(heard, where=only, depth=k, by_segment=by_segment)
            candidates = [_joined(first, then) for first, then in zip(labelled, candidates, strict=True)]
        candidates = [self._with_look_alike(each, voices, where=where) for each in candidates]
        return SearchResult(
            media=tuple(voice.medium for voice in voices),
            hits=rank_candidates(candidates, k=k, per_medium=per_medium, class_name=class_name),
            collection=self._collection(voices, exclude=where.exclude_item_ids, class_name=class_name),
            class_name=class_name,
            encode_seconds=heard_at - started,
            rank_seconds=time.perf_counter() - heard_at,
        )

    def _voice(self, query: Query) -> Voice:
        """A query, heard by the network, or remembered by its content."""
        if isinstance(query, ItemId):
            return self._stored_voices([query.item_id])[query.item_id]
        item = _item_of(query)
        if not _is_small(item):
            return self._hear(item)
        return self._heard.get(hash_content(item), lambda: self._hear(item))

    def _hear(self, item: Item) -> Voice:
        embedding, _ = project(encode_item(item, model=self.model), medium=item.medium, network=self.model.network)
        mean = _mean(embedding)
        mean.setflags(write=False)
        return Voice(item.medium, mean, word_count=self._word_count(item))

    def _named_voice(self, class_name: str) -> Voice | None:
        """What speaks for a species by its name alone; None where the network has no place for it."""
        network, class_names = self.model.network, self.model.class_names
        if not isinstance(network, SharedSpace):
            return None
        label = class_names.index(class_name) if class_name in class_names else None
        embedding = network.embed_name(class_name, label=label)
        # A class that was trained lies as near to its items as a text that describes it well; another lies farther.
        return (
            None
            if embedding is None
            else Voice(Medium.TEXT, embedding.numpy(force=True), is_calibrated=label is not None)
        )

    def _stored_voices(self, item_ids: Collection[str]) -> dict[str, Voice]:
        """Items of the gallery that speak, by id, read together."""
        stored = self.index.embeddings(Filter(item_ids=frozenset(item_ids)))
        rows_of: dict[str, list[int]] = defaultdict(list)
        for row, item in enumerate(stored.items):
            rows_of[item.item_id].append(row)
        for item_id in item_ids:
            if item_id not in rows_of:
                raise UnknownItemError(item_id=item_id, gallery=self.folder)
        return {
            item_id: Voice(
                stored.items[rows[0]].medium,
                _mean(stored.embedding[rows]),
                word_count=self._word_count(stored.items[rows[0]]),
            )
            for item_id, rows in rows_of.items()
        }

    def _word_count(self, item: Item) -> int | None:
        """Of a text; None for other media, and for a text whose file is gone."""
        if item.medium is not Medium.TEXT:
            return None
        try:
            return len(read_words(item, limits=self.model.limits))
        except MediaError:
            return None

    def _marked(self, marks: Marks) -> list[Voice]:
        relevant, irrelevant = sorted(marks.relevant), sorted(marks.irrelevant)
        if not relevant and not irrelevant:
            return []
        voices = self._stored_voices([*relevant, *irrelevant])
        against = [replace(voices[item_id], is_against=True) for item_id in irrelevant]
        return [voices[item_id] for item_id in relevant] + against

    def _class_named(self, queries: Sequence[Query]) -> str | None:
        """The class, or the species that encoders know, that a single short text names."""
        query = _text_of(queries[0])
        if len(queries) > 1 or query is None or len(query) > LONGEST_NAME:
            return None
        held = {name for name in self._held_names() if name is not None}
        class_names = sorted(held | set(self.model.class_names))
        return class_named(query, folder=self.folder, class_names=class_names, species=self._species())

    def _species(self) -> Mapping[str, tuple[str, ...]]:
        """The names that the gallery's encoders know; read again where an `index` has added some."""
        try:
            stamp = (self.folder / SPECIES_NAME).stat().st_mtime_ns
        except OSError:
            return {}
        if self._names is None or self._names[0] != stamp:
            self._names = stamp, read_species(self.folder)
        return self._names[1]

    def _held_names(self) -> set[str | None]:
        """The class names of the gallery's items; None where some have none."""
        return {count.class_name for count in self.index.counts()}

    def _candidates(self, voices: Sequence[Voice], *, where: Filter, depth: int, by_segment: bool) -> list[Candidates]:
        return [
            find_candidates(
                self.index,
                voices,
                calibration=self.judgment.calibration,
                medium=medium,
                where=where,
                depth=depth,
                by_segment=by_segment,
            )
            for medium in MEDIA
            if where.media is None or medium in where.media
        ]

    def _with_look_alike(self, candidates: Candidates, voices: Sequence[Voice], *, where: Filter) -> Candidates:
        """Looks for the nearest item of another class where all candidates of a medium are of one."""
        found = {hit.class_name for hit in candidates.hits} - {None}
        held = self._held_names() - {None} if len(found) == 1 else set()
        names = frozenset(name for name in held - found if name is not None)
        if not names:
            return candidates
        mean = _mean(np.stack([voice.embedding for voice in voices]))
        only = replace(where, media=frozenset({candidates.medium}), class_names=names)
        [*others] = self.index.search(mean, k=1, where=only)
        length = float(np.linalg.norm(np.mean([voice.embedding for voice in voices], axis=0)))
        return replace(candidates, others=tuple(hit._replace(score=hit.score * length) for hit in others))

    def _collection(
        self, voices: Sequence[Voice], *, exclude: frozenset[str] | None, class_name: str | None
    ) -> CollectionAnswer | None:
        """Whether the whole gallery, whatever the search was narrowed to, holds the class of the queries."""
        if class_name is not None:
            names = self._held_names()
            if class_name in names or None not in names:
                return CollectionAnswer(float(class_name in names), THRESHOLD)
        found = []
        for voice in voices:
            curve = self.judgment.holding(voice.medium, word_count=voice.word_count)
            if curve is None or not voice.is_calibrated:
                continue
            everywhere = self._candidates(
                [voice], where=Filter(exclude_item_ids=exclude), depth=EVIDENCE_DEPTH, by_segment=False
            )
            known = {each.medium: each.logit for each in everywhere if each.logit is not None}
            value = evidence(known, medium=voice.medium)
            if value is not None:
                found.append((value, curve))
        return answer(found)


def _narrowed(where: Filter, *, media: Collection[Medium], asked: Collection[str]) -> Filter:
    """A filter that also keeps to some media and leaves out the items that are asked with."""
    if media:
        where = replace(where, media=_both(where.media, media))
    return (
        replace(where, exclude_item_ids=(where.exclude_item_ids or frozenset()) | frozenset(asked)) if asked else where
    )


def _both(first: frozenset[Value] | None, second: Collection[Value]) -> frozenset[Value]:
    return frozenset(second) if first is None else first & frozenset(second)


def _joined(first: Candidates, then: Candidates) -> Candidates:
    """The candidates of one medium from two searches of the same voices, each once."""
    there = {(hit.item_id, hit.start_seconds) for hit in first.hits}
    kept = [place for place, hit in enumerate(then.hits) if (hit.item_id, hit.start_seconds) not in there]
    return Candidates(
        first.medium,
        (*first.hits, *(then.hits[place] for place in kept)),
        np.concatenate([first.score, then.score[kept]]),
        None if first.logit is None or then.logit is None else np.concatenate([first.logit, then.logit[kept]]),
        None
        if first.standard is None or then.standard is None
        else np.concatenate([first.standard, then.standard[kept]]),
    )


def _mean(embedding: Float[np.ndarray, "row dim"]) -> Float[np.ndarray, " dim"]:
    """An item's embedding, from its segments'."""
    mean = embedding.mean(axis=0)
    unit: Float[np.ndarray, " dim"] = mean / np.linalg.norm(mean)
    return unit


def _item_of(query: Path | str | Item) -> Item:
    """The query as an item: a file where there is one, a text otherwise."""
    if isinstance(query, Item):
        return query
    path = Path(query)
    if _is_file(path):
        return Item(item_id=str(query), medium=detect_medium(path), path=path)
    if isinstance(query, Path) or _looks_like_path(query):
        raise MissingFileError(path=query)
    return Item(item_id="query", medium=Medium.TEXT, text=query)


def _is_small(item: Item) -> bool:
    """Whether its content is soon hashed: a text, or one file of some size."""
    if item.text is not None:
        return True
    try:
        return item.path is not None and item.form is None and item.path.stat().st_size <= KEPT_BYTES
    except (OSError, ValueError):
        return False  # what is wrong with it is told where it is decoded


def _text_of(query: Query) -> str | None:
    """The words of a query that is a text; None for all others."""
    if isinstance(query, Item):
        return query.text if query.medium is Medium.TEXT else None
    return query if isinstance(query, str) and not _is_file(Path(query)) else None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False  # a long text, or one with a zero byte, is no path


def _looks_like_path(query: str) -> bool:
    """Whether a text without spaces ends like a file name or holds a folder, so that a typing error is not searched."""
    return not any(map(str.isspace, query)) and ("/" in query or bool(re.fullmatch(r".*\.[A-Za-z0-9]{2,5}", query)))
