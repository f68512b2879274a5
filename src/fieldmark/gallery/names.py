"""The class or species that a text names."""

import json
import logging
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from fieldmark.data.taxonomy import Taxon, Taxonomy, find_taxonomy_beside, read_taxonomy, write_taxonomy
from fieldmark.errors import DamagedGalleryError, EncoderChangedError, EncoderFilesError, MissingExtraError
from fieldmark.gallery.layout import GalleryLayout
from fieldmark.io import write_text
from fieldmark.names import name_key, normalize_name
from fieldmark.types import Medium

logger = logging.getLogger(__name__)

_FRAME_WORDS = frozenset(
    "a an the of for by and with in any all some this that my find show search me like "  # noqa: SIM905 - reads as text
    "photo photos picture pictures image images video videos clip clips sound sounds recording recordings text texts "
    "song songs call calls singing calling voice bird birds species male males female females adult adults "
    "young juvenile juveniles".split()
)
"""English words that people put around a name: "song of the blue jay"."""

_REGION_WORDS = frozenset(["northern", "southern", "eastern", "western", "american", "european", "eurasian", "common"])
"""Words that a full English name begins with and a collection may omit: "northern" in "northern cardinal"."""


def find_named_class(
    text: str, *, folder: Path, class_names: Iterable[str], species: Mapping[str, Sequence[str]] | None = None
) -> str | None:
    """Return the class that a text names, in any letter case, spacing and punctuation; None for no class.

    A class has its own name, its names in a taxonomy, and the names that encoders have for its species. A species
    that only encoders know is a class too; its name is the one that the text uses.

    The whole text is a name, or a name in the plural, with words such as "song of the" around it, or with a region
    before it. A text that says more is a description and names no class.

    Args:
        folder: Where a taxonomy may lie.
        species: As `read_species` returns it.

    Raises:
        ManifestError: The taxonomy there is broken.

    Example:
        >>> find_named_class("Song of the northern cardinal", folder=Path(), class_names=["Cardinal", "Blue_Jay"])
        'Cardinal'
    """
    path = find_taxonomy_beside(folder)
    known = Taxonomy(tuple(Taxon(name) for name in class_names))
    taxonomies = (read_taxonomy(path), known) if path.is_file() else (known,)
    for name in _names_in(text):
        for taxonomy in taxonomies:
            if name_key(name) and (found := taxonomy.class_named(name)) is not None:
                return found
    for name in _names_in(text):
        for synonym in (synonyms := (species or {}).get(normalize_name(name), ())):
            if (found := known.class_named(synonym)) is not None:
                return found
        if synonyms:
            return next(each for each in synonyms if normalize_name(each) == normalize_name(name))
    return None


def _names_in(text: str) -> Iterator[str]:
    """Yield what may be the name in a text, the whole text first."""
    yield text
    words = re.findall(r"[^\s,;:.!?\"()]+", text)
    while words and words[0].casefold() in _FRAME_WORDS:
        del words[0]
    while words and words[-1].casefold() in _FRAME_WORDS:
        del words[-1]
    while words:
        name = " ".join(words)
        yield name
        yield name.removesuffix("s")
        yield name.removesuffix("es")
        if words[0].casefold() not in _REGION_WORDS:
            return
        del words[0]


def copy_taxonomy(source: Path, *, folder: Path) -> None:
    """Copy the taxonomy of a folder, or beside a manifest, into a gallery, so that texts find classes by any name."""
    path = find_taxonomy_beside(source if source.is_dir() else source.parent)
    if path.is_file():
        write_taxonomy(read_taxonomy(path), GalleryLayout(folder).taxonomy)


def record_species(
    folder: Path, *, media: Collection[Medium], named_species: Callable[[Medium], Sequence[Sequence[str]]]
) -> None:
    """Write the species that encoders name into a gallery, so that a text finds them where the encoders are missing.

    Media that were recorded before stay as they are; an encoder that cannot be loaded here is skipped.

    Args:
        named_species: Gives the species of a medium's encoder, each with all its names.

    Raises:
        DamagedGalleryError: The file that is there cannot be read.
        OSError: The file cannot be written.
    """
    path = GalleryLayout(folder).species
    recorded = _read_recorded(path)
    found: dict[str, Sequence[Sequence[str]]] = {}
    for medium in media:
        if medium.value in recorded:
            continue
        try:
            found[medium.value] = named_species(medium)
        except (MissingExtraError, EncoderFilesError, EncoderChangedError) as error:
            logger.warning("Texts will not find species by the names of the %s encoder: %s", medium, error)
    if any(found.values()):
        write_text(path, json.dumps({**recorded, **found}, ensure_ascii=False))


def read_species(folder: Path) -> dict[str, tuple[str, ...]]:
    """Return all names of each species that a gallery's encoders know, by each name in the form of `normalize_name`.

    Raises:
        DamagedGalleryError: The file cannot be read.
    """
    names: dict[str, tuple[str, ...]] = {}
    for groups in _read_recorded(GalleryLayout(folder).species).values():
        for group in groups:
            for name in group:
                key = normalize_name(name)
                names[key] = tuple(dict.fromkeys((*names.get(key, ()), *group)))
    names.pop("", None)
    return names


def _read_recorded(path: Path) -> dict[str, list[list[str]]]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        return {str(medium): [list(map(str, group)) for group in groups] for medium, groups in value.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise DamagedGalleryError(path=path, reason=f"it is not a list of species ({error})") from error
