"""The file of what a gallery's items are called, its subject, further names of its species, and words of its texts."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from fieldmark.errors import DamagedGalleryError
from fieldmark.gallery.files import GalleryPlace, open_files
from fieldmark.gallery.layout import GalleryFile
from fieldmark.subject import Subject

_FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True)
class GalleryNames:
    """The names of a gallery, as `index` found them.

    Args:
        subject: None in a gallery of an earlier version.
        called: The number of items that encoders surely call a species, by its name, without regard to labels.
        species: Further names, from world lists, of each species that is held or called so.
        words: Words of the gallery's texts, as `split_name` gives them.
    """

    subject: Subject | None = None
    called: Mapping[str, int] = field(default_factory=dict)
    species: tuple[tuple[str, ...], ...] = ()
    words: frozenset[str] = frozenset()


def write_gallery_names(names: GalleryNames, folder: GalleryPlace) -> None:
    """Write the file, whole or not at all."""
    value = {
        "format_version": _FORMAT_VERSION,
        "subject": names.subject,
        "called": names.called,
        "species": names.species,
        "words": sorted(names.words),
    }
    open_files(folder).write(GalleryFile.NAMES, json.dumps(value, ensure_ascii=False).encode())


def read_gallery_names(folder: GalleryPlace) -> GalleryNames:
    """Read the file; one that is missing says nothing.

    Raises:
        DamagedGalleryError: The file cannot be read.
    """
    path = open_files(folder).find(GalleryFile.NAMES)
    if path is None:
        return GalleryNames()
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        return GalleryNames(
            Subject(value["subject"]),
            {str(name): int(count) for name, count in value["called"].items()},
            tuple(tuple(map(str, names)) for names in value["species"]),
            frozenset(map(str, value["words"])),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedGalleryError(path=path, reason=f"its list of names cannot be read ({error!r})") from error
