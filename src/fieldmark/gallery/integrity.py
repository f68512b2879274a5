"""A look at every row of a store: whether it can be read, and whether it is what was once stored."""

from collections import defaultdict
from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from fieldmark.segment_table import LENGTH_TOLERANCE, matrix_from_column, measure_length_errors
from fieldmark.types import Medium

COLUMNS = ("item_id", "segment", "medium", "start_seconds", "end_seconds", "vector")


def unsound_items(batches: Iterable[pa.RecordBatch], *, dim: int) -> dict[str, str]:
    """What is wrong with each item that is not sound, by item id.

    Args:
        batches: All rows of a store, with `COLUMNS`, in any order.
    """
    found: dict[str, str] = {}
    places: dict[str, list[int]] = defaultdict(list)
    media: dict[str, set[str]] = defaultdict(set)
    for batch in batches:
        item_ids = batch["item_id"].to_pylist()
        for item_id, place, medium in zip(
            item_ids, batch["segment"].to_pylist(), batch["medium"].to_pylist(), strict=True
        ):
            places[item_id].append(place)
            media[item_id].add(medium)
        errors = measure_length_errors(matrix_from_column(pa.chunked_array([batch["vector"]]), dim=dim))
        for row in np.flatnonzero(errors > LENGTH_TOLERANCE):
            found[item_ids[row]] = "a vector is not of length 1"
        start, end = (batch[name].to_numpy(zero_copy_only=False) for name in ("start_seconds", "end_seconds"))
        for row in np.flatnonzero((start > end) | (start < 0) | (np.isnan(start) != np.isnan(end))):
            found[item_ids[row]] = f"a segment runs from {start[row]} to {end[row]} seconds"
    for item_id, numbers in places.items():
        if sorted(numbers) != list(range(len(numbers))):
            found[item_id] = f"its {len(numbers)} segments are not numbered from 0 on"
        if not media[item_id] <= {*Medium} or len(media[item_id]) > 1:
            found[item_id] = f"its medium is {' and '.join(sorted(media[item_id]))}"
    return found
