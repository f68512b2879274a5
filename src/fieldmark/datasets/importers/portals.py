"""Import exports of iNaturalist, eBird with the Macaulay Library, and xeno-canto."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from fieldmark.data.table import read_table
from fieldmark.datasets.importers.dwca import split_media
from fieldmark.datasets.importers.record import (
    MediaReference,
    Record,
    complete_address,
    find_day_order,
    import_records,
    settle_facts,
)
from fieldmark.datasets.importers.result import ImportResult, note_encoding
from fieldmark.datasets.importers.taxonomies import load_taxonomy
from fieldmark.datasets.importers.vernacular import VernacularName, collect_names
from fieldmark.errors import ManifestError, list_first
from fieldmark.records.dates import normalize_date
from fieldmark.records.terms import fold_header, recognize_columns
from fieldmark.types import Failure

_Row = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Portal:
    """One portal's way to write its records.

    Args:
        needed: Folded names of columns, one of which every export has.
        id_column: Folded name of the column of the record's id.
        key: Of the list of records in JSON.
    """

    name: str
    needed: tuple[str, ...]
    id_column: str
    key: str = "results"


_IMAGE_LICENSES, _SOUND_LICENSES, _NAMES = "image_licenses", "sound_licenses", "names_by_language"
"""Columns of the rows that JSON is read into; no record keeps them."""

_HELD = (_IMAGE_LICENSES, _SOUND_LICENSES, _NAMES)
_OF_MEDIA = ("path", "address", "medium")
_INATURALIST = _Portal("iNaturalist", ("qualitygrade", "observedon", "imageurl", "soundurl"), "id")
_XENO_CANTO = _Portal("xeno-canto", ("gen", "rec", "lic"), "id", "recordings")
_EBIRD = _Portal("eBird or the Macaulay Library", ("mlcatalognumber", "mlcatalognumbers"), "")


def import_inaturalist(
    source: Path,
    *,
    out: Path,
    media: Path | None = None,
    taxonomy: Path | str | None = None,
    merges_names: bool = False,
) -> ImportResult:
    """Write a manifest of observations of iNaturalist: a CSV export, or JSON of its API.

    Args:
        media: The folder of the files that addresses stand for, found by their names; None takes that of the source.
        taxonomy: A CSV of classes, or a name of `load_taxonomy`; synonyms are replaced by the name of the class.
        merges_names: Whether names that differ only in spelling, author or rank become one class.

    Raises:
        ManifestError: It is no such export; nothing is written.
    """
    return _import(source, _INATURALIST, media=media, taxonomy=taxonomy, merges_names=merges_names, out=out)


def import_ebird(
    source: Path,
    *,
    out: Path,
    media: Path | None = None,
    taxonomy: Path | str | None = None,
    merges_names: bool = False,
) -> ImportResult:
    """Write a manifest of a CSV export of the Macaulay Library, or of "My eBird Data" with its catalog numbers.

    Neither has addresses of files: each is looked for as `ML<number>.*` or `<number>.*`.

    Args:
        media: The folder of the files; None takes that of the source.
        taxonomy: A CSV of classes, or a name of `load_taxonomy`; synonyms are replaced by the name of the class.
        merges_names: Whether names that differ only in spelling, author or rank become one class.

    Raises:
        ManifestError: It is no such export; nothing is written.
    """
    return _import(source, _EBIRD, media=media, taxonomy=taxonomy, merges_names=merges_names, out=out)


def import_xeno_canto(
    source: Path,
    *,
    out: Path,
    media: Path | None = None,
    taxonomy: Path | str | None = None,
    merges_names: bool = False,
) -> ImportResult:
    """Write a manifest of recordings of xeno-canto: JSON of its API, or a CSV with the same columns.

    Files are found as `XC<id>.*` or by the names that downloads have; others keep their addresses.

    Args:
        media: The folder of the files; None takes that of the source.
        taxonomy: A CSV of classes, or a name of `load_taxonomy`; synonyms are replaced by the name of the class.
        merges_names: Whether names that differ only in spelling, author or rank become one class.

    Raises:
        ManifestError: It is no such export; nothing is written.
    """
    return _import(source, _XENO_CANTO, media=media, taxonomy=taxonomy, merges_names=merges_names, out=out)


# ---------------------------------------------------------------- reading


def _read_rows(
    source: Path, portal: _Portal, left: list[Failure], notes: list[str]
) -> list[tuple[str, dict[str, str]]]:
    """Return the rows of an export, with their positions; a folder's JSON pages in the order of their names.

    Rows with more cells than there are columns are added to `left`. Spreadsheets leave out the last empty cells of a
    row, so that one with fewer is whole.

    Raises:
        ManifestError: It is no export of the portal.
    """
    paths = sorted(source.glob("*.json")) if source.is_dir() else [source]
    flatten = _FLATTENED.get(portal.name, _take)
    rows: list[tuple[str, dict[str, str]]] = []
    for path in paths:
        if path.suffix.lower() == ".json":
            values = enumerate(_read_json(path, portal, portal.key))
            rows += [(f"{path.name} {portal.key}[{number}]", flatten(each)) for number, each in values]
            continue
        table = read_table(path, delimiter=None, is_strict=False)
        notes += note_encoding(is_guessed=table.is_guessed)
        for place, cells in table.rows:
            if len(cells) > len(table.names):
                left.append(Failure(place, "bad_row", f"{len(cells)} cells under {len(table.names)} columns"))
            else:
                rows.append((place, dict(zip(table.names, cells, strict=False))))
    names = dict.fromkeys(name for _, row in rows for name in row)
    if rows and not {fold_header(name) for name in names} & set(portal.needed):
        raise _refuse(source, portal, f"its columns are {list_first(list(names), limit=12)}")
    return rows


def _read_json(path: Path, portal: _Portal, key: str) -> Sequence[Mapping[str, Any]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise _refuse(path, portal, "there is no such file") from None
    except (ValueError, OSError, RecursionError) as error:
        raise _refuse(path, portal, f"it is no JSON ({error})") from error
    found = content.get(key) if isinstance(content, dict) else content
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise _refuse(path, portal, f"it has no list '{key}'")
    return found


def _refuse(source: Path, portal: _Portal, reason: str) -> ManifestError:
    return ManifestError(
        f"'{source}' cannot be imported as an export of {portal.name}: {reason}. Give a file as exported, or use "
        "`fieldmark data import csv` and map its columns.",
        kind="import_source",
    )


def _take(values: Mapping[str, Any]) -> dict[str, str]:
    """Return the plain values of a JSON object as cells."""
    return {
        str(key): " | ".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value)
        for key, value in values.items()
        if not isinstance(value, dict)
    }


def _flatten_observation(values: Mapping[str, Any]) -> dict[str, str]:
    """Return an observation of iNaturalist's API as a row of its CSV export."""
    taxon, user = values.get("taxon") or {}, values.get("user") or {}
    latitude, _, longitude = str(values.get("location") or "").partition(",")
    photos = [each for each in values.get("photos") or () if each.get("url")]
    sounds = [each for each in values.get("sounds") or () if each.get("file_url")]
    plain = _take({key: value for key, value in values.items() if not isinstance(value, list)})
    return {
        **plain,
        "latitude": latitude,
        "longitude": longitude,
        "scientific_name": str(taxon.get("name") or ""),
        "rank": str(taxon.get("rank") or ""),
        "common_name": str(taxon.get("preferred_common_name") or ""),
        "user_name": str(user.get("name") or user.get("login") or ""),
        "image_url": " | ".join(str(each["url"]).replace("/square.", "/original.") for each in photos),
        "sound_url": " | ".join(str(each["file_url"]) for each in sounds),
        "license": plain.get("license_code", ""),
        _IMAGE_LICENSES: _join_licenses(photos),
        _SOUND_LICENSES: _join_licenses(sounds),
        "url": plain.get("uri", ""),
        _NAMES: " | ".join(f"{language}={name}" for language, name in _list_taxon_names(taxon)),
    }


def _list_taxon_names(taxon: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the names of a taxon with their languages, as the API gives them with `all_names=true`."""
    listed = [each for each in taxon.get("names") or () if isinstance(each, dict) and each.get("is_valid", True)]
    told = [(str(each.get("locale") or each.get("lexicon") or ""), str(each.get("name") or "")) for each in listed]
    return [*told, ("en", str(taxon.get("english_common_name") or ""))]


def _join_licenses(media: Sequence[Mapping[str, Any]]) -> str:
    """Return the license of each photo or sound, which need not be that of the observation."""
    return " | ".join(str(each.get("license_code") or "all rights reserved") for each in media)


# ---------------------------------------------------------------- records


def _import(
    source: Path, portal: _Portal, *, media: Path | None, taxonomy: Path | str | None, merges_names: bool, out: Path
) -> ImportResult:
    left: list[Failure] = []
    notes: list[str] = []
    known = load_taxonomy(taxonomy)
    rows = _read_rows(source, portal, left, notes)
    return import_records(
        _make_records(rows, portal),
        folder=media or (source if source.is_dir() else source.parent),
        left=left,
        notes=notes,
        taxonomy=known,
        merges_names=merges_names,
        out=out,
    )


def _make_records(rows: Sequence[tuple[str, dict[str, str]]], portal: _Portal) -> Iterator[Record]:
    names = dict.fromkeys(name for _, row in rows for name in row)
    known = recognize_columns(names)
    known = {fact: columns for fact, columns in known.items() if fact not in _OF_MEDIA}
    is_day_first = find_day_order(row.get(name, "") for _, row in rows for name in known.get("event_date", ()))
    for number, (location, row) in enumerate(rows, start=1):
        by_header = {fold_header(name): value.strip() for name, value in row.items()}
        references = list(_LISTERS[portal.name](by_header))
        own = {name: value for name, value in row.items() if name not in _HELD}
        own |= _ADDED[portal.name](by_header)
        added = {fact: columns for fact, columns in recognize_columns(own).items() if fact not in _OF_MEDIA}
        cells = settle_facts(own, {**known, **added}, is_day_first=is_day_first)
        record_id = by_header.get(portal.id_column) or cells.get("catalog_number") or f"row {number}"
        cells.setdefault("occurrence_id", record_id)
        yield Record(location, record_id, cells, references, _NAMERS[portal.name](by_header))


def _list_inaturalist(row: _Row) -> Iterator[MediaReference]:
    for column, medium, told in (
        ("imageurl", "image", _IMAGE_LICENSES),
        ("soundurl", "sound", _SOUND_LICENSES),
    ):
        addresses, licenses = split_media(row.get(column, "")), row.get(fold_header(told), "").split(" | ")
        for address, own in zip_longest(addresses, licenses[: len(addresses)], fillvalue=""):
            yield MediaReference(address, (medium,), {"license": own})


def _add_inaturalist(row: _Row) -> dict[str, str]:
    address = row.get("url") or row.get("uri", "")
    return {
        **({"occurrenceID": address, "source": address} if address else {}),
        "basisOfRecord": "HumanObservation",
        **(
            {"eventDate": clock}
            if _is_of_day(clock := row.get("timeobservedat", ""), row.get("observedon", ""))
            else {}
        ),
    }


def _is_of_day(clock: str, day: str) -> bool:
    """Tell whether a time is of a day; one in the time zone of Greenwich may be of the next or the last."""
    return bool(re.match(r"\d{4}-\d\d-\d\d", clock)) and (not day or normalize_date(day) == clock[:10])


def _list_xeno_canto(row: _Row) -> Iterator[MediaReference]:
    number, name = row.get("id", ""), row.get("filename", "")
    address = complete_address(row.get("file", ""))
    names = tuple(filter(None, (name, f"XC{number}.*", f"{number}.*")))
    yield MediaReference(address or f"XC{number}.*", ("sound",), local_names=names)


def _add_xeno_canto(row: _Row) -> dict[str, str]:
    number, address = row.get("id", ""), row.get("url", "")
    clock = row.get("time", "")
    date = row.get("date", "")
    is_exact = re.fullmatch(r"\d{2}:\d{2}", clock) and re.fullmatch(r"\d{4}-\d{2}-(?!00)\d{2}", date)
    name = " ".join(filter(None, (row.get("gen"), row.get("sp"), row.get("ssp"))))
    return {
        "scientificName": name,
        "catalogNumber": f"XC{number}",
        "occurrenceID": f"https://xeno-canto.org/{number}",
        "source": complete_address(address),
        "basisOfRecord": "HumanObservation",
        "eventDate": f"{date}T{clock}" if is_exact else date,
    }


def _list_ebird(row: _Row) -> Iterator[MediaReference]:
    told = (row.get("format", ""),) if row.get("format") else ()
    for number in re.findall(r"\d+", row.get("mlcatalognumber") or row.get("mlcatalognumbers", "")):
        yield MediaReference(f"ML{number}.*", told, local_names=(f"{number}.*",))


def _add_ebird(row: _Row) -> dict[str, str]:
    numbers = re.findall(r"\d+", row.get("mlcatalognumber") or row.get("mlcatalognumbers", ""))
    state = row.get("stateprovince") or row.get("province") or row.get("countrystatecounty", "")
    checklist = row.get("ebirdchecklistid") or row.get("submissionid", "")
    added = {"basisOfRecord": "HumanObservation"}
    if len(numbers) == 1:
        added |= {"catalogNumber": f"ML{numbers[0]}", "source": f"https://macaulaylibrary.org/asset/{numbers[0]}"}
    if re.fullmatch(r"[A-Z]{2}(-.*)?", state) and not row.get("country"):
        added["countryCode"] = state[:2]
    if checklist:
        name = row.get("scientificname") or row.get("commonname", "")
        added["occurrenceID"] = f"{checklist}:{name}" if len(numbers) != 1 else f"{checklist}:ML{numbers[0]}"
    return added


def _name_inaturalist(row: _Row) -> tuple[VernacularName, ...]:
    """Return the names of JSON; the common name of a CSV is in the language of whoever exported it."""
    told = (each.partition("=") for each in row.get(fold_header(_NAMES), "").split(" | "))
    return collect_names((language, name) for language, _, name in told)


def _name_xeno_canto(row: _Row) -> tuple[VernacularName, ...]:
    return collect_names([("en", row.get("en", ""))])


def _name_ebird(row: _Row) -> tuple[VernacularName, ...]:  # noqa: ARG001 - one signature for all portals
    """Return no names: those of an export are in the language of the account."""
    return ()


_FLATTENED: Mapping[str, Callable[[Mapping[str, Any]], dict[str, str]]] = {_INATURALIST.name: _flatten_observation}
"""Makes a row of each JSON object of a portal whose values are not plain."""
_LISTERS = {_INATURALIST.name: _list_inaturalist, _XENO_CANTO.name: _list_xeno_canto, _EBIRD.name: _list_ebird}
_ADDED = {_INATURALIST.name: _add_inaturalist, _XENO_CANTO.name: _add_xeno_canto, _EBIRD.name: _add_ebird}
_NAMERS: Mapping[str, Callable[[_Row], tuple[VernacularName, ...]]] = {
    _INATURALIST.name: _name_inaturalist,
    _XENO_CANTO.name: _name_xeno_canto,
    _EBIRD.name: _name_ebird,
}
