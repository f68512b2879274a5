"""What a search answers, as JSON and as text, and its hits as files of other programs."""

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest

from fieldmark.gallery.naming.name_offers import NameOffer
from fieldmark.gallery.naming.typed_names import NameUse
from fieldmark.gallery.search.result import (
    ExportFormat,
    LikelyClass,
    OpenSetAnswer,
    QueryPart,
    ReadName,
    SearchResult,
    export_marks,
)
from fieldmark.io import encode_report
from fieldmark.subject import Subject
from fieldmark.types import Hit, Item, Medium

SONG = Hit(
    rank=1,
    score=0.81,
    probability=0.92,
    item=Item(
        "song",
        Medium.AUDIO,
        class_name="Blue_Jay",
        group="XC1",
        path=Path("birds/song.ogg"),
        license="CC0",
        extra=(("observer", "A. Smith"),),
    ),
    start_seconds=3.0,
    end_seconds=6.0,
    margin=0.12,
    look_alike="Florida_Jay",
)


def test_search_result_to_json_has_the_keys_of_the_contract():
    result = SearchResult((Medium.IMAGE, Medium.TEXT), (SONG,), OpenSetAnswer(0.4, 0.5))
    value = encode_report(result)
    assert value["query"] == {
        "medium": "image",
        "media": ["image", "text"],
        "class_name": None,
        "species_name": None,
        "names": [],
        "name_use": None,
        "is_understood": True,
        "is_on_topic": True,
        "is_listing": False,
        "notes": [],
    }
    assert [value[key] for key in ("offered", "likeliest", "parts", "absent_media", "subject")] == [*[[]] * 4, "things"]
    wanted = {"probability": 0.4, "is_likely": False, "is_unlikely": False, "threshold": 0.5, "can_tell": True}
    assert value["collection"] == wanted
    wanted = (
        "rank score probability item_id medium class_name set_name group path start_seconds end_seconds text source"
    )
    keys = [*wanted.split(), "license", "margin", "look_alike", "called", "called_probability"]
    added = ["item_start_seconds", "item_end_seconds", "split", "caption_of", "facts", "unlikely", "is_compared"]
    added += ["matched", "record_id", "license_form", "event_date", "latitude", "longitude", "place", "country_code"]
    added += ["coordinate_uncertainty_meters", "recorded_by", "catalog_number", "occurrence_id", "basis_of_record"]
    added += ["rights_holder", "scientific_name", "authorship", "taxon_rank"]
    assert list(value["hits"][0])[: len(keys)] == keys
    assert sorted(value["hits"][0]) == sorted([*keys, *added])
    assert value["hits"][0]["facts"] == {"observer": "A. Smith"}
    assert value["hits"][0]["medium"] == "audio"


def test_search_result_to_text_says_what_is_not_there_and_why_a_hit_is():
    result = SearchResult((Medium.IMAGE,), (SONG,), OpenSetAnswer(0.2, 0.5), subject=Subject.BIRDS)
    lines = result.to_text().splitlines()
    assert lines[0] == "probably not in this collection (20% likely that it is)"
    assert lines[1] == "nearest hits; their percentages assume that the species is there:"
    assert lines[2] == "  1    92%  audio  Blue_Jay  birds/song.ogg  at 3.0-6.0 s"
    why = result.to_text(explains=True).splitlines()
    assert why[2] == f"{lines[2]}  (score 0.810, +0.120 to Florida_Jay)"


def test_text_lists_the_likeliest_classes_once_above_the_hits():
    likeliest = (LikelyClass("Blue_Jay", 0.91), LikelyClass("Florida_Jay", 0.06))
    lines = SearchResult((Medium.IMAGE,), (SONG,), likeliest=likeliest).to_text().splitlines()
    assert lines[0] == "most likely: Blue_Jay 91%; Florida_Jay 6%"
    assert "Florida_Jay" not in lines[1]


def test_text_tells_queries_apart_that_contradict_each_other():
    parts = (
        QueryPart(Medium.IMAGE, (LikelyClass("Cedar_Waxwing", 0.98),), None),
        QueryPart(Medium.AUDIO, (LikelyClass("Carolina_Wren", 0.9),), None),
    )
    result = SearchResult((Medium.IMAGE, Medium.AUDIO), (SONG,), parts=parts, subject=Subject.BIRDS)
    assert result.to_text().splitlines()[:3] == [
        "the queries show different species:",
        "  1. image  Cedar_Waxwing 98%",
        "  2. audio  Carolina_Wren 90%",
    ]


def test_text_says_how_words_were_read_and_what_is_not_there():
    read = (ReadName("Blue Jay", "Blue_Jay"),)
    offered = (NameOffer("Blue_Jay", "Blue_Jay", 0.9, 3), NameOffer("Green_Jay", "Green_Jay", 0.8, 2))
    result = SearchResult(
        (Medium.TEXT,),
        (),
        names=read,
        name_use=NameUse.CORRECTED,
        class_name="Blue_Jay",
        offered=offered,
        absent_media=(Medium.AUDIO, Medium.VIDEO),
    )
    assert result.to_text().splitlines() == [
        "read as Blue_Jay",
        "did you mean Green_Jay?",
        "no audio or video of Blue_Jay here",
    ]
    unread = SearchResult((Medium.TEXT,), (), is_understood=False).to_text().splitlines()
    assert unread == ["these words are not understood: nothing that reads texts here knows most of them"]


@pytest.mark.parametrize(
    ("count", "first"),
    [
        (1, "one item has this item id; what follows it is like it, or like the text"),
        (2, "2 items have this item id; what follows them is like them, or like the text"),
    ],
)
def test_text_counts_the_items_that_have_what_was_asked_for(count, first):
    hits = (*[SONG._replace(matched="item_id")] * count, SONG)
    assert SearchResult((Medium.TEXT,), hits).to_text().splitlines()[0] == first


def test_a_hit_that_was_compared_with_nothing_has_no_score_in_text_and_exports():
    found = EXPORTED._replace(score=1.0, probability=None, is_compared=False)
    for explains in (False, True):
        assert "1.000" not in SearchResult((Medium.TEXT,), (found,)).to_text(explains=explains)
    [row] = csv.DictReader(io.StringIO(export_marks([found], format=ExportFormat.CSV)))
    assert row["score"] == ""
    assert "is_compared" not in row
    names, selection = (line.split("\t") for line in export_marks([found], format=ExportFormat.RAVEN).splitlines())
    assert dict(zip(names, selection, strict=True))["Score"] == ""


def test_text_writes_paths_as_seen_from_a_folder_that_holds_them():
    found = SearchResult((Medium.TEXT,), (EXPORTED,))
    assert "  morning\tsong.ogg  at" in found.to_text(folder=Path("/birds"))
    assert "  /birds/morning\tsong.ogg  at" in found.to_text(folder=Path("/fish"))


@pytest.mark.parametrize(("subject", "word"), [(Subject.BIRDS, "species"), (Subject.THINGS, "classes")])
def test_text_speaks_of_species_only_where_the_collection_is_of_them(subject, word):
    hits = (SONG, SONG._replace(rank=2, probability=0.1))
    text = SearchResult((Medium.IMAGE,), hits, subject=subject).to_text()
    assert f"probably other {word}" in text


def test_search_result_to_text_says_where_nothing_can_be_told():
    answer = OpenSetAnswer(0.1, 0.5, can_tell=False)
    assert (answer.is_likely, answer.is_unlikely) == (False, False)
    lines = SearchResult((Medium.IMAGE,), (SONG,), answer).to_text().splitlines()
    assert lines[:2] == [
        "cannot tell whether the class is in this collection",
        "nearest hits; their percentages assume that it is there:",
    ]


@pytest.mark.parametrize(("probability", "doubt"), [(0.33, "probably"), (0.34, "perhaps"), (0.49, "perhaps")])
def test_search_result_to_text_says_how_sure_it_is_that_a_class_is_missing(probability, doubt):
    lines = SearchResult((Medium.TEXT,), (SONG,), OpenSetAnswer(probability, 0.5)).to_text().splitlines()
    assert lines[0] == f"{doubt} not in this collection ({100 * probability:.0f}% likely that it is)"


def test_search_result_to_text_of_a_class_that_is_there():
    lines = SearchResult((Medium.TEXT,), (), OpenSetAnswer(0.5, 0.5), class_name="Blue_Jay").to_text().splitlines()
    assert lines == ["the text names Blue_Jay", "nothing found"]


def test_text_says_under_which_name_the_collection_has_a_species():
    result = SearchResult((Medium.TEXT,), (SONG,), class_name="Blauhäher", species_name="Blue Jay")
    assert result.to_text().splitlines()[0] == 'the text names Blue Jay, here "Blauhäher"'


@pytest.mark.parametrize(
    ("probability", "shown"),
    [
        (0.0, "  0%"),
        (0.0004, " <1%"),
        (0.0099, " <1%"),
        (0.01, "  1%"),
        (0.99, " 99%"),
        (0.9951, ">99%"),
        (1.0, "100%"),
    ],
)
def test_only_certainty_is_called_0_or_100_percent(probability, shown):
    [line] = SearchResult((Medium.IMAGE,), (SONG._replace(probability=probability),), None).to_text().splitlines()
    assert line.startswith(f"  1   {shown}  audio")


# ---------------------------------------------------------------- files of other programs

EXPORTED = Hit(
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


PHOTO = with_item(EXPORTED, item_id="photo", medium=Medium.IMAGE, path=Path("/b.jpg"))._replace(
    start_seconds=None, end_seconds=None
)
NOTE = Item("note", Medium.TEXT, text='says "jay",\nloudly')


def test_csv_reads_back_with_all_columns():
    rows = list(csv.DictReader(io.StringIO(export_marks([EXPORTED, PHOTO, NOTE], format=ExportFormat.CSV))))
    assert [row["item_id"] for row in rows] == ["a song", "photo", "note"]
    assert (rows[0]["probability"], rows[0]["end_seconds"], rows[0]["look_alike"]) == ("0.75", "6.25", "Mockingbird")
    assert (rows[1]["start_seconds"], rows[2]["text"], rows[2]["score"]) == ("", NOTE.text, "")


def test_csv_has_the_unknown_columns_of_the_manifest_under_names_of_their_own():
    rows = list(csv.DictReader(io.StringIO(export_marks([EXPORTED, NOTE], format=ExportFormat.CSV))))
    assert [row["observer"] for row in rows] == ["A. Smith", ""]
    assert (rows[0]["score"], rows[0]["fact_score"]) == ("0.5", "3")


def test_raven_table_has_a_numbered_selection_for_each_moment():
    lines = export_marks([PHOTO, EXPORTED, EXPORTED], format=ExportFormat.RAVEN).splitlines()
    names, *rows = [line.split("\t") for line in lines]
    assert names[:5] == ["Selection", "View", "Channel", "Begin Time (s)", "End Time (s)"]
    assert [row[0] for row in rows] == ["1", "2"]
    assert all(len(row) == len(names) for row in rows)
    assert dict(zip(names, rows[0], strict=True))["End Time (s)"] == "6.250000"
    assert dict(zip(names, rows[0], strict=True))["Species"] == "Blue_Jay"


def test_audacity_labels_are_start_end_and_text():
    text = export_marks([EXPORTED, PHOTO, NOTE], format=ExportFormat.AUDACITY)
    assert text == "3.000000\t6.250000\tBlue_Jay [morning song.ogg]\n"


def test_darwin_core_has_its_terms_and_does_not_say_what_nobody_said_of_a_record():
    rows = list(csv.DictReader(io.StringIO(export_marks([EXPORTED, NOTE], format=ExportFormat.DARWIN_CORE))))
    assert [row["occurrenceID"] for row in rows] == ["a song", "note"]
    assert [row["basisOfRecord"] for row in rows] == ["Occurrence", "HumanObservation"]
    assert (rows[0]["vernacularName"], rows[0]["datasetName"], rows[0]["license"]) == ("Blue Jay", "marsh", "CC0")
    assert "0.750" in rows[0]["identificationRemarks"]


@pytest.mark.parametrize("kind", ExportFormat)
def test_export_of_nothing_has_no_rows(kind):
    assert len(export_marks([], format=kind).splitlines()) <= 1


def test_raven_band_is_written_as_raven_writes_it():
    """Readers of selection tables take a column of whole numbers for another type."""
    _, row = export_marks([EXPORTED], format=ExportFormat.RAVEN).splitlines()
    assert "\t0.0\t15000.0\t" in row


@pytest.mark.parametrize("kind", [ExportFormat.RAVEN, ExportFormat.AUDACITY])
def test_a_tab_separated_cell_never_begins_with_a_quote(kind):
    """A reader that knows quotes would take all up to the next quote, over the ends of lines, for one cell."""
    hits = [with_item(EXPORTED, class_name=name) for name in ('"', '"Jay" of\tthe marsh', 'a "Jay", mésange')]
    lines = export_marks(hits, format=kind).splitlines()[-len(hits) :]
    cells = [line.split("\t") for line in lines]
    assert not any(cell.startswith('"') for row in cells for cell in row)
    assert ["'" in line for line in lines] == [True, True, False]
    assert "'Jay' of the marsh" in lines[1]
    assert 'a "Jay", mésange' in lines[2]


@pytest.mark.parametrize("kind", [ExportFormat.RAVEN, ExportFormat.AUDACITY])
def test_a_moment_without_a_class_is_labelled_unknown(kind):
    """Readers of both refuse an empty label."""
    for moment in (with_item(EXPORTED, class_name=None), Item("cut", Medium.AUDIO, start_seconds=1.0, end_seconds=2.0)):
        cells = export_marks([moment], format=kind).splitlines()[-1].split("\t")
        assert any(cell.split(" [")[0] == "unknown" for cell in cells)


def test_a_darwin_core_id_stands_in_one_row_that_is_one_line():
    later = EXPORTED._replace(rank=2, start_seconds=9.0, end_seconds=12.0, probability=0.25)
    text = export_marks([EXPORTED, later, replace(NOTE, text="two\r\nlines")], format=ExportFormat.DARWIN_CORE)
    assert text.count("\n") == len(text.splitlines()) == 3
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["occurrenceID"] for row in rows] == ["a song", "note"]
    assert "0.750" in rows[0]["identificationRemarks"]
    assert rows[1]["occurrenceRemarks"] == "two lines"
