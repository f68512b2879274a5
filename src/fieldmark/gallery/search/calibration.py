"""The calibration of scores: curves from a score to log-odds, and the file that holds them.

Scores of two media mean different things: a photo is nearer to most photos than to the song of its own species. So each
pair (medium of the query, medium of the hit) has its own curve. Where too few labels are known, a score is only
compared with the scores that are usual for its pair. A curve is a logistic regression of one variable (Platt, 1999):

    logit P(same class | score) = slope * score + offset,  slope > 0

It rises strictly with the score, so the order of hits stays. Without labels, what the encoders call the items takes
their place: the score tells by how much the names of two items overlap, and the square of this is the probability that
they are of one species, if the encoders are right. A few words say less than a whole description, yet their
scores are as high; so for a text both slope and offset depend on its length, the logarithm of its word count.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, final

import numpy as np
from jaxtyping import Bool, Float

from fieldmark.errors import DamagedGalleryError
from fieldmark.gallery.files import GalleryPlace, open_files
from fieldmark.gallery.layout import GalleryFile
from fieldmark.types import Medium

# ---------------------------------------------------------------- curves

_RIDGE = 1e-3
_STEPS = 100
_SMALLEST_SLOPE = 1e-3
_OVERLAP_RANGE = (0.01, 0.999)
"""An overlap by chance is no evidence, and no two encoders are certain together."""
MIN_QUERIES = 10
"""Fewest queries that a curve is fitted on; the cases of one query are much alike."""
USUAL_WORDS = 20
"""A text of this many words has length 0, and so has a query of another medium."""


@dataclass(frozen=True, slots=True)
class Curve:
    """The fitted curve of a pair of media.

    Args:
        prior: Share of pairs of one class among all that were fitted.
        relevant_count: Those pairs.
        query_count: Queries among them.
        slope_by_length: What a text's length adds to the slope, for each unit of it.
        offset_by_length: What it adds to the offset.
        doubt: Of an open-set curve: log-odds below zero by no more than this do not say that the class is missing.
        is_overlap: Whether slope and offset give, in place of log-odds, the root of the probability that the encoders'
            own names for two items are the same.
        name_factor: Of such a curve: what the slope is multiplied by for a query that is a name alone.
    """

    slope: float
    offset: float
    prior: float
    relevant_count: int
    query_count: int
    slope_by_length: float = 0.0
    offset_by_length: float = 0.0
    doubt: float = 0.0
    is_overlap: bool = False
    name_factor: float = 1.0

    def fix_length(self, length: float) -> "Curve":
        """Return the curve for queries of one length; it no longer depends on length."""
        if not self.slope_by_length and not self.offset_by_length:
            return self
        slope, offset = self.slope + self.slope_by_length * length, self.offset + self.offset_by_length * length
        return replace(self, slope=slope, offset=offset, slope_by_length=0.0, offset_by_length=0.0)

    def compute_logit(
        self, score: Float[np.ndarray, "*hit"], length: Float[np.ndarray, "..."] | float = 0.0
    ) -> Float[np.ndarray, "*hit"]:
        """Return the log-odds that query and hit are of one class.

        Args:
            length: Of the query of each hit, or of all.
        """
        slope = self.slope + self.slope_by_length * length
        logit: Float[np.ndarray, "*hit"] = slope * score + self.offset + self.offset_by_length * length
        if self.is_overlap:
            probability = np.clip(logit, *_OVERLAP_RANGE) ** 2
            logit = np.log(probability) - np.log1p(-probability) + _SMALLEST_SLOPE * logit  # rises beyond the range too
        return logit

    @property
    def prior_logit(self) -> float:
        """Log-odds before a score is known."""
        return math.log(self.prior / (1 - self.prior))


def compute_text_length(word_count: int) -> float:
    """Return the length of a text as curves take it: the logarithm of its word count, 0 for `USUAL_WORDS`."""
    return math.log(max(word_count, 1) / USUAL_WORDS)


def fit_curve(
    score: Float[np.ndarray, " case"],
    relevant: Bool[np.ndarray, " case"],
    *,
    query_count: int,
    length: Float[np.ndarray, " case"] | None = None,
) -> Curve:
    """Fit the curve of largest likelihood; where it would fall with the score, return one that is all but flat.

    Args:
        length: Of the query of each case; None where all are alike. Where the curve would fall at some length, all
            lengths share one.
    """
    share = float((relevant.sum() + 0.5) / (relevant.size + 1))
    curve = Curve(0.0, 0.0, share, relevant_count=int(relevant.sum()), query_count=query_count)
    if length is not None and length.min() < length.max():
        columns = np.column_stack([score, length, score * length])
        slope, offset_by_length, slope_by_length, offset = fit_logistic(columns, relevant).tolist()
        if min(slope + slope_by_length * end for end in (length.min(), length.max())) >= _SMALLEST_SLOPE:
            by_length = {"slope_by_length": slope_by_length, "offset_by_length": offset_by_length}
            return replace(curve, slope=slope, offset=offset, **by_length)
    slope, offset = fit_logistic(score[:, None], relevant).tolist()
    if slope < _SMALLEST_SLOPE:
        slope, offset = _SMALLEST_SLOPE, float(np.log(share / (1 - share)) - _SMALLEST_SLOPE * score.mean())
    return replace(curve, slope=slope, offset=offset)


def fit_logistic(
    columns: Float[np.ndarray, "case column"], target: Bool[np.ndarray, " case"], *, ridge: float = _RIDGE
) -> Float[np.ndarray, " weight"]:
    """Fit the weights of columns and, last, the offset: logistic regression with a small ridge, by Newton's method."""
    design = np.column_stack([columns, np.ones(len(columns))])
    weights = np.zeros(design.shape[1])
    penalty = np.full(design.shape[1], ridge)
    loss = _logistic_loss(design, target, weights, penalty)
    for _ in range(_STEPS):
        probability = compute_sigmoid(design @ weights)
        gradient = design.T @ (probability - target) + penalty * weights
        curvature = (design * (probability * (1 - probability))[:, None]).T @ design + np.diag(penalty)
        step = np.linalg.solve(curvature, gradient)
        size = 1.0
        while size > 1e-6:
            tried = weights - size * step
            new_loss = _logistic_loss(design, target, tried, penalty)
            if new_loss <= loss:
                break
            size /= 2
        else:
            break
        gain, weights, loss = loss - new_loss, tried, new_loss
        if gain < 1e-9 * max(loss, 1.0):
            break
    return weights


def compute_sigmoid(logit: Float[np.ndarray, "*hit"]) -> Float[np.ndarray, "*hit"]:
    """Return the probability that log-odds stand for."""
    probability: Float[np.ndarray, "*hit"] = 0.5 * (1 + np.tanh(0.5 * np.asarray(logit)))
    return probability


def _logistic_loss(
    design: Float[np.ndarray, "case weight"],
    target: Bool[np.ndarray, " case"],
    weights: Float[np.ndarray, " weight"],
    penalty: Float[np.ndarray, " weight"],
) -> float:
    logit = design @ weights
    return float(np.logaddexp(0, logit).sum() - logit[target].sum() + 0.5 * (penalty * weights**2).sum())


# ---------------------------------------------------------------- the calibration of a gallery

FORMAT_VERSION = 5
_WITHOUT_LENGTHS = 3
"""The version before curves depended on the length of a text; read as it is."""
_WITHOUT_DOUBT = 4
"""The version before an open-set answer could be left open; read as it is."""
_EARLIER_OPEN_SET_SCORE = (1, 2)
"""Versions whose open-set curves take another score; read without those curves."""


@dataclass(frozen=True, slots=True)
class PairScale:
    """The distribution of scores of one pair of media, and their curve.

    Args:
        mean: Of the scores of all pairs of items.
        deviation: Their standard deviation.
        curve: None where too few labels are known.
    """

    mean: float
    deviation: float
    curve: Curve | None

    def standardize(self, score: Float[np.ndarray, " hit"]) -> Float[np.ndarray, " hit"]:
        """Return how many deviations above the usual the scores are."""
        standard: Float[np.ndarray, " hit"] = (score - self.mean) / self.deviation
        return standard


@dataclass(frozen=True, slots=True)
class MediumCenter:
    """The middle of the items of one medium; a query that shows nothing of a class lies near it.

    Args:
        direction: The mean of the items' embeddings, of length 1.
        largest_score: Of nearly all queries that the calibration was fitted on.
    """

    direction: tuple[float, ...]
    largest_score: float

    def is_unlike_items(self, query: Float[np.ndarray, " dim"]) -> bool:
        """Tell whether a query lies nearer to the middle than what the calibration was fitted on."""
        return float(np.asarray(self.direction) @ query) > self.largest_score


@dataclass(frozen=True, slots=True)
class ScoreCalibration:
    """The calibration of a gallery's scores, fitted on its labelled items.

    Args:
        scales: Of each pair (medium of the query, medium of the hit); pairs that no item shows are missing.
        lengths: Of the shortest and the longest text among the queries; a text beyond them counts as one of these.
        open_set_curves: From the open-set score to the log-odds that the gallery holds the class, by query medium.
        fitted_on: Identifies the items, as they stood; empty where unknown.
        elsewhere_curves: As the open-set curves, for a class that the gallery holds in other media than the query's.
        centers: Of the items of each medium.
    """

    scales: Mapping[tuple[Medium, Medium], PairScale]
    lengths: tuple[float, float] = (0.0, 0.0)
    open_set_curves: Mapping[Medium, Curve] = field(default_factory=dict)
    fitted_on: str = ""
    elsewhere_curves: Mapping[Medium, Curve] = field(default_factory=dict)
    centers: Mapping[Medium, MediumCenter] = field(default_factory=dict)

    def get_scale(self, query: Medium, hit: Medium) -> PairScale | None:
        """Return the scale of one pair of media; None where it is not known."""
        return self.scales.get((query, hit))

    def get_curve(
        self, query: Medium, hit: Medium, *, word_count: int | None = None, is_name: bool = False
    ) -> Curve | None:
        """Return the curve of one pair of media; None where there are too few labels.

        Args:
            word_count: Of a query that is a text; None where it is not known.
            is_name: Whether the query is the name of a species alone, which has no look to be like that of a text.
        """
        scale = self.get_scale(query, hit)
        if scale is None or scale.curve is None:
            return None
        if is_name and scale.curve.is_overlap:
            return replace(scale.curve, slope=scale.curve.slope * scale.curve.name_factor, offset=0.0)
        return scale.curve.fix_length(self.clip_length(word_count))

    def get_open_set_curve(
        self, query: Medium, *, word_count: int | None = None, is_elsewhere: bool = False
    ) -> Curve | None:
        """Return the open-set curve for a query; None where there are too few labels.

        Args:
            word_count: Of a query that is a text; None where it is not known.
            is_elsewhere: For the score of a class that only other media hold.
        """
        curve = (self.elsewhere_curves if is_elsewhere else self.open_set_curves).get(query)
        return None if curve is None else curve.fix_length(self.clip_length(word_count))

    def clip_length(self, word_count: int | None) -> float:
        """Return a text's length, within `lengths`; an unknown word count has length 0, clipped too."""
        shortest, longest = self.lengths
        return min(max(0.0 if word_count is None else compute_text_length(word_count), shortest), longest)


UNCALIBRATED = ScoreCalibration({})
CERTAIN = 0.99
"""From here on probabilities do not separate two hits: a curve rests on some hundred pairs of one class."""


def write_calibration(calibration: ScoreCalibration, folder: GalleryPlace) -> None:
    """Write the file of a gallery, whole or not at all."""
    pairs = [
        {"query": query.value, "hit": hit.value, **asdict(scale)} for (query, hit), scale in calibration.scales.items()
    ]
    holds = {medium.value: asdict(curve) for medium, curve in calibration.open_set_curves.items()}
    value = {
        "format_version": FORMAT_VERSION,
        "fitted_on": calibration.fitted_on,
        "lengths": calibration.lengths,
        "pairs": pairs,
        "holds": holds,
        "holds_elsewhere": {medium.value: asdict(curve) for medium, curve in calibration.elsewhere_curves.items()},
        "centers": {medium.value: asdict(center) for medium, center in calibration.centers.items()},
    }
    open_files(folder).write(GalleryFile.CALIBRATION, json.dumps(value, indent=1).encode())


def read_calibration(folder: GalleryPlace) -> ScoreCalibration:
    """Read the file of a gallery; one that is missing is `UNCALIBRATED`.

    Raises:
        DamagedGalleryError: The file is no calibration, or one of another version.
    """
    path = open_files(folder).find(GalleryFile.CALIBRATION)
    if path is None:
        return UNCALIBRATED
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DamagedGalleryError(path=path, reason=str(error)) from error
    try:
        value = json.loads(text)
        if value["format_version"] not in (*_EARLIER_OPEN_SET_SCORE, _WITHOUT_LENGTHS, _WITHOUT_DOUBT, FORMAT_VERSION):
            raise DamagedGalleryError(path=path, reason=f"its format version is not {FORMAT_VERSION}")
        scales = {(Medium(pair["query"]), Medium(pair["hit"])): _scale(pair) for pair in value["pairs"]}
        holds = {Medium(name): _curve(curve) for name, curve in value["holds"].items()}
        if value["format_version"] in _EARLIER_OPEN_SET_SCORE:
            holds = {}
        elsewhere = {Medium(name): _curve(curve) for name, curve in value.get("holds_elsewhere", {}).items()}
        centers = {Medium(name): _center(center) for name, center in value.get("centers", {}).items()}
        shortest, longest = value.get("lengths", (0.0, 0.0))
        lengths = float(shortest), float(longest)
        fitted_on = str(value.get("fitted_on", ""))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, DamagedGalleryError):
            raise
        raise DamagedGalleryError(path=path, reason=f"it is not a calibration ({error!r})") from error
    return ScoreCalibration(scales, lengths, holds, fitted_on, elsewhere, centers)


@final
class CalibrationFile:
    """The calibration among a gallery's files, read again where the last `index` wrote another one.

    Args:
        fixed: Taken instead of the file; None for the file.
    """

    def __init__(self, folder: GalleryPlace, fixed: ScoreCalibration | None) -> None:
        self._folder = folder
        self._files = open_files(folder)
        self._fixed = fixed
        self._known: tuple[object, ScoreCalibration] | None = None

    def read(self) -> ScoreCalibration:
        """Return the calibration as it is now.

        Raises:
            DamagedGalleryError: The file is no calibration, or one of another version.
        """
        if self._fixed is not None:
            return self._fixed
        stamp, known = self._files.read_stamp(GalleryFile.CALIBRATION), self._known
        if known is None or known[0] != stamp:
            known = self._known = stamp, read_calibration(self._folder)
        return known[1]


def _center(value: Mapping[str, Any]) -> MediumCenter:
    return MediumCenter(tuple(map(float, value["direction"])), float(value["largest_score"]))


def _scale(pair: Mapping[str, Any]) -> PairScale:
    curve = None if pair["curve"] is None else _curve(pair["curve"])
    return PairScale(mean=float(pair["mean"]), deviation=float(pair["deviation"]), curve=curve)


def _curve(value: Mapping[str, Any]) -> Curve:
    if not 0 < float(value["prior"]) < 1:
        raise ValueError(f"the prior of a curve is {value['prior']}, and not between 0 and 1")
    return Curve(
        slope=float(value["slope"]),
        offset=float(value["offset"]),
        prior=float(value["prior"]),
        relevant_count=int(value["relevant_count"]),
        query_count=int(value["query_count"]),
        slope_by_length=float(value.get("slope_by_length", 0.0)),
        offset_by_length=float(value.get("offset_by_length", 0.0)),
        doubt=float(value.get("doubt", 0.0)),
        is_overlap=bool(value.get("is_overlap", False)),
        name_factor=float(value.get("name_factor", 1.0)),
    )
