"""Taxonomies to resolve names by: a file of the user, or the world lists of birds that a package carries."""

from pathlib import Path

from fieldmark.data.taxonomy import Taxonomy, read_taxonomy
from fieldmark.data.world_list import AVILIST, read_world_list


def load_taxonomy(source: Path | str | None) -> Taxonomy | None:
    """Return a taxonomy: a file, or `avilist`, whose classes are the scientific names of species; None for None.

    Raises:
        ManifestError: The file is no taxonomy.
        MissingExtraError: The package with the lists is not installed.
    """
    if source is None:
        return None
    if str(source) == AVILIST and not Path(source).exists():
        return read_world_list()
    return read_taxonomy(Path(source))
