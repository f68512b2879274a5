"""The page of an evaluation: what was measured, and what it was made from, in one HTML file."""

from collections.abc import Iterator
from pathlib import Path

from fieldmark._version import __version__
from fieldmark.evaluation.published import read_published
from fieldmark.io import write_text
from fieldmark.reports.page import render_page
from fieldmark.types import Reporter, SilentReporter
from fieldmark.workflows.evaluate import MeasuredFolder
from fieldmark.workflows.receipt import digest_items, hash_items


def write_report(
    measured: MeasuredFolder, path: Path, *, title: str | None = None, reporter: Reporter | None = None
) -> None:
    """Writes the page of an evaluation, whole or not at all; media that cannot be read are said, not hidden.

    Args:
        title: None takes the names of the run and of the folder.
    """
    folder = measured.folder.resolve()
    page = render_page(
        measured.measurement,
        title=title or f"{folder.parent.name}/{folder.name}",
        published=read_published(),
        facts=tuple(_facts(measured)),
        reporter=reporter or SilentReporter(),
    )
    write_text(path, page)


def _facts(measured: MeasuredFolder) -> Iterator[tuple[str, str]]:
    """What the numbers were made from, as far as the folder tells."""
    info, settings = measured.info, measured.settings
    yield "fieldmark", __version__
    yield "made by", ", ".join(f"{name} {version}" for name, version in info.versions.items())
    yield "model", f"{info.fingerprint}, {info.dim} dimensions"
    for name in ("checkpoint", "manifest", "manifest_sha256", "split"):
        if name in info.facts:
            yield name.replace("_", " "), str(info.facts[name])
    yield "items sha256", hash_items(measured, digest_items(measured))
    yield "bootstrap seed", str(settings.seed)
    config = info.facts.get("config")
    if isinstance(config, dict) and "seed" in config:
        yield "training seed", str(config["seed"])
