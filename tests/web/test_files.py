"""The page's files, read and not run: small, all there, nothing from elsewhere, nothing taken as HTML."""

import re
from pathlib import Path

import pytest

import fieldmark

FOLDER = Path(fieldmark.__file__).parent / "web"
FILES = sorted(FOLDER.iterdir())
SCRIPTS = [path for path in FILES if path.suffix == ".js"]
TAKES_HTML = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_file_of_the_page_is_small_and_names_nothing_elsewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 500
    addresses = set(re.findall(r"https?://[\w.]+", text))
    assert addresses <= {"http://www.w3.org"}  # the name of SVG, which no browser fetches


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_takes_nothing_as_html_and_imports_what_is_there(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert TAKES_HTML.search(text) is None
    for names, other in re.findall(r'import \{ ([^}]+) \} from "\./([\w.]+)"', text):
        exported = (FOLDER / other).read_text(encoding="utf-8")
        for name in names.split(", "):
            assert re.search(rf"export (async )?(function|const|class) {name}\b", exported), f"{other} has no {name}"
            assert len(re.findall(rf"\b{name}\b", text)) > 1, f"{name} is imported for nothing"


def test_every_icon_that_is_named_is_drawn() -> None:
    drawn = set(re.findall(r'id="icon-(\w+)"', (FOLDER / "index.html").read_text(encoding="utf-8")))
    scripts = "".join(path.read_text(encoding="utf-8") for path in SCRIPTS)
    named = set(re.findall(r'\b(?:icon|button)\("(\w+)"', scripts)) | {"image", "text", "video", "audio"}
    assert named <= drawn


def test_index_names_files_that_are_there() -> None:
    text = (FOLDER / "index.html").read_text(encoding="utf-8")
    named = re.findall(r'(?:src|href)="([\w-]+\.\w+)"', text)
    assert {"app.js", "style.css", "parts.css", "icon.svg"} <= set(named)
    assert all((FOLDER / name).is_file() for name in named)


def test_every_text_of_the_page_has_a_german_one() -> None:
    table = dict(
        re.findall(r'^  "((?:[^"\\]|\\.)*)": "((?:[^"\\]|\\.)*)",$', (FOLDER / "german.js").read_text("utf-8"), re.M)
    )
    said = set()
    for path in SCRIPTS:
        for inside in re.findall(r'\bt\(((?:[^()"]|"(?:[^"\\]|\\.)*")*?)[,)]', path.read_text(encoding="utf-8")):
            said |= set(re.findall(r'"((?:[^"\\]|\\.)*)"', inside))
    said |= set(re.findall(r"data-t>([^<]+)<", (FOLDER / "index.html").read_text(encoding="utf-8")))
    assert len(said) > 150
    assert said - set(table) == set()
    slots = re.compile(r"\{\w+\}")
    assert [text for text, other in table.items() if set(slots.findall(text)) < set(slots.findall(other))] == []
