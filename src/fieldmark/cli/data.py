"""The commands `fieldmark data ...`: make and check manifests."""

from pathlib import Path
from typing import Annotated

import typer

from fieldmark.cli.terminal import Json, Manifest, Quiet, TerminalReporter, parse_pairs, print_line, print_result

data_app = typer.Typer(help="Make and check manifests.", no_args_is_help=True, rich_markup_mode=None)
import_app = typer.Typer(help="Make a manifest of a known layout.", no_args_is_help=True, rich_markup_mode=None)
data_app.add_typer(import_app, name="import")

Out = Annotated[Path, typer.Option("--out", help="manifest to write, .csv or .parquet", show_default=False)]
TaxonomyPath = Annotated[
    Path | None, typer.Option("--taxonomy", help="CSV of classes whose other names are read as the class's own")
]

# A backspace tells the command line to keep the lines as they are.
EXPORTS = """\b
How some exports are read:
  iNaturalist: --column path='photos/{id}.*' --column class_name=scientific_name
  xeno-canto:  --column path='XC{id}.*' --column class_name='{gen} {sp}'
  Macaulay:    --column path='{ML Catalog Number}.*' --column class_name='Common Name'"""


@import_app.command("pku")
def import_pku(
    source: Annotated[Path, typer.Argument(help="folder that holds list/ of PKU FG-XMedia", show_default=False)],
    *,
    out: Out,
    media: Annotated[
        Path | None, typer.Option("--media", help="folder that paths in the lists begin from; default SOURCE")
    ] = None,
    taxonomy: TaxonomyPath = None,
    as_json: Json = False,
) -> None:
    """Read the list files of PKU FG-XMedia, with the media at hand or without."""
    from fieldmark.datasets.importing import import_lists

    report = import_lists(source, out=out, media=media, taxonomy=taxonomy)
    print_result(report.to_json(), report.to_text(), as_json=as_json)


@import_app.command("folders")
def import_folders(
    source: Annotated[
        Path, typer.Argument(help="folder of medium/class/file, class/file, or files", show_default=False)
    ],
    *,
    out: Out,
    taxonomy: TaxonomyPath = None,
    as_json: Json = False,
) -> None:
    """Read folders of media files: the medium by content, the class by folder."""
    from fieldmark.datasets.importing import import_folder

    report = import_folder(source, out=out, taxonomy=taxonomy)
    print_result(report.to_json(), report.to_text(), as_json=as_json)


@import_app.command("csv", epilog=EXPORTS)
def import_csv(
    source: Annotated[Path, typer.Argument(help="table with a header: CSV, TSV or Parquet", show_default=False)],
    *,
    out: Out,
    columns: Annotated[
        list[str] | None,
        typer.Option(
            "--column",
            metavar="COLUMN=NAME",
            help="read a column of ours from one of the table, or join several: class_name='{genus} {species}', "
            "path='{id}.*'; may be repeated",
        ),
    ] = None,
    values: Annotated[
        list[str] | None,
        typer.Option("--value", metavar="COLUMN=TEXT", help="what every row has there, such as medium=audio"),
    ] = None,
    media: Annotated[
        Path | None, typer.Option("--media", help="folder that paths begin from; default that of the table")
    ] = None,
    taxonomy: TaxonomyPath = None,
    as_json: Json = False,
) -> None:
    """Read any table, such as an export of iNaturalist, xeno-canto or Macaulay."""
    pairs = [parse_pairs(columns, option="--column"), parse_pairs(values, option="--value")]
    from fieldmark.datasets.importing import import_csv

    report = import_csv(source, out=out, columns=pairs[0], values=pairs[1], media=media, taxonomy=taxonomy)
    print_result(report.to_json(), report.to_text(), as_json=as_json)


@data_app.command("check")
def data_check(
    manifest: Manifest,
    *,
    workers: Annotated[int, typer.Option("--workers", min=1, help="processes that decode")] = 2,
    report: Annotated[Path | None, typer.Option("--report", help="write the findings as one HTML page")] = None,
    clean: Annotated[
        Path | None,
        typer.Option("--write-clean", help="write a manifest without the faults, and what was changed beside it"),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Decode every item and list what is broken, repeated or stands in two splits; exit 1 if there are errors.

    What was decoded is kept in the cache, so that a second check decodes only what is new.
    """
    from fieldmark.datasets.check import check, write_clean
    from fieldmark.datasets.page import write_page
    from fieldmark.runtime import Runtime

    with TerminalReporter(quiet=quiet) as reporter:
        found = check(manifest, workers=workers, cache=Runtime.from_environment().cache, reporter=reporter)
        if report is not None:
            write_page(found, report, title=manifest.name)
            reporter.say(f"{report}: the findings as a page")
        if clean is not None:
            mended = write_clean(found, clean)
            reporter.say(f"{clean}: {len(mended.items):,} items, {len(mended.changes):,} rows dropped or moved")
    print_result(found.to_json(), found.to_text(), as_json=as_json)
    if found.has_errors:
        raise typer.Exit(1)


@data_app.command("split")
def data_split(
    manifest: Manifest,
    *,
    out: Out,
    validation: Annotated[float, typer.Option("--validation", min=0, max=1, help="share of the items")] = 0.1,
    test: Annotated[float, typer.Option("--test", min=0, max=1, help="share of the items")] = 0.3,
    unseen_classes: Annotated[
        int, typer.Option("--unseen-classes", min=0, help="classes, drawn by chance, only for testing")
    ] = 0,
    seed: Annotated[int, typer.Option("--seed", help="the same seed makes the same splits")] = 0,
    as_json: Json = False,
) -> None:
    """Give every item a split, by class and medium, never through a group; what is not for testing is to train."""
    from fieldmark.datasets.splitting import split

    report = split(manifest, out=out, validation=validation, test=test, unseen_classes=unseen_classes, seed=seed)
    print_result(report.to_json(), report.to_text(), as_json=as_json)


@data_app.command("describe")
def data_describe(
    manifest: Manifest,
    *,
    datasheet: Annotated[Path | None, typer.Option("--datasheet", help="write a datasheet in Markdown")] = None,
    workers: Annotated[int, typer.Option("--workers", min=1, help="processes that decode")] = 2,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Count classes, media, splits, groups and licenses, and measure how long the items are."""
    from fieldmark.datasets.describe import describe, write_datasheet
    from fieldmark.runtime import Runtime

    with TerminalReporter(quiet=quiet) as reporter:
        found = describe(manifest, workers=workers, cache=Runtime.from_environment().cache, reporter=reporter)
    if datasheet is not None:
        write_datasheet(found, datasheet)
    print_result(found.to_json(), found.to_text(), as_json=as_json)


@data_app.command("build")
def data_build(
    manifest: Manifest,
    *,
    out: Annotated[Path, typer.Option("--out", help="folder to make", show_default=False)],
    longest_seconds: Annotated[
        float, typer.Option("--longest-seconds", help="longer recordings are cut, into at most this")
    ] = 10.0,
    longest_words: Annotated[int, typer.Option("--longest-words", help="longer texts are cut, into at most this")] = 80,
    frames: Annotated[int, typer.Option("--frames", help="taken of each video, before noise is left out")] = 25,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Cut raw media into items: stretches of sound, frames of videos, passages; each keeps its group and its place."""
    from fieldmark.datasets.building import build_items

    with TerminalReporter(quiet=quiet) as reporter:
        report = build_items(
            manifest,
            out=out,
            longest_seconds=longest_seconds,
            longest_words=longest_words,
            frame_count=frames,
            reporter=reporter,
        )
    print_result(report.to_json(), report.to_text(), as_json=as_json)


@data_app.command("synthesize")
def data_synthesize(
    *,
    out: Annotated[Path, typer.Option("--out", help="folder to make", show_default=False)],
    classes: Annotated[int, typer.Option("--classes", min=2, help="species")] = 20,
    items_per_medium: Annotated[
        int, typer.Option("--items-per-medium", min=4, help="items of each species and medium")
    ] = 20,
    seed: Annotated[int, typer.Option("--seed", help="the same seed makes the same birds")] = 0,
    difficulty: Annotated[
        float, typer.Option("--difficulty", min=0, max=1, help="how far birds, light, sound and wording stray")
    ] = 0.5,
    workers: Annotated[int, typer.Option("--workers", min=1, help="processes that draw and sing")] = 2,
    quiet: Quiet = False,
) -> None:
    """Make a synthetic aviary: drawn birds and clips, synthesized songs, written descriptions, manifest, taxonomy."""
    from fieldmark.datasets.aviary.synthesis import synthesize

    with TerminalReporter(quiet=quiet) as reporter:
        manifest = synthesize(
            out,
            class_count=classes,
            items_per_medium=items_per_medium,
            seed=seed,
            difficulty=difficulty,
            workers=workers,
            report=reporter,
        )
    print_line(str(manifest))
