"""Folders of files without a manifest: their items, the files that cannot be used, and those that are skipped."""

import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import final

from pathspec import GitIgnoreSpec

from fieldmark.errors import ConfigError, MediaError, MissingFileError, UnreadableMediaError, list_first
from fieldmark.media.loaders import detect_medium
from fieldmark.media.writing.encoding import decode_text
from fieldmark.types import Failure, Item, Medium

IGNORE_FILE = ".fieldmarkignore"
"""The file at the top of a folder that lists patterns of what to leave out, as `.gitignore` does."""

LINK_OUTSIDE = "link_outside"
"""Kind of the failure of a file or folder that a link leads to, out of the folder."""
HIDDEN, MACHINE, EXCLUDED = "hidden", "machine", "excluded"

_MACHINE_FOLDERS = re.compile(
    r"""
    @eadir | @__thumb | @tmp | @recently-snapshot | [~\#]snapshot | \#recycle | @recycle  # storage of Synology and QNAP
    | \$recycle\.bin | recycler | recycled | system\ volume\ information | found\.\d{3} | \$windows\..*  # Windows
    | lost\+found | lost\.dir | trash-\d+  # Linux, Android
    | __macosx | network\ trash\ folder | temporary\ items  # macOS
    | \.?thumbnails | thmbnl | _gsdata_ | .*\.lrdata | captureone  # programs and cameras that keep small copies
    """,
    re.IGNORECASE | re.VERBOSE,
)
"""Folders that machines make: bins, thumbnails, indexes. What lies in them is no collection."""
_MACHINE_FILES = frozenset(
    {"thumbs.db", "ehthumbs.db", "thumbs_vista.db", "ehthumbs_vista.db", "icon\r", "zbthumbnail.info"}
)
_MACHINE_SUFFIX = ".thm"
_MOST_EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class FolderChoice:
    """A user's choice among the files of a folder.

    Args:
        exclude: Patterns as in `.gitignore`, relative to the folder; those of its `.fieldmarkignore` come first.
        follows_links: Whether links that lead out of the folder are followed.
    """

    exclude: tuple[str, ...] = ()
    follows_links: bool = False


@dataclass(frozen=True, slots=True)
class PassedOver:
    """Files of a folder that are skipped for one reason, since they are no part of the collection.

    Args:
        reason: Hidden, of a machine, or excluded.
        file_count: All of them, those in folders too.
        examples: The first few files or folders.
    """

    reason: str
    file_count: int
    examples: tuple[str, ...]

    def to_text(self) -> str:
        """Return one line, such as `skipped 3 files of machines, in bins or among thumbnails: @eaDir`."""
        means = {
            HIDDEN: "hidden files",
            MACHINE: "files of machines, in bins or among thumbnails",
            EXCLUDED: f"files by --exclude or {IGNORE_FILE}",
        }
        return f"skipped {self.file_count:,} {means[self.reason]}: {list_first(self.examples, limit=_MOST_EXAMPLES)}"


@dataclass(frozen=True, slots=True)
class FolderContent:
    """The content of a folder.

    Args:
        items: Sorted by id.
        failures: Files that are of no medium or cannot be read, sorted by id, with the reasons of the loaders.
        unchanged: Ids of the files that look as they did; they are no items again.
    """

    items: tuple[Item, ...]
    failures: tuple[Failure, ...] = ()
    passed_over: tuple[PassedOver, ...] = ()
    unchanged: frozenset[str] = frozenset()


def list_folder(
    folder: Path,
    *,
    choice: FolderChoice | None = None,
    stamps: Mapping[str, str] | None = None,
    recall_medium: Callable[[str, Path], Medium | None] | None = None,
) -> FolderContent:
    """List every file under a folder as an item without a label.

    The id is the path within the folder, with composed characters (NFC), so that a folder has the same ids on every
    system; the medium is detected from the content. Each folder is entered once, whatever links lead to it.

    Args:
        stamps: How files looked (`write_stamp`) whose ids are their names as the disk has them; one that looks the same
            is listed by its id alone.
        recall_medium: Gives the medium of a file, by id and path, that need not be opened; None for one that must be.

    Raises:
        MissingFileError: There is no such folder.
        ConfigError: A pattern is not valid.
    """
    if not folder.is_dir():
        raise MissingFileError(path=folder)
    folder = folder.resolve()
    choice = choice or FolderChoice()
    walk = _Walk(folder, follows_links=choice.follows_links, excluded=_read_patterns(folder, choice.exclude))
    unchanged, names = _separate_unchanged(walk, stamps or {})
    items: list[Item] = []
    for name, item_id in zip(names, _assign_ids(names, unchanged), strict=True):
        path = folder / name
        try:
            medium = (recall_medium and recall_medium(item_id, path)) or _detect_medium(path)
            items.append(Item(item_id=item_id, medium=medium, path=path))
        except MediaError as error:
            walk.failures.append(Failure(item_id, error.kind, str(error)))
    return FolderContent(
        items=tuple(sorted(items, key=lambda item: item.item_id)),
        failures=tuple(sorted(walk.failures, key=lambda each: each.item_id)),
        passed_over=tuple(each.summarize(reason) for reason, each in sorted(walk.passed_over.items())),
        unchanged=unchanged,
    )


def write_stamp(found: os.stat_result) -> str:
    """Return size and modification time of a file: one that was written to has another stamp."""
    return f"{found.st_size}.{found.st_mtime_ns}"


def _separate_unchanged(walk: "_Walk", stamps: Mapping[str, str]) -> tuple[frozenset[str], list[str]]:
    """Return the ids of files that look as they did, and the names of all others within the folder.

    No path or item is made of an unchanged file: most of a large folder is unchanged, and looking at it is all there is
    to do.
    """
    unchanged, others = list[str](), list[str]()
    for name, entry in walk.list_files():
        stamp = stamps.get(name)
        is_same = stamp is not None and _stamp_entry(entry) == stamp
        (unchanged if is_same else others).append(name)
    return frozenset(unchanged), others


def _stamp_entry(entry: os.DirEntry[str]) -> str | None:
    try:
        return write_stamp(entry.stat())
    except OSError:
        return None


def _read_patterns(folder: Path, exclude: Sequence[str]) -> GitIgnoreSpec:
    """Return the patterns of the folder's own file and of the options.

    Raises:
        ConfigError: One is not valid, or the file cannot be read.
    """
    own = folder / IGNORE_FILE
    try:
        lines = decode_text(own.read_bytes()).text.splitlines() if own.is_file() else []
    except (OSError, ValueError) as error:
        raise ConfigError(f"'{own}' cannot be read: {error}. Replace it with UTF-8, one pattern a line.") from error
    for pattern in (*lines, *exclude):
        try:
            GitIgnoreSpec.from_lines([pattern])
        except ValueError as error:
            raise ConfigError(
                f"'{pattern}' is no pattern of files: {error}. Give one as in .gitignore, such as '*.tmp' or 'raw/'."
            ) from error
    return GitIgnoreSpec.from_lines([*lines, *exclude])


# ---------------------------------------------------------------- the walk


@dataclass(slots=True)
class _Skipped:
    """The files that were skipped for one reason, so far."""

    file_count: int = 0
    examples: list[str] = field(default_factory=list)

    def summarize(self, reason: str) -> PassedOver:
        return PassedOver(reason, self.file_count, tuple(dict.fromkeys(self.examples)))


_Found = tuple[str, os.DirEntry[str]]
"""The name of a file or folder within the folder that is listed, and how it was found."""


@final
class _Walk:
    """One way through a folder."""

    def __init__(self, folder: Path, *, follows_links: bool, excluded: GitIgnoreSpec) -> None:
        self._folder = folder
        self._follows_links = follows_links
        self._excluded = excluded if len(excluded) else None
        self._entered: set[tuple[int, int]] = set()
        self.failures: list[Failure] = []
        self.passed_over: defaultdict[str, _Skipped] = defaultdict(_Skipped)

    def list_files(self) -> Iterator[tuple[str, os.DirEntry[str]]]:
        """Yield the wanted files by their names within the folder, and note those that are skipped or not readable."""
        waiting = [""]
        while waiting:
            below = waiting.pop()
            folders, files = list[_Found](), list[_Found]()
            for entry in self._enter(below):
                (folders if _is_folder(entry) else files).append((below + entry.name, entry))
            wanted = [name for name, entry in folders if self._wants_folder(name, entry)]
            waiting += [f"{name}/" for name in reversed(wanted)]
            yield from (each for each in files if self._wants_file(*each))

    def _enter(self, below: str) -> Sequence[os.DirEntry[str]]:
        """Return the content of a folder, sorted; nothing of one that was entered before or cannot be read."""
        here = self._folder / below
        try:
            with os.scandir(here) as found:
                entries = sorted(found, key=attrgetter("name"))
        except OSError as error:
            unreadable = UnreadableMediaError(path=str(here), reason=str(error.strerror))
            self._fail(below, unreadable.kind, str(unreadable))
            return ()
        facts = here.stat()
        if (facts.st_dev, facts.st_ino) in self._entered:
            message = f"'{here}' is a link to a folder that was already read; its files are listed only once."
            self._fail(below, "repeated_folder", message)
            return ()
        self._entered.add((facts.st_dev, facts.st_ino))
        if not entries and below:
            self._fail(below, "empty", f"The folder '{here}' contains no files.")
        return entries

    def _wants_folder(self, name: str, entry: os.DirEntry[str]) -> bool:
        reason = self._find_reason(f"{name}/", entry, is_machine=bool(_MACHINE_FOLDERS.fullmatch(entry.name)))
        if reason is not None:
            count = sum(len(names) for _, _, names in os.walk(entry.path))
            self._skip(name, reason, count=count)
            return False
        return self._follows_links or not entry.is_symlink() or self._stays_inside(name, entry)

    def _wants_file(self, name: str, entry: os.DirEntry[str]) -> bool:
        lower = entry.name.lower()
        is_machine = lower in _MACHINE_FILES or lower.endswith(_MACHINE_SUFFIX)
        reason = self._find_reason(name, entry, is_machine=is_machine)
        if reason is not None:
            if name != IGNORE_FILE:
                self._skip(name, reason, count=1)
            return False
        return self._follows_links or not entry.is_symlink() or self._stays_inside(name, entry)

    def _find_reason(self, name: str, entry: os.DirEntry[str], *, is_machine: bool) -> str | None:
        """Return the reason to skip a file, or a folder, whose name ends in a slash; None if there is none."""
        if is_machine:
            return MACHINE
        if entry.name.startswith("."):
            return HIDDEN
        if self._excluded is None:
            return None
        return EXCLUDED if any(map(self._excluded.match_file, {_compose(name), _print_text(name)})) else None

    def _stays_inside(self, name: str, entry: os.DirEntry[str]) -> bool:
        """Return whether a link leads to a place within the folder; one that does not is listed."""
        target = Path(os.path.realpath(entry.path))
        if target.is_relative_to(self._folder):
            return True
        message = (
            f"'{entry.path}' is a link out of the folder, to '{target}'. To follow such links, add --follow-links."
        )
        self._fail(name, LINK_OUTSIDE, message)
        return False

    def _skip(self, name: str, reason: str, *, count: int) -> None:
        skipped = self.passed_over[reason]
        skipped.file_count += count
        if len(skipped.examples) <= _MOST_EXAMPLES:
            skipped.examples.append(_compose(name))

    def _fail(self, name: str, kind: str, message: str) -> None:
        item_id = _compose(name.removesuffix("/")) or os.curdir
        self.failures.append(Failure(item_id, kind, _print_text(message)))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False  # met again, and told, where it is opened


# ---------------------------------------------------------------- names


def _assign_ids(names: Sequence[str], taken: Collection[str]) -> Iterator[str]:
    """Yield the id of each file; where two names differ only in composition, those not composed stay as they are.

    Args:
        taken: Ids of further files.
    """
    composed = Counter(map(_compose, names))
    for name in names:
        item_id = _compose(name)
        yield item_id if composed[item_id] == 1 and item_id not in taken else _print_text(name)


def _compose(name: str) -> str:
    """Return the name of a file within its folder with composed characters."""
    return name if name.isascii() else unicodedata.normalize("NFC", _print_text(name))


def _detect_medium(path: Path) -> Medium:
    if path.as_posix() != _print(path):
        raise UnreadableMediaError(path=_print(path), reason="its name is not UTF-8")
    return detect_medium(path)


def _print(path: Path) -> str:
    return _print_text(path.as_posix())


def _print_text(text: str) -> str:
    return os.fsencode(text).decode("utf-8", errors="replace")


def find_spelling(path: Path) -> Path:
    """Return a path as the disk spells it, where a manifest composes its accents otherwise."""
    if str(path).isascii() or path.exists():
        return path
    for form in ("NFC", "NFD"):
        other = Path(unicodedata.normalize(form, str(path)))
        if other.exists():
            return other
    return _search_spelling(path) or path


def _search_spelling(path: Path) -> Path | None:
    """Look for each part of a path in its folder; some part may be composed, and another not."""
    found = Path(path.anchor)
    for part in path.relative_to(path.anchor).parts:
        step = found / part
        if not step.exists():
            try:
                others = sorted(found.iterdir())
            except OSError:
                return None
            same = unicodedata.normalize("NFC", part)
            step = next((each for each in others if unicodedata.normalize("NFC", each.name) == same), step)
        found = step
    return found
