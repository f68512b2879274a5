"""Folders of files to items: the medium by content, class and split by the names of the folders."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from fieldmark.data.manifest import list_folder
from fieldmark.data.taxonomy import Taxonomy, name_key
from fieldmark.datasets.importers.harvest import Harvest, settle_classes
from fieldmark.errors import ManifestError
from fieldmark.types import Failure, Item, Medium, Split

MEDIUM_WORDS: dict[str, Medium] = {
    **dict.fromkeys(("image", "images", "img", "photo", "photos", "picture", "pictures", "stillimage"), Medium.IMAGE),
    **dict.fromkeys(("text", "texts", "note", "notes", "description", "descriptions", "txt"), Medium.TEXT),
    **dict.fromkeys(("video", "videos", "clip", "clips", "movie", "movies", "movingimage"), Medium.VIDEO),
    **dict.fromkeys(("audio", "sound", "sounds", "recording", "recordings", "song", "songs"), Medium.AUDIO),
}
"""What people call the media, as `name_key` gives it."""
SPLIT_WORDS: dict[str, Split] = {
    **dict.fromkeys(("train", "training"), Split.TRAIN),
    **dict.fromkeys(("validation", "val", "valid", "dev"), Split.VALIDATION),
    **dict.fromkeys(("test", "testing"), Split.TEST),
}
_NOT_PROSE = {
    ".csv", ".tsv", ".json", ".jsonl", ".xml", ".html", ".htm", ".yaml", ".yml", ".toml", ".ini", ".log", ".py", ".sh",
    ".srt", ".vtt", ".svg",
}  # fmt: skip
_Parts = tuple[str, ...]


def import_folders(source: Path, *, taxonomy: Taxonomy | None = None) -> Harvest:
    """The items of a folder: `medium/class/file`, `class/file` with mixed media, or files alone, in any nesting.

    A folder whose name is that of a medium or of a split, in any letter case, says so of all under it. Of the folders
    that are left on a file's way, those that all files share are passed over, and the first of the others is its
    class. The medium itself is what the content says.

    Raises:
        ManifestError: It is no folder, or holds no file.
    """
    found, failures = list_folder(source) if source.is_dir() else ([], [])
    if not found and not failures:
        met = "it holds no file" if source.is_dir() else "it is no folder"
        raise ManifestError(
            f"'{source}' cannot be imported: {met}. Give a folder of media files.", kind="import_source"
        )
    left, notes = list(failures), list[str]()
    items = [item for item in found if _is_medium_file(item, left)]
    ways = {item.item_id: _way(item) for item in items}
    class_parts = _class_parts(list(ways.values()), notes)
    spelling = _spelling(class_parts.values(), notes)
    for place, item in enumerate(items):
        parts = class_parts[ways[item.item_id]]
        class_name = spelling[name_key(parts[0])] if parts else None
        items[place] = replace(item, class_name=class_name, split=_split(item))
    _note_depths(items, [class_parts[ways[item.item_id]] for item in items], notes)
    return Harvest(settle_classes(items, taxonomy, notes), tuple(left), tuple(notes))


def _folders(item: Item) -> _Parts:
    return PurePosixPath(item.item_id).parent.parts


def _is_medium_file(item: Item, left: list[Failure]) -> bool:
    """Whether a file is what its place promises; else it is left, and why is said."""
    suffix = PurePosixPath(item.item_id).suffix.lower()
    promised = [MEDIUM_WORDS[name_key(part)] for part in _folders(item) if name_key(part) in MEDIUM_WORDS]
    if item.medium is Medium.TEXT and suffix in _NOT_PROSE:
        left.append(Failure(item.item_id, "not_prose", f"A '{suffix}' file is a table or a page, not a description."))
    elif promised and promised[-1] is not item.medium:
        message = (
            f"The file holds {item.medium}, but lies in a folder of {promised[-1]}. Move it, or rename the folder."
        )
        left.append(Failure(item.item_id, "medium_mismatch", message))
    else:
        return True
    return False


def _way(item: Item) -> _Parts:
    """The folders on the way to a file that name neither a medium nor a split."""
    return tuple(
        part for part in _folders(item) if name_key(part) not in MEDIUM_WORDS and name_key(part) not in SPLIT_WORDS
    )


def _class_parts(ways: Sequence[_Parts], notes: list[str]) -> dict[_Parts, _Parts]:
    """Each way without the folders that all files in folders share; one folder alone is a class."""
    distinct = set(ways)
    deep = sorted(distinct - {()})
    # Between the first and the last in order, all others share what these two do.
    pairs = enumerate(zip(deep[0], deep[-1], strict=False)) if len(deep) > 1 else iter(())
    shared = next((place for place, (one, other) in pairs if one != other), None)
    if shared is None:  # all lie on one way, some farther down
        shared = max(0, min((len(way) for way in deep), default=0) - 1)
    if shared:
        notes.append(f"The folder '{'/'.join(deep[0][:shared])}' holds all others and names no class.")
    return {way: way[shared:] for way in distinct}


def _spelling(ways: Iterable[_Parts], notes: list[str]) -> dict[str, str]:
    """How the name of each class is written: as most of its folders write it."""
    spellings: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for way in ways:
        if way:
            spellings[name_key(way[0])][way[0]] += 1
    chosen = {key: min(counts, key=lambda name: (-counts[name], name)) for key, counts in spellings.items()}
    for key, counts in sorted(spellings.items()):
        if len(counts) > 1:
            others = ", ".join(f"'{name}'" for name in sorted(counts) if name != chosen[key])
            notes.append(f"The folders {others} are of the class '{chosen[key]}', spelled otherwise.")
    return chosen


def _split(item: Item) -> Split | None:
    found = [SPLIT_WORDS[name_key(part)] for part in _folders(item) if name_key(part) in SPLIT_WORDS]
    return found[-1] if found else None


def _note_depths(items: Sequence[Item], parts: Sequence[_Parts], notes: list[str]) -> None:
    """Says how many files have no class, and how many lie deeper than its folder."""
    unlabelled = sum(item.class_name is None for item in items)
    deeper = sum(len(part) > 1 for part in parts)
    if unlabelled:
        notes.append(f"{unlabelled:,} of {len(items):,} files lie in no class's folder and have no class.")
    if deeper:
        notes.append(f"{deeper:,} files lie in folders within their class's folder; those say nothing of the class.")
