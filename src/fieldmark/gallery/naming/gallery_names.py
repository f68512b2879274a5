"""The file of what a gallery's items are called, its subject, further names of its species, and words of its texts."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fieldmark.errors import DamagedGalleryError
from fieldmark.gallery.layout import GalleryLayout
from fieldmark.io import write_text
from fieldmark.subject import Subject

_FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True)
class GalleryNames:
    """What `index` found out about the names of a gallery.

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


def write_gallery_names(names: GalleryNames, folder: Path) -> None:
    """Write the file, whole or not at all."""
    value = {
        "format_version": _FORMAT_VERSION,
        "subject": names.subject,
        "called": names.called,
        "species": names.species,
        "words": sorted(names.words),
    }
    write_text(GalleryLayout(folder).names, json.dumps(value, ensure_ascii=False))


def read_gallery_names(folder: Path) -> GalleryNames:
    """Read the file; one that is missing says nothing.

    Raises:
        DamagedGalleryError: The file cannot be read.
    """
    try:
        value = json.loads(GalleryLayout(folder).names.read_text(encoding="utf-8"))
        return GalleryNames(
            Subject(value["subject"]),
            {str(name): int(count) for name, count in value["called"].items()},
            tuple(tuple(map(str, names)) for names in value["species"]),
            frozenset(map(str, value["words"])),
        )
    except FileNotFoundError:
        return GalleryNames()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedGalleryError(path=folder, reason=f"its list of names cannot be read ({error!r})") from error
