"""The table of what was fetched: by it, another machine gets the same bytes or is told which differ."""

import csv
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from fieldmark.data.table import write_csv
from fieldmark.errors import ManifestError
from fieldmark.io import open_replacement

_SUFFIX = ".fetched.csv"
HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of a manifest, as it was fetched or found.

    Args:
        path: Relative to the folder that files are written to.
        status: `fetched`; `present` for a file that was there already; otherwise the kind of the fault.
        sha256: Of the file; empty for none.
        license: As the manifest gave it when the file was fetched.
        detail: Of the fault.
    """

    path: str
    status: str
    sha256: str = ""
    byte_count: str = ""
    address: str = ""
    final_address: str = ""
    content_type: str = ""
    etag: str = ""
    last_modified: str = ""
    fetched_at: str = ""
    license: str = ""
    detail: str = ""


_COLUMNS = tuple(each.name for each in fields(Entry))


def name_ledger(manifest: Path) -> Path:
    """Return the path of the table that belongs to a manifest."""
    return manifest.with_name(f"{manifest.stem}{_SUFFIX}")


def read_ledger(path: Path) -> dict[str, Entry]:
    """Return the entries of a table by path; none where there is no table yet.

    Raises:
        ManifestError: It is no such table.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise _refuse(path, str(error)) from error
    reader = csv.DictReader(io.StringIO(text, newline=""))
    if not {"path", "sha256"} <= set(reader.fieldnames or ()):
        raise _refuse(path, "it has no columns path and sha256")
    try:
        rows = [{name: row.get(name) or "" for name in _COLUMNS} for row in reader]
    except csv.Error as error:
        raise _refuse(path, str(error)) from error
    entries = [Entry(**row) for row in rows]
    if bad := [each.path for each in entries if each.sha256 and not HASH.fullmatch(each.sha256)]:
        raise _refuse(path, f"the sha256 of '{bad[0]}' is none")
    return {each.path: each for each in entries}


def _refuse(path: Path, reason: str) -> ManifestError:
    return ManifestError(
        f"'{path}' is no table of fetched files: {reason}. Give the one that was written beside the manifest, or "
        "remove it to start again.",
        kind="ledger",
    )


def write_ledger(path: Path, entries: Mapping[str, Entry]) -> None:
    """Write all entries, whole or not at all, by path.

    Raises:
        OSError: The file cannot be written.
    """
    ordered: Iterable[Entry] = (entries[name] for name in sorted(entries))
    with open_replacement(path) as file:
        write_csv(file, names=list(_COLUMNS), rows=(list(astuple(each)) for each in ordered))
