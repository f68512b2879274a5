"""The sets of a gallery: their names, where each came from, the ids of their items, and what is gone from them."""

import json
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import filelock

from fieldmark.data.shards import INFO_NAME, read_info
from fieldmark.errors import DamagedGalleryError, GalleryError, first
from fieldmark.gallery.layout import GalleryLayout
from fieldmark.io import write_text
from fieldmark.types import Failure, Item

LARGEST_DROP = 0.5
"""Share of a set that may be gone before its source is taken to be wrong, such as a disk that is not mounted."""

PLAIN_STEMS = frozenset({"manifest", "items", "metadata", "data", "index"})
"""File names that tell nothing of a data set; the folder's name does."""


def read_sets(gallery: Path) -> dict[str, str]:
    """The source of each set, by name.

    Raises:
        DamagedGalleryError: The file is not what was written.
    """
    path = GalleryLayout(gallery).sets
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {str(name): str(source) for name, source in content.items()}
    except (ValueError, AttributeError) as error:
        reason = f"'{path.name}' is not what was written"
        raise DamagedGalleryError(path=gallery, reason=reason) from error


def choose_set(gallery: Path, *, source: Path, chosen: str | None) -> str:
    """The name of the set that a source is.

    Args:
        chosen: The name the user gave, also for a source that has moved; None for one made of the source's.

    Raises:
        GalleryError: A set of that name came from another source.
        GalleryError: The name is empty.
    """
    origin, known = str(origin_of(source)), read_sets(gallery)
    if chosen is None:
        earlier = next((name for name, path in known.items() if path == origin), None)
        name = earlier or normalize_name(Path(origin))
        if known.get(name, origin) != origin:
            raise GalleryError(
                f"The set '{name}' of the gallery '{gallery}' came from '{known[name]}', not from '{origin}'. "
                f"Give this source a set of its own with --set NAME or, where it is that source moved, --set '{name}'.",
                kind="set_source",
            )
    else:
        name = chosen.strip()
    if not name:
        raise GalleryError(
            f"The set of '{source}' has the name '{chosen or ''}'; allowed is any text. Give one with --set.",
            kind="set_name",
        )
    return name


def record_set(gallery: Path, name: str, *, source: Path) -> None:
    """Keeps where a set came from."""
    with filelock.FileLock(GalleryLayout(gallery).sets_lock):
        content = {**read_sets(gallery), name: str(origin_of(source))}
        if content != read_sets(gallery):
            write_text(GalleryLayout(gallery).sets, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def origin_of(source: Path) -> Path:
    """What tells a set from others: the manifest or folder; of an embeddings folder, the manifest it was made from."""
    if (source / INFO_NAME).is_file():
        manifest = read_info(source).facts.get("manifest")
        if isinstance(manifest, str) and Path(manifest).is_file():
            return Path(manifest).resolve()
    return source.resolve()


def normalize_name(origin: Path) -> str:
    """The name of a data set, from that of its manifest or folder."""
    if origin.suffix and not origin.is_dir():
        return origin.parent.name if origin.stem.lower() in PLAIN_STEMS else origin.stem
    return origin.name


def stored_ids(
    item_ids: Iterable[str], *, set_name: str, own: Collection[str], others: Collection[str]
) -> dict[str, str]:
    """Under which id each item of a source is stored: its own, or SET/ID where another set holds that.

    An id once stored as SET/ID stays, also when the other set has let go of it. Two items never share an id.

    Args:
        own: Ids that the set holds.
        others: Ids that other sets hold.
    """
    listed = dict.fromkeys(item_ids)
    found = dict.fromkeys(listed, "")
    used: set[str] = set()
    for item_id in sorted(listed):  # so that the order of the source does not tell
        stored, prefixed = item_id, f"{set_name}/{item_id}"
        if prefixed in own and item_id not in own and prefixed not in listed:
            stored = prefixed
        while stored in others or stored in used or (stored != item_id and stored in listed):
            stored = f"{set_name}/{stored}"
        used.add(stored)
        found[item_id] = stored
    return found


def renamed(items: Sequence[Item], stored_id: Mapping[str, str]) -> tuple[Item, ...]:
    """The items under the ids they are stored by; rows of one item go on sharing the object."""
    made: dict[str, Item] = {}
    for item in items:
        if item.item_id not in made:
            caption_of = None if item.caption_of is None else stored_id.get(item.caption_of, item.caption_of)
            made[item.item_id] = replace(item, item_id=stored_id[item.item_id], caption_of=caption_of)
    return tuple(made[item.item_id] for item in items)


def gone_ids(
    own: Collection[str], *, listed: Collection[str], failures: Sequence[Failure], set_name: str, allow_drop: bool
) -> tuple[str, ...]:
    """The items of a set that its source lists no more.

    What could not be read is not gone: neither a file, nor what lies in a folder that could not be opened.

    Args:
        own: Ids that the set holds, of the part of it that the source should list.
        listed: Ids, as they are stored, of all that the source lists, usable or not.
        failures: What the source holds beside its items.

    Raises:
        GalleryError: More of the set is gone than is likely, and `allow_drop` is not set.
    """
    unread = {failure.item_id for failure in failures}
    unread |= {f"{set_name}/{item_id}" for item_id in unread}
    folders = tuple(f"{item_id}/" for item_id in unread)
    gone = tuple(
        item_id
        for item_id in sorted(set(own) - set(listed) - unread)
        if not item_id.startswith(folders) and os.curdir not in unread
    )
    if gone and len(gone) > LARGEST_DROP * len(own) and not allow_drop:
        raise GalleryError(
            f"{len(gone)} of the {len(own)} items of the set '{set_name}' are gone from its source: {first(gone)}; "
            f"allowed is a share of {LARGEST_DROP:g}. Nothing was changed. "
            "Look whether the source is whole and, where these items are to go, add --allow-drop.",
            kind="too_many_dropped",
        )
    return gone
