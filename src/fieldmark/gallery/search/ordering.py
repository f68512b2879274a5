"""Candidates of several media in one list: by probability, else by what is usual for a medium, else in turns."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from fieldmark.gallery.search.calibration import sigmoid
from fieldmark.gallery.search.candidates import Candidates, class_margins
from fieldmark.types import MEDIA, Hit, Medium

CERTAIN = 0.99
"""From here on probabilities tell no two hits apart: a curve rests on some hundred pairs of one class."""


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
    """The first `k` of all candidates, or of each medium.

    Args:
        candidates: One for each medium.
        class_name: A class that the query names: hits labelled so come first, with probability 1; hits with another
            label have probability 0.
    """
    entries = [entry for each in candidates for entry in _entries(each, class_name)]
    ordered = _in_order(entries)
    if per_medium:
        seen: Counter[Medium] = Counter()
        kept = []
        for entry in ordered:
            seen[entry.hit.medium] += 1
            if seen[entry.hit.medium] <= k:
                kept.append(entry)
    else:
        kept = ordered[:k]
    return tuple(_ranked(rank, entry) for rank, entry in enumerate(kept, start=1))


def _entries(candidates: Candidates, class_name: str | None) -> list[_Entry]:
    margins = class_margins(candidates)
    likely = None if candidates.logit is None else sigmoid(candidates.logit)
    entries = []
    for place, hit in enumerate(candidates.hits):
        probability = None if likely is None else float(likely[place])
        if class_name is not None and hit.class_name is not None:
            probability = 1.0 if hit.class_name == class_name else 0.0
        standard = None if candidates.standard is None else float(candidates.standard[place])
        entries.append(_Entry(hit, float(candidates.score[place]), probability, standard, margins[place]))
    # A label that is known may stand above the order of the scores.
    return sorted(entries, key=lambda entry: -_clear(entry.probability)) if class_name is not None else entries


def _clear(probability: float | None) -> float:
    """1 and 0 where a label is known, one value between for all others."""
    return 0.5 if probability is None or 0 < probability < 1 else probability


def _in_order(entries: Sequence[_Entry]) -> list[_Entry]:
    """Entries of several media, those of each in their order, as one list."""
    turn: Counter[Medium] = Counter()
    turns = []
    for entry in entries:
        turns.append(turn[entry.hit.medium])
        turn[entry.hit.medium] += 1
    has_probability = all(entry.probability is not None for entry in entries)
    has_standard = all(entry.standard is not None for entry in entries)

    def key(place: int) -> tuple[float, float, float]:
        entry = entries[place]
        by_turn = (float(turns[place]), float(MEDIA.index(entry.hit.medium)))
        if entry.probability == 1.0 or (
            has_probability and entry.probability is not None and entry.probability >= CERTAIN
        ):
            return (0.0, *by_turn)
        if has_probability and entry.probability is not None:
            return (1.0, -entry.probability, -entry.score)
        if has_standard and entry.standard is not None:
            return (1.0, -entry.standard, -entry.score)
        return (1.0, *by_turn)

    return [entries[place] for place in sorted(range(len(entries)), key=key)]


def _ranked(rank: int, entry: _Entry) -> Hit:
    margin, look_alike = entry.margin or (None, None)
    return entry.hit._replace(
        rank=rank, score=entry.score, probability=entry.probability, margin=margin, look_alike=look_alike
    )
