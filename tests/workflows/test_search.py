"""Searching: a query of each medium, filters, and galleries that cannot be used."""

import shutil

import pytest

from fieldmark import Gallery, Medium, index, train
from fieldmark.errors import (
    CheckpointError,
    DamagedGalleryError,
    EmptyMediaError,
    EncoderMismatchError,
    FieldmarkError,
    MediumNotSupportedError,
    MissingFileError,
    MissingGalleryError,
    UnknownMediumError,
)


@pytest.fixture(scope="module")
def gallery(toy_gallery, toy_host):
    return Gallery.open(toy_gallery, host=toy_host)


@pytest.mark.parametrize("medium", Medium)
def test_search_with_a_file_of_each_medium_ranks_all_media(medium, gallery, toy_items):
    item = next(item for item in toy_items if item.medium is medium and item.path is not None)
    result = gallery.search(item.path, k=72)
    assert result.medium is medium
    if medium in (Medium.IMAGE, Medium.TEXT):  # the mean of several segments may lie nearer to another item's
        assert next(hit for hit in result.hits if hit.medium is medium).item_id == item.item_id
    assert {hit.medium for hit in result.hits} == set(Medium)
    assert [hit.rank for hit in result.hits] == list(range(1, 73))


@pytest.mark.parametrize("medium", Medium)
@pytest.mark.parametrize("wanted", [(medium,) for medium in Medium] + [(Medium.IMAGE, Medium.AUDIO)])
def test_search_gives_only_the_media_asked_for(medium, wanted, gallery, toy_items):
    item = next(item for item in toy_items if item.medium is medium)
    hits = gallery.search(item, k=40, media=wanted).hits
    assert {hit.medium for hit in hits} == set(wanted)
    assert len(hits) == min(40, 18 * len(wanted))


def test_search_with_a_text(gallery, toy_items):
    text = next(item for item in toy_items if item.text is not None)
    result = gallery.search(text.text, k=1, media=[Medium.TEXT])
    assert result.medium is Medium.TEXT
    assert result.hits[0].item_id == text.item_id


@pytest.mark.parametrize("text", ["zzxqv", "\u9e1f", "1234 !?", "and/or a red cap", "a" * 5_000, "red.cap then"])
def test_search_with_a_text_that_names_nothing_gives_hits(text, gallery):
    assert len(gallery.search(text, k=3).hits) == 3


@pytest.mark.parametrize("text", ["", "  \n"])
def test_search_with_an_empty_text(text, gallery):
    with pytest.raises(EmptyMediaError):
        gallery.search(text)


@pytest.mark.parametrize("query", ["song.ogg", "photos/mine", "../x.JPG"])
def test_search_with_a_file_that_is_not_there(query, gallery):
    with pytest.raises(MissingFileError, match="There is no file"):
        gallery.search(query)


def test_search_with_text_files_of_other_encodings(gallery, tmp_path):
    sentence = "Der Schn\u00e4pper h\u00fcpft im Geb\u00fcsch"
    (tmp_path / "utf8.txt").write_text(sentence, encoding="utf-8")
    (tmp_path / "latin.txt").write_text(sentence, encoding="latin-1")
    (tmp_path / "utf16.txt").write_text(sentence, encoding="utf-16")
    results = [gallery.search(tmp_path / f"{name}.txt").hits for name in ("utf8", "latin", "utf16")]
    assert results[0] == results[1] == results[2]
    (tmp_path / "koi8.txt").write_text("\u043c\u0443\u0445\u043e\u043b\u043e\u0432\u043a\u0430", encoding="koi8-r")
    with pytest.raises(UnknownMediumError, match="UTF-8"):
        gallery.search(tmp_path / "koi8.txt")


def test_search_with_files_that_cannot_be_used(gallery, broken):
    from fieldmark import Split

    for item in broken.make(Split.TEST):
        with pytest.raises(FieldmarkError) as caught:
            gallery.search(item)
        assert caught.value.kind == broken.kinds[item.item_id.split("/")[1]]


def test_search_result_tells_where_a_hit_is(gallery, toy_items):
    song = next(item for item in toy_items if item.medium is Medium.AUDIO)
    result = gallery.search(song, k=2, media=[Medium.AUDIO])
    hit = result.to_json()["hits"][0]
    assert hit["path"] == str(song.path)
    assert hit["end_seconds"] > hit["start_seconds"] >= 0
    assert " s" in result.to_text().splitlines()[0]
    photo = gallery.search(song, k=1, media=[Medium.IMAGE]).to_json()["hits"][0]
    assert photo["start_seconds"] is None


def test_gallery_moved_with_its_run_gone_still_opens(toy_gallery, toy_host, gallery, tmp_path):
    moved = tmp_path / "elsewhere" / "birds"
    shutil.copytree(toy_gallery, moved)
    assert Gallery.open(moved, host=toy_host).search("a red cap").hits == gallery.search("a red cap").hits


def test_gallery_that_is_not_there(toy_host, tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(MissingGalleryError, match=f"'{folder}'"):
            Gallery.open(folder, host=toy_host)


def test_gallery_only_begun(toy_gallery, toy_host, tmp_path):
    shutil.copy(toy_gallery / "checkpoint.safetensors", tmp_path)
    (tmp_path / "segments").mkdir()
    with pytest.raises(MissingGalleryError, match=f"'{tmp_path}'"):
        Gallery.open(tmp_path, host=toy_host)


def test_gallery_with_another_checkpoint(toy_gallery, toy_manifest, toy_config, toy_host, tmp_path):
    shutil.copytree(toy_gallery, tmp_path / "gallery")
    report = train(toy_manifest, out=tmp_path / "run", config=toy_config.model_copy(update={"seed": 9}), host=toy_host)
    shutil.copy(report.result.best_path, tmp_path / "gallery" / "checkpoint.safetensors")
    with pytest.raises(EncoderMismatchError):
        Gallery.open(tmp_path / "gallery", host=toy_host)


def test_gallery_that_is_damaged(toy_gallery, toy_host, tmp_path):
    for name in ("no_checkpoint", "cut_checkpoint", "no_data", "cut_data"):
        shutil.copytree(toy_gallery, tmp_path / name)
    (tmp_path / "no_checkpoint" / "checkpoint.safetensors").unlink()
    with pytest.raises(DamagedGalleryError, match=r"'checkpoint\.safetensors' is missing"):
        Gallery.open(tmp_path / "no_checkpoint", host=toy_host)
    cut = tmp_path / "cut_checkpoint" / "checkpoint.safetensors"
    cut.write_bytes(cut.read_bytes()[:1000])
    with pytest.raises(CheckpointError):
        Gallery.open(tmp_path / "cut_checkpoint", host=toy_host)
    for file in (tmp_path / "no_data" / "segments").rglob("*.lance"):
        if file.is_file():
            file.unlink()
    with pytest.raises(DamagedGalleryError, match="fieldmark index"):
        Gallery.open(tmp_path / "no_data", host=toy_host).search("a red cap")
    for file in (tmp_path / "cut_data" / "segments").rglob("*.lance"):
        if file.is_file():
            file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(DamagedGalleryError):
        Gallery.open(tmp_path / "cut_data", host=toy_host).search("a red cap")


def test_search_shared_space_with_what_it_takes(toy_manifest, toy_items, shared_space_config, toy_host, tmp_path):
    train(toy_manifest, out=tmp_path / "run", config=shared_space_config, host=toy_host)
    index(toy_manifest, checkpoint=tmp_path / "run", gallery=tmp_path / "gallery", host=toy_host)
    gallery = Gallery.open(tmp_path / "gallery", host=toy_host)
    for medium in (Medium.IMAGE, Medium.TEXT, Medium.VIDEO):
        item = next(item for item in toy_items if item.medium is medium)
        result = gallery.search(item, k=54)
        assert next(hit for hit in result.hits if hit.medium is medium).item_id == item.item_id
        assert {hit.medium for hit in result.hits} == {Medium.IMAGE, Medium.TEXT, Medium.VIDEO}
    song = next(item for item in toy_items if item.medium is Medium.AUDIO)
    with pytest.raises(MediumNotSupportedError, match="takes no audio"):
        gallery.search(song)
    assert len(gallery.search("zzxqv", k=2).hits) == 2
