"""Items as Darwin Core: records with their media, in a table or an archive that GBIF's rules accept."""

import csv
import io
import json
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from fieldmark.records.terms import DCTERMS, DWC, GBIF, TERM_BY_FACT
from fieldmark.records.vocabulary import MEDIA_TERMS, OCCURRENCE_TERMS
from fieldmark.scientific_name import parse_scientific_name
from fieldmark.types import Item, Medium

PROPERTIES = "dynamicProperties"
"""The term for what has no other, as JSON."""
OWN_KEY, MEDIA_KEY = "fieldmark", "fieldmark_media"

_TYPES = {Medium.IMAGE: "StillImage", Medium.AUDIO: "Sound", Medium.VIDEO: "MovingImage", Medium.TEXT: "Text"}
_ITEM_FACTS = ("class_name", "split", "group", "start_seconds", "end_seconds", "source", "caption_of", "text")
"""Facts of an item that have no term, or whose term means something else."""

_RIGHTS = {"license": "license", "rights_holder": "rightsHolder"}
"""Facts that each medium has of its own, and their terms."""

_UNSPECIFIC = "Occurrence"
"""The basis of a record of which nobody said what it is based on."""
_OF_QUERY = "of the query's class"
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True)
class Identification:
    """A name that fieldmark gives to an item: an identification with its probability, and no fact of the record.

    Args:
        name: Empty for the class of the query that found it.
    """

    item_id: str
    name: str
    probability: float | None


@dataclass(frozen=True, slots=True)
class DarwinRecord:
    """One record with its media, by term.

    Args:
        media: The row of each medium, and what has no term of its own.
    """

    record_id: str
    cells: dict[str, str]
    properties: Mapping[str, str]
    media: Sequence[tuple[Mapping[str, str], Mapping[str, str]]]
    identifications: Sequence[Identification]


# ---------------------------------------------------------------- items -> records


def collect_records(
    items: Iterable[Item],
    *,
    identifications: Iterable[Identification] = (),
    data_sets: Mapping[str, str] | None = None,
) -> list[DarwinRecord]:
    """Return the records of some items, each with all of its media; an item without a record is one of its own.

    Args:
        identifications: Of the items; the first of each name of an item counts.
        data_sets: The name of the data set of each item, by id.
    """
    by_record: dict[str, dict[str, Item]] = {}
    for item in items:
        by_record.setdefault(item.occurrence_id or item.item_id, {}).setdefault(item.item_id, item)
    named: dict[str, list[Identification]] = {}
    for each in identifications:
        own = named.setdefault(each.item_id, [])
        if each.name not in {known.name for known in own}:
            own.append(each)
    found = [_collect_record(record_id, tuple(own.values()), named) for record_id, own in by_record.items()]
    for record, items_by_id in zip(found, by_record.values(), strict=True):
        names = dict.fromkeys(name for item_id in items_by_id if (name := (data_sets or {}).get(item_id)))
        record.cells.update({"datasetName": " | ".join(names)} if names else {})
    return found


def _collect_record(
    record_id: str, items: Sequence[Item], named: Mapping[str, Sequence[Identification]]
) -> DarwinRecord:
    given = [_list_cells(item) for item in items]
    shared = {name: value for name, value in given[0].items() if all(own.get(name) == value for own in given)}
    cells: dict[str, str] = {}
    properties: dict[str, str] = {}
    for name, value in shared.items():
        term = TERM_BY_FACT.get(name) or (name if name in OCCURRENCE_TERMS else None)
        if term is not None:
            cells[term] = _write_line(value)
        if _is_of_record(name) and cells.get(term or "") != value:
            properties[name] = value
    _fill_required(cells, properties, items[0])
    cells["occurrenceID"] = record_id
    media = [_write_media(item, own, shared) for item, own in zip(items, given, strict=True)]
    identifications = [each for item in items for each in named.get(item.item_id, ())]
    return DarwinRecord(record_id, cells, properties, media, identifications)


def _is_of_record(name: str) -> bool:
    """Tell whether what all media of a record share stands in its row, and not in theirs."""
    is_of_media = name in MEDIA_TERMS and name not in TERM_BY_FACT
    return not is_of_media and name not in _ITEM_FACTS and name not in _RIGHTS


def _fill_required(cells: dict[str, str], properties: dict[str, str], item: Item) -> None:
    """Write what the terms ask for and the item does not say, and note it, so that it is not read back as a fact."""
    if "basisOfRecord" not in cells:
        cells["basisOfRecord"] = "HumanObservation" if item.medium is Medium.TEXT else _UNSPECIFIC
        properties["basis_of_record"] = ""
    if not item.occurrence_id:
        properties["occurrence_id"] = ""
    if "occurrenceStatus" not in cells:
        cells["occurrenceStatus"] = "present"
        properties["occurrenceStatus"] = ""
    if "scientificName" not in cells and item.class_name:
        is_scientific = parse_scientific_name(item.class_name) is not None
        cells["scientificName" if is_scientific else "vernacularName"] = item.class_name.replace("_", " ")
        names = ("scientific_name", "authorship", "taxon_rank") if is_scientific else ("vernacularName",)
        properties |= {name: "" for name in names if name not in properties}
    if item.text and "occurrenceRemarks" not in cells:
        cells["occurrenceRemarks"] = _write_line(item.text)
        properties["occurrenceRemarks"] = ""
    for term, value in (("license", item.license), ("rightsHolder", item.rights_holder)):
        if value:
            cells.setdefault(term, _write_line(value))


def _list_cells(item: Item) -> dict[str, str]:
    """Return all that an item says, but for its file, by manifest column."""
    facts = (*TERM_BY_FACT, *_ITEM_FACTS, "license", "rights_holder")
    values = {name: getattr(item, name) for name in facts}
    return {name: str(value) for name, value in (*values.items(), *item.extra) if value not in (None, "")}


def _write_media(
    item: Item, own: Mapping[str, str], shared: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, str]]:
    """Return the row of one medium, and what of it stands neither there nor in its record."""
    row = {"type": _TYPES[item.medium], "identifier": own.get("address") or str(item.path or "")}
    left = {"item_id": item.item_id, "medium": item.medium.value}
    if item.path is not None:
        left["file_name"] = item.path.name
    if item.text is not None:
        row["description"] = _write_line(item.text)
    for name, value in own.items():
        term = _RIGHTS.get(name, name if name in MEDIA_TERMS else None)
        if term is not None and term not in ("identifier", "description", "type", "source"):
            row[term] = _write_line(value)
            is_told = row[term] == value
        else:
            is_told = name in shared and _is_of_record(name)
        if not is_told and name != "address":
            left[name] = value
    return row, left


def _write_line(text: str) -> str:
    """Return a text as one line: many readers go line by line."""
    return " ".join(text.split())


# ---------------------------------------------------------------- records -> files


def write_darwin_csv(records: Sequence[DarwinRecord]) -> str:
    """Return a table with a row for each record; its media stand in `associatedMedia`, formulas are disarmed."""
    rows = []
    for each in records:
        told = [{**_name_cells(row), **media, "reference": row["identifier"]} for row, media in each.media]
        properties: dict[str, object] = {OWN_KEY: dict(each.properties), MEDIA_KEY: told}
        rows.append(
            {
                **each.cells,
                "associatedMedia": " | ".join(row["identifier"] for row, _ in each.media if row["identifier"]),
                **_write_identification(each.identifications),
                PROPERTIES: json.dumps(properties, ensure_ascii=False),
            }
        )
    names = _order_terms(rows)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([disarm_formula(row.get(name, "")) for name in names] for row in rows)
    return text.getvalue()


def _name_cells(row: Mapping[str, str]) -> dict[str, str]:
    """Return the row of a medium by the names of its item's facts; what its file tells is left out."""
    named = {"rightsHolder": "rights_holder"}
    told = ("type", "identifier", "description")
    return {named.get(name, name): value for name, value in row.items() if name not in told}


def _write_identification(named: Sequence[Identification]) -> dict[str, str]:
    if not named:
        return {}
    told = "; ".join(f"{each.name or _OF_QUERY}{_write_probability(each)}" for each in named)
    remarks = {"identificationRemarks": f"fieldmark suggests, unchecked: {told}"}
    return {**remarks, **({"verbatimIdentification": named[0].name} if named[0].name else {})}


def _write_probability(each: Identification) -> str:
    return "" if each.probability is None else f", probability {each.probability:.3f}"


def disarm_formula(text: str) -> str:
    """Return a cell that no spreadsheet takes for a formula; numbers stay as they are.

    Example:
        >>> disarm_formula("=HYPERLINK(1)"), disarm_formula("-70.4"), rearm_formula("'=HYPERLINK(1)")
        ("'=HYPERLINK(1)", '-70.4', '=HYPERLINK(1)')
    """
    if not text.startswith(_FORMULA):
        return text
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return text


def rearm_formula(text: str) -> str:
    """Return a cell as it was before `disarm_formula`."""
    return text[1:] if text[:1] == "'" and text[1:].startswith(_FORMULA) else text


def _order_terms(rows: Iterable[Mapping[str, str]]) -> list[str]:
    used = {name for row in rows for name in row}
    first = ["occurrenceID", *(term for term in TERM_BY_FACT.values() if term != "occurrenceID")]
    return [
        *(name for name in first if name in used),
        *sorted(used - set(first) - {PROPERTIES}),
        *({PROPERTIES} & used),
    ]


def write_archive(records: Sequence[DarwinRecord], *, title: str) -> bytes:
    """Return a Darwin Core Archive, zipped: occurrences, their multimedia, and identifications where there are some."""
    core = [{**each.cells, PROPERTIES: _write_properties(each.properties)} for each in records]
    media = [
        (each.record_id, {**row, PROPERTIES: _write_properties(left)}) for each in records for row, left in each.media
    ]
    named = [(each.record_id, row) for each in records for row in map(_write_named, each.identifications)]
    extensions = [("multimedia.txt", f"{GBIF}Multimedia", media)]
    if named:
        extensions.append(("identification.txt", f"{DWC}Identification", named))
    stored = io.BytesIO()
    with zipfile.ZipFile(stored, "w", zipfile.ZIP_DEFLATED) as file:
        names = _order_terms(core)
        tables = [_describe_table("core", "occurrence.txt", f"{DWC}Occurrence", names)]
        _write_table(file, "occurrence.txt", names, [(row["occurrenceID"], row) for row in core])
        for location, row_type, rows in extensions:
            names = list(dict.fromkeys(name for _, row in rows for name in row))
            tables.append(_describe_table("extension", location, row_type, names))
            _write_table(file, location, names, rows)
        lines = "\n".join(tables)
        _write_file(file, "meta.xml", _META.format(tables=lines))
        _write_file(file, "eml.xml", _EML.format(title=escape(title)))
    return stored.getvalue()


def _write_properties(properties: Mapping[str, str]) -> str:
    return json.dumps({OWN_KEY: dict(properties)}, ensure_ascii=False) if properties else ""


def _write_named(each: Identification) -> dict[str, str]:
    remarks = f"fieldmark suggests, unchecked: {each.name or _OF_QUERY}{_write_probability(each)}"
    return {
        "identificationID": f"{each.item_id}:fieldmark",
        "verbatimIdentification": each.name,
        "scientificName": each.name,
        "identifiedBy": "fieldmark",
        "identificationVerificationStatus": "unverified",
        "identificationRemarks": remarks,
    }


def _write_table(
    file: zipfile.ZipFile, location: str, names: Sequence[str], rows: Iterable[tuple[str, Mapping[str, str]]]
) -> None:
    lines = ["\t".join(("id", *names))]
    for own_id, row in rows:
        lines.append("\t".join(map(_write_cell, (own_id, *(row.get(name, "") for name in names)))))
    _write_file(file, location, "\n".join(lines) + "\n")


def _write_cell(text: str) -> str:
    """Return a cell without what separates cells and rows; the JSON of the last column keeps its spaces."""
    return re.sub(r"[\t\r\n]+", " ", text)


def _write_file(file: zipfile.ZipFile, name: str, text: str) -> None:
    file.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), text.encode(), zipfile.ZIP_DEFLATED)


def _describe_table(kind: str, location: str, row_type: str, names: Sequence[str]) -> str:
    own_id = "id" if kind == "core" else "coreid"
    fields = "\n".join(
        f'    <field index="{index}" term="{_find_address(name)}"/>' for index, name in enumerate(names, start=1)
    )
    return (
        f'  <{kind} encoding="UTF-8" fieldsTerminatedBy="\\t" linesTerminatedBy="\\n" fieldsEnclosedBy="" '
        f'ignoreHeaderLines="1" rowType="{row_type}">\n'
        f'    <files><location>{location}</location></files>\n    <{own_id} index="0"/>\n{fields}\n  </{kind}>'
    )


_OF_DUBLIN_CORE = frozenset(
    (*MEDIA_TERMS, "license", "rightsHolder", "references", "bibliographicCitation", "modified")
)


def _find_address(term: str) -> str:
    return f"{DCTERMS if term in _OF_DUBLIN_CORE else DWC}{term}"


_META = """<?xml version="1.0" encoding="UTF-8"?>
<archive xmlns="http://rs.tdwg.org/dwc/text/" metadata="eml.xml">
{tables}
</archive>
"""

_EML = """<?xml version="1.0" encoding="UTF-8"?>
<eml:eml xmlns:eml="eml://ecoinformatics.org/eml-2.1.1" packageId="fieldmark" system="fieldmark">
  <dataset>
    <title>{title}</title>
    <creator><organizationName>{title}</organizationName></creator>
    <abstract><para>Records and their media. Names that fieldmark suggests are identifications.</para></abstract>
    <contact><organizationName>{title}</organizationName></contact>
  </dataset>
</eml:eml>
"""


# ---------------------------------------------------------------- iNaturalist


def write_inaturalist_csv(items: Iterable[Item]) -> str:
    """Return a table with the columns of iNaturalist's exports, a row for each record."""
    names = ("id", "observed_on", "user_name", "license", "url", "image_url", "sound_url", "description", "place_guess")
    more = ("latitude", "longitude", "positional_accuracy", "scientific_name", "common_name")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((*names, *more))
    by_record: dict[str, list[Item]] = {}
    for item in items:
        by_record.setdefault(item.occurrence_id or item.item_id, []).append(item)
    for record_id, own in by_record.items():
        first = own[0]
        files = {medium: " | ".join(dict.fromkeys(_name_files(own, medium))) for medium in (Medium.IMAGE, Medium.AUDIO)}
        is_english = first.scientific_name is None
        name = (first.class_name or "").replace("_", " ")
        row = (
            *(record_id, first.event_date, first.recorded_by, first.license, first.source),
            *(files[Medium.IMAGE], files[Medium.AUDIO], " ".join(item.text for item in own if item.text)),
            *(first.place, first.latitude, first.longitude, first.coordinate_uncertainty_meters),
            *(first.scientific_name, name if is_english else ""),
        )
        writer.writerow([disarm_formula("" if value is None else str(value)) for value in row])
    return text.getvalue()


def _name_files(items: Iterable[Item], medium: Medium) -> Iterator[str]:
    for item in items:
        if item.medium is medium and item.path is not None:
            yield dict(item.extra).get("address") or Path(item.path).as_posix()
