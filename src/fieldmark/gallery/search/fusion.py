"""Several queries, several media and marks -> candidates that every query scored -> one ranked list."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from fieldmark.gallery.search.calibration import CERTAIN, ScoreCalibration, compute_sigmoid
from fieldmark.gallery.search.query import QueryEmbedding
from fieldmark.gallery.store import Filter, SegmentIndex
from fieldmark.types import MEDIA, Embeddings, Hit, Medium

# ---------------------------------------------------------------- candidates


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
    names = [hit.class_name for hit in candidates.hits]
    others = [(hit.class_name, hit.score) for hit in candidates.others]
    for name, value in [*zip(names, candidates.score.tolist(), strict=True), *others]:
        if name is not None:
            best[name] = max(value, best.get(name, -np.inf))
    ranked = sorted(best, key=lambda name: -best[name])
    margins: list[tuple[float, str] | None] = []
    for name in names:
        if name is None or len(ranked) < 2:
            margins.append(None)
            continue
        other = ranked[1] if name == ranked[0] else ranked[0]
        margins.append((best[name] - best[other], other))
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


# ---------------------------------------------------------------- fusion


def rank_medium(
    hits: Sequence[Hit],
    score: Float[np.ndarray, "query hit"],
    *,
    queries: Sequence[QueryEmbedding],
    medium: Medium,
    calibration: ScoreCalibration,
) -> Candidates:
    """Return the hits of one medium in one list, by log-odds, else by standard score, else by mean score."""
    is_positive = np.array([not query.is_negative for query in queries])
    logit = combine_logits(score, queries=queries, medium=medium, calibration=calibration)
    standard = combine_standard_scores(score, queries=queries, medium=medium, calibration=calibration)
    mean = score[is_positive].mean(axis=0)
    best = logit if logit is not None else standard if standard is not None else mean
    order = np.argsort(-best, kind="stable")
    return Candidates(
        medium,
        tuple(hits[index] for index in order),
        mean[order],
        None if logit is None else logit[order],
        None if standard is None else standard[order],
    )


def combine_logits(
    score: Float[np.ndarray, "query hit"],
    *,
    queries: Sequence[QueryEmbedding],
    medium: Medium,
    calibration: ScoreCalibration,
) -> Float[np.ndarray, " hit"] | None:
    """Return the log-odds that hits of one medium are of the wanted class; None where a pair of media has no curve.

    One query has its curve. Each of n positive queries adds what it changes of the prior, divided by the root of n,
    since they repeat each other in part. A negative example adds ln(1 - p), with p the probability that the hit is of
    its class.
    """
    curves = [
        calibration.get_curve(query.medium, medium, word_count=query.word_count) if query.is_calibrated else None
        for query in queries
    ]
    total = np.zeros(score.shape[1])
    priors, positive_count = [], sum(not query.is_negative for query in queries)
    for row, query, curve in zip(score, queries, curves, strict=True):
        if curve is None:
            return None
        logit = curve.compute_logit(row)
        if query.is_negative:
            total -= np.logaddexp(0, logit)
        else:
            priors.append(curve.prior_logit)
            total += (logit - curve.prior_logit) / np.sqrt(positive_count)
    combined: Float[np.ndarray, " hit"] = total + np.mean(priors)
    return combined


def combine_standard_scores(
    score: Float[np.ndarray, "query hit"],
    *,
    queries: Sequence[QueryEmbedding],
    medium: Medium,
    calibration: ScoreCalibration,
) -> Float[np.ndarray, " hit"] | None:
    """Return how far above the usual hits of one medium are; None where a pair of media is not known.

    The mean over the positive queries, minus what the negative examples find above the usual, in their mean.
    """
    total = np.zeros(score.shape[1])
    negative_count = sum(query.is_negative for query in queries)
    for row, query in zip(score, queries, strict=True):
        scale = calibration.get_scale(query.medium, medium) if query.is_calibrated else None
        if scale is None:
            return None
        standard = scale.standardize(row)
        if query.is_negative:
            total -= np.maximum(standard, 0) / negative_count
        else:
            total += standard / (len(queries) - negative_count)
    return total


@dataclass(frozen=True, slots=True)
class _Entry:
    hit: Hit
    score: float
    probability: float | None
    standard: float | None
    margin: tuple[float, str] | None


def rank_candidates(
    candidates: Sequence[Candidates], *, k: int, per_medium: bool, class_name: str | None
) -> tuple[Hit, ...]:
    """Return the first `k` of all candidates, or of each medium.

    Args:
        candidates: One for each medium.
        class_name: A class that the query names: hits with that label come first, with probability 1; hits with
            another label have probability 0.
    """
    entries = [entry for each in candidates for entry in _make_entries(each, class_name)]
    ordered = _order_entries(entries)
    if per_medium:
        seen: Counter[Medium] = Counter()
        kept = []
        for entry in ordered:
            seen[entry.hit.medium] += 1
            if seen[entry.hit.medium] <= k:
                kept.append(entry)
    else:
        kept = ordered[:k]
    return tuple(_rank_hit(rank, entry) for rank, entry in enumerate(kept, start=1))


def _make_entries(candidates: Candidates, class_name: str | None) -> list[_Entry]:
    count = len(candidates.hits)
    likely = [None] * count if candidates.logit is None else compute_sigmoid(candidates.logit).tolist()
    standard = [None] * count if candidates.standard is None else candidates.standard.tolist()
    if class_name is not None:
        labels = [hit.class_name for hit in candidates.hits]
        likely = [
            value if label is None else float(label == class_name) for label, value in zip(labels, likely, strict=True)
        ]
    margins = compute_class_margins(candidates)
    entries = list(map(_Entry, candidates.hits, candidates.score.tolist(), likely, standard, margins))
    # A label that is known may stand above the order of the scores.
    return (
        sorted(entries, key=lambda entry: -_label_certainty(entry.probability)) if class_name is not None else entries
    )


def _label_certainty(probability: float | None) -> float:
    """Return 1 or 0 where a label is known, and one value between for all others."""
    return 0.5 if probability is None or 0 < probability < 1 else probability


def _order_entries(entries: Sequence[_Entry]) -> list[_Entry]:
    """Return entries of several media as one list; those of each medium stay in their order."""
    media = [entry.hit.medium for entry in entries]
    turn: Counter[Medium] = Counter()
    by_turn = []
    for medium in media:
        by_turn.append((float(turn[medium]), float(MEDIA.index(medium))))
        turn[medium] += 1
    has_probability = all(entry.probability is not None for entry in entries)
    has_standard = all(entry.standard is not None for entry in entries)

    def key(index: int) -> tuple[float, float, float]:
        entry = entries[index]
        if entry.probability == 1.0 or (
            has_probability and entry.probability is not None and entry.probability >= CERTAIN
        ):
            return (0.0, *by_turn[index])
        if has_probability and entry.probability is not None:
            return (1.0, -entry.probability, -entry.score)
        if has_standard and entry.standard is not None:
            return (1.0, -entry.standard, -entry.score)
        return (1.0, *by_turn[index])

    return [entries[index] for index in sorted(range(len(entries)), key=key)]


def _rank_hit(rank: int, entry: _Entry) -> Hit:
    margin, look_alike = entry.margin or (None, None)
    return entry.hit._replace(
        rank=rank, score=entry.score, probability=entry.probability, margin=margin, look_alike=look_alike
    )
