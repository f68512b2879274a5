"""Hooks of mkdocs.yml: pages that are made from the repository, so that nothing is listed twice."""

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.pages import Page

from fieldmark import _HOME_OF

ROOT = Path(__file__).parents[1]
HELP_FOLDER = "tests/cli/help"
_LISTED = {"Results": "results", "Decisions": "decisions"}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add what the navigation does not name: further guides, the results and the decisions."""
    docs = Path(config["docs_dir"])
    how_to = next(section["How to"] for section in config["nav"] if "How to" in section)
    named = {path for section in config["nav"] for pages in section.values() for path in _list_paths(pages)}
    how_to += [
        {_read_title(page): f"guides/{page.name}"}
        for page in sorted((docs / "guides").glob("*.md"))
        if f"guides/{page.name}" not in named
    ]
    for title, folder in _LISTED.items():
        pages = sorted((docs / folder).glob("*.md"))
        config["nav"].append({title: [{_read_title(page): f"{folder}/{page.name}"} for page in pages]})
    return config


def on_page_markdown(markdown: str, *, page: Page, **_: object) -> str:
    """Fill the two pages of reference."""
    match page.file.src_uri:
        case "reference/commands.md":
            return markdown + "\n".join(_list_commands())
        case "reference/python.md":
            return markdown + "\n".join(_list_names())
    return markdown


def _list_commands() -> list[str]:
    names = sorted(path.stem for path in (ROOT / HELP_FOLDER).glob("*.txt"))
    names.sort(key=lambda name: name != "fieldmark")
    lines = []
    for name in names:
        text = (ROOT / HELP_FOLDER / f"{name}.txt").read_text(encoding="utf-8").strip()
        command = text.removeprefix("Usage: ").partition(" [")[0]
        lines += ["", f"## {command}", "", "```text", text, "```"]
    return lines


def _list_names() -> list[str]:
    return [
        f"\n::: fieldmark.{home}.{name}\n" for name, home in sorted(_HOME_OF.items(), key=lambda each: each[0].lower())
    ]


def _list_paths(pages: str | list[dict[str, str]]) -> list[str]:
    return [pages] if isinstance(pages, str) else [path for page in pages for path in page.values()]


def _read_title(page: Path) -> str:
    return page.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")
