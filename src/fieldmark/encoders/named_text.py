"""The species that a text names, or else those whose accounts in a book it fits."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, final

import torch
from jaxtyping import Float32
from torch import Tensor

from fieldmark.encoders.encoder import FeatureFacts, get_contents
from fieldmark.encoders.labels import ClassNames
from fieldmark.encoders.species_book import SpeciesBook, read_accounts
from fieldmark.errors import ConfigError
from fieldmark.names import KnownNames, is_species_name, split_name
from fieldmark.types import Decoding, Segment, TextContent

_FEWEST_LETTERS = 4
"""Letters of a name of one word; shorter ones are too often words of a sentence."""


@final
class NamedTextEncoder:
    """Probabilities of species by the names inside a text; where it names none, by the accounts of a species book.

    A name is found in any spelling, the longest first: "a Northern Cardinal" is no other cardinal. A text that names
    several species shares its probability by how often it names each. Without a name and without a book all are 0.

    Args:
        species: The names of each species, of any sources, which are linked where they share a name.
        descriptions: A species book, as `read_accounts` reads it; None for none.
        temperature: As `SpeciesBook` takes it.

    Raises:
        ConfigError: There is no name to look for.
        EncoderFilesError: The book cannot be read.

    Example:
        >>> from fieldmark.types import Segment, TextContent
        >>> species = [("Cyanocitta cristata", "Blue Jay"), ("Cardinalis cardinalis", "Northern Cardinal")]
        >>> encoder = NamedTextEncoder(species, descriptions=None, temperature=0.1)
        >>> encoder.encode([Segment(TextContent("Two blue jays at the feeder."))]).tolist()
        [[1.0, 0.0]]
    """

    is_costly: ClassVar[bool] = False

    def __init__(self, species: Sequence[Sequence[str]], *, descriptions: Path | None, temperature: float) -> None:
        accounts = None if descriptions is None else read_accounts(descriptions)
        self._names = _link_species([*species, *(accounts.names if accounts else ())])
        if not self._names:
            others = f"the accounts in '{descriptions}' name none" if descriptions else "there are no accounts of any"
            raise ConfigError(
                f"The encoder of texts knows no name of a species: it was given {len(species)} species, and {others}. "
                "Give a list with --names FILE, accounts with --descriptions FILE, or an encoder that names species."
            )
        self._columns_by_words, self._longest = _index_words(self._names)
        self._named_scores = {
            name: column for column, own in reversed(list(enumerate(self._names))) for name in reversed(own)
        }
        self._book = None if accounts is None else SpeciesBook(accounts, temperature=temperature)
        self._book_columns = torch.tensor(
            [self._named_scores[own[0]] for own in (accounts.names if accounts else ())], dtype=torch.int64
        )
        self.decoding = Decoding()
        book = {"temperature": temperature, "parts": self._book.part_fingerprints} if self._book else {}
        self.facts = FeatureFacts.collect(
            {"kind": "named_text", "version": 1, "names": self._names, **book},
            files={} if descriptions is None else {"the species book": descriptions},
        )
        self.fingerprint = self.facts.fingerprint

    @property
    def shape(self) -> tuple[int]:
        """Number of species."""
        return (len(self._names),)

    @property
    def named_scores(self) -> Mapping[str, int]:
        """Index of each species, by all its names."""
        return self._named_scores

    def encode(self, segments: Sequence[Segment]) -> Float32[Tensor, "segment species"]:
        """Return the square roots of the probabilities for some texts.

        Raises:
            MediumMismatchError: A segment holds another medium.
        """
        probabilities = torch.zeros(len(segments), len(self._names))
        unnamed: list[int] = []
        for row, content in enumerate(get_contents(segments, TextContent)):
            counts = self._count_names(content.text)
            for column, count in counts.items():
                probabilities[row, column] = count / sum(counts.values())
            if not counts:
                unnamed.append(row)
        if self._book is not None and unnamed:
            found = self._book.compute_probabilities([segments[row] for row in unnamed])
            own = torch.zeros(len(unnamed), len(self._names)).index_add_(1, self._book_columns, found)
            probabilities[unnamed] = own
        return probabilities.clamp(max=1).sqrt()

    def _count_names(self, text: str) -> Mapping[int, float]:
        """Count how often each species is named; a name that several have counts for each a share."""
        words = [word for part in text.split() for word in split_name(part)]
        shares: defaultdict[int, float] = defaultdict(float)
        for columns in self._find_names(words):
            for column in columns:
                shares[column] += 1 / len(columns)
        return shares

    def _find_names(self, words: Sequence[str]) -> Iterator[tuple[int, ...]]:
        start = 0
        while start < len(words):
            for length in range(min(self._longest, len(words) - start), 0, -1):
                if columns := self._columns_by_words.get("".join(words[start : start + length])):
                    yield columns
                    start += length
                    break
            else:
                start += 1


def _link_species(species: Sequence[Sequence[str]]) -> ClassNames:
    """Return all names of each species, of all sources; the same species of several sources once."""
    known = KnownNames(species)
    linked = dict.fromkeys(
        found for own in species for name in own if is_species_name(name) for found in known.find(name)[:1]
    )
    return tuple(linked)


def _index_words(names: ClassNames) -> tuple[dict[str, tuple[int, ...]], int]:
    """Return the columns by the joined words of each name, and the most words that a name has."""
    found: defaultdict[str, dict[int, None]] = defaultdict(dict)
    longest = 0
    for column, own in enumerate(names):
        for name in own:
            words = split_name(name)
            if len("".join(words)) >= _FEWEST_LETTERS:
                found["".join(words)][column] = None
                # A name of one word may be two in a text: "Black cap" is no Blackcap, but "LeConte" is "Le Conte".
                longest = max(longest, len(words) + (len(words) > 1))
    return {key: tuple(columns) for key, columns in found.items()}, longest
