"""The world lists of birds that the package `birdnames` carries: AviList, eBird, BirdLife, and French names."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from fieldmark.data.table import read_table
from fieldmark.data.taxonomy import Taxon, Taxonomy
from fieldmark.errors import MissingExtraError
from fieldmark.names import link_key

AVILIST = "avilist"
"""AviList 2025 (CC BY 4.0), with the English names and older scientific names of eBird and BirdLife."""

_PACKAGE = "birdnames"
_TABLES = ("avilist_2025", "ebird_2024", "ebird_2023", "ebird_2022", "ebird_2021", "birdlife_2024", "bbl_2025")
_COLUMNS = ("common_name", "french_name")
"""Columns with names end so."""


def read_world_list() -> Taxonomy:
    """Return the species of AviList with the names that other lists have for them; a name of two species is left out.

    Raises:
        MissingExtraError: The package with the lists is not installed.
    """
    folder = _find_folder()
    if folder is None:
        raise MissingExtraError(package=_PACKAGE, extra="names", need=f"The taxonomy '{AVILIST}'")
    first, *others = (list(_read_names(folder / f"{table}_taxonomy.csv")) for table in _TABLES)
    names = {scientific: dict.fromkeys([scientific, *common]) for scientific, common in first}
    owners: dict[str, set[str]] = {}
    for scientific, own in names.items():
        for name in own:
            owners.setdefault(link_key(name), set()).add(scientific)
    for table in others:
        for scientific, common in table:
            same = owners.get(link_key(scientific))
            found = same or {owner for name in common for owner in owners.get(link_key(name), ())}
            if len(found) == 1:
                [owner] = found
                for name in (scientific, *common):
                    owners.setdefault(link_key(name), {owner}).add(owner)
                    names[owner].setdefault(name)
    return Taxonomy(
        tuple(
            Taxon(scientific, genus=scientific.split()[0], synonyms=_keep_unique(scientific, own, owners))
            for scientific, own in names.items()
        )
    )


def find_listed_names(species: Iterable[Iterable[str]]) -> list[tuple[str, ...]]:
    """Return all names that the lists have for some species, each known by any of its names; none without the package.

    The English name of the first list comes last. Quicker than the whole list, as only these species are linked. A name
    that a list has for two species finds none.
    """
    folder = _find_folder()
    if folder is None:
        return []
    rows, rows_by_key = _read_rows(folder)
    found: dict[tuple[str, ...], None] = {}
    for names in species:
        hits = {row for name in names for row in rows_by_key.get(_fold(name), ())}
        scientific = {_fold(rows[row][0]) for row in hits}
        hits |= {row for key in scientific for row in rows_by_key.get(key, ())}
        own = dict.fromkeys(name for row in sorted(hits) for name in rows[row])
        if own:
            english = rows[min(hits)][-1]  # that of the first list, which a species is called by, comes last
            found[(*(name for name in own if name != english), english)] = None
    return list(found)


@lru_cache(maxsize=1)
def _read_rows(folder: Path) -> tuple[list[tuple[str, ...]], dict[str, list[int]]]:
    """Return the names of each row of all lists, and the rows by their names; not those of two species of one list."""
    rows: list[tuple[str, ...]] = []
    rows_by_key: defaultdict[str, list[int]] = defaultdict(list)
    for table in _TABLES:
        own: defaultdict[str, list[int]] = defaultdict(list)
        for scientific, common in _read_names(folder / f"{table}_taxonomy.csv"):
            for name in dict.fromkeys(map(_fold, (scientific, *common))):
                own[name].append(len(rows))
            rows.append((scientific, *common))
        for key, found in own.items():
            if len(found) == 1:
                rows_by_key[key] += found
    return rows, dict(rows_by_key)


def _fold(name: str) -> str:
    return " ".join(name.casefold().replace("_", " ").replace("-", " ").replace("'", "").replace("\u2019", "").split())


def _find_folder() -> Path | None:
    spec = find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]) / "data" / "processed"


def _keep_unique(scientific: str, names: dict[str, None], owners: dict[str, set[str]]) -> tuple[str, ...]:
    return tuple(name for name in names if name != scientific and len(owners[link_key(name)]) == 1)


def _read_names(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield the scientific and the common names of the species of a list."""
    table = read_table(path)
    common = [index for index, name in enumerate(table.names) if name.endswith(_COLUMNS)]
    for _, cells in table.rows:
        if " " in cells[0] and cells[0].count(" ") == 1:
            yield cells[0], [cells[index] for index in common if index < len(cells) and cells[index]]
