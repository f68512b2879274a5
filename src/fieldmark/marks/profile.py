"""Profiles of marks: how often texts, a species book and tables of traits say that each species has a mark."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import final

import numpy as np
from jaxtyping import Float

from fieldmark.errors import DamagedGalleryError
from fieldmark.marks.reader import ReadMark, read_marks
from fieldmark.marks.traits import TraitsTable
from fieldmark.marks.vocabulary import COLUMN, MARKS, Mark, measure_nearness, measure_part_nearness
from fieldmark.names import KnownNames

_SENTENCE_END = re.compile(r"(?<=[.!?;])\s+|\n+")
_PRIOR = 2.0
"""Mentions that the average of all species counts for, beside those of one species."""
_NEARNESS = 0.5
"""Factor on the nearness of other marks. Both were chosen on 500 captions of fgbirds' train split, whose species a book
of 928 should name: mean reciprocal rank .081 (.075 with 1 and 1, .074 with 0.5 and 1; 2026-11-29)."""
_SMALLEST, _LARGEST = 1e-4, 0.98
_TABLE_MENTIONS = 10.0
"""Mentions that a value of a table counts for: it was counted, while a text may mean another bird."""
_COLUMN_BY_TEXT = {str(mark): column for mark, column in COLUMN.items()}


class SourceKind(StrEnum):
    """The kinds of sources that tell marks."""

    TEXTS = "texts"
    BOOK = "book"
    TABLE = "table"


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts of how often one source says that species have a mark, or lack it.

    Args:
        source: Its kind and, for a file, its name.
        names: All names of each species.
    """

    kind: SourceKind
    source: str
    names: tuple[tuple[str, ...], ...]
    named: Float[np.ndarray, "species mark"]
    denied: Float[np.ndarray, "species mark"]


def tally_texts(texts: Mapping[tuple[str, ...], Iterable[str]], *, kind: SourceKind, source: str) -> Tally:
    """Count the marks in the texts of each species; a sentence that names a mark twice counts once.

    Args:
        texts: By all names of the species.
    """
    named, denied = (np.zeros((len(texts), len(MARKS))) for _ in range(2))
    for row, own in enumerate(texts.values()):
        for text in own:
            for sentence in _SENTENCE_END.split(text):
                for each in read_marks(sentence).marks:
                    count = denied if each.is_denied else named
                    for mark in each.marks:
                        count[row, COLUMN[mark]] += 1 / len(each.marks)
    return Tally(kind, source, tuple(texts), named, denied)


def tally_table(table: TraitsTable) -> Tally:
    """Take the shares of a table as mentions."""
    # A table tells of every color of a part what a text tells of one, so that what it denies is no news.
    named = _TABLE_MENTIONS * np.nan_to_num(table.share)
    return Tally(SourceKind.TABLE, table.path.name, table.names, named, np.zeros_like(named))


@dataclass(frozen=True, slots=True)
class Fact:
    """A mark of one species, as the sources tell it.

    Args:
        share: About how common the mark is, 0 to 1; of what is said of its part.
        sources: Those that name it.
        against: Those that deny it.
    """

    mark: Mark
    share: float
    sources: tuple[str, ...]
    against: tuple[str, ...]


@final
class Profiles:
    """The marks of each species, gathered from all sources.

    The probability of a mark is the share of it in what the sources say of its part, where nearly the same marks of
    nearly the same parts count in part, and `_PRIOR` mentions of the average of all species are added:

        p(mark) = (sum of nearness * mentions + prior * usual) / (mentions of the part + prior)

    Args:
        tallies: Of all sources, with the same species.
        names: All names of each species.
    """

    def __init__(self, names: Sequence[tuple[str, ...]], tallies: Sequence[Tally]) -> None:
        self.names = tuple(names)
        self.tallies = tuple(tallies)
        named = sum((each.named for each in tallies), np.zeros((len(names), len(MARKS))))
        denied = sum((each.denied for each in tallies), np.zeros((len(names), len(MARKS))))
        near, parts = _NEARNESS * measure_nearness(), measure_part_nearness()
        near[np.diag_indices(len(near))] = 1.0
        told, all_told = named @ near.T, (named + denied) @ parts.T
        usual = (told.sum(axis=0) + 0.01) / (all_told.sum(axis=0) + 1)
        self.usual: Float[np.ndarray, " mark"] = np.clip(usual, 0.001, 0.9)
        share = (told + _PRIOR * self.usual) / (np.maximum(all_told, told) + _PRIOR)
        self.share: Float[np.ndarray, "species mark"] = np.clip(share, _SMALLEST, _LARGEST)

    def measure_fit(self, marks: Sequence[ReadMark]) -> Float[np.ndarray, " species"]:
        """Return the logarithm of the probability that each species has the marks that a text names."""
        total = np.zeros(len(self.names))
        for each in marks:
            total += np.log(self.measure_chance(each))
        return total

    def measure_chance(self, mark: ReadMark) -> Float[np.ndarray, " species"]:
        """Return the probability that each species has a mark, any of its alternatives, or lacks one that is denied."""
        own: Float[np.ndarray, " species"] = self.share[:, [COLUMN[each] for each in mark.marks]].max(axis=1)
        return 1 - own if mark.is_denied else own

    def describe(self, species: int) -> tuple[Fact, ...]:
        """Return what the sources say of a species, the most common marks first; sources may contradict each other."""
        found = []
        for column in np.flatnonzero(sum(each.named[species] for each in self.tallies)).tolist():
            own = tuple(each.source for each in self.tallies if each.named[species, column] > 0)
            against = tuple(each.source for each in self.tallies if each.denied[species, column] > 0)
            found.append(Fact(MARKS[column], float(self.share[species, column]), own, against))
        return tuple(sorted(found, key=lambda fact: -fact.share))

    def list_contradictions(self) -> tuple[tuple[str, Mark], ...]:
        """Return species and mark where the sources, or one alone, both name and deny it; the majority decides."""
        named = sum((each.named > 0 for each in self.tallies), np.zeros(self.share.shape, dtype=int))
        denied = sum((each.denied > 0 for each in self.tallies), np.zeros(self.share.shape, dtype=int))
        rows, columns = np.nonzero((named > 0) & (denied > 0))
        return tuple((self.names[row][-1], MARKS[at]) for row, at in zip(rows.tolist(), columns.tolist(), strict=True))

    def name_sources(self, species: int, mark: Mark) -> tuple[str, ...]:
        """Return the sources that say that a species has a mark, or nearly that one."""
        near = measure_nearness()[COLUMN[mark]] > 0
        return tuple(each.source for each in self.tallies if each.named[species, near].sum() > 0)


# ---------------------------------------------------------------- gathered from several sources


@dataclass(frozen=True, slots=True)
class Gathered:
    """Profiles of all sources.

    Args:
        unresolved: Names in books and tables that stand for no species that is known here.
    """

    profiles: Profiles
    unresolved: tuple[str, ...]


def gather(tallies: Sequence[Tally], *, known: KnownNames) -> Gathered:
    """Gather what several sources say, each species once.

    Args:
        known: The names that encoders know, by which those of the sources are linked. A name that is not among them is
            a species of its own.
    """
    linked = KnownNames((*known.list_all(), *(names for each in tallies for names in each.names)))
    row_by_species: dict[tuple[str, ...], int] = {}
    own_names: list[dict[str, None]] = []
    unresolved: dict[str, None] = {}
    rows: list[list[int]] = []
    for tally in tallies:
        own_rows = []
        for names in tally.names:
            species = _find_species(names, known=known, linked=linked)
            if tally.kind is not SourceKind.TEXTS and not any(known.find(name) for name in species):
                unresolved[names[-1]] = None
            row = row_by_species.setdefault(species, len(row_by_species))
            if row == len(own_names):
                own_names.append({})
            own_names[row].update(dict.fromkeys((*names, *species)))
            own_rows.append(row)
        rows.append(own_rows)
    spread = [_spread(each, own, count=len(own_names)) for each, own in zip(tallies, rows, strict=True)]
    return Gathered(Profiles([tuple(each) for each in own_names], spread), tuple(unresolved))


def _find_species(names: tuple[str, ...], *, known: KnownNames, linked: KnownNames) -> tuple[str, ...]:
    """Return all names of the species that some names stand for; the names themselves where that is open."""
    for name in names:
        resolved = known.resolve(name).names
        if len(resolved) == 1 and (found := linked.find(resolved[0])):
            return found[0]
    return next((found[0] for name in names if len(found := linked.find(name)) == 1), names)


def _spread(tally: Tally, rows: Sequence[int], *, count: int) -> Tally:
    named, denied = (np.zeros((count, len(MARKS))) for _ in range(2))
    np.add.at(named, rows, tally.named)
    np.add.at(denied, rows, tally.denied)
    return Tally(tally.kind, tally.source, (), named, denied)


# ---------------------------------------------------------------- on disk

_VERSION = 1
_LARGEST_FILE_BYTES = 256 * 1024**2


def encode_tallies(tallies: Sequence[Tally]) -> bytes:
    """Return what sources say as the content of a file."""
    sources = [
        {
            "kind": each.kind,
            "source": each.source,
            "species": [
                {"names": names, "named": _encode(each.named[row]), "denied": _encode(each.denied[row])}
                for row, names in enumerate(each.names)
            ],
        }
        for each in tallies
    ]
    return json.dumps({"version": _VERSION, "sources": sources}, ensure_ascii=False).encode()


def read_tallies(path: Path | None) -> tuple[Tally, ...]:
    """Read a file of what `encode_tallies` returned; none where there is no file. Unknown marks are left out.

    Raises:
        DamagedGalleryError: The file cannot be read.
    """
    if path is None:
        return ()
    try:
        if path.stat().st_size > _LARGEST_FILE_BYTES:
            raise DamagedGalleryError(path=path, reason="it is too large for a file of marks")
        value = json.loads(path.read_text(encoding="utf-8"))
        return tuple(
            Tally(
                SourceKind(each["kind"]),
                str(each["source"]),
                tuple(tuple(map(str, own["names"])) for own in each["species"]),
                np.array([_decode(own["named"]) for own in each["species"]]).reshape(-1, len(MARKS)),
                np.array([_decode(own["denied"]) for own in each["species"]]).reshape(-1, len(MARKS)),
            )
            for each in value["sources"]
        )
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DamagedGalleryError(path=path, reason=f"it is no file of marks ({error})") from error


def _encode(counts: Float[np.ndarray, " mark"]) -> dict[str, float]:
    return {str(MARKS[at]): round(float(counts[at]), 4) for at in np.flatnonzero(counts).tolist()}


def _decode(counts: Mapping[str, float | int]) -> Float[np.ndarray, " mark"]:
    row = np.zeros(len(MARKS))
    for name, count in counts.items():
        at = _COLUMN_BY_TEXT.get(name)
        if at is not None:
            row[at] = float(count)
    return row
