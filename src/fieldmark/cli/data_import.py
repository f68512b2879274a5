"""The commands `fieldmark data import ...`: manifests from folders, tables, archives and exports of other sites."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol, runtime_checkable

import typer

from fieldmark.cli.terminal import Exclude, FollowLinks, Json, ManifestOut, parse_pairs, print_result

if TYPE_CHECKING:
    from fieldmark.datasets.importers.result import ImportResult

import_app = typer.Typer(
    help="Create a manifest from folders, tables, archives and exports of other sites.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

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


@import_app.command("pku")
def _import_pku(
    source: Annotated[Path, typer.Argument(help="Folder that holds list/ of PKU FG-XMedia.", show_default=False)],
    *,
    out: ManifestOut,
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


@import_app.command("folders")
def _import_folders(
    source: Annotated[
        Path, typer.Argument(help="Folder with files as medium/class/file, class/file or file.", show_default=False)
    ],
    *,
    out: ManifestOut,
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


@import_app.command("csv", epilog=_EXPORTS)
def _import_csv(
    source: Annotated[Path, typer.Argument(help="Table with a header: CSV, TSV or Parquet.", show_default=False)],
    *,
    out: ManifestOut,
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


# ---------------------------------------------------------------- records, whose formats have the same options


@runtime_checkable
class _Importer(Protocol):
    """Writes a manifest of the media of some records."""

    def __call__(
        self, source: Path, *, out: Path, media: Path | None, taxonomy: str | None, merges_names: bool
    ) -> "ImportResult": ...


def _load_dwca() -> _Importer:
    """Import a Darwin Core Archive, such as a download of GBIF.

    Media are taken from the archive's multimedia tables and from associatedMedia.
    """
    from fieldmark.datasets.importers.dwca import import_dwca

    return import_dwca


def _load_camtrap() -> _Importer:
    """Import a Camtrap DP package: a folder or zip with datapackage.json.

    Media get the place of their deployment and the species of their observations.
    """
    from fieldmark.datasets.importers.camtrap import import_camtrap

    return import_camtrap


def _load_inaturalist() -> _Importer:
    """Import observations of iNaturalist: a CSV export, or JSON of its API."""
    from fieldmark.datasets.importers.portals import import_inaturalist

    return import_inaturalist


def _load_ebird() -> _Importer:
    """Import a CSV export of the Macaulay Library, or "My eBird Data".

    Files are found by their catalog numbers.
    """
    from fieldmark.datasets.importers.portals import import_ebird

    return import_ebird


def _load_xeno_canto() -> _Importer:
    """Import recordings of xeno-canto: JSON of its API, or a CSV with the same columns."""
    from fieldmark.datasets.importers.portals import import_xeno_canto

    return import_xeno_canto


def _make_command(load: Callable[[], _Importer]) -> Callable[..., None]:
    """Return the command of a format of records."""

    def run(
        source: _RecordSource,
        *,
        out: ManifestOut,
        media: _MediaFolder = None,
        taxonomy: _Taxonomy = None,
        merge_names: _MergeNames = False,
        as_json: Json = False,
    ) -> None:
        report = load()(source, out=out, media=media, taxonomy=taxonomy, merges_names=merge_names)
        _finish_import(report, as_json=as_json)

    return run


for _name, _load in {
    "dwca": _load_dwca,
    "camtrap-dp": _load_camtrap,
    "inaturalist": _load_inaturalist,
    "ebird": _load_ebird,
    "xeno-canto": _load_xeno_canto,
}.items():
    import_app.command(_name, help=inspect.getdoc(_load))(_make_command(_load))
