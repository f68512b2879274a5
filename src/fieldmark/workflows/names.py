"""The species that a text names: a class of the gallery or of its model, or one that the model's encoders know."""

import json
import logging
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from fieldmark.build import Model
from fieldmark.data.taxonomy import Taxon, Taxonomy, name_key, read_taxonomy
from fieldmark.errors import DamagedGalleryError, EncoderChangedError, EncoderFilesError, MissingExtraError
from fieldmark.io import write_text
from fieldmark.models.evidence import plain_name
from fieldmark.types import Medium

logger = logging.getLogger(__name__)

TAXONOMY_NAME = "taxonomy.csv"
SPECIES_NAME = "species.json"
"""In a gallery: the species that the encoders of its media tell apart, by medium, each with all its names."""

FRAME_WORDS = frozenset(
    "a an the of for by and with in any all some this that my find show search me like "  # noqa: SIM905 - reads as text
    "photo photos picture pictures image images video videos clip clips sound sounds recording recordings text texts "
    "song songs call calls singing calling voice bird birds species male males female females adult adults "
    "young juvenile juveniles".split()
)
"""English words that people put around a name: "song of the blue jay"."""

REGION_WORDS = frozenset(["northern", "southern", "eastern", "western", "american", "european", "eurasian", "common"])
"""What a full English name says before the name that a collection may use alone: "northern cardinal"."""


def class_named(
    text: str, *, folder: Path, class_names: Iterable[str], species: Mapping[str, Sequence[str]] | None = None
) -> str | None:
    """The class that a text names, in any letter case, spacing and punctuation; None for no class.

    A class has its own name, those that a taxonomy gives it, and those that encoders have for its species. A species
    that only encoders know is a class too, by the name that the text has for it.

    The whole text is a name, or it is a name in the plural, with words such as "song of the" around it, or with a
    region before it. A text that says more than that describes and does not name.

    Args:
        folder: Where a taxonomy may lie.
        species: As `read_species` gives it.

    Raises:
        ManifestError: The taxonomy there is broken.

    Example:
        >>> class_named("Song of the northern cardinal", folder=Path(), class_names=["Cardinal", "Blue_Jay"])
        'Cardinal'
    """
    path = folder / TAXONOMY_NAME
    known = Taxonomy(tuple(Taxon(name) for name in class_names))
    taxonomies = (read_taxonomy(path), known) if path.is_file() else (known,)
    for name in _names_in(text):
        for taxonomy in taxonomies:
            if name_key(name) and (found := taxonomy.class_named(name)) is not None:
                return found
    for name in _names_in(text):
        for synonym in (synonyms := (species or {}).get(plain_name(name), ())):
            if (found := known.class_named(synonym)) is not None:
                return found
        if synonyms:
            return next(each for each in synonyms if plain_name(each) == plain_name(name))
    return None


def _names_in(text: str) -> Iterator[str]:
    """What may be the name in a text, the whole text first."""
    yield text
    words = re.findall(r"[^\s,;:.!?\"()]+", text)
    while words and words[0].casefold() in FRAME_WORDS:
        del words[0]
    while words and words[-1].casefold() in FRAME_WORDS:
        del words[-1]
    while words:
        name = " ".join(words)
        yield name
        yield name.removesuffix("s")
        yield name.removesuffix("es")
        if words[0].casefold() not in REGION_WORDS:
            return
        del words[0]


def keep_species(folder: Path, *, model: Model, media: Collection[Medium]) -> None:
    """Keeps what the encoders of some media name in a gallery's folder, so that a text finds it where they are not.

    An encoder that cannot be loaded here is passed over.

    Raises:
        DamagedGalleryError: What was kept before cannot be read.
        OSError: The file cannot be written.
    """
    kept = _read_kept(folder / SPECIES_NAME)
    found: dict[str, Sequence[Sequence[str]]] = {}
    for medium in media:
        if medium.value in kept:
            continue
        try:
            found[medium.value] = model.named_species(medium)
        except (MissingExtraError, EncoderFilesError, EncoderChangedError) as error:
            logger.warning("Texts will not find species by the names of the %s encoder: %s", medium, error)
    if any(found.values()):
        write_text(folder / SPECIES_NAME, json.dumps({**kept, **found}, ensure_ascii=False))


def read_species(folder: Path) -> dict[str, tuple[str, ...]]:
    """All names of the species that a gallery's encoders know, by each of them as `plain_name` has it.

    Raises:
        DamagedGalleryError: The file cannot be read.
    """
    names: dict[str, tuple[str, ...]] = {}
    for groups in _read_kept(folder / SPECIES_NAME).values():
        for group in groups:
            for name in group:
                key = plain_name(name)
                names[key] = tuple(dict.fromkeys((*names.get(key, ()), *group)))
    names.pop("", None)
    return names


def _read_kept(path: Path) -> dict[str, list[list[str]]]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        return {str(medium): [list(map(str, group)) for group in groups] for medium, groups in value.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise DamagedGalleryError(path=path, reason=f"it is no list of species ({error})") from error
