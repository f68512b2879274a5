"""The commands `fieldmark data ...`: make and check manifests."""

from pathlib import Path
from typing import Annotated

import typer

from fieldmark.cli.terminal import Json, Manifest, Quiet, TerminalReporter, print_line, print_result

data_app = typer.Typer(help="Make and check manifests.", no_args_is_help=True, rich_markup_mode=None)


@data_app.command("check")
def data_check(
    manifest: Manifest,
    *,
    workers: Annotated[int, typer.Option("--workers", min=1, help="processes that decode")] = 2,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Decode every item and list what is broken, duplicated or stands in both splits; exit 1 if there are errors."""
    from fieldmark.curation.check import check

    with TerminalReporter(quiet=quiet) as reporter:
        report = check(manifest, workers=workers, reporter=reporter)
    print_result(report.to_json(), report.to_text(), as_json=as_json)
    if report.has_errors:
        raise typer.Exit(1)


@data_app.command("synthesize")
def data_synthesize(
    *,
    out: Annotated[Path, typer.Option("--out", help="folder to make", show_default=False)],
    classes: Annotated[int, typer.Option("--classes", min=2, help="species")] = 20,
    items_per_medium: Annotated[
        int, typer.Option("--items-per-medium", min=4, help="items of each species and medium")
    ] = 20,
    seed: Annotated[int, typer.Option("--seed", help="the same seed makes the same birds")] = 0,
    quiet: Quiet = False,
) -> None:
    """Make a synthetic aviary: drawn birds and clips, synthesized songs, written descriptions, and their manifest."""
    from fieldmark.aviary.synthesis import synthesize

    with TerminalReporter(quiet=quiet) as reporter:
        manifest = synthesize(out, class_count=classes, items_per_medium=items_per_medium, seed=seed, report=reporter)
    print_line(str(manifest))
