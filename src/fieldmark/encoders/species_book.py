"""A species book: accounts of species, and how well a text fits each of them."""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import torch
from jaxtyping import Float, Float32
from torch import Tensor

from fieldmark.encoders.encoder import Encoder
from fieldmark.encoders.field_marks import FieldMarkTextEncoder
from fieldmark.encoders.labels import ClassNames, find_name_columns
from fieldmark.encoders.lexical import LexicalTextEncoder
from fieldmark.errors import EncoderFilesError, list_first
from fieldmark.types import Segment, TextContent

_KEY = "descriptions"
_TEXT_COLUMNS = ("text", "description", "account")
_SENTENCE_END = re.compile(r"(?<=[.!?;])\s+|\n+")
_WORD_BUCKETS = 4096
_WORD_WEIGHT = 0.5
"""Weight of words beside field marks. Top-1 and top-5 among 73 species, fgbirds' train texts (2026-11-29): human
captions .11 and .37 with both, .04 and .22 with words alone; sentences of Wikipedia .15 and .31, .08 and .15 with marks
alone. The similarity of sentence embeddings adds nothing (.12 and .37) and takes minutes for a thousand accounts."""
_VERSION = 1
"""Changes with the way in which texts are compared."""


@dataclass(frozen=True, slots=True)
class SpeciesAccounts:
    """The names of each species of a book, and the sentences written about it."""

    names: ClassNames
    sentences: tuple[tuple[str, ...], ...]


def read_accounts(path: Path) -> SpeciesAccounts:
    """Read a table with names (`name`, or `scientific_name` and `common_name`) and `text`; rows of one name add up.

    Raises:
        EncoderFilesError: The file cannot be read, lacks a column, or has a row without a name or text.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise EncoderFilesError(name=str(path), reason=f"it cannot be read: {error}", key=_KEY) from error
    header = [cell.strip().lower().replace(" ", "_") for cell in rows[0]] if rows else []
    columns = find_name_columns(header)
    text_column = next((header.index(name) for name in _TEXT_COLUMNS if name in header), None)
    if not columns or text_column is None:
        reason = f"a book needs the columns 'name' and 'text', but it has {', '.join(header) or 'none'}"
        raise EncoderFilesError(name=str(path), reason=reason, key=_KEY)
    accounts: dict[tuple[str, ...], list[str]] = {}
    broken: list[str] = []
    for number, row in enumerate(rows[1:], start=2):
        if not any(cell.strip() for cell in row):
            continue
        cells = [*row, *[""] * (len(header) - len(row))]
        names = tuple(dict.fromkeys(cells[column].strip() for column in columns if cells[column].strip()))
        sentences = [each.strip() for each in _SENTENCE_END.split(cells[text_column]) if each.strip()]
        if names and sentences:
            accounts.setdefault(names, []).extend(sentences)
        else:
            broken.append(str(number))
    if broken or not accounts:
        reason = f"rows without a name or a text: {list_first(broken)}" if broken else "it has no account"
        raise EncoderFilesError(name=str(path), reason=reason, key=_KEY)
    return SpeciesAccounts(tuple(accounts), tuple(map(tuple, accounts.values())))


@final
class SpeciesBook:
    """Compares texts with accounts of species, by field marks and by words.

    An account is the mean of its sentences. Marks and words that few accounts have count for more, by the logarithm of
    the inverse share of accounts. The score is the cosine of marks plus `_WORD_WEIGHT` times the cosine of words;
    probabilities are the softmax of scores over the temperature. A text without any known mark or word gets the same
    probability for all. English only.

    Args:
        temperature: Of the softmax. Sentences held out of an account cannot choose it: a book tells each mark once, so
            that they tell of other marks than the rest.
    """

    def __init__(self, accounts: SpeciesAccounts, *, temperature: float) -> None:
        self._temperature = temperature
        self._encoders: tuple[Encoder, ...] = (
            FieldMarkTextEncoder(),
            LexicalTextEncoder(dim=_WORD_BUCKETS, character_count=0),
        )
        self._weights = (1.0, _WORD_WEIGHT)
        self._rarities: list[Float[Tensor, " dim"]] = []
        self._accounts: list[Float[Tensor, "species dim"]] = []
        for encoder in self._encoders:
            means = _average(accounts.sentences, encoder)
            count = len(means)
            rarity = torch.log((count + 1) / ((means != 0).sum(dim=0) + 1))
            self._rarities.append(rarity)
            self._accounts.append(torch.nn.functional.normalize(means * rarity, dim=1))

    @property
    def part_fingerprints(self) -> tuple[str, ...]:
        """Fingerprints of the parts that compare texts with accounts."""
        return (str(_VERSION), *(encoder.fingerprint for encoder in self._encoders))

    def compute_probabilities(self, segments: Sequence[Segment]) -> Float32[Tensor, "segment species"]:
        """Return the probability of each species for some texts.

        Raises:
            MediumMismatchError: A segment holds another medium.
        """
        scores = torch.zeros(len(segments), len(self._accounts[0]))
        for encoder, weight, rarity, accounts in zip(
            self._encoders, self._weights, self._rarities, self._accounts, strict=True
        ):
            texts = torch.nn.functional.normalize(encoder.encode(segments) * rarity, dim=1)
            scores += weight * (texts @ accounts.T)
        return (scores / self._temperature).softmax(dim=1)


def _average(accounts: Sequence[Sequence[str]], encoder: Encoder) -> Float[Tensor, "species dim"]:
    means = [
        encoder.encode([Segment(TextContent(sentence)) for sentence in sentences]).mean(dim=0) for sentences in accounts
    ]
    return torch.stack(means)
