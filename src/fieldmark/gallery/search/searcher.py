"""One search over a store: queries in, a ranked list and an open-set answer out."""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from jaxtyping import Float, Int

from fieldmark.errors import OutOfRangeError, RequestError, UnknownItemError, list_first, suggest_nearest
from fieldmark.gallery.layout import GalleryLayout
from fieldmark.gallery.search.agreement import NameAgreement
from fieldmark.gallery.search.calibration import CERTAIN, CalibrationFile, ScoreCalibration
from fieldmark.gallery.search.called import answer_called, call_hits, compute_chances
from fieldmark.gallery.search.description import DescriptionAnswer, DescriptionReader, sample_held
from fieldmark.gallery.search.fusion import (
    Candidates,
    combine_logits,
    combine_scores,
    find_best_by_class,
    find_near_vector,
    list_hits,
    rank_candidates,
)
from fieldmark.gallery.search.name_index import NamedSpecies
from fieldmark.gallery.search.open_set import DEPTH as OPEN_SET_DEPTH
from fieldmark.gallery.search.open_set import THRESHOLD, BestItems, OpenSetEvidence, answer_open_set, weigh_evidence
from fieldmark.gallery.search.query import ItemId, Query, QueryEmbedding, QueryEncoder, QueryReader
from fieldmark.gallery.search.records import HitOrder, gather_records, look_up, sort_hits
from fieldmark.gallery.search.result import MarkedItems, OpenSetAnswer, SearchResult
from fieldmark.gallery.store import Comparison, Filter, ScoredItems, SegmentIndex
from fieldmark.records.licenses import list_license_forms
from fieldmark.types import MEDIA, Hit, Item, Medium, Reporter

_MARGIN_DEPTH = 30
"""Hits of each medium that are looked at, so that the nearest other class is mostly among them."""

Value = TypeVar("Value")
_HitsByMedium = Mapping[Medium, tuple[Hit, ...]]


_LOOKED_UP_QUERIES = 8
"""Media of a record with which items like it are asked for."""
_RECORD_MEDIA = 4
"""Hits that are ranked for each record that is wanted: one has several media."""


@dataclass(frozen=True, slots=True)
class _Request:
    """A search as it was asked for."""

    queries: tuple[Query, ...]
    k: int
    where: Filter
    marks: MarkedItems


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The hits that a search wants.

    Args:
        named: The class or species that the query names; None for none.
        wrong: Items that were marked wrong.
    """

    k: int
    where: Filter
    by_segment: bool
    named: NamedSpecies | None
    wrong: frozenset[str]

    @property
    def media(self) -> list[Medium]:
        """The media that hits may be of."""
        return [medium for medium in MEDIA if self.where.media is None or medium in self.where.media]

    def list_filters(self, medium: Medium) -> list[Filter]:
        """Return the conditions on hits of a medium; the same for those of the named class; the same for any class."""
        where = replace(self.where, media=frozenset({medium}))
        class_name = None if self.named is None else self.named.class_name
        named = [] if class_name is None else [_intersect(where.class_names, {class_name})]
        return [where, *(replace(where, class_names=names) for names in [*named, None])]


@dataclass(frozen=True, slots=True)
class _ComparedQuery:
    """A query that was asked, and the store compared with it.

    Args:
        found: Its nearest hits of each medium that the search wants; empty where the search did not need them.
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
        calibration: None takes the one in the folder, and another one as soon as it is written there.
    """

    def __init__(
        self, folder: Path, *, index: SegmentIndex, encoder: QueryEncoder, calibration: ScoreCalibration | None = None
    ) -> None:
        self.folder = folder
        self.index = index
        self._calibration_file = CalibrationFile(folder, calibration)
        self._encoder = encoder
        self._descriptions = DescriptionReader(
            GalleryLayout(folder).marks,
            encoder=encoder,
            list_known=lambda: self._reader.read_names().meanings.known,
            held=sample_held(index),
        )
        self._reader = QueryReader(folder, store=index, encoder=encoder, mover=self._descriptions)
        self._agreement = NameAgreement(index, encoder=encoder)
        self._media_of: tuple[object, Mapping[str, Collection[Medium]]] = ((), {})

    @property
    def calibration(self) -> ScoreCalibration:
        """The calibration of scores as probabilities, as the last `index` fitted it."""
        return self._calibration_file.read()

    def check_names(self, where: Filter) -> None:
        """Check that the gallery holds the classes, sets and licenses that a filter names.

        Raises:
            RequestError: It does not hold one of them; the message names the nearest.
        """
        counts = self.index.counts()
        forms = {form for each in counts if each.license for form in list_license_forms(each.license)}
        licenses = {name for name in where.licenses or () if forms.isdisjoint(list_license_forms(name))}
        for noun, missing, held in (
            ("class", where.class_names, {each.class_name for each in counts}),
            ("set", where.set_names, {each.set_name for each in counts}),
            ("license", licenses, {each.license for each in counts}),
        ):
            known = sorted(name for name in held if name)
            for name in sorted(frozenset(missing or ()) - set(known)):
                raise RequestError(
                    f"The gallery has no {noun} '{name[:100]}'; it has {list_first(known) or 'none'}."
                    f"{suggest_nearest(name[:100], known)} Give one that it has.",
                    kind="unknown_name",
                )

    def encode(self, query: Query, *, reporter: Reporter) -> None:
        """Encode a query ahead of its search, which finds it remembered unless it is a file of more than 128 MiB.

        Args:
            reporter: Told how many seconds of a sound or video are encoded; what it raises ends the work.

        Raises:
            MediaError: The query cannot be read.
            MediumNotSupportedError: The gallery's model takes no query of this medium.
        """
        self._reader.encode(query, reporter=reporter)

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
        order: HitOrder | None = None,
        by_record: bool = False,
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
            order: By which the hits are sorted; None for their ranks.
            by_record: Whether `k` records are returned, all hits of each together.

        A text that is the id, the catalog or occurrence number or the file name of an item is answered with that item
        first, then with items like it; one that is a place with the items from there, then as any other text.

        Raises:
            OutOfRangeError: k is below 1.
            RequestError: The sequence of queries is empty, or an item is marked both right and wrong.
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
        marks = marks or MarkedItems()
        marks.check()
        where = where or Filter()
        if media:
            where = replace(where, media=_intersect(where.media, media))
        request = _Request(queries, k=k * _RECORD_MEDIA if by_record else k, where=where, marks=marks)
        result = self._look_up_or_search(request, by_segment=by_segment, per_medium=per_medium)
        hits = gather_records(result.hits, k=k) if by_record else result.hits
        ordered = hits if order is None else sort_hits(hits, order)
        return replace(result, hits=ordered, description=self._describe(request, result=result, hits=ordered))

    def _describe(self, request: "_Request", *, result: SearchResult, hits: Sequence[Hit]) -> DescriptionAnswer | None:
        """Return what was read in a single text that names no species, and which of it the hits show."""
        text = self._reader.get_text(request.queries)
        if text is None or result.class_name is not None or any(hit.matched is not None for hit in hits):
            return None
        return self._descriptions.answer(
            text,
            item_ids=tuple(dict.fromkeys(hit.item_id for hit in hits if hit.medium is not Medium.TEXT)),
            read_embeddings=self._read_embeddings,
        )

    def _read_embeddings(self, item_ids: Sequence[str]) -> Mapping[str, Float[np.ndarray, " dim"]]:
        """Return the embedding of each hit by its id; none where one was removed meanwhile."""
        try:
            stored = self._reader.read_stored(item_ids)
        except UnknownItemError:
            return {}
        return {item_id: each.embedding for item_id, each in stored.items()}

    def _look_up_or_search(self, request: "_Request", *, by_segment: bool, per_medium: bool) -> SearchResult:
        """Return the records that a text stands for, and what is near to them or to it; else what is near alone."""
        text = self._reader.get_text(request.queries)
        match = None if text is None else look_up(self.index, text, where=request.where, limit=request.k)
        if match is None:
            return self._search(request, by_segment=by_segment, per_medium=per_medium)
        found = frozenset(hit.item_id for hit in match.hits)
        queries: tuple[Query, ...] = request.queries
        if match.is_one:
            queries = tuple(ItemId(hit.item_id) for hit in match.hits[:_LOOKED_UP_QUERIES])
        excluded = (request.where.exclude_item_ids or frozenset()) | found
        rest = replace(request, queries=queries, where=replace(request.where, exclude_item_ids=excluded))
        result = self._search(rest, by_segment=by_segment, per_medium=per_medium)
        more = result.hits if per_medium else result.hits[: request.k - len(match.hits)]
        ranked = [hit._replace(rank=rank) for rank, hit in enumerate((*match.hits, *more), start=1)]
        return replace(result, hits=tuple(ranked), collection=None if match.is_one else result.collection)

    def _search(self, request: "_Request", *, by_segment: bool, per_medium: bool) -> SearchResult:
        """Return the hits that are most likely of the class of the queries."""
        queries, k, where, marks = request.queries, request.k, request.where, request.marks
        started = time.perf_counter()
        named = self._reader.find_named(queries)
        name = None if named is None else self._reader.encode_name(named)
        asked = [name] if name is not None else [self._reader.encode(each) for each in queries]
        encoded_at = time.perf_counter()
        where = _exclude(where, {each.item_id for each in queries if isinstance(each, ItemId)})
        where, left_out = self._leave_out_incomparable(where, asked)
        marked = self._read_marks(marks)
        compared = [_ComparedQuery(each, self.index.compare(each.embedding), {}) for each in asked]
        if named is not None and name is not None:
            named = self._agreement.settle(named, names=self._reader.read_names(), comparison=compared[0].comparison)
        wanted = _Wanted(k, where, by_segment, named, wrong=marks.irrelevant)
        if len(asked) == 1 and not marked:
            compared[0], candidates = self._find_candidates(compared[0], wanted)
        else:
            candidates = [self._score_candidates([*asked, *marked], wanted, medium=each) for each in wanted.media]
        hits = rank_candidates(candidates, k=k, per_medium=per_medium)
        if self._encoder.name_weight is not None:
            called = self._reader.read_names().meanings.called
            hits = call_hits(hits, index=self.index, encoder=self._encoder, called=called)
        by_labels = self._answer_named(named)
        by_calls = None if by_labels is not None else self._answer_called(compared, where=where, by_segment=by_segment)
        return SearchResult(
            media=tuple(each.medium for each in asked),
            hits=hits,
            collection=by_labels
            or by_calls
            or self._answer_open_set(compared, hits=hits, where=where, by_segment=by_segment),
            is_called=by_calls is not None and compared[0].query.is_name,
            class_name=None if named is None else named.class_name or named.name,
            species_name=named.name if named is not None and named.is_agreed else None,
            is_by_encoders=self._is_by_encoders(asked, hits),
            left_out=left_out,
            encode_seconds=encoded_at - started,
            rank_seconds=time.perf_counter() - encoded_at,
        )

    def _leave_out_incomparable(
        self, where: Filter, asked: Sequence[QueryEmbedding]
    ) -> tuple[Filter, tuple[Medium, ...]]:
        """Return a filter without media that no query can be compared with, and these media."""
        if self._encoder.name_weight is None:
            return where, ()
        present = {count.medium for count in self.index.counts()}
        left_out = tuple(
            hit
            for hit in MEDIA
            if hit in present
            and (where.media is None or hit in where.media)
            and not any(self._can_compare(each, hit) for each in asked)
        )
        if not left_out:
            return where, ()
        return replace(where, media=frozenset(MEDIA if where.media is None else where.media) - set(left_out)), left_out

    def _can_compare(self, asked: QueryEmbedding, hit: Medium) -> bool:
        """Tell whether a query has anything in common with items of a medium: classes, names, or the encoder."""
        learned = self._encoder.learned_media
        if hit in learned and (asked.medium in learned or asked.is_name) and self._encoder.is_covered(asked.embedding):
            return True
        has_names = asked.is_name or self._encoder.has_names(asked.embedding)
        by_name = has_names and self._encoder.can_compare(None, hit)
        return by_name or (not asked.is_name and self._encoder.can_compare_looks(asked.medium, hit))

    def _is_by_encoders(self, asked: Sequence[QueryEmbedding], hits: Sequence[Hit]) -> bool:
        """Tell whether probabilities of hits are the encoders' own, rather than fitted on labels."""
        if self._encoder.name_weight is None:
            return False
        media = {hit.medium for hit in hits if hit.probability}
        curves = [self.calibration.get_curve(query.medium, medium) for query in asked for medium in media]
        return any(curve is not None and curve.is_overlap for curve in curves)

    def _read_marks(self, marks: MarkedItems) -> list[QueryEmbedding]:
        """Return marked items as further queries, the relevant ones first."""
        relevant, irrelevant = sorted(marks.relevant), sorted(marks.irrelevant)
        if not relevant and not irrelevant:
            return []
        stored = self._reader.read_stored([*relevant, *irrelevant])
        negative = [replace(stored[item_id], is_negative=True) for item_id in irrelevant]
        return [stored[item_id] for item_id in relevant] + negative

    def _find_candidates(self, asked: _ComparedQuery, wanted: _Wanted) -> tuple[_ComparedQuery, list[Candidates]]:
        """Return the nearest items of each medium to a single query, and the query with what it found."""
        depth, comparison, by_segment = max(wanted.k, _MARGIN_DEPTH), asked.comparison, wanted.by_segment
        found = _find(comparison, where=wanted.where, depth=depth, by_segment=by_segment)
        candidates = []
        for medium, nearest in found.items():
            _, *named, of_any_class = wanted.list_filters(medium)
            hits = nearest
            for where in named:
                first = comparison.find_nearest(k=wanted.k, where=where, by_segment=by_segment)
                hits = tuple({(hit.item_id, hit.start_seconds): hit for hit in (*first, *nearest)}.values())
            each = self._make_candidates(list_hits(hits), [asked.query], wanted, medium=medium)
            best = each.best_by_class
            is_rival_known = wanted.where.class_names is None and len({hit.class_name for hit in nearest} - {None}) > 1
            if best and not is_rival_known:
                other = comparison.find_other_class(max(best, key=best.__getitem__), where=of_any_class)
                if other is not None:
                    each = replace(each, best_by_class={**best, str(other.class_name): other.score})
            candidates.append(each)
        return replace(asked, found=found), candidates

    def _score_candidates(self, queries: Sequence[QueryEmbedding], wanted: _Wanted, *, medium: Medium) -> Candidates:
        """Return the items of one medium, scored by several queries and marks."""
        scored = self.index.score_items(
            np.stack([query.embedding for query in queries]),
            near=find_near_vector(queries, medium=medium, calibration=self.calibration),
            k=wanted.k,
            where=tuple(dict.fromkeys(wanted.list_filters(medium))),
            by_segment=wanted.by_segment,
        )
        return self._make_candidates(scored, queries, wanted, medium=medium)

    def _make_candidates(
        self, scored: ScoredItems, queries: Sequence[QueryEmbedding], wanted: _Wanted, *, medium: Medium
    ) -> Candidates:
        """Return scored items of one medium as candidates; items of other classes only count for margins."""
        names, code, allowed = scored.class_names, scored.class_code, wanted.where.class_names
        positive = np.array([not query.is_negative for query in queries])
        best_by_class = find_best_by_class(names, code, score=scored.score[positive].mean(axis=0))
        index = np.arange(len(code))
        if allowed is not None:
            index = np.flatnonzero(np.array([*(name in allowed for name in names), False])[code])
        score = scored.score[:, index].astype(np.float64)
        measures = combine_scores(score, queries=queries, medium=medium, calibration=self.calibration)
        verdict = np.zeros(len(index), dtype=np.int64)
        if wanted.named is not None:
            verdict = np.array([*map(wanted.named.judge, names), 0])[code[index]]
        if wanted.wrong:
            verdict[scored.find(wanted.wrong)[index]] = -1

        def make_hits(order: Int[np.ndarray, " hit"]) -> Sequence[Hit]:
            return scored.make_hits(index[order], measures.score[order])

        return Candidates(medium, measures, verdict, best_by_class, make_hits)

    def _answer_named(self, named: NamedSpecies | None) -> OpenSetAnswer | None:
        """Tell whether the gallery holds a named class; None where none is named, or where labels leave it open."""
        if named is None:
            return None
        verdicts = {named.judge(count.class_name) for count in self.index.counts()}
        is_known = 1 in verdicts or 0 not in verdicts
        return OpenSetAnswer(float(1 in verdicts), THRESHOLD) if is_known else None

    def _answer_called(
        self, compared: Sequence[_ComparedQuery], *, where: Filter, by_segment: bool
    ) -> OpenSetAnswer | None:
        """Tell by the encoders' own scores whether the gallery holds the species of a query; None if labels tell."""
        asked = compared[0]
        has_curve = not asked.query.is_name and asked.query.medium in self.calibration.open_set_curves
        is_open = self._encoder.name_weight is None or not asked.query.is_calibrated
        if is_open or has_curve or len(compared) > 1:
            return None
        found = [
            compute_chances(hits, query=asked.query, medium=medium, calibration=self.calibration)
            for medium, hits in _find_everywhere(asked, where=where, by_segment=by_segment).items()
        ]
        return answer_called(found, is_name=asked.query.is_name)

    def _answer_open_set(
        self, compared: Sequence[_ComparedQuery], *, hits: Sequence[Hit], where: Filter, by_segment: bool
    ) -> OpenSetAnswer | None:
        """Tell whether the whole gallery, whatever the search was narrowed to, holds the class of the queries.

        Args:
            hits: Of the search; the answer contradicts none that is nearly certain.
        """
        found = []
        for each in compared:
            if not each.query.is_calibrated:
                continue
            nearest = _find_everywhere(each, where=where, by_segment=by_segment)
            evidence = self._weigh_evidence(each.query, nearest)
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


def _find_everywhere(asked: _ComparedQuery, *, where: Filter, by_segment: bool) -> dict[Medium, tuple[Hit, ...]]:
    """Return the nearest items of each medium in the whole gallery, whatever the search was narrowed to.

    What the search found already is not looked for again.
    """
    everywhere = Filter(exclude_item_ids=where.exclude_item_ids)
    is_whole = not by_segment and replace(where, media=None) == everywhere
    nearest = dict(asked.found) if is_whole else {}
    missing = replace(everywhere, media=frozenset(MEDIA).difference(nearest))
    return nearest | _find(asked.comparison, where=missing, depth=OPEN_SET_DEPTH, by_segment=False)


def _exclude(where: Filter, asked: Collection[str]) -> Filter:
    """Return a filter that also excludes the items that are asked with."""
    excluded = (where.exclude_item_ids or frozenset()) | frozenset(asked)
    return replace(where, exclude_item_ids=excluded) if asked else where


def _intersect(first: frozenset[Value] | None, second: Collection[Value]) -> frozenset[Value]:
    return frozenset(second) if first is None else first & frozenset(second)
