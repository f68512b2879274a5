"""The site of the documentation: every link leads somewhere, nothing comes from elsewhere, all words are there."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
SOURCE = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "src").rglob("*.py")))
JOINED = re.sub(r'"\s*\n\s*(?:#[^\n]*\n\s*)?f?"', "", SOURCE)
"""The source with texts over several lines joined."""
OF_THE_SHELL = {"fieldmark: command not found"}


def read_messages():
    """The messages that troubleshooting has headings for."""
    text = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    return re.findall(r"^### `(.+)`$", text, re.MULTILINE)


def test_messages_of_troubleshooting_are_those_of_the_program():
    messages = read_messages()
    assert len(messages) >= 15
    files = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.js"))
    missing = [each for each in messages if each not in OF_THE_SHELL and each not in JOINED and each not in files]
    assert missing == []


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "SECURITY.md", "README.md", "ARCHITECTURE.md", "docs/index.md"])
def test_files_that_a_text_names_are_there(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    links = [link.partition("#")[0] for link in re.findall(r"\]\((?!https?:)([^)]+)\)", text)]
    assert [link for link in links if link and not ((ROOT / page).parent / link).exists()] == []


class PageParser(HTMLParser):
    """Collects what a page loads, and whether its pictures have a text."""

    def __init__(self):
        super().__init__()
        self.loaded, self.without_text = [], []

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if tag in {"script", "img", "iframe", "source", "video", "audio"} and values.get("src"):
            self.loaded.append(values["src"])
        if tag == "link" and values.get("rel") in {"stylesheet", "preconnect", "preload", "icon"}:
            self.loaded.append(values["href"])
        if tag == "img" and not values.get("alt"):
            self.without_text.append(values.get("src"))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("mkdocs", reason="needs the extra `docs`")
    pytest.importorskip("material", reason="needs the extra `docs`")
    import logging

    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    folder = tmp_path_factory.mktemp("site")
    warnings = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: warnings.append(record.getMessage())
    logging.getLogger("mkdocs").addHandler(handler)
    try:
        config = load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder))
        config.plugins.on_startup(command="build", dirty=False)
        build(config)
    finally:
        logging.getLogger("mkdocs").removeHandler(handler)
    return folder, warnings


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_site_is_built_without_a_warning(site):
    _, warnings = site
    assert warnings == []


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_site_loads_nothing_from_elsewhere(site):
    folder, _ = site
    pages = sorted(folder.rglob("*.html"))
    assert len(pages) > 60
    for page in pages:
        parser = PageParser()
        parser.feed(page.read_text(encoding="utf-8"))
        foreign = [each for each in parser.loaded if re.match(r"(https?:)?//", each)]
        assert foreign == [], page
        assert parser.without_text == [], page
    for style in folder.rglob("*.css"):
        assert re.findall(r"url\(\s*['\"]?(?:https?:)?//", style.read_text(encoding="utf-8")) == [], style


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_site_has_every_command_name_and_guide(site):
    folder, _ = site
    commands = (folder / "reference" / "commands.html").read_text(encoding="utf-8")
    helps = sorted((ROOT / "tests" / "cli" / "help").glob("*.txt"))
    usages = [path.read_text(encoding="utf-8").removeprefix("Usage: ").partition(" [")[0] for path in helps]
    assert [usage for usage in usages if f"{usage}</h2>" not in re.sub(r"<a [^>]*>.*?</a>", "", commands)] == []
    import fieldmark

    python = (folder / "reference" / "python.html").read_text(encoding="utf-8")
    homes = fieldmark._HOME_OF
    assert [name for name, home in homes.items() if f'id="fieldmark.{home}.{name}"' not in python] == []
    guides = {path.with_suffix(".html").name for path in (DOCS / "guides").glob("*.md")}
    home = (folder / "index.html").read_text(encoding="utf-8")
    assert [guide for guide in guides if f"guides/{guide}" not in home] == []


ROADS = [
    "README.md",
    *sorted(f"docs/{path.relative_to(DOCS)}" for path in [*DOCS.glob("*.md"), *DOCS.glob("guides/*.md")]),
]


@pytest.mark.parametrize("page", ROADS)
def test_commands_are_the_same_in_every_shell(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^ *```bash\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    lines = [line.strip().partition("  #")[0] for block in blocks for line in block.splitlines()]
    commands = [line for line in lines if line.startswith(("fieldmark", "pip", "python "))]
    # Single quotes, home folders and lines that go on are read in other ways by the shells of Windows.
    assert [
        line for line in commands if re.search(r"'|~/|\\$|\$[A-Z(]", line.replace("[{kind='classification'}]", ""))
    ] == []
    assert not re.search(r"^ *\.venv/bin/", "\n".join(lines), re.MULTILINE)
