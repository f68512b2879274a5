"""The origin of an item: what must stay in one split, votes once, is resampled once and never answers itself."""

import os
from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np
from jaxtyping import Int

from fieldmark.types import Item

_Name = TypeVar("_Name", bound=Hashable)
_Node = tuple[str, str]
"""A kind, one of `_KINDS`, and a name of it."""

_KINDS = ("group", "file", "text")
"""What an origin is named after, the first of them that it has; "text" stands for an item without group and file."""


def name_origins(items: Sequence[Item]) -> list[str]:
    """Return the name of each item's origin, such as "group 'tape 7'" or "file 'songs/7.ogg'"; equal for one origin.

    Items share an origin if they share a group; if they are of one file, unless each of its items has a group; if one
    is the caption of the other, or of the same item; if one was cut from the other; and through a chain of these.
    Paths are compared as written, `.` and `..` resolved; two files of the same content are two origins.

    Example:
        >>> from pathlib import Path
        >>> from fieldmark.types import Medium
        >>> song = Item("a", Medium.AUDIO, path=Path("7.ogg"), end_seconds=3.0)
        >>> later = Item("b", Medium.AUDIO, path=Path("x/../7.ogg"), start_seconds=3.0)
        >>> name_origins([song, later, Item("c", Medium.TEXT, text="a trill", caption_of="b")])
        ["file '7.ogg'", "file '7.ogg'", "file '7.ogg'"]
    """
    origins = _find_origins(items)
    name_by_origin: dict[_Node, _Node] = {}
    for item, origin in zip(items, origins, strict=True):
        for node in _name(item):
            known = name_by_origin.setdefault(origin, node)
            name_by_origin[origin] = min(known, node, key=lambda each: (_KINDS.index(each[0]), each[1]))
    return [f"{kind} '{name}'" for kind, name in (name_by_origin[origin] for origin in origins)]


def number_origins(items: Sequence[Item]) -> Int[np.ndarray, " item"]:
    """Return the number of each item's origin, from 0; it depends on groups and ids, not on the order of the items."""
    origins = _find_origins(items)
    first: dict[_Node, _Node] = {}
    for item, origin in zip(items, origins, strict=True):
        own = ("group", item.group) if item.group else ("item", item.item_id)
        first[origin] = min(first.get(origin, own), own)
    number = {name: index for index, name in enumerate(sorted(first.values()))}
    return np.array([number[first[origin]] for origin in origins], dtype=np.int64)


def list_leaking_ids(tested: Iterable[Item], items: Sequence[Item], *, trained: Iterable[Item]) -> frozenset[str]:
    """Return the ids of the tested items whose origin some trained item has too.

    Args:
        items: All items of the data set: a chain of items that share an origin may lead through any of them.
    """
    origin = dict(zip((item.item_id for item in items), _find_origins(items), strict=True))
    known = {origin[item.item_id] for item in trained}
    return frozenset(item.item_id for item in tested if origin[item.item_id] in known)


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


def _find_origins(items: Sequence[Item]) -> list[_Node]:
    """Return for each item a node that stands for its origin."""
    stands_for = group_linked(_link(items))
    return [stands_for["item", item.item_id] for item in items]


def _link(items: Sequence[Item]) -> Iterator[tuple[_Node, _Node]]:
    # Who gives each clip of a file a group says which of them belong together; a clip without one may belong to any.
    open_files = {_file(item) for item in items if not item.group}
    for item in items:
        own, file = ("item", item.item_id), _file(item)
        yield own, own
        if item.group:
            yield own, ("group", item.group)
        if file is not None and file in open_files:
            yield own, file
        for source in (item.caption_of, dict(item.extra).get("derived_from")):
            if source:
                yield own, ("item", source)


def _file(item: Item) -> _Node | None:
    return None if item.path is None else ("file", os.path.normpath(item.path))


def _name(item: Item) -> Iterator[_Node]:
    """Yield what an item may name its origin after."""
    file = _file(item)
    if item.group:
        yield "group", item.group
    elif file is not None:
        yield file
    else:
        yield "text", item.item_id
