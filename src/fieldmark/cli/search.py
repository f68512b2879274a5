"""The commands that ask a gallery, and that keep what people say of its answers."""

from pathlib import Path
from typing import Annotated

import typer

from fieldmark.cli.terminal import GalleryPath, Json, parse_media, print_result

FORMATS = ("csv", "raven", "audacity", "dwc")

marks_app = typer.Typer(
    name="marks", help="Give items of a gallery a class, list the classes given so, undo one.", no_args_is_help=True
)

Names = list[str] | None


def search(
    queries: Annotated[
        Names,
        typer.Argument(
            metavar="[QUERY]...",
            help="a file of any medium, or quoted text; several that show one species are taken together",
            show_default=False,
        ),
    ] = None,
    *,
    gallery: GalleryPath,
    item_ids: Annotated[
        Names, typer.Option("--item", metavar="ITEM_ID", help="more like this item of the gallery; may be repeated")
    ] = None,
    medium: Annotated[
        str | None, typer.Option("--medium", help="only hits of these media, such as image,audio; default all")
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="number of hits")] = 10,
    per_medium: Annotated[bool, typer.Option("--per-medium", help="that many hits of each medium")] = False,
    by_segment: Annotated[bool, typer.Option("--by-segment", help="every moment may be a hit of its own")] = False,
    class_names: Annotated[Names, typer.Option("--class", help="only hits of this class; may be repeated")] = None,
    set_names: Annotated[Names, typer.Option("--set", help="only hits of this data set; may be repeated")] = None,
    licenses: Annotated[Names, typer.Option("--license", help="only hits under this license; may be repeated")] = None,
    groups: Annotated[Names, typer.Option("--group", help="only hits of this group; may be repeated")] = None,
    relevant: Annotated[
        Names, typer.Option("--relevant", metavar="ITEM_ID", help="an item that was found right; may be repeated")
    ] = None,
    irrelevant: Annotated[
        Names, typer.Option("--irrelevant", metavar="ITEM_ID", help="an item that was found wrong; may be repeated")
    ] = None,
    exports: Annotated[
        Names,
        typer.Option(
            "--export", metavar="FORMAT=FILE", help="also write the hits; csv, raven, audacity or dwc; may be repeated"
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Rank the gallery's items by how likely they are of the species of a photo, a text, a video or a sound."""
    media_names = parse_media(medium)  # before the libraries load, so that a wrong name is told at once
    files = _parse_exports(exports or [])
    if not (queries or item_ids):
        raise typer.BadParameter("give a QUERY, or an item of the gallery with --item")
    from fieldmark.gallery.search.export import ExportFormat, export_marks
    from fieldmark.gallery.search.result import Marks
    from fieldmark.gallery.store import Filter
    from fieldmark.io import write_text
    from fieldmark.runtime import Runtime
    from fieldmark.types import Medium
    from fieldmark.workflows.search import Gallery, ItemId

    result = Gallery.open(gallery, runtime=Runtime.from_environment()).search(
        [*(queries or ()), *map(ItemId, item_ids or ())],
        k=k,
        media=tuple(Medium(name) for name in media_names),
        where=Filter(
            class_names=_chosen(class_names),
            set_names=_chosen(set_names),
            licenses=_chosen(licenses),
            groups=_chosen(groups),
        ),
        by_segment=by_segment,
        per_medium=per_medium,
        marks=Marks(frozenset(relevant or ()), frozenset(irrelevant or ())),
    )
    for name, path in files:
        write_text(path, export_marks(result.hits, format=ExportFormat(name)))
    print_result(result.to_json(), result.to_text(), as_json=as_json)


@marks_app.command("save")
def save(
    class_name: Annotated[str, typer.Argument(help="name of the class", show_default=False)],
    item_ids: Annotated[list[str], typer.Argument(metavar="ITEM_ID...", help="items", show_default=False)],
    *,
    gallery: GalleryPath,
    as_json: Json = False,
) -> None:
    """Give items of a gallery a class; it outlives a later `index` of the same files."""
    from fieldmark.gallery.labels import save_class
    from fieldmark.runtime import Runtime
    from fieldmark.workflows.search import Gallery

    index = Gallery.open(gallery, runtime=Runtime.from_environment()).index
    saved = save_class(gallery, index, class_name=class_name, item_ids=item_ids)
    print_result(saved.to_json(), saved.to_text(), as_json=as_json)


@marks_app.command("list")
def list_saved(*, gallery: GalleryPath, as_json: Json = False) -> None:
    """List the classes that were given so, those undone too."""
    from fieldmark.gallery.labels import list_classes

    saved = list_classes(gallery)
    text = "\n".join(each.to_text() for each in saved) or "no saved class"
    print_result({"saved_classes": [each.to_json() for each in saved]}, text, as_json=as_json)


@marks_app.command("undo")
def undo(
    number: Annotated[int, typer.Argument(help="number of the saved class, as `list` shows it", show_default=False)],
    *,
    gallery: GalleryPath,
    as_json: Json = False,
) -> None:
    """Give the items of a saved class their former classes."""
    from fieldmark.gallery.labels import undo_class
    from fieldmark.runtime import Runtime
    from fieldmark.workflows.search import Gallery

    index = Gallery.open(gallery, runtime=Runtime.from_environment()).index
    undone = undo_class(gallery, index, number=number)
    print_result(undone.to_json(), undone.to_text(), as_json=as_json)


def _chosen(names: Names) -> frozenset[str] | None:
    return frozenset(names) if names else None


def _parse_exports(texts: list[str]) -> list[tuple[str, Path]]:
    """The format and file of each `FORMAT=FILE`."""
    pairs = [text.partition("=") for text in texts]
    for name, _, path in pairs:
        if name not in FORMATS or not path:
            raise typer.BadParameter(f"--export takes FORMAT=FILE with a format of {', '.join(FORMATS)}; met '{name}'")
    return [(name, Path(path)) for name, _, path in pairs]
