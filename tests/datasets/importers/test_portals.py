"""Exports of iNaturalist, eBird with the Macaulay Library, xeno-canto and camera traps."""

import json

import pytest

from fieldmark.datasets.importers.camtrap import import_camtrap
from fieldmark.datasets.importers.portals import import_ebird, import_inaturalist, import_xeno_canto
from fieldmark.errors import ManifestError
from fieldmark.types import Medium


def by_id(result):
    return {item.item_id: item for item in result.items}


def test_inaturalist_csv_gives_each_photo_and_sound_with_the_facts_of_its_observation(put, tmp_path):
    put("media/1.jpg")
    source = put(
        "observations.csv",
        "id,observed_on,user_login,license,url,image_url,sound_url,latitude,longitude,scientific_name\n"
        "77,2021-05-04,wren_fan,CC-BY,https://www.inaturalist.org/observations/77,"
        "https://x.org/photos/1.jpg,https://x.org/sounds/5.mp3,48.25,16.5,Cyanocitta cristata\n"
        "78,2021-05-05,wren_fan,CC0,https://www.inaturalist.org/observations/78,,,,,Veery\n",
    )
    result = import_inaturalist(source, out=tmp_path / "m.csv", media=tmp_path / "media")
    assert sorted(item.medium for item in result.items) == [Medium.AUDIO, Medium.IMAGE]
    photo = next(item for item in result.items if item.medium is Medium.IMAGE)
    assert (photo.path, photo.class_name, photo.event_date) == (
        tmp_path / "media" / "1.jpg",
        "Cyanocitta cristata",
        "2021-05-04",
    )
    assert (photo.latitude, photo.longitude, photo.recorded_by) == (48.25, 16.5, "wren_fan")
    assert len({item.group for item in result.items}) == 1


def test_inaturalist_json_of_the_api_gives_the_same(put, tmp_path):
    observation = {
        "id": 77,
        "quality_grade": "research",
        "observed_on": "2021-05-04",
        "location": "48.25,16.5",
        "uri": "https://www.inaturalist.org/observations/77",
        "taxon": {"name": "Cyanocitta cristata", "rank": "species", "preferred_common_name": "Blue Jay"},
        "user": {"login": "wren_fan"},
        "photos": [{"url": "https://x.org/photos/1/square.jpg", "license_code": "cc-by"}],
        "sounds": [],
    }
    source = put("page.json", json.dumps({"total_results": 1, "results": [observation]}))
    [item] = import_inaturalist(source, out=tmp_path / "m.csv").items
    assert (item.medium, item.class_name, item.latitude) == (Medium.IMAGE, "Cyanocitta cristata", 48.25)
    assert dict(item.extra)["address"] == "https://x.org/photos/1/original.jpg"
    assert item.license == "cc-by"


def test_inaturalist_media_keep_their_own_licenses(put, tmp_path):
    observation = {
        "id": 77,
        "quality_grade": "research",
        "license_code": "cc0",
        "taxon": {"name": "Cyanocitta cristata", "rank": "species"},
        "photos": [
            {"url": "https://x.org/photos/1/square.jpg", "license_code": "cc-by-nc"},
            {"url": "https://x.org/photos/2/square.jpg", "license_code": None},
        ],
        "sounds": [{"file_url": "https://x.org/sounds/5.mp3", "license_code": "cc-by"}],
    }
    result = import_inaturalist(put("page.json", json.dumps({"results": [observation]})), out=tmp_path / "m.csv")
    assert [item.license for item in result.items] == ["cc-by-nc", "all rights reserved", "cc-by"]
    assert {dict(item.extra)["record_license"] for item in result.items} == {"cc0"}


def test_inaturalist_times_of_greenwich_never_move_the_day(put, tmp_path):
    source = put(
        "observations.csv",
        "id,observed_on,time_observed_at,image_url,scientific_name\n"
        "1,2019-05-04,2019-05-04 22:30:00 UTC,https://x.org/1.jpg,Pica pica\n"
        "2,2019-05-04,2019-05-05 02:30:00 UTC,https://x.org/2.jpg,Pica pica\n",
    )
    result = import_inaturalist(source, out=tmp_path / "m.csv")
    assert [item.event_date for item in result.items] == ["2019-05-04T22:30:00Z", "2019-05-04"]
    assert not result.doubts


def test_rows_of_a_portal_with_too_many_cells_are_listed(put, tmp_path):
    source = put(
        "observations.csv",
        "id,observed_on,image_url,scientific_name,tag_list\n"
        "1,2019-05-04,https://x.org/1.jpg,Pica pica\n2,2019-05-04,https://x.org/2.jpg,Pica pica,a,b\n",
    )
    result = import_inaturalist(source, out=tmp_path / "m.csv")
    assert [item.item_id for item in result.items] == ["1/1.jpg"]
    assert [(each.item_id, each.kind) for each in result.left] == [("line 3", "bad_row")]


def test_xeno_canto_of_no_known_species_has_no_class(put, tmp_path):
    rows = [
        {"id": str(number), "gen": genus, "sp": epithet, "rec": "A", "file": f"https://x.org/{number}.mp3"}
        for number, (genus, epithet) in enumerate([("Mystery", "mystery"), ("Sonus", "naturalis"), ("Pica", "sp.")])
    ]
    result = import_xeno_canto(put("page.json", json.dumps({"recordings": rows})), out=tmp_path / "m.csv")
    assert [item.class_name for item in result.items] == [None, None, None]


def test_xeno_canto_recordings_are_found_by_their_number(put, tmp_path):
    put("XC123.wav")
    recording = {
        "id": "123",
        "gen": "Catharus",
        "sp": "fuscescens",
        "en": "Veery",
        "rec": "A Recordist",
        "cnt": "United States",
        "loc": "a wood",
        "lat": "42.4",
        "lng": "-76.5",
        "lic": "//creativecommons.org/licenses/by-nc-sa/4.0/",
        "file": "//xeno-canto.org/123/download",
        "file-name": "XC123-Veery.mp3",
        "date": "2019-06-01",
    }
    source = put("page.json", json.dumps({"numRecordings": "1", "recordings": [recording]}))
    [item] = import_xeno_canto(source, out=tmp_path / "m.csv").items
    assert (item.medium, item.class_name) == (Medium.AUDIO, "Catharus fuscescens")
    assert item.path == tmp_path / "XC123.wav"
    assert (item.country_code, item.event_date, item.recorded_by) == ("US", "2019-06-01", "A Recordist")


def test_macaulay_assets_are_found_by_their_catalog_number(put, tmp_path):
    put("ML456.jpg")
    source = put(
        "assets.csv",
        "ML Catalog Number,Format,Common Name,Scientific Name,Date,Latitude,Longitude\n"
        "456,Photo,Veery,Catharus fuscescens,2019-06-01,42.4,-76.5\n"
        "457,Audio,Veery,Catharus fuscescens,2019-06-01,42.4,-76.5\n",
    )
    result = import_ebird(source, out=tmp_path / "m.csv")
    photo = next(item for item in result.items if item.medium is Medium.IMAGE)
    assert (photo.path, photo.class_name) == (tmp_path / "ML456.jpg", "Catharus fuscescens")


@pytest.mark.parametrize("take", [import_inaturalist, import_ebird, import_xeno_canto])
def test_a_table_of_something_else_is_refused_and_nothing_is_written(take, put, tmp_path):
    source = put("other.csv", "price,amount\n1,2\n")
    with pytest.raises(ManifestError, match="cannot be imported as an export of"):
        take(source, out=tmp_path / "m.csv")
    assert not (tmp_path / "m.csv").exists()


def write_package(put):
    put("trap/media/a.jpg")
    put("trap/media/b.jpg")
    put("trap/media/c.jpg")
    put("trap/deployments.csv", "deploymentID,latitude,longitude,locationName\nd1,51.2,4.4,the pond\n")
    put(
        "trap/media.csv",
        "mediaID,deploymentID,timestamp,filePath,fileMediatype\n"
        "m1,d1,2021-05-31T08:25:38Z,media/a.jpg,image/jpeg\n"
        "m2,d1,2021-05-31T08:25:40Z,media/b.jpg,image/jpeg\n"
        "m3,d1,2021-06-02T08:00:00Z,media/c.jpg,image/jpeg\n"
        "m4,nowhere,2021-06-02T08:00:00Z,media/c.jpg,image/jpeg\n",
    )
    put(
        "trap/observations.csv",
        "observationID,deploymentID,mediaID,eventID,eventStart,eventEnd,observationLevel,observationType,scientificName\n"
        "o1,d1,m1,e1,2021-05-31T08:25:00Z,2021-05-31T08:26:00Z,media,animal,Anas platyrhynchos\n"
        "o2,d1,,e1,2021-05-31T08:25:00Z,2021-05-31T08:26:00Z,event,animal,Ardea cinerea\n"
        "o3,d1,m3,e2,2021-06-02T08:00:00Z,2021-06-02T08:01:00Z,media,human,Homo sapiens\n",
    )
    resources = [{"name": name, "path": f"{name}.csv"} for name in ("deployments", "media", "observations")]
    put("trap/datapackage.json", json.dumps({"resources": resources, "licenses": [{"name": "CC0-1.0"}]}))


def test_camera_trap_media_get_their_own_observation_else_that_of_their_event_and_people_are_no_class(put, tmp_path):
    write_package(put)
    result = import_camtrap(tmp_path / "trap", out=tmp_path / "m.csv")
    items = by_id(result)
    assert items["m1"].class_name == "Anas platyrhynchos"
    assert items["m2"].class_name == "Ardea cinerea"
    assert items["m3"].class_name is None
    assert {item.latitude for item in result.items} == {51.2}
    assert items["m1"].group == items["m2"].group != items["m3"].group
    assert [failure.kind for failure in result.left] == ["orphan"]


def test_camera_trap_tables_of_another_encoding_and_rows_that_do_not_fit(put, tmp_path):
    write_package(put)
    deployments = tmp_path / "trap" / "deployments.csv"
    deployments.write_bytes(b"\xef\xbb\xbf" + deployments.read_bytes())
    with (tmp_path / "trap" / "media.csv").open("a", encoding="utf-8") as file:
        file.write("m5,d1,2021-06-02T08:00:00Z,media/c.jpg,image/jpeg,too,many\n")
    package = json.loads((tmp_path / "trap" / "datapackage.json").read_text(encoding="utf-8"))
    package["resources"][0]["encoding"] = "UTF-8"
    put("trap/datapackage.json", json.dumps(package))
    result = import_camtrap(tmp_path / "trap", out=tmp_path / "m.csv")
    assert set(by_id(result)) == {"m1", "m2", "m3"}
    assert sorted(failure.kind for failure in result.left) == ["bad_row", "orphan"]


@pytest.mark.parametrize(
    ("table", "encoding"), [("deploymentID\nd1\n", "klingon"), ('deploymentID\n"d1\n', "utf-8"), ("\u00e9\n", "ascii")]
)
def test_camera_trap_tables_that_cannot_be_read_are_refused(table, encoding, put, tmp_path):
    write_package(put)
    put("trap/deployments.csv", table)
    package = json.loads((tmp_path / "trap" / "datapackage.json").read_text(encoding="utf-8"))
    package["resources"][0]["encoding"] = encoding
    put("trap/datapackage.json", json.dumps(package))
    with pytest.raises(ManifestError, match="Give a Camtrap DP package"):
        import_camtrap(tmp_path / "trap", out=tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


def test_a_folder_without_a_package_is_refused(put, tmp_path):
    put("empty/a.jpg")
    with pytest.raises(ManifestError, match=r"has no datapackage\.json"):
        import_camtrap(tmp_path / "empty", out=tmp_path / "m.csv")
