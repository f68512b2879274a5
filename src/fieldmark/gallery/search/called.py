"""Search without labels: the curves of scores, the names of items and the open-set answer, all by what encoders say."""

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from fieldmark.gallery.search.calibration import Curve, PairScale, ScoreCalibration, compute_sigmoid
from fieldmark.gallery.search.query import QueryEmbedding, QueryEncoder, find_rows, pool_segments
from fieldmark.gallery.search.result import OpenSetAnswer
from fieldmark.gallery.store import Filter, NearItem, SegmentIndex
from fieldmark.types import MEDIA, Embeddings, Hit, Medium

# ---------------------------------------------------------------- curves

_SURE = 0.9
"""Probability from which on two items show what their looks add to their score."""
_FEWEST_PAIRS = 10
_USUAL_LOOK = 0.5
"""Cosine of the looks of two items of one species, where too few pairs show it."""
_NO_SCORES = PairScale(mean=0.0, deviation=1.0, curve=None)
"""Of two media of which too few items are there to know which scores are usual."""
_MOST_ROWS = 2000
"""Of a medium, whose pairs are looked at."""


def add_overlap_curves(
    calibration: ScoreCalibration, embeddings: Embeddings, *, encoder: QueryEncoder
) -> ScoreCalibration:
    """Return a calibration by labels, completed by what encoders call items where there are too few labels.

    The score of two items is the overlap of their names times the weight of names, and what their looks add where one
    encoder reads both. That is taken to be what it is on average for items that are surely called the same.

    Args:
        encoder: Of a model with a space without training; with another, nothing is added.
    """
    if encoder.name_weight is None:
        return calibration
    sure = {medium: _find_sure_rows(embeddings, medium=medium, encoder=encoder) for medium in MEDIA}
    scales = dict(calibration.scales)
    present = {item.medium for item in embeddings.items}
    for query, hit in itertools.product(MEDIA, present):
        scale = scales.get((query, hit), _NO_SCORES)
        weight = encoder.get_overlap_weight(query, hit)
        if scale.curve is not None or weight is None:
            continue
        look = 0.0
        if encoder.can_compare_looks(query, hit):
            look = _measure_look(embeddings, sure[query], sure[hit], name_weight=weight)
        prior = 1 / max(len(np.unique(sure[hit].species)), 2)
        by_name = (encoder.get_overlap_weight(None, hit) if query is Medium.TEXT else None) or weight
        curve = Curve(
            1 / weight,
            -look / weight,
            prior,
            relevant_count=0,
            query_count=0,
            is_overlap=True,
            name_factor=weight / by_name,
        )
        scales[query, hit] = replace(scale, curve=curve)
    return replace(calibration, scales=scales)


@dataclass(frozen=True, slots=True)
class _SureRows:
    """Rows of one medium of which the encoder is sure what they are.

    Args:
        row: Their index.
        species: The index of what each is called, among the species that the medium's encoder names.
        probability: Of that species.
    """

    row: Int[np.ndarray, " row"]
    species: Int[np.ndarray, " row"]
    probability: Float[np.ndarray, " row"]


def _find_sure_rows(embeddings: Embeddings, *, medium: Medium, encoder: QueryEncoder) -> _SureRows:
    row = np.array([index for index, item in enumerate(embeddings.items) if item.medium is medium], dtype=np.int64)
    score = encoder.score_species(embeddings.embedding[row], medium=medium) if row.size else None
    if score is None or not score.size:
        return _SureRows(row[:0], row[:0], np.zeros(0))
    species = score.argmax(axis=1)
    probability = score[np.arange(len(species)), species].astype(np.float64)
    chosen = np.flatnonzero(probability >= _SURE)[:_MOST_ROWS]
    return _SureRows(row[chosen], species[chosen].astype(np.int64), probability[chosen])


def _measure_look(embeddings: Embeddings, first: _SureRows, second: _SureRows, *, name_weight: float) -> float:
    """Return what looks add to the scores of items that are surely called the same."""
    ids = np.array([item.item_id for item in embeddings.items])
    same = first.species[:, None] == second.species[None, :]
    same &= ids[first.row][:, None] != ids[second.row][None, :]
    if same.sum() < _FEWEST_PAIRS:
        return _USUAL_LOOK * (1 - name_weight)
    score = embeddings.embedding[first.row] @ embeddings.embedding[second.row].T
    overlap = np.sqrt(first.probability[:, None] * second.probability[None, :])
    return max(float((score - name_weight * overlap)[same].mean()), 0.0)


# ---------------------------------------------------------------- what an item is called

_LEAST_CALLED = 0.01
"""Probability below which an item is called nothing."""


def call_hits(
    hits: Sequence[Hit], *, index: SegmentIndex, encoder: QueryEncoder, called: Mapping[Medium, Sequence[str]]
) -> tuple[Hit, ...]:
    """Return hits with the species that encoders call those without a class; unchanged where encoders name none.

    Args:
        called: One name of each species that the encoder of a medium names, in the order of its scores.
    """
    open_ids = frozenset(hit.item_id for hit in hits if hit.class_name is None and hit.medium in called)
    if encoder.name_weight is None or not open_ids:
        return tuple(hits)
    stored = index.embeddings(Filter(item_ids=open_ids))
    names: dict[str, tuple[str, float]] = {}
    rows_of = find_rows(stored)
    for medium, species in called.items():
        own = [item_id for item_id, rows in rows_of.items() if stored.items[rows[0]].medium is medium]
        if not own:
            continue
        pooled = [pool_segments(stored.embedding[rows_of[each]], medium=medium, encoder=encoder) for each in own]
        score = encoder.score_species(np.stack(pooled).astype(np.float32), medium=medium)
        if score is not None and score.shape[1] == len(species):
            best = score.argmax(axis=1)
            chances = score[np.arange(len(best)), best].tolist()
            named = zip(own, best, chances, strict=True)
            names |= {each: (species[at], chance) for each, at, chance in named if chance >= _LEAST_CALLED}
    return tuple(
        hit._replace(called=names[hit.item_id][0], called_probability=names[hit.item_id][1])
        if hit.item_id in names
        else hit
        for hit in hits
    )


# ---------------------------------------------------------------- whether a species is there

_DOUBTS = (0.35, 0.2, 0.0)
"""Subtracted from the mean probability of one, of two and of three items: one alone must be all but certain."""
CALLED_THRESHOLD = 0.6
"""From here on a name is there. Chosen on fgbirds' train split: of the names that the photo encoder knows, 3 % of those
that are there are missed, and 4 % of all others are found."""
ALIKE_THRESHOLD = 0.5
"""From here on the species of a photo, a sound or a clip is likely there."""
UNLIKE_THRESHOLD = 0.2
"""Below this it is called missing; between the two nothing can be told. On fgbirds' train split 5 % of the photos whose
species is there are called missing, and 60 % of those whose species is left out."""


def answer_called(found: Collection[Float[np.ndarray, " hit"]], *, is_name: bool) -> OpenSetAnswer | None:
    """Tell whether a gallery without labels holds the species of a query, by what the encoders call its items.

    It takes three items of one medium that are probably of the species, or fewer that are more certain.

    Args:
        found: The probabilities of the nearest hits of each medium, best first.
        is_name: Whether the query is a name, which needs no encoder to be read and so leaves less in doubt.
    """
    chances = []
    for own in found:
        chances += [float(own[: count + 1].mean()) - _DOUBTS[count] for count in range(min(len(own), len(_DOUBTS)))]
    if not chances:
        return None
    chance = max(0.0, *chances)
    if is_name:
        return OpenSetAnswer(chance, CALLED_THRESHOLD)
    return OpenSetAnswer(chance, ALIKE_THRESHOLD, can_tell=chance >= ALIKE_THRESHOLD or chance < UNLIKE_THRESHOLD)


def compute_chances(
    near: Sequence[Hit | NearItem], *, query: QueryEmbedding, medium: Medium, calibration: ScoreCalibration
) -> Float[np.ndarray, " hit"]:
    """Return the probabilities that the encoders' names give to items of one medium; none where they give none."""
    curve = calibration.get_curve(query.medium, medium, is_name=query.is_name)
    if curve is None or not curve.is_overlap:
        return np.zeros(0)
    return compute_sigmoid(curve.compute_logit(np.array([each.score for each in near])))
