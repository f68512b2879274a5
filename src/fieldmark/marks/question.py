"""The mark that would separate best the species that fit a description: the next question of a key."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from fieldmark.marks.reader import ReadMark
from fieldmark.marks.vocabulary import MARKS, get_group

_GROUPS = ("color", "pattern", "shape", "size")
_LEAST_GAIN = 0.05
"""Nats; below, no mark separates what fits."""


@dataclass(frozen=True, slots=True)
class SeparatingMark:
    """A mark that about half of the species that fit have.

    Args:
        gain: What its answer tells on average, in nats; ln 2 at most.
        text: As a question: "its tail: forked or not?".
    """

    mark: str
    gain: float
    text: str


def find_separating_mark(
    share: Float[np.ndarray, "species mark"], *, weight: Float[np.ndarray, " species"], asked: Sequence[ReadMark]
) -> SeparatingMark | None:
    """Return the mark whose presence tells most about which species is meant; None where none tells anything.

    The gain is the entropy of the answer less what stays open where the species is known:
    H(sum_s w_s p_s) - sum_s w_s H(p_s). Marks of parts that the text has told of are not asked.

    Args:
        weight: How well each species fits; its sum is 1.
    """
    told = {mark.part for each in asked for mark in each.marks}
    columns = [
        at
        for at, mark in enumerate(MARKS)
        if get_group(mark) in _GROUPS and mark.part not in told and mark.part != "body"
    ]
    own = share[:, columns]
    gain = _entropy(weight @ own) - weight @ _entropy(own)
    best = int(gain.argmax())
    if gain[best] < _LEAST_GAIN:
        return None
    mark = MARKS[columns[best]]
    part = "size" if mark.part == "size" else mark.part
    return SeparatingMark(str(mark), float(gain[best]), f"its {part}: {mark.trait} or not?")


def _entropy(chance: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    inside = np.clip(chance, 1e-9, 1 - 1e-9)
    entropy: Float[np.ndarray, ...] = -inside * np.log(inside) - (1 - inside) * np.log1p(-inside)
    return entropy
