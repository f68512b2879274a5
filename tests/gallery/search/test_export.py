"""Hits as files of other programs."""

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest

from fieldmark.gallery.search.export import ExportFormat, export_marks
from fieldmark.types import Hit, Item, Medium

SONG = Hit(
    rank=1,
    score=0.5,
    probability=0.75,
    item=Item(
        "a song",
        Medium.AUDIO,
        class_name="Blue_Jay",
        path=Path("/birds/morning\tsong.ogg"),
        source="https://example.org/1",
        license="CC0",
        extra=(("observer", "A. Smith"), ("score", "3")),
    ),
    set_name="marsh",
    start_seconds=3.0,
    end_seconds=6.25,
    margin=0.1,
    look_alike="Mockingbird",
)


def with_item(hit: Hit, **changes) -> Hit:
    """The hit with some facts of its item changed."""
    return hit._replace(item=replace(hit.item, **changes))


PHOTO = with_item(SONG, item_id="photo", medium=Medium.IMAGE, path=Path("/b.jpg"))._replace(
    start_seconds=None, end_seconds=None
)
NOTE = Item("note", Medium.TEXT, text='says "jay",\nloudly')


def test_csv_reads_back_with_all_columns():
    rows = list(csv.DictReader(io.StringIO(export_marks([SONG, PHOTO, NOTE], format=ExportFormat.CSV))))
    assert [row["item_id"] for row in rows] == ["a song", "photo", "note"]
    assert (rows[0]["probability"], rows[0]["end_seconds"], rows[0]["look_alike"]) == ("0.75", "6.25", "Mockingbird")
    assert (rows[1]["start_seconds"], rows[2]["text"], rows[2]["score"]) == ("", NOTE.text, "")


def test_csv_has_the_unknown_columns_of_the_manifest_under_names_of_their_own():
    rows = list(csv.DictReader(io.StringIO(export_marks([SONG, NOTE], format=ExportFormat.CSV))))
    assert [row["observer"] for row in rows] == ["A. Smith", ""]
    assert (rows[0]["score"], rows[0]["fact_score"]) == ("0.5", "3")


def test_raven_table_has_a_numbered_selection_for_each_moment():
    lines = export_marks([PHOTO, SONG, SONG], format=ExportFormat.RAVEN).splitlines()
    names, *rows = [line.split("\t") for line in lines]
    assert names[:5] == ["Selection", "View", "Channel", "Begin Time (s)", "End Time (s)"]
    assert [row[0] for row in rows] == ["1", "2"]
    assert all(len(row) == len(names) for row in rows)
    assert dict(zip(names, rows[0], strict=True))["End Time (s)"] == "6.250000"
    assert dict(zip(names, rows[0], strict=True))["Species"] == "Blue_Jay"


def test_audacity_labels_are_start_end_and_text():
    text = export_marks([SONG, PHOTO, NOTE], format=ExportFormat.AUDACITY)
    assert text == "3.000000\t6.250000\tBlue_Jay [morning song.ogg]\n"


def test_darwin_core_has_its_terms_and_says_what_a_person_and_what_a_machine_observed():
    rows = list(csv.DictReader(io.StringIO(export_marks([SONG, NOTE], format=ExportFormat.DARWIN_CORE))))
    assert [row["occurrenceID"] for row in rows] == ["a song", "note"]
    assert [row["basisOfRecord"] for row in rows] == ["MachineObservation", "HumanObservation"]
    assert (rows[0]["vernacularName"], rows[0]["datasetName"], rows[0]["license"]) == ("Blue Jay", "marsh", "CC0")
    assert "0.750" in rows[0]["identificationRemarks"]


@pytest.mark.parametrize("kind", ExportFormat)
def test_export_of_nothing_has_no_rows(kind):
    assert len(export_marks([], format=kind).splitlines()) <= 1


def test_raven_band_is_written_as_raven_writes_it():
    """Readers of selection tables take a column of whole numbers for another type."""
    _, row = export_marks([SONG], format=ExportFormat.RAVEN).splitlines()
    assert "\t0.0\t15000.0\t" in row


@pytest.mark.parametrize("kind", [ExportFormat.RAVEN, ExportFormat.AUDACITY])
def test_a_tab_separated_cell_never_begins_with_a_quote(kind):
    """A reader that knows quotes would take all up to the next quote, over the ends of lines, for one cell."""
    hits = [with_item(SONG, class_name=name) for name in ('"', '"Jay" of\tthe marsh', 'a "Jay", mésange')]
    lines = export_marks(hits, format=kind).splitlines()[-len(hits) :]
    cells = [line.split("\t") for line in lines]
    assert not any(cell.startswith('"') for row in cells for cell in row)
    assert ["'" in line for line in lines] == [True, True, False]
    assert "'Jay' of the marsh" in lines[1]
    assert 'a "Jay", mésange' in lines[2]


@pytest.mark.parametrize("kind", [ExportFormat.RAVEN, ExportFormat.AUDACITY])
def test_a_moment_without_a_class_is_labelled_unknown(kind):
    """Readers of both refuse an empty label."""
    for moment in (with_item(SONG, class_name=None), Item("cut", Medium.AUDIO, start_seconds=1.0, end_seconds=2.0)):
        cells = export_marks([moment], format=kind).splitlines()[-1].split("\t")
        assert any(cell.split(" [")[0] == "unknown" for cell in cells)


def test_a_darwin_core_id_stands_in_one_row_that_is_one_line():
    later = SONG._replace(rank=2, start_seconds=9.0, end_seconds=12.0, probability=0.25)
    text = export_marks([SONG, later, replace(NOTE, text="two\r\nlines")], format=ExportFormat.DARWIN_CORE)
    assert text.count("\n") == len(text.splitlines()) == 3
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["occurrenceID"] for row in rows] == ["a song", "note"]
    assert "0.750" in rows[0]["identificationRemarks"]
    assert rows[1]["occurrenceRemarks"] == "two lines"
