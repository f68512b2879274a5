"""Leaks: items to be tested that belong together with what a model learned from, by origin, content or likeness."""

import hashlib
import json
import unicodedata
from collections import Counter, defaultdict, deque
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from fieldmark.errors import ManifestError, MediaError
from fieldmark.media.loaders import hash_bytes, measure_bytes, read_text
from fieldmark.origin import Link, LinkKind, link_origins
from fieldmark.types import Item, Medium, Split

_LEARNED_FROM: Mapping[Split, tuple[Split, ...]] = {
    Split.TEST: (Split.TRAIN, Split.VALIDATION),
    Split.VALIDATION: (Split.TRAIN,),
}
"""The splits that an item of a tested split must share nothing with: the best epoch is chosen by validation."""

_Node = tuple[str, str]
_Key = TypeVar("_Key", bound=Hashable)
_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class Leak:
    """A tested item that a model learned from, in one form or another.

    Args:
        kind: The reason why it belongs together with others; where it does so through a chain, the first link of it.
        learned_id: An item of train, or for a test item of validation, at the end of the chain; None if not known.
    """

    item_id: str
    kind: LinkKind
    learned_id: str | None


def find_leaks(splits: Mapping[str, Split | None], links: Iterable[Link]) -> tuple[Leak, ...]:
    """Return every test item linked with train or validation, and every validation item linked with train.

    Items are linked through chains too: the caption of a copy of a training photo is one.

    Args:
        splits: Of every item of the data set, by id, in order.
        links: Those of `link_origins`, `link_contents` and `Findings`.

    Example:
        >>> splits = {"song": Split.TRAIN, "later part": Split.TEST, "another": Split.TEST}
        >>> tape = [Link(name, LinkKind.GROUP, ("group", "tape 7")) for name in ("song", "later part")]
        >>> [(leak.item_id, leak.kind.value, leak.learned_id) for leak in find_leaks(splits, tape)]
        [('later part', 'group', 'song')]
    """
    kinds = list(LinkKind)
    neighbors: defaultdict[_Node, list[tuple[_Node, LinkKind]]] = defaultdict(list)
    for link in sorted(links, key=lambda each: kinds.index(each.kind)):
        own = ("item", link.item_id)
        neighbors[own].append((link.shared, link.kind))
        neighbors[link.shared].append((own, link.kind))
    found = {}
    for tested, learned in _LEARNED_FROM.items():
        sources = [name for name, split in splits.items() if split in learned]
        for leak in _spread(sources, neighbors):
            if splits.get(leak.item_id) is tested:
                found[leak.item_id] = leak
    return tuple(found[name] for name in splits if name in found)


def find_leaks_of_items(items: Sequence[Item], links: Iterable[Link] = ()) -> tuple[Leak, ...]:
    """Return the leaks among all items of a data set: by origin, and by further links."""
    return find_leaks({item.item_id: item.split for item in items}, [*link_origins(items), *links])


def count_leaks(leaks: Iterable[Leak]) -> dict[str, int]:
    """Return the number of leaks of each kind, in the order of the kinds."""
    counts = Counter(leak.kind for leak in leaks)
    return {kind.value: counts[kind] for kind in LinkKind if counts[kind]}


def _spread(sources: Sequence[str], neighbors: Mapping[_Node, Sequence[tuple[_Node, LinkKind]]]) -> Iterator[Leak]:
    """Yield every item that can be reached from some, the nearest first."""
    source_of = {("item", name): name for name in sources}
    waiting = deque(source_of)
    while waiting:
        node = waiting.popleft()
        for other, kind in neighbors.get(node, ()):
            if other not in source_of:
                source_of[other] = source_of[node]
                waiting.append(other)
                if other[0] == "item":
                    yield Leak(other[1], kind, source_of[node])


# ---------------------------------------------------------------- the same content


def link_contents(items: Sequence[Item]) -> tuple[Link, ...]:
    """Return what links items of the same content, whatever their groups.

    Those are: files of the same bytes, or parts of them that overlap in time; parts of copies of one recording, unless
    each of them has a group; and texts that are equal but for letter case, spaces and punctuation. Only files of equal
    size are read, and texts. What cannot be read is linked with nothing.
    """
    return (*_link_files(items), *_link_texts(items))


def fold_text(text: str) -> str:
    """Return the letters and digits of a text, of any script, in one case; of a text without any, all but its spaces.

    Example:
        >>> fold_text("A Gull,  calling!") == fold_text("a gull calling")
        True
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    # Marks are letters of some scripts: without its vowel signs, a word of Hindi is another word.
    letters = "".join(each for each in folded if each.isalnum() or unicodedata.category(each).startswith("M"))
    return letters or "".join(folded.split())


def link_texts(texts: Iterable[tuple[str, str]]) -> Iterator[Link]:
    """Yield a link for each text, given by item id: equal texts but for case, spaces and punctuation share one."""
    for item_id, text in texts:
        digest = hashlib.sha256(fold_text(text).encode("utf-8", "surrogatepass")).hexdigest()
        yield Link(item_id, LinkKind.SAME_TEXT, ("same text", digest))


def _link_texts(items: Iterable[Item]) -> Iterator[Link]:
    for item in items:
        if item.medium is Medium.TEXT:
            with suppress(MediaError):
                yield from link_texts([(item.item_id, read_text(item))])


def _link_files(items: Iterable[Item]) -> Iterator[Link]:
    sized: list[tuple[int, Item]] = []
    for item in items:
        if item.path is not None:
            with suppress(MediaError):
                sized.append((measure_bytes(item), item))
    for size, some in _gather(sized).items():
        for digest, same in _gather(_hash_each(some)).items():
            yield from _link_same_file(same, name=f"{size} {digest}")


def _hash_each(items: Sequence[Item]) -> Iterator[tuple[str, Item]]:
    """Yield each item with the hash of its file; a size of only one file needs none."""
    by_path = _gather((item.path, item) for item in items)
    if len(by_path) == 1:
        yield from (("", item) for item in items)
        return
    for same in by_path.values():
        with suppress(MediaError):
            digest = hash_bytes(same[0])
            yield from ((digest, item) for item in same)


def _link_same_file(items: Sequence[Item], *, name: str) -> Iterator[Link]:
    """Yield the links of items whose files have the same bytes."""
    if len(items) == 1:
        return
    if any(not item.group for item in items):
        yield from (Link(item.item_id, LinkKind.SAME_CONTENT, ("same file", name)) for item in items)
        return
    end, number = 0.0, 0
    for item in sorted(items, key=_start):
        number += _start(item) >= end
        end = max(end, float("inf") if item.end_seconds is None else item.end_seconds)
        yield Link(item.item_id, LinkKind.SAME_CONTENT, ("same part", f"{name} {number}"))


def _start(item: Item) -> float:
    return item.start_seconds or 0.0


def _gather(pairs: Iterable[tuple[_Key, _Value]]) -> dict[_Key, list[_Value]]:
    gathered: defaultdict[_Key, list[_Value]] = defaultdict(list)
    for key, value in pairs:
        gathered[key].append(value)
    return gathered


# ---------------------------------------------------------------- findings of a check

_KIND_OF_FINDING = {
    "group_straddles_splits": LinkKind.ORIGIN,
    "duplicate_across_splits": LinkKind.SAME_CONTENT,
    "duplicate": LinkKind.SAME_CONTENT,
    "near_duplicate_across_splits": LinkKind.NEAR_DUPLICATE,
    "near_duplicate": LinkKind.NEAR_DUPLICATE,
}
"""The problems of a check that say that items belong together."""


@dataclass(frozen=True, slots=True)
class Findings:
    """Items that a check found to belong together.

    Args:
        splits: Of the items named in it, by id.
    """

    links: tuple[Link, ...] = ()
    splits: Mapping[str, Split | None] = field(default_factory=dict)


def read_findings(path: Path) -> Findings:
    """Read what `fieldmark data check --json` printed into a file.

    Raises:
        ManifestError: The file is missing, or holds something else.
    """
    try:
        content = json.loads(path.read_bytes())
        links: list[Link] = []
        splits: dict[str, Split | None] = {}
        for number, problem in enumerate(content["problems"]):
            kind = _KIND_OF_FINDING.get(problem["kind"])
            if kind is None:
                continue
            for item_id, split in zip(problem["item_ids"], problem["splits"], strict=True):
                links.append(Link(str(item_id), kind, ("finding", str(number))))
                splits[str(item_id)] = None if split is None else Split(split)
    except OSError as error:
        raise _no_findings(path, str(error.strerror).lower()) from error
    except (ValueError, KeyError, TypeError) as error:
        raise _no_findings(path, f"it is not what a check prints ({type(error).__name__}: {error})") from error
    return Findings(tuple(links), splits)


def _no_findings(path: Path, reason: str) -> ManifestError:
    return ManifestError(
        f"The findings '{path}' cannot be used: {reason}. "
        "Give a file made by `fieldmark data check MANIFEST --json > FILE`.",
        kind="findings",
    )
