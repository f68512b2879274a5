"""The page of an evaluation: whole in itself, complete, and honest about what it cannot show."""

import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from fieldmark import Medium
from fieldmark.data.shards import EmbeddingsWriter, read_content_hashes, read_embeddings
from fieldmark.evaluation.protocol import Settings
from fieldmark.workflows.evaluate import measure_folder, write_report


class Page(HTMLParser):
    """Tags, ids, text, and the data that the page's script reads."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.scripts: list[str] = []
        self.feed(html)
        self.data = json.loads(self.scripts[0])

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "link", "input", "br", "img"}:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)
        elif not self.open or self.open[-1] != "style":
            self.text += data


@pytest.fixture(scope="module")
def written(toy_embeddings, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(measure_folder(toy_embeddings, settings=Settings()), path, title="Toy <birds>")
    return path


@pytest.fixture(scope="module")
def page(written) -> Page:
    return Page(written.read_text(encoding="utf-8"))


def test_the_page_needs_nothing_beside_itself(page, written):
    assert page.open == []
    for tag, attributes in page.tags:
        for name in ("src", "href", "poster", "data", "action"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:")), (tag, name, value)
    html = written.read_text(encoding="utf-8")
    assert not re.search(r"https?://|//cdn|@import|url\(|fetch\(|XMLHttpRequest", html)
    assert "{{" not in html


def test_the_page_shows_every_task_with_protocol_counts_and_caveats(page):
    assert "Toy <birds>" in page.text
    for task in ("I→T", "T→All", "A→V", "V→A"):
        assert page.text.count(task) >= 3
    assert "protocol strict" in page.text
    assert "FGCrossNet" in page.text
    assert "almost surely exchanged in print" in page.text
    assert "Different test items" in page.text
    assert "items sha256" in page.text


def test_the_links_of_the_page_lead_somewhere(page):
    ids = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    links = [attributes["href"][1:] for tag, attributes in page.tags if tag == "a"]
    assert len(links) == 9
    assert set(links) <= ids


def test_every_item_on_the_page_can_be_shown(page):
    rows = {attributes["data-row"] for tag, attributes in page.tags if "data-row" in attributes}
    marked = {str(point["row"]) for point in page.data["map"]}
    assert rows | marked == set(page.data["items"])
    assert len(marked) == sum(1 for _ in page.data["map"])
    assert all(0 <= point[axis] <= 1 for point in page.data["map"] for axis in "xy")
    for item in page.data["items"].values():
        assert "problem" not in item
        assert item["medium"] in {"image", "text", "video", "audio"}
        assert "text" in item if item["medium"] == "text" else item["picture"].startswith("data:image/jpeg;base64,")
    shown = [page.data["items"][row] for row in rows]
    assert {item["medium"] for item in shown} == set(Medium)
    assert all("sound" in item for item in shown if item["medium"] == "audio")
    assert all("clip" in item for item in shown if item["medium"] == "video")


def test_the_page_says_why_an_item_cannot_be_shown(toy_embeddings, tmp_path):
    embeddings, info = read_embeddings(toy_embeddings)
    items = {
        item.item_id: replace(item, path=tmp_path / "gone.jpg") if item.medium is Medium.IMAGE else item
        for item in embeddings.items
    }
    writer = EmbeddingsWriter(tmp_path / "moved", fingerprint=info.fingerprint)
    moved = replace(embeddings, items=tuple(items[item.item_id] for item in embeddings.items))
    writer.add(moved, content_hash_by_item_id=read_content_hashes(toy_embeddings))
    writer.finish(class_names=info.class_names)
    write_report(measure_folder(tmp_path / "moved", settings=Settings()), tmp_path / "report.html")
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    problems = [item["problem"] for item in page.data["items"].values() if item["medium"] == "image"]
    assert problems
    assert all("There is no file" in problem for problem in problems)


def test_names_from_outside_are_text_on_the_page(toy_embeddings, tmp_path):
    embeddings, info = read_embeddings(toy_embeddings)
    script = "</script><script>alert(1)</script>"
    items = {
        item.item_id: replace(item, class_name=f"{item.class_name}{script}", extra=(("origin", f"pseudo_{script}"),))
        for item in embeddings.items
    }
    writer = EmbeddingsWriter(tmp_path / "hostile", fingerprint=info.fingerprint)
    hostile = replace(embeddings, items=tuple(items[item.item_id] for item in embeddings.items))
    writer.add(hostile, content_hash_by_item_id=read_content_hashes(toy_embeddings))
    writer.finish(class_names=info.class_names)
    write_report(measure_folder(tmp_path / "hostile", settings=Settings()), tmp_path / "report.html")
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert sum(tag == "script" for tag, _ in page.tags) == 2
    assert f"of origin 'pseudo_{script}'" in page.text


@pytest.mark.slow
def test_a_browser_fills_the_page_without_a_network(written, tmp_path):
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("there is no browser here")
    options = [
        *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
        *(f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=5000", "--dump-dom", written.as_uri()),
    ]
    done = subprocess.run([browser, *options], capture_output=True, text=True, check=True, timeout=120)  # noqa: S603
    tiles = re.findall(r'<figure class="tile[^>]*data-row[^>]*>(<\w+)', done.stdout)
    assert len(tiles) > 20
    assert set(tiles) == {"<img", "<video", "<blockquote"}
    assert re.search(r'<canvas id="map"[^>]*style="height: [1-9]', done.stdout)
