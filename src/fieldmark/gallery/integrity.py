"""Integrity checks: whether a store is as it was written, and whether the media it points at are unchanged."""

from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from fieldmark.errors import DamagedGalleryError, MediaError
from fieldmark.gallery.files import GalleryPlace
from fieldmark.gallery.item_state import read_content_hash
from fieldmark.gallery.layout import GalleryFile
from fieldmark.gallery.sources import read_sets
from fieldmark.gallery.store import SegmentIndex, StoredItem, iterate_pages
from fieldmark.media.loaders import hash_content
from fieldmark.segment_table import LENGTH_TOLERANCE, measure_length_errors, read_matrix
from fieldmark.types import Medium, Reporter

COLUMNS = ("item_id", "segment", "medium", "start_seconds", "end_seconds", "vector")

_CHECKED_TOGETHER = 2_000
"""Items whose media are checked together."""


@dataclass(frozen=True, slots=True)
class GalleryProblem:
    """Something wrong with a gallery.

    Args:
        kind: checkpoint, store, unsound_item, sets, missing_media or changed_media.
        item_ids: The items it is about; empty where it is about the whole.
    """

    kind: str
    item_ids: tuple[str, ...]
    detail: str
    severity: str = "error"


def check_sets(folder: GalleryPlace, store: SegmentIndex) -> list[GalleryProblem]:
    """Return the sets of a store whose source is unknown."""
    held = {each.set_name for each in store.counts() if each.set_name}
    try:
        unknown = sorted(held - read_sets(folder).keys())
    except DamagedGalleryError as error:
        return [GalleryProblem("sets", (), str(error))]
    detail = "'{}' does not name the source of the set '{}': index that source again with --set '{}'"
    return [GalleryProblem("sets", (), detail.format(GalleryFile.SETS, name, name)) for name in unknown]


def check_media(store: SegmentIndex, *, item_count: int, reporter: Reporter) -> list[GalleryProblem]:
    """Read the media of all items to their end, and return those that are missing or changed.

    Args:
        item_count: Of the store, for the progress.
    """
    found: list[GalleryProblem] = []
    done = 0
    with ThreadPoolExecutor(max_workers=2) as pool:
        for page in iterate_pages(store, page_items=_CHECKED_TOGETHER):
            found += [problem for problem in pool.map(_check_medium, page) if problem is not None]
            done += len(page)
            reporter.step("check media", done=min(done, item_count), total=item_count)
    return found


def _check_medium(stored: StoredItem) -> GalleryProblem | None:
    item = stored.item
    if item.path is None:
        return None
    try:
        is_same = hash_content(item) == read_content_hash(stored.content_hash)
    except MediaError as error:
        return GalleryProblem("missing_media", (item.item_id,), str(error))
    return (
        None if is_same else GalleryProblem("changed_media", (item.item_id,), f"'{item.path}' is not what was indexed")
    )


def find_unsound_items(batches: Iterable[pa.RecordBatch], *, dim: int) -> dict[str, str]:
    """Return what is wrong with each unsound item, by item id.

    Args:
        batches: All rows of a store, with `COLUMNS`, in any order.
    """
    found: dict[str, str] = {}
    numbers_by_id: dict[str, list[int]] = defaultdict(list)
    media: dict[str, set[str]] = defaultdict(set)
    for batch in batches:
        item_ids = batch["item_id"].to_pylist()
        for item_id, number, medium in zip(
            item_ids, batch["segment"].to_pylist(), batch["medium"].to_pylist(), strict=True
        ):
            numbers_by_id[item_id].append(number)
            media[item_id].add(medium)
        errors = measure_length_errors(read_matrix(pa.chunked_array([batch["vector"]]), dim=dim))
        for row in np.flatnonzero(errors > LENGTH_TOLERANCE):
            found[item_ids[row]] = "a vector is not of length 1"
        start, end = (batch[name].to_numpy(zero_copy_only=False) for name in ("start_seconds", "end_seconds"))
        for row in np.flatnonzero((start > end) | (start < 0) | (np.isnan(start) != np.isnan(end))):
            found[item_ids[row]] = f"a segment runs from {start[row]} to {end[row]} seconds"
    for item_id, numbers in numbers_by_id.items():
        if sorted(numbers) != list(range(len(numbers))):
            found[item_id] = f"its {len(numbers)} segments are not numbered from 0 on"
        if not media[item_id] <= {*Medium} or len(media[item_id]) > 1:
            found[item_id] = f"its medium is {' and '.join(sorted(media[item_id]))}"
    return found
