"""Indexing: every kind of source, again, changed, moved, killed."""

import csv
import shutil
from dataclasses import replace

import pytest

from fieldmark import Embeddings, Gallery, Item, Medium, Runtime, Split, embed, index, train, write_manifest
from fieldmark.datasets.importers.folders import import_folders
from fieldmark.errors import (
    CheckpointError,
    GalleryError,
    ManifestError,
    NoItemsError,
    TooManyFailuresError,
)
from fieldmark.gallery.lance import LanceIndex
from fieldmark.gallery.store import Filter


def content_of(gallery):
    store = LanceIndex.open(gallery / "segments")
    return store.content_hashes(), store.segment_count()


def test_index_of_a_manifest_holds_every_item(toy_gallery, toy_items):
    store = LanceIndex.open(toy_gallery / "segments")
    assert store.content_hashes().keys() == {item.item_id for item in toy_items}
    assert store.count_by_medium() == dict.fromkeys(Medium, 18)
    assert store.segment_count() >= store.item_count()


def test_index_again_adds_nothing(toy_gallery, toy_manifest, toy_runtime, tmp_path):
    gallery = tmp_path / "gallery"
    shutil.copytree(toy_gallery, gallery)
    before = content_of(gallery)
    report = index(toy_manifest, gallery=gallery, runtime=toy_runtime)
    assert (report.added_count, report.replaced_count, report.unchanged_count) == (0, 0, 72)
    assert content_of(gallery) == before


def test_index_takes_over_a_changed_label_and_a_changed_file(toy_items, toy_run, toy_runtime, tmp_path):
    chosen = [item for item in toy_items if item.medium is Medium.IMAGE][:3]
    copies = [replace(item, path=shutil.copy(item.path, tmp_path / f"{n}.png")) for n, item in enumerate(chosen)]
    copies = [replace(item, path=tmp_path / f"{n}.png") for n, item in enumerate(copies)]
    write_manifest(copies, tmp_path / "some.csv")
    index(tmp_path / "some.csv", checkpoint=toy_run, gallery=tmp_path / "gallery", runtime=toy_runtime)
    other = next(item for item in toy_items if item.medium is Medium.IMAGE and item not in chosen)
    shutil.copy(other.path, tmp_path / "1.png")
    write_manifest([replace(copies[0], class_name="Corrected"), *copies[1:]], tmp_path / "some.csv")
    report = index(tmp_path / "some.csv", gallery=tmp_path / "gallery", runtime=toy_runtime)
    assert (report.added_count, report.replaced_count, report.unchanged_count) == (2, 2, 1)
    assert "2 of them replaced" in report.to_text()
    gallery = Gallery.open(tmp_path / "gallery", runtime=toy_runtime)
    assert gallery.index.get(copies[0].item_id).items[0].class_name == "Corrected"
    assert gallery.search(other.path, k=1).hits[0].item_id == copies[1].item_id
    assert gallery.index.item_count() == 3


def test_index_of_embeddings_is_that_of_the_manifest(
    toy_manifest, toy_embeddings, toy_gallery, toy_run, toy_runtime, tmp_path
):
    first = index(toy_embeddings, checkpoint=toy_run, gallery=tmp_path / "gallery", runtime=toy_runtime)
    again = index(toy_embeddings, gallery=tmp_path / "gallery", runtime=toy_runtime)
    assert (again.added_count, again.unchanged_count) == (0, first.added_count)
    rest = index(toy_manifest, gallery=tmp_path / "gallery", runtime=toy_runtime)
    assert (rest.added_count, rest.replaced_count, rest.unchanged_count) == (
        72 - first.added_count,
        0,
        first.added_count,
    )
    assert content_of(tmp_path / "gallery") == content_of(toy_gallery)


def test_index_of_a_bare_folder(toy_items, toy_run, toy_runtime, tmp_path):
    folder = tmp_path / "mine"
    for medium in Medium:
        path = next(item.path for item in toy_items if item.medium is medium and item.path is not None)
        (folder / "trip").mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder / "trip" / f"{medium}{path.suffix.upper()}")
    (folder / "program.bin").write_bytes(bytes(range(256)) * 8)
    (folder / ".hidden").write_text("not to be found")
    report = index(folder, checkpoint=toy_run, gallery=tmp_path / "gallery", runtime=toy_runtime)
    assert report.counts == dict.fromkeys(["image", "text", "video", "audio"], 1)
    assert [failure.item_id for failure in report.failures] == ["program.bin"]
    assert "skipped 1" in report.to_text()
    hits = Gallery.open(tmp_path / "gallery", runtime=toy_runtime).search("a red cap").hits
    assert {hit.medium for hit in hits} == set(Medium)
    assert {hit.class_name for hit in hits} == {None}


def test_index_with_another_checkpoint(toy_gallery, toy_manifest, toy_embeddings, toy_config, toy_runtime, tmp_path):
    gallery = tmp_path / "gallery"
    shutil.copytree(toy_gallery, gallery)
    before = (gallery / "checkpoint.safetensors").read_bytes()
    run = train(
        toy_manifest, out=tmp_path / "run", config=toy_config.model_copy(update={"seed": 9}), runtime=toy_runtime
    ).run
    with pytest.raises(GalleryError, match="Use the checkpoint the gallery was built with"):
        index(toy_manifest, checkpoint=run, gallery=gallery, runtime=toy_runtime)
    with pytest.raises(GalleryError, match="have the fingerprint"):
        index(toy_embeddings, checkpoint=run, gallery=tmp_path / "new", runtime=toy_runtime)
    assert (gallery / "checkpoint.safetensors").read_bytes() == before


def test_index_begun_with_another_checkpoint_is_made_anew(toy_run, toy_items, toy_config, toy_runtime, tmp_path):
    write_manifest(toy_items[:4], tmp_path / "few.csv")
    (tmp_path / "gallery").mkdir()
    (tmp_path / "gallery" / "checkpoint.safetensors").write_bytes(b"of another model, and cut off")
    index(tmp_path / "few.csv", checkpoint=toy_run, gallery=tmp_path / "gallery", runtime=toy_runtime)
    assert Gallery.open(tmp_path / "gallery", runtime=toy_runtime).index.item_count() == 4


def test_index_puts_a_lost_checkpoint_back(toy_gallery, toy_run, toy_manifest, toy_runtime, tmp_path):
    gallery = tmp_path / "gallery"
    shutil.copytree(toy_gallery, gallery)
    (gallery / "checkpoint.safetensors").unlink()
    index(toy_manifest, checkpoint=toy_run, gallery=gallery, runtime=toy_runtime)
    assert Gallery.open(gallery, runtime=toy_runtime).search("a red cap").hits


def test_index_without_gallery_or_checkpoint(toy_manifest, toy_runtime, tmp_path):
    with pytest.raises(CheckpointError, match="there is no such file"):
        index(toy_manifest, gallery=tmp_path / "gallery", checkpoint=tmp_path / "nowhere", runtime=toy_runtime)
    assert not (tmp_path / "gallery").exists()


def test_index_of_a_source_that_holds_nothing(toy_run, toy_runtime, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(NoItemsError, match="image, text, video, audio"):
        index(tmp_path / "empty", checkpoint=toy_run, gallery=tmp_path / "gallery", runtime=toy_runtime)
    with pytest.raises(ManifestError, match="there is no such file"):
        index(tmp_path / "nowhere.csv", checkpoint=toy_run, gallery=tmp_path / "gallery", runtime=toy_runtime)


def test_index_lists_files_that_cannot_be_used(toy_items, toy_run, toy_runtime, broken, tmp_path):
    good = [replace(item, item_id=f"{place}") for place, item in enumerate([*toy_items, *toy_items])]
    write_manifest([*broken.make(Split.TEST), *good], tmp_path / "broken.csv")
    report = index(tmp_path / "broken.csv", checkpoint=toy_run, gallery=tmp_path / "gallery", runtime=toy_runtime)
    assert report.added_count == len(good)
    assert {failure.item_id.split("/")[1]: failure.kind for failure in report.failures} == broken.kinds


def test_index_stores_what_can_be_stored_and_tells_the_share(toy_items, toy_run, toy_runtime, broken, tmp_path):
    bad = broken.make(Split.TEST)
    write_manifest([*toy_items, *bad], tmp_path / "broken.csv")
    report = index(tmp_path / "broken.csv", checkpoint=toy_run, gallery=tmp_path / "gallery", runtime=toy_runtime)
    assert Gallery.open(tmp_path / "gallery", runtime=toy_runtime).index.item_count() == len(toy_items)
    assert report.failed_count == len(report.failures) == len(bad)
    report.check_failures(allowed_share=None)
    report.check_failures(allowed_share=0.9)
    with pytest.raises(
        TooManyFailuresError, match=rf"{len(bad)} of {len(bad) + len(toy_items)} items.*--failure-share"
    ):
        report.check_failures(allowed_share=0.01)


def test_index_of_nothing_that_can_be_used_makes_an_empty_gallery(toy_run, toy_runtime, broken, tmp_path):
    write_manifest(broken.make(Split.TEST), tmp_path / "broken.csv")
    report = index(tmp_path / "broken.csv", checkpoint=toy_run, gallery=tmp_path / "gallery", runtime=toy_runtime)
    assert (report.item_count, report.added_count) == (0, 0)
    assert report.failures


def test_index_and_import_agree_on_every_file_of_a_folder(toy_run, toy_runtime, tmp_path):
    """One function tells what a file is; whatever one of them leaves out, the other does, for the same reason."""
    folder = tmp_path / "disk"
    for name, content in {
        "Wren/note.txt": b"A small brown bird with a cocked tail.",
        "Wren/stray.txt": "Mönchsgrasmücke im Gebüsch ?".encode().replace(b"?", b"\xff"),
        "Wren/gbk.txt": "Pycnonotus sinensis 白头鹎, adult, near the pond".encode("gbk"),
        "Wren/wide.txt": "A small brown bird.".encode("utf-16-le"),
        "Wren/page.html": b"<html><body>A wren</body></html>",
        "Wren/table.txt": b"Selection\tView\tChannel\n1\tSpectrogram 1\t1\n",
        "Wren/note.rtf": rb"{\rtf1 A wren.\par}",
        "Wren/CONFIG.TXT": b"Device ID      : 00\nFirmware       : 1.8.1\nSample rate (Hz) : 48000\n",
        "Wren/@eaDir/copy.txt": b"A copy.",
        "photos/list.txt": b"A wren, and another one.",
        "Wren/empty.jpg": b"",
        "Wren/damaged.bin": bytes(range(256)) * 20,
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    imported = import_folders(folder, out=tmp_path / "m.csv")
    report = index(folder, checkpoint=toy_run, gallery=tmp_path / "gallery", runtime=toy_runtime)
    stored = Gallery.open(tmp_path / "gallery", runtime=toy_runtime).index.content_hashes()
    assert {item.item_id for item in imported.items} == set(stored)
    assert set(stored) == {"Wren/note.txt", "Wren/stray.txt", "photos/list.txt"}
    assert sorted(imported.left, key=str) == sorted(report.failures, key=str)
    assert [(each.item_id, each.kind) for each in report.warnings] == [("Wren/stray.txt", "encoding")]
    assert [(each.reason, each.file_count) for each in report.passed_over] == [("machine", 1)]


@pytest.mark.slow
def test_index_killed_is_completed_by_the_same_command(
    toy_manifest, toy_gallery, toy_run, toy_runtime, run_killed, tmp_path
):
    gallery = tmp_path / "gallery"
    run_killed("index", str(toy_manifest), str(toy_run), str(gallery), at=("embed", 70))
    assert LanceIndex.open(gallery / "segments").item_count() == 64
    report = index(toy_manifest, checkpoint=toy_run, gallery=gallery, runtime=toy_runtime)
    assert (report.added_count, report.unchanged_count) == (8, 64)
    assert content_of(gallery) == content_of(toy_gallery)


def test_index_of_many_rows_keeps_items_whole(toy_run, toy_runtime, tmp_path):
    """An embeddings folder of more rows than are added at once."""
    import numpy as np

    from fieldmark.build import load_model
    from fieldmark.data.shards import EmbeddingsWriter
    from fieldmark.workflows.index import BLOCK_ROWS

    model = load_model(toy_run, device=toy_runtime.choose_device())
    count = BLOCK_ROWS // 2
    items = tuple(Item(f"song/{place:05d}", Medium.AUDIO, path=tmp_path / "song.wav") for place in range(count))
    rows = tuple(item for item in items for _ in range(3))
    vectors = np.random.default_rng(0).standard_normal((len(rows), model.network.dim)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    start = np.tile(np.arange(3.0), count)
    writer = EmbeddingsWriter(tmp_path / "embeddings", fingerprint=model.fingerprint)
    writer.add(Embeddings(rows, start, start + 1, vectors), content_hash_by_item_id={i.item_id: "0" for i in items})
    writer.finish()
    report = index(tmp_path / "embeddings", checkpoint=toy_run, gallery=tmp_path / "gallery", runtime=toy_runtime)
    assert (report.added_count, report.segment_count) == (count, 3 * count)
    stored = LanceIndex.open(tmp_path / "gallery" / "segments").get("song/01365")
    assert stored.embedding == pytest.approx(vectors[3 * 1365 : 3 * 1366], abs=1e-6)


def test_index_shared_space_uses_cached_features(toy_manifest, toy_items, shared_space_config, make_reporter, tmp_path):
    from fieldmark.data.cache import FeatureStore

    runtime = Runtime(cache=tmp_path / "cache", device="cpu", reporter=make_reporter())
    train(toy_manifest, out=tmp_path / "run", config=shared_space_config, runtime=runtime)
    embed(toy_manifest, checkpoint=tmp_path / "run", out=tmp_path / "embeddings", runtime=runtime)
    pictures = sum(item.medium in (Medium.IMAGE, Medium.VIDEO) for item in toy_items)
    assert FeatureStore(tmp_path / "cache").size().item_count == pictures
    report = index(toy_manifest, checkpoint=tmp_path / "run", gallery=tmp_path / "gallery", runtime=runtime)
    assert report.counts == {"image": 18, "text": 18, "video": 18, "audio": 0}
    assert FeatureStore(tmp_path / "cache").size().item_count == pictures
    with (toy_manifest).open() as file:
        assert len(list(csv.DictReader(file))) == 72


def folder_of(items, medium, folder, *, names):
    """A folder with files of one medium."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [item.path for item in items if item.medium is medium]
    suffix = {Medium.IMAGE: ".png", Medium.AUDIO: ".wav"}[medium]
    for place, name in enumerate(names):
        shutil.copy(paths[place], folder / f"{name}{suffix}")
    return folder


def ids_of(gallery, set_name=None):
    where = Filter(set_names=frozenset({set_name})) if set_name else None
    return sorted(LanceIndex.open(gallery / "segments").content_hashes(where))


def test_index_drops_what_is_gone_and_nothing_of_another_set(toy_items, toy_run, toy_runtime, tmp_path):
    gallery = tmp_path / "gallery"
    photos = folder_of(toy_items, Medium.IMAGE, tmp_path / "photos", names="abcd")
    songs = folder_of(toy_items, Medium.AUDIO, tmp_path / "songs", names="ab")
    index(photos, checkpoint=toy_run, gallery=gallery, runtime=toy_runtime)
    index(songs, gallery=gallery, runtime=toy_runtime)
    (photos / "b.png").unlink()
    report = index(photos, gallery=gallery, runtime=toy_runtime)
    assert (report.set_name, report.added_count, report.unchanged_count, report.dropped_count) == ("photos", 0, 3, 1)
    assert "deleted 1 that are gone" in report.to_text()
    assert ids_of(gallery, "photos") == ["a.png", "c.png", "d.png"]
    assert ids_of(gallery, "songs") == ["a.wav", "b.wav"]


def test_index_keeps_what_can_only_not_be_read(toy_items, toy_run, toy_runtime, tmp_path):
    gallery = tmp_path / "gallery"
    photos = folder_of(toy_items, Medium.IMAGE, tmp_path / "photos", names="abcd")
    index(photos, checkpoint=toy_run, gallery=gallery, runtime=toy_runtime)
    (photos / "a.png").write_bytes(b"")
    report = index(photos, gallery=gallery, runtime=toy_runtime)
    assert (report.dropped_count, [failure.item_id for failure in report.failures]) == (0, ["a.png"])
    assert ids_of(gallery) == ["a.png", "b.png", "c.png", "d.png"]


def test_index_of_a_source_that_lost_most_items_changes_nothing_unless_allowed(
    toy_items, toy_run, toy_runtime, tmp_path
):
    gallery = tmp_path / "gallery"
    photos = folder_of(toy_items, Medium.IMAGE, tmp_path / "photos", names="abcd")
    index(photos, checkpoint=toy_run, gallery=gallery, runtime=toy_runtime)
    for name in "abc":
        (photos / f"{name}.png").rename(photos / f"{name}2.png")
    with pytest.raises(GalleryError, match=r"3 of the 4 items of the set 'photos'.*--allow-drop"):
        index(photos, gallery=gallery, runtime=toy_runtime)
    assert ids_of(gallery) == ["a.png", "b.png", "c.png", "d.png"]
    for path in photos.iterdir():
        path.rename(tmp_path / path.name)
    with pytest.raises(NoItemsError):
        index(photos, gallery=gallery, allow_drop=True, runtime=toy_runtime)
    shutil.copy(tmp_path / "a2.png", photos / "a2.png")
    report = index(photos, gallery=gallery, allow_drop=True, runtime=toy_runtime)
    assert (report.added_count, report.dropped_count, ids_of(gallery)) == (1, 4, ["a2.png"])


def test_index_stores_an_id_that_another_set_holds_beside_it(toy_items, toy_run, toy_runtime, tmp_path):
    gallery = tmp_path / "gallery"
    first = folder_of(toy_items, Medium.IMAGE, tmp_path / "first", names="ab")
    second = folder_of(toy_items, Medium.IMAGE, tmp_path / "second", names="bc")
    index(first, checkpoint=toy_run, gallery=gallery, runtime=toy_runtime)
    index(second, gallery=gallery, runtime=toy_runtime)
    expected = ["a.png", "b.png", "c.png", "second/b.png"]
    assert ids_of(gallery) == expected
    again = index(second, gallery=gallery, runtime=toy_runtime)
    assert (again.added_count, again.unchanged_count, again.dropped_count) == (0, 2, 0)
    (first / "b.png").unlink()
    index(first, gallery=gallery, runtime=toy_runtime)
    index(second, gallery=gallery, runtime=toy_runtime)
    assert ids_of(gallery) == ["a.png", "c.png", "second/b.png"]


def test_index_takes_another_id_where_another_run_took_it_meanwhile(toy_items, toy_run, toy_runtime, tmp_path):
    gallery = tmp_path / "gallery"
    mine = folder_of(toy_items, Medium.IMAGE, tmp_path / "mine", names="ab")
    others = folder_of(toy_items, Medium.AUDIO, tmp_path / "others", names="z")
    index(others, checkpoint=toy_run, gallery=gallery, runtime=toy_runtime)

    class OtherRun:
        """Stores `a.png` for another set once this run has begun to embed."""

        def step(self, task, *, done, total, note=""):
            if (task, done) == ("embed", 1):
                store = LanceIndex.open(gallery / "segments")
                held = store.get("z.wav")
                taken = replace(held, items=tuple(replace(item, item_id="a.png") for item in held.items))
                store.add(taken, content_hash_by_item_id={"a.png": "of others"}, set_name="others")

        def say(self, message):
            pass

    index(mine, gallery=gallery, runtime=replace(toy_runtime, reporter=OtherRun()))
    assert ids_of(gallery, "mine") == ["b.png", "mine/a.png"]
    assert ids_of(gallery, "others") == ["a.png", "z.wav"]
    again = index(mine, gallery=gallery, runtime=toy_runtime)
    assert (again.added_count, again.unchanged_count) == (0, 2)


def test_index_of_one_split_drops_nothing_of_the_others(toy_manifest, toy_embeddings, toy_run, toy_runtime, tmp_path):
    gallery = tmp_path / "gallery"
    index(toy_manifest, checkpoint=toy_run, gallery=gallery, runtime=toy_runtime)
    report = index(toy_embeddings, gallery=gallery, runtime=toy_runtime)
    assert (report.added_count, report.dropped_count, len(ids_of(gallery))) == (0, 0, 72)


def test_index_refuses_a_set_that_came_from_another_source(toy_items, toy_run, toy_runtime, tmp_path):
    gallery = tmp_path / "gallery"
    here = folder_of(toy_items, Medium.IMAGE, tmp_path / "here" / "photos", names="ab")
    there = folder_of(toy_items, Medium.IMAGE, tmp_path / "there" / "photos", names="ab")
    index(here, checkpoint=toy_run, gallery=gallery, runtime=toy_runtime)
    with pytest.raises(GalleryError, match=r"--set NAME or, if that source was moved, use --set 'photos'"):
        index(there, gallery=gallery, runtime=toy_runtime)
    assert index(there, gallery=gallery, set_name="second", runtime=toy_runtime).added_count == 2
    assert index(there, gallery=gallery, runtime=toy_runtime).set_name == "second"
    with pytest.raises(GalleryError, match="Give one with --set"):
        index(there, gallery=gallery, set_name=" ", runtime=toy_runtime)
