"""The page of findings, and the cleaned manifest."""

import csv
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from fieldmark import check, read_manifest
from fieldmark.datasets.check import write_clean, write_findings
from fieldmark.io import encode_report
from fieldmark.reports.findings_page import Finding, FindingGroup, write_findings_page
from fieldmark.types import Item, Medium


@pytest.fixture
def planted(toy_items, broken, tmp_path):
    """Faults of every medium, one of each finding that shows media."""
    from fieldmark import Split, write_manifest

    firsts = {medium: next(i for i in toy_items if i.medium is medium and i.path) for medium in Medium}
    copies = [
        replace(item, item_id=f"<{medium}>", group=None, split=Split.TRAIN if item.split is Split.TEST else Split.TEST)
        for medium, item in firsts.items()
    ]
    write_manifest([*toy_items, *copies, *broken.make(Split.TRAIN)], tmp_path / "planted.csv")
    return tmp_path / "planted.csv"


def test_page_shows_each_medium_and_needs_nothing_else(planted, tmp_path):
    report = check(planted)
    write_findings(report, tmp_path / "sub" / "page.html", title="birds & <bees>")
    page = (tmp_path / "sub" / "page.html").read_text(encoding="utf-8")
    tags: list[tuple[str, dict[str, str | None]]] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attrs):
            tags.append((tag, dict(attrs)))

    Reader().feed(page)
    sources = [attributes["src"] for _, attributes in tags if "src" in attributes]
    assert {tag for tag, _ in tags} >= {"img", "audio", "video", "blockquote", "figure", "details"}
    assert all(source.startswith("data:") for source in sources)
    assert "http" not in page
    assert "birds &amp; &lt;bees&gt;" in page
    assert "&lt;image&gt;" in page
    assert all(f"{problem.severity}: {problem.kind}" in page for problem in report.problems)
    links = {attributes["href"] for tag, attributes in tags if tag == "a"} - {"#overview"}
    assert links == {f"#{attributes['id']}" for tag, attributes in tags if tag == "details"}


def test_page_shows_items_of_each_split(toy_items, tmp_path):
    from fieldmark import Split, write_manifest

    text = next(item for item in toy_items if item.medium is Medium.TEXT)
    splits = [Split.TRAIN] * 6 + [Split.TEST]
    same = [replace(text, item_id=f"t{place}", group="page", split=split) for place, split in enumerate(splits)]
    write_manifest(same, tmp_path / "same.csv")
    write_findings(check(tmp_path / "same.csv"), tmp_path / "page.html", title="same")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<figcaption>t0<br>" in page
    assert "<figcaption>t6<br>" in page
    assert "and 3 more" in page


def test_write_clean_leaves_a_set_without_errors_and_tells_every_change(planted, tmp_path):
    report = check(planted)
    cleaned = write_clean(report, tmp_path / "clean.csv")
    with (tmp_path / "clean.changes.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(cleaned.changes) > 5
    assert all(row["detail"] and row["action"] in ("dropped", "moved") for row in rows)
    assert len(read_manifest(tmp_path / "clean.csv")) == len(cleaned.items) < report.item_count
    assert not check(tmp_path / "clean.csv").has_errors


def test_check_again_decodes_nothing(toy_manifest, tmp_path, make_reporter, monkeypatch):
    first = check(toy_manifest, cache=tmp_path)
    reporter = make_reporter(stop_at=("check", 1))
    again = check(toy_manifest, cache=tmp_path, reporter=reporter)
    assert encode_report(again) == encode_report(first)
    assert reporter.done["check"] == 72


def write_page(out, items):
    """Write a page with one finding for each item."""
    findings = tuple(Finding("odd", (item.item_id,), (item,)) for item in items)
    group = FindingGroup("duplicate", "warning", "duplicates", findings)
    write_findings_page(out, title="x", summary="x", counts={}, groups=[group])
    return out.read_text(encoding="utf-8")


def test_page_shows_twenty_findings_of_each_medium(toy_items, tmp_path):
    texts = [Item(f"t{number}", Medium.TEXT, text=f"bird {number}") for number in range(22)]
    photo = next(item for item in toy_items if item.medium is Medium.IMAGE)
    page = write_page(tmp_path / "page.html", [*texts, replace(photo, item_id="photo")])
    assert "<figcaption>t19" in page
    assert "<figcaption>t20" not in page
    assert "<figcaption>photo" in page


def test_page_plays_small_videos_until_it_is_full(toy_items, tmp_path):
    clip = next(item for item in toy_items if item.medium is Medium.VIDEO).path.read_bytes()
    (tmp_path / "small.mp4").write_bytes(clip + bytes(2**20 - len(clip)))
    (tmp_path / "large.mp4").write_bytes(clip + bytes(2**20))
    large = Item("large", Medium.VIDEO, path=tmp_path / "large.mp4")
    assert "<video" not in write_page(tmp_path / "page.html", [large])
    small = tuple(Item(f"small{number}", Medium.VIDEO, path=tmp_path / "small.mp4") for number in range(4))
    group = FindingGroup("duplicate", "warning", "duplicates", (Finding("odd", (), small),) * 10)
    write_findings_page(tmp_path / "page.html", title="x", summary="x", counts={}, groups=[group])
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count("<video") == 29  # of 1.34 MiB each, as text
    assert page.count("<figcaption>small") == 40
