"""The origin of an item: what must stay in one split, votes once, is resampled once and never answers itself."""

import os
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

import numpy as np
from jaxtyping import Int

from fieldmark.types import Item

_Name = TypeVar("_Name", bound=Hashable)
_Node = tuple[str, str]
"""A kind, one of `_KINDS` or "item", and a name of it."""

_KINDS = ("group", "file", "text")
"""What an origin is named after, the first of them that it has; "text" stands for an item without group and file."""


class LinkKind(StrEnum):
    """Reasons why two items belong together; the earlier one is named where there are several.

    The first four make a common origin. ORIGIN is one of these, where it is not told which.
    """

    GROUP = "group"
    FILE = "file"
    CAPTION = "caption"
    EXCERPT = "excerpt"
    SAME_CONTENT = "same_content"
    SAME_TEXT = "same_text"
    NEAR_DUPLICATE = "near_duplicate"
    ORIGIN = "origin"


@dataclass(frozen=True, slots=True)
class Link:
    """One item has something that others may have too: all that have it belong together.

    Args:
        shared: What it is, unique among all kinds: a node of the graph of items.
    """

    item_id: str
    kind: LinkKind
    shared: tuple[str, str]


def name_origins(items: Sequence[Item], links: Sequence[Link] = ()) -> list[str]:
    """Return the name of each item's origin, such as "group 'tape 7'" or "file 'songs/7.ogg'"; equal for one origin.

    Items share an origin if they share a group; if they are of one file, unless each of its items has a group; if one
    is the caption of the other, or of the same item; if one was cut from the other; and through a chain of these.
    Paths are compared as written, `.` and `..` resolved; two files of the same content are two origins, unless `links`
    say otherwise.

    Args:
        links: Further reasons to belong together.

    Example:
        >>> from pathlib import Path
        >>> from fieldmark.types import Medium
        >>> song = Item("a", Medium.AUDIO, path=Path("7.ogg"), end_seconds=3.0)
        >>> later = Item("b", Medium.AUDIO, path=Path("x/../7.ogg"), start_seconds=3.0)
        >>> name_origins([song, later, Item("c", Medium.TEXT, text="a trill", caption_of="b")])
        ["file '7.ogg'", "file '7.ogg'", "file '7.ogg'"]
    """
    origins = _find_origins(items, links)
    name_by_origin: dict[_Node, _Node] = {}
    for item, origin in zip(items, origins, strict=True):
        node = _name(item)
        known = name_by_origin.setdefault(origin, node)
        name_by_origin[origin] = min(known, node, key=lambda each: (_KINDS.index(each[0]), each[1]))
    return [f"{kind} '{name}'" for kind, name in (name_by_origin[origin] for origin in origins)]


def number_origins(items: Sequence[Item]) -> Int[np.ndarray, " item"]:
    """Return the number of each item's origin, from 0; it depends on groups and ids, not on the order of the items."""
    origins = _find_origins(items, ())
    first: dict[_Node, _Node] = {}
    for item, origin in zip(items, origins, strict=True):
        own = ("group", item.group) if item.group else ("item", item.item_id)
        first[origin] = min(first.get(origin, own), own)
    number = {name: index for index, name in enumerate(sorted(first.values()))}
    return np.array([number[first[origin]] for origin in origins], dtype=np.int64)


def link_origins(items: Iterable[Item]) -> Iterator[Link]:
    """Yield what makes the items' origins."""
    items = list(items)
    # Who gives each clip of a file a group says which of them belong together; a clip without one may belong to any.
    open_files = {_file(item) for item in items if not item.group}
    for item in items:
        file = _file(item)
        if item.group:
            yield Link(item.item_id, LinkKind.GROUP, ("group", item.group))
        if file is not None and file in open_files:
            yield Link(item.item_id, LinkKind.FILE, file)
        if item.caption_of:
            yield Link(item.item_id, LinkKind.CAPTION, ("item", item.caption_of))
        source = dict(item.extra).get("derived_from")
        if source:
            yield Link(item.item_id, LinkKind.EXCERPT, ("item", source))


def group_linked(pairs: Iterable[tuple[_Name, _Name]]) -> dict[_Name, _Name]:
    """Return for each name in some pairs one that stands for all that it is linked to, directly or through others."""
    parent: dict[_Name, _Name] = {}

    def find(name: _Name) -> _Name:
        while parent.setdefault(name, name) != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for one, two in pairs:
        parent[find(two)] = find(one)
    return {name: find(name) for name in list(parent)}


def _find_origins(items: Sequence[Item], links: Sequence[Link]) -> list[_Node]:
    """Return for each item a node that stands for its origin."""
    own = [("item", item.item_id) for item in items]
    edges = [(("item", link.item_id), link.shared) for link in (*link_origins(items), *links)]
    stands_for = group_linked([*zip(own, own, strict=True), *edges])
    return [stands_for[node] for node in own]


def _file(item: Item) -> _Node | None:
    return None if item.path is None else ("file", os.path.normpath(item.path))


def _name(item: Item) -> _Node:
    """Return what an item may name its origin after."""
    if item.group:
        return "group", item.group
    return _file(item) or ("text", item.item_id)
