"""The sources of a gallery's sets: where each came from, where it is now, and which of its files lie outside it."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

import pyarrow as pa
import pyarrow.compute as pc

from fieldmark.data.shards import INFO_NAME, read_info
from fieldmark.errors import DamagedGalleryError, GalleryError
from fieldmark.gallery.files import GalleryPlace, open_files
from fieldmark.gallery.layout import GalleryFile

OUTSIDE_SOURCE = "outside_source"
"""Kind of the failure, and of the error, of a file that a link leads to."""

_PLAIN_STEMS = frozenset({"manifest", "items", "metadata", "data", "index"})
"""File names that say nothing of a data set; the folder's name does."""


@dataclass(frozen=True, slots=True)
class SetSource:
    """The source of a set.

    Args:
        origin: What identifies the set: the manifest or folder.
        root: The folder that its files lie below.
        below_gallery: The origin as seen from the gallery, so that both may be moved together; None where no path leads
            there, or where the gallery is no folder.
        follows_links: Whether files outside the root belong to it that a link inside leads to.
    """

    origin: Path
    root: Path
    below_gallery: str | None = None
    follows_links: bool = False

    @classmethod
    def from_path(cls, source: Path, *, gallery: GalleryPlace, follows_links: bool = False) -> "SetSource":
        """Describe a manifest, which names each file and so may name any, a folder, or an embeddings folder."""
        given = _find_given(source)
        origin, root = given.resolve(), (given if given.is_dir() else given.parent).resolve()
        return cls(origin, root, _see_from(origin, gallery), follows_links=follows_links or not given.is_dir())

    def find(self, gallery: GalleryPlace) -> "SetSource":
        """Return the source where it is now: it may have been moved together with the gallery."""
        if self.below_gallery is None or not isinstance(gallery, Path) or self.origin.exists():
            return self
        moved = Path(os.path.normpath(gallery.resolve() / self.below_gallery))
        if not moved.exists():
            return self
        return replace(self, origin=moved, root=moved if self.root == self.origin else moved.parent)

    def is_at(self, other: "SetSource", *, gallery: GalleryPlace) -> bool:
        """Tell whether another source is this one, where it was or where it was moved together with the gallery."""
        return self.origin == other.origin or self.find(gallery).origin == other.origin


# ---------------------------------------------------------------- the file


def read_sources(gallery: GalleryPlace) -> dict[str, SetSource]:
    """Return the source of each set as it was recorded, by name.

    Raises:
        DamagedGalleryError: The file is not what was written.
    """
    path = open_files(gallery).find(GalleryFile.SETS)
    if path is None:
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {str(name): _parse(value) for name, value in content.items()}
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        reason = f"'{GalleryFile.SETS}' is not what was written"
        raise DamagedGalleryError(path=str(gallery), reason=reason) from error


def read_sets(gallery: GalleryPlace) -> dict[str, str]:
    """Return where the source of each set is, by name.

    Raises:
        DamagedGalleryError: The file is not what was written.
    """
    return {name: str(source.find(gallery).origin) for name, source in read_sources(gallery).items()}


def record_set(gallery: GalleryPlace, name: str, *, source: SetSource | None) -> None:
    """Write down where a set came from; None forgets the set."""
    files = open_files(gallery)
    with files.lock(GalleryFile.SETS):
        known = read_sources(gallery)
        sources = {each: known[each] for each in known if each != name or source is not None}
        if source is not None:
            sources[name] = source
        if sources != known:
            content = {each: _describe(value) for each, value in sources.items()}
            files.write(GalleryFile.SETS, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())


def choose_set(gallery: GalleryPlace, *, source: SetSource, chosen: str | None) -> str:
    """Return the name of the set that a source is.

    Args:
        chosen: The name the user gave, also for a source that has moved; None for one made from that of the source.

    Raises:
        GalleryError: A set of that name came from another source.
        GalleryError: The name is empty.
    """
    known = read_sources(gallery)
    if chosen is None:
        earlier = next((name for name, each in known.items() if each.is_at(source, gallery=gallery)), None)
        name = earlier or name_from_origin(source.origin)
        if earlier is None and name in known:
            raise GalleryError(
                f"The set '{name}' of the gallery '{gallery}' came from '{known[name].origin}', not from "
                f"'{source.origin}'. Give this source its own set with --set NAME or, if that source was moved, "
                f"use --set '{name}'.",
                kind="set_source",
            )
    else:
        name = chosen.strip()
    if not name:
        raise GalleryError(
            f"The set of '{source.origin}' has the name '{chosen or ''}'; allowed is any text. Give one with --set.",
            kind="set_name",
        )
    return name


def name_from_origin(origin: Path) -> str:
    """Return the name of a data set, from that of its manifest or folder."""
    if origin.suffix and not origin.is_dir():
        return origin.parent.name if origin.stem.lower() in _PLAIN_STEMS else origin.stem
    return origin.name


def _parse(value: object) -> SetSource:
    if isinstance(value, str):  # written before sets were found by relative paths
        origin = Path(value)
        is_folder = origin.is_dir() or not origin.suffix
        return SetSource(origin, origin if is_folder else origin.parent, follows_links=not is_folder)
    if not isinstance(value, Mapping):
        raise TypeError(value)
    below = value["below_gallery"]
    return SetSource(
        Path(value["origin"]),
        Path(value["root"]),
        None if below is None else str(below),
        follows_links=bool(value["follows_links"]),
    )


def _describe(source: SetSource) -> dict[str, object]:
    return {
        "origin": str(source.origin),
        "root": str(source.root),
        "below_gallery": source.below_gallery,
        "follows_links": source.follows_links,
    }


def _find_given(source: Path) -> Path:
    """Return the manifest or folder; of an embeddings folder, the manifest it was made from."""
    if (source / INFO_NAME).is_file():
        manifest = read_info(source).facts.get("manifest")
        if isinstance(manifest, str) and Path(manifest).is_file():
            return Path(manifest)
    return source


def _see_from(origin: Path, gallery: GalleryPlace) -> str | None:
    if not isinstance(gallery, Path):
        return None
    try:
        return Path(os.path.relpath(origin, gallery.resolve())).as_posix()
    except ValueError:  # another drive
        return None


# ---------------------------------------------------------------- a collection that was moved


@final
class MovedFiles:
    """Gives the paths of files where they are now, if they were moved together with the gallery.

    Where sources are is looked up once; a search does not wait for a disk.
    """

    def __init__(self, gallery: GalleryPlace) -> None:
        sources = [(each, each.find(gallery)) for each in read_sources(gallery).values()]
        self._moves = [(str(was.root), str(now.root)) for was, now in sources if was.root != now.root]

    def adapt(self, rows: pa.Table) -> pa.Table:
        """Return rows of a store with the paths of moved files."""
        if not self._moves or "path" not in rows.schema.names:
            return rows
        path = rows["path"]
        for old, new in self._moves:
            rest = pc.utf8_slice_codeunits(path, len(old), None)
            if "\\" in old and os.sep == "/":  # written on Windows
                rest = pc.replace_substring(rest, "\\", "/")
            is_below = pc.match_substring_regex(path, f"^{re.escape(old)}[/\\\\]")
            path = pc.if_else(is_below, pc.binary_join_element_wise(new, rest, ""), path)
        return rows.set_column(rows.schema.get_field_index("path"), rows.schema.field("path"), path)


# ---------------------------------------------------------------- links


@final
class LinkCheck:
    """Tells which files below a folder are really elsewhere; each folder's links are followed once."""

    def __init__(self, root: Path) -> None:
        self._named = _with_separator(str(root))
        self._real = _with_separator(os.path.realpath(root))
        self._real_folder: dict[str, str] = {}

    def leads_outside(self, path: Path) -> bool:
        """Tell whether a path that lies below the folder leads out of it.

        Of a path that says itself that it lies elsewhere, its owner knows.
        """
        name = str(path)
        if not name.startswith(self._named):
            return False
        folder, _, last = name.rpartition(os.sep)
        if folder not in self._real_folder:
            self._real_folder[folder] = os.path.realpath(folder)
        real = f"{self._real_folder[folder]}{os.sep}{last}"
        if os.path.islink(real):  # noqa: PTH114 - a third of the time, for each file of a collection
            real = os.path.realpath(real)
        return not real.startswith(self._real)


def _with_separator(folder: str) -> str:
    return folder if folder.endswith(os.sep) else folder + os.sep
