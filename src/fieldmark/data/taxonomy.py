"""Classes in their genera, families and orders, and the other names they go by."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fieldmark.data.table import read_table, write_csv
from fieldmark.errors import ManifestError, list_faults
from fieldmark.io import open_replacement
from fieldmark.names import link_key

_RANKS = ("genus", "family", "order")
"""Above the class, the narrowest first."""

COLUMNS = ("class_name", *_RANKS, "scientific_name", "synonyms")

_SEPARATOR = ";"

_NAME_COLUMN = re.compile(r"name_([a-z]{2,3})", re.IGNORECASE)
"""A column of names in one language, such as `name_de`: the page shows them to those who read that language."""


@dataclass(frozen=True, slots=True)
class Taxon:
    """One class, and where it stands; ranks that are not known are None."""

    class_name: str
    genus: str | None = None
    family: str | None = None
    order: str | None = None
    scientific_name: str | None = None
    synonyms: tuple[str, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Its names in languages, by their codes: `{"de": "Sturmmöwe"}`."""

    @property
    def common_names(self) -> tuple[str, ...]:
        """Its synonyms, and its names in languages."""
        return tuple(dict.fromkeys((*self.synonyms, *self.names.values())))

    @property
    def other_names(self) -> tuple[str, ...]:
        """All its names but that of the class: scientific and common ones."""
        return (*((self.scientific_name,) if self.scientific_name else ()), *self.common_names)


@dataclass(frozen=True, slots=True)
class Taxonomy:
    """The classes of a collection. A name is found in any letter case, spacing and punctuation.

    Example:
        >>> jay = Taxon("Florida_Jay", genus="Aphelocoma", synonyms=("Florida Scrub-Jay",))
        >>> Taxonomy((jay,)).class_named("florida_scrub_jay")
        'Florida_Jay'
    """

    taxa: tuple[Taxon, ...]
    _class_by_key: Mapping[str, str] = field(init=False, repr=False, compare=False)
    _taxon_by_class: Mapping[str, Taxon] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        names = {link_key(name): taxon.class_name for taxon in self.taxa for name in taxon.other_names}
        names.update({link_key(taxon.class_name): taxon.class_name for taxon in self.taxa})
        object.__setattr__(self, "_class_by_key", names)
        object.__setattr__(self, "_taxon_by_class", {taxon.class_name: taxon for taxon in self.taxa})

    def class_named(self, name: str) -> str | None:
        """Return the class of a name: a class name, a scientific name or a synonym; None for no class."""
        return self._class_by_key.get(link_key(name))

    def find(self, name: str) -> Taxon | None:
        """Return the taxon of a class, by any of its names; None for no class."""
        class_name = self.class_named(name)
        return None if class_name is None else self._taxon_by_class[class_name]

    def names_at(self, rank: str) -> dict[str, str]:
        """Return the genus, family or order of each class that has one."""
        names = {taxon.class_name: getattr(taxon, rank) for taxon in self.taxa}
        return {class_name: name for class_name, name in names.items() if name}

    def genera_beside(self, taxon: Taxon) -> frozenset[str]:
        """Return the genera of a class's family; none where its family is not known."""
        if taxon.family is None:
            return frozenset()
        return frozenset(each.genus for each in self.taxa if each.genus and each.family == taxon.family)


def find_taxonomy_beside(folder: Path) -> Path:
    """Return where the taxonomy of a folder of media, or of a gallery, lies."""
    return folder / "taxonomy.csv"


def read_taxonomy(path: Path) -> Taxonomy:
    """Read the taxonomy of a CSV or Parquet file; only `class_name` is required, semicolons separate synonyms.

    A column `name_de` holds German names, and so on for other codes of languages.

    Raises:
        ManifestError: The file is no table.
        ManifestError: The column `class_name` is missing, a row has none, or one name stands for two classes.
    """
    table = read_table(path, known=COLUMNS)
    if "class_name" not in table.names:
        names = ", ".join(table.names)
        raise ManifestError(
            f"The taxonomy '{path}' has no column 'class_name', but {names}. Add that column.", kind="taxonomy"
        )
    problems: list[str] = []
    taxa: list[Taxon] = []
    owner_by_key: dict[str, str] = {}
    for place, values in table.rows:
        cells = {name: value.strip() for name, value in zip(table.names, values, strict=False)}
        if not cells.get("class_name"):
            problems.append(f"{place}: no class_name; give one")
            continue
        taxon = _taxon(cells)
        problems += [f"{place}: {fault}" for fault in _claim(taxon, owner_by_key)]
        taxa.append(taxon)
    if problems:
        raise ManifestError(
            f"The taxonomy '{path}' has {len(problems)} errors. Correct them:\n{list_faults(problems)}", kind="taxonomy"
        )
    return Taxonomy(tuple(taxa))


def write_taxonomy(taxonomy: Taxonomy, path: Path) -> None:
    """Write a CSV that `read_taxonomy` reads back; the file appears whole or not at all."""
    languages = sorted({language for taxon in taxonomy.taxa for language in taxon.names})
    names = (*COLUMNS, *(f"name_{language}" for language in languages))
    with open_replacement(path) as file:
        write_csv(file, names=names, rows=(_cells(taxon, languages) for taxon in taxonomy.taxa))


def _cells(taxon: Taxon, languages: Sequence[str]) -> list[str]:
    ranks = (taxon.genus, taxon.family, taxon.order, taxon.scientific_name)
    own = (taxon.names.get(language, "") for language in languages)
    return [taxon.class_name, *(rank or "" for rank in ranks), f"{_SEPARATOR} ".join(taxon.synonyms), *own]


def _taxon(cells: Mapping[str, str]) -> Taxon:
    synonyms = (name.strip() for name in cells.get("synonyms", "").split(_SEPARATOR))
    in_languages = ((_NAME_COLUMN.fullmatch(column), name) for column, name in cells.items() if name)
    return Taxon(
        class_name=cells["class_name"],
        genus=cells.get("genus") or None,
        family=cells.get("family") or None,
        order=cells.get("order") or None,
        scientific_name=cells.get("scientific_name") or None,
        synonyms=tuple(name for name in synonyms if name),
        names={found[1].lower(): name for found, name in in_languages if found},
    )


def _claim(taxon: Taxon, owner_by_key: dict[str, str]) -> list[str]:
    """Record the names of a class; return a fault for each that belongs to another class already."""
    faults = []
    if taxon.class_name in owner_by_key.values():
        faults.append(f"the class '{taxon.class_name}' is already listed; delete one row")
    for name in (taxon.class_name, *taxon.other_names):
        owner = owner_by_key.setdefault(link_key(name), taxon.class_name)
        if owner != taxon.class_name:
            faults.append(f"'{name}' is already a name of '{owner}'; keep it for one class only")
    return faults
