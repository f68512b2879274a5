"""Find items that are nearly identical among a few, such as the hits of a search."""

from collections.abc import Hashable, Sequence

from fieldmark.datasets.checks.similarity import Fingerprint, find_similar
from fieldmark.origin import group_linked
from fieldmark.types import Item


def group_alike(
    items: Sequence[Item], *, content: Sequence[Hashable], fingerprints: Sequence[Fingerprint | None]
) -> list[list[str]]:
    """Return the ids of the sets of nearly identical items, in the given order; an item like no other is left out.

    Args:
        content: One per item, equal where the content is.
        fingerprints: One per item; None for an item that cannot be compared.
    """
    pairs = [(each.first, each.second) for each in find_similar(fingerprints, [item.class_name for item in items])]
    first = {each: index for index, each in reversed(list(enumerate(content)))}
    pairs += [(first[each], index) for index, each in enumerate(content) if first[each] != index]
    roots = group_linked(pairs)
    groups: dict[int, list[str]] = {}
    for index in sorted(roots):
        groups.setdefault(roots[index], []).append(items[index].item_id)
    return list(groups.values())
