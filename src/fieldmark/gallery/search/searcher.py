"""One search over a store: queries in, a ranked list and an open-set answer out."""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from fieldmark.errors import OutOfRangeError, RequestError
from fieldmark.gallery.search.calibration import CERTAIN, ScoreCalibration
from fieldmark.gallery.search.fusion import Candidates, combine_logits, rank_candidates, rank_medium, score_hits
from fieldmark.gallery.search.open_set import DEPTH as OPEN_SET_DEPTH
from fieldmark.gallery.search.open_set import THRESHOLD, BestItems, OpenSetEvidence, answer_open_set, weigh_evidence
from fieldmark.gallery.search.query import ItemId, Query, QueryEmbedding, QueryEncoder, QueryReader, mean_embedding
from fieldmark.gallery.search.result import MarkedItems, OpenSetAnswer, SearchResult
from fieldmark.gallery.store import Comparison, Filter, SegmentIndex
from fieldmark.types import MEDIA, Hit, Item, Medium

_MARGIN_DEPTH = 30
"""Hits of each medium that are looked at, so that the nearest other class is mostly among them."""

Value = TypeVar("Value")
_HitsByMedium = Mapping[Medium, tuple[Hit, ...]]


@dataclass(frozen=True, slots=True)
class _ComparedQuery:
    """A positive query and the store, compared with it once.

    Args:
        found: Its nearest hits of each medium that the search wants.
    """

    query: QueryEmbedding
    comparison: Comparison
    found: _HitsByMedium


class Searcher:
    """Searches a gallery with any medium.

    Args:
        folder: Of the gallery.
        index: Its store.
        encoder: The model that its embeddings come from.
        calibration: May be replaced while the searcher is in use.
    """

    def __init__(
        self, folder: Path, *, index: SegmentIndex, encoder: QueryEncoder, calibration: ScoreCalibration
    ) -> None:
        self.folder = folder
        self.index = index
        self.calibration = calibration
        self._reader = QueryReader(folder, store=index, encoder=encoder)
        self._media_of: tuple[object, Mapping[str, Collection[Medium]]] = ((), {})

    def search(  # noqa: PLR0913 - each option is one that CLI and API offer
        self,
        query: Query | Sequence[Query],
        *,
        k: int = 10,
        media: Collection[Medium] = (),
        where: Filter | None = None,
        by_segment: bool = False,
        per_medium: bool = False,
        marks: MarkedItems | None = None,
    ) -> SearchResult:
        """Return the `k` items that are most likely of the query's class, each with its best segment.

        Hits of all media stand in one list, by probability; from 99 % on, where probabilities no longer separate them,
        the media take turns. Where the gallery has too few labels for probabilities, hits are ordered by how far their
        scores lie above what is usual for the two media.

        Args:
            query: A path, a text (one that names an existing file is that file), an item, the id of an item of the
                gallery, which is then no hit itself, or several of these that show one class.
            media: Only hits of these; none for all.
            where: Which items may be hits; None for all.
            by_segment: Whether every segment may be a hit, so that an item may come more than once.
            per_medium: Whether to return `k` hits of each medium.
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
        class_name = self._reader.find_class(queries)
        named = None if class_name is None else self._reader.encode_name(class_name)
        asked = [named] if named is not None else [self._reader.encode(each) for each in queries]
        encoded_at = time.perf_counter()
        where = _narrow(where or Filter(), media=media, asked={e.item_id for e in queries if isinstance(e, ItemId)})
        embeddings = [*asked, *self._read_marks(marks or MarkedItems())]
        depth = max(k, _MARGIN_DEPTH)
        compared = [
            self._compare(each, where=where, depth=depth, by_segment=by_segment)
            for each in embeddings
            if not each.is_negative
        ]
        candidates = self._rank_media(embeddings, [each.found for each in compared], by_segment=by_segment)
        if class_name is not None:
            only = replace(where, class_names=_intersect(where.class_names, {class_name}))
            labelled = [_find(each.comparison, where=only, depth=k, by_segment=by_segment) for each in compared]
            first = self._rank_media(embeddings, labelled, by_segment=by_segment)
            candidates = [each.append(more) for each, more in zip(first, candidates, strict=True)]
        compared = compared[: len(asked)]  # marked items say what is relevant, not what was asked
        completed = self._add_look_alikes(candidates, compared, where=where)
        hits = rank_candidates(completed, k=k, per_medium=per_medium, class_name=class_name)
        return SearchResult(
            media=tuple(each.medium for each in asked),
            hits=hits,
            collection=self._answer_named(class_name)
            or self._answer_open_set(compared, hits=hits, where=where, by_segment=by_segment),
            class_name=class_name,
            encode_seconds=encoded_at - started,
            rank_seconds=time.perf_counter() - encoded_at,
        )

    def _read_marks(self, marks: MarkedItems) -> list[QueryEmbedding]:
        """Return marked items as further queries, the relevant ones first."""
        relevant, irrelevant = sorted(marks.relevant), sorted(marks.irrelevant)
        if not relevant and not irrelevant:
            return []
        stored = self._reader.read_stored([*relevant, *irrelevant])
        negative = [replace(stored[item_id], is_negative=True) for item_id in irrelevant]
        return [stored[item_id] for item_id in relevant] + negative

    def _compare(self, query: QueryEmbedding, *, where: Filter, depth: int, by_segment: bool) -> _ComparedQuery:
        comparison = self.index.compare(query.embedding)
        return _ComparedQuery(query, comparison, _find(comparison, where=where, depth=depth, by_segment=by_segment))

    def _rank_media(
        self, queries: Sequence[QueryEmbedding], found: Sequence[_HitsByMedium], *, by_segment: bool
    ) -> list[Candidates]:
        """Return the candidates of each medium.

        Args:
            found: The hits of each positive query.
        """
        scored = score_hits(self.index, queries, found=found, by_segment=by_segment)
        return [
            rank_medium(hits, score, queries=queries, medium=medium, calibration=self.calibration)
            for medium, (hits, score) in scored.items()
        ]

    def _add_look_alikes(
        self, candidates: Sequence[Candidates], compared: Sequence[_ComparedQuery], *, where: Filter
    ) -> list[Candidates]:
        """Add the nearest item of another class where all candidates of a medium are of one class."""
        completed = []
        comparison, length = None, 1.0
        for each in candidates:
            classes = {hit.class_name for hit in each.hits} - {None}
            if len(classes) != 1:
                completed.append(each)
                continue
            if comparison is None:
                comparison, length = self._compare_mean(compared)
            [name] = classes
            only = replace(where, media=frozenset({each.medium}), class_names=None)
            other = comparison.find_other_class(str(name), where=only)
            others = () if other is None else (other._replace(score=other.score * length),)
            completed.append(replace(each, others=others))
        return completed

    def _compare_mean(self, compared: Sequence[_ComparedQuery]) -> tuple[Comparison, float]:
        """Compare the mean of the queries; also return its length, so that scores are the mean of the queries' own."""
        if len(compared) == 1:
            return compared[0].comparison, 1.0
        rows = np.stack([each.query.embedding for each in compared])
        return self.index.compare(mean_embedding(rows)), float(np.linalg.norm(rows.mean(axis=0)))

    def _answer_named(self, class_name: str | None) -> OpenSetAnswer | None:
        """Tell whether the gallery holds a named class; None where no class is named, or labels cannot tell."""
        if class_name is None:
            return None
        held = {count.class_name for count in self.index.counts()}
        is_known = class_name in held or None not in held
        return OpenSetAnswer(float(class_name in held), THRESHOLD) if is_known else None

    def _answer_open_set(
        self, compared: Sequence[_ComparedQuery], *, hits: Sequence[Hit], where: Filter, by_segment: bool
    ) -> OpenSetAnswer | None:
        """Tell whether the whole gallery, whatever the search was narrowed to, holds the class of the queries.

        Args:
            hits: Of the search; the answer contradicts none that is nearly certain.
        """
        everywhere = Filter(exclude_item_ids=where.exclude_item_ids)
        is_whole = not by_segment and replace(where, media=None) == everywhere
        found = []
        for each in compared:
            query = each.query
            if not query.is_calibrated:
                continue
            nearest = dict(each.found) if is_whole else {}
            missing = replace(everywhere, media=frozenset(MEDIA).difference(nearest))
            nearest |= _find(each.comparison, where=missing, depth=OPEN_SET_DEPTH, by_segment=False)
            evidence = self._weigh_evidence(query, nearest)
            if evidence is not None:
                found.append(evidence)
        return answer_open_set(found, has_certain_hit=any((hit.probability or 0) >= CERTAIN for hit in hits))

    def _weigh_evidence(self, query: QueryEmbedding, found: _HitsByMedium) -> OpenSetEvidence | None:
        """Return what a query's nearest hits of each medium say of its class; None where none has log-odds."""
        best = {}
        for medium in MEDIA:
            nearest = found[medium][:OPEN_SET_DEPTH]
            score = np.array([[hit.score for hit in nearest]])
            logit = combine_logits(score, queries=[query], medium=medium, calibration=self.calibration)
            if logit is not None and logit.size:
                best[medium] = BestItems(logit, [hit.class_name for hit in nearest])
        return weigh_evidence(best, query=query, calibration=self.calibration, media_of=self._find_media_of_classes())

    def _find_media_of_classes(self) -> Mapping[str, Collection[Medium]]:
        """Return the media in which the gallery holds items of each class."""
        counts = self.index.counts()
        if self._media_of[0] is not counts:
            media_of: dict[str, set[Medium]] = {}
            for count in counts:
                if count.class_name is not None:
                    media_of.setdefault(count.class_name, set()).add(count.medium)
            self._media_of = counts, media_of
        return self._media_of[1]


def _find(comparison: Comparison, *, where: Filter, depth: int, by_segment: bool) -> dict[Medium, tuple[Hit, ...]]:
    """Return the nearest hits of each medium that a filter lets pass."""
    return {
        medium: comparison.find_nearest(k=depth, where=replace(where, media=frozenset({medium})), by_segment=by_segment)
        for medium in MEDIA
        if where.media is None or medium in where.media
    }


def _narrow(where: Filter, *, media: Collection[Medium], asked: Collection[str]) -> Filter:
    """Return a filter that also keeps to some media and excludes the items that are asked with."""
    if media:
        where = replace(where, media=_intersect(where.media, media))
    excluded = (where.exclude_item_ids or frozenset()) | frozenset(asked)
    return replace(where, exclude_item_ids=excluded) if asked else where


def _intersect(first: frozenset[Value] | None, second: Collection[Value]) -> frozenset[Value]:
    return frozenset(second) if first is None else first & frozenset(second)
