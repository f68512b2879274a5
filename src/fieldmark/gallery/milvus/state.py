"""The totals of a store in Milvus, and how they change while a writer holds its lock."""

import json
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from fieldmark.errors import DamagedGalleryError, GalleryError
from fieldmark.gallery.milvus.connection import Row
from fieldmark.gallery.milvus.files import MilvusFiles
from fieldmark.gallery.milvus.rows import decode_rows

STATE, PENDING = "store.json", "writing"
"""The files of the state, and of the mark that a write has begun."""
FORMAT = "1"

Key = tuple[str, str | None, str | None, str | None]
"""Medium, class, set and license."""


@dataclass(frozen=True, slots=True)
class State:
    """The facts of a store that belong to no row.

    Args:
        written_at: The engine's time of the newest write of rows: whoever knows of it sees these rows.
        counts: Items by medium, class, set and license.
    """

    fingerprint: str
    dim: int
    index_kind: str
    version: str
    written_at: int
    segment_count: int
    counts: Mapping[Key, int]

    def to_json(self) -> bytes:
        """Return the content of the file."""
        value = {
            "format": FORMAT,
            **{name: getattr(self, name) for name in ("fingerprint", "dim", "index_kind", "version", "written_at")},
            "segment_count": self.segment_count,
            "counts": [[*key, count] for key, count in self.counts.items() if count],
        }
        return json.dumps(value).encode()


def parse_state(content: bytes, files: MilvusFiles) -> State:
    """Read the content of the file of the state.

    Raises:
        DamagedGalleryError: It is none.
        GalleryError: Another version of fieldmark wrote it.
    """
    try:
        value = json.loads(content)
        found_format = str(value["format"])
        state = State(
            fingerprint=str(value["fingerprint"]),
            dim=int(value["dim"]),
            index_kind=str(value["index_kind"]),
            version=str(value["version"]),
            written_at=int(value["written_at"]),
            segment_count=int(value["segment_count"]),
            counts={(each[0], each[1], each[2], each[3]): int(each[4]) for each in value["counts"]},
        )
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise DamagedGalleryError(path=str(files), reason=f"'{STATE}' is not what was written") from error
    if found_format != FORMAT:
        raise GalleryError(
            f"The gallery '{files}' has a store of format {found_format}; this fieldmark reads format {FORMAT}. "
            "Choose another name to build it again, or install the fieldmark that made it.",
            kind="gallery_format",
        )
    return state


class Load:
    """The state of a store while a writer holds its lock.

    Args:
        files: Where a mark says that a write has begun.
        state: As the lock was taken.
    """

    def __init__(self, files: MilvusFiles, state: State) -> None:
        self._files = files
        self.state = state
        self.is_marked = self.is_changed = self.is_broken = False
        self.published_at = time.monotonic()
        self.written: set[str] | None = None if any(state.counts.values()) else set()
        """The items written since, of a store that was empty; None for any other."""

    def mark(self) -> None:
        """Write down that rows are about to change."""
        if not self.is_marked:
            self._files.write_content(PENDING, b"1", is_held=True)
            self.is_marked = True


class Write:
    """The changes of one write to the counts."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self.is_marked = False
        self._change: Counter[Key] = Counter()
        self._segments = 0

    def has_none_of(self, items: Collection[str]) -> bool:
        """Tell whether it is known that the store has none of these items, by their keys; notes that it will."""
        written = self._load.written
        if written is None:
            return False
        is_new = written.isdisjoint(items)
        written.update(items)
        return is_new

    def mark(self) -> None:
        """Write down that rows are about to change."""
        self._load.mark()
        self.is_marked = True

    def note(self, *, gone: Sequence[Row], came: Sequence[Row]) -> None:
        """Count items that went and came, by their first rows."""
        for rows, sign in ((gone, -1), (came, 1)):
            for key in list_keys(rows):
                self._change[key] += sign
            self._segments += sign * sum(row["segment_count"] for row in rows)

    def apply(self) -> None:
        """Change the state as the write did."""
        state = self._load.state
        counts = {key: state.counts.get(key, 0) + self._change[key] for key in {**state.counts, **self._change}}
        self._load.state = replace(state, counts=counts, segment_count=state.segment_count + self._segments)
        self._load.is_changed = True


def list_keys(first_rows: Sequence[Row]) -> list[Key]:
    """Return what items are counted by, from their first rows."""
    facts = decode_rows(first_rows)
    columns = (facts[name].to_pylist() for name in ("medium", "class_name", "set_name", "license"))
    return list(zip(*columns, strict=True))
