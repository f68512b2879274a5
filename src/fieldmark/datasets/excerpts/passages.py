"""Long texts to passages that end where a paragraph or a sentence does, with their places in the text."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

# A sentence ends at . ! or ? before a space; a paragraph at an empty line.
_END = re.compile(r"[.!?][\"')\]]*\s+|\n\s*\n")


@dataclass(frozen=True, slots=True)
class Passage:
    """A part of a text, and where it stands there, in characters."""

    text: str
    start_character: int
    end_character: int


def passages(text: str, *, longest_words: int) -> Iterator[Passage]:
    """Parts of a text in order, each of whole sentences and at most `longest_words`; a longer sentence is cut."""
    start = 0
    word_count = 0
    for begin, end in _sentences(text, longest_words):
        words = len(text[begin:end].split())
        is_new_paragraph = "\n\n" in text[start:begin] and word_count > longest_words // 2
        if word_count and (word_count + words > longest_words or is_new_paragraph):
            yield from _passage(text, start, begin)
            start, word_count = begin, 0
        word_count += words
    yield from _passage(text, start, len(text))


def _sentences(text: str, longest_words: int) -> Iterator[tuple[int, int]]:
    """Where each sentence begins and ends, those that are too long in parts."""
    edges = [0, *(found.end() for found in _END.finditer(text)), len(text)]
    for begin, end in pairwise(edges):
        words = [found.end() for found in re.finditer(r"\S+\s*", text[begin:end])]
        for place in range(longest_words, len(words), longest_words):
            yield begin + (words[place - longest_words - 1] if place > longest_words else 0), begin + words[place - 1]
        rest = (len(words) - 1) // longest_words * longest_words
        if words:
            yield begin + (words[rest - 1] if rest else 0), end


def _passage(text: str, start: int, end: int) -> Iterator[Passage]:
    part = text[start:end]
    if part.strip():
        start += len(part) - len(part.lstrip())
        yield Passage(part.strip(), start, start + len(part.strip()))
