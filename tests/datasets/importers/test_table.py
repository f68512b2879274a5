"""Tables of others, mapped by column."""

import pytest

from fieldmark.data.taxonomy import Taxon, Taxonomy, write_taxonomy
from fieldmark.datasets.importers.table import import_table
from fieldmark.errors import ManifestError
from fieldmark.types import Medium, Split


def test_table_of_inaturalist(put, tmp_path):
    put("1.jpg")
    table = put(
        "obs.csv",
        "id,image_url,scientificName,license,file\n1,https://x.org/1.jpg,Larus canus,CC0,1.jpg\n"
        "2,https://x.org/2.jpg,Larus canus,CC0,https://x.org/2.jpg\n3,,Larus canus,,gone.jpg\n",
    )
    result = import_table(
        table, out=tmp_path / "m.csv", columns={"class_name": "scientificName", "path": "file", "item_id": "id"}
    )
    [item] = result.items
    assert (item.item_id, item.class_name, item.medium, item.license) == ("1", "Larus canus", Medium.IMAGE, "CC0")
    assert dict(item.extra) == {"image_url": "https://x.org/1.jpg"}
    assert [(each.item_id, each.kind) for each in result.left] == [
        ("line 3", "web_address"),
        ("line 4", "missing_file"),
    ]
    assert item.path == tmp_path / "1.jpg"


def test_table_of_xeno_canto_joins_columns(put, tmp_path):
    put("audio/XC77.ogg")
    table = put("xc.csv", "id;gen;sp;lic\n77;Larus;canus;CC-BY\n78;Larus;canus;CC-BY\n")
    result = import_table(
        table,
        out=tmp_path / "m.csv",
        columns={"class_name": "{gen} {sp}", "path": "audio/XC{id}.*", "license": "lic"},
        values={"medium": "Sound"},
    )
    [item] = result.items
    assert (item.class_name, item.medium, item.path) == ("Larus canus", Medium.AUDIO, tmp_path / "audio/XC77.ogg")
    assert [each.kind for each in result.left] == ["missing_file"]


def test_table_of_macaulay_reads_media_in_its_words(put, tmp_path):
    put("media/ML1.jpg")
    put("media/ML2.ogg")
    table = put(
        "ml.tsv", "ML Catalog Number\tFormat\tCommon Name\n1\tPhoto\tMew Gull\n2\tAudio\tMew Gull\n3\tAudio\tX\n"
    )
    write_taxonomy(Taxonomy((Taxon("Common_Gull", synonyms=("Mew Gull",)),)), tmp_path / "taxonomy.csv")
    result = import_table(
        table,
        out=tmp_path / "m.csv",
        columns={"medium": "Format", "class_name": "Common Name", "path": "ML{ML Catalog Number}.*"},
        media=table.parent / "media",
        taxonomy=tmp_path / "taxonomy.csv",
    )
    assert [(item.medium, item.class_name) for item in result.items] == [
        (Medium.IMAGE, "Common_Gull"),
        (Medium.AUDIO, "Common_Gull"),
    ]


def test_table_leaves_bad_rows_with_their_reason(put, tmp_path):
    put("a.jpg")
    put("b.jpg")
    table = put(
        "t.csv",
        "item_id,path,split\n1,a.jpg,Training\n1,b.jpg,test\n2,../../etc/passwd,test\n3,/etc/passwd,test\n4,b.jpg\n"
        "5,b.jpg,spring\n6,,test\n",
    )
    result = import_table(table, out=tmp_path / "m.csv")
    assert [(item.item_id, item.split) for item in result.items] == [("1", Split.TRAIN)]
    assert [each.kind for each in result.left] == [
        "repeated_id",
        "outside_root",
        "outside_root",
        "bad_row",
        "bad_row",
        "bad_row",
    ]


def test_table_takes_texts_and_absolute_paths_under_the_folder(put, tmp_path):
    put("a.jpg")
    table = put("t.csv", f"what,where,who\nA gull.,,Gull\n,{tmp_path}/a.jpg,Gull\n")
    result = import_table(table, out=tmp_path / "m.csv", columns={"text": "what", "path": "where", "class_name": "who"})
    assert [item.medium for item in result.items] == [Medium.TEXT, Medium.IMAGE]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"class_name": "scientific_nam"}, "Did you mean 'scientific_name'"),
        ({"clas_name": "scientific_name"}, "Did you mean 'class_name'"),
        ({"path": "{id}/{nowhere}.jpg"}, "names no column"),
    ],
)
def test_table_refuses_a_mapping_of_what_is_not_there(columns, message, put, tmp_path):
    with pytest.raises(ManifestError, match=message):
        import_table(put("t.csv", "id,path,scientific_name\n"), out=tmp_path / "m.csv", columns=columns)


def test_table_that_is_none(tmp_path):
    with pytest.raises(ManifestError, match="there is no such file"):
        import_table(tmp_path / "nowhere.csv", out=tmp_path / "m.csv")


def test_table_says_what_it_does_not_tell(put, tmp_path):
    put("a.jpg")
    put("b.jpg")
    table = put("t.csv", "file,name\na.jpg,Veery\nb.jpg,\n")
    result = import_table(table, out=tmp_path / "m.csv", columns={"path": "file", "class_name": "name"})
    assert "1 of 2 items have no class." in result.notes
    result = import_table(table, out=tmp_path / "m.csv")
    assert not result.items
    assert any("No column gives the paths of the items" in note for note in result.notes)


def test_table_fills_empty_cells_only_and_finds_the_file_of_that_very_name(put, tmp_path):
    put("1.jpg")
    put("10.jpg")
    table = put("t.csv", "path,license\n1.*, \n10.*,CC0\n")
    result = import_table(table, out=tmp_path / "m.csv", values={"license": "CC-BY"})
    assert [(item.path.name, item.license) for item in result.items] == [("1.jpg", "CC-BY"), ("10.jpg", "CC0")]


@pytest.mark.parametrize("path", ["C:/photos/a.jpg", "..", "a/../../b.jpg", "a\\..\\..\\b.jpg"])
def test_table_leaves_out_a_path_that_leads_elsewhere(path, put, tmp_path):
    result = import_table(put("t.csv", f"path\n{path}\n"), out=tmp_path / "m.csv")
    assert [each.kind for each in result.left] == ["outside_root"]


def test_table_reads_paths_as_windows_writes_them(put, tmp_path):
    put("media/a.jpg")
    result = import_table(put("t.csv", "path\nmedia\\a.jpg\nmedia\\gone.jpg\n"), out=tmp_path / "m.csv")
    assert [item.path for item in result.items] == [tmp_path / "media" / "a.jpg"]
    assert [(each.kind, "no file 'media/gone.jpg'" in each.message) for each in result.left] == [("missing_file", True)]


def test_a_column_of_paths_with_addresses_names_what_can_be_fetched(put, tmp_path):
    put("media/b.jpg")
    table = put("birds.csv", "path,class_name\nhttps://example.org/x/a.jpg,Veery\nmedia/b.jpg,Veery\n")
    result = import_table(table, out=tmp_path / "out.csv")
    assert [dict(item.extra).get("address") for item in result.items] == ["https://example.org/x/a.jpg", None]
    assert [item.path.name for item in result.items] == ["a.jpg", "b.jpg"]
    assert not result.left


def test_files_of_one_name_at_several_addresses_are_never_taken_for_each_other(put, tmp_path):
    rows = [f"https://example.org/photos/{n}/original.jpg,Species {'abc'[n]}" for n in range(3)]
    rows += [f"https://example.org/{n}/same.jpg,Species {'abc'[n]}" for n in range(3)]
    table = put("birds.csv", "\n".join(["address,class_name", *rows]) + "\n")
    first = import_table(table, out=tmp_path / "out.csv")
    paths = [item.path.relative_to(tmp_path).as_posix() for item in first.items]
    assert len(set(paths)) == 6
    assert paths[:3] == [f"{n}-original.jpg" for n in range(3)]
    for path in (*paths[:2], *paths[3:5], "original.jpg", "same.jpg"):  # as fetched, and two of the bare names
        put(path)
    again = import_table(table, out=tmp_path / "again.csv")
    assert [item.path for item in again.items] == [item.path for item in first.items]


@pytest.mark.parametrize("reference", ["path", "file_name", "image_url"])
def test_facts_under_our_own_names_are_read_as_those_under_others(reference, put, tmp_path):
    put("a.jpg")
    put("b.jpg")
    table = put(
        "birds.csv",
        f"{reference},scientific_name,event_date,latitude,longitude,country_code\n"
        'a.jpg,"Larus canus Linnaeus, 1758",4.5.2019,"41,5",-70,\nb.jpg,Larus sp.,2019-02-30,north,,Norway\n'.replace(
            "a.jpg", "https://example.org/a.jpg" if reference == "image_url" else "a.jpg"
        ).replace("b.jpg", "https://example.org/b.jpg" if reference == "image_url" else "b.jpg"),
    )
    result = import_table(table, out=tmp_path / "m.csv", values={"country_code": "US"})
    first, second = result.items
    assert (first.class_name, first.authorship, first.taxon_rank) == ("Larus canus", "Linnaeus, 1758", "species")
    assert (first.event_date, first.latitude, first.longitude, first.country_code) == ("2019-05-04", 41.5, -70.0, "US")
    assert dict(first.extra)["verbatimEventDate"] == "4.5.2019"
    assert (second.class_name, second.latitude, second.country_code) == (None, None, "NO")
    assert dict(second.extra)["verbatimLatitude"] == "north"
    assert [doubt.kind for doubt in result.doubts] == ["impossible_date", "impossible_coordinates"]


def test_passages_of_accounts_are_of_the_species_that_they_name(put, tmp_path):
    table = put("accounts.csv", 'scientific_name,text,group\n"Larus canus Linnaeus, 1758",A gull.,page 1\n')
    [item] = import_table(table, out=tmp_path / "m.csv", columns={"text": "text"}, values={"medium": "text"}).items
    assert (item.class_name, item.medium, item.group) == ("Larus canus", Medium.TEXT, "page 1")


@pytest.mark.parametrize(
    ("encoding", "delimiter", "is_noted"),
    [("utf-16-le", "\t", False), ("utf-8", "|", False), ("cp1252", ";", True), ("utf-8-sig", ",", False)],
)
def test_table_of_a_spreadsheet_in_any_encoding(encoding, delimiter, is_noted, put, tmp_path):
    put("a.jpg")
    rows = [["path", "scientificName", "recordedBy", '"sex, age"'], ["a.jpg", "Larus canus", "M\xfcller", ""]]
    table = put("t.csv", " ")
    table.write_bytes("\r\n".join(map(delimiter.join, rows)).encode(encoding))
    result = import_table(table, out=tmp_path / "m.csv")
    assert [(item.class_name, item.recorded_by) for item in result.items] == [("Larus canus", "M\xfcller")]
    assert any("Windows-1252" in note for note in result.notes) == is_noted


def test_coordinates_that_cannot_be_say_why_in_decimal_commas_too(put, tmp_path):
    put("a.jpg")
    table = put("t.csv", 'path,lat,lon\na.jpg,"95,5","-70,25"\na.jpg,"170,5","41,5"\n')
    result = import_table(table, out=tmp_path / "m.csv")
    assert [doubt.kind for doubt in result.doubts] == ["swapped_coordinates", "swapped_coordinates"]
    table = put("t.csv", 'path,lat,lon\na.jpg,"95,5","191,0"\na.jpg,41 N,"41,5"\n')
    details = [doubt.detail for doubt in import_table(table, out=tmp_path / "m.csv").doubts]
    assert ["no place on Earth" in details[0], "no decimal degrees" in details[1]] == [True, True]


@pytest.mark.parametrize("path", ["a.jpg", "https://example.org/a.jpg"])
def test_facts_that_are_mapped_are_read_as_those_that_are_recognized(path, put, tmp_path):
    put("a.jpg")
    table = put(
        "t.csv",
        f"Datei;Gattung;Art;Datum;Breite;Laenge;Land\n{path};Larus;canus;4/5/2019;41,5;-70;Norway\n"
        f"{path};Larus;sp.;14/5/2019;142;-70;\n",
    )
    origins = {"scientific_name": "{Gattung} {Art}", "event_date": "Datum", "latitude": "Breite", "longitude": "Laenge"}
    reference = {"path": "Datei"} if path == "a.jpg" else {}
    if not reference:
        table = put("t.csv", table.read_text(encoding="utf-8").replace("Datei", "image_url"))
    result = import_table(
        table,
        out=tmp_path / "m.csv",
        columns={**origins, **reference, "country_code": "Land"},
        values={"country_code": "SE"},
    )
    first, second = result.items
    assert (first.class_name, first.event_date, first.latitude, first.country_code) == (
        *("Larus canus", "2019-05-04", 41.5),
        "NO",
    )
    assert (second.class_name, second.event_date, second.latitude, second.country_code) == (
        *(None, "2019-05-14", None),
        "SE",
    )
    assert dict(second.extra)["verbatimLatitude"] == "142"
    assert "Breite" not in dict(first.extra)


@pytest.mark.parametrize("name", ["gbifID", "id"])
def test_quotes_of_tables_with_tabs_are_letters_where_they_do_not_match(name, put, tmp_path):
    put("a.jpg")
    table = put("t.txt", f'{name}\tpath\tlocality\n1\ta.jpg\t"Rio Grande" delta\n2\ta.jpg\t"Rio\n3\ta.jpg\tx\n')
    assert [item.place for item in import_table(table, out=tmp_path / "m.csv").items] == [
        '"Rio Grande" delta',
        '"Rio',
        "x",
    ]
