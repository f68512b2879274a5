"""Items by what their encoders call them, where labels are missing: curves, and the species that an item is called."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import final

import numpy as np
from jaxtyping import Float, Int

from fieldmark.gallery.search.calibration import Curve, ScoreCalibration, compute_sigmoid
from fieldmark.gallery.search.query import QueryEncoder
from fieldmark.gallery.search.result import OpenSetAnswer
from fieldmark.gallery.store import Comparison, Filter
from fieldmark.names import KnownNames
from fieldmark.types import MEDIA, Embeddings, Medium

CALLED = 0.5
"""Probability from which on an item is called a species."""
_SURE = 0.9
_FEWEST_PAIRS = 10
_USUAL_LOOK = 0.5
"""Cosine of the looks of two items of one species, where too few pairs show it."""
_PAIRS_AT_ONCE = 2000
"""Most items of a medium whose pairs are looked at."""


@dataclass(frozen=True, slots=True)
class CalledItems:
    """What encoders call some items.

    Args:
        name: Of each item's most likely species; None where no encoder names species.
        probability: Of that species, by the encoder; 0 where there is none.
    """

    name: tuple[str | None, ...]
    probability: Float[np.ndarray, " item"]


@final
class SpeciesCaller:
    """Tells what encoders call items, by one name for each species whatever encoder knows it.

    Args:
        species: All names of each species that the encoder of a medium tells apart, in the order of its scores.
    """

    def __init__(self, encoder: QueryEncoder, *, species: Mapping[Medium, Sequence[Sequence[str]]]) -> None:
        known = KnownNames(names for each in species.values() for names in each)
        self._encoder = encoder
        self._names = {
            medium: [known.choose_name(names[0]) or names[0] for names in each] for medium, each in species.items()
        }

    def call(self, embedding: Float[np.ndarray, "item dim"], *, medium: Medium) -> CalledItems:
        """Return what the encoder of a medium calls some items."""
        score = self._encoder.score_species(embedding, medium=medium)
        names = self._names.get(medium, [])
        if score is None or not len(names) or not len(score):
            return CalledItems((None,) * len(embedding), np.zeros(len(embedding)))
        best = score.argmax(axis=1)
        return CalledItems(tuple(names[index] for index in best), score[np.arange(len(best)), best].astype(np.float64))


def label_by_calls(
    embeddings: Embeddings, caller: SpeciesCaller, *, weight: Float[np.ndarray, " row"]
) -> tuple[Embeddings, CalledItems]:
    """Return the rows of some items with what they are called as their class, if anything, and what each row's item is.

    Args:
        weight: Of each segment in its item.
    """
    rows = embeddings.items
    first = np.array([row for row in range(len(rows)) if row == 0 or rows[row].item_id != rows[row - 1].item_id])
    item_of_row = np.cumsum(np.isin(np.arange(len(rows)), first)) - 1
    mean = np.add.reduceat(weight[:, None] * embeddings.embedding, first, axis=0)
    mean /= np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), np.finfo(np.float64).tiny)
    medium = np.array([MEDIA.index(rows[row].medium) for row in first])
    name: list[str | None] = [None] * len(first)
    probability = np.zeros(len(first))
    for code in np.unique(medium).tolist():
        index = np.flatnonzero(medium == code)
        called = caller.call(mean[index].astype(np.float32), medium=MEDIA[code])
        probability[index] = called.probability
        for at, each in zip(index.tolist(), called.name, strict=True):
            name[at] = each
    labels = [each if chance >= CALLED else None for each, chance in zip(name, probability.tolist(), strict=True)]
    labeled = tuple(replace(item, class_name=labels[at]) for item, at in zip(rows, item_of_row.tolist(), strict=True))
    of_row = CalledItems(tuple(name[at] for at in item_of_row.tolist()), probability[item_of_row])
    return replace(embeddings, items=labeled), of_row


def measure_overlap_curves(
    embeddings: Embeddings, called: CalledItems, *, encoder: QueryEncoder
) -> dict[tuple[Medium, Medium], Curve]:
    """Return the curve of each pair of media, from a score to the probability that two items are called the same.

    The look of two items adds to their score where one encoder reads both: on average as much as it does for items that
    are surely called the same. Media whose items have no names have no curve.

    Args:
        called: What each row's item is called.
        encoder: Of a model without training; another has no such curves.
    """
    name_weight = encoder.name_weight
    if name_weight is None:
        return {}
    codes = {name: code for code, name in enumerate(dict.fromkeys(called.name))}
    species = np.array([codes[name] for name in called.name])
    medium = np.array([MEDIA.index(item.medium) for item in embeddings.items])
    sure = {
        each: np.flatnonzero((medium == code) & (called.probability >= _SURE))[:_PAIRS_AT_ONCE]
        for code, each in enumerate(MEDIA)
    }
    is_named = {each: bool(called.probability[medium == code].any()) for code, each in enumerate(MEDIA)}
    curves = {}
    for query in MEDIA:
        for hit in MEDIA:
            # A name asks as a text does.
            if not ((is_named[query] or query is Medium.TEXT) and is_named[hit]):
                continue
            look = _measure_look(embeddings, species, called, rows=(sure[query], sure[hit]), name_weight=name_weight)
            if look is None:
                look = _USUAL_LOOK * (1 - name_weight) if query is hit else 0.0
            look = max(look, 0.0)  # what remains between encoders that share nothing but names is rounding
            curves[query, hit] = Curve(
                slope=1 / name_weight,
                offset=-look / name_weight,
                prior=1 / max(len(codes), 2),
                relevant_count=0,
                query_count=0,
                is_overlap=True,
            )
    return curves


def _measure_look(
    embeddings: Embeddings,
    species: Int[np.ndarray, " row"],
    called: CalledItems,
    *,
    rows: tuple[Int[np.ndarray, " query"], Int[np.ndarray, " hit"]],
    name_weight: float,
) -> float | None:
    """Return what looks add to the scores of items that are surely called the same; None for too few pairs."""
    first, second = rows
    ids = np.array([item.item_id for item in embeddings.items])
    same = (species[first][:, None] == species[second][None, :]) & (ids[first][:, None] != ids[second][None, :])
    if same.sum() < _FEWEST_PAIRS:
        return None
    score = embeddings.embedding[first] @ embeddings.embedding[second].T
    overlap = np.sqrt(called.probability[first][:, None] * called.probability[second][None, :])
    return float((score - name_weight * overlap)[same].mean())


# ---------------------------------------------------------------- whether anything is called by a name

CALLED_THRESHOLD = 0.6
"""A name is there if the two items of a medium that are most likely called so have this mean probability. Chosen on
fgbirds' train split: of names that are there 1 % are missed, of all other names that an encoder knows 5 % are found."""
_LONE_DOUBT = 0.3
"""What a single item must have more, to count alone."""


def answer_called(comparison: Comparison, *, media: Collection[Medium], calibration: ScoreCalibration) -> OpenSetAnswer:
    """Tell whether the encoders call any item by a name, from its comparison with the store.

    It takes two items of one medium that are probably called so, or one that is called so almost certainly.

    Args:
        media: Whose encoders name species.
    """
    chances = [0.0]
    for medium in media:
        curve = calibration.get_curve(Medium.TEXT, medium)
        nearest = comparison.find_nearest(k=2, where=Filter(media=frozenset({medium})))
        if curve is None or not curve.is_overlap or not nearest:
            continue
        chance = compute_sigmoid(curve.compute_logit(np.array([hit.score for hit in nearest])))
        chances += [float(chance.mean()) if len(chance) > 1 else 0.0, float(chance[0]) - _LONE_DOUBT]
    return OpenSetAnswer(max(chances), CALLED_THRESHOLD)
