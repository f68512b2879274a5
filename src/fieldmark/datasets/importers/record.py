"""Records with their media, whatever the format they come in: rows of a source become items of a manifest."""

import hashlib
import mimetypes
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from os.path import normpath
from pathlib import Path, PurePosixPath
from typing import final
from urllib.parse import unquote, urlsplit

from fieldmark.data.manifest import COLUMNS, parse_row
from fieldmark.data.taxonomy import Taxonomy
from fieldmark.datasets.importers.folders import MEDIUM_WORDS, is_outside_root
from fieldmark.datasets.importers.result import ImportResult, write_result
from fieldmark.datasets.importers.vernacular import VernacularName, write_names
from fieldmark.errors import MediaError
from fieldmark.media.loaders import detect_medium
from fieldmark.media.signatures import list_extensions
from fieldmark.names import is_species_name, name_key
from fieldmark.records.coordinates import is_on_earth, parse_degrees
from fieldmark.records.countries import find_country_code
from fieldmark.records.darwin_core import rearm_formula
from fieldmark.records.dates import join_date, normalize_date
from fieldmark.records.terms import write_basis
from fieldmark.scientific_name import is_above_species, normalize_rank, parse_scientific_name
from fieldmark.types import MEDIA, Failure, Item, Medium

ADDRESS = "address"
"""The named fact of an item that says where its file can be downloaded."""

_WEB = re.compile(r"https?://", re.IGNORECASE)
_OTHER_SCHEME = re.compile(r"[a-z][a-z0-9+.-]+:(//|[^\\/])", re.IGNORECASE)
_LONGEST_NAME = 120
_COMMON_NAMES = frozenset(
    ("original", "large", "medium", "small", "square", "thumb", "file", "download", "image", "photo", "media", "view")
)
"""Names that portals give to the file of every address."""


@dataclass(frozen=True, slots=True)
class MediaReference:
    """One medium of a record.

    Args:
        reference: The address or the path of its file, kept without spaces around it and with its scheme; a name may
            end in `.*`.
        told: Words of the source that tell its medium, such as a MIME type; the first that does counts.
        cells: Of this medium alone, by manifest column; others are kept by their names.
        item_id: None for one made from the record's id and the name of the file.
        local_names: Names that its file may have here, looked for first.
        exact: Cells that replace those of the record, as an export of ours wrote them; empty ones leave none.
    """

    reference: str
    told: tuple[str, ...] = ()
    cells: Mapping[str, str] = field(default_factory=dict)
    item_id: str | None = None
    local_names: tuple[str, ...] = ()
    exact: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "reference", complete_address(self.reference.strip()))


@dataclass(frozen=True, slots=True)
class Record:
    """One record and its media.

    Args:
        location: Where it stands in the source, for messages.
        record_id: By which its source knows it.
        cells: By manifest column, as `settle_facts` returns them; others are kept by their names.
        names: Of its species in languages, as `collect_names` returns them.
    """

    location: str
    record_id: str
    cells: Mapping[str, str]
    media: Sequence[MediaReference]
    names: Sequence[VernacularName] = ()


# ---------------------------------------------------------------- facts of a row


def settle_facts(
    row: Mapping[str, str], known: Mapping[str, Sequence[str]], *, is_day_first: bool | None = None
) -> dict[str, str]:
    """Return the cells of a row by manifest column, normalized where that loses nothing; others by their own names.

    Args:
        known: The columns that stand for each fact, as `recognize_columns` finds them.
        is_day_first: As for `normalize_date`.
    """
    chosen = {
        fact: next((name for name in names if row.get(name, "").strip()), names[0]) for fact, names in known.items()
    }
    row = {name: rearm_formula(value) for name, value in row.items()}
    cells = {fact: row.get(name, "").strip() for fact, name in chosen.items()}
    hidden = {name for fact, name in chosen.items() if fact in COLUMNS}
    kept = {name: value for name, value in row.items() if name not in hidden and value.strip() and name not in COLUMNS}
    cells |= _settle_names(cells)
    kept |= _settle_date(cells, is_day_first=is_day_first)
    kept |= _settle_place(cells)
    if cells.get("basis_of_record"):
        cells["basis_of_record"] = write_basis(cells["basis_of_record"])
    return {**kept, **{name: value for name, value in cells.items() if name in COLUMNS and value}}


def _settle_names(cells: Mapping[str, str]) -> dict[str, str]:
    """Return class, author and rank as the names of a record tell them."""
    given, accepted = cells.get("scientific_name", ""), cells.get("accepted_name", "")
    parsed = parse_scientific_name(given)
    found = {}
    if parsed is not None and parsed.authorship and not cells.get("authorship"):
        found["authorship"] = parsed.authorship
    if cells.get("taxon_rank"):
        found["taxon_rank"] = normalize_rank(cells["taxon_rank"])
    elif parsed is not None and " " in parsed.species:
        found["taxon_rank"] = parsed.rank
    if not cells.get("class_name"):
        name = accepted or given or cells.get("vernacular_name", "")
        found["class_name"] = name_class(name, rank=found.get("taxon_rank", "")) or ""
    return found


def name_class(name: str, *, rank: str = "") -> str | None:
    """Return the class of a record by its name: the species, without author and rank; None for no single species."""
    parsed = parse_scientific_name(name)
    if not name or not is_species_name(name) or is_above_species(rank) or name_key(name) == "homosapiens":
        return None
    if parsed is None:
        return " ".join(name.split())
    return parsed.species if parsed.is_species or parsed.is_hybrid else None


def _settle_date(cells: dict[str, str], *, is_day_first: bool | None) -> dict[str, str]:
    """Write the date as ISO 8601 where it is one; return the date as it was where that differs."""
    given = cells.get("event_date", "")
    found = normalize_date(given, is_day_first=is_day_first) if given else None
    parts = join_date(*(cells.get(name, "") for name in ("year", "month", "day")))
    cells["event_date"] = found or parts or given
    return {"verbatimEventDate": given} if given and cells["event_date"] != given else {}


def _settle_place(cells: dict[str, str]) -> dict[str, str]:
    """Normalize coordinates and country; return as they were those that cannot be used."""
    kept = {}
    pair = [cells.get(name, "") for name in ("latitude", "longitude")]
    degrees = [parse_degrees(text) for text in pair]
    if any(pair) and not is_on_earth(*degrees):
        kept = {name: text for name, text in zip(("verbatimLatitude", "verbatimLongitude"), pair, strict=True) if text}
        cells |= {"latitude": "", "longitude": ""}
    elif any(pair):
        cells |= {name: repr(number) for name, number in zip(("latitude", "longitude"), degrees, strict=True)}
    country = cells.get("country_code", "")
    if country:
        cells["country_code"] = find_country_code(country) or ""
        if not cells["country_code"]:
            kept["country"] = country
    uncertainty = cells.get("coordinate_uncertainty_meters", "")
    if uncertainty and parse_degrees(uncertainty) is None:
        kept["verbatimCoordinateUncertainty"] = uncertainty
        cells["coordinate_uncertainty_meters"] = ""
    return kept


def find_day_order(dates: Iterable[str]) -> bool | None:
    """Tell whether the day comes first in a table's dates such as 4/5/2019; None where no date of it tells."""
    told = set()
    for text in dates:
        if found := re.match(r"\s*(\d{1,2})[/-](\d{1,2})[/-]\d{4}", text):
            first, second = int(found[1]), int(found[2])
            told |= {True} if first > 12 else {False} if second > 12 else set()
    return told.pop() if len(told) == 1 else None


# ---------------------------------------------------------------- files


@final
class MediaFolder:
    """The files under a folder, found by path or by name; the folder is read once."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self._by_name: dict[str, list[str]] = {}
        self._by_stem: dict[str, list[str]] = {}
        self._paths: set[str] = set()
        self._planned: dict[str, str] = {}
        self._shared: set[str] = set()
        for folder, folders, files in os.walk(self.root):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(files):
                path = (Path(folder) / name).relative_to(self.root).as_posix()
                self._paths.add(path)
                self._by_name.setdefault(name, []).append(path)
                stem = PurePosixPath(name).stem
                for each in {stem, stem.partition(" - ")[0]}:  # such as "XC1 - Veery - Catharus fuscescens"
                    self._by_stem.setdefault(each, []).append(path)

    def note_addresses(self, references: Iterable[str]) -> None:
        """Note the names that several addresses have: no file of such a name is that of any of them."""
        addresses = {each for each in references if _WEB.match(each)}
        self._shared = {name for name, count in Counter(map(get_address_name, addresses)).items() if count > 1}

    def find_address(self, address: str, *, name: str) -> str | None:
        """Return the path of the one file of an address, by its name or as `plan` named it; None for none."""
        if name not in self._shared:
            return self.find(name)
        found = self._by_stem.get(f"{_hash(address)}-{PurePosixPath(name).stem}", [])
        return found[0] if len(found) == 1 else None

    def find(self, reference: str) -> str | None:
        """Return the path of the one file that a path or a name stands for; None for none, or several."""
        if reference in self._paths:
            return reference
        name = PurePosixPath(reference).name
        named = self._by_stem.get(name[:-2], []) if name.endswith(".*") else self._by_name.get(name, [])
        ends = [path for path in named if f"/{path}".endswith(f"/{reference}")]
        found = ends or named
        return found[0] if len(found) == 1 else None

    def plan(self, address: str, *, name: str, suffix: str) -> str:
        """Return a path, of its own for each address, under which its file is to be put.

        Args:
            name: Wanted for it.
            suffix: For a name without one.
        """
        name = re.sub(r"[^\w.-]+", "_", name)[-_LONGEST_NAME:].lstrip(".") or "file"
        name = name if PurePosixPath(name).suffix else name + suffix
        if name in self._shared or self._planned.setdefault(name, address) != address:
            name = f"{_hash(address)}-{name}"
            self._planned.setdefault(name, address)
        return name


def _hash(address: str) -> str:
    return hashlib.sha256(address.encode()).hexdigest()[:8]


def get_address_name(address: str) -> str:
    """Return the name of the file that an address stands for, with the folder before it where all files have that name.

    Example:
        >>> get_address_name("https://example.org/photos/123/original.jpg?1"), get_address_name("https://example.org/a.jpg")
        ('123-original.jpg', 'a.jpg')
    """
    path = PurePosixPath(unquote(urlsplit(address).path))
    is_common = path.stem.lower() in _COMMON_NAMES and path.parent.name
    return f"{path.parent.name}-{path.name}" if is_common else path.name


def complete_address(text: str) -> str:
    """Return an address that leaves its scheme to the page it stands on, such as `//example.org/a.jpg`, with one."""
    return f"https:{text}" if re.match(r"//[\w-]+(\.[\w-]+)+/", text) else text


def tell_medium(words: Iterable[str], *, name: str) -> Medium | None:
    """Return the medium that a source's words, or at last the suffix of a file's name, stand for; None for none."""
    for word in (each.strip().lower() for each in words):
        kind = word.partition("/")[0]
        if "/" in word and kind in ("image", "audio", "video"):
            return Medium(kind)
        if word == "text/plain":  # a page of HTML is no medium of a species
            return Medium.TEXT
        last = re.split(r"[/#:]", word)[-1]  # of `http://purl.org/dc/dcmitype/StillImage`, or `dctype:Sound`
        if found := MEDIUM_WORDS.get(name_key(last)) or _find_by_suffix(f".{last.removeprefix('.')}"):
            return found
    return _find_by_suffix(PurePosixPath(name).suffix.lower())


def _find_by_suffix(suffix: str) -> Medium | None:
    return next((medium for medium in MEDIA if suffix in list_extensions(medium)), None)


# ---------------------------------------------------------------- items


def import_records(  # noqa: PLR0913 - each option is one that the CLI offers
    records: Iterable[Record],
    *,
    folder: Path,
    left: list[Failure],
    notes: list[str],
    taxonomy: Taxonomy | None,
    merges_names: bool,
    out: Path,
) -> ImportResult:
    """Write the manifest of some records; each medium of each record is an item, or is listed with the reason.

    Names of species in languages go into the taxonomy beside it.

    Args:
        folder: Of the media files.
        left: What was left out so far.
    """
    records = list(records)
    files = MediaFolder(folder)
    files.note_addresses(media.reference for record in records for media in record.media)
    items: list[Item] = []
    names: list[Sequence[VernacularName]] = []
    taken: set[str] = set()
    absent = record_count = 0
    for record in records:
        record_count += 1
        if not record.media:
            left.append(Failure(record.location, "no_media", f"The record '{record.record_id}' has no medium."))
        for media in record.media:
            found = _make_item(record, media, files=files, taken=taken)
            if isinstance(found, Failure):
                left.append(found)
                continue
            items.append(found)
            names.append(record.names)
            taken.add(found.item_id)
            absent += found.path is not None and not found.path.is_file()
    items = _share_groups(items)
    notes.insert(0, f"{record_count:,} records; {len(items):,} of their media are taken.")
    if absent:
        notes.append(f"{absent:,} items have an address and no file yet; their files belong into '{files.root}'.")
    _note_names(items, notes)
    result = write_result(items, left, notes, taxonomy=taxonomy, merges_names=merges_names, out=out)
    return replace(result, notes=(*result.notes, *write_names(result.items, names, manifest=out)))


def _make_item(record: Record, media: MediaReference, *, files: MediaFolder, taken: set[str]) -> Item | Failure:
    """Return the item of one medium of a record, or why there is none."""
    cells = {**record.cells, **_overlay(record.cells, media.cells)}
    reference = media.reference
    if media.exact.get("text"):
        cells |= {"text": media.exact["text"], "medium": Medium.TEXT.value}
        name = "text"
    else:
        found = _find_file(record, media, files)
        if isinstance(found, Failure):
            return found
        path, medium = found
        cells |= {"medium": medium.value, "path": path}
        if _WEB.match(reference):
            cells[ADDRESS] = reference
        name = get_address_name(reference) if _WEB.match(reference) else reference.replace("\\", "/")
    cells.setdefault("group", record.record_id)
    cells = {key: value for key, value in {**cells, **media.exact}.items() if value}
    item_id = cells.pop("item_id", None) or media.item_id or f"{record.record_id}/{name}"
    item_id = next(free for free in number_ids(item_id) if free not in taken)
    faults: list[str] = []
    item = parse_row(cells, item_id, files.root, faults)
    if item is None:
        return Failure(record.location, "bad_row", "; ".join(faults))
    return item if item.path is None else replace(item, path=Path(normpath(item.path)))


def _find_file(record: Record, media: MediaReference, files: MediaFolder) -> tuple[str, Medium] | Failure:
    """Return the path of a medium's file under the folder, there or planned, and its medium; or why there is none."""
    reference = media.reference
    is_web = bool(_WEB.match(reference))
    if not reference:
        return Failure(record.location, "no_address", f"A medium of the record '{record.record_id}' has no address.")
    if not is_web and _OTHER_SCHEME.match(reference) and not re.match(r"[a-z]:\\", reference, re.IGNORECASE):
        return Failure(record.location, "unknown_address", f"'{reference}' is no address of the web and no path.")
    name = get_address_name(reference) if is_web else reference.replace("\\", "/")
    path = next((found for each in media.local_names if each and (found := files.find(each)) is not None), None)
    if path is None and is_web:
        path = files.find_address(reference, name=name)
    elif path is None:
        path = files.find(name.removeprefix(f"{files.root.as_posix()}/"))
    if path is not None:
        return _detect(record, files.root / path, path)
    if not is_web:
        kind = "outside_root" if is_outside_root(name) else "missing_file"
        return Failure(record.location, kind, f"There is no single file '{reference}' under '{files.root}'.")
    medium = tell_medium(media.told, name=name)
    if medium is None:
        return Failure(record.location, "unknown_medium", f"'{reference}' is of no known medium, by type and name.")
    wanted = next((each for each in media.local_names if each and not each.endswith(".*")), name)
    return files.plan(reference, name=wanted, suffix=_choose_suffix(media.told)), medium


def _detect(record: Record, file: Path, path: str) -> tuple[str, Medium] | Failure:
    try:
        return path, detect_medium(file)
    except MediaError as error:
        return Failure(record.location, error.kind, str(error))


def _choose_suffix(told: Iterable[str]) -> str:
    return next((suffix for word in told if (suffix := mimetypes.guess_extension(word.strip().lower()))), "")


def _overlay(record: Mapping[str, str], media: Mapping[str, str]) -> dict[str, str]:
    """Return the cells of a medium beside those of its record: none of either is lost."""
    found = {}
    for name, value in media.items():
        if not value.strip():
            continue
        if name in COLUMNS:
            if record.get(name, value) != value:
                found[f"record_{name}"] = record[name]
            found[name] = value
        else:
            found[name if record.get(name, value) == value else f"media_{name}"] = value
    return found


def number_ids(item_id: str) -> Iterator[str]:
    """Yield an id, and then the same with numbers behind it, without end."""
    yield item_id
    number = 2
    while True:
        yield f"{item_id}#{number}"
        number += 1


def _share_groups(items: Sequence[Item]) -> list[Item]:
    """Return items of which those of one file, and so their records, are of one group."""
    first: dict[str, str] = {}

    def find(name: str) -> str:
        while first.get(name, name) != name:
            name = first[name]
        return name

    group_by_path: dict[Path, str] = {}
    for item in items:
        if item.path is not None and item.group is not None:
            one, other = find(item.group), find(group_by_path.setdefault(item.path, item.group))
            first[max(one, other)] = min(one, other)
    return [item if item.group is None else replace(item, group=find(item.group)) for item in items]


def _note_names(items: Sequence[Item], notes: list[str]) -> None:
    """Note the names that are of no single species, and how many files several records share."""
    unnamed = sorted({item.scientific_name or "(no name)" for item in items if item.class_name is None})
    if unnamed:
        count = sum(item.class_name is None for item in items)
        notes.append(f"{count:,} items have no class, as their names are of no single species: {', '.join(unnamed)}.")
    paths = [item.path for item in items]
    shared = len(paths) - len(set(paths))
    if shared:
        notes.append(f"{shared:,} media are files that another record has too; they are kept, in one group.")
