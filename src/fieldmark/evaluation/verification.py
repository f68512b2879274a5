"""Verification of receipts: the differences between a receipt and an evaluation made again."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, TypeGuard

from fieldmark.errors import MediaError, MissingFileError
from fieldmark.evaluation.receipt import DIGEST_NAMES, ItemDigests, Receipt
from fieldmark.media.loaders import hash_content
from fieldmark.types import Item

_TOLERANCE = 1e-9
"""Largest difference between equal numbers: the libraries of another machine sum in another order."""


class Cause(StrEnum):
    """The part in which a difference lies."""

    RECEIPT = "receipt"
    MODEL = "model"
    CONFIG = "config"
    LABEL = "label"
    MANIFEST = "manifest"
    MEDIA = "media"
    ITEM = "item"
    EMBEDDING = "embedding"
    NUMBER = "number"


@dataclass(frozen=True, slots=True)
class Difference:
    """One value that is not as in the receipt.

    Args:
        name: The key, item or number.
        expected: The value in the receipt.
        found: The value now.
    """

    cause: Cause
    name: str
    expected: object
    found: object

    json_keys: ClassVar = (
        "cause",
        "name",
        "receipt=expected",
        "found",
    )


def check_hash(receipt: Receipt) -> Iterator[Difference]:
    """Yield a difference if the receipt does not have the hash it was written with."""
    own = receipt.compute_hash()
    if own != receipt.receipt_sha256:
        yield Difference(Cause.RECEIPT, "receipt_sha256", receipt.receipt_sha256, own)


def compare_items(expected: ItemDigests, found: ItemDigests) -> Iterator[Difference]:
    """Yield the items that are gone, new, of another class, or with another digest."""
    old, new = dict(_list_digests(expected)), dict(_list_digests(found))
    for name in sorted(old.keys() | new.keys()):
        if name not in old or name not in new:
            met, now = ("there", "gone") if name in old else ("not there", "there")
            yield Difference(Cause.ITEM, name, met, now)
            continue
        (old_class, old_digests), (new_class, new_digests) = old[name], new[name]
        if old_class != new_class:
            yield Difference(Cause.LABEL, name, old_class, new_class)
        for what, one, other in zip(DIGEST_NAMES, old_digests, new_digests, strict=True):
            if one != other:
                cause = Cause.EMBEDDING if what == "embedding" else Cause.ITEM
                yield Difference(cause, f"{what} of {name}", one, other)


def _list_digests(items: ItemDigests) -> Iterator[tuple[str, tuple[str, list[str]]]]:
    """Yield each item with its medium, its class and its digests."""
    for medium, by_class in items.items():
        for class_name, digests in by_class.items():
            for item_id, digest in digests.items():
                yield f"{medium} {item_id}", (class_name, digest.split())


def compare_media(
    items: Iterable[Item], content_hash_by_item_id: Mapping[str, str]
) -> tuple[tuple[Difference, ...], int, int]:
    """Compare the files of items with the hashes of what was embedded.

    Returns the differences, the number of files compared, and the number of those that are not there. If none is
    there, the media are somewhere else and nothing differs; otherwise a file that is gone does.
    """
    changed, gone, count = [], [], 0
    for item in items:
        if item.path is None:
            continue
        name = f"{item.medium} {item.item_id}"
        expected = content_hash_by_item_id[item.item_id]
        try:
            found = hash_content(item)
        except MissingFileError:
            gone.append(Difference(Cause.MEDIA, name, "there", "gone"))
            continue
        except MediaError as error:
            found = str(error)
        count += 1
        if found != expected:
            changed.append(Difference(Cause.MEDIA, f"content of {name}", expected[:16], found[:16]))
    return (*changed, *(gone if count else ())), count, len(gone)


def compare_manifest(expected: Iterable[Item], found: Iterable[Item]) -> Iterator[Difference]:
    """Yield what a manifest says otherwise than the items that were embedded from it."""
    now = {item.item_id: item for item in found}
    for item in expected:
        name = f"{item.medium} {item.item_id}"
        other = now.get(item.item_id)
        if other is None:
            yield Difference(Cause.MANIFEST, name, "there", "gone")
            continue
        for fact in ("medium", "class_name", "split", "group", "caption_of"):
            if getattr(item, fact) != getattr(other, fact):
                yield Difference(Cause.MANIFEST, f"{fact} of {name}", getattr(item, fact), getattr(other, fact))


def compare_values(cause: Cause, expected: object, found: object, *, where: str = "") -> Iterator[Difference]:
    """Yield the leaves of two plain values that differ, numbers by more than the tolerance."""
    old, new = dict(_list_leaves(expected)), dict(_list_leaves(found))
    for name in [*old, *(name for name in new if name not in old)]:
        one, other = old.get(name), new.get(name)
        if _is_number(one) and _is_number(other):
            if not abs(one - other) <= _TOLERANCE:  # NaN is near to nothing
                yield Difference(cause, name + where, one, other)
        elif one != other:
            yield Difference(cause, name + where, one, other)


def _list_leaves(value: object, name: str = "") -> Iterator[tuple[str, object]]:
    """Yield every plain value inside, with its dotted name."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _list_leaves(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from _list_leaves(inner, f"{name}.{index}")
    else:
        yield name, value


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def compare_numbers(expected: Receipt, found: Receipt) -> tuple[tuple[Difference, ...], int]:
    """Return the numbers of the receipt that differ, and the count of those that only a newer evaluation measures."""
    old, new = dict(_list_leaves(expected.results)), dict(_list_leaves(found.results))
    known = {name: value for name, value in new.items() if name in old}
    return tuple(compare_values(Cause.NUMBER, old, known)), len(new) - len(known)


def count_numbers(receipt: Receipt) -> int:
    """Return how many numbers with a decimal point a receipt has."""
    return sum(isinstance(value, float) for _, value in _list_leaves(receipt.results))
