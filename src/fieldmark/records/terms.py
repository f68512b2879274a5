"""The names that columns have in Darwin Core, in exports of iNaturalist, eBird and xeno-canto, and here."""

import re
from collections.abc import Iterable, Mapping

DWC = "http://rs.tdwg.org/dwc/terms/"
DCTERMS = "http://purl.org/dc/terms/"
GBIF = "http://rs.gbif.org/terms/1.0/"
AC = "http://rs.tdwg.org/ac/terms/"

TERM_BY_FACT: Mapping[str, str] = {
    "occurrence_id": "occurrenceID",
    "catalog_number": "catalogNumber",
    "basis_of_record": "basisOfRecord",
    "event_date": "eventDate",
    "latitude": "decimalLatitude",
    "longitude": "decimalLongitude",
    "coordinate_uncertainty_meters": "coordinateUncertaintyInMeters",
    "place": "locality",
    "country_code": "countryCode",
    "recorded_by": "recordedBy",
    "scientific_name": "scientificName",
    "authorship": "scientificNameAuthorship",
    "taxon_rank": "taxonRank",
}
"""The Darwin Core term of each fact that belongs to the record and not to one of its media."""

_NAMES: Mapping[str, str] = {
    "path": "path filename filepath file_name relative_path",
    "address": "address accessURI image_url sound_url video_url file_url media_url photo_url identifier "
    "associatedMedia",
    "medium": "medium media_type mediatype type format dc:type subtype",
    "class_name": "class_name label",
    "event_date": "eventDate event_date date observed_on time_observed_at date_observed observation_date",
    "latitude": "decimalLatitude latitude lat",
    "longitude": "decimalLongitude longitude lon lng long",
    "coordinate_uncertainty_meters": "coordinateUncertaintyInMeters coordinate_uncertainty_meters positional_accuracy "
    "coordinateUncertainty accuracy",
    "place": "locality place place_guess location loc locationName",
    "country_code": "countryCode country_code country cnt place_country_name",
    "recorded_by": "recordedBy recorded_by recordist rec observer user_login user_name collector",
    "catalog_number": "catalogNumber catalog_number catalogueNumber ml_catalog_number",
    "occurrence_id": "occurrenceID occurrence_id",
    "basis_of_record": "basisOfRecord basis_of_record",
    "rights_holder": "rightsHolder rights_holder",
    "license": "license licence lic license_code usageTerms rights",
    "scientific_name": "scientificName scientific_name",
    "authorship": "scientificNameAuthorship authorship",
    "taxon_rank": "taxonRank taxon_rank rank",
    "source": "source references",
    "accepted_name": "acceptedScientificName acceptedNameUsage",
    "vernacular_name": "vernacularName vernacular_name common_name english_name en",
    "start_seconds": "start_seconds",
    "end_seconds": "end_seconds",
    "year": "year",
    "month": "month",
    "day": "day",
}


def fold_header(name: str) -> str:
    """Return a column's name without case, punctuation and the prefix or address of its vocabulary.

    Example:
        >>> fold_header("dwc:decimalLatitude"), fold_header("Decimal_Latitude"), fold_header(DWC + "decimalLatitude")
        ('decimallatitude', 'decimallatitude', 'decimallatitude')
    """
    last = re.split(r"[/#:]", name.strip().rstrip("/"))[-1]
    return re.sub(r"[^0-9a-z]", "", last.casefold())


_TARGET_BY_HEADER = {fold_header(name): target for target, names in _NAMES.items() for name in names.split()}

_ORDER = {
    (target, fold_header(name)): place for target, names in _NAMES.items() for place, name in enumerate(names.split())
}
"""Of several columns of a table that stand for one fact, the first one here that is filled counts."""


def recognize_columns(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return the columns of a table that stand for each known fact, the most telling first."""
    found: dict[str, list[str]] = {}
    for name in names:
        target = _TARGET_BY_HEADER.get(fold_header(name))
        if target is not None:
            found.setdefault(target, []).append(name)
    return {
        target: tuple(sorted(columns, key=lambda name: _ORDER[target, fold_header(name)]))
        for target, columns in found.items()
    }


BASIS_OF_RECORD = ("PreservedSpecimen", "FossilSpecimen", "LivingSpecimen", "MaterialSample", "MaterialEntity",
    "MaterialCitation", "HumanObservation", "MachineObservation", "Occurrence", "Event", "Taxon")  # fmt: skip
"""The kinds of evidence that Darwin Core knows for a record."""


def write_basis(text: str) -> str:
    """Return a basis of record as Darwin Core spells it; GBIF writes `PRESERVED_SPECIMEN`."""
    spelled = {each.casefold(): each for each in BASIS_OF_RECORD}
    return spelled.get(re.sub(r"[^a-z]", "", text.casefold()), text)
