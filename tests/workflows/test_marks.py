"""What a run and a gallery know of marks: from training texts, a book and a table, each kept until another is given."""

import pytest

from fieldmark.errors import ConfigError, EncoderFilesError
from fieldmark.gallery.layout import GalleryLayout
from fieldmark.marks.profile import read_tallies
from fieldmark.names import Reason, Resolution
from fieldmark.training.layout import RunLayout
from fieldmark.types import Item, MediaLimits, Medium
from fieldmark.workflows.marks import bring_marks_up_to_date, read_mark_sources, write_training_marks


@pytest.fixture
def run(tmp_path):
    items = [
        Item("1", Medium.TEXT, text="A white belly.", class_name="Auk"),
        Item("2", Medium.TEXT, text="A red crown.", class_name="Bunting"),
        Item("3", Medium.TEXT, text="Nobody knows what this is."),
        Item("4", Medium.TEXT, path=tmp_path / "gone.txt", class_name="Auk"),
        Item("5", Medium.IMAGE, path=tmp_path / "photo.jpg", class_name="Auk"),
    ]
    folder = tmp_path / "run"
    folder.mkdir()
    resolutions = [Resolution("Auk", ("Little Auk",), Reason.CONTAINED, 0.9)]
    write_training_marks(folder, items, resolutions=resolutions, limits=MediaLimits())
    return folder


@pytest.fixture
def files(tmp_path):
    book, table = tmp_path / "book.csv", tmp_path / "table.csv"
    book.write_text("name,text\nLittle Auk,Black back. Short tail.\nDodo,A hooked bill.\n")
    table.write_text("name,red crown,shoe size\nBunting,yes,3\n")
    return book, table


def test_a_run_keeps_the_marks_of_its_labelled_texts(run):
    [tally] = read_tallies(RunLayout(run).marks)
    assert tally.names == (("Auk", "Little Auk"), ("Bunting",))
    assert tally.named.sum() == 2


def test_a_run_without_texts_keeps_no_file(tmp_path):
    write_training_marks(tmp_path, [], resolutions=[], limits=MediaLimits())
    assert not RunLayout(tmp_path).marks.exists()


def test_a_gallery_gathers_all_sources_and_says_what_is_in_doubt(run, files, tmp_path):
    told = read_mark_sources(descriptions=files[0], traits=files[1])
    found = bring_marks_up_to_date(tmp_path, told=told, checkpoint=run, has_vectors=True)
    assert found.is_changed
    assert dict(found.report.species_count) == {"training texts": 2, "book.csv": 2, "table.csv": 1}
    assert "Dodo" in found.report.unresolved
    assert found.report.unknown_columns == ("shoe size",)
    text = found.report.to_text()
    assert "Dodo" in text
    assert "shoe size" in text
    again = bring_marks_up_to_date(
        tmp_path, told=read_mark_sources(descriptions=None, traits=None), checkpoint=None, has_vectors=True
    )
    assert not again.is_changed
    assert [each.source for each in read_tallies(GalleryLayout(tmp_path).marks)] == [
        "training texts",
        "book.csv",
        "table.csv",
    ]


def test_another_book_takes_the_place_of_the_first(run, files, tmp_path):
    for book in (files[0], tmp_path / "other.csv"):
        book.write_text("name,text\nBunting,A brown back.\n")
        told = read_mark_sources(descriptions=book, traits=None)
        found = bring_marks_up_to_date(tmp_path, told=told, checkpoint=run / "checkpoints" / "x", has_vectors=True)
        assert found.is_changed
    assert [each.source for each in read_tallies(GalleryLayout(tmp_path).marks)] == ["training texts", "other.csv"]


def test_a_model_without_vectors_for_names_keeps_no_marks(run, tmp_path):
    told = read_mark_sources(descriptions=None, traits=None)
    found = bring_marks_up_to_date(tmp_path, told=told, checkpoint=run, has_vectors=False)
    assert found.report is None
    assert not GalleryLayout(tmp_path).marks.exists()


def test_a_book_or_table_that_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(EncoderFilesError, match="cannot be read"):
        read_mark_sources(descriptions=tmp_path / "none.csv", traits=None)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_mark_sources(descriptions=None, traits=tmp_path / "none.csv")
