"""The commands `fieldmark data ...`: create, check, split and describe manifests."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

from fieldmark.cli.data_import import import_app
from fieldmark.cli.terminal import (
    FailureShare,
    Json,
    Manifest,
    ManifestOut,
    Quiet,
    TerminalReporter,
    print_line,
    print_result,
)
from fieldmark.datasets.fetching.pace import Pace

_PACE = Pace()

data_app = typer.Typer(
    help="Create, check, split and describe manifests, the tables that list items.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
data_app.add_typer(import_app, name="import")


class _SplitName(StrEnum):
    """The splits by name: their own class would load what help does not need."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


class _SharedName(StrEnum):
    """The facts by which items are kept in one split, by name."""

    RECORD = "record"
    PLACE = "place"
    OBSERVER = "observer"


@data_app.command("join")
def _join(
    manifests: Annotated[list[Path], typer.Argument(help="CSV or Parquet files that list items.", show_default=False)],
    *,
    out: ManifestOut,
    classes: Annotated[
        Path | None,
        typer.Option("--classes", help="Table with a column class_name: only items of these. [default: all]"),
    ] = None,
    most: Annotated[
        int | None,
        typer.Option("--most", min=1, help="Most items of one class and medium, of as many records as there are."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Random seed of --most.")] = 0,
    as_json: Json = False,
) -> None:
    """Join manifests into one, and choose classes and numbers of items.

    Ids and groups that two manifests share for different things get the name of their manifest.
    """
    from fieldmark.datasets.join import join_manifests

    report = join_manifests(manifests, out=out, classes=classes, most=most, seed=seed)
    print_result(report, report.to_text(), as_json=as_json)


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


@data_app.command("fetch")
def _fetch(
    manifest: Manifest,
    *,
    folder: Annotated[
        Path | None,
        typer.Option("--folder", help="Folder below which files may be written. [default: that of MANIFEST]"),
    ] = None,
    licenses: Annotated[
        str | None,
        typer.Option(
            "--license",
            help="Only items with one of these licenses, in any spelling, such as cc0,cc-by; without a version, any "
            "version. [default: all]",
        ),
    ] = None,
    contact: Annotated[
        str,
        typer.Option("--contact", help="Your address of mail or of a page, which hosts are told. [default: none]"),
    ] = "",
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Also write a manifest of the items whose files are here, with their hashes."),
    ] = None,
    at_once: Annotated[
        int, typer.Option("--at-once", min=1, max=8, help="Requests of one host at a time.")
    ] = _PACE.at_once,
    pause: Annotated[
        float, typer.Option("--pause", min=0, help="Seconds from one request of a host to the next.")
    ] = _PACE.pause_seconds,
    stall: Annotated[
        float, typer.Option("--stall", min=0.1, help="Seconds without a byte after which a request is given up.")
    ] = _PACE.stall_seconds,
    longest_wait: Annotated[
        float,
        typer.Option("--longest-wait", min=0, help="Seconds that a host may ask to wait before it is left alone."),
    ] = _PACE.longest_wait_seconds,
    largest_mb: Annotated[
        float, typer.Option("--largest-mb", min=0, help="Largest file, in megabytes.")
    ] = _PACE.largest_bytes / 1e6,
    local_hosts: Annotated[
        list[str] | None,
        typer.Option(
            "--local-host",
            metavar="NAME",
            help="Host of the local network or of this machine that may be asked. Repeatable. [default: none]",
        ),
    ] = None,
    accept_changes: Annotated[
        bool, typer.Option("--accept-changes", help="Take files that differ from what was written down.")
    ] = False,
    failure_share: Annotated[
        float,
        typer.Option(
            "--failure-share",
            min=0,
            max=1,
            help="Share of the files that may be missing, from 0 to 1, before the command exits with 1 for them.",
        ),
    ] = 0.0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Download the files that a manifest names in its column `address`.

    Each host is asked for few files at once, with pauses, and is left alone when it asks for that. What breaks off is
    continued. Size, medium and hash are checked. What came is written to NAME.fetched.csv beside the manifest: with
    both files another machine gets the same bytes, or is told which differ. Exits with 1 if any differ.
    """
    from fieldmark.datasets.fetch import FetchOptions, fetch
    from fieldmark.datasets.fetching.addresses import AddressPolicy

    options = FetchOptions(
        folder=folder,
        licenses=tuple(each.strip() for each in (licenses or "").split(",") if each.strip()),
        contact=contact,
        accepts_changes=accept_changes,
        pace=Pace(
            at_once=at_once,
            pause_seconds=pause,
            stall_seconds=stall,
            longest_wait_seconds=longest_wait,
            largest_bytes=int(largest_mb * 1e6),
        ),
        policy=AddressPolicy(local_hosts=frozenset(local_hosts or ())),
    )
    with TerminalReporter(quiet=quiet) as reporter:
        found = fetch(manifest, options=options, out=out, reporter=reporter)
    print_result(found, found.to_text(), as_json=as_json)
    found.check_failures(allowed_share=failure_share)


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
    out: ManifestOut,
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
    together: Annotated[
        list[_SharedName] | None,
        typer.Option(
            "--together",
            help="Fact of records that no two splits share: record, place (to a tenth of a degree) or observer. "
            "Repeatable.",
        ),
    ] = None,
    cuts: Annotated[
        bool,
        typer.Option(
            "--cut",
            help="With --together: leave out items that tie two splits, as chains of observers or places do.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Assign each item to train, validation or test.

    Every class and medium is split in about these shares. Items of one group, and copies, always stay together. The
    split of a group follows from the seed and its name, so that rows added later leave it where it is.
    """
    from fieldmark.datasets.split import Shared, split_manifest
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
        together=[Shared(name) for name in together or ()],
        cuts=cuts,
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
