"""Import Camtrap DP: media of camera traps with the place of their deployment and the species observed in them."""

import csv
import io
import json
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from fieldmark.datasets.importers.archive import Archive
from fieldmark.datasets.importers.record import MediaReference, Record, import_records, settle_facts
from fieldmark.datasets.importers.result import ImportResult
from fieldmark.datasets.importers.taxonomies import load_taxonomy
from fieldmark.datasets.importers.vernacular import VernacularName, collect_names
from fieldmark.errors import ManifestError
from fieldmark.types import Failure

_TABLES = ("deployments", "media", "observations")
_LARGEST_TABLE_BYTES = 2**31
_LARGEST_PACKAGE_BYTES = 2**26
_Cells = Mapping[str, str]

_KNOWN = {
    "event_date": ("timestamp",),
    "latitude": ("latitude",),
    "longitude": ("longitude",),
    "coordinate_uncertainty_meters": ("coordinateUncertainty",),
    "place": ("locationName",),
    "scientific_name": ("scientificName",),
    "occurrence_id": ("occurrence_id",),
    "taxon_rank": ("taxonRank",),
    "license": ("license",),
    "rights_holder": ("rights_holder",),
    "basis_of_record": ("basis_of_record",),
}
_OF_OBSERVATION = (
    *("observationID", "eventID", "observationLevel", "observationType", "count", "lifeStage", "sex", "behavior"),
    *("classificationMethod", "classifiedBy", "classificationProbability", "observationTags", "observationComments"),
)
_ANIMAL = "animal"


def import_camtrap(
    source: Path,
    *,
    out: Path,
    media: Path | None = None,
    taxonomy: Path | str | None = None,
    merges_names: bool = False,
) -> ImportResult:
    """Write a manifest of the media of a Camtrap DP package.

    A medium has the species of the observations of itself; where there are none, of the event that it was taken in.
    `observationLevel` tells which. Blanks, humans, vehicles and media of several species have no class.

    Args:
        source: A folder or a zip with `datapackage.json`, or that file.
        media: The folder that file paths are relative to; None takes that of the package.
        taxonomy: A CSV of classes, or a name of `load_taxonomy`; synonyms are replaced by the name of the class.
        merges_names: Whether names that differ only in spelling, author or rank become one class.

    Raises:
        ManifestError: It is no such package; nothing is written.
    """
    known = load_taxonomy(taxonomy)
    folder = source.parent if source.name == "datapackage.json" else source
    left: list[Failure] = []
    package = _Package.read(folder, left)
    notes: list[str] = []
    records = list(_make_records(package, left, notes))
    root = media or (folder if folder.is_dir() else folder.parent)
    return import_records(
        records, folder=root, left=left, notes=notes, taxonomy=known, merges_names=merges_names, out=out
    )


@dataclass(frozen=True, slots=True)
class _Package:
    """The tables of a package, and what it says of all media."""

    deployments: Mapping[str, _Cells]
    media: Sequence[_Cells]
    observations: Sequence[_Cells]
    license: str
    rights_holder: str
    rank_by_name: Mapping[str, str]
    names_by_name: Mapping[str, tuple[VernacularName, ...]]

    @classmethod
    def read(cls, folder: Path, left: list[Failure]) -> "_Package":
        """Read a package; rows that do not fit their tables are added to `left`.

        Raises:
            ManifestError: It is none.
        """
        archive = Archive(folder)
        found = (name for name in archive.names if name.rpartition("/")[2] == "datapackage.json")
        prefix = next((name.removesuffix("datapackage.json") for name in found), None)
        if prefix is None:
            raise _refuse(folder, "it has no datapackage.json")
        try:
            package = json.loads(archive.read(f"{prefix}datapackage.json", largest=_LARGEST_PACKAGE_BYTES))
            resources = {each["name"]: each for each in package["resources"]}
            tables = [_read_resource(archive, prefix, resources[name], left) for name in _TABLES]
        except (ValueError, LookupError, TypeError, AttributeError, csv.Error) as error:
            raise _refuse(folder, f"its datapackage.json describes no camera traps ({error!r})") from error
        deployments, media, observations = tables
        return cls(
            {each["deploymentID"]: each for each in deployments if each.get("deploymentID")},
            media,
            observations,
            license=_find_license(package.get("licenses") or ()),
            rights_holder="; ".join(
                str(each.get("title", ""))
                for each in package.get("contributors") or ()
                if each.get("role") == "rightsHolder"
            ),
            rank_by_name={
                str(each.get("scientificName")): str(each.get("taxonRank") or "")
                for each in package.get("taxonomic") or ()
            },
            names_by_name={
                str(each.get("scientificName")): collect_names(
                    (str(language), str(name)) for language, name in (each.get("vernacularNames") or {}).items()
                )
                for each in package.get("taxonomic") or ()
            },
        )


def _read_resource(archive: Archive, prefix: str, resource: Mapping[str, Any], left: list[Failure]) -> list[_Cells]:
    """Return the rows of a table, in the dialect that the package gives; rows of another width are listed."""
    if "data" in resource:
        return [
            {str(key): "" if value is None else str(value) for key, value in row.items()} for row in resource["data"]
        ]
    paths = resource["path"] if isinstance(resource["path"], list) else [resource["path"]]
    rows: list[_Cells] = []
    for path in paths:
        content = archive.read(f"{prefix}{path}", largest=_LARGEST_TABLE_BYTES)
        text = content.decode(str(resource.get("encoding") or "utf-8")).removeprefix("\ufeff")
        dialect = resource.get("dialect") or {}
        reader = csv.reader(
            io.StringIO(text, newline=""),
            delimiter=str(dialect.get("delimiter", ",")),
            quotechar=str(dialect.get("quoteChar", '"')),
            strict=True,
        )
        names = next(reader, [])
        for cells in filter(None, reader):
            if len(cells) == len(names):
                rows.append(dict(zip(names, cells, strict=True)))
            else:
                reason = f"{len(cells)} cells under {len(names)} columns"
                left.append(Failure(f"{path} line {reader.line_num}", "bad_row", reason))
    return rows


def _find_license(licenses: Iterable[Mapping[str, str]]) -> str:
    of_media = [each for each in licenses if each.get("scope") in ("media", None)]
    return next((str(each.get("name") or each.get("path") or "") for each in of_media), "")


def _refuse(source: Path, reason: str) -> ManifestError:
    return ManifestError(
        f"'{source}' cannot be imported: {reason}. Give a Camtrap DP package: a folder or zip with a datapackage.json "
        "and the tables deployments, media and observations.",
        kind="import_source",
    )


# ---------------------------------------------------------------- observations of media


class _Events:
    """The observations of events, found by deployment and time."""

    def __init__(self, observations: Iterable[_Cells]) -> None:
        self._by_deployment: defaultdict[str, list[tuple[float, float, _Cells]]] = defaultdict(list)
        for each in observations:
            start, end = _read_time(each.get("eventStart", "")), _read_time(each.get("eventEnd", ""))
            if start is not None and end is not None:
                self._by_deployment[each.get("deploymentID", "")].append((start, end, each))
        for events in self._by_deployment.values():
            events.sort(key=lambda event: event[:2])
        self._longest = {
            name: max(end - start for start, end, _ in events) for name, events in self._by_deployment.items()
        }

    def find(self, media: _Cells) -> list[_Cells]:
        """Return the observations of the events that a medium was taken in."""
        events, time = self._by_deployment.get(media["deploymentID"], []), _read_time(media.get("timestamp", ""))
        if time is None or not events:
            return []
        starts = [start for start, _, _ in events]
        first = bisect_left(starts, time - self._longest[media["deploymentID"]])
        return [each for _, end, each in events[first : bisect_right(starts, time)] if time <= end]


def _read_time(text: str) -> float | None:
    try:
        return datetime.fromisoformat(text.strip().replace("Z", "+00:00")).timestamp()
    except ValueError:
        return None


def _make_records(package: _Package, left: list[Failure], notes: list[str]) -> Iterator[Record]:
    known_ids = {each.get("mediaID") for each in package.media}
    by_media: defaultdict[str, list[_Cells]] = defaultdict(list)
    for each in package.observations:
        if each.get("mediaID"):
            by_media[each["mediaID"]].append(each)
            if each["mediaID"] not in known_ids:
                reason = f"No medium has the id '{each['mediaID']}' of this observation."
                left.append(Failure(f"observations {each.get('observationID')}", "orphan", reason))
    events = _Events(each for each in package.observations if not each.get("mediaID"))
    levels: Counter[str] = Counter()
    for row in package.media:
        media_id, deployment = row.get("mediaID", ""), package.deployments.get(row.get("deploymentID", ""))
        if not media_id or deployment is None:
            reason = f"There is no deployment '{row.get('deploymentID', '')}'."
            left.append(Failure(f"media {media_id}", "orphan", reason))
            continue
        observed = by_media.get(media_id) or events.find(row)
        levels["medium" if media_id in by_media else "event" if observed else "none"] += 1
        yield _make_record(row, deployment, observed, package)
    notes.append(
        f"{levels['medium']:,} media have observations of their own, {levels['event']:,} those of their event, "
        f"{levels['none']:,} none."
    )


def _make_record(row: _Cells, deployment: _Cells, observed: Sequence[_Cells], package: _Package) -> Record:
    """Return a medium as a record: its own facts, those of its deployment, and what was observed."""
    kinds = {each.get("observationType", "") for each in observed}
    species = {each.get("scientificName", "") for each in observed if each.get("observationType") == _ANIMAL} - {""}
    first = observed[0] if observed else {}
    name = species.pop() if len(species) == 1 else ""
    noted = {key: _join(observed, key) for key in _OF_OBSERVATION}
    own = {key: value for key, value in row.items() if key not in ("filePath", "fileMediatype", "fileName")}
    cells = {
        **deployment,
        **own,
        **{key: value for key, value in noted.items() if value},
        "scientificName": name,
        "taxonRank": package.rank_by_name.get(name, ""),
        "occurrence_id": first.get("observationID", "") or row["mediaID"],
        "license": package.license,
        "rights_holder": package.rights_holder,
        "basis_of_record": "MachineObservation",
        "group": f"{row.get('deploymentID', '')}/{first.get('eventID') or row['mediaID']}",
    }
    facts = settle_facts(cells, _KNOWN)
    facts["group"] = cells["group"]
    if species or kinds - {_ANIMAL}:
        facts.pop("class_name", None)  # several species, or nobody's
        if species:
            facts["observedSpecies"] = _join(observed, "scientificName")
    told = (row.get("fileMediatype", ""), row.get("fileName", ""))
    reference = MediaReference(row.get("filePath", ""), told, item_id=row["mediaID"])
    return Record(f"media {row['mediaID']}", row["mediaID"], facts, (reference,), package.names_by_name.get(name, ()))


def _join(observed: Iterable[_Cells], key: str) -> str:
    return " | ".join(dict.fromkeys(value for each in observed if (value := each.get(key, "").strip())))
