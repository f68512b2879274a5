"""Hits that a search may return, scored by every query."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from fieldmark.gallery.search.query import QueryEmbedding
from fieldmark.gallery.store import Filter, SegmentIndex
from fieldmark.types import Embeddings, Hit, Medium


@dataclass(frozen=True, slots=True)
class Candidates:
    """Hits of one medium, the nearest first.

    Args:
        score: Mean score of the positive queries.
        logit: Log-odds that a hit is of the wanted class; None where that is not known.
        standard: How far its score lies above the usual; None where that is not known.
        others: Hits of further classes, which are not returned and only tell how near the nearest other class is.
    """

    medium: Medium
    hits: tuple[Hit, ...]
    score: Float[np.ndarray, " hit"]
    logit: Float[np.ndarray, " hit"] | None
    standard: Float[np.ndarray, " hit"] | None
    others: tuple[Hit, ...] = ()

    def append(self, more: "Candidates") -> "Candidates":
        """Return these candidates and then those of another search with the same queries, each hit once."""
        there = {(hit.item_id, hit.start_seconds) for hit in self.hits}
        new = [index for index, hit in enumerate(more.hits) if (hit.item_id, hit.start_seconds) not in there]
        return Candidates(
            self.medium,
            (*self.hits, *(more.hits[index] for index in new)),
            np.concatenate([self.score, more.score[new]]),
            None if self.logit is None or more.logit is None else np.concatenate([self.logit, more.logit[new]]),
            None
            if self.standard is None or more.standard is None
            else np.concatenate([self.standard, more.standard[new]]),
        )


def compute_class_margins(candidates: Candidates) -> list[tuple[float, str] | None]:
    """Return, for each hit, how much nearer its class is than the nearest other class of its medium, and that class."""
    best: dict[str, float] = {}
    hits = candidates.hits
    others = [(hit, hit.score) for hit in candidates.others]
    for hit, value in [*zip(hits, candidates.score.tolist(), strict=True), *others]:
        if hit.class_name is not None:
            best[hit.class_name] = max(value, best.get(hit.class_name, -np.inf))
    ranked = sorted(best, key=lambda name: -best[name])
    margins: list[tuple[float, str] | None] = []
    for hit in hits:
        if hit.class_name is None or len(ranked) < 2:
            margins.append(None)
            continue
        other = ranked[1] if hit.class_name == ranked[0] else ranked[0]
        margins.append((best[hit.class_name] - best[other], other))
    return margins


def score_hits(
    store: SegmentIndex,
    queries: Sequence[QueryEmbedding],
    *,
    found: Sequence[Mapping[Medium, tuple[Hit, ...]]],
    by_segment: bool,
) -> dict[Medium, tuple[tuple[Hit, ...], Float[np.ndarray, "query hit"]]]:
    """Return, for each medium, every item or segment that some query found, once, with its score by every query.

    An item's score by a query is that of its best segment; its moment is the segment that the positive queries find
    best.

    Args:
        found: The hits of each positive query.
    """
    if len(queries) == 1:
        return {medium: (hits, np.array([[hit.score for hit in hits]])) for medium, hits in found[0].items()}
    hit_of = {
        medium: {_key(hit, by_segment=by_segment): hit for each in found for hit in each[medium]} for medium in found[0]
    }
    item_ids = frozenset(hit.item_id for hits in hit_of.values() for hit in hits.values())
    stored = store.embeddings(Filter(item_ids=item_ids))
    score = np.stack([query.embedding for query in queries]) @ stored.embedding.T
    mean = score[[not query.is_negative for query in queries]].mean(axis=0)
    rows_of: dict[tuple[str, float | None], list[int]] = {}
    for row, item in enumerate(stored.items):
        start = _moment(stored, row)[0] if by_segment else None
        rows_of.setdefault((item.item_id, start), []).append(row)
    scored = {}
    for medium, hits_of_medium in hit_of.items():
        hits, columns = [], [np.zeros((len(queries), 0))]
        for key, hit in hits_of_medium.items():
            rows = rows_of.get(key)
            if rows is None:
                continue  # dropped by another process since it was found
            start, end = _moment(stored, rows[int(np.argmax(mean[rows]))])
            hits.append(hit._replace(start_seconds=start, end_seconds=end))
            columns.append(score[:, rows].max(axis=1, keepdims=True))
        scored[medium] = tuple(hits), np.concatenate(columns, axis=1)
    return scored


def _key(hit: Hit, *, by_segment: bool) -> tuple[str, float | None]:
    return hit.item_id, hit.start_seconds if by_segment else None


def _moment(stored: Embeddings, row: int) -> tuple[float | None, float | None]:
    start, end = float(stored.start_seconds[row]), float(stored.end_seconds[row])
    return None if np.isnan(start) else start, None if np.isnan(end) else end
