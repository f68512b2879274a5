"""Searches a gallery: reads what the queries name, runs one search or several, and answers as one."""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float

from fieldmark.errors import (
    MediaError,
    MediumNotSupportedError,
    OutOfRangeError,
    RequestError,
    UnknownItemError,
    list_first,
    suggest_nearest,
)
from fieldmark.gallery.facts import FactFilter
from fieldmark.gallery.files import GalleryPlace
from fieldmark.gallery.naming.name_index import strip_frame
from fieldmark.gallery.naming.name_offers import NameOffer
from fieldmark.gallery.naming.typed_names import NameReading, NameUse, TypedNames
from fieldmark.gallery.search.calibration import CalibrationFile, ScoreCalibration
from fieldmark.gallery.search.description import DescriptionAnswer, DescriptionReader, sample_held
from fieldmark.gallery.search.likeliest import contradict
from fieldmark.gallery.search.query import ItemId, Query, QueryEncoder, QueryReader, describe_files
from fieldmark.gallery.search.records import HitOrder, gather_records, list_items, look_up, sort_hits
from fieldmark.gallery.search.result import MarkedItems, ReadName, SearchResult
from fieldmark.gallery.search.several import combine, leave_open, order_by_text
from fieldmark.gallery.search.single_search import Request, SingleSearch
from fieldmark.gallery.store import Filter, SegmentIndex
from fieldmark.records.licenses import list_license_forms
from fieldmark.subject import get_words
from fieldmark.types import Hit, Item, Medium, Reporter

_LOOKED_UP_QUERIES = 8
"""Media of a record with which items like it are asked for."""
_RECORD_MEDIA = 4
"""Hits that are ranked for each record that is wanted: one has several media."""
_MOST_NAMES = 8
"""Names in one text that are searched for."""
_PLAIN = 2 / 3
"""Probability of its likeliest class from which on a clip's own sound is listened to: two to one."""
_ORDERED_HITS = 60
"""Hits of a name that further words put in order."""
_OFFERED = 3
"""Names that are offered with an answer."""
_OFFERED_FIT = 0.8
"""Of a name that is offered beside the answer to a description."""


class Searcher:
    """Searches a gallery with any medium.

    Args:
        folder: Of the gallery.
        index: Its store.
        encoder: The model that its embeddings come from.
        calibration: None takes the one among its files, and another one as soon as it is written there.
    """

    def __init__(
        self,
        folder: GalleryPlace,
        *,
        index: SegmentIndex,
        encoder: QueryEncoder,
        calibration: ScoreCalibration | None = None,
    ) -> None:
        self.folder = folder
        self.index = index
        self._encoder = encoder
        self._descriptions = DescriptionReader(
            folder,
            encoder=encoder,
            list_known=lambda: self._reader.read_names().index.meanings.known,
            held=sample_held(index),
        )
        self._reader = QueryReader(folder, store=index, encoder=encoder, mover=self._descriptions)
        self._calibration_file = CalibrationFile(folder, calibration)
        self._single = SingleSearch(
            index, encoder=encoder, reader=self._reader, calibration_file=self._calibration_file
        )

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
        first, then with items like it; one that is a place with the items from there, then as any other text. A text
        that says nothing, such as "songs", or none at all beside conditions on records lists the items that meet these,
        by their ids.

        Raises:
            OutOfRangeError: k is below 1.
            RequestError: There are neither queries nor conditions, or an item is marked both right and wrong.
            MediaError: A query cannot be read.
            MediumNotSupportedError: The gallery's model takes no query of this medium.
            UnknownItemError: The gallery has no item of an id.
        """
        if k < 1:
            raise OutOfRangeError(name="k", got=k, smallest=1, largest=self.index.item_count(), kind="cutoff")
        queries = (query,) if isinstance(query, str | Path | Item | ItemId) else tuple(query)
        where = where or Filter()
        if not queries and where.facts == FactFilter():
            raise RequestError(
                "The search has no query; it needs one or more. Give a file, a text or the id of an item, or "
                "conditions on records.",
                kind="no_query",
            )
        marks = marks or MarkedItems()
        marks.check()
        if media:
            where = replace(where, media=frozenset(media) if where.media is None else where.media & frozenset(media))
        count = k * _RECORD_MEDIA if by_record else k
        request = Request(queries, count, where, marks, by_segment=by_segment, per_medium=per_medium)
        is_listing = self._says_nothing(request)
        result = self._list(request) if is_listing else self._look_up_or_search(request)
        hits = gather_records(result.hits, k=k) if by_record else result.hits
        ordered = hits if order is None else sort_hits(hits, order)
        if is_listing:
            return replace(result, hits=ordered)
        return replace(result, hits=ordered, description=self._describe(request, result=result, hits=ordered))

    def _says_nothing(self, request: Request) -> bool:
        """Tell whether a search has conditions on records, and nothing by which to rank, such as "all songs"."""
        if request.where.facts == FactFilter() or request.marks.relevant or request.marks.irrelevant:
            return False
        text = self._reader.get_text(request.queries) if request.queries else ""
        return text is not None and not strip_frame(text)

    def _list(self, request: Request) -> SearchResult:
        """Return the items that meet the conditions, by their ids."""
        hits = list_items(self.index, where=request.where, k=request.k, per_medium=request.per_medium)
        subject = self._reader.read_names().subject
        return SearchResult(media=(Medium.TEXT,), hits=hits, subject=subject, is_listing=True)

    def _describe(self, request: Request, *, result: SearchResult, hits: Sequence[Hit]) -> DescriptionAnswer | None:
        """Return what was read in a single text that names no species, and which of it the hits show."""
        text = self._reader.get_text(request.queries)
        is_named = bool(result.names) or result.class_name is not None
        if text is None or is_named or not result.is_understood or any(hit.matched is not None for hit in hits):
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

    def _look_up_or_search(self, request: Request) -> SearchResult:
        """Return the records that a text stands for, and what is near to them or to it; else what is near alone."""
        text = self._reader.get_text(request.queries)
        match = None if text is None else look_up(self.index, text, where=request.where, limit=request.k)
        if match is None:
            return self._search(request)
        found = frozenset(hit.item_id for hit in match.hits)
        queries: tuple[Query, ...] = request.queries
        if match.is_one:
            queries = tuple(ItemId(hit.item_id) for hit in match.hits[:_LOOKED_UP_QUERIES])
        excluded = (request.where.exclude_item_ids or frozenset()) | found
        rest = replace(request, queries=queries, where=replace(request.where, exclude_item_ids=excluded))
        result = self._search(rest)
        more = result.hits if request.per_medium else result.hits[: request.k - len(match.hits)]
        ranked = [hit._replace(rank=rank) for rank, hit in enumerate((*match.hits, *more), start=1)]
        return replace(result, hits=tuple(ranked), collection=None if match.is_one else result.collection)

    def _search(self, request: Request) -> SearchResult:
        """Return the hits of what the queries name, or else of what they are like."""
        reading = self._reader.read_names_in(request.queries)
        names = self._reader.read_names()
        if reading is not None:
            result = self._search_names(request, reading)
        elif self._reader.is_understood(request.queries):
            result = self._search_alike(request)
            if not self._reader.is_on_topic(request.queries):
                result = leave_open(result)
        else:
            self._reader.encode(request.queries[0])  # what cannot be read at all is an error
            result = SearchResult(media=(Medium.TEXT,), hits=(), is_understood=False)
        offered = self._offer_instead(request.queries, reading)
        notes = describe_files(request.queries)
        is_open = result.collection is not None and not result.collection.can_tell
        if is_open and not self._reader.is_recognized(request.queries):
            item = get_words(names.subject).item
            notes += (
                f"the model recognizes nothing in this picture: it may show no {item}, or one that it does not know",
            )
        return replace(result, offered=offered, subject=names.subject, notes=(*notes, *result.notes))

    def _search_names(self, request: Request, reading: NameReading) -> SearchResult:
        """Return the hits of one name or several; further words in the text put hits of the same name in order."""
        asked = replace(request, k=max(request.k, _ORDERED_HITS)) if reading.has_more else request
        results = [self._single.search(asked, named=named) for named in reading.names[:_MOST_NAMES]]
        if reading.has_more:
            text, per_medium = self._reader.encode(request.queries[0]).embedding, request.per_medium
            results = [
                replace(each, hits=order_by_text(each.hits, text, index=self.index, k=request.k, per_medium=per_medium))
                for each in results
            ]
        one = results[0] if len(results) == 1 else combine(results, k=request.k, per_medium=request.per_medium)
        read = tuple(
            ReadName(named.name, result.class_name) for named, result in zip(reading.names, results, strict=False)
        )
        return replace(one, names=read, name_use=reading.use)

    def _search_alike(self, request: Request) -> SearchResult:
        """Return the hits that are like the queries; of each alone where they show different classes."""
        has_marks = bool(request.marks.relevant or request.marks.irrelevant)
        if len(request.queries) > 1 and not has_marks:
            return self._search_several(request)
        result = self._single.search(request, named=None)
        if has_marks:
            return result
        sound = self._reader.find_own_sound(request.queries)
        return result if sound is None else self._listen(request, sound=sound, seen=result)

    def _search_several(self, request: Request) -> SearchResult:
        """Return the hits that are like several queries; of each alone where they show different classes."""
        started = time.perf_counter()
        asked = [self._reader.encode(query) for query in request.queries]
        encoded_at = time.perf_counter()
        compared = self._single.compare_each(request, asked)
        parts = tuple(self._single.answer_alone(each, request) for each in compared)
        if contradict([each.likeliest for each in parts]):
            alone = [
                self._single.search(replace(request, queries=(query,)), named=None, compared=(each,))
                for query, each in zip(request.queries, compared, strict=True)
            ]
            apart = combine(alone, k=request.k, per_medium=request.per_medium)
            media = tuple(each.medium for each in asked)
            result = replace(apart, media=media, parts=parts, likeliest=(), collection=None)
        else:
            result = self._single.search(request, named=None, compared=compared)
        seconds = time.perf_counter() - encoded_at
        return replace(result, encode_seconds=encoded_at - started, rank_seconds=seconds)

    def _listen(self, request: Request, *, sound: Item, seen: SearchResult) -> SearchResult:
        """Return the hits of a clip's pictures and its own sound together, where both plainly show one class.

        A sound that plainly shows another class is told, and changes nothing: a clip may have a narrator, or other
        birds behind the camera.

        Args:
            seen: The hits of the pictures alone.
        """
        try:
            heard = self._single.search(replace(request, queries=(sound,)), named=None)
        except (MediaError, MediumNotSupportedError):
            return seen
        if not heard.likeliest or heard.likeliest[0].probability < _PLAIN:
            return seen
        name = heard.likeliest[0].name
        if contradict([seen.likeliest, heard.likeliest]):
            return replace(seen, notes=(f"the sound of the clip is like {name}; the hits follow its pictures",))
        both = self._single.search(replace(request, queries=(*request.queries, sound)), named=None)
        return replace(both, media=seen.media, notes=(f"the sound of the clip is like {name} and was counted too",))

    def _offer_instead(self, queries: Sequence[Query], reading: NameReading | None) -> tuple[NameOffer, ...]:
        """Return names that a text may mean, where it is none as it stands."""
        text = self._reader.get_text(queries)
        if text is None or (reading is not None and reading.use is not NameUse.CORRECTED):
            return ()
        offered = self._reader.read_names().offer(text, limit=_OFFERED)
        is_open = reading is None and self._reader.is_understood(queries)
        return tuple(each for each in offered if each.fit >= _OFFERED_FIT) if is_open else offered

    def read_names(self) -> TypedNames:
        """Return the names by which texts find classes and species, as the gallery is now."""
        return self._reader.read_names()

    def offer_names(self, text: str, *, limit: int = 8) -> tuple[NameOffer, ...]:
        """Return the names of the gallery that fit what somebody has typed so far, the most fitting first."""
        return self._reader.read_names().offers.offer(text, limit=limit)
