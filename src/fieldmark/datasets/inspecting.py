"""What the data verbs share: items decoded by several processes, and what they showed kept by content hash."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from fieldmark.datasets.checks.inspection import Inspection, InspectionStore, inspect_item
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
    hashes = {} if store is None else _hashes(items)
    kept = {} if store is None else store.get_many(sorted(set(hashes.values())))
    found = {
        item_id: replace(kept[content_hash], item_id=item_id)
        for item_id, content_hash in hashes.items()
        if content_hash in kept
    }
    new = [item for item in items if item.item_id not in found]
    block: list[Inspection] = []
    if found:
        reporter.step("check", done=len(found), total=len(items), note="known from an earlier run")
    for inspection in _inspect(new, hashes, limits=limits, workers=workers):
        found[inspection.item_id] = inspection
        block.append(inspection)
        if store is not None and (len(block) == BLOCK_ITEMS or len(found) == len(items)):
            store.put_many(block)
            block = []
        reporter.step("check", done=len(found), total=len(items))
    return [found[item.item_id] for item in items]


def _hashes(items: Sequence[Item]) -> dict[str, str]:
    """The content hash of each item that can be read, by item; why others cannot, their inspection says."""
    hashes: dict[str, str] = {}
    for item in items:
        with suppress(MediaError):
            hashes[item.item_id] = hash_content(item)
    return hashes


def _inspect(
    items: Sequence[Item], hashes: Mapping[str, str], *, limits: MediaLimits, workers: int
) -> Iterator[Inspection]:
    inspect = partial(_inspect_hashed, limits=limits)
    pairs = [(item, hashes.get(item.item_id)) for item in items]
    if workers == 1 or len(items) <= CHUNK_ITEMS:
        yield from map(inspect, pairs)
        return
    # Not forked: the parent may hold threads of torch and FFmpeg.
    with ProcessPoolExecutor(max_workers=workers, mp_context=get_context("spawn"), initializer=_use_one_thread) as pool:
        yield from pool.map(inspect, pairs, chunksize=CHUNK_ITEMS)


def _inspect_hashed(pair: tuple[Item, str | None], *, limits: MediaLimits) -> Inspection:
    item, content_hash = pair
    return inspect_item(item, limits=limits, content_hash=content_hash)


def _use_one_thread() -> None:
    """Keeps processes from taking each other's cores."""
    import torch

    torch.set_num_threads(1)
