"""Names of species by language, from what records tell into the taxonomy beside the manifest."""

import csv
import json

import pytest

from fieldmark.data.taxonomy import read_taxonomy
from fieldmark.datasets.importers.camtrap import import_camtrap
from fieldmark.datasets.importers.dwca import import_dwca
from fieldmark.datasets.importers.portals import import_inaturalist, import_xeno_canto
from fieldmark.datasets.importers.vernacular import VernacularName, collect_names, write_names
from fieldmark.types import Item, Medium

DWC, DC, GBIF = "http://rs.tdwg.org/dwc/terms/", "http://purl.org/dc/terms/", "http://rs.gbif.org/terms/1.0/"


def write_archive(put, *, core, names):
    """An archive of occurrences with a photo each; `names` are rows of the extension."""

    def table(kind, location, row_type, terms):
        own = "id" if kind == "core" else "coreid"
        fields = "".join(f'<field index="{n}" term="{term}"/>' for n, term in enumerate(terms, start=1))
        return (
            f'<{kind} encoding="UTF-8" fieldsTerminatedBy="," linesTerminatedBy="\\n" fieldsEnclosedBy="" '
            f'ignoreHeaderLines="0" rowType="{row_type}"><files><location>{location}</location></files>'
            f'<{own} index="0"/>{fields}</{kind}>'
        )

    tables = (
        table(
            "core",
            "occurrence.txt",
            f"{DWC}Occurrence",
            [f"{DWC}scientificName", f"{DWC}vernacularName", f"{DC}language"],
        ),
        table("extension", "media.txt", f"{GBIF}Multimedia", [f"{DC}identifier"]),
        table(
            "extension",
            "names.txt",
            f"{GBIF}VernacularName",
            [f"{DWC}vernacularName", f"{DC}language", f"{GBIF}isPreferredName"],
        ),
    )
    put("dwca/meta.xml", f'<archive xmlns="http://rs.tdwg.org/dwc/text/">{"".join(tables)}</archive>')
    put("dwca/occurrence.txt", core)
    ids = [row.partition(",")[0] for row in core.splitlines()]
    put("dwca/media.txt", "".join(f"{number},{number}.jpg\n" for number in ids))
    put("dwca/names.txt", names)
    photos = [put(f"dwca/{number}.jpg") for number in ids]
    return photos[0].parent


def read_rows(tmp_path):
    with (tmp_path / "taxonomy.csv").open(encoding="utf-8", newline="") as file:
        return {row["class_name"]: row for row in csv.DictReader(file)}


@pytest.mark.parametrize(
    ("written", "code"),
    [("de", "de"), ("deu", "de"), ("GER", "de"), ("German", "de"), ("pt-BR", "pt"), ("zh_TW", "zh"), ("Bengali", "bn")],
)
def test_languages_are_known_by_codes_and_english_names(written, code):
    assert collect_names([(written, "x")]) == (VernacularName(code, "x"),)


def test_names_of_no_known_language_and_names_that_are_lists_are_left_out():
    assert collect_names([("", "Jay"), ("klingon", "Jay"), ("en", ""), ("en", "Jay; Daw"), ("en", "x" * 201)]) == ()


def test_an_extension_of_darwin_core_gives_the_preferred_name_of_each_language_and_the_others_as_synonyms(
    put, tmp_path
):
    source = write_archive(
        put,
        core="1,Vanellus vanellus,,\n2,Larus canus,Mew Gull,en\n3,Corvus corax,Raven,\n",
        names="1,Peewit,eng,false\n1,Northern Lapwing,eng,true\n1,Kiebitz,de,\n2,Sturmmöwe,German,\n",
    )
    result = import_dwca(source, out=tmp_path / "m.csv")
    taxonomy = read_taxonomy(tmp_path / "taxonomy.csv")
    lapwing, gull = taxonomy.find("Peewit"), taxonomy.find("Larus canus")
    assert dict(lapwing.names) == {"en": "Northern Lapwing", "de": "Kiebitz"}
    assert (lapwing.class_name, lapwing.scientific_name, lapwing.synonyms) == (
        *("Vanellus vanellus", "Vanellus vanellus"),
        ("Peewit",),
    )
    assert dict(gull.names) == {"en": "Mew Gull", "de": "Sturmmöwe"}
    assert taxonomy.find("Corvus corax") is None  # nobody says in which language the raven is called so
    assert any("5 names of classes were added" in note and "in de, en" in note for note in result.notes)
    assert not any("names.txt" in note for note in result.notes)


def test_a_name_of_two_classes_names_neither_and_is_told(put, tmp_path):
    source = write_archive(
        put,
        core="1,Erithacus rubecula,,\n2,Turdus migratorius,,\n",
        names="1,Robin,en,\n2,Robin,en,\n2,Wanderdrossel,de,\n",
    )
    result = import_dwca(source, out=tmp_path / "m.csv")
    assert [dict(taxon.names) for taxon in read_taxonomy(tmp_path / "taxonomy.csv").taxa] == [{"de": "Wanderdrossel"}]
    assert any("several classes" in note and "Robin" in note for note in result.notes)


def test_the_name_that_most_records_have_is_taken(put, tmp_path):
    core = "".join(f"{number},Larus canus,{name},en\n" for number, name in enumerate(["Gull", "Mew Gull", "Mew Gull"]))
    import_dwca(write_archive(put, core=core, names=""), out=tmp_path / "m.csv")
    assert read_rows(tmp_path)["Larus canus"]["name_en"] == "Mew Gull"
    assert read_rows(tmp_path)["Larus canus"]["synonyms"] == "Gull"


def test_a_taxonomy_that_is_there_keeps_its_cells_columns_and_rows(put, tmp_path):
    put(
        "taxonomy.csv",
        "class_name,scientific_name,shelf,name_de\nMew Gull,Larus canus,7,Meine Möwe\nVeery,Catharus fuscescens,8,\n",
    )
    names = "1,Sturmmöwe,de,\n1,goéland cendré,fr,\n"
    source = write_archive(put, core="1,Larus canus,,\n", names=names)
    for _ in range(2):  # the second import finds nothing to add
        import_dwca(source, out=tmp_path / "m.csv", taxonomy=tmp_path / "taxonomy.csv")
        rows = read_rows(tmp_path)
        assert list(rows) == ["Mew Gull", "Veery"]
        assert rows["Mew Gull"] == {
            "class_name": "Mew Gull",
            "scientific_name": "Larus canus",
            "shelf": "7",
            "name_de": "Meine Möwe",
            "name_fr": "goéland cendré",
            "synonyms": "Sturmmöwe",
        }
        assert rows["Veery"]["shelf"] == "8"


def test_a_taxonomy_that_cannot_be_read_is_left_alone_and_told(put, tmp_path):
    put("taxonomy.csv", "name\nMew Gull\n")
    source = write_archive(put, core="1,Larus canus,Mew Gull,en\n", names="")
    result = import_dwca(source, out=tmp_path / "m.csv")
    assert (tmp_path / "taxonomy.csv").read_text(encoding="utf-8") == "name\nMew Gull\n"
    assert any("cannot be read" in note and "class_name" in note for note in result.notes)


def test_camera_traps_name_the_species_of_their_package(put, tmp_path):
    put("trap/media/a.jpg")
    put("trap/deployments.csv", "deploymentID\nd1\n")
    put("trap/media.csv", "mediaID,deploymentID,filePath\nm1,d1,media/a.jpg\n")
    put("trap/observations.csv", "observationID,mediaID,observationType,scientificName\no1,m1,animal,Ardea cinerea\n")
    resources = [{"name": name, "path": f"{name}.csv"} for name in ("deployments", "media", "observations")]
    heron = {"scientificName": "Ardea cinerea", "vernacularNames": {"eng": "grey heron", "nld": "blauwe reiger"}}
    put("trap/datapackage.json", json.dumps({"resources": resources, "taxonomic": [heron, {"scientificName": "Sus"}]}))
    import_camtrap(tmp_path / "trap", out=tmp_path / "m.csv")
    [taxon] = read_taxonomy(tmp_path / "taxonomy.csv").taxa
    assert (taxon.class_name, dict(taxon.names)) == ("Ardea cinerea", {"en": "grey heron", "nl": "blauwe reiger"})


def test_inaturalist_names_with_their_locales_are_taken_and_a_common_name_without_one_is_not(put, tmp_path):
    names = [
        {"name": "Blauhäher", "locale": "de", "is_valid": True},
        {"name": "Häher", "locale": "de", "is_valid": True},
        {"name": "Cyanocitta cristata", "locale": "sci"},
        {"name": "Nonsense", "locale": "fr", "is_valid": False},
    ]
    jay = {"name": "Cyanocitta cristata", "rank": "species", "preferred_common_name": "Blue Jay", "names": names}
    wren = {"name": "Troglodytes aedon", "rank": "species", "english_common_name": "House Wren"}
    veery = {"name": "Catharus fuscescens", "rank": "species", "preferred_common_name": "Veery"}
    observations = [
        {"id": number, "quality_grade": "research", "taxon": taxon, "photos": [{"url": f"https://x.org/{number}.jpg"}]}
        for number, taxon in enumerate([jay, wren, veery])
    ]
    result = import_inaturalist(put("page.json", json.dumps({"results": observations})), out=tmp_path / "m.csv")
    rows = read_rows(tmp_path)
    assert (rows["Cyanocitta cristata"]["name_de"], rows["Cyanocitta cristata"]["synonyms"]) == ("Blauhäher", "Häher")
    assert rows["Troglodytes aedon"]["name_en"] == "House Wren"
    assert "Catharus fuscescens" not in rows
    assert "name_fr" not in rows["Cyanocitta cristata"]
    assert not any(name == "names_by_language" for item in result.items for name, _ in item.extra)


def test_xeno_canto_gives_english_names(put, tmp_path):
    put("XC1.ogg")
    recording = {"id": "1", "gen": "Catharus", "sp": "fuscescens", "en": "Veery", "rec": "x", "lic": "", "file": ""}
    source = put("xc.json", json.dumps({"recordings": [recording]}))
    import_xeno_canto(source, out=tmp_path / "m.csv")
    assert read_rows(tmp_path)["Catharus fuscescens"]["name_en"] == "Veery"


def test_items_without_names_or_class_write_no_taxonomy(tmp_path):
    item = Item("a", Medium.TEXT, text="A gull.")
    assert write_names([item], [(VernacularName("de", "Möwe"),)], manifest=tmp_path / "m.csv") == []
    assert not (tmp_path / "taxonomy.csv").exists()
