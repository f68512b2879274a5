"""Import a folder of files: class and split by the folders' names; and look up the files that a list or table names."""

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from fieldmark.data.folder import FolderChoice, find_spelling, list_folder
from fieldmark.datasets.importers.result import ImportResult, write_result
from fieldmark.datasets.importers.taxonomies import load_taxonomy
from fieldmark.errors import ManifestError, list_first
from fieldmark.names import link_key, name_key
from fieldmark.types import Item, Medium, Split

_WORDS_OF_MEDIA: dict[str, Medium] = {
    **dict.fromkeys(("image", "images", "img", "photo", "photos", "picture", "pictures", "stillimage"), Medium.IMAGE),
    **dict.fromkeys(("text", "texts", "note", "notes", "description", "descriptions", "txt"), Medium.TEXT),
    **dict.fromkeys(("video", "videos", "clip", "clips", "movie", "movies", "movingimage"), Medium.VIDEO),
    **dict.fromkeys(("audio", "sound", "sounds", "recording", "recordings", "song", "songs"), Medium.AUDIO),
}
MEDIUM_WORDS = {name_key(word): medium for word, medium in _WORDS_OF_MEDIA.items()}
"""Names that people give to media, in the form of `name_key`."""
SPLIT_WORDS: dict[str, Split] = {
    **dict.fromkeys(("train", "training"), Split.TRAIN),
    **dict.fromkeys(("validation", "val", "valid", "dev"), Split.VALIDATION),
    **dict.fromkeys(("test", "testing"), Split.TEST),
}
_Parts = tuple[str, ...]
_LISTED_CLASSES = 30


def import_folders(
    source: Path,
    *,
    out: Path,
    classes_from_folders: bool = False,
    taxonomy: Path | str | None = None,
    merges_names: bool = False,
    choice: FolderChoice | None = None,
) -> ImportResult:
    """Write a manifest of a folder: `medium/class/file`, `class/file` with mixed media, or files alone, in any nesting.

    A folder named like a medium or a split, in any letter case, applies to all files under it. Of the remaining
    folders on the path of a file, those shared by all files are skipped, and the first of the others is its class, if
    folders are to be classes: those of most people are named 2019, old or phone. The medium is detected by content.

    Args:
        classes_from_folders: Whether folders name classes. If not, no file has a class, and a note lists the classes
            that the folders would make.
        taxonomy: A CSV of classes, or `avilist`; synonyms are replaced by the name of the class. None keeps all names.
        merges_names: Whether names that differ only in spelling, author or rank become one class.
        choice: What of the folder is wanted; None for all but what machines make.

    Raises:
        ManifestError: The source is not a folder or is empty, or the taxonomy is not valid.
    """
    known = load_taxonomy(taxonomy)
    content = list_folder(source, choice=choice) if source.is_dir() else None
    if content is None or not (content.items or content.failures):
        met = "it contains no file" if source.is_dir() else "it is not a folder"
        raise ManifestError(
            f"'{source}' cannot be imported: {met}. Give a folder of media files.", kind="import_source"
        )
    left, notes = list(content.failures), list[str]()
    items = list(content.items)
    told = [f"{each.to_text()}." for each in content.passed_over]
    _note_misplaced(items, told)
    paths = {item.item_id: _class_path(item) for item in items}
    class_parts = _class_parts(list(paths.values()), notes)
    path_of_folder = {_folders(item): paths[item.item_id] for item in items}
    spelling = _spelling([class_parts[path] for path in path_of_folder.values()], notes)
    for index, item in enumerate(items):
        parts = class_parts[paths[item.item_id]]
        class_name = spelling[link_key(parts[0])] if parts else None
        items[index] = replace(item, class_name=class_name, split=_split(item))
    _note_depths(items, [class_parts[paths[item.item_id]] for item in items], notes)
    if not classes_from_folders:
        notes = _describe_classes(items)
        items = [replace(item, class_name=None) for item in items]
    return write_result(items, left, [*told, *notes], taxonomy=known, merges_names=merges_names, out=out)


def _folders(item: Item) -> _Parts:
    return PurePosixPath(unicodedata.normalize("NFC", item.item_id)).parent.parts


def _note_misplaced(items: Sequence[Item], notes: list[str]) -> None:
    """Note the files that are in a folder named like another medium; their content counts."""
    misplaced: Counter[tuple[Medium, Medium]] = Counter()
    for item in items:
        promised = [MEDIUM_WORDS[name_key(part)] for part in _folders(item) if name_key(part) in MEDIUM_WORDS]
        if promised and promised[-1] is not item.medium:
            misplaced[item.medium, promised[-1]] += 1
    notes += [
        f"{count:,} files in folders of {promised} hold {medium} and are taken as that."
        for (medium, promised), count in misplaced.items()
    ]


def _class_path(item: Item) -> _Parts:
    """Return the folders on the path of a file that name neither a medium nor a split."""
    return tuple(
        part for part in _folders(item) if name_key(part) not in MEDIUM_WORDS and name_key(part) not in SPLIT_WORDS
    )


def _class_parts(paths: Sequence[_Parts], notes: list[str]) -> dict[_Parts, _Parts]:
    """Map each path to its part below the folders that all files share; a single folder is a class."""
    distinct = set(paths)
    deep = sorted(distinct - {()})
    # In sorted order, every path shares what the first and the last share.
    pairs = enumerate(zip(deep[0], deep[-1], strict=False)) if len(deep) > 1 else iter(())
    shared = next((depth for depth, (one, other) in pairs if one != other), None)
    if shared is None:  # all are on one path, some deeper
        shared = max(0, min((len(path) for path in deep), default=0) - 1)
    if shared:
        notes.append(f"The folder '{'/'.join(deep[0][:shared])}' contains all others and is not taken as a class.")
    return {path: path[shared:] for path in distinct}


def _spelling(paths: Iterable[_Parts], notes: list[str]) -> dict[str, str]:
    """Choose the spelling of each class name that most of its folders use."""
    spellings: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for path in paths:
        if path:
            spellings[link_key(path[0])][path[0]] += 1
    chosen = {key: min(counts, key=lambda name: (-counts[name], name)) for key, counts in spellings.items()}
    for key, counts in sorted(spellings.items()):
        if len(counts) > 1:
            others = ", ".join(f"'{name}'" for name in sorted(counts) if name != chosen[key])
            notes.append(f"The folders {others} are read as the class '{chosen[key]}'.")
    return chosen


def _split(item: Item) -> Split | None:
    found = [SPLIT_WORDS[name_key(part)] for part in _folders(item) if name_key(part) in SPLIT_WORDS]
    return found[-1] if found else None


def _note_depths(items: Sequence[Item], parts: Sequence[_Parts], notes: list[str]) -> None:
    """Note how many files have no class, and how many are in subfolders of a class."""
    unlabelled = sum(item.class_name is None for item in items)
    deeper = sum(len(part) > 1 for part in parts)
    if unlabelled:
        notes.append(f"{unlabelled:,} of {len(items):,} files are in no class folder and have no class.")
    if deeper:
        notes.append(f"{deeper:,} files are in subfolders of their class folder; the subfolders are ignored.")


def _describe_classes(items: Sequence[Item]) -> list[str]:
    """Return a note on the classes that folders would make, the largest first; none where they would make none."""
    counts = Counter(item.class_name for item in items if item.class_name is not None)
    if not counts:
        return []
    largest = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    listed = list_first([f"'{name}' ({count:,})" for name, count in largest], limit=_LISTED_CLASSES)
    return [
        f"No file has a class. The folders would make {len(counts):,} (with their files): {listed}. If these are "
        "classes, add --classes-from-folders."
    ]


# ---------------------------------------------------------------- files that a list or table names


def is_outside_root(path: str) -> bool:
    """Tell whether a path leads out of the folder it should be in; symbolic links inside are allowed."""
    parts = PurePosixPath(path).parts
    return "\0" in path or path.startswith(("/", "\\")) or ".." in parts or "\\" in path or path[1:2] == ":"


class FolderListing:
    """The names of the files under a root; each folder is read once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._names: dict[Path, frozenset[str]] = {}

    def has(self, path: str) -> bool:
        """Tell whether there is a file or folder at a path relative to the root."""
        file = self.root / path
        return find_spelling(file).name in self.list_names(file.parent)

    def list_names(self, folder: Path) -> frozenset[str]:
        """Return the names in a folder; none if it is missing or cannot be read."""
        if folder not in self._names:
            try:
                self._names[folder] = frozenset(each.name for each in folder.iterdir())
            except OSError:
                self._names[folder] = frozenset()
        return self._names[folder]
