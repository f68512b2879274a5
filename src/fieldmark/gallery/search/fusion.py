"""Several queries, and marks for and against, taken together: one log-odds for each hit."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from fieldmark.gallery.search.calibration import Calibration
from fieldmark.types import Medium


@dataclass(frozen=True, slots=True)
class Voice:
    """What speaks for or against a hit: a query, or a marked item.

    Args:
        embedding: Of length 1.
        is_against: Whether hits like it are not wanted.
        is_calibrated: Whether its scores are spread as those of items of its medium are.
        word_count: Of a text; None where it is not known, and of other media.
    """

    medium: Medium
    embedding: Float[np.ndarray, " dim"]
    is_against: bool = False
    is_calibrated: bool = True
    word_count: int | None = None


def combined_logit(
    score: Float[np.ndarray, "voice hit"], *, voices: Sequence[Voice], medium: Medium, calibration: Calibration
) -> Float[np.ndarray, " hit"] | None:
    """Log-odds that hits of one medium are of the wanted class; None where a pair of media has no curve.

    With one query, its curve. n voices for the class each add what they change of the prior, over the root of n, since
    they repeat each other in part. A voice against adds ln(1 - p), with p the probability that the hit is of its class.
    """
    curves = [
        calibration.curve(voice.medium, medium, word_count=voice.word_count) if voice.is_calibrated else None
        for voice in voices
    ]
    total = np.zeros(score.shape[1])
    priors, for_count = [], sum(not voice.is_against for voice in voices)
    for row, voice, curve in zip(score, voices, curves, strict=True):
        if curve is None:
            return None
        logit = curve.logit(row)
        if voice.is_against:
            total -= np.logaddexp(0, logit)
        else:
            priors.append(curve.prior_logit)
            total += (logit - curve.prior_logit) / np.sqrt(for_count)
    combined: Float[np.ndarray, " hit"] = total + np.mean(priors)
    return combined


def combined_standard(
    score: Float[np.ndarray, "voice hit"], *, voices: Sequence[Voice], medium: Medium, calibration: Calibration
) -> Float[np.ndarray, " hit"] | None:
    """How far above the usual hits of one medium are; None where a pair of media is not known.

    The mean over the voices for the class, less what the voices against find above the usual, in their mean.
    """
    total = np.zeros(score.shape[1])
    against_count = sum(voice.is_against for voice in voices)
    for row, voice in zip(score, voices, strict=True):
        scale = calibration.scale(voice.medium, medium) if voice.is_calibrated else None
        if scale is None:
            return None
        standard = scale.standard(row)
        if voice.is_against:
            total -= np.maximum(standard, 0) / against_count
        else:
            total += standard / (len(voices) - against_count)
    return total
