"""One search for one class: queries in, hits of all media and an open-set answer out."""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from fieldmark.gallery.naming.name_index import NamedSpecies
from fieldmark.gallery.search.agreement import NameAgreement
from fieldmark.gallery.search.calibration import CERTAIN, CalibrationFile, ScoreCalibration
from fieldmark.gallery.search.called import answer_called, call_hits, compute_chances
from fieldmark.gallery.search.fusion import (
    Candidates,
    average_positive,
    combine_logits,
    combine_scores,
    find_best_by_class,
    find_near_vector,
    list_hits,
    rank_candidates,
)
from fieldmark.gallery.search.likeliest import LIKELIEST_DEPTH, rank_classes
from fieldmark.gallery.search.open_set import DEPTH as OPEN_SET_DEPTH
from fieldmark.gallery.search.open_set import (
    LIMIT,
    THRESHOLD,
    BestItems,
    OpenSetEvidence,
    answer_open_set,
    weigh_evidence,
)
from fieldmark.gallery.search.query import ItemId, Query, QueryEmbedding, QueryEncoder, QueryReader
from fieldmark.gallery.search.result import MarkedItems, OpenSetAnswer, QueryPart, SearchResult
from fieldmark.gallery.search.several import find_absent
from fieldmark.gallery.store import Comparison, Filter, NearItem, ScoredItems, SegmentIndex
from fieldmark.types import MEDIA, Hit, Medium

_MARGIN_DEPTH = 30
"""Hits of each medium that are looked at, so that the nearest other class is mostly among them."""

_RIVAL_DEPTH = 2 * OPEN_SET_DEPTH
"""Items of any class that are looked at in each medium, where a search is narrowed to some classes: enough for the
open-set answer, and mostly for the nearest other class."""

_NearByMedium = Mapping[Medium, Sequence[Hit | NearItem]]


@dataclass(frozen=True, slots=True)
class Request:
    """A search as it was asked for.

    Args:
        k: Hits in all, or of each medium with `per_medium`.
    """

    queries: tuple[Query, ...]
    k: int
    where: Filter
    marks: MarkedItems = field(default_factory=MarkedItems)
    by_segment: bool = False
    per_medium: bool = False


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The hits that a search wants.

    Args:
        calibration: Of all scores of the search, whatever is written meanwhile.
        named: The class or species that the query names; None for none.
        wrong: Items that were marked wrong.
    """

    k: int
    where: Filter
    by_segment: bool
    calibration: ScoreCalibration
    named: NamedSpecies | None = None
    wrong: frozenset[str] = frozenset()

    def filter_named(self, medium: Medium) -> list[Filter]:
        """Return the conditions on hits of a medium that are of the named class; none where none is named."""
        if self.named is None or self.named.class_name is None:
            return []
        names = _intersect(self.where.class_names, self.named.class_name)
        return [replace(self.where, media=frozenset({medium}), class_names=names)]

    def filter_any_class(self, medium: Medium) -> Filter:
        """Return the conditions on hits of a medium, but for their class."""
        return replace(self.where, media=frozenset({medium}), class_names=None)


@dataclass(frozen=True, slots=True)
class ComparedQuery:
    """A query that was asked, and the store compared with it.

    Args:
        found: Its nearest hits of each medium that the search wants; empty where the search did not need them.
        of_any_class: The same of any class; empty where they were not looked for.
    """

    query: QueryEmbedding
    comparison: Comparison
    found: Mapping[Medium, tuple[Hit, ...]] = field(default_factory=dict)
    of_any_class: _NearByMedium = field(default_factory=dict)


class SingleSearch:
    """Searches for the items of one class, by queries that all show it or by its name.

    Args:
        reader: Of queries; `calibration_file` of how scores become probabilities.
    """

    def __init__(
        self, index: SegmentIndex, *, encoder: QueryEncoder, reader: QueryReader, calibration_file: CalibrationFile
    ) -> None:
        self.index = index
        self._encoder = encoder
        self._reader = reader
        self._calibration_file = calibration_file
        self._agreement = NameAgreement(index, encoder=encoder)
        self._media_of: tuple[object, Mapping[str, Collection[Medium]]] = ((), {})

    @property
    def calibration(self) -> ScoreCalibration:
        """The calibration of scores as probabilities, as the last `index` fitted it."""
        return self._calibration_file.read()

    def compare_each(self, request: Request, asked: Sequence[QueryEmbedding]) -> list[ComparedQuery]:
        """Return each of several queries with its nearest items of each medium that it can be compared with.

        Args:
            asked: The queries of the request, encoded.
        """
        where = _exclude_queries(request)
        depth, compared = max(request.k, _MARGIN_DEPTH, LIKELIEST_DEPTH), []
        for each in asked:
            own, _ = self._leave_out_incomparable(where, [each])
            comparison = self.index.compare(each.embedding)
            found = _find(comparison, where=own, depth=depth, by_segment=request.by_segment)
            compared.append(ComparedQuery(each, comparison, found, found if own.class_names is None else {}))
        return compared

    def answer_alone(self, asked: ComparedQuery, request: Request) -> QueryPart:
        """Return what one of several queries shows by itself, from its nearest items."""
        wanted = _Wanted(request.k, _exclude_queries(request), request.by_segment, self.calibration)
        candidates = [
            self._make_candidates(list_hits(hits), [asked.query], wanted, medium=medium)
            for medium, hits in asked.found.items()
        ]
        collection = self._answer_called([asked], wanted)
        if collection is None:
            hits = rank_candidates(candidates, k=request.k, per_medium=request.per_medium)
            collection = self._answer_open_set([asked], wanted, hits=hits)
        likeliest = rank_classes(self._name_nearest(candidates), collection=collection)
        return QueryPart(asked.query.medium, likeliest, collection)

    def search(
        self, request: Request, *, named: NamedSpecies | None, compared: Sequence[ComparedQuery] = ()
    ) -> SearchResult:
        """Return the hits that are most likely of the class of the queries.

        Args:
            named: The class or species that the only query names; None for none.
            compared: The queries, where `compare_each` has compared them already.
        """
        started = time.perf_counter()
        name = None if named is None else self._reader.encode_name(named)
        asked = [each.query for each in compared]
        if not asked:
            asked = [name] if name is not None else [self._reader.encode(each) for each in request.queries]
        encoded_at = time.perf_counter()
        where, left_out = self._leave_out_incomparable(_exclude_queries(request), asked)
        by_segment = request.by_segment
        marked = self._read_marks(request.marks)
        compared = list(compared) or [ComparedQuery(each, self.index.compare(each.embedding)) for each in asked]
        if named is not None and name is not None:
            index = self._reader.read_names().index
            named = self._agreement.settle(named, names=index, comparison=compared[0].comparison)
        wanted = _Wanted(request.k, where, by_segment, self.calibration, named, wrong=request.marks.irrelevant)
        if len(asked) == 1 and not marked:
            compared[0], candidates = self._find_candidates(compared[0], wanted)
        else:
            candidates = [self._score_candidates([*asked, *marked], wanted, medium=each) for each in _divide(where)]
        hits = self._call(rank_candidates(candidates, k=request.k, per_medium=request.per_medium))
        by_labels = self._answer_named(named)
        by_calls = None if by_labels is not None else self._answer_called(compared, wanted)
        collection = by_labels or by_calls or self._answer_open_set(compared, wanted, hits=hits)
        absent: tuple[Medium, ...] = ()
        if named is not None and collection is not None and collection.is_likely:
            first = rank_candidates(candidates, k=1, per_medium=True)
            absent = find_absent(first, wanted=self._list_present(where))
            kept = [each for each in candidates if each.medium not in absent]
            hits = self._call(rank_candidates(kept, k=request.k, per_medium=request.per_medium))
        return SearchResult(
            media=tuple(each.medium for each in asked),
            hits=hits,
            collection=collection,
            likeliest=() if named is not None else rank_classes(self._name_nearest(candidates), collection=collection),
            is_called=by_calls is not None and compared[0].query.is_name,
            class_name=None if named is None else named.class_name or named.name,
            species_name=named.name if named is not None and named.is_agreed else None,
            is_by_encoders=self._is_by_encoders(asked, hits, calibration=wanted.calibration),
            left_out=left_out,
            absent_media=absent,
            encode_seconds=encoded_at - started,
            rank_seconds=time.perf_counter() - encoded_at,
        )

    def _call(self, hits: Sequence[Hit]) -> tuple[Hit, ...]:
        """Return hits with what encoders call those without a class."""
        if self._encoder.name_weight is None:
            return tuple(hits)
        called = self._reader.read_names().index.meanings.called
        return call_hits(hits, index=self.index, encoder=self._encoder, called=called)

    def _name_nearest(self, candidates: Sequence[Candidates]) -> dict[Medium, BestItems]:
        """Return the candidates nearest in each medium, by class or by what encoders call them.

        At most `LIKELIEST_DEPTH` of each medium; none at all where some medium has no log-odds.
        """
        first, best = [], {}
        for each in candidates:
            if len(each.verdict):
                if each.measures.logit is None:
                    return {}
                first.append((each, each.measures.logit, each.find_first(LIKELIEST_DEPTH, by=each.measures.logit)))
        classless = [hit for each, _, index in first for hit in each.make_hits(index[each.class_code[index] < 0])]
        called = iter(self._call(classless))
        for each, logit, index in first:
            names = [next(called).called if name is None else name for name in each.list_class_names(index)]
            best[each.medium] = BestItems(np.where(each.verdict[index] < 0, -LIMIT, logit[index]), names)
        return best

    def _list_present(self, where: Filter) -> list[Medium]:
        """Return the media that the gallery has and a filter lets pass."""
        present = {count.medium for count in self.index.counts()}
        return [each for each in MEDIA if each in present and (where.media is None or each in where.media)]

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

    def _is_by_encoders(
        self, asked: Sequence[QueryEmbedding], hits: Sequence[Hit], *, calibration: ScoreCalibration
    ) -> bool:
        """Tell whether probabilities of hits are the encoders' own, rather than fitted on labels."""
        if self._encoder.name_weight is None:
            return False
        media = {hit.medium for hit in hits if hit.probability}
        curves = [calibration.get_curve(query.medium, medium) for query in asked for medium in media]
        return any(curve is not None and curve.is_overlap for curve in curves)

    def _read_marks(self, marks: MarkedItems) -> list[QueryEmbedding]:
        """Return marked items as further queries, the relevant ones first."""
        relevant, irrelevant = sorted(marks.relevant), sorted(marks.irrelevant)
        if not relevant and not irrelevant:
            return []
        stored = self._reader.read_stored([*relevant, *irrelevant])
        negative = [replace(stored[item_id], is_negative=True) for item_id in irrelevant]
        return [stored[item_id] for item_id in relevant] + negative

    def _find_candidates(self, asked: ComparedQuery, wanted: _Wanted) -> tuple[ComparedQuery, list[Candidates]]:
        """Return the nearest items of each medium to a single query, and the query with what it found."""
        depth, comparison, by_segment = max(wanted.k, _MARGIN_DEPTH), asked.comparison, wanted.by_segment
        found = asked.found or _find(comparison, where=wanted.where, depth=depth, by_segment=by_segment)
        of_any_class: _NearByMedium = found
        if wanted.where.class_names is not None:
            of_any_class = _score(comparison, where=replace(wanted.where, class_names=None), depth=_RIVAL_DEPTH)
        candidates = []
        for medium, nearest in found.items():
            hits = nearest
            for where in wanted.filter_named(medium):
                first = comparison.find_nearest(k=wanted.k, where=where, by_segment=by_segment)
                hits = tuple({(hit.item_id, hit.start_seconds): hit for hit in (*first, *nearest)}.values())
            each = self._make_candidates(list_hits(hits), [asked.query], wanted, medium=medium)
            best = rivals = each.best_by_class
            if of_any_class is not found:
                rivals = _list_best_by_class(of_any_class[medium])
            if best and len(rivals) < 2 and not rivals.keys() - best.keys():
                nearest_class = max(best, key=best.__getitem__)
                other = comparison.score_other_class(nearest_class, where=wanted.filter_any_class(medium))
                rivals = rivals if other is None else {**rivals, str(other.class_name): other.score}
            candidates.append(each if rivals is best else replace(each, best_by_class={**rivals, **best}))
        return replace(asked, found=found, of_any_class=of_any_class), candidates

    def _score_candidates(self, queries: Sequence[QueryEmbedding], wanted: _Wanted, *, medium: Medium) -> Candidates:
        """Return the items of one medium, scored by several queries and marks."""
        plain = replace(wanted.where, media=frozenset({medium}))
        filters = [plain, *wanted.filter_named(medium), wanted.filter_any_class(medium)]
        scored = self.index.score_items(
            np.stack([query.embedding for query in queries]),
            near=find_near_vector(queries, medium=medium, calibration=wanted.calibration),
            k=wanted.k,
            where=tuple(dict.fromkeys(filters)),
            by_segment=wanted.by_segment,
        )
        return self._make_candidates(scored, queries, wanted, medium=medium)

    def _make_candidates(
        self, scored: ScoredItems, queries: Sequence[QueryEmbedding], wanted: _Wanted, *, medium: Medium
    ) -> Candidates:
        """Return scored items of one medium as candidates; items of other classes only count for margins."""
        names, code, allowed = scored.class_names, scored.class_code, wanted.where.class_names
        best_by_class = find_best_by_class(names, code, score=average_positive(scored.score, queries))
        index = np.arange(len(code))
        if allowed is not None:
            index = np.flatnonzero(np.array([*(name in allowed for name in names), False])[code])
        score = scored.score[:, index].astype(np.float64)
        measures = combine_scores(score, queries=queries, medium=medium, calibration=wanted.calibration)
        verdict = np.zeros(len(index), dtype=np.int64)
        if wanted.named is not None:
            verdict = np.array([*map(wanted.named.judge, names), 0])[code[index]]
        if wanted.wrong:
            verdict[scored.find(wanted.wrong)[index]] = -1
        return Candidates(
            medium,
            measures,
            verdict=verdict,
            class_names=names,
            class_code=code[index],
            best_by_class=best_by_class,
            make_hits=lambda order: scored.make_hits(index[order], measures.score[order]),
        )

    def _answer_named(self, named: NamedSpecies | None) -> OpenSetAnswer | None:
        """Tell whether the gallery holds a named class; None where none is named, or where labels leave it open."""
        if named is None:
            return None
        verdicts = {named.judge(count.class_name) for count in self.index.counts()}
        is_known = 1 in verdicts or 0 not in verdicts
        return OpenSetAnswer(float(1 in verdicts), THRESHOLD) if is_known else None

    def _answer_called(self, compared: Sequence[ComparedQuery], wanted: _Wanted) -> OpenSetAnswer | None:
        """Tell by the encoders' own scores whether the gallery holds the species of a query; None if labels tell."""
        asked = compared[0]
        has_curve = not asked.query.is_name and asked.query.medium in wanted.calibration.open_set_curves
        is_open = self._encoder.name_weight is None or not asked.query.is_calibrated
        if is_open or has_curve or len(compared) > 1:
            return None
        found = [
            compute_chances(hits, query=asked.query, medium=medium, calibration=wanted.calibration)
            for medium, hits in _find_everywhere(asked, wanted).items()
        ]
        return answer_called(found, is_name=asked.query.is_name)

    def _answer_open_set(
        self, compared: Sequence[ComparedQuery], wanted: _Wanted, *, hits: Sequence[Hit]
    ) -> OpenSetAnswer | None:
        """Tell whether the whole gallery, whatever the search was narrowed to, holds the class of the queries.

        Args:
            hits: Of the search; the answer contradicts none that is nearly certain.
        """
        found = []
        for each in compared:
            if not each.query.is_calibrated:
                continue
            nearest = _find_everywhere(each, wanted)
            evidence = self._weigh_evidence(each.query, nearest, calibration=wanted.calibration)
            if evidence is not None:
                found.append(evidence)
        return answer_open_set(found, has_certain_hit=any((hit.probability or 0) >= CERTAIN for hit in hits))

    def _weigh_evidence(
        self, query: QueryEmbedding, found: _NearByMedium, *, calibration: ScoreCalibration
    ) -> OpenSetEvidence | None:
        """Return what a query's nearest hits of each medium say of its class; None where none has log-odds."""
        best = {}
        for medium in MEDIA:
            nearest = found[medium][:OPEN_SET_DEPTH]
            score = np.array([[hit.score for hit in nearest]])
            logit = combine_logits(score, queries=[query], medium=medium, calibration=calibration)
            if logit is not None and logit.size:
                best[medium] = BestItems(logit, [hit.class_name for hit in nearest])
        return weigh_evidence(best, query=query, calibration=calibration, media_of=self._find_media_of_classes())

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


def _divide(where: Filter) -> dict[Medium, Filter]:
    """Return a filter for each of the media that it lets pass."""
    return {
        medium: replace(where, media=frozenset({medium}))
        for medium in MEDIA
        if where.media is None or medium in where.media
    }


def _find(comparison: Comparison, *, where: Filter, depth: int, by_segment: bool) -> dict[Medium, tuple[Hit, ...]]:
    """Return the nearest hits of each medium that a filter lets pass."""
    return {
        medium: comparison.find_nearest(k=depth, where=own, by_segment=by_segment)
        for medium, own in _divide(where).items()
    }


def _score(comparison: Comparison, *, where: Filter, depth: int) -> dict[Medium, tuple[NearItem, ...]]:
    """Return the nearest items of each medium that a filter lets pass, where nothing but their classes is needed."""
    return {medium: comparison.score_nearest(k=depth, where=own) for medium, own in _divide(where).items()}


def _list_best_by_class(near: Sequence[Hit | NearItem]) -> dict[str, float]:
    """Return the best score of each class among some items, of which the best come first."""
    best: dict[str, float] = {}
    for each in near:
        if each.class_name is not None:
            best.setdefault(each.class_name, each.score)
    return best


def _keep_best_segments(near: Sequence[Hit | NearItem]) -> Sequence[Hit | NearItem]:
    """Return the first of each item."""
    best: dict[str, Hit | NearItem] = {}
    for each in near:
        best.setdefault(each.item_id, each)
    return list(best.values())


def _find_everywhere(asked: ComparedQuery, wanted: _Wanted) -> _NearByMedium:
    """Return the nearest items of each medium in the whole gallery, whatever the search was narrowed to.

    What the search found already is not looked for again.
    """
    everywhere = Filter(exclude_item_ids=wanted.where.exclude_item_ids)
    nearest: dict[Medium, Sequence[Hit | NearItem]] = {}
    if replace(wanted.where, media=None, class_names=None) == everywhere:
        for medium, found in asked.of_any_class.items():
            items = _keep_best_segments(found) if wanted.by_segment else found
            if not wanted.by_segment or len(items) >= OPEN_SET_DEPTH:
                nearest[medium] = items
    missing = replace(everywhere, media=frozenset(MEDIA).difference(nearest))
    return nearest | _score(asked.comparison, where=missing, depth=OPEN_SET_DEPTH)


def _exclude_queries(request: Request) -> Filter:
    """Return the filter of a search, which also excludes the items that are asked with."""
    asked = {each.item_id for each in request.queries if isinstance(each, ItemId)}
    excluded = (request.where.exclude_item_ids or frozenset()) | asked
    return replace(request.where, exclude_item_ids=excluded) if asked else request.where


def _intersect(names: frozenset[str] | None, class_name: str) -> frozenset[str]:
    return frozenset({class_name}) if names is None else names & {class_name}
