"""Taxonomies to resolve names by: a file of the user, or the world lists of birds that a package carries."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from fieldmark.data.table import read_table
from fieldmark.data.taxonomy import Taxon, Taxonomy, read_taxonomy
from fieldmark.errors import MissingExtraError
from fieldmark.names import link_key

AVILIST = "avilist"
"""AviList 2025 (CC BY 4.0), with the English names and older scientific names of eBird and BirdLife."""

_PACKAGE = "birdnames"
_TABLES = ("avilist_2025", "ebird_2024", "ebird_2023", "ebird_2022", "ebird_2021", "birdlife_2024")


def load_taxonomy(source: Path | str | None) -> Taxonomy | None:
    """Return a taxonomy: a file, or `avilist`, whose classes are the scientific names of species; None for None.

    Raises:
        ManifestError: The file is no taxonomy.
        MissingExtraError: The package with the lists is not installed.
    """
    if source is None:
        return None
    if str(source) == AVILIST and not Path(source).exists():
        return read_world_list()
    return read_taxonomy(Path(source))


def read_world_list() -> Taxonomy:
    """Return the species of AviList with the names that other lists have for them; a name of two species is left out.

    Raises:
        MissingExtraError: The package with the lists is not installed.
    """
    spec = find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError(package=_PACKAGE, extra="names", need=f"The taxonomy '{AVILIST}'")
    folder = Path(spec.submodule_search_locations[0]) / "data" / "processed"
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


def _keep_unique(scientific: str, names: dict[str, None], owners: dict[str, set[str]]) -> tuple[str, ...]:
    return tuple(name for name in names if name != scientific and len(owners[link_key(name)]) == 1)


def _read_names(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield the scientific and the common names of the species of a list."""
    table = read_table(path)
    common = [index for index, name in enumerate(table.names) if name.endswith("common_name")]
    for _, cells in table.rows:
        if " " in cells[0] and cells[0].count(" ") == 1:
            yield cells[0], [cells[index] for index in common if index < len(cells) and cells[index]]
