"""The class that a text names: a class of the gallery or of its model, by its name or, with a taxonomy, any other."""

from collections.abc import Iterable
from pathlib import Path

from fieldmark.data.taxonomy import Taxon, Taxonomy, name_key, read_taxonomy

TAXONOMY_NAME = "taxonomy.csv"


def class_named(text: str, *, folder: Path, class_names: Iterable[str]) -> str | None:
    """The class that the whole text names, in any letter case, spacing and punctuation; None for no class.

    Args:
        folder: Where a taxonomy may lie.

    Raises:
        TaxonomyError: The taxonomy there is broken.
    """
    if not name_key(text):
        return None
    path = folder / TAXONOMY_NAME
    known = Taxonomy(tuple(Taxon(name) for name in class_names))
    named = read_taxonomy(path).class_named(text) if path.is_file() else None
    return named or known.class_named(text)
