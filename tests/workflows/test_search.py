"""Searching: a query of each medium, filters, and galleries that cannot be used."""

import shutil

import pytest

from fieldmark import Gallery, Medium, index, train, write_manifest
from fieldmark.embedding import encode_item, encode_texts
from fieldmark.errors import (
    CheckpointError,
    DamagedGalleryError,
    EmptyMediaError,
    FieldmarkError,
    GalleryError,
    MediaError,
    MediumNotSupportedError,
    MissingFileError,
    MissingGalleryError,
    OutOfRangeError,
    RequestError,
    UnknownItemError,
    UnknownLettersError,
)
from fieldmark.gallery.search.query import ItemId
from fieldmark.gallery.search.result import MarkedItems
from fieldmark.gallery.store import Filter
from fieldmark.io import encode_report


@pytest.fixture(scope="module")
def gallery(toy_gallery, toy_runtime):
    return Gallery.open(toy_gallery, runtime=toy_runtime)


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


def test_search_encodes_the_same_content_once(toy_gallery, toy_runtime, toy_items, tmp_path, monkeypatch):
    from fieldmark import query_encoder
    from fieldmark.gallery.search import query

    encoded = []

    def encode(item, **named):
        encoded.append(item)
        return encode_item(item, **named)

    def encode_together(items, *, model):
        encoded.extend(items)
        return encode_texts(items, model=model)

    monkeypatch.setattr(query_encoder, "encode_item", encode)
    monkeypatch.setattr(query_encoder, "encode_texts", encode_together)
    gallery = Gallery.open(toy_gallery, runtime=toy_runtime)
    for item in [next(item for item in toy_items if item.medium is medium) for medium in Medium]:
        copy = tmp_path / f"copy{item.path.suffix}"
        shutil.copy(item.path, copy)
        first, again = gallery.search(item.path, k=9), gallery.search(copy, k=9, marks=MarkedItems())
        assert again == first
    gallery.search("a red cap")
    gallery.search("a red cap", media=[Medium.AUDIO])
    assert len(encoded) == len(Medium) + 1
    copy.write_bytes(next(item for item in toy_items if item.path not in {h.path for h in encoded}).path.read_bytes())
    gallery.search(copy)
    assert len(encoded) == len(Medium) + 2
    monkeypatch.setattr(query, "REMEMBERED_BYTES", 10)
    gallery.search(copy)
    assert len(encoded) == len(Medium) + 3


def test_search_with_a_file_that_cannot_be_read_fails_each_time_until_it_is_repaired(gallery, toy_items, tmp_path):
    song = next(item for item in toy_items if item.medium is Medium.AUDIO)
    path = tmp_path / "song.wav"
    path.write_bytes(song.path.read_bytes()[:20])
    for _ in range(2):
        with pytest.raises(MediaError):
            gallery.search(path)
    shutil.copy(song.path, path)
    assert gallery.search(path).hits


def test_search_with_a_text(gallery, toy_items):
    text = next(item for item in toy_items if item.text is not None)
    result = gallery.search(text.text, k=1, media=[Medium.TEXT])
    assert result.medium is Medium.TEXT
    assert result.hits[0].item_id == text.item_id


@pytest.mark.parametrize("text", ["1234 !?", "and/or a red cap", "red.cap then"])
def test_search_with_a_text_that_names_nothing_gives_hits(text, gallery):
    assert len(gallery.search(text, k=3).hits) == 3


@pytest.mark.parametrize("text", ["zzxqv", "a" * 5_000])
def test_search_with_a_text_of_no_words_gives_no_hits_and_says_so(text, gallery):
    result = gallery.search(text, k=3)
    assert not result.hits
    assert not result.is_understood


def test_search_with_a_text_in_letters_that_no_encoder_knows_says_so(gallery):
    with pytest.raises(UnknownLettersError, match="in letters that the text encoder does not know"):
        gallery.search("\u9e1f")


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
    with pytest.raises(MediaError, match="UTF-8"):
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
    hit = encode_report(result)["hits"][0]
    assert hit["path"] == str(song.path)
    assert hit["end_seconds"] > hit["start_seconds"] >= 0
    assert " s" in result.to_text().splitlines()[0]
    photo = encode_report(gallery.search(song, k=1, media=[Medium.IMAGE]))["hits"][0]
    assert photo["start_seconds"] is None


def test_gallery_moved_with_its_run_gone_still_opens(toy_gallery, toy_runtime, gallery, tmp_path):
    moved = tmp_path / "elsewhere" / "birds"
    shutil.copytree(toy_gallery, moved)
    assert Gallery.open(moved, runtime=toy_runtime).search("a red cap").hits == gallery.search("a red cap").hits


def test_gallery_that_is_not_there(toy_runtime, tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(MissingGalleryError, match=f"'{folder}'"):
            Gallery.open(folder, runtime=toy_runtime)


def test_gallery_only_begun(toy_gallery, toy_runtime, tmp_path):
    shutil.copy(toy_gallery / "checkpoint.safetensors", tmp_path)
    (tmp_path / "segments").mkdir()
    with pytest.raises(MissingGalleryError, match=f"'{tmp_path}'"):
        Gallery.open(tmp_path, runtime=toy_runtime)


def test_gallery_with_another_checkpoint(toy_gallery, toy_manifest, toy_config, toy_runtime, tmp_path):
    shutil.copytree(toy_gallery, tmp_path / "gallery")
    report = train(
        toy_manifest, out=tmp_path / "run", config=toy_config.model_copy(update={"seed": 9}), runtime=toy_runtime
    )
    shutil.copy(report.result.best_path, tmp_path / "gallery" / "checkpoint.safetensors")
    with pytest.raises(GalleryError, match="Use the checkpoint the gallery was built with"):
        Gallery.open(tmp_path / "gallery", runtime=toy_runtime)


def test_gallery_that_is_damaged(toy_gallery, toy_runtime, tmp_path):
    for name in ("no_checkpoint", "cut_checkpoint", "no_data", "cut_data"):
        shutil.copytree(toy_gallery, tmp_path / name)
    (tmp_path / "no_checkpoint" / "checkpoint.safetensors").unlink()
    with pytest.raises(DamagedGalleryError, match=r"'checkpoint\.safetensors' of the model \w+ is missing"):
        Gallery.open(tmp_path / "no_checkpoint", runtime=toy_runtime)
    cut = tmp_path / "cut_checkpoint" / "checkpoint.safetensors"
    cut.write_bytes(cut.read_bytes()[:1000])
    with pytest.raises(CheckpointError):
        Gallery.open(tmp_path / "cut_checkpoint", runtime=toy_runtime)
    for file in (tmp_path / "no_data" / "segments").rglob("*.lance"):
        if file.is_file():
            file.unlink()
    with pytest.raises(DamagedGalleryError, match="fieldmark index"):
        Gallery.open(tmp_path / "no_data", runtime=toy_runtime).search("a red cap")
    for file in (tmp_path / "cut_data" / "segments").rglob("*.lance"):
        if file.is_file():
            file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(DamagedGalleryError):
        Gallery.open(tmp_path / "cut_data", runtime=toy_runtime).search("a red cap")


def test_search_shared_space_with_what_it_takes(toy_manifest, toy_items, shared_space_config, toy_runtime, tmp_path):
    train(toy_manifest, out=tmp_path / "run", config=shared_space_config, runtime=toy_runtime)
    index(toy_manifest, checkpoint=tmp_path / "run", gallery=tmp_path / "gallery", runtime=toy_runtime)
    gallery = Gallery.open(tmp_path / "gallery", runtime=toy_runtime)
    for medium in (Medium.IMAGE, Medium.TEXT, Medium.VIDEO):
        item = next(item for item in toy_items if item.medium is medium)
        result = gallery.search(item, k=54)
        assert next(hit for hit in result.hits if hit.medium is medium).item_id == item.item_id
        assert {hit.medium for hit in result.hits} == {Medium.IMAGE, Medium.TEXT, Medium.VIDEO}
    song = next(item for item in toy_items if item.medium is Medium.AUDIO)
    with pytest.raises(MediumNotSupportedError, match="does not support audio"):
        gallery.search(song)
    assert len(gallery.search("a red cap", k=2).hits) == 2


# ---------------------------------------------------------------- several queries, marks, filters, calibration


def test_search_for_more_like_an_item_leaves_it_out_and_equals_its_own_embedding(gallery, toy_items):
    item = next(item for item in toy_items if item.medium is Medium.AUDIO)
    stored = gallery.search(ItemId(item.item_id), k=len(toy_items))
    assert stored.medium is Medium.AUDIO
    assert sorted(hit.item_id for hit in stored.hits) == sorted({i.item_id for i in toy_items} - {item.item_id})
    asked = gallery.search(item, k=len(toy_items))
    assert item.item_id in [hit.item_id for hit in asked.hits]
    rest = [hit.item_id for hit in asked.hits if hit.item_id != item.item_id]
    assert [hit.item_id for hit in stored.hits][:10] == rest[:10]
    with pytest.raises(UnknownItemError, match="nobody"):
        gallery.search(ItemId("nobody"))


def test_search_with_several_queries_scores_each_hit_by_all(gallery, toy_items):
    photo, song = (next(i for i in toy_items if i.medium is medium) for medium in (Medium.IMAGE, Medium.AUDIO))
    result = gallery.search([photo, song], k=18, media=[Medium.TEXT])
    assert result.media == (Medium.IMAGE, Medium.AUDIO)
    alone = [
        {hit.item_id: hit.score for hit in gallery.search(query, k=18, media=[Medium.TEXT]).hits}
        for query in (photo, song)
    ]
    for hit in result.hits:
        assert hit.score == pytest.approx(sum(scores[hit.item_id] for scores in alone) / 2, abs=1e-5)
    with pytest.raises(RequestError, match="needs one"):
        gallery.search([])


def test_search_follows_marks(gallery, toy_items):
    query = next(item for item in toy_items if item.medium is Medium.TEXT)
    before = [hit.item_id for hit in gallery.search(query, k=18, media=[Medium.IMAGE]).hits]
    marks = MarkedItems(relevant=frozenset({before[-1]}), irrelevant=frozenset({before[0]}))
    after = [hit.item_id for hit in gallery.search(query, k=18, media=[Medium.IMAGE], marks=marks).hits]
    assert sorted(after) == sorted(before)
    assert after.index(before[-1]) < 9 < after.index(before[0])
    with pytest.raises(UnknownItemError, match="nobody"):
        gallery.search(query, marks=MarkedItems(relevant=frozenset({"nobody"})))


def test_search_per_medium_and_by_segment(gallery, toy_items):
    song = next(item for item in toy_items if item.medium is Medium.AUDIO)
    hits = gallery.search(song, k=3, per_medium=True).hits
    assert [sum(hit.medium is medium for hit in hits) for medium in Medium] == [3, 3, 3, 3]
    moments = gallery.search(song, k=200, by_segment=True).hits
    assert len({(hit.item_id, hit.start_seconds) for hit in moments}) == len(moments) == gallery.index.segment_count()


def test_search_keeps_to_its_filters(gallery, toy_items):
    name = toy_items[0].class_name
    result = gallery.search("a red cap", k=72, where=Filter(class_names=frozenset({name})), media=[Medium.IMAGE])
    assert {(hit.medium, hit.class_name) for hit in result.hits} == {(Medium.IMAGE, name)}
    neither = gallery.search("a red cap", where=Filter(media=frozenset({Medium.TEXT})), media=[Medium.IMAGE])
    assert neither.hits == ()
    with pytest.raises(OutOfRangeError, match="'k' is"):
        gallery.search("a red cap", k=0)


def test_search_tells_the_margin_over_the_nearest_other_class(gallery, toy_items):
    photo = next(item for item in toy_items if item.medium is Medium.IMAGE)
    hits = gallery.search(photo, k=18, media=[Medium.IMAGE]).hits
    best = {}
    for hit in hits:
        best.setdefault(hit.class_name, hit.score)
    for hit in hits:
        other = max((name for name in best if name != hit.class_name), key=best.get)
        assert hit.look_alike == other
        assert hit.margin == pytest.approx(best[hit.class_name] - best[other], abs=1e-6)
    only = gallery.search(photo, k=1, where=Filter(class_names=frozenset({hits[0].class_name})), media=[Medium.IMAGE])
    assert only.hits[0].look_alike == hits[0].look_alike
    assert only.hits[0].margin == pytest.approx(hits[0].margin, abs=1e-6)


def test_search_for_the_name_of_a_class_that_the_gallery_lacks(toy_items, toy_run, toy_runtime, tmp_path):
    name = toy_items[0].class_name
    write_manifest([i for i in toy_items if i.class_name != name and i.path], tmp_path / "manifest.csv")
    index(tmp_path / "manifest.csv", checkpoint=toy_run, gallery=tmp_path / "gallery", runtime=toy_runtime)
    result = Gallery.open(tmp_path / "gallery", runtime=toy_runtime).search(name.replace("_", " "), k=3)
    assert result.class_name == name
    assert (result.collection.probability, result.collection.is_likely) == (0, False)
    assert "probably not in this collection" in result.to_text()


def test_search_without_a_calibration_mixes_media_and_says_no_probability(
    toy_gallery, toy_runtime, toy_items, tmp_path
):
    shutil.copytree(toy_gallery, tmp_path / "gallery")
    (tmp_path / "gallery" / "calibration.json").unlink()
    song = next(item for item in toy_items if item.medium is Medium.AUDIO)
    result = Gallery.open(tmp_path / "gallery", runtime=toy_runtime).search(song, k=4)
    assert {hit.medium for hit in result.hits} == set(Medium)
    assert [hit.probability for hit in result.hits] == [None] * 4
    assert result.collection is None
