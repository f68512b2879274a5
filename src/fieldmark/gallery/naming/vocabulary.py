"""The words that a gallery can make something of, so that words which say nothing here are told apart."""

from collections.abc import Callable, Collection, Sequence
from typing import final

from fieldmark.encoders.field_marks import BEARERS, PARTS, TRAITS
from fieldmark.encoders.lexical import FUNCTION_WORDS
from fieldmark.gallery.naming.name_index import FRAME_WORDS, split_text
from fieldmark.names import split_name

WordReader = Callable[[Sequence[str]], Sequence[bool] | None]
"""Tells which words the text encoder knows; None where it cannot tell."""

_CHECKED_LETTERS = 2_000
"""First characters of a text whose words are looked up."""
_UNDERSTOOD_SHARE = 1 / 2
"""Share of a text's words that must be words at all."""
_TOPIC_SHARE = 0.34
"""Share of the telling words that the collection must know: more than one of three. Of fgbirds' training texts, read
with the words of other classes' texts, 4 % have fewer."""
_FEWEST_WORDS = 100
"""Words of a gallery's texts; fewer do not show what its texts speak of."""
_FIELD_MARKS = frozenset(
    part
    for table in (PARTS, BEARERS, TRAITS)
    for words in table.values()
    for word in words.split()
    for part in split_name(word)
)
_FRAME = frozenset(part for word in FRAME_WORDS - FUNCTION_WORDS for part in split_name(word))


@final
class Vocabulary:
    """The words of a gallery's texts and of names.

    Args:
        words: Of the texts, as `split_name` gives them.
        held: Of the names of what the gallery holds.
        known: Of all names that encoders, lists and the taxonomy have.
    """

    def __init__(self, words: frozenset[str], *, held: frozenset[str], known: frozenset[str]) -> None:
        self._has_texts = len(words) >= _FEWEST_WORDS
        self._topic = words | held | _FIELD_MARKS | _FRAME
        self._known = words | held | known | _FIELD_MARKS | _FRAME

    def know(self, words: Sequence[str], *, knows_words: WordReader) -> list[bool] | None:
        """Tell which words anything here knows; None where nothing can tell."""
        by_encoder = knows_words(words)
        if by_encoder is None and not self._has_texts:
            return None
        return [
            bool(by_encoder and by_encoder[index]) or self._holds(word, self._known) for index, word in enumerate(words)
        ]

    def is_understood(self, text: str, *, knows_words: WordReader) -> bool:
        """Tell whether a text has enough words that are words to anything here; True where that cannot be told."""
        words = [word for word in split_text(text[:_CHECKED_LETTERS]) if any(map(str.isalpha, word))]
        known = self.know(words, knows_words=knows_words) if words else None
        return known is None or sum(known) >= _UNDERSTOOD_SHARE * len(known)

    def is_on_topic(self, text: str) -> bool:
        """Tell whether a text speaks of what the gallery's texts and names do; True where these are too few to tell."""
        words = [word for word in split_text(text[:_CHECKED_LETTERS]) if word.casefold() not in FUNCTION_WORDS]
        telling = [word for word in words if sum(map(str.isalpha, word)) > 1]
        if not self._has_texts or not telling:
            return True
        return sum(self._holds(word, self._topic) for word in telling) >= _TOPIC_SHARE * len(telling)

    @staticmethod
    def _holds(word: str, words: Collection[str]) -> bool:
        parts = split_name(word)
        return bool(parts) and all(part in words for part in parts)
