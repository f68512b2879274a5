"""A judgment as a JSON file beside the collection it was fitted on."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fieldmark.errors import DamagedGalleryError
from fieldmark.gallery.search.calibration import Calibration, Curve, PairScale
from fieldmark.gallery.search.fitting import NOTHING_KNOWN, Judgment
from fieldmark.io import write_text
from fieldmark.types import Medium

FORMAT_VERSION = 4
WITHOUT_LENGTHS = 3
"""The version before curves followed the length of a text: read as it is."""
EARLIER_EVIDENCE = (1, 2)
"""The versions whose curves of the collection stand on another evidence: read without them."""


def write_judgment(judgment: Judgment, path: Path) -> None:
    """Writes it, whole or not at all."""
    pairs = [
        {"query": query.value, "hit": hit.value, **asdict(scale)}
        for (query, hit), scale in judgment.calibration.scales.items()
    ]
    holds = {medium.value: asdict(curve) for medium, curve in judgment.holds.items()}
    value = {
        "format_version": FORMAT_VERSION,
        "fitted_on": judgment.fitted_on,
        "lengths": judgment.calibration.lengths,
        "pairs": pairs,
        "holds": holds,
    }
    write_text(path, json.dumps(value, indent=1))


def read_judgment(path: Path) -> Judgment:
    """Reads it; a file that is not there is a judgment that knows nothing.

    Raises:
        DamagedGalleryError: The file is no judgment, or one of another version.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return NOTHING_KNOWN
    except (OSError, UnicodeDecodeError) as error:
        raise DamagedGalleryError(path=path, reason=str(error)) from error
    try:
        value = json.loads(text)
        if value["format_version"] not in (*EARLIER_EVIDENCE, WITHOUT_LENGTHS, FORMAT_VERSION):
            raise DamagedGalleryError(path=path, reason=f"its format version is not {FORMAT_VERSION}")
        scales = {(Medium(pair["query"]), Medium(pair["hit"])): _scale(pair) for pair in value["pairs"]}
        holds = {Medium(name): _curve(curve) for name, curve in value["holds"].items()}
        if value["format_version"] in EARLIER_EVIDENCE:
            holds = {}
        shortest, longest = value.get("lengths", (0.0, 0.0))
        lengths = float(shortest), float(longest)
        fitted_on = str(value.get("fitted_on", ""))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, DamagedGalleryError):
            raise
        raise DamagedGalleryError(path=path, reason=f"it is no calibration ({error!r})") from error
    return Judgment(Calibration(scales, lengths), holds, fitted_on)


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
