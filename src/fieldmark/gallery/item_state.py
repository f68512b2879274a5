"""The state of an item when it was indexed: its content, its facts, and how its file looked from outside."""

import hashlib
import os
import time
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import fields
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple, final

import filelock
import pyarrow as pa
import pyarrow.parquet as pq

from fieldmark.data.folder import write_stamp
from fieldmark.errors import MediaError
from fieldmark.gallery.files import GalleryPlace, open_files
from fieldmark.gallery.layout import GalleryLayout
from fieldmark.io import open_replacement
from fieldmark.media.video import list_frame_files
from fieldmark.types import Form, Item, Medium

# ---------------------------------------------------------------- content and facts


def hash_states(items: Sequence[Item], content_hashes: Mapping[str, str], *, root: Path) -> dict[str, str]:
    """Return the state of each item by id: it changes with the content and with any fact, such as a label.

    Args:
        items: Each item once, or as often as it has segments.
        root: The folder of the source: a file that lies below it at the same path is the same.
    """
    by_id = {item.item_id: item for item in items}
    return {item_id: hash_state(item, content_hashes[item_id], root=root) for item_id, item in by_id.items()}


def hash_state(item: Item, content_hash: str, *, root: Path) -> str:
    """Return the state of one item; see `hash_states`."""
    return _join_state(content_hash, hash_facts(item, root=str(root)))


def _join_state(content_hash: str, facts_hash: str) -> str:
    return f"{content_hash}-{facts_hash}"


def read_content_hash(state: str) -> str:
    """Return the hash of an item's content alone, from its state."""
    return state.partition("-")[0]


_NAMES = tuple(each.name for each in fields(Item) if each.name != "path")
_DEFAULTS = tuple(each.default for each in fields(Item) if each.name != "path")
_read_facts = attrgetter(*_NAMES)


def hash_facts(item: Item, *, root: str) -> str:
    """Return a hash of what is known of an item beside its content.

    A fact that has its default does not count, so that a fact which a later fieldmark learns changes no item. Of a
    path below the root only the part below it counts, so that a collection may be moved as a whole.
    """
    values = zip(_NAMES, _read_facts(item), _DEFAULTS, strict=True)
    known = [(name, str(value)) for name, value, default in values if value is not default and value != default]
    if item.path is not None:
        path = str(item.path)
        below = path[len(root) + 1 :] if path.startswith(root + os.sep) else path
        known.append(("path", below.replace(os.sep, "/")))
    return hashlib.sha256(repr(known).encode("utf-8", "surrogatepass")).hexdigest()[:16]


# ---------------------------------------------------------------- files from outside

_SETTLED_NANOSECONDS = 2_000_000_000
"""A file that was changed less than this before it was looked at may change again within one tick of a file system's
clock (two seconds on FAT), and look the same."""


class _Known(NamedTuple):
    """A file as it was when its content was read.

    Args:
        plain_facts: The hash of its item's facts where these are all by which a folder knows a file; empty for others.
    """

    stamp: str
    content_hash: str
    medium: str
    plain_facts: str


_SCHEMA = pa.schema([(name, pa.string()) for name in ("item_id", *_Known._fields)])
_Columns = tuple[list[str], ...]
"""The columns of the list of files, as in `_SCHEMA`: 100,000 objects for as many files would cost more than a walk."""


@final
class FileStamps:
    """Size and modification time of files beside the hash of their content, so that unchanged files are not read.

    A cache: what is missing or damaged is read again. An entry counts only as long as the store holds the same content.
    Files are seen from one machine, so this stays there even where the gallery is elsewhere.

    Args:
        states: Of the items of a set, as the store holds them.
        root: The folder of the set's source; None where nothing is noted.
        is_trusted: Whether a file that looks the same is taken to be the same.
    """

    def __init__(
        self, folder: GalleryPlace, states: Mapping[str, str], *, root: Path | None = None, is_trusted: bool
    ) -> None:
        layout = GalleryLayout(open_files(folder).local_folder)
        self._path = layout.files
        self._lock = layout.sets_lock
        self._now = time.time_ns()
        self._root = root
        self._states = states
        self._seen: dict[str, str | None] = {}
        self._found: dict[str, _Known] = {}
        self._known = _read_columns(self._path) if is_trusted else _NOTHING
        self._row_by_id = dict(zip(self._known[0], range(len(self._known[0])), strict=True))

    def list_plain(self, *, media: Collection[Medium]) -> dict[str, str]:
        """Return the stamps of those files, by id, whose items are unchanged as long as they look as they did.

        They are known by nothing but their names within the folder, and the store holds them as they were.
        """
        wanted = {each.value for each in media}
        return {
            item_id: stamp
            for item_id, stamp, content_hash, medium, plain_facts in zip(*self._known, strict=True)
            if plain_facts and medium in wanted and self._states.get(item_id) == _join_state(content_hash, plain_facts)
        }

    def recall_medium(self, item_ids: Iterable[str], path: Path) -> Medium | None:
        """Return the medium of a file that looks as it did under one of some ids; None where it has to be read."""
        known = next(filter(None, map(self._recall, item_ids)), None)
        if known is None or self._look(path) != known.stamp:
            return None
        return Medium(known.medium)

    def recall_content(self, item: Item) -> str | None:
        """Return the content hash of an item whose file looks as it did; None where it has to be read."""
        known = self._recall(item.item_id)
        if known is None or known.medium != item.medium.value or self._stamp(item) != known.stamp:
            return None
        return known.content_hash

    def note(self, items: Iterable[Item], content_hashes: Mapping[str, str]) -> None:
        """Note the content of files that were looked at before they were read.

        Args:
            items: As their source has them.
        """
        for item in items:
            stamp = self._stamp(item)
            if stamp is not None:
                content_hash, facts = content_hashes[item.item_id], self._hash_plain_facts(item)
                self._found[item.item_id] = _Known(stamp, content_hash, item.medium.value, facts)

    def look_at(self, items: Iterable[Item]) -> None:
        """Look at files before they are read, so that a change meanwhile is seen later."""
        for item in items:
            self._stamp(item)

    def write(self, *, gone: Collection[str] = ()) -> None:
        """Write down what was noted, beside what is known of other items."""
        if not self._found and not gone:
            return
        with filelock.FileLock(self._lock):
            item_ids, *facts = _read_columns(self._path)
            known = dict(zip(item_ids, map(_Known._make, zip(*facts, strict=True)), strict=True)) | self._found
            for item_id in gone:
                known.pop(item_id, None)
            columns = [list(known), *([getattr(each, name) for each in known.values()] for name in _Known._fields)]
            with open_replacement(self._path) as file:
                pq.write_table(pa.Table.from_arrays([pa.array(c, pa.string()) for c in columns], schema=_SCHEMA), file)

    def _recall(self, item_id: str) -> _Known | None:
        """Return a file as it was when its content was read, if the store holds that content."""
        row, state = self._row_by_id.get(item_id), self._states.get(item_id)
        if row is None or state is None:
            return None
        known = _Known(*(column[row] for column in self._known[1:]))
        return known if read_content_hash(state) == known.content_hash else None

    def _hash_plain_facts(self, item: Item) -> str:
        """Return the hash of the facts of an item that a folder knows by its name alone; empty for others."""
        if self._root is None or not unicodedata.is_normalized("NFC", item.item_id):  # whose id other files decide
            return ""
        is_plain = item == Item(item.item_id, item.medium, path=self._root / item.item_id)
        return hash_facts(item, root=str(self._root)) if is_plain else ""

    def _stamp(self, item: Item) -> str | None:
        """Return how the file of an item, or its many files, look now; None where that tells nothing."""
        if item.path is None:
            return None
        if not item.extra or item.form is not Form.FRAMES:
            return self._look(item.path)
        try:
            stamps = [self._look(path) for path in list_frame_files(item.path)]
        except MediaError:
            return None
        return None if None in stamps else hashlib.sha256(" ".join(map(str, stamps)).encode()).hexdigest()

    def _look(self, path: Path) -> str | None:
        """Return size and modification time of a file, as they were when they were first asked for."""
        name = str(path)
        if name not in self._seen:
            try:
                found = os.stat(name)  # noqa: PTH116 - a third of the time, for each file of a collection
            except (OSError, ValueError):
                self._seen[name] = None
            else:
                is_settled = self._now - found.st_mtime_ns > _SETTLED_NANOSECONDS
                self._seen[name] = write_stamp(found) if is_settled else None
        return self._seen[name]


_NOTHING: _Columns = ([],) * len(_SCHEMA)


def _read_columns(path: Path) -> _Columns:
    try:
        table = pq.ParquetFile(path).read()
        return tuple(table[name].to_pylist() for name in _SCHEMA.names)
    except (OSError, pa.ArrowException, KeyError):
        return _NOTHING
