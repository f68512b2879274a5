"""The files of a gallery's folder: the only module that names them."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from fieldmark.data.taxonomy import find_taxonomy_beside


class GalleryFile(StrEnum):
    """The names of the files that all processes of a gallery share, wherever its segments are."""

    CHECKPOINT = "checkpoint.safetensors"
    CALIBRATION = "calibration.json"
    SETS = "sets.json"
    FINISHED = "finished.txt"
    LABELS = "saved_classes.json"
    TAXONOMY = "taxonomy.csv"
    SPECIES = "species.json"
    NAMES = "names.json"
    MARKS = "marks.json"


@dataclass(frozen=True, slots=True)
class GalleryLayout:
    """The paths of one gallery; every file but the segments and the checkpoint may be missing.

    Args:
        folder: What a user calls the gallery.
    """

    folder: Path

    @property
    def checkpoint(self) -> Path:
        """The model that the embeddings come from."""
        return self.folder / GalleryFile.CHECKPOINT

    @property
    def segments(self) -> Path:
        """The folder of the store."""
        return self.folder / "segments"

    @property
    def calibration(self) -> Path:
        """The calibration of scores."""
        return self.folder / GalleryFile.CALIBRATION

    @property
    def sets(self) -> Path:
        """The source of each set."""
        return self.folder / GalleryFile.SETS

    @property
    def sets_lock(self) -> Path:
        """Held while `sets` is written."""
        return self.folder / "sets.lock"

    @property
    def files(self) -> Path:
        """Size and modification time of the media files, so that unchanged ones are not read."""
        return self.folder / "files.parquet"

    @property
    def finished(self) -> Path:
        """The version of the store for which the last `index` was done to its end."""
        return self.folder / GalleryFile.FINISHED

    @property
    def labels(self) -> Path:
        """The classes that people gave to items."""
        return self.folder / GalleryFile.LABELS

    @property
    def labels_lock(self) -> Path:
        """Held while `labels` is written."""
        return self.folder / ".saved_classes.json.lock"

    @property
    def taxonomy(self) -> Path:
        """Further names of the classes, copied from a source."""
        return find_taxonomy_beside(self.folder)

    @property
    def species(self) -> Path:
        """The species that encoders tell apart, by medium, each with all its names."""
        return self.folder / GalleryFile.SPECIES

    @property
    def names(self) -> Path:
        """Names of items, the subject, further names of species, and words of texts."""
        return self.folder / GalleryFile.NAMES

    @property
    def marks(self) -> Path:
        """Marks of species, as sources tell them."""
        return self.folder / GalleryFile.MARKS


@dataclass(frozen=True, slots=True)
class StoreLayout:
    """The paths of a store that LanceDB keeps in a folder.

    Args:
        folder: `GalleryLayout.segments`.
    """

    folder: Path

    table_name = "segments"

    @property
    def versions(self) -> Path:
        """One manifest for each version of the table."""
        return self.folder / f"{self.table_name}.lance" / "_versions"

    @property
    def data(self) -> Path:
        """The rows of all versions."""
        return self.folder / f"{self.table_name}.lance" / "data"

    @property
    def newest_version(self) -> Path:
        """The number of the newest version that was written to the end."""
        return self.folder / "newest.txt"

    @property
    def write_lock(self) -> Path:
        """Held by the one process that writes."""
        return self.folder / "write.lock"

    @property
    def approximation(self) -> Path:
        """The measured recall of a large store's index."""
        return self.folder / "approximation.json"
