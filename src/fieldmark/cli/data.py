"""The commands `fieldmark data ...`: create, check, split and describe manifests."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fieldmark.cli.terminal import (
    Exclude,
    FailureShare,
    FollowLinks,
    Json,
    Manifest,
    Quiet,
    TerminalReporter,
    parse_pairs,
    print_line,
    print_result,
)

if TYPE_CHECKING:
    from fieldmark.datasets.importers.result import ImportResult

data_app = typer.Typer(
    help="Create, check, split and describe manifests, the tables that list items.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
_import_app = typer.Typer(
    help="Create a manifest from folders, tables, archives and exports of other sites.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
data_app.add_typer(_import_app, name="import")


class _SplitName(StrEnum):
    """The splits by name: their own class would load what help does not need."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


_RecordSource = Annotated[
    Path, typer.Argument(help="Archive, table or JSON file, as it was exported.", show_default=False)
]
_MediaFolder = Annotated[
    Path | None,
    typer.Option("--media", help="Folder of the media files, which are found by name. [default: that of SOURCE]"),
]
_Taxonomy = Annotated[
    str | None,
    typer.Option(
        "--taxonomy",
        help="CSV of classes and their synonyms, or avilist for all birds. Synonyms are read as the class.",
    ),
]


def _finish_import(report: "ImportResult", *, as_json: bool) -> None:
    """Print the result of an import; one that took nothing exits with 1."""
    print_result(report, report.to_text(), as_json=as_json)
    if report.took_nothing:
        raise typer.Exit(1)


_Out = Annotated[Path, typer.Option("--out", help="Manifest to write (.csv or .parquet).", show_default=False)]

_MergeNames = Annotated[
    bool,
    typer.Option(
        "--merge-names",
        help="Merge classes whose names differ only in spelling, author or rank. They are listed anyway.",
    ),
]

# A backspace tells the command line to keep the lines as they are.
_EXPORTS = """\b
Columns for common exports:
  iNaturalist: --column path='photos/{id}.*' --column class_name=scientific_name
  xeno-canto:  --column path='XC{id}.*' --column class_name='{gen} {sp}'
  Macaulay:    --column path='{ML Catalog Number}.*' --column class_name='Common Name'"""


@_import_app.command("pku")
def _import_pku(
    source: Annotated[Path, typer.Argument(help="Folder that holds list/ of PKU FG-XMedia.", show_default=False)],
    *,
    out: _Out,
    media: Annotated[
        Path | None,
        typer.Option("--media", help="Folder that the paths in the lists are relative to. [default: SOURCE]"),
    ] = None,
    taxonomy: _Taxonomy = None,
    merge_names: _MergeNames = False,
    as_json: Json = False,
) -> None:
    """Import the list files of PKU FG-XMedia.

    The media files themselves may be missing.
    """
    from fieldmark.datasets.importers.pku import import_pku

    report = import_pku(source, out=out, media=media, taxonomy=taxonomy, merges_names=merge_names)
    _finish_import(report, as_json=as_json)


@_import_app.command("folders")
def _import_folders(
    source: Annotated[
        Path, typer.Argument(help="Folder with files as medium/class/file, class/file or file.", show_default=False)
    ],
    *,
    out: _Out,
    classes_from_folders: Annotated[
        bool,
        typer.Option(
            "--classes-from-folders", help="Take the names of folders as classes. Without it they are only listed."
        ),
    ] = False,
    taxonomy: _Taxonomy = None,
    merge_names: _MergeNames = False,
    exclude: Exclude = None,
    follow_links: FollowLinks = False,
    as_json: Json = False,
) -> None:
    """Import folders of media files.

    The content of a file gives its medium. The name of its folder gives its class only if you say so. Bins, folders of
    thumbnails and other folders that machines make are skipped.
    """
    from fieldmark.data.folder import FolderChoice
    from fieldmark.datasets.importers.folders import import_folders

    report = import_folders(
        source,
        out=out,
        classes_from_folders=classes_from_folders,
        taxonomy=taxonomy,
        merges_names=merge_names,
        choice=FolderChoice(exclude=tuple(exclude or ()), follows_links=follow_links),
    )
    _finish_import(report, as_json=as_json)


@_import_app.command("csv", epilog=_EXPORTS)
def _import_csv(
    source: Annotated[Path, typer.Argument(help="Table with a header: CSV, TSV or Parquet.", show_default=False)],
    *,
    out: _Out,
    columns: Annotated[
        list[str] | None,
        typer.Option(
            "--column",
            metavar="COLUMN=NAME",
            help="Fill the manifest's COLUMN from the table's column NAME, or from several columns in braces: "
            "class_name='{genus} {species}', path='{id}.*'. Repeatable.",
        ),
    ] = None,
    values: Annotated[
        list[str] | None,
        typer.Option(
            "--value",
            metavar="COLUMN=TEXT",
            help="Fill empty cells of COLUMN with TEXT, such as medium=audio. Repeatable.",
        ),
    ] = None,
    media: Annotated[
        Path | None, typer.Option("--media", help="Folder that paths are relative to. [default: the table's folder]")
    ] = None,
    taxonomy: _Taxonomy = None,
    merge_names: _MergeNames = False,
    as_json: Json = False,
) -> None:
    """Import a table, such as an export of iNaturalist, xeno-canto or Macaulay."""
    pairs = [parse_pairs(columns, option="--column"), parse_pairs(values, option="--value")]
    from fieldmark.datasets.importers.table import import_table

    report = import_table(
        source, out=out, columns=pairs[0], values=pairs[1], media=media, taxonomy=taxonomy, merges_names=merge_names
    )
    _finish_import(report, as_json=as_json)


@_import_app.command("dwca")
def _import_dwca(
    source: _RecordSource,
    *,
    out: _Out,
    media: _MediaFolder = None,
    taxonomy: _Taxonomy = None,
    merge_names: _MergeNames = False,
    as_json: Json = False,
) -> None:
    """Import a Darwin Core Archive, such as a download of GBIF.

    Media are taken from the archive's multimedia tables and from associatedMedia.
    """
    from fieldmark.datasets.importers.dwca import import_dwca

    report = import_dwca(source, out=out, media=media, taxonomy=taxonomy, merges_names=merge_names)
    _finish_import(report, as_json=as_json)


@_import_app.command("camtrap-dp")
def _import_camtrap(
    source: _RecordSource,
    *,
    out: _Out,
    media: _MediaFolder = None,
    taxonomy: _Taxonomy = None,
    merge_names: _MergeNames = False,
    as_json: Json = False,
) -> None:
    """Import a Camtrap DP package: a folder or zip with datapackage.json.

    Media get the place of their deployment and the species of their observations.
    """
    from fieldmark.datasets.importers.camtrap import import_camtrap

    report = import_camtrap(source, out=out, media=media, taxonomy=taxonomy, merges_names=merge_names)
    _finish_import(report, as_json=as_json)


@_import_app.command("inaturalist")
def _import_inaturalist(
    source: _RecordSource,
    *,
    out: _Out,
    media: _MediaFolder = None,
    taxonomy: _Taxonomy = None,
    merge_names: _MergeNames = False,
    as_json: Json = False,
) -> None:
    """Import observations of iNaturalist: a CSV export, or JSON of its API."""
    from fieldmark.datasets.importers.portals import import_inaturalist

    report = import_inaturalist(source, out=out, media=media, taxonomy=taxonomy, merges_names=merge_names)
    _finish_import(report, as_json=as_json)


@_import_app.command("ebird")
def _import_ebird(
    source: _RecordSource,
    *,
    out: _Out,
    media: _MediaFolder = None,
    taxonomy: _Taxonomy = None,
    merge_names: _MergeNames = False,
    as_json: Json = False,
) -> None:
    """Import a CSV export of the Macaulay Library, or "My eBird Data".

    Files are found by their catalog numbers.
    """
    from fieldmark.datasets.importers.portals import import_ebird

    report = import_ebird(source, out=out, media=media, taxonomy=taxonomy, merges_names=merge_names)
    _finish_import(report, as_json=as_json)


@_import_app.command("xeno-canto")
def _import_xeno_canto(
    source: _RecordSource,
    *,
    out: _Out,
    media: _MediaFolder = None,
    taxonomy: _Taxonomy = None,
    merge_names: _MergeNames = False,
    as_json: Json = False,
) -> None:
    """Import recordings of xeno-canto: JSON of its API, or a CSV with the same columns."""
    from fieldmark.datasets.importers.portals import import_xeno_canto

    report = import_xeno_canto(source, out=out, media=media, taxonomy=taxonomy, merges_names=merge_names)
    _finish_import(report, as_json=as_json)


@data_app.command("export")
def _export(
    manifest: Manifest,
    *,
    out: Annotated[Path, typer.Option("--out", help="File to write.", show_default=False)],
    file_format: Annotated[
        Literal["dwca", "dwc", "inaturalist"],
        typer.Option("--format", help="Darwin Core Archive, Darwin Core table or iNaturalist table."),
    ] = "dwca",
    as_json: Json = False,
) -> None:
    """Write the records of a manifest for other programs."""
    from fieldmark.datasets.export import export_manifest

    report = export_manifest(manifest, out=out, file_format=file_format)
    print_result(report, report.to_text(), as_json=as_json)


@data_app.command("check")
def _check(
    manifest: Manifest,
    *,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Number of processes that decode files.")] = 2,
    report: Annotated[Path | None, typer.Option("--report", help="Also write the findings to this HTML file.")] = None,
    clean: Annotated[
        Path | None,
        typer.Option(
            "--write-clean", help="Write a corrected manifest to this file, and a list of the changes beside it."
        ),
    ] = None,
    failure_share: Annotated[
        float,
        typer.Option(
            "--failure-share",
            min=0,
            max=1,
            help="Share of the items that may be unusable, from 0 to 1, before the check exits with 1 for them.",
        ),
    ] = 0.0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Decode every item and list broken, duplicate and leaking items.

    An item leaks if it, a near duplicate of it or an item of its group is also in another split. Results are
    cached, so a second check decodes new files only. Exits with 1 if there are errors.
    """
    from fieldmark.datasets.check import check, write_clean, write_findings
    from fieldmark.runtime import Runtime

    with TerminalReporter(quiet=quiet) as reporter:
        found = check(manifest, workers=workers, cache=Runtime.from_environment().cache, reporter=reporter)
        if report is not None:
            write_findings(found, report, title=manifest.name)
            reporter.say(f"{report}: wrote the findings")
        if clean is not None:
            cleaned = write_clean(found, clean)
            reporter.say(f"{clean}: {len(cleaned.items):,} items, {len(cleaned.changes):,} rows dropped or moved")
    print_result(found, found.to_text(), as_json=as_json)
    if found.has_errors_above(failure_share):
        raise typer.Exit(1)


@data_app.command("split")
def _split(
    manifest: Manifest,
    *,
    out: _Out,
    validation: Annotated[
        float, typer.Option("--validation", min=0, max=1, help="Share of items for validation.")
    ] = 0.1,
    test: Annotated[float, typer.Option("--test", min=0, max=1, help="Share of items for testing.")] = 0.3,
    unseen_classes: Annotated[
        int, typer.Option("--unseen-classes", min=0, help="Number of random classes to use for testing only.")
    ] = 0,
    seed: Annotated[int, typer.Option("--seed", help="Random seed. The same seed gives the same splits.")] = 0,
    keep: Annotated[
        list[_SplitName] | None,
        typer.Option(
            "--keep", help="Split whose present items stay in it, with all items of their groups. Repeatable."
        ),
    ] = None,
    findings: Annotated[
        Path | None,
        typer.Option(
            "--findings",
            help="Output of `fieldmark data check --json`. Near duplicates that it lists stay together.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Assign each item to train, validation or test.

    Every class and medium is split in about these shares. Items of one group, and copies, always stay together. The
    split of a group follows from the seed and its name, so that rows added later leave it where it is.
    """
    from fieldmark.datasets.split import split_manifest
    from fieldmark.types import Split

    report = split_manifest(
        manifest,
        out=out,
        validation=validation,
        test=test,
        unseen_classes=unseen_classes,
        seed=seed,
        keep=[Split(name) for name in keep or ()],
        findings=findings,
    )
    print_result(report, report.to_text(), as_json=as_json)


@data_app.command("describe")
def _describe(
    manifest: Manifest,
    *,
    datasheet: Annotated[
        Path | None, typer.Option("--datasheet", help="Also write a datasheet to this Markdown file.")
    ] = None,
    config: Annotated[
        str | None,
        typer.Option(
            "--config",
            help="Also list the species of each class, as the encoders of this TOML file or preset know them.",
        ),
    ] = None,
    names_map: Annotated[
        Path | None, typer.Option("--names-map", help="CSV with class_name and name, which decides where names do not.")
    ] = None,
    failure_share: FailureShare = None,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Number of processes that decode files.")] = 2,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Count items by class, medium, split, group and license.

    Also measures how long the items are. With --config, also lists the classes whose names the encoders do not know
    as they are spelled, and the species that each of them is taken for; training then also asks how the encoders name
    the items.
    """
    from fieldmark.config_file import load_config
    from fieldmark.datasets.describe import describe, write_datasheet
    from fieldmark.runtime import Runtime

    if names_map is not None and config is None:
        raise typer.BadParameter("--names-map needs --config, whose encoders know names. Give both.")
    with TerminalReporter(quiet=quiet) as reporter:
        found = describe(
            manifest,
            workers=workers,
            cache=Runtime.from_environment().cache,
            reporter=reporter,
            config=None if config is None else load_config(config),
            names_map=names_map,
        )
    if datasheet is not None:
        write_datasheet(found, datasheet)
    print_result(found, found.to_text(), as_json=as_json)
    found.check_failures(allowed_share=failure_share)


@data_app.command("build")
def _build(
    manifest: Manifest,
    *,
    out: Annotated[Path, typer.Option("--out", help="Folder to create.", show_default=False)],
    longest_seconds: Annotated[
        float, typer.Option("--longest-seconds", help="Cut longer recordings into parts of at most this many seconds.")
    ] = 10.0,
    longest_words: Annotated[
        int, typer.Option("--longest-words", help="Cut longer texts into passages of at most this many words.")
    ] = 80,
    frames: Annotated[
        int, typer.Option("--frames", help="Frames to take from each video, before noisy ones are removed.")
    ] = 25,
    failure_share: FailureShare = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Cut raw media into items: sound excerpts, video frames, passages.

    Each new item keeps the group of its source and records where in the source it comes from.
    """
    from fieldmark.datasets.build import build_items

    with TerminalReporter(quiet=quiet) as reporter:
        report = build_items(
            manifest,
            out=out,
            longest_seconds=longest_seconds,
            longest_words=longest_words,
            frame_count=frames,
            reporter=reporter,
        )
    print_result(report, report.to_text(), as_json=as_json)
    report.check_failures(allowed_share=failure_share)


@data_app.command("synthesize")
def _synthesize(
    *,
    out: Annotated[Path, typer.Option("--out", help="Folder to create.", show_default=False)],
    classes: Annotated[int, typer.Option("--classes", min=2, help="Number of species.")] = 20,
    items_per_medium: Annotated[
        int, typer.Option("--items-per-medium", min=4, help="Items per species and medium.")
    ] = 20,
    seed: Annotated[int, typer.Option("--seed", help="Random seed. The same seed gives the same birds.")] = 0,
    difficulty: Annotated[
        float,
        typer.Option(
            "--difficulty",
            min=0,
            max=1,
            help="How much birds, light, sound and wording vary, from 0 (easy) to 1 (hard).",
        ),
    ] = 0.5,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Number of processes that draw and synthesize.")] = 2,
    quiet: Quiet = False,
) -> None:
    """Make a data set of invented birds.

    It holds drawn birds, short clips, synthesized songs, written descriptions, a manifest and a taxonomy.
    """
    from fieldmark.datasets.aviary.synthesize import synthesize

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
