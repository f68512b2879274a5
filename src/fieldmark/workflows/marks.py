"""The knowledge of marks that a run and a gallery keep: from training texts, a species book and tables of traits."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from fieldmark.encoders.species_book import read_accounts
from fieldmark.errors import MediaError, list_first
from fieldmark.gallery.files import GalleryPlace, open_files
from fieldmark.gallery.layout import GalleryFile
from fieldmark.gallery.naming.stored_names import read_species
from fieldmark.gallery.search.query import read_words
from fieldmark.io import write_bytes
from fieldmark.marks.profile import SourceKind, Tally, encode_tallies, gather, read_tallies, tally_table, tally_texts
from fieldmark.marks.traits import read_traits
from fieldmark.names import KnownNames, Resolution
from fieldmark.training.layout import RunLayout, find_marks
from fieldmark.types import Item, MediaLimits, Medium

_TRAINING = "training texts"


@dataclass(frozen=True, slots=True)
class MarkSourcesRead:
    """Marks that files tell, and columns of tables that name no known mark."""

    tallies: tuple[Tally, ...]
    unknown_columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MarksReport:
    """A report on the known marks of species.

    Args:
        species_count: Species of each source, by the name of the source.
        unresolved: Names of books and tables that no encoder and no class has.
        contradictions: Marks that sources both name and deny, or one source does; the majority of mentions counts.
        unknown_columns: Columns of the table that name no known mark.
    """

    species_count: Mapping[str, int]
    unresolved: tuple[str, ...]
    contradictions: tuple[str, ...]
    unknown_columns: tuple[str, ...]

    json_keys: ClassVar = ("species_count", "unresolved", "contradictions", "unknown_columns")

    def to_text(self) -> str:
        """Return the sources, and what is in doubt of them."""
        counts = ", ".join(f"{count:,} species from {source}" for source, count in self.species_count.items())
        lines = [f"marks for descriptions: {counts}"]
        for label, found in (
            ("names that no encoder and no class has", self.unresolved),
            ("marks that are both named and denied, where the majority counts", self.contradictions),
            ("columns that name no known mark", self.unknown_columns),
        ):
            if found:
                lines.append(f"  {label} ({len(found):,}): {list_first(found)}")
        return "\n".join(lines)


def read_mark_sources(*, descriptions: Path | None, traits: Path | None) -> MarkSourcesRead:
    """Read files that tell of the marks of species.

    Args:
        descriptions: A species book, as `encoders.species_book.read_accounts` reads it; None for none.
        traits: A table, as `marks.traits.read_traits` reads it; None for none.

    Raises:
        EncoderFilesError: The book cannot be read.
        ConfigError: The table cannot be read.
    """
    tallies: list[Tally] = []
    unknown: tuple[str, ...] = ()
    if descriptions is not None:
        accounts = read_accounts(descriptions)
        texts = dict(zip(accounts.names, accounts.sentences, strict=True))
        tallies.append(tally_texts(texts, kind=SourceKind.BOOK, source=descriptions.name))
    if traits is not None:
        table = read_traits(traits)
        tallies.append(tally_table(table))
        unknown = table.unknown_columns
    return MarkSourcesRead(tuple(tallies), unknown)


def write_training_marks(
    folder: Path, items: Iterable[Item], *, resolutions: Sequence[Resolution], limits: MediaLimits
) -> None:
    """Write the marks that a run's training texts name of each class; nothing where there is no text.

    Args:
        items: Of the train split alone, so that no tested text tells of itself.
        resolutions: The species that the classes stand for.
    """
    names_of = {each.class_name: (each.class_name, *each.names) for each in resolutions}
    texts: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
    for item in items:
        if item.medium is not Medium.TEXT or item.class_name is None:
            continue
        try:
            words = read_words(item, limits=limits)
        except MediaError:
            continue
        texts[names_of.get(item.class_name, (item.class_name,))].append(" ".join(words))
    if texts:
        write_bytes(
            RunLayout(folder).marks, encode_tallies([tally_texts(texts, kind=SourceKind.TEXTS, source=_TRAINING)])
        )


@dataclass(frozen=True, slots=True)
class GalleryMarks:
    """The marks that a gallery now knows.

    Args:
        is_changed: Whether it knew something else before.
    """

    report: MarksReport | None
    is_changed: bool


def bring_marks_up_to_date(
    folder: GalleryPlace, *, told: MarkSourcesRead, checkpoint: Path | str | None, has_vectors: bool
) -> GalleryMarks:
    """Gather what a gallery knows of marks: from the training texts of its run, from a book, and from a table.

    A gallery whose model has no vector for a name knows nothing of marks, since nothing could be found by them.

    Args:
        told: Of files that were given now; those of a kind that was not given stay as they are.
        checkpoint: The run that the gallery is made with; None keeps what it took from one.
        has_vectors: Whether the model has vectors for names.

    Raises:
        DamagedGalleryError: A file of marks cannot be read.
    """
    files = open_files(folder)
    path = files.find(GalleryFile.MARKS)
    tally_by_kind = {each.kind: each for each in read_tallies(path)}
    of_run = None if checkpoint is None else find_marks(Path(checkpoint))
    run = read_tallies(of_run)
    tally_by_kind |= {each.kind: each for each in (*run, *told.tallies)}
    if not tally_by_kind or not has_vectors:
        return GalleryMarks(None, is_changed=False)
    tallies = [tally_by_kind[kind] for kind in SourceKind if kind in tally_by_kind]
    before, content = b"" if path is None else path.read_bytes(), encode_tallies(tallies)
    if content != before:
        files.write(GalleryFile.MARKS, content)
    known = KnownNames(names for each in read_species(folder).values() for names in each)
    report = _describe(tallies, known=known, unknown=told.unknown_columns)
    return GalleryMarks(report, is_changed=content != before)


def _describe(tallies: Sequence[Tally], *, known: KnownNames, unknown: tuple[str, ...]) -> MarksReport:
    gathered = gather(tallies, known=known)
    told = gathered.profiles.list_contradictions()
    return MarksReport(
        species_count={each.source: len(each.names) for each in tallies},
        unresolved=gathered.unresolved,
        contradictions=tuple(f"{name}: {mark}" for name, mark in told),
        unknown_columns=unknown,
    )
