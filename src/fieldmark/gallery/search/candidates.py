"""The hits that a search may show: found for every voice and medium, scored by all voices, with their look-alikes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from fieldmark.gallery.search.calibration import Calibration
from fieldmark.gallery.search.fusion import Voice, combined_logit, combined_standard
from fieldmark.gallery.store import Filter, SegmentIndex
from fieldmark.types import Embeddings, Hit, Medium


@dataclass(frozen=True, slots=True)
class Candidates:
    """Hits of one medium, the nearest first.

    Args:
        score: Mean score of the voices that speak for a hit.
        logit: Log-odds that it is of the wanted class; None where that is not known.
        standard: How far its score lies above the usual; None where that is not known.
        others: Hits of further classes, that are not shown and only tell how near the nearest other class is.
    """

    medium: Medium
    hits: tuple[Hit, ...]
    score: Float[np.ndarray, " hit"]
    logit: Float[np.ndarray, " hit"] | None
    standard: Float[np.ndarray, " hit"] | None
    others: tuple[Hit, ...] = ()


def find_candidates(  # noqa: PLR0913 - a search has as many sides
    index: SegmentIndex,
    voices: Sequence[Voice],
    *,
    calibration: Calibration,
    medium: Medium,
    where: Filter,
    depth: int,
    by_segment: bool,
) -> Candidates:
    """Candidates of one medium.

    With several voices the nearest items of each that speaks for a hit are put together, and every voice scores them.

    Args:
        depth: Items, or segments, that each voice finds.
    """
    where = replace(where, media=frozenset({medium}))
    found = [
        index.search(voice.embedding, k=depth, where=where, by_segment=by_segment)
        for voice in voices
        if not voice.is_against
    ]
    if len(voices) == 1:
        hits, score = found[0], np.array([[hit.score for hit in found[0]]])
    else:
        hits, score = _score_union(index, voices, found=found, by_segment=by_segment)
    is_for = np.array([not voice.is_against for voice in voices])
    logit = combined_logit(score, voices=voices, medium=medium, calibration=calibration)
    standard = combined_standard(score, voices=voices, medium=medium, calibration=calibration)
    mean = score[is_for].mean(axis=0)
    best = logit if logit is not None else standard if standard is not None else mean
    order = np.argsort(-best, kind="stable")
    return Candidates(
        medium,
        tuple(hits[place] for place in order),
        mean[order],
        None if logit is None else logit[order],
        None if standard is None else standard[order],
    )


def class_margins(candidates: Candidates) -> list[tuple[float, str] | None]:
    """For each hit, how much nearer its class is than the nearest other class of its medium, and which that is."""
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


def _score_union(
    index: SegmentIndex, voices: Sequence[Voice], *, found: Sequence[tuple[Hit, ...]], by_segment: bool
) -> tuple[tuple[Hit, ...], Float[np.ndarray, "voice hit"]]:
    """Every item, or segment, that some voice found, once, with its score by every voice.

    An item's score by a voice is that of its best segment; its moment is the segment that the voices for it find best.
    """
    hit_of = {_key(hit, by_segment=by_segment): hit for hits in found for hit in hits}
    if not hit_of:
        return (), np.zeros((len(voices), 0))
    stored = index.embeddings(Filter(item_ids=frozenset(hit.item_id for hit in hit_of.values())))
    score = np.stack([voice.embedding for voice in voices]) @ stored.embedding.T
    mean = score[[not voice.is_against for voice in voices]].mean(axis=0)
    rows_of: dict[tuple[str, float | None], list[int]] = {}
    for row, item in enumerate(stored.items):
        start = _moment(stored, row)[0] if by_segment else None
        rows_of.setdefault((item.item_id, start), []).append(row)
    hits, columns = [], []
    for key, hit in hit_of.items():
        rows = rows_of.get(key)
        if rows is None:
            continue  # dropped by another process since it was found
        start, end = _moment(stored, rows[int(np.argmax(mean[rows]))])
        hits.append(hit._replace(start_seconds=start, end_seconds=end))
        columns.append(score[:, rows].max(axis=1))
    return tuple(hits), np.stack(columns, axis=1) if columns else np.zeros((len(voices), 0))


def _key(hit: Hit, *, by_segment: bool) -> tuple[str, float | None]:
    return hit.item_id, hit.start_seconds if by_segment else None


def _moment(stored: Embeddings, row: int) -> tuple[float | None, float | None]:
    start, end = float(stored.start_seconds[row]), float(stored.end_seconds[row])
    return None if np.isnan(start) else start, None if np.isnan(end) else end
