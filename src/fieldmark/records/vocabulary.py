"""The terms that rows of occurrences and of multimedia may have, as GBIF's core and extension list them."""

OCCURRENCE_TERMS = frozenset(
    """
    acceptedNameUsage acceptedNameUsageID associatedOccurrences associatedOrganisms associatedReferences
    associatedSequences associatedTaxa bed behavior bibliographicCitation caste class collectionCode collectionID
    continent coordinatePrecision country county cultivarEpithet dataGeneralizations datasetID datasetName
    dateIdentified day degreeOfEstablishment disposition endDayOfYear establishmentMeans eventID eventRemarks eventTime
    eventType family fieldNotes fieldNumber footprintSRS footprintWKT formation genericName genus geodeticDatum
    georeferenceProtocol georeferenceRemarks georeferenceSources georeferenceVerificationStatus georeferencedBy
    georeferencedDate habitat higherClassification higherGeography identificationID identificationQualifier
    identificationReferences identificationRemarks identificationVerificationStatus identifiedBy identifiedByID
    individualCount informationWithheld infraspecificEpithet institutionCode institutionID island islandGroup kingdom
    lifeStage locationAccordingTo locationID locationRemarks materialSampleID maximumDepthInMeters
    maximumElevationInMeters minimumDepthInMeters minimumElevationInMeters modified month municipality
    nameAccordingTo namePublishedIn nomenclaturalCode nomenclaturalStatus occurrenceRemarks occurrenceStatus order
    organismID organismName organismQuantity organismQuantityType organismRemarks originalNameUsage otherCatalogNumbers
    ownerInstitutionCode parentEventID parentNameUsage phylum preparations previousIdentifications recordNumber
    recordedByID reproductiveCondition samplingEffort samplingProtocol scientificNameID sex specificEpithet
    startDayOfYear stateProvince subfamily subgenus subtribe superfamily taxonConceptID taxonID taxonRemarks
    taxonomicStatus tribe typeStatus verbatimCoordinateSystem verbatimCoordinates verbatimDepth verbatimElevation
    verbatimEventDate verbatimIdentification verbatimLatitude verbatimLocality verbatimLongitude verbatimSRS
    verbatimTaxonRank vernacularName vitality waterBody year
    """.split()
)
"""Of an occurrence, beside those that are facts of an item."""

MEDIA_TERMS = frozenset(
    "type format identifier references title description source audience created creator contributor publisher".split()
)
"""Of Simple Multimedia, beside `license` and `rightsHolder`."""
