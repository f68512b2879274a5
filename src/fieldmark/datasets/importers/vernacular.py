"""Names of classes by language, as records tell them, into the taxonomy beside a manifest."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

from fieldmark.data.table import read_table, write_csv
from fieldmark.data.taxonomy import COLUMNS, Taxonomy, find_taxonomy_beside, read_taxonomy
from fieldmark.errors import ManifestError, list_first
from fieldmark.io import open_replacement
from fieldmark.names import link_key
from fieldmark.records.languages import find_language_code
from fieldmark.scientific_name import parse_scientific_name
from fieldmark.types import Item

_LONGEST_NAME = 200
_SEPARATOR = ";"


@dataclass(frozen=True, slots=True)
class VernacularName:
    """One name of a species in a language, by its code of two letters."""

    language: str
    name: str


def collect_names(told: Iterable[tuple[str, str]]) -> tuple[VernacularName, ...]:
    """Return names with languages that are known; pairs of language and name, the preferred ones first."""
    found = ((find_language_code(language), " ".join(name.split())) for language, name in told)
    kept = (
        VernacularName(code, name)
        for code, name in found
        if code and name and len(name) <= _LONGEST_NAME and _SEPARATOR not in name
    )
    return tuple(dict.fromkeys(kept))


@final
@dataclass(slots=True)
class _Tally:
    """The numbers of items that give a class a name: as their first of its language, or as another."""

    first: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    others: Counter[str] = field(default_factory=Counter)
    species: set[str] = field(default_factory=set)

    def add(self, item: Item, names: Iterable[VernacularName]) -> None:
        parsed = parse_scientific_name(item.scientific_name or "")
        if parsed is not None and parsed.is_species:
            self.species.add(parsed.species)
        met: set[str] = set()
        for each in names:
            if each.language in met:
                self.others[each.name] += 1
            else:
                self.first[each.language][each.name] += 1
                met.add(each.language)

    def list_all(self) -> set[str]:
        """Return every name, the scientific ones too."""
        return {*self.species, *self.others, *(name for counts in self.first.values() for name in counts)}


def write_names(items: Sequence[Item], names: Sequence[Sequence[VernacularName]], *, manifest: Path) -> list[str]:
    """Complete the taxonomy beside a manifest with names of its classes, and return notes for the user.

    A file that is there keeps all its cells: only empty ones are filled, and rows and columns added. Of several names
    in one language the class has that of most items; the others become synonyms. A name of two classes names neither.

    Args:
        names: Of each item.
    """
    tallies: defaultdict[str, _Tally] = defaultdict(_Tally)
    for item, own in zip(items, names, strict=True):
        if item.class_name is not None and own:
            tallies[item.class_name].add(item, own)
    if not tallies:
        return []
    path = find_taxonomy_beside(manifest.parent)
    try:
        columns, rows, taxonomy = _read(path)
    except ManifestError as error:
        return [f"'{path}' is there and cannot be read, so names in languages were not added to it. {error}"]
    shared = _find_shared(taxonomy, tallies)
    added = _complete(rows, taxonomy, tallies, is_free=lambda name: link_key(name) not in shared)
    notes = []
    if added:
        columns += sorted({name for row in rows for name in row} - set(columns))
        with open_replacement(path) as file:
            write_csv(file, names=columns, rows=([row.get(name, "") for name in columns] for row in rows))
        languages = sorted({language for each in tallies.values() for language in each.first})
        notes.append(f"{added:,} names of classes were added to '{path}', in {', '.join(languages)}.")
    if left_out := sorted({name for each in tallies.values() for name in each.list_all() if link_key(name) in shared}):
        notes.append(f"{len(left_out)} names are those of several classes, and name none: {list_first(left_out)}.")
    return notes


def _complete(
    rows: list[dict[str, str]],
    taxonomy: Taxonomy,
    tallies: Mapping[str, _Tally],
    *,
    is_free: Callable[[str], bool],
) -> int:
    """Fill the rows of a taxonomy, add those of classes that it lacks, and return how many names were added."""
    row_by_class = dict(zip((taxon.class_name for taxon in taxonomy.taxa), rows, strict=True))
    added = 0
    for class_name, tally in sorted(tallies.items()):
        row = row_by_class.get(taxonomy.class_named(class_name) or "")
        is_new = row is None
        if row is None:
            species = list(filter(is_free, tally.species))
            row = {"class_name": class_name, "scientific_name": species[0] if len(species) == 1 else ""}
        count = _fill(row, tally, is_free=is_free)
        rows += [row] if is_new and count else []
        added += count
    return added


def _read(path: Path) -> tuple[list[str], list[dict[str, str]], Taxonomy]:
    """Return columns, rows and meaning of a taxonomy; of none, where there is no file."""
    if not path.exists():
        return list(COLUMNS), [], Taxonomy(())
    taxonomy, table = read_taxonomy(path), read_table(path, known=COLUMNS)
    return list(table.names), [dict(zip(table.names, cells, strict=False)) for _, cells in table.rows], taxonomy


def _find_shared(taxonomy: Taxonomy, tallies: Mapping[str, _Tally]) -> set[str]:
    """Return the keys of names that two classes have, in the taxonomy or by what records tell."""
    owners: defaultdict[str, set[str]] = defaultdict(set)
    for taxon in taxonomy.taxa:
        for name in (taxon.class_name, *taxon.other_names):
            owners[link_key(name)].add(taxon.class_name)
    for class_name, tally in tallies.items():
        owner = taxonomy.class_named(class_name) or class_name
        for name in (class_name, *tally.list_all()):
            owners[link_key(name)].add(owner)
    return {key for key, own in owners.items() if len(own) > 1}


def _fill(row: dict[str, str], tally: _Tally, *, is_free: Callable[[str], bool]) -> int:
    """Fill the empty cells of a class's row; return how many names were added."""
    added = 0
    spare = Counter({name: count for name, count in tally.others.items() if is_free(name)})
    for language, counts in sorted(tally.first.items()):
        free = [name for name, _ in counts.most_common() if is_free(name)]
        if free and not row.get(f"name_{language}", "").strip():
            row[f"name_{language}"] = free.pop(0)
            added += 1
        spare.update({name: counts[name] for name in free})
    known = {link_key(name) for name in row.values()}
    others = [name for name, _ in spare.most_common() if link_key(name) not in known]
    if others and not row.get("synonyms", "").strip():
        row["synonyms"] = f"{_SEPARATOR} ".join(others)
        added += len(others)
    return added
