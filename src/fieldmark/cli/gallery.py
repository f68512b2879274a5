"""The commands `fieldmark gallery ...`: describe, check and compact a gallery."""

from pathlib import Path
from typing import Annotated

import typer

from fieldmark.cli.terminal import Json, Quiet, TerminalReporter, print_result

gallery_app = typer.Typer(no_args_is_help=True, help="Describe, check or compact a gallery.")

_GalleryFolder = Annotated[Path, typer.Argument(metavar="GALLERY", help="Gallery folder.", show_default=False)]


@gallery_app.command("describe")
def _describe(gallery: _GalleryFolder, *, as_json: Json = False) -> None:
    """Show what a gallery holds and how it is searched.

    Counts items by medium, set, class and license, and shows the disk space.
    """
    from fieldmark.workflows.gallery import describe_gallery

    result = describe_gallery(gallery)
    print_result(result, result.to_text(), as_json=as_json)


@gallery_app.command("check")
def _check(
    gallery: _GalleryFolder,
    *,
    media: Annotated[
        bool, typer.Option("--media/--no-media", help="Also read every media file, to find missing and changed ones.")
    ] = True,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Check that a gallery and its media files are intact.

    Exits with 1 if there are errors.
    """
    from fieldmark.runtime import Runtime
    from fieldmark.workflows.gallery import check_gallery

    with TerminalReporter(quiet=quiet) as reporter:
        result = check_gallery(gallery, reads_media=media, runtime=Runtime.from_environment(reporter))
    print_result(result, result.to_text(), as_json=as_json)
    if result.has_problems:
        raise typer.Exit(1)


@gallery_app.command("compact")
def _compact(gallery: _GalleryFolder, *, as_json: Json = False) -> None:
    """Free the disk space of replaced and deleted items.

    Results of an exact search stay the same.
    """
    from fieldmark.workflows.gallery import compact_gallery

    result = compact_gallery(gallery)
    print_result(result, result.to_text(), as_json=as_json)
