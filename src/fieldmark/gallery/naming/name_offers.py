"""The names of a gallery that fit what somebody has typed so far: parts, plurals, typing errors, other languages."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
from jaxtyping import Float
from rapidfuzz.distance import OSA
from rapidfuzz.process import cdist

from fieldmark.names import split_name

LEAST_FIT = 0.66
"""From here on a name is offered: of three letters typed, one may be wrong, missing, swapped or too many."""
_PART = 0.97
"""Fit of a part of a name that is typed without an error; the whole name fits by 1."""
_BEGINNING = 0.93
"""Fit of the beginning of a word."""
_COVER, _END, _SHARE = 0.02, 0.008, 0.005
"""These tell equal fits apart: how much of the name is typed, whether its last word is, and how many items it has."""
_LONGEST = 100
"""Characters of a text that are looked at."""
_MOST_WORDS = 8


@dataclass(frozen=True, slots=True)
class NameOffer:
    """A class, or a species that encoders call items, that somebody may mean.

    Args:
        name: As the gallery calls it.
        matched: That of its names which is most like what was typed.
        fit: From 0 to 1.
    """

    name: str
    matched: str
    fit: float
    item_count: int

    json_keys: ClassVar = ("name", "matched", "fit", "item_count")

    def to_text(self) -> str:
        """Return the name, the number of items, and the other name that fits, if it is one."""
        other = "" if self.matched == self.name else f" ({self.matched})"
        return f"{self.name}{other}: {self.item_count:,} item{'' if self.item_count == 1 else 's'}"


@dataclass(frozen=True, slots=True)
class HeldName:
    """A class or species of the gallery with all its names, and the number of its items."""

    name: str
    names: tuple[str, ...]
    item_count: int


@final
class NameOffers:
    """Offers the names of a gallery, the most fitting first.

    Every word that is typed fits by the most similar word of a name, or by the beginning of one; similarity is 1 less
    the share of letters that are wrong, missing, too many or swapped (optimal string alignment). All words together
    also fit the whole name, as "bluejay" does. Case, accents, hyphens and plurals make no difference.

    Args:
        held: The classes and species of the gallery.

    Example:
        >>> held = [HeldName("American_Goldfinch", ("American_Goldfinch", "Spinus tristis"), 9)]
        >>> held.append(HeldName("Blue_Jay", ("Blue_Jay", "Cyanocitta cristata"), 5))
        >>> offers = NameOffers(held)
        >>> [offers.offer(text)[0].name for text in ("goldfinches", "cyanocita", "blu")]
        ['American_Goldfinch', 'Blue_Jay', 'Blue_Jay']
    """

    def __init__(self, held: Iterable[HeldName]) -> None:
        self.held = tuple(held)
        pairs = [(owner, name, split_name(name)) for owner, each in enumerate(self.held) for name in each.names]
        pairs = [pair for pair in pairs if pair[2]]
        self._owner = np.array([owner for owner, _, _ in pairs], dtype=np.int64)
        self._names = [name for _, name, _ in pairs]
        self._keys = ["".join(words) for _, _, words in pairs]
        code: dict[str, int] = {}
        flat = [code.setdefault(word, len(code)) for _, _, words in pairs for word in words]
        self._word = np.array(flat, dtype=np.int64)
        self._words = list(code)
        counts = np.array([len(words) for _, _, words in pairs], dtype=np.int64)
        self._start = np.cumsum(counts) - counts
        self._last = np.cumsum(counts) - 1
        self._length = np.array([len(key) for key in self._keys], dtype=np.float64)
        most = max((each.item_count for each in self.held), default=0)
        self._share = np.array([each.item_count / max(most, 1) for each in self.held])[self._owner] if pairs else None

    def offer(self, text: str, *, limit: int = 8) -> tuple[NameOffer, ...]:
        """Return the names that fit a text, one for each class or species; none for a text without a letter."""
        typed = split_name(text[:_LONGEST])[:_MOST_WORDS]
        if not typed or not self._names:
            return ()
        fit, order_by = self._measure(typed)
        found: dict[int, int] = {}
        for index in np.argsort(-order_by, kind="stable").tolist():
            if fit[index] < LEAST_FIT:
                continue
            found.setdefault(int(self._owner[index]), index)
            if len(found) == limit:
                break
        return tuple(
            NameOffer(
                self.held[owner].name, self._names[index], round(float(fit[index]), 4), self.held[owner].item_count
            )
            for owner, index in found.items()
        )

    def _measure(self, typed: Sequence[str]) -> tuple[Float[np.ndarray, " name"], Float[np.ndarray, " name"]]:
        """Return how well each name fits the words, and the same with what tells equal fits apart."""
        key = "".join(typed)
        by_word = self._fit_words(typed)
        length = np.array([len(word) for word in typed], dtype=np.float64)
        by_name = np.maximum.reduceat(by_word[:, self._word], self._start, axis=1)
        parts = _PART * (length / length.sum()) @ by_name
        whole = cdist([key], self._keys, scorer=OSA.normalized_similarity, dtype=np.float64)[0]
        begun = np.array([each.startswith(key) for each in self._keys])
        fit = np.maximum(np.maximum(parts, whole), begun * _PART)
        cover = np.minimum(len(key) / self._length, 1.0)
        is_end = by_word[-1, self._word[self._last]] >= by_name[-1]
        assert self._share is not None  # noqa: S101 - there are names
        return fit, fit + _COVER * cover + _END * is_end + _SHARE * self._share

    def _fit_words(self, typed: Sequence[str]) -> Float[np.ndarray, "typed word"]:
        """Return how well each word that is typed fits each word of all names."""
        fit: Float[np.ndarray, "typed word"] = cdist(
            typed, self._words, scorer=OSA.normalized_similarity, dtype=np.float64
        )
        for row, word in enumerate(typed):
            if len(word) >= 2:
                heads = [each[: len(word)] for each in self._words]
                begun = cdist([word], heads, scorer=OSA.normalized_similarity, dtype=np.float64)[0]
                fit[row] = np.maximum(fit[row], _BEGINNING * begun)
        return fit
