"""Darwin Core Archives: as people have them, damaged, hostile, and written here."""

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from dwca.read import DwCAReader

from fieldmark.datasets.export import export_items, export_manifest
from fieldmark.datasets.importers import archive as archive_module
from fieldmark.datasets.importers.dwca import import_dwca
from fieldmark.datasets.importers.record import tell_medium
from fieldmark.datasets.importers.table import import_table
from fieldmark.errors import ManifestError
from fieldmark.records.darwin_core import Identification, collect_records, write_archive
from fieldmark.types import Item, Medium, Split

DWC, DC, AC = "http://rs.tdwg.org/dwc/terms/", "http://purl.org/dc/terms/", "http://rs.tdwg.org/ac/terms/"
CORE = (
    *("occurrenceID", "catalogNumber", "basisOfRecord", "eventDate", "decimalLatitude", "decimalLongitude"),
    *("countryCode", "recordedBy", "scientificName", "taxonRank", "license"),
)
AUTHORED = "Spinus tristis (Linnaeus, 1758)"
ROWS = [
    (
        *("1", "o:1", "EX-1", "PRESERVED_SPECIMEN", "2001-05-04", "48,25", "16.5", "Austria", "A | B", AUTHORED),
        *("SPECIES", "CC_BY_4_0"),
    ),
    ("2", "o:2", "EX-2", "HumanObservation", "2001-02-30", "142.5", "16.5", "AT", "", "Spinus  tristis", "", ""),
    ("3", "o:3", "EX-2", "HumanObservation", "4.5.2001", "", "", "", "", "Larus sp.", "genus", ""),
    ("4", "o:4", "", "", "", "", "", "", "", "Anas platyrhynchos x acuta", "", ""),
]
MEDIA = [
    ("1", "https://x.org/1/large.jpg", "image/jpeg", "", "https://creativecommons.org/licenses/by/4.0/"),
    ("1", "https://x.org/2/large.jpg", "image/jpeg", "", "https://creativecommons.org/licenses/by/4.0/"),
    ("2", "https://x.org/song", "", "Sound", ""),
    ("2", "a.jpg", "", "StillImage", ""),
    ("3", "https://x.org/page", "text/html2", "InteractiveResource", ""),
    ("3", "ftp://x.org/a.jpg", "image/jpeg", "", ""),
    ("3", "", "image/jpeg", "", ""),
    ("3", "a.jpg", "", "", ""),
    ("9", "https://x.org/orphan.jpg", "image/jpeg", "", ""),
]


def describe(kind, location, row_type, terms, *, delimiter="\\t", quote="", encoding="UTF-8", more=""):
    own = "id" if kind == "core" else "coreid"
    fields = "".join(f'<field index="{n}" term="{term}"/>' for n, term in enumerate(terms, start=1))
    return (
        f'<{kind} encoding="{encoding}" fieldsTerminatedBy="{delimiter}" linesTerminatedBy="\\n" '
        f'fieldsEnclosedBy="{quote}" ignoreHeaderLines="0" rowType="{row_type}">'
        f"<files><location>{location}</location></files>"
        f'<{own} index="0"/>{fields}{more}</{kind}>'
    )


def write_tables(rows, delimiter="\t"):
    return "\n".join(delimiter.join(row) for row in rows) + "\n"


def build(folder, **changes):
    core = describe("core", "occurrence.txt", f"{DWC}Occurrence", [f"{DWC}{term}" for term in CORE])
    terms = [f"{DC}{term}" for term in ("identifier", "format", "type", "license")]
    media = describe("extension", "media.txt", "http://rs.gbif.org/terms/1.0/Multimedia", terms)
    files = {
        "meta.xml": f'<archive xmlns="http://rs.tdwg.org/dwc/text/">{core}{media}</archive>',
        "occurrence.txt": write_tables(ROWS),
        "media.txt": write_tables(MEDIA),
    }
    files |= changes
    path = folder / "archive.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in files.items():
            if content is not None:
                file.writestr(name, content)
    return path


def test_archive_keeps_every_record_and_lists_what_it_cannot_take(put, tmp_path):
    put("a.jpg")
    result = import_dwca(build(tmp_path), out=tmp_path / "m.csv")
    first, second, song, local, unnamed = result.items
    assert (first.class_name, first.authorship, first.taxon_rank) == ("Spinus tristis", "(Linnaeus, 1758)", "species")
    assert (first.latitude, first.country_code, first.recorded_by) == (48.25, "AT", "A | B")
    assert (first.basis_of_record, first.occurrence_id, first.catalog_number) == ("PreservedSpecimen", "o:1", "EX-1")
    assert (first.license, dict(first.extra)["record_license"]) == (MEDIA[0][4], "CC_BY_4_0")
    assert (first.path.name, second.path.name != first.path.name) == ("1-large.jpg", True)
    assert dict(second.extra)["address"] == "https://x.org/2/large.jpg"
    assert (song.medium, song.event_date, song.latitude) == (Medium.AUDIO, "2001-02-30", None)
    assert dict(song.extra)["verbatimLatitude"] == "142.5"
    assert (unnamed.class_name, unnamed.event_date, unnamed.path) == (None, "2001-05-04", local.path)
    assert dict(unnamed.extra)["verbatimEventDate"] == "4.5.2001"
    assert local.group == unnamed.group
    assert sorted(each.kind for each in result.left) == sorted(
        ["unknown_medium", "unknown_address", "no_address", "no_media", "orphan"]
    )
    assert {each.kind for each in result.doubts} == {"impossible_date", "swapped_coordinates", "repeated_number"}
    assert any("Larus sp." in note for note in result.notes)


def test_archive_of_any_delimiter_quoting_encoding_and_default(tmp_path):
    core = describe(
        "core", "o.csv", f"{DWC}Occurrence", [f"{DWC}scientificName", f"{DWC}associatedMedia"], delimiter=";",
        quote="&quot;", encoding="ISO-8859-1", more=f'<field default="BR" term="{DWC}countryCode"/>',
    )  # fmt: skip
    table = '"1";"Larus ""canus""\nL\xe9ry, 1758";"https://x.org/a.jpg | https://x.org/b.ogg"\n'.encode("latin-1")
    meta = f'<archive xmlns="http://rs.tdwg.org/dwc/text/">{core}</archive>'
    path = build(tmp_path, **{"meta.xml": meta, "occurrence.txt": None, "media.txt": None, "o.csv": table})
    one, other = import_dwca(path, out=tmp_path / "m.csv").items
    assert (one.country_code, one.medium, other.medium) == ("BR", Medium.IMAGE, Medium.AUDIO)
    assert "L\xe9ry" in one.scientific_name


def read_core(folder, table, **shape):
    """Import an archive of one table with the columns id, species, media and locality."""
    terms = [f"{DWC}{term}" for term in ("scientificName", "associatedMedia", "locality")]
    core = describe("core", "o.csv", f"{DWC}Occurrence", terms, **shape)
    meta = f'<archive xmlns="http://rs.tdwg.org/dwc/text/">{core}</archive>'
    path = build(folder, **{"meta.xml": meta, "occurrence.txt": None, "media.txt": None, "o.csv": table})
    return import_dwca(path, out=folder / "m.csv")


@pytest.mark.parametrize(
    ("table", "shape"),
    [
        ("1\tPica pica\ta.jpg\tHere\r2\tPica pica\tb.jpg\tThere\r", {}),
        ("'1'||'Pica pica'||'a.jpg'||'Here'\n'2'||'Pica pica'||'b.jpg'||'There'\n", {"delimiter": "||", "quote": "'"}),
        (
            b"\xff\xfe" + "1\tPica pica\ta.jpg\tHere\n2\tPica pica\tb.jpg\tThere\n".encode("utf-16-le"),
            {"encoding": "UTF-16LE"},
        ),
    ],
)
def test_rows_end_and_cells_part_as_in_the_file(table, shape, put, tmp_path):
    put("a.jpg")
    put("b.jpg")
    items = read_core(tmp_path, table, **shape).items
    assert [(item.item_id, item.place) for item in items] == [("1/a.jpg", "Here"), ("2/b.jpg", "There")]


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ('1,Pica pica,a.jpg,Here\n2,Pica pica,b.jpg,"There\n3,Pica pica,b.jpg,There\n', "lines 2 to 3 do not match"),
        (
            "1,Pica pica,a.jpg,Here\n2,Pica pica, pied,b.jpg,There\n4,Pica pica,,Here\n",
            "5 cells, where the table has 4",
        ),
        ("1,Pica pica,a.jpg,Here\n2,Pica pica,b.jpg\n", "3 cells, where meta.xml names 4"),
    ],
)
def test_rows_that_do_not_fit_are_listed_and_shift_no_cells(table, reason, put, tmp_path):
    put("a.jpg")
    put("b.jpg")
    result = read_core(tmp_path, table, delimiter=",", quote="&quot;")
    assert [item.item_id for item in result.items] == ["1/a.jpg"]
    assert [reason in each.message for each in result.left if each.kind == "bad_row"] == [True]


@pytest.mark.parametrize(
    ("media", "addresses"),
    [
        ("https://x.org/a.jpg https://x.org/b.jpg", ["https://x.org/a.jpg", "https://x.org/b.jpg"]),
        ('"https://x.org/a.jpg", "https://x.org/b.jpg"', ["https://x.org/a.jpg", "https://x.org/b.jpg"]),
        ("//x.org/a.jpg", ["https://x.org/a.jpg"]),
        ("https://x.org/a,b.jpg", ["https://x.org/a,b.jpg"]),
    ],
)
def test_addresses_of_one_cell_are_parted(media, addresses, tmp_path):
    result = read_core(tmp_path, f"1\tPica pica\t{media}\tHere\n")
    assert [dict(item.extra)["address"] for item in result.items] == addresses


def test_audiovisual_core_is_read_before_identifiers(tmp_path):
    terms = [f"{AC}accessURI", f"{DC}identifier", f"{DC}format", "http://ns.adobe.com/xap/1.0/rights/UsageTerms"]
    core = describe("core", "occurrence.txt", f"{DWC}Occurrence", [f"{DWC}{term}" for term in CORE])
    media = describe("extension", "media.txt", f"{AC}Multimedia", terms)
    path = build(
        tmp_path,
        **{
            "meta.xml": f'<archive xmlns="http://rs.tdwg.org/dwc/text/">{core}{media}</archive>',
            "media.txt": "1\thttps://x.org/a.wav\turn:uuid:7\taudio/wav\tCC0\n",
        },
    )
    [item] = import_dwca(path, out=tmp_path / "m.csv").items
    assert (item.medium, item.license, dict(item.extra)["identifier"]) == (Medium.AUDIO, "CC0", "urn:uuid:7")


@pytest.mark.parametrize(
    ("told", "medium"),
    [
        ("http://purl.org/dc/dcmitype/MovingImage", Medium.VIDEO),
        ("dctype:Sound", Medium.AUDIO),
        ("JPEG", Medium.IMAGE),
        ("mp3", Medium.AUDIO),
        ("text/html", None),
        ("PhysicalObject", None),
    ],
)
def test_the_words_of_a_source_tell_the_medium(told, medium):
    assert tell_medium([told], name="watch") == medium


OCCURRENCES = f"{DWC}Occurrence"
BOMB = '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><archive>&x;</archive>'
INVALID = {
    "no meta.xml": ({"meta.xml": None}, "no meta.xml"),
    "XML that ends too soon": ({"meta.xml": "<archive><core>"}, "is no XML"),
    "entities": ({"meta.xml": BOMB}, "entities"),
    "no core": ({"meta.xml": "<archive/>"}, "0 core tables"),
    "a missing table": ({"occurrence.txt": None}, "no file 'occurrence.txt'"),
    "a path out of it": ({"../evil.txt": "x"}, "leads out of it"),
    "a table elsewhere": (
        {"meta.xml": f"<archive>{describe('core', '../../etc/passwd', OCCURRENCES, [])}</archive>"},
        "none of its own",
    ),
    "an unknown encoding": (
        {"meta.xml": f"<archive>{describe('core', 'occurrence.txt', OCCURRENCES, [], encoding='UTF-7x')}</archive>"},
        "unknown encoding",
    ),
    "an encoding that is none of text": (
        {"meta.xml": f"<archive>{describe('core', 'occurrence.txt', OCCURRENCES, [], encoding='hex')}</archive>"},
        "not a text encoding",
    ),
    "no delimiter": (
        {"meta.xml": f"<archive>{describe('core', 'occurrence.txt', OCCURRENCES, [], delimiter='')}</archive>"},
        "fieldsTerminatedBy is empty",
    ),
    "an index below 0": (
        {
            "meta.xml": "<archive>"
            + describe("core", "occurrence.txt", OCCURRENCES, [], more=f'<field index="-1" term="{DWC}eventDate"/>')
            + "</archive>"
        },
        "an index is below 0",
    ),
    "another encoding": ({"occurrence.txt": b"1\t\xff\xfe\xfa"}, "is not UTF-8"),
    "a core of taxa": (
        {"meta.xml": f"<archive>{describe('core', 'occurrence.txt', DWC + 'Taxon', [])}</archive>"},
        "only occurrences",
    ),
    "a core without ids": (
        {
            "meta.xml": '<archive><core rowType="Occurrence"><files><location>occurrence.txt</location></files>'
            "</core></archive>"
        },
        "no <id>",
    ),
    "a bomb": ({"zeros.txt": b"0" * (120 * 1024**2)}, "would unpack to"),
}


@pytest.mark.parametrize("name", INVALID)
def test_invalid_archive_is_refused_with_a_reason_and_nothing_written(name, tmp_path):
    changes, reason = INVALID[name]
    with pytest.raises(ManifestError, match="Give a Darwin Core Archive") as error:
        import_dwca(build(tmp_path, **changes), out=tmp_path / "out" / "m.csv")
    assert reason in str(error.value)
    assert not (tmp_path / "out").exists()


def test_archives_that_are_none_are_refused(tmp_path, monkeypatch):
    (tmp_path / "a.zip").write_bytes(b"no zip")
    for path in (tmp_path / "a.zip", tmp_path / "gone.zip"):
        with pytest.raises(ManifestError, match="Give a Darwin Core Archive"):
            import_dwca(path, out=tmp_path / "m.csv")
    path = build(tmp_path)
    content = bytearray(path.read_bytes())
    content[60:90] = bytes(30)
    path.write_bytes(content)
    with pytest.raises(ManifestError, match="Give a Darwin Core Archive"):
        import_dwca(path, out=tmp_path / "m.csv")
    monkeypatch.setattr(archive_module, "_LARGEST_BYTES", 100)
    with pytest.raises(ManifestError, match="would unpack to"):
        import_dwca(build(tmp_path), out=tmp_path / "m.csv")


def test_a_file_twice_or_a_link_out_of_the_folder_is_refused(tmp_path):
    path = build(tmp_path)
    with zipfile.ZipFile(path, "a") as file, pytest.warns(UserWarning, match="Duplicate name"):
        file.writestr("occurrence.txt", "other\n")
    with pytest.raises(ManifestError, match="more than once"):
        import_dwca(path, out=tmp_path / "m.csv")
    folder = tmp_path / "folder"
    with zipfile.ZipFile(build(tmp_path)) as file:
        file.extractall(folder)
    (tmp_path / "secret.txt").write_bytes((folder / "occurrence.txt").read_bytes())
    (folder / "occurrence.txt").unlink()
    (folder / "occurrence.txt").symlink_to(tmp_path / "secret.txt")
    with pytest.raises(ManifestError, match="is a link that leads out of it"):
        import_dwca(folder, out=tmp_path / "m.csv")


def test_a_simple_download_that_was_saved_in_another_encoding_is_told(tmp_path):
    path = tmp_path / "simple.zip"
    table = "gbifID\tscientificName\tlocality\tassociatedMedia\n7\tPica pica\tK\xf6ln\thttps://x.org/a.jpg\n"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("0001.csv", table.encode("cp1252"))
    result = import_dwca(path, out=tmp_path / "m.csv")
    assert [item.place for item in result.items] == ["K\xf6ln"]
    assert any("Windows-1252" in note for note in result.notes)


def test_rows_without_an_id_are_listed_and_never_joined(put, tmp_path):
    put("a.jpg")
    path = build(
        tmp_path,
        **{
            "occurrence.txt": write_tables([("", *ROWS[0][1:]), ROWS[1]]),
            "media.txt": write_tables([("", "a.jpg", "", "", ""), ("2", "a.jpg", "", "", "")]),
        },
    )
    result = import_dwca(path, out=tmp_path / "m.csv")
    assert [item.item_id for item in result.items] == ["2/a.jpg"]
    assert [(each.item_id, each.kind) for each in result.left] == [
        ("media.txt row 1", "no_id"),
        ("occurrence.txt row 1", "no_id"),
    ]


def as_sets(items):
    return {item.item_id: replace(item, extra=tuple(sorted(pair for pair in item.extra if pair[1]))) for item in items}


@pytest.mark.parametrize("file_format", ["dwca", "dwc"])
def test_import_export_import_gives_the_same_items(file_format, put, tmp_path):
    put("a.jpg")
    first = import_dwca(build(tmp_path), out=tmp_path / "m.csv")
    out = tmp_path / ("again.zip" if file_format == "dwca" else "again.csv")
    assert export_manifest(tmp_path / "m.csv", out=out, file_format=file_format).record_count == 3
    again = (import_dwca if file_format == "dwca" else import_table)(out, out=tmp_path / "n.csv", media=tmp_path)
    assert as_sets(again.items) == as_sets(first.items)


def test_a_table_of_inaturalist_says_that_it_has_no_videos(tmp_path):
    items = [Item("v", Medium.VIDEO, path=tmp_path / "v.mp4"), Item("i", Medium.IMAGE, path=tmp_path / "i.jpg")]
    result = export_items(items, out=tmp_path / "o.csv", file_format="inaturalist", title="birds")
    assert (result.record_count, result.item_count, result.left_count) == (2, 1, 1)
    assert "1 video is left out" in result.to_text()


def test_what_no_term_says_comes_back_too(put, tmp_path):
    song = put("s.wav")
    items = (
        Item("a", Medium.AUDIO, path=song, class_name="Blue_Jay", split=Split.TEST, start_seconds=0.5, source="tape 7"),
        Item("b", Medium.AUDIO, path=song, class_name="Spinus tristis", group="g", recorded_by="=HYPERLINK(1)"),
        Item("c", Medium.TEXT, text="Two\nlines.", caption_of="a", extra=(("color", "blue\tgreen"),)),
    )
    (tmp_path / "x.zip").write_bytes(write_archive(collect_records(items), title="T & <T>"))
    again = import_dwca(tmp_path / "x.zip", out=tmp_path / "n.csv", media=tmp_path)
    expected = as_sets(replace(item, group=item.group or item.item_id) for item in items)
    assert as_sets(replace(item, group=item.group or "") for item in again.items).keys() == expected.keys()
    for item in again.items:
        assert replace(as_sets([item])[item.item_id], group=None) == replace(expected[item.item_id], group=None)


def test_another_reader_reads_what_is_written_and_names_are_identifications(tmp_path):
    items = (
        Item("1", Medium.IMAGE, path=Path("/a/1.jpg"), occurrence_id="o:1", basis_of_record="PreservedSpecimen",
             scientific_name="Larus canus", extra=(("note", 'say "so"'),)),
        Item("2", Medium.IMAGE, path=Path("/a/2.jpg")),
    )  # fmt: skip
    named = (Identification("2", "Larus canus", 0.93),)
    (tmp_path / "x.zip").write_bytes(write_archive(collect_records(items, identifications=named), title="Gulls"))
    with DwCAReader(str(tmp_path / "x.zip")) as reader:
        assert reader.descriptor.core.type == f"{DWC}Occurrence"
        first, second = reader.rows
        by_type = {each.rowtype.rpartition("/")[2]: each.data for each in second.extensions}
    assert (first.id, first.data[f"{DWC}basisOfRecord"], first.data[f"{DWC}scientificName"]) == (
        "o:1",
        "PreservedSpecimen",
        "Larus canus",
    )
    assert json.loads(first.data[f"{DWC}dynamicProperties"])["fieldmark"]["note"] == 'say "so"'
    assert second.data[f"{DWC}scientificName"] == ""
    assert by_type["Multimedia"][f"{DC}identifier"] == "/a/2.jpg"
    assert by_type["Identification"][f"{DWC}identifiedBy"] == "fieldmark"
    assert "probability 0.930" in by_type["Identification"][f"{DWC}identificationRemarks"]


@pytest.mark.shared
def test_the_sample_of_gbif_has_ten_classes_and_comes_back_the_same(shared_folder, tmp_path):
    source = shared_folder / "data" / "records" / "gbif_like.zip"
    first = import_dwca(source, out=tmp_path / "m.csv", media=tmp_path)
    assert len({item.class_name for item in first.items}) == 10
    assert len({item.occurrence_id for item in first.items}) == 60
    assert len(first.items) + len(first.left) == 234
    export_manifest(tmp_path / "m.csv", out=tmp_path / "again.zip")
    with DwCAReader(str(tmp_path / "again.zip")) as reader:
        assert len(reader.rows) == 60
    again = import_dwca(tmp_path / "again.zip", out=tmp_path / "n.csv", media=tmp_path)
    assert as_sets(again.items) == as_sets(first.items)
