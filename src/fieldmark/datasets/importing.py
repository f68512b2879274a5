"""The verb `data import`: a known layout becomes a manifest, and what was left is listed with its reason."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fieldmark.data.manifest import write_manifest
from fieldmark.data.taxonomy import read_taxonomy
from fieldmark.datasets.checks.findings import count_items, count_lines
from fieldmark.datasets.importers.folders import import_folders
from fieldmark.datasets.importers.harvest import Harvest, SharedGroups, count_shared_groups
from fieldmark.datasets.importers.pku import import_pku
from fieldmark.datasets.importers.table import import_table

SHOWN_EXAMPLES = 6


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import took, what it left and why."""

    manifest: Path
    harvest: Harvest
    counts: Mapping[str, Mapping[str, int]]
    shared_groups: tuple[SharedGroups, ...]

    def to_json(self) -> dict[str, object]:
        """The plain values that `--json` prints."""
        return {
            "manifest": str(self.manifest),
            "item_count": len(self.harvest.items),
            "class_count": self._class_count(),
            "counts": {medium: dict(splits) for medium, splits in self.counts.items()},
            "left": [{"place": each.item_id, "kind": each.kind, "detail": each.message} for each in self.harvest.left],
            "left_counts": dict(Counter(each.kind for each in self.harvest.left)),
            "notes": list(self.harvest.notes),
            "sharing_group_with_train": {each.medium.value: each.sharing for each in self.shared_groups},
        }

    def to_text(self) -> str:
        """The counts, what was left by kind with its first few places, and the notes."""
        lines = [f"{len(self.harvest.items):,} items of {self._class_count():,} classes in {self.manifest}"]
        lines += count_lines(self.counts)
        for kind, count in Counter(each.kind for each in self.harvest.left).items():
            shown = [each for each in self.harvest.left if each.kind == kind][:SHOWN_EXAMPLES]
            lines.append(f"left: {kind}, {count:,}")
            lines += [f"  {each.item_id}: {each.message}" for each in shown]
            lines += [f"  and {count - SHOWN_EXAMPLES:,} more; --json lists all"] if count > SHOWN_EXAMPLES else []
        lines += [f"note: {note}" for note in self.harvest.notes]
        lines += [
            f"warning: {each.sharing:,} of the {each.total:,} test items of {each.medium} share their group with train."
            for each in self.shared_groups
            if each.sharing
        ]
        return "\n".join(lines)

    def _class_count(self) -> int:
        return len({item.class_name for item in self.harvest.items if item.class_name is not None})


def import_lists(source: Path, *, out: Path, media: Path | None = None, taxonomy: Path | None = None) -> ImportReport:
    """Makes a manifest of the list files of PKU FG-XMedia.

    Args:
        media: What paths in the lists are relative to; None takes the folder that holds the lists.

    Raises:
        ManifestError: There is no list.
        ManifestError: The taxonomy is not valid.
    """
    known = read_taxonomy(taxonomy) if taxonomy else None
    return _write(import_pku(source, media=media, taxonomy=known), out)


def import_folder(source: Path, *, out: Path, taxonomy: Path | None = None) -> ImportReport:
    """Makes a manifest of a folder of files.

    Raises:
        ManifestError: It is no folder, or holds no file.
        ManifestError: The taxonomy is not valid.
    """
    known = read_taxonomy(taxonomy) if taxonomy else None
    return _write(import_folders(source, taxonomy=known), out)


def import_csv(
    source: Path,
    *,
    out: Path,
    columns: Mapping[str, str] | None = None,
    values: Mapping[str, str] | None = None,
    media: Path | None = None,
    taxonomy: Path | None = None,
) -> ImportReport:
    """Makes a manifest of any table; the arguments are those of `import_table`.

    Raises:
        ManifestError: The file is no table.
        ManifestError: A mapping names a column that is not there.
        ManifestError: The taxonomy is not valid.
    """
    known = read_taxonomy(taxonomy) if taxonomy else None
    return _write(import_table(source, columns=columns, values=values, media=media, taxonomy=known), out)


def _write(harvest: Harvest, out: Path) -> ImportReport:
    write_manifest(harvest.items, out)
    return ImportReport(out, harvest, count_items(harvest.items), count_shared_groups(harvest.items))
