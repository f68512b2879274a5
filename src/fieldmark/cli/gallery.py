"""The commands `search`, `marks ...` and `gallery ...`: search a gallery, label its items, look after it."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from fieldmark.cli.terminal import GalleryPath, Json, Quiet, TerminalReporter, parse_media, print_result

# ---------------------------------------------------------------- search and labels

_FORMATS = ("csv", "raven", "audacity", "inaturalist", "dwc", "dwca")

marks_app = typer.Typer(
    name="marks", help="Label items of a gallery yourself; list or undo your labels.", no_args_is_help=True
)

_Names = list[str] | None


def search(
    queries: Annotated[
        _Names,
        typer.Argument(
            metavar="[QUERY]...",
            help="File of any medium, quoted text, or the number of a record. Several must show one species; they "
            "are combined.",
            show_default=False,
        ),
    ] = None,
    *,
    gallery: GalleryPath,
    item_ids: Annotated[
        _Names, typer.Option("--item", metavar="ITEM_ID", help="Use this item of the gallery as a query. Repeatable.")
    ] = None,
    medium: Annotated[
        str | None,
        typer.Option("--medium", help="Only return hits of these media, such as image,audio. [default: all]"),
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="Number of hits.")] = 10,
    per_medium: Annotated[bool, typer.Option("--per-medium", help="Return -k hits of each medium.")] = False,
    by_segment: Annotated[
        bool,
        typer.Option("--by-segment", help="Return segments, such as moments of a recording, instead of whole items."),
    ] = False,
    class_names: Annotated[_Names, typer.Option("--class", help="Only return hits of this class. Repeatable.")] = None,
    set_names: Annotated[_Names, typer.Option("--set", help="Only return hits of this set. Repeatable.")] = None,
    licenses: Annotated[
        _Names, typer.Option("--license", help="Only return hits under this license, such as 'cc by 4.0'. Repeatable.")
    ] = None,
    groups: Annotated[_Names, typer.Option("--group", help="Only return hits of this group. Repeatable.")] = None,
    date_from: Annotated[
        str | None,
        typer.Option("--from", metavar="DATE", help="Only return hits recorded from this day, month or year on."),
    ] = None,
    date_to: Annotated[
        str | None,
        typer.Option("--to", metavar="DATE", help="Only return hits recorded up to this day, month or year."),
    ] = None,
    months: Annotated[
        _Names,
        typer.Option(
            "--month", metavar="MONTHS", help="Only return hits of these months of any year: 5, may, 11-2. Repeatable."
        ),
    ] = None,
    near: Annotated[
        str | None,
        typer.Option("--near", metavar="LAT,LON,KM", help="Only return hits within so many kilometers of a place."),
    ] = None,
    box: Annotated[
        str | None, typer.Option("--box", metavar="W,S,E,N", help="Only return hits from an area, in degrees.")
    ] = None,
    countries: Annotated[
        _Names, typer.Option("--country", help="Only return hits from this country, by code or name. Repeatable.")
    ] = None,
    observers: Annotated[
        _Names, typer.Option("--observer", help="Only return hits that this person recorded. Repeatable.")
    ] = None,
    has_no: Annotated[
        _Names,
        typer.Option(
            "--has-no", metavar="FACT", help="Only return hits without this, such as date or license. Repeatable."
        ),
    ] = None,
    sort: Annotated[
        Literal["date", "place"] | None, typer.Option("--sort", help="Sort the hits by date or place. [default: rank]")
    ] = None,
    by_record: Annotated[
        bool, typer.Option("--by-record", help="Return -k records, each with all of its media that are found.")
    ] = False,
    ranges: Annotated[
        Path | None,
        typer.Option(
            "--ranges",
            help="Table of species by region and months. Hits of species that cannot have been where and when the "
            "query was made are called unlikely. [default: none]",
        ),
    ] = None,
    seen_at: Annotated[
        str | None,
        typer.Option(
            "--seen-at",
            metavar="LAT,LON",
            help="Place of the query, for --ranges. [default: that of its file or record]",
        ),
    ] = None,
    seen_in: Annotated[
        str | None, typer.Option("--seen-in", metavar="COUNTRY", help="Country of the query, for --ranges.")
    ] = None,
    seen_on: Annotated[
        str | None,
        typer.Option(
            "--seen-on", metavar="DATE", help="Date of the query, for --ranges. [default: that of its file or record]"
        ),
    ] = None,
    relevant: Annotated[
        _Names,
        typer.Option(
            "--relevant", metavar="ITEM_ID", help="Item that you judged right; similar items move up. Repeatable."
        ),
    ] = None,
    irrelevant: Annotated[
        _Names,
        typer.Option(
            "--irrelevant", metavar="ITEM_ID", help="Item that you judged wrong; similar items move down. Repeatable."
        ),
    ] = None,
    exports: Annotated[
        _Names,
        typer.Option(
            "--export",
            metavar="FORMAT=FILE",
            help="Also write the hits to FILE, as csv, raven, audacity, inaturalist, dwc (Darwin Core) or dwca. "
            "Repeatable.",
        ),
    ] = None,
    explains: Annotated[
        bool, typer.Option("--why", help="Also show the score of each hit and its margin over the look-alike.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Search a gallery with a photo, a text, a video or a sound.

    Hits are ranked by how likely they show the species, or the class, of the query. A text may be a name, a part
    of one, several names, or a description.
    """
    media_names = parse_media(medium)  # checked before heavy imports, so a wrong name fails at once
    files = _parse_exports(exports or [])
    if not (queries or item_ids or any((date_from, date_to, months, box, near, countries, observers, has_no))):
        raise typer.BadParameter(
            "There is no query. Give a QUERY, an item of the gallery with --item, or conditions such as --month."
        )
    from fieldmark.data.ranges import read_ranges
    from fieldmark.gallery.fact_query import FactQuery, SightingQuery, parse_numbers
    from fieldmark.gallery.files import open_files
    from fieldmark.gallery.search.evidence import add_evidence
    from fieldmark.gallery.search.query import ItemId
    from fieldmark.gallery.search.records import HitOrder
    from fieldmark.gallery.search.result import (
        ARCHIVE_FORMAT,
        ExportFormat,
        MarkedItems,
        collect_found,
        export_marks,
    )
    from fieldmark.gallery.store import Filter
    from fieldmark.io import write_bytes, write_text
    from fieldmark.records.darwin_core import write_archive
    from fieldmark.runtime import Runtime
    from fieldmark.types import Medium
    from fieldmark.workflows.search import Gallery

    marks = MarkedItems(frozenset(relevant or ()), frozenset(irrelevant or ()))
    marks.check()  # before the model is loaded
    where = Filter(
        class_names=_chosen(class_names),
        set_names=_chosen(set_names),
        licenses=_chosen(licenses),
        groups=_chosen(groups),
        facts=FactQuery(
            date_from=date_from,
            date_to=date_to,
            months=months or (),
            box=parse_numbers(box) if box else (),
            near=parse_numbers(near) if near else (),
            countries=countries or (),
            observers=observers or (),
            has_no=has_no or (),
        ).make_filter(),
    )
    seen = SightingQuery(parse_numbers(seen_at) if seen_at else (), seen_in, seen_on)
    seen.make_sighting()
    known_ranges = None if ranges is None else read_ranges(ranges)
    opened = Gallery.open(gallery, runtime=Runtime.from_environment())
    opened.check_names(where)
    asked = [*(queries or ()), *map(ItemId, item_ids or ())]
    result = opened.search(
        asked,
        k=k,
        media=tuple(Medium(name) for name in media_names),
        where=where,
        by_segment=by_segment,
        per_medium=per_medium,
        marks=marks,
        order=None if sort is None else HitOrder(sort),
        by_record=by_record,
    )
    result = add_evidence(result, asked, index=opened.index, ranges=known_ranges, given=seen)
    for name, path in files:
        if name == ARCHIVE_FORMAT:
            write_bytes(path, write_archive(collect_found(result.hits), title=open_files(opened.folder).name))
        else:
            write_text(path, export_marks(result.hits, format=ExportFormat(name)))
    print_result(result, result.to_text(explains=explains, folder=Path.cwd()), as_json=as_json)


@marks_app.command("save")
def _save(
    class_name: Annotated[str, typer.Argument(help="Class to assign.", show_default=False)],
    item_ids: Annotated[list[str], typer.Argument(metavar="ITEM_ID...", help="Items to label.", show_default=False)],
    *,
    gallery: GalleryPath,
    as_json: Json = False,
) -> None:
    """Assign a class to items of a gallery.

    Labels are kept when the same files are indexed again.
    """
    from fieldmark.gallery.labels import save_class
    from fieldmark.runtime import Runtime
    from fieldmark.workflows.search import Gallery

    opened = Gallery.open(gallery, runtime=Runtime.from_environment())
    saved = save_class(opened.folder, opened.index, class_name=class_name, item_ids=item_ids)
    print_result(saved, saved.to_text(), as_json=as_json)


@marks_app.command("list")
def _list(*, gallery: GalleryPath, as_json: Json = False) -> None:
    """List your labels, including those you undid."""
    from fieldmark.workflows.gallery import list_saved_classes

    saved = list_saved_classes(gallery)
    text = "\n".join(each.to_text() for each in saved) or "no labels"
    print_result({"saved_classes": saved}, text, as_json=as_json)


@marks_app.command("undo")
def _undo(
    number: Annotated[int, typer.Argument(help="Number of the label, as shown by `marks list`.", show_default=False)],
    *,
    gallery: GalleryPath,
    as_json: Json = False,
) -> None:
    """Undo a label: give its items their former classes back."""
    from fieldmark.gallery.labels import undo_class
    from fieldmark.runtime import Runtime
    from fieldmark.workflows.search import Gallery

    opened = Gallery.open(gallery, runtime=Runtime.from_environment())
    undone = undo_class(opened.folder, opened.index, number=number)
    print_result(undone, undone.to_text(), as_json=as_json)


def _chosen(names: _Names) -> frozenset[str] | None:
    return frozenset(names) if names else None


def _parse_exports(texts: list[str]) -> list[tuple[str, Path]]:
    """Parse each `FORMAT=FILE` into its format and file."""
    pairs = [text.partition("=") for text in texts]
    for name, equals, path in pairs:
        if name not in _FORMATS or not path:
            formats = ", ".join(_FORMATS)
            raise typer.BadParameter(
                f"'{name}{equals}{path}' is not an export. Give FORMAT=FILE with one of the formats {formats}."
            )
    return [(name, Path(path)) for name, _, path in pairs]


# ---------------------------------------------------------------- the gallery itself

gallery_app = typer.Typer(
    no_args_is_help=True, help="Describe, check, compact or move a gallery, and show its records."
)

_GalleryFolder = Annotated[
    Path, typer.Argument(metavar="GALLERY", help="Gallery folder, or milvus://HOST:PORT/NAME.", show_default=False)
]


@gallery_app.command("describe")
def _describe(gallery: _GalleryFolder, *, as_json: Json = False) -> None:
    """Show what a gallery holds and how it is searched.

    Counts items by medium, set, class and license, and shows the disk space.
    """
    from fieldmark.workflows.gallery import describe_gallery

    result = describe_gallery(gallery)
    print_result(result, result.to_text(), as_json=as_json)


@gallery_app.command("names")
def _names(
    gallery: _GalleryFolder,
    text: Annotated[str, typer.Argument(help="Beginning, part or misspelling of a name.", show_default=False)],
    *,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Number of names.")] = 8,
    as_json: Json = False,
) -> None:
    """List the names in a gallery that fit what was typed, the most fitting first.

    Finds parts, plurals, typing errors, scientific names, and other names in the taxonomy.
    """
    from fieldmark.workflows.gallery import offer_names

    result = offer_names(gallery, text, limit=limit)
    print_result({"names": result}, "\n".join(each.to_text() for each in result) or "no name fits", as_json=as_json)


@gallery_app.command("show")
def _show(
    record: Annotated[
        str,
        typer.Argument(
            metavar="ID", help="Id of an item, or the catalog or occurrence number of a record.", show_default=False
        ),
    ],
    *,
    gallery: GalleryPath,
    as_json: Json = False,
) -> None:
    """Show all facts of an item, or of all media of a record.

    Nothing is ranked, so the model is not loaded.
    """
    from fieldmark.workflows.gallery import show_record

    result = show_record(gallery, record)
    print_result(result, result.to_text(), as_json=as_json)


@gallery_app.command("export")
def _export(
    gallery: _GalleryFolder,
    *,
    out: Annotated[Path, typer.Option("--out", help="File to write.", show_default=False)],
    file_format: Annotated[
        Literal["dwca", "dwc", "inaturalist"],
        typer.Option("--format", help="Darwin Core Archive, Darwin Core table or iNaturalist table."),
    ] = "dwca",
    as_json: Json = False,
) -> None:
    """Write the records of all items of a gallery."""
    from fieldmark.workflows.gallery import export_gallery

    result = export_gallery(gallery, out=out, file_format=file_format)
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


@gallery_app.command("move")
def _move(
    source: _GalleryFolder,
    target: Annotated[
        Path,
        typer.Argument(
            metavar="TARGET", help="Folder or milvus://HOST:PORT/NAME to move the gallery to.", show_default=False
        ),
    ],
    *,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Bring a gallery from a folder to Milvus, or back.

    Nothing is embedded again, and the gallery it comes from stays as it is. A move that was cut short goes on where it
    stopped.
    """
    from fieldmark.runtime import Runtime
    from fieldmark.workflows.move import move_gallery

    with TerminalReporter(quiet=quiet) as reporter:
        result = move_gallery(source, target, runtime=Runtime.from_environment(reporter))
    print_result(result, result.to_text(), as_json=as_json)


@gallery_app.command("remove-set")
def _remove_set(
    gallery: _GalleryFolder,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Set to remove.", show_default=False)],
    *,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Remove a set with all its items from a gallery.

    The media files stay where they are.
    """
    from fieldmark.runtime import Runtime
    from fieldmark.workflows.gallery import remove_set

    with TerminalReporter(quiet=quiet) as reporter:
        result = remove_set(gallery, name, runtime=Runtime.from_environment(reporter))
    print_result(result, result.to_text(), as_json=as_json)
