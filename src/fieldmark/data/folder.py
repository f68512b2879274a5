"""Folders of files without a manifest: their items, the files that cannot be used, and those that are skipped."""

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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
_MACHINE_FILES = re.compile(r"(eh)?thumbs(_vista)?\.db|icon\r|.*\.thm|zbthumbnail\.info", re.IGNORECASE)
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
    """

    items: tuple[Item, ...]
    failures: tuple[Failure, ...] = ()
    passed_over: tuple[PassedOver, ...] = ()


def list_folder(
    folder: Path,
    *,
    choice: FolderChoice | None = None,
    recall_medium: Callable[[str, Path], Medium | None] | None = None,
) -> FolderContent:
    """List every file under a folder as an item without a label.

    The id is the path within the folder, with composed characters (NFC), so that a folder has the same ids on every
    system; the medium is detected from the content. Each folder is entered once, whatever links lead to it.

    Args:
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
    paths = list(walk.list_files())
    items: list[Item] = []
    for path, item_id in zip(paths, _name_files(paths, folder), strict=True):
        try:
            medium = (recall_medium and recall_medium(item_id, path)) or _detect_medium(path)
            items.append(Item(item_id=item_id, medium=medium, path=path))
        except MediaError as error:
            walk.failures.append(Failure(item_id, error.kind, str(error)))
    return FolderContent(
        items=tuple(sorted(items, key=lambda item: item.item_id)),
        failures=tuple(sorted(walk.failures, key=lambda each: each.item_id)),
        passed_over=tuple(each.summarize(reason) for reason, each in sorted(walk.passed_over.items())),
    )


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


@final
class _Walk:
    """One way through a folder."""

    def __init__(self, folder: Path, *, follows_links: bool, excluded: GitIgnoreSpec) -> None:
        self._folder = folder
        self._follows_links = follows_links
        self._excluded = excluded
        self.failures: list[Failure] = []
        self.passed_over: defaultdict[str, _Skipped] = defaultdict(_Skipped)

    def list_files(self) -> Iterator[Path]:
        """Yield the files that are wanted, and note those that are skipped or cannot be read."""
        entered: set[tuple[int, int]] = set()
        for name, folder_names, file_names in os.walk(self._folder, onerror=self._note_unreadable, followlinks=True):
            here = Path(name)
            facts = here.stat()
            if (facts.st_dev, facts.st_ino) in entered:
                message = f"'{here}' is a link to a folder that was already read; its files are listed only once."
                self._fail(here, "repeated_folder", message)
                folder_names.clear()
                continue
            entered.add((facts.st_dev, facts.st_ino))
            if not folder_names and not file_names and here != self._folder:
                self._fail(here, "empty", f"The folder '{here}' contains no files.")
            folder_names[:] = sorted(each for each in folder_names if self._wants_folder(here / each))
            yield from (here / each for each in sorted(file_names) if self._wants_file(here / each))

    def _wants_folder(self, path: Path) -> bool:
        reason = self._find_reason(path, machine=_MACHINE_FOLDERS, suffix="/")
        if reason is not None:
            count = sum(len(names) for _, _, names in os.walk(path))
            self._skip(path, reason, count=count)
            return False
        return not self._leads_outside(path)

    def _wants_file(self, path: Path) -> bool:
        reason = self._find_reason(path, machine=_MACHINE_FILES, suffix="")
        if reason is not None:
            if path != self._folder / IGNORE_FILE:
                self._skip(path, reason, count=1)
            return False
        return not self._leads_outside(path)

    def _find_reason(self, path: Path, *, machine: re.Pattern[str], suffix: str) -> str | None:
        """Return the reason to skip a file or folder; None if there is none."""
        if machine.fullmatch(path.name):
            return MACHINE
        if path.name.startswith("."):
            return HIDDEN
        if not self._excluded:
            return None
        names = {_find_id(path, self._folder), _print(path.relative_to(self._folder))}
        return EXCLUDED if any(self._excluded.match_file(name + suffix) for name in names) else None

    def _leads_outside(self, path: Path) -> bool:
        """Return whether a link leads out of the folder and is not to be followed; it is then listed."""
        if self._follows_links or not path.is_symlink():
            return False
        target = Path(os.path.realpath(path))
        if target.is_relative_to(self._folder):
            return False
        message = f"'{path}' is a link out of the folder, to '{target}'. To follow such links, add --follow-links."
        self._fail(path, LINK_OUTSIDE, message)
        return True

    def _skip(self, path: Path, reason: str, *, count: int) -> None:
        skipped = self.passed_over[reason]
        skipped.file_count += count
        if len(skipped.examples) <= _MOST_EXAMPLES:
            skipped.examples.append(_find_id(path, self._folder))

    def _note_unreadable(self, error: OSError) -> None:
        unreadable = UnreadableMediaError(path=error.filename, reason=str(error.strerror))
        self._fail(Path(error.filename), unreadable.kind, str(unreadable))

    def _fail(self, path: Path, kind: str, message: str) -> None:
        self.failures.append(Failure(_find_id(path, self._folder), kind, _print_text(message)))


# ---------------------------------------------------------------- names


def _name_files(paths: Sequence[Path], folder: Path) -> Iterator[str]:
    """Yield the id of each file; where two names differ only in composition, those not composed stay as they are."""
    composed: Mapping[str, int] = _count(_find_id(path, folder) for path in paths)
    for path in paths:
        item_id = _find_id(path, folder)
        yield item_id if composed[item_id] == 1 else _print(path.relative_to(folder))


def _count(names: Iterator[str]) -> Mapping[str, int]:
    counts: defaultdict[str, int] = defaultdict(int)
    for name in names:
        counts[name] += 1
    return counts


def _detect_medium(path: Path) -> Medium:
    if path.as_posix() != _print(path):
        raise UnreadableMediaError(path=_print(path), reason="its name is not UTF-8")
    return detect_medium(path)


def _find_id(path: Path, folder: Path) -> str:
    name, above = str(path), str(folder)
    if os.sep == "/" and name.startswith(above + "/") and name.isascii():  # a fifth of the time, for most files
        return name[len(above) + 1 :]
    return unicodedata.normalize("NFC", _print(path.relative_to(folder)))


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
