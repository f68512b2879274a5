"""Several answers as one: to several names in one text, and to queries that show different classes."""

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from fieldmark.gallery.search.result import LIKELY, SearchResult
from fieldmark.gallery.store import Filter, SegmentIndex
from fieldmark.types import MEDIA, Hit, Medium

_ABSENT = 1 / 3
"""Probability below which, two to one against, the best hit of a medium is not of the class that was named."""


def merge_hits(results: Sequence[SearchResult], *, k: int, per_medium: bool) -> tuple[Hit, ...]:
    """Return the first hits of several searches in turns; those that are likely for one come before all others.

    A hit of several searches stands where it is likeliest.

    Args:
        k: Hits in all, or of each medium.
    """
    placed: dict[tuple[str, float | None], tuple[tuple[bool, int, int], Hit]] = {}
    for number, result in enumerate(results):
        turns = dict.fromkeys(MEDIA, 0)
        for hit in result.hits:
            turn = turns[hit.medium] if per_medium else hit.rank
            turns[hit.medium] += 1
            place = (hit.probability is not None and hit.probability < LIKELY, turn, number)
            key = (hit.item_id, hit.start_seconds)
            if key not in placed or place < placed[key][0]:
                placed[key] = (place, hit)
    ordered = [hit for _, hit in sorted(placed.values(), key=lambda each: each[0])]
    if per_medium:
        ordered = [hit for medium in MEDIA for hit in [each for each in ordered if each.medium is medium][:k]]
    return tuple(hit._replace(rank=rank) for rank, hit in enumerate(ordered[: None if per_medium else k], start=1))


def find_absent(first: Sequence[Hit], *, wanted: Collection[Medium]) -> tuple[Medium, ...]:
    """Return the media that have nothing of a class that was named and is there.

    Args:
        first: The best hit of each medium.
        wanted: Media that the search wants and the gallery has.
    """
    best = {hit.medium: hit.probability or 0.0 for hit in first}
    return tuple(medium for medium in MEDIA if medium in wanted and best.get(medium, 0.0) < _ABSENT)


def combine(results: Sequence[SearchResult], *, k: int, per_medium: bool) -> SearchResult:
    """Return one result of several searches: the likeliest answer about the collection, and hits in turns."""
    first = results[0]
    answers = [each.collection for each in results if each.collection is not None]
    return replace(
        first,
        hits=merge_hits(results, k=k, per_medium=per_medium),
        collection=max(answers, key=lambda answer: answer.probability) if len(answers) == len(results) else None,
        is_by_encoders=any(each.is_by_encoders for each in results),
        is_called=all(each.is_called for each in results),
        left_out=tuple(medium for medium in first.left_out if all(medium in each.left_out for each in results)),
        absent_media=tuple(m for m in first.absent_media if all(m in each.absent_media for each in results)),
        encode_seconds=sum(each.encode_seconds for each in results),
        rank_seconds=sum(each.rank_seconds for each in results),
    )


def leave_open(result: SearchResult) -> SearchResult:
    """Return the hits of a text that speaks of nothing that is here: near to it, and no answer."""
    hits = tuple(hit._replace(probability=None) for hit in result.hits)
    return replace(result, hits=hits, collection=None, likeliest=(), is_on_topic=False, is_by_encoders=False)


def order_by_text(
    hits: Sequence[Hit], text: Float[np.ndarray, " dim"], *, index: SegmentIndex, k: int, per_medium: bool
) -> tuple[Hit, ...]:
    """Return the first hits, those that are likely of the named class ordered by how like a text they are.

    The name decides which they are; of each medium, they stand in the places that they had.

    Args:
        k: Hits in all, or of each medium.
    """
    likely = [place for place, hit in enumerate(hits) if hit.probability is not None and hit.probability >= LIKELY]
    stored = index.embeddings(Filter(item_ids=frozenset(hits[place].item_id for place in likely)))
    score: dict[str, float] = {}
    for item, row in zip(stored.items, stored.embedding, strict=True):
        score[item.item_id] = max(score.get(item.item_id, -1.0), float(row @ text))
    ordered = list(hits)
    for medium in MEDIA:
        places = [place for place in likely if hits[place].medium is medium]
        own = sorted((hits[place] for place in places), key=lambda hit: -score[hit.item_id])
        for place, hit in zip(places, own, strict=True):
            ordered[place] = hit
    kept = ordered[:k]
    if per_medium:
        kept = [hit for medium in MEDIA for hit in [each for each in ordered if each.medium is medium][:k]]
    return tuple(hit._replace(rank=rank) for rank, hit in enumerate(kept, start=1))
