"""The names of classes and species that a gallery keeps: its taxonomy, and the species of its encoders."""

import json
import logging
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from fieldmark.data.taxonomy import find_taxonomy_beside, read_taxonomy, write_taxonomy
from fieldmark.errors import DamagedGalleryError, EncoderChangedError, EncoderFilesError, MissingExtraError
from fieldmark.gallery.files import GalleryFiles, GalleryPlace, open_files
from fieldmark.gallery.layout import GalleryFile
from fieldmark.types import MEDIA, Medium

logger = logging.getLogger(__name__)


def copy_taxonomy(source: Path, *, folder: GalleryPlace) -> None:
    """Copy the taxonomy of a folder, or beside a manifest, into a gallery, so that texts find classes by any name."""
    path = find_taxonomy_beside(source if source.is_dir() else source.parent)
    if path.is_file():
        with TemporaryDirectory() as temporary:
            written = Path(temporary) / GalleryFile.TAXONOMY
            write_taxonomy(read_taxonomy(path), written)
            open_files(folder).write(GalleryFile.TAXONOMY, written.read_bytes())


def record_species(
    folder: GalleryPlace, *, media: Collection[Medium], named_species: Callable[[Medium], Sequence[Sequence[str]]]
) -> None:
    """Write the species that encoders name into a gallery, so that a text finds them where the encoders are missing.

    Media that were recorded before stay as they are; an encoder that cannot be loaded here is skipped.

    Args:
        named_species: Gives the species of a medium's encoder, each with all its names.

    Raises:
        DamagedGalleryError: The file that is there cannot be read.
        OSError: The file cannot be written.
    """
    files = open_files(folder)
    recorded = _read_recorded(files)
    found: dict[str, Sequence[Sequence[str]]] = {}
    for medium in media:
        if medium.value in recorded:
            continue
        try:
            found[medium.value] = named_species(medium)
        except (MissingExtraError, EncoderFilesError, EncoderChangedError) as error:
            logger.warning("Texts will not find species by the names of the %s encoder: %s", medium, error)
    if any(found.values()):
        files.write(GalleryFile.SPECIES, json.dumps({**recorded, **found}, ensure_ascii=False).encode())


def read_species(folder: GalleryPlace) -> dict[Medium, tuple[tuple[str, ...], ...]]:
    """Return the species that the encoder of each medium tells apart, each with all its names.

    Raises:
        DamagedGalleryError: The file cannot be read.
    """
    recorded = _read_recorded(open_files(folder))
    return {medium: tuple(map(tuple, recorded[medium.value])) for medium in MEDIA if recorded.get(medium.value)}


def _read_recorded(files: GalleryFiles) -> dict[str, list[list[str]]]:
    path = files.find(GalleryFile.SPECIES)
    if path is None:
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        return {str(medium): [list(map(str, group)) for group in groups] for medium, groups in value.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise DamagedGalleryError(path=path, reason=f"it is not a list of species ({error})") from error
