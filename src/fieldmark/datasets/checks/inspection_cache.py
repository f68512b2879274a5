"""Inspect many items with several processes, and cache what was found by content hash."""

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import final

import numpy as np

from fieldmark.data.cache_file import CacheFile
from fieldmark.datasets.checks.fingerprint import VERSION, Fingerprint, FingerprintKind
from fieldmark.datasets.checks.inspection import Inspection, inspect_item
from fieldmark.errors import MediaError
from fieldmark.media.loaders import hash_content
from fieldmark.types import Item, MediaLimits, Reporter

_CHUNK_ITEMS = 16  # handed to a process at once
_BLOCK_ITEMS = 256  # between two writes of the cache: the most that a crash costs


def inspect_items(
    items: Sequence[Item], *, limits: MediaLimits, workers: int, cache: Path | None, reporter: Reporter
) -> list[Inspection]:
    """Inspect each item, in order; content that an earlier run inspected is not decoded again.

    Args:
        workers: Processes that decode; 1 decodes in the current process.
        cache: Folder of the cache; None disables it.
    """
    store = None if cache is None else InspectionCache(cache, limits=limits)
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
        if store is not None and (len(block) == _BLOCK_ITEMS or len(found) == len(items)):
            store.put_many(block)
            block = []
        reporter.step("check", done=len(found), total=len(items))
    return [found[item.item_id] for item in items]


def _hashes(items: Sequence[Item]) -> dict[str, str]:
    """Return the content hash of each readable item by item id; inspection reports why others cannot be read."""
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
    if workers == 1 or len(items) <= _CHUNK_ITEMS:
        yield from map(inspect, pairs)
        return
    # Not forked: the parent may hold threads of torch and FFmpeg.
    with ProcessPoolExecutor(max_workers=workers, mp_context=get_context("spawn"), initializer=_use_one_thread) as pool:
        yield from pool.map(inspect, pairs, chunksize=_CHUNK_ITEMS)


def _inspect_hashed(pair: tuple[Item, str | None], *, limits: MediaLimits) -> Inspection:
    item, content_hash = pair
    return inspect_item(item, limits=limits, content_hash=content_hash)


def _use_one_thread() -> None:
    """Keep processes from competing for cores."""
    import torch

    torch.set_num_threads(1)


# ---------------------------------------------------------------- the cache

_FILE_NAME = "inspections-1.sqlite"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS inspections (
    version TEXT NOT NULL,
    content_hash TEXT NOT NULL,
    facts TEXT NOT NULL,
    fingerprint_bytes BLOB NOT NULL,
    PRIMARY KEY (version, content_hash)
)
"""


@final
class InspectionCache:
    """Inspections on disk by content hash; failed inspections are not cached.

    Args:
        folder: Created if missing.
        limits: The decoding limits; inspections made under other limits are not found.
    """

    def __init__(self, folder: Path, *, limits: MediaLimits) -> None:
        self._file = CacheFile(folder / _FILE_NAME, schema=_SCHEMA)
        self._version = json.dumps([VERSION, asdict(limits)])

    def get_many(self, hashes: Sequence[str]) -> dict[str, Inspection]:
        """Return the cached inspections by content hash; their item ids are empty.

        Raises:
            EmbeddingsError: The file cannot be opened or read.
        """
        return self._file.select(
            "SELECT content_hash, facts, fingerprint_bytes FROM inspections "
            "WHERE version = ? AND content_hash IN ({marks})",
            version=self._version,
            hashes=hashes,
            decode=_decode,
        )

    def put_many(self, inspections: Sequence[Inspection]) -> None:
        """Store the inspections of items that decoded without failure.

        Raises:
            EmbeddingsError: The file cannot be opened or written.
        """
        rows = [
            (self._version, inspection.content_hash, *_encode(inspection, inspection.fingerprint))
            for inspection in inspections
            if inspection.failure is None and inspection.fingerprint is not None
        ]
        self._file.insert("INSERT OR REPLACE INTO inspections VALUES (?, ?, ?, ?)", rows)


def _encode(inspection: Inspection, fingerprint: Fingerprint) -> tuple[str, bytes]:
    facts = {
        "duration_seconds": inspection.duration_seconds,
        "peak": inspection.peak,
        "word_count": inspection.word_count,
        "format_name": inspection.format_name,
        "kind": fingerprint.kind,
    }
    content = io.BytesIO()
    np.save(content, fingerprint.values, allow_pickle=False)
    return json.dumps(facts), content.getvalue()


def _decode(content_hash: str, facts: str, fingerprint_bytes: bytes) -> Inspection:
    known = json.loads(facts)
    values = np.load(io.BytesIO(fingerprint_bytes), allow_pickle=False)
    fingerprint = Fingerprint(FingerprintKind(known.pop("kind")), values)
    return Inspection(item_id="", content_hash=content_hash, fingerprint=fingerprint, **known)
