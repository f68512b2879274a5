"""The names in what a person types: one, several, a part of some, one with errors, or names within a sentence."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import final

from fieldmark.gallery.naming.name_index import COLORS, FRAME_WORDS, NamedSpecies, NameIndex, split_text, strip_frame
from fieldmark.gallery.naming.name_offers import HeldName, NameOffer, NameOffers
from fieldmark.gallery.naming.vocabulary import Vocabulary, WordReader
from fieldmark.names import is_binomial, split_name
from fieldmark.subject import Subject

_LONGEST = 100
"""Characters of a text that may name something; longer ones are descriptions."""
_MOST_WORDS = 14
_LONGEST_NAME = 6
"""Words of a name within a sentence."""
_SHORTEST_WORD = 5
"""Letters of a name of one word within a sentence, where shorter ones are too often words of another kind."""
_LIST = re.compile(r"\s*[,;/|+&]\s*|\s+(?:or|and|vs\.?|oder|und|ou|et|o|y)\s+", re.IGNORECASE)
_COMPARING = frozenset(
    (
        "like",
        "unlike",
        "than",
        "not",
        "no",
        "without",
        "resembles",
        "resembling",
        "similar",
        "as",
        "compare",
        "compared",
    )
)
"""Words with which a text names a species that it is not about."""
_CORRECTED_FIT = 0.75
"""From here on a name that is spelled wrong is taken for the most similar one: one letter of four may be wrong."""
_UNSURE_FIT = 0.85
"""The same where nobody knows what words are words."""
_SAME_FIT = 0.02
"""Names that fit as well as the best, within this, are all meant."""
_CORRECTED_WORDS = 4


class NameUse(StrEnum):
    """The ways in which a text names a class."""

    WHOLE = "name"
    SEVERAL = "several"
    PART = "part"
    WITHIN = "within"
    CORRECTED = "corrected"


@dataclass(frozen=True, slots=True)
class NameReading:
    """The classes and species that a text names.

    Args:
        has_more: Whether it says more about them, by which hits of the same name are ordered.
    """

    names: tuple[NamedSpecies, ...]
    use: NameUse
    has_more: bool = False


@final
class TypedNames:
    """Reads names in what a person types, and offers names to one who is typing.

    Args:
        index: Names that are spelled as they are known.
        offers: Names of what the gallery holds.
        subject: Of the gallery.
        words: Of its texts, as `split_name` gives them.
    """

    def __init__(self, index: NameIndex, offers: NameOffers, *, subject: Subject, words: frozenset[str]) -> None:
        self.index = index
        self.offers = offers
        self.subject = subject
        held = frozenset(word for each in offers.held for name in each.names for word in split_name(name))
        self.vocabulary = Vocabulary(words, held=held, known=index.meanings.known.list_words())
        self._held_by_end: defaultdict[tuple[str, ...], dict[str, None]] = defaultdict(dict)
        for each in offers.held:
            for end in _list_ends(each):
                self._held_by_end[end][each.name] = None

    def read(self, text: str, *, knows_words: WordReader) -> NameReading | None:
        """Return what a text names; None for a description, and for words that name nothing."""
        if len(text) > _LONGEST:
            return None
        if (named := self.index.find(text)) is not None:
            return NameReading((named,), NameUse.WHOLE)
        return (
            self._read_list(text)
            or self._read_part(text)
            or self._read_sentence(text)
            or self._read_misspelled(text, knows_words=knows_words)
        )

    def offer(self, text: str, *, limit: int) -> tuple[NameOffer, ...]:
        """Return names of the gallery that a short text may mean, the most fitting first; none for a description."""
        words = split_text(strip_frame(text[:_LONGEST]))
        return self.offers.offer(" ".join(words), limit=limit) if len(words) <= _CORRECTED_WORDS else ()

    def _read_list(self, text: str) -> NameReading | None:
        """Read names with commas or "or" between them, each of which must name something."""
        parts = [part for part in _LIST.split(text) if strip_frame(part)]
        found = [names for part in parts if (names := self._find_whole_or_part(part))]
        if len(parts) < 2 or len(found) < len(parts):
            return None
        return NameReading(_unite(each for names in found for each in names), NameUse.SEVERAL)

    def _find_whole_or_part(self, text: str) -> tuple[NamedSpecies, ...]:
        if (named := self.index.find(text)) is not None:
            return (named,)
        part = self._read_part(text)
        return () if part is None else part.names

    def _read_part(self, text: str) -> NameReading | None:
        """Read the end of names, as "goldfinch" is, or their genus: all that end so are meant."""
        words = split_name(strip_frame(text))
        if not words or COLORS.issuperset(words):
            return None
        names = [self.index.name_held(name) for name in self._held_by_end.get(words, ())]
        found = _unite(each for each in names if each is not None)
        return NameReading(found, NameUse.PART) if found else None

    def _read_sentence(self, text: str) -> NameReading | None:
        """Read names within a sentence, the longest first; one that compares names nothing."""
        words = split_text(text)
        if len(words) > _MOST_WORDS or not _COMPARING.isdisjoint(word.casefold() for word in words):
            return None
        found, rest, start = [], [], 0
        while start < len(words):
            for length in range(min(_LONGEST_NAME, len(words) - start), 0, -1):
                if (named := self._find_in_sentence(words[start : start + length])) is not None:
                    found.append(named)
                    start += length
                    break
            else:
                rest.append(words[start].casefold())
                start += 1
        has_more = not FRAME_WORDS.issuperset(rest)
        return NameReading(_unite(found), NameUse.WITHIN, has_more=has_more) if found else None

    def _find_in_sentence(self, words: Sequence[str]) -> NamedSpecies | None:
        plain = {word.casefold() for word in words}
        if (FRAME_WORDS | COLORS).issuperset(plain):  # "a red bird" describes
            return None
        named = self.index.find_exactly(" ".join(words))
        if named is None or len(words) > 1:
            return named
        return named if len(words[0]) >= _SHORTEST_WORD and named.class_name in self.index.held else None

    def _read_misspelled(self, text: str, *, knows_words: WordReader) -> NameReading | None:
        """Read a name with typing errors: something in it must be no word, so that no description is corrected."""
        words = split_text(strip_frame(text))
        if not words or len(words) > _CORRECTED_WORDS:
            return None
        known = self.vocabulary.know(words, knows_words=knows_words)
        if known is not None and all(known):
            return None
        offered = self.offers.offer(" ".join(words))
        best = offered[0].fit if offered else 0.0
        if best < (_UNSURE_FIT if known is None else _CORRECTED_FIT):
            return None
        close = [each for each in offered if each.fit >= best - _SAME_FIT]
        alike = [each for each in close if _ends_alike(each.matched, words[-1])] or close
        names = [self.index.name_held(each.name) for each in alike]
        found = _unite(each for each in names if each is not None)
        return NameReading(found, NameUse.CORRECTED) if found else None


def _ends_alike(name: str, word: str) -> bool:
    """Tell whether the last word of a name begins with the letter of a word: that is rarely typed wrong."""
    words = split_name(name)
    return bool(words) and words[-1][:1] == "".join(split_name(word))[:1]


def _list_ends(held: HeldName) -> Iterator[tuple[str, ...]]:
    """Yield the words that each name ends with, and the genus."""
    for name in held.names:
        words = split_name(name)
        if is_binomial(name):
            yield words[:1]
        else:
            yield from (words[start:] for start in range(1, len(words)))


def _unite(names: Iterator[NamedSpecies] | Sequence[NamedSpecies]) -> tuple[NamedSpecies, ...]:
    return tuple({(each.class_name, each.name): each for each in names}.values())
