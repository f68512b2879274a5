"""Write the records of items for other programs: as Darwin Core, or as iNaturalist exports them."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fieldmark.data.manifest import read_manifest
from fieldmark.errors import write_count
from fieldmark.io import write_bytes
from fieldmark.records.darwin_core import collect_records, write_archive, write_darwin_csv, write_inaturalist_csv
from fieldmark.types import Item, Medium

RecordFormat = Literal["dwca", "dwc", "inaturalist"]


@dataclass(frozen=True, slots=True)
class RecordExport:
    """The records that were written.

    Args:
        left_count: Media that the format has no place for.
    """

    file: Path
    record_count: int
    item_count: int
    left_count: int = 0

    def to_text(self) -> str:
        """The counts in a line, and what is left out in a second."""
        text = f"{self.file}: {write_count(self.record_count, 'record')} with {self.item_count:,} media"
        left = "1 video is" if self.left_count == 1 else f"{self.left_count:,} videos are"
        return f"{text}\n{left} left out: iNaturalist has none" if self.left_count else text


def export_manifest(manifest: Path, *, out: Path, file_format: RecordFormat = "dwca") -> RecordExport:
    """Write the records of a manifest.

    Raises:
        ManifestError: The manifest is not valid.
        OSError: The file cannot be written.
    """
    return export_items(read_manifest(manifest), out=out, file_format=file_format, title=manifest.stem)


def export_items(items: Iterable[Item], *, out: Path, file_format: RecordFormat, title: str) -> RecordExport:
    """Write the records of some items; media of one record stand together.

    Args:
        title: Of the data set.

    Raises:
        OSError: The file cannot be written.
    """
    given = tuple(items)
    records = collect_records(given)
    left_count = 0
    match file_format:
        case "dwca":
            content = write_archive(records, title=title)
        case "dwc":
            content = write_darwin_csv(records).encode()
        case "inaturalist":
            content = write_inaturalist_csv(given).encode()
            left_count = sum(item.medium is Medium.VIDEO for item in given)
    write_bytes(out, content)
    return RecordExport(out, len(records), len(given) - left_count, left_count)
