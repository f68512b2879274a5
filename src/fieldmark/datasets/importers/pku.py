"""Import the list files of PKU FG-XMedia in the variants found in public repositories."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path, PurePosixPath

from fieldmark.datasets.importers.folders import FolderListing, is_outside_root
from fieldmark.datasets.importers.result import ImportResult, write_result
from fieldmark.datasets.importers.taxonomies import load_taxonomy
from fieldmark.errors import ManifestError, UnreadableMediaError
from fieldmark.media.file import convert_decoder_errors
from fieldmark.media.video import WILDCARD, split_number
from fieldmark.names import name_key
from fieldmark.types import MEDIA, Failure, Form, Item, Medium, Split

_CLASS_COUNT = 200  # those of CUB-200-2011; labels run from 0 to 199

_SPLITS = (Split.TRAIN, Split.TEST)
_PICTURE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp"}
_NUMBERED = re.compile(r"(\d+)\.(.+)")
_RECORDING = re.compile(r"(\d+)(_\d+)*")
_LONGEST_LINE = 4_096


@dataclass(frozen=True)
class _Line:
    """One line of a list: a path and its label.

    Args:
        location: The list and the number of the line.
    """

    location: str
    medium: Medium
    split: Split
    path: str
    label: int

    @cached_property
    def folder(self) -> str | None:
        """The name of the class folder without its number; None if the file is in none."""
        name = self._folder
        numbered = _NUMBERED.fullmatch(name) if name else None
        return numbered[2] if numbered else name

    @cached_property
    def class_number(self) -> int | None:
        """The number before the name of the class folder, from 1; None if there is none."""
        numbered = _NUMBERED.fullmatch(self._folder or "")
        return int(numbered[1]) if numbered else None

    @cached_property
    def _folder(self) -> str | None:
        parts = PurePosixPath(self.path).parts
        return parts[-2] if len(parts) >= 3 else None

    def leave_out(self, kind: str, reason: str) -> Failure:
        """Return the record that this line was left out."""
        return Failure(self.location, kind, f"'{self.path}': {reason}")


def import_pku(
    source: Path,
    *,
    out: Path,
    media: Path | None = None,
    taxonomy: Path | str | None = None,
    merges_names: bool = False,
) -> ImportResult:
    """Write a manifest of a copy of the lists, with or without the media.

    The class of an item is its label, the class number of CUB-200-2011 minus one; folders only provide the name of the
    class, numbered folders first. The frames of a video become one item; audio listed as pictures is marked as
    spectrograms. Clips of one recording, which share the number at the start of their names, share a group; so
    do videos of one name in one class.

    Args:
        source: The folder that contains `list/`, or that folder itself.
        media: The folder that paths in the lists are relative to; None takes `dataset/` beside `list/`, as released, or
            the folder that contains `list/`, whichever holds more of the files. If some files of a medium are present,
            the missing ones are left out; if none are, all its items are taken.
        taxonomy: A CSV of classes, or `avilist`; synonyms are replaced by the name of the class. None keeps all names.
        merges_names: Whether names that differ only in spelling, author or rank become one class.

    Raises:
        ManifestError: There is no list, or the taxonomy is not valid.
    """
    known = load_taxonomy(taxonomy)
    folder = _list_folder(source)
    left: list[Failure] = []
    notes: list[str] = []
    lines: list[_Line] = []
    for medium in MEDIA:
        for split in _SPLITS:
            lines += _read_list(folder, medium, split, left)
        notes += _compare_labels(folder, medium, [line for line in lines if line.medium is medium])
    if not lines and not any(folder.rglob("*.txt")):
        raise _no_lists(source, met="it contains no list")
    lines = list(_keep_plausible(lines, left))
    names = _class_names(lines, notes)
    lines = list(_keep_consistent(lines, names, left))
    files = FolderListing(media or _find_media(folder, lines))
    lines = list(_keep_present(lines, files, left, notes))
    items = [item for group in _group_by_item(lines) for item in _item(group, names, files.root, left)]
    return write_result(
        list(_drop_repeated(items, left)), left, notes, taxonomy=known, merges_names=merges_names, out=out
    )


def _list_folder(source: Path) -> Path:
    for folder in (source / "list", source):
        if any((folder / medium).is_dir() for medium in MEDIA):
            return folder
    met = "it has no folder 'image', 'text', 'video' or 'audio'" if source.is_dir() else "it is not a folder"
    raise _no_lists(source, met=met)


def _no_lists(source: Path, *, met: str) -> ManifestError:
    return ManifestError(
        f"'{source}' cannot be imported: {met}. Give the folder that contains 'list/image/test.txt'.",
        kind="import_source",
    )


# ---------------------------------------------------------------- lines


def _read_list(folder: Path, medium: Medium, split: Split, left: list[Failure]) -> list[_Line]:
    """Read the lines of one list that consist of a path and a label."""
    name = f"{medium}/{split}.txt"
    file = folder / name
    if not file.is_file():
        labels = _read_labels(folder, medium) if split is Split.TEST else []
        hint = f"; testlabel.txt has {len(labels):,} labels, but no paths" if labels else ""
        left.append(Failure(name, "missing_list", f"There is no list '{name}'{hint}."))
        return []
    lines = []
    for number, text in enumerate(_texts(file), start=1):
        if not text.strip():
            continue
        location = f"{name} line {number}"
        path, _, label = text.strip().rpartition(" ")
        if len(text) > _LONGEST_LINE:
            left.append(
                Failure(location, "bad_line", f"The line has {len(text):,} characters; a path and a label are shorter.")
            )
        elif not path or not re.fullmatch(r"-?\d{1,9}", label):
            left.append(
                Failure(location, "bad_line", f"'{text.strip()}' has no label; give a path, a space and a number.")
            )
        else:
            lines.append(_Line(location, medium, split, path.strip(), int(label)))
    return lines


def _texts(file: Path) -> Iterator[str]:
    """The lines of a file, which need not be UTF-8 as a whole."""
    with convert_decoder_errors(file), file.open(encoding="utf-8", errors="replace") as handle:
        lines = list(handle)
    yield from (line.rstrip("\r\n") for line in lines)


def _read_labels(folder: Path, medium: Medium) -> list[str]:
    try:
        return [line.strip() for line in _texts(folder / medium / "testlabel.txt") if line.strip()]
    except UnreadableMediaError:
        return []


def _compare_labels(folder: Path, medium: Medium, lines: Sequence[_Line]) -> Iterator[str]:
    """Yield a note if the labels of the test list differ from those of `testlabel.txt`."""
    labels = _read_labels(folder, medium)
    listed = [line for line in lines if line.split is Split.TEST]
    # The list has a line for each frame, the labels one for each video.
    label_by_item: dict[str, str] = {}
    for line in listed:
        item = _video_path(line.path) if medium is Medium.VIDEO and _is_frame(line.path) else line.location
        label_by_item.setdefault(item, str(line.label))
    tested = list(label_by_item.values())
    unit = "good lines" if len(tested) == len(listed) else "videos"
    if labels and tested and labels != tested:
        differing = sum(one != other for one, other in zip(labels, tested, strict=False))
        yield (
            f"{medium}/testlabel.txt has {len(labels):,} labels, {medium}/test.txt {len(tested):,} {unit}, "
            f"and {differing:,} differ; the list's own labels are used."
        )


def _keep_plausible(lines: Iterable[_Line], left: list[Failure]) -> Iterator[_Line]:
    """Yield the lines that can name a file of their medium, each file once; leave out the others."""
    known: set[tuple[Medium, str]] = set()
    for line in lines:
        top = PurePosixPath(line.path).parts[0].lower() if line.path else ""
        if is_outside_root(line.path):
            left.append(line.leave_out("outside_root", "the path leads out of the media folder; give one inside it"))
        elif top in set(MEDIA) - {line.medium}:
            left.append(line.leave_out("medium_mismatch", f"the list of {line.medium} names a file of {top}"))
        elif not 0 <= line.label < _CLASS_COUNT:
            left.append(line.leave_out("label_outside", f"label {line.label}; allowed is 0 to {_CLASS_COUNT - 1}"))
        elif line.class_number is not None and line.class_number != line.label + 1:
            left.append(
                line.leave_out("label_mismatch", f"label {line.label} in a folder numbered {line.class_number}")
            )
        elif (line.medium, line.path) in known:
            left.append(line.leave_out("listed_twice", "an earlier line lists the same file"))
        else:
            known.add((line.medium, line.path))
            yield line


# ---------------------------------------------------------------- class names


def _class_names(lines: Iterable[_Line], notes: list[str]) -> dict[int, str]:
    """Name each label after its folders, and note the classes whose folders have several names."""
    folders: defaultdict[int, Counter[tuple[bool, str]]] = defaultdict(Counter)
    media: defaultdict[tuple[int, str], set[Medium]] = defaultdict(set)
    for line in lines:
        if line.folder is not None:
            folders[line.label][line.class_number is not None, line.folder] += 1
            media[line.label, line.folder].add(line.medium)
    names = {}
    for label, counts in sorted(folders.items()):
        # Numbered folders come from CUB itself; otherwise the most frequent name wins.
        names[label] = max(counts, key=lambda each: (each[0], counts[each], each[1]))[1]
        others = {name for _, name in counts} - {names[label]}
        notes += [
            f"Class {label} is '{names[label]}'; {' and '.join(sorted(media[label, other]))} has it as '{other}'."
            for other in sorted(others)
        ]
    return names


def _keep_consistent(lines: Iterable[_Line], names: Mapping[int, str], left: list[Failure]) -> Iterator[_Line]:
    """Yield the lines whose folder is not named after another class than their label; leave out the others."""
    label_by_key = {name_key(name): label for label, name in names.items()}
    for line in lines:
        label = label_by_key.get(name_key(line.folder)) if line.folder else None
        if label not in (None, line.label):
            left.append(line.leave_out("label_mismatch", f"label {line.label} in the folder of class {label}"))
        else:
            yield line


# ---------------------------------------------------------------- items


def _keep_present(
    lines: Sequence[_Line], files: FolderListing, left: list[Failure], notes: list[str]
) -> Iterator[_Line]:
    """Yield the lines whose file exists, and all lines of a medium without any file; leave out the others."""
    if lines and not any(files.has(line.path) for line in lines):
        notes.insert(
            0,
            f"None of the {len(lines):,} files that the lists name is under '{files.root}', such as '{lines[0].path}'; "
            "the manifest names them all the same. Give the folder that holds them with --media.",
        )
        yield from lines
        return
    for medium, group in groupby(lines, key=lambda line: line.medium):
        listed = list(group)
        missing = [line for line in listed if not files.has(line.path)]
        if len(missing) == len(listed):
            notes.append(
                f"None of the {len(listed):,} files of {medium} is under '{files.root}'; the files were not checked. "
                "If they are elsewhere, give the folder of all media with --media."
            )
            yield from listed
            continue
        left += [line.leave_out("missing_file", f"there is no such file under '{files.root}'") for line in missing]
        gone = {line.location for line in missing}
        yield from (line for line in listed if line.location not in gone)


def _group_by_item(lines: Iterable[_Line]) -> Iterator[list[_Line]]:
    """Yield the lines of each item: one line, or all frames of one video in one split."""
    frames: defaultdict[tuple[Split, str], list[_Line]] = defaultdict(list)
    for line in lines:
        if line.medium is Medium.VIDEO and _is_frame(line.path):
            frames[line.split, _video_path(line.path)].append(line)
        else:
            yield [line]
    yield from frames.values()


def _is_frame(path: str) -> bool:
    pure = PurePosixPath(path)
    return pure.suffix.lower() in _PICTURE_SUFFIXES and bool(split_number(pure.name)[1])


def _video_path(path: str) -> str:
    """Return the path of a frame with a wildcard instead of its number."""
    pure = PurePosixPath(path)
    prefix, _, suffix = split_number(pure.name)
    return pure.with_name(f"{prefix}{WILDCARD}{suffix}").as_posix()


def _number_spans(lines: Sequence[_Line]) -> str:
    """Return the numbers of the listed frames as spans, "1-25": a folder may hold others."""
    numbers = {int(split_number(PurePosixPath(line.path).name)[1]) for line in lines}
    starts = sorted(n for n in numbers if n - 1 not in numbers)
    ends = sorted(n for n in numbers if n + 1 not in numbers)
    return " ".join(f"{a}-{b}" if a < b else str(a) for a, b in zip(starts, ends, strict=True))


def _find_media(folder: Path, lines: Sequence[_Line]) -> Path:
    """Return the folder that the paths are relative to: of the two places, the one with more of the files."""
    if folder.name != "list":
        return folder
    beside = [folder.parent, folder.parent / "dataset"]
    present = [sum(FolderListing(place).has(line.path) for line in lines) if place.is_dir() else -1 for place in beside]
    return max(zip(beside, present, strict=True), key=lambda each: each[1])[0]


def _item(lines: Sequence[_Line], names: Mapping[int, str], root: Path, left: list[Failure]) -> Iterator[Item]:
    """Yield the item of one line or of the frames of one video; none if its frames have several labels."""
    line = lines[0]
    labels = sorted({each.label for each in lines})
    if len(labels) > 1:
        reason = f"the frames of this video have the labels {', '.join(map(str, labels))}; give it one"
        left += [each.leave_out("label_mismatch", reason) for each in lines]
        return
    extra: list[tuple[str, str]] = []
    path = item_id = line.path
    group = None
    pure = PurePosixPath(path)
    if line.medium is Medium.VIDEO:
        if _is_frame(path):
            path = _video_path(path)
            item_id = path[: path.index(WILDCARD)].rstrip("_-")
            extra = [("form", Form.FRAMES), ("frame_count", str(len(lines))), ("frame_numbers", _number_spans(lines))]
        stem = PurePosixPath(item_id).stem if path == line.path else PurePosixPath(item_id).name
        group = f"video {names.get(line.label, line.label)}/{stem}"
    elif line.medium is Medium.AUDIO:
        recording = _RECORDING.fullmatch(pure.stem)
        group = f"recording {names.get(line.label, line.label)}/{recording[1]}" if recording else None
        extra = [("form", Form.SPECTROGRAM)] if pure.suffix.lower() in _PICTURE_SUFFIXES else []
    yield Item(
        item_id=item_id,
        medium=line.medium,
        path=root / path,
        class_name=names.get(line.label, f"class_{line.label}"),
        split=line.split,
        group=group,
        source="PKU FG-XMedia",
        extra=tuple(extra),
    )


def _drop_repeated(items: Iterable[Item], left: list[Failure]) -> Iterator[Item]:
    """Yield the first item of each id; a video may have frames in both lists."""
    first: dict[str, Item] = {}
    for item in items:
        if item.item_id in first:
            message = f"its frames are in {first[item.item_id].split} already, and again in {item.split}"
            left.append(Failure(item.item_id, "listed_twice", message))
            continue
        first[item.item_id] = item
        yield item
