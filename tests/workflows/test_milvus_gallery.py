"""A gallery in Milvus through every verb; moved there and back, it is the same to the byte."""

import shutil
import uuid
from dataclasses import replace
from pathlib import Path

import lancedb
import pytest

from fieldmark import Gallery, index
from fieldmark.errors import GalleryError, MissingGalleryError
from fieldmark.gallery.labels import list_classes, save_class
from fieldmark.gallery.layout import GalleryLayout
from fieldmark.gallery.opening import open_place
from fieldmark.gallery.source import hash_source, read_source
from fieldmark.marks.profile import encode_tallies
from fieldmark.workflows.gallery import check_gallery, compact_gallery, describe_gallery, remove_set, show_record
from fieldmark.workflows.move import move_gallery


class _CutError(Exception):
    """Ends a move between two blocks, as a crash would."""


class CuttingReporter:
    """Ends a task at its first step."""

    def say(self, text: str) -> None: ...

    def step(self, task: str, *, done: int, total: int) -> None:
        if task == "move":
            raise _CutError


@pytest.fixture
def address(milvus_server, monkeypatch, tmp_path) -> str:
    monkeypatch.setenv("FIELDMARK_CACHE", str(tmp_path / "cache"))
    return f"{milvus_server}/verbs_{uuid.uuid4().hex[:8]}"


def read_rows(folder: Path):
    table = lancedb.connect(folder / "segments").open_table("segments").to_arrow()
    return table.sort_by([("item_id", "ascending"), ("segment", "ascending")]).combine_chunks()


def answers(gallery: Gallery):
    found = gallery.search("a red cap", k=30)
    return [(hit.item_id, hit.score, hit.item, hit.set_name, hit.start_seconds) for hit in found.hits]


def test_a_gallery_moved_there_and_back_is_the_same_to_the_byte(
    address, toy_gallery, toy_manifest, toy_runtime, tmp_path
):
    source = tmp_path / "gallery"
    shutil.copytree(toy_gallery, source)
    (source / "marks.json").write_bytes(encode_tallies(()))
    opened = Gallery.open(source, runtime=toy_runtime)
    names = [hit.item_id for hit in opened.search("a red cap", k=3).hits]
    save_class(source, opened.index, class_name="Odd", item_ids=names)

    there = move_gallery(source, address, runtime=toy_runtime)
    assert (there.moved_count, there.present_count, there.recall, there.search) == (72, 0, 1.0, "exact")
    assert move_gallery(source, address, runtime=toy_runtime).present_count == 72
    moved = Gallery.open(address, runtime=toy_runtime)
    assert answers(moved) == answers(Gallery.open(source, runtime=toy_runtime))
    assert [each.class_name for each in list_classes(moved.folder, index=moved.index)] == ["Odd"]
    assert hash_source(Path(address)) == hash_source(source)
    assert index(toy_manifest, gallery=address, runtime=toy_runtime).unchanged_count == 72
    moved = Gallery.open(address, runtime=toy_runtime)  # calibrated anew, since a class was saved

    back = tmp_path / "back"
    assert move_gallery(address, back, runtime=toy_runtime).moved_count == 72
    assert read_rows(back).equals(read_rows(source))
    for name in ("checkpoint.safetensors", "saved_classes.json", "taxonomy.csv", "names.json", "marks.json"):
        assert (back / name).read_bytes() == (source / name).read_bytes()
    assert Gallery.open(back, runtime=toy_runtime).calibration == moved.calibration
    assert answers(Gallery.open(back, runtime=toy_runtime)) == answers(moved)
    assert index(toy_manifest, gallery=back, runtime=toy_runtime).unchanged_count == 72


def test_a_move_that_was_cut_short_goes_on_and_one_to_another_gallery_is_refused(
    address, toy_gallery, toy_runtime, tmp_path, monkeypatch
):
    monkeypatch.setattr("fieldmark.workflows.move._BLOCK_ROWS", 8)
    with pytest.raises(_CutError):
        move_gallery(toy_gallery, address, runtime=replace(toy_runtime, reporter=CuttingReporter()))
    report = move_gallery(toy_gallery, address, runtime=toy_runtime)
    assert report.present_count > 0
    assert report.present_count + report.moved_count == report.item_count == 72

    other = tmp_path / "other"
    shutil.copytree(toy_gallery, other)
    [name] = [each.set_name for each in Gallery.open(other, runtime=toy_runtime).index.counts()[:1]]
    remove_set(other, name, runtime=toy_runtime)
    with pytest.raises(GalleryError, match=r"holds 72 items that .* does not have"):
        move_gallery(other, address, runtime=toy_runtime)
    with pytest.raises(GalleryError, match="cannot be moved to itself"):
        move_gallery(address, address, runtime=toy_runtime)


def test_every_verb_takes_the_address(address, toy_embeddings, toy_run, toy_runtime):
    with pytest.raises(MissingGalleryError, match="milvus://"):
        Gallery.open(address, runtime=toy_runtime)
    made = index(toy_embeddings, checkpoint=toy_run, gallery=address, runtime=toy_runtime)
    count = made.added_count
    assert (count > 0, made.gallery) == (True, address)
    found = describe_gallery(address)
    assert (found.item_count, found.disk_bytes, found.search) == (count, None, "exact")
    assert "disk" not in found.to_text()
    assert not check_gallery(address, reads_media=False, runtime=toy_runtime).has_problems
    item_id = Gallery.open(address, runtime=toy_runtime).search("a red cap", k=1).hits[0].item_id
    assert show_record(address, item_id).found[0].item.item_id == item_id
    assert len(read_source(Path(address))) == count
    assert "engine" in compact_gallery(address).to_text()
    [name] = found.set_counts
    assert remove_set(address, name, runtime=toy_runtime).item_count == 0
    assert not GalleryLayout(Path(address)).folder.exists()
    assert open_place(address, access=toy_runtime.engine).name in address
