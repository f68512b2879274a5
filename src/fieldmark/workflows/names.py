"""The class that a text names: a class of the gallery or of its model, by its name or, with a taxonomy, any other."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from fieldmark.data.taxonomy import Taxon, Taxonomy, name_key, read_taxonomy

TAXONOMY_NAME = "taxonomy.csv"

FRAME_WORDS = frozenset(
    "a an the of for by and with in any all some this that my find show search me like "  # noqa: SIM905 - reads as text
    "photo photos picture pictures image images video videos clip clips sound sounds recording recordings text texts "
    "song songs call calls singing calling voice bird birds species male males female females adult adults "
    "young juvenile juveniles".split()
)
"""English words that people put around a name: "song of the blue jay"."""

REGION_WORDS = frozenset(["northern", "southern", "eastern", "western", "american", "european", "eurasian", "common"])
"""What a full English name says before the name that a collection may use alone: "northern cardinal"."""


def class_named(text: str, *, folder: Path, class_names: Iterable[str]) -> str | None:
    """The class that a text names, in any letter case, spacing and punctuation; None for no class.

    The whole text is a name, or it is a name in the plural, with words such as "song of the" around it, or with a
    region before it. A text that says more than that describes and does not name.

    Args:
        folder: Where a taxonomy may lie.

    Raises:
        TaxonomyError: The taxonomy there is broken.

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
