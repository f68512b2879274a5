"""Import exports of iNaturalist, eBird with the Macaulay Library, and xeno-canto."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fieldmark.data.table import read_table
from fieldmark.datasets.importers.dwca import split_media
from fieldmark.datasets.importers.record import MediaReference, Record, find_day_order, import_records, settle_facts
from fieldmark.datasets.importers.result import ImportResult
from fieldmark.datasets.importers.taxonomies import load_taxonomy
from fieldmark.errors import ManifestError, list_first
from fieldmark.records.terms import fold_header, recognize_columns
from fieldmark.types import Failure

_Row = Mapping[str, str]
_Flatten = Callable[[Mapping[str, Any]], dict[str, str]]


@dataclass(frozen=True, slots=True)
class _Portal:
    """One portal's way to write its records.

    Args:
        needed: Folded names of columns, one of which every export has.
        id_column: Folded name of the column of the record's id.
    """

    name: str
    needed: tuple[str, ...]
    id_column: str


_OF_MEDIA = ("path", "address", "medium")
_INATURALIST = _Portal("iNaturalist", ("qualitygrade", "observedon", "imageurl", "soundurl"), "id")
_XENO_CANTO = _Portal("xeno-canto", ("gen", "rec", "lic"), "id")
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
    rows = _read_rows(source, _INATURALIST, flatten=_flatten_observation, key="results")
    return _import(rows, source, _INATURALIST, media=media, taxonomy=taxonomy, merges_names=merges_names, out=out)


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
    rows = _read_rows(source, _EBIRD, flatten=_take, key="results")
    return _import(rows, source, _EBIRD, media=media, taxonomy=taxonomy, merges_names=merges_names, out=out)


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
    rows = _read_rows(source, _XENO_CANTO, flatten=_take, key="recordings")
    return _import(rows, source, _XENO_CANTO, media=media, taxonomy=taxonomy, merges_names=merges_names, out=out)


# ---------------------------------------------------------------- reading


def _read_rows(source: Path, portal: _Portal, *, flatten: _Flatten, key: str) -> list[tuple[str, dict[str, str]]]:
    """Return the rows of an export, with their positions; a folder's JSON pages in the order of their names.

    Raises:
        ManifestError: It is no export of the portal.
    """
    paths = sorted(source.glob("*.json")) if source.is_dir() else [source]
    rows: list[tuple[str, dict[str, str]]] = []
    for path in paths:
        if path.suffix.lower() == ".json":
            rows += [(f"{path.name} {key}[{n}]", flatten(each)) for n, each in enumerate(_read_json(path, portal, key))]
        else:
            table = read_table(path, delimiter=None, is_strict=False)
            rows += [
                (place, dict(zip(table.names, cells, strict=False)))
                for place, cells in table.rows
                if len(cells) <= len(table.names)
            ]
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
    photos = [str(each.get("url", "")).replace("/square.", "/original.") for each in values.get("photos") or ()]
    sounds = [str(each.get("file_url", "")) for each in values.get("sounds") or ()]
    media = [*(values.get("photos") or ()), *(values.get("sounds") or ())]
    licenses = {str(each.get("license_code") or "all rights reserved") for each in media}
    plain = _take({key: value for key, value in values.items() if not isinstance(value, list)})
    return {
        **plain,
        "latitude": latitude,
        "longitude": longitude,
        "scientific_name": str(taxon.get("name") or ""),
        "rank": str(taxon.get("rank") or ""),
        "common_name": str(taxon.get("preferred_common_name") or ""),
        "user_name": str(user.get("name") or user.get("login") or ""),
        "image_url": " | ".join(filter(None, photos)),
        "sound_url": " | ".join(filter(None, sounds)),
        "license": licenses.pop() if len(licenses) == 1 else plain.get("license_code", ""),
        "url": plain.get("uri", ""),
    }


# ---------------------------------------------------------------- records


def _import(  # noqa: PLR0913 - each option is one that the CLI offers
    rows: Sequence[tuple[str, dict[str, str]]],
    source: Path,
    portal: _Portal,
    *,
    media: Path | None,
    taxonomy: Path | str | None,
    merges_names: bool,
    out: Path,
) -> ImportResult:
    left: list[Failure] = []
    notes: list[str] = []
    return import_records(
        _make_records(rows, portal),
        folder=media or (source if source.is_dir() else source.parent),
        left=left,
        notes=notes,
        taxonomy=load_taxonomy(taxonomy),
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
        own = {**row, **_ADDED[portal.name](by_header)}
        added = {fact: columns for fact, columns in recognize_columns(own).items() if fact not in _OF_MEDIA}
        cells = settle_facts(own, {**known, **added}, is_day_first=is_day_first)
        record_id = by_header.get(portal.id_column) or cells.get("catalog_number") or f"row {number}"
        cells.setdefault("occurrence_id", record_id)
        yield Record(location, record_id, cells, references)


def _list_inaturalist(row: _Row) -> Iterator[MediaReference]:
    for column, medium in (("imageurl", "image"), ("soundurl", "sound")):
        for address in split_media(row.get(column, "")):
            yield MediaReference(address, (medium,))


def _add_inaturalist(row: _Row) -> dict[str, str]:
    address = row.get("url") or row.get("uri", "")
    return {
        **({"occurrenceID": address, "source": address} if address else {}),
        "basisOfRecord": "HumanObservation",
        **({"eventDate": row["timeobservedat"]} if re.match(r"\d{4}-\d\d-\d\d", row.get("timeobservedat", "")) else {}),
    }


def _list_xeno_canto(row: _Row) -> Iterator[MediaReference]:
    number, name = row.get("id", ""), row.get("filename", "")
    address = row.get("file", "")
    if address.startswith("//"):
        address = f"https:{address}"
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
        "source": f"https:{address}" if address.startswith("//") else address,
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


_LISTERS = {_INATURALIST.name: _list_inaturalist, _XENO_CANTO.name: _list_xeno_canto, _EBIRD.name: _list_ebird}
_ADDED = {_INATURALIST.name: _add_inaturalist, _XENO_CANTO.name: _add_xeno_canto, _EBIRD.name: _add_ebird}
