"""The curves that turn scores into probabilities, and the file that holds them.

Scores of two media mean different things: a photo is nearer to most photos than to the song of its own species. So each
pair (medium of the query, medium of the hit) has its own curve. Where too few labels are known, a score is only
compared with the scores that are usual for its pair.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from fieldmark.errors import DamagedGalleryError
from fieldmark.gallery.search.curve import Curve, compute_text_length
from fieldmark.io import write_text
from fieldmark.types import Medium

FORMAT_VERSION = 4
_WITHOUT_LENGTHS = 3
"""The version before curves depended on the length of a text; read as it is."""
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
class ScoreCalibration:
    """The calibration of a gallery's scores, fitted on its labelled items.

    Args:
        scales: Of each pair (medium of the query, medium of the hit); pairs that no item shows are missing.
        lengths: Of the shortest and the longest text among the queries; a text beyond them counts as one of these.
        open_set_curves: From the open-set score to the log-odds that the gallery holds the class, by query medium.
        fitted_on: Identifies the items, as they stood; empty where unknown.
    """

    scales: Mapping[tuple[Medium, Medium], PairScale]
    lengths: tuple[float, float] = (0.0, 0.0)
    open_set_curves: Mapping[Medium, Curve] = field(default_factory=dict)
    fitted_on: str = ""

    def get_scale(self, query: Medium, hit: Medium) -> PairScale | None:
        """Return the scale of one pair of media; None where it is not known."""
        return self.scales.get((query, hit))

    def get_curve(self, query: Medium, hit: Medium, *, word_count: int | None = None) -> Curve | None:
        """Return the curve of one pair of media; None where there are too few labels.

        Args:
            word_count: Of a query that is a text; None where it is not known.
        """
        scale = self.get_scale(query, hit)
        return None if scale is None or scale.curve is None else scale.curve.fix_length(self.clip_length(word_count))

    def get_open_set_curve(self, query: Medium, *, word_count: int | None = None) -> Curve | None:
        """Return the open-set curve for a query; None where there are too few labels.

        Args:
            word_count: Of a query that is a text; None where it is not known.
        """
        curve = self.open_set_curves.get(query)
        return None if curve is None else curve.fix_length(self.clip_length(word_count))

    def clip_length(self, word_count: int | None) -> float:
        """Return a text's length, within `lengths`; an unknown word count has length 0, clipped too."""
        return float(np.clip(0.0 if word_count is None else compute_text_length(word_count), *self.lengths))


UNCALIBRATED = ScoreCalibration({})


def write_calibration(calibration: ScoreCalibration, path: Path) -> None:
    """Write the file, whole or not at all."""
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
    }
    write_text(path, json.dumps(value, indent=1))


def read_calibration(path: Path) -> ScoreCalibration:
    """Read the file; one that is missing is `UNCALIBRATED`.

    Raises:
        DamagedGalleryError: The file is no calibration, or one of another version.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return UNCALIBRATED
    except (OSError, UnicodeDecodeError) as error:
        raise DamagedGalleryError(path=path, reason=str(error)) from error
    try:
        value = json.loads(text)
        if value["format_version"] not in (*_EARLIER_OPEN_SET_SCORE, _WITHOUT_LENGTHS, FORMAT_VERSION):
            raise DamagedGalleryError(path=path, reason=f"its format version is not {FORMAT_VERSION}")
        scales = {(Medium(pair["query"]), Medium(pair["hit"])): _scale(pair) for pair in value["pairs"]}
        holds = {Medium(name): _curve(curve) for name, curve in value["holds"].items()}
        if value["format_version"] in _EARLIER_OPEN_SET_SCORE:
            holds = {}
        shortest, longest = value.get("lengths", (0.0, 0.0))
        lengths = float(shortest), float(longest)
        fitted_on = str(value.get("fitted_on", ""))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, DamagedGalleryError):
            raise
        raise DamagedGalleryError(path=path, reason=f"it is not a calibration ({error!r})") from error
    return ScoreCalibration(scales, lengths, holds, fitted_on)


def _scale(pair: Mapping[str, Any]) -> PairScale:
    curve = None if pair["curve"] is None else _curve(pair["curve"])
    return PairScale(mean=float(pair["mean"]), deviation=float(pair["deviation"]), curve=curve)


def _curve(value: Mapping[str, Any]) -> Curve:
    return Curve(
        slope=float(value["slope"]),
        offset=float(value["offset"]),
        prior=float(value["prior"]),
        relevant_count=int(value["relevant_count"]),
        query_count=int(value["query_count"]),
        slope_by_length=float(value.get("slope_by_length", 0.0)),
        offset_by_length=float(value.get("offset_by_length", 0.0)),
    )
