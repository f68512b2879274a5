"""The taxonomy of the classes: `taxonomy.csv` -> genus, family and order of each."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fieldmark.errors import TaxonomyError

RANKS = ("genus", "family", "order")
"""Above the class, the narrowest first."""

COLUMNS = ("class_name", *RANKS, "scientific_name", "synonyms")


@dataclass(frozen=True, slots=True)
class Taxon:
    """What a taxonomy tells of one class; None where it tells nothing.

    Args:
        synonyms: Other names of the class; in the file they are parted by `;`.
    """

    genus: str | None
    family: str | None
    order: str | None
    scientific_name: str | None = None
    synonyms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Taxonomy:
    """The classes of a taxonomy by name."""

    taxon_by_class_name: Mapping[str, Taxon]

    def names_at(self, rank: str) -> dict[str, str]:
        """The genus, family or order of each class that has one."""
        names = {name: getattr(taxon, rank) for name, taxon in self.taxon_by_class_name.items()}
        return {name: value for name, value in names.items() if value}


def read_taxonomy(path: Path) -> Taxonomy:
    """The taxonomy in a CSV file with a header.

    Raises:
        TaxonomyError: The file cannot be read, lacks a column, or names a class twice or not at all.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            columns = [name.strip() for name in reader.fieldnames or ()]
            rows = [
                {name: (cell or "").strip() for name, cell in zip(columns, row.values(), strict=False)}
                for row in reader
            ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TaxonomyError(path=path, reason=str(error)) from error
    missing = [name for name in ("class_name", *RANKS) if name not in columns]
    if missing:
        raise TaxonomyError(path=path, reason=f"it lacks the columns {', '.join(missing)}")
    taxa: dict[str, Taxon] = {}
    for number, row in enumerate(rows, start=2):
        name = row["class_name"]
        if not name or name in taxa:
            met = f"names the class '{name}' again" if name else "has no class_name"
            raise TaxonomyError(path=path, reason=f"line {number} {met}")
        taxa[name] = Taxon(
            genus=row["genus"] or None,
            family=row["family"] or None,
            order=row["order"] or None,
            scientific_name=row.get("scientific_name") or None,
            synonyms=tuple(part.strip() for part in row.get("synonyms", "").split(";") if part.strip()),
        )
    return Taxonomy(taxa)
