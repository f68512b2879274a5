"""The commands `fieldmark gallery ...`: look into a gallery, check it, give back its disk space."""

from pathlib import Path
from typing import Annotated

import typer

from fieldmark.cli.terminal import Json, Quiet, TerminalReporter, print_result

gallery_app = typer.Typer(no_args_is_help=True, help="Look into a gallery, check it, and give back its disk space.")

GalleryFolder = Annotated[Path, typer.Argument(metavar="GALLERY", help="gallery folder", show_default=False)]


@gallery_app.command()
def describe(gallery: GalleryFolder, *, as_json: Json = False) -> None:
    """Tell what a gallery holds: media, sets, classes, licenses, disk, and how it is searched."""
    from fieldmark.workflows.gallery import describe_gallery

    result = describe_gallery(gallery)
    print_result(result.to_json(), result.to_text(), as_json=as_json)


@gallery_app.command()
def check(
    gallery: GalleryFolder,
    *,
    media: Annotated[
        bool, typer.Option("--media/--no-media", help="read every media file, to see that it is there and unchanged")
    ] = True,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Read every part of a gallery and its media files; exit 1 where something is wrong."""
    from fieldmark.runtime import Runtime
    from fieldmark.workflows.gallery import check_gallery

    with TerminalReporter(quiet=quiet) as reporter:
        result = check_gallery(gallery, reads_media=media, runtime=Runtime.from_environment(reporter))
    print_result(result.to_json(), result.to_text(), as_json=as_json)
    if result.has_problems:
        raise typer.Exit(1)


@gallery_app.command()
def compact(gallery: GalleryFolder, *, as_json: Json = False) -> None:
    """Give back the disk space of what was replaced and dropped; no answer of an exact search changes."""
    from fieldmark.workflows.gallery import compact_gallery

    result = compact_gallery(gallery)
    print_result(result.to_json(), result.to_text(), as_json=as_json)
