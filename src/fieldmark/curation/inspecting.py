"""What the data verbs share: items decoded by several processes, and what they showed kept by content hash."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from fieldmark.checks.inspection import Inspection, InspectionStore, inspect_item
from fieldmark.errors import MediaError
from fieldmark.media.loaders import hash_content
from fieldmark.types import Item, MediaLimits, Reporter

CHUNK_ITEMS = 16
"""Items handed to a process at once."""
BLOCK_ITEMS = 256
"""Inspections between two writes of the store: the most that a crash costs."""


def inspect_items(
    items: Sequence[Item], *, limits: MediaLimits, workers: int, cache: Path | None, reporter: Reporter
) -> list[Inspection]:
    """What decoding shows of each item, in order; what an earlier run saw of the same content is not decoded again.

    Args:
        workers: Processes that decode; 1 decodes in this one.
        cache: Folder where inspections are kept; None keeps none.
    """
    store = None if cache is None else InspectionStore(cache, limits=limits)
    known = _known(items, store)
    found = {item_id: replace(inspection, item_id=item_id) for item_id, inspection in known.items()}
    new = [item for item in items if item.item_id not in found]
    block: list[Inspection] = []
    if found:
        reporter.step("check", done=len(found), total=len(items), note="known from an earlier run")
    for inspection in _inspect(new, limits=limits, workers=workers):
        found[inspection.item_id] = inspection
        block.append(inspection)
        if store is not None and (len(block) == BLOCK_ITEMS or len(found) == len(items)):
            store.put_many(block)
            block = []
        reporter.step("check", done=len(found), total=len(items))
    return [found[item.item_id] for item in items]


def _known(items: Sequence[Item], store: InspectionStore | None) -> dict[str, Inspection]:
    """What the store holds of the items' content, by item."""
    if store is None:
        return {}
    hash_by_item_id: dict[str, str] = {}
    for item in items:
        try:
            hash_by_item_id[item.item_id] = hash_content(item)
        except MediaError:
            continue  # the inspection will say why
    kept = store.get_many(sorted(set(hash_by_item_id.values())))
    return {item_id: kept[content_hash] for item_id, content_hash in hash_by_item_id.items() if content_hash in kept}


def _inspect(items: Sequence[Item], *, limits: MediaLimits, workers: int) -> Iterator[Inspection]:
    inspect = partial(inspect_item, limits=limits)
    if workers == 1 or len(items) <= CHUNK_ITEMS:
        yield from map(inspect, items)
        return
    # Not forked: the parent may hold threads of torch and FFmpeg.
    with ProcessPoolExecutor(max_workers=workers, mp_context=get_context("spawn"), initializer=_use_one_thread) as pool:
        yield from pool.map(inspect, items, chunksize=CHUNK_ITEMS)


def _use_one_thread() -> None:
    """Keeps processes from taking each other's cores."""
    import torch

    torch.set_num_threads(1)
