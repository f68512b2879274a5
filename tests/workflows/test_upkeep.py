"""Looking after a gallery: sets removed, facts corrected, files listed and not read, odd names, kills in mid-run."""

import os
import shutil
import sys
from dataclasses import replace

import pytest

from fieldmark import Gallery, Item, Medium, Runtime, index, write_manifest
from fieldmark.errors import ConfigError, GalleryError, RequestError
from fieldmark.gallery.labels import save_class
from fieldmark.gallery.lance import LanceIndex
from fieldmark.gallery.sources import read_sets
from fieldmark.gallery.store import Filter
from fieldmark.workflows.gallery import remove_set


@pytest.fixture
def photos(toy_items, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, item in enumerate([item for item in toy_items if item.medium is Medium.IMAGE][:4]):
        shutil.copy(item.path, folder / f"{number}.png")
    age(folder)
    return folder


def age(folder, *, seconds=60):
    """Makes files look as if nobody had touched them for a while."""
    for path in folder.rglob("*"):
        facts = path.stat()
        os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns - seconds * 10**9))


@pytest.fixture
def opened_files():
    """The paths of files that were opened since the list was cleared; by an audit hook, as the interpreter sees it."""
    seen: list[str] = []
    is_on = [True]

    def hear(event, arguments):
        if is_on[0] and event == "open" and isinstance(arguments[0], str | os.PathLike):
            seen.append(os.fspath(arguments[0]))

    sys.addaudithook(hear)
    yield seen
    is_on[0] = False


def test_unchanged_files_are_listed_and_not_read(photos, toy_run, toy_runtime, opened_files, tmp_path):
    gallery = tmp_path / "gallery"
    index(photos, checkpoint=toy_run, gallery=gallery, runtime=toy_runtime)

    def count_opened(**options):
        opened_files.clear()
        report = index(photos, gallery=gallery, runtime=toy_runtime, **options)
        return report, {path for path in opened_files if path.startswith(str(photos))}

    report, opened = count_opened()
    assert (report.unchanged_count, opened) == (4, set())
    os.utime(photos / "1.png")  # touched: read, found to be the same
    report, opened = count_opened()
    assert (report.unchanged_count, opened) == (4, {str(photos / "1.png")})
    report, opened = count_opened(verify_content=True)
    assert (report.unchanged_count, len(opened)) == (4, 4)


def test_all_that_happens_to_files_of_a_known_folder_is_noticed(photos, toy_run, toy_runtime, tmp_path):
    gallery = tmp_path / "gallery"
    index(photos, checkpoint=toy_run, gallery=gallery, runtime=toy_runtime)
    (photos / "0.png").rename(photos / "moved.png")
    shutil.copy(photos / "2.png", photos / "1.png")
    (photos / "note.txt").write_text("a small brown bird")
    report = index(photos, gallery=gallery, runtime=toy_runtime)
    assert (report.added_count, report.replaced_count, report.dropped_count, report.unchanged_count) == (3, 1, 1, 2)
    age(photos)
    (tmp_path / "elsewhere.png").write_bytes((photos / "3.png").read_bytes())
    (photos / "3.png").unlink()
    (photos / "3.png").symlink_to(tmp_path / "elsewhere.png")
    report = index(photos, gallery=gallery, runtime=toy_runtime)
    assert (report.dropped_count, report.unchanged_count) == (1, 4)
    assert [failure.kind for failure in report.failures] == ["link_outside"]


def test_a_folder_that_was_a_manifest_before_is_indexed_by_its_own_facts(photos, toy_run, toy_runtime, tmp_path):
    gallery = tmp_path / "gallery"
    write_manifest(
        [Item(path.name, Medium.IMAGE, path=path, class_name="Gull") for path in sorted(photos.iterdir())],
        tmp_path / "photos.csv",
    )
    index(tmp_path / "photos.csv", checkpoint=toy_run, gallery=gallery, set_name="photos", runtime=toy_runtime)
    report = index(photos, gallery=gallery, set_name="photos", runtime=toy_runtime)
    assert (report.corrected_count, report.unchanged_count) == (4, 0)
    assert index(photos, gallery=gallery, runtime=toy_runtime).unchanged_count == 4


def test_content_that_changed_behind_its_times_is_found_where_asked(photos, toy_run, toy_runtime, tmp_path):
    gallery = tmp_path / "gallery"
    index(photos, checkpoint=toy_run, gallery=gallery, runtime=toy_runtime)
    facts = (photos / "0.png").stat()
    content = bytearray((photos / "0.png").read_bytes())
    (photos / "0.png").write_bytes(content[:-12] + bytes(12))  # the same size
    os.utime(photos / "0.png", ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert index(photos, gallery=gallery, runtime=toy_runtime).unchanged_count == 4
    assert index(photos, gallery=gallery, verify_content=True, runtime=toy_runtime).unchanged_count == 3


def test_a_damaged_list_of_files_only_costs_time(photos, toy_run, toy_runtime, tmp_path):
    gallery = tmp_path / "gallery"
    index(photos, checkpoint=toy_run, gallery=gallery, runtime=toy_runtime)
    (gallery / "files.parquet").write_bytes(b"PAR1 no more")
    assert index(photos, gallery=gallery, runtime=toy_runtime).unchanged_count == 4


def test_a_corrected_label_or_license_embeds_nothing(toy_items, toy_run, toy_runtime, make_reporter, tmp_path):
    items = [next(i for i in toy_items if i.medium is medium) for medium in Medium]
    write_manifest(items, tmp_path / "some.csv")
    index(tmp_path / "some.csv", checkpoint=toy_run, gallery=tmp_path / "gallery", runtime=toy_runtime)
    before = LanceIndex.open(tmp_path / "gallery" / "segments").embeddings()
    write_manifest(
        [replace(item, class_name="Corrected", license="CC0", source=None) for item in items], tmp_path / "some.csv"
    )
    reporter = make_reporter()
    runtime = Runtime(cache=None, device="cpu", reporter=reporter)
    report = index(tmp_path / "some.csv", gallery=tmp_path / "gallery", runtime=runtime)
    assert (report.added_count, report.replaced_count, report.corrected_count) == (0, 0, 4)
    assert "embed" not in reporter.done
    after = LanceIndex.open(tmp_path / "gallery" / "segments").embeddings()
    assert {(item.class_name, item.license, item.source) for item in after.items} == {("Corrected", "CC0", None)}
    assert (after.embedding == before.embedding).all()
    assert index(tmp_path / "some.csv", gallery=tmp_path / "gallery", runtime=runtime).unchanged_count == 4


def test_a_set_is_removed_with_all_it_holds(photos, toy_gallery, toy_runtime, tmp_path):
    gallery = shutil.copytree(toy_gallery, tmp_path / "gallery")
    index(photos, gallery=gallery, runtime=toy_runtime)
    with pytest.raises(GalleryError, match="Did you mean 'photos'"):
        remove_set(gallery, "photo", runtime=toy_runtime)
    removal = remove_set(gallery, "photos", runtime=toy_runtime)
    assert (removal.removed_count, removal.item_count) == (4, 72)
    assert "photos" not in read_sets(gallery)
    assert "removed the set 'photos' with 4 items" in removal.to_text()
    opened = Gallery.open(gallery, runtime=toy_runtime)
    assert not opened.index.content_hashes(Filter(set_names=frozenset({"photos"})))
    assert opened.calibration == Gallery.open(toy_gallery, runtime=toy_runtime).calibration
    assert index(photos, gallery=gallery, runtime=toy_runtime).added_count == 4


@pytest.mark.parametrize("noun", ["class", "set", "license"])
def test_a_filter_that_names_nothing_names_the_nearest(toy_gallery, toy_runtime, noun):
    opened = Gallery.open(toy_gallery, runtime=toy_runtime)
    [count, *_] = opened.index.counts()
    known = {"class": count.class_name, "set": count.set_name, "license": count.license or ""}[noun]
    field = {"class": "class_names", "set": "set_names", "license": "licenses"}[noun]
    nearest = f"Did you mean '{known}'" if known else "it has"
    with pytest.raises(RequestError, match=nearest):
        # A license is known in any spelling: with a letter more it is still the same.
        opened.check_names(Filter(**{field: frozenset({known[1:] if noun == "license" else known + "x"})}))


def test_odd_names_are_indexed_and_searched_for(photos, toy_run, toy_runtime, tmp_path):
    names = ["a*b.png", "two\nlines.png", "it's.png", "tab\t.png", '"q".png', "\u00fcml\u00e4ut.png", "%2e%2e.png"]
    try:
        for name in names:
            shutil.copy(photos / "0.png", photos / name)
    except OSError:
        pytest.skip("this system has no such names")
    index(photos, checkpoint=toy_run, gallery=tmp_path / "gallery", runtime=toy_runtime)
    opened = Gallery.open(tmp_path / "gallery", runtime=toy_runtime)
    assert opened.index.content_hashes().keys() >= set(names)
    save_class(opened.folder, opened.index, class_name="Odd", item_ids=names)
    assert {hit.item_id for hit in opened.search("odd", k=20).hits if hit.class_name == "Odd"} == set(names)


def test_a_file_whose_name_is_no_text_is_left_out_by_name(photos, toy_run, toy_runtime, tmp_path):
    try:
        shutil.copy(photos / "0.png", os.fsencode(photos) + b"/\xff.png")
    except OSError:
        pytest.skip("this system has no such names")
    report = index(photos, checkpoint=toy_run, gallery=tmp_path / "gallery", runtime=toy_runtime)
    assert [(failure.item_id, failure.kind) for failure in report.failures] == [("\ufffd.png", "unreadable")]


def test_an_argument_that_is_no_text_is_refused(monkeypatch, capsys):
    from fieldmark.cli.app import main

    monkeypatch.setattr(sys, "argv", ["fieldmark", "search", "caf\udce9", "--gallery", "x"])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 1
    assert "not UTF-8" in capsys.readouterr().err
    assert ConfigError.kind == "config"


def test_a_query_in_letters_that_nobody_knows_is_told(toy_gallery, toy_runtime):
    opened = Gallery.open(toy_gallery, runtime=toy_runtime)
    with pytest.raises(ValueError, match="letters that the text encoder does not know"):
        opened.search(Item("query", Medium.TEXT, text="\u043a\u0440\u0430\u0441\u043d\u044b\u0439"))


@pytest.mark.slow
@pytest.mark.parametrize("step", [65, 130, 200])
def test_classes_survive_a_kill_in_a_set_of_several_blocks(toy_items, toy_run, toy_runtime, run_killed, tmp_path, step):
    texts = [Item(f"note {n}", Medium.TEXT, text=f"bird number {n}") for n in range(220)]
    manifest, gallery = tmp_path / "notes.csv", tmp_path / "gallery"
    write_manifest(texts, manifest)
    index(manifest, checkpoint=toy_run, gallery=gallery, runtime=toy_runtime)
    store = LanceIndex.open(gallery / "segments")
    marked = [f"note {n}" for n in (0, 70, 140, 219)]
    save_class(gallery, store, class_name="Mine", item_ids=marked)
    # Every text gets another content and comes back under another name: all are embedded again.
    renamed = [replace(item, item_id=f"page {n}") for n, item in enumerate(texts)]
    write_manifest(renamed, manifest)
    run_killed("index", str(manifest), str(toy_run), str(gallery), "allow_drop", at=("embed", step))
    labelled = {s.item.item_id for s in store.items(limit=1_000) if s.item.class_name == "Mine"}
    assert labelled >= set(marked)  # nothing that was there has lost its class
    report = index(manifest, checkpoint=toy_run, gallery=gallery, allow_drop=True, runtime=toy_runtime)
    assert report.unchanged_count == step // 64 * 64
    labelled = {s.item.item_id for s in store.items(limit=1_000) if s.item.class_name == "Mine"}
    assert labelled == {name.replace("note", "page") for name in marked}
